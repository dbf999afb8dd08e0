"""A band of a curvature spectrum: what it carries, the edit that takes it out, and what `lens.curvature` says of it,
for a view and for people without a kernel.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Mapping, Sequence
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
from widgets import _subspace_copies
from widgets._subspace import Point, measured
from widgets._subspace_sets import FOUND, Sides, stacked
from widgets._view import finite
from widgets.errors import ViewError

LEFT = 'style="text-align:left"'
#: Places at which a band can begin and end, as shares of all pairs of eigenvectors in descending order of mass.
ENDS = (0.001, 0.002, 0.005, *(round(i / 100, 2) for i in range(1, 101)))
#: The bands of the paper.
PRESETS = (("top 10 %", 0.0, 0.1), ("10–25 %", 0.1, 0.25), ("25–50 %", 0.25, 0.5), ("bottom 50 %", 0.5, 1.0))
BASES = {"kfac": "curvature", "random": "random bases", "svd": "singular vectors"}
LAYERS_AT_ONCE = 6  # of which a pass keeps the bands' matrices
MOST_CHANGED = 6


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
            made_: Edit | None = None
            if name == "removed":
                made_ = edit = without_band(part, band.low, band.high, by)
                norm = float(np.sqrt(sum(float(layer.weight.double().square().sum()) for layer in part.values())))
                run.removed = edit.removed / norm
            elif edit is not None:
                made_ = curvature.control(part, "random", edit, match="norm", seed=band.seed)
            run.points[name], after = measured(model, made_, run.sides, run.base, level, band.seed)
            run.base = after if run.base is None else run.base
            on_point()
    except Stopped:
        return


def removal_payload(run: Removal, model: Any, what: str) -> dict[str, Any]:
    """The `taken` trait: the table as JSON, the most changed texts with a buffer."""
    data: dict[str, Any] = {
        "fields": {
            "layer": run.band.layer,
            "everywhere": run.band.everywhere,
            "low": run.band.low,
            "high": run.band.high,
            "seed": run.band.seed,
        },
        "what": what,
        "tables": {name: point.table[FOUND] for name, point in run.points.items()},
        "removed": finite(run.removed),
        "hashes": list(run.hashes),
    }
    if "removed" in run.points:
        points = [run.points["removed"]]
        order = run.changed()[:MOST_CHANGED]
        change = run.points["removed"].line.nll.values - run.points["unedited"].line.nll.values
        data["texts"] = _subspace_copies.buffered(
            _subspace_copies.texts_of(model, run.points["unedited"], points, run.sides.sets, run.sides.probes, order)
        )
        data["change"] = [finite(change[i]) for i in order]
    return data


# --- Python, and a stored notebook


def program(band: Band, by: By, level: float, given: Mapping[str, str], from_factors: bool) -> str:
    """Python that makes the band's numbers again, and takes it out."""
    ends, number = ends_of(band.low, band.high), band_number(band.low)
    part = "decomposition" if band.everywhere else f"decomposition.select([{literal(band.layer)!r}])"
    lines = [
        "import numpy as np",
        "import torch",
        "from lens import curvature, memorization",
        "from lens.curvature.edit import made, rebuilt",
        "",
        f"# model, {'factors' if from_factors else 'decomposition'}, memorised and clean: what the view was given",
    ]
    if from_factors:
        lines += ["decomposition = curvature.decompose(model, factors)"]
    lines += [
        f"part = {part}",
        f"sequences = {given['memorised']}",
        f"rows = {given['clean']}",
        "batches = [np.stack([row for row in rows if len(row) == n]) for n in dict.fromkeys(map(len, rows))]",
        f"spectrum = curvature.spectrum(part, by={by!r}, bands={ends!r}).isel(band={number})",
        "print(spectrum[['band_mass', 'coefficient_energy']].to_dataframe())",
        (
            f"ratio = curvature.activation_ratio(model, part, sequences.ids, batches, by={by!r}, bands={ends!r},"
            f" bases={tuple(BASES)!r}, seed={band.seed}, level={level!r}).isel(band={number})"
        ),
        "print(ratio[['ratio', 'low', 'high']].to_dataframe())",
        "",
        "def without(layer):  # the pairs of the band go, all others stay",
        f"    order = layer.mass({by!r}).flatten().argsort(descending=True, stable=True)",
        "    stay = torch.ones(len(order), dtype=torch.bool)",
        f"    stay[order[round({band.low!r} * len(order)):round({band.high!r} * len(order))]] = False",
        (
            "    return rebuilt(layer.weight, layer.u_g, layer.coefficients, layer.u_a, stay.reshape(layer.shape)),"
            " int(stay.sum())"
        ),
        "",
        "cut = {name: without(layer) for name, layer in part.items()}",
        (
            "edit = made(part, 'without the band', {n: w for n, (w, _) in cut.items()}, {n: k for n, (_, k) in"
            f" cut.items()}}, dict.fromkeys(cut, float('nan')), {by!r}, {{}})"
        ),
        f"control = curvature.control(part, 'random', edit, match='norm', seed={band.seed})",
        (
            "curve = memorization.tradeoff(model, {'without the band': edit, 'random bases': control}, sequences, rows,"
            " copying=0, heads=False)"
        ),
        f"print(memorization.tradeoff_summary(curve, level={level!r}, seed={band.seed}).to_dataframe())",
    ]
    return "\n".join(lines) + "\n"


