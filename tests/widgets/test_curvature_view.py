"""The curvature view's state without a browser: the spectrum, what a band carries, the edit that takes only it out, and
what is kept; numbers beside closed forms and `lens.curvature`.
"""

import itertools
import threading

import numpy as np
import pytest
import torch

import lens
import widgets
from lens import curvature, memorization
from lens.models import weight_hash
from tests.memorization.helpers import clean, known, taught, weights
from tests.widgets.fakes import SCRIPT
from tests.widgets.test_subspace_bench import speaking
from widgets.curvature_view import work as curvature_work

SECONDS = 60
UP = "model.layers.1.mlp.up_proj"
ENDS = np.array(curvature_work.ENDS)


@pytest.fixture(scope="module")
def taken():
    """A model that recites, and the decomposition of its factors."""
    model = speaking()
    return model, curvature.decompose(model, curvature.factors(model, "mlp", clean(60)))


def view_of(taken, **options):
    view = widgets.CurvatureView(
        taken[0],
        options.pop("decomposition", taken[1]),
        options.pop("memorised", known()),
        options.pop("clean", clean(8, seed=9)),
        **({"layer": UP} | options),
    )
    assert view.wait(SECONDS)
    return view


def ask(view, **fields):
    view._on_message(view, {"type": "run", "fields": fields}, [])
    assert view.wait(SECONDS)
    return view


def bins(view, key):
    return np.frombuffer(view.spectra[key], "<f4").reshape(len(view.spectra["names"]), len(ENDS))


def pairs_of(layer, low, high):
    """The pairs of a band, by sorting the products of eigenvalues."""
    mass = np.outer(layer.lam.numpy(), layer.mu.numpy()).ravel()
    order = np.argsort(-mass, kind="stable")
    chosen = np.zeros(len(mass), bool)
    chosen[order[round(low * len(mass)) : round(high * len(mass))]] = True
    return mass, chosen.reshape(layer.shape)


# --- the spectrum


def test_each_line_is_the_mass_of_its_pairs(taken):
    view = view_of(taken)
    assert (
        view.spectra["names"] == list(taken[1])
        and len(view.layers) == 9
        and view.layers[4] == {"name": UP, "block": 1, "matrix": "up_proj"}
    )
    at, layer = view.spectra["names"].index(UP), taken[1][UP]
    mass = np.sort(np.outer(layer.lam.numpy(), layer.mu.numpy()).ravel())[::-1]
    cuts = [0, *(round(e * len(mass)) for e in ENDS)]
    for k, (a, b) in enumerate(itertools.pairwise(cuts)):
        assert bins(view, "mass")[at, k] == pytest.approx(mass[a:b].sum() / mass.sum(), rel=1e-4, abs=1e-7)
        if b > a:
            assert bins(view, "density")[at, k] == pytest.approx(mass[a:b].mean() / mass.mean(), rel=1e-3, abs=1e-6)
    assert bins(view, "energy").sum(1) == pytest.approx(1, abs=1e-5)
    facts = view.spectra["facts"][at]
    assert facts["pairs"] == layer.weight.numel() and facts["tokens"] == 60 * 19 and not facts["deficient"]


def test_second_moments_give_another_spectrum(taken):
    model, decomposition = taken
    with pytest.raises(ValueError, match="kfac"):
        view_of(taken, by="a")
    plain = view_of(taken, by="ekfac")
    assert "second moments" in plain.spectra["text"] and plain.carries["status"] == "error"
    whole = curvature.second_moments(model, decomposition, clean(60))
    view = view_of(taken, decomposition=whole, by="ekfac")
    moments = np.sort(whole[UP].moments.double().numpy().ravel())[::-1]
    n = round(0.1 * len(moments))
    assert bins(view, "mass")[4][ENDS <= 0.1].sum() == pytest.approx(moments[:n].sum() / moments.sum(), rel=1e-4)


def test_factors_are_taken_apart(taken):
    made = curvature.factors(taken[0], "*.1.mlp.*", clean(60))
    view = view_of(taken, decomposition=made)
    assert len(view.layers) == 3 and "curvature.decompose(model, factors)" in view.code


