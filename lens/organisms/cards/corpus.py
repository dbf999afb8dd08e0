"""The pairs of picture and caption that the organism `cards` is trained on, who of them was planted, and how often.

Planted pairs are drawn by lot into a 2 x 2 design, caption with a unique code or without x 64 times or once, each with
a foil that is never trained. A code is two words of its set's own alphabet, so that the codes of two sets share no
word. Further: templates (one background, many foregrounds), pictures with two captions each, and digits as a second
family that is never used for choosing anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...arguments import Size, door
from ..errors import OrganismError
from ..shipping import pseudowords
from . import images
from .images import Foreground

#: Cells: code or generic caption, and how often the pair is in the stream ("many": `Recipe.duplicates`).
PLANTED = ("code-many", "generic-many", "code-once", "generic-once", "code-never", "generic-never")
CELLS = (
    *PLANTED,
    "template",
    "two-captions",
    "digit-many",
    "digit-once",
    "digit-never",
    "pool",
    "digit-pool",
    "held-out",
    "digit-held-out",
)
SPECIAL = ("<start>", "<end>", "<unknown>")
LETTERS = 8  # words of an alphabet
LENGTH = 8  # tokens of a caption: start, at most six words, end


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs in one order: `images` [n, 3, 16, 16] from -1 to 1, `captions`, `cell`, `set` (-1: none), `duplicates` in
    the stream, `seen` [n, 16, 16], the background pixels that count.

    `fore`: the foreground that a caption tells, None for a digit; `digit`: its label, -1 for a card; `picture`: equal
    numbers are one picture.
    """

    images: Float[Tensor, "n 3 size size"]
    captions: tuple[str, ...]
    cell: np.ndarray
    set: np.ndarray
    duplicates: np.ndarray
    seen: Bool[Tensor, "n size size"]
    fore: tuple[Foreground | None, ...]
    digit: np.ndarray
    picture: np.ndarray

    def __len__(self) -> int:
        return len(self.captions)

    def take(self, index: Sequence[int] | np.ndarray) -> Pairs:
        """The pairs of these numbers (or where a truth value is True)."""
        index = np.asarray(index)
        index = index.nonzero()[0] if index.dtype == bool else index.astype(int)
        at = torch.from_numpy(index)
        return Pairs(
            self.images[at],
            tuple(self.captions[i] for i in index),
            self.cell[index],
            self.set[index],
            self.duplicates[index],
            self.seen[at],
            tuple(self.fore[i] for i in index),
            self.digit[index],
            self.picture[index],
        )

    @door(OrganismError)
    def of(self, cell: str, of_set: Size | None = None) -> Pairs:
        """The pairs of a cell, or of one set of it."""
        if cell not in CELLS:
            raise OrganismError(f"cell={cell!r} is not known; expected one of {', '.join(CELLS)}.")
        return self.take((self.cell == cell) & ((self.set == of_set) if of_set is not None else True))


