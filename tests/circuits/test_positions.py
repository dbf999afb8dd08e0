"""Effects of edges at each token: they add up, they are derivatives and edits at that token, and fit the memory."""

import numpy as np
import pytest

import lens
from lens.circuits import CircuitError
from lens.prompts import encode
from tests.circuits.reference import model_of
from tests.circuits.test_effects import PAIR, PAIRS, ROUNDED, Twin, some_edges
from tests.models import speaking

#: A norm after attention; attention beside the MLP.
KINDS = ["llama", *(pytest.param(kind, marks=pytest.mark.long) for kind in ("gemma2", "gpt_neox", "mixtral"))]


class TwinAt(Twin):
    """The reference where an edge carries something else at one token alone."""

    def cut_at(self, writer, reader, position, share=1.0):
        there = self.base[writer].clone()
        there[position] += share * (self.source[writer] - self.base[writer])[position]
        return self.metric(self.source | {writer: there}, lambda w, r: (w, r) != (writer, reader))


@pytest.mark.parametrize(
    "options",
    [
        {"steps": 2},
        {"method": "activations", "steps": 2},
        pytest.param({"method": "gim"}, marks=pytest.mark.long),
        pytest.param({"method": "clean-corrupted"}, marks=pytest.mark.long),
        pytest.param({"ablation": "mean", "direction": "denoise"}, marks=pytest.mark.long),
        pytest.param({"steps": 1, "grouped": False}, marks=pytest.mark.long),
    ],
    ids=str,
)
def test_scores_of_all_tokens_add_up_to_those_of_the_prompt(options):
    model = speaking("llama")
    whole, apart = (
        lens.edges(model, PAIRS, check=2, by=by, progress=False, **options) for by in ("prompt", "position")
    )
    at, there = apart.effect_at.values, whole.graph.exists
    assert at.shape == (2, 6, *there.shape) and apart.effect_at.dims == ("prompt", "position", "reader", "writer")
    most = np.nanmax(np.abs(whole.effect))
    summed = np.nansum(at, 1)[:, there]
    np.testing.assert_allclose(summed, whole.effect.values[:, there], atol=1e-5 * most)
    np.testing.assert_allclose(apart.effect, whole.effect, atol=1e-5 * most)
    np.testing.assert_allclose(apart.exact, whole.exact, atol=1e-5 * most)
    assert np.isfinite(at[0][:, there]).all() and np.isnan(at[:, :, ~there]).all()
    assert np.isfinite(at[1, :4][:, there]).all() and np.isnan(at[1, 4:]).all(), "behind the end there is nothing"
    assert list(apart.token_clean.values[1]) == [*encode(model, PAIRS[1]).clean_tokens, "", ""]
    if options.get("ablation") != "mean":
        assert not at[:, :2][:, :, there].any(), "both prompts begin with the same two tokens"


@pytest.mark.parametrize("kind", KINDS)
def test_effects_at_a_token_are_those_of_the_edge_cut_there(kind):
    """Scores are the derivative, exact effects the whole step, by plain hooks on a second copy in float64."""
    model = model_of(kind)
    twin, found = TwinAt(model), lens.edges(model, PAIR, steps=1, check=0, by="position", progress=False)
    graph, step = found.graph, 2e-3 if kind in ROUNDED else 1e-5
    chosen = some_edges(graph, 5, seed=3)
    exact = lens.edges(
        model, PAIR, method="exact", edges=[graph.name(*e) for e in chosen], by="position", progress=False
    )
    plain, slopes, effects, ours, ours_exact = twin.metric({}, lambda w, r: True), [], [], [], []
    for i, (r, w) in enumerate(chosen):
        position = (4, 5)[i % 2]
        names = graph.writers[w], graph.readers[r]
        ends = [twin.cut_at(*names, position, sign * step) for sign in (1, -1)]
        slopes.append((ends[0] - ends[1]) / (2 * step))
        effects.append(twin.cut_at(*names, position) - plain)
        ours.append(float(found.effect_at[0, position, r, w]))
        ours_exact.append(float(exact.effect_at[0, position, r, w]))
    np.testing.assert_allclose(ours, slopes, atol=(1e-3 if kind in ROUNDED else 1e-4) * np.abs(slopes).max())
    np.testing.assert_allclose(ours_exact, effects, atol=1e-4 * np.abs(effects).max())
    whole = lens.edges(model, PAIR, method="exact", edges=[graph.name(*e) for e in chosen], progress=False)
    np.testing.assert_allclose(exact.effect, whole.effect, atol=1e-5)
    at = exact.effect_at.values[0]
    assert np.isfinite(at).sum() == len(chosen) * 6 and not at[:2][np.isfinite(at[:2])].any()


def test_layers_are_sums_over_their_heads_and_the_largest_are_told_with_their_tokens(tmp_path):
    found = lens.edges(speaking("llama"), PAIRS, steps=1, check=0, by="position", progress=False)
    graph, at = found.graph, found.effect_at.values[1]
    layers = found.by_layer(1)
    assert layers.sizes["position"] == 4 and float(layers.sum()) == pytest.approx(float(np.nansum(at)), rel=1e-4)
    of = [i for i, name in enumerate(graph.readers) if name.startswith("a1.") and name.endswith("<v>")]
    heads = [i for i, name in enumerate(graph.writers) if name.startswith("a0.")]
    wanted = at[3][np.ix_(of, heads)].sum()
    assert float(layers.sel(position=3, reader="a1<v>", writer="a0")) == pytest.approx(float(wanted), rel=1e-4)
    assert np.isnan(float(layers.sel(position=3, reader="a0<q>", writer="m0")))
    table = found.top_at(3, prompt=1)
    (edge, position, token, effect), size = table.iloc[0], np.nanmax(np.abs(at))
    assert abs(effect) == pytest.approx(size) == abs(at[(position, *graph.edge(edge))])
    assert token == found.token_clean.values[1, position]
    lens.save(found, tmp_path / "edges.zarr")
    again = lens.circuits.Edges.of(lens.open(tmp_path / "edges.zarr"))
    np.testing.assert_array_equal(again.by_layer(1), layers)
    assert again.circuit(5).edges == found.circuit(5).edges


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"by": "token"}, "by='token'"),
        ({"memory_mb": 0.01}, "by='position': the effects of 2 prompts of up to 6 tokens take"),
        ({"method": "exact", "edges": ["input->logits"], "grouped": False}, "leave grouped=True"),
    ],
)
def test_what_does_not_fit_is_refused(options, said):
    with pytest.raises(lens.Error, match=said):
        lens.edges(speaking("llama"), PAIRS, **({"by": "position", "progress": False} | options))


def test_effects_that_were_not_asked_for_by_position_are_refused():
    model = speaking("llama")
    plain = lens.edges(model, PAIR, steps=1, check=0, progress=False)
    some = lens.edges(model, PAIR, method="exact", edges=["input->logits"], by="position", progress=False)
    for call in (plain.by_layer, plain.top_at):
        with pytest.raises(CircuitError, match="with by='position'"):
            call()
    with pytest.raises(CircuitError, match="some edges have no effect"):
        some.by_layer()
    with pytest.raises(CircuitError, match="prompt=1 is none of the 1"):
        some.top_at(prompt=1)
