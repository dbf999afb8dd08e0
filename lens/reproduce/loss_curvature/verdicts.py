"""The claims about loss curvature against what was measured on the organisms: who uses which directions, and what an
edit removes beside its controls. What is left after it is judged in `remains`.

Numbers of the paper are those read in its text (OLMo-2 of 1 and 7 billion parameters, edited in three layers): another
scale, compared in kind only. Rules of the verdicts were written before the first full run (`loss_curvature`); each
stands in its row. The training run is the unit: intervals are Student's t over runs, and of one run nothing is judged.
Where a row compares with several things, all must be shown for "holds" (no correction is needed), and "holds in part"
counts those that Holm's correction over the row's comparisons leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..claims import Rows
from ..common import EVERY, several, table_of, verdict
from . import remains
from .claims import CLAIMS
from .decay import sharper
from .pooling import Parts, inside, pooled
from .words import NOT_MEASURED, ONE_RUN, above, below, by_runs, each_below, line, number_of, text, units

#: claim -> the controls that K-FAC is to beat
CONTROLS = {
    "directions": ("random bases", "random bases, equal count"),
    "both_sides": ("inputs alone", "gradients alone"),
    "bottom": ("keep bottom", "magnitude"),
}
#: claim that expects no direction -> the method that is compared with K-FAC
CHOICES = {"labels": "K-FAC, text's labels", "ekfac": "EKFAC", "natural_mix": "K-FAC, natural mix"}


def verdicts(
    parts: Parts, tables: dict[str, pd.DataFrame], seed: int, decay: pd.DataFrame | None = None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table *claim | paper | here | n | multiplicity | verdict* and its numbers; `decay`: the table of
    `decay`, where it was made.
    """
    rows = Rows(CLAIMS)
    numbers: dict[str, Any] = {
        "seeds": list(parts),
        "layers": {
            s: {str(m): str(c) for m, c in zip(p["choice"].search.values, p["choice"].chosen.values)}
            for s, p in parts.items()
        },
        "recited": {
            s: {str(k): int((p["matched"].set.values == k).sum()) for k in ("val", "verse")} for s, p in parts.items()
        },
    }
    for judge in (_spectrum, _removal, _controls, _learned, _choices, *remains.JUDGES):
        judge(rows, numbers, parts, tables, seed)
    _decay(rows, numbers, decay)
    return table_of(rows), numbers


def _decay(rows: Rows, numbers: dict, decay: pd.DataFrame | None) -> None:
    if decay is None:
        here = "a study of its own: python -m lens.reproduce.loss_curvature.decay"
        return rows.add("decay", here, "0", NOT_MEASURED, effects="decay")
    found, by = sharper(decay), decay.groupby("decay")
    numbers["decay"] = {
        "log_ratio": found.estimate,
        "low": found.low,
        "high": found.high,
        "ordering": {str(d): list(map(float, of.ordering)) for d, of in by},
    }
    listed = "; ".join(
        f"decay {d:g}: {of.ordering.mean():.2f} (random bases {of.random.mean():.2f}), {of.recited.mean():.1f} of"
        f" {of.planted.mean():.0f} recited"
        for d, of in by
    )
    rows.add(
        "decay",
        "other models than above, of 80 thousand parameters: low band over high band, memorised over clean, mean"
        f" of seeds: {listed}; log ratio of strongest over none {found.estimate:+.2f} [{found.low:+.2f},"
        f" {found.high:+.2f}] (Student's t over seeds)",
        f"{several(found.n, 'seed')} x {by.ngroups} decays",
        verdict(found.low > 0, found.high < 0, "it blunts it" if found.high < 0 else "")
        + " (rule: interval of the log ratio above 0)",
        effects="decay",
    )


def difference(
    parts: Parts, a: str, b: str, where: str, seed: int, *, measure: str = "strict", kind: str | None = None
) -> dict[str, Any]:
    """Recitation under the matched edit `a` minus that under `b`, the same sequences, over runs."""
    found = []
    for p in parts.values():
        values = p["matched"][measure].sel(edit=[a, b]).values[:, inside(p["matched"], where, kind)].astype(float)
        found.append(values[0] - values[1])
    return pooled(found, of="difference", seed=seed)


def _differences(
    numbers: dict, parts: Parts, a: str, b: str, seed: int, name: str, sets: Sequence[str] = ("val", "verse")
) -> dict[str, dict[str, Any]]:
    """The difference on each set, put among the numbers as `name`_<set>."""
    found = {where: difference(parts, a, b, where, seed) for where in sets}
    numbers |= {f"{name}_{where}": d for where, d in found.items()}
    return found


