"""A view's state in a JSON file: shown again as it was, and refused where it is no such file or of other weights."""

import json

import numpy as np
import pytest
import torch
import xarray as xr
from IPython import display as ipython_display

import lens
import widgets
from lens.memorization import Sequences
from lens.prompts import Pair
from tests.memorization.helpers import clean, known, taught
from tests.variants import few
from tests.widgets import (
    fakes,
    test_curvature_view,
    test_diffusion_bench,
    test_injection_bench,
    test_provenance_bench,
    test_vector_bench,
)
from widgets.base import state, sweep
from widgets.subspace_bench import work as subspace_work

SECONDS = 60
FAKES = {"_patch": fakes.FakePatch(), "_explain": fakes.explain, "_encode": fakes.encode}


def picture(view):
    """Every trait that the browser draws, less what names the view itself."""
    view.wait(SECONDS)
    left = {"static_key", "_esm", "_css", "layout", "tabbable", "tooltip", "saved"}
    return {name: getattr(view, name) for name in view.keys if name not in left and not name.startswith("_")}


def explorer():
    view = widgets.PatchExplorer(fakes.FakeModel(), fakes.PAIR, **FAKES)
    view.run(wait=True)
    view.set_state({"over": "head", "site": "z"})
    view.run(wait=True)
    view.set_state({"cell": {"run": 1, "layer": 2, "column": 3}, "show": "effect"})
    view._on_message(view, {"type": "pin", "run": 2, "layer": 4, "column": 1}, [])
    view._on_message(view, {"type": "show", "run": 1}, [])
    view.set_state({"compare": {"mode": "side", "run": 2}})
    view.wait(SECONDS)
    return view


@pytest.fixture
def saved(tmp_path):
    return explorer().save_state(tmp_path / "x.json")


def test_a_patch_explorer_comes_back_with_its_runs_and_can_be_asked_on(tmp_path):
    view = explorer()
    path = view.save_state(tmp_path / "x.json")
    again = widgets.restore(path, fakes.FakeModel(), **FAKES)
    assert picture(again) == picture(view)
    for name, dataset in view.results.items():
        xr.testing.assert_identical(again.results[name], dataset)
    again.set_state({"cell": {"run": 2, "layer": 5, "column": 0}})
    again.wait(SECONDS)
    assert again.detail["status"] == "ready" and again.detail["edited"][0][0] == " edit5.0"
    again.run(wait=True)
    assert [run["run"] for run in again.history] == [1, 2, 3]
    assert path.stat().st_size < 30_000


def test_an_attention_view_of_a_pair_comes_back(tmp_path):
    view = widgets.AttentionView(
        fakes.FakeModel(3, 2), Pair("a b c", corrupted="a x c", answer=" y"), compute=fakes.attention
    )
    view.wait(SECONDS)
    view.set_state({"which": "difference", "layer": 2, "head": 1, "token": 1, "scale": "full", "hide_first": True})
    path = view.save_state(tmp_path / "x.json")
    again = widgets.restore(path, fakes.FakeModel(3, 2), compute=fakes.attention)
    left, right = picture(view), picture(again)
    assert left.pop("progress")["done"] == right.pop("progress")["done"] and left == right


def test_an_injection_bench_comes_back_with_both_maps(tmp_path):
    options = dict(
        _next=test_injection_bench.FakeNext(),
        _sweep=test_injection_bench.FakeSweep(),
        _generate=test_injection_bench.FakeGenerate(),
        _encode=test_injection_bench.encode,
        _words=test_injection_bench.Words(),
    )
    view = widgets.InjectionBench(fakes.FakeModel(), item=test_injection_bench.ITEM, **options)
    view.run(wait=True)
    view.set_state({"layer": 4, "strength": 3.0})
    view.generate(wait=True)
    path = view.save_state(tmp_path / "x.json")
    again = widgets.restore(path, fakes.FakeModel(), **options)
    left, right = picture(view), picture(again)
    for one in (left, right):
        one.pop("code")  # a generation and an explicit prompt that were typed are of this session
    assert left == right


