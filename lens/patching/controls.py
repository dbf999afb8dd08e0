"""Controls for patching: the same edits, from a source that should not help."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arguments import Draws, Seed, door
from ..prompts import Pair, PromptError, encode, encode_all
from ..tokens import tokenize, tokenizer_of
from .grid import PatchError


@door(PatchError)
def shuffled_pairs(
    model: Any, pairs: Sequence[Pair], *, pool: Sequence[Pair] | None = None, seed: Seed = 0
) -> list[Pair]:
    """Each pair with the clean prompt of another one: what is copied has the right form and somebody else's content.

    A partner has as many tokens, its named positions in the same places, and another answer. What such a source still
    does is due to the prompt's form (where the names stand, say), not to its content.

    Args:
        pool: where partners come from; None takes ``pairs`` themselves.

    Raises:
        PatchError: a pair without a partner; the message says which.
    """
    encoded, rng, shuffled = encode_all(model, pairs), np.random.default_rng(seed), []
    pool = pairs if pool is None else pool
    others = encode_all(model, pool)
    for i, (pair, mine) in enumerate(zip(pairs, encoded)):
        partners = [
            p
            for p, e in zip(pool, others)
            if p.clean not in (pair.clean, pair.corrupted)
            and p.start == pair.start
            and len(e) == len(mine)
            and e.answer_ids != mine.answer_ids
            and {k: v for k, v in e.positions.items() if k != "first_difference"}
            == {k: v for k, v in mine.positions.items() if k != "first_difference"}
        ]
        if not partners:
            raise PatchError(
                f"pairs[{i}] ({pair.label or pair.clean!r}) has no partner of the same form among the {len(pool)} pairs"
                " of the pool; give a pool with more pairs of its kind."
            )
        other = partners[rng.integers(len(partners))]
        shuffled.append(
            dataclasses.replace(
                pair,
                clean=other.clean,
                spans=other.spans,
                corrupted_spans={name: s for name, s in pair.corrupted_spans.items() if name in other.spans},
                label=f"{pair.label} from {other.label}",
            )
        )
    return shuffled


@door(PatchError)
def random_prompts(model: Any, pairs: Sequence[Pair], *, seed: Seed = 0, tries: Draws = 50) -> list[Pair]:
    """Each pair with a clean prompt of random words, as many tokens long: what is copied has neither form nor content.

    Named positions of the pair are kept by their place: spans of the new prompt are the words that stand there.

    Raises:
        PatchError: no prompt of that many tokens was found in ``tries`` draws.
    """
    tokenizer, rng, prompts = tokenizer_of(model), np.random.default_rng(seed), []
    words = _words(tokenizer)
    if not words:
        raise PatchError(
            "model: its tokenizer has no lower-case word that is one token with a space before it, of which random"
            " prompts are made; write other prompts by hand."
        )
    for i, pair in enumerate(pairs):
        mine = encode(model, pair)
        ahead = len(tokenize(tokenizer, pair.start)) if pair.start else 0
        for _ in range(tries):
            text = "".join(words[j] for j in rng.integers(len(words), size=len(mine) - ahead)).lstrip()
            spans = {}
            candidate = dataclasses.replace(
                pair, clean=text, spans={}, corrupted_spans={}, label=f"{pair.label} from random words"
            )
            try:
                candidate_ids = encode(model, candidate)
                for name in pair.spans:
                    spans[name] = "".join(candidate_ids.clean_tokens[p] for p in mine.positions[name]).strip()
                candidate_ids = encode(
                    model, dataclasses.replace(candidate, spans=spans, corrupted_spans=pair.corrupted_spans)
                )
            except PromptError:
                continue
            if all(candidate_ids.positions[name] == mine.positions[name] for name in pair.spans):
                prompts.append(candidate_ids.pair)
                break
        else:
            raise PatchError(
                f"pairs[{i}] ({pair.label or pair.clean!r}): no prompt of {len(mine)} random words was found in {tries}"
                " tries; raise tries."
            )
    return prompts


def _words(tokenizer: Any) -> list[str]:
    """Lower-case words that are one token with a space before them."""
    pieces = tokenizer.batch_decode([[i] for i in range(len(tokenizer))])
    return [p for p in pieces if p.startswith(" ") and len(p) > 3 and p[1:].isalpha() and p.islower() and p.isascii()]
