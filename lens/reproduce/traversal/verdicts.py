"""The claims about two checkpoints against what was measured: differences leaf by leaf, the base as unit of several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ...stats import Interval
from ..claims import Rows
from ..common import ALONE, EVERY, clear_of, every, matching, several, shown, table_of, verdict
from .bench import BASE, FLOOR, PAIR, STATEMENT, WALK
from .claims import CLAIMS
from .tables import by_leaf, depths, first_learnt, interval, values

#: Of two blocks the one behind which a token's state still reaches others.
LAYER = 0
FORWARD = " into ".join(PAIR[::-1])


def verdicts(tables: Mapping[str, pd.DataFrame], seed: int = 0) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table *claim | paper | here | n | multiplicity | verdict* and its numbers."""
    rows = Rows(CLAIMS)
    behaviour = tables["behaviour"]
    seeds = behaviour.seed.nunique()
    rows.numbers |= {"seeds": seeds}
    leaves = behaviour[behaviour.part == "report"].groupby("seed").leaf.nunique().sum()
    units = f"{leaves} leaves" + (f" of {seeds} bases" if seeds > 1 else ", one base")
    ready = _setup(rows, tables["knowledge"])
    for judge in (_behaviour, _states, _patches):
        judge(rows, tables, units, ready, seed)
    _reported(rows, tables, units)
    return table_of(rows), rows.numbers


def _setup(rows: Rows, knowledge: pd.DataFrame) -> bool:
    gates = matching(knowledge, what="gate")
    missed = gates[(gates.value < gates["least"]) | (gates.value > gates["most"])]
    known = matching(knowledge, what="known")
    before = known[known.arm == BASE].set_index(["seed", "kind"]).value
    others = known[known.arm != BASE].set_index(["seed", "kind", "arm"]).value
    change = others - before.reindex(others.index.droplevel("arm")).to_numpy()
    least = float(change.min())
    worst = change.idxmin()
    rows.numbers |= {"known_least_change": least, "gates_missed": len(missed)}
    names = ", ".join(f"{g.kind} {g.value:.2f} (seed {g.seed})" for g in missed.itertuples())
    holds = not len(missed) and least >= -0.03
    rows.add(
        "setup",
        f"gates: {names + ' missed' if len(missed) else f'all {len(gates)} hold'}; largest loss of single facts"
        f" {least:+.3f} ({worst[2]}, {worst[1]})",
        f"{several(knowledge.seed.nunique(), 'base')}, {known.arm.nunique() - 1} checkpoints each",
        verdict(holds, not holds),
    )
    return holds


def _alike(told: Interval, key: str) -> str:
    low, high = float(told.low), float(told.high)
    if not np.isfinite([low, high]).all():
        return f"not shown: {told.method}"
    bounds = CLAIMS[key].margin
    assert bounds is not None
    apart = high < bounds[0] or low > bounds[1]
    return verdict(CLAIMS[key].within(low, high), apart, otherwise="the interval reaches beyond the bounds")


def _if(ready: bool, word: str) -> str:
    """A verdict; nothing is tested where the set-up (C0) does not hold."""
    return word if ready else "not measured: the set-up (C0) does not hold"