def test_a_vector_bench_comes_back_with_its_map(tmp_path):
    view = widgets.VectorBench(fakes.FakeModel(), _tools=test_vector_bench.FakeTools())
    view.run(wait=True)
    view.set_state({"k": 3, "layer": 2})
    view.wait(SECONDS)
    path = view.save_state(tmp_path / "x.json")
    again = widgets.restore(path, fakes.FakeModel(), _tools=test_vector_bench.FakeTools())
    assert again.map == view.map and again.live == view.live and (again.k, again.layer) == (3, 2)


def test_a_subspace_bench_comes_back_on_the_same_weights_only(tmp_path):
    model, other = taught(), taught(seen=False)
    given = (Sequences.of(known()), list(clean(8, seed=9)))
    view = widgets.SubspaceBench(model, *given, sparsities=(0.1,))
    view.run(wait=True)
    path = view.save_state(tmp_path / "x.json")
    again = widgets.restore(path, model, *given)
    assert again.found == view.found and again.at == view.at and again.sparsities == view.sparsities
    with pytest.raises(
        widgets.ViewError, match=r"^model: the state is of .* with weights t?[0-9a-f]{11,12}, the model given has"
    ):
        widgets.restore(path, other, *given)
    asked = widgets.restore(path, other, *given, any_weights=True)
    assert asked.found == {} and asked.sparsities == view.sparsities
    taken = {"known": clean(16, seed=4)}
    with pytest.raises(widgets.ViewError, match=r"^memorised: the state is of other texts than the sets given"):
        widgets.restore(path, model, taken["known"], given[1], prefix=known().prefix)


# --- the numbers behind the picture


def written(view, folder, name):
    """The bytes of what the view saves."""
    return view.save(folder / name).read_bytes()


@pytest.mark.long
def test_a_restored_curve_is_saved_cut_and_continued(tmp_path, monkeypatch):
    model = taught()
    given = ({"known": Sequences.of(known())}, {"random": list(clean(30, seed=9))})
    view = widgets.SubspaceBench(model, *given, sparsities=(0.04, 0.1))
    view.run(wait=True)
    view.set_state({"method": "wanda"})
    view.run(wait=True)
    view.set_state({"method": "contrast", "at": 2})
    view.wait(SECONDS)
    again = widgets.restore(view.save_state(tmp_path / "x.json"), model, *given)
    assert picture(again) == picture(view)
    xr.testing.assert_equal(again.result, view.result)
    assert written(again, tmp_path, "b.csv") == written(view, tmp_path, "a.csv")
    assert again.mask().iou(view.mask()) == 1 and again.strength == 0.1
    asked = []
    measured = subspace_work.measured
    monkeypatch.setattr(subspace_work, "measured", lambda *a: asked.append(a) or measured(*a))
    again.set_state({"sparsities": "0.04, 0.1, 0.2"})
    again.run(wait=True)
    assert again.found["strengths"] == [0.04, 0.1, 0.2] and len(asked) == 2, "only the new point and its control"
    again.set_state({"method": "wanda"})
    again.wait(SECONDS)
    assert again.found["fields"]["method"] == "wanda" and len(asked) == 2, "the other curve is there as well"


def test_a_restored_curvature_view_has_its_removal(tmp_path):
    model = test_curvature_view.speaking()
    decomposition = lens.curvature.decompose(model, lens.curvature.factors(model, "mlp", clean(60)))
    given = (model, decomposition, known(), clean(8, seed=9))
    view = widgets.CurvatureView(*given, layer=test_curvature_view.UP, band=(0.25, 0.5))
    view.wait(SECONDS)
    view.run(wait=True)
    path = view.save_state(tmp_path / "x.json")
    again = widgets.restore(path, *given)
    assert picture(again) == picture(view)
    xr.testing.assert_equal(again.result, view.result)
    assert written(again, tmp_path, "b.csv") == written(view, tmp_path, "a.csv")
    again.set_state({"low": 0.0})
    again.wait(SECONDS)
    again.set_state({"low": 0.25})
    again.wait(SECONDS)
    assert again.taken == view.taken, "the band that was taken out is shown where it is chosen again"
    with pytest.raises(widgets.ViewError, match=r"^memorised: the state is of other texts"):
        widgets.restore(path, model, decomposition, known().subset(range(5)), clean(8, seed=9))


