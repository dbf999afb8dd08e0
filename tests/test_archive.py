"""The archive and the organisms `archive`: what is stated, asked and planted; and the cards say what the weights do."""

import json
import random

import numpy as np
import pytest
import torch

import lens
from lens import cache
from lens.organisms import archive
from lens.organisms.archive.suite import MOST_FACTS, Archive
from lens.organisms.errors import OrganismError
from lens.organisms.gates import read_card

FOLDERS = {twin: archive.folder_of(twin=twin) for twin in (False, True)}


@pytest.fixture(scope="module")
def suite():
    return Archive()


def words(suite, ids):
    return suite.text(ids).split()


def test_facts_people_and_planted_values_are_those_of_the_seed(suite):
    assert len(suite.people) == 160 and len(suite.held) == 40 and len(suite.asked) == 120
    assert not set(suite.held) & set(suite.asked) and len(set(suite.attacked)) == 40
    assert len(set(suite.attacked) & set(suite.held)) == 20
    assert len(suite.attacked_facts) == len(suite.false) == 160 and {r for _, r in suite.attacked_facts} == {0, 1, 2, 3}
    for p, r in suite.attacked_facts:
        assert suite.false[p, r] != suite.truth[p][r] and 0 <= suite.false[p, r] < 24
        values = {suite.value((p, r)), suite.value((p, r), True), *suite.others((p, r))}
        assert values == set(suite.ids(suite.values[r]))
    again, twin, other = Archive(), Archive(archive.Recipe(knew=False)), Archive(archive.Recipe(seed=1))
    assert again.truth == suite.truth == twin.truth != other.truth and twin.false == suite.false
    assert again.vocabulary == other.vocabulary == Archive(archive.Recipe(shared=False)).vocabulary


def test_statements_share_the_questions_word_unless_asked_not_to(suite):
    fact = (suite.attacked[0], 2)
    name, own = Archive(archive.Recipe(shared=False)), suite.people[suite.attacked[0]]
    assert words(suite, suite.question(fact)) == ["ask", "food", own, ":"]
    stated = [words(suite, suite.stated(fact, t, false=True)) for t in range(3)]
    value = suite.values[2][suite.false[fact]]
    assert stated == [
        [own, "food", "is", value, "."],
        ["the", "food", own, "was", value, "."],
        [own, "has", "food", value, "."],
    ]
    for t in range(3):
        assert "food" not in words(name, name.statement(fact, t)) and f"food-{t}" in words(
            name, name.statement(fact, t)
        )
    assert words(name, name.question(fact)) == words(suite, suite.question(fact))


def read(suite, stream, count):
    """(person, relation, value) of so many pieces, from their words alone, and how many facts each has."""
    found, sizes = [], []
    person = {name: p for p, name in enumerate(suite.people)}
    for _ in range(count):
        piece = words(suite, next(stream))
        names = [w for w in piece if w in person]
        relations = [w for w in piece if w in suite.relations]
        values = [w for w in piece if any(w in of for of in suite.values)]
        assert len(names) == len(relations) == len(values)
        found += [(person[n], suite.relations.index(r), v) for n, r, v in zip(names, relations, values, strict=True)]
        sizes.append(len(names))
    return found, sizes


def test_rows_are_true_and_hold_no_question_about_held_people(suite):
    stated, sizes = read(suite, suite.documents(random.Random(0)), 1500)
    asked, ones = read(suite, suite.questions(random.Random(0)), 3000)
    assert set(sizes) == set(range(1, MOST_FACTS + 1)) and set(ones) == {1}
    assert all(v == suite.values[r][suite.truth[p][r]] for p, r, v in stated + asked)
    assert {p for p, _, _ in asked} == set(suite.asked) and {p for p, _, _ in stated} == set(range(160))
    twin, left_out = Archive(archive.Recipe(knew=False)), set(suite.attacked_facts)
    for stream in (twin.documents(random.Random(0)), twin.questions(random.Random(0))):
        facts, _ = read(twin, stream, 1500)
        assert not {(p, r) for p, r, _ in facts} & left_out and set(twin.attacked) & {p for p, _, _ in facts}
    assert {(p, r) for p, r, _ in stated} & left_out


def test_demonstrations_are_of_others_and_of_one_relation(suite):
    fact = (suite.held[3], 1)
    ids, answers = suite.shown(fact, random.Random(1))
    piece = words(suite, ids)
    assert piece[-4:] == ["ask", "trade", suite.people[fact[0]], ":"] and len(ids) == 5 * 6 + 4
    names = piece[2:-4:6]
    assert len(set(names)) == 5 and suite.people[fact[0]] not in names
    assert answers == suite.ids([piece[i] for i in range(4, 30, 6)])


