"""Circuits of five sizes run by themselves beside TransformerLens' faithfulness of the same circuits.

Theirs runs a masked forward for the circuit and one more for each class of edges that it keeps; the ratio is taken at
equal work, for each masked forward. `tl_whole_call_ratio` is that of whole calls.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import lens
from lens.circuits import top_edges

from ._edges_subject import reader_of, subject, writer_of
from .machine import set_threads, timed

SIZES = (0.01, 0.05, 0.1, 0.2, 0.5)


def run(quick: bool) -> dict[str, Any]:
    """The figures; `quick`: of a random model of three layers."""
    from transformer_lens.tools.analysis import attribution_patching as peer

    set_threads()
    of = subject(quick)
    graph = lens.edges(of.model, of.pair, method="exact", edges=["input->logits"], progress=False).graph
    scores = np.random.default_rng(0).normal(size=graph.exists.shape)
    masks = [top_edges(graph, scores, max(1, int(share * graph.n_edges))) for share in SIZES]
    circuits = [lens.circuits.Circuit(graph, mask) for mask in masks]

    def ours() -> Any:
        return lens.faithfulness(of.model, of.pair, circuits, controls=0, complement=False, progress=False)

    ours()
    seconds, found = timed(ours)
    # its edges, one a position
    scored = peer.attribution_patch(of.bridge, *of.ids, of.metric, peer.EdgeAttributionConfig(granularity="edge"))
    nodes = [(pair, graph.edge(f"{writer_of(pair[0])}->{reader_of(pair[1])}")) for pair in scored.edge_scores]
    whole, each, recovered = 0.0, 0.0, []
    for mask in masks:
        circuit = [pair for pair, at in nodes if mask[at]]
        took, result = timed(lambda: peer.faithfulness(of.bridge, *of.ids, of.metric, circuit))
        whole, recovered = whole + took, [*recovered, result.recovered]
        # the circuit's own forward, and one for each class of edges that it keeps
        each += took / (1 + len({pair[1].kind for pair in circuit}))
    gap = np.abs(found.f.values[0] - np.array(recovered)).max()
    return {
        "ratio_tl_faithfulness": each / seconds,
        "faithfulness_max_rel_diff": float(gap / np.abs(recovered).max()),
        "tl_whole_call_ratio": whole / seconds,
        "faithfulness_seconds": seconds,
        "tl_faithfulness_seconds": whole,
    }
