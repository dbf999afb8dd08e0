"""What counts as one: clusters against plain loops, nested units against their size and coverage, and every family's
summary with its columns.
"""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

import lens
from lens import injection, vectors
from lens.results.dataset import stamp
from lens.stats import effects
from lens.stats.effects import SKEWED, clusters
from lens.stats.samples import StatisticsError
from lens.stats.units import joined, nested, nested_difference, nested_holm, rate_over_runs, unit_means
from tests.calibration.others import families, shares_over_runs
from tests.variants import few

#: Those in which Student's t over the runs is wrong most often.
WORST = (("the same 32, one changes each way", "two draws of 32"),)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_units_are_averaged_and_missing_values_take_no_part():
    x = np.array([[1.0, 5], [3, np.nan], [10, np.nan], [np.nan, 7]])
    means, names = unit_means(x, ["b", "b", "a", "c"])
    np.testing.assert_array_equal(means, [[2, 5], [10, np.nan], [np.nan, 7]])
    assert names.tolist() == ["b", "a", "c"]
    with pytest.raises(StatisticsError, match=r"cluster has shape \(2,\)"):
        unit_means(x, ["a", "b"])


def test_rows_that_share_anything_belong_together():
    assert joined(["a", "b", "c", "d"], ["x", "y", "x", None], [None, None, 1, 1]).tolist() == [0, 1, 0, 0]


def test_a_cluster_is_guessed_named_given_or_refused():
    fields = {"memory": ["France", "Spain", "France"], "label": ["a", "b", "c"]}
    units, note = clusters("auto", 3, fields, ("memory",), "items")
    assert units.tolist() == [0, 1, 0] and note.startswith("2 units of 3 items, by memory (guessed")
    assert clusters(None, 3, fields, ("memory",))[0] is None and clusters("label", 3, fields, ())[0] is None
    assert clusters([7, 7, 8], 3, fields, ())[0].tolist() == [0, 0, 1]
    for cluster, words in (("entity", "cluster='entity' is no field"), ([1, 2], "one label for each of 3")):
        with pytest.raises(StatisticsError, match=words):
            clusters(cluster, 3, fields, ())


RECORD = {
    "kind": "patch",
    "status": "complete",
    "model": {"name": "x", "hash": "x"},
    "call": {"site": "resid_pre", "direction": "denoise", "metric": "logit_diff"},
    "seed": 0,
}


def patched(effect, pairs=()):
    ds = xr.Dataset(
        {"effect": (("prompt", "layer"), effect)},
        {"prompt": np.arange(len(effect)), "layer": np.arange(effect.shape[1])},
    )
    return stamp(
        ds,
        RECORD
        | {
            "pairs": [
                {"clean": f"c{i}", "corrupted": "d", "answer": "a", "foil": None, "spans": {}, "start": "", "label": ""}
                | p
                for i, p in enumerate(pairs)
            ]
        },
    )


