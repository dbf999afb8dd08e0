"""Circuits by themselves, against a second copy of the model in float64, and what is said of their faithfulness."""

import numpy as np
import pytest

import lens
from lens.circuits import Circuit, CircuitError, Graph
from lens.circuits.circuit import random_mask
from lens.circuits.faithfulness import SIZES
from tests.circuits.reference import model_of
from tests.circuits.test_effects import EVERY, PAIR, Twin
from tests.models import speaking


def pair(i: int) -> lens.Pair:
    return lens.Pair(
        f"w3 w17 w{5 + i} w80 w7 w9", corrupted=f"w3 w17 w{40 + i} w80 w33 w9", answer=" w11", foil=" w23", label=str(i)
    )


FOUND_ON, HELD_OUT = [pair(i) for i in range(6)], [pair(i) for i in range(6, 12)]


def half(graph: Graph, seed: int = 0) -> Circuit:
    return Circuit(graph, graph.exists & (np.random.default_rng(seed).random(graph.exists.shape) < 0.5))


@pytest.mark.parametrize("kind", EVERY)
def test_a_circuit_is_each_readers_own_sum_of_writes(kind):
    model = model_of(kind)
    graph = lens.edges(model, PAIR, method="exact", edges=["input->logits"], progress=False).graph
    circuit, twin = half(graph), Twin(model)
    found = lens.faithfulness(model, PAIR, circuit, controls=1, seed=5, progress=False)
    full, empty = twin.metric({}, lambda w, r: True), twin.metric(twin.source, lambda w, r: False)

    def metric(mask):
        kept = set(graph.names(mask))
        return twin.metric(twin.source, lambda w, r: f"{w}->{r}" in kept)

    scale = 1e-4 * max(abs(full), abs(empty), 1.0)
    assert float(found.full[0]) == pytest.approx(full, abs=scale)
    assert float(found.empty[0]) == pytest.approx(empty, abs=scale)
    wanted = [metric(m) for m in (circuit.kept, random_mask(graph, circuit.kept, 5), graph.exists & ~circuit.kept)]
    gap = full - empty
    got = [float(found.f[0, 0]), float(found.random[0, 0, 0]), float(found.complement[0, 0])]
    np.testing.assert_allclose(np.array(got) * gap + empty, wanted, atol=scale)


def test_grouped_heads_may_read_apart():
    """MIB's graph, in which every query head has keys and values of its own: where both heads of a group see what
    their key/value head sees, it is the same circuit.
    """
    model, true = speaking("llama"), half(Graph(3, 4, 2, 32), seed=1)
    graph, names = Graph(3, 4, 4, 32), []
    for name in true.edges:
        head, _, number = name.rpartition(".kv")
        own = [f"{head}.h{2 * int(number[0]) + i}{number[1:]}" for i in (0, 1)] if head else [name]
        names += own
    found = [
        lens.faithfulness(model, PAIR, circuit, controls=0, complement=False, progress=False).f.item()
        for circuit in (true, Circuit(graph, graph.mask(names)))
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-4) and 0 < abs(found[0] - 1)


def test_one_edge_left_out_is_its_exact_effect():
    model = speaking("gpt2")
    for ablation in ("counterfactual", "zero", "mean"):
        name = "a0.h1->m1"
        exact = lens.edges(model, FOUND_ON, method="exact", edges=[name], ablation=ablation, progress=False)
        graph = exact.graph
        rest = Circuit(graph, graph.exists & ~graph.mask([name]))
        found = lens.faithfulness(
            model, FOUND_ON, rest, ablation=ablation, controls=0, complement=False, progress=False
        )
        effect = (found.value[0, 0] - found.full).values
        wanted = exact.effect.values[(slice(None), *graph.edge(name))]
        np.testing.assert_allclose(effect, wanted, atol=1e-4 * np.abs(found.full).max().item())


