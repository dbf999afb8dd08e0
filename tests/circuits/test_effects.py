"""Exact effects and scores against a second copy of the model in float64, run by plain hooks."""

import copy

import numpy as np
import pytest

import lens
from lens.circuits import CircuitError, Graph
from lens.prompts import encode
from tests.circuits.reference import Reference, apart, model_of
from tests.models import speaking, word_tokenizer

PAIR = lens.Pair("w3 w17 w5 w80 w7 w9", corrupted="w3 w17 w9 w80 w33 w9", answer=" w11", foil=" w23")
PAIRS = [PAIR, lens.Pair("w8 w17 w5 w80", corrupted="w8 w17 w9 w33", answer=" w41", foil=" w23")]
#: A norm after attention, grouped heads, a mixture, attention beside the MLP, fused projections.
KINDS = ("llama", "gpt_neox", "gemma2", "mixtral")
OTHERS = ("gpt2", "olmo2", "qwen2", "qwen3", "gpt_neox_sequential", "gemma3", "qwen3_moe", "smollm3")
EVERY = [*KINDS, *(pytest.param(kind, marks=pytest.mark.long) for kind in OTHERS)]
#: The library's softmax of these computes in float32 in a model of doubles: differences are taken over longer steps.
ROUNDED = ("gemma2", "gemma3", "mixtral", "qwen3_moe", "smollm3")


class Twin:
    """The reference beside a pair: the metric where edges carry something else."""

    def __init__(self, model, pair=PAIR, noise=True):
        self.reference, encoded = Reference(model), encode(model, pair)
        first, second = (encoded.clean_ids, encoded.corrupted_ids)[:: 1 if noise else -1]
        self.ids, self.answer, self.foil = first, encoded.answer_ids[0], encoded.foil_ids[0]
        self.base, self.source = self.reference.writes(first), self.reference.writes(second)

    def metric(self, source, kept, held=None):
        logits = self.reference.logits(self.ids, source, kept, held)
        return (logits[self.answer] - logits[self.foil]).item()

    def cut(self, writer, reader, share=1.0):
        """One edge carries so much of the way to the source's write."""
        there = self.base[writer] + share * (self.source[writer] - self.base[writer])
        return self.metric(self.source | {writer: there}, lambda w, r: (w, r) != (writer, reader))

    def slope(self, writer, reader, step, held=None):
        """The derivative where one edge carries more and more of the writer's change, by central differences."""
        change = self.source[writer] - self.base[writer]
        ends = [
            self.metric(
                {writer: lambda live: live + sign * step * change}, lambda w, r: (w, r) != (writer, reader), held
            )
            for sign in (1, -1)
        ]
        return (ends[0] - ends[1]) / (2 * step)


def some_edges(graph: Graph, n: int, seed: int = 0):
    """One edge of each kind of reader at least."""
    rng, of_kind = np.random.default_rng(seed), {}
    for reader, writer in rng.permutation(np.argwhere(graph.exists)):
        kind = graph.readers[reader][-3:] if "<" in graph.readers[reader] else graph.readers[reader][0]
        of_kind.setdefault(kind, []).append((int(reader), int(writer)))
    chosen = [edges.pop() for edges in of_kind.values()]
    rest = [edge for edges in of_kind.values() for edge in edges]
    return [*chosen, *(rest[i] for i in rng.permutation(len(rest))[: max(0, n - len(chosen))])]


@pytest.mark.parametrize("kind", EVERY)
def test_an_exact_effect_is_that_of_one_edge_cut(kind):
    model = model_of(kind)
    twin, graph = Twin(model), lens.edges(model, PAIR, method="exact", edges=["input->logits"], progress=False).graph
    chosen = some_edges(graph, 8)
    names = [graph.name(*edge) for edge in chosen]
    found = lens.edges(model, PAIR, method="exact", edges=names, progress=False)
    plain = twin.metric({}, lambda w, r: True)
    wanted = [twin.cut(graph.writers[w], graph.readers[r]) - plain for r, w in chosen]
    effect = [float(found.effect[0, r, w]) for r, w in chosen]
    np.testing.assert_allclose(effect, wanted, atol=1e-4 * np.abs(wanted).max())
    assert int(np.isfinite(found.effect).sum()) == len(chosen)
    assert float(found.clean[0]) == pytest.approx(plain, abs=1e-4)


