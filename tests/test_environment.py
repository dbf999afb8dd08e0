"""pyproject.toml, constraints.txt and environment.yml say the same, and this environment obeys them."""

import ast
import functools
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name as canonical

import lens

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = dict(
    line.split("==") for line in (ROOT / "constraints.txt").read_text().split("\n") if line and not line.startswith("#")
)
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text())


def requirements(*extras):
    """{name: requirement} of the base and of extras, those that an extra asks for itself too."""
    return {one.name: one for line in PROJECT["dependencies"] for one in [Requirement(line)]} | of_extras(*extras)


def of_extras(*extras):
    found = {}
    for line in (line for extra in extras for line in PROJECT["optional-dependencies"][extra]):
        one = Requirement(line)
        found |= of_extras(*sorted(one.extras)) if one.name == PROJECT["name"] else {one.name: one}
    return found


def test_constraints_pin_every_direct_dependency_and_nothing_else():
    wanted = requirements("test", "docs", "dev", "bench")
    assert PINS.keys() == wanted.keys()
    assert not [name for name, requirement in wanted.items() if not requirement.specifier.contains(PINS[name])]


def test_the_conda_environment_has_the_same_python_and_pins():
    python, pip, packages = ENVIRONMENT["dependencies"]
    assert python == f"python{PROJECT['requires-python']}" and pip == "pip"
    editable, *pins = packages["pip"]
    assert editable == "--editable ."
    assert pins == [
        f"{name}=={PINS[name]}" + (f"; {wanted.marker}" if wanted.marker else "")
        for name, wanted in requirements("test").items()
    ]
    assert ENVIRONMENT["name"] == PROJECT["name"]


@pytest.mark.parametrize(
    "name",
    sorted(name for name, wanted in requirements("test").items() if not wanted.marker or wanted.marker.evaluate()),
)
def test_what_is_installed_is_what_is_pinned(name):
    assert version(name).split("+")[0] == PINS[name]


@pytest.mark.parametrize(
    ("name", "before"),
    [
        ("transformers", "5.4"),
        ("peft", "0.19.1"),
        ("diffusers", "0.37"),
        ("numpy", "1.23"),
        ("zarr", "2.18"),
        ("pyarrow", "14.0.0"),
    ],
)
def test_versions_before_the_guards_of_untrusted_files_are_not_installed(name, before):
    assert not requirements("diffusion")[name].specifier.contains(before)


def test_torch_is_pinned_to_the_version_of_the_reference_numbers():
    assert PINS["torch"] == "2.13.0"


#: What a room may import beyond the base: the extras whose absence it tells.
ROOMS = {
    "notebook": ("widgets/**/*.py", "notebooks/*.py"),
    "diffusion": ("lens/diffusion/*.py", "lens/organisms/cards/*.py"),
    "quantized": ("lens/models/quant*.py",),
    "served": ("lens/scoring/served/*.py",),
    "inspect": ("lens/results/inspect_log.py",),
    "mlflow": ("lens/results/mlflow_run.py",),
    "wandb": ("lens/results/wandb_run.py",),
}
PATHS = {extra: {path for pattern in patterns for path in ROOT.glob(pattern)} for extra, patterns in ROOMS.items()}
PATHS[None] = set(ROOT.glob("lens/**/*.py")) - set.union(*PATHS.values())


@functools.cache
def owners_of_modules():
    return packages_distributions()


@pytest.mark.parametrize("extra", PATHS)
def test_every_import_of_the_packages_is_a_dependency_of_the_base_or_of_the_rooms_extra(extra):
    ours = {"lens", "widgets", "notebooks"}
    imported = set()
    for path in PATHS[extra]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                imported.add(node.module.split(".")[0])
    owners = owners_of_modules()
    declared = {canonical(name) for name in requirements(*[extra] * (extra is not None))}
    missing = {
        name
        for name in imported - sys.stdlib_module_names - ours
        if not {canonical(owner) for owner in owners.get(name, [])} & declared
    }
    assert not missing


