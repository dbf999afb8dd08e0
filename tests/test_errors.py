"""One base under every error of the package."""

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import lens
import lens.errors

#: Exceptions that never leave the package: they end a walk or a probe and are caught by whoever began it.
SIGNALS = {
    "lens.arguments.checks.Unfit",
    "lens.engine.stopping.Stopped",
    "lens.features.training.fitting._Reached",
    "lens.models.check.Unlike",
    "lens.scoring.served.client._Passing",
    "lens.subspace.attribution._Flat",
}


def _exceptions() -> list[type[BaseException]]:
    """Every exception class that a module of the package or of the widgets defines."""
    import widgets

    found = []
    for package in (lens, widgets):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name.endswith("__main__"):
                continue
            loaded = importlib.import_module(module.name)
            found += [
                kind
                for _, kind in inspect.getmembers(loaded, inspect.isclass)
                if issubclass(kind, BaseException) and kind.__module__ == module.name
            ]
    return found


def test_every_error_descends_from_the_one_base():
    found = _exceptions()
    apart = {f"{kind.__module__}.{kind.__qualname__}" for kind in found if not issubclass(kind, lens.Error)}
    assert apart == SIGNALS
    assert len(found) > 20


def test_an_error_is_also_of_the_built_in_kind_that_it_resembles():
    for kind in _exceptions():
        if issubclass(kind, lens.Error) and kind is not lens.Error:
            kinds = [
                base
                for base in kind.__mro__
                if base.__module__ == "builtins" and base not in (Exception, BaseException, object)
            ]
            assert kinds, f"{kind.__qualname__} is of no built-in kind: `except ValueError` does not take it"


@pytest.mark.parametrize(
    "module, below",
    [
        ("errors", set()),
        ("processes", set()),
        ("file_errors", {"errors"}),
        ("files", {"file_errors", "processes"}),
        ("locks", {"files", "processes"}),
    ],
)
def test_the_ground_floor_imports_nothing_of_the_package(module, below):
    tree = ast.parse(Path(lens.__path__[0], f"{module}.py").read_text(encoding="utf-8"))
    names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)] + [
        a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names
    ]
    relative = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level}
    assert not any(name.split(".")[0] in ("lens", "widgets") for name in names) and relative == below


def test_one_except_takes_what_the_package_refuses(tmp_path):
    refusals = [
        lambda: lens.Pair("", corrupted="a", answer=" b", foil=" c"),
        lambda: lens.Site("nowhere", layer=0),
        lambda: lens.open(tmp_path / "nothing.zarr"),
        lambda: lens.load("no-such-folder-or-model/x"),
    ]
    for refused in refusals:
        with pytest.raises(lens.Error):
            refused()


def test_what_no_run_can_be_made_of_is_refused_by_an_error_of_the_package():
    from tests.models import speaking

    pair = lens.Pair("w4 w5", corrupted="w4 w6", answer=" w7", foil=" w8")
    training, edited, broken = speaking(), speaking(), speaking()
    training.train()
    broken.model.layers[0].mlp.up_proj.weight.fill_(float("nan"))
    for model in (training, broken):
        with pytest.raises(lens.Error, match="model"):
            lens.patch(model, pair, progress=False)
    with (
        lens.edited(edited, lens.Edit(lens.Site("resid_pre", 1), "zero")),
        pytest.raises(lens.Error, match="edits are in force"),
    ):
        lens.patch(edited, pair, progress=False)
