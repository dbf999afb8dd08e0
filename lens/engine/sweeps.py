"""Sweeps: a grid of edits over many prompts, scored by one metric.

Prompts are taken in batches that fit the memory; within a batch one walk serves every cell of every prompt, or, when
somebody watches, one walk for each group of layers from the last to the first (the late layers are the cheap ones, so
the picture fills from there).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from .edits import Edit
from .errors import RunError
from .memory import ERRORS, OutOfMemoryError, out_of_memory
from .metrics import Metric
from .runs import Runs
from .sessions import verify
from .stopping import Stopped
from .walk.decoder import Decoder
from .walk.rows import walk

#: Layers of one group when the sweep is watched.
WATCHED_LAYERS = 4
#: Memory of the indexes that a walk keeps for each token of a row, in bytes.
_INDEX_BYTES = 64


@dataclass(frozen=True)
class Cell:
    """One edited run of a prompt: its place in the grid, the layer it belongs to, its edits."""

    index: tuple[int, ...]
    layer: int
    edits: tuple[Edit, ...]


@dataclass
class Values:
    """What a sweep has computed: ``value [prompt, *grid, *scores]`` (NaN where it has not) and the two unedited runs'
    metric, ``[prompt, *scores]``.
    """

    value: np.ndarray
    base: np.ndarray
    source: np.ndarray
    status: str = "partial"
    seconds: float = 0.0

    @classmethod
    def empty(cls, n: int, shape: Sequence[int], scores: tuple[int, ...] = ()) -> "Values":
        return cls(
            np.full((n, *shape, *scores), np.nan, np.float32),
            np.full((n, *scores), np.nan),
            np.full((n, *scores), np.nan),
        )


#: ``(prompt numbers, per prompt the tokens appended) -> (base runs, source runs)``
MakeRuns = Callable[[Sequence[int], Sequence[Tensor]], tuple[Runs, Runs]]


def sweep(
    decoder: Decoder,
    encoded: Sequence[Any],
    lengths: Sequence[int],
    shape: Sequence[int],
    cells: Callable[[int, Runs, int], Iterable[Cell]],
    make_runs: MakeRuns,
    metric: Metric,
    *,
    clean_is_base: bool,
    bytes_per_prompt: Callable[[int], int],
    memory_mb: float = 500,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
    on_part: Callable[[Values, Sequence[int], tuple[int, int]], None] | None = None,
    skip: Callable[[int, int], bool] | None = None,
    values: Values | None = None,
    layer_groups: int | None = None,
    multiple: int = 1,
    label: str = "sweep",
) -> Values:
    """Scores every cell of every prompt.

    Args:
        decoder: the checked model.
        encoded: per prompt, what the metric reads of it.
        lengths: per prompt, its number of tokens.
        shape: the grid's shape; its first axis is the layer.
        cells: ``(prompt number, source runs, its number within them) -> cells``.
        make_runs: records the unedited runs of some prompts, with tokens appended.
        clean_is_base: whether the base run is the clean one (noising) or the source run is (denoising).
        bytes_per_prompt: memory of one prompt's runs, for batching.
        memory_mb: extra memory to stay under; half is for unedited runs, the rest for the rows of a walk, with what
            they need while they join it, and its chunks. One prompt's own unedited runs and a chunk of logits are
            always held, whatever they take.
        stop: asked between layers.
        on_part: called after each part with the values so far, the prompts and the layers ``[first, last)`` of the
            part.
        skip: ``(prompt, layer)`` cells already there (resuming).
        multiple: batches hold a multiple of so many prompts (the last one what is left), for stores whose regions are
            several prompts.
        layer_groups: layers of one walk; None: all at once, or ``WATCHED_LAYERS`` when ``on_part`` or ``stop`` is
            given.

    A stop or Ctrl-C leaves the values computed so far, with status ``partial``. Where memory runs out, chunks, rows and
    batches are halved.

    Raises:
        OutOfMemoryError: there is no room for one edited run of one prompt.
    """
    began, n, n_layers = time.perf_counter(), len(encoded), shape[0]
    values = values or Values.empty(n, shape, metric.scores)
    group = layer_groups or (WATCHED_LAYERS if on_part is not None or stop is not None else n_layers)
    spans = [(max(0, last - group), last) for last in range(n_layers, 0, -group)]
    wanted = [i for i in range(n) if skip is None or not all(skip(i, l) for l in range(n_layers))]
    batches = [
        [wanted[k] for k in batch]
        for batch in _batches([bytes_per_prompt(i) for i in wanted], memory_mb * 2**20 * 0.5, multiple)
    ]
    # a bar that appears only when the sweep takes over two seconds
    bar = tqdm(
        total=len(batches) * len(spans), desc=label, unit="part", delay=2.0, leave=False, disable=hidden(progress)
    )
    chunk_bytes = int(min(96 << 20, memory_mb * 2**20 * 0.2))
    try:
        waiting = batches[::-1]
        while waiting:
            batch = waiting.pop()
            todo = [s for s in spans if skip is None or not all(skip(i, l) for i in batch for l in range(*s))]
            if not todo:
                bar.update(len(spans))
                continue
            unedited = _recorded(
                decoder, batch, encoded, lengths, make_runs, metric, clean_is_base, may_fail=len(batch) > multiple
            )
            if unedited is None:  # there is no room for those of all its prompts: half of them at a time
                half = -(-len(batch) // (2 * multiple)) * multiple
                waiting += [batch[half:], batch[:half]]
                bar.total += len(spans)
                continue
            bar.update(len(spans) - len(todo))
            runs, values.base[batch], values.source[batch] = unedited
            if not (np.isfinite(values.base[batch]).all() and np.isfinite(values.source[batch]).all()):
                bad = [name for name, p in decoder.hf.named_parameters() if not torch.isfinite(p).all()]
                raise RunError(
                    f"model: metric {metric.name!r} of an unedited run is not finite"
                    + (f"; parameter {bad[0]!r} holds NaN or infinity" if bad else "")
                    + "; load the weights again, or choose a metric that is defined there."
                )
            work = [[c for c in cells(i, runs.source[0], k)] for k, i in enumerate(batch)]
            for first, last in todo:
                # prompt by prompt: a piece then holds rows of many layers, of which few join at once, and many of one
                # prompt, which are scored together
                rows = [(k, c) for k, of_prompt in enumerate(work) for c in of_prompt if first <= c.layer < last]
                for piece in _pieces(rows, runs.row_bytes, memory_mb * 2**20 * 0.3):
                    for (k, c), v in zip(piece, runs.walk([(k, c.edits) for k, c in piece], chunk_bytes, stop)):
                        values.value[(batch[k], *c.index)] = v
                bar.update(1)
                if on_part is not None:
                    verify(decoder)
                    values.seconds = time.perf_counter() - began
                    on_part(values, batch, (first, last))
        values.status = "complete"
    except (Stopped, KeyboardInterrupt):
        values.status = "partial"
    except ERRORS as error:
        if not out_of_memory(error) or isinstance(error, OutOfMemoryError):
            raise
        raise OutOfMemoryError(
            f"memory_mb={memory_mb:g}: the memory of {decoder.device} ran out even for one edited run at a time. Free"
            f" some, pass a smaller memory_mb, or give shorter prompts ({max(lengths)} tokens in the longest)."
        ) from error
    finally:
        bar.close()
        values.seconds = time.perf_counter() - began
    return values


def _recorded(
    decoder, batch, encoded, lengths, make_runs, metric, clean_is_base, *, may_fail: bool
) -> tuple["_Batch", np.ndarray, np.ndarray] | None:
    """Some prompts' unedited runs with the metric of base and source; None where memory ran out and `may_fail`."""
    try:
        runs = _Batch(decoder, batch, encoded, lengths, make_runs, metric, clean_is_base)
        base = runs.score(runs.base)
        # a sweep without a second prompt gives the same runs twice
        return runs, base, base if runs.alone else runs.score(runs.source)
    except ERRORS as error:
        if not may_fail or not out_of_memory(error):
            raise
        return None


