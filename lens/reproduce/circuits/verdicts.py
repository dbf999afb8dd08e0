"""The claims about edges and circuits against what was measured.

Pairs are of scenes of their own, and circuits are judged on pairs that edges were not found on. Where a row compares
several methods or parts each has a row of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ...stats import Interval
from ..claims import Rows
from ..common import EVERY, clear_of, shown, table_of, verdict
from . import tables as frames
from .bench import EXACT, FIRST
from .claims import CLAIMS
from .steps import ANOTHER, ANSWERS, ONE_STEP, OTHER

EAP, ACTIVATIONS, GIM = "EAP", "EAP-IG by activations", "GIM"


def verdicts(
    parts: frames.Parts, tables: dict[str, pd.DataFrame], seed: int = 0
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table *claim | paper | here | n | multiplicity | verdict* and its numbers."""
    rows = Rows(CLAIMS)
    for judge in (_areas, _compared, _agreement, _known, _induction, _controls):
        judge(rows, parts, tables, seed)
    return table_of(rows), rows.numbers


def _alike(interval: Interval, key: str) -> str:
    """Whether an interval lies within the bounds of a claim that there is no difference."""
    low, high = float(interval.low), float(interval.high)
    if not np.isfinite(low) or not np.isfinite(high):
        return f"not shown: {interval.method}"
    bounds = CLAIMS[key].margin
    assert bounds is not None
    apart = high < bounds[0] or low > bounds[1]
    return verdict(CLAIMS[key].within(low, high), apart, otherwise="the interval reaches beyond the bounds")


def _of(row: Any, name: str, low: str, high: str) -> Interval:
    """An interval that stands in a table."""
    bounds = float(row[low]), float(row[high])
    method = "Fieller and studentized bootstrap"
    if not np.isfinite(bounds).all():
        method = "the whole effect is not clear of 0" if np.isinf(bounds).any() else "no interval of so few pairs"
    return Interval(float(row[name]), *bounds, 0.95, int(row["n"]), method)


def _areas(rows: Rows, parts: frames.Parts, tables: dict[str, pd.DataFrame], seed: int) -> None:
    for _, row in tables["areas"].iterrows():
        cpr, cmd = _of(row, "CPR", "CPR_low", "CPR_high"), _of(row, "CMD", "CMD_low", "CMD_high")
        name = str(row.method)
        rows.put(f"CPR {name}", cpr)
        rows.put(f"CMD {name}", cmd)
        if name != FIRST:
            continue
        random, most = float(row.get("random_CPR", np.nan)), float(row.get("random_CPR_most", np.nan))
        rows.numbers["random_CPR"], rows.numbers["random_CPR_most"] = random, most
        beaten = cpr.estimate > most
        word = clear_of(cpr, random) if beaten else verdict(False, True, "a random draw has as large a CPR")
        if np.isnan(most):
            word = "not judged: no random circuits"
        rows.add(
            "random",
            f"CPR {shown(cpr)}; of random circuits mean {random:.2f}, largest {most:.2f}",
            f"{int(row.n)} held-out pairs",
            word,
            effects=f"CPR {name}",
            method=name,
            mean=random,
        )
        rows.add(
            "distance",
            f"CMD {shown(cmd)}; of random circuits {float(row.get('random_CMD', np.nan)):.2f}",
            f"{int(row.n)} held-out pairs",
            clear_of(cmd, 0.1, more=False),
            effects=f"CMD {name}",
        )
    _one_size(rows, tables["curves"])


def _one_size(rows: Rows, curves: pd.DataFrame) -> None:
    of = curves[(curves.method == FIRST) & (curves.ranking == "absolute")]
    row = of.iloc[int((of["size"] - 0.05).abs().to_numpy().argmin())]
    f = rows.put("f_at_size", _of(row, "f", "low", "high"))
    rows.add(
        "first_size",
        f"f {shown(f)} of {int(row.edges)} edges ({100 * row['size']:g} %); random {row.get('random', np.nan):.2f}, all"
        f" other edges {row.get('complement', np.nan):.2f}",
        f"{int(row.n)} held-out pairs",
        clear_of(f, 0.5),
        effects="f_at_size",
    )


def _compared(rows: Rows, parts: frames.Parts, tables: dict[str, pd.DataFrame], seed: int) -> None:
    areas = tables["areas"].set_index("method")
    for key, method, other in (("integrated", FIRST, EAP), ("activations", FIRST, ACTIVATIONS), ("gim", GIM, EAP)):
        if not {method, other} <= set(areas.index):
            continue
        more = frames.more_area(parts[f"circuits of {method}"], parts[f"circuits of {other}"], seed)
        rows.put(key, more)
        rows.add(
            key,
            f"CPR {areas.CPR[method]:.2f} against {areas.CPR[other]:.2f}, difference {shown(more, sign=True)}",
            f"{int(areas.n[method])} held-out pairs",
            _alike(more, key) if CLAIMS[key].margin else clear_of(more),
            effects=key,
        )


