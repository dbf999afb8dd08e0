"""The documentation as a site, without a network: `python docs/build.py [--out build/docs]`.

What is shown is put together in a folder of its own: the pages of `docs/`, the notebooks with their stored outputs, the
guides of the root, and a page of reference for every package, from the list of its public names (so that a new
method has one without a line here). Sphinx reads that folder; a warning is an error. The last line that is printed is
JSON: `docs_warnings`, pages and seconds.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import pkgutil
import re
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GUIDES = ("ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")
#: Of `docs/`, what Sphinx reads.
SHOWN = (".md", ".py", ".css", ".png", ".svg")
NEEDED = ("sphinx", "myst_nb", "furo", "sphinx_copybutton", "latex2mathml")
#: Rooms that a method stands on, which have public names of their own.
GROUND = (
    "engine",
    "models",
    "prompts",
    "results",
    "stats",
    "readout",
    "scoring",
    "training",
    "figures",
    "organisms",
    "cluster",
    "doctor",
)
#: Packages that are neither: what a command or another page tells. The families are all the others.
ELSEWHERE = ("arguments", "data", "reproduce", "templates")


def missing() -> list[str]:
    """What the extra `docs` brings and this environment lacks."""
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


def write(path: Path, text: str) -> None:
    """Only what is new, so that a second build reads only what changed."""
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def copy(source: Path, target: Path) -> None:
    """A file as it is, with its time; nothing where it is there already."""
    now = source.stat()
    if not target.is_file() or (target.stat().st_mtime_ns, target.stat().st_size) != (now.st_mtime_ns, now.st_size):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


# --- pages of lists ----------------------------------------------------------------------------------------------


def entry(module: str, name: str, documented: set[int]) -> str:
    """The directive that documents a public name: a class with what it offers, a function, or a value. What was
    documented under another name before is shown again, and has its place in the index there.
    """
    value = getattr(importlib.import_module(module), name)
    if not callable(value):
        return data(module, name, value)
    options = "   :no-index:\n" if id(value) in documented else ""
    documented.add(id(value))
    if isinstance(value, type) and issubclass(value, BaseException):
        return f".. autoexception:: {module}.{name}\n{options}"
    if isinstance(value, type):
        return f".. autoclass:: {module}.{name}\n{options}   :members:\n   :show-inheritance:\n"
    return f".. autofunction:: {module}.{name}\n{options}"


def data(module: str, name: str, value: object) -> str:
    """A value, with the remark (`#: ...`) above it where it is defined."""
    place = Path(importlib.import_module(module).__file__)
    files = sorted(place.parent.glob("*.py")) if place.stem == "__init__" else [place]
    above = re.compile(rf"((?:^#: ?.*\n)+){name}(?::[^=\n]*)? = ", re.M)
    found = next(filter(None, (above.search(path.read_text(encoding="utf-8")) for path in files)), None)
    remark = " ".join(line.removeprefix("#:").strip() for line in found[1].splitlines()) if found else ""
    shown = ", ".join(f"`{key}`" for key in value) if isinstance(value, dict | tuple) else f"`{value!r}`"
    return f".. py:data:: {module}.{name}\n\n   {remark}\n\n   {shown}\n"


def titled(title: str) -> str:
    """A page's heading, and a mark so that pages can be linked."""
    return f"{title}\n{'=' * len(title)}\n\n"


def public(module: str) -> list[str]:
    """The names that a module offers: its list, or the classes and functions that it defines."""
    found = importlib.import_module(module)
    if hasattr(found, "__all__"):
        return [name for name in found.__all__ if name != "__version__"]
    own = [name for name, value in vars(found).items() if callable(value) and value.__module__ == module]
    return [name for name in own if not name.startswith("_") and getattr(found, name).__doc__]


def reference(module: str, documented: set[int]) -> str:
    """A page of a module's public names in order; of a room that lists none, one section for each file in it, and for
    each folder that lists its names.
    """
    room = importlib.import_module(module)
    page = titled(module) + f".. automodule:: {module}\n   :no-members:\n\n"
    page += "\n".join(entry(module, name, documented) for name in public(module))
    if hasattr(room, "__all__"):
        return page
    for info in sorted(pkgutil.iter_modules(getattr(room, "__path__", ())), key=lambda info: info.name):
        name = f"{module}.{info.name}"
        if info.name.startswith("_") or (info.ispkg and not hasattr(importlib.import_module(name), "__all__")):
            continue
        if public(name):
            page += f"\n{name}\n{'-' * len(name)}\n\n.. automodule:: {name}\n   :no-members:\n\n"
            page += "\n".join(entry(name, each, documented) for each in public(name))
    return page


def references() -> Iterator[tuple[str, str, str]]:
    """Module, group and page of each page of reference: the list of public names, the widgets, and every room."""
    import lens

    documented: set[int] = set()
    yield "lens", "One list", reference("lens", documented)
    for info in sorted(pkgutil.iter_modules(lens.__path__), key=lambda info: info.name):
        module = f"lens.{info.name}"
        if info.name in GROUND:
            yield module, "What methods stand on", reference(module, documented)
        elif info.ispkg and info.name not in ELSEWHERE:
            yield module, "Families of methods", reference(module, documented)
    yield "widgets", "Widgets", reference("widgets", documented)


