"""Faithfulness: how much of the metric a circuit keeps where all other edges carry what an ablation puts there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
import xarray as xr
from tqdm.auto import tqdm

from ..arguments import Draws, Filled, HFModel, Portion, Positive, Seed, Share, Size, door, shown
from ..engine.memory import budget, chunk_tokens
from ..engine.metrics import Metric
from ..engine.pieces import batches_of, run_bytes
from ..engine.sessions import of_one_model
from ..engine.stopping import says_stop
from ..notices import warn
from ..progress import hidden
from ..prompts import Pair
from ..results.dataset import Result, provenance, stamp
from ..results.record import record_of
from ..stats.intervals import bootstrap_comparison
from ..stats.samples import StatisticsError
from .circuit import Circuit, random_mask, top_edges
from .errors import CircuitError
from .forward import CircuitRun
from .graph import Graph
from .result import Edges
from .task import Task
from .writes import KEEP, Ablated, Ablation, Writes, recorded_pair

#: Shares of all edges of MIB's circuits (Mueller et al. 2025, section 4).
SIZES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
#: A gap between the full and the empty circuit's metric below this share of them is rounding.
_LEAST_GAP = 1e-5
#: Tokens of circuits that are run together on a CPU.
_TOKENS = 512


@door(CircuitError)
@of_one_model
def faithfulness(
    model: HFModel,
    pairs: Pair | Sequence[Pair],
    circuits: Edges | Circuit | Sequence[Circuit],
    *,
    sizes: Annotated[Sequence[Portion], Filled()] = SIZES,
    greedy: bool = False,
    metric: str | Metric | Callable[[Any, Any], Any] = "logit_diff",
    ablation: Ablation = "counterfactual",
    controls: Size = 5,
    complement: bool = True,
    level: Share = 0.95,
    resamples: Draws = 2000,
    seed: Seed = 0,
    memory_mb: Positive | None = None,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
) -> Result:
    """How much of the metric circuits keep, ``f = (m(circuit) - m(empty)) / (m(full) - m(empty))``, the metric's mean
    over pairs taken before the ratio.

    Give pairs that the edges were not found on.

    Args:
        circuits: a result of `lens.edges`, of which circuits of all ``sizes`` are made, by signed scores and by their
            magnitudes; or circuits.
        sizes: shares of all edges.
        greedy: as ``Edges.circuit``.
        ablation: what the other edges carry: the corrupted run's writes, their mean over the tokens of all corrupted
            prompts of the call, or nothing.
        controls: random circuits beside each, with as many edges between the same layers. complement: also the circuit
            of all other edges.
        level, resamples, seed: of the intervals and of what is drawn.
        memory_mb, progress, stop: as ``lens.edges``.

    Returns: over ``ranking`` (``signed`` and ``absolute``, or ``given``) and ``circuit``: ``f`` with ``f_low`` and
        ``f_high`` (over pairs; a ratio of means), ``n_edges``, ``n_pruned`` (on a path from input to logits),
        ``complement`` (its f), ``random`` (of every draw) and ``p``, the share of random circuits that are at least as
        faithful, itself counted (Monte Carlo); ``value``, the metric of each prompt, and ``full`` and ``empty``. Of a
        result also, along ``ranking``: ``CPR``, the integral of f over sizes (larger is better, the signed ranking's is
        MIB's), and ``CMD``, that of ``|1 - f|`` (0 is best, the absolute ranking's), with intervals (of CMD with the
        signs of ``1 - f`` held).

    Raises:
        CircuitError: ``m(full)`` and ``m(empty)`` that do not differ; a circuit of another model.

    Source: Mueller et al. 2025 (MIB), section 4: sizes, f, CPR and CMD by trapezoids over nominal sizes.

    Cost: 1.1 to 1.5 forwards a circuit, of all pairs from the first token on at which their prompts differ (of another
        ablation than the other run's, of all tokens); with a norm after attention several.

    >>> curve = lens.faithfulness(model, held_out, found)     # doctest: +SKIP
    """
    began = time.perf_counter()
    chosen = _Chosen.of(circuits, sizes, greedy)
    task = Task.of(model, pairs, metric, chosen.graph.grouped)
    if task.graph != chosen.graph:
        raise CircuitError(f"circuits are of {chosen.graph}, and this model is {task.graph}; take its own.")
    found_on = chosen.overlap(task)
    ablated = Ablated.of(ablation, task.view, task.encoded, memory_mb)
    masks = chosen.all_masks(controls, complement, seed)
    values, full, empty, status = _values(task, ablated, masks, memory_mb, progress, stop)
    gap = full - empty
    if status == "complete" and abs(gap.mean()) <= _LEAST_GAP * max(abs(full).mean(), abs(empty).mean()):
        raise CircuitError(
            f"m(full)={full.mean():.6g} and m(empty)={empty.mean():.6g} do not differ, so that no share of the way can"
            f" be told; give pairs on which {task.metric.name} differs, or another ablation than {ablation!r}."
        )
    ds = _labelled(chosen, values, full, empty, controls, complement, level, resamples, seed)
    call = {
        **task.call(),
        "ablation": ablation,
        "greedy": greedy,
        "sizes": [float(s) for s in sizes] if chosen.nominal is not None else None,
        "controls": controls,
        "found_on": found_on,
        "intervals": {"level": level, "resamples": resamples, "over": "pairs"},
    }
    record = record_of(model, task.view, "faithfulness", call, task.pairs, seed=seed)
    return stamp(ds, {**record, "status": status, "seconds": round(time.perf_counter() - began, 4)})


@dataclass
class _Chosen:
    """Circuits by ranking. Attributes: nominal: their sizes as shares, of a result. pairs: that they were found on."""

    graph: Graph
    masks: dict[str, list[np.ndarray]]
    nominal: Sequence[float] | None
    pairs: list[Any]

    @classmethod
    def of(cls, circuits: Any, sizes: Sequence[float], greedy: bool) -> _Chosen:
        if not isinstance(circuits, xr.Dataset):
            several = [circuits] if isinstance(circuits, Circuit) else list(circuits)
            if not several:
                raise CircuitError("circuits=[] holds no circuit; give what lens.edges or Edges.circuit gives.")
            graph = several[0].graph
            if any(c.graph != graph for c in several):
                raise CircuitError(f"circuits={shown(circuits)} are of several graphs; give those of one model.")
            found_on = [pair for c in several for pair in c.about.get("pairs", [])]
            return cls(graph, {"given": [c.kept for c in several]}, None, found_on)
        if list(sizes) != sorted(set(sizes)):
            raise CircuitError(
                f"sizes={shown(sizes)} do not rise; expected shares of all edges, each larger than the last."
            )
        graph, scores = circuits.graph, circuits.scores
        counts = [max(1, int(share * graph.n_edges)) for share in sizes]
        masks = {
            ranking: [top_edges(graph, scores, n, absolute=ranking == "absolute", greedy=greedy) for n in counts]
            for ranking in ("signed", "absolute")
        }
        return cls(graph, masks, list(sizes), provenance(circuits).get("pairs", []))

    def overlap(self, task: Task) -> int:
        """How many of the pairs the circuits were found on too, said once."""
        before = {
            (p.get("clean_text", str(p["clean"])), p.get("corrupted_text", str(p["corrupted"]))) for p in self.pairs
        }
        own = [p.as_record(task.view.given) for p in task.pairs]
        same = sum(
            (p.get("clean_text", str(p["clean"])), p.get("corrupted_text", str(p["corrupted"]))) in before for p in own
        )
        if same:
            warn(
                f"pairs: the circuits were found on {same} of these {len(own)}; f is then too high. Judge circuits on"
                " pairs that are held out."
            )
        return same

    def all_masks(self, controls: int, complement: bool, seed: int) -> list[np.ndarray]:
        """The circuits, then of each its random ones and its complement: ranking by ranking."""
        masks = [mask for several in self.masks.values() for mask in several]
        drawn = [
            random_mask(self.graph, mask, seed + 7919 * i + draw)
            for i, mask in enumerate(masks)
            for draw in range(controls)
        ]
        others = [self.graph.exists & ~mask for mask in masks] if complement else []
        return [*masks, *drawn, *others]


def _values(
    task: Task, ablated: Ablated, masks: Sequence[np.ndarray], memory_mb: Any, progress: Any, stop: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    """The metric of every prompt under every mask, ``[mask, prompt]``, of the plain run and of the ablated one."""
    n, graph = len(task.encoded), task.graph
    values, full, empty = np.full((len(masks), n), np.nan), np.full(n, np.nan), np.full(n, np.nan)
    batches = list(_batches(task, memory_mb))
    bar = tqdm(
        total=len(batches) * len(masks), desc="circuits", unit="run", delay=2.0, leave=False, disable=hidden(progress)
    )
    try:
        with torch.no_grad(), bar:
            for batch in batches:
                runs, other = recorded_pair(task.view, *task.ids(batch))
                base = Writes.of(runs)
                source = ablated.writes(base, Writes.of(other))
                clean = task.last(runs.final, runs)
                full[batch] = task.score(clean, batch, clean).cpu()
                empty[batch] = task.score(task.last(source.resid[-1], runs), batch, clean).cpu()
                unlike = runs.flat_ids != other.flat_ids
                # causal: before the first difference every circuit is the plain run
                start = int(runs.position[unlike].min()) if ablated.kind == "counterfactual" and unlike.any() else 0
                # all edges are the plain run, none the ablated one
                edges = [int(mask.sum()) for mask in masks]
                for number, count in enumerate(edges):
                    if count in (0, graph.n_edges):
                        values[number, batch] = (full if count else empty)[batch]
                bar.update(sum(count in (0, graph.n_edges) for count in edges))
                waiting = [number for number, count in enumerate(edges) if 0 < count < graph.n_edges]
                size = _at_once(task, batch, start, memory_mb)
                for some in (waiting[a : a + size] for a in range(0, len(waiting), size)):
                    if says_stop(stop):
                        return values, full, empty, "partial"
                    last = CircuitRun(graph, runs, source, np.stack([masks[i] for i in some]), start).last()
                    for number, read in zip(some, last):
                        values[number, batch] = task.score(read, batch, clean).cpu()
                    bar.update(len(some))
    except KeyboardInterrupt:
        return values, full, empty, "partial"
    return values, full, empty, "complete"


def _batches(task: Task, memory_mb: float | None) -> Iterator[list[int]]:
    """Pairs of one length whose writes, and one layer's readers of them, fit the memory."""
    view, room = task.view, budget(task.view, memory_mb).bytes * 0.8
    of_length: dict[int, list[int]] = {}
    for i, length in enumerate(task.lengths):
        of_length.setdefault(length, []).append(i)
    for length, prompts in of_length.items():
        for batch in batches_of([2 * run_bytes(view, length, KEEP) + _live(task, length)] * len(prompts), room):
            yield [prompts[k] for k in batch]


def _live(task: Task, tokens: int) -> int:
    """Bytes of what a circuit's writers add at so many tokens, and of one layer's readers."""
    graph = task.graph
    return int(tokens * graph.d_model * task.view.dtype.itemsize * (graph.n_writers + 4 * graph.per_layer))


def _at_once(task: Task, batch: Sequence[int], start: int, memory_mb: float | None) -> int:
    """How many circuits are run together: what memory leaves beside the runs, and as many tokens as a layer is given
    at once.
    """
    view, length = task.view, task.lengths[batch[0]]
    tokens = len(batch) * (length - start)
    room = budget(view, memory_mb).bytes * 0.8 - 2 * len(batch) * run_bytes(view, length, KEEP)
    return max(1, min(int(room / _live(task, tokens)), chunk_tokens(view.walked, _TOKENS) // tokens))


def _labelled(
    chosen: _Chosen,
    values: np.ndarray,
    full: np.ndarray,
    empty: np.ndarray,
    controls: int,
    complement: bool,
    level: float,
    resamples: int,
    seed: int,
) -> xr.Dataset:
    rankings = list(chosen.masks)
    each = len(chosen.masks[rankings[0]])
    count, shape, gap = len(rankings) * each, (len(rankings), each), full - empty
    own = values[:count].reshape(*shape, -1)
    f = ratio(own - empty, gap, level, resamples, seed)
    dims = ("ranking", "circuit")
    kept = np.array([[int(m.sum()) for m in masks] for masks in chosen.masks.values()])
    pruned = np.array([[int(chosen.graph.pruned(m).sum()) for m in masks] for masks in chosen.masks.values()])
    data: dict[str, Any] = {
        **{name: (dims, value) for name, value in zip(("f", "f_low", "f_high"), f)},
        "n_edges": (dims, kept),
        "n_pruned": (dims, pruned),
        "value": ((*dims, "prompt"), own),
        "full": ("prompt", full),
        "empty": ("prompt", empty),
    }
    if controls:
        random = values[count : count * (1 + controls)].reshape(*shape, controls, -1)
        faithful = (random - empty).mean(-1) / gap.mean()
        data["random"] = ((*dims, "draw"), faithful)
        at_least = (faithful >= f[0][..., None]).sum(-1)
        data["p"] = (dims, (1 + at_least) / (1 + controls))
    if complement:
        others = values[count * (1 + controls) :].reshape(*shape, -1)
        data["complement"] = (dims, (others - empty).mean(-1) / gap.mean())
    if chosen.nominal is not None and each > 1:
        share = np.asarray(chosen.nominal)
        # trapezoids: each size weighs half of the steps beside it
        weight = np.concatenate([[0.0], np.diff(share)]) / 2 + np.concatenate([np.diff(share), [0.0]]) / 2
        sign = np.sign(1 - f[0])[..., None]
        areas = {
            "CPR": (own - empty),
            "CMD": sign * (gap - (own - empty)),
        }
        for name, numerator in areas.items():
            summed = (weight[:, None] * numerator).sum(1)
            for end, value in zip(("", "_low", "_high"), ratio(summed, gap, level, resamples, seed)):
                data[f"{name}{end}"] = ("ranking", value)
        if controls:
            data["random_CPR"] = (("ranking", "draw"), np.einsum("c,rcd->rd", weight, faithful))
            data["random_CMD"] = (("ranking", "draw"), np.einsum("c,rcd->rd", weight, np.abs(1 - faithful)))
    names = share if chosen.nominal is not None and each > 1 else np.arange(each)
    return xr.Dataset(data, {"ranking": rankings, "circuit": np.asarray(chosen.nominal or names)})


def ratio(
    numerator: np.ndarray, gap: np.ndarray, level: float, resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means of the last axis over the mean gap, with Fieller's and studentized intervals over pairs (`lens.stats`)."""
    x = np.moveaxis(numerator, -1, 0)
    flat = x.reshape(len(x), -1)
    y = np.broadcast_to(gap[:, None], flat.shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        estimate = flat.mean(0) / gap.mean()
    low, high = np.full_like(estimate, np.nan), np.full_like(estimate, np.nan)
    if len(flat) > 1 and np.isfinite(flat).all():
        try:
            interval = bootstrap_comparison(flat, y, level=level, resamples=resamples, seed=seed)
            low, high = (np.asarray(v, float).reshape(estimate.shape) for v in (interval.low, interval.high))
        except StatisticsError:
            pass
    shape = x.shape[1:]
    return estimate.reshape(shape), low.reshape(shape), high.reshape(shape)