def _has(parts: Parts, *names: str) -> bool:
    return set(map(str, next(iter(parts.values()))["matched"].edit.values)).issuperset(names)


def _spectrum(rows: Rows, numbers: dict, parts: Parts, tables: dict, seed: int) -> None:
    frame = tables["activation"]
    bands = list(dict.fromkeys(frame.band))
    top, bottom = (line(frame, basis="kfac", side="input", band=bands[i]) for i in (0, -2))
    numbers |= {"activation_top": number_of(top), "activation_bottom": number_of(bottom)}
    rows.add(
        "spectrum",
        f"top tenth {text(top)}, bottom half {text(bottom)}, mean over 12 layers",
        units(bottom),
        by_runs((top, bottom), top["high"] < 1 < bottom["low"], top["low"] > 1 or bottom["high"] < 1),
        EVERY,
        effects=("activation_bottom", "activation_top"),
    )
    order = {b: line(frame, basis=b, side="input", band="last over first") for b in ("kfac", "svd", "random")}
    values = [p["activation"].relative_memorised.sel(side="input") for p in parts.values()]
    ordering = [v.isel(band=-1) / v.isel(band=0) for v in values]
    gaps = {
        b: pooled([(v.sel(basis="kfac") - v.sel(basis=b)).values for v in ordering], seed=seed)
        for b in ("svd", "random")
    }
    numbers |= {f"ordering_over_{other}": number_of(gap) for other, gap in gaps.items()}
    titles = {"kfac": "eigenvectors", "svd": "singular", "random": "random"}
    rows.add(
        "singular",
        f"bottom over top, memorised over clean: {', '.join(f'{n} {text(order[b])}' for b, n in titles.items())};"
        f" eigenvectors minus singular {text(gaps['svd'], sign=True)}, minus random {text(gaps['random'], sign=True)}",
        units(gaps["svd"]),
        above(*gaps.values()),
        EVERY,
        effects=("ordering_over_svd", "ordering_over_random"),
    )


def _removal(rows: Rows, numbers: dict, parts: Parts, tables: dict, seed: int) -> None:
    def own(where, measure="strict"):
        return line(tables["matched"], method="K-FAC", set=where, measure=measure)

    val = {m: own("val", m) for m in ("strict", "loose", "lev")}
    strict, verse = val["strict"], own("verse")
    numbers |= {f"kfac_{m}": found for m, found in val.items()} | {"kfac_verse": verse}
    cost = (
        f"clean loss {strict['rise']:+.3f} [{strict['rise_low']:+.3f}, {strict['rise_high']:+.3f}] nats on the"
        f" reporting half, perplexity x {np.exp(strict['rise']):.3f}"
    )

    def left(key, effect, found, here):
        high, least = found["high"], CLAIMS[key].null
        word = by_runs([found], high <= least, found["low"] > 0.5, part=high < 0.5)
        rows.add(key, here, units(found), word, effects=effect)

    said = f"val: strict 1 to {text(strict)}, loose {text(val['loose'])}, AvgLev {text(val['lev'])}; {cost}"
    left("removal", "kfac_strict", strict, said)
    left("verse", "kfac_verse", verse, f"verse (8 tokens to recite): strict 1 to {text(verse)}")
    kinds = {k: own(k) for k in ("code", "plausible")}
    loose = {k: own(k, "loose") for k in kinds}
    numbers |= {f"kfac_{k}": found for k, found in kinds.items()}
    numbers |= {f"kfac_loose_{k}": found for k, found in loose.items()}

    def mean_of(ds, kind):
        return float(ds.loose.sel(edit="K-FAC").values[inside(ds, "val", kind)].astype(float).mean())

    of = [p["matched"] for p in parts.values()]
    apart = pooled([np.array([mean_of(ds, "code") - mean_of(ds, "plausible")]) for ds in of], seed=seed)
    numbers["kfac_loose_code_minus_plausible"] = number_of(apart)
    rows.add(
        "plausible",
        f"loose: code {text(loose['code'])}, plausible {text(loose['plausible'])}; code minus plausible"
        f" {text(apart, sign=True)}; strict: code {text(kinds['code'])}, plausible {text(kinds['plausible'])}",
        f"{kinds['code']['n']} codes, {kinds['plausible']['n']} plausible, {several(len(parts), 'seed')}",
        below(apart),
        effects="kfac_loose_code_minus_plausible",
    )


