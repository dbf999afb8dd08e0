"""Every layer and position of one checkpoint's run put into another one's, 16 tokens, beside one hooked forward of the
plain model a cell; the two take turns, and a share of the cells stands between two sweeps.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch

import lens

from ._checkpoints import checkpoints
from .machine import set_threads, settled
from .subjects import EARLY

ROUNDS = {True: 1, False: 5}


def run(quick: bool) -> dict[str, Any]:
    """The figures; `quick`: of a random model of four layers."""
    set_threads()
    try:
        of = checkpoints(quick)
    except lens.LoadError as error:
        return {"why": str(error)}
    encoded = lens.encode(of.subject.tokenizer, EARLY)
    ids, answer, foil = encoded.clean_ids[None], encoded.answer_ids[0], encoded.foil_ids[0]
    second = getattr(of.second, "original_model", of.second)
    blocks = of.plain.model.layers
    with torch.no_grad():
        states = second(ids, output_hidden_states=True).hidden_states
        last = []
        handle = second.model.layers[-1].register_forward_hook(lambda module, args, out: last.append(out))
        second(ids)
        handle.remove()
    # the last entry of the states is behind the final norm
    streams = [*states[1:-1], last[0] if isinstance(last[0], torch.Tensor) else last[0][0]]

    def naive(layer: int, position: int) -> float:
        def put(module: Any, args: Any, out: Any) -> Any:
            stream = (out if isinstance(out, torch.Tensor) else out[0]).clone()
            stream[0, position] = streams[layer][0, position]
            return stream if isinstance(out, torch.Tensor) else (stream, *out[1:])

        handle = blocks[layer].register_forward_hook(put)
        try:
            with torch.no_grad():
                logits = of.plain(ids).logits[0, -1]
        finally:
            handle.remove()
        return float(logits[answer] - logits[foil])

    def ours() -> Any:
        return lens.patch_between(of.first, of.second, EARLY, controls=(), progress=False)

    ds = ours()
    cells = [(l, p) for l in range(len(blocks)) for p in range(ids.shape[1])]
    # shares that each go through all layers and positions
    shares = [cells[k :: ROUNDS[quick]] for k in range(ROUNDS[quick])]
    values: dict[tuple[int, int], float] = {}
    seconds: list[float] = []
    processor: list[float] = []
    naive_seconds = naive_processor = 0.0
    with settled():
        for share in shares:
            began, used = time.perf_counter(), time.process_time()
            ds = ours()
            seconds.append(time.perf_counter() - began)
            processor.append(time.process_time() - used)
            began, used = time.perf_counter(), time.process_time()
            values |= {cell: naive(*cell) for cell in share}
            naive_seconds += time.perf_counter() - began
            naive_processor += time.process_time() - used
    largest = float(abs(ds.effect).max())
    return {
        "ratio_between": naive_seconds / statistics.median(seconds),
        "max_rel_diff": max(abs(float(ds.value[cell]) - value) for cell, value in values.items()) / largest,
        "ratio_between_processor": naive_processor / statistics.median(processor),
        "between_seconds": statistics.median(seconds),
        "between_cells": len(cells),
    }
