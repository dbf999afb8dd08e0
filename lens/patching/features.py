"""Features of a dictionary patched: one edited run a feature and position, or all of them from gradients."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ..arguments import shown
from ..engine.edits import Edit
from ..engine.features import flat
from ..engine.live import read_place
from ..engine.metrics import Metric
from ..engine.model import Model
from ..engine.pieces import Cell
from ..engine.runs import Runs
from ..engine.sites import Site, indices
from ..engine.sweep import Sweep, Values
from ..prompts import EncodedPair
from .asked import Asked
from .attribution import Differentiated, batched, differentiated, require_gradient
from .feature_sources import PROMPTS, means
from .grid import Grid, PatchError
from .sources import Origin

#: What is patched together: each feature at each position, or at all positions.
AXES = (("feature", "position"), ("feature",))


@dataclass
class FeatureGrid:
    """The features and positions of some pairs.

    Attributes:
        site: the dictionary's site. grid: the positions, with the features as an axis.
        run: ``[prompt, feature, position]``, which cells are run: where a feature is active in either run.
        outside: which are not numbers: tokens that the dictionary was not trained on, positions of other pairs.
        means: what features are set to, ``[prompt, 1 or position, feature]``, where that is a mean.
        partners: of resampling, for each pair the other one. said: what a record says of both.
    """

    site: Site
    grid: Grid
    run: np.ndarray
    outside: np.ndarray
    means: np.ndarray | None = None
    partners: list[int] | None = None
    said: dict[str, Any] = field(default_factory=dict)

    def cells(self, origin: Origin) -> Callable[[int, Runs, int], Any]:
        """The edited runs of a pair, given the runs that are copied from."""

        def of(prompt: int, source: Runs, k: int) -> Any:
            together = "position" not in self.grid.over
            copied: Any = origin.donors if self.partners is not None else source
            for i, p in np.argwhere(self.run[prompt]):
                inside, taken = self.places(prompt, 0 if together else int(p))
                at = replace(self.site, index=self.grid.features[i], position=inside)
                if origin.kind == "zero":
                    edit = Edit(at, "zero")
                elif self.means is not None:
                    own = self.means[prompt]
                    value = own[list(inside), i] if len(own) > 1 else own[:, i]
                    edit = Edit(at, "mean", torch.from_numpy(value)[:, None])
                else:
                    edit = Edit(at, "replace", copied[k], source_position=None if taken == inside else taken)
                yield Cell((0, int(i), int(p)), 0, (edit,))

        return of

    def places(self, prompt: int, group: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Positions of a cell that are edited, and those of the other run that are copied there: of tokens that the
        dictionary was trained on.
        """
        return _places(self.grid, getattr(self.site.of, "skip_tokens", 0), prompt, group)

    def labelled(self, values: Values) -> Values:
        """The values by feature and position: those of cells that are off are the base run's to the bit."""
        base = values.base[:, None, None]
        value = np.where(self.run, values.value[:, 0], base.astype(np.float32))
        value = np.where(self.outside, np.nan, value).astype(np.float32)
        if "position" not in self.grid.over:
            value = value[..., 0]
        return replace(values, value=value)


