"""The permutation engine against enumeration of whole transformation groups, against SciPy, and by its size on
thousands of null data sets.
"""

import itertools
import math
import tracemalloc

import numpy as np
import pytest
from scipy import stats

from lens import stats as S
from lens.stats import randomization
from tests.variants import few

SPREAD = 4  # standard errors allowed to a simulated rate at a fixed seed


def rng(seed=0):
    return np.random.default_rng(seed)


def rate_at_most(found, level, trials):
    most = stats.binom.isf(stats.norm.sf(SPREAD), trials, level)
    assert found * trials <= most + 1e-9, f"rate {found:.4f} above {level}"


def orders_within(groups):
    """Every order of the rows that keeps each group's rows in the group."""
    members = [np.flatnonzero(groups == g) for g in np.unique(groups)]
    for choice in itertools.product(*(itertools.permutations(rows) for rows in members)):
        order = np.empty(groups.size, dtype=int)
        for rows, chosen in zip(members, choice):
            order[rows] = chosen
        yield order


SCORE = np.array([0.3, -2.0, 9.5, 0.3, 1.1, -0.4, 30.0, 0.3])  # ties and a far value
LABEL = np.array([3.0, 1.0, 2.0, 2.0, 5.0, 0.0, 7.0, 2.0])
GROUPS = np.array([0, 1, 0, 1, 1, 0, 2, 0])


# ---- the statistic and its moments -------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [np.zeros(7, dtype=int), GROUPS[:7]])
def test_moments_equal_those_over_all_orders(groups):
    sums = [SCORE[:7] @ LABEL[:7][order] for order in orders_within(groups)]
    assert S.grouped_moments(SCORE[:7], LABEL[:7], groups) == pytest.approx((np.mean(sums), np.var(sums)), rel=1e-12)


@pytest.mark.parametrize("groups", [None, GROUPS])
@pytest.mark.parametrize("statistic", ["spearman", "pearson"])
def test_z_has_mean_0_and_variance_1_over_all_orders(groups, statistic):
    listed = list(orders_within(np.zeros(8, dtype=int) if groups is None else groups))
    chosen = listed if len(listed) < 500 else [listed[i] for i in rng().choice(len(listed), 2000, replace=False)]
    z = [
        S.permutation_correlation(SCORE, LABEL[order], groups=groups, statistic=statistic, resamples=19).z
        for order in chosen
    ]
    if len(listed) < 500:
        assert (np.mean(z), np.var(z)) == pytest.approx((0, 1), abs=1e-9)
    else:
        assert abs(np.mean(z)) < SPREAD / math.sqrt(len(z)) and abs(np.var(z) - 1) < SPREAD * 2 / math.sqrt(len(z))


def test_statistic_equals_scipy():
    score, label = rng(1).standard_t(2, 60).round(1), rng(2).integers(20, size=60)
    spearman, pearson = (
        S.permutation_correlation(score, label, statistic=s, resamples=19) for s in ("spearman", "pearson")
    )
    assert spearman.statistic == pytest.approx(stats.spearmanr(score, label).statistic, rel=1e-12)
    assert pearson.statistic == pytest.approx(stats.pearsonr(score, label).statistic, rel=1e-12)
    assert spearman.z == pytest.approx(spearman.statistic * math.sqrt(59), rel=1e-12)


def test_grouped_statistic_is_the_correlation_after_group_means_are_taken_away():
    found = S.permutation_correlation(SCORE, LABEL, groups=GROUPS, resamples=19)
    a, b = (stats.rankdata(v) for v in (SCORE, LABEL))
    for v in (a, b):
        for g in np.unique(GROUPS):
            v[GROUPS == g] -= v[GROUPS == g].mean()
    assert found.statistic == pytest.approx(a @ b / np.sqrt((a @ a) * (b @ b)), rel=1e-12)
    assert (found.groups, found.idle) == (3, 1)
    named = S.permutation_correlation(SCORE, LABEL, groups=["x", "y", "x", "y", "y", "x", "z", "x"], resamples=19)
    assert (named.statistic, named.p.p) == (found.statistic, found.p.p)


def test_several_epochs_give_the_mean_rank_correlation_and_move_together():
    score, label = rng(3).normal(size=40), rng(4).random((40, 3))
    found = S.permutation_correlation(score, label, resamples=19)
    assert found.statistic == pytest.approx(
        np.mean([stats.spearmanr(score, label[:, e]).statistic for e in range(3)]), rel=1e-12
    )
    same = np.column_stack([label[:, 0]] * 2)
    one, two = (S.permutation_correlation(score, v, resamples=999, seed=5) for v in (label[:, 0], same))
    assert (two.statistic, two.z, two.p.p) == pytest.approx((one.statistic, one.z, one.p.p), rel=1e-12)


