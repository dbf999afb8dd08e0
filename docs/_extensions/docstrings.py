"""Docstrings as this project writes them, as Sphinx reads them.

A section may begin on the line of its name (`Returns: as lens.patch`), which napoleon takes for text; shapes are
texts of jaxtyping (`Float[Tensor, "layer position"]`), which are shown as they stand; `*` and `|` are signs of
arithmetic, which reStructuredText would take for markup.
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

SECTION = re.compile(r"(Args|Attributes|Returns|Raises|Yields|Sources?|Cost|Note|Example|Examples): +(?=\S)")
#: Of a section, every first line but the prose ones: `name: text`.
CODE = re.compile(r"(``?[^`]+``?)")


def sections(lines: list[str]) -> list[str]:
    """Each section's name on a line of its own, its text below, indented by four."""
    ready: list[str] = []
    inside = False
    for line in lines:
        begins = SECTION.match(line)
        if begins:
            if ready and ready[-1].strip():
                ready.append("")
            ready += [f"{begins[1]}:", f"    {line[begins.end() :]}"]
            inside = True
        elif inside and line.strip() and not line.startswith(" "):
            inside = False
            ready.append(line)
        else:
            ready.append(line)
    return ready


def straight(lines: list[str]) -> list[str]:
    """Prose begins at the margin: a line that is indented within a paragraph of it, by nothing, is prose too."""
    ready: list[str] = []
    prose = False
    for line in lines:
        if not line.strip():
            prose = False
        elif not line.startswith(" "):
            ends = line.rstrip().endswith(":") or line.startswith((">>>", "- ", "===", "|")) or SECTION.match(line)
            prose = (prose or not ready or not ready[-1].strip()) and not ends
        ready.append(line.lstrip() if prose else line)
    return ready


def escaped(line: str) -> str:
    """`*`, `|` and a final `_` outside code mean themselves."""
    if line.lstrip().startswith((">>>", "... ")):
        return line
    parts = CODE.split(line)
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(r"(?<!\\)([*|])|(?<=\w)_(?=\W|$)", lambda m: "\\" + m[0], parts[i])
    return "".join(parts)


def process(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Called by autodoc before napoleon reads the lines."""
    lines[:] = [escaped(line) for line in sections(straight(lines))]


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx; before napoleon, whose own priority is 500."""
    app.connect("autodoc-process-docstring", process, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
