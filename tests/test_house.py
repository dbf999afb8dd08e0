"""Rules of the house that a script can hold: which way imports run, who knows whom, and that a method comes as a
folder of its own.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

#: Floors of the house from the ground up: a room imports what is below it, and on its own floor where nothing is said
#: against it. Any other folder of lens is a family, on the floor of figures and organisms.
FLOORS = (
    {
        "arguments",
        "containers",
        "errors",
        "extras",
        "file_errors",
        "files",
        "lazy",
        "locks",
        "markup",
        "notices",
        "pickled_tensors",
        "quiet",
        "processes",
        "progress",
        "reading",
        "records",
    },
    {"cache", "data", "models", "prompts", "tokens"},
    {"engine", "results", "stats"},
    {"cluster", "model_files", "readout", "scoring", "training"},
    {"figures", "organisms"},
    {"__main__", "cli", "doctor", "lens", "new", "reproduce", "widgets"},
)
OF_FAMILIES = 4
#: Rooms of one floor that do not know each other; so it is with families.
APART = {"engine", "results", "stats"}
#: The one exception that is drawn: statistics of a diffusion model feed the masks of subspaces.
DRAWN = {("diffusion", "subspace")}
#: What draws or runs in a notebook.
DRAWING = ("matplotlib", "plotly", "seaborn", "bokeh", "altair")
NOTEBOOKS = (
    "widgets",
    "ipywidgets",
    "anywidget",
    "IPython",
    "ipykernel",
    "jupyter",
    "jupyterlab",
    "nbclient",
    "nbformat",
)
#: What breaks a rule today, as (module, what it imports): it only shrinks, since a line that breaks none fails.
NOT_YET = {
    # figures that are drawn elsewhere
    ("lens.provenance.report", "matplotlib"),
}


@dataclass(frozen=True)
class Import:
    """`target`: a module of the house, or the name of a package outside it. `runs`: not for type checkers alone."""

    module: str
    target: str
    runs: bool
    line: int


def modules_of(root: Path) -> dict[str, Path]:
    """Every module of lens and of the widgets by its name."""
    found = {}
    for path in sorted([*root.glob("lens/**/*.py"), *root.glob("widgets/**/*.py")]):
        found[".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")] = path
    return found


@cache
def imports_of(root: Path) -> tuple[Import, ...]:
    """Every import in lens and the widgets, those inside functions too."""
    modules = modules_of(root)
    return tuple(found for name, path in modules.items() for found in _imports(name, path, modules))


def _imports(name: str, path: Path, modules: dict[str, Path]) -> Iterator[Import]:
    package = name if path.stem == "__init__" else name.rpartition(".")[0]

    def within(node: ast.AST, runs: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(name, _ours(alias.name, modules), runs, child.lineno)
            elif isinstance(child, ast.ImportFrom):
                above = package.split(".")[: len(package.split(".")) + 1 - child.level] if child.level else []
                base = ".".join([*above, *([child.module] if child.module else [])])
                for alias in child.names:
                    yield Import(name, _ours(f"{base}.{alias.name}", modules), runs, child.lineno)
            # what is for type checkers alone, and what is there in its place where the program runs
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                yield from within(ast.Module(child.body, []), False)
                yield from within(ast.Module(child.orelse, []), runs)
            else:
                yield from within(child, runs)

    yield from within(ast.parse(path.read_text(encoding="utf-8")), True)


def _ours(name: str, modules: dict[str, Path]) -> str:
    """The module that a name is, or is in; of what is not of the house, the package."""
    if name in modules:
        return name
    return name.rpartition(".")[0] if name.rpartition(".")[0] in modules else name.partition(".")[0]


def room(module: str) -> str:
    """`lens` is the list of public names, `widgets` one room."""
    parts = module.split(".")
    return "widgets" if parts[0] == "widgets" else parts[1] if len(parts) > 1 else parts[0]


def floor(of: str) -> int:
    return next((number for number, rooms in enumerate(FLOORS) if of in rooms), OF_FAMILIES)


def is_family(of: str) -> bool:
    return not any(of in rooms for rooms in FLOORS)


def wrong_arrows(root: Path) -> dict[tuple[str, str], str]:
    """Imports that run upwards, or between rooms of a floor that do not know each other, and where they stand."""
    found = {}
    for one in imports_of(root):
        if one.target.partition(".")[0] not in ("lens", "widgets") or one.module == "lens":
            continue
        own, other = room(one.module), room(one.target)
        strangers = {own, other} <= APART or (is_family(own) and is_family(other) and (own, other) not in DRAWN)
        if own != other and (floor(other) > floor(own) or strangers):
            found[one.module, other] = f"{one.module}:{one.line} imports {one.target}"
    return found


def circles(root: Path) -> list[list[str]]:
    """Modules that import each other, directly or by others, when the program runs."""
    ahead: dict[str, set[str]] = {name: set() for name in modules_of(root)}
    for one in imports_of(root):
        if one.runs and one.target in ahead and one.target != one.module:
            ahead[one.module].add(one.target)

    def reached(start: str) -> set[str]:
        seen, waiting = set(), [start]
        while waiting:
            for name in ahead[waiting.pop()] - seen:
                seen.add(name)
                waiting.append(name)
        return seen

    of = {name: reached(name) for name in ahead}
    found = {tuple(sorted(other for other in of[name] if name in of[other])) for name in ahead if name in of[name]}
    return sorted(map(list, found))


def drawn(root: Path) -> dict[tuple[str, str], str]:
    """Imports of plotting outside the figures, and of notebooks and widgets anywhere in lens."""
    found = {}
    for one in imports_of(root):
        what, figures = one.target.partition(".")[0], room(one.module) == "figures" or one.module.endswith("figures")
        if room(one.module) != "widgets" and (what in NOTEBOOKS or (what in DRAWING and not figures)):
            found[one.module, what] = f"{one.module}:{one.line} imports {one.target}"
    return found


def test_arrows_run_one_way():
    """Down the floors; the engine and the results do not know each other, nor do families."""
    found = wrong_arrows(ROOT)
    assert not {key: told for key, told in found.items() if key not in NOT_YET}


def test_no_circle_of_files():
    assert not circles(ROOT)


def test_the_science_draws_nothing_and_knows_no_notebook():
    found = drawn(ROOT)
    assert not {key: told for key, told in found.items() if key not in NOT_YET}


def test_what_is_not_yet_so_breaks_a_rule():
    assert NOT_YET <= {*wrong_arrows(ROOT), *drawn(ROOT)}


def test_every_room_of_the_list_that_is_no_plan_is_there():
    """A name that nobody has any more would be a family to this file, and its rules others."""
    there = {room(name) for name in modules_of(ROOT)}
    assert set().union(*FLOORS) - there <= {"stats", "readout", "scoring"}


#: Files that break a rule, and the rule that says so.
BROKEN = {
    "upwards": ({"lens/engine/a.py": "from ..patching.b import c"}, "arrows"),
    "upwards in a function": ({"lens/models/a.py": "def f():\n    from lens.engine import b"}, "arrows"),
    "the engine and the results": ({"lens/engine/a.py": "from ..results import b"}, "arrows"),
    "the results and the engine": ({"lens/results/a.py": "import lens.engine.b"}, "arrows"),
    "one family and another": ({"lens/patching/a.py": "from lens.sixth.b import c"}, "arrows"),
    "for type checkers alone": (
        {"lens/engine/a.py": "if TYPE_CHECKING:\n    from ..results.b import c"},
        "arrows",
    ),
    "the list of names": ({"lens/engine/a.py": "import lens"}, "arrows"),
    "a circle": (
        {"lens/models/a.py": "from . import b", "lens/models/b.py": "def f():\n    from .a import g"},
        "circle",
    ),
    "a circle of three": (
        {f"lens/models/{one}.py": f"from .{other} import c" for one, other in ("ab", "bc", "ca")},
        "circle",
    ),
    "plots": ({"lens/stats/a.py": "def f():\n    import matplotlib.pyplot as plt"}, "drawn"),
    "widgets": ({"lens/stats/a.py": "from widgets.b import c"}, "drawn"),
    "a notebook": ({"lens/figures/a.py": "from IPython.display import display"}, "drawn"),
}
FINE = {
    "lens/diffusion/a.py": "from ..subspace.b import c\nfrom ..engine import d",
    "lens/figures/a.py": "import matplotlib",
    "lens/reproduce/figures.py": "import matplotlib",
    "lens/models/a.py": "if TYPE_CHECKING:\n    from .b import c",
    "lens/models/b.py": "from .a import d",
    "lens/__init__.py": "from .engine import b",
    "widgets/a.py": "import ipywidgets\nimport lens",
}


def written(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for part in {path.parent for path in folder.rglob("*.py")} | {folder / "lens"}:
        if not (part / "__init__.py").is_file():
            (part / "__init__.py").write_text("", encoding="utf-8")
    return folder


@pytest.mark.parametrize("case", BROKEN)
def test_what_breaks_a_rule_is_found(case, tmp_path):
    files, rule = BROKEN[case]
    others = {name: "" for name in ("lens/engine/b.py", "lens/results/b.py", "lens/patching/b.py", "lens/sixth/b.py")}
    others |= {"lens/models/b.py": "", "lens/models/c.py": ""}
    root = written(tmp_path, others | files)
    found = {"arrows": wrong_arrows(root), "circle": circles(root), "drawn": drawn(root)}
    assert found[rule], case


def test_what_breaks_none_is_not(tmp_path):
    root = written(tmp_path, {"lens/subspace/b.py": "", "lens/engine/b.py": "", "lens/engine/d.py": ""} | FINE)
    assert not wrong_arrows(root) and not circles(root) and not drawn(root)


#: A method that is in no list, file by file: the one that the documentation adds.
PAGE = ROOT / "docs" / "own-method.md"
FILE = re.compile(r"^```\{code-block\} \w+\n:caption: `(\S+)`\n\n(.*?)^```$", re.M | re.S)


def sixth_method() -> dict[str, str]:
    """The method's files by path; `try.py` is what a person then writes."""
    return dict(FILE.findall(PAGE.read_text(encoding="utf-8"))) | {"tests/silence/__init__.py": ""}


