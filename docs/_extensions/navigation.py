"""The tree of pages beside a page that is itself not in it: a listing of source code.

Sphinx copies the whole tree for every page. Beside a listing nothing in it is open or marked, and its links differ only
by how deep the listing lies, so one tree serves all listings of a depth; eight hundred copies were half of a build.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    trees: dict[tuple[Any, ...], str] = {}

    def once(app: Sphinx, name: str, template: str, context: dict[str, Any], doctree: Any) -> None:
        if name in app.env.all_docs or "toctree" not in context:
            return
        tree: Callable[..., str] = context["toctree"]

        def shared(**options: Any) -> str:
            key = (name.count("/"), *sorted(options.items()))
            if key not in trees:
                trees[key] = tree(**options)
            return trees[key]

        context["toctree"] = shared

    # before the theme, which asks for the tree at the priority of 500
    app.connect("html-page-context", once, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
