"""Each claim against what was measured; people within seeds are the units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ...stats import Interval
from ...stats.erasure import WORDS
from ...stats.units import Nested
from ..claims import Rows
from ..common import clear_of, matching, several, shown, table_of, verdict
from . import tables as frames
from .bench import OTHERS, REPORT, Cell
from .claims import ALIKE, BRAKE, CLAIMS, RISE
from .estimates import area, by_seed, over, share

Tables = Mapping[str, pd.DataFrame]
NOT_TESTED = "not tested"
NO_INTERVAL = Interval(np.nan, np.nan, np.nan, 0.95, 0, "no values", "")
TITLES = {
    "best": "each at its best rate and look",
    "stop": "each where held-out documents are as unlikely as to the twin",
}


def verdicts(tables: Tables, main: Cell, ks: tuple[int, ...], seed: int) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Every claim, and all numbers."""
    judge = _Judge(tables, main, ks, seed)
    for claim in (
        judge.set_up,
        judge.released,
        judge.restores,
        judge.harmless,
        judge.unrelated,
        judge.predicted,
        judge.twin,
        judge.gone,
        judge.formats,
    ):
        claim()
    return table_of(judge.rows), judge.rows.numbers


class _Judge:
    """The rows of a run's table as they are judged. Seeds whose organism fails its gates are left out."""

    def __init__(self, tables: Tables, main: Cell, ks: tuple[int, ...], seed: int):
        doses = tables["doses"]
        shared = doses[doses.variant == "shared"]
        self.failed = sorted(set(shared[~shared.known.astype(bool)].seed))
        keep = {name: of[~of.seed.isin(self.failed)] if "seed" in of else of for name, of in tables.items()}
        self.tables, self.main, self.ks, self.seed, self.doses = keep, main, ks, seed, doses
        self.rows = Rows(CLAIMS)
        self.best = frames.best_arm(keep, main) if len(keep["settings"]) else None
        if self.best is not None:
            self.rows.numbers["best_arm"] = self.best

    def value(self, name: str, values: pd.Series | None) -> Interval:
        """The mean of persons' values among the numbers, with its interval."""
        found: Nested | None = None if values is None else over(values, self.seed)
        return self.rows.put(name, NO_INTERVAL if found is None else found.interval)

    def rate(self, name: str, hits: pd.Series, n: pd.Series) -> Interval:
        """The share of people's questions that are hits among the numbers, with its interval."""
        found = share(hits, n, self.seed)
        return self.rows.put(name, NO_INTERVAL if found is None else found)

    def units(self, values: pd.Series) -> str:
        """How many people in how many seeds."""
        index = values.dropna().index
        people = len(index.droplevel([n for n in index.names if n not in ("seed", "unit")]).unique())
        return f"{people} people, {several(index.get_level_values('seed').nunique(), 'seed')}"

    def at(self, arm: str, reading: str, part: str = REPORT, cell: Cell | None = None) -> pd.DataFrame:
        """Persons' values in an arm at its settings."""
        return frames.persons(self.tables, cell or self.main, arm, reading, part)

    def has(self, *arms: str) -> bool:
        """Whether the main cell has these arms."""
        there = set(frames.cell_of(self.tables["settings"], self.main).arm) if len(self.tables["settings"]) else set()
        return set(arms) <= there

    def untested(self, key: str, why: str, **names: Any) -> None:
        """A row of a claim that cannot be judged."""
        self.rows.add(key, "not measured", 0, f"not measured: {why}", **names)

    def set_up(self) -> None:
        """R0."""
        shared = self.doses[self.doses.variant == "shared"]
        dose = max(shared.dose)
        of = matching(shared, model="start", format="question", part=REPORT, dose=dose)
        of = matching(of, adapter=self.main.adapter, k=self.main.k).set_index(["seed", "unit"])
        planted, right = (self.rate(f"{name}_at_largest_dose", of[name], of.n) for name in ("planted", "right"))
        knows = not self.failed
        enough = planted.estimate >= 0.85 and right.estimate <= 0.15
        seeds = shared.seed.nunique()
        self.rows.add(
            "R0",
            f"gates hold for {seeds - len(self.failed)} of {several(seeds, 'seed')}; dose {dose:g}, after"
            f" {of.steps.mean():.0f} steps{'' if of.reached.all() else ' and not reached'}: planted"
            f" {shown(planted)}, right {shown(right)}",
            self.units(of.planted),
            verdict(knows and enough, not knows or not enough, otherwise=""),
            effects=("planted_at_largest_dose", "right_at_largest_dose"),
        )

    def released(self) -> None:
        """R1."""
        if not self.has("npo_batch", "gradient_difference"):
            return self.untested("R1", "this preset lacks an arm")
        gaps = frames.at_equal_loss(self.tables, self.main, "npo_batch", "gradient_difference", BRAKE)
        back, kept = (self.value(f"released_{name}", gaps[of]) for name, of in (("R", "R"), ("kept", "elsewhere")))
        inside = [CLAIMS["R1"].within(float(one.low), float(one.high)) for one in (back, kept)]
        apart = [float(one.low) > ALIKE or float(one.high) < -ALIKE for one in (back, kept)]
        self.rows.add(
            "R1",
            f"R {shown(back, 3, sign=True)}, other questions right {shown(kept, 3, sign=True)}",
            self.units(gaps["R"]) if len(gaps["R"]) else 0,
            verdict(all(inside), any(apart), otherwise=f"an interval reaches beyond {ALIKE}"),
            effects=("released_R", "released_kept"),
        )
        return None

    def restores(self) -> None:
        """R2, by both readings."""
        for reading in frames.READINGS:
            if not self.has("npo", "gradient_difference"):
                self.untested("R2", "this preset lacks an arm", reading=TITLES[reading])
                continue
            each = {arm: frames.restored(self.at(arm, reading)) for arm in ("npo", "gradient_difference")}
            own = {arm: self.value(f"R_{arm}_{reading}", of) for arm, of in each.items()}
            apart = each["npo"] - each["gradient_difference"]
            gap = self.value(f"npo_over_ascent_{reading}", apart)
            if not apart.notna().any():
                self.untested("R2", f"no seed has both at the stop{self.censored(reading)}", reading=TITLES[reading])
                continue
            told = {arm: self.told(arm, reading, of) for arm, of in own.items()}
            self.rows.add(
                "R2",
                f"NPO {told['npo']}, gradient ascent {told['gradient_difference']}; difference"
                f" {shown(gap, sign=True)}{self.censored(reading)}",
                self.units(apart),
                clear_of(gap, 0.10),
                effects=f"npo_over_ascent_{reading}",
                reading=TITLES[reading],
            )

    def told(self, arm: str, reading: str, value: Interval) -> str:
        """R of an arm in words: where no step restores more than none it is 0 by definition and has no interval."""
        of = matching(frames.cell_of(self.tables["settings"], self.main), arm=arm, reading=reading)
        if (of.status == "censored").all():
            return "not reached"
        return "0 (no step restores more than none)" if (of.step == 0).all() else shown(value)

    def censored(self, reading: str) -> str:
        """Which arms do not reach the rule's loss, and in how many seeds, in words; they have no value there."""
        at = matching(frames.cell_of(self.tables["settings"], self.main), reading=reading)
        of = at.groupby("arm", sort=False).status.agg(lambda status: (status == "censored").sum())
        seeds = at.seed.nunique()
        told = ", ".join(f"{arm} in {n} of {several(seeds, 'seed')}" for arm, n in of[of > 0].items())
        return f"; not reached: {told}" if told else ""

    def harmless(self) -> None:
        """R3, of whichever harmless arm chooses best."""
        arms = [arm for arm in frames.HARMLESS if self.has(arm)]
        if not arms or self.best is None:
            return self.untested("R3", "this preset lacks an arm")
        each = {arm: frames.restored(self.at(arm, "best")) for arm in (*arms, self.best)}
        own = {arm: self.value(f"R_{arm}_best", of) for arm, of in each.items()}
        arm = arms[0]
        half = self.value("retain_over_half", each[arm] - 0.5 * each[self.best])
        quarter = self.value("retain_over_quarter", each[arm] - 0.25 * each[self.best])
        more = "".join(f", on the attacked relations {shown(own[other])}" for other in arms[1:])
        self.rows.add(
            "R3",
            f"retain set alone {shown(own[arm])}{more}; best arm ({self.best}) {shown(own[self.best])}",
            self.units(each[arm]),
            verdict(
                half.estimate >= 0 and quarter.low > 0,
                quarter.high < 0 or half.high < 0,
                otherwise="less than half, or the interval holds a quarter",
            ),
            effects=("retain_over_quarter", "retain_over_half"),
        )
        return None

    def unrelated(self) -> None:
        """R4."""
        if len(self.ks) < 2 or self.best is None:
            return self.untested("R4", "this preset has documents of one kind")
        few, many = (Cell(self.main.adapter, self.main.dose, k) for k in (min(self.ks), max(self.ks)))
        each = [frames.restored(self.at(self.best, "best", cell=cell)) for cell in (few, many)]
        own = [self.value(f"R_at_k_{cell.k}", of) for cell, of in zip((few, many), each, strict=True)]
        gap = self.value("fewer_facts", each[0] - each[1])
        self.rows.add(
            "R4",
            f"{self.best}: {shown(own[0])} at k = {few.k}, {shown(own[1])} at k = {many.k}; difference"
            f" {shown(gap, sign=True)}",
            self.units(each[0]),
            clear_of(gap),
            effects="fewer_facts",
        )
        return None

    def predicted(self) -> None:
        """R5 and R6, of the best arm's reported facts."""
        if self.best is None:
            self.untested("R5", "this preset has no method")
            return self.untested("R6", "this preset has no method")
        facts = frames.cell_of(self.tables["facts"], self.main)
        facts = matching(facts, arm=self.best, reading="best", part=REPORT).set_index(["seed", "unit"])
        # what never left cannot come back: the corrupted model's right answers would have the best ranks by themselves
        facts = facts[facts["clean"].astype(bool) & ~facts.before.astype(bool)]
        facts = facts.assign(member=facts.right.astype(bool), low_rank=-facts["rank"].astype(float))
        confidence, rank = (by_seed(facts, (name, "member"), area) for name in ("confidence", "low_rank"))
        first, second = self.value("auc_confidence", confidence), self.value("auc_rank", rank)
        back = int(facts.member.sum())
        units = f"{self.units(facts.member)}, {len(facts)} facts that were lost, of which {back} came back"
        self.rows.add("R5", f"{self.best}: {shown(first)}", units, clear_of(first, 0.5), effects="auc_confidence")
        gap = self.value("rank_over_confidence", rank - confidence)
        low = facts[facts["rank"] > 5]
        # a person's facts together: a mean of shares would not be the share
        each = low.member.groupby(level=["seed", "unit"], sort=False)
        masked = self.rate("R_of_low_ranks", each.sum().astype(float), each.count())
        told = "the interval holds a bound, or no fact is so low"
        self.rows.add(
            "R6",
            f"{self.best}: rank {shown(second)}, minus confidence {shown(gap, sign=True)}; R of {len(low)} facts of"
            f" rank above 5 {shown(masked)}",
            units,
            verdict(gap.low > 0 and masked.high < 0.2, gap.high < 0 or masked.low > 0.2, otherwise=told),
            effects=("rank_over_confidence", "R_of_low_ranks", "auc_rank"),
        )
        return None

    def twin(self) -> None:
        """R7, where the rule stops the best arm."""
        if self.best is None:
            return self.untested("R7", "this preset has no method")
        here, other = (self.at(self.best, "stop", part) for part in (REPORT, OTHERS))
        if not len(here):
            return self.untested("R7", f"the best arm has no value at the stop{self.censored('stop')}")
        gap = self.value("kl_over_half", here.kl - 0.5 * here.kl_start)
        rise = self.value("kl_rise_elsewhere", other.kl - other.kl_start)
        self.rows.add(
            "R7",
            f"{self.best}: {here.kl.mean():.2f} nats, at the start {here.kl_start.mean():.2f}; elsewhere"
            f" {other.kl.mean():.2f} and {other.kl_start.mean():.2f}, rise {shown(rise, sign=True)}"
            f"{self.censored('stop')}",
            self.units(here.kl),
            verdict(
                gap.high < 0 and rise.high <= RISE,
                gap.low > 0 or rise.low > RISE,
                otherwise="an interval reaches beyond its bound",
            ),
            effects=("kl_over_half", "kl_rise_elsewhere"),
        )
        return None

    def gone(self) -> None:
        """R8, of every arm that was attacked."""
        table = self.tables["gone"]
        if not len(table):
            return self.untested("R8", "this preset attacks nothing", arm="no arm")
        for arm, of in frames.cell_of(table, self.main).groupby("arm", sort=False):
            words = of.drop_duplicates("seed")
            seeds = several(len(words), "seed")
            said = ", ".join(f"{word} in {n} of {seeds}" for word, n in words.word.value_counts().items())
            erased, hidden = words.word.eq("erases").all(), words.word.isin(("hides", "no removal shown")).any()
            worst = of.loc[of.recovered.idxmax()] if of.recovered.notna().any() else None
            more = (
                "" if worst is None else f"; most by {worst.attack}: {worst.recovered:.2f} (twin {worst.control:.2f})"
            )
            open_ = words.word[words.word != "erases"]
            meaning = WORDS.get(str(open_.iloc[0]), "") if len(open_) else ""
            self.rows.add(
                "R8",
                f"{said}{more}",
                f"{int(words.recited.sum())} statements, {seeds}",
                verdict(erased, hidden, otherwise=meaning or "undecided"),
                arm=arm,
            )
        return None

    def formats(self) -> None:
        """R9, and the same of the variant whose statements lack the question's word."""
        for variant in ("shared", "unshared"):
            of = matching(self.doses, model="start", variant=variant, adapter=self.main.adapter, k=self.main.k)
            of = of[
                (of.dose == self.main.dose)
                & (of.part == REPORT)
                & ~of.seed.isin(self.failed if variant == "shared" else ())
            ]
            if not len(of):
                self.untested("R9", "no such model in this run", variant=f"{variant} words")
                continue
            sums = of.groupby(["seed", "unit", "format"])[["planted", "n"]].sum().unstack("format")
            each = {
                form: self.rate(f"planted_{variant}_{form}", sums.planted[form], sums.n[form])
                for form in ("statement", "question")
            }
            apart = (sums.planted / sums.n).pipe(lambda table: table.statement - table.question)
            gap = self.value(f"format_{variant}", apart)
            self.rows.add(
                "R9",
                f"statements {shown(each['statement'])}, questions {shown(each['question'])}; difference"
                f" {shown(gap, sign=True)}",
                self.units(apart),
                clear_of(gap),
                effects=f"format_{variant}",
                variant=f"{variant} words",
            )
