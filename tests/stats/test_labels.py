"""Membership labels against Mann-Whitney, pROC's formula by brute force, the bootstrap and Fisher; traps against sign
flips.
"""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from lens import stats as S
from lens.stats import labels
from tests.variants import few

SPREAD = 4


def rng(seed=0):
    return np.random.default_rng(seed)


def rows(seed, n1, n0, shift, ties=False):
    r = rng(seed)
    score = np.r_[r.normal(size=n1) + shift, r.normal(size=n0)]
    score = score.round() if ties else score
    order = r.permutation(n1 + n0)
    return score[order], np.r_[np.ones(n1), np.zeros(n0)][order]


# ---- AUC ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("alternative", ["less", "greater", "two-sided"])
def test_auc_and_p_equal_mann_whitney(ties, alternative):
    score, member = rows(1, 60, 90, 0.3, ties)
    found = S.auc(score, member, alternative=alternative, resamples=20_000)
    theirs = stats.mannwhitneyu(
        score[member == 1], score[member == 0], alternative=alternative, method="asymptotic", use_continuity=False
    )
    assert found.auc == pytest.approx(theirs.statistic / (60 * 90), rel=1e-12)
    size = abs(stats.norm.isf(theirs.pvalue / 2 if alternative == "two-sided" else theirs.pvalue))
    assert found.z == pytest.approx(size * np.sign(found.auc - 0.5), rel=1e-6)
    assert abs(found.p.p - theirs.pvalue) < SPREAD * math.sqrt(theirs.pvalue / 20_000) + 0.05 * theirs.pvalue
    assert found.p.guaranteed and found.null == pytest.approx(0.5)


def test_exact_p_equals_scipys_exact_mann_whitney():
    score, member = rows(2, 4, 4, 0.8)
    theirs = stats.mannwhitneyu(score[member == 1], score[member == 0], alternative="greater", method="exact")
    found = S.auc(score, member, resamples=100_000)
    assert found.p.kind == "exact" and found.p.p == pytest.approx(theirs.pvalue, rel=1e-12)


def test_p_within_groups_equals_brute_force_and_sees_through_what_groups_give_away():
    score = np.array([1.0, 2, 3, 10, 11, 12, 12])
    member = np.array([0, 1, 0, 1, 1, 0, 1])
    group = np.array([0, 0, 0, 1, 1, 1, 1])
    ranks, sums, areas = stats.rankdata(score), [], []
    for one, three in itertools.product(range(3), itertools.combinations(range(3, 7), 3)):
        sums.append(ranks[one] + ranks[list(three)].sum())
        areas.append((sums[-1] - 10) / 12)
    found = S.auc(score, member, groups=group)
    assert found.p.p == pytest.approx(np.mean(np.array(sums) >= ranks[member == 1].sum()), rel=1e-12)
    assert found.null == pytest.approx(np.mean(areas), rel=1e-12) and found.null > 0.6
    assert "groups alone" in str(found)


def test_delong_variance_equals_its_definition_by_pairs():
    score, member = rows(3, 17, 23, 0.7, ties=True)
    x, y = score[member == 1], score[member == 0]
    win = (x[:, None] > y) + 0.5 * (x[:, None] == y)
    area = win.mean()
    variance = win.mean(axis=1).var(ddof=1) / 17 + win.mean(axis=0).var(ddof=1) / 23
    found = S.auc(score, member, resamples=19)
    half = 1.959964 * math.sqrt(variance) / (area * (1 - area))
    expected = [1 / (1 + math.exp(-(math.log(area / (1 - area)) + s * half))) for s in (-1, 1)]
    assert (found.interval.low, found.interval.high) == pytest.approx(expected, rel=1e-6)


@pytest.mark.long
def test_interval_agrees_with_the_bootstrap():
    score, member = rows(4, 300, 400, 0.5)
    x, y, r = score[member == 1], score[member == 0], rng(5)
    drawn = []
    for _ in range(2000):
        below = np.searchsorted(np.sort(r.choice(y, y.size)), r.choice(x, x.size))  # no ties between x and y
        drawn.append(below.mean() / y.size)
    found = S.auc(score, member, resamples=19).interval
    low, high = np.quantile(drawn, (0.025, 0.975))
    assert abs(found.low - low) < 0.1 * (high - low) and abs(found.high - high) < 0.1 * (high - low)


@pytest.mark.parametrize(("shift", "trials"), few([(0.0, 1500), (1.5, 1500)], [(1.5, 1500)]))
def test_interval_covers(shift, trials):
    truth = stats.norm.cdf(shift / math.sqrt(2))
    covered = 0
    for seed in range(trials):
        score, member = rows(seed, 25, 40, shift)
        low, high, _ = labels._auc_interval(score[member == 1], score[member == 0], area_of(score, member), 0.95)
        covered += low <= truth <= high
    assert abs(covered / trials - 0.95) < SPREAD * math.sqrt(0.95 * 0.05 / trials) + 0.01


