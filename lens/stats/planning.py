"""Before and around a test: power, calibration, sample splitting, and what choosing the best cell costs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np
from scipy import stats

from lens.arguments import Draws, Filled, Labels, Positive, Seed, Share, door, shown
from lens.stats.intervals import bootstrap, proportion
from lens.stats.samples import (
    Interval,
    PValue,
    StatisticsError,
    as_p_values,
    as_sample,
    blocks,
    budget,
    check_choice,
    check_count,
    check_open_unit,
    generator,
    percent,
    short,
    whole,
)

# ---- power -------------------------------------------------------------------------------------------------------


def _takes_seed(test: Callable) -> bool:
    try:
        return "seed" in inspect.signature(test).parameters
    except (TypeError, ValueError):  # a function of C
        return False


def _called(name: str, function: Callable, *args: Any, **kwargs: Any) -> Any:
    """What a person's function returns. Raises StatisticsError, from what it raised, by the name of the argument."""
    try:
        return function(*args, **kwargs)
    except StatisticsError:
        raise
    except Exception as error:
        raise StatisticsError(
            f"{name}: your function raised {type(error).__name__}: {error}. Run it by hand: test(draw(rng, effect))."
        ) from error


@door(StatisticsError)
def power(
    test: Callable,
    draw: Callable[[np.random.Generator, float], Any],
    effect: float,
    alpha: Share = 0.05,
    simulations: Draws = 1000,
    seed: Seed = 0,
    level: Share = 0.95,
) -> Interval:
    """Share of simulated samples in which `test` rejects at `alpha`, with its Monte Carlo (Clopper-Pearson) interval.

    `draw(rng, effect)` returns one sample, or a tuple of samples, from a NumPy generator; `test(*samples)` returns a
    p-value or a `PValue`. A test with an argument `seed` (every random one here) gets a fresh one each time. At effect
    0 this is the test's size. Raises `StatisticsError`.
    """
    alpha = check_open_unit(alpha, "alpha")
    check_open_unit(level, "level")
    simulations = check_count(simulations, "simulations", 10, "to say anything about a rate")
    rng = generator(seed)
    seeded = _takes_seed(test)
    rejections = 0
    for _ in range(simulations):
        sample = _called("draw", draw, rng, effect)
        extra = {"seed": int(rng.integers(2**31))} if seeded else {}
        result = _called("test", test, *(sample if isinstance(sample, tuple) else (sample,)), **extra)
        try:
            p = float(result.p if isinstance(result, PValue) else result)
        except (TypeError, ValueError):
            raise StatisticsError(
                f"test returned {shown(result)} at effect = {effect:g}; expected a p-value or a PValue. Run it by hand"
                " on draw(rng, effect)."
            ) from None
        if not 0 <= p <= 1:
            raise StatisticsError(
                f"test returned p = {p:g} at effect = {effect:g}; "
                "expected a number from 0 to 1. Run it by hand on draw(rng, effect)."
            )
        rejections += p <= alpha
    rate = proportion(rejections, simulations, level)
    name = f"power at effect {effect:g}, alpha {alpha:g}:"
    return Interval(rate.estimate, rate.low, rate.high, level, simulations, "Clopper-Pearson over simulations", name)


@door(StatisticsError)
def minimum_detectable_effect(
    test: Callable,
    draw: Callable[[np.random.Generator, float], Any],
    low: float,
    high: float,
    target: Share = 0.8,
    alpha: Share = 0.05,
    simulations: Draws = 500,
    steps: Draws = 8,
    seed: Seed = 0,
    level: Share = 0.95,
) -> Interval:
    """Smallest effect in [low, high] at which `test` reaches power `target`, by bisection on simulations with common
    random numbers.

    Power must grow from `low` to `high`. The bounds are where the upper and lower Monte Carlo bound of the power cross
    `target`: simulation noise, each rounded outwards by one bisection step of (high - low) / 2^steps; a bound outside
    the range is -inf or inf. Raises `StatisticsError`, also when power at `high` stays below `target`.
    """
    target = check_open_unit(target, "target")
    steps = check_count(steps, "steps")
    if not low < high:
        raise StatisticsError(
            f"low = {low:g} and high = {high:g}; expected low < high. Give the range of effects that matter."
        )
    seen: dict[float, Interval] = {}

    def at(effect: float) -> Interval:
        if effect not in seen:
            seen[effect] = power(test, draw, effect, alpha, simulations, seed, level)
        return seen[effect]

    if at(high).estimate < target:
        raise StatisticsError(
            f"high = {high:g} gives power {at(high).estimate:.3g}, "
            f"below target = {target:g}; raise high, or the number of units that draw returns."
        )

    def crossing(value: Callable[[Interval], float]) -> tuple[float, float]:
        if value(at(low)) >= target:
            return -np.inf, low
        if value(at(high)) < target:
            return high, np.inf
        below, above = low, high
        for _ in range(steps):
            middle = (below + above) / 2
            below, above = (below, middle) if value(at(middle)) >= target else (middle, above)
        return below, above

    estimate = crossing(lambda interval: interval.estimate)[1]
    lowest, highest = crossing(lambda interval: interval.high)[0], crossing(lambda interval: interval.low)[1]
    return Interval(
        estimate,
        lowest,
        highest,
        level,
        simulations,
        "simulation",
        f"smallest effect with power {target:g} at alpha {alpha:g}:",
    )


