"""The grid of a patching sweep: its axes, labels and cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import xarray as xr

from ..engine.edits import Edit
from ..engine.errors import UnsupportedModel
from ..engine.model import Model
from ..engine.pieces import Cell
from ..engine.runs import Source
from ..engine.sites import EXPERTS, HEADED, SITES, Site, SiteError, indices
from ..errors import Error
from ..prompts import EncodedPair, resolve_positions

AXES = (
    ("layer", "position"),
    ("layer", "head"),
    ("layer", "head", "position"),
    ("layer", "expert"),
    ("layer", "expert", "position"),
    ("layer",),
)


class PatchError(Error, ValueError):
    """An argument of a patching call that does not fit; the message names it, its value and what was expected."""


def patchable(model: Any) -> Model:
    """The engine's view of a model. Raises PatchError: no path of the engine serves it."""
    try:
        return Model.of(model)
    except UnsupportedModel as error:
        raise PatchError(f"model={type(model).__name__} cannot be patched: {error}{_tied(model)}") from error


def _tied(model: Any) -> str:
    """What to do about layers that are one module, where there are such."""
    hf = getattr(model, "original_model", model)
    lists = [m for m in hf.modules() if isinstance(m, torch.nn.ModuleList)] if isinstance(hf, torch.nn.Module) else []
    for of in lists:
        first: dict[int, int] = {}
        for layer, one in enumerate(of):
            if (earlier := first.setdefault(id(one), layer)) != layer:
                return (
                    f" Its layers {earlier} and {layer} are one module (tied), so that an edit at one would be at both;"
                    " give each a module of its own (copy.deepcopy), which changes no output."
                )
    return ""


def named_alike(resolved: Sequence[Sequence[tuple[str, tuple[int, ...]]]], positions: Any) -> list[str] | None:
    """Labels of the position axis: names where names were asked for, or as asked where the tokens differ between pairs;
    else None (numbers).
    """
    labels = [[n for n, _ in groups] for groups in resolved]
    same = all(row == labels[0] for row in labels)
    if same:
        return None if all(n.isdigit() for n in labels[0]) else labels[0]
    if positions is None or isinstance(positions, slice):
        return None
    asked = [str(p) for p in (positions if isinstance(positions, (list, tuple, range)) else [positions])]
    if any(len(row) != len(asked) for row in labels):
        other = next(row for row in labels if row != labels[0])
        raise PatchError(
            f"positions={positions!r} mean {labels[0]} in one pair and {other} in another; use names that every pair"
            " has."
        )
    return asked


