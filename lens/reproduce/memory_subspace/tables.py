"""Tables of the diffusion study put together over models, as its figures and claims read them. The unit is the trained
model: intervals of a level are Student's t over models; those of a comparison hold the captions within models too
(`lens.stats.units.nested`), since shares of few captions tie by accident.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from ...diffusion.detection import detect
from ...stats import Interval, bootstrap, holm, proportion
from ...stats.erasure import Attack, Verdict, verdict
from ...stats.units import Nested, nested
from ..common import by_group, columns
from ..over_models import over_seeds, words
from ..specificity import specificity as overlaps
from .bench import RISE
from .methods import BLIND, METHODS

#: A caption counts as copied where at least this share of its seeds gives a copy.
COPIED = 0.5


def title(method: str) -> str:
    """A method as it is called in tables and figures."""
    return METHODS[method].title if method in METHODS else method.replace("_", " ")


def short(layers: Sequence[str]) -> list[str]:
    """Layers of a U-Net by their place: "down 0", "mid", "up 1.1"; the second number only where a block has several."""
    found = [re.match(r"(down|mid|up)_blocks?(?:\.(\d+))?\.attentions\.(\d+)", layer) for layer in layers]
    blocks = [m and (m[1], m[2]) for m in found]
    several = [f".{m[3]}" if m and m[2] and blocks.count((m[1], m[2])) > 1 else "" for m in found]
    names = [f"{m[1]} {m[2] or ''}".strip() + more if m else layer for layer, m, more in zip(layers, found, several)]
    return names if len(set(names)) == len(names) else list(layers)


def means(
    table: pd.DataFrame, by: Sequence[str], measure: str, bounds: tuple[float, float] = (-np.inf, np.inf)
) -> pd.DataFrame:
    """One line a group: the mean of a measure over captions by model (`runs`), with Student's t over models and, for
    one model, the bootstrap over its captions, cut to `bounds`.
    """

    def line(of: pd.DataFrame) -> dict[str, Any]:
        values, runs = of[measure].to_numpy(float), of.groupby("seed")[measure].mean()
        found = bootstrap(values) if len(runs) == 1 and len(values) > 1 else over_seeds(runs)
        low, high = np.clip([found.low, found.high], *bounds)
        interval = replace(found, estimate=runs.mean(), low=low, high=high)
        return columns(measure, interval) | {"runs": tuple(map(float, runs)), "n": len(values)}

    return by_group(table, by, line)


def cells(copying: pd.DataFrame, measure: str = "copy") -> pd.DataFrame:
    """One line a cell, as `means`; `captions` of one model."""
    found = means(copying, ("cell",), measure, (0.0, 1.0) if measure == "copy" else (-np.inf, np.inf))
    return found.assign(captions=[int(n / len(runs)) for n, runs in zip(found.n, found.runs)])


def by_step(copying: pd.DataFrame) -> pd.DataFrame:
    """One line a cell and denoising step: the norm of the caption's part of the noise, `difference`, as `means`."""
    table = copying[["cell", "seed", "by_step"]].rename(columns={"by_step": "difference"})
    table = table.assign(step=[list(range(len(v))) for v in table.difference]).explode(["difference", "step"])
    return means(table.astype({"difference": float, "step": int}), ("cell", "step"), "difference")


def told(copying: pd.DataFrame) -> pd.DataFrame:
    """How well the caption's part of the predicted noise tells captions with many copies from never-trained ones, by
    family and model.
    """
    lines = []
    pairs = {kind: (f"{kind}-many", f"{kind}-never") for kind in ("code", "generic", "digit")}
    pairs["code, seen once"] = ("code-once", "code-never")
    for seed, of in copying.groupby("seed"):
        for name, (many, never) in pairs.items():
            a, b = (np.stack(of[of.cell == cell].by_step.to_list())[:, None] for cell in (many, never))
            found = detect(a, b, first=(1, a.shape[2]), seed=int(seed))
            for at, first in enumerate(found["first"].values):
                read = {
                    k: float(found[k][at]) for k in ("auc", "low", "high", "p", "tpr", "tpr_low", "tpr_high", "fpr")
                }
                about = {"p_kind": str(found.p_kind.values[at]), "memorised": len(a), "never": len(b)}
                lines.append({"pair": name, "steps": int(first), "seed": int(seed)} | read | about)
    table = pd.DataFrame(lines)
    return table.assign(holm=holm(table.p.to_numpy(float)))


def specificity(table: pd.DataFrame) -> pd.DataFrame:
    """One line a kind of caption and method, see `reproduce.specificity`."""
    found = overlaps(table[table.kind != "template"], ("kind", "method"))
    return found[~found["empty"].astype(bool)] if len(found) else found


def curve(frame: pd.DataFrame, own: bool | None = True) -> pd.DataFrame:
    """One line a dose of a method and model: mean copying over captions of the located set (`own`), of the other sets,
    or of all; the cost is the mean over located sets.
    """
    of = frame if own is None else frame[(frame.set == frame.located) == own]
    means = {column: (column, "mean") for column in ("copy", "likeness", "rise", "density")}
    return of.groupby("dose").agg(**means, n=("copy", "size")).reset_index()


