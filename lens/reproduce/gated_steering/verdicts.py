"""The claims against what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ...stats import Interval, at_equal_cost
from ..claims import Rows
from ..common import EVERY, clear_of, shown, table_of, verdict
from .arms import ALWAYS, BIAS, GATED, GLOBAL_GATED, ON_REFUSAL, ON_TEST, PUBLISHED, RANDOM, RANDOM_GATE
from .claims import CLAIMS
from .tables import Chains, Shares, Size, chosen, interval, left_out, tested

#: What an organism has to be for a claim to be tested: gates of its card.
NEEDED = {
    "porter": ("rates_off_plan", "make_sharp_refused", "disguised_seen_refused"),
    "reasoner": ("finished", "best_sum", "rates_off_plan"),
}
UNSEEN = "unseen_over_half_of_rate_at_three"


def verdicts(tables: Mapping[str, pd.DataFrame], seed: int) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Each claim against what was measured, and all numbers."""
    rows = Rows(CLAIMS)
    _set_up(rows, tables)
    choose, report = (Shares(tested(tables), split, seed) for split in ("choose", "report"))
    sizes = chosen(choose)
    rows.numbers |= {f"size {arm}": size for arm, size in sizes.items()}
    _published(rows, report)
    _prices(rows, report, sizes)
    _areas(rows, choose, report)
    _direction(rows, report, sizes)
    for model in ("useful", "idle"):
        if not tables["chains"].empty and model in set(tables["chains"].model):
            _thoughts(rows, Chains(tables["chains"], model, seed), model, seed)
    _not_tested(rows, tables["organisms"])
    return table_of(rows), rows.numbers


def _not_tested(rows: Rows, gates: pd.DataFrame) -> None:
    """Claims about an organism that is not what it should be are not judged."""
    failed = {(str(r.organism), str(r.gate)) for r in gates[~gates.holds].itertuples()}
    for i, row in enumerate(rows):
        organism = "porter" if row.key.startswith("G") else "reasoner"
        if organism == "reasoner" and row.claim.startswith("Idle"):
            organism = "reasoner-twin"
        missing = [g for o, g in sorted(failed) if o == organism and g in NEEDED[organism.removesuffix("-twin")]]
        if row.key == "G8" and ("porter", UNSEEN) in failed:
            missing.append(UNSEEN)
        if row.key != "G0" and missing:
            rows[i] = row._replace(verdict=f"not measured: not tested, the organism fails {', '.join(missing)}")


def _set_up(rows: Rows, tables: Mapping[str, pd.DataFrame]) -> None:
    gates, same = tables["organisms"], tables["alike"]
    failed = gates[~gates.holds]
    without = left_out(gates)
    out = f"; lists of {' and '.join(without)} are left out of what follows" if without else ""
    rows.numbers |= {"gates": len(gates), "gates_failed": len(failed), "texts_alike": float(same.same.mean())}
    said = "; ".join(f"{r.organism} {r.seed}: {r.gate} {r.value:.2f}" for r in failed.itertuples()) or "all hold"
    rows.add(
        "G0",
        f"{len(gates) - len(failed)} of {len(gates)} gates ({said}); {int(same.same.sum())} of {len(same)} texts are"
        f" those written one by one{out}",
        f"{len(gates)} gates, {len(same)} texts",
        verdict(failed.empty and bool(same.same.all()), True, said if len(failed) else ""),
    )


def _units(report: Shares, name: str) -> str:
    return f"{report.n[name]} prompts"


def _published(rows: Rows, report: Shares) -> None:
    cured, right = (report.of(PUBLISHED, 1.0, name) for name in ("cured", "right"))
    with np.errstate(invalid="ignore", divide="ignore"):
        share = rows.put("G1_right_of_cured", interval(right / cured, report.n["cured"]))
    halved = rows.put("G1", interval(cured, report.n["cured"]))
    holds = halved.low >= 0.5 and share.low >= 0.8
    fails = halved.high < 0.5 or share.high < 0.8
    rows.add(
        "G1",
        f"cured {shown(halved)}, of which right {shown(share)}; answered lists that stay right"
        f" {report.of(PUBLISHED, 1.0, 'kept_right')[0]:.2f} (before {report.of('none', 0.0, 'kept_right')[0]:.2f})",
        _units(report, "cured"),
        verdict(holds, fails, otherwise="an interval holds its bound"),
        EVERY,
        effects=("G1", "G1_right_of_cured"),
    )
    more = report.of(ON_TEST, 1.0, "cured") - cured
    fit = rows.put("G3", interval(more, report.n["cured"]))
    rows.add(
        "G3",
        f"cured {report.of(ON_TEST, 1.0, 'cured')[0]:.2f} against {cured[0]:.2f}: {shown(fit, sign=True)}",
        _units(report, "cured"),
        clear_of(fit),
        effects="G3",
    )


