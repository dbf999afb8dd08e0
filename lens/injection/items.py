"""Multi-hop items: a prompt that only describes an entity, one that names it, the entity and the answer."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from .. import reading
from ..arguments import Count, FilePath, door, shown
from ..errors import Error
from ..notices import warn
from ..prompts import DATE, Chat, Message, as_chat
from ..records import rows

#: environment variable that names the folder of the paper's CSV files
FOLDER = "MNEMOSCOPE_MEMORY_INJECTIONS"
#: per data set the names of its file, the first that is there is read
FILES = {"hand": ("handwritten_obscure_explicit_data.csv",), "2wmh": ("multi_hop_1000.csv", "multi_hop_100.csv")}
SPLITS = ("select", "report")
#: what the paper's files call a column, by what it is here
COLUMNS = {
    "prompt": ("obscure_sentence", "obscure_sent"),
    "explicit": ("explicit_sentence", "explicit_sent"),
    "memory": ("explicit_entity",),
    "subject": ("obscure_entity",),
    "answer": ("answer",),
}


class InjectionError(Error, ValueError):
    """An item, a memory or an argument of this family that cannot be used; the message names it, its value and the next
    step.
    """


@door(InjectionError)
@dataclass(frozen=True)
class Item:
    """One multi-hop question.

    `prompt` describes the bridge entity, `explicit` names it, `memory` is its name, `answer` (with its leading space)
    follows both prompts; `subject` is the part of `prompt` that stands for the entity. Raises InjectionError for empty
    text, for an answer that is the memory, and for a subject that is not in the prompt. `Item.chat` asks in a
    conversation.

    >>> Item("The capital of the country of the Eiffel Tower is", "The capital of France is", "France", " Paris",
    ...      subject="the country of the Eiffel Tower").memory
    'France'
    """

    prompt: str | Chat
    explicit: str | Chat
    memory: str
    answer: str
    subject: str | None = None
    label: str = ""
    group: str = ""

    def __post_init__(self) -> None:
        for name in ("prompt", "explicit", "memory", "answer"):
            value = getattr(self, name)
            if not str(value).strip():
                raise InjectionError(
                    f"{name}: expected text, got {value!r}; every item needs a prompt, an explicit prompt, a memory and"
                    " an answer."
                )
        if isinstance(self.prompt, Chat) != isinstance(self.explicit, Chat):
            raise InjectionError(
                "explicit: one of the two prompts is a chat and the other a text, which have no form in common; give"
                " two chats, or two texts."
            )
        if self.answer.strip().lower() == self.memory.strip().lower():
            raise InjectionError(
                f"answer: {self.answer!r} is the memory itself, so that injecting it would put the answer in; take"
                " another item."
            )
        if self.subject is not None and not self._says(self.subject):
            raise InjectionError(
                f"subject: {self.subject!r} is not in `prompt` {str(self.prompt)!r}; give the words as they stand"
                " there, or None."
            )

    def _says(self, part: str) -> bool:
        return self.prompt.find(part) is not None if isinstance(self.prompt, Chat) else part in self.prompt

    @classmethod
    @door(InjectionError)
    def chat(
        cls,
        messages: Any,
        explicit: Any,
        memory: str,
        answer: str,
        *,
        subject: str | None = None,
        continued: bool = False,
        template: str | None = None,
        date: str = DATE,
        label: str = "",
        group: str = "",
    ) -> Item:
        """An item whose two prompts are conversations; see `lens.Pair.chat` for the messages and their options.

        `answer` follows where the assistant's turn begins, usually without a leading space; `subject` is a part of what
        is said.

        Raises: InjectionError: see `Item`. PromptError: messages that are no chat.

        >>> Item.chat([("user", "The capital of the land of the Eiffel Tower?")], [("user", "The capital of France?")],
        ...           "France", "Paris").prompt.names
        ('user_1',)
        """
        options: dict[str, Any] = {"continued": continued, "template": template, "date": date}
        prompt, other = as_chat(messages, **options), as_chat(explicit, **options)
        return cls(prompt, other, memory, answer, subject, label, group)

    @door(InjectionError)
    def prompted(self, memory: str, stop: str = ".") -> str | Chat:
        """The multi-hop prompt with a memory and a full stop put before it, in a chat before the first user's words."""
        if not isinstance(self.prompt, Chat):
            return f"{memory}{stop} {self.prompt}"
        turns = list(self.prompt.messages)
        first = next((n for n, turn in enumerate(turns) if turn.role == "user"), len(turns) - 1)
        turns[first] = Message(turns[first].role, f"{memory}{stop} {turns[first].content}")
        return replace(self.prompt, messages=tuple(turns))


@door(InjectionError)
def load_items(
    name: FilePath = "own",
    *,
    split: Literal["select", "report"] | None = None,
    limit: Count | None = None,
    group: str | None = None,
    rank: Count | None = None,
) -> list[Item]:
    """Items of a data set.

    Args:
        name: "own" ships with the package; "hand" and "2wmh" are the paper's files (MIT), read from the folder that the
            environment variable MNEMOSCOPE_MEMORY_INJECTIONS names; a path to such a .csv file or to a .jsonl file of
            this project's form.
        split: "select" or "report" (own items: no entity is in both; others: every second row); None for all.
        limit: so many, spread over the groups in turn.
        group: only this group.
        rank: own items only: those whose single-hop answer is among the model's `rank` first choices.

    Raises: InjectionError for an unknown name, an absent or damaged file and for a choice of nothing.
    """
    path = _path(name)
    records = _jsonl(path) if path.name.endswith(".jsonl") else _rows(path)
    chosen = [
        r
        for r in records
        if split in (None, r["split"])
        and group in (None, r["group"])
        and (rank is None or r.get("ranks", [1])[0] <= rank)
    ]
    if not chosen:
        raise InjectionError(
            f"name={str(name)!r} with split={split!r}, group={shown(group)}, rank={rank!r} selects none of its"
            f" {len(records)} items; groups: {', '.join(sorted({r['group'] for r in records})) or 'none'}."
        )
    if limit is not None:
        counts: Counter[str] = Counter()
        turn = []
        for r in chosen:
            turn.append(counts[r["group"]])
            counts[r["group"]] += 1
        chosen = [chosen[i] for i in sorted(range(len(chosen)), key=turn.__getitem__)[:limit]]
    return [_item(path, r) for r in chosen]