def at_rise(curves: pd.DataFrame, own: bool, rise: float = RISE, measure: str = "copy") -> pd.DataFrame:
    """Copying of every method where the held-out error has risen by `rise`, least first: the least that a dose of at
    most that cost leaves, interpolated to the next dose.

    `runs` by model with Student's t; for one model the bootstrap over captions. `reached`: whether every curve goes
    that far.
    """
    lines = []
    for method, of in curves.groupby("method", sort=False):
        parts = [part if method in BLIND else part[(part.set == part.located) == own] for _, part in of.groupby("seed")]
        runs = [left_at(part, rise, measure) for part in parts]
        found = over_seeds(runs) if len(runs) > 1 else _drawn(parts[0], rise, measure)
        lines.append(
            {
                "method": method,
                "title": title(method),
                measure: float(np.mean(runs)),
                "low": max(0.0, found.low),
                "high": min(1.0, found.high),
                "runs": tuple(runs),
                "before": tuple(float(part[part.dose == 0][measure].mean()) for part in parts),
                "reached": all(curve(part, None).rise.max() >= rise for part in parts),
                "n": int(parts[0].caption.nunique()),
            }
        )
    return pd.DataFrame(lines).sort_values(measure).reset_index(drop=True)


def left_at(part: pd.DataFrame, rise: float, measure: str = "copy") -> float:
    """The least that a dose of one curve leaves at a cost of at most `rise`, interpolated to the next dose."""
    line = curve(part, None)
    return float(least(line.rise.to_numpy(float), line[measure].to_numpy(float)[:, None], rise)[0])


def least(cost: np.ndarray, values: np.ndarray, rise: float) -> np.ndarray:
    """Least value [draws] at a cost of at most `rise`, of values [dose, draws] over costs [dose]."""
    order = np.argsort(cost, kind="stable")
    cost, values = cost[order], values[order]
    last = int(np.searchsorted(cost, rise, side="right")) - 1
    if last < 0:
        return np.full(values.shape[1], np.nan)
    best = values[: last + 1].min(0)
    if last + 1 < len(cost):
        share = (rise - cost[last]) / (cost[last + 1] - cost[last])
        best = np.minimum(best, values[last] + share * (values[last + 1] - values[last]))
    return best


def _drawn(part: pd.DataFrame, rise: float, measure: str) -> Interval:
    """The bootstrap over captions of what `left_at` reads, costs taken as they are."""
    wide = part.pivot_table(index="dose", columns="caption", values=measure)
    cost = part.groupby("dose").rise.mean().to_numpy(float)
    values = wide.to_numpy(float)

    def value(index: np.ndarray, axis: int) -> np.ndarray:
        i = np.moveaxis(index, axis, -1).astype(int)
        drawn = np.nanmean(values[:, i.reshape(-1, values.shape[1])], axis=2)
        return least(cost, drawn, rise).reshape(i.shape[:-1])

    return bootstrap(np.arange(values.shape[1]), statistic=value)


def by_caption(part: pd.DataFrame, rise: float, measure: str = "copy") -> pd.Series:
    """What each caption is left with where `left_at` reads a model's curve: at the dose, or between the two doses, that
    leaves least in the mean at a cost of at most `rise`.
    """
    wide, cost = part.pivot_table(index="dose", columns="caption", values=measure), part.groupby("dose").rise.mean()
    order = cost.sort_values(kind="stable").index
    wide, cost = wide.loc[order], cost.loc[order].to_numpy(float)
    last = int(np.searchsorted(cost, rise, side="right")) - 1
    if last < 0:
        return pd.Series(np.nan, wide.columns)
    best = wide.iloc[wide.iloc[: last + 1].mean(axis=1).to_numpy().argmin()]
    if last + 1 < len(cost):
        share = (rise - cost[last]) / (cost[last + 1] - cost[last])
        between = wide.iloc[last] + share * (wide.iloc[last + 1] - wide.iloc[last])
        best = between if between.mean() < best.mean() else best
    return best


def gap(
    curves: pd.DataFrame, own: bool, method: str, control: str, rise: float = RISE, measure: str = "copy"
) -> Nested | None:
    """What a control leaves more of copying than a method at equal cost, paired by caption within models; None where
    one of them is missing.
    """
    read: dict[str, dict[int, pd.Series]] = {}
    for name in (method, control):
        of = curves[curves.method == name]
        of = of if name in BLIND else of[(of.set == of.located) == own]
        read[name] = {int(s): by_caption(part, rise, measure) for s, part in of.groupby("seed")}
    shared = [s for s in read[method] if s in read[control]]
    return within_models({s: (read[control][s] - read[method][s]).dropna() for s in shared}) if shared else None