@pytest.mark.parametrize("kind", EVERY)
def test_a_score_is_the_derivative_along_the_writers_change(kind):
    model = model_of(kind)
    twin, found = Twin(model), lens.edges(model, PAIR, steps=1, check=0, progress=False)
    graph, step = found.graph, 2e-3 if kind in ROUNDED else 1e-5
    assert (np.isfinite(found.effect[0]).values == graph.exists).all()
    chosen = some_edges(graph, 8, seed=1)
    cuts = [[twin.cut(graph.writers[w], graph.readers[r], sign * step) for sign in (1, -1)] for r, w in chosen]
    wanted = np.array([(a - b) / (2 * step) for a, b in cuts])
    effect = [float(found.effect[0, r, w]) for r, w in chosen]
    # central differences of a metric that is rounded to 1e-7 err by that over the step
    np.testing.assert_allclose(effect, wanted, atol=(1e-3 if kind in ROUNDED else 1e-4) * np.abs(wanted).max())


GROUPED = ["llama", *(pytest.param(kind, marks=pytest.mark.long) for kind in ("qwen3", "gemma2", "mixtral"))]


@pytest.mark.parametrize("kind", GROUPED)
def test_keys_and_values_of_one_query_head(kind):
    """MIB's graph: exact effects and scores are those of the same model with every head's keys and values written
    out, by plain hooks; and scores of a group add up to the shared head's.
    """
    model = model_of(kind)
    twin, step = Twin(apart(model)), 2e-3 if kind in ROUNDED else 1e-5
    scored = lens.edges(model, PAIR, steps=1, check=0, grouped=False, progress=False)
    graph = scored.graph
    assert (
        graph.n_kv_heads == graph.n_heads
        and graph.n_kv_heads != lens.edges(model, PAIR, steps=1, check=0, progress=False).graph.n_kv_heads
    )
    chosen = some_edges(graph, 8)
    assert {graph.readers[r][-3:] for r, _ in chosen} >= {"<k>", "<v>"}
    names = [graph.name(*edge) for edge in chosen]
    exact = lens.edges(model, PAIR, method="exact", edges=names, grouped=False, progress=False)
    plain = twin.metric({}, lambda w, r: True)
    wanted = [twin.cut(graph.writers[w], graph.readers[r]) - plain for r, w in chosen]
    found = [float(exact.effect[0, r, w]) for r, w in chosen]
    np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max())
    slopes = [twin.slope(graph.writers[w], graph.readers[r], step) for r, w in chosen]
    found = [float(scored.effect[0, r, w]) for r, w in chosen]
    tolerance = 1e-3 if kind in ROUNDED else 1e-4  # central differences of a metric that is rounded
    np.testing.assert_allclose(found, slopes, atol=tolerance * np.abs(slopes).max())
    shared = lens.edges(model, PAIR, steps=1, check=0, progress=False)
    group = graph.n_heads // shared.graph.n_kv_heads
    for layer in range(graph.n_layers):
        own, true = (of.effect.values[0, of.graph.attention_readers(layer)] for of in (scored, shared))
        summed = own[graph.n_heads :].reshape(-1, group, own.shape[1]).sum(1)
        np.testing.assert_allclose(summed, true[graph.n_heads :], atol=1e-4 * np.nanmax(np.abs(true)))


def test_keys_that_are_normed_together_are_not_told_apart():
    from transformers import Olmo2Config, Olmo2ForCausalLM

    model = speaking("olmo2")
    model = Olmo2ForCausalLM(Olmo2Config(**model.config.to_diff_dict() | {"num_key_value_heads": 2})).eval()
    model.tokenizer = word_tokenizer()
    with pytest.raises(CircuitError, match="grouped=False: this model norms the keys of all heads together"):
        lens.edges(model, PAIR, grouped=False, progress=False)