def _places(grid: Grid, skip: int, prompt: int, group: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    edited = grid.groups[prompt][group]
    taken = edited if grid.places is None or grid.places.taken is None else grid.places.taken[prompt][group]
    taken = taken * len(edited) if len(taken) == 1 else taken
    inside = [(p, q) for p, q in zip(edited, taken) if p >= skip and q >= skip]
    return tuple(p for p, _ in inside), tuple(q for _, q in inside)


def over_features(over: str | Sequence[str], asked: Asked, others: tuple[Any, ...], window: int) -> tuple[str, ...]:
    """The axes of a grid of features.

    Args:
        others: layers, heads and experts, none of which goes with features.

    Raises:
        PatchError: other axes; an argument that goes with other sites.
    """
    axes = (over,) if isinstance(over, str) else tuple(over)
    if axes not in AXES:
        raise PatchError(f"over={over!r} is no grid of features; expected {' or '.join(map(str, AXES))}.")
    given = dict(zip(("layers", "heads", "experts"), others))
    given |= {name: getattr(asked, name) for name in ("source_layer", "source_model")}
    given |= {"window": None if window == 1 else window}
    for name, value in given.items():
        if value is not None:
            raise PatchError(
                f"{name}={shown(value)} does not go with site='feature': its dictionary says layer and width, and each"
                " cell is one feature at its position; leave it out."
            )
    return axes


def named(site: Site, features: Any) -> dict[str, Any]:
    """What a record says of the dictionary and of the features that were named."""
    dictionary: Any = site.of
    which = features if features is not None else site.index
    return {"dictionary": dictionary.digest(), **({} if which is None else {"features": which})}


def feature_grid(
    decoder: Model,
    encoded: Sequence[EncodedPair],
    site: Site,
    over: tuple[str, ...],
    asked: Asked,
    positions: Any,
    features: Any,
    memory_mb: float | None,
) -> FeatureGrid:
    """Which features of which tokens are run: those named, or all that are active in either run of a pair (for zero and
    means, in the one that is edited).

    Raises:
        PatchError: no feature is active. SiteError: no such feature, layer or position.
    """
    dictionary: Any = site.of
    dictionary.require(decoder)
    own = "position" in over
    partners = asked.partners(encoded, positions)
    places = asked.places(encoded, positions, partners)
    writes = dictionary.writes
    grid = Grid.make(
        decoder,
        encoded,
        writes.site,
        ("layer", "position") if own else ("layer",),
        layers=None if writes.site == "embed" else [writes.layer],
        positions=positions,
        places=places,
    )
    skip = int(dictionary.skip_tokens)

    def either(pair: int, group: int) -> tuple[list[int], Tensor]:
        """The tokens of a cell, and which features are active there or where its source is."""
        inside, taken = _places(grid, skip, pair, group)
        edited, source = active[pair]
        on: Tensor = edited[list(inside)].any(0)
        return list(inside), on if source is None else on | source[list(taken)].any(0)

    asked_for = site.index if features is None else features
    chosen = None if asked_for is None else indices(asked_for, dictionary.n_features, "feature")
    if chosen is not None and len(set(chosen)) != len(chosen):
        raise PatchError(f"features={shown(asked_for)} names one twice; give each once.")
    active = list(_active(decoder, encoded, dictionary, asked, partners))
    if chosen is None:
        there: set[int] = set()
        for i, groups in enumerate(grid.groups):
            for p in range(len(groups)):
                there.update(either(i, p)[1].nonzero()[:, 0].tolist())
        chosen = sorted(there)
    if not chosen:
        raise PatchError(
            f"site={site}: no feature is active at the positions asked for, in either run; name some with features=."
        )
    column = torch.tensor(chosen)
    said: dict[str, Any] = {} if partners is None else {"partners": partners}
    mean: np.ndarray | None = None
    if asked.kind == "mean":
        ids = [getattr(e, f"{asked.edited}_ids") for e in encoded]
        mean, said["mean"] = means(decoder, ids, dictionary, column, asked, memory_mb)
    width = max(map(len, grid.groups))
    run = np.zeros((len(encoded), len(chosen), width), bool)
    outside = np.ones_like(run)
    for i, groups in enumerate(grid.groups):
        for p in range(len(groups)):
            at, on = either(i, p)
            if at:
                outside[i, :, p] = False
                run[i, :, p] = on[column].numpy()
                if mean is not None:
                    run[i, :, p] |= (mean[i, at if mean.shape[1] > 1 else slice(None)] != 0).any(0)
    whole = replace(grid, over=over, features=chosen)
    return FeatureGrid(replace(site, index=None), whole, run, outside, mean, partners, said)


def _active(
    decoder: Model,
    encoded: Sequence[EncodedPair],
    dictionary: Any,
    asked: Asked,
    partners: Sequence[int] | None,
) -> Any:
    """Of each pair which features are active in the run that is edited, ``[position, F]``, and in the one that is
    copied from, or None.
    """
    (name, layer), through = read_place(decoder.anatomy, dictionary)
    own = [getattr(e, f"{asked.edited}_ids") for e in encoded]
    sides = [own]
    if asked.kind == "pair":
        sides.append([e.clean_ids if asked.edited == "corrupted" else e.corrupted_ids for e in encoded])
    elif partners is not None:
        sides.append([own[partner] for partner in partners])
    for start in range(0, len(encoded), PROMPTS):
        some = [side[start : start + PROMPTS] for side in sides]
        runs = [decoder.record(of, (name,)) for of in some]
        for i in range(len(some[0])):
            on = []
            for of in runs:
                x = of._get(name, layer)[of.starts[i] : of.starts[i] + of.lengths[i]]
                on.append(dictionary.values(flat(through(x), dictionary.reads)).cpu() != 0)
            yield on[0], on[1] if len(on) > 1 else None


def exact(
    decoder: Model,
    encoded: Sequence[EncodedPair],
    cells: FeatureGrid,
    asked: Asked,
    measure: Metric,
    label: Callable[..., xr.Dataset],
    record: dict[str, Any],
    **how: Any,
) -> xr.Dataset:
    """Every cell by an edited run, all rows of a pair in one walk; a store has an axis of the one layer."""
    dictionary: Any = cells.site.of
    (name, _), _ = read_place(decoder.anatomy, dictionary)
    keep = tuple({name, dictionary.writes.site} - {"resid_pre", "resid_mid", "resid_post", "attn_out", "v", "embed"})
    edited: Any = asked.edited
    origin = Origin(decoder, encoded, edited, keep, asked.kind, partners=cells.partners)
    sweep = Sweep(
        decoder,
        encoded,
        origin.lengths,
        (1, *cells.run.shape[1:]),
        cells.cells(origin),
        origin.runs(),
        measure,
        label="patch features",
        keep=origin.keep,
        clean_is_base=asked.direction == "noise",
        bytes_of=origin.bytes_of(measure),
        source_lengths=origin.source_lengths,
    )

    def stored(v: Values) -> xr.Dataset:
        ds = label(cells.labelled(v), False)
        layer = [int(ds.layer)]
        ds = ds.drop_vars("layer")
        grid = {name: ds[name].expand_dims(layer=layer, axis=1) for name in ("value", "effect", "normalized")}
        return ds.assign(grid)

    return sweep.run(lambda v: label(cells.labelled(v)), record=record, stored=stored, **how)


def attributed(
    decoder: Model,
    encoded: Sequence[EncodedPair],
    cells: FeatureGrid,
    measure: Metric,
    direction: str,
    steps: int,
    label: Callable[..., xr.Dataset],
    on_part: Callable[[xr.Dataset], None] | None = None,
    **how: Any,
) -> xr.Dataset:
    """Every cell from one gradient where the dictionary writes, passed through to its features: ``(f_source - f_base) u
    d . g``; beside them the node's own score and what is left of it.

    Source: Marks et al. 2024, section 3.1 (pass-through gradients: the error is a node of its own).
    """
    require_gradient(measure, direction, steps)
    grid, dictionary = cells.grid, cells.site.of
    n, width = len(encoded), cells.run.shape[2]
    values = Values.empty(n, (1, *cells.run.shape[1:]))
    beside = {name: np.full((n, width), np.nan, np.float32) for name in ("node", "rest")}
    began = time.perf_counter()

    def one(batch: list[int]) -> None:
        pairs, keep = [encoded[i] for i in batch], _kept(decoder, dictionary)
        found = differentiated(decoder, pairs, keep, _site(dictionary), measure, direction, steps)
        values.base[batch], values.source[batch] = found.base, found.source
        for k, i in enumerate(batch):
            _of_pair(decoder, cells, found, k, i, values, beside)
        if on_part is not None:
            on_part(labelled())

    def labelled() -> xr.Dataset:
        ds = label(cells.labelled(values))
        for name, value in beside.items():
            x = xr.DataArray(value.copy(), dims=("prompt", "position"))
            x = x if "position" in grid.over else x.isel(position=0)
            ds[name] = x if "prompt" in ds.dims else x.isel(prompt=0)
            ds[name].attrs["units"] = ds.effect.attrs["units"]
        return ds

    values.status = batched(decoder, encoded, measure, one, **how)
    values.seconds = time.perf_counter() - began
    return labelled()


def _site(dictionary: Any) -> str:
    return str(dictionary.writes.site)


def _kept(decoder: Model, dictionary: Any) -> tuple[str, ...]:
    (name, _), _ = read_place(decoder.anatomy, dictionary)
    return tuple({name, dictionary.writes.site})


def _of_pair(
    decoder: Model,
    cells: FeatureGrid,
    found: Differentiated,
    k: int,
    i: int,
    values: Values,
    beside: dict[str, np.ndarray],
) -> None:
    dictionary: Any = cells.site.of
    (name, layer), through = read_place(decoder.anatomy, dictionary)
    where = 0 if dictionary.writes.site == "embed" else dictionary.writes.layer
    column = torch.tensor(cells.grid.features)
    groups = cells.grid.groups[i]
    total = np.zeros(cells.run.shape[1:])
    node, whole = np.zeros(cells.run.shape[2]), np.zeros(cells.run.shape[2])
    for base, source, grads in zip(found.base_runs, found.source_runs, found.gradients):
        at = slice(base.starts[k], base.starts[k] + base.lengths[k])

        def read(runs: Runs, part: slice = at) -> Tensor:
            return flat(through(runs._get(name, layer)[part]), dictionary.reads)

        into = read(base)
        change = dictionary.values(read(source)) - dictionary.values(into)
        site = _site(dictionary)
        gradient = flat(grads[where][at], dictionary.writes).to(into.device)
        moved = flat((source._get(site, where) - base._get(site, where))[at], dictionary.writes)
        changed = change.any(0).nonzero()[:, 0]
        # the gradient along every direction that matters: features that change, and those asked for
        named = torch.cat([changed.cpu(), column])
        along = (gradient * dictionary.unit(into)) @ dictionary.directions(named).to(gradient).T
        score = change[:, named.to(change.device)] * along
        every, asked = score[:, : len(changed)].sum(1).cpu().double(), score[:, len(changed) :].cpu().double()
        own = (moved.to(gradient) * gradient).sum(1).cpu().double()
        for p, group in enumerate(groups):
            inside = [q for q in group if q >= dictionary.skip_tokens]
            total[:, p] += asked[inside].sum(0).numpy()
            node[p] += float(own[inside].sum())
            whole[p] += float(every[inside].sum())
    values.value[i, 0] = np.where(cells.run[i], values.base[i] + total, np.nan)
    for name_, row in (("node", node), ("rest", node - whole)):
        beside[name_][i] = np.where(cells.outside[i, 0], np.nan, row)