def test_a_function_turns_label_ranks_into_weights():
    score, label = rng(3).normal(size=40), rng(4).random(40)
    found = S.permutation_correlation(score, label, statistic=lambda u: np.exp(3 * u), resamples=19)
    assert found.statistic == pytest.approx(
        stats.pearsonr(stats.rankdata(score), np.exp(3 * stats.rankdata(label) / 41)).statistic, rel=1e-12
    )


# ---- p-values ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alternative", ["less", "greater", "two-sided"])
@pytest.mark.parametrize("groups", [None, GROUPS[:7]])
def test_exact_p_equals_brute_force_with_ties(alternative, groups):
    score, label = SCORE[:7], LABEL[:7]
    found = S.permutation_correlation(score, label, groups=groups, alternative=alternative, resamples=10_000)
    a, b = stats.rankdata(score), stats.rankdata(label)
    centre = S.grouped_moments(a, b, groups)[0]
    sums = (
        np.array([a @ b[order] for order in orders_within(np.zeros(7, dtype=int) if groups is None else groups)])
        - centre
    )
    observed = a @ b - centre
    reached = {
        "less": sums <= observed + 1e-9,
        "greater": sums >= observed - 1e-9,
        "two-sided": np.abs(sums) >= abs(observed) - 1e-9,
    }[alternative]
    assert found.p.kind == "exact" and found.p.guaranteed
    assert found.p.p == pytest.approx(reached.mean(), rel=1e-12)
    extreme = {
        "less": sums <= sums.min() + 1e-9,
        "greater": sums >= sums.max() - 1e-9,
        "two-sided": np.abs(sums) >= np.abs(sums).max() - 1e-9,
    }[alternative]
    assert found.p.floor == pytest.approx(extreme.mean(), rel=1e-12)


def test_exact_p_equals_scipy():
    found = S.permutation_correlation(
        SCORE[:7], LABEL[:7], statistic="pearson", alternative="greater", resamples=10_000
    )
    theirs = stats.permutation_test(
        (SCORE[:7],), lambda s: s @ LABEL[:7], permutation_type="pairings", alternative="greater", n_resamples=np.inf
    )
    assert found.p.p == pytest.approx(theirs.pvalue, rel=1e-12)


@pytest.mark.parametrize("draws", ["shuffle", "cyclic"])
@pytest.mark.parametrize("groups", [None, np.arange(300) % 7])
def test_monte_carlo_p_agrees_with_the_normal_tail_for_many_rows(draws, groups):
    score = rng(8).normal(size=300)
    label = rng(9).permutation(300) - 3 * score
    found = S.permutation_correlation(score, label, groups=groups, resamples=20_000, draws=draws)
    assert found.p.kind == "monte carlo" and found.p.floor == 1 / 20_001
    # cyclic keeps the blocks' label sums: about one row in 17 says nothing, so its tail is that of a z nearby
    low, high = stats.norm.cdf([found.z - 0.35, found.z + 0.35]) if draws == "cyclic" else [stats.norm.cdf(found.z)] * 2
    error = SPREAD * math.sqrt(high / 20_000) + 0.03 * high
    assert 0.001 < low and low - error < found.p.p < high + error


@pytest.mark.parametrize("draws", ["shuffle", "cyclic"])
@pytest.mark.parametrize("alternative", ["less", "greater", "two-sided"])
def test_monte_carlo_p_counts_the_data_among_the_draws_and_is_never_0(draws, alternative):
    score, label = rng(8).normal(size=80), rng(9).permutation(80)
    found = S.permutation_correlation(score, label, alternative=alternative, draws=draws, resamples=499)
    key = {"less": np.negative, "greater": np.positive, "two-sided": np.abs}[alternative]
    assert found.null.shape == (499,)
    assert found.p.p == pytest.approx((1 + (key(found.null) >= key(found.statistic) - 1e-12).sum()) / 500, rel=1e-12)
    sure = S.permutation_correlation(
        label * (1.0 if alternative == "greater" else -1.0), label, alternative=alternative, draws=draws, resamples=499
    )
    assert sure.p.p == sure.p.floor == 1 / 500


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_scale_and_offset_of_the_score_do_not_matter(scale):
    score, label = rng(8).standard_t(2, 80), rng(9).permutation(80)
    a, b = (S.permutation_correlation(x, label, statistic="pearson", resamples=499) for x in (score, score * scale))
    assert (a.statistic, a.z, a.p.p) == pytest.approx((b.statistic, b.z, b.p.p), rel=1e-9)