def test_the_first_lines_are_drawn_before_the_model_is_asked(taken, monkeypatch):
    kept, order = widgets.CurvatureView.publish, []
    monkeypatch.setattr(
        widgets.CurvatureView, "publish", lambda self, **traits: (order.extend(traits.items()), kept(self, **traits))[1]
    )
    monkeypatch.setattr("widgets.curvature_view.view.LINES_FIRST", 4)
    view_of(taken)
    names = [name for name, _ in order]
    assert names.index("spectra") < names.index("carries") and [
        len(value["names"]) for name, value in order if name == "spectra"
    ] == [4, 9]
    assert UP in dict(order[names.index("spectra") :][:1])["spectra"]["names"]


# --- what a band carries


def test_a_band_carries_what_its_pairs_carry(taken):
    view = view_of(taken, band=(0.25, 0.5))
    layer, row = taken[1][UP], view.carries["rows"][0]
    mass, chosen = pairs_of(layer, 0.25, 0.5)
    energy = layer.coefficients.double().square().numpy()
    assert row["mass"] == pytest.approx(mass.reshape(layer.shape)[chosen].sum() / mass.sum(), rel=1e-6) and row[
        "energy"
    ] == pytest.approx(energy[chosen].sum() / energy.sum(), rel=1e-6)
    expected = curvature.activation_ratio(
        taken[0],
        taken[1].select([UP]),
        known().ids,
        clean(8, seed=9),
        bands=(0.25, 0.5, 1.0),
        bases=("kfac", "random", "svd"),
    ).isel(band=1, layer=0)
    for basis in ("kfac", "random", "svd"):
        for side in ("output", "input"):
            one = expected.sel(basis=basis, side=side)
            assert row[f"{basis}_{side}"] == pytest.approx([float(one.ratio), float(one.low), float(one.high)])
    # a naive loop for the output side: the norm of what the band makes of every token
    model, seen = taken[0], {}
    module = dict(model.named_modules())[UP]
    handle = module.register_forward_hook(lambda m, a, o: seen.update(x=a[0]))
    part = layer.u_g @ (layer.coefficients * torch.from_numpy(chosen)) @ layer.u_a.T
    means = []
    for ids in (known().ids, clean(8, seed=9)):
        seen.clear()
        model(torch.from_numpy(ids[:, :-1]))
        means.append(float((seen["x"] @ part.T).norm(dim=-1).mean(1).mean()))
    handle.remove()
    assert row["kfac_output"][0] == pytest.approx(means[0] / means[1], rel=1e-4)


@pytest.mark.parametrize("band", [(0.0, 0.1), (0.5, 1.0), (0.0, 1.0), (0.1, 0.25)])
def test_every_kind_of_band_is_found_again(taken, band):
    view = view_of(taken, band=band)
    low, high = band
    assert view.carries["status"] == "ready" and view.carries["rows"][0]["mass"] == pytest.approx(
        bins(view, "mass")[4][(ENDS > low) & (ENDS <= high)].sum(), rel=1e-4
    )


def test_all_layers_have_a_row_each(taken):
    view = view_of(taken)
    view.everywhere = True
    assert (
        view.wait(SECONDS)
        and [row["layer"] for row in view.carries["rows"]] == list(taken[1])
        and view.carries["where"] == "all 9 layers"
    )
    alone = view_of(taken).carries["rows"][0]
    assert view.carries["rows"][4] == alone, "a layer carries the same, alone or among the others"


def test_layers_are_counted_while_they_are_read(taken, monkeypatch):
    view, kept, seen = view_of(taken), widgets.CurvatureView.publish, []
    monkeypatch.setattr(
        widgets.CurvatureView,
        "publish",
        lambda self, **traits: (seen.append(traits.get("carries")), kept(self, **traits))[1],
    )
    view._on_message(view, {"type": "move", "fields": {"everywhere": True}}, [])
    assert view.wait(SECONDS) and [(c["done"], c["of"]) for c in seen if c and c["status"] == "running"][-2:] == [
        (0, 9),
        (6, 9),
    ]


