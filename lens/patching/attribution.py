"""Attribution patching: every cell of a grid from gradients, and how well that agrees with the exact effects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
import xarray as xr

from ..arguments import Count, Draws, Labels, Seed, Share, door
from ..engine.gradients import recorded_gradients, site_gradients
from ..engine.memory import budget
from ..engine.metrics import Metric, MetricError
from ..engine.model import Model
from ..engine.pieces import batch_by_batch
from ..engine.runs import Runs
from ..engine.sites import of_two_axes
from ..engine.sweep import Values
from ..prompts import EncodedPair
from ..readout.agreement import Agreement, AgreementError, compare
from .grid import Grid, PatchError


def attribute(
    decoder: Model,
    encoded: Sequence[EncodedPair],
    grid: Grid,
    metric: Metric,
    direction: str,
    steps: int,
    memory_mb: float | None,
    progress,
    stop=None,
    on_part=None,
) -> Values:
    """First-order estimates of the effects of a whole grid.

    effect(cell) ~ sum over the cell's activations of (source - base) * gradient of the metric, with the gradient at the
    base run (``steps`` = 1) or averaged over ``steps`` points between the two prompts' embeddings (integrated
    gradients).
    """
    require_gradient(metric, direction, steps)
    values = Values.empty(len(encoded), grid.shape)

    def one(batch: list[int]) -> None:
        _attribute_batch(decoder, [encoded[i] for i in batch], batch, grid, metric, direction, steps, values)
        if on_part is not None:
            on_part(values)

    values.status = batched(decoder, encoded, metric, one, memory_mb=memory_mb, progress=progress, stop=stop)
    return values


def require_gradient(metric: Metric, direction: str, steps: int) -> None:
    """Raises MetricError or PatchError: a metric without a gradient where it is taken, a number of steps that is
    none.
    """
    if metric.name == "rank":
        raise MetricError("metric='rank' has no gradient; use logit_diff, logprob or prob, or method='exact'.")
    if not isinstance(steps, int) or steps < 1:
        raise PatchError(f"steps={steps!r} is not a number of steps; expected an integer of 1 or more.")
    if metric.name == "kl" and direction == "noise" and steps == 1:
        raise MetricError(
            "metric='kl' is at its minimum in the clean run, where its gradient vanishes; use steps=5 or so, or"
            " direction='denoise'."
        )


def batched(
    decoder: Model,
    encoded: Sequence[EncodedPair],
    metric: Metric,
    one: Callable[[list[int]], None],
    *,
    memory_mb: float | None,
    progress: bool | None,
    stop: Callable[[], bool] | None,
) -> str:
    """Takes pairs so many at a time as a backward pass over all layers has room for; returns the status."""
    per_token = decoder.n_layers * (14 * decoder.d_model + 4 * decoder.d_mlp) * 4

    def patterns(e: EncodedPair) -> int:
        return int(3 * decoder.n_layers * decoder.n_heads * len(e.clean_ids) ** 2 * 4)

    sizes = [len(metric.sequences(e)) * (2 * len(e.clean_ids) * per_token + patterns(e)) for e in encoded]
    room = budget(decoder, memory_mb).bytes * 0.8
    return batch_by_batch(sizes, room, one, label="attribution", progress=progress, stop=stop)


@dataclass
class Differentiated:
    """Some pairs' unedited runs, their metric, and its gradient at a site in every layer.

    Attributes:
        base_runs, source_runs: one for each sequence that the metric reads. base, source: the metric, one a pair.
        gradients: by sequence and layer, averaged over the steps.
    """

    base_runs: list[Runs]
    source_runs: list[Runs]
    base: list[float]
    source: list[float]
    gradients: list[list[torch.Tensor]]


def differentiated(
    decoder: Model,
    encoded: Sequence[EncodedPair],
    keep: tuple[str, ...],
    site: str,
    metric: Metric,
    direction: str,
    steps: int,
) -> Differentiated:
    """The runs of pairs and the gradient of the metric, at the base run or averaged on the way to the source run."""
    denoise = direction == "denoise"
    answers = [metric.sequences(e) for e in encoded]
    base_runs, source_runs, reads = [], [], []
    for j in range(len(answers[0])):
        tails = [torch.tensor(a[j][:-1], dtype=torch.long) for a in answers]

        def ids(which):
            return [torch.cat([getattr(e, which).cpu(), t]) for e, t in zip(encoded, tails)]

        first, second = (
            (ids("corrupted_ids"), ids("clean_ids")) if denoise else (ids("clean_ids"), ids("corrupted_ids"))
        )
        base, source = Runs.record_pair(decoder, first, second, keep)
        base_runs.append(base)
        source_runs.append(source)
        reads.append([[len(e.clean_ids) - 1 + t for t in range(max(1, len(a[j])))] for e, a in zip(encoded, answers)])
    clean_runs = source_runs if denoise else base_runs

    def read(finals, k, runs):
        return [f[torch.tensor(reads[j][k], device=f.device) + runs[j].starts[k]][None] for j, f in enumerate(finals)]

    def scores(finals, runs):
        clean = [r.final for r in clean_runs]
        return [
            metric.score(decoder, read(finals, k, runs), e, read(clean, k, clean_runs))[0]
            for k, e in enumerate(encoded)
        ]

    with torch.no_grad():
        of_base = [s.item() for s in scores([r.final for r in base_runs], base_runs)]
        of_source = [s.item() for s in scores([r.final for r in source_runs], source_runs)]
    from_, to = ([decoder.embed(r.flat_ids) for r in runs] for runs in (base_runs, source_runs))
    total: list[list[torch.Tensor]] = []
    for step in range(steps):
        # the midpoint rule; one step is the gradient at the base run itself
        share = 0.0 if steps == 1 else (step + 0.5) / steps

        def summed(finals):
            return sum(scores(finals, base_runs))

        if steps == 1:
            grads = recorded_gradients(decoder, base_runs, site, summed)
        else:
            points = [a + share * (b - a) for a, b in zip(from_, to)]
            grads = site_gradients(decoder, base_runs, points, site, summed)
        total = [[a + b for a, b in zip(x, y)] for x, y in zip(total, grads)] if total else grads
    mean = [[grad / steps for grad in of] for of in total]
    return Differentiated(base_runs, source_runs, of_base, of_source, mean)


def _attribute_batch(decoder, encoded, batch, grid, metric, direction, steps, values: Values) -> None:
    found = differentiated(decoder, encoded, (grid.site,), grid.site, metric, direction, steps)
    values.base[batch], values.source[batch] = found.base, found.source
    base_runs, source_runs = found.base_runs, found.source_runs
    estimate = {}
    for layer in grid.layers:
        parts = []
        for base, source, grad in zip(base_runs, source_runs, found.gradients):
            parts.append(_summed((source.get(grid.site, layer) - base.get(grid.site, layer)) * grad[layer], grid.site))
        estimate[layer] = parts
    for k, i in enumerate(batch):
        for cell in grid.cells(i, base_runs[0][k]):
            layer = grid.layers[cell.index[0]]
            site = cell.edits[0].site
            effect = sum(_pick(part, runs, k, site).item() for part, runs in zip(estimate[layer], base_runs))
            values.value[(i, *cell.index)] = values.base[i] + effect


def _summed(product: torch.Tensor, site: str) -> torch.Tensor:
    """Products summed over the site's width: ``[token]``, ``[token, head]`` or ``[token, expert]``, or for patterns
    ``[prompt, head, query]``.
    """
    if site == "router":
        return product
    return product.sum(-1) if of_two_axes(site) or product.ndim == 2 else product.flatten(1).sum(1)


def _pick(part: torch.Tensor, runs: Runs, k: int, site) -> torch.Tensor:
    at = list(site.position)
    if site.name == "pattern":
        return part[k][slice(None) if site.head is None else site.head][..., at].sum()
    rows = part[[runs.starts[k] + p for p in at]]
    sub = site.head if site.expert is None else site.expert
    return (rows if rows.ndim == 1 or sub is None else rows[:, sub]).sum()


@door(PatchError)
def agreement(
    exact: xr.Dataset,
    estimate: xr.Dataset,
    *,
    k: Count = 10,
    resamples: Draws = 1000,
    level: Share = 0.95,
    seed: Seed = 0,
    units: Annotated[Any, Labels()] | None = None,
) -> Agreement:
    """Compares two results over the same grid, on the mean effect over prompts; with `units` (the scene or entity of
    each) prompts of one unit are averaged and count as one.

    Raises:
        PatchError: grids that differ, or a grid without a finite cell in common.
    """
    try:
        return compare(
            exact,
            estimate,
            same=("site", "metric", "direction"),
            k=k,
            resamples=resamples,
            level=level,
            seed=seed,
            units=units,
        )
    except AgreementError as error:
        raise PatchError(str(error)) from None
