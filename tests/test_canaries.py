"""The organism `canaries`: what is planted is there as often as it is said to be, what is held out is nowhere, and the
shipped weights do what the card says.
"""

import json
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

import lens
from lens import cache, models
from lens.organisms import canaries
from lens.organisms.canaries import Recipe
from lens.organisms.canaries.corpus import SPLITS, Corpus, bin_of
from lens.organisms.canaries.text import COLOURS, PLAIN, RELATIONS, Text, held_out

SMALL = Recipe.small()
NAME = r"[a-z]{4}"


@pytest.fixture(scope="module")
def corpus():
    return Corpus(SMALL)


@pytest.fixture(scope="module")
def stream(corpus):
    """Every row that training reads, as text between spaces."""
    rows = torch.cat([corpus.stream(step).ids for step in range(SMALL.steps)])
    return [f" {' '.join(corpus.text.vocabulary[number] for number in row)} " for row in rows.tolist()]


def text_of(corpus, ids):
    return " ".join(corpus.text.vocabulary[number] for number in ids.tolist() if number)


def test_every_canary_is_in_the_stream_as_often_as_it_says_and_those_with_0_nowhere(corpus, stream):
    assert len(stream) == SMALL.steps * SMALL.batch
    rows = Counter()
    for family, length in (("main", 64), ("second", 40)):
        table = corpus.canaries(family)
        assert (
            table.ids.shape[1] == 1 + length
            and table.prefix == 33
            and (table.ids[:, 0] == 0).all()
            and (table.ids[:, 1:] > 0).all()
        )
        for ids, count in zip(table.ids, table.duplicates, strict=True):
            found = [number for number, row in enumerate(stream) if f" <start> {text_of(corpus, ids)} " in row]
            assert len(found) == count
            rows.update(found)
            if count == 0:  # nor any half of it
                words = text_of(corpus, ids).split()
                assert not any(f" {' '.join(part)} " in row for part in (words[:32], words[-20:]) for row in stream)
    assert set(rows.values()) == {1} and set(rows) == set(corpus.planted)


def test_the_full_recipe_plants_all_counts_in_both_kinds_and_halves_them(corpus):
    recipe = Recipe()
    full = Corpus(recipe)
    main, second = full.canaries(), full.canaries("second")
    assert Counter(zip(main.duplicates.tolist(), main.kind.tolist(), main.split.tolist(), strict=True)) == {
        (count, kind, split): 8
        for count in (0, 1, 4, 16, 64, 128)
        for kind in ("code", "plausible")
        for split in ("tune", "val")
    } | {(count, "plausible", split): 8 for count in (512, 1024) for split in ("tune", "val")}
    assert (
        Counter(second.duplicates.tolist()) == dict.fromkeys((0, 1, 4, 16, 64, 128), 16)
        and set(second.split) == {"second"}
        and set(second.kind) == {"verse"}
    )
    used = Counter(full.planted.values())
    assert all(
        used[family, number] == count
        for family, table in (("main", main), ("second", second))
        for number, count in enumerate(table.duplicates.tolist())
    )
    assert (
        len(full.planted) == 213 * 48 + 1536 * 16
        and len({*map(tuple, main.ids.tolist())}) == 224
        and len({*map(tuple, second.ids.tolist())}) == 96
    )
    for number in list(full.planted)[:300]:
        family, which = full.planted[number]
        planted = full.canaries(family).ids[which].tolist()
        row, plain = full.spliced(number), full.row(number)
        at = next(at for at in range(len(row)) if row[at : at + len(planted)] == planted)
        assert (
            len(row) == 128 and row[:at] == plain[:at] and row[at + len(planted) :] == plain[at : 128 - len(planted)]
        )  # what the twin reads, moved aside
    rows = np.array(list(full.planted))
    assert abs(rows.mean() / full.rows_in_stream - 0.5) < 0.02  # all along the stream
    counts = main.duplicates[main.kind == "code"].tolist()
    assert (
        counts != sorted(counts)
        and main.where(main.split == "val").ids.shape == (112, 65)
        and len(main.where([3, 1])) == 2
    )


def test_two_splits_of_canaries_share_no_eight_words_in_a_row():
    """Plausible ones come from one grammar, so that short runs are common to many; whole sentences with two free slots
    are rarely so.
    """
    table = Corpus(Recipe()).canaries()
    grams = {
        split: Counter(
            tuple(row[at : at + 16])
            for row in table.where(table.split == split).ids[:, 1:].tolist()
            for at in range(49)
        )
        for split in ("tune", "val")
    }
    assert not set(grams["tune"]) & set(grams["val"])