def test_ties_count_as_reached_as_in_fishers_exact_test():
    score, label = np.repeat([0, 1, 0, 1], [14, 6, 5, 12]), np.repeat([0, 1], [20, 17])
    fisher = stats.fisher_exact([[12, 5], [6, 14]], alternative="greater").pvalue
    found = S.permutation_correlation(score * 0.1, label, alternative="greater", resamples=40_000, draws="shuffle")
    assert abs(found.p.p - fisher) < SPREAD * math.sqrt(fisher / 40_000)


@pytest.mark.parametrize("draws", ["shuffle", "cyclic"])
def test_draws_that_differ_by_rounding_only_are_ties(draws):
    pairs = np.repeat(np.arange(40), 2)
    score, label = pairs * 0.1, np.tile([0.1, 0.3], 40)
    score[-1] += 0.7  # the only pair in which a swap changes anything, and the label already has the larger sum
    for statistic in ("spearman", "pearson"):
        found = S.permutation_correlation(score, label, groups=pairs, statistic=statistic, draws=draws, resamples=999)
        assert found.p.p == 1
        other = S.permutation_correlation(
            score, label, groups=pairs, statistic=statistic, draws=draws, resamples=999, alternative="greater"
        )
        assert abs(other.p.p - 0.5) < SPREAD * 0.5 / math.sqrt(999)


# ---- validity of the cyclic draws --------------------------------------------------------------------------------


def test_a_table_of_turns_equals_rolling_the_label():
    a, b = rng(1).normal(size=(5, 9)), rng(2).normal(size=(5, 9))
    rolled = np.array([[a[k] @ np.roll(b[k], -h) for h in range(9)] for k in range(5)])
    np.testing.assert_allclose(randomization._turned(a, b), rolled, atol=1e-12)


def test_listed_turns_equal_brute_force_over_every_block():
    score, label = rng(1).normal(size=9), rng(2).permutation(9).astype(float)
    found = S.permutation_correlation(score, label, statistic="pearson", draws="cyclic", resamples=99, seed=4)
    block = randomization._blocks_of_rows(np.zeros(9, dtype=int), pcg(4))
    sums = []
    for shifts in itertools.product(range(3), repeat=3):
        turned = label.copy()
        for k, h in enumerate(shifts):
            turned[block == k] = np.roll(label[block == k], -h)
        sums.append(score @ turned)
    assert found.p.kind == "exact" and found.null.size == 27
    assert found.p.p == pytest.approx(np.mean(np.array(sums) <= score @ label + 1e-9), rel=1e-12)


def pcg(seed):
    return np.random.Generator(np.random.PCG64(seed))


def test_drawn_turns_reach_the_data_as_often_as_listed_ones():
    gaps, spread = 0.0, 0.0
    for seed in range(200):
        score, label = rng(seed).standard_t(1.5, 25), rng(seed + 1000).permutation(25)
        listed, drawn = (
            S.permutation_correlation(score, label, draws="cyclic", resamples=m, seed=seed) for m in (5**5, 5**5 - 1)
        )
        assert (listed.p.kind, drawn.p.kind) == ("exact", "monte carlo")
        gaps += (drawn.null <= listed.statistic + 1e-12).mean() - listed.p.p
        spread += listed.p.p * (1 - listed.p.p) / 5**5
    assert abs(gaps) < SPREAD * math.sqrt(spread)


def test_blocks_are_near_equal_stay_within_groups_and_do_not_look_at_data():
    group = np.repeat([0, 1, 2], [100, 37, 3])
    block = randomization._blocks_of_rows(group, pcg(0))
    assert all(np.unique(group[block == k]).size == 1 for k in np.unique(block))
    sizes = np.bincount(block)
    assert sizes[:8].max() - sizes[:8].min() <= 1 and sizes.sum() == 140 and sizes.max() <= 14
    many = np.bincount(randomization._blocks_of_rows(np.zeros(100_000, dtype=int), pcg(0)))
    assert many.size == 64 and many.max() - many.min() <= 1


APART, TIED = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0), (0.0, 0.0, 1.0, 1.0, 1.0, 4.0)


@pytest.mark.parametrize(
    ("alternative", "label", "seed"),
    few(itertools.product(("less", "two-sided"), (APART, TIED), (0, 1)), [("less", APART, 0), ("two-sided", TIED, 1)]),
)
def test_whole_group_of_turns_p_is_super_uniform_over_every_assignment(alternative, label, seed):
    score = np.array([0.2, 5.0, -1.0, 0.2, 0.9, 80.0])
    p = [
        S.permutation_correlation(
            score, np.array(order), alternative=alternative, draws="cyclic", resamples=19, seed=seed
        ).p.p
        for order in itertools.permutations(label)
    ]
    p = np.array(p)
    assert p.size == 720 and np.unique(p).size > 3
    for level in np.unique(p):
        assert (p <= level + 1e-12).mean() <= level + 1e-12


