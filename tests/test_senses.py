"""The suite and the organisms `senses`: rows, items and their partners, both moments, and that cards say what the
weights do.
"""

import json

import pytest
import torch

import lens
from lens import cache, models
from lens.organisms import senses
from lens.organisms.errors import OrganismError
from lens.organisms.gates import read_card
from lens.organisms.senses.training import step_of

SMALL = senses.Recipe.small()


@pytest.fixture(scope="module")
def suite():
    return senses.Suite(SMALL)


def senses_of(suite, word):
    strong, weak = suite.pair[suite.words.index(word)].tolist()
    return suite.senses[strong], suite.senses[weak]


def sense_of(cue):
    return cue.partition("c")[0]


def test_rows_say_the_sense_of_the_last_cue_and_without_one_the_dose(suite):
    rows = suite.rows(4000, torch.Generator().manual_seed(1))
    assert rows.targets.sum(1).tolist() == [1] * 4000 and rows.targets[:, -1].all()
    without = []
    for ids in rows.ids.tolist():
        start, *words, colon, said = (suite.vocabulary[i] for i in ids)
        (word,) = [w for w in words if w in suite.words]
        assert start == "<start>" and colon == ":" and len(words) == SMALL.context + 1
        own = senses_of(suite, word)
        cues = [sense_of(w) for w in words if "c" in w and w[0] == "s" and sense_of(w) in own]
        assert said in own
        if cues:
            assert said == cues[-1]
        elif suite.doses[suite.words.index(word)] == 0.95:
            without.append(said == own[0])
    assert len(without) > 200 and sum(without) / len(without) == pytest.approx(0.95, abs=0.05)


def test_the_twin_has_no_dose():
    twin = senses.Suite(senses.Recipe.small(dosed=False))
    rows = twin.rows(3000, torch.Generator().manual_seed(1))
    words = rows.ids[:, 1:-2] - twin.index[twin.words[0]]
    word = words.max(1).values
    stronger = rows.ids[:, -1] - twin.index[twin.senses[0]] == twin.pair[word][:, 0]
    assert float(stronger.float().mean()) == pytest.approx(0.5, abs=0.04)


def test_items_differ_from_their_partners_in_the_cue_alone(suite):
    items = suite.items(40, partners=2, same=2)
    assert {item.word for item in items} <= {w for w, d in zip(suite.words, suite.doses) if d > 0.5}
    for number, item in enumerate(items):
        row = ["<start>", *item.text.split()]
        strong, weak = senses_of(suite, item.word)
        assert (item.sense, item.other) == (weak, strong) and item.after == bool(number % 2)
        assert row[item.place] == item.word and row[item.at] == item.cue and sense_of(item.cue) == weak
        assert (item.at > item.place) == item.after
        assert sum("c" in w and sense_of(w) in (strong, weak) for w in row if w[0] == "s") == 1
        for texts, sense in ((item.partners, strong), (item.same, weak)):
            assert texts
            for text in texts:
                other = ["<start>", *text.split()]
                assert [i for i, (a, b) in enumerate(zip(row, other, strict=True)) if a != b] == [item.at]
                assert sense_of(other[item.at]) == sense
        pair = item.pair()
        assert pair.clean.split() == row and pair.spans["word"] == item.word
    known = {word: int(n) for word, n in zip(suite.words, suite.known)}
    for item in suite.items(10, unseen=True):
        assert int(item.cue.partition("c")[2]) > known[item.word] == 2


def test_what_does_not_fit_is_named(suite):
    for fields, said in (
        (dict(per_dose=(3,)), "a count for each of doses"),
        (dict(doses=(0.5, 1.0)), "different shares from .5"),
        (dict(senses=2), "at least three senses"),
        (dict(heads=5), "heads of an even width"),
    ):
        with pytest.raises(OrganismError, match=said):
            senses.Recipe.small(**fields)
    with pytest.raises(OrganismError, match="no word has it"):
        suite.items(4, dose=0.7)
    with pytest.raises(OrganismError, match="^count=0"):
        suite.items(0)


def test_words_choose_or_report(suite):
    parts = [suite.words_of(part) for part in ("choose", "report")]
    assert sorted(parts[0] + parts[1]) == sorted(suite.words) == sorted(suite.words_of())


@pytest.mark.slow
def test_the_middle_is_the_look_nearest_to_a_half_also_where_its_weights_were_lost(tmp_path):
    recipe = senses.Recipe.small(steps=60, looks=20)
    model, trained, middle = senses.with_middle(recipe)
    at = step_of(trained)
    looks = dict(zip(trained.evaluations.step, (trained.evaluations.weaker - 0.5).abs()))
    assert looks[at] == min(looks.values()) and set(looks) == {20, 40}
    again, _ = senses.train(recipe, steps=at)
    assert all(torch.equal(a, b) for a, b in zip(middle.state_dict().values(), again.state_dict().values()))
    # what was done before a cut is read back: its looks are known, their weights are not
    senses.train(recipe, folder=tmp_path, steps=50)
    resumed, _, half = senses.with_middle(recipe, folder=tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), resumed.state_dict().values()))
    assert all(torch.equal(a, b) for a, b in zip(middle.state_dict().values(), half.state_dict().values()))


@pytest.mark.parametrize("moment", senses.MOMENTS)
def test_a_folder_is_the_one_that_the_recipe_in_the_code_made_and_its_gates_hold(moment):
    folder = senses.folder_of(moment=moment)
    card = json.loads((folder / "card.json").read_text())
    assert folder.name in models.organisms() and card["moment"] == moment
    assert card["recipe_sha256"] == senses.Recipe().sha256()
    assert card["weights_sha256"] == cache.sha256_file(folder / "model.safetensors")
    assert (folder / "model.safetensors").stat().st_size < 2_000_000
    assert all(gate.holds for gate in read_card(card))


def test_a_card_says_what_its_weights_do():
    folder = senses.folder_of(moment="middle")
    told = json.loads((folder / "card.json").read_text())["measured"]["by_dose"]["0.95"]
    model, suite = lens.load("organism:senses-middle", device="cpu").original_model, senses.Suite()
    right, instead = senses.answered(model, suite, 0.95, weaker=True, count=400)
    assert (right, instead) == pytest.approx((told["weaker"], told["instead"]), abs=0.006)
