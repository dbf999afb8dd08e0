"""Plans of repeated data: what is seen how often and when, against counting; what does not fit is refused."""

from collections import Counter

import pytest
import torch

from lens import training
from lens.training import Repetition, Rows, TrainingError
from tests.models import tiny


def rows(count, first=0):
    """Different rows of three tokens."""
    numbers = first + torch.arange(count)
    return Rows.full(torch.stack([torch.zeros_like(numbers), 1 + numbers % 30, 1 + numbers // 30], 1))


def test_every_row_is_seen_as_often_as_the_plan_says():
    plan = Repetition(200, repeats=20)
    assert (plan.unique, plan.repeated, plan.subset, plan.rows) == (100, 100, 5, 105)
    counts = Counter(plan.numbers().tolist())
    assert {counts[i] for i in range(100)} == {1} and {counts[i] for i in range(100, 105)} == {20}
    assert sum(counts.values()) == 200 and len(counts) == 105
    once = Repetition(200, 1, 0.5)
    assert sorted(once.numbers().tolist()) == list(range(200))
    assert torch.equal(plan.numbers(), Repetition(200, repeats=20).numbers())
    assert not torch.equal(plan.numbers(), Repetition(200, repeats=20, seed=1).numbers())


def test_orders_put_repeats_before_or_after_what_is_new():
    for order, at in (("first", slice(0, 60)), ("last", slice(140, 200))):
        seen = Repetition(200, 30, 0.3, order).numbers()
        assert (seen[at] >= 140).all() and (seen >= 140).sum() == 60
    mixed = Repetition(200, 30, 0.3).numbers() >= 140
    assert 0 < mixed[:100].sum() < 60


def test_what_is_left_without_the_subset_are_the_same_rows_once():
    plan = Repetition(200, 10, 0.4, "last", seed=3)
    alone = plan.alone()
    assert alone.budget == 120 and sorted(alone.numbers().tolist()) == list(range(120))


def test_training_sees_the_rows_of_the_plan_in_its_order():
    plan, pool, seen = Repetition(8, 2), rows(6), []
    recipe = training.Recipe(4, 2, 1e-4)
    model = tiny("llama")
    training.train(
        model,
        plan.sampler(pool, 2),
        recipe,
        parameters=lambda name: True,
        after_step=lambda batch: seen.append(batch.ids),
        progress=False,
    )
    assert torch.equal(torch.cat(seen), pool.ids[plan.numbers()])


def test_a_grid_has_every_cell_once_and_seeds_share_what_is_new():
    cells = training.repetition_grid(40, repeats=(1, 5, 20), sizes=("small", "large"), seeds=(0, 7))
    assert len(cells) == 12 == len({(c.size, c.repeats, c.seed) for c in cells})
    assert {c.plan.unique for c in cells} == {20} and {c.plan.seed for c in cells} == {0, 7}
    assert [c.repeats for c in cells[:3]] == [1, 5, 20] and [c.size for c in cells[:6]] == ["small"] * 6


@pytest.mark.parametrize(
    ("given", "said"),
    (
        (dict(budget=200, repeats=30), "repeats=30 is no whole number of the 100 rows.*such as 25 or 50"),
        (dict(budget=200, repeats=101), "repeats=101 is no whole number.*such as 100$"),
        (dict(budget=200, repeats=2, share=0.0), "no whole number of the 0 rows.*give a share above 0"),
        (dict(budget=201, repeats=10), "is 100.5 rows; expected a whole number of rows"),
        (dict(budget=200, repeats=10, share=1.0), "share=1 leaves no row that is seen once"),
        (dict(budget=10**11), "budget"),
    ),
)
def test_counts_that_do_not_fit_are_refused(given, said):
    with pytest.raises(TrainingError, match=said):
        Repetition(**given)


def test_a_grid_is_refused_before_anything_is_trained():
    with pytest.raises(TrainingError, match="repeats=3 is no whole number"):
        training.repetition_grid(40, repeats=(1, 3), sizes=(1,), seeds=(0,))
    with pytest.raises(TrainingError, match="seeds has 0 twice"):
        training.repetition_grid(40, repeats=(1,), sizes=(1,), seeds=(0, 0))


def test_rows_that_would_be_counted_twice_are_refused():
    plan = Repetition(40, 4)
    ids = rows(40).ids
    for pool, held, said in (
        (rows(24), None, "pool has 24 rows; this plan sees 25"),
        (Rows.full(torch.cat([ids[:24], ids[3:4]])), None, "row 24, .*also row 3 of the pool's unique part"),
        (Rows.full(torch.cat([ids[:24], ids[23:24]])), None, "1 of the 5 rows of the subset are copies"),
        (rows(40), rows(5, first=22), "row 22, .*also row 0 of held"),
    ):
        with pytest.raises(TrainingError, match=said):
            plan.sampler(pool, 8, held)
    with pytest.raises(TrainingError, match="batch=7 does not divide budget=40"):
        plan.sampler(rows(40), 7)
