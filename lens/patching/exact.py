"""Exact activation patching: one edited run a cell, all of them in one walk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr

from ..arguments import Count, Draws, Experts, FilePath, Heads, HFModel, Layers, Positions, Positive, door, shown
from ..cluster import Workers, backend_of
from ..engine.errors import UnsupportedModel
from ..engine.metrics import Metric, resolve
from ..engine.metrics import identity as metric_identity
from ..engine.model import Model
from ..engine.sessions import of_one_model
from ..engine.sweep import Sweep, Values, paired
from ..engine.sweep_parts import Backend
from ..prompts import EncodedPair, Pair, encode_all
from ..results import dataset as results
from ..results.record import record_of
from ..results.resume import SweepStore
from .grid import Grid, PatchError

_last: dict[str, xr.Dataset | None] = {}
#: Sites that a run keeps anyway.
_KEPT = ("resid_pre", "resid_mid", "resid_post", "attn_out", "v")


def last_partial() -> xr.Dataset | None:
    """What the last stopped or interrupted sweep had computed, or None."""
    return _last.get("partial")


@door(PatchError)
@of_one_model
def patch(
    model: HFModel,
    pairs: Pair | Sequence[Pair],
    site: str = "resid_pre",
    over: str | Sequence[str] = ("layer", "position"),
    *,
    metric: str | Metric | Callable[[Any, Any], Any] = "logit_diff",
    direction: Literal["denoise", "noise"] = "denoise",
    method: Literal["exact", "attribution"] = "exact",
    layers: Layers = None,
    heads: Heads = None,
    experts: Experts = None,
    positions: Positions = None,
    window: Count = 1,
    steps: Draws = 1,
    memory_mb: Positive | None = None,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
    on_part: Callable[[xr.Dataset], None] | None = None,
    store: FilePath | None = None,
    share: tuple[int, int] | None = None,
    backend: Any = "local",
    workers: Workers = 2,
) -> xr.Dataset:
    """Patches every cell of a grid from one run of a pair into the other and measures what that changes.

    Args:
        model: a ``TransformerBridge`` or a Hugging Face causal model.
        pairs: one pair, or several (the result then has a ``prompt`` axis).
        site: what is patched; see ``lens.engine.sites``.
        over: the grid: (layer, position), (layer, head), (layer, head, position), (layer, expert), (layer, expert,
            position) or (layer,).
        metric: a name, a ``Metric`` or a function ``f(logits [rows, d_vocab], encoded) -> [rows]``; see
            ``lens.engine.metrics``.
        direction: ``denoise`` copies clean activations into the corrupted run (is the site sufficient?); ``noise``
            copies corrupted activations into the clean run (is it necessary?).
        method: ``exact`` runs every cell; ``attribution`` estimates all cells from gradients (AtP).
        layers, heads, experts: which; None for all (for ``router`` and ``expert`` all layers that have experts).
        positions: which, by number or name; without a position axis, the positions patched together. None: every prompt
            token.
        window: layers patched together around a cell's layer.
        steps: for ``attribution``: 1 is the gradient at the base run; more average it on the way to the source run
            (integrated gradients).
        memory_mb: extra memory to stay under, in units of 2^20 bytes; None: by the device, on a CPU 500, on CUDA 0.4 of
            what is free.
        progress: a bar for sweeps over two seconds; False for none.
        stop: asked between layers; True ends the sweep with a partial result.
        on_part: called with the result so far after each group of layers; layers come from the last to the first.
        store: a path that ends in ``.zarr``; the sweep writes there as it goes and takes up again where it was cut. A
            store always has a ``prompt`` axis.
        share: ``(number, count)``: this process computes every ``count``-th pair from ``number`` on; run ``count``
            processes, on as many machines as you like, with the same ``store``. The result is what the store holds when
            this share is done.
        backend: "local", or "ray" for so many ``workers`` on Ray, or a ``lens.cluster.Ray``. The numbers are the same
            to the bit where threads are; the store is written here, and whichever backend goes on from it.

    Returns:
        A labelled result over ``[prompt,] layer, ...`` with ``value`` (the metric under the edit), ``effect`` = value -
        base, ``normalized`` = effect / (source - base), and ``clean``, ``corrupted`` (the metric of the unedited runs).
        When denoising, base is the corrupted run and source the clean one; when noising the other way round.

    Raises:
        PromptError: a pair that does not align. SiteError: no such layer, head, expert or position. MetricError: see
            ``metric``.
        PatchError: arguments that do not go together.

    Source: Vig et al. 2020; Meng et al. 2022, section 2; Heimersheim and Nanda 2024 (denoising and noising);
        attribution: Nanda 2023, Syed et al. 2023; integrated gradients: Hanna et al. 2024 (EAP-IG).

    >>> trace = lens.patch(model, pair, "resid_pre")          # doctest: +SKIP
    """
    single, chosen = chosen_pairs(pairs)
    if steps != 1 and method == "exact":
        raise PatchError(f"steps={steps!r} is given but method='exact' takes none; use method='attribution'.")
    if share is not None and (
        store is None
        or not (
            isinstance(share, tuple)
            and len(share) == 2
            and all(isinstance(x, int) for x in share)
            and 0 <= share[0] < share[1]
        )
    ):
        raise PatchError(f"share={share!r} needs a store and two numbers, (number, count) with 0 <= number < count.")
    measure = resolve(metric)
    call = dict(
        site=site,
        over=list(over) if not isinstance(over, str) else [over],
        metric=measure.name,
        unit=measure.unit,
        direction=direction,
        method=method,
        layers=layers,
        heads=heads,
        positions=positions,
        window=window,
        steps=steps,
    )
    call |= metric_identity(measure) | ({} if experts is None else {"experts": experts})
    try:
        decoder = Model.of(model)
    except UnsupportedModel as error:
        raise PatchError(f"model={type(model).__name__} cannot be patched: {error}") from error
    encoded = encode_all(model, chosen)
    for e in encoded:
        if max(map(len, measure.sequences(e)), default=0) > 1 and decoder.reads_ahead:
            raise PatchError(
                f"metric={call['metric']!r} reads answers of several tokens, but this model's tokens read later ones"
                " too: it would be asked for tokens that it has read. Give answers of one token."
            )
    grid = Grid.make(decoder, encoded, site, call["over"], layers, heads, positions, window, experts)
    record = record_of(model, decoder, "patch", call, chosen, store=store, state=decoder.state)
    if method == "attribution":
        if backend != "local":
            raise PatchError(
                f"backend={shown(backend)} goes with method='exact'; attribution is one pass over the model, here."
            )
        from .attribution import attribute

        if store is not None or grid.window != 1:
            raise PatchError("store and window go with method='exact'; attribution is one pass over the model.")

        def notify(v: Values) -> None:
            if on_part is not None:
                on_part(_labelled(grid, encoded, v, direction, single, record))

        began = time.perf_counter()
        values = attribute(decoder, encoded, grid, measure, direction, steps, memory_mb, progress, stop, notify)
        values.seconds = time.perf_counter() - began
        return remember(_labelled(grid, encoded, values, direction, single, record))
    return run_exact(
        decoder,
        encoded,
        grid,
        measure,
        direction,
        single,
        record,
        memory_mb=memory_mb,
        progress=progress,
        stop=stop,
        on_part=on_part,
        store=store,
        share=share,
        backend=backend_of(backend, workers, store),
    )


def run_exact(
    decoder: Model,
    encoded: Sequence[EncodedPair],
    grid: Grid,
    measure: Metric,
    direction: str,
    single: bool,
    record: dict,
    *,
    memory_mb: float | None,
    progress: bool | None,
    stop,
    on_part,
    store,
    share=None,
    backend: Backend | None = None,
) -> xr.Dataset:
    """The sweep behind ``patch``, on prompts already encoded."""
    keep = () if grid.site in _KEPT else (grid.site,)
    ids = [
        (e.corrupted_ids, e.clean_ids) if direction == "denoise" else (e.clean_ids, e.corrupted_ids) for e in encoded
    ]

    def label(v, alone=single):
        return _labelled(grid, encoded, v, direction, alone, record)

    def fill(ds, v):
        base, source = ("corrupted", "clean") if direction == "denoise" else ("clean", "corrupted")
        v.value[...], v.base[...], v.source[...] = ds.value.values, ds[base].values, ds[source].values

    sweep = Sweep(
        decoder,
        encoded,
        [len(e.clean_ids) for e in encoded],
        grid.shape,
        lambda i, source, k: grid.cells(i, source[k]),
        paired(decoder, ids, keep),
        measure,
        label=f"patch {grid.site}",
        keep=keep,
        clean_is_base=direction == "noise",
    )
    done = sweep.run(
        label,
        record=record,
        # a store always has a prompt axis
        store=None if store is None else lambda template: SweepStore(store, template),
        stored=lambda v: label(v, False),
        fill=fill,
        share=share,
        memory_mb=memory_mb,
        progress=progress,
        stop=stop,
        on_part=on_part,
        backend=backend,
    )
    return remember(done)


def remember(ds: xr.Dataset) -> xr.Dataset:
    """Keeps a partial result for ``last_partial``, or forgets the last one."""
    _last["partial"] = ds if results.provenance(ds)["status"] == "partial" else None
    return ds


def chosen_pairs(pairs: Any) -> tuple[bool, list[Pair]]:
    """Whether one pair was given by itself, and the pairs as a list.

    Raises:
        PatchError: no pair, or something that is none.
    """
    if isinstance(pairs, Pair):
        return True, [pairs]
    chosen = list(pairs) if isinstance(pairs, Iterable) and not isinstance(pairs, str) else [pairs]
    for p in chosen:
        if not isinstance(p, Pair):
            raise PatchError(
                f"pairs holds {p!r}, which is not a lens.Pair; write lens.Pair(clean, corrupted=..., answer=...,"
                " foil=...)."
            )
    if not chosen:
        raise PatchError("pairs=[] holds no pair; give a lens.Pair or a list of them.")
    return False, chosen


def _labelled(
    grid: Grid, encoded: Sequence[EncodedPair], values: Values, direction: str, single: bool, record: dict
) -> xr.Dataset:
    """The public result of values so far."""
    axes = (slice(None), *[None] * len(grid.over))
    base, source = values.base, values.source
    effect = values.value - base[axes]
    gap = (source - base)[axes]
    with np.errstate(divide="ignore", invalid="ignore"):
        normalized = np.where(gap == 0, np.nan, effect / gap)
    clean, corrupted = (source, base) if direction == "denoise" else (base, source)
    ds = grid.dataset(
        encoded,
        dict(
            value=values.value.copy(),
            effect=effect.astype(np.float32),
            normalized=normalized.astype(np.float32),
            clean=clean.copy(),
            corrupted=corrupted.copy(),
        ),
        single,
    )
    for name in ("value", "effect", "clean", "corrupted"):
        ds[name].attrs["units"] = record["call"]["unit"]
    ds["normalized"].attrs["units"] = "1"
    return results.stamp(ds, {**record, "status": values.status, "seconds": round(values.seconds, 4)})