def area_of(score, member):
    """The share of pairs in which the member is higher; no ties."""
    return (score[member == 1][:, None] > score[member == 0]).mean()


def test_complete_separation_has_an_interval_of_some_width():
    found = S.auc(np.arange(20.0), np.arange(20) >= 10)
    assert found.auc == 1 and found.interval.high == 1 and 0.7 < found.interval.low < 0.95
    assert S.auc(np.arange(20.0), np.arange(20) < 10).interval.high == pytest.approx(1 - found.interval.low)
    low = found.interval.low  # Newcombe's equation at AUC 1, with 10 and 10 rows
    assert 1 - low == pytest.approx(
        1.959964 * math.sqrt(low * (1 - low) * (1 + 9 * (1 - low) / (2 - low) + 9 * low / (1 + low))) / 10, rel=1e-6
    )
    many = S.auc(np.arange(200.0), np.arange(200) >= 100)
    assert many.interval.low > found.interval.low


@pytest.mark.parametrize("level", [2.3e-16, 1e-12, 1e-6])
@pytest.mark.parametrize("order", [1, -1])
def test_a_level_near_zero_has_an_interval_around_the_area(level, order):
    found = S.auc(order * np.arange(20.0), np.arange(20) >= 10, level=level)
    assert found.interval.low <= found.auc <= found.interval.high and found.interval.high - found.interval.low < 1e-6


# ---- true positives at a fixed rate ------------------------------------------------------------------------------


@pytest.mark.parametrize("alternative", ["greater", "less"])
def test_rate_counts_members_beyond_the_non_members_threshold(alternative):
    sign = 1 if alternative == "greater" else -1
    score = sign * np.r_[np.arange(200.0), [150.5, 197.5, 197.9, 198.0, 250.0]]
    member = np.r_[np.zeros(200), np.ones(5)]
    found = S.auc(score, member, fpr=(0.01, 0.1), resamples=99, alternative=alternative)
    assert found.tpr_at[0.01].estimate == pytest.approx(4 / 5)  # two of 200 lie above 197
    assert found.tpr_at[0.1].estimate == pytest.approx(4 / 5)
    # the threshold's own error is inside: at 1 % of 200, none may lie above the true one (chance .13), and at 10 %
    # between 11 and 30 do (half the level for it, half for the members)
    above = stats.binom(200, 0.1)
    few, many = int(above.ppf(0.0125)), int(above.isf(0.0125))
    low, high = (
        stats.binomtest(int(k), 5).proportion_ci(0.975, "exact")
        for k in ((score[200:] * sign > 200 - few).sum(), (score[200:] * sign >= 199 - many).sum())
    )
    assert (found.tpr_at[0.1].low, found.tpr_at[0.1].high) == pytest.approx((low.low, high.high))
    assert found.tpr_at[0.01].low == 0 and found.tpr_at[0.01].high > 0.99
    assert found.notes == () and "200 non-members (FPR 0.01)" in found.tpr_at[0.01].method


def test_ties_at_the_threshold_never_raise_the_false_positive_rate():
    score, member = np.r_[np.zeros(90), np.ones(10), [1.0, 1.0, 2.0]], np.r_[np.zeros(100), np.ones(3)]
    assert S.auc(score, member, fpr=(0.05,), resamples=99).tpr_at[0.05].estimate == pytest.approx(1 / 3)


def test_too_few_non_members_for_the_rate_are_said():
    score, member = rows(1, 30, 99, 0.5)
    text = str(S.auc(score, member, resamples=99))
    assert "99 non-members cannot resolve 1 % FPR (at least 100)" in text and "\n" not in text and "guaranteed" in text
    score, member = rows(1, 30, 100, 0.5)
    assert S.auc(score, member, resamples=99).notes == ()


@pytest.mark.long
@pytest.mark.parametrize("trials", few([600, 2000], [600]))
def test_size_of_auc_p_on_null_data_with_groups(trials):
    r = rng(6)
    group = np.repeat(np.arange(10), 6)
    p = np.empty(trials)
    for i in range(trials):
        member = np.concatenate(
            [r.permutation([1, 1, 0, 0, 0, 0]) if g % 2 else r.permutation([1, 1, 1, 1, 0, 0]) for g in range(10)]
        )
        p[i] = S.auc(r.normal(size=60) - 3.0 * (group % 2), member, groups=group, resamples=199, seed=i).p.p
    for level in (0.05, 0.01):
        assert (p <= level).sum() <= stats.binom.isf(stats.norm.sf(SPREAD), trials, level)
    assert (p <= 0.05).sum() > stats.binom.ppf(stats.norm.sf(SPREAD), trials, 0.05)