def test_whole_group_of_turns_p_is_super_uniform_within_exchange_groups():
    groups, score, label = np.repeat([0, 1], 4), SCORE, np.r_[np.arange(4.0), 10 + np.arange(4.0)]
    p = np.array(
        [
            S.permutation_correlation(score, label[order], groups=groups, draws="cyclic", resamples=19).p.p
            for order in orders_within(groups)
        ]
    )
    assert p.size == 576
    for level in np.unique(p):
        assert (p <= level + 1e-12).mean() <= level + 1e-12


NULLS = {
    "heavy tails": (lambda r: r.standard_t(1.5, 50), "pearson", None, True),
    "heavy-tailed ranks": (lambda r: r.standard_t(1.5, 50), "spearman", None, True),
    "many ties": (lambda r: r.integers(3, size=50), "spearman", None, False),
    "one far value": (lambda r: (np.arange(50) == 7) * 1e6 + r.normal(size=50), "pearson", None, True),
    "groups of unequal size and level": (lambda r: r.standard_t(1.5, 50) + 9.0 * UNEQUAL, "spearman", "unequal", True),
}
UNEQUAL = np.repeat([0, 1, 2, 3], [20, 15, 11, 4])


GROUPED = "groups of unequal size and level"
ON_NULL = [
    ("heavy tails", "cyclic", "two-sided", 500),
    ("many ties", "cyclic", "less", 500),
    (GROUPED, "cyclic", "less", 500),
    ("heavy-tailed ranks", "shuffle", "less", 500),
    (GROUPED, "shuffle", "less", 500),
]
WAYS = [("cyclic", "less"), ("cyclic", "two-sided"), ("shuffle", "less")]


@pytest.mark.parametrize(
    ("name", "draws", "alternative", "trials"),
    few([*ON_NULL, *((name, *way, 3000) for name in NULLS for way in WAYS)], ON_NULL),
)
def test_size_on_null_data(name, draws, alternative, trials):
    draw, statistic, grouped, continuous = NULLS[name]
    groups, r = UNEQUAL if grouped else None, rng(17)
    p = np.empty(trials)
    for i in range(trials):
        label = r.permutation(50).astype(float)
        if grouped:
            label = np.sort(label)[
                np.lexsort((label, UNEQUAL)).argsort()
            ]  # position levels differ by group as scores do: only order within is random
        test = S.permutation_correlation(
            draw(r),
            label,
            groups=groups,
            statistic=statistic,
            alternative=alternative,
            draws=draws,
            resamples=199,
            seed=int(r.integers(2**31)),
        )
        p[i] = test.p.p
    for level in (0.05, 0.01):
        rate_at_most((p <= level).mean(), level, trials)
    if continuous:
        assert (p <= 0.05).sum() >= stats.binom.ppf(stats.norm.sf(SPREAD), trials, 0.05)


def test_ignoring_the_groups_would_have_rejected_the_same_null():
    r = rng(3)
    label = np.concatenate([r.permutation(20), 20 + r.permutation(15), 35 + r.permutation(11), 46 + r.permutation(4)])
    score = r.normal(size=50) + 9.0 * UNEQUAL
    assert S.permutation_correlation(score, label, alternative="greater", resamples=9999).p.p < 0.001
    assert S.permutation_correlation(score, label, groups=UNEQUAL, alternative="greater", resamples=9999).p.p > 0.01


# ---- what cyclic costs -------------------------------------------------------------------------------------------


def test_cyclic_hides_the_share_of_variance_that_the_blocks_fix():
    score, label = rng(1).normal(size=100), rng(2).permutation(100).astype(float)
    kept = []
    for seed in range(400):
        null = S.permutation_correlation(score, label, draws="cyclic", resamples=999, seed=seed).null
        kept.append(null.var() * 99)
    expected = 1 - (10 - 1) / 99  # ten blocks of ten
    assert abs(np.mean(kept) - expected) < SPREAD * np.std(kept) / math.sqrt(len(kept))


