"""Gain at equal cost: by hand, its interval over units, and what it says where there is no such cost."""

import numpy as np
import pytest

from lens import stats
from lens.stats.samples import StatisticsError


def test_the_other_is_interpolated_at_the_cost():
    cost, gain = [3.0, 5.0], [1.0, 1.0]
    costs, gains = [[6.0, 6.0], [2.0, 2.0]], [[1.0, 1.0], [0.0, 0.0]]
    got = stats.at_equal_cost(cost, gain, costs, gains)
    assert got.estimate == pytest.approx(0.5) and got.n == 2
    # a rival through the treatment itself
    assert stats.at_equal_cost(cost, gain, [cost, costs[0]], [gain, gains[0]]).estimate == 0


def test_outside_the_sizes_there_is_none():
    got = stats.at_equal_cost([9.0, 9.0], [1.0, 0.0], [[1.0, 2.0], [3.0, 4.0]], [[0.0, 1.0], [1.0, 1.0]])
    assert np.isnan(got.estimate) and "no size has a mean cost of 9: they have 1.5 to 3.5" in got.method


@pytest.mark.parametrize(
    "given", [([1.0], [1.0], [[1.0]], [[1.0]]), ([1.0, 2], [1.0, 2], [[1.0, 2]] * 2, [[1.0], [2.0]])]
)
def test_shapes_are_checked(given):
    with pytest.raises(StatisticsError, match="expected"):
        stats.at_equal_cost(*given)


def test_holes_are_refused():
    with pytest.raises(StatisticsError, match="NaN or infinity"):
        stats.at_equal_cost([1.0, np.nan], [1.0, 1.0], [[1.0, 2.0]] * 2, [[1.0, 2.0]] * 2)


def test_clusters_are_drawn_before_their_units():
    # two models of 40 problems, the treatment .5 above its rival in one and .5 below in the other: units alone would
    # say 0 within .1, models say that it may be either
    cost, costs = np.full(80, 2.0), np.array([[1.0] * 80, [3.0] * 80])
    gain, gains = np.repeat([1.0, 0.0], 40), np.full((2, 80), 0.5)
    units = stats.at_equal_cost(cost, gain, costs, gains)
    models = stats.at_equal_cost(cost, gain, costs, gains, clusters=["a"] * 40 + ["b"] * 40)
    assert units.estimate == models.estimate == 0 and -0.2 < units.low and units.high < 0.2
    assert (models.low, models.high) == (-0.5, 0.5) and "clusters" in models.method
    one = stats.at_equal_cost(cost, gain, costs, gains, clusters=np.zeros(80))
    assert (one.low, one.high, one.method) == (units.low, units.high, units.method)
    with pytest.raises(StatisticsError, match=r"clusters \(3,\) do not fit 80 units"):
        stats.at_equal_cost(cost, gain, costs, gains, clusters=[1, 2, 3])
    with pytest.raises(StatisticsError, match="cannot be sorted"):
        stats.at_equal_cost(cost, gain, costs, gains, clusters=[object()] * 80)
    with pytest.raises(StatisticsError, match="cannot be sorted"):
        stats.at_equal_cost(cost, gain, costs, gains, clusters=[[1], [1, 2]] * 40)


def _coverage(draws, n):
    """Of draws whose difference is known (.1): accuracy of the rival .4 + .02 per token, the treatment .1 above."""
    draw, inside = np.random.default_rng(0), 0
    for k in range(draws):
        ease = draw.normal(0, 2, n)
        cost, low, high = 15 + ease + draw.normal(0, 1, (3, n)) + np.array([[0.0], [-5], [5]])
        gain = (draw.random(n) < 0.8).astype(float)
        rival = (draw.random((2, n)) < np.array([[0.6], [0.8]])).astype(float)
        got = stats.at_equal_cost(cost, gain, [low, high], rival, resamples=300, seed=k)
        inside += got.low <= 0.1 <= got.high
    return inside / draws


def test_the_interval_holds_the_truth():
    # 40 draws: below 34 of 40 has a probability of .001 where it covers .95
    assert _coverage(40, 60) >= 0.85


@pytest.mark.long
def test_the_interval_holds_the_truth_in_93_to_97_of_100():
    assert 0.92 <= _coverage(1000, 60) <= 0.98
