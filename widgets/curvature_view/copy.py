"""A band of a spectrum as the browser wants it, and as Python and HTML for people without a kernel."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lens.curvature.eigen import By
from widgets.base import passages
from widgets.base.sets import FOUND
from widgets.base.text import finite
from widgets.curvature_view.work import BASES, ENDS, Band, Removal, band_number, ends_of, literal

LEFT = 'style="text-align:left"'
MOST_CHANGED = 6


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
        data["texts"] = passages.buffered(
            passages.texts_of(model, run.points["unedited"], points, run.sides.sets, run.sides.probes, order)
        )
        data["change"] = [finite(change[i]) for i in order]
    return data


def program(
    band: Band, by: By, level: float, given: Mapping[str, str], from_factors: bool, source: str | None = None
) -> str:
    """Python that makes the band's numbers again, and takes it out; `source`: where its data come from."""
    what = "factors" if from_factors else "decomposition"
    ends, number = ends_of(band.low, band.high), band_number(band.low)
    part = "decomposition" if band.everywhere else f"decomposition.select([{literal(band.layer)!r}])"
    lines = [
        "import numpy as np",
        "import torch",
        "from lens import curvature, memorization",
        "from lens.curvature.edit import made, rebuilt",
        "",
        source or f"# model, {what}, memorised and clean: what the view was given",
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
            name: [passages.percent(point.table[FOUND][m]) for m in ("strict", "loose")]
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
            texts = passages.texts_of(
                model,
                run.points["unedited"],
                [run.points["removed"]],
                run.sides.sets,
                run.sides.probes,
                run.changed()[:3],
            )
            parts.append(passages.text_blocks(texts, f"without {run.band.text()}", 3))
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