def _behaviour(rows: Rows, tables: Mapping[str, pd.DataFrame], units: str, ready: bool, seed: int) -> None:
    of = tables["behaviour"]
    last = int(of[of.arm == "rl"].updates.max())

    def gap(measure: str, one: str, other: str, updates: int | None = None) -> pd.Series:
        return values(of, one, measure, updates) - values(of, other, measure, updates)

    def mean(measure: str, arm: str, updates: int | None = None) -> float:
        return float(values(of, arm, measure, updates).mean())

    deep = rows.put("depth", interval(gap("free", "rl", "answer"), seed))
    here = f"{mean('free', 'rl'):.2f} against {mean('free', 'answer'):.2f} (base {mean('free', BASE):.2f})"
    rows.add(
        "depth",
        f"after {last} updates {here}, difference {shown(deep, sign=True)}",
        units,
        _if(ready, clear_of(deep, 0.10)),
        effects="depth",
    )
    look, learnt = first_learnt(of)
    free, forced = gap("free", "rl", "answer", look), gap("forced", "rl", "answer", look)
    closes = rows.put("forced", interval(forced - free / 2, seed))
    rows.put("forced_gap", interval(forced, seed))
    there = rows.put("free_gap", interval(free, seed))
    rows.numbers |= {"look": look, "learnt": learnt}
    curve = ", ".join(
        f"{mean('forced', 'rl', at):.2f} and {mean('forced', 'answer', at):.2f} at {at}"
        for at in sorted(of[of.arm == "answer"].updates.unique())
    )
    rows.add(
        "forced",
        f"at {look} updates{'' if learnt else ' (tuned answers did not reach .99)'} the gap is"
        f" {shown(there, sign=True)} free and {forced.mean():+.2f} forced; forced minus half of free"
        f" {shown(closes, sign=True)}; forced walks, rl and answer: {curve}",
        units,
        _if(ready, clear_of(closes, more=False) if there.low > 0 else "not shown: there is no gap to close"),
        effects=("forced", "forced_gap", "free_gap"),
    )
    steps = depths(of)
    apart = [gap(f"match_{edges}", "rl", "answer", look) for edges in (steps[0], steps[-1])]
    grows = rows.put("deeper", interval(apart[1] - apart[0], seed))
    parts = ", ".join(
        f"{name} {gap(f'{short}_{steps[0]}', 'rl', 'answer', look).mean():+.2f} to"
        f" {gap(f'{short}_{steps[-1]}', 'rl', 'answer', look).mean():+.2f}"
        for name, short in (("F1", "f1"), ("order", "order"))
    )
    rows.add(
        "deeper",
        f"at {look} updates {apart[0].mean():+.2f} for one edge and {apart[1].mean():+.2f} for {steps[-1]}, difference"
        f" {shown(grows, sign=True)} ({parts})",
        units,
        _if(ready, clear_of(grows)),
        effects="deeper",
    )
    for updates in sorted(of[of.arm == "rl"].updates.unique()):
        same = rows.put(f"walk_{updates}", interval(gap("sampled", "rl", "walk", updates), seed))
        rows.add(
            "walk",
            f"{mean('sampled', 'rl', updates):.2f} against {mean('sampled', 'walk', updates):.2f}, difference"
            f" {shown(same, sign=True)}",
            units,
            _if(ready, _alike(same, "walk")),
            EVERY,
            effects=f"walk_{updates}",
            updates=updates,
        )
    form = rows.put("form", interval(gap("sampled", "rl", "form"), seed))
    rows.add(
        "form",
        f"{mean('sampled', 'rl'):.2f} against {mean('sampled', 'form'):.2f} (which walks in"
        f" {mean('sampled_walks', 'form'):.2f} of draws), difference {shown(form, sign=True)}",
        units,
        _if(ready, clear_of(form, 0.05)),
        EVERY,
        effects="form",
    )
    coin = rows.put("coin", interval(gap("sampled", "coin", BASE), seed))
    rows.add(
        "coin",
        f"{mean('sampled', 'coin'):.2f} against {mean('sampled', BASE):.2f}, difference {shown(coin, sign=True)}; right"
        f" walks {mean('path', 'coin'):.2f} against {mean('path', BASE):.2f}",
        units,
        _if(ready, _alike(coin, "coin")),
        EVERY,
        effects="coin",
    )
    plain = rows.put("plain", deep)
    rows.add(
        "plain",
        f"all codes are plain: {here}, difference {shown(plain, sign=True)}",
        units,
        _if(ready, clear_of(plain, 0.10)),
        f"{ALONE} (the test of C1 again)",
        effects="plain",
    )


