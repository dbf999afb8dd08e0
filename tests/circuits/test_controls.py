"""A circuit beside those of shuffled pairs and of other counterfactuals."""

import dataclasses

import numpy as np
import pytest

import lens
from lens.circuits import Circuit, CircuitError, controls, shuffled
from lens.prompts import encode
from tests.circuits.test_faithfulness import FOUND_ON, HELD_OUT
from tests.models import speaking


def pair(i: int, more: str = "") -> lens.Pair:
    return lens.Pair(
        f"w3{more} w17 w{5 + i} w80", corrupted=f"w3{more} w17 w{40 + i} w33", answer=f" w{60 + i}", foil=f" w{70 + i}"
    )


SOME = [pair(0), pair(1, " w2"), pair(2), pair(3, " w2"), pair(4)]


@pytest.mark.parametrize("seed", range(3))
def test_every_pair_has_another_ones_part(seed):
    model = speaking("llama")
    answers = shuffled(model, SOME, seed=seed)
    assert [p.clean for p in answers] == [p.clean for p in SOME]
    assert [p.corrupted for p in answers] == [p.corrupted for p in SOME]
    assert sorted(p.answer for p in answers) == sorted(p.answer for p in SOME)
    assert all(a.answer != b.answer for a, b in zip(answers, SOME))
    # an answer and its foil stay together
    assert {(p.answer, p.foil) for p in answers} == {(p.answer, p.foil) for p in SOME}
    others = shuffled(model, SOME, "counterfactuals", seed=seed)
    assert [(p.clean, p.answer, p.foil) for p in others] == [(p.clean, p.answer, p.foil) for p in SOME]
    assert sorted(map(str, (p.corrupted for p in others))) == sorted(str(p.corrupted) for p in SOME)
    assert all(a.corrupted != b.corrupted for a, b in zip(others, SOME))
    for one in others:
        assert len(encode(model, one).clean_ids) == len(encode(model, one).corrupted_ids)


def test_equal_answers_are_not_exchanged():
    """Two word orders of a scene have the same names, the answer and foil of one the other way round."""
    model = speaking("llama")
    turned = [dataclasses.replace(p, answer=p.foil, foil=p.answer) for p in SOME]
    for seed in range(3):
        found = shuffled(model, [*SOME, *turned], seed=seed)
        assert all({a.answer, a.foil}.isdisjoint({b.answer, b.foil}) for a, b in zip(found, [*SOME, *turned]))
    with pytest.raises(CircuitError, match="2 of 3 that can be put together have the same part"):
        shuffled(model, [SOME[0], turned[0], SOME[1]])


def test_pairs_that_fit_no_other_are_refused():
    model = speaking("llama")
    with pytest.raises(CircuitError, match="1 of 1 that can be put together have the same part"):
        shuffled(model, SOME[:3], "counterfactuals")
    with pytest.raises(CircuitError, match="two pairs or more"):
        shuffled(model, SOME[:1])
    with pytest.raises(CircuitError, match="what='labels'"):
        shuffled(model, SOME, "labels")


def test_circuits_beside_each_other():
    """Each is judged as alone; edge sets are compared by names; differences are of the same pairs."""
    model, quiet = speaking("llama"), dict(progress=False)
    found = lens.edges(model, FOUND_ON, steps=1, check=0, **quiet)
    other = lens.edges(model, shuffled(model, FOUND_ON, "counterfactuals"), steps=1, check=0, **quiet)
    ds = controls(model, HELD_OUT, found, {"other": other, "same": found}, n=30, draws=2, resamples=20, seed=3, **quiet)
    circuits = [scores.circuit(30) for scores in (found, other, found)]
    alone = [lens.faithfulness(model, HELD_OUT, c, controls=0, complement=False, **quiet) for c in circuits]
    np.testing.assert_allclose(ds.f, [a.f.item() for a in alone], rtol=1e-5)
    names = [set(c.edges) for c in circuits]
    assert ds.jaccard.values.tolist() == [len(names[0] & other) / len(names[0] | other) for other in names]
    assert ds.jaccard[2] == 1 and ds.jaccard_low[2] == 1
    assert (
        0 < ds.jaccard_low[1] <= ds.jaccard_high[1] < 1
        and ds.jaccard_low[0] == found.stability(30, resamples=20, seed=3)["low"]
    )
    gap = (ds.full - ds["empty"]).values
    value = ds.value.values
    np.testing.assert_allclose(ds.less, (value[0] - value).mean(1) / gap.mean(), atol=1e-12)
    assert ds.less_low[1] < ds.less[1] < ds.less_high[1] and ds.less[0] == ds.less[2] == 0
    random = [circuits[0].random_like(3 + draw) for draw in range(2)]
    assert ds.random_jaccard.values.tolist() == [circuits[0].jaccard(r) for r in random]
    wanted = lens.faithfulness(model, HELD_OUT, random, controls=0, complement=False, **quiet).f.values[0]
    np.testing.assert_allclose(ds.random, wanted, rtol=1e-6)
    record = lens.record(ds)
    assert record["kind"] == "circuit_controls" and set(record["call"]["others"]) == {"found", "other", "same"}


def test_what_is_set_beside_must_be_scores_of_the_same_model():
    model, quiet = speaking("llama"), dict(progress=False)
    found = lens.edges(model, FOUND_ON[:2], steps=1, check=0, **quiet)
    apart = lens.edges(model, FOUND_ON[:2], steps=1, check=0, grouped=False, **quiet)
    with pytest.raises(CircuitError, match=r"others\['apart'\] is of Graph"):
        controls(model, HELD_OUT, found, {"apart": apart}, n=5, **quiet)
    with pytest.raises(CircuitError, match="'found' is the circuit's own name"):
        controls(model, HELD_OUT, found, {"found": found}, n=5, **quiet)
    with pytest.raises(CircuitError, match=r"others\['c'\]=.*expected lens.Edges"):
        controls(model, HELD_OUT, found, {"c": Circuit(found.graph, found.graph.exists)}, n=5, **quiet)
