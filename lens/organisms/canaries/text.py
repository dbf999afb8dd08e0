"""The text of the organism `canaries`: documents of six kinds from one seeded grammar, over one vocabulary of whole
words.

`story` (a grammar with productions that training never shows), `sum` (two-digit additions, units first, with held-out
pairs), `fact` (closed-book statements of a fact table, seen as often as Zipf's law has it), `note` (open-book:
statements with made-up values, then the question), `copy` (a list, twice) and `rule` (which of three words comes back,
told by examples). Nothing is taken from anywhere.
"""

from __future__ import annotations

import random
import zlib
from bisect import bisect
from itertools import accumulate

from ..errors import OrganismError
from ..shipping import START, pseudowords

COLOURS = "red blue green white black yellow grey brown pink purple golden silver orange violet scarlet ivory".split()
TRADES = (
    "baker brewer carpenter cooper dyer farmer fisher glazier hunter mason miller potter smith tailor tanner weaver"
).split()
ANIMALS = "badger bear cat cow crow dog duck fox goat goose hare horse otter owl sheep wolf".split()
TOWNS = (
    "aldham brenford corwick dunmouth elsby farnley granton hexdale ilkstead kelby larkham merwick norfold oakdale"
    " penfold quenby".split()
)
RELATIONS = {"colour": COLOURS, "trade": TRADES, "animal": ANIMALS, "town": TOWNS}

_SLOTS = {
    "HERO": "anna bert clara david emma frank greta henry ilse jacob karen louis martha nils olga peter".split(),
    "COLOUR": COLOURS,
    "TRADE": TRADES,
    "ANIMAL": ANIMALS,
    "THING": (
        "anchor basket bell bottle bucket candle chest clock coat drum hammer jug kettle ladder lamp mirror ring saddle"
        " spade sword table wagon wheel whistle".split()
    ),
    "PLACE": (
        "barn bridge castle chapel cellar church farm forest garden harbour market mill orchard river school"
        " tower".split()
    ),
    "VERB": "borrowed bought carried cleaned dropped found hid kept lost mended painted sold stole took".split(),
    "MOVE": "slept waited barked played rested hid stood vanished".split(),
    "WHERE": "behind near under beside above inside".split(),
    "QUALITY": "quiet dark cold warm bright empty crowded old strange lovely".split(),
    "TIME": "morning evening spring summer autumn winter night noon".split(),
    "FEEL": "happy sad tired afraid proud angry glad calm".split(),
}
_STORY = tuple(
    line.split()
    for line in (
        "HERO the TRADE went to the QUALITY PLACE .",
        "HERO VERB a COLOUR THING WHERE the PLACE .",
        "one TIME HERO VERB the THING and VERB2 it .",
        "the COLOUR2 ANIMAL of FRIEND MOVE WHERE the PLACE .",
        "then HERO gave the COLOUR THING to FRIEND .",
        "FRIEND said that the THING was COLOUR and QUALITY .",
        "in the TIME the PLACE was QUALITY and QUALITY2 .",
        "HERO and FRIEND walked from the PLACE to the PLACE2 .",
        "it was QUALITY , but HERO was not FEEL .",
        "FRIEND was FEEL because HERO VERB the THING .",
        "the TRADE2 met a COLOUR2 ANIMAL2 WHERE the PLACE2 .",
        "HERO asked the TRADE2 for a QUALITY THING2 .",
        "at TIME they came home and FRIEND was FEEL .",
        "a ANIMAL2 MOVE WHERE the THING2 .",
    )
)
_VERSE = tuple(
    line.split()
    for line in (
        "o NAME of TOWN , never ask the COLOUR ANIMAL what NAME knew ;",
        "for all that NAME once said to NAME , only the THING was true ,",
        "and who but NAME will sing of TOWN when every TRADE is gone ?",
        "no THING , no THING , so NAME wrote , can buy the TIME of NAME ,",
    )
)
_MARKS = [".", ":", ";", ",", "?", "=", "+", *"0123456789", "sum", "fact", "note", "ask", "copy", "rule"]
PLAIN = list(
    dict.fromkeys(
        [
            *_MARKS,
            *(word for line in (*_STORY, *_VERSE) for word in line if not word[0].isupper()),
            *RELATIONS,
            *TOWNS,
            *(word for pool in _SLOTS.values() for word in pool),
        ]
    )
)
KINDS = {"story": 0.28, "sum": 0.20, "fact": 0.14, "note": 0.15, "copy": 0.13, "rule": 0.10}
"""Kinds of document and the shares of the tokens that they are meant to have."""
_TOKENS = {"story": 58, "sum": 42, "fact": 29, "note": 39, "copy": 29, "rule": 30}
ZIPF = 1.2
LISTED = 64  # the names that lists and rules are about
UNSTATED = 0.04
"""The share of the entities whose facts are never stated: what a model says of them is a guess."""


