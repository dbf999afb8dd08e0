"""Activation patching, cell by cell."""

from widgets.patch_explorer.view import PatchExplorer

__all__ = ["PatchExplorer"]