@pytest.mark.long
def test_lens_imports_no_jupyter_and_no_plotting():
    """In a fresh interpreter: everything in `lens` but the figures, those of the studies and the page of them."""
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in (ROOT / "lens").rglob("*.py")]
    modules = sorted(
        name.removesuffix(".__init__")
        for name in modules
        if not name.startswith("lens.figures")
        and not re.fullmatch(r"lens\.reproduce\.(report|\w+\.\w*figures)", name)
        and not name.endswith("__main__")
    )
    assert "lens.models" in modules
    code = f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\nprint(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()
    assert not {"widgets", "ipywidgets", "jupyterlab", "nbclient", "anywidget", "matplotlib"} & {
        name.split(".")[0] for name in loaded
    }


def test_the_first_name_is_there_before_torch_is():
    """`lens.load` can be asked for without the seconds that torch and what stands on it take to import."""
    code = "import sys, lens; lens.load; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert not {"torch", "transformers", "transformer_lens", "pandas", "xarray"} & set(loaded.split())


def test_the_version_is_written_once():
    assert lens.__version__ == PROJECT["version"] == version("mnemoscope")
    written = [path for path in (ROOT / "lens").rglob("*.py") if "__version__ = " in path.read_text(encoding="utf-8")]
    assert not written


@pytest.mark.parametrize("package", ["lens", "widgets"])
def test_every_data_file_of_a_package_is_shipped(package):
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"][package]
    shipped = {path for pattern in patterns for path in (ROOT / package).glob(pattern)}
    files = {path for path in (ROOT / package).rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    # links of a clone to what ships
    files -= {path for path in files if path.is_symlink() and path.resolve() in shipped}
    # what the views' scripts and style sheets are built from; tests/widgets/test_static.py holds them to what ships
    files -= {path for path in (ROOT / "widgets").rglob("*.*s") if path.parent.name != "static"}
    assert files and files <= shipped


def test_the_makefile_installs_with_the_constraints():
    recipe = (ROOT / "Makefile").read_text()
    assert re.search(r"^PIP := \$\(BIN\)/python -m pip install ", recipe, re.M)
    installed = re.findall(r"^\t\$\(PIP\) (.*)$", recipe, re.M)
    assert "-e '.[$(EXTRAS)]' -c constraints.txt" in installed and re.search(r"^EXTRAS \?= test$", recipe, re.M)
    assert all(line.endswith(" -c constraints.txt") for line in installed)
    assert re.search(r"^\$\(STAMP\): pyproject\.toml constraints\.txt$", recipe, re.M)


def test_a_terminal_of_jupyterlab_finds_the_command():
    """The start page and the README say `lens new` there, and `make lab` starts it without an activated environment."""
    (line,) = re.findall(r"^lab: model\n\t(.*)$", (ROOT / "Makefile").read_text(), re.M)
    assert line.startswith('PATH="$(CURDIR)/$(BIN):$$PATH" ') and line.endswith("notebooks/00_start_here.ipynb")


@pytest.mark.parametrize("broken", ["", "lint", "demo", "test"])
def test_the_ci_script_runs_every_part_whatever_the_others_say_and_names_what_failed(tmp_path, broken):
    for name in ("make", "chromium", "npm"):
        tool = tmp_path / name
        tool.write_text(f'#!/bin/sh\necho "ran $*"\n[ "$1" != "{broken}" ]\n')
        tool.chmod(0o755)
    run = subprocess.run(
        ["bash", ROOT / ".ci" / "run"],
        capture_output=True,
        text=True,
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    parts = ["tools", "lint", "demo", "test SLOW=1"]
    assert sorted(re.findall("^ran (.*)$", run.stdout, re.M)) == sorted(parts)
    assert run.returncode == bool(broken) and re.findall("^failed: (.*)$", run.stdout, re.M) == [broken] * bool(broken)


def test_the_ci_script_is_valid_and_fails_when_no_test_is_collected(tmp_path):
    subprocess.run(["bash", "-n", ROOT / ".ci" / "run"], check=True)
    assert "set -euo pipefail" in (ROOT / ".ci" / "run").read_text()
    plain = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    empty = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", tmp_path], capture_output=True, cwd=tmp_path, env=plain
    )
    assert empty.returncode == 5
