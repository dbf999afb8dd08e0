"""The script and the style sheet of a view, as they ship in `widgets/static`: `widgets/build.mjs` builds them from
each room's view.js and view.css, so that one view is one ES module and nothing is loaded from elsewhere.
"""

from __future__ import annotations

from pathlib import Path

STATIC = Path(__file__).parent.parent / "static"


def script(room: str) -> str:
    """The ES module of the view in `widgets/<room>`."""
    return (STATIC / f"{room}.js").read_text(encoding="utf-8")


def style(room: str) -> str:
    """The style sheet of the view in `widgets/<room>`."""
    return (STATIC / f"{room}.css").read_text(encoding="utf-8")