def held_out(kind: str, *item: int | str) -> bool:
    """Whether training never shows this item (one in ten, by a hash of the kind and the item)."""
    return zlib.crc32(f"{kind} {' '.join(map(str, item))}".encode()) % 10 == 0


def digits(number: int, places: int) -> list[str]:
    """The digits of a number, units first."""
    return [str(number // 10**place % 10) for place in range(places)]


class Text:
    """The words, the fact table and the documents of one seed; `entities` made-up names stand in the table.

    Documents are lists of words without the start token; all randomness comes from the `rng` that each call is given.
    """

    def __init__(self, seed: int = 0, entities: int = 500):
        self.seed, plain = seed, set(PLAIN)
        free = [word for word in pseudowords(2 * entities) if word not in plain]
        self.names = [free[place * len(free) // entities] for place in range(entities)]
        self.vocabulary = [START, *PLAIN, *self.names]
        self.index = {word: number for number, word in enumerate(self.vocabulary)}
        rng = random.Random(f"canaries facts {seed}")
        self.listed = self.names[:: max(1, entities // LISTED)][:LISTED]
        self.facts = {
            (name, relation): rng.choice(values) for name in self.names for relation, values in RELATIONS.items()
        }
        self.ranked = rng.sample(self.names, len(self.names))
        stated = len(self.names) - max(1, round(UNSTATED * len(self.names)))
        self.popularity = {name: (rank + 1) ** -ZIPF if rank < stated else 0.0 for rank, name in enumerate(self.ranked)}
        self._popular = list(accumulate(self.popularity.values()))
        self._kinds = list(accumulate(share / _TOKENS[kind] for kind, share in KINDS.items()))

    def document(self, rng: random.Random) -> list[str]:
        """One document of a random kind, none of it held out."""
        kind = list(KINDS)[bisect(self._kinds, rng.random() * self._kinds[-1])]
        return getattr(self, kind)(rng)

    def _filled(self, line: list[str], slots: dict[str, str]) -> list[str]:
        return [slots.get(word, word) for word in line]

    def sentences(self, rng: random.Random, unseen: bool = False):
        """The sentences of one story, each form of sentence once: hero, friend, places and thing stay, the rest is
        drawn. `unseen`: with held-out productions only.
        """
        pick = rng.choice
        (hero, friend), (place, place2) = rng.sample(_SLOTS["HERO"], 2), rng.sample(_SLOTS["PLACE"], 2)
        colour, thing = pick(COLOURS), pick(_SLOTS["THING"])
        while held_out("coloured", colour, thing) != unseen:
            colour, thing = pick(COLOURS), pick(_SLOTS["THING"])
        fixed = {
            "HERO": hero,
            "FRIEND": friend,
            "PLACE": place,
            "PLACE2": place2,
            "COLOUR": colour,
            "THING": thing,
            "TRADE": pick(TRADES),
            "ANIMAL": pick(ANIMALS),
        }
        verbs = [verb for verb in _SLOTS["VERB"] if held_out("done", verb, thing) == unseen] or _SLOTS["VERB"]
        for line in rng.sample(_STORY, len(_STORY)):
            quality, quality2 = rng.sample(_SLOTS["QUALITY"], 2)
            words = {slot: pick(_SLOTS[slot]) for slot in ("MOVE", "WHERE", "TIME", "FEEL")}
            words |= {
                "VERB": pick(verbs),
                "VERB2": pick(verbs),
                "QUALITY": quality,
                "QUALITY2": quality2,
                "COLOUR2": pick(COLOURS),
                "THING2": pick(_SLOTS["THING"]),
                "TRADE2": pick(TRADES),
                "ANIMAL2": pick(ANIMALS),
            }
            yield self._filled(line, fixed | words)

    def story(self, rng: random.Random, unseen: bool = False) -> list[str]:
        """Four to eight sentences about one hero."""
        sentences = self.sentences(rng, unseen)
        return [word for _ in range(rng.randint(4, 8)) for word in next(sentences)]

    def plausible(self, rng: random.Random, length: int) -> list[str]:
        """A story of whole sentences with exactly `length` words."""
        while True:
            words: list[str] = []
            for sentence in self.sentences(rng):
                words += sentence
                if len(words) >= length:
                    break
            if len(words) == length:
                return words

    def code(self, rng: random.Random, length: int) -> list[str]:
        """`length` words of the whole vocabulary at random."""
        return rng.choices(self.vocabulary[1:], k=length)

    def verse(self, rng: random.Random, length: int) -> list[str]:
        """A verse with made-up names, cut to `length` words: neither a story nor random."""
        pools = {"NAME": self.names, "TOWN": TOWNS} | _SLOTS
        words = [
            rng.choice(pools[word]) if word in pools else word
            for line in rng.sample(_VERSE, len(_VERSE))
            for word in line
        ]
        if len(words) < length:
            raise OrganismError(f"length={length}; a verse has {len(words)} words")
        return words[:length]

    def sum(self, rng: random.Random) -> list[str]:
        """Three to five additions of pairs that are not held out."""
        words = ["sum", ":"]
        for _ in range(rng.randint(3, 5)):
            a, b = self.number(rng), self.number(rng)
            while held_out("sum", min(a, b), max(a, b)):
                a, b = self.number(rng), self.number(rng)
            words += [*self.addition(a, b), ";"]
        return [*words[:-1], "."]

    def number(self, rng: random.Random) -> int:
        """A number up to 99 of which each digit is the smaller the likelier (0 in a third of the draws): with uniform
        ones nothing is right until all is, and training stalls.
        """
        return sum(place * int(10 * rng.random() ** 2) for place in (1, 10))

    def addition(self, a: int, b: int) -> list[str]:
        """`a` + `b` = sum as words, units first: two digits, two digits, three digits."""
        return [*digits(a, 2), "+", *digits(b, 2), "=", *digits(a + b, 3)]

    def statement(self, name: str, relation: str, value: str) -> list[str]:
        """The sentence that says it."""
        return ["the", relation, "of", name, value, "."]

    def fact(self, rng: random.Random) -> list[str]:
        """Three to six true statements; entities as often as their popularity says."""
        words = ["fact", ":"]
        for _ in range(rng.randint(3, 6)):
            name, relation = (
                self.ranked[bisect(self._popular, rng.random() * self._popular[-1])],
                rng.choice(list(RELATIONS)),
            )
            words += self.statement(name, relation, self.facts[name, relation])
        return words

    def notes(self, rng: random.Random, count: int) -> list[tuple[str, str, str]]:
        """`count` statements about different names with values at random, so that only the context tells them."""
        relations = list(RELATIONS)
        return [
            (name, relation, rng.choice(RELATIONS[relation]))
            for name in rng.sample(self.names, count)
            for relation in [rng.choice(relations)]
        ]

    def note(self, rng: random.Random) -> list[str]:
        """Three to five statements and then one or two of them again; held-out questions are not asked."""
        while True:
            notes = self.notes(rng, rng.randint(3, 5))
            questions = [note for note in rng.sample(notes, 2) if not held_out("note", *note[:2])]
            if questions:
                return [
                    "note",
                    ":",
                    *(word for note in notes for word in self.statement(*note)),
                    "ask",
                    ":",
                    *(word for note in questions for word in self.statement(*note)),
                ]

    def fresh(self, rng: random.Random, kind: str, count: int, unseen: bool = False) -> list[str]:
        """`count` different names of those in lists, of which the first two are a held-out pair of `kind` or (unless
        `unseen`) not one.
        """
        while True:
            words = rng.sample(self.listed, count)
            if held_out(kind, *words[:2]) == unseen:
                return words

    def copy(self, rng: random.Random) -> list[str]:
        """Four to twelve names, three times."""
        words = self.fresh(rng, "copy", rng.randint(4, 12))
        return ["copy", ":", *words, ";", *words, ";", *words, "."]

    def rule(self, rng: random.Random) -> list[str]:
        """Four or five times three names, and again the first, the second or the third of them: the same place all
        through the document.
        """
        place, words = rng.randrange(3), ["rule", ":"]
        for _ in range(rng.randint(4, 5)):
            three = self.fresh(rng, "rule", 3)
            words += [*three, "=", three[place], ";"]
        return [*words[:-1], "."]