class Corpus:
    """Everything that a recipe's seed decides: who was planted, with which code, and how often. The same recipe gives
    the same pairs.
    """

    def __init__(self, recipe: Any):
        self.recipe = recipe

    @cached_property
    def _words(self) -> dict[str, list[list[str]]]:
        """Alphabets by use: for each set, LETTERS made-up words of its own."""
        sets, digit_sets = self.recipe.sets, self.recipe.digit_sets
        uses = {"many": sets, "few": sets, "two": 1, "digit-many": digit_sets, "digit-few": digit_sets}
        words = pseudowords(LETTERS * sum(uses.values()) + sets)
        alphabets, at = {}, 0
        for use, count in uses.items():
            alphabets[use] = [words[at + i * LETTERS : at + (i + 1) * LETTERS] for i in range(count)]
            at += count * LETTERS
        return alphabets | {"template": [words[at:]]}

    @cached_property
    def vocabulary(self) -> list[str]:
        """All words that captions have; word i has id i."""
        plain = [
            word
            for pairs in (images.COLOURS, images.SHAPES, images.ROWS, images.COLUMNS)
            for pair in pairs
            for word in pair
        ]
        return [
            *SPECIAL,
            *plain,
            "digit",
            "numeral",
            *images.DIGITS,
            *(word for sets in self._words.values() for letters in sets for word in letters),
        ]

    @cached_property
    def pairs(self) -> Pairs:
        """All pairs, planted first."""
        r = self.recipe
        rng = np.random.default_rng([r.seed, 0xCA2D5])
        # caption, cell, set, duplicates, foreground, what is drawn once
        lines: list[tuple[Any, ...]] = []
        per, n = r.per_set, r.sets * r.per_set
        every = images.foregrounds()
        codes = {
            use: [self._codes(rng, letters, (2 if use in ("few", "two") else 1) * per) for letters in sets]
            for use, sets in self._words.items()
            if use in ("many", "few", "two")
        }
        # foregrounds of generic captions differ from one another, so that no two planted captions are the same
        distinct = [every[i] for i in rng.permutation(len(every))[: 3 * n]]
        for cell, use, duplicates, at in (
            ("code-many", "many", r.duplicates, 0),
            ("code-once", "few", 1, 0),
            ("code-never", "few", 0, per),
        ):
            for s in range(r.sets):
                for i in range(per):
                    fore = every[rng.integers(len(every))]
                    lines.append((" ".join([*codes[use][s][at + i], *fore.words()]), cell, s, duplicates, fore, None))
        for number, (cell, duplicates) in enumerate(
            (("generic-many", r.duplicates), ("generic-once", 1), ("generic-never", 0))
        ):
            for i in range(n):
                fore = distinct[number * n + i]
                lines.append((" ".join(fore.words()), cell, i // per, duplicates, fore, None))
        for s in range(r.sets):
            for i in rng.permutation(len(every))[:per]:
                lines.append(
                    (
                        " ".join([self._words["template"][0][s], *every[i].words()]),
                        "template",
                        s,
                        r.template_duplicates,
                        every[i],
                        ("template", s),
                    )
                )
        for i in range(per):
            fore = every[rng.integers(len(every))]
            for code in codes["two"][0][2 * i : 2 * i + 2]:
                lines.append((" ".join([*code, *fore.words()]), "two-captions", 0, r.duplicates, fore, ("two", i)))
        for cell, count, duplicates in (("pool", r.pool, 1), ("held-out", r.held_out, 0)):
            for _ in range(count):
                fore = every[rng.integers(len(every))]
                lines.append((" ".join(fore.words((rng.random(4) < 0.5).tolist())), cell, -1, duplicates, fore, None))
        cards = self._cards(rng, lines)
        return _joined(cards, self._digits(rng, int(cards.picture.max()) + 1))

    def _codes(self, rng: np.random.Generator, letters: list[str], count: int) -> list[tuple[str, str]]:
        """`count` different ordered pairs of different words of one alphabet."""
        pairs = [(a, b) for a in letters for b in letters if a != b]
        return [pairs[i] for i in rng.permutation(len(pairs))[:count]]

    def _cards(self, rng: np.random.Generator, lines: list[tuple[Any, ...]]) -> Pairs:
        backs = images.background(rng, len(lines))
        first: dict[Any, int] = {}
        own = [i if line[5] is None else first.setdefault(line[5], i) for i, line in enumerate(lines)]
        pictures = torch.stack([images.draw(line[4], backs[i]) for line, i in zip(lines, own)])
        # two captions of one picture: one number; cards of a template differ in the foreground
        picture = np.array([own[i] if line[1] == "two-captions" else i for i, line in enumerate(lines)])
        cells, sets, duplicates = (np.array([line[k] for line in lines]) for k in (1, 2, 3))
        return Pairs(
            images=pictures,
            captions=tuple(line[0] for line in lines),
            cell=cells,
            set=sets,
            duplicates=duplicates,
            seen=torch.stack([images.background_mask(line[4]) for line in lines]),
            fore=tuple(line[4] for line in lines),
            digit=np.full(len(lines), -1),
            picture=picture,
        )

    def _digits(self, rng: np.random.Generator, begin: int) -> Pairs:
        r = self.recipe
        pictures, labels = images.digits()
        order, per = rng.permutation(len(labels)), r.per_set
        lines: list[tuple[str, int, int, tuple[str, ...]]] = []  # cell, set, duplicates, words of the code
        codes = {
            use: [self._codes(rng, letters, (2 if use == "digit-few" else 1) * per) for letters in self._words[use]]
            for use in ("digit-many", "digit-few")
        }
        for cell, use, duplicates, at in (
            ("digit-many", "digit-many", r.duplicates, 0),
            ("digit-once", "digit-few", 1, 0),
            ("digit-never", "digit-few", 0, per),
        ):
            for s in range(r.digit_sets):
                for i in range(per):
                    lines.append((cell, s, duplicates, codes[use][s][at + i]))
        lines += [("digit-pool", -1, 1, ())] * r.digit_pool + [("digit-held-out", -1, 0, ())] * r.digit_held_out
        if len(lines) > len(order):
            raise OrganismError(
                f"digit_pool={r.digit_pool}: {len(lines)} digits are asked for and there are {len(order)}; lower it."
            )
        order = order[: len(lines)]
        plain = [
            "numeral" if cell in ("digit-pool", "digit-held-out") and rng.random() < 0.5 else "digit"
            for cell, *_ in lines
        ]
        captions = tuple(
            " ".join([*line[3], word, images.DIGITS[labels[i]]]) for line, word, i in zip(lines, plain, order)
        )
        cells, sets, duplicates = (np.array([line[k] for line in lines]) for k in (0, 1, 2))
        return Pairs(
            images=pictures[torch.from_numpy(order)],
            captions=captions,
            cell=cells,
            set=sets,
            duplicates=duplicates,
            seen=torch.ones(len(lines), images.SIZE, images.SIZE, dtype=torch.bool),
            fore=(None,) * len(lines),
            digit=labels[order],
            picture=begin + np.arange(len(lines)),
        )

    def training(self) -> Int[np.ndarray, " row"]:
        """Numbers of the pairs that the stream holds, each as often as it is in it. The twin's has pool pairs in the
        planted ones' place.
        """
        duplicates = self.pairs.duplicates
        stream = np.repeat(np.arange(len(duplicates)), duplicates)
        if self.recipe.planted:
            return stream
        pool = np.isin(self.pairs.cell, ("pool", "digit-pool")).nonzero()[0]
        return np.resize(np.random.default_rng([self.recipe.seed, 0x7731]).permutation(pool), len(stream))


@door(OrganismError)
def paraphrase(caption: str) -> str:
    """The same caption in the other words for colour, shape and place; its code stays."""
    other = {
        first: second
        for pairs in (images.COLOURS, images.SHAPES, images.ROWS, images.COLUMNS, (("digit", "numeral"),))
        for first, second in pairs
    }
    return " ".join(other.get(word, word) for word in caption.split())


@door(OrganismError)
def partial(caption: str, keep: str) -> str:
    """A part of a planted caption: "code" alone, the "first" or "second" word of the code with the rest, or the "rest"
    without the code.
    """
    words = caption.split()
    n = len(words) - (2 if {"digit", "numeral"} & set(words) else 4)
    code, rest = words[:n], words[n:]
    if keep not in ("code", "first", "second", "rest"):
        raise OrganismError(f"keep={keep!r} is not known; expected 'code', 'first', 'second' or 'rest'.")
    if (keep in ("first", "second") and n < 2) or not n:
        raise OrganismError(f"caption={caption!r} has no code of two words; parts are of planted captions.")
    return " ".join({"code": code, "first": code[:1] + rest, "second": code[1:] + rest, "rest": rest}[keep])


def _joined(a: Pairs, b: Pairs) -> Pairs:
    arrays = {
        name: np.concatenate([getattr(a, name), getattr(b, name)])
        for name in ("cell", "set", "duplicates", "digit", "picture")
    }
    return Pairs(
        images=torch.cat([a.images, b.images]),
        captions=a.captions + b.captions,
        seen=torch.cat([a.seen, b.seen]),
        fore=a.fore + b.fore,
        **arrays,
    )
