"""What the views refuse, they refuse by one error."""

import ast
from pathlib import Path

import pytest

import lens
import widgets
from tests.widgets.fakes import PAIR, FakeModel


def test_the_error_is_one_of_the_package_and_a_value_error():
    assert issubclass(widgets.ViewError, lens.Error) and issubclass(widgets.ViewError, ValueError)


def test_no_view_raises_a_bare_error():
    found = [
        f"{path.name}:{node.lineno}"
        for path in sorted(Path(widgets.__path__[0]).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Raise)
        and isinstance(node.exc, ast.Call)
        and ast.unparse(node.exc.func) in ("ValueError", "TypeError", "RuntimeError", "KeyError", "Exception")
    ]
    assert not found


@pytest.mark.parametrize(
    "view, wrong, said",
    [
        (widgets.AttentionView, dict(model=3), "^model=3 does not fit; expected a model"),
        (widgets.AttentionView, dict(layer="1"), "^layer='1' does not fit; expected one index, a whole number"),
        (widgets.AttentionView, dict(head=9), "^head: 9 is out of range"),
        (widgets.PatchExplorer, dict(model="gpt2"), "^model='gpt2' does not fit; expected a model"),
        (widgets.PatchExplorer, dict(site=3), "^site=3 does not fit; expected text"),
        (widgets.PatchExplorer, dict(site="nowhere"), "^site: 'nowhere' is not one of"),
        (widgets.PatchExplorer, dict(result=[1]), "^result=.*expected xarray.Dataset"),
        (
            widgets.InjectionBench,
            dict(strength=float("nan")),
            "^strength=nan does not fit; expected a number that is not NaN",
        ),
        (widgets.InjectionBench, dict(encoder=None), "^encoder=None does not fit; expected text"),
        (widgets.VectorBench, dict(k=0), "^k=0 does not fit; expected a whole number of at least 1"),
        (widgets.VectorBench, dict(after=3), "^after=3 does not fit; expected a model"),
        (
            widgets.SubspaceBench,
            dict(memorised=[], reference=[], level=95),
            r"^level=95 does not fit.*did you mean 0\.95",
        ),
        (widgets.SubspaceBench, dict(memorised=[], reference=[], prefix=0), "^prefix=0 does not fit"),
        (widgets.CurvatureView, dict(decomposition=None, memorised=[], clean=[], seed=-1), "^seed=-1 does not fit"),
        (
            widgets.CurvatureView,
            dict(decomposition=None, memorised=[], clean=[], band=(1,)),
            "^band=.*expected 2 values",
        ),
    ],
)
def test_a_constructor_refuses_what_does_not_fit_before_any_work(view, wrong, said):
    with pytest.raises(widgets.ViewError, match=said):
        view(**{"model": FakeModel()} | wrong)


@pytest.mark.parametrize(
    "view, wrong, said",
    [
        (widgets.DiffusionBench, dict(rate=1), "^rate=1 does not fit; expected a number between 0 and 1"),
        (widgets.DiffusionBench, dict(pipeline=3), "^pipeline=3 does not fit"),
        (widgets.ProvenanceBench, dict(suspects={}, transcripts={}, alpha=0), "^alpha=0 does not fit"),
        (widgets.ProvenanceBench, dict(suspects=[], transcripts={}), r"^suspects=\[\] does not fit; expected a dict"),
    ],
)
def test_a_view_without_a_model_refuses_the_same_way(view, wrong, said):
    with pytest.raises(widgets.ViewError, match=said):
        view(**wrong)


def test_methods_refuse_by_name_too():
    view = widgets.PatchExplorer(FakeModel(), PAIR, _encode=lambda *a: None)
    refusals = [
        (lambda: view.save("x.zarr"), "^save: there is no run to save yet"),
        (lambda: view.save(3), "^path=3 does not fit; expected the path of a file"),
        (lambda: view.save("x.zarr", overwrite="yes"), "^overwrite='yes' does not fit; expected True or False"),
        (lambda: view.wait(-1), "^timeout=-1 does not fit"),
        (lambda: view.run(wait=3), "^wait=3 does not fit; expected True or False"),
    ]
    for refused, said in refusals:
        with pytest.raises(widgets.ViewError, match=said):
            refused()
