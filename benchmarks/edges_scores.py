"""Scores of all edges of one pair (EAP) beside TransformerLens' edge attribution, which has one edge a position."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np

import lens

from ._edges_subject import reader_of, subject, writer_of
from .machine import set_threads, timed

ROUNDS = {True: 1, False: 3}


def run(quick: bool) -> dict[str, Any]:
    """The figures; `quick`: of a random model of three layers."""
    from transformer_lens.tools.analysis.attribution_patching import EdgeAttributionConfig, attribution_patch

    set_threads()
    of = subject(quick)

    def ours() -> Any:
        return lens.edges(of.model, of.pair, steps=1, check=0, direction="denoise", progress=False)

    def theirs() -> Any:
        return attribution_patch(of.bridge, *of.ids, of.metric, EdgeAttributionConfig(granularity="edge"))

    found, own, other = ours(), [], []
    theirs()
    for _ in range(ROUNDS[quick]):
        seconds, found = timed(ours)
        own.append(seconds)
        seconds, scored = timed(theirs)
        other.append(seconds)
    graph = found.graph
    summed = np.zeros(graph.exists.shape)
    for (writer, reader), score in scored.edge_scores.items():
        summed[graph.edge(f"{writer_of(writer)}->{reader_of(reader)}")] += score
    there = graph.exists
    gap = np.abs(found.effect.values[0][there] - summed[there]).max()
    return {
        "ratio_tl_edges": statistics.median(b / a for a, b in zip(own, other)),
        "edges_max_rel_diff": float(gap / np.abs(summed).max()),
        "edges_seconds": statistics.median(own),
        "tl_edges_seconds": statistics.median(other),
        "n_edges": graph.n_edges,
        "tl_edges": len(scored.edge_scores),
    }