def test_equal_prompts_word_orders_and_entities_are_one_unit():
    x = rng(1).normal(size=(8, 3))
    whole = np.stack([x[2 * i : 2 * i + 2].mean(0) for i in range(4)])
    for pairs in (
        [{"clean": f"p{i // 2}"} for i in range(8)],
        [{"label": f"ioi-shops-{('abba', 'baba')[i % 2]}-{i // 2:03d}"} for i in range(8)],
        [{"spans": {"subject": f"S{i // 2}"}} for i in range(8)],
    ):
        made = lens.summary(patched(x, pairs))
        assert (made.n == 4).all() and "4 units of 8 prompts" in str(made.units.values)
        np.testing.assert_allclose(made["mean"], whole.mean(0))
        assert made.p.values == pytest.approx(
            [
                stats.permutation_test((v,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
                for v in whole.T
            ]
        )
        assert (lens.summary(patched(x, pairs), cluster=None).n == 8).all()
    assert (lens.summary(patched(x, [{"label": "capitals"}] * 8)).n == 8).all()  # a label alone is no scene


def test_clustered_effects_hold_their_level():
    """Eight entities in four prompts each, correlation .7 within: taken singly p <= .05 in .28 of cases, and the
    interval covers .68.
    """
    draws, entity = 400, np.repeat(np.arange(8), 4)
    x = np.sqrt(0.7) * rng(2).normal(size=(8, draws))[entity] + np.sqrt(0.3) * rng(3).normal(size=(32, draws))
    by, alone = effects.tested(x, entity)[0], effects.tested(x)[0]
    assert (
        (by["p"] <= 0.05).mean() < 0.08
        and ((by["low"] <= 0) & (by["high"] >= 0)).mean() > 0.93
        and (by["n"] == 8).all()
    )
    assert (alone["p"] <= 0.05).mean() > 0.2


def test_sign_flips_of_skewed_effects_are_called_approximate():
    found = effects.tested(np.column_stack([np.exp(1.2 * rng(4).normal(size=40)), rng(5).normal(size=40)]))[0]
    assert found["p_kind"].tolist() == [SKEWED, "monte carlo if effects are symmetric about 0 under the null"]


def test_items_of_one_memory_are_one_unit():
    axes, draw = ("item", "layer", "strength", "condition"), rng(6)
    change = np.repeat(draw.normal(size=(6, 2, 1, 1)), 3, 0) + 0.1 * draw.normal(size=(18, 2, 1, 1))
    multi = -np.ones(18)
    ds = xr.Dataset(
        {
            "logprob": (axes, change - 1),
            "first": (axes, change - 1),
            "exact": (axes, change * 0),
            "multi_logprob": ("item", multi),
            "multi_first": ("item", multi),
            "multi_exact": ("item", multi * 0),
        },
        {"layer": [0, 1], "strength": [1.0], "condition": ["memory"], "memory": ("item", np.repeat(list("abcdef"), 3))},
    )
    found = injection.summary(stamp(ds, {"kind": "injection", "call": {}, "status": "complete"}))
    assert (found.n == 6).all() and "by memory" in str(found.units.values)
    np.testing.assert_allclose(found["mean"].values[:, 0, 0], change.reshape(6, 3, 2).mean((0, 1)))
    assert found.p.values[0, 0, 0] == pytest.approx(stats.wilcoxon(change[:, 0, 0, 0].reshape(6, 3).mean(1)).pvalue)
    assert (
        injection.summary(stamp(ds, {"kind": "injection", "call": {}, "status": "complete"}), cluster=None).n == 18
    ).all()


def test_prompts_of_one_question_are_one_unit_of_heads():
    x = rng(7).normal(size=(9, 2, 2))
    ds = xr.Dataset(
        {"effect": (("prompt", "layer", "head"), x)},
        {"prompt": range(9), "layer": [0, 1], "head": [0, 1], "x": ("prompt", [f"q{i % 6}" for i in range(9)])},
    )
    found = vectors.summary(stamp(ds, {"kind": "head effects", "status": "complete", "call": {}}))
    assert (found.n == 6).all() and "by x" in str(found.units.values)


# ---- units within units ------------------------------------------------------------------------------------------


def test_nested_is_students_t_where_runs_differ_and_the_units_within_where_they_tie():
    apart = rng(8).normal(size=(4, 1)) * 3 + 0.01 * rng(9).normal(size=(4, 20)) + 5
    found = nested(apart)
    student = stats.ttest_1samp(apart.mean(1), 0)
    ends = student.confidence_interval()
    assert (found.interval.low, found.interval.high) == pytest.approx((ends.low, ends.high)) and float(
        found.p
    ) == pytest.approx(student.pvalue)
    tied = np.tile([1.0, 0, 0, 0], (3, 4))
    exact = stats.binomtest(12, 48).proportion_ci(0.95, "exact")
    inside = nested(tied, of="share").interval
    assert (inside.low, inside.high) == pytest.approx((exact.low, exact.high))
    change = np.tile([1.0, 1, 0, 0], (3, 1))
    assert (
        float(nested(change).p) == pytest.approx(stats.binomtest(6, 6).pvalue)
        and "approximate" == nested(change).p.kind
    )
    assert nested(change.ravel(), np.repeat([0, 1, 2], 4)).interval.low == nested(change).interval.low
    for wrong, words in ((np.zeros(3), "no tops"), (np.full((2, 2), np.nan), "none that is present")):
        with pytest.raises(StatisticsError, match=words):
            nested(wrong)


def test_nested_differences_of_other_units_within_the_same_runs():
    a, b = [rng(i).normal(i, 1, 30) for i in range(3)], [rng(9 + i).normal(i, 1, 25) for i in range(3)]
    found = nested_difference(a, b)
    gaps = np.array([x.mean() - y.mean() for x, y in zip(a, b)])
    ends = stats.ttest_1samp(gaps, 0).confidence_interval()
    assert (
        found.interval.estimate == pytest.approx(gaps.mean())
        and found.interval.low <= ends.low + 1e-9
        and found.interval.high >= ends.high - 1e-9
    )
    assert nested_holm([found, found]).tolist() == [min(1, 2 * float(found.p))] * 2


@pytest.mark.long
@pytest.mark.parametrize("only", few([None, WORST], [WORST]), ids=["all", "worst"])
def test_families_of_nested_comparisons_keep_their_size_and_the_t_test_over_runs_does_not(only):
    """16 comparisons over three runs under the null, by Holm; a small preset of the calibration."""
    found = families(draws=60, only=only)
    assert all(line["low"] <= 0.06 for line in found) and max(line["by_t"] for line in found) > 0.15


@pytest.mark.long
def test_shares_over_runs_are_covered():
    assert all(line["high"] >= 0.93 and line["available"] == 1 for line in shares_over_runs(draws=200))


def test_rates_over_runs_are_korn_and_graubards():
    rates = np.array([0.4, 0.6, 0.7])
    effective = (
        rates.mean()
        * (1 - rates.mean())
        / (rates.var(ddof=1) / 3)
        * (stats.t.ppf(0.975, 599) / stats.t.ppf(0.975, 2)) ** 2
    )
    hits = rates.mean() * max(effective, 1)
    found = rate_over_runs(rates, 200)
    assert (found.low, found.high) == pytest.approx(
        (
            stats.beta.ppf(0.025, hits, max(effective, 1) - hits + 1),
            stats.beta.ppf(0.975, hits + 1, max(effective, 1) - hits),
        ),
        abs=0.02,
    )
    with pytest.raises(StatisticsError, match="rate from 0 to 1"):
        rate_over_runs([1.2], 10)
