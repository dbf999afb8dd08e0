"""Looks at one suspect in one order: counted, said, and paid for."""

import numpy as np
import pytest
from scipy import stats

from lens.provenance import Ledger, ProvenanceError, Reference, Transcript, compare, partition, query, query_scores

from ..variants import few
from .simulated import losses, shuffled


def test_every_way_of_asking_again_is_a_look_and_the_same_question_is_none():
    t, times = shuffled(300, "key", 71)
    suspect, reference = losses(times, 0, 1), Reference(losses(times, 0, 2), False)
    few = dict(resamples=99)
    first = query_scores(suspect, reference, t, **few)
    assert (
        first.looks == 1
        and not any("look" in w for w in first.warnings)
        and float(first.p_adjusted) == min(1, 2 * float(first.p))
    )
    assert query_scores(suspect, reference, t, **few).looks == 1
    ways = [dict(seed=1), dict(statistic="linear"), dict(trend="pearson"), dict(weights="noise"), dict(resamples=199)]
    assert [query_scores(suspect, reference, t, **few | way).looks for way in ways] == [2, 3, 4, 5, 6]
    more = query_scores(suspect[:200], reference.model[:200], t.take(np.arange(200)), shares_order=False, **few)
    assert more.looks == 7 and any("look 7 at this suspect in this order" in w for w in more.warnings)
    assert (
        float(more.p_adjusted) == min(1, 56 * float(more.p))
        and "adjusted for looks" in str(more)
        and "look 7" in more.p_adjusted.method
    )
    again = Transcript(None, t.position[:250], "key", shuffled_as="another object of the same order")
    assert query_scores(suspect[:250], None, again, **few).looks == 8
    other = query_scores(losses(times, 0, 9), reference, t, **few)  # another suspect
    assert other.looks == 1 and query_scores(suspect, reference, t, ledger=False, **few).looks == 0
    new, _new_times = shuffled(300, "key", 72)
    assert query_scores(suspect, reference, new, **few).looks == 1  # another order


def test_a_plan_is_kept():
    t, times = shuffled(100, "rank", 73)
    plan = Ledger(planned=2)
    found = [query_scores(losses(times, 0.3, 1), None, t, seed=seed, ledger=plan, resamples=999) for seed in (0, 1)]
    assert [one.looks for one in found] == [1, 2] and all(
        float(one.p_adjusted) == min(1, 2 * float(one.p)) for one in found
    )
    assert "of 2 planned" in " ".join(found[1].warnings)
    with pytest.raises(ProvenanceError, match="planned=2: refused"):
        query_scores(losses(times, 0.3, 1), None, t, seed=2, ledger=plan, resamples=999)
    with pytest.raises(ProvenanceError, match="planned=0"):
        Ledger(0)
    counts = np.random.default_rng(0).poisson(1 + times)
    assert (
        partition(counts, t, resamples=99, name="a text").looks == 1
        and partition(counts, t, resamples=99, seed=1, name="a text").looks == 2
    )


def test_the_table_takes_the_adjusted_p_from_the_second_look_on():
    t, times = shuffled(400, "key", 74)
    reference = Reference(losses(times, 0, 50), False, "R")
    suspects = {"alice": losses(times, 0.15, 1), "bob": losses(times, 0, 3)}
    once = compare(suspects, t, reference=reference, resamples=999).set_index("suspect")
    twice = compare(suspects, t, reference=reference, resamples=999, seed=1).set_index("suspect")
    assert once.looks.tolist() == [1, 1] and twice.looks.tolist() == [2, 2]
    alone = query(suspects["alice"], t, reference=reference, resamples=999, seed=1, ledger=False)
    assert twice.p["alice"] == pytest.approx(min(1, 6 * float(alone.p))) and once.worth["alice"].startswith(
        "guaranteed if the trainer drew"
    )


@pytest.mark.long
@pytest.mark.parametrize(("runs", "every"), few([(80, 36), (150, 20)], [(80, 36)]))
def test_looking_until_p_is_small_is_paid_for_by_the_adjusted_p(runs, every):
    """Six or ten looks while rows come in: the smallest p is too small, the smallest adjusted one is not."""
    naive, paid = 0, 0
    for seed in range(runs):
        rng = np.random.default_rng([seed, 5])
        position, score, ledger = rng.permutation(200), rng.normal(size=200), Ledger()
        found = []
        for n in range(20, 201, every):
            t = Transcript(None, position[:n], "rank", shuffled_as="x")
            found.append(query_scores(score[:n], None, t, resamples=199, level=0.9, ledger=ledger))
        assert [one.looks for one in found] == list(range(1, len(found) + 1))
        naive += min(float(one.p_permutation) for one in found) <= 0.05
        paid += min(one.record["looks"]["factor"] * float(one.p_permutation) for one in found) <= 0.05
    assert naive > stats.binom.ppf(0.999, runs, 0.05) and paid <= stats.binom.ppf(0.9999, runs, 0.05)


@pytest.mark.long
@pytest.mark.parametrize("runs", few([25, 60], [25]))
def test_the_best_of_fifteen_seeds_is_paid_for(runs):
    """Fifteen seeds of 99 draws each: one p of fifteen is a look of fifteen."""
    paid = 0
    for run in range(runs):
        rng = np.random.default_rng([run, 6])
        t, score, ledger = (
            Transcript(None, rng.permutation(50), "rank", shuffled_as="x"),
            rng.normal(size=50),
            Ledger(planned=15),
        )
        found = [query_scores(score, None, t, seed=seed, resamples=99, ledger=ledger) for seed in range(15)]
        assert found[-1].looks == 15
        paid += min(float(one.p_adjusted) for one in found) <= 0.05
    assert paid <= stats.binom.ppf(0.9999, runs, 0.05)