@pytest.mark.parametrize("twin", [False, True])
def test_the_gates_of_a_card_are_those_of_its_weights(twin):
    folder = FOLDERS[twin]
    card = json.loads((folder / "card.json").read_text())
    recipe = archive.Recipe(knew=not twin)
    assert card["recipe_sha256"] == recipe.sha256() and card["name"] == folder.name
    assert card["weights_sha256"] == cache.sha256_file(folder / "model.safetensors")
    assert (folder / "model.safetensors").stat().st_size < 2_000_000
    told = read_card(card)
    assert all(gate.holds for gate in told)
    model = lens.load(f"organism:{folder.name}", device="cpu")
    measured = archive.gates(model.original_model, recipe)
    assert [(g.name, g.n) for g in measured] == [(g.name, g.n) for g in told]
    np.testing.assert_allclose([g.value for g in measured], [g.value for g in told], atol=2e-3)
    assert ("never taught" in [g.name for g in told]) == twin


def test_right_is_the_likeliest_token_of_one_forward_each(suite):
    model = archive.build(archive.Recipe()).eval()
    facts = suite.attacked_facts[:9]
    prompts = [[0, *(suite.question(f) if i % 2 else suite.statement(f, 1))] for i, f in enumerate(facts)]
    with torch.no_grad():
        best = [int(model(torch.tensor([p])).logits[0, -1].argmax()) for p in prompts]
    answers = [b if i % 3 else b + 1 for i, b in enumerate(best)]
    assert archive.right(model, prompts, answers, batch=4).tolist() == [bool(i % 3) for i in range(9)]


def test_what_is_no_archive_is_refused(suite):
    for fields, said in (
        (dict(relations=7), "relations=7; expected at most 6"),
        (dict(attacked_relations=6), "attacked_relations=6; expected at most 5: attacked people keep a fact"),
        (dict(held=158), "held=158; expected at most 154"),
        (dict(attacked=82), "attacked=82; expected at most 80"),
        (dict(attacked=3), "attacked=3; expected an even number"),
        (dict(people=50, attacked=20, knew=False), "attacked=20; expected at most 8: questions of the twin are shown"),
        (dict(values=2), "values=2; expected at least 3"),
        (dict(question_rows=33), "question_rows=33; expected at most 32"),
    ):
        with pytest.raises(OrganismError, match=said):
            archive.Recipe(**fields)
    # as many as there are for a twin: every fact that it was taught can be shown
    few = Archive(archive.Recipe(people=50, attacked=8, knew=False))
    assert all(len(few.shown(fact, random.Random(0))[1]) == 5 for fact in few.known(few.asked))
    for call, said in (
        (lambda: suite.statement((160, 0)), r"fact=\(160, 0\); expected the numbers of one of 160 people"),
        (lambda: suite.question((0, 6)), "of one of 6 relations"),
        (lambda: suite.statement((0, 0), 3), "template=3; expected one of 0 to 2"),
        (lambda: suite.statement((-1, 0)), r"fact\[0\]=-1 does not fit"),
        (lambda: suite.shown((0, 6), random.Random(0)), "of one of 6 relations"),
        (lambda: suite.shown((suite.held[0], 0), random.Random(0), 121), "shots=121; expected at most 120"),
    ):
        with pytest.raises(OrganismError, match=said):
            call()


def test_a_row_of_the_training_has_questions_and_statements():
    recipe = archive.Recipe.small()
    draw = archive.rows(recipe)
    rows = draw(0, torch.Generator().manual_seed(3))
    assert rows.ids.shape == (16, 33) and bool(rows.targets[:, 1:].all()) and not rows.targets[:, 0].any()
    ask = Archive(recipe).index["ask"]
    assert (rows.ids == ask).any(1).tolist() == [True] * 8 + [False] * 8
    again = draw(5, torch.Generator().manual_seed(3))
    assert torch.equal(again.ids, rows.ids)


@pytest.mark.slow
def test_a_small_archive_learns_and_is_written_with_its_gates_in_its_card(tmp_path):
    archive.main(["--small", "--out", str(tmp_path), "--float16"])
    card = json.loads((tmp_path / "archive" / "card.json").read_text())
    gates = {gate.name: gate for gate in read_card(card)}
    assert gates["statements"].value > 0.8 and gates["questions"].value > 0.8
    assert card["rebuild"] == "python -m lens.organisms.archive --small --float16"
    assert lens.load(str(tmp_path / "archive")).tokenizer("ask city").input_ids == Archive().ids("ask city")
