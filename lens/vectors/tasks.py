"""Tasks: pairs of an input and an output, split once into what demonstrates, what chooses and what reports."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .. import files, reading
from ..arguments import Count, FilePath, Fraction, Name, Seed, Text, door, shown, unfit
from ..arguments.kinds import is_sequence
from ..notices import warn
from ..prompts import DATE, PromptError, column_names, continuation, render
from ..records import rows
from ..tokens import tokenize, tokenizer_of
from . import abilities
from .errors import VectorError
from .templates import ChatTemplate, Form, Template, as_template

#: environment variable that names a folder of tasks as JSON files
FOLDER = "MNEMOSCOPE_FUNCTION_VECTORS"
SPLITS = ("train", "valid", "test")
Split = Literal["train", "valid", "test", "all"]
#: of the pairs, by split: 70 % demonstrate, 30 % of the rest choose, what is left reports
SHARES = (0.7, 0.09, 0.21)


@door(VectorError)
@dataclass(frozen=True)
class Task:
    """What a model is asked to do, as pairs `(input, output)`.

    `instruction` says it in words; `texts` are natural sentences with {x} that the output continues; `train`, `valid`
    and `test` are numbers of pairs; `template` is the form of its prompts where nothing else is said (None: "qa").
    Raises VectorError for outputs that are empty or no text, for an input with two
    outputs, for splits that overlap or leave the pairs. Warns where all outputs are equal. Make one with
    `Task.from_pairs`, which draws the splits.

    >>> Task.from_pairs([("hot", "cold"), ("big", "small"), ("up", "down")]).words("train")
    [('big', 'small')]
    """

    name: Name
    if TYPE_CHECKING:
        pairs: Sequence[Any]  # once made
    else:
        pairs: Iterable[Any]
    instruction: Name | None = None
    texts: str | Sequence[str] = ()
    train: tuple[int, ...] = ()
    valid: tuple[int, ...] = ()
    test: tuple[int, ...] = ()
    template: Template | ChatTemplate | None = None

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise VectorError(unfit("name", self.name, "text that is more than spaces"))
        object.__setattr__(self, "pairs", _pairs(self.name, self.pairs))
        object.__setattr__(self, "texts", _texts(self.texts))
        if self.instruction is not None and not self.instruction.strip():
            raise VectorError(
                f"task {self.name!r}: instruction={self.instruction!r}; expected text, or None where there is none."
            )
        for text in self.texts:
            if "{x}" not in text:
                raise VectorError(
                    f"task {self.name!r}: texts hold {text!r}; expected sentences with {{x}} where the input goes."
                )
        earlier: set[int] = set()
        for split in SPLITS:
            numbers = tuple(int(i) for i in getattr(self, split))
            if bad := [i for i in numbers if not 0 <= i < len(self.pairs)]:
                raise VectorError(
                    f"task {self.name!r}: {split} holds {bad[0]}, which is no pair; there are {len(self.pairs)},"
                    " counted from 0."
                )
            if earlier & set(numbers) or len(set(numbers)) < len(numbers):
                raise VectorError(
                    f"task {self.name!r}: {split} repeats pair"
                    f" {next(i for i in numbers if i in earlier or numbers.count(i) > 1)}; every pair belongs to one"
                    " split."
                )
            earlier |= set(numbers)
            object.__setattr__(self, split, numbers)
        if self.same_labels:
            warn(
                f"task {self.name!r}: all {len(self.pairs)} outputs are {self.pairs[0][1]!r}, so that shuffling them"
                " changes nothing: no effect can be told from the answer's own frequency."
            )

    @classmethod
    @door(VectorError)
    def from_pairs(
        cls,
        pairs: Iterable[Any],
        *,
        name: Name = "task",
        instruction: Name | None = None,
        texts: str | Sequence[str] = (),
        seed: Seed = 0,
        shares: Sequence[Fraction] = SHARES,
        template: Form | None = None,
    ) -> "Task":
        """A task of these pairs, split at random: `shares` of train, valid and test, each at least one pair where there
        are three or more.

        Source: Todd et al. 2024's code (70 % train; of the rest 30 % valid and 70 % test).
        """
        pairs = _pairs(name, pairs)
        shares = tuple(float(s) for s in shares)
        if len(shares) != 3 or not 0.999 < sum(shares) < 1.001:
            raise VectorError(f"shares={shares!r}: expected three shares, of train, valid and test, that add up to 1.")
        order = np.random.default_rng(seed).permutation(len(pairs)).tolist()
        n, sizes = len(pairs), [0, 0]
        for k in (0, 1):
            sizes[k] = round(shares[k] * n)
            if n >= 3 and shares[k]:
                sizes[k] = max(1, sizes[k])
        while n >= 3 and shares[2] and sum(sizes) >= n:
            sizes[int(np.argmax(sizes))] -= 1
        parts = np.split(np.asarray(order, dtype=int), np.cumsum(sizes))
        form = None if template is None else as_template(template)
        train, valid, test = (tuple(sorted(p.tolist())) for p in parts)
        return cls(name, pairs, instruction, _texts(texts), train, valid, test, form)

    @classmethod
    @door(VectorError)
    def chat(
        cls,
        pairs: Iterable[Any],
        *,
        system: str | None = None,
        question: str = "{x}",
        template: str | None = None,
        date: str = DATE,
        name: Name = "task",
        instruction: Name | None = None,
        seed: Seed = 0,
        shares: Sequence[Fraction] = SHARES,
    ) -> "Task":
        """A task that is asked in conversations: each demonstration is a user's turn (`question`, with {x}) and the
        assistant's, by the model's own chat template; see `ChatTemplate`.

        Args:
            system: a first system turn, where no instruction takes its place. template, date: see `lens.prompts.Chat`.
            pairs, name, instruction, seed, shares: as `from_pairs`.

        Source of the splits: see `from_pairs`.
        """
        form = ChatTemplate(question=question, system=system, template=template, date=date)
        return cls.from_pairs(pairs, name=name, instruction=instruction, seed=seed, shares=shares, template=form)

    @classmethod
    @door(VectorError)
    def from_records(
        cls,
        records: Any,
        columns: Mapping[str, str] | None = None,
        *,
        limit: Count | None = None,
        name: Name = "task",
        instruction: Name | None = None,
        texts: str | Sequence[str] = (),
        seed: Seed = 0,
        shares: Sequence[Fraction] = SHARES,
        template: Form | None = None,
    ) -> "Task":
        """A task of rows of data, split as by `from_pairs`; what a row holds as text stays text.

        Args:
            records, limit: see `lens.Pair.from_records`.
            columns: of "input" and "output" the columns that hold them; without one these are their names.
            name, instruction, texts, seed, shares, template: as `from_pairs`.

        Raises: VectorError: no such column, a row that holds something else there; it names the file and line.
        """

        def refuse(said: str) -> VectorError:
            return VectorError(f"records: {said}")

        try:
            names = column_names(columns, ("input", "output"))
        except PromptError as error:
            raise VectorError(str(error)) from None
        pairs = []
        for row in islice(rows(records, refuse, list(names.values())), limit):
            pair = row.text(names["input"]), row.text(names["output"])
            for column, text in zip(names.values(), pair):
                if not text.strip():
                    raise row.fault(column, f"holds {text!r}, where a text was expected that is not empty")
            pairs.append(pair)
        return cls.from_pairs(
            pairs, name=name, instruction=instruction, texts=texts, seed=seed, shares=shares, template=template
        )

    @door(VectorError)
    def words(self, split: Split) -> list[tuple[str, str]]:
        """The pairs of a split: "train", "valid", "test", or "all"."""
        return [self.pairs[i] for i in self.numbers(split)]

    @door(VectorError)
    def numbers(self, split: Split) -> tuple[int, ...]:
        """The numbers of a split's pairs.

        Raises: VectorError: an unknown split.
        """
        if split == "all":
            return tuple(range(len(self.pairs)))
        return getattr(self, split)

    @property
    def same_labels(self) -> bool:
        """Whether all outputs are equal."""
        return len(self.pairs) > 1 and len({y for _, y in self.pairs}) == 1

    @door(VectorError)
    def shared_first_tokens(self, model: Any, template: Form | None = None) -> dict[int, list[str]]:
        """Different outputs that begin with the same token in this model's vocabulary, by that token's id.

        Where there are any, the first token alone does not tell those outputs apart: read the scores of whole answers.
        """
        form, tokenizer = as_template(template, self), tokenizer_of(model)
        by_token: dict[int, list[str]] = {}
        text = render(tokenizer, form.text((), self.pairs[0][0])).text
        ids = tokenize(tokenizer, text)
        for y in dict.fromkeys(y for _, y in self.pairs):
            try:
                first = continuation(tokenizer, text, ids, form.lead + y, "answer", "prompt")[0]
            except PromptError as error:
                raise VectorError(f"task {self.name!r}, output {y!r}: {error}") from None
            by_token.setdefault(first, []).append(y)
        return {token: ys for token, ys in by_token.items() if len(ys) > 1}


def _texts(texts: str | Sequence[str]) -> tuple[str, ...]:
    return (texts,) if isinstance(texts, str) else tuple(texts)


def _pairs(name: str, pairs: Any) -> tuple[tuple[str, str], ...]:
    rows: list[tuple[str, str]] = []
    output_of: dict[str, str] = {}
    for number, pair in enumerate(pairs):
        if not is_sequence(pair) or len(pair) != 2:
            raise VectorError(f"task {name!r}: pairs[{number}] is {shown(pair)}; expected (input, output).")
        x, y = pair
        for what, value in (("inputs", x), ("outputs", y)):
            if isinstance(value, (list, tuple, set)):
                raise VectorError(
                    f"task {name!r}: {what}: {shown(list(value))} is a list; give one text a pair, or several pairs."
                )
            if not isinstance(value, str) or not value.strip():
                raise VectorError(
                    f"task {name!r}: {what}: {shown(value)} of pairs[{number}]; expected text that is not empty."
                )
            Text().of(value, f"pairs[{number}]", VectorError)
        x, y = x.strip(), y.strip()
        if output_of.setdefault(x, y) != y:
            raise VectorError(
                f"task {name!r}: the input {x!r} has two outputs, {output_of[x]!r} and {y!r}; keep one of them."
            )
        rows.append((x, y))
    rows = list(dict.fromkeys(rows))
    if not rows:
        raise VectorError(f"task {name!r}: pairs=[] holds none; give at least one (input, output).")
    return tuple(rows)


def task_names() -> list[str]:
    """Names of the tasks that ship with the package (CC0), see `load_task`."""
    return list(abilities.ABILITIES)


@door(VectorError)
def load_task(
    name: FilePath,
    *,
    seed: Seed = 0,
    shares: Sequence[Fraction] = SHARES,
    instruction: Name | None = None,
    texts: str | Sequence[str] = (),
    repeated: Literal["refuse", "first"] = "refuse",
) -> Task:
    """A task by name or from a JSON file `[{"input": ..., "output": ...}, ...]`.

    Args:
        name: of a task that ships with the package, of a file in the folder that MNEMOSCOPE_FUNCTION_VECTORS names
            (`antonym` or `antonym.json`; a shipped task comes first, `file:antonym` asks for the file), or a path.
        seed, shares: of the splits.
        instruction, texts: where they differ from the shipped ones.
        repeated: what to do with an input that has several outputs: "refuse", or "first" to keep the first.

    Raises: VectorError: an unknown name, a file that cannot be read or has another form.

    Source of the format: github.com/ericwtodd/function_vectors, dataset_files.
    """
    if isinstance(name, str) and name in abilities.ABILITIES:
        ability = abilities.ABILITIES[name]
        return Task.from_pairs(
            ability.pairs(),
            name=name,
            instruction=instruction or ability.instruction,
            texts=_texts(texts) or ability.texts,
            seed=seed,
            shares=shares,
        )
    path = _file(str(name))

    def refuse(said: str) -> VectorError:
        return VectorError(f"name={str(name)!r}: {said}; expected a list of {{'input': ..., 'output': ...}}.")

    rows = reading.json_file(path, refuse, None)
    if not isinstance(rows, list) or not all(isinstance(r, dict) and {"input", "output"} <= set(r) for r in rows):
        raise VectorError(
            f"name={str(name)!r}: {path} has another form; expected a list of {{'input': ..., 'output': ...}}."
        )
    pairs = [(r["input"], r["output"]) for r in rows]
    if repeated == "first":
        outputs: dict[Any, Any] = {}
        for x, y in pairs:
            outputs.setdefault(x.strip() if isinstance(x, str) else str(x), y)
        pairs = list(outputs.items())
    stem, known = path.stem.replace("-", "_"), abilities.ABILITIES
    like = known.get(stem)
    return Task.from_pairs(
        pairs,
        name=path.stem,
        instruction=instruction or (like.instruction if like else None),
        texts=_texts(texts) or (like.texts if like else ()),
        seed=seed,
        shares=shares,
    )


def _file(name: str) -> Path:
    bare = name.removeprefix("file:")
    folder = os.environ.get(FOLDER)
    tried = [files.expanded(bare)]
    tried += [files.expanded(folder) / bare, files.expanded(folder) / f"{bare}.json"] if folder else []
    for path in tried:
        if path.is_file():
            return path
    hint = (
        f"; {FOLDER} names {folder!r}, which has no such file"
        if folder
        else f"; a folder of JSON files can be named by {FOLDER}"
    )
    raise VectorError(f"name={name!r} is neither a task that ships ({', '.join(task_names())}) nor a file{hint}.")
