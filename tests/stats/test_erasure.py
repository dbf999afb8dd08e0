"""The word for an edit, counted over all outcomes with SciPy's binomial."""

import numpy as np
import pytest
from scipy import stats

from lens.stats.erasure import Attack, verdict
from tests.variants import few

BETTER = ("hides", "undecided", "erases")


def judge(n, back, left=0, twin=0):
    after, edited, control = np.zeros(n, bool), np.zeros(n, bool), np.zeros(n, bool)
    after[:left] = True
    edited[left : left + back] = True
    control[n - twin :] = True
    return verdict(np.ones(n, bool), after, {"attack": Attack(edited, control)})


@pytest.mark.parametrize("n", few([21, 23, 28, 40, 75], [21, 28, 40]))
def test_erases_is_said_wrongly_in_at_most_a_fortieth_of_cases_and_never_for_more_that_comes_back(n):
    words = [judge(n, k).word for k in range(n // 2)]
    assert [BETTER.index(w) for w in words] == sorted((BETTER.index(w) for w in words), reverse=True)
    assert stats.binom.pmf(np.flatnonzero(np.array(words) == "erases"), n, 0.15).sum() <= 0.025
    bounds = [judge(n, k).table.high.iloc[0] for k in range(n // 2)]
    exact = [stats.binomtest(k, n).proportion_ci(0.95, "exact").high for k in range(n // 2)]
    assert bounds == pytest.approx(exact)  # a twin that recites nothing adds nothing


@pytest.mark.parametrize("n", [40, 100])
def test_the_share_left_has_a_bound_too(n):
    words = [judge(n, 0, left).word for left in range(n - 24)]
    wrongly = sum(stats.binom.pmf(k, n, 0.15) for k, word in enumerate(words) if word == "erases")
    assert wrongly <= 0.025 and words[0] == "erases" and "partial" in words
    low = [k for k in range(len(words)) if stats.binomtest(k, n).proportion_ci(0.95, "exact").low > 0.15]
    assert all(words[k] in ("partial", "undecided") for k in low)
    found = judge(n, 0, 2)
    exact = stats.binomtest(2, n).proportion_ci(0.95, "exact")
    assert (found.left.low, found.left.high) == pytest.approx((exact.low, exact.high))
    assert found.word == "no removal shown" or f"share left at most {exact.high:.2f}" in str(found)


def test_the_control_counts_against_the_recovery():
    plain, held = judge(60, 6), judge(60, 6, twin=6)
    assert held.table.high.iloc[0] < plain.table.high.iloc[0] and held.table.difference.iloc[0] == 0
    others = verdict(
        np.ones(60, bool), np.zeros(60, bool), {"attack": Attack(np.zeros(60, bool), np.zeros(30, bool), paired=False)}
    )
    assert others.word == "erases" and others.table.interval_kind.iloc[0].startswith("Clopper-Pearson")


def test_what_p_does_not_show_is_not_said_to_be_kept():
    four = judge(4, 0)  # all of four are gone, and p is 1 / 16
    assert (
        four.word == "no removal shown"
        and four.by == ()
        and "no proof that it left all as it was; share left at least 0.00 (4 recalled before, 0 after)" in str(four)
    )
    same = judge(40, 0, left=40)
    exact = stats.binomtest(40, 40).proportion_ci(0.95, "exact")
    assert (
        same.word == "no removal shown"
        and f"share left at least {exact.low:.2f} (40 recalled before, 40 after)" in str(same)
    )
    assert judge(5, 0).word != "no removal shown"  # 1 / 32