#: Of the tree, what a method's tests need.
NEEDED = ("pyproject.toml", "tests/__init__.py", "tests/conftest.py", "tests/models.py", "tests/test_house.py")


def with_a_sixth_method(place: Path) -> subprocess.CompletedProcess:
    """A copy of the tree in an empty folder, the method beside it, and how its own tests and those of this file end."""

    def left_out(folder: str, names: list[str]) -> list[str]:
        large = [
            name for name in names if (Path(folder) / name).is_file() and os.path.getsize(Path(folder, name)) > 1e6
        ]
        return [*large, *({"__pycache__"} & set(names))]

    for package in ("lens", "widgets"):
        shutil.copytree(ROOT / package, place / package, ignore=left_out)
    for name in NEEDED:
        (place / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, place / name)
    for name, text in sixth_method().items():
        if name != "try.py":
            (place / name).parent.mkdir(exist_ok=True)
            (place / name).write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/silence", "tests/test_house.py"]
    return within(place, *command, "-k", "not sixth")


def within(place: Path, *command: str) -> subprocess.CompletedProcess:
    """A command run in a copy of the tree, on its packages."""
    environment = {**os.environ, "PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)


def changed_for_it(place: Path) -> list[str]:
    """Files of that copy, outside the method's own folders, that are not what they are in the tree."""
    own = {Path(name).parent for name in sixth_method() if name != "try.py"}
    files = {path.relative_to(place) for path in place.rglob("*.*") if path.is_file()}
    there = {name for name in files if name.parent not in own and "__pycache__" not in name.parts}
    return sorted(
        str(n) for n in there if not (ROOT / n).is_file() or (ROOT / n).read_bytes() != (place / n).read_bytes()
    )


@pytest.mark.long
def test_a_sixth_method_is_a_folder_and_a_folder_of_tests(tmp_path):
    """In a copy of the tree, in which no other line is changed: its own tests pass, and the rules of this file; and
    what the documentation then does with it runs.
    """
    done = with_a_sixth_method(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert changed_for_it(tmp_path) == []
    used = within(tmp_path, sys.executable, "-c", sixth_method()["try.py"])
    assert used.stdout.startswith("Silenced attention, "), used.stdout + used.stderr
    (tmp_path / "lens" / "errors.py").write_text("")
    assert changed_for_it(tmp_path) == ["lens/errors.py"]


def test_no_test_judges_a_duration():
    """How long something takes belongs to the benchmarks: on a busy machine such a test says nothing of the code.
    Waiting with a limit is no judgement.
    """
    found = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in (
                "perf_counter",
                "perf_counter_ns",
                "process_time",
                "thread_time",
            ):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno} reads {node.attr}")
            if isinstance(node, ast.Assert):
                clocks = [
                    part
                    for part in ast.walk(node.test)
                    if isinstance(part, ast.BinOp) and "time.monotonic()" in ast.unparse(part)
                ]
                found += [f"{path.relative_to(ROOT)}:{node.lineno} asserts {ast.unparse(part)}" for part in clocks]
    assert not found, found
