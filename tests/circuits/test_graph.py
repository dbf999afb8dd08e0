"""Writers, readers and edges: counts, names, which exist, what lies on a path, and MIB's JSON."""

import itertools
import json

import numpy as np
import pytest

from lens.circuits import Circuit, CircuitError, Graph, open_circuit, top_edges

#: layers, heads, true key/value heads; edges with a reader a query head, and with true heads (counted by the formula of
#: EAP-IG's graph, and equal to TransformerLens' list by positions on three sizes).
COUNTED = {
    "GPT-2 small": ((12, 12, 12), 32_491, 32_491),
    "GPT-2 medium": ((24, 16, 16), 231_877, 231_877),
    "SmolLM2-135M": ((30, 9, 3), 123_211, 70_651),
    "Qwen2.5-0.5B": ((24, 14, 2), 179_749, 79_813),
    "Gemma-2-2B": ((26, 8, 4), 74_218, 50_610),
    "Llama-3.2-1B": ((16, 32, 8), 386_713, 195_865),
}


@pytest.mark.parametrize("name", COUNTED)
def test_edges_are_counted(name):
    (layers, heads, shared), ungrouped, grouped = COUNTED[name]
    assert Graph(layers, heads, heads, 64).n_edges == ungrouped and Graph(layers, heads, shared, 64).n_edges == grouped
    by_layer = sum((heads + 2 * shared) * (1 + (heads + 1) * l) + 1 + (heads + 1) * l + heads for l in range(layers))
    assert by_layer + 1 + layers * (heads + 1) == grouped


def test_a_parallel_block_has_fewer():
    assert Graph(12, 12, 12, 768, parallel=True).n_edges == 32_347
    with pytest.raises(CircuitError, match=r"edge='a1.h0->m1' does not exist: attention and MLP .* side by side"):
        Graph(2, 2, 2, 8, parallel=True).edge("a1.h0->m1")
    assert Graph(2, 2, 2, 8).edge("a1.h0->m1") == (Graph(2, 2, 2, 8).mlp_reader(1), 4)


def test_names_tell_an_edge():
    graph = Graph(2, 4, 2, 8)
    assert graph.names(graph.exists) == [graph.name(*graph.edge(n)) for n in graph.names(graph.exists)]
    assert len(set(graph.names(graph.exists))) == graph.n_edges
    assert {"input->a0.h3<q>", "a0.h3->a1.kv1<k>", "m0->a1.kv0<v>", "a1.h2->m1", "m1->logits"} <= set(
        graph.names(graph.exists)
    )


@pytest.mark.parametrize(
    "name, said",
    [
        ("a1.h0->a0.h0<q>", "writes after"),
        ("m0->m0", "writes after"),
        ("a9.h0->m1", "'a9.h0' is no writer"),
        ("m0->a1.h0<k>", "'a1.h0<k>' is no reader"),
        ("logits", "no writer"),
        (3, "no writer"),
    ],
)
def test_an_edge_that_is_not_there_is_refused(name, said):
    with pytest.raises(CircuitError, match=said):
        Graph(2, 4, 2, 8).edge(name)


def paths(graph, mask):
    """Edges on a path from the input to the logits, by walking every path."""
    belongs, used = graph.nodes(), np.zeros_like(mask)

    def walk(writer, so_far):
        for reader in np.flatnonzero(mask[:, writer]):
            edges = [*so_far, (reader, writer)]
            if reader == graph.n_readers - 1:
                for edge in edges:
                    used[edge] = True
            for nxt in np.flatnonzero(belongs[reader]):
                walk(nxt, edges)

    walk(0, [])
    return used


@pytest.mark.parametrize("parallel", [False, True])
def test_pruning_keeps_what_lies_on_a_path(parallel):
    graph, rng = Graph(2, 2, 1, 8, parallel), np.random.default_rng(0)
    for share in (0.2, 0.3, 0.5):
        mask = graph.exists & (rng.random(graph.exists.shape) < share)
        np.testing.assert_array_equal(graph.pruned(mask), paths(graph, mask))


def test_the_largest_scores_and_what_grows_from_the_logits():
    graph, rng = Graph(2, 2, 2, 8), np.random.default_rng(1)
    scores = np.where(graph.exists, rng.normal(size=graph.exists.shape), np.nan)
    for absolute in (True, False):
        size = np.where(graph.exists, np.abs(scores) if absolute else scores, -np.inf)
        kept = top_edges(graph, scores, 7, absolute=absolute)
        assert kept.sum() == 7 and size[kept].min() > size[graph.exists & ~kept].max()
        grown = top_edges(graph, scores, 7, absolute=absolute, greedy=True)
        # one edge at a time, by looking at all
        seen, own = {graph.n_readers - 1}, np.zeros_like(grown)
        for _ in range(7):
            edges = [(r, w) for r, w in itertools.product(seen, range(graph.n_writers)) if graph.exists[r, w]]
            best = max((e for e in edges if not own[e]), key=lambda e: size[e])
            own[best] = True
            seen |= set(np.flatnonzero(graph.nodes()[:, best[1]]))
        np.testing.assert_array_equal(grown, own)
    with pytest.raises(CircuitError, match=f"n=99 is more than the {graph.n_edges} edges"):
        top_edges(graph, scores, 99)


