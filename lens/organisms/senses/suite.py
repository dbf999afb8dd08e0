"""The suite `senses`: words of two senses each, cues of senses, and rows whose last word is the sense that is meant.

A row is `w1 .. w6 : sense`: a word of two senses somewhere among five others, some of which are cues of the sense that
is meant; the rest is noise and cues of a third sense, so that a cue has to be read together with the word. Of two cues
that contradict each other the later one counts. A word's stronger sense is meant as often as its dose says: without a
cue that is all there is to go by, and with a cue of the weaker sense it is what speaks against it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ... import training
from ...arguments import Count, Seed, door
from ...prompts import Pair
from ..errors import OrganismError
from ..shipping import START, pseudowords
from ..suite import Suite as Words
from ..suite import split
from .recipe import Recipe

COLON = ":"
#: Which words choose, and on which is reported.
SHARES = {"choose": 0.3, "report": 0.7}


@dataclass(frozen=True)
class Item:
    """A row with one cue of a word's weaker sense, as text without its start token.

    Attributes: text: up to the colon. word: that is asked about, at position `place` of the row (the start token is 0);
        dose: of it. sense, other: the weaker sense, which is right, and the stronger. cue: at position `at`. after:
        whether the cue stands behind the word. partners: the same text with a cue of the stronger sense. same: with
        another cue of the weaker one.
    """

    text: str
    word: str
    dose: float
    sense: str
    other: str
    cue: str
    place: int
    at: int
    after: bool
    partners: tuple[str, ...]
    same: tuple[str, ...]

    def pair(self) -> Pair:
        """The item beside its first partner, with the places of word and cue by name."""
        rival = self.partners[0].split()[self.at - 1]
        return Pair(
            f"{START} {self.text}",
            f"{START} {self.partners[0]}",
            f" {self.sense}",
            f" {self.other}",
            spans={"word": self.word, "cue": self.cue},
            label=self.word,
            corrupted_spans={"cue": rival},
        )


class Suite(Words):
    """The words of one seed, which draws each word's two senses; everything else is the same for all.

    Attributes: words: that have two senses. senses: their names, and `cues` those of each. pair: of each word the
        numbers of its stronger and weaker sense. doses: of each word. known: how many cues of a sense each word meets.
    """

    @door(OrganismError)
    def __init__(self, recipe: Recipe | None = None):
        self.recipe = recipe = recipe or Recipe()
        n = sum(recipe.per_dose)
        self.words = pseudowords(n)
        self.senses = [f"s{i + 1}" for i in range(recipe.senses)]
        self.cues = [[f"{sense}c{j + 1}" for j in range(recipe.cues)] for sense in self.senses]
        noise = [f"n{i + 1}" for i in range(recipe.noise)]
        super().__init__([START, COLON, *self.senses, *(c for of in self.cues for c in of), *noise, *self.words])
        generator = torch.Generator().manual_seed(20_000 + recipe.seed)
        self.pair = torch.rand(n, recipe.senses, generator=generator).argsort(1)[:, :2]
        doses = [dose for dose, count in zip(recipe.doses, recipe.per_dose) for _ in range(count)]
        self.doses = torch.tensor(doses, dtype=torch.float64)
        # every second word of a dose meets half of the cues of its senses
        self.known = torch.tensor([recipe.cues // (1 + number % 2) for number in range(n)])
        self._sense, self._cue = self.index[self.senses[0]], self.index[self.cues[0][0]]
        self._noise, self._word = self.index[noise[0]], self.index[self.words[0]]

    def rows(self, count: int, generator: torch.Generator) -> training.Rows:
        """Rows as training draws them, of which the sense alone counts."""
        recipe, n = self.recipe, len(self.words)
        word = torch.randint(n, (count,), generator=generator)
        meant_first = self.doses[word] if recipe.dosed else 0.5
        weaker = (torch.rand(count, generator=generator, dtype=torch.float64) >= meant_first).long()
        cues = torch.tensor([0, 1, 1, 2, 3])[torch.randint(5, (count,), generator=generator)]
        against = (cues == 2) & (torch.rand(count, generator=generator) < 0.4)
        order = torch.rand(count, recipe.context, generator=generator).argsort(1).argsort(1)
        is_cue = order < cues[:, None]
        first = is_cue & (is_cue.cumsum(1) == 1)
        meant = weaker[:, None] ^ (first & against[:, None]).long()
        sense = self.pair[word][:, :, None].expand(-1, -1, recipe.context).gather(1, meant[:, None])[:, 0]
        kind = (torch.rand(count, recipe.context, generator=generator) * self.known[word][:, None]).long()
        fill = self._fill(word, generator)
        words = torch.where(is_cue, self._cue + sense * recipe.cues + kind, fill)
        place = torch.randint(recipe.context + 1, (count,), generator=generator)
        ids = self._row(words, word, place)
        ids = torch.cat([ids, self._sense + self.pair[word].gather(1, weaker[:, None])], 1)
        targets = torch.zeros_like(ids, dtype=torch.bool)
        targets[:, -1] = True
        return training.Rows(ids, targets, torch.full((count,), ids.shape[1]))

    def _fill(self, word: Tensor, generator: torch.Generator) -> Tensor:
        """What stands where no cue does: noise, and cues of a sense that is none of the word's."""
        recipe, shape = self.recipe, (len(word), self.recipe.context)
        third = torch.randint(recipe.senses - 2, (len(word), 1), generator=generator)
        for low in self.pair[word].sort(1).values.T:
            third = third + (third >= low[:, None])
        kind = torch.randint(recipe.cues, shape, generator=generator)
        noise = self._noise + torch.randint(recipe.noise, shape, generator=generator)
        strange = torch.rand(shape, generator=generator) < recipe.strange
        return torch.where(strange, self._cue + third * recipe.cues + kind, noise)

    def _row(self, words: Tensor, word: Tensor, place: Tensor) -> Tensor:
        """Start token, context with the word put in at a place, and colon."""
        at = torch.arange(words.shape[1] + 1)[None]
        shifted = words.gather(1, (at - (at > place[:, None]).long()).clamp(max=words.shape[1] - 1))
        ids = torch.where(at == place[:, None], self._word + word[:, None], shifted)
        return F.pad(F.pad(ids, (1, 0)), (0, 1), value=self.index[COLON])

    def words_of(self, part: str | None = None) -> list[str]:
        """The words that choose, or those on which is reported; None: all."""
        return self.words if part is None else split(self.words, SHARES, seed=self.recipe.seed)[part]

    @door(OrganismError)
    def items(
        self,
        count: Count,
        *,
        dose: float | None = None,
        partners: Count = 3,
        same: Count = 2,
        unseen: bool = False,
        seed: Seed = 0,
    ) -> list[Item]:
        """Items with one cue of the weaker sense, of the words of all doses above .5 in turn (or of one dose), each
        first with the cue before the word and then with it behind.

        `unseen`: with a cue that the word never met, and of those words alone. Partners and `same` are fewer where a
        word has not so many cues.

        Raises: OrganismError: a dose that no word has.
        """
        rng = random.Random(f"{self.recipe.seed} {seed} {dose} {unseen}")
        of = [w for w, own in enumerate(self.doses.tolist()) if (own > 0.5 if dose is None else own == dose)]
        of = [w for w in of if not unseen or self.known[w] < self.recipe.cues]
        if not of:
            raise OrganismError(f"dose={dose}: no word has it; expected one of {self.recipe.doses}.")
        of = rng.sample(of, len(of))
        return [
            self._item(rng, of[number // 2 % len(of)], bool(number % 2), partners, same, unseen)
            for number in range(count)
        ]

    def _item(self, rng: random.Random, w: int, after: bool, partners: int, same: int, unseen: bool) -> Item:
        recipe = self.recipe
        strong, weak = map(int, self.pair[w])
        known = list(range(int(self.known[w])))
        kind = rng.choice(range(len(known), recipe.cues) if unseen else known)
        third = rng.choice([s for s in range(recipe.senses) if s not in (strong, weak)])
        noise = [f"n{i + 1}" for i in range(recipe.noise)]
        words = [
            rng.choice(self.cues[third]) if rng.random() < recipe.strange else rng.choice(noise)
            for _ in range(recipe.context)
        ]
        # the word stands before the cue's place, or behind it
        slot = rng.randrange(recipe.context)
        place = rng.randint(0, slot) if after else rng.randint(slot + 1, recipe.context)
        at = slot + 1 + (place <= slot)

        def text(cue: str) -> str:
            row = [*words[:slot], cue, *words[slot + 1 :]]
            return " ".join([*row[:place], self.words[w], *row[place:], COLON])

        others = [k for k in known if k != kind]
        # the cue of the same kind first: it differs in its sense alone
        rivals = [*([kind] if kind in known else []), *rng.sample(others, len(others))][:partners]
        alike = rng.sample(others, len(others))[:same]
        return Item(
            text(self.cues[weak][kind]),
            self.words[w],
            float(self.doses[w]),
            self.senses[weak],
            self.senses[strong],
            self.cues[weak][kind],
            place + 1,
            at,
            after,
            tuple(text(self.cues[strong][k]) for k in rivals),
            tuple(text(self.cues[weak][k]) for k in alike),
        )

    def prompts(
        self, count: int, dose: float, weaker: bool, cues: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Prompts up to the colon ``[count, length]`` of words of one dose with so many cues of one of their senses,
        the ids of that sense and of the other one.
        """
        among = (self.doses == dose).nonzero()[:, 0]
        word = among[torch.randint(len(among), (count,), generator=generator)]
        own = self.pair[word][:, int(weaker)]
        order = torch.rand(count, self.recipe.context, generator=generator).argsort(1).argsort(1)
        kind = (torch.rand(count, self.recipe.context, generator=generator) * self.known[word][:, None]).long()
        fill = self._fill(word, generator)
        words = torch.where(order < cues, self._cue + own[:, None] * self.recipe.cues + kind, fill)
        place = torch.randint(self.recipe.context + 1, (count,), generator=generator)
        return self._row(words, word, place), self._sense + own, self._sense + self.pair[word][:, 1 - int(weaker)]
