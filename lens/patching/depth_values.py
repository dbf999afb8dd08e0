"""The cells of a depth: one token's stream put into another prompt's run, at every layer, in one walk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..engine.edits import Edit
from ..engine.memory import budget
from ..engine.metrics import METRICS
from ..engine.model import Model
from ..engine.pieces import batch_by_batch, in_halves, run_bytes
from ..engine.runs import Runs
from ..engine.sites import Site
from ..prompts import EncodedPair

MEASURES = ("reading", "writing")


@dataclass
class DepthValues:
    """The log-odds of answer and foil, in nats, NaN where they were not computed.

    Attributes:
        clean: of each item, ``[item]``. other: of its partners, ``[item, partner]``.
        value: under each edit, ``[item, partner, measure, layer]``; layers 0 to ``n_layers``.
    """

    clean: np.ndarray
    other: np.ndarray
    value: np.ndarray
    status: str = "partial"


class DepthCells:
    """Items beside their partners, all layers of a batch of them in one walk.

    Args:
        items: of each item its partners, pairs of one clean prompt and unlike corrupted ones, all aligned.
        both: so many partners of each item, the first, are measured both ways, the others in reading alone.
    """

    def __init__(
        self, model: Model, items: Sequence[Sequence[EncodedPair]], both: Sequence[int], memory_mb: float | None
    ):
        self.model, self.items, self.both, self.room = model, items, both, budget(model, memory_mb)
        most = max(map(len, items))
        shape = (len(items), most, len(MEASURES), model.n_layers + 1)
        self.values = DepthValues(np.full(len(items), np.nan), np.full(shape[:2], np.nan), np.full(shape, np.nan))

    def run(self, progress: bool | None, stop: Callable[[], bool] | None) -> DepthValues:
        """Everything; what there is where it was stopped."""
        # a run's streams and keys, and rows of one token: two residual streams and a copy while they join
        row = 6 * self.model.d_model * self.model.dtype.itemsize * self.model.n_layers * 2
        sizes = [(1 + len(of)) * run_bytes(self.model, len(of[0]), ()) + len(of) * row for of in self.items]
        self.values.status = batch_by_batch(
            sizes,
            self.room.runs,
            lambda batch: in_halves(self.model, batch, lambda part: self._batch(part, stop)),
            label="depth",
            progress=progress,
            stop=stop,
        )
        return self.values

    @torch.no_grad()
    def _batch(self, batch: Sequence[int], stop: Callable[[], bool] | None) -> None:
        model, n = self.model, self.model.n_layers
        prompts: list[tuple[int, int | None]] = []
        for i in batch:
            prompts += [(i, None), *((i, j) for j in range(len(self.items[i])))]
        ids = [self.items[i][0].clean_ids if j is None else self.items[i][j].corrupted_ids for i, j in prompts]
        runs = model.record([one.to(model.device) for one in ids], keep=())
        runs.verify()
        last = [length - 1 for length in runs.lengths]
        rows: list[tuple[int, tuple[Edit]]] = []
        places: list[tuple[int, int, int, int]] = []
        for number, (i, j) in enumerate(prompts):
            if j is None:
                own = number
                continue
            # at the first layer the token is the same in both, behind the last one nothing reads the others any more
            for layer in range(1, n):
                site = Site("resid_pre", layer, position=last[number])
                rows.append((number, (Edit(site, "replace", runs[own]),)))
                places.append((i, j, 0, layer))
                if j < self.both[i]:
                    rows.append((own, (Edit(site, "replace", runs[number]),)))
                    places.append((i, j, 1, layer))
        walked = model.run(runs, rows, [[at] for at in last], chunk_bytes=self.room.chunk(), stop=stop)
        of = np.array([place[0] for place in places], dtype=np.int64)
        out = self.values
        for i in batch:
            base = [number for number, (item, _) in enumerate(prompts) if item == i]
            plain = self._score(i, torch.stack([_final(runs, number, last[number]) for number in base]))
            out.clean[i], out.other[i, : len(base) - 1] = plain[0], plain[1:]
            out.value[i, : len(base) - 1, 0, 0] = out.value[i, : len(base) - 1, 1, n] = plain[1:]
            out.value[i, : len(base) - 1, 0, n] = out.value[i, : len(base) - 1, 1, 0] = plain[0]
            mine = np.flatnonzero(of == i)
            if len(mine):
                values = self._score(i, walked.resid[torch.as_tensor(mine, device=walked.resid.device)])
                out.value[tuple(np.array([places[k] for k in mine]).T)] = values

    def _score(self, item: int, resid: Tensor) -> np.ndarray:
        """Of final streams ``[n, d_model]``."""
        encoded = self.items[item][0]
        values: np.ndarray = METRICS["logit_diff"].score(self.model, [resid[:, None]], encoded, ()).cpu().numpy()
        return values


def _final(runs: Runs, prompt: int, position: int) -> Tensor:
    final: Tensor = runs.final[runs.starts[prompt] + position]
    return final
