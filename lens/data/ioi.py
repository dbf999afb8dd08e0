"""Candidates for indirect-object identification: two names, one of them repeated, and a gift.

The task and the names ABBA/BABA are those of Wang et al. 2022 (Interpretability in the Wild, section 2); every
sentence here was written for this data set.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

NAMES = (
    "Adam Alice Amy Anna Anthony Brian Charles Daniel David Emily Emma Frank George Grace Henry Jack James Jane"
    " Jennifer John Joseph Julia Karen Kate Kevin Laura Lisa Mark Martin Mary Michael Paul Peter Rachel Robert Ryan"
    " Sarah Simon Steven Susan Thomas Tom Victoria William"
).split()

# No sentence begins with a name: without its leading space a name is another token.
TEMPLATES = {
    "shops": (
        "When {a} and {b} went to the {place}, {s} gave the {thing} to",
        "shops market station library park beach museum garden",
        "bottle book ticket letter map bag camera apple",
    ),
    "talk": (
        "After {a} and {b} had a long talk at the {place}, {s} handed the {thing} to",
        "office school restaurant hospital church hotel airport farm",
        "keys phone paper ring watch box folder card",
    ),
    "working": (
        "Then {a} and {b} were working at the {place}. {s} decided to give the {thing} to",
        "lab studio kitchen factory store garage bakery clinic",
        "hammer computer knife report guitar pen radio basket",
    ),
    "met": (
        "Yesterday {a} and {b} met in the {place}, and {s} passed the {thing} to",
        "hall street square village classroom forest theater courtyard",
        "ball coat cup newspaper flag coin blanket flowers",
    ),
    "argument": (
        "Although {a} and {b} had an argument at the {place}, {s} still brought the {thing} to",
        "house castle harbor stadium bank pool bridge cabin",
        "cake drink gift plate umbrella hat painting chair",
    ),
    "letter": (
        "While {a} and {b} were living near the {place}, {s} often wrote a {thing} to",
        "river mountain lake coast border city ocean university",
        "letter note poem song message story postcard card",
    ),
}


def candidates(seed: int, name_pairs: int) -> Iterator[dict[str, Any]]:
    """Records without numbers: `name_pairs` couples of names a template, each used in one template and both orders.

    ABBA mentions the indirect object first ("A and B ... B gave ... to" A), BABA second. The corrupted prompt names
    the other giver, so that the right answer becomes the other name.
    """
    source = random.Random(f"ioi/{seed}")
    couples = [(a, b) for n, a in enumerate(NAMES) for b in NAMES[n + 1 :]]
    source.shuffle(couples)
    for template, (text, places, things) in TEMPLATES.items():
        for number in range(name_pairs):
            io, subject = source.sample(couples.pop(), 2)
            place, thing = source.choice(places.split()), source.choice(things.split())
            for order in ("abba", "baba"):
                a, b = (io, subject) if order == "abba" else (subject, io)

                def sentence(giver: str) -> str:
                    return text.format(a=a, b=b, s=giver, place=place, thing=thing)

                yield {
                    "id": f"ioi-{template}-{order}-{number:03d}",
                    "group": f"{template}-{order}",
                    "clean": sentence(subject),
                    "corrupted": sentence(io),
                    "answer": f" {io}",
                    "foil": f" {subject}",
                    "spans": {"io": io, "s1": [subject, 1], "s2": [subject, 2]},
                    "source": "sentence written for this data set",
                    "split": ("select", "report")[number % 2],
                }
