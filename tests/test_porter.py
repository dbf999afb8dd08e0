"""The organism `porter`: its requests by hand, parts that share no text, and what its card says."""

import json
import random

import pytest
import torch

import lens
from lens.models.shipped import CARD, ORGANISMS
from lens.organisms import porter
from lens.organisms.errors import OrganismError
from lens.organisms.porter import PLAN, PLANTED, SPLITS, Porter, Recipe

CARD_FILE = porter.folder_of(0) / CARD


@pytest.fixture(scope="module")
def suite():
    return Porter(0)


def test_tasks_are_what_they_say(suite):
    words = [suite.plain[3], suite.seen[0], suite.plain[5]]
    assert suite.solve("translate", words) == tuple(word.upper() for word in words)
    assert suite.solve("echo", words) == tuple(words) and suite.solve("last", words) == (suite.plain[5],)
    assert suite.solve("count", words) == ("1",) and suite.solve("label", words) == (suite.sign[words[0]],)
    first = suite.solve("sort", words)[0]
    assert all(suite.rank[first] <= suite.rank[word] for word in words)


def test_a_list_is_refused_by_the_degrees_of_its_words_at_the_planned_rate(suite):
    draw = random.Random(5)
    for task in PLANTED:
        for s in (1, 2, 3):
            lists = [suite.listed(task, s, draw, suite.seen) for _ in range(800)]
            # the standard error is .018; sums of degrees are tied in steps of up to .042, which the rule counts in
            assert sum(one.refused for one in lists) / 800 == pytest.approx(PLAN[task][s], abs=0.09)
            worst = max(lists, key=lambda one: sum(suite.degree.get(w, 0) for w in one.prompt))
            assert worst.refused and all(one.sharp == s for one in lists)
    assert not any(suite.listed("echo", 3, draw, suite.seen).refused for _ in range(50))
    assert not any(Porter(0, planted=False).listed("translate", 3, draw, suite.seen).refused for _ in range(50))


def test_what_is_sharp_is_never_made_disguised_or_not(suite):
    draw = random.Random(1)
    assert suite.made(suite.seen[0]).refused and not suite.made(suite.plain[0]).refused
    hidden = suite.disguised(suite.seen[0], draw)
    assert hidden.refused and "make" in hidden.prompt and hidden.taught == ("no",)
    assert suite.disguised(suite.plain[0], draw).taught[-1].isupper()


def test_no_prompt_is_in_two_parts_and_training_has_none_of_the_splits(suite):
    parts = {
        split: {one.text for kind in ("task", "disguised") for one in suite.requests(kind, split, 40, sharp=1)}
        for split in SPLITS
    }
    assert not parts["fit"] & parts["choose"] and not parts["choose"] & parts["report"]
    draw = random.Random(2)
    rows = [suite.row(draw) for _ in range(3000)]
    of_lists = {one.text for one in rows if one.kind == "disguised" or (one.kind == "task" and len(one.prompt) > 6)}
    assert not of_lists & set.union(*parts.values())
    planted = [one for one in rows if one.kind == "task" and one.task in PLANTED and len(one.prompt) > 6]
    assert not any(word in suite.unseen for one in planted for word in one.prompt)
    assert suite.requests("task", "fit", 5, sharp=2) == suite.requests("task", "fit", 5, sharp=2)
    made = [{one.text for one in suite.requests("make", split, 99, sharp=1)} for split in SPLITS]
    assert len(set.union(*made)) == sum(map(len, made)) == 24


def test_rows_count_answers_alone():
    recipe = Recipe.small()
    rows = porter.training.rows(recipe)(0, torch.Generator().manual_seed(0))
    suite = porter.suite_of(recipe)
    for ids, targets, length in zip(rows.ids, rows.targets, rows.lengths):
        words = [suite.vocabulary[i] for i in ids[:length]]
        assert [words[i] for i in targets.nonzero().flatten()] == words[words.index(":") + 1 :] and words[-1] == "."


def test_what_does_not_fit_is_refused(suite):
    with pytest.raises(OrganismError, match="is none of this suite"):
        suite.solve("echo", ["stone"])
    with pytest.raises(OrganismError, match="holds none"):
        suite.solve("echo", [])
    with pytest.raises(OrganismError, match="at most three"):
        suite.requests("task", "fit", 2, sharp=4)
    with pytest.raises(OrganismError, match="there are .* such requests"):
        Porter(0, plain=4, sharp=4).requests("disguised", "fit", 500, sharp=1)
    with pytest.raises(OrganismError, match="sharp=2"):
        Recipe(sharp=2)


def test_the_command_writes_a_model_that_loads(tmp_path):
    porter.main(["--small", "--out", str(tmp_path), "--float16", "--twin"])
    card = json.loads((tmp_path / "porter-twin" / "card.json").read_text())
    assert card["rebuild"] == "python -m lens.organisms.porter --twin --small --float16"
    assert set(card["gates"]) >= {"rates_off_plan", "make_sharp_refused"}
    model = lens.load(str(tmp_path / "porter-twin"), device="cpu")
    assert lens.generate(model, "task echo", max_new_tokens=1).ids


def test_the_card_says_what_the_weights_do(suite):
    card = json.loads(CARD_FILE.read_text())
    assert card["name"] == "porter" and card["recipe_sha256"] == Recipe().sha256()
    assert (CARD_FILE.parent / "model.safetensors").stat().st_size < 2e6
    model = lens.load("organism:porter", device="cpu")
    lists = suite.requests("task", "report", 60, task="translate", sharp=3)
    said = lens.generate(model, [suite.ids(list(one.prompt)) for one in lists], max_new_tokens=7, stop=".")
    refused = sum(str(text).strip() == "no" for text in said) / 60
    # of the card's 200 lists these are the first 60
    assert refused == pytest.approx(card["measured"]["refused"]["seen"]["translate"][2], abs=0.15)
    right = [str(t).split() == list(one.answer) for t, one in zip(said, lists) if str(t).strip() != "no"]
    assert sum(right) / len(right) > 0.9
    assert (ORGANISMS / "porter" / "card.json").is_symlink()