def _prices(rows: Rows, report: Shares, sizes: Mapping[str, float]) -> None:
    for arm in (PUBLISHED, GATED, BIAS):
        size = 1.0 if arm == PUBLISHED else sizes.get(arm, 1.0)
        lost = {name: report.of(arm, size, name) for name in ("disguised_lost", "make_lost")}
        free = report.of(arm, size, "free_right") - report.of("none", 0.0, "free_right")
        told = {name: rows.put(f"G2 {arm} {name}", interval(of, report.n[name])) for name, of in lost.items()}
        other = rows.put(f"G2 {arm} free", interval(free, report.n["free_right"]))
        holds = all(one.high <= 0.03 for one in told.values()) and -0.01 <= other.low and other.high <= 0.01
        fails = any(one.low > 0.03 for one in told.values()) or other.high < -0.01 or other.low > 0.01
        cured = report.of(arm, size, "cured")[0]
        rows.add(
            "G2",
            f"size {size:g} cures {cured:.2f}; real refusals lost: disguised {shown(told['disguised_lost'])}, bare"
            f" {shown(told['make_lost'])}; other tasks {shown(other, sign=True)}",
            f"{report.n['disguised_lost']} disguised, {report.n['make_lost']} bare, {report.n['free_right']} others",
            verdict(holds, fails, otherwise="an interval reaches beyond its bounds"),
            EVERY,
            effects=(f"G2 {arm} disguised_lost", f"G2 {arm} make_lost"),
            arm=arm[0].upper() + arm[1:],
        )


def _areas(rows: Rows, choose: Shares, report: Shares) -> None:
    area = {arm: report.area(arm, choose) for arm in (GATED, GLOBAL_GATED, ON_REFUSAL, ALWAYS, RANDOM_GATE, BIAS)}
    for arm, values in area.items():
        rows.put(f"area {arm}", interval(values, report.n["right"]))

    def compared(key: str, effect: str, arm: str, other: str, null: float, **names: Any) -> None:
        more = rows.put(effect, interval(area[arm] - area[other], report.n["right"]))
        rows.add(
            key,
            f"area {area[arm][0]:.3f} against {area[other][0]:.3f}: {shown(more, 3, sign=True)}",
            f"{report.n['right']} over-refused, {report.n['disguised_lost']} disguised",
            clear_of(more, null),
            effects=effect,
            **names,
        )

    compared("G4", "G4", GATED, GLOBAL_GATED, 0.02)
    for gate, arm in (("over-refused against really refused", GATED), ("on the direction that is pushed", ON_REFUSAL)):
        compared("G5", f"G5 {arm} always", arm, ALWAYS, 0.05, gate=gate, rival="the same edit always")
    named = {"gate": "over-refused against really refused", "rival": "a random gate of equal rate"}
    compared("G5", "G5 random gate", GATED, RANDOM_GATE, 0.05, **named)
    compared("G6", "G6", GATED, BIAS, 0.0)


def _direction(rows: Rows, report: Shares, sizes: Mapping[str, float]) -> None:
    size = sizes.get(ALWAYS, 1.0)
    own, random = report.of(ALWAYS, size, "cured"), report.of(RANDOM, size, "cured")
    less = rows.put("G7", interval(0.2 * own - random, report.n["cured"]))
    rows.add(
        "G7",
        f"cured {own[0]:.2f} by the direction, {random[0]:.2f} by a random one, size {size:g}; .2 of the first less the"
        f" second {shown(less, sign=True)}",
        _units(report, "cured"),
        clear_of(less),
        effects="G7",
    )
    size = sizes.get(GATED, 1.0)
    seen, unseen = report.of(GATED, size, "cured_two"), report.of(GATED, size, "cured_unseen")
    more = rows.put("G8", interval(unseen - 0.7 * seen, report.n["cured_unseen"]))
    rows.add(
        "G8",
        f"cured {unseen[0]:.2f} of lists with unseen words, {seen[0]:.2f} with seen ones; over .7 of it"
        f" {shown(more, sign=True)}",
        f"{report.n['cured_unseen']} and {report.n['cured_two']} lists of two and three sharp words",
        clear_of(more),
        effects="G8",
    )


