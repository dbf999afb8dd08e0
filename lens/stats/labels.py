"""Binary labels by the randomisation engine: membership tests and copyright traps.

The area under the curve is a rank sum, so its permutation p is that of `permutation_correlation` between score and
label. The p-values are guaranteed where a coin decided who is a member (within each exchange group); members and
non-members that were found, not drawn, may differ for other reasons.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import optimize, stats

from lens.arguments import Draws, Seed, Share, door
from lens.stats.intervals import bootstrap
from lens.stats.means import clopper_pearson
from lens.stats.randomization import grouped_moments, permutation_correlation
from lens.stats.samples import (
    ALTERNATIVES,
    Interval,
    PValue,
    StatisticsError,
    as_array,
    check_choice,
    check_open_unit,
    percent,
    short,
    whole,
)
from lens.stats.significance import binomial_test

MEMBER = "a coin decided who is a member, within each group"
INSERTED = "a coin decided which of each set was inserted, and this test was chosen beforehand"


@dataclass(frozen=True, eq=False)
class AUC:
    """How well a score tells members from the others.

    `auc`: share of member/non-member pairs in which the member has the higher score, ties half; `interval`: rows taken
    as independent, approximate; `p`: guaranteed if a coin decided who is a member, labels permuted within groups;
    `null`: the AUC expected of labels permuted within groups (0.5 for one group; else what the groups alone give away);
    `tpr_at`: true-positive rate at each false-positive rate; `notes`: what the numbers of rows cannot resolve.
    """

    auc: float
    interval: Interval
    p: PValue
    z: float
    null: float
    tpr_at: dict[float, Interval]
    n: int
    members: int
    left_out: int = 0
    notes: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        tpr = "".join(
            f", TPR {short(i.estimate)} [{short(i.low)}, {short(i.high)}] at {percent(f)} % FPR"
            for f, i in self.tpr_at.items()
        )
        by_groups = f" (groups alone {short(self.null)})" if abs(self.null - 0.5) > 1e-9 else ""
        missing = f", {whole(self.left_out)} rows without a score left out" if self.left_out else ""
        notes = "".join(f"; {note}" for note in self.notes)
        return (
            f"{self.interval}{by_groups}{tpr}, {whole(self.members)} members{missing}; {self.p}: {self.p.worth};"
            f" intervals approximate{notes}"
        )


@door(StatisticsError)
def auc(
    score,
    member,
    *,
    groups=None,
    resamples: Draws = 100_000,
    seed: Seed = 0,
    alternative: str = "greater",
    level: Share = 0.95,
    fpr: tuple[float, ...] = (0.01,),
    draws: str = "auto",
    alpha: Share | None = None,
) -> AUC:
    """Area under the curve with its interval, permutation p and true-positive rates at fixed false-positive rates.

    `score`: [n], NaN where missing; `member`: [n] of 0/1 or booleans. `alternative`: "greater" if members should score
    higher (the rates use the same direction). Interval: DeLong's variance on the logit scale; at 0 or 1 Newcombe's
    method 5. A rate's threshold is the lowest one that at most a share `fpr` of the non-members exceeds; its interval
    holds the threshold's own error too (given the threshold alone it would cover 47 % of 95). Raises `StatisticsError`.
    Sources: DeLong, DeLong & Clarke-Pearson 1988; Newcombe 2006; Carlini et al. 2022 for rates at low FPR.
    """
    check_choice(alternative, "alternative", ALTERNATIVES)
    level = check_open_unit(level, "level")
    rates = [check_open_unit(rate, "fpr") for rate in np.atleast_1d(fpr).tolist()]
    labels, values = as_array(member, "member"), as_array(score, "score")
    if not np.isin(labels, (0.0, 1.0)).all():
        bad = labels[~np.isin(labels, (0.0, 1.0))].flat[0]
        raise StatisticsError(f"member has the value {bad:g}; expected 0 or 1 for each row. Threshold counts first.")
    if labels.shape != values.shape or labels.ndim != 1:
        raise StatisticsError(
            f"member has shape {labels.shape} and score has shape {values.shape}; expected one of each for a row. Align"
            " them."
        )
    present = ~np.isnan(values)
    inside, outside = values[present & (labels == 1)], values[present & (labels == 0)]
    if not inside.size or not outside.size:
        raise StatisticsError(
            f"member leaves {inside.size} members and {outside.size} others with a score; expected both. Add the"
            " missing kind."
        )
    test = permutation_correlation(
        values, labels, groups=groups, alternative=alternative, resamples=resamples, seed=seed, draws=draws, alpha=alpha
    )
    n1, n0 = inside.size, outside.size
    ranks = stats.rankdata(values[present])
    area = _area(ranks[labels[present] == 1].sum(), n1, n0)
    present_groups = None if groups is None else np.asarray(groups)[present]
    null = _area(grouped_moments(ranks, labels[present], present_groups)[0], n1, n0)
    low, high, how = _auc_interval(inside, outside, area, level)
    sign = -1.0 if alternative == "less" else 1.0
    tpr = {rate: _rate_at(sign * inside, sign * outside, rate, level) for rate in rates}
    notes = tuple(
        f"{whole(n0)} non-members cannot resolve {percent(rate)} % FPR (at least"
        f" {whole(math.ceil(round(1 / rate, 9)))})"
        for rate in rates
        if n0 * rate < 1 - 1e-9
    )
    return AUC(
        area,
        Interval(area, low, high, level, n1 + n0, how, "AUC"),
        replace(test.p, condition=MEMBER),
        test.z,
        null,
        tpr,
        n1 + n0,
        n1,
        test.left_out,
        notes,
    )


@dataclass(frozen=True, eq=False)
class TrapTest:
    """Inserted traps against their controls: `difference` (mean of trap minus its controls' mean), `p` over which of
    them was inserted, and the sign test.

    Both p-values are guaranteed if the inserted one was drawn at random; choose one of them beforehand.
    """

    difference: Interval
    p: PValue
    sign: PValue | None
    auc: float
    n: int
    left_out: int = 0

    def __str__(self) -> str:
        sign = f"; sign test {self.sign}: {self.sign.worth}" if self.sign else ""
        missing = f", {whole(self.left_out)} sets with a missing score left out" if self.left_out else ""
        return (
            f"{self.difference}{missing}, AUC {short(self.auc)}; {self.p}: {self.p.worth}{sign}; interval approximate"
        )


@door(StatisticsError)
def paired_trap_test(
    trap,
    control,
    *,
    alternative: str = "less",
    resamples: Draws = 100_000,
    seed: Seed = 0,
    level: Share = 0.95,
    alpha: Share | None = None,
) -> TrapTest:
    """Permutation test of trap sequences against the controls they were drawn with: one of each set was inserted,
    chosen by a coin.

    `trap`: [n] scores (for perplexity or NLL a memorised trap is lower: "less"); `control`: [n] or [n, k], the others
    of each set. A set with a NaN is left out. With one control the test is the sign-flip test of the differences, and
    the exact sign test comes too (ties left out). Raises `StatisticsError`.
    Source: Meeus et al. 2024 for the traps.
    """
    inserted, others = as_array(trap, "trap"), as_array(control, "control")
    if (
        inserted.ndim != 1
        or others.ndim not in (1, 2)
        or others.shape[0] != inserted.size
        or inserted.size < 2
        or others.size == 0
    ):
        raise StatisticsError(
            f"trap has shape {inserted.shape}, control {others.shape}; expected [n] and [n] or [n, k] with n >= 2."
            " Align them by set."
        )
    others = others.reshape(inserted.size, -1)
    present = ~(np.isnan(inserted) | np.isnan(others).any(axis=1))
    if present.sum() < 2:
        raise StatisticsError(
            f"trap and control share {int(present.sum())} sets without NaN; expected at least 2. Check the scorer."
        )
    inserted, others = inserted[present], others[present]
    n, k = others.shape
    table = np.column_stack([inserted, others])
    if (table.min(axis=1) == table.max(axis=1)).all():
        raise StatisticsError(
            f"trap equals control in all {n} sets; expected scores that differ. Check that the right sequences were"
            " scored."
        )
    label = np.zeros(table.shape)
    label[:, 0] = 1
    sets = np.repeat(np.arange(n), k + 1)
    test = permutation_correlation(
        table.ravel(),
        label.ravel(),
        groups=sets,
        statistic="pearson",
        alternative=alternative,
        resamples=resamples,
        seed=seed,
        alpha=alpha,
    )
    difference = inserted - others.mean(axis=1)
    p = PValue(test.p.p, test.p.kind, n, test.p.method, float(difference.mean()), alternative, test.p.floor, INSERTED)
    interval = bootstrap(difference, level=level, seed=seed, values="number")
    interval = Interval(
        interval.estimate, interval.low, interval.high, level, n, interval.method, "trap minus control", interval.kind
    )
    sign = None
    if k == 1 and (difference != 0).any():
        sign = binomial_test(
            int((difference > 0).sum()), int((difference != 0).sum()), 0.5, alternative=alternative
        ).given(INSERTED)
    area = _area(stats.rankdata(table.ravel())[label.ravel() == 1].sum(), n, n * k)
    return TrapTest(interval, p, sign, area, n, int((~present).sum()))


# ---- parts -------------------------------------------------------------------------------------------------------


def _area(rank_sum, n1, n0):
    return float((rank_sum - n1 * (n1 + 1) / 2) / (n1 * n0))


def _auc_interval(inside, outside, area, level):
    """Bounds from DeLong's variance on the logit scale, held inside (0, 1); Newcombe's where that variance is 0 or
    undefined.
    """
    n1, n0 = inside.size, outside.size
    z = stats.norm.isf((1 - level) / 2)
    if 0 < area < 1 and min(n1, n0) > 1:
        ranks = stats.rankdata(np.concatenate([inside, outside]))
        of_member = (ranks[:n1] - stats.rankdata(inside)) / n0  # share of non-members below each member
        of_other = 1 - (ranks[n1:] - stats.rankdata(outside)) / n1
        variance = of_member.var(ddof=1) / n1 + of_other.var(ddof=1) / n0
        if variance > 0:
            half = z * math.sqrt(variance) / (area * (1 - area))
            logit = math.log(area / (1 - area))
            return float(1 / (1 + math.exp(half - logit))), float(1 / (1 + math.exp(-half - logit))), "logit DeLong"
    count = (n1 + n0) / 2 - 1

    def gap(a):
        return (a - area) ** 2 - z**2 * a * (1 - a) * (1 + count * (1 - a) / (2 - a) + count * a / (1 + a)) / (n1 * n0)

    edge = 1e-9  # the equation has a root of its own at 0 and at 1
    below, above = min(area, 1 - edge), max(area, edge)
    # at a level near 0 the bounds are nearer to the area than the edge is
    low = 0.0 if area <= 0 else optimize.brentq(gap, 0.0, below) if gap(below) < 0 else below
    high = 1.0 if area >= 1 else optimize.brentq(gap, above, 1.0) if gap(above) < 0 else above
    return float(low), float(high), "Newcombe method 5"


def _rate_at(inside, outside, rate, level):
    """Share of members above the lowest threshold that at most `rate` of the non-members exceed, with the threshold's
    own error inside.

    The true threshold, which `rate` of all non-members exceed, lies between two of their order statistics; the bounds
    are Clopper-Pearson at those, so that they hold for any distribution (half of the level for each of the two). Few
    non-members bound the threshold on one side only: the lower bound is then 0.
    """
    n0, tail = outside.size, (1 - level) / 4
    allowed = math.floor(round(rate * n0, 9))
    ordered = np.sort(outside)[::-1]
    threshold = ordered[allowed]
    # of n0 non-members Binomial(n0, rate) exceed the true threshold: fewer than `few` or more than `many` with at most
    # `tail` each
    few, many = int(stats.binom.ppf(tail, n0, rate)), int(stats.binom.isf(tail, n0, rate))
    highest = np.inf if few == 0 else ordered[few - 1]
    lowest = -np.inf if many >= n0 else ordered[many]
    low, _ = clopper_pearson((inside > highest).sum(), inside.size, tail)
    _, high = clopper_pearson((inside >= lowest).sum(), inside.size, tail)
    false = float((outside > threshold).mean())
    method = f"Clopper-Pearson at the bounds of the threshold of {whole(n0)} non-members (FPR {short(false)})"
    return Interval(
        float((inside > threshold).mean()),
        float(low),
        float(high),
        level,
        inside.size,
        method,
        f"TPR at {percent(rate)} % FPR",
    )