def reference_index(pages: list[tuple[str, str]]) -> str:
    """The list of pages of reference, by group."""
    page = titled("Reference") + "Every public name, from its docstring. Shapes are written as in jaxtyping.\n\n"
    for group in ("One list", "Families of methods", "What methods stand on", "Widgets"):
        modules = [module for module, its in pages if its == group]
        page += f".. rubric:: {group}\n\n"
        page += "".join(f":doc:`{module}`\n   {about(module)}\n\n" for module in modules)
    return page + ".. toctree::\n   :hidden:\n\n" + "".join(f"   {module}\n" for module, _ in pages)


def about(module: str) -> str:
    """The first sentence of a module's docstring, which may run over lines."""
    text = " ".join((importlib.import_module(module).__doc__ or "").split("\n\n")[0].split())
    return re.split(r"(?<=[.?!]) (?=[A-Z])", text)[0]


def project(guides: list[str]) -> str:
    """The list of the guides that are there."""
    listed = "".join(f"   {name.removesuffix('.md')}\n" for name in guides)
    return titled("The project") + f".. toctree::\n   :maxdepth: 1\n\n{listed}"


# --- notebooks and guides --------------------------------------------------------------------------------------------


def shown(notebook: Path) -> str:
    """A stored notebook as a page: of a widget, which lives in JupyterLab only, a line that says so."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    for cell in content["cells"]:
        outputs = []
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "application/vnd.jupyter.widget-view+json" not in data:
                outputs.append(output)
            elif not re.match(r"(HBox|FloatProgress|VBox|IntProgress|Output)\(|.*%\|", "".join(data["text/plain"])):
                name = re.match(r"\w*", "".join(data["text/plain"]))[0] or "A widget"
                note = (
                    f'<p class="live">{name}: a live view. Open the notebook with <code>make lab</code> to use it.</p>'
                )
                outputs.append({"output_type": "display_data", "metadata": {}, "data": {"text/html": note}})
        if "outputs" in cell:
            cell["outputs"] = outputs
    return json.dumps(content, ensure_ascii=False)


def guide(text: str) -> str:
    """A page of the root within the site: links to pages of the site stay links, those to files become names."""
    text = re.sub(r"\]\(docs/([^)]*)\)", r"](\1)", text)
    return re.sub(r"\[([^\]]*)\]\((?!https?:|#|[\w/.-]*\.md[)#])[^)]*\)", r"`\1`", text)


def stage(source: Path) -> None:
    """Everything that Sphinx reads, in one folder; what is no more is taken out of it."""
    before = {path for path in source.rglob("*") if path.is_file()}
    now: set[Path] = set()

    def put(path: Path, text: str | None = None, of: Path | None = None) -> None:
        now.add(path)
        write(path, text) if of is None else copy(of, path)

    for path in (ROOT / "docs").rglob("*"):
        if path.is_file() and path.suffix in SHOWN and "__pycache__" not in path.parts and path.name != "build.py":
            put(source / path.relative_to(ROOT / "docs"), of=path)
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        put(source / "notebooks" / path.name, shown(path))
    for path in (ROOT / "notebooks" / "images").glob("*"):
        put(source / "notebooks" / "images" / path.name, of=path)
    guides = [name for name in GUIDES if (ROOT / name).is_file()]
    for name in guides:
        put(source / name, guide((ROOT / name).read_text(encoding="utf-8")))
    changes = sorted(path.name for path in (ROOT / "docs").glob("changes-*.md"))
    put(source / "project.rst", project([*guides, *changes]))
    pages = []
    for module, group, page in references():
        pages.append((module, group))
        put(source / "reference" / f"{module}.rst", page)
    put(source / "reference" / "index.rst", reference_index(pages))
    for path in before - now:
        path.unlink()


# --- the build -------------------------------------------------------------------------------------------------------


def build(out: Path, source: Path, fresh: bool = False) -> dict[str, float]:
    """The site in `out`; Sphinx' warnings counted, and each printed where it is met."""
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace, patch_docutils

    began = time.perf_counter()
    stage(source)
    with patch_docutils(source), docutils_namespace():
        app = Sphinx(source, source, out, source.with_name("docs-doctrees"), "html", freshenv=fresh, keep_going=True,
                     warningiserror=True, parallel=1, status=None)  # fmt: skip
        # all pages, since each shows the list of them
        app.build(force_all=True)
    return {
        "docs_warnings": app._warncount,
        "pages": len(app.project.docnames),
        "seconds": round(time.perf_counter() - began, 1),
    }


def main(argv: list[str] | None = None) -> int:
    """1 where there was a warning, 2 where something to build with is not installed."""
    parser = argparse.ArgumentParser(description="Builds the documentation; needs no network.")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "docs", help="the folder of the site")
    parser.add_argument("--fresh", action="store_true", help="read every page again")
    chosen = parser.parse_args(argv)
    absent = missing()
    if absent:
        print(
            f"docs: {', '.join(absent)} is not installed. Run: pip install -e '.[docs]' -c constraints.txt",
            file=sys.stderr,
        )
        return 2
    sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "_extensions")]
    out = chosen.out.resolve()
    figures = build(out, out.with_name(f"{out.name}-source"), chosen.fresh)
    print(f"the pages: {out / 'index.html'}", file=sys.stderr)
    print(json.dumps(figures))
    return 1 if figures["docs_warnings"] else 0


if __name__ == "__main__":
    sys.exit(main())
