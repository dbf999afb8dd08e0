"""Intervals of rank correlations: the bootstrap against a loop, where there is none, and how often they cover."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lens import stats as S
from tests.calibration.correlations import rank_pairs
from tests.variants import few


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.long
def test_the_bootstrap_of_a_rank_correlation_by_a_loop():
    x, y = rng(11).exponential(size=30), rng(12).exponential(size=30)
    y[:20] += x[:20]
    found = S.rank_correlation(x, y, test="t", seed=5).interval
    resampled = np.random.default_rng(0).integers(
        30, size=(4000, 30)
    )  # other draws: the spread is known to a few percent
    spread = np.std([np.arctanh(stats.spearmanr(x[i], y[i]).statistic) for i in resampled])
    half = stats.t.isf(0.025 * 0.3, 28) * spread
    z = np.arctanh(found.estimate)
    assert (np.arctanh(found.low), np.arctanh(found.high)) == pytest.approx(
        (z - half, z + half), abs=0.15 * half
    ) and found.kind.startswith("Fisher z and bootstrap")
    again = S.rank_correlation(
        x, np.exp(y), test="t", seed=5, memory_mb=0.1
    ).interval  # ranks alone count, and the budget does not
    assert (again.low, again.high) == (found.low, found.high)


def test_few_pairs_have_no_bootstrap_interval_and_a_perfect_one_has_width():
    none = S.rank_correlation(np.arange(11.0), rng(1).normal(size=11)).interval
    assert np.isnan([none.low, none.high]).all() and none.kind == none.method == "not available: fewer than 12 pairs"
    cells = np.repeat(np.arange(14.0)[:, None], 3, 1)
    cells[5:, 1], cells[:, 2] = np.nan, 2.0
    several = S.rank_correlation(cells, np.arange(14.0)).interval
    assert several.kind.tolist() == [
        "Fisher z and bootstrap, the wider of both",
        "not available: fewer than 12 pairs",
        "not available: a side is constant",
    ]
    assert (
        several.low[0] < 1 == several.high[0]
        and S.rank_correlation(cells[:, 0], -cells[:, 0], interval="fisher").interval.high > -1
    )


@pytest.mark.parametrize(("draws", "of_fisher"), few([(60, 200), (150, 400)], [(60, 200)]))
def test_intervals_of_correlations_cover_pairs_of_every_shape(draws, of_fisher):
    """A small preset of `python -m tests.calibration --correlations`; what was the bootstrap interval (percentiles) is
    seen to be too short.
    """
    found = pd.DataFrame(rank_pairs(draws, 1, sizes=(12, 30)))
    assert (found.available == 1).all() and (found.high >= 0.93).all() and found.rate.mean() > 0.95, found[
        found.high < 0.93
    ]
    fisher = pd.DataFrame(rank_pairs(of_fisher, 1, sizes=(30,), interval="fisher")).set_index("what")
    assert (fisher.high[fisher.index.str.contains("growing|wild")] < 0.93).all() and (
        fisher.high[fisher.index.str.contains("normal, 0|normal, .5|scale")] > 0.93
    ).all()
