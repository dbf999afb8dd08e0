"""How many rows a rank correlation needs, what a number of rows can see, and the smallest p-value that a design can
give.

The first three use Fisher's z with the variance 1.06 / (n - 3) of Fieller, Hartley & Pearson 1957 for Spearman's rho:
approximations, for planning only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import special, stats

from lens.arguments import Count, Draws, Share, door
from lens.stats.samples import ALTERNATIVES, StatisticsError, check_choice, check_count, check_open_unit, probability

FIELLER = 1.06
DESIGNS = ("orders", "labels", "pairs", "retrain", "keys")


@door(StatisticsError)
def rows_needed(
    rho: float, *, alpha: Share = 0.05, power: Share = 0.8, alternative: str = "two-sided", test: str = "permutation"
) -> int:
    """Fewest rows with which a true rank correlation `rho` is found, in its own direction, with probability `power` at
    level `alpha`.

    `test`: "permutation" (normal critical value) or "key" (the guaranteed tail exp(-z^2/2) of `key_test`, which asks
    for a larger z). A one-sided `alternative` is taken to point the way of `rho`. Raises `StatisticsError`.
    """
    rho = _correlation(rho)
    power = check_open_unit(power, "power")
    reach = _critical(alpha, alternative, test) + stats.norm.ppf(power)
    if reach <= 0:
        return 4
    rows = FIELLER * (reach / math.atanh(rho)) ** 2 + 3
    if not rows < 2**63:
        raise StatisticsError(
            f"rho={rho!r} is so near to 0 that no number of rows would show it; give the effect that matters, such as"
            " 0.05."
        )
    return max(4, math.ceil(rows))


@door(StatisticsError)
def detectable_rho(
    n: int, alpha: Share = 0.05, power: Share = 0.8, *, alternative: str = "two-sided", test: str = "permutation"
) -> float:
    """Smallest |rho| that `n` rows find with probability `power` at level `alpha`; arguments as in `rows_needed`.
    Raises `StatisticsError`.
    """
    n = check_count(n, "n", 4, "for Fisher's z")
    power = check_open_unit(power, "power")
    return math.tanh(
        max(0.0, _critical(alpha, alternative, test) + stats.norm.ppf(power)) * math.sqrt(FIELLER / (n - 3))
    )


@door(StatisticsError)
def power_of(
    rho: float, n: int, alpha: Share = 0.05, *, alternative: str = "two-sided", test: str = "permutation"
) -> float:
    """Probability that `n` rows reject at level `alpha`, in the direction of a true `rho`; arguments as in
    `rows_needed`. Raises `StatisticsError`.
    """
    rho, n = _correlation(rho), check_count(n, "n", 4, "for Fisher's z")
    return float(stats.norm.cdf(math.atanh(rho) * math.sqrt((n - 3) / FIELLER) - _critical(alpha, alternative, test)))


@door(StatisticsError)
def reachable_level(
    n: Count | Sequence[Count], design: str = "orders", *, ones: int | None = None, resamples: Draws | None = None
) -> float:
    """Smallest one-sided p-value that `n` units can give, ties aside, and with `resamples` random draws where they are
    drawn.

    `design`: "orders" (n rows in any order, 1/n!; for exchange groups give their sizes), "labels" (`ones` of n rows are
    members), "pairs" (n sign flips), "retrain" (n shuffled retrainings, 1/(n + 1)) or "keys" (n keys at the end of
    their range, exp(-3n/2)). Raises `StatisticsError`.
    """
    check_choice(design, "design", DESIGNS)
    counts = [n] if isinstance(n, (int, np.integer)) else list(n)
    sizes = np.array([check_count(size, "n", 1) for size in counts], dtype=float)
    total = float(sizes.sum())
    if design == "orders":
        log_p = -float(special.gammaln(sizes + 1).sum())
    elif design == "labels":
        ones = check_count(ones, "ones", 0, "members among the n rows")
        if ones > total:
            raise StatisticsError(
                f"ones = {ones} with n = {total:g}; expected at most n members. Give the number of members."
            )
        log_p = -float(special.gammaln(total + 1) - special.gammaln(ones + 1) - special.gammaln(total - ones + 1))
    else:
        log_p = {"pairs": -total * math.log(2), "retrain": -math.log(total + 1), "keys": -1.5 * total}[design]
    floor = math.exp(log_p)
    if resamples is None or design in ("retrain", "keys") or log_p >= -math.log(check_count(resamples, "resamples")):
        return floor
    return 1 / (1 + resamples)


def require_level(floor: float, alpha: float | None, design: str, remedy: str) -> None:
    """Refuse a design whose smallest p-value `floor` is above the level `alpha` that was asked for; None asks for
    nothing.
    """
    if alpha is None:
        return
    alpha = check_open_unit(alpha, "alpha")
    if floor > alpha * (1 + 1e-12):
        raise StatisticsError(
            f"alpha = {alpha:g} cannot be reached: the smallest p of {design} is {probability(floor)}. {remedy}"
        )


def _correlation(rho: float) -> float:
    if isinstance(rho, bool) or not isinstance(rho, (int, float, np.integer, np.floating)) or not 0 < abs(rho) < 1:
        raise StatisticsError(
            f"rho = {rho!r}; expected a correlation other than 0 between -1 and 1. Give the effect that matters, such"
            " as 0.05."
        )
    return abs(float(rho))


def _critical(alpha: float, alternative: str, test: str) -> float:
    alpha = check_open_unit(alpha, "alpha")
    check_choice(alternative, "alternative", ALTERNATIVES)
    check_choice(test, "test", ("permutation", "key"))
    alpha = alpha / 2 if alternative == "two-sided" else alpha
    return float(stats.norm.isf(alpha)) if test == "permutation" else math.sqrt(2 * math.log(1 / alpha))