def _agreement(rows: Rows, parts: frames.Parts, tables: dict[str, pd.DataFrame], seed: int) -> None:
    of = tables["agreement"]
    of = of[of.set == "indirect objects"]
    ds = parts["indirect objects"]
    for method in dict.fromkeys(of.method):
        each = of[of.method == method].set_index("measure")
        slope = _of(each.loc["slope"].rename({"within": "slope"}), "slope", "low", "high")
        rows.put(f"slope {method}", slope)
        spearman, edges, n = each.loc["spearman"], int(each.edges.iloc[0]), int(each.n.iloc[0])
        rows.add(
            "loose",
            f"slope within a pair {shown(slope)}, of the means {each.mean_effects['slope']:.2f}; same sign on"
            f" {each.mean_effects['sign']:.0%} of the largest; Spearman within a pair {spearman.within:.2f}",
            f"{n} pairs, {edges} edges of {_all_edges(ds)}",
            clear_of(slope, 1.0, more=False),
            effects=f"slope {method}",
            method=method,
        )
    for method in [m for m in dict.fromkeys(of.method) if m != EAP and EAP in set(of.method)]:
        more = rows.put(f"order {method}", frames.within(ds, method, EAP, seed))
        rows.add(
            "order",
            f"Spearman within a pair larger by {shown(more)}",
            f"{ds.sizes['prompt']} pairs, {ds.sizes['edge']} edges",
            clear_of(more),
            effects=f"order {method}",
            method=method,
        )


def _all_edges(ds: Any) -> Any:
    from ...results import dataset as results

    return results.provenance(ds).get("n_edges", "all")


def _known(rows: Rows, parts: frames.Parts, tables: dict[str, pd.DataFrame], seed: int) -> None:
    of = tables["known"]
    if of.empty:
        return
    by = of.set_index("method")
    for method, row in by.iterrows():
        interval = Interval(row.auroc, row.low, row.high, 0.95, int(row.n), row.interval_kind)
        rows.put(f"auroc {method}", interval)
        if method == EXACT:
            continue
        every = min(row["values"])
        sure = np.isfinite(row.low)
        rows.add(
            "known",
            f"AUROC of three pairs {shown(interval) if sure else f'{row.auroc:.3f} ({row.interval_kind})'}, least"
            f" {every:.2f}; of the means {row.of_means:.3f}",
            f"{int(row.n)} times three pairs; {int(row.edges)} edges, {int(row.others)} others",
            # values that are all alike have no interval, and are judged as they are
            clear_of(interval, 0.5)
            if sure or len(set(row["values"])) > 1
            else verdict(every > 0.5, every < 0.5, "in every one" * (every > 0.5)),
            effects=f"auroc {method}" if sure else (),
            method=method,
        )
    if FIRST in by.index and EXACT in by.index:
        gaps = np.subtract(by["values"][EXACT], by["values"][FIRST])
        more = rows.put("auroc exact minus EAP-IG", frames.mean_interval(gaps, seed))
        rows.add(
            "exact_known",
            f"exact {by.auroc[EXACT]:.3f}, EAP-IG {by.auroc[FIRST]:.3f}, difference {shown(more, 3, sign=True)}",
            f"{len(gaps)} times three pairs",
            clear_of(more, more=False),
            effects="auroc exact minus EAP-IG",
        )


def _induction(rows: Rows, parts: frames.Parts, tables: dict[str, pd.DataFrame], seed: int) -> None:
    of = tables["agreement"]
    of = of[(of.set == "induction") & (of.measure == "spearman")]
    for _, row in of.iterrows():
        within = _of(row.rename({"within": "rho"}), "rho", "low", "high")
        rows.put(f"induction {row.method}", within)
        rows.add(
            "induction",
            f"Spearman within a pair {shown(within)}, of the means {row.mean_effects:.2f}",
            f"{int(row.n)} pairs, {int(row.edges)} edges",
            clear_of(within, 0.5),
            effects=f"induction {row.method}",
            method=row.method,
        )


def _controls(rows: Rows, parts: frames.Parts, tables: dict[str, pd.DataFrame], seed: int) -> None:
    of, ds = tables["controls"].set_index("circuit"), parts["controls"]
    own, n = of.loc["found"], f"{int(of.n.iloc[0])} held-out pairs, {int(of.n_edges.iloc[0])} edges"
    random = ds.random.values if "random" in ds else np.array([np.nan])
    for name, row in of.iterrows():
        rows.numbers[f"jaccard {name}"] = [float(row.jaccard), float(row.jaccard_low), float(row.jaccard_high)]
        if name != "found":
            rows.put(f"less {name}", _of(row, "less", "less_low", "less_high"))
    answers = _of(of.loc[ANSWERS], "less", "less_low", "less_high")
    rows.add(
        "answers",
        f"f {own.f:.2f} against {of.f[ANSWERS]:.2f}, difference {shown(answers, sign=True)}; random circuits"
        f" {random.mean():.2f}",
        n,
        clear_of(answers),
        effects=f"less {ANSWERS}",
    )
    draws = {name: _of(of.loc[name], "less", "less_low", "less_high") for name in (OTHER, ANOTHER)}
    words = [_alike(draw, "counterfactuals") for draw in draws.values()]
    rows.add(
        "counterfactuals",
        f"f {own.f:.2f}; of two draws of counterfactuals "
        + " and ".join(f"{of.f[name]:.2f}, less by {shown(draw, sign=True)}" for name, draw in draws.items()),
        n,
        # both have to be alike
        next((word for word in words if word.startswith("does not")), max(words, key=lambda word: word != "holds")),
        EVERY,
        effects=tuple(f"less {name}" for name in draws),
    )
    alike = "; ".join(
        f"{name} {of.jaccard[name]:.2f} ({of.jaccard_low[name]:.2f} to {of.jaccard_high[name]:.2f})"
        for name in (OTHER, ONE_STEP, ANSWERS)
    )
    rows.add(
        "same_edges",
        f"Jaccard with the circuit of pairs drawn again {own.jaccard_low:.2f} to {own.jaccard_high:.2f}; of {alike}; of"
        f" the two draws of counterfactuals {float(ds.jaccard_of_draws):.2f}; of random circuits"
        f" {float(np.mean(ds.random_jaccard.values)) if 'random_jaccard' in ds else np.nan:.2f}",
        n,
        "not judged",
    )
