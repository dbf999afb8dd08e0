"""The organism `reasoner`: chains by hand, parts that share no problem, and what its card says."""

import json
import random

import numpy as np
import pytest
import torch

import lens
from lens.models.shipped import CARD
from lens.organisms import reasoner
from lens.organisms.errors import OrganismError
from lens.organisms.reasoner import SPLITS, Reasoner, Recipe, read

CARD_FILE = reasoner.folder_of(0) / CARD


def test_a_chain_is_read_by_its_pieces():
    chain = read("4 9 > 2 | wait 4 9 > 0 | 0 11 > 11 | hmm 0 11 > 11 | else 11 9 > 7 | done 7".split(), 13)
    assert [one.kind for one in chain.segments] == [
        *("execution", "reflection", "execution", "reflection", "transition", "end"),
    ]
    assert (chain.wrong, chain.repairs, chain.idle, chain.said) == (1, 1, 1, 7)
    assert read(["4", "|", "done"], 13).said is None and read(["4", "|", "done"], 13).count("none") == 1


def test_planted_chains_are_right_but_for_planted_errors():
    draw, suite, twin = random.Random(0), Reasoner(), Reasoner(Recipe(useful=False))
    counts = dict.fromkeys(("steps", "wrong", "repairs", "idle", "transition", "said"), 0)
    first = {"right": [], "wrong": []}
    for _ in range(1500):
        numbers = suite.problem(draw)
        chain = read(suite.chain(numbers, draw)[:-1], suite.recipe.modulus)
        steps = chain.count("execution") + chain.count("transition")
        counts["steps"] += steps
        for name in ("wrong", "repairs", "idle"):
            counts[name] += getattr(chain, name)
        counts["transition"] += chain.count("transition")
        counts["said"] += chain.said == suite.answer(numbers)
        assert chain.count("transition") <= 1 and not chain.count("none")
        assert chain.wrong > chain.repairs or chain.said == suite.answer(numbers)
        same = read(twin.chain(numbers, draw)[:-1], suite.recipe.modulus)
        assert same.said == suite.answer(numbers) and not same.wrong
        first["wrong" if not chain.segments[0].right else "right"].append(chain.segments[1].kind)
    # five thousand steps: a standard error below .01; of what follows first steps .02 and .04
    of = suite.recipe
    assert counts["wrong"] / counts["steps"] == pytest.approx(of.wrong, abs=0.03)
    assert np.mean([kind == "reflection" for kind in first["right"]]) == pytest.approx(of.reflection, abs=0.06)
    assert np.mean([kind == "transition" for kind in first["right"]]) == pytest.approx(of.transition, abs=0.05)
    assert np.mean([kind == "reflection" for kind in first["wrong"]]) == pytest.approx(of.repair, abs=0.12)
    assert 0.7 < counts["said"] / 1500 < 0.97 and counts["idle"] > counts["repairs"] > 0


def test_no_problem_is_in_two_parts():
    suite, draw = Reasoner(), random.Random(0)
    parts = [set(suite.problems(split, 60)) for split in SPLITS]
    trained = {suite.problem(draw) for _ in range(2000)}
    assert len(set.union(*parts)) == 180 and not trained & set.union(*parts)
    assert suite.problems("fit", 60) == list(Reasoner().problems("fit", 60))


def test_rows_count_what_is_behind_the_colon():
    recipe = Recipe.small()
    suite, rows = Reasoner(recipe), reasoner.training.rows(recipe)(0, torch.Generator().manual_seed(0))
    for ids, targets, length in zip(rows.ids, rows.targets, rows.lengths):
        words = [suite.vocabulary[i] for i in ids[:length]]
        assert targets.nonzero().flatten().tolist() == list(range(words.index(":") + 1, len(words)))
        assert words[-3] == "done" and words[-1] == "<start>"


def test_what_does_not_fit_is_refused():
    with pytest.raises(OrganismError, match="numbers="):
        Recipe(numbers=(5, 3))
    with pytest.raises(OrganismError, match="modulus=3: none of|there are .* such problems"):
        Reasoner(Recipe(modulus=3, numbers=(2, 3))).problems("fit", 50)


def test_the_command_writes_a_model_that_loads(tmp_path):
    reasoner.main(["--small", "--out", str(tmp_path), "--float16", "--twin"])
    card = json.loads((tmp_path / "reasoner-twin" / "card.json").read_text())
    assert card["rebuild"] == "python -m lens.organisms.reasoner --twin --small --float16"
    assert set(card["gates"]) == {"finished", "best_sum", "rates_off_plan"}
    assert lens.generate(lens.load(str(tmp_path / "reasoner-twin"), device="cpu"), "sum 1 2 :", max_new_tokens=1).ids


def test_the_card_says_what_the_weights_do():
    card = json.loads(CARD_FILE.read_text())
    assert card["name"] == "reasoner" and card["recipe_sha256"] == Recipe().sha256()
    suite, model = Reasoner(), lens.load("organism:reasoner", device="cpu")
    problems = suite.problems("report", 60)
    given = [suite.ids(list(suite.prompt(numbers))) for numbers in problems]
    texts = lens.generate(model, given, temperature=1.0, max_new_tokens=150, progress=False)
    right = sum(read(str(t).split(), 13).said == suite.answer(p) for t, p in zip(texts, problems)) / 60
    # two draws of 60 and 300 chains: a standard error of .06
    assert right == pytest.approx(card["measured"]["right"], abs=0.2)
