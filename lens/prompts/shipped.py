"""Pairs of the data sets that ship, and of files like theirs."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from lens import reading
from lens.arguments import Count, door
from lens.tokens import PromptError

from .pair import Pair

DATA_SETS = ("facts", "ioi")
SPLITS = ("report", "select")


@door(PromptError)
def load_pairs(
    name: str,
    *,
    split: str | None = None,
    limit: Count | None = None,
    group: str | None = None,
    top: Count | None = None,
) -> list[Pair]:
    """Pairs of a shipped data set ("ioi" or "facts") that SmolLM2-135M-Instruct answers, as lens/data/README.md says.

    `name` may also be a .jsonl file that `python -m lens.data.make` wrote for another model. `split` is "select" or
    "report" (no subject or couple of names in both); `group` one template or relation; `top=1` keeps the pairs whose
    right answer is the model's first choice on both prompts (`top=5`: among its five); `limit` takes that many, spread
    over the groups in turn. Raises PromptError for a name, split or group that does not exist.
    """
    if not isinstance(name, str) or (name not in DATA_SETS and not name.endswith(".jsonl")):
        raise PromptError(f"name: {name!r} is not a shipped data set ({', '.join(DATA_SETS)}) nor a .jsonl file")
    if split is not None and split not in SPLITS:
        raise PromptError(f"split: {split!r} does not exist; there are {', '.join(SPLITS)}, and None for both")
    for argument, value in (("limit", limit), ("top", top)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise PromptError(f"{argument}: expected a whole number, at least 1, or None, got {value!r}")
    file = resources.files("lens.data") / f"{name}.jsonl" if name in DATA_SETS else Path(name)
    records = [_checked(record, f"{name}, line {number}") for number, record in reading.records(file, _refuse, _KEYS)]
    groups = sorted({record["group"] for record in records})
    if group is not None and group not in groups:
        raise PromptError(f"group: {group!r} is not in {name!r}; there are {', '.join(groups)}")
    chosen = [r for r in records if split in (None, r["split"]) and group in (None, r["group"])]
    chosen = [r for r in chosen if top is None or max(r["ranks"]) <= top]
    if limit is not None:
        seen: dict[str, int] = {}
        turn = {}
        for record in chosen:
            turn[record["id"]] = seen[record["group"]] = seen.get(record["group"], 0) + 1
        chosen = sorted(chosen, key=lambda record: turn[record["id"]])[:limit]
    return [pair_from_record(record) for record in chosen]


#: What each line of a data set has: texts, spans, and the model's rank of the right answer on both prompts.
_KEYS = ("id", "group", "split", "clean", "corrupted", "answer", "foil", "start", "spans", "ranks")


def _refuse(said: str) -> PromptError:
    return PromptError(f"name: {said}; expected lines as `python -m lens.data.make` writes them")


def _checked(record: dict[str, Any], where: str) -> dict[str, Any]:
    """A line whose entries are of the expected kinds. Raises PromptError."""
    ranks = record["ranks"]
    if wrong := [key for key in ("id", "group", "split") if not isinstance(record[key], str)]:
        raise _refuse(f"{where} has {wrong[0]}={record[wrong[0]]!r:.60}, not a text")
    if not isinstance(ranks, list) or not ranks or not all(type(rank) in (int, float) for rank in ranks):
        raise _refuse(f"{where} has ranks={ranks!r:.60}, not a list of numbers")
    try:
        pair_from_record(record)
    except PromptError as error:
        raise PromptError(f"name: {where}: {error}") from None
    return record


def pair_from_record(record: Mapping[str, Any]) -> Pair:
    """The Pair of one line of a data set."""
    if not isinstance(record["spans"], Mapping):
        raise PromptError(f"spans: expected an object of names and parts of `clean`, got {record['spans']!r:.60}")
    spans = {name: tuple(value) if isinstance(value, list) else value for name, value in record["spans"].items()}
    texts = {name: record[name] for name in ("clean", "corrupted", "answer", "foil", "start")}
    return Pair(**texts, spans=spans, label=record["id"])
