"""What a quantity cannot leave, and intervals without what lies beyond: a share is at least 0 and at most 1.

Student's t and the studentized bootstrap know no bounds, so that the interval of a share near 1 reaches beyond it. What
lies there is cut off: the true value is not there, so that the interval covers it as often as before.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lens.arguments import Real, shown
from lens.stats.samples import Interval, StatisticsError, plain

#: The least and the largest value; infinite where there is none.
Bounds = tuple[Real, Real]
SHARE: Bounds = (0.0, 1.0)
#: Of two shares, of two truth values, of two probabilities; also a correlation.
DIFFERENCE: Bounds = (-1.0, 1.0)
AT_LEAST_0: Bounds = (0.0, np.inf)


def effect_bounds(unit: str) -> Bounds | None:
    """What an effect in this unit cannot leave: a difference of probabilities lies between -1 and 1, one of logits or
    nats has no bounds.
    """
    return DIFFERENCE if unit == "probability" else None


def clip(interval: Interval, bounds: Bounds | None) -> Interval:
    """An interval without what lies beyond `bounds`; where that cuts something off, `kind` and `method` say so. None
    leaves it as it is.

    Raises: StatisticsError: bounds that are no two numbers in order, an estimate that lies beyond them.
    """
    if bounds is None:
        return interval
    least, most = _checked(bounds)
    low, high, estimate = (np.asarray(v, float) for v in (interval.low, interval.high, interval.estimate))
    slack = 1e-6 * max((abs(end) for end in (least, most) if np.isfinite(end)), default=0.0)  # of rounding
    beyond = (estimate < least - slack) | (estimate > most + slack)
    if beyond.any():
        raise StatisticsError(
            f"bounds = {shown(bounds)}: an estimate is {estimate[beyond].flat[0]:g}, beyond them; expected bounds that"
            " hold for every value. Give wider ones, or None."
        )
    cut = (low < least) | (high > most)
    if not cut.any():
        return interval
    ends = f", cut at {' and '.join(f'{end:g}' for end in (least, most) if np.isfinite(end))}"
    kind = np.broadcast_to(np.asarray(interval.kind, str), cut.shape)
    return replace(
        interval,
        low=plain(np.where(cut, np.maximum(low, least), low)),
        high=plain(np.where(cut, np.minimum(high, most), high)),
        method=interval.method + ends,
        kind=plain(np.where(cut, np.char.add(kind, ends), kind)),
    )


def _checked(bounds: Bounds) -> Bounds:
    least, most = (float(end) for end in bounds)
    if not least < most:
        raise StatisticsError(
            f"bounds = {shown(bounds)}; expected the least and the largest possible value, in this order. Of a share"
            " give (0, 1), of a difference of shares (-1, 1), where there is no end give an infinite one."
        )
    return least, most