# ---- calibration -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Calibration:
    """How p-values from a true null behave: the rate of p <= alpha at each alpha, and two Kolmogorov-Smirnov tests.

    `too_small` tests that p is never stochastically below uniform (a valid p-value), `uniform` that it is uniform
    (valid and not wasteful).
    """

    alphas: np.ndarray
    rate: Interval
    too_small: PValue
    uniform: PValue

    @property
    def valid(self) -> bool:
        """False if at some alpha the whole interval of the rejection rate lies above alpha."""
        return not bool(np.any(self.rate.low > self.alphas))

    def __str__(self) -> str:
        columns = zip(self.alphas, self.rate.estimate, self.rate.low, self.rate.high)
        rows = ", ".join(f"{a:g}: {short(e)} [{short(lo)}, {short(hi)}]" for a, e, lo, hi in columns)
        verdict = "no sign of being too small" if self.valid else "TOO SMALL: rejects a true null too often"
        return (
            f"{verdict}; rejection rate at {rows}; n = {whole(self.too_small.n)}, {percent(self.rate.level)} %"
            f" simultaneous {self.rate.method}"
        )


@door(StatisticsError)
def calibration(
    p, alphas: Share | Annotated[Sequence[Share], Filled()] = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5), level: Share = 0.99
) -> Calibration:
    """Check p-values that were computed under a true null: are they uniform, or at least never too small
    (super-uniform)?

    `p`: p-values of independent null data sets (any shape; NaN left out). The intervals of the rates are
    Clopper-Pearson and hold together at `level` (Bonferroni over `alphas`). Discrete p-values are rightly super-uniform
    and need not be uniform. Raises `StatisticsError`.
    Source: Casella & Berger 2002, definition 8.3.26 (valid p-value); Massey 1951 for the Kolmogorov-Smirnov test.
    """
    values = as_p_values(p).ravel()
    values = values[~np.isnan(values)]
    if values.size < 20:
        raise StatisticsError(
            f"p holds n = {values.size} values; a calibration needs at least 20. Run the test on more null data sets."
        )
    level = check_open_unit(level, "level")
    cuts = np.array([check_open_unit(float(a), "alphas") for a in np.atleast_1d(alphas)])
    hits = (values[:, None] <= cuts).sum(axis=0)
    rate = proportion(hits, np.full(cuts.size, values.size), 1 - (1 - level) / cuts.size)
    rate = Interval(rate.estimate, rate.low, rate.high, level, rate.n, rate.method, "rejection rate")
    tests = []
    for alternative in ("greater", "two-sided"):
        test = stats.kstest(values, "uniform", alternative=alternative)
        kind = "exact" if values.size <= 10_000 else "approximate"
        tests.append(
            PValue(float(test.pvalue), kind, values.size, "Kolmogorov-Smirnov", float(test.statistic), alternative)
        )
    return Calibration(cuts, rate, *tests)


# ---- splitting ---------------------------------------------------------------------------------------------------


class Halves(NamedTuple):
    """Sorted indices of the units to choose on and of those to report on."""

    select: np.ndarray
    report: np.ndarray


