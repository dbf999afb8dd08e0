"""The shipped two-hop items and control words: what they promise, where they came from, and that the model still knows
them.
"""

import csv
import json
import random
import re
from collections import Counter
from importlib import resources

import pytest
import torch

from lens.data import first_hop, make, multihop, second_hop
from lens.data.words import WORDS
from lens.prompts import Pair, encode

FOLDER = resources.files("lens.data")
NUMBERS = {"ranks": "rank", "logprobs": "logprob", "exact": "exact"}
TEXTS = ["id", "group", "split", "prompt", "explicit", "memory", "answer", "subject"]


@pytest.fixture(scope="module")
def shipped():
    return [json.loads(line) for line in (FOLDER / "multihop.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def filed():
    with (FOLDER / "multihop.filter.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_enough_items_of_many_kinds(shipped, filed):
    assert len(shipped) >= 300 and len(filed) >= 550
    groups, answers = (Counter(record[name] for record in shipped) for name in ("group", "answer"))
    assert len(groups) >= 8 and max(groups.values()) <= len(shipped) / 4
    assert len(answers) >= 100 and len({record["memory"] for record in shipped}) >= 100
    assert all(set(record) == {*TEXTS, "start", *NUMBERS} for record in shipped)
    for name in ("id", "prompt"):
        assert len({record[name] for record in shipped}) == len(shipped)
    several = [row for row in filed if row["kept"] == "1" and int(row["answer_tokens"]) > 1]
    assert 0.1 * len(shipped) < len(several) < 0.9 * len(shipped), "answers of one token and of several"


def test_no_bridge_entity_in_both_halves(shipped):
    halves = {split: [r for r in shipped if r["split"] == split] for split in ("select", "report")}
    assert sum(map(len, halves.values())) == len(shipped) and min(map(len, halves.values())) >= 0.45 * len(shipped)
    select, report = ({record["memory"].lower() for record in half} for half in halves.values())
    assert not select & report
    counts = Counter((record["group"], record["split"]) for record in multihop.candidates(0))
    assert all(abs(counts[group, "select"] - counts[group, "report"]) <= 4 for group in multihop.GROUPS)
    other = Counter((record["group"], record["split"]) for record in multihop.candidates(1))
    assert other != counts, "the seed decides the halves"


def test_no_prompt_gives_its_memory_or_answer_away():
    for record in multihop.candidates(0):
        prompt, memory, answer = (record[name].lower() for name in ("prompt", "memory", "answer"))
        assert answer[0] == " " and answer[1:] == answer.strip() and memory == memory.strip()
        assert prompt == prompt.strip() and record["explicit"] == record["explicit"].strip()
        assert memory not in answer and answer.strip() not in memory
        words, bare = " ".join(re.findall(r"\w+", prompt)), " ".join(re.findall(r"\w+", memory))
        assert f" {bare} " not in f" {words} ", record
        assert f"{answer} " not in f" {words} ", record
        assert len(memory) <= 3 or memory not in prompt
        assert len(answer) <= 4 or answer.strip() not in prompt
        assert answer.strip() not in record["explicit"].lower().split()


def test_only_the_description_differs_from_the_single_hop_prompt():
    for record in multihop.candidates(0):
        assert record["prompt"].count(record["subject"]) == 1
        before, after = record["prompt"].split(record["subject"])
        assert record["explicit"].startswith(before) and record["explicit"].endswith(after)
        named = record["explicit"][len(before) : len(record["explicit"]) - len(after)]
        assert (
            re.sub(r"^(a|an|the) ", "", named, flags=re.IGNORECASE if not before else 0).lower()
            == record["memory"].lower()
        )
        article = re.match(r"(an?) (\w)", named, flags=re.IGNORECASE)
        assert not article or (article[2].lower() in "aeiou") == (article[1].lower() == "an"), named


def test_the_tables_are_used_and_agree():
    reached = {
        (first, entity)
        for group in multihop.GROUPS
        for first, second in [group.split("-")]
        for _, entity in multihop.entries(first_hop.FIRST[first][1])
        if entity in multihop.answers(second)
    }
    for first, (_, text) in first_hop.FIRST.items():
        listed = multihop.entries(text)
        assert len({described for described, _ in listed}) == len(listed), f"{first} describes something twice"
        assert {entity for _, entity in listed} == {entity for name, entity in reached if name == first}
    described = {entity for _, entity in reached}
    for second in second_hop.SECOND:
        if second not in second_hop.COUNTRY:
            assert set(multihop.answers(second)) <= described
            assert len(multihop.answers(second)) == len(multihop.entries(second_hop.SECOND[second][1])), (
                f"{second} says something twice"
            )
    assert {multihop.ARTICLE.sub("", name) for name, _ in multihop.entries(second_hop.COUNTRIES)} <= described


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("the Paris Opera: France", "gives away"),
        ("the heart of France: France", "gives away"),
        ("the Louvre: France", None),
    ],
)
def test_a_line_that_gives_its_answer_away_is_refused(monkeypatch, entry, reason):
    monkeypatch.setattr(multihop, "GROUPS", ["landmark-capital"])
    monkeypatch.setattr(multihop, "FIRST", {"landmark": (first_hop.FIRST["landmark"][0], entry)})
    if reason is None:
        assert [record["answer"] for record in multihop.candidates(0)] == [" Paris"]
    else:
        with pytest.raises(ValueError, match=reason):
            list(multihop.candidates(0))


def test_a_fact_that_is_part_of_its_entity_is_refused(monkeypatch):
    monkeypatch.setattr(multihop, "GROUPS", ["landmark-language"])
    monkeypatch.setattr(multihop, "COUNTRIES", "Germany: Berlin, German, Europe, euro")
    with pytest.raises(ValueError, match="part of the other"):
        list(multihop.candidates(0))


def test_the_candidates_are_rebuilt_from_the_code(shipped, filed):
    rebuilt = list(multihop.candidates(0))
    assert [record["id"] for record in rebuilt] == [row["id"] for row in filed] and len(
        {row["id"] for row in filed}
    ) == len(filed)
    kept = [record for record, row in zip(rebuilt, filed) if row["kept"] == "1"]
    assert kept == [{name: record[name] for name in TEXTS} for record in shipped]
    assert all(list(record) == TEXTS for record in rebuilt)
    for record, row in zip(rebuilt, filed):
        assert all(record[name] == row[name] for name in ("group", "split", "memory", "answer"))


def test_the_filter_keeps_what_its_evidence_says(shipped, filed):
    by_id = {record["id"]: record for record in shipped}
    for row in filed:
        known = bool(row["single_rank"]) and int(row["single_rank"]) <= 5
        assert (row["kept"] == "1") == known == (row["id"] in by_id) == (not row["why"])
        if known:
            for name, column in NUMBERS.items():
                assert by_id[row["id"]][name] == [float(row[f"{side}_{column}"]) for side in ("single", "multi")]
        if row["single_rank"]:
            for side in ("single", "multi"):
                assert float(row[f"{side}_logprob"]) < 0 and row[f"{side}_exact"] in ("0", "1")
                assert row[f"{side}_exact"] == "0" or row[f"{side}_rank"] == "1"
                assert int(row["answer_tokens"]) > 1 or (row[f"{side}_exact"] == "1") == (row[f"{side}_rank"] == "1")


def test_the_readme_counts_the_evidence(shipped, filed):
    section = (FOLDER / "README.md").read_text(encoding="utf-8").split("### multihop\n")[1].split("<!--")[0]
    lines = {
        line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]]
        for line in section.splitlines()
        if line.startswith("|")
    }
    for group in [*multihop.GROUPS, "**all**"]:
        rows, kept = ([r for r in each if group in (r["group"], "**all**")] for each in (filed, shipped))
        dropped = Counter(row["why"] for row in rows if row["kept"] == "0")
        unknown = dropped.pop("not among the first 5", 0)
        split = Counter(record["split"] for record in kept)
        expected = [len(rows), unknown, sum(dropped.values()), len(kept), split["select"], split["report"]]
        expected += [sum(record["ranks"][side] == 1 for record in kept) for side in (0, 1)]
        expected.append(sum(row["kept"] == "1" and row["answer_tokens"] == "1" for row in rows))
        assert [int(cell) for cell in lines[group][:9]] == expected
        for side, cell in enumerate(lines[group][9:]):
            mean = sum(record["logprobs"][side] for record in kept) / len(kept) if kept else None
            assert not kept if cell == "" else float(cell) == pytest.approx(mean, abs=0.00501)
    chosen = next(name for name in lines if "(chosen)" in name)
    assert lines[chosen][:2] == [str(len(filed)), str(len(shipped))]
    assert {record["start"] for record in shipped} == ({""} if chosen.startswith("none") else {"<|endoftext|>"})