@pytest.mark.parametrize("kind", ["llama", *(pytest.param(k, marks=pytest.mark.long) for k in ("gpt_neox", "gemma2"))])
def test_scores_by_activations_are_averages_of_derivatives(kind):
    """Over runs in which one layer's heads, its MLP or the input are held between the two runs: by plain hooks."""
    model = model_of(kind)
    twin, step = Twin(model), 2e-3 if kind in ROUNDED else 1e-5
    for sums, shares in (("midpoint", (0.25, 0.75)), ("left", (0.5, 0.0))):
        found = lens.edges(model, PAIR, method="activations", steps=2, sums=sums, check=0, progress=False)
        graph = found.graph
        places = [["input"]]
        for layer in range(graph.n_layers):
            places += [[f"a{layer}.h{h}" for h in range(graph.n_heads)], [f"m{layer}"]]
        between = [
            {w: twin.base[w] + share * (twin.source[w] - twin.base[w]) for w in place}
            for place in places
            for share in shares
        ]
        chosen = some_edges(graph, 5, seed=2)
        wanted = [
            np.mean([twin.slope(graph.writers[w], graph.readers[r], step, held) for held in between]) for r, w in chosen
        ]
        effect = [float(found.effect[0, r, w]) for r, w in chosen]
        tolerance = 1e-3 if kind in ROUNDED else 1e-4
        np.testing.assert_allclose(effect, wanted, atol=tolerance * np.abs(wanted).max(), err_msg=sums)


def test_denoising_and_other_ablations():
    model = model_of("llama")
    graph = lens.edges(model, PAIR, method="exact", edges=["input->logits"], progress=False).graph
    chosen = some_edges(graph, 6)
    names, twins = [graph.name(*edge) for edge in chosen], {"denoise": Twin(model, noise=False), "zero": Twin(model)}
    twins["zero"].source = {name: x * 0 for name, x in twins["zero"].source.items()}
    mean = Twin(model)
    mean.source = {name: x.mean(0).expand_as(x) for name, x in mean.source.items()}
    for name, twin in (twins | {"mean": mean}).items():
        options = {"direction": "denoise"} if name == "denoise" else {"ablation": name}
        found = lens.edges(model, PAIR, method="exact", edges=names, progress=False, **options)
        plain = twin.metric({}, lambda w, r: True)
        wanted = [twin.cut(graph.writers[w], graph.readers[r]) - plain for r, w in chosen]
        effect = [float(found.effect[0, r, w]) for r, w in chosen]
        np.testing.assert_allclose(effect, wanted, atol=1e-4 * np.abs(wanted).max(), err_msg=name)


def test_prompts_of_unlike_lengths_have_the_scores_that_each_has_alone():
    model = speaking("llama")
    for options in (
        {"steps": 3},
        {"method": "gim"},
        {"steps": 2, "sums": "left"},
        {"method": "clean-corrupted"},
        {"method": "activations", "steps": 2},
        {"steps": 1, "grouped": False},
    ):
        together = lens.edges(model, PAIRS, check=0, progress=False, **options).effect.values
        alone = [lens.edges(model, pair, check=0, progress=False, **options).effect.values[0] for pair in PAIRS]
        np.testing.assert_allclose(together, alone, atol=1e-4 * np.nanmax(np.abs(together)))


def test_a_model_whose_weights_ask_for_gradients_has_the_same_scores_and_gets_none():
    frozen, trainable = speaking("llama"), copy.deepcopy(speaking("llama")).requires_grad_()
    scores = [lens.edges(model, PAIR, steps=2, check=2, progress=False) for model in (frozen, trainable)]
    for name in ("effect", "exact"):
        np.testing.assert_array_equal(scores[1][name].values, scores[0][name].values)
    assert all(p.grad is None and p.requires_grad for p in trainable.parameters())