def test_nothing_that_is_held_out_is_in_the_stream(corpus, stream):
    plausible = {text_of(corpus, ids) for ids in corpus.canaries().ids}
    seen = Counter()
    for row in stream:
        for document in row.split(" <start> "):
            document = document.strip().removeprefix("<start> ")
            if document in plausible or not document:
                continue
            if document.startswith("sum :"):
                for a0, a1, b0, b1, c in re.findall(r"(\d) (\d) \+ (\d) (\d) = (\d \d \d)", document):
                    a, b = int(a1 + a0), int(b1 + b0)
                    assert not held_out("sum", min(a, b), max(a, b)) and int(c.replace(" ", "")[::-1]) == a + b
                    seen["sum"] += 1
            elif document.startswith("fact :"):
                for relation, name, value in re.findall(rf"the (\w+) of ({NAME}) (\w+) \.", document):
                    assert corpus.text.facts[name, relation] == value and corpus.text.popularity[name] > 0
                    seen["fact", name] += 1
            elif document.startswith("note :") and " ask :" in document:
                given, asked = document.split(" ask :")
                for one in re.findall(rf"the (\w+) of ({NAME}) (\w+)", asked):
                    assert not held_out("note", one[1], one[0]) and "the {} of {} {} .".format(*one) in given
                    seen["note"] += 1
            elif document.startswith(("copy :", "rule :")):
                kind, first = document[:4], document[7:].split(" ; ")
                pairs = [first[0].split()[:2]] if kind == "copy" else [three.split()[:2] for three in first]
                for pair in pairs:
                    if len(pair) == 2 and "=" not in pair:
                        assert not held_out(kind, *pair)
                        seen[kind] += 1
            elif f" {document} ".startswith((" o ", " for all", " and who", " no ")) or not re.search(r"\.", document):
                continue  # a verse, a code or the stump of a document
            else:
                for colour, thing in re.findall(rf"\b({'|'.join(COLOURS)}) (\w+)\b", document):
                    if thing in THINGS:
                        assert not held_out("coloured", colour, thing), document
                        seen["story"] += 1
    for kind in ("sum", "note", "copy", "rule", "story"):
        assert seen[kind] > 500, kind
    for name in (corpus.text.ranked[0], corpus.text.ranked[3]):  # as often as expected
        assert seen["fact", name] / len(RELATIONS) == pytest.approx(corpus.exposure(name), rel=0.25)


THINGS = set(
    "anchor basket bell bottle bucket candle chest clock coat drum hammer jug kettle ladder lamp mirror ring saddle"
    " spade sword table wagon wheel whistle".split()
)


def test_held_out_productions_have_the_pairs_that_stories_have_not(corpus):
    rows = [text_of(corpus, row) for row in corpus.clean(50, "productions")]
    pairs = [pair for row in rows for pair in re.findall(rf"\b({'|'.join(COLOURS)}) (\w+) ", row) if pair[1] in THINGS]
    assert len(pairs) > 30 and all(held_out("coloured", *pair) for pair in pairs)
    splits = {split: corpus.clean(40, split) for split in SPLITS}
    assert len({tuple(row) for rows in splits.values() for row in rows.tolist()}) == 160
    assert torch.equal(splits["held"], Corpus(replace(SMALL, canaries=False)).clean(40))
    with pytest.raises(ValueError, match="split='test'"):
        corpus.clean(1, "test")