def test_free_and_shipped():
    licence = (FOLDER / "LICENSE").read_text(encoding="utf-8")
    files = ("first_hop.py", "second_hop.py", "multihop.py", "words.py")
    assert "CC0-1.0" in licence and all(name in licence for name in files)
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(name in readme for name in ("multihop.jsonl", "multihop.filter.csv", "words.py"))
    assert all((FOLDER / name).is_file() for name in ("multihop.jsonl", "multihop.filter.csv"))


def test_answers_stand_after_both_prompts(shipped, filed, smollm2):
    tokens = {row["id"]: row["answer_tokens"] for row in filed}
    for record in shipped:
        pair = encode(
            smollm2,
            Pair(
                record["explicit"], corrupted=record["prompt"], answer=record["answer"], spans={}, start=record["start"]
            ),
            aligned=False,
        )
        assert len(pair.answer_ids) == int(tokens[record["id"]])


@pytest.mark.slow
def test_the_model_still_gives_the_stored_evidence(shipped, filed, smollm2):
    """Ten candidates, kept and dropped, one prompt a run: probabilities token by token, ranks, and what greedy decoding
    writes.
    """
    source, start = random.Random(7), shipped[0]["start"]
    rebuilt = {record["id"]: record for record in multihop.candidates(0)}
    asked = [row for row in filed if row["single_rank"]]
    several = [row for row in asked if row["kept"] == "1" and int(row["answer_tokens"]) > 1]
    sample = source.sample([row for row in asked if row["kept"] == "1"], 4) + source.sample(several, 3)
    sample += source.sample([row for row in asked if row["kept"] == "0"], 3)
    for row in sample:
        record = rebuilt[row["id"]]
        for side, text in (("single", record["explicit"]), ("multi", record["prompt"])):
            prompt = smollm2.tokenizer(start + text, add_special_tokens=False, return_tensors="pt")["input_ids"]
            answer = smollm2.tokenizer(record["answer"], add_special_tokens=False)["input_ids"]
            total, ids, first = 0.0, prompt, []
            for token in answer:
                with torch.inference_mode():
                    logits = smollm2(ids.to(smollm2.cfg.device))[0, -1].double().cpu()
                total += logits.log_softmax(0)[token].item()
                first.append(int(logits.argmax()) == token)
                if len(first) == 1:
                    low, high = (1 + int((logits > logits[token] + shift).sum()) for shift in (1e-3, -1e-3))
                ids = torch.cat([ids, torch.tensor([[token]])], 1)
            assert total == pytest.approx(float(row[f"{side}_logprob"]), abs=1e-2)
            assert low <= int(row[f"{side}_rank"]) <= high
            assert row[f"{side}_exact"] == str(int(all(first)))


