"""Sweeps: a grid of edits over many prompts, scored by one metric, kept on disk as it goes and taken up again.

Every grid of the package is one: its cells, the runs that they fork from, and a function that labels the values.
Prompts are taken in batches that fit the memory; within a batch one walk serves every cell of every prompt, or, when
somebody watches, one walk for each group of layers from the last to the first (the late layers are the cheap ones, so
the picture fills from there). Which path computes them is the model's to say.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from tqdm.auto import tqdm

from ..models.placement import offloaded
from ..models.quantised_layers import not_finite
from ..progress import hidden
from .errors import RunError
from .memory import ERRORS, OutOfMemoryError, memory_of, out_of_memory
from .metrics import Metric
from .model import Model
from .pieces import Cell, run_bytes
from .resident import memory_beside
from .runs import Runs
from .sessions import verify
from .stopping import Stopped
from .sweep_parts import Backend, Here, Plan

#: What a sweep's values are labelled as: a Dataset, or a kind of it.
_Labelled = TypeVar("_Labelled", bound=xr.Dataset)

#: Layers of one group when the sweep is watched.
WATCHED_LAYERS = 4


@dataclass
class Values:
    """What a sweep has computed: ``value [prompt, *grid, *scores]`` (NaN where it has not) and the two unedited runs'
    metric, ``[prompt, *scores]``; ``beside``: what it noted of each prompt, see `Sweep.beside`.
    """

    value: np.ndarray
    base: np.ndarray
    source: np.ndarray
    status: str = "partial"
    seconds: float = 0.0
    beside: dict[int, Any] = field(default_factory=dict)

    @classmethod
    def empty(cls, n: int, shape: Sequence[int], scores: tuple[int, ...] = ()) -> "Values":
        """Values of `n` prompts by cells of a shape, all NaN; `scores` are axes of each value."""
        return cls(
            np.full((n, *shape, *scores), np.nan, np.float32),
            np.full((n, *scores), np.nan),
            np.full((n, *scores), np.nan),
        )


class Store(Protocol):
    """Where a sweep's parts go as they are computed, and what is there already; `lens.results` has one.

    Attributes:
        done: which regions are there, over the prompts' axis and layers.
        adopted: what it says of its model, for the record.
        whole: whether every cell is there, by whomever.
    """

    done: np.ndarray
    adopted: dict[str, Any]

    @property
    def whole(self) -> bool:
        """Whether every cell is there, by whomever."""
        ...

    def load(self) -> xr.Dataset:
        """What is there, NaN where nothing was written yet."""
        ...

    def write(self, part: xr.Dataset) -> None:
        """Writes a part just computed."""
        ...

    def finish(self, ds: xr.Dataset) -> None:
        """Writes down status and duration."""
        ...


#: ``(prompt numbers, per prompt the tokens appended) -> (base runs, source runs)``
MakeRuns = Callable[[Sequence[int], Sequence[Tensor]], tuple[Runs, Runs]]


def alone(model: Model, ids: Sequence[Tensor], keep: Iterable[str] = ()) -> MakeRuns:
    """Unedited runs of prompts that have no second one: base and source are the same."""

    def make(batch: Sequence[int], tails: Sequence[Tensor]) -> tuple[Runs, Runs]:
        runs = model.record([torch.cat([ids[i].to(model.device), t]) for i, t in zip(batch, tails)], tuple(keep))
        return runs, runs

    return make


def paired(model: Model, ids: Sequence[tuple[Tensor, Tensor]], keep: Iterable[str] = ()) -> MakeRuns:
    """Unedited runs of pairs, ``(base, source)`` each; the source forks off the base where they first differ."""

    def make(batch: Sequence[int], tails: Sequence[Tensor]) -> tuple[Runs, Runs]:
        first, second = ([torch.cat([ids[i][j].to(model.device), t]) for i, t in zip(batch, tails)] for j in (0, 1))
        return model.record_pair(first, second, tuple(keep))

    return make


@dataclass
class Sweep:
    """A grid of edited runs over prompts.

    Attributes:
        model: the engine's view. encoded: per prompt, what the metric reads of it. lengths: its number of tokens.
        shape: the grid's; its first axis is the layer.
        cells: ``(prompt number, source runs, its number within them) -> cells``.
        make_runs: records the unedited runs of some prompts, with tokens appended; see `alone` and `paired`.
        keep: sites that these keep, for the estimate of their memory. clean_is_base: whether the base run is the clean
            one (noising) or the source run is (denoising).
        bytes_of: memory of one prompt's unedited runs where it is not that of base and source. waiting: memory of one
            prompt's cells.
        axis: of the result along which prompts lie; ``per`` prompts make one entry of it, and ``region`` entries one
            region of a store.
        beside: what else is noted of a prompt once its unedited runs are made; goes into `Values.beside`.
        source_lengths: tokens of the source runs' prompts, where they are not the base runs'. source_model: whose these
            runs are, where they are another model's.
    """

    model: Model
    encoded: Sequence[Any]
    lengths: Sequence[int]
    shape: tuple[int, ...]
    cells: Callable[[int, Runs, int], Iterable[Cell]]
    make_runs: MakeRuns
    metric: Metric
    label: str = "sweep"
    keep: Sequence[str] = ()
    clean_is_base: bool = True
    bytes_of: Callable[[int], int] | None = None
    waiting: int = 0
    axis: str = "prompt"
    per: int = 1
    region: int = 1
    beside: Callable[[int], Any] | None = None
    source_lengths: Sequence[int] | None = None
    source_model: Model | None = None

    def run(
        self,
        labelled: Callable[[Values], _Labelled],
        *,
        record: dict[str, Any] | None = None,
        store: Callable[[xr.Dataset], Store] | None = None,
        stored: Callable[[Values], xr.Dataset] | None = None,
        fill: Callable[[xr.Dataset, Values], None] | None = None,
        share: tuple[int, int] | None = None,
        memory_mb: float | None = None,
        progress: bool | None = None,
        stop: Callable[[], bool] | None = None,
        on_part: Callable[[xr.Dataset], None] | None = None,
        backend: Backend | None = None,
    ) -> _Labelled:
        """Computes the grid and labels it; what a store holds already is not computed again.

        Args:
            labelled: the public result of values so far. stored: the same as a store has it, where that differs.
            record: that of the result, which ``labelled`` puts on it; takes on what a store says of its model.
            store: opens a store for a result of this form; None: nothing is kept on disk.
            fill: fills values with what a store holds.
            share: ``(number, count)``: every ``count``-th prompt from ``number`` on; others fill the same store.
            memory_mb, progress, stop, backend: as ``values``. on_part: called with the result so far after each part.

        Returns: the result; with a share, what the store holds when it is done.
        """
        values, disk, skip, notify = Values.empty(len(self.encoded), self.shape, self.metric.scores), None, None, None
        number, count = share or (0, 1)
        stored = stored or labelled
        if store is not None:
            disk = store(stored(values))
            if record is not None:
                record["model"] |= disk.adopted
            if fill is not None:
                fill(disk.load(), values)

            def skip(i: int, l: int) -> bool:
                return bool(disk.done[i // self.per, l])

        if on_part is not None or disk is not None:

            def notify(v: Values, batch: Sequence[int], span: tuple[int, int]) -> None:
                if disk is not None:
                    entries = sorted({i // self.per for i in batch})
                    disk.write(stored(v).isel({self.axis: entries, "layer": slice(*span)}))
                if on_part is not None:
                    on_part(labelled(v))

        values = self.values(
            values=values,
            skip=skip,
            mine=range(number, len(self.encoded), count),
            on_part=notify,
            multiple=(self.region if disk is not None else 1) * self.per,
            memory_mb=memory_mb,
            progress=progress,
            stop=stop,
            backend=backend,
        )
        if disk is not None:
            disk.finish(stored(values))
            if share is not None and values.status == "complete":
                if fill is not None:
                    fill(disk.load(), values)
                values.status = "complete" if disk.whole else "partial"
        return labelled(values)

    def values(
        self,
        *,
        values: Values | None = None,
        skip: Callable[[int, int], bool] | None = None,
        mine: Sequence[int] | None = None,
        on_part: Callable[[Values, Sequence[int], tuple[int, int]], None] | None = None,
        multiple: int = 1,
        layer_groups: int | None = None,
        memory_mb: float | None = None,
        progress: bool | None = None,
        stop: Callable[[], bool] | None = None,
        backend: Backend | None = None,
    ) -> Values:
        """Scores every cell of every prompt.

        Args:
            values: to fill. skip: ``(prompt, layer)`` cells already there. mine: which prompts; None: all.
            on_part: called after each part with the values so far, the prompts and the layers ``[first, last)`` of it.
            multiple: batches hold a multiple of so many prompts (the last one what is left).
            layer_groups: layers of one walk; None: all at once, or ``WATCHED_LAYERS`` when ``on_part`` or ``stop`` is
                given.
            memory_mb: extra memory to stay under, None: see `budget`; half is for unedited runs, the rest for the rows
                of a walk, with what they need while they join it, and its chunks. One prompt's own unedited runs and a
                chunk of logits are always held, whatever they take.
            progress: a bar for sweeps over two seconds; False for none. stop: asked between layers.
            backend: where the parts are computed; None: here. The numbers are the same to the bit, where threads and
                processors are.

        A stop or Ctrl-C leaves the values computed so far, with status ``partial``. Where memory runs out, chunks, rows
        and batches are halved.

        Raises:
            OutOfMemoryError: there is no room for one edited run of one prompt.
        """
        began, n, n_layers = time.perf_counter(), len(self.encoded), self.shape[0]
        offloads = offloaded(self.model.hf)
        on_device = 1 if backend is None or self.model.device.type == "cpu" or memory_mb else backend.on_device
        beside = memory_beside if offloads else memory_of
        memory_mb = beside(self.model, memory_mb) / on_device
        values = values or Values.empty(n, self.shape, self.metric.scores)
        # each walk reads what is offloaded once
        watched = (on_part is not None or stop is not None) and not offloads
        group = layer_groups or (WATCHED_LAYERS if watched else n_layers)
        plan = Plan.of(self, range(n) if mine is None else mine, skip, group, multiple, memory_mb)
        # a bar that appears only when the sweep takes over two seconds
        bar = tqdm(
            total=len(plan.batches) * len(plan.spans),
            desc=self.label,
            unit="part",
            delay=2.0,
            leave=False,
            disable=hidden(progress),
        )
        try:
            with contextlib.closing((backend or Here()).parts(self, plan, stop)) as parts:
                for part in parts:
                    batch = part.batch
                    if part.span is None:
                        values.base[batch], values.source[batch] = part.base, part.source
                        values.beside.update(zip(batch, part.beside or ()))
                        self._finite(values, batch)
                        bar.update(len(plan.spans) - part.parts)
                        continue
                    for index, value in zip(part.cells, () if part.value is None else part.value):
                        values.value[index] = value
                    if part.last:
                        bar.update(1)
                        if on_part is not None:
                            verify(self.model)
                            values.seconds = time.perf_counter() - began
                            on_part(values, batch, part.span)
            values.status = "complete"
        except (Stopped, KeyboardInterrupt):
            values.status = "partial"
        except ERRORS as error:
            if not out_of_memory(error) or isinstance(error, OutOfMemoryError):
                raise
            raise OutOfMemoryError(
                f"memory_mb={memory_mb:g}: the memory of {self.model.device} ran out even for one edited run at a time."
                f" Free some, pass a smaller memory_mb, or give shorter prompts ({max(self.lengths)} tokens in the"
                " longest)."
            ) from error
        finally:
            bar.close()
            values.seconds = time.perf_counter() - began
        return values

    def bytes_at(self, i: int) -> int:
        """Memory of a prompt's unedited runs, one or two for each sequence that the metric reads, answers included."""
        if self.bytes_of is not None:
            return self.bytes_of(i) + self.waiting
        longest = [self.lengths[i] + max(0, len(a) - 1) for a in self.metric.sequences(self.encoded[i])]
        return 2 * sum(run_bytes(self.model, n, self.keep) for n in longest) + self.waiting

    def _finite(self, values: Values, batch: Sequence[int]) -> None:
        """Raises RunError where an unedited run's metric is no number."""
        if np.isfinite(values.base[batch]).all() and np.isfinite(values.source[batch]).all():
            return
        bad = next(not_finite(self.model.hf), None)
        raise RunError(
            f"model: metric {self.metric.name!r} of an unedited run is not finite"
            + (f"; parameter {bad[0]!r} holds NaN or infinity" if bad else "")
            + "; load the weights again, or choose a metric that is defined there."
        )
