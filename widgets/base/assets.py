"""The views' JavaScript and CSS: plain files, joined into one ES module a widget, so that nothing is loaded from
elsewhere.
"""

from __future__ import annotations

from pathlib import Path

ROOMS = Path(__file__).parent.parent


def join(*names: str) -> str:
    """The named files of `widgets`, one after the other.

    Indentation and whole-line comments stay in the files: every widget instance sends this text to the browser.
    """
    lines = [line.strip() for name in names for line in (ROOMS / name).read_text(encoding="utf-8").splitlines()]
    return "\n".join(line for line in lines if line and not line.startswith(("// ", "/** "))) + "\n"
