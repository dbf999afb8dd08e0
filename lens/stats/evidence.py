"""E-values: evidence that may be watched while it grows, multiplied over studies and averaged over looks.

An e-value has mean at most 1 under the null, so E >= 1/alpha happens with probability at most alpha (Markov). An
e-process keeps that at every stopping time (Ville 1939): one may look after each observation and stop when convinced.
Sources: Vovk & Wang 2021, "E-values: calibration, combination and applications"; Ramdas, Grunwald, Vovk & Shafer 2023
for betting and stopping.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special, stats

from lens.arguments import Share, door
from lens.stats.samples import (
    ALTERNATIVES,
    StatisticsError,
    as_array,
    as_p_values,
    as_sample,
    as_weights,
    check_axis,
    check_choice,
    check_open_unit,
    counts,
    plain,
    probability,
    refuse_copies,
    shape_text,
    short,
    whole,
)

PRIOR = 0.5  # Jeffreys; the mixture then pays about log(n)/2 nats for not knowing the success probability


@dataclass(frozen=True, eq=False)
class EProcess:
    """The log of an e-process after each observation: `log_e` is [observations, ...cells]; `n` counts the present ones.

    `doubt`: why it is not guaranteed, "" where nothing speaks against it. At which stops it is, `method` says.
    """

    log_e: np.ndarray
    n: Any
    method: str
    null: float
    doubt: str = ""

    @property
    def e(self):
        """The e-value after all observations."""
        with np.errstate(over="ignore"):
            return plain(np.exp(self.log_e[-1]))

    @property
    def p(self):
        """Anytime-valid p-value after all observations: 1 over the highest value reached (Ville)."""
        return plain(np.exp(-np.maximum(self.log_e.max(axis=0), 0.0)))

    def stopped(self, alpha: float = 0.05):
        """How many observations it took to reach 1 / alpha, missing ones included; NaN where it did not."""
        reached = self.log_e >= -np.log(check_open_unit(alpha, "alpha"))
        return plain(np.where(reached.any(axis=0), reached.argmax(axis=0) + 1.0, np.nan))

    def __str__(self) -> str:
        if self.log_e.ndim == 1:
            return (
                f"e = {short(self.e)}, anytime-valid p = {probability(self.p)}, n = {whole(self.n)} ({self.method},"
                f" null {self.null:g})"
            )
        low, high = float(np.min(self.e)), float(np.max(self.e))
        return (
            f"e of {shape_text(self.e)} cells: {short(low)} to {short(high)}, n = {counts(self.n)} ({self.method}, null"
            f" {self.null:g})"
        )


@door(StatisticsError)
def e_process(x, null: Share = 0.5, alternative: str | float = "greater", axis: int = 0) -> EProcess:
    """Betting e-process for 0/1 outcomes in the order they came, for every cell of the other axes at once.

    `alternative`: "greater" (null: success probability at most `null`), "less", "two-sided" (null: equal to it), or a
    number between 0 and 1, the probability to bet on (a likelihood ratio: the strongest if it is right, weak if it is
    not). The first three average the likelihood ratio over a Jeffreys Beta(1/2, 1/2) prior cut to the alternative, the
    mixture of Robbins 1970. NaN outcomes are passed over, which is valid only if an outcome's being missing does not
    depend on its value. Raises `StatisticsError`.
    """
    null = check_open_unit(null, "null")
    outcomes = as_sample(x, "x", axis)
    bad = ~np.isnan(outcomes) & (outcomes != 0) & (outcomes != 1)
    if bad.any():
        raise StatisticsError(
            f"x has the value {outcomes[bad].flat[0]:g}; "
            "expected outcomes 0 or 1 (NaN where missing). Threshold the values before the test."
        )
    wins = np.cumsum(np.nan_to_num(outcomes), axis=0)
    losses = np.cumsum(np.nan_to_num(1.0 - outcomes), axis=0)
    if isinstance(alternative, str):
        check_choice(alternative, "alternative", ALTERNATIVES)
        log_e = special.betaln(PRIOR + wins, PRIOR + losses) - special.betaln(PRIOR, PRIOR)
        log_e = log_e - wins * np.log(null) - losses * np.log1p(-null)
        if alternative != "two-sided":
            tail = stats.beta.logsf if alternative == "greater" else stats.beta.logcdf
            with np.errstate(divide="ignore"):
                log_e = log_e + tail(null, PRIOR + wins, PRIOR + losses) - tail(null, PRIOR, PRIOR)
        method = f"Beta mixture, {alternative}"
    else:
        bet = check_open_unit(alternative, "alternative")
        if bet == null:
            raise StatisticsError(
                f"alternative = {bet:g} equals null = {null:g}; such a bet never pays. Give another probability."
            )
        log_e = wins * np.log(bet / null) + losses * (np.log1p(-bet) - np.log1p(-null))
        method = f"likelihood ratio, bet on {bet:g}"
    return EProcess(log_e, plain((~np.isnan(outcomes)).sum(axis=0)), method, null)


@door(StatisticsError)
def p_to_e(p, kappa: Share | None = None) -> np.ndarray:
    """Calibrate p-values to e-values; NaN stays NaN.

    `kappa=None`: (1 - p + p log p) / (p log(p)^2), the average of all power calibrators, which needs no choice. `kappa`
    in (0, 1): kappa * p^(kappa - 1), to be chosen before p is seen. Infinite at p = 0. Raises `StatisticsError`.
    Source: Vovk & Wang 2021, section 2.
    """
    values = as_p_values(p)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if kappa is not None:
            kappa = check_open_unit(kappa, "kappa")
            return plain(kappa * values ** (kappa - 1))
        log = np.log(values)
        closed = (1 - values + values * log) / log**2
        # the closed form loses its digits at p = 1
        e = np.where(np.abs(log) < 1e-3, _series(log), closed) / values
    return plain(np.where(values == 0, np.inf, e))


@door(StatisticsError)
def e_to_p(e) -> np.ndarray:
    """p-value min(1, 1/e) of e-values, by Markov's inequality (by Ville's for the peak of an e-process); NaN stays
    NaN.
    """
    values = _e_values(e)
    with np.errstate(divide="ignore"):
        return plain(np.minimum(1.0, 1.0 / values))


@door(StatisticsError)
def combine_e(e, how: str = "mean", axis: int | None = None, weights=None, independent: bool | None = None):
    """One e-value from several.

    `how`: "mean" (valid under any dependence; `weights` fixed beforehand) or "product" (only for independent e-values,
    or sequential ones, each valid given the past; equal values, as copies of one e-value are, are refused unless you
    say `independent=True`). NaN takes no part in a product; in a mean its weight goes to the others. `axis=None`
    combines all of `e`. Raises `StatisticsError`. Source: Vovk & Wang 2021, sections 3 and 4.
    """
    values = _e_values(e)
    check_choice(how, "how", ("mean", "product"))
    if axis is not None:
        check_axis(axis, values, "e")
    axes = tuple(range(values.ndim)) if axis is None else axis
    present = ~np.isnan(values)
    some = present.any(axis=axes)
    if how == "product":
        refuse_copies(np.where(values == 1, np.nan, values), axis, independent, "e", "a product of e-values")
        if weights is not None:
            raise StatisticsError("weights with how = 'product': a product has none; use how = 'mean'.")
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            combined = np.exp(np.where(present, np.log(values), 0.0).sum(axis=axes))
    else:
        share = np.where(present, as_weights(weights, values.shape, "e"), 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            combined = np.where(share > 0, share * np.nan_to_num(values, nan=0.0, posinf=np.inf), 0.0).sum(
                axis=axes
            ) / share.sum(axis=axes)
    return plain(np.where(some, combined, np.nan))


def _series(log):
    """(1 - p + p log p) / log(p)^2 near p = 1, as a series in log p."""
    return 0.5 + log / 3 + log**2 / 8 + log**3 / 30


def _e_values(e):
    if isinstance(e, EProcess):
        e = e.e
    array = as_array(e, "e", infinite=True)
    if array.size == 0:
        raise StatisticsError("e is empty; expected at least one e-value.")
    if (array < 0).any():
        raise StatisticsError(
            f"e has the value {np.nanmin(array):g}; e-values are at least 0. Pass exp of log e-values."
        )
    return array