def within_models(differences: Mapping[int, pd.Series]) -> Nested | None:
    """The mean over models of the mean over captions of paired differences, with both levels in its interval and p;
    None where no model has any.
    """
    there = {s: v.to_numpy(float) for s, v in differences.items() if len(v)}
    if not there:
        return None
    models = np.repeat(list(there), list(map(len, there.values())))
    return nested(np.concatenate(list(there.values())), models, of="number")


@dataclass(frozen=True)
class Gone:
    """Hides or erases, judged in each model by itself: one `word` for all, `models` (the word in each), `by` (attack ->
    in how many models it counts), how many captions were `recalled` before and after, and one line an attack (shares
    brought back in the edited models and their twins, means over models).
    """

    word: str
    models: tuple[str, ...]
    by: dict[str, int]
    recalled: tuple[int, int]
    table: pd.DataFrame

    def __str__(self) -> str:
        by = ", ".join(f"{name} ({count} of {len(self.models)} models)" for name, count in self.by.items())
        return (
            f"{self.word}{f'; by {by}' if by else ''} ({self.recalled[0]} captions copied before, {self.recalled[1]}"
            " after)"
        )


def verdicts(attacks: pd.DataFrame, seed: int = 0) -> dict[tuple[str, int], Verdict]:
    """(method, model) -> hides or erases, by the rule of `lens.stats.erasure`: each attack against the twin, paired
    by caption, Holm over attacks at .05 over the models (Bonferroni).
    """
    there = attacks[attacks.twin.notna()]
    models = there.groupby("method").seed.nunique()
    return {
        (method, int(model)): _judged(of, seed, 0.05 / models[method])
        for (method, model), of in there.groupby(["method", "seed"], sort=False)
    }


def gone(attacks: pd.DataFrame, seed: int = 0) -> dict[str, Gone]:
    """Method -> its models' verdicts put together."""
    found, out = verdicts(attacks, seed), {}
    for method in dict.fromkeys(m for m, _ in found):
        of = [v for (m, _), v in sorted(found.items()) if m == method]
        table = pd.concat([v.table for v in of if len(v.table)] or [of[0].table])
        names = list(dict.fromkeys(table.attack))
        by, lines = table.groupby("attack", sort=False), table[["recovered", "control", "n"]]
        if names:
            lines = by[["recovered", "control"]].mean().astype(float).join(by.n.sum())
        counts = {name: sum(name in v.by for v in of) for name in names}
        lines = lines.assign(
            **{
                "counts in": [counts[name] for name in names],
                "models": len(of),
                "smallest holm": [float(table[table.attack == name].holm.min()) for name in names],
            }
        )
        words_of = tuple(v.word for v in of)
        out[method] = Gone(
            words(words_of, "model"),
            words_of,
            {name: count for name, count in counts.items() if count},
            (sum(v.recited[0] for v in of), sum(v.recited[1] for v in of)),
            lines,
        )
    return out


def _judged(of: pd.DataFrame, seed: int, alpha: float) -> Verdict:
    def flags(part: pd.DataFrame, column: str) -> np.ndarray:
        return part[column].to_numpy(float) >= COPIED

    parts = {str(name): part.sort_values(["seed", "caption"]) for name, part in of.groupby("attack", sort=False)}
    first = next(iter(parts.values()))
    return verdict(
        flags(first, "before"),
        flags(first, "after"),
        {name: Attack(flags(part, "edited"), flags(part, "twin")) for name, part in parts.items()},
        alpha=alpha,
        seed=seed,
    )


def recovered(attacks: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """One line a method and attack, over all models together: the share of the captions that the edit took away (copied
    before it, not after) that is copied again in the edited model and in the twin, exact intervals over captions,
    `runs` by model, and from `gone` the word and in how many of the `models` the attack `counts`.

    An attack without a twin is of pictures that no model saw, all of them. `n`: captions; 0 where the edit took nothing
    away.
    """
    found_gone, lines = gone(attacks, seed), []
    for (method, attack), of in attacks.groupby(["method", "attack"], sort=False):
        never = of.twin.isna().all()
        of = of if never else of[(of.before >= COPIED) & (of.after < COPIED)]
        line = {
            "method": method,
            "attack": attack,
            "n": len(of),
            "never": bool(never),
            "word": found_gone[method].word if method in found_gone else "",
        }
        for model in ("edited", "twin"):
            back = (of[model] >= COPIED).groupby(of.seed)
            known = len(of) and not (never and model == "twin")
            none = Interval(np.nan, np.nan, np.nan, 0.95, 0, "exact")
            found = proportion(back.sum().sum(), len(of)) if known else none
            line |= columns(model, found, f"{model}_")
            line[f"{model}_runs"] = tuple(map(float, back.mean())) if known else ()
        told, counts = found_gone[method].table if method in found_gone else pd.DataFrame(), {"counts": 0, "models": 0}
        if attack in told.index:
            counts = {"counts": int(told.loc[attack, "counts in"]), "models": int(told.loc[attack, "models"])}
        lines.append(line | counts)
    return pd.DataFrame(lines)
