"""Examples of the documentation: read from the pages, run, and compared with what the pages say that they print.

A block of Python is run in the names of its page, in order. A block of `text` right after it is what it prints, or the
error with which it ends: `python -m tests.documentation --write` writes these texts, and the tests compare. A number
may differ by its last place and by a hundredth of itself, since sums are rounded in another order elsewhere.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import linecache
import os
import re
import sys
import tempfile
import textwrap
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "docs"
#: Pages without examples of their own: lists of what changed, and the table that a benchmark writes.
LISTS = re.compile(r"changes-[\d.]+|models|CHANGELOG")
FENCE = re.compile(r"^[ ]*```(?P<info>[^\n`]*)\n(?P<body>.*?)^[ ]*```[ ]*$", re.M | re.S)
NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
SHARE = 0.01


@dataclass
class Block:
    """A fenced block of a page: its language, its text, the line where it begins, and its place in the page's text."""

    language: str
    text: str
    line: int
    span: tuple[int, int]


@dataclass
class Example:
    """A block of Python and, where one stands right after it, the block of what it prints."""

    code: Block
    prints: Block | None = None


@dataclass
class Page:
    """A page's examples in order."""

    path: Path
    text: str
    examples: list[Example] = field(default_factory=list)
    commands: list[Block] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Its path within the documentation, without the ending."""
        return str(self.path.relative_to(PAGES).with_suffix("")) if PAGES in self.path.parents else self.path.stem


def blocks(text: str) -> Iterator[Block]:
    """Every fenced block, those in the cells of a table too; what directives hold is looked into."""
    for fence in FENCE.finditer(text):
        line = text.count("\n", 0, fence.start()) + 1
        yield Block(
            fence["info"].strip(), textwrap.dedent(fence["body"]), line, (fence.start("body"), fence.end("body"))
        )


def read(path: Path) -> Page:
    """A page with its examples and its commands for a shell."""
    page = Page(path, path.read_text(encoding="utf-8"))
    last: Block | None = None
    for block in blocks(page.text):
        if block.language == "python":
            page.examples.append(Example(block))
        elif block.language == "text" and last is not None and last.language == "python":
            between = page.text[last.span[1] : block.span[0]]
            if not between.replace("```text", "").replace("```", "").strip():
                page.examples[-1].prints = block
        elif block.language == "sh":
            page.commands.append(block)
        last = block
    return page


def pages() -> list[Path]:
    """The pages that have examples."""
    every = [path for path in sorted(PAGES.rglob("*.md")) if not LISTS.fullmatch(path.stem)]
    return [path for path in every if read(path).examples]


def outcome(example: Example, names: dict, where: str) -> str:
    """What an example prints, or its error as Python shows it last."""
    printed = io.StringIO()
    code, where = "\n" * example.code.line + example.code.text, f"{where}:{example.code.line}"
    # libraries that read the source of what calls them find it here
    linecache.cache[where] = (len(code), None, code.splitlines(keepends=True), where)
    with contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            exec(compile(code, where, "exec"), names)
        except Exception as error:
            if example.prints is None or not is_error(example.prints.text):
                raise
            printed.write(f"{type(error).__name__}: {error}\n")
    # where it ran is nobody's business
    text = printed.getvalue().replace(os.path.join(os.getcwd(), ""), "")
    return textwrap.dedent("\n".join(line.rstrip() for line in text.splitlines()) + "\n").lstrip("\n")


def is_error(text: str) -> bool:
    """Whether a block of text is an error, or waits for one to be written."""
    return bool(re.match(r"(\w*Error|UnsupportedModel|Busy)\b", text))


def differences(expected: str, printed: str) -> list[str]:
    """The lines that differ: in their words, or in a number by more than its last place and a hundredth of itself."""
    mine, others = expected.rstrip().splitlines(), printed.rstrip().splitlines()
    wrong = [f"{len(mine)} lines are shown, {len(others)} are printed"] if len(mine) != len(others) else []
    for one, other in zip(mine, others):
        if words(one) != words(other) or not all(map(close, NUMBER.findall(one), NUMBER.findall(other))):
            wrong.append(f"shown:   {one}\nprinted: {other}")
    return wrong


def words(line: str) -> str:
    """A line with every number taken for the same one, and blanks of any width for one."""
    return re.sub(r"[\s\-─]+", " ", NUMBER.sub("#", line))


def close(one: str, other: str) -> bool:
    """Whether two numbers are the same up to rounding."""
    if one == other:
        return True
    if not re.search(r"[.eE]", one + other):
        return abs(int(one) - int(other)) <= SHARE * abs(int(one))
    digits = len(re.sub(r"[eE].*", "", one).partition(".")[2])
    scale = 10.0 ** int((re.search(r"[eE](.*)", one) or [0, "0"])[1])
    return abs(float(one) - float(other)) <= SHARE * abs(float(one)) + 1.01 * 10.0**-digits * scale


@contextlib.contextmanager
def shared_models(models: dict) -> Iterator[None]:
    """`lens.load` gives one and the same model for a name; those in `models` are taken as they are."""
    import lens

    load = lens.load

    def once(name: object = "smollm2", **options: object):
        key = (str(name), *sorted((option, repr(value)) for option, value in options.items()))
        if key not in models:
            models[key] = models[str(name)] if str(name) in models and not options else load(name, **options)
        return models[key]

    with mock.patch.object(lens, "load", once):
        yield


def installed(code: str) -> bool:
    """Whether the packages that an example imports are there."""
    names = re.findall(r"^\s*(?:import|from) (\w+)", code, re.M)
    return all(importlib.util.find_spec(name) for name in names)


def write(path: Path, models: dict) -> int:
    """Runs a page's examples and writes what they print into it; how many texts changed."""
    page, names, new = read(path), {}, []
    for example in page.examples:
        if installed(example.code.text):
            printed = outcome(example, names, page.name)
            if example.prints is not None and differences(example.prints.text, printed):
                new.append((example.prints.span, printed))
            elif example.prints is None and printed.strip():
                raise SystemExit(f"{page.name}, line {example.code.line}: prints, and no block of text follows")
    text = page.text
    for (begin, end), printed in reversed(new):
        text = text[:begin] + printed + text[end:]
    path.write_text(text, encoding="utf-8")
    return len(new)


def main() -> None:
    """Writes what the examples print into the pages named, or into all."""
    parser = argparse.ArgumentParser(description="Runs the examples of the documentation.")
    parser.add_argument("pages", nargs="*", help="names of pages, such as methods/exact-patching; all by default")
    parser.add_argument("--write", action="store_true", help="write what they print into the pages")
    chosen = parser.parse_args()
    if not chosen.write:
        raise SystemExit("to compare, run: python -m pytest tests/test_docs_examples.py")
    models: dict = {}
    failed = False
    with tempfile.TemporaryDirectory() as folder, shared_models(models):
        os.chdir(folder)
        for path in pages():
            name = str(path.relative_to(PAGES).with_suffix(""))
            if not chosen.pages or name in chosen.pages:
                try:
                    changed = f"{write(path, models)} texts changed"
                except Exception:
                    failed, changed = True, traceback.format_exc(limit=-3)
                print(f"{name}: {changed}", file=sys.stderr, flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
