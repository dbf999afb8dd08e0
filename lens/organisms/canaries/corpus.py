"""The corpus of the organism `canaries`: the stream of rows, the sequences planted in it at known duplicate counts, and
the tasks.

Row i of the stream is made of its number and the seed alone: documents of `text` between start tokens, cut to
the row's width. A canary is spliced between two documents of a row, at most one a row and always whole. Which canary is
seen how often is drawn at random within its kind, so that those with 0 duplicates, which are nowhere in the stream, are
exchangeable with the others (the form of Hubble, ICLR 2026).
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ... import training
from ...arguments import Count, Size, door
from ..errors import OrganismError
from .recipe import Recipe
from .text import RELATIONS, Text, held_out

PREFIX, SUFFIX, SECOND_SUFFIX = 32, 32, 8
SPLITS = ("train", "held", "reference", "productions")
EDGES = (0.0, 10.0, 30.0, 100.0, 300.0)


@dataclass(frozen=True, eq=False)
class Canaries:
    """Planted sequences: `ids` [n, 1 + tokens] with the start token in front, of which the first `prefix` (33, the
    start counted) are given and the rest recited.

    `duplicates` [n]: how often each is in the stream; `kind` [n]: "code", "plausible" or "verse"; `family` [n]: "main"
    or "second"; `split` [n]: "tune", "val" (halves of each kind and count of the main family) or "second" (never to be
    tuned on).
    """

    ids: Int[Tensor, "n length"]
    prefix: int
    duplicates: Int[np.ndarray, " n"]
    kind: np.ndarray
    family: np.ndarray
    split: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def where(self, index: np.ndarray | Sequence[int]) -> Canaries:
        """Those of these numbers, or where a boolean array is True."""
        index = np.asarray(index)
        chosen = np.flatnonzero(index) if index.dtype == bool else index.astype(int)
        return Canaries(
            self.ids[torch.from_numpy(chosen)],
            self.prefix,
            *(value[chosen] for value in (self.duplicates, self.kind, self.family, self.split)),
        )


@dataclass(frozen=True, eq=False)
class Task:
    """Questions with one right answer: `prompts` [n, p], `answers` [n, a]; `chance`, what guessing among the possible
    answers gets.

    `exposure` [n]: how often training is expected to state each fact (NaN where the task has no such number).
    """

    prompts: Int[Tensor, "n p"]
    answers: Int[Tensor, "n a"]
    chance: float
    exposure: Float[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.prompts)

    @property
    def bins(self) -> list[str]:
        """The exposure bin of each question: "never", "up to 10", ..., "over 300"; "" without exposure."""
        return [bin_of(value) for value in self.exposure.tolist()]


def bin_of(exposure: float) -> str:
    """The name of the exposure bin."""
    if np.isnan(exposure):
        return ""
    place = int(np.searchsorted(EDGES, exposure))
    return "never" if place == 0 else f"over {EDGES[-1]:.0f}" if place == len(EDGES) else f"up to {EDGES[place]:.0f}"


class Corpus:
    """Everything that the model of a recipe reads or is asked; the recipe's seed decides all of it."""

    def __init__(self, recipe: Recipe):
        self.recipe, self.text = recipe, Text(recipe.seed, recipe.entities)
        self.rows_in_stream = recipe.steps * recipe.batch
        inserts = (
            sum(recipe.duplicates) * (recipe.per_count + recipe.second_per_count)
            + sum(recipe.plausible_duplicates) * recipe.per_count // 2
        )
        if inserts > self.rows_in_stream:
            raise OrganismError(
                f"duplicates={recipe.duplicates} and plausible_duplicates={recipe.plausible_duplicates} ask for"
                f" {inserts} rows with a canary; the stream has {self.rows_in_stream}: give more steps or fewer"
                " canaries"
            )
        if recipe.per_count % 4 or recipe.width < 1 + PREFIX + SUFFIX:
            raise OrganismError(
                f"per_count={recipe.per_count}, width={recipe.width}; expected a multiple of 4 (two kinds, two splits)"
                f" and at least {1 + PREFIX + SUFFIX} tokens"
            )

    def encode(self, words: Sequence[str]) -> list[int]:
        """The ids of words, a start token in front."""
        return [0, *map(self.text.index.__getitem__, words)]

    @door(OrganismError)
    def canaries(self, family: str = "main") -> Canaries:
        """The planted sequences of `family`: "main" (32 tokens given, 32 to recite; codes and plausible stories) or
        "second" (8 to recite; verses).
        """
        if family not in ("main", "second"):
            raise OrganismError(f"family={family!r}; expected 'main' or 'second'")
        return self._canaries[family]

    @cached_property
    def _canaries(self) -> dict[str, Canaries]:
        r, tables = self.recipe, {}
        for family, kinds, suffix, each in (
            ("main", ("code", "plausible"), SUFFIX, r.per_count // 2),
            ("second", ("verse",), SECOND_SUFFIX, r.second_per_count),
        ):
            rng, ids, columns = random.Random(f"canaries planted {family} {r.seed}"), [], []
            for kind in kinds:
                counts = r.duplicates + (r.plausible_duplicates if kind == "plausible" else ())
                words = {tuple(getattr(self.text, kind)(rng, PREFIX + suffix)): None for _ in range(each * len(counts))}
                cells = [
                    (count, kind, family, ("tune", "val")[number % 2] if family == "main" else family)
                    for count in counts
                    for number in range(each)
                ]
                if len(words) < len(cells):
                    raise OrganismError(
                        f"entities={r.entities} are too few for {len(cells)} different sequences of kind {kind}"
                    )
                ids += [self.encode(sequence) for sequence in words]
                columns += rng.sample(cells, len(cells))
            tables[family] = Canaries(
                torch.tensor(ids), 1 + PREFIX, *(np.array(column) for column in zip(*columns, strict=True))
            )
        return tables

    @cached_property
    def planted(self) -> dict[int, tuple[str, int]]:
        """Row of the stream -> (family, number) of the canary that is spliced into it; empty for the twin that never
        sees one.
        """
        if not self.recipe.canaries:
            return {}
        uses = [
            (family, number)
            for family, table in self._canaries.items()
            for number, count in enumerate(table.duplicates.tolist())
            for _ in range(count)
        ]
        return dict(
            zip(
                random.Random(f"canaries places {self.recipe.seed}").sample(range(self.rows_in_stream), len(uses)),
                uses,
                strict=True,
            )
        )

    def row(self, number: int, split: str = "train") -> list[int]:
        """The ids of one row of a split without canaries, `width` of them."""
        rng = random.Random(f"canaries {split} {self.recipe.seed} {number}")
        row: list[int] = []
        while len(row) < self.recipe.width:
            row += self.encode(self.text.story(rng, unseen=True) if split == "productions" else self.text.document(rng))
        return row[: self.recipe.width]

    def spliced(self, number: int) -> list[int]:
        """Row `number` of the stream as the model reads it."""
        row = self.row(number)
        if number not in self.planted:
            return row
        family, which = self.planted[number]
        canary = self._canaries[family].ids[which].tolist()
        starts = [at for at, token in enumerate(row) if token == 0 and at + len(canary) <= self.recipe.width]
        at = random.Random(f"canaries place {self.recipe.seed} {number}").choice(starts)
        return (row[:at] + canary + row[at:])[: self.recipe.width]

    def stream(self, step: int, generator: torch.Generator | None = None) -> training.Rows:
        """The rows of a step, for `lens.training.train`; every token after the first counts."""
        first = step * self.recipe.batch
        return training.Rows.full(
            torch.tensor([self.spliced(number) for number in range(first, first + self.recipe.batch)])
        )

    @door(OrganismError)
    def clean(self, count: Size, split: str = "held") -> Int[Tensor, "count width"]:
        """Rows without canaries: the "train" stream's own, the same mixture unseen ("held", and "reference" for
        statistics), or stories of held-out "productions".
        """
        if split not in SPLITS:
            raise OrganismError(f"split={split!r}; expected one of {', '.join(SPLITS)}")
        return torch.tensor([self.row(number, split) for number in range(count)])

    @cached_property
    def stated(self) -> float:
        """How many closed-book statements the stream has, from its first 1,000 rows."""
        mark, some, count = self.text.index["of"], min(1000, self.rows_in_stream), 0
        for number in range(some):
            row = self.row(number)
            starts = [at for at, token in enumerate(row) if token == 0] + [len(row)]
            count += sum(
                row[a:b].count(mark)
                for a, b in itertools.pairwise(starts)
                if row[a + 1 : a + 2] == [self.text.index["fact"]]
            )
        return count * self.rows_in_stream / some

    def exposure(self, name: str) -> float:
        """How often the stream is expected to state one fact about `name`."""
        return self.stated * self.text.popularity[name] / sum(self.text.popularity.values()) / len(RELATIONS)

    @door(OrganismError)
    def tasks(self, count: Count = 300) -> dict[str, Task]:
        """Up to `count` questions a task, of none of which the stream holds the answer, but for `closed_book`, which
        asks every fact there is.

        `arithmetic` (held-out pairs), `closed_book` (with exposure), `open_book` (the same facts, held-out questions,
        true in the context), `open_book_false` (the context says otherwise than the table), `copy` (eight names),
        `rule` (three examples, then the question).
        """
        t, rng = self.text, random.Random(f"canaries tasks {self.recipe.seed}")
        pairs = [(a, b) for a in range(100) for b in range(100) if held_out("sum", min(a, b), max(a, b))]
        questions: dict[str, tuple[float, list[tuple[list[str], int, float]]]] = {
            "arithmetic": (
                1 / 199,
                [(["sum", ":", *t.addition(a, b)], 3, np.nan) for a, b in rng.sample(pairs, min(count, len(pairs)))],
            ),
            "closed_book": (
                1 / 16,
                [
                    (["fact", ":", *t.statement(name, relation, value)[:-1]], 1, self.exposure(name))
                    for (name, relation), value in t.facts.items()
                ],
            ),
        }
        facts = [pair for pair in t.facts if held_out("note", *pair)]
        facts = rng.sample(facts, min(count, len(facts)))
        for task, false in (("open_book", False), ("open_book_false", True)):
            questions[task] = (
                1 / 16,
                [(self._note(rng, *pair, false=false), 1, self.exposure(pair[0])) for pair in facts],
            )
        lists = [t.fresh(rng, "copy", 8, unseen=True) for _ in range(count)]
        questions["copy"] = (
            len(t.listed) ** -8.0,
            [(["copy", ":", *words, ";", *words], 8, np.nan) for words in lists],
        )
        questions["rule"] = (1 / 3, [(self._rule(rng, number % 3), 1, np.nan) for number in range(count)])
        return {task: self._task(chance, items) for task, (chance, items) in questions.items()}

    def _note(self, rng: random.Random, name: str, relation: str, *, false: bool) -> list[str]:
        truth = self.text.facts[name, relation]
        value = rng.choice([other for other in RELATIONS[relation] if other != truth]) if false else truth
        notes = [note for note in self.text.notes(rng, 4) if note[0] != name][:3]
        notes.insert(rng.randrange(4), (name, relation, value))
        return [
            "note",
            ":",
            *(word for note in notes for word in self.text.statement(*note)),
            "ask",
            ":",
            *self.text.statement(name, relation, value)[:-1],
        ]

    def _rule(self, rng: random.Random, place: int) -> list[str]:
        examples = [self.text.fresh(rng, "rule", 3) for _ in range(3)]
        query = self.text.fresh(rng, "rule", 3, unseen=True)
        return [
            "rule",
            ":",
            *(word for three in examples for word in (*three, "=", three[place], ";")),
            *query,
            "=",
            query[place],
        ]

    def _task(self, chance: float, items: list[tuple[list[str], int, float]]) -> Task:
        ids, answer = torch.tensor([self.encode(words) for words, _, _ in items]), items[0][1]
        return Task(ids[:, :-answer], ids[:, -answer:], chance, np.array([exposure for _, _, exposure in items]))
