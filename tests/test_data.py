"""The shipped pairs: what they promise, where they came from, and that the model still answers them so."""

import csv
import itertools
import json
import random
from importlib import resources
from pathlib import Path

import pytest
import torch

from lens.data import facts, ioi, make, multihop
from lens.prompts import PromptError, encode, encode_all, load_pairs, pair_from_record
from lens.tokens import tokenize

FOLDER = resources.files("lens.data")
NAMES = ("ioi", "facts")


def records(name):
    return [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def evidence(name):
    with (FOLDER / f"{name}.filter.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def candidates(name, tokenizer):
    if name == "ioi":
        return list(ioi.candidates(0, 24))
    return list(
        facts.candidates(
            0, lambda text: len(tokenize(tokenizer, text)), lambda text: len(tokenize(tokenizer, text)) == 1
        )
    )


@pytest.mark.parametrize("name", NAMES)
def test_at_least_two_hundred_pairs_in_both_halves(name):
    halves = {split: load_pairs(name, split=split) for split in ("select", "report")}
    assert sum(map(len, halves.values())) == len(load_pairs(name)) >= 200
    assert min(map(len, halves.values())) >= 100
    labels = [pair.label for pair in load_pairs(name)]
    assert len(set(labels)) == len(labels)
    texts = [(record["clean"], record["corrupted"]) for record in records(name)]
    assert len(set(texts)) == len(texts)


def test_no_subject_in_both_halves():
    seen = {"select": set(), "report": set()}
    for record in records("facts"):
        assert record["subjects"][0] in record["clean"] and record["subjects"][1] in record["corrupted"]
        seen[record["split"]] |= set(record["subjects"])
    assert seen["select"] and seen["report"] and not seen["select"] & seen["report"]


def test_no_couple_of_names_in_both_halves():
    seen = {"select": set(), "report": set()}
    for record in records("ioi"):
        seen[record["split"]].add(frozenset((record["answer"], record["foil"])))
    assert seen["select"] and seen["report"] and not seen["select"] & seen["report"]


@pytest.mark.parametrize("name", NAMES)
def test_pairs_align_and_answers_are_one_token(name, smollm2):
    for record, encoded in zip(records(name), encode_all(smollm2, load_pairs(name))):
        assert len(encoded.answer_ids) == len(encoded.foil_ids) == 1 and encoded.answer_ids != encoded.foil_ids
        differing = [n for n, (a, b) in enumerate(zip(encoded.clean_ids, encoded.corrupted_ids)) if a != b]
        changed = encoded.positions["s2" if name == "ioi" else "subject"]
        assert set(differing) <= set(changed) and differing[0] == encoded.positions["first_difference"][0]
        assert record["source"] and record["group"] in record["id"]


def test_ioi_sentences(smollm2):
    for record, encoded in zip(records("ioi"), encode_all(smollm2, load_pairs("ioi"))):
        io, s1, s2 = (encoded.positions[name] for name in ("io", "s1", "s2"))
        assert len(io) == len(s1) == len(s2) == 1
        labels = encoded.clean_tokens
        assert labels[io[0]] == record["answer"] and labels[s1[0]] == labels[s2[0]] == record["foil"]
        assert encoded.corrupted_tokens[s2[0]] == record["answer"]
        assert (io < s1) == record["group"].endswith("abba") and max(io, s1) < s2 == encoded.positions[
            "first_difference"
        ]
        assert labels.count(record["answer"]) == 1 and labels.count(record["foil"]) == 2


def test_facts_are_in_the_tables():
    known = facts.facts()
    for record in records("facts"):
        subject, other = record["subjects"]
        assert (record["answer"], record["foil"]) == tuple(f" {known[record['group']][s]}" for s in (subject, other))
        templates = facts.RELATIONS[record["group"]][0]
        assert record["clean"] in [template.format(s=subject) for template in templates]


@pytest.mark.parametrize("name", NAMES)
def test_the_candidates_are_rebuilt_from_the_code(name, smollm2):
    rebuilt, filed = candidates(name, smollm2.tokenizer), evidence(name)
    assert [record["id"] for record in rebuilt] == [row["id"] for row in filed]
    assert len({row["id"] for row in filed}) == len(filed)
    kept = [record for record, row in zip(rebuilt, filed) if row["kept"] == "1"]
    shipped = [{k: v for k, v in record.items() if k not in ("start", "ranks")} for record in records(name)]
    assert json.loads(json.dumps(kept)) == shipped


@pytest.mark.parametrize("name", NAMES)
def test_the_filter_keeps_what_its_evidence_says(name):
    by_id = {record["id"]: record for record in records(name)}
    for row in evidence(name):
        if not row["clean_logit_diff"]:
            assert row["kept"] == "0" and row["why"]
            continue
        right = float(row["clean_logit_diff"]) > 0 and float(row["corrupted_logit_diff"]) < 0
        assert (row["kept"] == "1") == right == (row["id"] in by_id) == (not row["why"])
        if right:
            assert by_id[row["id"]]["ranks"] == [int(row["clean_rank"]), int(row["corrupted_rank"])]


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_counts_the_evidence(name):
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    section = text.split(f"### {name}\n")[1].split("###")[0]
    filed, shipped = evidence(name), records(name)
    for group in sorted({row["group"] for row in filed}):
        rows, kept = ([r for r in each if r["group"] == group] for each in (filed, shipped))
        line = next(line for line in section.splitlines() if line.startswith(f"| {group} |"))
        numbers = [int(cell) for cell in line.strip("| ").split("|")[1:]]
        assert (
            numbers[0] == len(rows)
            and numbers[5] == len(kept)
            and numbers[8] == sum(r["ranks"] == [1, 1] for r in kept)
        )
        assert sum(numbers[1:5]) == len(rows) - len(kept) and numbers[6] + numbers[7] == len(kept)
    chosen = next(line for line in section.splitlines() if "(chosen)" in line)
    assert f"| {len(filed)} | {len(shipped)} |" in chosen
    assert {record["start"] for record in shipped} == ({""} if chosen.startswith("| none") else {"<|endoftext|>"})


def test_small_and_free():
    sizes = {entry.name: len(entry.read_bytes()) for entry in FOLDER.iterdir() if entry.is_file()}
    assert {"ioi.jsonl", "facts.jsonl", "ioi.filter.csv", "facts.filter.csv", "README.md", "LICENSE"} <= set(sizes)
    assert sum(sizes.values()) < 1_000_000
    assert "CC0-1.0" in (FOLDER / "LICENSE").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_the_model_still_gives_the_stored_evidence(name, smollm2):
    """Twelve candidates, six of them dropped ones, padded on the right: a causal model's last token cannot see that."""
    rebuilt = {record["id"]: record for record in candidates(name, smollm2.tokenizer)}
    start = records(name)[0]["start"]
    measured = [row for row in evidence(name) if row["clean_logit_diff"]]
    source = random.Random(5)
    sample = [row for kept in "01" for row in source.sample([r for r in measured if r["kept"] == kept], 6)]
    encoded = [encode(smollm2, pair_from_record({**rebuilt[row["id"]], "start": start})) for row in sample]
    prompts = [ids for pair in encoded for ids in (pair.clean_ids, pair.corrupted_ids)]
    ends = torch.tensor([len(ids) - 1 for ids in prompts])
    with torch.inference_mode():
        rows = torch.nn.utils.rnn.pad_sequence(prompts, batch_first=True).to(smollm2.cfg.device)
        logits = smollm2(rows).float().cpu()[torch.arange(len(prompts)), ends].unflatten(0, (-1, 2))
    for row, pair, sides in zip(sample, encoded, logits):
        answer, foil = pair.answer_ids[0], pair.foil_ids[0]
        difference = (sides[:, answer] - sides[:, foil]).tolist()
        assert difference == pytest.approx(
            [float(row["clean_logit_diff"]), float(row["corrupted_logit_diff"])], abs=1e-2
        )
        assert (row["kept"] == "1") == (difference[0] > 0 > difference[1])
        for side, token, stored in ((0, answer, int(row["clean_rank"])), (1, foil, int(row["corrupted_rank"]))):
            # The rank is at most what it is with the logit a hair lower, at least with it a hair higher.
            low, high = (1 + int((sides[side] > sides[side, token] + shift).sum()) for shift in (1e-3, -1e-3))
            assert low <= stored <= high


def test_load_pairs_chooses():
    all_pairs = load_pairs("facts")
    first = load_pairs("facts", top=1)
    assert {p.label for p in first} == {r["id"] for r in records("facts") if r["ranks"] == [1, 1]}
    assert len(load_pairs("facts", top=10**6)) == len(all_pairs)
    capitals = load_pairs("facts", group="country-capital", split="select")
    assert capitals and all("country-capital" in pair.label for pair in capitals)
    groups = len({record["group"] for record in records("ioi")})
    few = load_pairs("ioi", limit=groups)
    assert len({pair.label.rsplit("-", 1)[0] for pair in few}) == groups, "a few pairs come from every group"
    assert load_pairs("ioi", limit=groups) == few and len(load_pairs("ioi", limit=3)) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "poems"}, "name: 'poems' is not a shipped data set"),
        ({"name": None}, "name=None does not fit; expected text"),
        ({"name": "absent.jsonl"}, "name: absent.jsonl cannot be read"),
        ({"name": "ioi", "split": "train"}, "split: 'train' does not exist; there are report, select"),
        ({"name": "ioi", "group": "shops"}, "group: 'shops' is not in 'ioi'; there are .*shops-abba"),
        ({"name": "ioi", "limit": 0}, "limit=0 does not fit; expected a whole number of at least 1"),
        ({"name": "ioi", "limit": 2.5}, "limit=2.5 does not fit; expected a whole number"),
        ({"name": "ioi", "top": 0}, "top=0 does not fit; expected a whole number of at least 1"),
    ],
)
def test_load_pairs_refuses(arguments, message):
    with pytest.raises(PromptError, match=message):
        load_pairs(**arguments)


