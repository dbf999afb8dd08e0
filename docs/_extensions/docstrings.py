"""Docstrings as this project writes them, as Sphinx reads them.

A section may begin on the line of its name (`Returns: as lens.patch`), which napoleon takes for text; shapes are
texts of jaxtyping (`Float[Tensor, "layer position"]`), which are shown as they stand; `*` and `|` are signs of
arithmetic, which reStructuredText would take for markup.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Annotated, Any, get_origin

from sphinx.application import Sphinx
from sphinx.util.typing import stringify_annotation

SECTION = re.compile(r"(Args|Attributes|Returns|Raises|Yields|Sources?|Cost|Note|Example|Examples): +(?=\S)")
#: How an entry of a section begins: names, and a colon.
ENTRY = re.compile(r" *`{0,2}[\w.]+`{0,2}(?:, `{0,2}[\w.]+`{0,2})*: ")
CODE = re.compile(r"(``?[^`]+``?)")


def opening(line: str) -> re.Match[str] | None:
    """Where a section begins on the line of its name; not where the line is a sentence that begins with that word."""
    begins = SECTION.match(line)
    listed = begins is not None and begins[1] in ("Args", "Raises", "Attributes")
    return None if listed and not ENTRY.match(line, begins.end()) else begins


def sections(lines: list[str]) -> list[str]:
    """Each section's name on a line of its own, its text below, indented by four; of the first entry by eight."""
    ready: list[str] = []
    inside = ""
    for line in lines:
        begins = opening(line)
        if begins:
            if ready and ready[-1].strip():
                ready.append("")
            ready += [f"{begins[1]}:", f"    {line[begins.end() :]}"]
            inside = begins[1]
        elif inside and line.strip() and not line.startswith(" "):
            inside = ""
            ready.append(line)
        elif inside in ("Args", "Raises", "Attributes") and re.match(r" {4}\S", line) and not ENTRY.match(line):
            ready.append(f"    {line}")
        else:
            inside = inside if line.strip() else ""
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
            ends = line.rstrip().endswith(":") or line.startswith((">>>", "- ", "===", "|")) or opening(line)
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
    """Called by autodoc before napoleon reads the lines; of a value it would take all before a colon for a type, unless
    something stands above: a remark that is not shown.
    """
    above = ["..", ""] if what in ("property", "attribute", "data") else []
    lines[:] = above + [escaped(line) for line in sections(straight(lines))]


@cache
def kinds() -> list[tuple[str, str]]:
    """The kinds of arguments: how Sphinx spells each out, and its name; the longest first."""
    from lens import arguments

    named = [(getattr(arguments, name), name) for name in dir(arguments) if not name.startswith("_")]
    spelled = [(stringify_annotation(kind, "smart"), name) for kind, name in named if get_origin(kind) is Annotated]
    return sorted(spelled, key=lambda pair: -len(pair[0]))


def bare(signature: str) -> str:
    """A signature in which a kind of argument has its name, and any other what it is without its check."""
    for text, name in kinds():
        signature = signature.replace(text, name)
    while found := re.search(r"~?[\w.]*\bAnnotated\[", signature):
        end, depth, comma = found.end(), 1, None
        while depth:
            depth += {"[": 1, "(": 1, "<": 1, "]": -1, ")": -1, ">": -1}.get(signature[end], 0)
            comma = end if depth == 1 and signature[end] == "," and comma is None else comma
            end += 1
        signature = signature[: found.start()] + signature[found.end() : comma] + signature[end:]
    return signature


def sign(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Called by autodoc with each signature and what it returns."""
    return signature and bare(signature), returns and bare(returns)


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx; before napoleon, whose own priority is 500."""
    app.connect("autodoc-process-docstring", process, priority=400)
    app.connect("autodoc-process-signature", sign)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