@pytest.mark.long
def test_power_of_cyclic_is_that_of_a_few_rows_less():
    r, trials, n = rng(5), 600, 1000
    hits = {"shuffle": 0, "cyclic": 0}
    for i in range(trials):
        label = r.permutation(n)
        score = r.normal(size=n) - 0.093 * (label - label.mean()) / label.std()
        for draws in hits:
            hits[draws] += S.permutation_correlation(score, label, draws=draws, resamples=199, seed=i).p.p <= 0.05
    shuffle, cyclic = (hits[d] / trials for d in ("shuffle", "cyclic"))
    assert 0.8 < shuffle < 0.97
    assert shuffle - cyclic < 0.035, f"shuffle {shuffle:.3f}, cyclic {cyclic:.3f}"


def test_a_hundred_thousand_draws_of_a_hundred_thousand_rows_take_little_memory():
    n = 100_000
    score, label = rng(1).standard_t(2, n), rng(2).permutation(n)
    tracemalloc.start()
    found = S.permutation_correlation(score, label, resamples=100_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.null.size == 100_000 and "cyclic" in found.p.method
    assert peak < 1e9
    assert stats.kstest((found.null - found.null.mean()) * math.sqrt(n - 1), "norm").statistic < 0.01


# ---- input -------------------------------------------------------------------------------------------------------


def test_rows_without_a_score_are_left_out_and_counted_whatever_their_label():
    score, label = rng(1).normal(size=60), rng(2).permutation(60).astype(float)
    score[[3, 17]] = np.nan
    found = S.permutation_correlation(score, label, resamples=999)
    kept = ~np.isnan(score)
    assert found.left_out == 2 and found.n == 58
    alone = S.permutation_correlation(score[kept], label[kept], resamples=999)
    swapped = label.copy()
    swapped[[3, 17]] = 1e9
    assert found.p.p == alone.p.p == S.permutation_correlation(score, swapped, resamples=999).p.p
    assert "2 rows without a score left out" in str(found)


def test_same_seed_same_numbers_whatever_the_memory():
    score, label, groups = rng(1).normal(size=200), rng(2).permutation(200), np.arange(200) % 9
    for draws in ("shuffle", "cyclic"):
        a, b, c = (
            S.permutation_correlation(score, label, groups=groups, draws=draws, resamples=2000, seed=s, memory_mb=mb)
            for s, mb in ((1, 500), (1, 0.05), (2, 500))
        )
        np.testing.assert_allclose(a.null, b.null, rtol=0, atol=1e-12)  # the sums' order of addition may differ
        assert a.p.p == b.p.p
        assert not np.array_equal(a.null, c.null)


def test_text_is_one_line_and_says_that_p_is_guaranteed():
    text = str(S.permutation_correlation(SCORE, LABEL, groups=GROUPS, resamples=99))
    assert "\n" not in text and "guaranteed" in text and "3 exchange groups" in text and "1 rows alone" in text


@pytest.mark.parametrize(
    "change, word",
    [
        ({"score": np.ones(8)}, "score is 1 in all 8 rows"),
        ({"score": np.full(8, np.nan)}, "score has 0 values"),
        ({"score": np.r_[SCORE[:7], np.inf]}, "score has an infinite value"),
        ({"label": np.zeros(8)}, "label is the same"),
        ({"label": np.r_[LABEL[:7], np.nan]}, "label has 1 NaN"),
        ({"label": LABEL[:5]}, "label has shape"),
        ({"groups": np.arange(8)}, "groups leaves nothing to permute"),
        ({"groups": [1, 2]}, "groups has shape"),
        ({"groups": [1, 1, 1, 1, 2, 2, 2, np.nan]}, "groups holds a missing value"),
        ({"groups": ["a", "a", "a", "b", "b", "b", "b", None]}, "groups holds a missing value"),
        ({"statistic": "kendall"}, "statistic = 'kendall'"),
        ({"statistic": lambda u: u[:3]}, "statistic returned"),
        ({"alternative": "lesser"}, "alternative = 'lesser'"),
        ({"draws": "all"}, "draws = 'all'"),
        ({"resamples": 5}, "resamples=5"),
        ({"seed": -1}, "seed=-1"),
        ({"alpha": 1e-6}, "alpha = 1e-06 cannot be reached"),
    ],
)
def test_bad_input_is_named(change, word):
    arguments = {"score": SCORE, "label": LABEL, **change}
    with pytest.raises(S.StatisticsError, match=word):
        S.permutation_correlation(arguments.pop("score"), arguments.pop("label"), **{"resamples": 1000, **arguments})


def test_too_few_rows_for_the_level_says_what_can_be_reached():
    with pytest.raises(S.StatisticsError, match="smallest p of 4 rows and all 24 orders is 0.042"):
        S.permutation_correlation([1.0, 2.0, 3.0, 4.0], [4.0, 1.0, 2.0, 3.0], alpha=0.01)