@pytest.fixture(scope="module")
def curve():
    model = speaking("llama")
    edges = lens.edges(model, FOUND_ON, steps=2, check=0, progress=False)
    return model, edges, lens.faithfulness(model, HELD_OUT, edges, controls=3, progress=False)


def test_a_curve_over_the_published_sizes(curve):
    model, edges, found = curve
    n = edges.graph.n_edges
    np.testing.assert_array_equal(found.n_edges[0], [max(1, int(share * n)) for share in SIZES])
    assert (found.n_pruned <= found.n_edges).all() and (found.f.values[:, -1] == 1).all()
    np.testing.assert_allclose(found.random[:, -1], 1)
    np.testing.assert_allclose(found.complement[:, -1], 0)
    # means are taken before the ratio
    gap = (found.full - found.empty).mean()
    np.testing.assert_allclose(found.f, ((found.value - found.empty).mean("prompt") / gap), rtol=1e-9)
    np.testing.assert_allclose(found.CPR, np.trapezoid(found.f, SIZES, axis=1))
    np.testing.assert_allclose(found.CMD, np.trapezoid(np.abs(1 - found.f), SIZES, axis=1))
    np.testing.assert_allclose(found.random_CPR, np.trapezoid(found.random, SIZES, axis=1))
    for ranking in ("signed", "absolute"):
        given = edges.circuit(int(0.2 * n), absolute=ranking == "absolute")
        alone = lens.faithfulness(model, HELD_OUT, given, controls=0, complement=False, progress=False)
        assert alone.f.item() == pytest.approx(found.f.sel(ranking=ranking, circuit=0.2).item(), rel=1e-5)
    at_least = 1 + (found.random.values >= found.f.values[..., None]).sum(-1)
    np.testing.assert_allclose(found.p, at_least / 4)
    record = lens.record(found)
    assert record["call"]["found_on"] == 0 and record["kind"] == "faithfulness"


def test_an_interval_of_f_is_that_of_a_ratio_of_means(curve):
    from lens.stats.intervals import bootstrap_comparison

    found = curve[2]
    own, gap = (found.value - found.empty).values[1, 7], (found.full - found.empty).values
    wanted = bootstrap_comparison(own, gap)
    assert (found.f_low.values[1, 7], found.f_high.values[1, 7]) == (wanted.low, wanted.high)


def test_pairs_that_were_seen_are_told():
    model = speaking("llama")
    edges = lens.edges(model, FOUND_ON, steps=1, check=0, progress=False)
    with pytest.warns(UserWarning, match="found on 1 of these 2"):
        found = lens.faithfulness(
            model, [FOUND_ON[0], HELD_OUT[0]], edges.circuit(20), controls=0, complement=False, progress=False
        )
    assert lens.record(found)["call"]["found_on"] == 1


def test_metrics_that_do_not_differ_are_refused_with_both_numbers():
    model = speaking("llama")
    graph = lens.edges(model, PAIR, method="exact", edges=["input->logits"], progress=False).graph
    with pytest.raises(CircuitError, match=r"m\(full\)=0.5 and m\(empty\)=0.5 do not differ"):
        lens.faithfulness(model, PAIR, half(graph), metric=lambda logits, e: logits[:, 0] * 0 + 0.5, progress=False)


def test_circuits_that_do_not_fit_are_refused():
    model = speaking("llama")
    with pytest.raises(CircuitError, match="this model is Graph"):
        lens.faithfulness(model, PAIR, half(Graph(2, 4, 2, 32)), progress=False)
    with pytest.raises(CircuitError, match="several graphs"):
        lens.faithfulness(model, PAIR, [half(Graph(2, 4, 2, 32)), half(Graph(3, 4, 2, 32))], progress=False)
    with pytest.raises(CircuitError, match="circuits="):
        lens.faithfulness(model, PAIR, [], progress=False)
    edges = lens.edges(model, PAIR, steps=1, check=0, progress=False)
    with pytest.raises(CircuitError, match="sizes=.*do not rise"):
        lens.faithfulness(model, HELD_OUT, edges, sizes=[0.5, 0.1], progress=False)