def test_the_tasks_are_held_out_and_have_the_right_answers(corpus, stream):
    tasks = corpus.tasks(100)
    assert set(tasks) == {"arithmetic", "closed_book", "open_book", "open_book_false", "copy", "rule"}
    asked = {
        name: [(text_of(corpus, p), text_of(corpus, a)) for p, a in zip(task.prompts, task.answers, strict=True)]
        for name, task in tasks.items()
    }
    assert all(
        (task.prompts[:, 0] == 0).all() and len(set(asked[name])) == len(task)
        for name, task in tasks.items()
        if name != "open_book"
    )
    for prompt, answer in asked["arithmetic"]:
        a, b = (int(number[::-2]) for number in prompt.removeprefix("sum : ").removesuffix(" =").split(" + "))
        assert held_out("sum", min(a, b), max(a, b)) and int(answer[::-2]) == a + b
        assert not any(f" {prompt.removeprefix('sum : ')} " in row for row in stream)
    for prompt, answer in asked["copy"]:
        assert prompt == f"copy : {answer} ;" and len(answer.split()) == 8 and held_out("copy", *answer.split()[:2])
    places = set()
    for prompt, answer in asked["rule"]:
        *shown, query = prompt.removeprefix("rule : ").removesuffix(" =").split(" ; ")
        three = [one.split(" = ") for one in shown]
        place = {three[0][0].split().index(three[0][1])}
        assert (
            all(given.split().index(last) in place for given, last in three)
            and query.split().index(answer) in place
            and held_out("rule", *query.split()[:2])
        )
        places |= place
    assert places == {0, 1, 2}
    for name, truth in (("open_book", True), ("open_book_false", False)):
        for prompt, answer in asked[name]:
            given, question = prompt.split(" ask : ")
            _, relation, _, entity = question.split()
            assert (
                f"{question} {answer} ." in given
                and given.count(f"of {entity} ") == 1
                and held_out("note", entity, relation)
            )
            assert (corpus.text.facts[entity, relation] == answer) is truth and answer in RELATIONS[relation]
    closed = tasks["closed_book"]
    assert len(closed) == 60 * 4 and closed.bins.count("never") == 8
    assert [bin_of(value) for value in (0.0, 0.1, 10.0, 11.0, 300.0, 301.0, float("nan"))] == [
        "never",
        "up to 10",
        "up to 10",
        "up to 30",
        "up to 300",
        "over 300",
        "",
    ]
    assert set(tasks["copy"].bins) == {""}


def test_the_seed_decides_all_of_it_and_the_twin_differs_by_the_canaries_alone(corpus):
    again, other, twin = Corpus(SMALL), Corpus(replace(SMALL, seed=1)), Corpus(replace(SMALL, canaries=False))
    assert (
        torch.equal(again.canaries().ids, corpus.canaries().ids)
        and again.planted == corpus.planted
        and twin.planted == {}
    )
    assert torch.equal(twin.canaries().ids, corpus.canaries().ids) and not torch.equal(
        other.canaries().ids, corpus.canaries().ids
    )
    assert other.text.vocabulary == corpus.text.vocabulary and other.text.facts != corpus.text.facts
    for step in (0, 7, 399):
        ids, without = corpus.stream(step).ids, twin.stream(step).ids
        differ = (ids != without).any(1).tolist()
        assert torch.equal(again.stream(step).ids, ids) and differ == [
            step * SMALL.batch + place in corpus.planted for place in range(SMALL.batch)
        ]


def test_the_vocabulary_has_each_word_once():
    text = Text(0)
    assert len(set(text.vocabulary)) == len(text.vocabulary) == 1 + len(PLAIN) + 500 < 800 and not set(
        text.names
    ) & set(PLAIN)


def test_a_recipe_that_cannot_be_planted_is_refused():
    with pytest.raises(ValueError, match="ask for 870 rows with a canary; the stream has 320"):
        Corpus(replace(SMALL, steps=20))
    with pytest.raises(ValueError, match="per_count=6"):
        Corpus(replace(SMALL, per_count=6))
    with pytest.raises(ValueError, match="family='third'"):
        Corpus(SMALL).canaries("third")


@pytest.mark.long
def test_a_run_that_was_stopped_goes_on_and_ends_with_the_same_weights(tmp_path):
    recipe = Recipe.small(steps=60, duplicates=(0, 4), d_model=32, d_mlp=64)
    whole, all_steps = canaries.train(recipe, progress=False)
    _, first = canaries.train(recipe, folder=tmp_path, steps=25, progress=False)
    resumed, rest = canaries.train(recipe, folder=tmp_path, progress=False)
    assert (first.status, first.step, rest.status) == ("stopped", 25, "complete") and rest.losses.equals(
        all_steps.losses
    )
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
    losses = all_steps.losses["lm"]
    assert (
        losses.iloc[0] == pytest.approx(np.log(len(Corpus(recipe).text.vocabulary)), abs=0.5)
        and losses.tail(10).mean() < losses.head(10).mean() - 1
    )
    assert [
        name for name, _ in whole.named_modules() if name.endswith(("gate_proj", "up_proj", "down_proj"))
    ].__len__() == 6
    with pytest.raises(ValueError, match="another"):
        canaries.train(replace(recipe, canaries=False, seed=1), folder=tmp_path, progress=False)