def test_random_circuits_have_as_many_edges_between_the_same_layers():
    graph, rng = Graph(3, 2, 1, 8), np.random.default_rng(0)
    circuit = Circuit(graph, graph.exists & (rng.random(graph.exists.shape) < 0.3))
    drawn = circuit.random_like(seed=4)
    assert len(drawn) == len(circuit) and not (drawn.kept & ~graph.exists).any()
    assert 0 < circuit.jaccard(drawn) < 1 and (drawn.kept == circuit.random_like(seed=4).kept).all()
    of_writer = (np.arange(graph.n_writers) - 1) // 3
    for reader, writer in itertools.product(range(4), range(-1, 3)):
        block = np.ix_(graph.layers() == reader, of_writer == writer)
        assert drawn.kept[block].sum() == circuit.kept[block].sum()
    assert len(circuit.complement()) == graph.n_edges - len(circuit)


@pytest.mark.parametrize("graph", [Graph(2, 4, 2, 8), Graph(2, 3, 3, 8, parallel=True)])
def test_a_circuit_comes_back_from_its_file(graph, tmp_path):
    rng = np.random.default_rng(0)
    scores = np.where(graph.exists, rng.normal(size=graph.exists.shape), np.nan)
    circuit = Circuit(graph, top_edges(graph, scores, 9), scores, {"n": 9})
    again = open_circuit(circuit.save(tmp_path / "circuit.json"))
    assert again.graph == graph and again.edges == circuit.edges and again.about == {"n": 9}
    np.testing.assert_array_equal(again.scores, scores)


def test_the_file_is_laid_out_as_that_of_eap_ig(tmp_path):
    """`cfg`, nodes with `in_graph`, the logits always in it, edges with `score` and `in_graph`, layer by layer."""
    graph = Graph(1, 2, 2, 8)
    kept = graph.mask(["input->a0.h1<v>", "a0.h1->logits", "input->a0.h0<q>"])
    content = json.loads(Circuit(graph, kept).save(tmp_path / "a.json").read_text())
    assert content["cfg"] == {"n_layers": 1, "n_heads": 2, "parallel_attn_mlp": False, "d_model": 8}
    assert list(content["nodes"]) == ["input", "a0.h0", "a0.h1", "m0", "logits"]
    inside = {name for name, node in content["nodes"].items() if node["in_graph"]}
    assert inside == {"input", "a0.h1", "logits"}  # the query's edge leads nowhere
    assert set(content["edges"]) == {
        *(f"input->a0.h{h}<{letter}>" for h in (0, 1) for letter in "qkv"),
        *(f"{w}->m0" for w in ("input", "a0.h0", "a0.h1")),
        *(f"{w}->logits" for w in ("input", "a0.h0", "a0.h1", "m0")),
    }
    assert content["edges"]["input->a0.h1<v>"] == {"score": 0.0, "in_graph": True}


BAD = {
    "no edges": (lambda c: c.pop("edges"), "no object 'edges'"),
    "a size": (lambda c: c["cfg"].update(n_layers="2"), "n_layers='2'"),
    "too large": (lambda c: c["cfg"].update(n_layers=10**9), "n_layers=1000000000"),
    "a truth value": (lambda c: c["cfg"].update(parallel_attn_mlp=2), "parallel_attn_mlp=2"),
    "an edge": (lambda c: c["edges"].update({"m0->m0": {"score": 0, "in_graph": True}}), "m0->m0"),
    "no truth": (lambda c: c["edges"]["m0->logits"].update(in_graph=1), "the edge m0->logits"),
    "a score": (lambda c: c["edges"]["m0->logits"].update(score="1"), "the edge m0->logits"),
    "neurons": (lambda c: c["nodes"]["m0"].update(neurons=[True]), "neurons"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_is_no_circuit_is_refused(case, tmp_path):
    graph, (spoil, said) = Graph(1, 2, 2, 8), BAD[case]
    path = Circuit(graph, graph.exists).save(tmp_path / "a.json")
    content = json.loads(path.read_text())
    spoil(content)
    path.write_text(json.dumps(content))
    with pytest.raises(CircuitError, match=said):
        open_circuit(path)


def test_pickles_and_absent_files_are_refused(tmp_path):
    (tmp_path / "a.pt").write_bytes(b"PK")
    with pytest.raises(CircuitError, match="is a pickle"):
        open_circuit(tmp_path / "a.pt")
    with pytest.raises(CircuitError, match="cannot be read"):
        open_circuit(tmp_path / "absent.json")


def test_masks_of_another_shape_or_edge_are_refused():
    graph = Graph(1, 2, 2, 8)
    with pytest.raises(CircuitError, match="shape"):
        Circuit(graph, np.ones((2, 2), bool))
    with pytest.raises(CircuitError, match="does not exist"):
        Circuit(graph, np.ones_like(graph.exists))
    with pytest.raises(CircuitError, match="n_kv_heads=2 does not divide n_heads=3"):
        Graph(1, 3, 2, 8)