def test_rows_without_a_score_are_left_out_and_counted():
    score, member = rows(7, 30, 120, 0.5)
    score[[1, 5]] = np.nan
    kept = ~np.isnan(score)
    found, alone = S.auc(score, member, resamples=99), S.auc(score[kept], member[kept], resamples=99)
    assert (found.left_out, found.n) == (2, 148) and (found.auc, found.p.p) == (alone.auc, alone.p.p)


# ---- traps -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alternative", ["less", "greater", "two-sided"])
def test_one_control_gives_the_sign_flip_test(alternative):
    trap, control = rng(1).standard_t(2, 11) - 0.5, rng(2).standard_t(2, 11)
    found = S.paired_trap_test(trap, control, alternative=alternative)
    theirs = S.sign_flip(trap - control, alternative=alternative, resamples=5000)
    assert found.p.kind == theirs.kind == "exact" and found.p.p == pytest.approx(theirs.p, rel=1e-12)
    down = int((trap < control).sum())
    other = {"less": "greater", "greater": "less"}.get(alternative, alternative)
    assert found.sign.p == pytest.approx(stats.binomtest(down, 11, alternative=other).pvalue)
    assert found.difference.estimate == pytest.approx((trap - control).mean())


def test_several_controls_list_every_choice_of_the_inserted_one():
    trap, control = np.array([0.1, 0.9, -2.0]), rng(3).normal(size=(3, 2))
    table = np.column_stack([trap, control])
    gaps = table - (table.sum(axis=1, keepdims=True) - table) / 2
    sums = np.array([gaps[0, i] + gaps[1, j] + gaps[2, k] for i, j, k in itertools.product(range(3), repeat=3)])
    found = S.paired_trap_test(trap, control)
    assert found.p.p == pytest.approx((sums <= gaps[:, 0].sum() + 1e-9).mean(), rel=1e-12) and found.sign is None
    assert found.p.floor == pytest.approx(1 / 27) and "guaranteed" in str(found) and "\n" not in str(found)


def test_sets_with_a_missing_score_are_left_out():
    trap, control = rng(1).normal(size=9), rng(2).normal(size=9)
    trap[0] = control[4] = np.nan
    kept = [1, 2, 3, 5, 6, 7, 8]
    found = S.paired_trap_test(trap, control)
    assert (found.n, found.left_out) == (7, 2) and found.p.p == S.paired_trap_test(trap[kept], control[kept]).p.p


X, M = rows(9, 20, 30, 0.4)


@pytest.mark.parametrize(
    "call, word",
    [
        (lambda: S.auc(np.zeros(50), M), "score is 0 in all 50 rows"),
        (lambda: S.auc(X, M * 2), "member has the value 2"),
        (lambda: S.auc(X, np.where(M == 1, np.nan, 0)), "member has the value nan"),
        (lambda: S.auc(X, np.ones(50)), "member leaves 50 members and 0 others"),
        (lambda: S.auc(X, M[:9]), "member has shape"),
        (lambda: S.auc(X, M, fpr=(1,)), "fpr=1"),
        (lambda: S.auc(X, M, groups=M), "groups leaves nothing to permute"),
        (lambda: S.auc(X[:4], [1, 0, 1, 0], alpha=0.01), "alpha = 0.01 cannot be reached"),
        (lambda: S.paired_trap_test(X[:9], X[:8]), "trap has shape"),
        (lambda: S.paired_trap_test(X[:9], X[:9]), "trap equals control"),
        (lambda: S.paired_trap_test(X[:3], -X[:3], alpha=0.01), "alpha = 0.01 cannot be reached"),
    ],
)
def test_bad_input_is_named(call, word):
    with pytest.raises(S.StatisticsError, match=word):
        call()


def test_what_only_a_person_can_know_is_said():
    r = np.random.default_rng(0)
    score, label = r.normal(size=40), r.permutation(np.repeat([0, 1], 20))
    assert "guaranteed if a coin decided who is a member, within each group" in str(S.auc(score, label, resamples=99))
    traps = S.paired_trap_test(score[:20], score[20:], resamples=99)
    assert (
        "guaranteed if a coin decided which of each set was inserted" in str(traps)
        and traps.sign.condition == traps.p.condition
    )
    assert "guaranteed if the labels were assigned at random within groups" in str(
        S.permutation_correlation(score, label, resamples=99)
    )