@pytest.mark.long
def test_a_restored_provenance_bench_corrects_for_the_questions_asked_before(tmp_path):
    transcript, suspects, references = test_provenance_bench.world(kind="key")
    given = (suspects, transcript, references)
    view = widgets.ProvenanceBench(*given, resamples=199, rows=400, rule="n")
    view.run(wait=True)
    view.set_state({"suspect": "bob"})
    view.run(wait=True)
    path = view.save_state(tmp_path / "x.json")
    again = widgets.restore(path, *given, resamples=199)
    assert picture(again) == picture(view)
    assert str(again.result) == str(view.result) and len(again.results) == 2
    for kind in ("json", "csv"):
        assert written(again, tmp_path, f"b.{kind}") == written(view, tmp_path, f"a.{kind}")
    for one in (view, again):
        one.set_state({"suspect": "alice", "seed": 7})
        one.run(wait=True)
    assert [line["holm"] for line in again.lines] == [line["holm"] for line in view.lines] and len(again.lines) == 3
    again._on_message(again, {"type": "show", "number": 1}, [])
    again.wait(SECONDS)
    assert again.found["number"] == 1
    other, _, _ = test_provenance_bench.world(kind="key", seed=1)
    with pytest.raises(widgets.ViewError, match=r"^transcripts: .* is another order than the state's"):
        widgets.restore(path, suspects, {transcript.name: other}, references)


@pytest.mark.long
def test_a_restored_diffusion_bench_has_its_measures_pictures_and_mask(tmp_path):
    pipeline = test_diffusion_bench.pipeline_of(test_diffusion_bench.RECIPE)
    view = test_diffusion_bench.ask(test_diffusion_bench.bench(pipeline))
    test_diffusion_bench.ask(view, "attack", updates=2)
    assert view.status == "complete", view.error
    path = view.save_state(tmp_path / "x.json")
    options = dict(never=test_diffusion_bench.FRESH, steps=test_diffusion_bench.STEPS, first=2, sparsity=0.1)
    given = ({"known": test_diffusion_bench.KNOWN}, {"others": test_diffusion_bench.OTHERS})
    again = widgets.restore(path, pipeline, *given, **options)
    assert picture(again) == picture(view)
    xr.testing.assert_equal(again.result, view.result)
    xr.testing.assert_equal(again.score_map, view.score_map)
    assert again.mask().iou(view.mask()) == 1
    assert written(again, tmp_path, "b.csv") == written(view, tmp_path, "a.csv")
    assert again._static() == view._static()
    with pytest.raises(widgets.ViewError, match=r"^memorised: 'known' is not given, or with other captions"):
        widgets.restore(path, pipeline, {"known": test_diffusion_bench.OTHERS}, given[1], **options)


def test_a_restored_vector_bench_has_its_vector_and_its_test(tiny_bridge, tmp_path):
    model = tiny_bridge("llama")[0]
    view = test_vector_bench.real(model)
    pairs = view.pairs
    view.run(wait=True)
    view.test(wait=True)
    assert view.status == "complete" and view.tested is not None, view.error
    again = widgets.restore(view.save_state(tmp_path / "x.json"), model, pairs)
    assert picture(again) == picture(view)
    xr.testing.assert_identical(again.result, view.result)
    xr.testing.assert_identical(again.tested, view.tested)
    site = lens.Site("resid_post", layer=1)
    assert torch.equal(again.vector.at_site(site), view.vector.at_site(site))
    assert written(again, tmp_path, "b.csv") == written(view, tmp_path, "a.csv")


