"""Settings that the choosing people chose, persons' values at them, and the table of arms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ...stats import holm
from ..common import matching
from .bench import CHOOSE, OTHERS, REPORT, Cell
from .estimates import by_seed, over, ratio

#: Columns that say which corrupted model a line is of.
KEYS = ["seed", "adapter", "dose", "k"]
#: The retain-only arm on other true facts of the relations that are attacked.
RELATED = "retain_related"
#: Arms that forget nothing: controls of all others.
HARMLESS = ("retain_only", RELATED)
MODELS = ("start", "clean", "twin", "never_knew")
#: How a setting was chosen: rate and look by what the choosing people's questions restore, or the look by the rule that
#: is the same for all and needs no right answer, and only the rate by them.
READINGS = ("best", "stop")
#: What an arm has for a rate and a look where the rule stops it nowhere.
NEVER = pd.Series({"rate": "", "look": -1, "step": np.nan, "right": np.nan})


def settings(paths: pd.DataFrame, losses: pd.DataFrame) -> pd.DataFrame:
    """Of every cell and arm, by reading: the rate and look, `step`, `restored` of the choosing people, and `status`
    ("reached", or "censored" where the loss on held-out documents reaches the twin's at no look: the arm has then no
    rate, look or step at the stop, and no value there).
    """
    own = paths[(paths.part == CHOOSE)].groupby([*KEYS, "arm", "rate", "look", "step"], dropna=False, sort=False)
    right = own.right.sum().div(own.n.sum()).rename("right").reset_index()
    lines = []
    for key, cell in right.groupby(KEYS, sort=False):
        start, clean = (float(cell[cell.arm == name].right.iloc[0]) for name in ("start", "clean"))
        loss = losses.set_index([*KEYS, "arm", "rate", "look"])
        for arm, of in cell[~cell.arm.isin(MODELS)].groupby("arm", sort=False):
            stops = []
            for rate, path in of.groupby("rate", sort=False):
                at = [loss.loc[(*key, arm, rate, look)] for look in path.look]
                reached = [i for i, one in enumerate(at) if one.heldout >= one.twin]
                stops += [path.iloc[i] for i in reached[:1]]
            best = of.sort_values("step", kind="stable").loc[lambda t: t.right == t.right.max()].iloc[0]
            stop = max(stops, key=lambda one: float(one.right), default=None)
            for reading, line, status in (
                ("best", best, ""),
                ("stop", NEVER if stop is None else stop, "censored" if stop is None else "reached"),
            ):
                lines.append(
                    dict(zip(KEYS, key, strict=True))
                    | {"arm": arm, "reading": reading, "rate": str(line.rate), "look": int(line.look)}
                    | {"step": float(line.step), "status": status}
                    | {"restored": (float(line.right) - start) / (clean - start) if clean != start else np.nan}
                )
    return pd.DataFrame(lines)


def cell_of(table: pd.DataFrame, cell: Cell) -> pd.DataFrame:
    """The lines of a cell."""
    return matching(table, adapter=cell.adapter, dose=cell.dose, k=cell.k)


def persons(tables: Mapping[str, pd.DataFrame], cell: Cell, arm: str, reading: str, part: str = REPORT) -> pd.DataFrame:
    """The values of one part's persons in an arm at its settings, beside those at the start, in the clean model and in
    the twin, by (seed, unit): shares `right`, `planted` and mean `kl`, and the same with `_start` and `_clean`.
    """
    paths, chosen = (cell_of(tables[name], cell) for name in ("paths", "settings"))
    paths = matching(paths, part=part)
    values = {}
    for suffix, model in (("_start", "start"), ("_clean", "clean")):
        values[suffix] = matching(paths, arm=model).set_index(["seed", "unit"])
    if arm in MODELS:
        own = matching(paths, arm=arm)
    else:
        at = matching(chosen, arm=arm, reading=reading)[["seed", "rate", "look"]]
        own = matching(paths, arm=arm).merge(at, on=["seed", "rate", "look"])
    out = own.set_index(["seed", "unit"])[["n", "right", "planted", "kl"]]
    frame = out[["right", "planted", "kl"]].div(out.n, axis=0)
    for suffix, of in values.items():
        for name in ("right", "planted", "kl"):
            frame[name + suffix] = (of[name] / of.n).reindex(frame.index)
    return frame


def restored(frame: pd.DataFrame) -> pd.Series:
    """R by person, linearised within each seed."""
    change = frame.assign(change=frame.right - frame.right_start, whole=frame.right_clean - frame.right_start)
    return by_seed(change, ("change", "whole"), ratio)


def forgotten(frame: pd.DataFrame) -> pd.Series:
    """F by person, linearised within each seed."""
    change = frame.assign(change=frame.planted_start - frame.planted, whole=frame.planted_start)
    return by_seed(change, ("change", "whole"), ratio)


def arms(tables: Mapping[str, pd.DataFrame], seed: int = 0) -> pd.DataFrame:
    """One line a cell, arm and reading: R and F with intervals over persons in seeds, the share of other questions that
    is right and the distance to the twin as shares of those at the start; `p` that nothing is restored, `p_holm` over
    the arms of a cell and reading.
    """
    lines = []
    for key, chosen in tables["settings"].groupby(KEYS[1:], sort=False):
        cell = Cell(*key)
        for (arm, reading), of in chosen.groupby(["arm", "reading"], sort=False):
            frame = persons(tables, cell, arm, reading)
            back, gone = over(restored(frame), seed), over(forgotten(frame), seed)
            others = persons(tables, cell, arm, reading, OTHERS)
            line: dict[str, Any] = dict(zip(KEYS[1:], key, strict=True)) | {"arm": arm, "reading": reading}
            there = of[of.status != "censored"]
            line |= {
                "rate": there.rate.mode().iloc[0] if len(there) else "",
                "step": there.step.mean(),
                "censored": len(of) - len(there),
            }
            line |= _columns("R", back) | _columns("F", gone)
            line |= {"right": frame.right.mean(), "planted": frame.planted.mean()}
            line |= {"elsewhere": others.right.mean(), "elsewhere_start": others.right_start.mean()}
            line |= {"kl": frame.kl.mean(), "kl_start": frame.kl_start.mean()}
            line |= {"kl_elsewhere": others.kl.mean(), "kl_elsewhere_start": others.kl_start.mean()}
            line |= {"p": np.nan if back is None else float(back.p), "n": len(frame), "seeds": there.seed.nunique()}
            lines.append(line)
    table = pd.DataFrame(lines)
    for _, of in table.groupby([*KEYS[1:], "reading"], sort=False):
        there = of.index[of.p.notna()]
        table.loc[there, "p_holm"] = holm(of.p[there].to_numpy()) if len(there) else np.nan
    return table


def _columns(name: str, of: Any) -> dict[str, float]:
    bounds = (np.nan, np.nan, np.nan) if of is None else (of.interval.estimate, of.interval.low, of.interval.high)
    return {name: float(bounds[0]), f"{name}_low": float(bounds[1]), f"{name}_high": float(bounds[2])}


def best_arm(tables: Mapping[str, pd.DataFrame], cell: Cell) -> str | None:
    """The arm with a term of forgetting that restores most of the choosing people's questions at its best setting."""
    chosen = matching(cell_of(tables["settings"], cell), reading="best")
    mean = chosen[~chosen.arm.isin(HARMLESS)].groupby("arm", sort=False).restored.mean()
    return None if mean.isna().all() else str(mean.idxmax())