def test_scores_of_answers_match_the_plain_model(tiny_bridge):
    bridge, plain = tiny_bridge("gpt2", 4)
    wanted = [((1, 2, 3), (5,)), ((1, 2), (5, 6)), ((1, 2, 3), (5,)), ((9, 8, 7, 6), (2, 3, 4)), ((4,), (7,))]
    # An answer that greedy decoding writes, so that "exact" is asked for both ways.
    text = [3, 1]
    for _ in range(3):
        text.append(int(plain(torch.tensor([text])).logits[0, -1].argmax()))
    wanted.append(((3, 1), tuple(text[2:])))
    scores = make.answer_scores(bridge, wanted, batch=2)
    assert set(scores) == set(wanted)
    for (prompt, answer), (logprob, rank, exact) in scores.items():
        total, greedy_says, ids = 0.0, True, list(prompt)
        for place, token in enumerate(answer):
            logits = plain(torch.tensor([ids])).logits[0, -1]
            total += logits.log_softmax(0)[token].item()
            order = logits.argsort(descending=True).tolist()
            greedy_says &= order[0] == token
            assert place or rank == 1 + order.index(token)
            ids.append(token)
        assert logprob == pytest.approx(total, abs=1e-4) and exact == greedy_says
    assert scores[wanted[-1]][2] == 1 and not all(exact for _, _, exact in scores.values())


@pytest.mark.long
def test_the_build_writes_what_it_judged(tmp_path, monkeypatch, smollm2):
    monkeypatch.setattr(multihop, "GROUPS", ["river-capital"])
    text = make.build(smollm2, "multihop", tmp_path, starts=("",))
    assert make.build(smollm2, "multihop", tmp_path / "again", starts=("",)) == text
    for name in ("multihop.jsonl", "multihop.filter.csv"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    listed = [json.loads(line) for line in (tmp_path / "multihop.jsonl").read_text(encoding="utf-8").splitlines()]
    assert listed and f"| {len(list(multihop.candidates(0)))} | {len(listed)} |" in text
    assert all(record["ranks"][0] <= make.TOP and record["start"] == "" for record in listed)


def test_a_tokenizer_without_the_words_is_filed(tiny_bridge):
    bridge, _ = tiny_bridge("llama")
    records = list(multihop.candidates(0))[:3]
    rows = make.judge_hops(bridge, records)
    assert len(rows) == 3 and all(row["kept"] == 0 and "not in the vocabulary" in row["why"] for row in rows)
    assert "| 3 | 0 |" in make._hop_summary("multihop", {"": rows}, "")


def test_control_words():
    assert list(WORDS) == ["noun", "verb", "adjective", "adverb", "conjunction"]
    assert all(len(words) >= 40 for words in WORDS.values())
    listed = [word for words in WORDS.values() for word in words]
    assert len(set(listed)) == len(listed), [word for word, count in Counter(listed).items() if count > 1]
    assert all(re.fullmatch("[a-z]+", word) for word in listed)