@pytest.mark.parametrize("kind", ["llama", "gpt_neox"])
def test_a_writers_edges_add_up_to_its_nodes_attribution(kind):
    """Attribution patching of heads' outputs, by another path through the model."""
    model = speaking(kind)
    for steps in (1, 4):
        found = lens.edges(model, PAIRS, steps=steps, check=0, progress=False)
        nodes = lens.patch(
            model, PAIRS, "z", ("layer", "head"), method="attribution", direction="noise", steps=steps, progress=False
        ).effect.values
        graph, summed = found.graph, np.nansum(found.effect.values, axis=1)
        heads = np.stack([summed[:, graph.heads_of(l)] for l in range(graph.n_layers)], 1)
        np.testing.assert_allclose(heads, nodes, atol=1e-4 * np.abs(nodes).max())


def test_steps_lie_where_they_are_said_to():
    """Left sums of one, two and four steps hold the points of each other; and midpoints over the input's edges come to
    the whole way from clean to corrupted.
    """
    model = speaking("gpt2")

    def effect(**options):
        return lens.edges(model, PAIR, check=0, progress=False, **options).effect.values[0]

    ends = effect(method="clean-corrupted")
    base = effect(steps=1)
    # left of two: the source and the middle; midpoint of one part alone is the middle
    two, four = effect(steps=2, sums="left"), effect(steps=4, sums="left")
    mid = effect(steps=2)  # a quarter and three quarters
    source, scale = 2 * ends - base, np.nanmax(np.abs(base))
    middle = 2 * two - source
    np.testing.assert_allclose((source + middle + 2 * mid) / 4, four, atol=1e-4 * scale)
    whole = lens.edges(model, PAIR, steps=24, check=0, progress=False)
    way = float(whole.corrupted[0] - whole.clean[0])
    assert np.nansum(whole.effect.values[0, :, 0]) == pytest.approx(way, abs=0.02 * abs(way))


def test_frozen_norms_and_gim_change_what_they_should():
    """The logits' edges see the final norm alone: with its scale held they are the direct effect's linear part."""
    model = speaking("llama")
    plain, frozen, gim = (
        lens.edges(model, PAIR, check=0, progress=False, **options).effect.values[0]
        for options in ({"steps": 1}, {"steps": 1, "freeze_norms": True}, {"method": "gim"})
    )
    np.testing.assert_allclose(frozen[-1], gim[-1], atol=1e-5 * np.abs(gim[-1]).max())
    assert np.abs(plain[-1] - frozen[-1]).max() > 1e-2 * np.abs(plain[-1]).max()
    # heads of the last layer act through the logits and the last MLP alone: no softmax lies behind
    np.testing.assert_allclose(frozen[-2][:-5], gim[-2][:-5], atol=1e-5 * np.nanmax(np.abs(gim[-2])))


def test_a_model_whose_weights_have_gradients_is_scored_as_one_that_is_frozen():
    model, found = speaking("llama"), []
    for wanted in (False, True):
        model.requires_grad_(wanted)
        found += [
            lens.edges(model, PAIR, check=0, progress=False, **options).effect.values
            for options in ({"steps": 1}, {"method": "activations", "steps": 1})
        ]
    for frozen, free in zip(found, found[2:]):
        np.testing.assert_array_equal(frozen, free)
    assert all(p.grad is None for p in model.parameters())


def test_the_check_beside_scores_is_exact():
    model = speaking("llama")
    found = lens.edges(model, PAIRS, check=5, seed=3, progress=False)
    selected = found.selected.values
    assert (selected == 1).sum() == (selected == 2).sum() == 5
    assert np.abs(found.scores)[selected == 1].min() >= np.nanmax(np.abs(found.scores)[selected != 1])
    names = found.graph.names(selected > 0)
    exact = lens.edges(model, PAIRS, method="exact", edges=names, progress=False)
    np.testing.assert_allclose(found.exact, exact.effect, atol=1e-5)
    ours, theirs = found.agreement(k=5), lens.agreement(exact, found, k=5)
    assert ours == theirs and ours.n_cells == 10
    missed = found.missed()
    values = np.abs(exact.effect.mean("prompt").values[selected == 2])
    assert abs(missed["effect"]) == pytest.approx(values.max(), rel=1e-4) and missed["n_edges"] == 5
    table = found.top(5)
    assert list(table.edge) == [found.graph.name(r, w) for r, w in sorted(
        np.argwhere(selected == 1).tolist(), key=lambda at: -abs(found.scores[tuple(at)])
    )]  # fmt: skip
    assert np.isfinite(table.exact).all() and set(found.sample(5, 5, seed=3)) == set(names)


