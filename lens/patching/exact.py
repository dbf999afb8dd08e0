"""Exact activation patching: one edited run a cell, all of them in one walk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import xarray as xr

from ..arguments import (
    Count,
    Draws,
    Experts,
    FilePath,
    Heads,
    HFModel,
    Indices,
    Layers,
    Positions,
    Positive,
    Seed,
    door,
    shown,
)
from ..cluster import Workers, backend_of
from ..engine.metrics import Metric, resolve
from ..engine.metrics import identity as metric_identity
from ..engine.sessions import beside, of_one_model
from ..engine.sites import Site
from ..engine.sweep import Sweep, Values
from ..prompts import Align, EncodedPair, Pair
from ..results import dataset as results
from ..results.record import record_of
from ..results.resume import SweepStore
from .asked import Asked
from .features import attributed, exact, feature_grid, named, over_features
from .grid import Grid, PatchError, patchable

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
    site: str | Site = "resid_pre",
    over: str | Sequence[str] = ("layer", "position"),
    *,
    metric: str | Metric | Callable[[Any, Any], Any] = "logit_diff",
    direction: Literal["denoise", "noise"] | None = None,
    method: Literal["exact", "attribution"] = "exact",
    layers: Layers = None,
    heads: Heads = None,
    experts: Experts = None,
    features: Annotated[Any, Indices("feature")] = None,
    positions: Positions = None,
    align: Align | None = None,
    source: Any = "pair",
    source_position: Positions = None,
    source_layer: Layers = None,
    source_model: HFModel | None = None,
    mean_over: Literal["tokens", "position"] = "tokens",
    seed: Seed = 0,
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
        site: what is patched; see ``lens.engine.sites``. ``lens.Site("feature", sae)``: features of a dictionary.
        over: the grid: (layer, position), (layer, head), (layer, head, position), (layer, expert), (layer, expert,
            position) or (layer,); of features (feature, position) or (feature,).
        metric: a name, a ``Metric`` or a function ``f(logits [rows, d_vocab], encoded) -> [rows]``; see
            ``lens.engine.metrics``.
        direction: ``denoise`` copies clean activations into the corrupted run (is the site sufficient?); ``noise``
            copies corrupted activations into the clean run (is it necessary?). None: ``denoise`` for pairs, ``noise``
            for ablations, which then edit the clean run.
        method: ``exact`` runs every cell; ``attribution`` estimates all cells from gradients (AtP).
        layers, heads, experts: which; None for all (for ``router`` and ``expert`` all layers that have experts).
        features: which, of a dictionary; None: all that are active in either run (for ``zero`` and ``mean`` in the one
            that is edited). Cells of features that are off in both have the base run's metric to the bit and cost
            nothing; tokens that the dictionary was not trained on are NaN.
        positions: which, by number or name; without a position axis, the positions patched together. None: every prompt
            token. With ``align`` or ``source_position`` those of the prompt that is edited (with ``align="end"`` of the
            clean one).
        align: for pairs whose prompts differ in length. ``end`` aligns positions counted from the end; ``spans`` the
            pair's named spans (``Pair.spans`` and ``Pair.corrupted_spans``), one cell each, of unlike numbers of tokens
            the last ones. The coordinates ``position_clean`` and ``position_corrupted`` say what was copied to what.
        source: ``pair``: the other run of the pair. Ablations: ``zero``; ``mean`` of the other pairs' prompts of the
            kind that is edited, or that of ``Runs`` of reference prompts, or a tensor ``[*width]`` or ``[layer,
            *width]`` (of features ``[n_features]``); ``resample``: the same prompt of another pair, drawn with
            ``seed`` among those as long, or with ``align``.
        source_position, source_layer: what is copied of the other run in place of the same: one, or one for each of
            ``positions`` and ``layers`` (Patchscopes).
        source_model: another model, of equal width and with the same tokenizer, whose run is copied; prompts may then
            be the same. The source's metric is read with its own head.
        mean_over: means over all tokens, or each position's own, of prompts of one length.
        seed: of ``resample``.
        window: layers patched together around a cell's layer.
        steps: for ``attribution``: 1 is the gradient at the base run; more average it on the way to the source run
            (integrated gradients).
        memory_mb: extra memory to stay under, in units of 2^20 bytes; None: by the device, on a CPU 500, on CUDA 0.4 of
            what is free.
        progress: a bar for sweeps over two seconds; False for none.
        stop: asked between layers; True ends the sweep with a partial result.
        on_part: called with the result so far after each group of layers; layers come from the last to the first.
        store: a path that ends in ``.zarr``; the sweep writes there as it goes and takes up again where it was cut. A
            store always has a ``prompt`` axis, and of features one of their ``layer``.
        share: ``(number, count)``: this process computes every ``count``-th pair from ``number`` on; run ``count``
            processes, on as many machines as you like, with the same ``store``. The result is what the store holds when
            this share is done.
        backend: "local", or "ray" for so many ``workers`` on Ray, or a ``lens.cluster.Ray``. The numbers are the same
            to the bit where threads are; the store is written here, and whichever backend goes on from it.

    Returns:
        A labelled result over ``[prompt,] layer, ...`` with ``value`` (the metric under the edit), ``effect`` = value -
        base, ``normalized`` = effect / (source - base), and ``clean``, ``corrupted`` (the metric of the unedited runs).
        Of features by attribution also ``node``, the score of the whole activation, and ``rest``, what its features
        leave of it (the error of the dictionary).
        When denoising, base is the corrupted run and source the clean one; when noising the other way round.

    Raises:
        PromptError: a pair that does not align. SiteError: no such layer, head, expert or position. MetricError: see
            ``metric``.
        PatchError: arguments that do not go together.

    Source: Vig et al. 2020; Meng et al. 2022, section 2; Heimersheim and Nanda 2024 (denoising and noising);
        ablations: Wang et al. 2023, section 2.1 (mean), Chan et al. 2022 (resample); other positions, layers and
        models: Ghandeharioun et al. 2024, section 3, Prakash et al. 2024, section 5 (one model into another);
        attribution: Nanda 2023, Syed et al. 2023; integrated gradients: Hanna et al. 2024 (EAP-IG).

    >>> trace = lens.patch(model, pair, "resid_pre")          # doctest: +SKIP
    """
    single, chosen = chosen_pairs(pairs)
    of_features = isinstance(site, Site)
    if isinstance(site, Site) and site.of is None:
        raise PatchError(f"site={site}: give the name of a site, site={site.name!r}, and its layers by layers=.")
    if isinstance(site, Site) and site.position is not None:
        raise PatchError(f"site={site}: the grid says which positions; name them by positions=.")
    if not of_features and features is not None:
        raise PatchError(f"features={shown(features)} goes with site=lens.Site('feature', sae); leave it out.")
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
    asked = Asked(align, source, source_position, source_layer, source_model, mean_over, seed, direction)
    asked.only_exact(method)
    way = asked.direction
    asked.require_one_head(measure.name)
    call = dict(
        site="feature" if of_features else site,
        over=list(over) if not isinstance(over, str) else [over],
        metric=measure.name,
        unit=measure.unit,
        direction=way,
        method=method,
        layers=layers,
        heads=heads,
        positions=positions,
        window=window,
        steps=steps,
    )
    call |= metric_identity(measure) | ({} if experts is None else {"experts": experts})
    decoder = patchable(model)
    encoded = asked.encode(model, chosen)
    for e in encoded:
        if max(map(len, measure.sequences(e)), default=0) > 1 and decoder.reads_ahead:
            raise PatchError(
                f"metric={call['metric']!r} reads answers of several tokens, but this model's tokens read later ones"
                " too: it would be asked for tokens that it has read. Give answers of one token."
            )
    of_base, of_source = ("corrupted", "clean") if way == "denoise" else ("clean", "corrupted")

    def fill(ds: xr.Dataset, v: Values) -> None:
        v.value[...] = ds.value.values.reshape(v.value.shape)
        v.base[...], v.source[...] = ds[of_base].values, ds[of_source].values

    where = backend_of(backend, workers, store) if method == "exact" else None
    # a store always has a prompt axis
    kept = None if store is None else lambda template: SweepStore(store, template)
    how: dict[str, Any] = dict(memory_mb=memory_mb, progress=progress, stop=stop, on_part=on_part)
    if isinstance(site, Site):
        axes = over_features(over, asked, (layers, heads, experts), window)
        cells = feature_grid(decoder, encoded, site, axes, asked, positions, features, memory_mb)
        call |= {"over": list(axes)} | asked.call() | named(site, features) | cells.said
        drawn = seed if cells.partners is not None else None
        record = record_of(model, decoder, "patch", call, chosen, seed=drawn, store=store, state=decoder.state)

        def label_features(v: Values, alone: bool = single) -> xr.Dataset:
            return _labelled(cells.grid, encoded, v, way, alone, record)

        if method == "attribution":
            require_here(backend, store)
            return remember(attributed(decoder, encoded, cells, measure, way, steps, label_features, **how))
        how |= dict(store=kept, fill=fill, share=share, backend=where)
        return remember(exact(decoder, encoded, cells, asked, measure, label_features, record, **how))
    partners = asked.partners(encoded, positions)
    places = asked.places(encoded, positions, partners)
    grid = Grid.make(decoder, encoded, site, call["over"], layers, heads, positions, window, experts, places)
    other = asked.other(decoder, site)
    origin = asked.origin(decoder, encoded, grid, () if site in _KEPT else (site,), partners, other, memory_mb)
    call |= asked.call() | origin.record()
    drawn = seed if partners is not None else None
    record = record_of(model, decoder, "patch", call, chosen, seed=drawn, store=store, state=decoder.state)
    if method == "attribution":
        from .attribution import attribute

        require_here(backend, store)
        if grid.window != 1:
            raise PatchError(f"window={window} goes with method='exact'; attribution is one pass over the model.")

        def notify(v: Values) -> None:
            if on_part is not None:
                on_part(_labelled(grid, encoded, v, way, single, record))

        began = time.perf_counter()
        values = attribute(decoder, encoded, grid, measure, way, steps, memory_mb, progress, stop, notify)
        values.seconds = time.perf_counter() - began
        return remember(_labelled(grid, encoded, values, way, single, record))
    if where is not None and source_model is not None:
        raise PatchError("source_model= goes with backend='local': a worker holds one model.")
    sweep = Sweep(
        decoder,
        encoded,
        origin.lengths,
        grid.shape,
        origin.cells(grid),
        origin.runs(),
        measure,
        label=f"patch {site}",
        keep=origin.keep,
        clean_is_base=way == "noise",
        bytes_of=origin.bytes_of(measure),
        source_lengths=origin.source_lengths,
        source_model=other,
    )

    def label(v: Values, alone: bool = single) -> xr.Dataset:
        return _labelled(grid, encoded, v, way, alone, record)

    def run() -> xr.Dataset:
        return sweep.run(
            label,
            record=record,
            store=kept,
            stored=lambda v: label(v, False),
            fill=fill,
            share=share,
            backend=where,
            **how,
        )

    return remember(beside([] if source_model is None else [source_model], run))


def require_here(backend: Any, store: Any) -> None:
    """Raises PatchError: something for sweeps is asked of attribution."""
    if backend != "local":
        raise PatchError(
            f"backend={shown(backend)} goes with method='exact'; attribution is one pass over the model, here."
        )
    if store is not None:
        raise PatchError(f"store={shown(store)} goes with method='exact'; attribution is one pass over the model.")


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