def _against(
    rows: Rows,
    numbers: dict,
    parts: Parts,
    others: Sequence[str],
    key: str,
    seed: int,
    cheaper: pd.DataFrame | None = None,
) -> None:
    """K-FAC below each of others in strict recitation of val at the matched loss; `cheaper`: what curves say."""
    there = [o for o in others if _has(parts, o)]
    found = {o: _differences(numbers, parts, "K-FAC", o, seed, f"kfac_minus_{o}", ["val"])["val"] for o in there}
    if not found:
        return
    alone, some = each_below(list(found.values()))
    rows.add(
        key,
        "; ".join(f"{o}: {text(d, sign=True)}" for o, d in found.items())
        + ("" if cheaper is None else _cheaper(cheaper, ("K-FAC", *found), "val")),
        units(next(iter(found.values()))),
        by_runs(
            list(found.values()),
            all(alone),
            any(d["low"] > 0 for d in found.values()),
            f"{sum(some)} of {len(some)} shown" if any(some) else "",
            part=any(some),
        ),
        EVERY,
        effects=tuple(f"kfac_minus_{o}_val" for o in found),
    )


def _controls(rows: Rows, numbers: dict, parts: Parts, tables: dict, seed: int) -> None:
    for key, others in CONTROLS.items():
        _against(rows, numbers, parts, others, key, seed, None if key == "bottom" else tables["read"])
    if not _has(parts, "SVD"):
        return
    near = _differences(numbers, parts, "K-FAC", "SVD", seed, "kfac_minus_svd")
    val, verse = near["val"], near["verse"]
    more = "K-FAC removes more" if val["high"] < 0 else "SVD removes more" if val["low"] > 0 else ""
    rows.add(
        "svd_close",
        f"K-FAC minus SVD on val {text(val, sign=True)}",
        units(val),
        by_runs([val], CLAIMS["svd_close"].within(val["low"], val["high"]), bool(more), more).replace(
            "the interval holds 0", "the interval is wider than .10"
        ),
        effects="kfac_minus_svd_val",
    )
    here = f"K-FAC minus SVD on verse {text(verse, sign=True)}"
    rows.add("svd_verse", here, units(verse), below(verse), effects="kfac_minus_svd_verse")


def _learned(rows: Rows, numbers: dict, parts: Parts, tables: dict, seed: int) -> None:
    if not _has(parts, "BalancedSubnet"):
        return
    own = {w: line(tables["matched"], method="BalancedSubnet", set=w, measure="strict") for w in ("val", "verse")}
    numbers |= {f"bsn_{w}": found for w, found in own.items()}
    gap = _differences(numbers, parts, "BalancedSubnet", "K-FAC", seed, "bsn_minus_kfac")
    as_well = CLAIMS["balanced_subnet"].within(gap["val"]["low"], gap["val"]["high"])
    rows.add(
        "balanced_subnet",
        f"BSN {', '.join(f'{w} {text(found)}' for w, found in own.items())}; minus K-FAC: "
        + ", ".join(f"{w} {text(d, sign=True)}" for w, d in gap.items())
        + _cheaper(tables["read"], ("BalancedSubnet", "K-FAC"), "verse"),
        units(gap["verse"]),
        by_runs(list(gap.values()), as_well and gap["verse"]["low"] > 0, gap["verse"]["high"] < 0),
        EVERY,
        effects=("bsn_minus_kfac_val", "bsn_minus_kfac_verse"),
    )


def _cheaper(read: pd.DataFrame, methods: Sequence[str], where: str) -> str:
    """What is left at the least of the rises that curves are read at: beside a verdict, no part of it."""
    rise = read.rise.min()
    lines = (text(line(read, method=m, set=where, rise=rise), value="strict", runs="runs") for m in methods)
    listed = ", ".join(f"{m} {said}" for m, said in zip(methods, lines))
    return f"; read off the curves at +{rise:g} on {where}: {listed}"


def _choices(rows: Rows, numbers: dict, parts: Parts, tables: dict, seed: int) -> None:
    for key, name in CHOICES.items():
        if _has(parts, name):
            found = _differences(numbers, parts, name, "K-FAC", seed, f"{name}_minus_kfac")
            rows.add(
                key,
                "; ".join(f"{w} {text(d, sign=True)}" for w, d in found.items()),
                units(found["val"]),
                "; ".join(f"{w}: {_either(d)}" for w, d in found.items()),
                effects=(f"{name}_minus_kfac_val", f"{name}_minus_kfac_verse"),
            )


def _either(found: dict[str, Any]) -> str:
    """The word of a difference of which no direction was expected."""
    if len(found["seeds"]) < 2:
        return ONE_RUN
    return "removes more" if found["high"] < 0 else "removes less" if found["low"] > 0 else "no difference shown"
