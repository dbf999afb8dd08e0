"""A loss as a size: which size would have had it, read off runs of several sizes that are otherwise alike."""

from __future__ import annotations

import itertools
from typing import Literal

import numpy as np
from scipy import stats

from lens.arguments import Share, door
from lens.stats.samples import Interval, StatisticsError, as_array, check_open_unit

INVERTED = "inversion of Student's t, one spread for all runs"
NO_SPREAD = "not available: no size has two runs, so that nothing says how far runs differ"
FINE = 400  # points between two rungs at which the bounds are looked for, before they are interpolated


@door(StatisticsError)
def effective_size(
    values, sizes, ladder, *, outside: Literal["name", "refuse"] = "name", level: Share = 0.95
) -> Interval:
    """The size at which the ladder has the mean of some values, with an interval; nothing is read beyond its ends.

    Args:
        values: [runs], one value (a loss in nats, a score) a run, NaN where missing.
        sizes: [rungs], at least two different positive sizes (parameters), from small to large.
        ladder: [rungs, runs], the values of runs of these sizes, NaN where missing.
        outside: of a mean beyond the ladder's last rungs: "name" gives no estimate, a bound (0 or infinity on the side
            that nothing is known of) and a `kind` that says so; "refuse" raises.

    Between two rungs the ladder's mean runs straight in the logarithm of the size. The interval holds every size whose
    mean Student's t cannot tell from that of the values at `level`, with one variance for all runs (pooled within rungs
    and values): it is as wide as few runs deserve, and reaches to 0 or infinity where the ladder's ends cannot be told
    from the values either.

    Raises: StatisticsError: means that do not rise or fall from rung to rung (they are listed), a rung or values
        without a run, sizes that do not rise, a mean outside where that is refused.

    Source: Hernandez et al. 2022, Scaling Laws and Interpretability of Learning from Repeated Data (effective size by a
        fit over sizes); the interval as in inverse regression, Draper & Smith 1998, section 3.2.
    """
    level = check_open_unit(level, "level")
    value, size, rungs = (as_array(x, name) for x, name in ((values, "values"), (sizes, "sizes"), (ladder, "ladder")))
    if size.ndim != 1 or len(size) < 2 or not (np.diff(size) > 0).all() or not (size > 0).all():
        raise StatisticsError(
            f"sizes = {np.array2string(size, threshold=8)}; expected at least two positive sizes, from small to large."
        )
    if rungs.ndim != 2 or len(rungs) != len(size):
        raise StatisticsError(
            f"ladder has shape {rungs.shape}; expected [{len(size)}, runs], the values of each of the sizes."
        )
    if value.ndim != 1 or not np.isfinite(value).any():
        raise StatisticsError(f"values has shape {value.shape}; expected [runs] with at least one that is not missing.")
    counts = (~np.isnan(rungs)).sum(1)
    if not counts.all():
        raise StatisticsError(
            f"ladder has no run of size {size[counts.argmin()]:g}; leave that size out, or give it at least one run."
        )
    means = np.nanmean(rungs, 1)
    steps = np.diff(means)
    if not ((steps > 0).all() or (steps < 0).all()):
        listed = ", ".join(f"{s:g}: {m:.4g}" for s, m in zip(size, means))
        raise StatisticsError(
            f"ladder: the means do not rise or fall from size to size ({listed}), so that one value stands for several"
            " sizes; give more runs of a size, or leave out sizes that differ too little."
        )
    value = value[~np.isnan(value)]
    rising = 1.0 if steps[0] > 0 else -1.0
    logs, mean = np.log(size), value.mean()
    rounding = 1e-12 * np.abs(means).max()
    beyond = int(rising * (mean - means[-1]) > rounding) - int(rising * (mean - means[0]) < -rounding)
    if beyond and outside == "refuse":
        end = size[-1] if beyond > 0 else size[0]
        raise StatisticsError(
            f"values: their mean {mean:.4g} lies beyond that of size {end:g}, the ladder's"
            f" {'largest' if beyond > 0 else 'smallest'}; add a {'larger' if beyond > 0 else 'smaller'} size, or say"
            " outside='name'."
        )
    estimate = np.nan if beyond else float(np.exp(np.interp(rising * mean, rising * means, logs)))
    low, high, sure = _bounds(value, logs, rungs, means, counts, level)
    if beyond:
        low, high = (low if sure else size[-1], np.inf) if beyond > 0 else (0.0, high if sure else size[0])
    method = INVERTED if not np.isnan(low) and not np.isnan(high) else NO_SPREAD
    named = {-1: f"below the ladder: smaller than {size[0]:g}", 1: f"beyond the ladder: larger than {size[-1]:g}"}
    return Interval(estimate, low, high, level, len(value), method, "effective size", named.get(beyond, method))


def _bounds(value, logs, rungs, means, counts, level: float) -> tuple[float, float, bool]:
    """The smallest and largest size that cannot be told from the values, and whether there is any; 0 and infinity where
    that reaches the ladder's ends.
    """
    freedom = int((counts - 1).sum() + len(value) - 1)
    if freedom < 1:
        return np.nan, np.nan, True
    spread = np.nansum((rungs - means[:, None]) ** 2) + ((value - value.mean()) ** 2).sum()
    sign = np.sign(means[-1] - means[0])
    nearest = np.interp(sign * value.mean(), sign * means, logs)
    at = np.unique(np.concatenate([[nearest], *(np.linspace(a, b, FINE) for a, b in itertools.pairwise(logs))]))
    place = np.clip(np.searchsorted(logs, at, side="right") - 1, 0, len(logs) - 2)
    share = (at - logs[place]) / (logs[place + 1] - logs[place])
    mean = (1 - share) * means[place] + share * means[place + 1]
    weight = (1 - share) ** 2 / counts[place] + share**2 / counts[place + 1] + 1 / len(value)
    far = np.abs(value.mean() - mean) - stats.t.ppf((1 + level) / 2, freedom) * np.sqrt(spread / freedom * weight)
    inside = np.flatnonzero(far <= 1e-12 * np.abs(means).max())
    if not len(inside):
        return np.nan, np.nan, False
    first, last = int(inside[0]), int(inside[-1])

    def crossed(i: int, j: int) -> float:
        return float(np.exp(at[i] - far[i] * (at[j] - at[i]) / (far[j] - far[i])))

    low = 0.0 if first == 0 else crossed(first, first - 1)
    high = np.inf if last == len(at) - 1 else crossed(last, last + 1)
    return low, high, True
