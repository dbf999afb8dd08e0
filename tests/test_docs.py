"""The documentation builds without a network and without a warning; its pages load nothing from elsewhere."""

import importlib
import importlib.util
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import lens
from tests import test_house as house

ROOT = Path(__file__).parent.parent
#: A name between marks with letters right behind it.
PLURAL = re.compile(r"(?<![`\w])`[A-Za-z_.]+`[a-z]+")


class Page(HTMLParser):
    """What a page loads, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.loaded: list[str | None] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        of = dict(attrs)
        if tag in ("script", "img", "iframe", "source"):
            self.loaded.append(of.get("src"))
        elif tag == "link" and "canonical" not in (of.get("rel") or "").split():
            self.loaded.append(of.get("href"))

    def handle_data(self, data):
        self.texts.append(data)


def script():
    spec = importlib.util.spec_from_file_location("docs_build", ROOT / "docs" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build = script()
#: Refuses every address and name that is asked for, and keeps a list of them.
NO_NETWORK = """
import os, sys

def refuse(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request"):
        with open(os.environ["ASKED"], "a") as asked:
            print(event, args, file=asked)
        raise OSError(f"{event}: there is no network here")

sys.addaudithook(refuse)
"""


def without_network(folder: Path, *arguments: object) -> tuple[subprocess.CompletedProcess, str]:
    """`docs/build.py` where every connection is refused, and what it asked the network for."""
    (folder / "sitecustomize.py").write_text(NO_NETWORK, encoding="utf-8")
    asked = folder / "asked"
    paths = [str(folder), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "build.py", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "ASKED": str(asked)},
        capture_output=True,
        text=True,
    )
    return done, asked.read_text() if asked.is_file() else ""


def test_the_network_is_really_refused(tmp_path):
    """The guard of the test below does what it says."""
    (tmp_path / "sitecustomize.py").write_text(NO_NETWORK, encoding="utf-8")
    code = "import socket; socket.create_connection(('localhost', 9))"
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "ASKED": str(tmp_path / "asked")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert "there is no network here" in done.stderr and (tmp_path / "asked").read_text()


needs_sphinx = pytest.mark.skipif(
    bool(build.missing()), reason=f"for the documentation, not installed: {', '.join(build.missing())}"
)


@needs_sphinx
@pytest.mark.parametrize(
    ("lines", "ready"),
    [
        (["Returns: as `patch`,", "    with more."], ["Returns:", "    as `patch`,", "    with more."]),
        (["Args: ``k``: how", "    many."], ["Args:", "    ``k``: how", "        many."]),
        (["Raises: E: no.", "    F: none."], ["Raises:", "    E: no.", "    F: none."]),
        (
            ["Raises: E for another shape. Cost: n", "    numbers."],
            ["Raises: E for another shape. Cost: n", "numbers."],
        ),
        (["A sentence", "    that is indented.", "", "- a list", "  of two"], None),
    ],
)
def test_docstrings_as_this_project_writes_them_become_sections(lines, ready, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "_extensions"))
    docstrings = importlib.import_module("docstrings")
    ready = ready or ["A sentence", "that is indented.", "", "- a list", "  of two"]
    assert docstrings.sections(docstrings.straight(lines)) == ready


@needs_sphinx
def test_signatures_name_the_kinds_of_arguments(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "_extensions"))
    docstrings = importlib.import_module("docstrings")
    from sphinx.util.typing import stringify_annotation

    from lens.arguments import Count

    spelled = stringify_annotation(Count, "smart")
    assert "Annotated" in spelled and docstrings.bare(f"(k: {spelled} = 5)") == "(k: Count = 5)"
    other = "(x: ~typing.Annotated[list[int], <lens.arguments.kinds.Filled object at 0x7f>] | None)"
    assert docstrings.bare(other) == "(x: list[int] | None)"


def test_every_package_of_methods_and_every_room_they_stand_on_has_a_page_of_reference():
    """What the walls take for a family, the three rooms of statistics, read-outs and scores, and the views."""
    groups: dict[str, set[str]] = {}
    for module, group, page in build.references():
        groups.setdefault(group, set()).add(module.removeprefix("lens."))
        assert page.count("::") > 1 and build.about(module).endswith((".", "?", "!")), module
    packages = {path.parent.name for path in (ROOT / "lens").glob("*/__init__.py")}
    assert groups["Families of methods"] == {name for name in packages if house.is_family(name)} - {"arguments"}
    assert {"stats", "readout", "scoring", "engine", "results", "organisms"} <= groups["What methods stand on"]
    assert groups["Widgets"] == {"widgets"} and groups["One list"] == {"lens"}


def test_a_sentence_about_a_module_ends_where_it_ends():
    assert build.about("lens.stats").endswith("calibration, splits.")
    assert build.about("lens.patching") == "Activation patching: which site carries it?"


@needs_sphinx
def test_a_formula_that_the_converter_does_not_know_is_a_warning(monkeypatch):
    """A sign that would stand in the page as it was typed: no formula of the pages has one."""
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "_extensions"))
    mathml = importlib.import_module("mathml")
    told: list[tuple] = []
    monkeypatch.setattr(mathml.LOG, "warning", lambda *about, **where: told.append(about))
    for latex in (r"\big\| x \big\|", r"\nosuch x"):
        mathml.mathml(latex, "inline", None)
    assert len(told) == 2
    formulas = [
        formula
        for path in (ROOT / "docs").rglob("*.md")
        for pair in re.findall(r"\$\$(.+?)\$\$|\$([^$`\n]+)\$", path.read_text(encoding="utf-8"), re.S)
        for formula in pair
        if formula
    ]
    for latex in formulas:
        assert "<math" in mathml.mathml(latex, "inline", None)
    assert len(formulas) > 20 and len(told) == 2, told[2:]


@needs_sphinx
def test_the_text_of_a_property_is_not_taken_for_its_type(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "_extensions"))
    docstrings = importlib.import_module("docstrings")
    from sphinx.ext.napoleon import Config, GoogleDocstring

    lines = ["rho * sqrt(n - 1): mean 0 and variance 1."]
    docstrings.process(None, "property", "p", None, None, lines)
    shown = GoogleDocstring(lines, Config(), what="property", name="p").lines()
    assert r"rho \* sqrt(n - 1): mean 0 and variance 1." in shown and not [line for line in shown if ":type" in line]


def test_what_a_page_loads_and_says_is_seen():
    shown = Page(
        "<script src='a.js'></script><link rel=icon href='//e.org/b'><link rel='canonical' href='c'><p>d <b>e</b>"
    )
    assert shown.loaded == ["a.js", "//e.org/b"] and "".join(shown.texts) == "d e"


def test_no_name_in_a_docstring_has_letters_right_behind_its_mark():
    """As in the plural of a class: the converter takes it for a mark without an end."""
    sources = [path for room in ("lens", "widgets") for path in (ROOT / room).rglob("*.py")]
    wrong = [f"{path}: {hit}" for path in sources for hit in PLURAL.findall(path.read_text(encoding="utf-8"))]
    assert PLURAL.findall("names of `METHODS`, or `Arm`s.") and wrong == []


@pytest.mark.slow
@needs_sphinx
def test_the_site_builds_without_a_network_and_asks_for_nothing(tmp_path):
    done, asked = without_network(tmp_path, "--out", tmp_path / "site")
    assert done.returncode == 0, done.stderr[-3000:]
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["docs_warnings"] == 0 and figures["pages"] > 20 and not asked
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    for notebook in notebooks:
        page = (tmp_path / "site" / "notebooks" / f"{notebook.stem}.html").read_text(encoding="utf-8")
        assert "cell_output" in page, f"{notebook.name} is shown without its outputs"
    for page in (tmp_path / "site").rglob("*.html"):
        shown = Page(page.read_text(encoding="utf-8"))
        assert shown.loaded and not [url for url in shown.loaded if re.match(r"(https?:)?//", url or "")], page
        assert " object at 0x" not in "".join(shown.texts) or page.parent.name == "_modules", page
    reference = (tmp_path / "site" / "reference" / "lens.html").read_text(encoding="utf-8")
    assert not [name for name in lens.__all__ if name != "__version__" and f'id="lens.{name}"' not in reference]


def test_what_is_not_installed_is_named_with_what_installs_it(tmp_path):
    """Without the packages of the extra: the names, the command, exit code 2, nothing written."""
    hidden = "\n".join(f"sys.modules[{name!r}] = None" for name in build.NEEDED)
    finder = (
        "import importlib.util as u; of = u.find_spec; u.find_spec = lambda n, *a: None if n in names else of(n, *a)"
    )
    (tmp_path / "absent.py").write_text(f"import sys\nnames = {build.NEEDED!r}\n{hidden}\n{finder}\n", encoding="utf-8")
    code = (
        f"import absent, runpy, sys; sys.argv = ['build.py', '--out', {str(tmp_path / 'site')!r}]; "
        f"runpy.run_path({str(ROOT / 'docs' / 'build.py')!r}, run_name='__main__')"
    )
    paths = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True
    )
    assert done.returncode == 2 and "pip install -e '.[docs]' -c constraints.txt" in done.stderr
    assert all(name in done.stderr for name in build.NEEDED) and not (tmp_path / "site").exists()


def test_a_live_view_is_a_line_that_says_how_to_use_it(tmp_path):
    """What lives in JupyterLab only leaves no empty place, and a bar of progress leaves none at all."""
    view, bar, plain = (
        {"output_type": "display_data", "metadata": {}, "data": {"text/plain": [text], **more}}
        for text, more in (
            ("PatchExplorer(layer=3)", {"application/vnd.jupyter.widget-view+json": {}}),
            ("HBox(children=())", {"application/vnd.jupyter.widget-view+json": {}}),
            ("3", {}),
        )
    )
    cell = {"cell_type": "code", "metadata": {}, "source": [], "execution_count": 1, "outputs": [view, bar, plain]}
    path = tmp_path / "01_a.ipynb"
    path.write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}), encoding="utf-8")
    outputs = json.loads(build.shown(path))["cells"][0]["outputs"]
    assert len(outputs) == 2 and "PatchExplorer: a live view" in outputs[0]["data"]["text/html"]
    assert outputs[1]["data"]["text/plain"] == ["3"]


@pytest.mark.parametrize(
    ("text", "page"),
    [
        ("see [the table](docs/models.md)", "see [the table](models.md)"),
        ("see [a file](lens/engine/walk/plan.py)", "see `a file`"),
        ("see [a site](https://example.org)", "see [a site](https://example.org)"),
        ("see [there](#there)", "see [there](#there)"),
    ],
)
def test_links_of_a_guide_fit_the_site(text, page):
    assert build.guide(text) == page


def test_the_makefile_and_the_ci_script_build_the_documentation():
    assert re.search(r"^docs: .*\n\t.*docs/build\.py", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    tools, tests = script.index("make tools"), script.index("make test ")
    assert tools < tests, "the tests of the site need what `make tools` installs"


def test_the_architecture_names_every_room():
    """Each folder and file of `lens/`, and each folder beside it."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rooms = [f"`{path.name}/`" for path in (ROOT / "lens").iterdir() if path.is_dir() and path.name != "__pycache__"]
    rooms += [f"`{path.name}`" for path in (ROOT / "lens").glob("*.py") if not path.name.startswith("__")]
    rooms += [f"`{name}/`" for name in ("widgets", "notebooks", "benchmarks", "tests", "docs", "findings")]
    assert not [room for room in rooms if room not in text]


@pytest.mark.parametrize("guide", build.GUIDES)
def test_what_the_guides_link_to_is_there(guide):
    text = (ROOT / guide).read_text(encoding="utf-8")
    assert not [link for link in re.findall(r"\]\((?!https?:|#)([^)#]*)", text) if not (ROOT / link).exists()]


def test_every_page_of_a_method_has_its_parts():
    """When to use it and when not, a pattern, what it costs, formulas, assumptions, gotchas, errors, sources."""
    parts = ("**Use it**", "**Do not use it**", "## Pattern", "## What it costs", "## Formula", "## Assumptions")
    parts += ("## Gotchas", "## Errors one meets", "*Reference:*")
    pages = [path for path in sorted((ROOT / "docs" / "methods").glob("*.md")) if path.stem != "index"]
    missing = {path.stem: [part for part in parts if part not in path.read_text(encoding="utf-8")] for path in pages}
    assert len(pages) >= 20 and not any(missing.values()), missing


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "methods").glob("*.md")), ids=lambda path: path.stem)
def test_the_names_that_a_page_refers_to_are_public(page):
    for role, name in re.findall(r"\{py:(func|class)\}`([\w.]+)`", page.read_text(encoding="utf-8")):
        module, _, last = name.rpartition(".")
        found = getattr(importlib.import_module(module), last)
        assert isinstance(found, type) == (role == "class"), name