@pytest.mark.long
def test_the_command_makes_a_set_that_loads(tmp_path, monkeypatch, smollm2, capsys):
    templates, text = facts.RELATIONS["country-capital"]
    monkeypatch.setattr(facts, "RELATIONS", {"country-capital": (templates[:1], ";".join(text.split(";")[:10]))})
    monkeypatch.setattr(multihop, "GROUPS", ["river-capital"])
    monkeypatch.setattr(make, "load", lambda name: smollm2)
    make.main(["--out", str(tmp_path), "--name-pairs", "1", "--start", "", "--seed", "3"])
    printed = capsys.readouterr().out
    assert "### ioi" in printed and "### facts" in printed and "--seed 3" in printed
    assert (tmp_path / "README.md").read_text(encoding="utf-8").count("### facts") == 1
    for name in NAMES:
        pairs = load_pairs(str(tmp_path / f"{name}.jsonl"))
        with open(tmp_path / f"{name}.filter.csv", encoding="utf-8", newline="") as file:
            assert len(pairs) == sum(row["kept"] == "1" for row in csv.DictReader(file)) > 0
        assert all(pair.start == "" for pair in pairs)


def test_the_summary_keeps_the_words_around_it(tmp_path, capsys):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{make.MARKS[0]}\nold\n{make.MARKS[1]}\nafter\n", encoding="utf-8")
    make.write_summary(readme, "made", ["part"])
    make.write_summary(readme, "made again", ["part"])
    text = readme.read_text(encoding="utf-8")
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert text.count("made again") == text.count("part") == 1


