"""A band of a curvature spectrum: what it carries, and the edit that takes it out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import xarray as xr

from lens import curvature
from lens.curvature import Decomposition, Edit
from lens.curvature.edit import made, rebuilt
from lens.curvature.eigen import By
from lens.engine.linear import linears
from lens.engine.stopping import Stopped
from widgets.base.points import Point, measured
from widgets.base.sets import Sides, stacked
from widgets.base.text import finite
from widgets.errors import ViewError

#: Places at which a band can begin and end, as shares of all pairs of eigenvectors in descending order of mass.
ENDS = (0.001, 0.002, 0.005, *(round(i / 100, 2) for i in range(1, 101)))
#: The bands of the paper.
PRESETS = (("top 10 %", 0.0, 0.1), ("10–25 %", 0.1, 0.25), ("25–50 %", 0.25, 0.5), ("bottom 50 %", 0.5, 1.0))
BASES = {"kfac": "curvature", "random": "random bases", "svd": "singular vectors"}
LAYERS_AT_ONCE = 6  # of which a pass keeps the bands' matrices


def snapped(share: float) -> float:
    """The nearest place at which a band can begin or end."""
    return min((0.0, *ENDS), key=lambda end: abs(end - share))


def ends_of(low: float, high: float) -> tuple[float, ...]:
    """The upper ends that make [low, high] one of the bands; its number is `band_number(low)`."""
    return tuple(end for end in (low, high, 1.0) if end > 0)[: 3 if high < 1 else 2 if low > 0 else 1]


def band_number(low: float) -> int:
    return int(low > 0)


def without_band(decomposition: Decomposition, low: float, high: float, by: By = "kfac") -> Edit:
    """The edit that takes out the pairs of rank low to high (shares, in descending order of mass, as in
    `lens.curvature.spectrum`) and leaves all others as they are.

    Raises ViewError for a band that holds no pair of a layer.
    """
    new, counts, mass = {}, {}, {}
    for name, layer in decomposition.items():
        whole = layer.mass(by)
        order = whole.flatten().argsort(descending=True, stable=True)
        start, end = (round(share * len(order)) for share in (low, high))
        if end <= start:
            raise ViewError(
                f"band: {low:g} to {high:g} holds none of the {len(order)} pairs of {name}; choose a wider one"
            )
        stay = torch.ones(len(order), dtype=torch.bool, device=order.device)
        stay[order[start:end]] = False
        stay = stay.reshape(whole.shape)
        new[name], counts[name] = rebuilt(layer.weight, layer.u_g, layer.coefficients, layer.u_a, stay), int(stay.sum())
        mass[name] = float((whole * stay).sum() / whole.sum())
    return made(
        decomposition,
        f"without {low:g}-{high:g} by {by}",
        new,
        counts,
        mass,
        by,
        {"edit": f"band taken out by {by}", "low": low, "high": high},
    )


@dataclass(frozen=True)
class Band:
    """What the fields ask for: a band of one layer, or of all of them."""

    layer: str
    everywhere: bool
    low: float
    high: float
    seed: int

    def of(self, decomposition: Decomposition) -> Decomposition:
        return decomposition if self.everywhere else decomposition.select([literal(self.layer)])

    def where(self, count: int) -> str:
        return f"all {count} layers" if self.everywhere else self.layer

    def text(self) -> str:
        return f"{100 * self.low:g}–{100 * self.high:g} %"

    def key(self) -> tuple:
        return ("" if self.everywhere else self.layer, self.low, self.high, self.seed)


def literal(name: str) -> str:
    """A layer's name as a pattern that matches it alone."""
    return "".join(f"[{c}]" if c in "[]*?" else c for c in name)