def around(layer: int, window: int, n_layers: int) -> range:
    """The layers of a window centred on one; it is clipped at the model's ends, as in ROME's code."""
    return range(max(0, layer - window // 2), min(n_layers, layer - window // 2 + window))


@dataclass(frozen=True)
class Places:
    """What is copied where, of pairs whose prompts are not patched position for position.

    Attributes:
        edited: the prompt whose run is edited, clean or corrupted. groups: per pair, the positions edited, an empty
            group where a pair has none. taken: for each of these, the positions of the other run that are copied, as
            many or one; None: nothing is copied from positions of its own. names: of the groups; None: numbers.
        of: what is copied from: clean, corrupted, or partner (another pair's prompt).
    """

    edited: str
    groups: list[list[tuple[int, ...]]]
    taken: list[list[tuple[int, ...]]] | None
    names: list[str] | list[int] | None
    of: str = ""

    def together(self) -> Places:
        """Each pair's positions as one group."""
        groups, taken = [], []
        for i, of_pair in enumerate(self.groups):
            of_source = of_pair if self.taken is None else self.taken[i]
            pairs = {p: t for g, s in zip(of_pair, of_source) for p, t in zip(g, s * (len(g) if len(s) == 1 else 1))}
            groups.append([tuple(sorted(pairs))])
            taken.append([tuple(pairs[p] for p in sorted(pairs))])
        return Places(self.edited, groups, None if self.taken is None else taken, None, self.of)


@dataclass
class Grid:
    """Axes ``over`` at a site, resolved for a model and some pairs.

    Attributes:
        layers, heads, experts: the indexes on these axes (heads, experts empty where there is no such axis).
        groups: per pair, the position groups; one group of all positions where there is no position axis.
        names: labels of the position axis; ints where positions are numbered.
        window: layers patched together, centred on the cell's layer.
        places: where groups are those of one prompt, and other positions are copied; None: of both.
        source_layers: for each layer of the axis the one that is copied; None: the same.
        features: of a dictionary, where they are an axis.
    """

    site: str
    over: tuple[str, ...]
    layers: list[int]
    heads: list[int]
    groups: list[list[tuple[int, ...]]]
    names: list[str] | list[int] | None
    window: int
    n_layers: int
    experts: list[int] = field(default_factory=list)
    places: Places | None = None
    source_layers: list[int] | None = None
    features: list[int] = field(default_factory=list)

    @classmethod
    def make(
        cls,
        decoder: Model,
        encoded: Sequence[EncodedPair],
        site: str,
        over: Sequence[str],
        layers=None,
        heads=None,
        positions=None,
        window: int = 1,
        experts=None,
        places: Places | None = None,
    ) -> "Grid":
        """The cells of `site` over the named axes, for all layers, heads and positions where none are named."""
        over = (over,) if isinstance(over, str) else tuple(over)
        if site not in SITES:
            raise SiteError(f"site={site!r} is not known; expected one of {', '.join(SITES)}.")
        if over not in AXES:
            raise PatchError(f"over={over!r} is not a grid; expected one of {', '.join(map(str, AXES))}.")
        if "head" in over and site not in HEADED:
            raise PatchError(
                f"over={over!r} has a head axis but site={site!r} has none; use site='z' (or"
                f" {', '.join(s for s in HEADED if s != 'z')})."
            )
        if "expert" in over and site not in EXPERTS:
            raise PatchError(
                f"over={over!r} has an expert axis but site={site!r} has none; use"
                f" site={' or '.join(map(repr, EXPERTS))}."
            )
        for axis_, given in (("head", heads), ("expert", experts)):
            if given is not None and axis_ not in over:
                raise PatchError(f"{axis_}s={given!r} is given but over={over!r} has no {axis_} axis; add it to over.")
        if not isinstance(window, int) or window < 1:
            raise PatchError(f"window={window!r} is not a number of layers; expected an integer of 1 or more.")
        axis = indices(layers, decoder.n_layers, "layer") if site != "embed" else [0]
        if layers is None and (site in EXPERTS or site in HEADED):
            # some layers of a mixture may be dense, and some of a hybrid without attention heads
            axis = [layer for layer in axis if decoder.has(site, layer)] or axis
        if site == "embed":
            indices(layers, 1, "layer")
        n_heads = decoder.heads(site) if site in HEADED else 0
        chosen = indices(heads, n_heads, "head") if "head" in over else []
        spans = sorted({l for at in axis for l in around(at, window, decoder.n_layers)})
        if site != "embed":
            for layer in spans:
                decoder.require(site, layer)
        mixed = indices(experts, decoder.experts(site, spans), "expert") if "expert" in over and spans else []
        if not axis or ("head" in over and not chosen) or ("expert" in over and not mixed):
            raise PatchError(
                f"layers={layers!r}, heads={heads!r}, experts={experts!r} select nothing; use None for all."
            )
        for name, given, found in (("layers", layers, axis), ("heads", heads, chosen), ("experts", experts, mixed)):
            if len(set(found)) != len(found):
                raise PatchError(f"{name}={given!r} names one twice; give each once.")
        groups: list[list[tuple[int, ...]]]
        names: list[str] | list[int] | None = None
        if places is None:
            resolved = [resolve_positions(e, positions) for e in encoded]
            if "position" in over:
                groups, names = [[g for _, g in found] for found in resolved], named_alike(resolved, positions)
            else:
                groups = [[tuple(sorted({p for _, g in found for p in g}))] for found in resolved]
        else:
            places = places if "position" in over else places.together()
            groups, names = places.groups, places.names
        return cls(site, over, axis, chosen, groups, names, window, decoder.n_layers, mixed, places)

    @property
    def patched_layers(self) -> list[int]:
        """Every layer that some cell patches: those of the axis and, under a window, their neighbours."""
        return sorted({l for layer in self.layers for l in around(layer, self.window, self.n_layers)})

    @property
    def shape(self) -> tuple[int, ...]:
        """Cells along each axis of `over`; the longest prompt's positions count."""
        size = {
            "layer": len(self.layers),
            "head": len(self.heads),
            "expert": len(self.experts),
            "position": max(map(len, self.groups)),
            "feature": len(self.features),
        }
        return tuple(size[a] for a in self.over)

    def cells(
        self, prompt: int, source: Source | None, edit: Callable[[Site, tuple[int, ...]], Edit] | None = None
    ) -> Iterator[Cell]:
        """Every cell of one pair.

        Args: source: the run that is copied from. edit: makes a site's edit, given the positions taken for its own;
            None: the source is copied.
        """

        def copy(site: Site, taken: tuple[int, ...], layer: int | None) -> Edit:
            if edit is not None:
                return edit(site, taken)
            other = None if taken == site.position else taken
            return Edit(site, "replace", source, source_position=other, source_layer=layer)

        for i, layer in enumerate(self.layers):
            span = around(layer, self.window, self.n_layers)
            from_layer = None if self.source_layers is None else self.source_layers[i]
            for h in range(max(1, len(self.heads), len(self.experts))):
                for g, group in enumerate(self.groups[prompt]):
                    if not group and self.places is not None:
                        continue  # of what another pair has
                    index = tuple({"layer": i, "head": h, "expert": h, "position": g}[a] for a in self.over)
                    sites = [
                        Site(
                            self.site,
                            None if self.site == "embed" else l,
                            head=self.heads[h] if self.heads else None,
                            position=group,
                            expert=self.experts[h] if self.experts else None,
                        )
                        for l in span
                    ]
                    taken = group if self.places is None or self.places.taken is None else self.places.taken[prompt][g]
                    edits = (copy(s, taken, from_layer) for s in sites[: 1 if self.site == "embed" else None])
                    yield Cell(index, i, tuple(edits))

    @property
    def width(self) -> int:
        """Edited runs of one layer and prompt, at most."""
        return int(np.prod(self.shape[1:]))

    def _groups_of(self, prompt: str) -> list[list[tuple[int, ...]]]:
        """The positions of one prompt of each pair; empty groups where it takes no part."""
        if self.places is None or prompt == self.places.edited:
            return self.groups
        if self.places.taken is None or prompt != self.places.of:
            return [[() for _ in of_pair] for of_pair in self.groups]
        return self.places.taken

    def dataset(self, encoded: Sequence[EncodedPair], values: dict[str, np.ndarray], single: bool) -> xr.Dataset:
        """Labels values ``[prompt, *grid]`` and ``[prompt]``; a single pair has no prompt axis."""
        dims = ("prompt", *self.over)
        coords: dict[str, Any] = {"layer": ("layer", self.layers), "prompt": ("prompt", np.arange(len(encoded)))}
        if "feature" in self.over:
            coords |= {"layer": self.layers[0], "feature": ("feature", self.features)}
        if "head" in self.over:
            coords["head"] = ("head", self.heads)
        if "expert" in self.over:
            coords["expert"] = ("expert", self.experts)
        if "position" in self.over:
            n = self.shape[self.over.index("position")]
            numbered = [
                [g[0] if len(g) == 1 else -1 for g in of_pair] + [-1] * (n - len(of_pair)) for of_pair in self.groups
            ]
            # positions that differ between pairs (counted from the end, say) are numbered by their place on the axis
            same = all(row == numbered[0] and -1 not in row for row in numbered)
            named = self.names is not None and isinstance(self.names[0], str)
            axis = self.names if self.names is not None else numbered[0] if same else np.arange(n)
            coords["position"] = ("position", np.array(axis, dtype=object).astype(str) if named else axis)
            for which in ("clean", "corrupted"):
                groups = self._groups_of(which)
                shown = [
                    ["".join(getattr(e, f"{which}_tokens")[p] for p in g) for g in of_pair] + [""] * (n - len(of_pair))
                    for e, of_pair in zip(encoded, groups)
                ]
                coords[f"token_{which}"] = (("prompt", "position"), np.array(shown, dtype=str))
            for which in () if self.places is None else (self.places.edited, self.places.of):
                if which:
                    where = [["+".join(map(str, g)) for g in of_pair] for of_pair in self._groups_of(which)]
                    where = [row + [""] * (n - len(row)) for row in where]
                    coords[f"position_{which}"] = (("prompt", "position"), np.array(where, dtype=str))
        coords["label"] = ("prompt", np.array([e.pair.label for e in encoded], dtype=str))
        ds = xr.Dataset({k: (dims if v.ndim > 1 else ("prompt",), v) for k, v in values.items()}, coords)
        return ds.isel(prompt=0, drop=True) if single else ds