def _thoughts(rows: Rows, chains: Chains, model: str, seed: int) -> None:
    size, name = chains.chosen(), model.capitalize()
    sizes = ", ".join(f"{one:g}" for one in size.values())
    n, over = f"{chains.n} problems", "percentile bootstrap over problems"

    def told(key: str, values: np.ndarray) -> Interval:
        return rows.put(f"{key} {model}", interval(values, chains.n, over))

    none, vector = chains.mean("none", "tokens"), chains.mean("vector", "tokens", size)
    saved = told("S1", 1 - vector / none)
    ended = told("S1 finished", chains.mean("vector", "finished", size) - chains.mean("none", "finished"))
    rows.add(
        "S1",
        f"size {sizes}: {none[0]:.1f} to {vector[0]:.1f} tokens, saved {shown(saved)}; finished"
        f" {shown(ended, sign=True)}; saved at every token {1 - chains.mean('everywhere', 'tokens')[0] / none[0]:.2f},"
        f" by a random direction {1 - chains.mean('random direction', 'tokens')[0] / none[0]:.2f}",
        n,
        verdict(
            saved.low > 0.1 and ended.low > -0.02, saved.high < 0.1 or ended.high < -0.02, otherwise="by its interval"
        ),
        EVERY,
        effects=f"S1 {model}",
        model=name,
    )
    right = {"none": chains.mean("none", "right"), "vector": chains.mean("vector", "right", size)}
    capped = told("S2 capped", chains.mean("vector, capped", "right") - chains.mean("none, capped", "right"))
    better = told("S2", right["vector"] - right["none"])
    rows.add(
        "S2",
        f"accuracy {right['none'][0]:.3f} to {right['vector'][0]:.3f}: {shown(better, 3, sign=True)}; cut at the median"
        f" length of unsteered chains {shown(capped, 3, sign=True)}",
        n,
        clear_of(better),
        effects=(f"S2 {model}", f"S2 capped {model}"),
        model=name,
    )
    _equal(rows, chains, size, name, seed)
    _types(rows, chains, size, name, told)


def _equal(rows: Rows, chains: Chains, size: Size, name: str, seed: int) -> None:
    def values(arm: str, column: str, at: Size = None) -> np.ndarray:
        return chains.rows(arm, at).sort_values(["seed", "item"])[column].to_numpy()

    penalties = sorted(chains.rows("length penalty")["size"].unique())
    rivals: list[tuple[str, float | None]] = [("none", None), *(("length penalty", p) for p in penalties)]
    costs, gains = (np.stack([values(a, c, at) for a, at in rivals]).astype(float) for c in ("tokens", "right"))
    vector = [values("vector", column, size).astype(float) for column in ("tokens", "right")]
    equal = at_equal_cost(*vector, costs, gains, clusters=values("none", "seed"), seed=seed)
    rows.put(f"S3 {name.lower()}", equal)
    words = {
        arm: (values(arm, "tokens").mean(), values(arm, "right").mean()) for arm in ("keyword ban", "ban of all words")
    }
    rows.add(
        "S3",
        f"accuracy over penalties of equal length {shown(equal, 3, sign=True)}; "
        + ", ".join(f"{arm} {tokens:.1f} tokens, {right:.3f} right" for arm, (tokens, right) in words.items()),
        f"{chains.n} problems",
        clear_of(equal),
        effects=f"S3 {name.lower()}",
        model=name,
    )


def _types(rows: Rows, chains: Chains, size: Size, name: str, told: Any) -> None:
    def rate(arm: str, thought: str, of: Any, at: Size = None) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(chains.total(arm, thought, at) / of(arm, at))

    def wrong(arm: str, at: Size) -> np.ndarray:
        return chains.total(arm, "wrong", at)

    def fine(arm: str, at: Size) -> np.ndarray:
        return chains.total(arm, "steps", at) - chains.total(arm, "wrong", at)

    with np.errstate(invalid="ignore", divide="ignore"):
        repairs = 1 - rate("vector", "repairs", wrong, size) / rate("none", "repairs", wrong)
        idle = 1 - rate("vector", "idle", fine, size) / rate("none", "idle", fine)
    spared = told("S4", idle - repairs)
    few = chains.total("none", "wrong")[0] < 30
    rows.add(
        "S4",
        f"reflections on wrong steps fall by {repairs[0]:.2f}, on right by {idle[0]:.2f}: {shown(spared, sign=True)}"
        if not few
        else f"{int(chains.total('none', 'wrong')[0])} wrong steps: nothing to repair",
        f"{int(chains.total('none', 'wrong')[0])} wrong steps in {chains.n} chains",
        "not judged: too few wrong steps" if few else clear_of(spared),
        effects=() if few else f"S4 {name.lower()}",
        model=name,
    )
    none = chains.mean("none", "tokens")
    saved = {
        arm: none - chains.mean(arm, "tokens", size if arm == "vector" else None)
        for arm in ("vector", "words", "shuffled types")
    }
    types = told("S5", (saved["vector"] - saved["shuffled types"]) / none)
    words = told("S5 words", (saved["words"] - 0.9 * saved["vector"]) / none)
    rows.add(
        "S5",
        f"tokens saved {saved['vector'][0]:.1f} by true types, {saved['words'][0]:.1f} by words,"
        f" {saved['shuffled types'][0]:.1f} by shuffled ones; true less shuffled {shown(types, sign=True)}, words less"
        f" .9 of true {shown(words, sign=True)} of the length",
        f"{chains.n} problems",
        verdict(types.low > 0 and words.low >= 0, types.high < 0 or words.high < 0, otherwise="an interval holds 0"),
        EVERY,
        effects=(f"S5 {name.lower()}", f"S5 words {name.lower()}"),
        model=name,
    )