def test_intervals_of_many_edges_hold_at_once():
    """Each at the level that Bonferroni leaves it; the largest of those that were drawn is one of many too."""
    from lens.stats.means import mean_interval

    pairs = [
        lens.Pair(f"w3 w{17 + i} w5 w80", corrupted=f"w3 w{17 + i} w9 w33", answer=" w11", foil=" w23")
        for i in range(6)
    ]
    found = lens.edges(speaking("llama"), pairs, steps=1, check=4, progress=False)
    alone, together = found.top(4), found.top(4, together=True)
    at = [found.graph.edge(name) for name in together.edge]
    values = np.stack([found.exact.values[:, r, w] for r, w in at], 1).astype(float)
    wanted = mean_interval(values, level=1 - 0.05 / 4, values="number")
    np.testing.assert_allclose(together.exact_low, wanted.low)
    assert (together.exact_high > alone.exact_high).all() and (together.effect_low < alone.effect_low).all()
    missed, at = found.missed(), np.argwhere(found.selected.values == 2)
    drawn = mean_interval(
        np.stack([found.exact.values[:, r, w] for r, w in at], 1).astype(float), level=1 - 0.05 / 4, values="number"
    )
    assert missed["largest_bound"] == pytest.approx(np.fmax(abs(drawn.low), abs(drawn.high)).max())


def test_a_result_is_kept_and_taken_up_again(tmp_path):
    from lens.circuits import Edges

    found = lens.edges(speaking("llama"), PAIRS, steps=1, check=3, progress=False)
    lens.save(found, tmp_path / "edges.zarr")
    again = Edges.of(lens.open(tmp_path / "edges.zarr"))
    np.testing.assert_array_equal(again.scores, found.scores)
    assert again.circuit(7).edges == found.circuit(7).edges and again.graph == found.graph
    assert lens.describe(found).startswith("Edges")
    stable = found.stability(7, resamples=20)
    assert 0 < stable["low"] <= stable["jaccard"] <= stable["high"] <= 1 and not stable["stable"]
    with pytest.raises(CircuitError, match="no result of lens.edges"):
        Edges.of(lens.patch(speaking("llama"), PAIR, over=("layer",), progress=False))


BAD = {
    "no pair": (dict(pairs=[]), "pairs=\\[\\]"),
    "an edge": (dict(method="exact", edges=["m2->m1"]), "edge='m2->m1' does not exist"),
    "no edge": (dict(method="exact", edges=[]), "edges=\\[\\]"),
    "edges of scores": (dict(edges=["m0->m1"]), "goes with method='exact'"),
    "steps of exact": (dict(method="exact", steps=3), "steps=3"),
    "steps to a mean": (dict(ablation="mean", steps=5), "steps=5"),
    "both ends of a mean": (dict(ablation="zero", method="clean-corrupted"), "ablation='zero'"),
    "a rank": (dict(metric="rank"), "metric='rank'"),
    "a minimum": (dict(metric="kl", steps=1), "metric='kl'"),
    "a rank by activations": (dict(metric="rank", method="activations"), "metric='rank'"),
    "grouped": (dict(grouped=2), "grouped=2"),
    "several tokens": (dict(metric="logprob_diff"), "metric='logprob_diff'"),
    "another method": (dict(method="ACDC"), "method='ACDC'"),
    "lengths": (dict(pairs=lens.Pair("w1 w2", corrupted="w1 w2 w3", answer=" w4", foil=" w5")), "align token by token"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_refused(case):
    options, said = BAD[case]
    with pytest.raises(lens.Error, match=said):
        lens.edges(speaking("llama"), **({"pairs": PAIR} | options), progress=False)


def test_a_model_whose_blocks_are_not_written_out_is_refused():
    from tests.hybrids import opt
    from tests.models import word_tokenizer

    model = opt()
    model.tokenizer = word_tokenizer()
    with pytest.raises(CircuitError, match="edges need blocks that are written out, and opt"):
        lens.edges(model, PAIR)