def static(
    spectra: Mapping[str, Mapping[str, Any]],
    band: Band,
    carries: Mapping[str, Any],
    run: Removal | None,
    model: Any,
    what: str,
    empty: str,
) -> str:
    """The spectrum as an image with the band marked, what the band carries and what its removal did, as plain HTML."""
    if not spectra:
        return f"<p><em>{html.escape(empty)}</em></p>"
    e = html.escape
    picture = base64.b64encode(figure_png(spectra, band)).decode()
    parts = [
        f"<p>{e(what)}; band {e(band.text())} of the pairs of eigenvectors, in descending order of curvature mass.</p>",
        (
            f'<img alt="Curvature mass by rank, one line a layer; {e(band.layer)} drawn strong, the band'
            f' {e(band.text())} shaded" src="data:image/png;base64,{picture}" style="max-width:100%">'
        ),
    ]
    if carries.get("rows"):
        body = "".join(
            f"<tr><td {LEFT}>{e(row['layer'])}</td><td>{100 * row['mass']:.3g} %</td><td>{100 * row['energy']:.3g}"
            " %</td>"
            + "".join(f"<td>{e(_ratio(row[k]))}</td>" for k in ("kfac_output", "random_output", "kfac_input"))
            + "</tr>"
            for row in carries["rows"]
        )
        head = "".join(
            f"<th {LEFT}>{t}</th>"
            for t in (
                "layer",
                "curvature mass",
                "squared weight",
                "memorised / clean, output",
                "same in random bases",
                "memorised / clean, input",
            )
        )
        parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
    if run is not None and run.points:
        names = {
            "unedited": "unedited",
            "removed": f"without {run.band.text()}",
            "control": "random bases, equal norm removed",
        }
        shares = {
            name: [_subspace_copies.percent(point.table[FOUND][m]) for m in ("strict", "loose")]
            for name, point in run.points.items()
        }
        body = "".join(
            f"<tr><td {LEFT}>{e(names[n])}</td><td>{strict}</td><td>{loose}</td>"
            f"<td>{run.points[n].table[FOUND]['loss']:.4g}</td></tr>"
            for n, (strict, loose) in shares.items()
        )
        parts.append(
            f"<table><thead><tr><th {LEFT}>model</th><th>recited (strict)</th><th>recited (loose)</th><th>clean loss,"
            f" nats/token</th></tr></thead><tbody>{body}</tbody></table>"
        )
        if "removed" in run.points:
            texts = _subspace_copies.texts_of(
                model,
                run.points["unedited"],
                [run.points["removed"]],
                run.sides.sets,
                run.sides.probes,
                run.changed()[:3],
            )
            parts.append(_subspace_copies.text_blocks(texts, f"without {run.band.text()}", 3))
    return "".join(parts)


def _ratio(value: Sequence[float | None]) -> str:
    ratio, low, high = value
    return (
        "no value"
        if ratio is None
        else f"{ratio:.3g}" + ("" if low is None or high is None else f" [{low:.3g}, {high:.3g}]")
    )


def figure_png(spectra: Mapping[str, Mapping[str, Any]], band: Band) -> bytes:
    from matplotlib.figure import Figure

    from lens.figures.style import MUTED, SERIES, as_written, picture

    fig = Figure(figsize=(7.2, 3.2), layout="constrained", dpi=110)
    ax = fig.subplots()
    middle = 100 * (np.array(ENDS) + np.array([0, *ENDS[:-1]])) / 2
    for name, line in spectra.items():
        strong = band.everywhere or name == band.layer
        with np.errstate(divide="ignore"):
            look: dict[str, Any] = {
                "color": SERIES[0] if strong else MUTED,
                "linewidth": 1.8 if strong and not band.everywhere else 0.7,
                "alpha": 1 if strong else 0.5,
            }
            ax.plot(middle, np.where(line["density"] > 0, line["density"], np.nan), **look)
    ax.axvspan(100 * band.low, 100 * band.high, color=SERIES[1], alpha=0.18, linewidth=0)
    ax.set(
        yscale="log", xlabel="rank of the pair, % of all pairs", ylabel="mass of a pair,\nlayer mean = 1", xlim=(0, 100)
    )
    ax.spines[["top", "right"]].set_visible(False)
    as_written(fig)
    return picture(fig)


def order_of(model: Any, decomposition: Decomposition) -> list[dict[str, Any]]:
    """The layers with their block and matrix, for the list that a person chooses from."""
    found = linears(model, [literal(name) for name in decomposition])
    return [{"name": name, "block": found[name].layer, "matrix": name.rsplit(".", 1)[-1]} for name in decomposition]
