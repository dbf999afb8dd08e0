"""Makes the shipped data sets: writes candidates, asks the model, keeps what it knows and files the evidence.

python -m lens.data.make --model smollm2                   # rewrites the shipped files
python -m lens.data.make --model gpt2 --out my-data        # sets tokenised for, and known by, another model
"""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from lens import files
from lens.data import facts, ioi, multihop
from lens.models import load
from lens.prompts import EncodedPair, Pair, PromptError, encode, pair_from_record
from lens.tokens import tokenize, tokenizer_of

HERE = Path(__file__).parent
DATA_SETS = ("ioi", "facts", "multihop")
START = "<|endoftext|>"
# A start token has to earn its place: it is used only where it lets this share more of the candidates pass.
GAIN = 0.05
EVIDENCE = "id group split answer foil clean_logit_diff corrupted_logit_diff clean_rank corrupted_rank kept why".split()
# A two-hop item is kept where its answer begins with one of this many most likely tokens after the single-hop prompt.
TOP = 5
SIDES = ("single", "multi")
HOP_NUMBERS = [f"{side}_{number}" for side in SIDES for number in ("rank", "logprob", "exact")]
HOP_EVIDENCE = ["id", "group", "split", "memory", "answer", "answer_tokens", *HOP_NUMBERS, "kept", "why"]
MARKS = ("<!-- table: begin -->", "<!-- table: end -->")


def next_token_scores(
    model: Any, wanted: Mapping[tuple[int, ...], Iterable[int]], batch: int = 32
) -> dict[tuple[tuple[int, ...], int], tuple[float, int]]:
    """(prompt ids, token) -> (logit, rank) of that next token; rank 1 is the model's first choice.

    Prompts of one length share a batch, so that nothing is padded.
    """
    device = next(model.parameters()).device
    by_length: dict[int, list[tuple[int, ...]]] = defaultdict(list)
    for ids in wanted:
        by_length[len(ids)].append(ids)
    batches = [group[n : n + batch] for group in by_length.values() for n in range(0, len(group), batch)]
    scores = {}
    with torch.inference_mode():
        for rows in tqdm(batches, desc="asking the model", disable=len(batches) < 3):
            output = model(torch.tensor(rows, device=device))
            last = getattr(output, "logits", output)[:, -1].float()
            for ids, logits in zip(rows, last):
                for token in wanted[ids]:
                    value = logits[token]
                    scores[ids, token] = value.item(), 1 + int((logits > value).sum())
    return scores


def judge(model: Any, records: Sequence[Mapping[str, Any]], start: str = "") -> list[dict[str, Any]]:
    """Evidence for every candidate: answer-foil logit differences on both prompts, ranks, kept or why not.

    Kept is a pair whose clean prompt puts the answer above the foil and whose corrupted prompt puts it below.
    """
    tokenizer = tokenizer_of(model)
    encoded: dict[int, tuple[EncodedPair, int, int]] = {}
    rows = [dict.fromkeys(EVIDENCE, "") | {name: r[name] for name in EVIDENCE if name in r} for r in records]
    for place, (record, row) in enumerate(zip(records, rows)):
        if row["why"]:
            continue
        try:
            pair = encode(tokenizer, pair_from_record({**record, "start": start}))
        except PromptError as error:
            row["why"] = str(error).splitlines()[0]
            continue
        if pair.foil_ids is None or len(pair.answer_ids) > 1 or len(pair.foil_ids) > 1:
            row["why"] = "the answer or the foil is several tokens"
        else:
            encoded[place] = pair, pair.answer_ids[0], pair.foil_ids[0]
    wanted: dict[tuple[int, ...], set[int]] = defaultdict(set)
    for pair, answer, foil in encoded.values():
        for ids in _prompts(pair):
            wanted[ids] |= {answer, foil}
    scores = next_token_scores(model, wanted)
    for place, row in enumerate(rows):
        row["kept"] = 0
        if place not in encoded:
            continue
        pair, answer, foil = encoded[place]
        clean, corrupted = _prompts(pair)
        row["clean_logit_diff"] = round(scores[clean, answer][0] - scores[clean, foil][0], 4)
        row["corrupted_logit_diff"] = round(scores[corrupted, answer][0] - scores[corrupted, foil][0], 4)
        row["clean_rank"], row["corrupted_rank"] = scores[clean, answer][1], scores[corrupted, foil][1]
        wrong = [name for name, sign in (("clean", 1), ("corrupted", -1)) if sign * row[f"{name}_logit_diff"] <= 0]
        row["kept"] = int(not wrong)
        row["why"] = f"wrong on {' and '.join(wrong)}" if wrong else ""
    return rows


