"""`lens.depth` of 200 items with five partners, all layers, both ways, beside one hooked forward of a model a cell.

The hooked forwards are those of a share of the cells, spread evenly over items, partners, layers and ways, which stands
for all: each is one call of the model with the partner's streams put in, the streams having been recorded before the
clock runs.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch
from torch import Tensor

import lens

from ._steering_subject import Depths, depths
from .machine import set_threads, timed

ROUNDS = {True: 1, False: 3}
#: Hooked forwards of one round.
CELLS = {True: 8, False: 200}


class Hooked:
    """Cells by forward hooks on the layers of a plain model."""

    def __init__(self, of: Depths):
        self.of, self.layers = of, of.copy.model.layers
        tokenizer = of.model.tokenizer
        self.ids = [
            [
                tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
                for text in (pair.clean, pair.corrupted, *more)
            ]
            for pair, more in zip(of.items, of.partners)
        ]
        self.names = [
            [tokenizer(t, add_special_tokens=False)["input_ids"][0] for t in (pair.answer, pair.foil or "")]
            for pair in of.items
        ]

    def streams(self, item: int, prompt: int) -> list[Tensor]:
        """What enters each layer."""
        with torch.no_grad():
            out = self.of.copy(self.ids[item][prompt], output_hidden_states=True, use_cache=False)
        return [stream[0] for stream in out.hidden_states]

    @torch.no_grad()
    def cell(self, item: int, way: int, layer: int, streams: list[Tensor]) -> float:
        """The log-odds of one cell."""
        span = slice(0, -1) if way == 0 else slice(-1, None)

        def put(l: int) -> Any:
            def hook(_: Any, args: Any, kwargs: Any) -> Any:
                x = (args[0] if args else kwargs["hidden_states"]).clone()
                x[0, span] = streams[l][span]
                return ((x, *args[1:]), kwargs) if args else (args, kwargs | {"hidden_states": x})

            return hook

        at = range(layer, len(self.layers)) if way == 0 else [layer]
        handles = [self.layers[l].register_forward_pre_hook(put(l), with_kwargs=True) for l in at]
        try:
            logits = self.of.copy(self.ids[item][0], use_cache=False).logits[0, -1]
        finally:
            for handle in handles:
                handle.remove()
        answer, foil = self.names[item]
        return float(logits[answer] - logits[foil])


def run(quick: bool) -> dict[str, Any]:
    """The figures; `quick`: of a random model of four layers."""
    set_threads()
    try:
        of = depths(quick)
    except lens.LoadError as error:
        return {"why": str(error)}
    hooked, n_layers = Hooked(of), len(of.copy.model.layers)
    each = 1 + len(of.partners[0])
    total = len(of.items) * each * 2 * n_layers
    cells = [k * total // CELLS[quick] for k in range(CELLS[quick])]

    def ours() -> Any:
        return lens.depth(of.model, of.items, of.partners, gap=1e-6, progress=False)

    def theirs() -> tuple[float, float, list[tuple[tuple[int, int, int, int], float]]]:
        seconds, spent, values = 0.0, 0.0, []
        for number in cells:
            rest, layer = divmod(number, n_layers)
            rest, way = divmod(rest, 2)
            item, partner = divmod(rest, each)
            streams = hooked.streams(item, 1 + partner)
            began, used = time.perf_counter(), time.process_time()
            values.append(((item, partner, way, layer), hooked.cell(item, way, layer, streams)))
            seconds, spent = seconds + time.perf_counter() - began, spent + time.process_time() - used
        return seconds, spent, values

    own: list[float] = []
    other: list[float] = []
    processor: list[float] = []
    found, values = None, []
    for _ in range(ROUNDS[quick]):
        began = time.process_time()
        seconds, found = timed(ours)
        own.append(seconds)
        mine = time.process_time() - began
        seconds, spent, values = theirs()
        other.append(seconds * total / len(cells))
        processor.append(spent * total / len(cells) / mine)
    return {
        "ratio_depth": statistics.median(b / a for a, b in zip(own, other)),
        "depth_processor_ratio": statistics.median(processor),
        "depth_max_diff": max(abs(value - float(found.value.values[i, j, w, l])) for (i, j, w, l), value in values),
        "depth_cells": total,
        "depth_seconds": statistics.median(own),
        "hooked_cell_seconds": statistics.median(other) / total,
    }
