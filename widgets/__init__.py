"""Jupyter views over `lens`: state in traits, computing in `lens`, drawing in the browser.

    widgets.PatchExplorer(model, pair)       # activation patching: run, hover, click, pin, compare, export
    widgets.AttentionView(model, text)       # every head's attention pattern, token by token
"""

from widgets.attention_view import AttentionView
from widgets.patch_explorer import PatchExplorer

__all__ = ["AttentionView", "PatchExplorer"]
