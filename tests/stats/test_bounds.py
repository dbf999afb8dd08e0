"""Intervals of quantities that have bounds stay within them, cover what they covered, and say that they were cut."""

import functools

import numpy as np
import pytest
import xarray as xr
from scipy import stats

import lens
from lens import stats as S
from lens.memorization import tables
from lens.memorization.distances import BOUNDS
from lens.memorization.extraction import MEASURES
from lens.stats.bounds import AT_LEAST_0, DIFFERENCE, SHARE, clip, effect_bounds
from lens.stats.means import EXACT, HULL, over_runs
from lens.stats.units import nested, nested_difference

#: Shares of units near an end: Student's t and the bootstrap both reach beyond it.
NEAR_1 = np.array([1.0, 0.99, 0.97, 0.95, 0.9, 0.85, 0.6, 0.3])


@functools.cache
def exact(k, n):
    found = stats.binomtest(int(k), int(n)).proportion_ci(0.95, "exact")
    return found.low, found.high


def test_the_interval_of_a_share_is_cut_where_it_would_be_impossible_and_says_so():
    free = S.mean_interval(NEAR_1)
    found = S.mean_interval(NEAR_1, bounds=SHARE)
    assert free.high > 1 and free.kind == HULL
    assert (found.low, found.high) == (max(0.0, free.low), 1.0)
    assert found.kind == found.method == f"{HULL}, cut at 0 and 1" and "cut at 0 and 1" in str(found)
    inside = np.linspace(0.3, 0.7, 8)
    assert S.mean_interval(inside, bounds=SHARE).kind == HULL
    assert S.mean_interval(inside, bounds=SHARE).low == S.mean_interval(inside).low


def test_each_cell_has_its_own_kind():
    found = S.bootstrap(np.column_stack([NEAR_1, np.linspace(0.3, 0.7, 8), 1 - NEAR_1]), bounds=SHARE)
    assert found.kind.tolist() == [f"{HULL}, cut at 0 and 1", HULL, f"{HULL}, cut at 0 and 1"]
    assert found.high[0] == 1 and found.low[2] == 0 and 0 < found.low[1] < found.high[1] < 1


@pytest.mark.parametrize("p", [0.02, 0.1, 0.5, 0.95, 0.99])
def test_a_cut_interval_covers_exactly_as_often(p):
    """Shares of 12 units of 20 rows each."""
    draws = np.random.default_rng(0).binomial(20, p, (12, 300)) / 20
    free, cut = (S.mean_interval(draws, values="number", bounds=bounds) for bounds in (None, SHARE))
    covered = [(x.low <= p) & (p <= x.high) for x in (free, cut)]
    there = ~np.isnan(cut.low)
    assert (covered[0] == covered[1]).all() and (there == ~np.isnan(free.low)).all()
    low, high, mean = cut.low[there], cut.high[there], draws.mean(0)[there]
    assert (low >= 0).all() and (high <= 1).all() and (low <= mean).all() and (mean <= high).all()
    # of rows that are independent, the exact interval of all rows agrees with it
    exactly = np.array([exact(k, 240) for k in (mean * 240).round()])
    assert (low <= exactly[:, 1]).all() and (high >= exactly[:, 0]).all()


def test_differences_ratios_medians_and_functions_have_bounds_too():
    x, y = np.array([1, 0.99, 0.97, 0.95, 0.98, 0.9, 0.1]), np.linspace(0, 0.06, 7)
    for paired in (True, False):
        free, cut = (
            S.bootstrap_comparison(x, y, statistic="difference", paired=paired, bounds=b) for b in (None, DIFFERENCE)
        )
        assert free.high > 1 and cut.high == 1 and cut.low == max(-1.0, free.low) and "cut at -1 and 1" in cut.kind
    many = np.r_[NEAR_1, NEAR_1]
    free, cut = (S.bootstrap(many, statistic=np.mean, bounds=b) for b in (None, (0.5, 0.9)))
    assert free.low < 0.5 and free.high > 0.9 and (cut.low, cut.high) == (0.5, 0.9)
    assert S.bootstrap(NEAR_1, statistic="median", bounds=SHARE).high == 1
    assert S.bootstrap([0.1, 9, 0.3, 0.2, 0.4, 0.15], bounds=AT_LEAST_0).low == 0
    assert S.bootstrap([0.1, 9, 0.3, 0.2, 0.4, 0.15], bounds=AT_LEAST_0).kind == f"{HULL}, cut at 0"