def test_a_start_token_has_to_earn_its_place(tmp_path, monkeypatch):
    rows = {"": 10, "few": 10, "many": 10}

    def judged(model, listed, start=""):
        passed = {"": 6, "few": 7, "many": 9}[start]
        kept = {"kept": 1, "why": "", "split": "select", "group": "g", "clean_rank": 1, "corrupted_rank": 1}
        return [
            kept | {"kept": int(n < passed), "why": "" if n < passed else "wrong on clean"} for n in range(rows[start])
        ]

    monkeypatch.setattr(make, "judge", judged)
    monkeypatch.setattr(ioi, "candidates", lambda seed, couples: [{"id": str(n)} for n in range(10)])
    monkeypatch.setattr(make, "tokenizer_of", lambda model: None)
    monkeypatch.setattr(make, "GAIN", 0.25)
    for starts, best in ((("", "few"), ""), (("", "few", "many"), "many")):
        text = make.build(None, "ioi", tmp_path, starts=starts)
        line = next(line for line in text.splitlines() if "(chosen)" in line)
        assert line.startswith(f"| {f'`{best}`' if best else 'none'} (chosen)")
        shipped = [json.loads(line) for line in Path(tmp_path / "ioi.jsonl").read_text(encoding="utf-8").splitlines()]
        assert {record["start"] for record in shipped} == {best}


def test_candidates_that_a_tokenizer_cannot_use_are_filed(tiny_bridge):
    bridge, _ = tiny_bridge("llama")
    rows = make.judge(bridge, list(itertools.islice(ioi.candidates(0, 1), 4)))
    assert len(rows) == 4 and all(row["kept"] == 0 and "not in the vocabulary" in row["why"] for row in rows)


def test_scores_match_the_plain_model(tiny_bridge):
    bridge, plain = tiny_bridge("gpt2", 4)
    wanted = {(1, 2, 3): {5, 6}, (4, 5): {7}, (9, 8, 7): {0}}
    scores = make.next_token_scores(bridge, wanted)
    assert set(scores) == {(ids, token) for ids, tokens in wanted.items() for token in tokens}
    for (ids, token), (logit, rank) in scores.items():
        logits = plain(torch.tensor([ids])).logits[0, -1]
        assert logit == pytest.approx(logits[token].item(), abs=1e-4)
        assert rank == 1 + sorted(logits.tolist(), reverse=True).index(logits[token].item())
