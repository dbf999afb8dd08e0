"""Exact patching of models whose blocks are not written out: on the model's own layers, or on full forwards with hooks.

The result is that of the fast path; ``provenance(ds)["engine"]`` says which path made it: ``"stock"`` or ``"hooks"``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from tqdm.auto import tqdm

from ..engine.anatomy import Anatomy
from ..engine.edits import Edit
from ..engine.errors import UnsupportedModel
from ..engine.hooks import HookedForwards, Recorded
from ..engine.layers import Stock
from ..engine.metrics import Metric
from ..engine.sessions import verify
from ..engine.sites import Site, indices
from ..engine.stopping import Stopped, says_stop
from ..engine.sweeps import WATCHED_LAYERS, Cell, Values
from ..engine.walk.decoder import FAMILIES
from ..notices import warn
from ..prompts import EncodedPair, Pair, encode_all
from ..results.record import record_of
from . import exact
from .grid import Grid, PatchError


@torch.no_grad()
def patch_by_hooks(
    model: Any,
    pairs: Sequence[Pair],
    single: bool,
    call: dict,
    measure: Metric,
    *,
    reason: Exception,
    layers=None,
    heads=None,
    positions=None,
    memory_mb: float = 500,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
    on_part: Callable[[xr.Dataset], None] | None = None,
    store: str | None = None,
) -> xr.Dataset:
    """What ``lens.patch`` returns, for a model (or prompts) that the fast path refused for ``reason``.

    Args:
        call: the arguments of the call as they go into the provenance.
        layers, heads, positions, memory_mb, progress, stop, on_part, store: as ``lens.patch``.

    Warns:
        UserWarning: every cell is a full forward, and why.

    Raises:
        PatchError: a model in which no decoder blocks are found or that gives no logits for every token, or
            ``method="attribution"``, which needs the fast path.
    """
    if call["method"] != "exact":
        raise PatchError(f"method={call['method']!r} is not available for this model: {reason} Use method='exact'.")
    try:
        anatomy = Anatomy.of(model)
    except UnsupportedModel as error:
        raise PatchError(
            f"model={type(model).__name__} cannot be patched: {error} Supported are models of type"
            f" {', '.join(FAMILIES)}, and other Hugging Face causal language models with a list of decoder blocks."
        ) from error
    _require_token_logits(anatomy)
    encoded = encode_all(model, pairs)
    for e in encoded:
        if max(map(len, measure.sequences(e)), default=0) > 1 and not anatomy.causal:
            raise PatchError(
                f"metric={call['metric']!r} reads answers of several tokens, but this model's tokens read later ones"
                " too: it would be asked for tokens that it has read. Give answers of one token."
            )
    grid = Grid.make(anatomy, encoded, call["site"], call["over"], layers, heads, positions, call["window"])
    longest = max(len(e.clean_ids) + max([0, *(len(answer) - 1 for answer in measure.sequences(e))]) for e in encoded)
    limit = getattr(anatomy.config, "max_position_embeddings", None)
    if limit and longest > limit:
        raise PatchError(
            f"pairs: a prompt of {longest} tokens, answer included, is longer than the model's {limit} positions;"
            " shorten it."
        )
    try:
        engine = Stock.of(model, longest)
        engine.serves(grid.site, None if grid.site == "embed" else grid.patched_layers)
    except UnsupportedModel as why:
        engine = HookedForwards(anatomy)
        warn(
            f"every cell is computed by a full forward with hooks, many times slower than usual. {reason}"
            f"{'' if str(why) == str(reason) else f' {why}'}"
        )
    record = record_of(model, anatomy, "patch", call, pairs, engine=engine.engine, store=store)
    sweep = _Sweep(engine, anatomy, encoded, grid, measure, call["direction"], memory_mb, stop)

    def label(values, alone=single):
        return exact._labelled(grid, encoded, values, call["direction"], alone, record)

    disk = None
    if store is not None:
        disk, sweep.values = exact.open_store(store, lambda v: label(v, False), len(encoded), grid, call["direction"])
        record["model"] |= disk.said
        sweep.skip = lambda i, l: bool(disk.done[i, l])

    def notify(prompt: int, layers: tuple[int, int]) -> None:
        verify(model)
        if disk is not None:
            disk.write(label(sweep.values, False).isel(prompt=[prompt], layer=slice(*layers)))
        if on_part is not None:
            on_part(label(sweep.values))

    values = sweep.run(notify if disk is not None or on_part is not None else None, progress)
    done = label(values)
    if disk is not None:
        disk.finish(done)
    exact._last["partial"] = done if values.status == "partial" else None
    return done


def _require_token_logits(anatomy: Anatomy) -> None:
    """Refuses a model that predicts no token at each position: a base model, a classifier."""
    ids = anatomy.probe_ids()
    logits = getattr(anatomy.hf(ids, use_cache=False), "logits", None)
    if not isinstance(logits, Tensor) or logits.ndim != 3 or logits.shape[:2] != ids.shape:
        seen = (
            f"its logits have the shape {tuple(logits.shape)}"
            if isinstance(logits, Tensor)
            else "its output holds no logits"
        )
        raise PatchError(
            f"model={type(anatomy.hf).__name__} predicts no token at each position ({seen} for a text of {ids.shape[1]}"
            " tokens), so that no metric can be read; give the causal language model of the same weights."
        )


class _Sweep:
    """The cells of every pair, one pair at a time, layers from the last to the first where somebody watches."""

    def __init__(
        self,
        engine: Stock | HookedForwards,
        anatomy: Anatomy,
        encoded: Sequence[EncodedPair],
        grid: Grid,
        measure: Metric,
        direction: str,
        memory_mb: float,
        stop,
    ):
        self.engine, self.anatomy, self.encoded, self.grid, self.measure = engine, anatomy, encoded, grid, measure
        self.denoise, self.bytes, self.stop = direction == "denoise", memory_mb * 2**20, stop
        n = len(encoded)
        self.values = Values.empty(n, grid.shape)
        self.skip: Callable[[int, int], bool] | None = None

    def run(self, notify: Callable[[int, tuple[int, int]], None] | None, progress: bool | None) -> Values:
        began, n_layers, values = time.perf_counter(), self.grid.shape[0], self.values
        group = WATCHED_LAYERS if notify is not None or self.stop is not None else n_layers
        spans = [(max(0, last - group), last) for last in range(n_layers, 0, -group)]
        bar = tqdm(
            total=len(self.encoded) * len(spans),
            desc=f"patch {self.grid.site}",
            unit="part",
            delay=2.0,
            disable=progress is False,
            leave=False,
        )
        try:
            for i in range(len(self.encoded)):
                todo = [s for s in spans if self.skip is None or not all(self.skip(i, l) for l in range(*s))]
                bar.update(len(spans) - len(todo))
                if not todo:
                    continue
                self._ask()
                pair = _Pair(self, i)
                values.base[i], values.source[i] = pair.plain(pair.base), pair.plain(pair.source)
                cells = list(self.grid.cells(i, pair.source[0]))
                for first, last in todo:
                    pair.score([c for c in cells if first <= c.layer < last], values.value[i], values.base[i])
                    bar.update(1)
                    if notify is not None:
                        values.seconds = time.perf_counter() - began
                        notify(i, (first, last))
            values.status = "complete"
        except (Stopped, KeyboardInterrupt):
            values.status = "partial"
        finally:
            bar.close()
            values.seconds = time.perf_counter() - began
        return values

    def _ask(self) -> None:
        if says_stop(self.stop):
            raise Stopped("stopped before a pair")


class _Pair:
    """One pair with its unedited runs, one of each kind for every sequence that the metric reads."""

    def __init__(self, sweep: _Sweep, i: int):
        self.sweep, self.encoded = sweep, sweep.encoded[i]
        e, engine, anatomy, grid = self.encoded, sweep.engine, sweep.anatomy, sweep.grid
        first, second = (e.corrupted_ids, e.clean_ids) if sweep.denoise else (e.clean_ids, e.corrupted_ids)
        layers = [None] if grid.site == "embed" else grid.patched_layers
        keep = [anatomy.layer_of(grid.site, l) for l in layers]
        answers = sweep.measure.sequences(e)
        self.base, self.source, self.reads = [], [], []
        for answer in answers:
            tail = torch.tensor(answer[:-1], dtype=torch.long)

            def put(ids):
                return torch.cat([torch.as_tensor(ids).cpu(), tail]).to(anatomy.device)

            self.base.append(engine.record(put(first), ())), self.source.append(engine.record(put(second), keep))
            self.reads.append([len(first) - 1 + t for t in range(max(1, len(answer)))])
        self.clean = [self._ends(j, r) for j, r in enumerate(self.source if sweep.denoise else self.base)]
        differs = (torch.as_tensor(first) != torch.as_tensor(second)).nonzero()
        #: positions before it hold the same in both runs, whatever the site: no token of a causal model reads a later
        #: one
        self.first_difference = (
            len(first) if not len(differs) else int(differs[0]) if anatomy.causal and not anatomy.state.foreign else 0
        )

    def _ends(self, j: int, run: Recorded) -> Tensor:
        return self.sweep.engine.run(run, [()], self.reads[j])

    def plain(self, runs: Sequence[Recorded]) -> float:
        return self._metric([self._ends(j, r) for j, r in enumerate(runs)]).item()

    def _metric(self, resid: Sequence[Tensor]) -> Tensor:
        return self.sweep.measure.score(self.sweep.engine, list(resid), self.encoded, self.clean)

    def score(self, cells: Sequence[Cell], out: np.ndarray, base: float) -> None:
        """Fills ``out`` at the cells; one that copies only what is the same in both runs has the base run's value."""
        length = len(self.encoded.clean_ids)

        def same(cell):
            return (
                max(p for e in cell.edits for p in indices(e.site.position, length, "position")) < self.first_difference
            )

        live, scored = [c for c in cells if not same(c)], {c.index: base for c in cells}
        tokens = max(len(r.ids) for r in self.base)
        # two residual streams and a full row of logits a run
        per_row = 4 * (2 * tokens * self.sweep.anatomy.d_model + sum(map(len, self.reads)) * self.sweep.anatomy.d_vocab)
        size = max(1, int(0.5 * self.sweep.bytes / per_row))
        for at in range(0, len(live), size):
            part = live[at : at + size]
            resid = [
                self.sweep.engine.run(
                    b,
                    [[_moved(e, self.source[j], self.first_difference, length) for e in c.edits] for c in part],
                    self.reads[j],
                    self.sweep.stop,
                )
                for j, b in enumerate(self.base)
            ]
            scored.update(zip((c.index for c in part), self._metric(resid).tolist()))
        for index, value in scored.items():
            out[index] = value


def _moved(edit: Edit, source: Recorded, first: int, length: int) -> Edit:
    """The edit for another sequence's source run, without the positions at which nothing differs."""
    site = edit.site
    position = [p for p in indices(site.position, length, "position") if p >= first]
    return Edit(Site(site.name, site.layer, site.head, position, site.neuron, site.key), edit.op, source, edit.scale)
