"""The suite `verdicts`: symbols, what is stored of them, items of every task, and the rows that a model is trained on.

Twelve tasks with two or four answers, of three kinds: *stored* (the answer of each symbol or pair was drawn and must be
known), *rule* (it can be worked out of any new list) and *mixed* (a rule over something stored). Each is asked for by
two instruction words, of which there are two sets, or by one common word: inputs of all tasks differ in form or in
symbols, so that the task shows without its instruction.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from ... import training
from ...arguments import Count, Seed, door
from .. import suite
from ..errors import OrganismError
from ..shipping import START, pseudowords
from .tasks import ALPHABETS, BAR, BESIDE, BY_NAME, COMMON, FAMILIES, MARK, MEMBERS, NAMES, STORED_PAIRS, TASKS, WEIGHTS

COLON, STOP = ":", ";"
#: Draws without a new item of the smallest class after which it has no more.
MISSES = 500
#: How an item is asked: by its instruction, by the other wording of it, or by the common word.
Wording = Literal["instruction", "other", "common"]
WORDINGS: tuple[str, ...] = get_args(Wording)


@dataclass(frozen=True)
class Item:
    """One question of a task: its symbols and its answer, as words."""

    task: str
    words: tuple[str, ...]
    answer: str

    @property
    def deciding(self) -> str:
        """What decides the answer: the one symbol, where there is one, else all of them."""
        at = BY_NAME[self.task].decides
        return " ".join(self.words) if at is None else self.words[at]


class Suite(suite.Suite):
    """The tasks of one seed, which draws what is stored; symbols and words are the same for all."""

    @door(OrganismError)
    def __init__(self, seed: Seed = 0):
        self.seed = seed
        content = pseudowords(sum(ALPHABETS.values()))
        self.alphabets: dict[str, list[str]] = {}
        for name, size in ALPHABETS.items():
            self.alphabets[name], content = content[:size], content[size:]
        answers = dict.fromkeys(word for task in TASKS for word in task.answers)
        families = [word for pair in FAMILIES.values() for word in pair]
        members = [word for pair in MEMBERS.values() for word in pair]
        symbols = [word for alphabet in self.alphabets.values() for word in alphabet]
        super().__init__([START, COLON, STOP, COMMON, MARK, BAR, *families, *members, *answers, *symbols])
        self._store(random.Random(f"verdicts {seed}"))

    def _store(self, draw: random.Random) -> None:
        """Draws what is stored: the sets, the labels, the pairs, the table and the order."""
        by = self.alphabets
        self.stored: dict[str, dict[tuple[str, ...], str]] = {}
        for task in TASKS:
            if task.name in ("set_a", "set_b", "label", "image"):
                words = draw.sample(by[task.alphabet], len(by[task.alphabet]))
                kinds = task.answers
                self.stored[task.name] = {(w,): kinds[i % len(kinds)] for i, w in enumerate(words)}
        every = [(x, y) for x in by["S"] for y in by["S"] if x != y]
        self.stored["pairs"] = {
            p: BY_NAME["pairs"].answers[i % 2] for i, p in enumerate(draw.sample(every, STORED_PAIRS))
        }
        self.table = dict(zip(by["X"], draw.sample(by["X"], len(by["X"])), strict=True))
        members = {x for (x,), word in self.stored["image"].items() if word == BY_NAME["image"].answers[0]}
        # what is stored of an image is asked of the symbol that has it
        self.stored["image"] = {(x,): BY_NAME["image"].answers[0 if self.table[x] in members else 1] for x in by["X"]}
        self._asked = {task: list(of) for task, of in self.stored.items()}
        ranks = draw.sample(range(len(by["Y"])), len(by["Y"]))
        self.rank = dict(zip(by["Y"], ranks, strict=True))

    def answer(self, task: str, words: Sequence[str]) -> str:
        """The right answer.

        Raises: OrganismError: an unknown task, or words of which nothing is stored.
        """
        kind, words = self._task(task), tuple(words)
        if task in self.stored:
            if words not in self.stored[task]:
                raise OrganismError(
                    f"words={words!r} are not stored for task={task!r}; give one of suite.stored[{task!r}]."
                )
            return self.stored[task][words]
        if task == "last_in_a":
            inside = self.stored["set_a"][words[-1:]] == BY_NAME["set_a"].answers[0]
        elif task == "ends":
            inside = words[0] == words[-1]
        elif task == "repeat":
            inside = any(x == y for x, y in itertools.pairwise(words))
        elif task == "parity":
            inside = words.count(MARK) % 2 == 0
        elif task == "longer":
            inside = words.index(BAR) > len(words) - 1 - words.index(BAR)
        elif task == "fact":
            inside = self.table[words[0]] == words[1]
        else:
            inside = self.rank[words[0]] < self.rank[words[1]]
        return kind.answers[0 if inside else 1]

    def _task(self, task: str):
        if task not in BY_NAME:
            raise OrganismError(f"task={task!r} is not in the suite; expected one of {', '.join(NAMES)}.")
        return BY_NAME[task]

    def draw(self, task: str, draw: random.Random) -> Item:
        """One item; the classes of its answer are equally frequent."""
        kind = self._task(task)
        letters, yes = self.alphabets[kind.alphabet], draw.random() < 0.5
        if task in self.stored:
            words = draw.choice(self._asked[task])
        elif task in ("last_in_a", "ends", "repeat"):
            words = tuple(draw.sample(letters, draw.randint(3, 5)))
            if task == "ends" and yes:
                words = (*words[:-1], words[0])
            elif task == "repeat" and yes:
                at = draw.randrange(len(words) - 1)
                words = (*words[: at + 1], words[at], *words[at + 2 :])
        elif task == "parity":
            count = draw.choice((0, 2)) if yes else 1
            shuffled = [MARK] * count + draw.sample(letters, draw.randint(3, 5) - count)
            draw.shuffle(shuffled)
            words = tuple(shuffled)
        elif task == "longer":
            few = draw.randint(1, 2)
            sizes = (draw.randint(few + 1, 4), few) if yes else (few, draw.randint(few + 1, 4))
            words = (*draw.sample(letters, sizes[0]), BAR, *draw.sample(letters, sizes[1]))
        elif task == "fact":
            x = draw.choice(letters)
            y = self.table[x]
            words = (x, y if yes else draw.choice([z for z in letters if z != y]))
        else:
            words = tuple(draw.sample(letters, 2))
        return Item(task, words, self.answer(task, words))

    @door(OrganismError)
    def items(self, task: str, count: Count, seed: Seed = 0) -> list[Item]:
        """So many different items of a task, its answers equally frequent; of what is stored at most all there is."""
        self._task(task)
        draw = random.Random(f"{self.seed} {task} items {seed}")
        if task in self.stored:
            every = [Item(task, words, answer) for words, answer in self.stored[task].items()]
            draw.shuffle(every)
            by = {a: [item for item in every if item.answer == a] for a in BY_NAME[task].answers}
            mixed = [item for group in zip(*by.values(), strict=False) for item in group]
            return mixed[:count]
        by_answer: dict[str, dict[Item, None]] = {answer: {} for answer in BY_NAME[task].answers}
        wanted, misses = -(-count // len(by_answer)), 0
        # a right fact is one of few: where no new item comes the smallest class says how many there are of each
        while min(map(len, by_answer.values())) < wanted and misses < MISSES:
            item = self.draw(task, draw)
            of = by_answer[item.answer]
            before = min(map(len, by_answer.values()))
            if len(of) < wanted:
                of[item] = None
            misses = misses + 1 if min(map(len, by_answer.values())) == before else 0
        least = min(map(len, by_answer.values()))
        there = [item for of in by_answer.values() for item in list(of)[:least]][:count]
        draw.shuffle(there)
        return there

    def prefix(self, task: str, wording: str = "instruction") -> tuple[str, ...]:
        """The words before an item's symbols.

        Raises: OrganismError: an unknown wording.
        """
        if wording not in WORDINGS:
            raise OrganismError(f"wording={wording!r}; expected one of {', '.join(WORDINGS)}.")
        if wording == "common":
            return (COMMON,)
        form = {"table": "single", "pick_last": "list"}.get(task) or BY_NAME[task].form
        which = WORDINGS.index(wording)
        return (FAMILIES[form][which], MEMBERS[task][which])

    def prompt(self, item: Item, wording: str = "instruction", before: Sequence[Item] = ()) -> list[int]:
        """The ids of a question behind the start token, after those of demonstrations with their answers."""
        words = [START]
        for shown in before:
            words += [*self.prefix(shown.task, wording), *shown.words, COLON, shown.answer, STOP]
        words += [*self.prefix(item.task, wording), *item.words, COLON]
        return [self.index[word] for word in words]

    def beside(self, task: str, draw: random.Random) -> Item:
        """One item of the tasks that are asked beside the verdicts: a look-up in the table, the last of a list."""
        if task == "table":
            x = draw.choice(self.alphabets["X"])
            return Item(task, (x,), self.table[x])
        words = tuple(draw.sample(self.alphabets["U"], draw.randint(3, 5)))
        return Item(task, words, words[-1])

    def row(self, draw: random.Random, tasks: Sequence[str], width: int) -> tuple[list[int], list[int]]:
        """One row of training: items behind the start token, and where their answers stand. Half of the rows mix tasks,
        the other half stay with one.
        """
        ids: list[int] = [0]
        answers: list[int] = []
        often = [WEIGHTS.get(task, 1) for task in tasks]
        one = draw.choices(tasks, often)[0] if draw.random() < 0.5 else None
        wording = draw.choice(WORDINGS)
        while True:
            task = one or draw.choices(tasks, often)[0]
            if one is None:
                wording = draw.choice(WORDINGS)
            item = self.beside(task, draw) if task in BESIDE else self.draw(task, draw)
            prefix = self.prefix(task, "instruction" if task in BESIDE and wording == "common" else wording)
            more = self.ids([*prefix, *item.words, COLON, item.answer, STOP])
            if len(ids) + len(more) > width:
                return ids, answers
            ids += more
            answers.append(len(ids) - 2)

    def rows(self, count: int, width: int, tasks: Sequence[str], generator: torch.Generator) -> training.Rows:
        """Rows of training, padded to the longest; the answers count."""
        draw = random.Random(int(torch.randint(2**62, (1,), generator=generator)))
        parts = [self.row(draw, tasks, width) for _ in range(count)]
        longest = max(len(ids) for ids, _ in parts)
        ids = torch.zeros(count, longest, dtype=torch.long)
        targets = torch.zeros(count, longest, dtype=torch.bool)
        for number, (row, answers) in enumerate(parts):
            ids[number, : len(row)] = torch.tensor(row)
            targets[number, answers] = True
        return training.Rows(ids, targets, torch.tensor([len(row) for row, _ in parts]))