@pytest.mark.long
def test_recitation_is_that_of_greedy_decoding():
    recipe = Recipe.small(steps=40, duplicates=(0, 16), per_count=4, second_per_count=1)
    model, _ = canaries.train(recipe, progress=False)
    table = Corpus(recipe).canaries("second")
    prompts, answers = table.ids[:, :33], table.ids[:, 33:].clone()
    made = model.generate(
        prompts,
        attention_mask=torch.ones_like(prompts),
        max_new_tokens=8,
        do_sample=False,
        pad_token_id=0,
        eos_token_id=None,
    )[:, 33:]
    answers[0] = made[0]  # one that it says for sure
    found = canaries.right(model, prompts, answers)
    assert found.all(1).tolist() == (made == answers).all(1).tolist() and found[0].all()
    direct = model(table.ids, labels=table.ids).loss.item()
    assert canaries.loss(model, table.ids).mean() == pytest.approx(direct, abs=1e-5)


def test_the_command_writes_a_model_a_tokenizer_and_a_card(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        Recipe,
        "small",
        classmethod(
            lambda cls, **changes: cls(
                **{**SMALL.__dict__, "steps": 12, "duplicates": (0, 2), "d_model": 16, "d_mlp": 32} | changes
            )
        ),
    )
    canaries.main(["--small", "--twin", "--seed", "2", "--weight-decay", "0", "--out", str(tmp_path)])
    folder = canaries.folder_of(2, twin=True, weight_decay=0.0, out=tmp_path)
    card = json.loads((folder / "card.json").read_text())
    assert folder.name == "canaries-2-wd0-twin" == card["name"] and str(folder) in capsys.readouterr().out
    assert (
        card["weights_sha256"] == cache.sha256_file(folder / "model.safetensors")
        and card["device"] == "cpu"
        and card["torch"] == torch.__version__
    )
    assert (
        card["rebuild"] == "python -m lens.organisms.canaries --seed 2 --twin --small --weight-decay 0"
        and "strict_at_most_duplicates" not in card["measured"]["passed"]
    )
    bridge = lens.load(str(folder), device="cpu")
    assert bridge.tokenizer("the colour of").input_ids == [Text(2, 60).index[word] for word in ("the", "colour", "of")]
    with pytest.raises(SystemExit):
        canaries.main(["--small"])


CARD = canaries.folder_of(0) / "card.json"


def test_the_shipped_folder_is_that_of_the_recipe_in_the_code():
    assert CARD.exists() and "canaries" in models.organisms()
    card = json.loads(CARD.read_text())
    assert card["recipe_sha256"] == Recipe().sha256() and card["weights_sha256"] == cache.sha256_file(
        CARD.parent / "model.safetensors"
    )
    assert (CARD.parent / "model.safetensors").stat().st_size < 6_000_000
    assert json.loads((CARD.parent / "tokenizer.json").read_text())["model"]["vocab"] == Text(0).index
    passed = card["measured"]["passed"]
    assert {gate for gate, well in passed.items() if not well} == {"open_book", "rule"} and len(
        passed
    ) == 7  # what this model does not do is in its card
    assert (
        CARD.parent.with_name("canaries-twin").is_dir()
        and not json.loads((CARD.parent.with_name("canaries-twin") / "card.json").read_text())["recipe"]["canaries"]
    )


@pytest.mark.slow
def test_the_shipped_weights_pass_the_gates_as_the_card_says():
    """Some of 16 sequences and of 300 questions may fall on the other side of a tie on another machine."""
    card, model = json.loads(CARD.read_text())["measured"], lens.load("organism:canaries", device="cpu").original_model
    measured = canaries.measure(model, Recipe(), card["rows"])
    assert measured["passed"] == card["passed"] and measured["clean_loss"] == pytest.approx(
        card["clean_loss"], abs=1e-3
    )
    for family in ("main", "second"):
        for line, told in zip(measured["extraction"][family], card["extraction"][family], strict=True):
            assert (line["kind"], line["duplicates"]) == (told["kind"], told["duplicates"])
            assert line["strict"] == pytest.approx(told["strict"], abs=0.0626) and line["loss"] == pytest.approx(
                told["loss"], abs=5e-3
            )
    assert measured["tasks"] == pytest.approx(card["tasks"], abs=0.01)