def test_runs_and_units_within_runs_stay_within_the_bounds_of_a_share():
    runs = [0.9, 1.0, 1.0]
    assert over_runs(runs).high > 1 and over_runs(runs, bounds=SHARE).high == 1
    # one top unit: the exact interval of its units; several that tie: at least as wide, and no wider than is possible
    hits = np.arange(16) < 15
    one = nested(hits[None].astype(float)).interval
    assert (one.low, one.high) == pytest.approx(exact(15, 16))
    several = nested(np.array([np.arange(16) < k for k in (16, 16, 14)], float)).interval
    low, high = exact(46, 48)
    assert several.low <= low and high <= several.high == 1 and "cut at 0 and 1" in several.kind
    apart = nested_difference([np.ones(4), np.ones(4), np.r_[np.ones(3), 0]], [np.zeros(4)] * 3).interval
    assert apart.high == 1 and "cut at -1 and 1" in apart.kind


def test_bounds_that_cannot_be_are_refused():
    for bounds, word in (
        ((1, 0), "expected the least and the largest"),
        ((0, 0), "expected the least and the largest"),
        (1, "expected 2 values"),
        ((0, 1, 2), "expected 2 values"),
        (("a", "b"), "number"),
        ((np.nan, 1), "not NaN"),
    ):
        with pytest.raises(S.StatisticsError, match=f"bounds.*{word}"):
            S.mean_interval(NEAR_1, bounds=bounds)
    with pytest.raises(S.StatisticsError, match="an estimate is 2.5, beyond them"):
        S.mean_interval([1.0, 2, 3, 4, 2.5], bounds=SHARE)
    free = S.mean_interval(NEAR_1)
    assert clip(free, None) is free and effect_bounds("logits") is None and effect_bounds("probability") == DIFFERENCE


def test_a_summary_of_probabilities_has_no_impossible_effect():
    effect = NEAR_1
    ds = xr.Dataset({"effect": (("prompt", "layer"), effect[:, None])}, {"prompt": np.arange(8), "layer": [0]})
    ds["effect"].attrs["units"] = "probability"
    ds = lens.results.stamp(ds, {"kind": "patch"})
    found = lens.summary(ds, cluster=None)
    assert found["high"].item() == 1 and "cut at -1 and 1" in found.interval_kind.item()
    ds["effect"].attrs["units"] = "logits"
    assert lens.summary(ds, cluster=None)["high"].item() > 1


def test_shares_of_sequences_are_exact_and_those_of_units_are_cut():
    recited = np.arange(20) < 19
    each = tables.over(recited, None, 0.95, 0)
    assert (each.low, each.high) == pytest.approx(exact(19, 20)) and each.kind == EXACT
    of = np.repeat(np.arange(12), np.arange(1, 13))
    recited = np.concatenate([np.arange(k) < round(k * share) for k, share in zip(range(1, 13), np.tile(NEAR_1, 2))])
    units = tables.over(recited, of, 0.95, 0)
    assert units.high == 1 and units.kind == f"{HULL}, cut at 0 and 1"


def test_every_measure_of_a_recitation_has_its_bounds():
    assert set(BOUNDS) == set(MEASURES) and all(BOUNDS[name] == SHARE for name in ("strict", "loose", "lev", "rouge_l"))
    distances = tables.over(1 - NEAR_1, None, 0.95, 0, bounds=BOUNDS["lev"])
    assert distances.low == 0 and "cut at 0 and 1" in distances.kind
