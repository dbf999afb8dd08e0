"""The items of the steering benchmark: who gave what to whom, one of two names, with five partners of the same form."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations, product
from typing import Any

import lens

#: Items, partners of each, and tokens of a prompt.
ITEMS, PARTNERS, LENGTH = {True: 3, False: 200}, {True: 2, False: 5}, 16
_NAMES = ("John", "Mary", "Tom", "Anna", "James", "Kate", "Paul", "Sarah", "Mark", "Laura", "David", "Emma", "Peter")
_PLACES = ("shops", "school", "station", "office", "garden", "market")
_THINGS = ("bottle", "book", "letter", "ring", "cup", "ball", "key")


@dataclass(frozen=True)
class Depths:
    """Items with partners, on a model and a further plain model of the same weights."""

    model: Any
    copy: Any
    items: list[lens.Pair]
    partners: list[list[str]]


def _text(first: str, second: str, giver: str, place: str, thing: str) -> str:
    return f"Then, when {first} and {second} went to the {place}, {giver} gave the {thing} to"


def depths(quick: bool) -> Depths:
    """The embedded default, or a random model of four layers. Raises: LoadError: the model was never fetched."""
    from benchmarks.subjects import embedded, random_model

    count, partners = ITEMS[quick], PARTNERS[quick]
    items, others = [], []
    for place, (first, second) in product(_PLACES, permutations(_NAMES, 2)):
        items.append(
            lens.Pair(
                _text(first, second, first, place, _THINGS[0]),
                corrupted=_text(first, second, second, place, _THINGS[0]),
                answer=f" {second}",
                foil=f" {first}",
                label=f"{first} and {second}",
            )
        )
        others.append([_text(first, second, second, place, thing) for thing in _THINGS[1:partners]])
    texts = [pair.clean for pair in items] + [text for of in others for text in of]
    model = random_model([*texts, *(pair.answer for pair in items)]) if quick else embedded()
    fits = [
        i
        for i, (pair, of) in enumerate(zip(items, others))
        if {len(model.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in (pair.clean, *of)} == {LENGTH}
    ]
    if len(fits) < count:
        raise ValueError(f"{len(fits)} items have {LENGTH} tokens with this tokenizer; the benchmark is about {count}")
    # spread over places and names
    chosen = fits[:: len(fits) // count][:count]
    return Depths(model.bridge, model.copy(), [items[i] for i in chosen], [others[i] for i in chosen])
