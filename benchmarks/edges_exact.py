"""Exact effects of a hundred edges from one head to later queries beside TransformerLens' direct-path patching."""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np

import lens

from ._edges_subject import subject
from .machine import set_threads, timed

ROUNDS = {True: 1, False: 3}


def run(quick: bool) -> dict[str, Any]:
    """The figures; `quick`: of a random model of three layers."""
    from transformer_lens import patching

    set_threads()
    of = subject(quick)
    layers, heads = of.model.config.n_layer, of.model.config.n_head
    sender = layers - 9 if layers > 9 else 0
    names = [f"a{sender}.h0->a{l}.h{h}<q>" for l in range(sender + 1, layers) for h in range(heads)]
    (clean, corrupted), caches = of.ids, []
    for ids in (clean, corrupted):
        caches.append(of.bridge.run_with_cache(ids)[1])

    def ours() -> Any:
        return lens.edges(of.model, of.pair, method="exact", edges=names, direction="denoise", progress=False)

    def theirs() -> Any:
        return patching.get_act_patch_direct_path(of.bridge, corrupted, *caches, of.metric, sender, 0, "q", False)

    found, own, other = ours(), [], []
    processor: list[list[float]] = [[], []]
    for _ in range(ROUNDS[quick]):
        began = time.process_time()
        seconds, found = timed(ours)
        own.append(seconds)
        between = time.process_time()
        seconds, patched = timed(theirs)
        other.append(seconds)
        for used, spent in zip(processor, (between - began, time.process_time() - between)):
            used.append(spent)
    mine = np.array([found.effect.values[(0, *found.graph.edge(name))] for name in names])
    # what it gives is the metric under each edit, rounded in float32; effects are small beside it
    their, base = patched.detach().numpy()[sender + 1 :].reshape(-1), float(found.corrupted[0])
    gap = float(np.abs(mine + base - their).max())
    return {
        "ratio_tl_direct_paths": statistics.median(b / a for a, b in zip(own, other)),
        "direct_paths_max_rel_diff": gap / float(np.abs(their).max()),
        "direct_paths_gap_over_largest_effect": gap / float(np.abs(mine).max()),
        "direct_paths_processor_ratio": statistics.median(b / a for a, b in zip(*processor)),
        "exact_edges": len(names),
        "exact_seconds": statistics.median(own),
        "tl_direct_paths_seconds": statistics.median(other),
    }
