"""The parts that a sweep is cut into to fit the memory: batches of prompts, and pieces of their edited runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..progress import hidden
from .edits import Edit
from .errors import UnsupportedModel
from .memory import ERRORS, out_of_memory
from .model import Model
from .runs import Runs
from .sites import EXPERTS
from .stopping import Stopped, says_stop

if TYPE_CHECKING:
    from .metrics import Metric
    from .walk.rows import EditedRuns

#: Memory of the indexes that a walk keeps for each token of a row, in bytes.
_INDEX_BYTES = 64


@dataclass(frozen=True)
class Cell:
    """One edited run of a prompt: its place in the grid, the layer it belongs to, its edits."""

    index: tuple[int, ...]
    layer: int
    edits: tuple[Edit, ...]


class Batch:
    """Some prompts with their unedited runs, one pair of runs for each sequence that the metric reads."""

    def __init__(
        self,
        decoder: Model,
        batch: Sequence[int],
        encoded: Sequence[Any],
        lengths: Sequence[int],
        make_runs: Callable[[Sequence[int], Sequence[Tensor]], tuple[Runs, Runs]],
        metric: Metric,
        clean_is_base: bool,
        source_lengths: Sequence[int] | None = None,
        source_model: Model | None = None,
    ):
        self.decoder, self.metric = decoder, metric
        self.source_decoder = source_model or decoder
        self.encoded = [encoded[i] for i in batch]
        answers = [metric.sequences(e) for e in self.encoded]
        self.base: list[Runs] = []
        self.source: list[Runs] = []
        self.reads: list[list[list[int]]] = []
        self.source_reads: list[list[list[int]]] = []
        for j in range(len(answers[0])):
            tail = [torch.tensor(a[j][:-1], dtype=torch.long, device=decoder.device) for a in answers]
            base, source = make_runs(batch, tail)
            self.base.append(base)
            self.source.append(source)
            for reads, of in ((self.reads, lengths), (self.source_reads, source_lengths or lengths)):
                reads.append([[of[i] - 1 + t for t in range(max(1, len(a[j])))] for i, a in zip(batch, answers)])
            base.verify()
            if source is not base:
                source.verify()
        self.clean = self.base if clean_is_base else self.source
        self.alone = all(b is s for b, s in zip(self.base, self.source))

    def _reads_of(self, runs: Sequence[Runs], j: int, k: int) -> Tensor:
        reads = self.source_reads if runs is self.source else self.reads
        final = runs[j].final
        return final[torch.tensor(reads[j][k], device=final.device) + runs[j].starts[k]][None]

    @torch.no_grad()
    def score(self, runs: Sequence[Runs]) -> np.ndarray:
        """The metric of the unedited runs, base or source, ``[prompt, *scores]``."""
        decoder = self.source_decoder if runs is self.source else self.decoder
        if self.metric.many is not None:
            resid = torch.cat([self._reads_of(runs, 0, k)[0] for k in range(len(self.encoded))])
            scores: np.ndarray = self.metric.many(decoder, resid, self.encoded).cpu().numpy()
            return scores
        return np.stack(
            [
                self.metric.score(
                    decoder,
                    [self._reads_of(runs, j, k) for j in range(len(runs))],
                    e,
                    [self._reads_of(self.clean, j, k) for j in range(len(self.clean))],
                )[0]
                .cpu()
                .numpy()
                for k, e in enumerate(self.encoded)
            ]
        )

    def row_bytes(self, row: tuple[int, Cell]) -> tuple[int, int, int]:
        """Memory of an edited run in a walk, in the longest sequence: ``(held, joining, layer)``.

        Held are two residual streams from the first edited position on, with their indexes; only while the walk is at
        the layer where the run leaves the unedited one, copies are needed of what is loaded, or three of what is edited
        there: old values, added ones and their sum.
        """
        k, cell = row
        end = max(reads[k][-1] for reads in self.reads) + 1
        named = [p if isinstance(p := e.site.position, (tuple, list, range)) and len(p) else None for e in cell.edits]
        first = min((0 if p is None else min(p)) for p in named) if named else 0
        tokens, width = end - max(0, first), self.decoder.d_model * self.decoder.dtype.itemsize
        edited = max(
            (
                1 if isinstance(e.site.position, int) else tokens if p is None else min(len(p), tokens)
                for e, p in zip(cell.edits, named)
            ),
            default=0,
        )
        return (
            tokens * (2 * width + _INDEX_BYTES),
            max(tokens, 3 * edited) * width,
            min((e.site.layer or 0 for e in cell.edits), default=0),
        )

    @torch.no_grad()
    def walk(
        self, rows: Sequence[tuple[int, tuple[Edit, ...]]], chunk_bytes: int, stop: Callable[[], bool] | None
    ) -> np.ndarray:
        """The metric of every edited run, in the order given; halves them where the device has no room for all."""
        try:
            return self._walk(rows, chunk_bytes, stop)
        except ERRORS as error:
            if len(rows) < 2 or not out_of_memory(error):
                raise
        # not in the handler, where the error keeps what the failed walk had held
        half = len(rows) // 2
        return np.concatenate([self.walk(rows[:half], chunk_bytes, stop), self.walk(rows[half:], chunk_bytes, stop)])

    def _walk(
        self, rows: Sequence[tuple[int, tuple[Edit, ...]]], chunk_bytes: int, stop: Callable[[], bool] | None
    ) -> np.ndarray:
        walked = []
        for j, base in enumerate(self.base):
            # a cell's edits name the first sequence's source run; the same cell of another sequence copies from its own
            own = (
                rows
                if j == 0
                else [(k, tuple(_moved(e, self.source[0], self.source[j]) for e in edits)) for k, edits in rows]
            )
            walked.append(self.decoder.run(base, own, self.reads[j], chunk_bytes=chunk_bytes, stop=stop))
        scores = self._scores(rows, walked)
        same = ~np.logical_or.reduce([w.changed for w in walked])
        if same.any():
            # to the bit: a product of other rows beside may round otherwise
            scores[same] = self.own[[k for (k, _), alike in zip(rows, same) if alike]]
        return scores

    @cached_property
    def own(self) -> np.ndarray:
        """The metric of the base runs, ``[prompt, *scores]``."""
        return self.score(self.base)

    def _scores(self, rows: Sequence[tuple[int, tuple[Edit, ...]]], walked: Sequence[EditedRuns]) -> np.ndarray:
        """The metric of what edited runs ended in, ``[row, *scores]``."""
        if self.metric.many is not None:
            of_all = self.metric.many(self.decoder, walked[0].resid, [self.encoded[k] for k, _ in rows])
            every: np.ndarray = of_all.cpu().numpy()
            return every.copy()
        out = np.empty((len(rows), *self.metric.scores), np.float32)
        prompt_of = np.array([k for k, _ in rows], dtype=np.int64)
        for k in np.unique(prompt_of):
            mine = np.flatnonzero(prompt_of == k)
            at = torch.as_tensor(mine)
            resid = [
                w.resid[(w.first[at][:, None] + torch.arange(len(self.reads[j][k]))).to(w.resid.device)]
                for j, w in enumerate(walked)
            ]
            clean = [self._reads_of(self.clean, j, int(k)) for j in range(len(self.clean))]
            out[mine] = self.metric.score(self.decoder, resid, self.encoded[k], clean).cpu().numpy()
        return out


def _moved(edit: Edit, old: Runs, new: Runs) -> Edit:
    if getattr(edit.value, "runs", None) is not old:
        return edit
    return replace(edit, value=new[edit.value.prompt])


def pieces_of(
    rows: Sequence[tuple[int, Cell]], size: Callable[[tuple[int, Cell]], tuple[int, int, int]], limit: float
) -> Iterable[list[tuple[int, Cell]]]:
    """Consecutive rows that together stay under ``limit`` bytes; at least one each.

    ``size`` is ``Batch.row_bytes``: a piece takes what all its rows hold, and what those of the fullest layer need to
    join there.
    """
    held, most = 0, 0
    piece: list[tuple[int, Cell]] = []
    joining: dict[int, int] = {}
    for row in rows:
        own, passing, layer = size(row)
        if piece and held + own + max(most, joining.get(layer, 0) + passing) > limit:
            yield piece
            piece, held, joining, most = [], 0, {}, 0
        piece.append(row)
        held += own
        joining[layer] = joining.get(layer, 0) + passing
        most = max(most, joining[layer])
    if piece:
        yield piece


def batches_of(sizes: Sequence[int], limit: float, multiple: int = 1) -> list[list[int]]:
    """Consecutive prompts, ``multiple`` at a time, that together stay under ``limit`` bytes; at least one such group
    each.
    """
    batches: list[list[int]] = []
    total = 0.0
    for first in range(0, len(sizes), multiple):
        group = list(range(first, min(first + multiple, len(sizes))))
        size = sum(sizes[first : first + multiple])
        if batches and total + size <= limit:
            batches[-1] += group
            total += size
        else:
            batches.append(group)
            total = size
    return batches


def batch_by_batch(
    sizes: Sequence[int],
    limit: float,
    one: Callable[[list[int]], None],
    *,
    label: str,
    progress: bool | None,
    stop: Callable[[], bool] | None,
) -> str:
    """Does `one` for a batch of prompts after another, with a bar; the status: "complete", or "partial" where it was
    stopped or interrupted.
    """
    try:
        for batch in tqdm(
            batches_of(sizes, limit), desc=label, unit="part", delay=2.0, leave=False, disable=hidden(progress)
        ):
            if says_stop(stop):
                return "partial"
            one(batch)
    except (Stopped, KeyboardInterrupt):
        return "partial"
    return "complete"


def in_halves(model: Model, batch: list[int], one: Callable[[list[int]], None]) -> None:
    """Does `one` for a batch of prompts, in halves where the device has no room for all of it, and by the model's next
    path where a text is one on which the written-out blocks are not the model's own.
    """
    try:
        one(batch)
        return
    except UnsupportedModel as reason:
        model.refuse(reason)
        parts = [batch]
    except ERRORS as error:
        if len(batch) < 2 or not out_of_memory(error):
            raise
        parts = [batch[: len(batch) // 2], batch[len(batch) // 2 :]]
    # not in the handler, where the error keeps what the failed one had held
    for part in parts:
        in_halves(model, part, one)


def run_bytes(decoder: Model, length: int, keep: Sequence[str]) -> int:
    """Memory of one prompt's recorded run."""
    width = {
        "embed": 0,
        "z": decoder.n_heads * decoder.d_head,
        "q": decoder.n_heads * decoder.d_head,
        "k": decoder.n_kv_heads * decoder.d_head,
        "neuron": decoder.d_mlp,
        "mlp_out": decoder.d_model,
        "pattern": decoder.n_heads * length,
    }
    if set(keep) & set(EXPERTS):
        experts = decoder.n_experts
        width |= {"router": experts, "expert": experts * decoder.d_model}
    per_token = 2 * decoder.d_model + 2 * decoder.n_kv_heads * decoder.d_head + sum(width.get(s, 0) for s in keep)
    size: int = decoder.n_layers * length * per_token * decoder.dtype.itemsize
    return size
