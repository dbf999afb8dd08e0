"""Effects and their tests against SciPy, closed forms and planted truths."""

import numpy as np
import pytest
import scipy.stats
import xarray as xr

import lens
from lens.injection import InjectionError, best, held_out, log_ratio, percent_change, summary, trimmed_mean
from tests.injection.test_grid import ITEMS
from tests.models import speaking
from tests.variants import few

GRID = (4, 5)


def planted(n=80, effect=0.0, cell=(2, 3), noise=1.0, seed=0, controls=("shuffled",)):
    """A sweep's result with normal log-ratios, ``effect`` nats in one cell of the memory."""
    draw = np.random.default_rng(seed)
    change = noise * draw.standard_normal((n, *GRID, 1 + len(controls)))
    change[(slice(None), *cell, 0)] += effect
    multi = -1 - draw.exponential(2, n)
    logprob = multi[:, None, None, None] + change
    axes = ("item", "layer", "strength", "condition")
    ds = xr.Dataset(
        {
            "logprob": (axes, logprob),
            "first": (axes, logprob),
            "exact": (axes, (logprob > -1).astype(float)),
            "multi_logprob": ("item", multi),
            "multi_first": ("item", multi),
            "multi_exact": ("item", (multi > -1).astype(float)),
        },
        coords={"layer": range(4), "strength": [1.0, 2, 3, 4, 5], "condition": ["memory", *controls]},
    )
    return lens.results.dataset.stamp(ds, {"kind": "injection", "call": {}, "status": "complete"})


def test_the_published_mean_drops_what_lies_beyond_two_population_deviations():
    x = np.array([1.0, 2, 3, 4, 100])
    kept = [v for v in x if abs(v - x.mean()) <= 2 * np.sqrt(((x - x.mean()) ** 2).mean())]
    assert trimmed_mean(x) == pytest.approx(np.mean(kept))
    ten = np.r_[np.zeros(9), 50.0]  # mean 5, deviation 15: 50 lies 3 deviations out
    assert trimmed_mean(ten) == 0 and trimmed_mean(np.c_[ten, np.ones(10)]).tolist() == [0, 1]


def test_effects_are_differences_of_log_probability_and_ratios_of_probability():
    ds = planted()
    want = ds.logprob.values - ds.multi_logprob.values[:, None, None, None]
    assert np.allclose(log_ratio(ds).values, want) and log_ratio(ds).dims == ds.logprob.dims
    p, q = np.exp(ds["first"].values), np.exp(ds.multi_first.values)[:, None, None, None]
    assert np.allclose(percent_change(ds).values, 100 * (p - q) / q)


def test_summary_equals_scipy_cell_by_cell():
    ds = planted(n=30, effect=1.5)
    s, x = summary(ds), log_ratio(ds).values
    for a, b, c in [(0, 0, 0), (2, 3, 0), (1, 4, 1)]:
        cell, at = x[:, a, b, c], s.isel(layer=a, strength=b, condition=c)
        assert (
            at["mean"] == pytest.approx(cell.mean())
            and at["median"] == pytest.approx(np.median(cell))
            and at.improved == pytest.approx((cell > 0).mean())
        )
        assert at.p == pytest.approx(scipy.stats.wilcoxon(cell).pvalue)
        # the wider of Student's t and the studentized bootstrap: the percentile interval covers less than it says
        again = np.random.default_rng(0).choice(cell, (20_000, 30))
        t = np.quantile((again.mean(1) - cell.mean()) / again.std(1), [0.975, 0.025])
        low, high = scipy.stats.t.interval(0.95, 29, cell.mean(), scipy.stats.sem(cell))
        low, high = min(low, cell.mean() - t[0] * cell.std()), max(high, cell.mean() - t[1] * cell.std())
        assert at.low == pytest.approx(low, abs=0.04) and at.high == pytest.approx(high, abs=0.04)
    own = s.p.sel(condition="memory").values.ravel()
    order = np.argsort(own)
    holm = np.minimum(1, np.maximum.accumulate(own[order] * np.arange(20, 0, -1)))
    assert np.allclose(s.p_holm.sel(condition="memory").values.ravel()[order], holm)
    assert (
        (s.p_holm.sel(condition="memory") <= 0.05).values.sum() == 1
        and best(s)["layer"] == 2
        and best(s)["strength"] == 4
    )