@door(StatisticsError)
def halves(n: int, seed: Seed = 0, strata: Annotated[Any, Labels()] | None = None) -> Halves:
    """Random split of n units into a half to select on and a half to report on; an odd one goes to `report`.

    `strata`: n labels; each label is then halved, its odd unit to the half that is smaller so far. Raises
    `StatisticsError`.
    """
    n = check_count(n, "n", 2, "to have one unit in each half")
    rng = generator(seed)
    if strata is None:
        order = rng.permutation(n)
        return Halves(np.sort(order[: n // 2]), np.sort(order[n // 2 :]))
    labels = np.asarray(strata)
    if labels.shape != (n,):
        raise StatisticsError(f"strata has shape {labels.shape} and n = {n}; expected one label for each unit.")
    select: list[int] = []
    report: list[int] = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        cut = members.size // 2 + (members.size % 2 and len(select) < len(report))
        select.extend(members[:cut])
        report.extend(members[cut:])
    if not select or not report:
        raise StatisticsError(
            f"strata leaves a half of n = {n} units empty; expected at least two units. Merge labels."
        )
    return Halves(np.sort(np.array(select)), np.sort(np.array(report)))


@dataclass(frozen=True, eq=False)
class SelectionBias:
    """What a chosen cell is worth on the units that chose it and on the others.

    `cell`: the index chosen on the first split's selecting half; `held_out`: its mean on the other half, an honest
    interval for that cell; `selected`, `reported`: means over all splits of the chosen cell's mean on either half;
    `bias`: their difference; `stability`: share of splits that choose the commonest cell, `commonest`.
    """

    cell: tuple[int, ...]
    held_out: Interval
    selected: float
    reported: float
    bias: float
    commonest: tuple[int, ...]
    stability: float
    splits: int
    n: int

    def __str__(self) -> str:
        return (
            f"cell {self.cell}: held-out {self.held_out}; over {whole(self.splits)} splits {short(self.selected)} where"
            f" chosen, {short(self.reported)} held out, bias {short(self.bias)}; cell {self.commonest} chosen in"
            f" {100 * self.stability:.0f} %"
        )


@door(StatisticsError)
def selection_bias(
    x,
    axis: int = 0,
    choose: str = "max",
    splits: Draws = 200,
    seed: Seed = 0,
    strata: Annotated[Any, Labels()] | None = None,
    level: Share = 0.95,
    memory_mb: Positive = 200,
) -> SelectionBias:
    """Choose the best cell on one half of the units, report it on the other, over repeated splits.

    `x`: [units along axis, cells...], NaN where missing. `choose`: "max", "min" or "absolute" (largest absolute mean;
    its sign on the selecting half is then made positive on both halves). The interval (first split) covers the chosen
    cell's mean, since those units had no part in the choice; the repeated splits are not independent and get no
    interval. A cell must have a value in both halves to be chosen.

    Raises `StatisticsError`. Source: Efron & Tibshirani 1993, chapter 17 (the optimism of an apparent best); Cox 1975
    for the single split.
    """
    sample = as_sample(x, "x", axis)
    check_choice(choose, "choose", ("max", "min", "absolute"))
    splits = check_count(splits, "splits")
    n, shape = sample.shape[0], sample.shape[1:]
    if n < 4:
        raise StatisticsError(
            f"x has n = {n} units along axis {axis}; at least 4 are needed, two in each half. Add units."
        )
    if not shape:
        raise StatisticsError(
            f"x has shape {sample.shape}: one cell and nothing to choose from; "
            "expected at least one more axis. Use bootstrap(x) instead."
        )
    flat = sample.reshape(n, -1)
    present = ~np.isnan(flat)
    data, counted = np.nan_to_num(flat), present.astype(float)
    seeds = generator(seed).integers(2**31, size=splits)
    first = halves(n, int(seeds[0]), strata)
    chosen, sign = np.empty(splits, dtype=int), np.ones(splits)
    selected, reported = np.empty(splits), np.empty(splits)
    for rows in blocks(splits, budget(memory_mb) // (n + 2 * flat.shape[1])):
        half = np.zeros((rows.stop - rows.start, n))
        for line, one in zip(half, seeds[rows]):
            line[halves(n, int(one), strata).select] = 1
        with np.errstate(invalid="ignore", divide="ignore"):
            inside, outside = (half @ data) / (half @ counted), ((1 - half) @ data) / ((1 - half) @ counted)
        score = {"max": np.positive, "min": np.negative, "absolute": np.abs}[choose](inside)
        score = np.where(np.isnan(score) | np.isnan(outside), -np.inf, score)
        best = score.argmax(axis=1)
        if np.isneginf(score.max(axis=1)).any():
            raise StatisticsError(
                "x has no cell with a value in both halves of some split; too many values are missing. Drop the sparse"
                " units or add more."
            )
        at = np.arange(best.size), best
        chosen[rows] = best
        sign[rows] = np.where(inside[at] < 0, -1.0, 1.0) if choose == "absolute" else 1.0
        selected[rows], reported[rows] = inside[at] * sign[rows], outside[at] * sign[rows]
    cells, times = np.unique(chosen, return_counts=True)
    cell, commonest = (
        tuple(int(i) for i in np.unravel_index(index, shape)) for index in (chosen[0], cells[times.argmax()])
    )
    level = check_open_unit(level, "level")
    apart = flat[first.report, chosen[0]] * sign[0]
    held_out = bootstrap(apart, level=level, seed=seed, resamples=max(2000, int(40 / (1 - level))))
    a, b = float(selected.mean()), float(reported.mean())
    return SelectionBias(cell, held_out, a, b, a - b, commonest, float(times.max() / splits), splits, n)