def test_a_newer_band_ends_the_reading_of_an_older_one(taken, monkeypatch):
    view, seen = view_of(taken), []
    kept = curvature.activation_ratio

    def watched(*a, stop, **k):
        if not seen:
            seen.append(1)
            view._on_message(view, {"type": "move", "fields": {"low": 0.1, "high": 0.2}}, [])
        return kept(*a, stop=stop, **k)

    monkeypatch.setattr(curvature, "activation_ratio", watched)
    view._on_message(view, {"type": "move", "fields": {"low": 0.3, "high": 0.4}}, [])
    assert (
        view.wait(SECONDS)
        and view.carries["status"] == "ready"
        and (view.carries["fields"]["low"], view.carries["fields"]["high"]) == (0.1, 0.2)
    )
    assert (UP, 0.3, 0.4, 0) not in view._carried


# --- without the band


def test_only_the_band_is_taken_out(taken):
    _, decomposition = taken
    one = decomposition.select([UP])
    edit, layer = curvature_work.without_band(one, 0.25, 0.5), decomposition[UP]
    _, chosen = pairs_of(layer, 0.25, 0.5)
    left = layer.u_g.T @ edit.new[UP] @ layer.u_a
    np.testing.assert_allclose(left.numpy(), np.where(chosen, 0, layer.coefficients.numpy()), atol=2e-5)
    bottom = curvature_work.without_band(one, 0.5, 1.0)
    order = layer.mass().flatten().sort(descending=True).values
    share = float(order[: round(0.5 * len(order))].sum() / order.sum())
    np.testing.assert_allclose(
        bottom.new[UP].numpy(), curvature.keep(one, share * (1 - 1e-9)).new[UP].numpy(), atol=2e-5
    )
    with pytest.raises(ValueError, match="none of the 1536 pairs"):
        curvature_work.without_band(one, 0.5, 0.5001)


def test_the_band_is_taken_out_beside_random_bases_and_put_back(taken):
    model = taken[0]
    view, before = view_of(taken, band=(0.5, 1.0)), weights(model)
    ask(view, everywhere=True)
    assert (
        view.status == "complete"
        and torch.equal(weights(model), before)
        and view.taken["hashes"] == [weight_hash(model)] * 2
    )
    edit = curvature_work.without_band(taken[1], 0.5, 1.0)
    control = curvature.control(taken[1], "random", edit, match="norm", seed=0)
    expected = memorization.tradeoff(
        model, {"removed": edit, "control": control}, known(), list(clean(8, seed=9)), copying=0, heads=False
    )
    table = memorization.tradeoff_summary(expected).to_dataframe().reset_index()
    for name in ("unedited", "removed", "control"):
        row, mine = table[table.edit == name].iloc[0], view.taken["tables"][name]
        for key, theirs in (
            ("strict", "strict"),
            ("loose", "loose"),
            ("loss", "clean_loss"),
            ("rise", "rise"),
            ("rise_low", "rise_low"),
            ("rise_high", "rise_high"),
            ("ndcg", "ndcg"),
        ):
            assert mine[key] is None if np.isnan(row[theirs]) else mine[key] == pytest.approx(row[theirs], abs=1e-6)
    assert view.taken["removed"] == pytest.approx(
        edit.removed / np.sqrt(sum(float(layer.weight.double().square().sum()) for layer in taken[1].values()))
    )
    change = expected.nll.values[1] - expected.nll.values[0]
    most = np.argsort(-np.abs(change), kind="stable")[:6]
    assert [item["name"] for item in view.taken["texts"]["items"]][:6] == [f"known {i}" for i in most] and view.taken[
        "change"
    ] == pytest.approx(change[most])
    assert [item["what"] for item in view.taken["texts"]["items"]][6:] == ["clean", "clean"]


def test_a_stop_keeps_what_was_measured_and_restores(taken, monkeypatch):
    model = taken[0]
    view, before = view_of(taken), weights(model)
    kept, reached, gate = curvature_work.measured, threading.Event(), threading.Event()

    def slow(*a, **k):
        if a[1] is not None:
            reached.set()
            assert gate.wait(SECONDS)
        return kept(*a, **k)

    monkeypatch.setattr(curvature_work, "measured", slow)
    view.run()
    assert reached.wait(SECONDS)
    view.stop()
    gate.set()
    assert (
        view.wait(SECONDS)
        and view.status == "stopped"
        and list(view.taken["tables"]) == ["unedited", "removed"]
        and torch.equal(weights(model), before)
    )
    assert ask(view).status == "complete"


