"""The loss-curvature experiment's steps as tidy tables over training runs: the mean of the runs' values, Student's t
interval over them, and each run's value.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from ... import memorization
from ...stats import auc, holm, proportion
from .bench import RISES
from .erasure import asked, attacks_over_runs, judged, relearning, savings
from .pooling import Parts, inside, over_runs, pooled

__all__ = ["attacks_over_runs", "judged", "membership", "pooled", "relearning", "savings", "tables"]

SETS = ("val", "verse")
#: tasks that a model has to do before an edit can take them away: this far above chance
LEAST_ABOVE_CHANCE = 0.1
#: of every permutation test of membership
PERMUTATIONS = 20_000
#: methods whose curve has strengths of its own; those of others are multiples of the matched one
LEARNED_ANEW = ("K-FAC", "BalancedSubnet", "gradient ascent")


def tables(parts: Parts, seed: int) -> dict[str, pd.DataFrame]:
    """Every table by name."""
    return {
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


def choice(parts: Parts) -> pd.DataFrame:
    """What each choice of layers costs and leaves on the tune split, and which one was chosen."""
    columns = ["removed", "rise", "strict", "loose", "lev"]
    frames = []
    for s, p in parts.items():
        frame = p["choice"][[*columns, "chosen"]].to_dataframe().astype(dict.fromkeys(columns, float)).reset_index()
        frames.append(frame.assign(seed=s, chosen=frame.chosen == frame.layers))
    return pd.concat(frames, ignore_index=True)[["seed", "search", "layers", *columns, "chosen"]]


def spectrum(parts: Parts) -> pd.DataFrame:
    """Share of curvature mass and of the squared weight in each band, by layer; `pairs`: the least share of pairs that
    carries nine tenths of the mass.
    """
    frames = []
    for s, p in parts.items():
        ds = p["spectrum"]
        some = {"mass": ds.band_mass, "energy": ds.coefficient_energy, "pairs": ds.pairs.isel(mass_share=4, drop=True)}
        frame = xr.Dataset(some).to_dataframe(["layer", "band"])[list(some)].astype(float).reset_index()
        frame.insert(0, "seed", s)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def activation(parts: Parts, seed: int) -> pd.DataFrame:
    """Norm of what recited sequences put into a band over what clean ones do, mean over layers; the line "last over
    first" compares the bands.
    """
    every = [p["activation"].relative_memorised for p in parts.values()]
    lines = []
    for basis in map(str, every[0].basis.values):
        for side in map(str, every[0].side.values):
            values = [v.sel(basis=basis, side=side).values for v in every]
            bands = {str(band): [v[:, i] for v in values] for i, band in enumerate(every[0].band.values)}
            bands["last over first"] = [v[:, -1] / v[:, 0] for v in values]
            about = {"basis": basis, "side": side}
            lines += [about | {"band": band} | pooled(of, seed=seed) for band, of in bands.items()]
    return pd.DataFrame(lines)


def at_match(parts: Parts, seed: int) -> pd.DataFrame:
    """Every method where it costs as much on the choosing half: recitation by set (val also by kind), the rise on the
    reporting half, nDCG@10, the strength that it took.
    """
    lines = []
    of = [p["matched"] for p in parts.values()]
    for i, method in enumerate(map(str, of[0].edit.values)):
        rise = pooled(
            [(ds.nll_text.values[i] - ds.nll_text.values[0]) / ds.tokens.values.mean() for ds in of], seed=seed
        )
        cost = {"rise": rise["estimate"], **{f"rise_{k}": rise[k] for k in ("low", "high", "seeds")}}
        cost["ndcg"] = float(np.mean([ds.ndcg.values[i] for ds in of]))
        cost |= {f"{k}_seeds": [float(ds[k].values[i]) for ds in of] for k in ("ndcg", "strength")}
        for where, kind in (("val", None), ("verse", None), ("val", "code"), ("val", "plausible")):
            for measure in ("strict", "loose", "lev"):
                found = pooled([ds[measure].values[i, inside(ds, where, kind)] for ds in of], seed=seed)
                lines.append({"method": method, "set": kind or where, "measure": measure, **found, **cost})
    return pd.DataFrame(lines)


def curves(parts: Parts, seed: int) -> pd.DataFrame:
    """One line a point of a trade-off curve and set, of the points that every seed has; `rise` and the measures are
    means over seeds, `rise_seeds` and `seeds` (strict) each one's.

    `strength`: as it was asked for: as it is (`LEARNED_ANEW`), or as a multiple of the seed's matched strength.
    """
    lines = []
    for method, of in _curves(parts).items():
        own = [float(p["matched"].strength.sel(edit=method)) for p in parts.values()]
        unit = [1.0] * len(of) if method in LEARNED_ANEW else own
        places = [{round(float(v) / u, 5): i for i, v in enumerate(ds.strength.values)} for ds, u in zip(of, unit)]
        for strength in (s for s in places[0] if all(s in place for place in places)):
            points = [ds.isel(edit=place[strength]) for ds, place in zip(of, places)]
            rises = [float(at.clean_loss - ds.clean_loss[0]) for ds, at in zip(of, points)]
            for where in SETS:
                at = {"method": method, "set": where, "strength": strength}
                strict, loose, lev = (
                    [ds[measure].values[inside(ds, where)] for ds in points] for measure in ("strict", "loose", "lev")
                )
                lines.append(
                    at
                    | {"rise": float(np.mean(rises)), "rise_seeds": rises}
                    | pooled(strict, seed=seed)
                    | {
                        "loose": float(np.mean([v.mean() for v in loose])),
                        "lev": float(np.mean([v.mean() for v in lev])),
                    }
                    | {"ndcg": float(np.mean([ds.ndcg.values for ds in points]))}
                )
    return pd.DataFrame(lines)


def _curves(parts: Parts) -> dict[str, list[xr.Dataset]]:
    """The trade-off curves by method, one of each run."""
    names = [n for n in next(iter(parts.values())) if n.startswith("curve ")]
    return {n.removeprefix("curve "): [p[n] for p in parts.values()] for n in names}


def read_off(parts: Parts, seed: int) -> pd.DataFrame:
    """Strict recitation of each method at several rises of the clean loss, read off its curve
    (`lens.memorization.matched`); intervals over runs where there are several.
    """
    read = pd.concat(
        [
            memorization.matched(_curves(parts), rise, among=where, seed=seed).assign(rise=rise, set=where)
            for rise in RISES
            for where in SETS
        ],
        ignore_index=True,
    )
    if len(parts) == 1:
        return read
    low, high, _ = zip(*map(over_runs, read.runs))
    return read.assign(low=low, high=high)


def retention(parts: Parts, seed: int) -> pd.DataFrame:
    """What each method leaves of every task, of closed-book facts by exposure, and of recitation: accuracy after over
    before; `able`: seeds that do it before, above chance.
    """
    lines = []
    first = next(iter(parts.values()))["retention"]
    keys = [(str(t), "") for t in dict.fromkeys(first.task.values)]
    keys += [("closed_book", str(b)) for b in dict.fromkeys(first.bin.values[first.task.values == "closed_book"])]
    nothing = dict.fromkeys(("before", "after", "kept", "low", "high", "p"), np.nan) | {"seeds": [], "n": 0}
    for method in map(str, first.edit.values):
        for task, group in keys:
            before, after, able, chance = [], [], [], np.nan
            for s, p in parts.items():
                ds = p["retention"]
                ds = ds.isel(item=(ds.task.values == task) & ((ds.bin.values == group) if group else True))
                chance, right = float(ds.chance.values[0]), ds.right_before.values
                if right.mean() >= chance + LEAST_ABOVE_CHANCE:
                    before.append(right.astype(float))
                    after.append(ds.right_after.sel(edit=method).values.astype(float))
                    able.append(s)
            line = {"method": method, "task": task, "bin": group, "chance": chance, "able": able, **nothing}
            if able:
                found = pooled(after, before, seed=seed)
                line |= {
                    name: float(np.mean([v.mean() for v in of])) for name, of in (("before", before), ("after", after))
                }
                line |= {"kept": found.pop("estimate"), **found}
            lines.append(line)
        for where in SETS:
            of = [p["matched"] for p in parts.values()]
            found = pooled([ds.strict.sel(edit=method).values[inside(ds, where)] for ds in of], seed=seed)
            line = {"method": method, "task": f"recitation, {where}", "bin": "", "chance": 0.0, "able": list(parts)}
            share = found.pop("estimate")
            lines.append(line | {"before": 1.0, "after": share, "kept": share, **found})
    return pd.DataFrame(lines)


def extraction(parts: Parts, seed: int) -> pd.DataFrame:
    """Strict extraction of all planted sequences by kind and duplicates, before and after the edits; `run_low`,
    `run_high`: exact bounds within each run.
    """
    lines = []
    of = [p["duplicates"] for p in parts.values()]
    for i, state in enumerate(map(str, of[0].state.values)):
        for kind in dict.fromkeys(map(str, of[0].kind.values)):
            for count in sorted(set(of[0].duplicates.values[of[0].kind.values == kind].tolist())):
                each = [ds.strict.values[i, (ds.kind.values == kind) & (ds.duplicates.values == count)] for ds in of]
                exact = [proportion(int(v.sum()), len(v)) for v in each]
                line = {"state": state, "kind": kind, "duplicates": int(count), **pooled(each, seed=seed)}
                lines.append(line | {"run_low": [e.low for e in exact], "run_high": [e.high for e in exact]})
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
    counts = sorted(set(first.duplicates.values.tolist()) - {0})
    for i, j, count in np.ndindex(first.sizes["state"], first.sizes["score"], len(counts)):
        ranks: list[np.ndarray] = []
        member, group, runs = [], [], []
        for s, p in parts.items():
            ds, begin = p["duplicates"], len(ranks)
            for kind in dict.fromkeys(ds.kind.values[ds.duplicates.values == counts[count]]):
                at = (ds.kind.values == kind) & np.isin(ds.duplicates.values, (0, counts[count]))
                ranks.append(stats.rankdata(ds.value.values[i, j, at]) / (at.sum() + 1))
                member.append(ds.duplicates.values[at] > 0)
                group.append(np.full(at.sum(), f"{s} {kind}"))
            runs.append(_area(np.concatenate(ranks[begin:]), np.concatenate(member[begin:])))
        found = auc(
            *map(np.concatenate, (ranks, member)), groups=np.concatenate(group), resamples=PERMUTATIONS, seed=seed
        )
        rate = found.tpr_at[0.01]
        low, high = (found.interval.low, found.interval.high) if len(runs) == 1 else over_runs(runs)[:2]
        lines.append(
            {"state": str(first.state.values[i]), "score": str(first.score.values[j]), "duplicates": int(counts[count])}
            | {"auc": float(np.mean(runs)), "low": low, "high": high, "seeds": runs}
            | {"tpr": rate.estimate, "tpr_low": rate.low, "tpr_high": rate.high}
            | {"p": float(found.p), "p_kind": found.p.kind, "members": found.members, "n": found.n}
        )
    frame = pd.DataFrame(lines)
    return frame.assign(holm=frame.groupby("state", sort=False).p.transform(lambda p: holm(p.to_numpy(float))))


def _area(values: np.ndarray, member: np.ndarray) -> float:
    """The area under the curve."""
    ranks, n1 = stats.rankdata(values), int(member.sum())
    return float((ranks[member].sum() - n1 * (n1 + 1) / 2) / (n1 * (len(ranks) - n1)))