def lines_of(decomposition: Decomposition, by: By) -> dict[str, dict[str, Any]]:
    """Of one layer or several: the mean mass of a pair in each bin of `ENDS` in units of the layer's mean pair, and
    what each bin carries of mass and squared weight.
    """
    ds = curvature.spectrum(decomposition, by=by, bands=ENDS, shares=(0.5, 0.9))
    out = {}
    for i, name in enumerate(decomposition):
        at = ds.isel(layer=i)
        pairs = int(at.d_in) * int(at.d_out)
        width = np.diff([0, *(round(end * pairs) for end in ENDS)]) / pairs
        with np.errstate(invalid="ignore", divide="ignore"):
            density = np.where(width > 0, at.band_mass.values / width, np.nan)
        facts: dict[str, Any] = {"pairs": pairs} | {
            key: int(at[key]) for key in ("d_in", "d_out", "tokens", "rank_a", "rank_g")
        }
        facts |= {
            "half": finite(at.pairs.values[0]),
            "most": finite(at.pairs.values[1]),
            "deficient": bool(decomposition[name].deficient),
        }
        out[name] = {
            "density": density,
            "mass": at.band_mass.values,
            "energy": at.coefficient_energy.values,
            "facts": facts,
        }
    return out


def carried(
    model: Any,
    decomposition: Decomposition,
    band: Band,
    memorised: np.ndarray,
    clean: Sequence[np.ndarray],
    by: By,
    level: float,
    stop: Callable[[], bool],
    on_part: Callable[[int, int], None],
) -> list[dict[str, Any]]:
    """A row a layer: activation of memorised over clean text in the band, in each basis and on both sides of the layer,
    with intervals; `on_part` is told how many layers of how many are read. Raises Stopped.
    """
    rows, part, batches = [], band.of(decomposition), stacked(clean)
    names = list(part)
    for start in range(0, len(names), LAYERS_AT_ONCE):
        on_part(start, len(names))
        some = part.select([literal(name) for name in names[start : start + LAYERS_AT_ONCE]])
        ds = curvature.activation_ratio(
            model,
            some,
            memorised,
            batches,
            by=by,
            bands=ends_of(band.low, band.high),
            bases=tuple(BASES),
            seed=band.seed,
            level=level,
            progress=False,
            stop=stop,
        )
        at = ds.isel(band=band_number(band.low))
        for i, name in enumerate(some):
            one = at.isel(layer=i)

            def value(basis, side, one=one):
                return [finite(one[v].sel(basis=basis, side=side)) for v in ("ratio", "low", "high")]

            rows.append(
                {"layer": name}
                | {f"{basis}_{side}": value(basis, side) for basis in BASES for side in ("output", "input")}
            )
    return rows


@dataclass
class Removal:
    """A band taken out, beside random bases that remove the same norm; `dataset` is the result that is saved."""

    band: Band
    sides: Sides
    points: dict[str, Point] = field(default_factory=dict)
    base: xr.Dataset | None = None
    removed: float = 0.0
    dataset: Any = None
    status: str = "running"
    seconds: float = 0.0
    hashes: tuple[str, str] = ("", "")

    def complete(self) -> bool:
        return len(self.points) == 3

    def changed(self) -> np.ndarray:
        """Sequences by how much the band's removal changed the loss of their suffix, most changed first."""
        before, after = (self.points[name].line.nll.values for name in ("unedited", "removed"))
        return np.argsort(-np.abs(after - before), kind="stable")


def take_out(
    model: Any,
    decomposition: Decomposition,
    run: Removal,
    by: By,
    level: float,
    stop: Callable[[], bool],
    on_point: Callable[[], None],
) -> None:
    """Measure the model as it is, without the band, and with as much removed in random bases; what was measured stays
    where `stop` says so.
    """
    band, part = run.band, run.band.of(decomposition)
    edit: Edit | None = None
    try:
        for name in ("unedited", "removed", "control"):
            if stop():
                return
            cut: Edit | None = None
            if name == "removed":
                cut = edit = without_band(part, band.low, band.high, by)
                norm = float(np.sqrt(sum(float(layer.weight.double().square().sum()) for layer in part.values())))
                run.removed = edit.removed / norm
            elif edit is not None:
                cut = curvature.control(part, "random", edit, match="norm", seed=band.seed)
            run.points[name], after = measured(model, cut, run.sides, run.base, level, band.seed)
            run.base = after if run.base is None else run.base
            on_point()
    except Stopped:
        return


def order_of(model: Any, decomposition: Decomposition) -> list[dict[str, Any]]:
    """The layers with their block and matrix, for the list that a person chooses from."""
    found = linears(model, [literal(name) for name in decomposition])
    return [{"name": name, "block": found[name].layer, "matrix": name.rsplit(".", 1)[-1]} for name in decomposition]
