"""The suite `symbols`: tasks over one shared vocabulary, their instructions, and the rows that a model is trained on.

Every task picks one symbol of its input and looks it up in a table: picking only (`pick_first`), looking up only
(`table_1`, `step_1`) or both (`last_table_1`). All inputs and outputs are the same symbols, so naming the set of
possible answers helps no task. A task is told by demonstrations (`x : y ; x : y ; x :`), by two instruction words
(`TABLE A x :`), and the tables are also stored as facts (`R1 x y`): the same knowledge, asked for without an
instruction. Picking the second or the middle symbol is told only: shown all picks, models of this size guessed among
the three that are not the last. `pick_first` is shown, and seed 2 alone learned it from demonstrations (the cards have
each task's numbers). The kinds of task follow Todd et al. 2024 (abstractive, extractive, composed); here all of them
are made up.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ...arguments import Count, Seed, door
from ..errors import OrganismError
from ..shipping import START, pseudowords

COLON, STOP = ":", ";"
FAMILIES = ("TABLE", "PICK", "STEP", "LAST")
MEMBERS = ("A", "B", "C", "D", "E", "F", "G", "H")  # G is in no instruction: a word that no model learned
SHORTEST, LONGEST = 3, 5


@dataclass(frozen=True)
class Ability:
    """One task: which symbol of the input it takes (`pick`), what it does with it (`table`), and its two instruction
    words.

    `pick` is "only" (inputs of one symbol), "first", "second", "middle" or "last" (lists of 3 to 5; the middle of four
    is the third); `table` numbers a stored bijection from 1, or is 0; `shift` moves along the cyclic order of the
    symbols. `shown`: whether training has demonstrations of it; the others are told by their instruction only.
    """

    name: str
    family: str
    member: str
    pick: str = "only"
    table: int = 0
    shift: int = 0
    shown: bool = True


OLD = (
    *(Ability(f"table_{k}", "TABLE", MEMBERS[k - 1], table=k) for k in range(1, 5)),
    *(
        Ability(f"pick_{pick}", "PICK", member, pick=pick, shown=pick in ("first", "last"))
        for pick, member in (("first", "B"), ("second", "D"), ("middle", "F"), ("last", "H"))
    ),
    *(
        Ability(f"step_{shift}".replace("-", "back_"), "STEP", member, shift=shift)
        for shift, member in ((1, "A"), (-1, "C"))
    ),
    *(
        Ability(f"last_table_{k}", "LAST", member, pick="last", table=k)
        for k, member in ((1, "A"), (2, "D"), (3, "E"), (4, "H"))
    ),
)
NEW = (
    Ability("table_5", "TABLE", "E", table=5),
    Ability("step_2", "STEP", "D", shift=2),
    Ability("table_6", "TABLE", "H", table=6),
    Ability("last_table_7", "LAST", "F", pick="last", table=7),
)
STORED, TABLES = 4, 7
PICKS = ("only", "first", "second", "middle", "last")


class Suite:
    """The tasks of one seed: the seed draws the stored bijections, everything else is the same for all.

    `symbols`: how many content symbols there are (all tasks read and answer with these).
    """

    @door(OrganismError)
    def __init__(self, seed: Seed = 0, symbols: Count = 48):
        self.seed, self.symbols = seed, symbols
        self.content = pseudowords(symbols)
        self.vocabulary = [
            START,
            COLON,
            STOP,
            *FAMILIES,
            *MEMBERS,
            *(f"R{k}" for k in range(1, STORED + 1)),
            *self.content,
        ]
        self.index = {word: number for number, word in enumerate(self.vocabulary)}
        generator = torch.Generator().manual_seed(10_000 + seed)
        self.tables = torch.stack(
            [torch.arange(symbols), *(torch.randperm(symbols, generator=generator) for _ in range(TABLES))]
        )
        self._first = self.index[self.content[0]]
        self._abilities = {ability.name: ability for ability in (*OLD, *NEW)}

    @property
    def names(self) -> list[str]:
        """The tasks that the shipped models were trained on."""
        return [ability.name for ability in OLD]

    @property
    def shown(self) -> list[str]:
        """Those of `names` that the models were shown by demonstrations; the others were told by their instruction
        only.
        """
        return [ability.name for ability in OLD if ability.shown]

    def new_tasks(self) -> list[str]:
        """Tasks that no shipped model has seen; each instruction begins with the word of an old family."""
        return [ability.name for ability in NEW]

    def families(self) -> dict[str, list[str]]:
        """The old tasks by the first word of their instruction."""
        return {family: [ability.name for ability in OLD if ability.family == family] for family in FAMILIES}

    @door(OrganismError)
    def ability(self, task: str) -> Ability:
        """The description of `task`; OrganismError for another name."""
        if task not in self._abilities:
            raise OrganismError(f"task={task!r} is not in the suite; expected one of {', '.join(self._abilities)}")
        return self._abilities[task]

    def instruction(self, task: str) -> str:
        """The two words that ask for `task`."""
        ability = self.ability(task)
        return f"{ability.family} {ability.member}"

    @door(OrganismError)
    def answer(self, task: str, x: str) -> str:
        """What `task` makes of the input text `x`."""
        ability, words = self.ability(task), x.split()
        if unknown := [word for word in words or [x] if word not in self.content]:
            raise OrganismError(
                f"x={x!r}: {unknown[0]!r} is no symbol of this suite; expected some of"
                f" {', '.join(self.content[:3])}, ..."
            )
        parts = [self.content.index(word) for word in words]
        place = {"only": 0, "first": 0, "second": 1, "middle": len(parts) // 2, "last": -1}[ability.pick]
        return self.content[(int(self.tables[ability.table][parts[place]]) + ability.shift) % self.symbols]

    @door(OrganismError)
    def pairs(self, task: str, count: Count = 200) -> list[tuple[str, str]]:
        """Inputs and answers as text: every symbol for tasks on one symbol, else `count` distinct random lists."""
        if self.ability(task).pick == "only":
            inputs = list(self.content)
        else:
            draw = random.Random(f"{self.seed} {task}")
            lists: dict[str, None] = {}
            while len(lists) < count:
                lists[" ".join(draw.sample(self.content, draw.randint(SHORTEST, LONGEST)))] = None
            inputs = list(lists)
        return [(x, self.answer(task, x)) for x in inputs]

    def facts(self) -> list[tuple[str, str]]:
        """The stored tables as knowledge: ("R1 x", "y") for every symbol of every table that was trained."""
        return [
            (f"R{k} {x}", self.content[int(self.tables[k][number])])
            for k in range(1, STORED + 1)
            for number, x in enumerate(self.content)
        ]

    # Training rows: token ids drawn directly, whole batches at a time.

    def draw(
        self, tasks: Tensor, generator: torch.Generator, among: tuple[Ability, ...] = OLD
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs for `tasks` [rows, items] (numbers in `among`): symbols [rows, items, 5], lengths and answers [rows,
        items].

        The symbol that decides the answer differs between the items of a row, so no answer can be copied from before.
        """
        rows, items = tasks.shape
        x = torch.rand(rows, items, self.symbols, generator=generator).topk(LONGEST, -1).indices
        deciding = torch.rand(rows, self.symbols, generator=generator).argsort(1)[:, :items]
        lengths = torch.randint(SHORTEST, LONGEST + 1, (rows, items), generator=generator)
        pick = torch.tensor([PICKS.index(ability.pick) for ability in among])[tasks]
        lengths = torch.where(pick == 0, 1, lengths)
        place = torch.stack(
            [torch.zeros_like(lengths), torch.zeros_like(lengths), torch.ones_like(lengths), lengths // 2, lengths - 1],
            -1,
        )
        place = place.gather(-1, pick[..., None])
        x = torch.where(x == deciding[..., None], x.gather(-1, place), x).scatter(-1, place, deciding[..., None])
        table = torch.tensor([ability.table for ability in among])[tasks]
        shift = torch.tensor([ability.shift for ability in among])[tasks]
        return x, lengths, (self.tables[table, deciding] + shift) % self.symbols

    def _pack(
        self, prefix: Tensor, x: Tensor, lengths: Tensor, y: Tensor, width: int, colon: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Ids and targets [rows, width] of items `prefix x : y ;` one after another, behind the start token; whole
        items only.
        """
        rows, items = y.shape
        mark = lambda word: torch.full((rows, items, 1), self.index[word])  # noqa: E731
        parts = [prefix, x + self._first, *([mark(COLON)] if colon else []), y[..., None] + self._first, mark(STOP)]
        tokens = torch.cat(parts, -1)
        here = torch.ones_like(tokens, dtype=torch.bool)
        at = prefix.shape[-1]
        here[..., at : at + x.shape[-1]] = torch.arange(x.shape[-1]) < lengths[..., None]
        target = torch.zeros_like(here)
        target[..., -2] = True
        ends = here.sum(-1).cumsum(1)
        here &= (ends <= width - 1)[..., None]
        tokens, here, target = (value.reshape(rows, -1) for value in (tokens, here, target & here))
        order = (~here).to(torch.uint8).argsort(dim=1, stable=True)[:, : width - 1]
        fits = here.gather(1, order)
        ids = torch.where(fits, tokens.gather(1, order), 0)
        targets = target.gather(1, order) & fits
        around = (1, width - 1 - ids.shape[1])  # the start token, and padding where the items fill less than the width
        return F.pad(ids, around), F.pad(targets, around)

    def icl_rows(self, count: int, width: int, generator: torch.Generator, items: int = 16) -> tuple[Tensor, Tensor]:
        """Rows of demonstrations of one task each: ids and targets [count, width]; targets mark every answer."""
        shown = torch.tensor([number for number, ability in enumerate(OLD) if ability.shown])
        tasks = shown[torch.randint(len(shown), (count, 1), generator=generator)].expand(count, items)
        return self._pack(torch.zeros(count, items, 0, dtype=torch.long), *self.draw(tasks, generator), width)

    def instruction_rows(
        self, count: int, width: int, generator: torch.Generator, items: int = 11
    ) -> tuple[Tensor, Tensor]:
        """Rows of items of mixed tasks, each behind its own instruction: ids and targets [count, width]."""
        tasks = torch.randint(len(OLD), (count, items), generator=generator)
        codes = torch.tensor([[self.index[ability.family], self.index[ability.member]] for ability in OLD])
        return self._pack(codes[tasks], *self.draw(tasks, generator), width)

    def fact_rows(self, count: int, width: int, generator: torch.Generator, items: int = 20) -> tuple[Tensor, Tensor]:
        """Rows of facts `R1 x y ;`: ids and targets [count, width]."""
        tables = torch.randint(1, STORED + 1, (count, items), generator=generator)
        x = torch.rand(count, self.symbols, generator=generator).argsort(1)[:, :items]
        prefix = self.index["R1"] - 1 + tables[..., None]
        return self._pack(prefix, x[..., None], torch.ones_like(x), self.tables[tables, x], width, colon=False)

    def prompts(
        self, task: str, kind: str, count: int, generator: torch.Generator, shots: int = 10
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Random prompts of one task: ids [count, width] (right padded), the answers' ids [count] and the lengths
        [count].

        `kind`: "icl" (`shots` demonstrations, then the query), "shuffled" (their answers permuted at random, so that
        about one stays right), "deranged" (permuted so that none does), "instruction" (the two words, then the query)
        or "zero_shot" (the query alone).
        """
        if kind not in ("icl", "shuffled", "deranged", "instruction", "zero_shot"):
            raise OrganismError(f"kind={kind!r}; expected 'icl', 'shuffled', 'deranged', 'instruction' or 'zero_shot'")
        ability = self.ability(task)
        items = 1 if kind in ("instruction", "zero_shot") else shots + 1
        x, lengths, y = self.draw(torch.zeros(count, items, dtype=torch.long), generator, (ability,))
        if kind == "shuffled":
            y = torch.cat([y[:, :-1].gather(1, torch.rand(count, shots, generator=generator).argsort(1)), y[:, -1:]], 1)
        if kind == "deranged":  # round a random ring, and the answers of a row differ where what decides them does
            ring = torch.rand(count, shots, generator=generator).argsort(1)
            y = torch.cat(
                [torch.empty_like(ring).scatter_(1, ring, y[:, :-1].gather(1, ring.roll(1, 1))), y[:, -1:]], 1
            )
        code = [self.index[ability.family], self.index[ability.member]] if kind == "instruction" else []
        prefix = torch.tensor(code, dtype=torch.long).expand(count, items, len(code))
        ids, targets = self._pack(prefix, x, lengths, y, 1 + items * (LONGEST + 3 + len(code)))
        last = targets.shape[1] - 1 - targets.flip(1).int().argmax(1)
        return torch.where(torch.arange(ids.shape[1]) < last[:, None], ids, 0), y[:, -1] + self._first, last