def _states(rows: Rows, tables: Mapping[str, pd.DataFrame], units: str, ready: bool, seed: int) -> None:
    of = matching(tables["states"], layer=LAYER)

    def alike(one: str, other: str, role: str, measure: str) -> pd.Series:
        return by_leaf(of, one=one, other=other, role=role, measure=measure)

    for one, other in ((BASE, "rl"), PAIR):
        apart = alike(one, other, "statement", "cosine") - alike(one, other, "question", "cosine")
        told = rows.put(f"cosine {one} {other}", interval(apart, seed))
        means = [alike(one, other, role, "cosine").mean() for role in ("statement", "question")]
        rows.add(
            "cosine",
            f"{means[0]:.3f} against {means[1]:.3f}, difference {shown(told, 3, sign=True)}",
            units,
            _if(ready, clear_of(told)),
            effects=f"cosine {one} {other}",
            one=one,
            other=other,
        )
    roles = ("statement, code", "question, code")
    if not len(alike(*PAIR, roles[0], "centred_cosine")):
        return
    beyond = {role: alike(*PAIR, role, "centred_cosine") - alike(PAIR[0], FLOOR, role, "centred_cosine")
              for role in roles}  # fmt: skip
    told = rows.put("matched", interval(beyond[roles[0]] - beyond[roles[1]], seed))
    rows.add(
        "matched",
        f"beyond the floor {beyond[roles[0]].mean():+.3f} in statements, {beyond[roles[1]].mean():+.3f} in questions,"
        f" difference {shown(told, 3, sign=True)}",
        units,
        _if(ready, clear_of(told)),
        effects="matched",
    )


def _patches(rows: Rows, tables: Mapping[str, pd.DataFrame], units: str, ready: bool, seed: int) -> None:
    of = matching(tables["patches"], layer=LAYER, direction=FORWARD)

    def effect(kind: str, copy: str, metric: str = "log_odds") -> pd.Series:
        return by_leaf(of, "effect", kind=kind, copy=copy, metric=metric)

    own = rows.put("patch", interval(effect(WALK, "source"), seed))
    beyond = {
        copy: rows.put(f"patch beyond {copy}", interval(effect(WALK, "source") - effect(WALK, copy), seed))
        for copy in ("twin", "another_prompt")
    }
    words = [clear_of(one) for one in beyond.values()]
    rows.add(
        "cause",
        f"log-odds {shown(own, sign=True)}; beyond another run's state {shown(beyond['twin'], sign=True)}, beyond"
        f" another prompt's {shown(beyond['another_prompt'], sign=True)}; a random move as far"
        f" {effect(WALK, 'random').mean():+.2f}",
        units,
        _if(ready, every(words)),
        EVERY,
        effects=("patch beyond twin", "patch beyond another_prompt", "patch"),
    )
    apart = effect(STATEMENT, "source", "logprob") - effect(STATEMENT, "twin", "logprob")
    told = rows.put("untouched", interval(apart, seed))
    odds = effect(STATEMENT, "source") - effect(STATEMENT, "twin")
    rows.add(
        "untouched",
        f"log-probability beyond another run's state {shown(told, 3, sign=True)} (log-odds {odds.mean():+.2f})",
        units,
        _if(ready, _alike(told, "untouched")),
        effects="untouched",
    )


def _reported(rows: Rows, tables: Mapping[str, pd.DataFrame], units: str) -> None:
    draws = tables["draws"].set_index(["arm", "k"]).share
    base = ", ".join(f"{draws[BASE, k]:.2f} of {k}" for arm, k in draws.index if arm == BASE)
    rows.numbers |= {f"base_at_{k}": float(draws[BASE, k]) for arm, k in draws.index if arm == BASE}
    rows.add("there", f"base: {base}; reinforced: {draws['rl', 1]:.2f} of 1", units, "reported")
    of = tables["behaviour"]
    arms = (BASE, *PAIR)
    told = "; ".join(
        f"{arm} {values(of, arm, 'filler').mean():.2f} and {values(of, arm, 'forced').mean():.2f}" for arm in arms
    )
    rows.add("room", told, units, "reported")
