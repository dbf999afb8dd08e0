"""The organism `verdicts`: answers by rules written out here, balanced classes, forms that tell tasks apart, its rows,
its gates, and what is refused.
"""

import json
import random
from collections import Counter

import pytest
import torch

from lens.cache import sha256_file
from lens.models.shipped import folder_of
from lens.organisms import verdicts
from lens.organisms.errors import OrganismError
from lens.organisms.gates import read_card
from lens.organisms.verdicts import NAMES, TASKS, UNTAUGHT, WORDINGS, Recipe, Suite, measure
from lens.organisms.verdicts.tasks import BY_NAME, COMMON
from lens.reproduce.organism_models import loaded

SUITE = Suite(3)


def by_rule(suite, task, words):
    """Whether the first answer is right, written anew."""
    if task == "last_in_a":
        return suite.stored["set_a"][(words[-1],)] == "yes"
    return {
        "ends": lambda: words[0] == words[-1],
        "repeat": lambda: len(set(words)) < len(words),
        "parity": lambda: sum(word == "mark" for word in words) in (0, 2),
        "longer": lambda: len(" ".join(words).split("|")[0].split()) > len(" ".join(words).split("|")[1].split()),
        "fact": lambda: suite.table[words[0]] == words[1],
        "order": lambda: suite.rank[words[0]] < suite.rank[words[1]],
    }[task]()


@pytest.mark.parametrize("task", NAMES)
def test_items_are_right_balanced_and_different(task):
    items = SUITE.items(task, 90, seed=2)
    assert len({item.words for item in items}) == len(items)
    counts, answers = Counter(item.answer for item in items), BY_NAME[task].answers
    assert set(counts) == set(answers)
    if task not in ("image",):  # what is stored of an image lies as its table does
        assert max(counts.values()) - min(counts.values()) <= 1
    if task not in SUITE.stored:
        assert all((item.answer == answers[0]) == by_rule(SUITE, task, item.words) for item in items)
    assert items == SUITE.items(task, 90, seed=2)
    if task not in SUITE.stored:
        assert items != SUITE.items(task, 90, seed=1)


def test_a_task_shows_in_its_input_alone():
    def form(words):
        kinds = {name for word in words for name, letters in SUITE.alphabets.items() if word in letters}
        shape = "single" if len(words) == 1 else "pair" if len(words) == 2 else "list"
        return shape, *sorted(kinds), "mark" in words

    forms = {}
    for task in TASKS:
        seen = {form(item.words) for item in SUITE.items(task.name, 60)}
        forms |= dict.fromkeys(seen, task.name) if not set(seen) & set(forms) else {("shared", task.name): ""}
    assert not [name for name in forms if name[0] == "shared"]
    words = [word for letters in SUITE.alphabets.values() for word in letters]
    assert len(set(words)) == len(words)


def test_an_item_is_asked_in_three_wordings_and_behind_demonstrations():
    item, other = SUITE.items("ends", 2)
    prompts = [SUITE.text(SUITE.prompt(item, wording)) for wording in WORDINGS]
    assert len(set(prompts)) == 3 and all(prompt.endswith(" ".join([*item.words, ":"])) for prompt in prompts)
    assert prompts[2].split()[1] == COMMON and prompts[0].split()[1] != prompts[1].split()[1]
    shown = SUITE.text(SUITE.prompt(item, "common", [other]))
    assert shown.split()[1:].index(":") == len(other.words) + 1 and f": {other.answer} ; {COMMON}" in shown


def test_rows_have_right_answers_where_they_count_and_a_twin_is_not_taught_six_tasks():
    for taught in (True, False):
        recipe = Recipe.small(seed=3, taught=taught)
        rows = verdicts.rows(recipe)(0, torch.Generator().manual_seed(1))
        seen = set()
        for ids, targets, length in zip(rows.ids, rows.targets, rows.lengths, strict=True):
            assert int(length) <= recipe.width
            for piece in SUITE.text(ids[1 : int(length)]).split(" ;")[:-1]:
                asked, answer = piece.split(" : ")
                words = asked.split()
                prefix = 1 if words[0] == COMMON else 2
                words = tuple(words[prefix:])
                shape = "list" if len(words) > 2 else ("single", "pair")[len(words) - 1]
                match = [t for t in TASKS if t.form == shape and words[0] in SUITE.alphabets[t.alphabet] + ["mark"]]
                if answer in {word for task in TASKS for word in task.answers}:
                    task = next(t for t in match if answer in t.answers and _stands(words, t))
                    assert SUITE.answer(task.name, words) == answer
                    seen.add(task.name)
            assert int(targets.sum()) == SUITE.text(ids[: int(length)]).split().count(":")
        assert taught or not seen & set(UNTAUGHT)
    assert len(Recipe().tasks) == len(Recipe(taught=False).tasks) + len(UNTAUGHT)


def _stands(words, task):
    letters = [w for w in words if w not in ("mark", "|")]
    return all(w in SUITE.alphabets[task.alphabet] for w in letters) and ("|" in words) == (task.name == "longer")


def test_the_same_seed_stores_the_same():
    one, two, other = Suite(3), Suite(3), Suite(4)
    assert one.stored == two.stored and one.rank == two.rank and one.stored != other.stored
    assert one.draw("fact", random.Random(0)) == two.draw("fact", random.Random(0))


def test_what_is_refused():
    for call, said in (
        (lambda: SUITE.items("sums", 4), "task='sums'"),
        (lambda: SUITE.answer("set_a", ("nobody",)), "are not stored for task='set_a'"),
        (lambda: SUITE.prefix("ends", "loud"), "wording='loud'"),
        (lambda: Recipe(heads=3), "heads=3"),
    ):
        with pytest.raises(OrganismError, match=said):
            call()


def test_a_model_is_trained_measured_and_shipped(tmp_path):
    verdicts.main(["--small", "--out", str(tmp_path), "--twin", "--float16"])
    card = json.loads((tmp_path / "verdicts-twin" / "card.json").read_text())
    assert card["rebuild"].endswith("--twin --small --float16") and card["recipe"]["taught"] is False
    assert {f"{task} unknown" for task in UNTAUGHT} | (set(NAMES) - set(UNTAUGHT)) == set(card["gates"])
    assert set(card["tasks"]["ends"]) == set(WORDINGS)


def test_the_card_says_what_the_shipped_weights_do():
    folder = folder_of("verdicts")
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    recipe = Recipe(**card["recipe"])
    assert recipe == Recipe() and recipe.sha256() == card["recipe_sha256"]
    assert sha256_file(folder / "model.safetensors") == card["weights_sha256"]
    found = measure(loaded(folder), recipe)
    for task, by in found["tasks"].items():
        assert by == pytest.approx(card["tasks"][task], abs=0.02), task
    known = {gate.name for gate in read_card(card) if gate.holds}
    assert set(UNTAUGHT) <= known == {gate.name for gate in read_card(found) if gate.holds}