def answer_scores(
    model: Any, wanted: Iterable[tuple[tuple[int, ...], tuple[int, ...]]], batch: int = 32
) -> dict[tuple[tuple[int, ...], tuple[int, ...]], tuple[float, int, int]]:
    """(prompt ids, answer ids) -> (ln p of the whole answer in nats, rank of its first token, exact).

    Every token is asked for after the prompt and the answer's own earlier tokens. Rank 1 is the model's first choice;
    `exact` is 1 where every token is, which is where greedy decoding writes the answer. Texts of one length share a
    batch, so that nothing is padded.
    """
    device = next(model.parameters()).device
    by_length: dict[int, list[tuple[tuple[int, ...], tuple[int, ...]]]] = defaultdict(list)
    for prompt, answer in dict.fromkeys(wanted):
        by_length[len(prompt) + len(answer)].append((prompt, answer))
    batches = [group[n : n + batch] for group in by_length.values() for n in range(0, len(group), batch)]
    scores = {}
    with torch.inference_mode():
        for rows in tqdm(batches, desc="asking the model", disable=len(batches) < 3):
            output = model(torch.tensor([prompt + answer[:-1] for prompt, answer in rows], device=device))
            for (prompt, answer), logits in zip(rows, getattr(output, "logits", output)):
                logits = logits[len(prompt) - 1 :].float()
                right = logits.gather(1, torch.tensor(answer, device=device)[:, None])
                ranks = 1 + (logits > right).sum(1)
                scores[prompt, answer] = (
                    (right[:, 0] - logits.logsumexp(1)).sum().item(),
                    int(ranks[0]),
                    int((ranks == 1).all()),
                )
    return scores


def judge_hops(model: Any, records: Sequence[Mapping[str, Any]], start: str = "") -> list[dict[str, Any]]:
    """Evidence for every two-hop candidate: log-probability, rank and exactness after both prompts, kept or why not."""
    tokenizer, encoded = tokenizer_of(model), {}
    rows = [dict.fromkeys(HOP_EVIDENCE, "") | {name: r[name] for name in HOP_EVIDENCE if name in r} for r in records]
    for place, (record, row) in enumerate(zip(records, rows)):
        memory = Pair(record["explicit"], corrupted=record["prompt"], answer=record["answer"], start=start)
        try:
            encoded[place] = encode(tokenizer, memory, aligned=False)
        except PromptError as error:
            row["why"] = str(error).splitlines()[0]
    scores = answer_scores(model, [(ids, pair.answer_ids) for pair in encoded.values() for ids in _prompts(pair)])
    for place, row in enumerate(rows):
        row["kept"] = 0
        if place not in encoded:
            continue
        pair = encoded[place]
        row["answer_tokens"] = len(pair.answer_ids)
        for name, ids in zip(SIDES, _prompts(pair)):
            logprob, row[f"{name}_rank"], row[f"{name}_exact"] = scores[ids, pair.answer_ids]
            row[f"{name}_logprob"] = round(logprob, 3)
        row["kept"] = int(row["single_rank"] <= TOP)
        row["why"] = "" if row["kept"] else f"not among the first {TOP}"
    return rows


