"""The loss-curvature experiment's steps as tidy tables over training runs: the mean of the runs' values, Student's t
interval over them, and each run's value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from ... import memorization
from ...memorization.tables import over_units
from ...stats import auc, holm, proportion
from ...stats.units import nested
from ..over_models import by_seed
from .bench import RISES
from .steps import CLEAN, ITSELF, UNEDITED

Parts = Mapping[int, Mapping[str, xr.Dataset]]
SETS = ("val", "verse")
#: tasks that a model has to do before an edit can take them away: this far above chance
LEAST_ABOVE_CHANCE = 0.1
#: of every bootstrap, and of every permutation test of membership
RESAMPLES, PERMUTATIONS = 2000, 20_000
STRETCHED, WORN = ("longer", "shift", "shorter", "left"), ("noise",)


def pooled(
    values: Sequence[np.ndarray],
    over: Sequence[np.ndarray] | None = None,
    *,
    of: str = "share",
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Any]:
    """Mean over training runs of the mean of one value a unit (of the ratio of sums, with `over`): `estimate`, `low`,
    `high`, `seeds` (each run's), `n` units, and `p` of its being 0.

    The run is the unit, since sequences of one run share its weights: Student's t over runs. Of truth values and their
    differences the sequences within runs are inside as well (`lens.stats.units.nested`, the wider of both), so that
    runs that agree by accident are not taken for certain; other quantities have no bounds where runs agree entirely. Of
    a single run the interval is over its units and speaks of this model only: `seeds` has one value then. `of`: whether
    truth values are a "share", or each a "difference" of two.
    """
    parts = [np.asarray(v) for v in values]
    weights = [np.ones(len(p)) for p in parts] if over is None else [np.asarray(v, float) for v in over]
    with np.errstate(divide="ignore", invalid="ignore"):
        seeds = np.array([p.astype(float).sum() / w.sum() for p, w in zip(parts, weights)])
    if (
        over is None
        and len(parts) > 1
        and all(np.isin(p, (0, 1) if of == "share" else (-1, 0, 1)).all() for p in parts)
    ):
        found = nested(
            np.concatenate(parts).astype(float),
            np.repeat(np.arange(len(parts)), list(map(len, parts))),
            level=level,
            seed=seed,
            of=of,
        )
        low, high, p = float(found.interval.low), float(found.interval.high), float(found.p)
    else:
        low, high, p = (
            of_one(parts[0], weights[0], over is None, level, seed) if len(parts) == 1 else over_runs(seeds, level)
        )
    return {
        "estimate": float(np.mean(seeds)),
        "low": low,
        "high": high,
        "p": p,
        "seeds": [float(s) for s in seeds],
        "n": sum(map(len, parts)),
    }


def over_runs(seeds: Any, level: float = 0.95) -> tuple[float, float, float]:
    """Bounds of Student's t over runs and its two-sided p for a mean of 0; NaN for one run, and where the runs agree
    entirely.
    """
    values = np.asarray(seeds, float)
    if len(values) < 2 or not np.ptp(values) > 1e-12:
        return np.nan, np.nan, np.nan
    _, low, high = by_seed(values, level)
    return low, high, float(stats.ttest_1samp(values, 0).pvalue)


def of_one(values: np.ndarray, weights: np.ndarray, plain: bool, level: float, seed: int) -> tuple[float, float, float]:
    """Bounds over the units of one run; no p."""
    n = len(values)
    if plain and np.isin(values, (0, 1)).all() and len(set(values.tolist())) == 1:
        found = proportion(int(values.sum()), n, level)
    elif n > 1:
        top = values.astype(float)

        def ratio(index):
            return np.take(top, index).sum(1) / np.maximum(np.take(weights, index).sum(1), 1e-300)

        found = over_units(n, ratio, level=level, seed=seed, resamples=RESAMPLES)
    else:
        return np.nan, np.nan, np.nan
    return float(found.low), float(found.high), np.nan


def tables(parts: Parts, seed: int) -> dict[str, pd.DataFrame]:
    """Every table by name."""
    made = {
        "choice": choice(parts),
        "spectrum": spectrum(parts),
        "activation": activation(parts, seed),
        "matched": at_match(parts, seed),
        "curves": curves(parts, seed),
        "read": read_off(parts, seed),
        "retention": retention(parts, seed),
        "duplicates": extraction(parts, seed),
        "membership": membership(parts, seed),
        "relearning": relearning(parts, seed),
        "asked": asked(parts, seed),
    }
    return made


def choice(parts: Parts) -> pd.DataFrame:
    lines = [
        {
            "seed": s,
            "search": str(m),
            "layers": str(c),
            **{k: float(ds[k].sel(search=m, layers=c)) for k in ("removed", "rise", "strict", "loose", "lev")},
            "chosen": str(ds.chosen.sel(search=m).item()) == str(c),
        }
        for s, of in parts.items()
        for ds in [of["choice"]]
        for m in ds.search.values
        for c in ds.layers.values
    ]
    return pd.DataFrame(lines)


def spectrum(parts: Parts) -> pd.DataFrame:
    """Share of curvature mass and of the squared weight in each band, by layer; `pairs`: the least share of pairs that
    carries nine tenths of the mass.
    """
    return pd.DataFrame(
        [
            {
                "seed": s,
                "layer": str(layer),
                "band": str(band),
                "mass": float(ds.band_mass.sel(layer=layer, band=band)),
                "energy": float(ds.coefficient_energy.sel(layer=layer, band=band)),
                "pairs": float(ds.pairs.sel(layer=layer).isel(mass_share=4)),
            }
            for s, of in parts.items()
            for ds in [of["spectrum"]]
            for layer in ds.layer.values
            for band in ds.band.values
        ]
    )


def activation(parts: Parts, seed: int) -> pd.DataFrame:
    """Norm of what recited sequences put into a band over what clean ones do, mean over layers; the line "last over
    first" compares the bands.
    """
    first = next(iter(parts.values()))["activation"]
    lines = []
    for basis in map(str, first.basis.values):
        for side in map(str, first.side.values):
            of = {
                k: [p["activation"][f"relative_{k}"].sel(basis=basis, side=side) for p in parts.values()]
                for k in ("memorised", "clean")
            }
            for i, band in enumerate(map(str, first.band.values)):
                lines.append(
                    {
                        "basis": basis,
                        "side": side,
                        "band": band,
                        **pooled([v.values[:, i] for v in of["memorised"]], seed=seed),
                    }
                )
            lines.append(
                {
                    "basis": basis,
                    "side": side,
                    "band": "last over first",
                    **pooled([v.values[:, -1] / v.values[:, 0] for v in of["memorised"]], seed=seed),
                }
            )
    return pd.DataFrame(lines)


def inside(ds: xr.Dataset, where: str, kind: str | None = None) -> np.ndarray:
    """Which sequences are of a set, and of a kind."""
    return np.flatnonzero((ds.set.values == where) & ((ds.kind.values == kind) if kind else True))


def _rise(ds: xr.Dataset, at: int) -> np.ndarray:
    return (ds.nll_text.values[at] - ds.nll_text.values[0]) / ds.tokens.values.mean()


def at_match(parts: Parts, seed: int) -> pd.DataFrame:
    """Every method where it costs as much on the choosing half: recitation by set (val also by kind), the rise on the
    reporting half, nDCG@10, the strength that it took.
    """
    lines = []
    first = next(iter(parts.values()))["matched"]
    for i, method in enumerate(map(str, first.edit.values)):
        of = [p["matched"] for p in parts.values()]
        rise = pooled([_rise(ds, i) for ds in of], seed=seed)
        cost = {
            "rise": rise["estimate"],
            "rise_low": rise["low"],
            "rise_high": rise["high"],
            "rise_seeds": rise["seeds"],
            "ndcg": float(np.mean([ds.ndcg.values[i] for ds in of])),
            "ndcg_seeds": [float(ds.ndcg.values[i]) for ds in of],
            "strength_seeds": [float(ds.strength.values[i]) for ds in of],
        }
        for where, kind in (("val", None), ("verse", None), ("val", "code"), ("val", "plausible")):
            for measure in ("strict", "loose", "lev"):
                found = pooled([ds[measure].values[i, inside(ds, where, kind)] for ds in of], seed=seed)
                lines.append(
                    {"method": method, "set": where if kind is None else kind, "measure": measure, **found, **cost}
                )
    return pd.DataFrame(lines)


def curves(parts: Parts, seed: int) -> pd.DataFrame:
    """One line a point of a trade-off curve and set, of the points that every seed has; `rise` and the measures are
    means over seeds, `rise_seeds` and `seeds` (strict) each one's.

    `strength`: as it was asked for: as it is (K-FAC, what is learned anew for each), or as a multiple of the seed's
    matched strength.
    """
    lines = []
    first = next(iter(parts.values()))
    for name in (n for n in first if n.startswith("curve ")):
        method, of = name.removeprefix("curve "), [p[name] for p in parts.values()]
        unit = [
            (
                1.0
                if method in ("K-FAC", "BalancedSubnet", "gradient ascent")
                else float(p["matched"].strength.sel(edit=method))
            )
            for p in parts.values()
        ]
        places = [{round(float(v) / u, 5): i for i, v in enumerate(ds.strength.values)} for ds, u in zip(of, unit)]
        for strength in (s for s in places[0] if all(s in place for place in places)):
            at = [place[strength] for place in places]
            rises = [float(ds.clean_loss.values[i] - ds.clean_loss.values[0]) for ds, i in zip(of, at)]
            for where in SETS:

                def take(measure, of=of, at=at, where=where):
                    return [ds[measure].values[i, inside(ds, where)] for ds, i in zip(of, at)]

                lines.append(
                    {
                        "method": method,
                        "set": where,
                        "strength": strength,
                        "rise": float(np.mean(rises)),
                        "rise_seeds": rises,
                        **pooled(take("strict"), seed=seed),
                        "loose": float(np.mean([v.mean() for v in take("loose")])),
                        "lev": float(np.mean([v.mean() for v in take("lev")])),
                        "ndcg": float(np.mean([ds.ndcg.values[i] for ds, i in zip(of, at)])),
                    }
                )
    return pd.DataFrame(lines)


def read_off(parts: Parts, seed: int) -> pd.DataFrame:
    """Strict recitation of each method at several rises of the clean loss, read off its curve
    (`lens.memorization.matched`); intervals over runs where there are several.
    """
    names = [n for n in next(iter(parts.values())) if n.startswith("curve ")]
    lines = []
    for rise in RISES:
        for where in SETS:
            found = memorization.matched(
                {n.removeprefix("curve "): [p[n] for p in parts.values()] for n in names}, rise, among=where, seed=seed
            )
            lines.append(found.assign(rise=rise, set=where))
    read = pd.concat(lines, ignore_index=True)
    if len(parts) > 1:
        bounds = [over_runs(runs)[:2] for runs in read.runs]
        read = read.assign(low=[b[0] for b in bounds], high=[b[1] for b in bounds])
    return read


def retention(parts: Parts, seed: int) -> pd.DataFrame:
    """What each method leaves of every task, of closed-book facts by exposure, and of recitation: accuracy after over
    before; `able`: seeds that do it before, above chance.
    """
    lines = []
    first = next(iter(parts.values()))["retention"]
    keys: list[tuple[str, str | None]] = [(str(t), None) for t in dict.fromkeys(first.task.values)]
    keys += [("closed_book", str(b)) for b in dict.fromkeys(first.bin.values[first.task.values == "closed_book"])]
    for i, method in enumerate(map(str, first.edit.values)):
        for task, group in keys:
            before, after, able, chance = [], [], [], np.nan
            for s, p in parts.items():
                ds = p["retention"]
                at = (ds.task.values == task) & (True if group is None else ds.bin.values == group)
                chance = float(ds.chance.values[at][0])
                if ds.right_before.values[at].mean() >= chance + LEAST_ABOVE_CHANCE:
                    before.append(ds.right_before.values[at].astype(float))
                    after.append(ds.right_after.values[i, at].astype(float))
                    able.append(s)
            line = {"method": method, "task": task, "bin": group or "", "chance": chance, "able": able}
            if able:
                found = pooled(after, before, seed=seed)
                line |= {
                    "before": float(np.mean([b.mean() for b in before])),
                    "after": float(np.mean([a.mean() for a in after])),
                    "kept": found.pop("estimate"),
                    **found,
                }
            lines.append(
                line
                | (
                    {}
                    if able
                    else {
                        "before": np.nan,
                        "after": np.nan,
                        "kept": np.nan,
                        "low": np.nan,
                        "high": np.nan,
                        "seeds": [],
                        "n": 0,
                    }
                )
            )
        for where in SETS:
            at = list(map(str, next(iter(parts.values()))["matched"].edit.values)).index(method)
            found = pooled(
                [p["matched"].strict.values[at, inside(p["matched"], where)] for p in parts.values()], seed=seed
            )
            lines.append(
                {
                    "method": method,
                    "task": f"recitation, {where}",
                    "bin": "",
                    "chance": 0.0,
                    "able": list(parts),
                    "before": 1.0,
                    "after": found["estimate"],
                    "kept": found.pop("estimate"),
                    **found,
                }
            )
    return pd.DataFrame(lines)


def extraction(parts: Parts, seed: int) -> pd.DataFrame:
    """Strict extraction of all planted sequences by kind and duplicates, before and after the edits; `run_low`,
    `run_high`: exact bounds within each run.
    """
    lines = []
    first = next(iter(parts.values()))["duplicates"]
    for i, state in enumerate(map(str, first.state.values)):
        for kind in dict.fromkeys(map(str, first.kind.values)):
            for count in sorted(set(first.duplicates.values[first.kind.values == kind].tolist())):

                def at(ds, kind=kind, count=count):
                    return (ds.kind.values == kind) & (ds.duplicates.values == count)

                each = [p["duplicates"].strict.values[i, at(p["duplicates"])] for p in parts.values()]
                exact = [proportion(int(v.sum()), len(v)) for v in each]
                lines.append(
                    {
                        "state": state,
                        "kind": kind,
                        "duplicates": int(count),
                        **pooled(each, seed=seed),
                        "run_low": [e.low for e in exact],
                        "run_high": [e.high for e in exact],
                    }
                )
    return pd.DataFrame(lines)


def membership(parts: Parts, seed: int) -> pd.DataFrame:
    """AUC and TPR at 1 % FPR of sequences planted so many times against those never planted, by score; values are
    ranked within run and kind, labels permuted within them (which sequences were planted was drawn by lot); Holm over
    the table of a state.

    `auc` is the mean of the runs' (`seeds`) with Student's t over them; of one run DeLong's interval over its
    sequences.
    """
    lines = []
    first = next(iter(parts.values()))["duplicates"]
    for i, state in enumerate(map(str, first.state.values)):
        for j, name in enumerate(map(str, first.score.values)):
            for count in sorted(set(first.duplicates.values.tolist()) - {0}):
                value, member, group = [], [], []
                for s, p in parts.items():
                    ds = p["duplicates"]
                    for kind in dict.fromkeys(ds.kind.values[ds.duplicates.values == count]):
                        at = (ds.kind.values == kind) & np.isin(ds.duplicates.values, (0, count))
                        ranks = stats.rankdata(ds.value.values[i, j, at])
                        value.append(ranks / (len(ranks) + 1))
                        member.append(ds.duplicates.values[at] > 0)
                        group.append(np.full(at.sum(), f"{s} {kind}"))
                found = auc(
                    np.concatenate(value),
                    np.concatenate(member),
                    groups=np.concatenate(group),
                    resamples=PERMUTATIONS,
                    seed=seed,
                )
                rate = found.tpr_at[0.01]
                runs = [
                    _area(
                        np.concatenate(value),
                        np.concatenate(member),
                        np.array([g.startswith(f"{s} ") for g in np.concatenate(group)]),
                    )
                    for s in parts
                ]
                low, high = (found.interval.low, found.interval.high) if len(runs) == 1 else over_runs(runs)[:2]
                lines.append(
                    {
                        "state": state,
                        "score": name,
                        "duplicates": int(count),
                        "auc": float(np.mean(runs)),
                        "low": low,
                        "high": high,
                        "seeds": runs,
                        "tpr": rate.estimate,
                        "tpr_low": rate.low,
                        "tpr_high": rate.high,
                        "p": float(found.p),
                        "p_kind": found.p.kind,
                        "members": found.members,
                        "n": found.n,
                    }
                )
    made = pd.DataFrame(lines)
    return made.assign(holm=made.groupby("state", sort=False).p.transform(lambda p: holm(p.to_numpy(float))))


def _area(values: np.ndarray, member: np.ndarray, chosen: np.ndarray) -> float:
    """The area under the curve of the chosen rows."""
    ranks, inside = stats.rankdata(values[chosen]), member[chosen]
    n1 = int(inside.sum())
    return float((ranks[inside].sum() - n1 * (n1 + 1) / 2) / (n1 * (len(ranks) - n1)))


# -- is it gone
# ---------------------------------------------------------------------------------------------------------


def arms(ds: xr.Dataset) -> dict[str, str]:
    """What was trained on, as it is called over seeds (all others are not equally many in each) -> as it is called in
    this one.
    """
    names = list(map(str, ds.on.values))
    several = [n for n in names if n.endswith(" others")]
    most = max(several, key=lambda n: int(n.split()[0]), default="")
    return {("all others" if n == most else n): n for n in names}


def attacked(parts: Parts) -> list[str]:
    """Methods that were attacked, without the twin."""
    return [n.removeprefix("gone ") for n in next(iter(parts.values())) if n.startswith("gone ") and n != "gone twin"]


def relearning(parts: Parts, seed: int) -> pd.DataFrame:
    """Strict recitation of val by step of training, by method and what was trained on; the twin beside them."""
    lines = []
    for method in (*attacked(parts), "twin"):
        of = [p[f"gone {method}"] for p in parts.values()]
        for name in arms(of[0]):
            for i, step in enumerate(of[0].step.values):
                found = pooled([ds.strict.sel(on=arms(ds)[name]).values[i] for ds in of], seed=seed)
                lines.append({"method": method, "on": name, "step": int(step), **found})
    return pd.DataFrame(lines)


def asked(parts: Parts, seed: int) -> pd.DataFrame:
    """Longest exact match in tokens: with the original prefix, and the largest over all variants."""
    lines = []
    for method in (*attacked(parts), "twin"):
        of = [p[f"gone {method}"].asked_exact_prefix for p in parts.values()]
        for name, take in {
            "original prefix": lambda v: v.sel(variant="original").values,
            "most of all variants": lambda v: v.max("variant").values,
        }.items():
            lines.append({"method": method, "asked": name, **pooled([take(v) for v in of], seed=seed)})
    return pd.DataFrame(lines)


def judged(parts: Parts, method: str, seed: int) -> dict[int, memorization.Verdict]:
    """Hides or erases, by run: its attacks, each against its twin, on the sequences that the edit took away. The level
    is .05 over the runs (Bonferroni), Holm over attacks within.
    """
    out = {}
    for s, p in parts.items():
        at = list(map(str, p["matched"].edit.values)).index(method)
        after = p["matched"].strict.values[at, inside(p["matched"], "val")]
        sides = {"edited": p[f"gone {method}"], "control": p["gone twin"]}
        attacks = {}
        for name, starts in (("stretched prefixes", STRETCHED), ("worn prefixes", WORN)):
            recited = {
                side: (
                    ds.asked_strict.sel(variant=[v for v in ds.variant.values if str(v).startswith(starts)]).values.max(
                        0
                    )
                )
                for side, ds in sides.items()
            }
            attacks[name] = memorization.Attack(recited["edited"] > 0, recited["control"] > 0)
        for name in arms(sides["edited"]):
            if name != ITSELF:
                most = {side: ds.strict.sel(on=arms(ds)[name]).values.max(0) for side, ds in sides.items()}
                attacks[f"training on {name}"] = memorization.Attack(most["edited"] > 0, most["control"] > 0)
        out[s] = memorization.verdict(
            np.ones(len(after), bool), after.astype(bool), attacks, alpha=0.05 / len(parts), seed=seed
        )
    return out


def attacks_over_runs(found: Mapping[int, memorization.Verdict]) -> pd.DataFrame:
    """One line an attack: what it brings back of what was taken and of what the twin says, means over runs; their
    difference with Student's t over runs (of one run its own bounds), and in how many runs the attack counts.
    """
    lines = []
    tables = {s: v.table.set_index("attack") for s, v in found.items() if len(v.table)}
    for attack in dict.fromkeys(name for t in tables.values() for name in t.index):
        of = pd.DataFrame([t.loc[attack] for t in tables.values() if attack in t.index])
        apart = (of.recovered - of.control).astype(float).to_numpy()
        low, high = (float(of.low.iloc[0]), float(of.high.iloc[0])) if len(of) == 1 else over_runs(apart)[:2]
        lines.append(
            {
                "attack": attack,
                "recovered": float(of.recovered.mean()),
                "control": float(of.control.mean()),
                "low": low,
                "high": high,
                "each": [float(v) for v in apart],
                "holm": [float(v) for v in of.holm],
                "counts in": sum(attack in v.by for v in found.values()),
                "runs": len(of),
                "n": int(of.n.sum()),
                "p_kind": ", ".join(dict.fromkeys(map(str, of.p_kind))),
            }
        )
    return pd.DataFrame(lines)


def savings(parts: Parts, method: str, seed: int) -> pd.DataFrame:
    """Steps that the edited model needs less than the twin until half of val is recited, by what is trained on: means
    over runs, Student's t over them (`low`, `high`), `each` run's; see `lens.memorization.savings`. `censored` names
    the models that are not there at the end in some run.
    """
    runs = []
    for p in parts.values():
        pair = [
            ds.strict.sel(on=list(arms(ds).values())).assign_coords(on=list(arms(ds)))
            for ds in (p[f"gone {method}"], p["gone twin"])
        ]
        both = (
            xr.concat([v.drop_vars([c for c in v.coords if c not in ("on", "step")]) for v in pair], "model")
            .assign_coords(model=["edited", "twin"])
            .to_dataset(name="strict")
        )
        runs.append(
            memorization.savings(
                both.assign_coords(set=("sequence", np.full(both.sizes["sequence"], "target"))), seed=seed
            ).set_index("on")
        )
    lines = []
    for name in runs[0].index:
        of = pd.DataFrame([r.loc[name] for r in runs])
        each = of.savings.astype(float).to_numpy()
        low, high = (float(of.low.iloc[0]), float(of.high.iloc[0])) if len(of) == 1 else over_runs(each)[:2]
        late = dict.fromkeys(model for said in of.censored for model in str(said).split(", ") if model)
        lines.append(
            {
                "on": name,
                **{c: float(of[c].astype(float).mean()) for c in ("start", "edited", "twin")},
                "savings": float(each.mean()),
                "low": low,
                "high": high,
                "each": [float(v) for v in each],
                "censored": ", ".join(late),
                "n": int(of.n.sum()),
            }
        )
    return pd.DataFrame(lines)


__all__ = ["CLEAN", "ITSELF", "UNEDITED", "attacks_over_runs", "judged", "over_runs", "pooled", "savings", "tables"]