class _Batch:
    """Some prompts with their unedited runs, one pair of runs for each sequence that the metric reads."""

    def __init__(self, decoder, batch, encoded, lengths, make_runs, metric, clean_is_base):
        self.decoder, self.metric = decoder, metric
        self.encoded = [encoded[i] for i in batch]
        answers = [metric.sequences(e) for e in self.encoded]
        self.base, self.source, self.reads = [], [], []
        for j in range(len(answers[0])):
            tail = [torch.tensor(a[j][:-1], dtype=torch.long, device=decoder.device) for a in answers]
            base, source = make_runs(batch, tail)
            self.base.append(base), self.source.append(source)
            self.reads.append([[lengths[i] - 1 + t for t in range(max(1, len(a[j])))] for i, a in zip(batch, answers)])
            base.verify()
            if source is not base:
                source.verify()
        self.clean = self.base if clean_is_base else self.source
        self.alone = all(b is s for b, s in zip(self.base, self.source))

    def _reads_of(self, runs: Runs, j: int, k: int) -> Tensor:
        at = torch.tensor(self.reads[j][k], device=self.decoder.device) + runs.starts[k]
        return runs.resid[-1][at][None]

    @torch.no_grad()
    def score(self, runs: Sequence[Runs]) -> np.ndarray:
        """The metric of the unedited runs, ``[prompt, *scores]``."""
        if self.metric.many is not None:
            resid = torch.cat([self._reads_of(runs[0], 0, k)[0] for k in range(len(self.encoded))])
            return self.metric.many(self.decoder, resid, self.encoded).cpu().numpy()
        return np.stack(
            [
                self.metric.score(
                    self.decoder,
                    [self._reads_of(r, j, k) for j, r in enumerate(runs)],
                    e,
                    [self._reads_of(c, j, k) for j, c in enumerate(self.clean)],
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
        tokens, width = end - max(0, first), self.decoder.d_model * self.decoder.embedding.weight.element_size()
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
    def walk(self, rows: Sequence[tuple[int, tuple[Edit, ...]]], chunk_bytes: int, stop) -> np.ndarray:
        """The metric of every edited run, in the order given; halves them where the device has no room for all."""
        try:
            return self._walk(rows, chunk_bytes, stop)
        except ERRORS as error:
            if len(rows) < 2 or not out_of_memory(error):
                raise
        # not in the handler, where the error keeps what the failed walk had held
        half = len(rows) // 2
        return np.concatenate([self.walk(rows[:half], chunk_bytes, stop), self.walk(rows[half:], chunk_bytes, stop)])

    def _walk(self, rows: Sequence[tuple[int, tuple[Edit, ...]]], chunk_bytes: int, stop) -> np.ndarray:
        walked = []
        for j, base in enumerate(self.base):
            # a cell's edits name the first sequence's source run; the same cell of another sequence copies from its own
            own = (
                rows
                if j == 0
                else [(k, tuple(_moved(e, self.source[0], self.source[j]) for e in edits)) for k, edits in rows]
            )
            walked.append(walk(base, own, self.reads[j], chunk_bytes=chunk_bytes, stop=stop))
        if self.metric.many is not None:
            return self.metric.many(self.decoder, walked[0].resid, [self.encoded[k] for k, _ in rows]).cpu().numpy()
        out = np.empty((len(rows), *self.metric.scores), np.float32)
        prompt_of = np.array([k for k, _ in rows], dtype=np.int64)
        for k in np.unique(prompt_of):
            mine = np.flatnonzero(prompt_of == k)
            at = torch.as_tensor(mine)
            resid = [
                w.resid[(w.first[at][:, None] + torch.arange(len(self.reads[j][k]))).to(w.resid.device)]
                for j, w in enumerate(walked)
            ]
            clean = [self._reads_of(c, j, int(k)) for j, c in enumerate(self.clean)]
            out[mine] = self.metric.score(self.decoder, resid, self.encoded[k], clean).cpu().numpy()
        return out


def _moved(edit: Edit, old: Runs, new: Runs) -> Edit:
    if getattr(edit.value, "runs", None) is not old:
        return edit
    return Edit(edit.site, edit.op, new[edit.value.prompt], edit.scale)


def hidden(progress: bool | None) -> bool:
    """Whether to hide progress bars: what the caller says, else TQDM_DISABLE (which tqdm's notebook bar does not read
    itself).
    """
    return bool(os.environ.get("TQDM_DISABLE")) if progress is None else not progress


def _pieces(
    rows: Sequence[tuple[int, Cell]], size: Callable[[tuple[int, Cell]], tuple[int, int, int]], limit: float
) -> Iterable[list]:
    """Consecutive rows that together stay under ``limit`` bytes; at least one each.

    ``size`` is ``_Batch.row_bytes``: a piece takes what all its rows hold, and what those of the fullest layer need to
    join there.
    """
    piece, held, joining, most = [], 0, {}, 0
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


def _batches(sizes: Sequence[int], limit: float, multiple: int = 1) -> list[list[int]]:
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


def run_bytes(decoder: Decoder, length: int, keep: Sequence[str]) -> int:
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
    per_token = 2 * decoder.d_model + 2 * decoder.n_kv_heads * decoder.d_head + sum(width.get(s, 0) for s in keep)
    return decoder.n_layers * length * per_token * decoder.embedding.weight.element_size()