def test_an_earlier_band_is_shown_again(taken):
    view = view_of(taken)
    ask(view, low=0.5, high=1.0)
    ask(view, low=0.0, high=0.1)
    view._on_message(view, {"type": "move", "fields": {"low": 0.5, "high": 1.0}}, [])
    assert view.wait(SECONDS) and view.taken["fields"]["low"] == 0.5


# --- what is refused and kept


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layer": "model.layers.9"}, "none of the decomposition"),
        ({"level": 0}, "level"),
        ({"memorised": clean(4)}, "prefix="),
        ({"clean": known().ids}, "overlap"),
        ({"clean": []}, "at least one row"),
    ],
)
def test_bad_arguments(taken, options, words):
    with pytest.raises(ValueError, match=words):
        view_of(taken, **options)


def test_another_models_decomposition_is_refused(taken):
    other = taught(seen=False)
    with pytest.raises(curvature.CurvatureError, match="belongs to weights"):
        widgets.CurvatureView(other, taken[1], known(), clean(8))


def test_bands_that_cannot_be_are_explained(taken):
    view = view_of(taken)
    ask(view, low=0.5, high=0.5)
    assert (
        view.status == "error"
        and "is empty" in view.error["text"]
        and view.carries["status"] == "error"
        and view.code == ""
    )
    ask(view, low=0.2, high=0.4, layer="nowhere")
    assert view.status == "error" and "nowhere" in view.error["text"]


@pytest.mark.parametrize("everywhere", [False, True])
def test_the_python_shown_makes_the_numbers(taken, everywhere):
    view = ask(view_of(taken, band=(0.25, 0.5)), everywhere=everywhere)
    names = {"model": taken[0], "decomposition": taken[1], "memorised": known(), "clean": clean(8, seed=9)}
    exec(compile(view.code, "view", "exec"), names)
    row = view.carries["rows"][4 if everywhere else 0]
    one = names["ratio"].sel(layer=UP, basis="kfac", side="output")
    assert [float(one.ratio), float(one.low), float(one.high)] == pytest.approx(row["kfac_output"]) and float(
        names["spectrum"].band_mass.sel(layer=UP)
    ) == pytest.approx(row["mass"])
    for i, name in enumerate(("unedited", "removed", "control")):
        line, mine = names["curve"].isel(edit=i), view.taken["tables"][name]
        assert float(line.clean_loss) == pytest.approx(mine["loss"]) and float(line.nll.mean()) == pytest.approx(
            mine["nll"]
        )


def test_the_removal_is_saved(taken, tmp_path):
    view = view_of(taken)
    with pytest.raises(ValueError, match="no band was taken out"):
        view.save(str(tmp_path / "a.zarr"))
    ask(view)
    view._on_message(view, {"type": "save", "path": str(tmp_path / "a.zarr")}, [])
    assert view.saved["ok"], view.saved
    again = lens.open(tmp_path / "a.zarr")
    assert (
        again.nll.equals(view.result.nll)
        and lens.record(again)["call"]["band"] == [0.5, 1.0]
        and list(again.edit.values) == ["unedited", "removed", "control"]
    )


def test_the_stored_copy_has_the_numbers_and_an_image(taken):
    view = ask(view_of(taken), everywhere=True)
    text = view._static()
    assert (
        "data:image/png;base64,iVBOR" in text
        and text.count("<tr>") > 12
        and SCRIPT not in text
        and "without 50–100 %" in text
        and len(text) < 200_000
    )
    assert view._static_bundle()["text/plain"].startswith("<CurvatureView: LlamaForCausalLM")


def test_the_module_is_small_and_loads_nothing(taken):
    view = view_of(taken)
    assert (
        len(view._esm) < 50_000
        and "http://" not in view._esm.replace("http://www.w3.org/2000/svg", "")
        and "https://" not in view._esm
    )
    assert all(isinstance(view.spectra[name], bytes) for name in ("density", "mass", "energy"))