def test_against_a_control_the_effect_is_the_paired_difference():
    ds = planted(effect=1.0)
    s = summary(ds, against="shuffled", resamples=200)
    assert s["mean"].dims == ("layer", "strength")
    assert np.allclose(s["mean"].values, (ds.logprob[..., 0] - ds.logprob[..., 1]).mean("item").values)
    with pytest.raises(InjectionError, match="against"):
        summary(ds, against="nobody")


def test_choice_on_one_half_shows_its_bias_on_noise_and_none_on_a_large_effect():
    noise, real = held_out(planted(n=40), splits=100), held_out(planted(n=40, effect=5.0), splits=100)
    assert noise["bias"] > 0.15 and abs(noise["reported"]) < 0.15 and noise["interval"].low < 0 < noise["interval"].high
    assert (real["layer"], real["strength"], real["stability"]) == (2, 4.0, 1.0)
    # 3.99: of 20 units the studentized bootstrap is read at 97 %, since at 95 % it covers 93 % of skewed samples
    assert abs(real["bias"]) < 0.15 and real["interval"].low > 3.9 and real["interval"].n == 20
    unset = {"interval": 0, "over_splits": 0}
    assert held_out(planted(n=40), splits=20, seed=1) | unset == held_out(planted(n=40), splits=20, seed=1) | unset


@pytest.mark.parametrize("trials", few([80, 200], [80]))
def test_the_interval_of_the_chosen_cell_covers_the_truth_as_often_as_it_says(trials):
    hits = [held_out(planted(n=40, seed=s), splits=1, seed=s)["interval"] for s in range(trials)]
    covered = sum(i.low <= 0 <= i.high for i in hits)
    # the truth is 0 in every cell; below 179 of 200 has probability under 1e-3 at 95 %
    assert covered >= scipy.stats.binom.ppf(1e-3, trials, 0.95)


@pytest.mark.parametrize("trials", few([40, 100], [40]))
def test_over_many_splits_nothing_is_called_more_often_than_it_may(trials):
    """The median split at half the error: at most 5 % of grids of noise, whatever cell each split chooses (Meinshausen
    et al. 2009); in fact far fewer.
    """
    found = [held_out(planted(n=24, seed=s), splits=25, seed=s) for s in range(trials)]
    false = sum(f["p"] <= 0.05 for f in found)
    assert false <= scipy.stats.binom.ppf(1 - 1e-3, trials, 0.05) and all(
        (f["p"] <= 0.05) == bool(f["over_splits"].excludes(0)) for f in found
    )
    real = held_out(planted(n=40, effect=5.0), splits=25)
    assert (
        real["p"] < 1e-6
        and real["over_splits"].low > 4
        and real["over_splits"].estimate == pytest.approx(real["reported"], abs=0.2)
    )


def test_a_rival_is_compared_on_the_same_memories_each_at_its_own_best_cell():
    strong, weak = planted(n=40, effect=5.0), planted(n=40, effect=2.0, seed=1)
    ahead, behind, equal = (
        held_out(strong, rival=weak, splits=25),
        held_out(weak, rival=strong, splits=25),
        held_out(strong, rival=strong, splits=25),
    )
    assert (
        ahead["over_splits"].low > 2
        and ahead["over_splits"].estimate == pytest.approx(-behind["over_splits"].estimate)
        and ahead["p"] < 1e-6
    )
    assert equal["reported"] == 0 and equal["p"] == 1
    with pytest.raises(InjectionError, match="rival"):
        held_out(strong, rival=planted(n=38))


@pytest.mark.parametrize("trials", few([80, 200], [80]))
def test_holm_over_the_grid_keeps_the_family_error(trials):
    false = sum(
        bool((summary(planted(n=20, seed=s), resamples=40).p_holm.sel(condition="memory") <= 0.05).any())
        for s in range(trials)
    )
    assert false <= scipy.stats.binom.ppf(1 - 1e-3, trials, 0.05)


def test_a_real_sweep_has_a_summary_that_can_be_saved(tmp_path):
    ds = lens.injection.sweep(speaking("llama"), ITEMS, strengths=(1, 2), controls=("shuffled",), progress=False)
    s = summary(ds, resamples=100)
    assert lens.record(s)["call"]["summary"]["n"] == 3
    lens.save(s, tmp_path / "s.zarr")
    assert np.allclose(lens.open(tmp_path / "s.zarr").trimmed_percent, s.trimmed_percent)


def test_other_data_is_refused():
    with pytest.raises(InjectionError, match="sweep returned"):
        summary(xr.Dataset({"value": ("layer", [1.0])}))
    with pytest.raises(InjectionError, match="items"):
        held_out(planted(n=3))