def _path(name: str | os.PathLike) -> Any:
    if name == "own":
        return resources.files("lens.data") / "multihop.jsonl"
    if name in FILES:
        folder = os.environ.get(FOLDER)
        if not folder:
            raise InjectionError(
                f"name={name!r} is one of the paper's files: set the environment variable {FOLDER} to the folder that"
                f" holds {FILES[name][0]} (github.com/msakarvadia/memory_injections, folder data), or use name='own'."
            )
        name = next((p for n in FILES[name] if (p := Path(folder) / n).is_file()), Path(folder) / FILES[name][0])
    path = Path(name)
    if path.suffix not in (".csv", ".jsonl"):
        raise InjectionError(
            f"name={str(name)!r} is no data set; expected own, {', '.join(FILES)} or a file that ends in .csv or"
            " .jsonl."
        )
    if not path.is_file():
        raise InjectionError(
            f"name: there is no file {path}; check the path"
            + (f" or what {FOLDER} names." if any(path.name in f for f in FILES.values()) else ".")
        )
    return path


def _item(path: Any, record: Mapping[str, Any]) -> Item:
    texts: dict[str, Any] = {k: record.get(k) for k in ("prompt", "explicit", "memory", "answer", "subject")}
    try:
        return Item(
            **texts,
            label=record["id"],
            group=record["group"],
        )
    except InjectionError as error:
        raise InjectionError(f"{path.name}, {record['id']}: {error}") from None


def _jsonl(path: Any) -> list[dict[str, Any]]:
    def refuse(said: str) -> InjectionError:
        return InjectionError(f"name: {said}; expected records with id, group, split and prompt.")

    records = []
    for number, record in reading.records(path, refuse, ("id", "group", "split", "prompt")):
        if wrong := next((key for key in ("id", "group", "split") if not isinstance(record[key], str)), None):
            raise refuse(f"{path}, line {number} has {wrong}={record[wrong]!r:.60}, not a text")
        records.append(record)
    return records


def _rows(path: Path) -> list[dict[str, Any]]:
    """The rows of one of the paper's CSV files.

    Raises: InjectionError naming missing columns, or the rows that lack a value.
    """
    lines = list(rows(path, InjectionError))
    if not lines:
        raise InjectionError(f"{path.name}: holds no row.")
    there = list(lines[0])
    columns = {name: next((c for c in known if c in there), None) for name, known in COLUMNS.items()}
    missing = [" or ".join(COLUMNS[name]) for name, column in columns.items() if column is None and name != "subject"]
    if missing:
        raise InjectionError(
            f"{path.name}: has no column {'; '.join(missing)}; its columns are {', '.join(map(repr, there)) or 'none'}."
        )
    chosen, empty, trimmed, odd = [], [], [], []
    for row in lines:
        number = row.number + 2
        values = {name: row[column] if column else "" for name, column in columns.items()}
        if any(value.strip().lower() in ("", "nan") for name, value in values.items() if name != "subject"):
            empty.append(number)
            continue
        if any(values[name] != values[name].rstrip() for name in ("prompt", "explicit")):
            trimmed.append(number)
        record: dict[str, str | None] = {name: value.strip() or None for name, value in values.items()}
        record["answer"] = f" {record['answer']}"
        record["subject"] = _as_written(record["subject"], values["prompt"].strip())
        if record["subject"] is None and values["subject"]:
            odd.append(number)
        chosen.append(record | {"id": f"{path.stem}:{number - 2}", "group": "", "split": SPLITS[number % 2]})
    if empty:
        raise InjectionError(
            f"{path.name}: {len(empty)} of {len(lines)} rows lack a value (empty or NaN), first line"
            f" {empty[0]}; fill them in or take them out."
        )
    if trimmed:
        warn(
            f"{path.name}: {len(trimmed)} prompts end in white space, first line {trimmed[0]}; it was taken off, since"
            " it would merge with the answer."
        )
    if odd:
        warn(
            f"{path.name}: {len(odd)} rows have a subject that is not in their prompt, first line {odd[0]}; these items"
            " have no subject position."
        )
    return chosen


def _as_written(subject: str | None, prompt: str) -> str | None:
    """The subject as it stands in the prompt, whatever its capitals; None where it does not."""
    if not subject:
        return None
    at = prompt.lower().find(subject.lower())
    return prompt[at : at + len(subject)] if at >= 0 else None


def as_items(items: Item | Sequence[Item] | str) -> list[Item]:
    """One item, several, or the name of a data set, as a list."""
    if isinstance(items, str):
        try:
            return load_items(items)
        except InjectionError as error:
            raise InjectionError(f"items: {error}") from None
    return [items] if isinstance(items, Item) else list(items)