def at_equal_loss(
    tables: Mapping[str, pd.DataFrame], cell: Cell, first: str, second: str, most: float, grid: int = 12
) -> dict[str, pd.Series]:
    """R (reported people) and the share of other questions that is right, the first arm's minus the second's, by
    person: the mean over rates and over losses on the forget set that both paths pass, from the start's up to `most`
    nats a token, each read between the two looks around it. R is linearised as `restored` is.
    """
    paths, losses = (cell_of(tables[name], cell) for name in ("paths", "losses"))
    gaps: dict[str, list[pd.Series]] = {"R": [], "elsewhere": []}
    for seed, of in losses.groupby("seed", sort=False):
        each: dict[str, list[pd.Series]] = {"R": [], "elsewhere": []}
        for rate in sorted(set(of[of.arm == first].rate) & set(of[of.arm == second].rate)):
            curves = [_curve(paths, of, seed, arm, rate) for arm in (first, second)]
            top = min(most, *(float(loss[-1]) for loss, _ in curves))
            low = max(float(loss[0]) for loss, _ in curves)
            if not top > low:
                continue
            at = np.linspace(low, top, grid + 1)[1:]
            read = [
                frame.apply(lambda column, x=loss: np.interp(at, x, column.to_numpy(float)).mean())
                for loss, frame in curves
            ]
            gap = read[0] - read[1]
            for name, part in (("R", REPORT), ("elsewhere", OTHERS)):
                each[name].append(gap[gap.index.get_level_values("part") == part].droplevel("part"))
        for name, series in each.items():
            if series:
                mean = pd.concat(series, axis=1).mean(axis=1)
                mean.index = pd.MultiIndex.from_product([[seed], mean.index], names=["seed", "unit"])
                gaps[name].append(mean)
    out = {name: pd.concat(of) if of else pd.Series(dtype=float) for name, of in gaps.items()}
    if len(out["R"]):
        frame = persons(tables, cell, "start", "")
        whole = (frame.right_clean - frame.right_start).reindex(out["R"].index)
        out["R"] = by_seed(pd.DataFrame({"change": out["R"], "whole": whole}), ("change", "whole"), ratio)
    return out


def _curve(
    paths: pd.DataFrame, losses: pd.DataFrame, seed: int, arm: str, rate: float
) -> tuple[np.ndarray, pd.DataFrame]:
    """Losses on the forget set, made to rise, and the share right by look and (part, unit)."""
    own = matching(losses, arm=arm, rate=rate).sort_values("look")
    right = matching(paths, seed=seed, arm=arm, rate=rate)
    share = right.assign(share=right.right / right.n).pivot(index="look", columns=["part", "unit"], values="share")
    return np.maximum.accumulate(own.forget.to_numpy(float)), share.sort_index()
