"""Prompts for the organism `wired`, and what it makes of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import torch

from ...arguments import Count, Seed, door
from ...prompts import Pair
from ..errors import OrganismError
from ..shipping import START, pseudowords
from .recipe import Recipe

#: What differs between the prompts of a pair: the word that is asked for again, the two words before the answer and the
#: foil, or the answer itself. Each sends the difference through other edges.
KINDS = ("query", "key", "value")


def words(count: int) -> list[str]:
    """The vocabulary: a start token and `count - 1` pseudowords of two syllables."""
    return [START, *pseudowords(count - 1)]


@door(OrganismError)
def pairs(recipe: Recipe, count: Count, seed: Seed = 0, kinds: Sequence[str] = KINDS) -> list[Pair]:
    """Pairs of prompts of one length, `kinds` in turn: distinct words, of which one comes again at the end.

    The answer is what stood behind it the first time; in the other prompt of the pair it is the foil. ``label`` is the
    kind.

    Raises: OrganismError: a kind that is none; a context or a vocabulary too small for a prompt of eight words.
    """
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        raise OrganismError(f"kinds={list(kinds)!r} does not fit; expected some of {', '.join(KINDS)}.")
    longest = min(recipe.vocab - 1, recipe.context - 2)
    if longest < 8:
        raise OrganismError(
            f"recipe: vocab={recipe.vocab} and context={recipe.context} leave no prompt of eight distinct words and one"
            " again; expected vocab of 9 and context of 10 at least."
        )
    return list(islice(_drawn(recipe, np.random.default_rng(seed), list(kinds), longest), count))


def _drawn(recipe: Recipe, rng: np.random.Generator, kinds: list[str], longest: int) -> Iterator[Pair]:
    names, number = words(recipe.vocab), 0
    while True:
        kind, length = kinds[number % len(kinds)], int(rng.integers(8, longest + 1))
        row = [names[i] for i in 1 + rng.permutation(recipe.vocab - 1)[:length]]
        # two words with what follows each: they do not overlap
        at, other = sorted(rng.choice(np.arange(0, length - 1, 2), 2, replace=False))
        asked, answer, second, foil = row[at], row[at + 1], row[other], row[other + 1]
        changed = list(row)
        if kind == "key":
            changed[at], changed[other] = second, asked
        elif kind == "value":
            changed[at + 1], changed[other + 1] = foil, answer
        again = second if kind == "query" else asked
        clean, corrupted = " ".join([START, *row, asked]), " ".join([START, *changed, again])
        yield Pair(clean, corrupted=corrupted, answer=f" {answer}", foil=f" {foil}", label=kind)
        number += 1


@torch.no_grad()
def measure(model: torch.nn.Module, recipe: Recipe, count: int = 300) -> dict[str, float]:
    """Share of pairs whose clean prompt is answered right and whose other one with the foil, by the largest logit, and
    the mean difference of the two logits.
    """
    ids = {name: i for i, name in enumerate(words(recipe.vocab))}
    gaps: dict[str, list[float]] = {"clean": [], "corrupted": []}
    right = []
    for pair in pairs(recipe, count, seed=recipe.seed + 1):
        for name, text, wanted in (("clean", pair.clean, pair.answer), ("corrupted", pair.corrupted, pair.foil)):
            logits = model(torch.tensor([[ids[word] for word in str(text).split()]])).logits[0, -1]
            gaps[name].append(float(logits[ids[str(pair.answer).strip()]] - logits[ids[str(pair.foil).strip()]]))
            right.append(int(logits.argmax()) == ids[str(wanted).strip()])
    return {
        "accuracy": round(float(np.mean(right)), 4),
        "clean_gap": round(float(np.mean(gaps["clean"])), 3),
        "corrupted_gap": round(float(np.mean(gaps["corrupted"])), 3),
        "pairs": count,
    }