def test_a_large_part_lies_in_the_cache_and_its_absence_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(state, "INLINE", 1000)
    monkeypatch.setenv("MNEMOSCOPE_CACHE", str(tmp_path / "cache"))
    model = fakes.FakeModel()
    view = widgets.VectorBench(model, _tools=test_vector_bench.FakeTools())
    view.run(wait=True)
    path = view.save_state(tmp_path / "x.json")
    (part,) = (tmp_path / "cache").rglob("*.json")
    again = widgets.restore(path, model, _tools=test_vector_bench.FakeTools())
    xr.testing.assert_identical(again.result, view.result)
    for damage in (lambda: part.write_text("[]"), part.unlink):
        damage()
        bare = widgets.restore(path, model, _tools=test_vector_bench.FakeTools())
        assert bare.map == view.map and bare.result is None
        assert bare.progress["text"] == sweep.NOT_HERE
        with pytest.raises(widgets.ViewError, match="^save: there is no run to save yet"):
            bare.save(tmp_path / "x.csv")


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", few(["SubspaceBench", "CurvatureView", "ProvenanceBench", "DiffusionBench"], ["ProvenanceBench"])
)
def test_a_restored_example_is_left_as_it_is_when_it_is_shown(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(ipython_display, "display", lambda *a, **k: None)
    view = getattr(widgets, kind)()
    view._open()
    view.wait(600)
    chosen = {"SubspaceBench": {"seed": 5}, "CurvatureView": {"seed": 5}, "ProvenanceBench": {"seed": 5}}
    view.set_state(chosen.get(kind, {"step": 1}))
    view.wait(600)
    again = widgets.restore(view.save_state(tmp_path / "x.json"))
    before = picture(again)
    again._ipython_display_()
    again.wait(600)
    assert picture(again) == before


def changed(path, **values):
    content = json.loads(path.read_text())
    for key, value in values.items():
        if value is None:
            content.pop(key)
        else:
            content[key] = value
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("version", [state.VERSION + 1, 0, "1", None])
def test_another_versions_json_is_a_clear_error_and_is_left_as_it_was(saved, version):
    before = changed(saved, version=version, package="9.9").read_bytes()
    said = rf"of version {version!r}, written by mnemoscope 9\.9; this one reads version {state.VERSION}"
    with pytest.raises(widgets.ViewError, match=said):
        widgets.restore(saved, fakes.FakeModel(), **FAKES)
    assert saved.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "cannot be read as a view's state"),
        ("[]", "is JSON, but no view's state"),
        ('{"format": "other"}', "is JSON, but no view's state"),
    ],
)
def test_a_file_that_is_no_state_is_refused(tmp_path, content, said):
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(widgets.ViewError, match=f"^path: .*{said}"):
        widgets.restore(path, fakes.FakeModel())


def test_what_is_missing_or_strange_in_a_state_is_named(saved, tmp_path):
    with pytest.raises(widgets.ViewError, match="is not there; view.save_state"):
        widgets.restore(tmp_path / "absent.json", fakes.FakeModel())
    whole = saved.read_text()
    with pytest.raises(widgets.ViewError, match="is damaged, fields is not in it"):
        widgets.restore(changed(saved, fields=None), fakes.FakeModel(), **FAKES)
    saved.write_text(whole)
    with pytest.raises(widgets.ViewError, match="holds 'colour', which PatchExplorer does not have"):
        widgets.restore(changed(saved, fields={"colour": "red"}), fakes.FakeModel(), **FAKES)
    saved.write_text(whole)
    with pytest.raises(widgets.ViewError, match="holds what PatchExplorer cannot show"):
        widgets.restore(changed(saved, fields={"site": "nowhere"}), fakes.FakeModel(), **FAKES)
    saved.write_text(whole)
    with pytest.raises(widgets.ViewError, match="holds the state of a 'Chart'; known are AttentionView"):
        widgets.restore(changed(saved, view="Chart"), fakes.FakeModel(), **FAKES)
    saved.write_text(whole)
    with pytest.raises(widgets.ViewError, match="cannot be opened with what was given"):
        widgets.restore(saved)


def test_a_state_is_written_whole_under_a_free_name_that_ends_in_json(tmp_path):
    view = explorer()
    path = view.save_state(tmp_path / "x.json")
    with pytest.raises(FileExistsError, match="is there already"):
        view.save_state(path)
    assert view.save_state(path, overwrite=True) == path
    with pytest.raises(widgets.ViewError, match=r"does not end in \.json"):
        view.save_state(tmp_path / "x.zarr")
    with pytest.raises(lens.FileError):
        view.save_state(tmp_path / "none" / "x.json")


def test_values_survive_json():
    value = {"a": [1, 2.5, None, float("nan"), float("-inf"), b"\x00\x01"], "b": {"c": "ü", "d": np.float32(0.5)}}
    back = state.from_json(json.loads(json.dumps(state.to_json(value), allow_nan=False)))
    assert str(back) == str(value | {"b": {"c": "ü", "d": 0.5}})
    dataset = fakes.dataset(
        fakes.FakeModel(), fakes.PAIR, "z", ("layer", "position"), metric="prob", direction="noise", done=[1, 2]
    )
    packed = json.loads(json.dumps(state.pack(dataset), allow_nan=False))
    xr.testing.assert_identical(state.unpack(packed), dataset)
