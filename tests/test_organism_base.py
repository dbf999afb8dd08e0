"""What organisms of made-up words share: words and ids, splits by unit, packed rows, gates, the plateau schedule."""

import itertools

import pytest
import torch

from lens import training
from lens.organisms.errors import OrganismError
from lens.organisms.gates import Gate, of_card, read_card
from lens.organisms.shipping import START
from lens.organisms.suite import Suite, packed, split


def test_words_and_ids_are_each_others():
    suite = Suite([START, "ask", "rel", "ada"])
    assert suite.ids("ask rel ada") == [1, 2, 3] == suite.ids(["ask", "rel", "ada"])
    assert suite.text(torch.tensor([3, 1])) == "ada ask"


@pytest.mark.parametrize(
    "vocabulary, said",
    [
        (["a", "b"], r"vocabulary\[0\]='a'"),
        ([START, "a", "a"], "'a' twice"),
        ([START, "a b"], "'a b'"),
        ([], "vocabulary"),
    ],
)
def test_a_vocabulary_that_is_none_is_refused(vocabulary, said):
    with pytest.raises(OrganismError, match=said):
        Suite(vocabulary)


def test_a_word_that_is_unknown_is_named():
    with pytest.raises(OrganismError, match="'bob'"):
        Suite([START, "ada"]).ids("ada bob")


def test_each_unit_is_in_one_part_and_the_same_seed_gives_the_same_parts():
    units = [f"p{i}" for i in range(41)]
    parts = split(units, {"fit": 0.5, "choose": 0.2, "report": 0.3}, seed=3)
    assert sorted(itertools.chain(*parts.values())) == sorted(units)
    assert [len(parts[name]) for name in ("fit", "choose", "report")] == [20, 9, 12]
    assert parts == split(units, {"fit": 0.5, "choose": 0.2, "report": 0.3}, seed=3)
    assert parts != split(units, {"fit": 0.5, "choose": 0.2, "report": 0.3}, seed=4)


@pytest.mark.parametrize(
    "units, shares, said",
    [
        (["a", "b"], {"fit": 0.5, "report": 0.4}, "add up to 1"),
        (["a", "a"], {"fit": 0.5, "report": 0.5}, "twice"),
        (["a"], {"fit": 0.5, "report": 0.5}, "too few"),
        ([], {"fit": 1.0}, "units"),
    ],
)
def test_a_split_that_is_none_is_refused(units, shares, said):
    with pytest.raises(OrganismError, match=said):
        split(units, shares)


def test_rows_are_cut_from_pieces_in_their_order():
    rows = packed(itertools.cycle([[1, 2, 3], [4, 5]]), rows=2, width=4)
    # what a row cuts off is not carried into the next, which begins with a whole piece
    assert rows.ids.tolist() == [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]
    assert rows.targets[:, 1:].all() and not rows.targets[:, 0].any()


def test_whole_pieces_end_a_row_before_its_width():
    rows = packed([[1, 2, 3], [4, 5], [6]], rows=2, width=4, whole=True)
    assert rows.ids.tolist() == [[0, 1, 2, 3], [0, 4, 5, 6]]
    with pytest.raises(OrganismError, match="5 tokens"):
        packed([[1] * 5], rows=1, width=4, whole=True)
    with pytest.raises(OrganismError, match="row 1 of 2"):
        packed([[1] * 4], rows=2, width=4)


def test_a_gate_holds_within_its_bounds_and_a_card_says_it():
    gates = [
        Gate("know", 0.96, least=0.95, n=160),
        Gate("floor", 0.2, most=0.15),
        Gate("walk", 0.3, least=0.1, most=0.6),
    ]
    assert [gate.holds for gate in gates] == [True, False, True]
    card = {"gates": of_card(gates[:2])}
    assert card["gates"]["know"] == {"value": 0.96, "least": 0.95, "n": 160, "holds": True}
    assert read_card(card) == gates[:2]
    assert str(gates[1]) == "floor 0.200 (at most 0.15): does not hold"
    for bad, said in (({"value": 1.0}, "neither"), ({"value": 1.0, "least": 0.5, "most": 0.4}, "no value fits")):
        with pytest.raises(OrganismError, match=said):
            Gate("x", **bad)
    with pytest.raises(OrganismError, match="one name"):
        of_card([gates[0], gates[0]])
    with pytest.raises(OrganismError, match="absent"):
        read_card({})


def test_a_plateau_stays_at_its_rate_and_falls_to_nothing_over_the_last_quarter():
    recipe = training.Recipe(steps=100, batch=1, learning_rate=2.0, warmup=10, schedule="plateau")
    rates = [recipe.rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.2) and rates[9:75] == pytest.approx([2.0] * 66)
    assert rates[75:] == pytest.approx([2.0 * (100 - step) / 25 for step in range(75, 100)])