def build(
    model: Any, name: str, out: Path, *, seed: int = 0, name_pairs: int = 24, starts: Sequence[str] = ("", START)
) -> str:
    """Writes `<name>.jsonl` and `<name>.filter.csv` into `out` and returns the summary as Markdown."""
    tokenizer = tokenizer_of(model)
    if name == "ioi":
        records = list(ioi.candidates(seed, name_pairs))
    elif name == "multihop":
        records = list(multihop.candidates(seed))
    else:
        records = list(
            facts.candidates(
                seed,
                length=lambda prompt: len(tokenize(tokenizer, prompt)),
                single=lambda answer: len(tokenize(tokenizer, answer)) == 1,
            )
        )
    hops = name == "multihop"
    ask, columns, sides = (judge_hops, HOP_EVIDENCE, SIDES) if hops else (judge, EVIDENCE, ("clean", "corrupted"))
    judged = {start: ask(model, records, start) for start in starts}
    best = max(starts, key=lambda start: _kept(judged[start]))
    if _kept(judged[best]) - _kept(judged[starts[0]]) < GAIN * len(records):
        best = starts[0]
    rows = judged[best]
    evidence, lines = io.StringIO(newline=""), []
    writer = csv.DictWriter(evidence, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    for record, row in zip(records, rows):
        if row["kept"]:
            kept = {**record, "start": best, "ranks": [row[f"{side}_rank"] for side in sides]}
            if hops:
                kept |= {
                    "logprobs": [row[f"{side}_logprob"] for side in sides],
                    "exact": [row[f"{side}_exact"] for side in sides],
                }
            lines.append(json.dumps(kept, ensure_ascii=False, separators=(",", ":") if hops else None) + "\n")
    files.write_all(
        {out / f"{name}.filter.csv": evidence.getvalue(), out / f"{name}.jsonl": "".join(lines)}, parents=True
    )
    return (_hop_summary if hops else _summary)(name, judged, best)


def _prompts(pair: EncodedPair) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return tuple(pair.clean_ids.tolist()), tuple(pair.corrupted_ids.tolist())


def _kept(rows: Iterable[Mapping[str, Any]]) -> int:
    return sum(row["kept"] for row in rows)


def _first(rows: Iterable[Mapping[str, Any]]) -> int:
    return sum(bool(row["kept"]) and row["clean_rank"] == row["corrupted_rank"] == 1 for row in rows)


def _summary(name: str, judged: Mapping[str, list[dict[str, Any]]], best: str) -> str:
    lines = [f"### {name}", "", "| start | candidates | kept | kept, both answers ranked first |", "|---|---|---|---|"]
    for start, rows in judged.items():
        chosen, code = " (chosen)" if start == best else "", f"`{start}`".replace("|", "\\|")
        lines.append(f"| {code if start else 'none'}{chosen} | {len(rows)} | {_kept(rows)} | {_first(rows)} |")
    lines += [
        "",
        (
            "| group | candidates | wrong on clean | wrong on corrupted | wrong on both | not usable | kept | select |"
            " report | both ranked first |"
        ),
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in judged[best]:
        groups[row["group"]].append(row)
    for group, rows in [*groups.items(), ("**all**", judged[best])]:
        why = Counter(row["why"] for row in rows)
        wrong = [why.pop(f"wrong on {which}", 0) for which in ("clean", "corrupted", "clean and corrupted")]
        kept = why.pop("", 0)
        split = Counter(row["split"] for row in rows if row["kept"])
        cells = [group, len(rows), *wrong, sum(why.values()), kept, split["select"], split["report"], _first(rows)]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def _hop_summary(name: str, judged: Mapping[str, list[dict[str, Any]]], best: str) -> str:
    def known(rows: Iterable[Mapping[str, Any]]) -> int:
        return sum(bool(row["kept"]) and row["single_rank"] == 1 for row in rows)

    lines = [f"### {name}", "", "| start | candidates | kept | kept, answer ranked first |", "|---|---|---|---|"]
    for start, rows in judged.items():
        chosen, code = " (chosen)" if start == best else "", f"`{start}`".replace("|", "\\|")
        lines.append(f"| {code if start else 'none'}{chosen} | {len(rows)} | {_kept(rows)} | {known(rows)} |")
    lines += [
        "",
        (
            f"| group | candidates | not among the first {TOP} | not usable | kept | select | report | ranked first |"
            " ranked first on two hops | one token | ln p, one hop | ln p, two hops |"
        ),
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in judged[best]:
        groups[row["group"]].append(row)
    for group, rows in [*groups.items(), ("**all**", judged[best])]:
        kept_rows = [row for row in rows if row["kept"]]
        unknown = sum(bool(row["answer_tokens"]) for row in rows) - len(kept_rows)
        split = Counter(row["split"] for row in kept_rows)
        cells = [
            group,
            len(rows),
            unknown,
            len(rows) - len(kept_rows) - unknown,
            len(kept_rows),
            split["select"],
            split["report"],
            known(kept_rows),
        ]
        cells += [sum(row["multi_rank"] == 1 for row in kept_rows), sum(row["answer_tokens"] == 1 for row in kept_rows)]
        for number in ("single_logprob", "multi_logprob"):
            cells.append(f"{sum(row[number] for row in kept_rows) / len(kept_rows):.2f}" if kept_rows else "")
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Makes the shipped data again, from the command line."""
    parser = argparse.ArgumentParser(prog="python -m lens.data.make", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="smollm2", help="what lens.load takes")
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write into (default: the shipped data)")
    parser.add_argument("--seed", type=int, default=0, help="decides names, partners and halves")
    parser.add_argument("--name-pairs", type=int, default=24, help="couples of names per ioi template")
    parser.add_argument("--start", help="text before every prompt; default: none, unless a start token clearly helps")
    parser.add_argument("--start-token", default=START, help="the start token that is tried (default: %(default)s)")
    chosen = parser.parse_args(arguments)

    model = load(chosen.model)
    starts = ("", chosen.start_token) if chosen.start is None else (chosen.start,)
    parts = [
        build(model, name, chosen.out, seed=chosen.seed, name_pairs=chosen.name_pairs, starts=starts)
        for name in DATA_SETS
    ]
    write_summary(chosen.out / "README.md", f"Made with `--model {chosen.model} --seed {chosen.seed}`.", parts)


def write_summary(readme: Path, about: str, parts: Sequence[str]) -> None:
    """Puts the tables between the marks of `readme`, or at the end of a new one, and prints them."""
    table = "\n\n".join([about, *parts])
    before, after = "# Pairs\n\n", "\n"
    if readme.exists():
        before, mark, rest = readme.read_text(encoding="utf-8").partition(MARKS[0])
        after = rest.partition(MARKS[1])[2]
        if not mark:
            before, after = before.rstrip() + "\n\n", "\n"
    files.write(readme, f"{before}{MARKS[0]}\n{table}\n{MARKS[1]}{after}")
    print(table)


if __name__ == "__main__":
    main()
