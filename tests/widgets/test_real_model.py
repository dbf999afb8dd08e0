"""The views over the real engine: same numbers as `lens`, and the Python that they print runs."""

import contextlib
import io
from dataclasses import replace

import numpy as np
import pytest

import lens
import widgets
from tests.variants import few

PAIR = lens.Pair("w3 w9 w5 w6", corrupted="w4 w9 w5 w6", answer=" w7", foil=" w8")


@pytest.fixture
def bridge(tiny_bridge):
    return tiny_bridge("llama")[0]


def shown(view, name="value"):
    return np.frombuffer(view.map[name], dtype="<f4").reshape(view.map["shape"])


@pytest.mark.parametrize(
    ("site", "over"),
    [
        ("resid_pre", "position"),
        ("mlp_out", "position"),
        ("z", "head"),
        ("pattern", "head"),
        ("k", "head"),
        ("neuron", "position"),
    ],
)
@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_the_map_is_what_lens_patch_returns(bridge, site, over, direction):
    view = widgets.PatchExplorer(bridge, PAIR, site=site, over=over, direction=direction)
    view.run(wait=True)
    expected = lens.patch(bridge, PAIR, site, ("layer", over), direction=direction, progress=False)
    assert view.status == "complete", view.error
    for name in ("value", "effect", "normalized"):
        np.testing.assert_allclose(shown(view, name), expected[name].values, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("metric", "pair"),
    [("prob", replace(PAIR, foil=None)), ("logprob_diff", replace(PAIR, answer=" w7 w2", foil=" w8 w2"))],
)
def test_a_cell_is_explained_for_every_metric(bridge, metric, pair):
    view = widgets.PatchExplorer(bridge, pair, metric=metric)
    view.run(wait=True)
    view.cell = {"run": 1, "layer": 2, "column": 3}
    view.wait(30)
    assert view.detail["status"] == "ready", view.detail
    expected = lens.explain_cell(bridge, pair, "resid_pre", 2, position=3, metric=metric)
    assert view.detail["edited"] == [[token, pytest.approx(p)] for token, p in expected.edited]


def test_errors_of_the_engine_reach_the_view(bridge):
    view = widgets.PatchExplorer(bridge, replace(PAIR, foil=None))
    view.run(wait=True)
    assert view.error["title"] == "The metric cannot be computed" and "foil" in view.error["text"]
    view = widgets.PatchExplorer(bridge, replace(PAIR, corrupted="w4 w9 w5"))
    view.run(wait=True)
    assert (
        view.error["title"] == "The prompts do not fit together"
        and "4" in view.error["text"]
        and "3" in view.error["text"]
    )


def test_a_saved_run_comes_back_as_a_view(bridge, tmp_path):
    view = widgets.PatchExplorer(bridge, PAIR, site="attn_out", direction="noise")
    view.run(wait=True)
    view.save(str(tmp_path / "trace.zarr"))
    again = widgets.PatchExplorer(bridge, result=lens.open(tmp_path / "trace.zarr"))
    assert (again.site, again.direction, again.clean, again.answer) == ("attn_out", "noise", PAIR.clean, PAIR.answer)
    np.testing.assert_array_equal(shown(again), shown(view))


def test_attention_of_a_text_and_of_a_pair(bridge):
    from lens import readout

    view = widgets.AttentionView(bridge, PAIR.clean, layer=1, head=2)
    assert view.wait(30) and view.error == {}
    truth = readout.attention(bridge, PAIR.clean)["pattern"].values
    np.testing.assert_array_equal(np.frombuffer(view.pattern["values"], dtype="<f4").reshape(4, 4), truth[1, 2])
    assert len(view.pattern["tokens"]) == 4
    pair = widgets.AttentionView(bridge, PAIR)
    pair.wait(30)
    pair.which = "difference"
    assert pair.wait(30) and pair.error == {}
    other = readout.attention(bridge, PAIR.corrupted)["pattern"].values
    np.testing.assert_allclose(
        np.frombuffer(pair.pattern["values"], dtype="<f4").reshape(4, 4), (truth - other)[0, 0], atol=1e-7
    )


@pytest.mark.slow
@pytest.mark.parametrize(("over", "site"), few([("position", "resid_pre"), ("head", "z")], [("head", "z")]))
def test_the_python_shown_reproduces_the_view(smollm2, over, site):
    pair = lens.Pair(
        "When John and Mary went to the shops, John gave the bottle to",
        corrupted="When John and Mary went to the shops, Mary gave the bottle to",
        answer=" Mary",
        foil=" John",
        spans={"giver": ("John", 2)},
    )
    view = widgets.PatchExplorer(smollm2, pair, site=site, over=over)
    view.run(wait=True)
    view.cell = {"run": 1, "layer": 20, "column": 4}
    view.wait(60)
    names, printed = {}, io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(view.code, "view", "exec"), names)
    np.testing.assert_allclose(names["trace"]["value"].values, shown(view), rtol=1e-4, atol=1e-4)
    assert names["pair"] == pair
    assert [token for token, _ in names["cell"].edited] == [token for token, _ in view.detail["edited"]]
    assert repr(view.detail["edited"][0][0]) in printed.getvalue()


@pytest.mark.parametrize("kind", ["olmoe", "deepseek_v3"])
def test_a_mixture_offers_its_sites_and_maps_over_experts(kind):
    from tests.mixtures import mixture
    from tests.models import word_tokenizer

    model = mixture(kind)
    model.tokenizer = word_tokenizer()
    pair = lens.Pair("w5 w9 w13 w17 w21", corrupted="w5 w9 w30 w17 w21", answer=" w11", foil=" w23")
    view = widgets.PatchExplorer(model, pair, site="router", over="expert")
    assert view.sites[-2:] == ["router", "expert"] and view.overs == ["position", "head", "expert"]
    view.run(wait=True)
    assert view.status == "complete", view.error
    expected = lens.patch(model, pair, "router", ("layer", "expert"), progress=False)
    np.testing.assert_allclose(shown(view), expected["value"].values, rtol=1e-5, atol=1e-6)
    assert view.map["columns"] == [0, 1, 2, 3] and view.map["rows"] == expected["layer"].values.tolist()
    assert "over=('layer', 'expert')" in view.code
    layer = view.map["rows"][-1]
    view.cell = {"run": 1, "layer": layer, "column": 2}
    view.wait(30)
    assert view.detail["status"] == "ready", view.detail
    cell = lens.explain_cell(model, pair, "router", layer, expert=2)
    assert view.detail["edited"] == [[token, pytest.approx(p)] for token, p in cell.edited]
    assert "expert=2" in view.code
    again = widgets.PatchExplorer(model, pair, result=expected)
    assert (again.site, again.over) == ("router", "expert")


def test_a_dense_model_offers_no_sites_of_mixtures(bridge):
    view = widgets.PatchExplorer(bridge, PAIR)
    assert not {"router", "expert"} & set(view.sites) and view.overs == ["position", "head"]
