"""Controls: what is injected in the memory's place, with the same encoder, layer, positions and strength."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ..arguments import shown
from ..engine.model import Model
from ..readout.reading import ordinary_tokens
from .items import InjectionError, Item
from .memories import Memory, encoded_by
from .scoring import other_memories

WORD_CLASSES = ("noun", "verb", "adjective", "adverb", "conjunction")
#: What each control puts in the memory's place.
CONTROLS = {
    "shuffled": "another item's memory",
    "random_tokens": "as many random tokens of the vocabulary",
    "random_direction": "a random direction of the same norm at every layer",
    **{name: f"a random {name} of the shipped word list" for name in WORD_CLASSES},
}
MEMORY = "memory"


def check_controls(controls: Sequence[str]) -> tuple[str, ...]:
    """The controls as a tuple.

    Raises: InjectionError: an unknown control, or one named twice.
    """
    chosen = (controls,) if isinstance(controls, str) else tuple(controls)
    unknown = [c for c in chosen if c not in CONTROLS]
    if unknown or len(set(chosen)) < len(chosen):
        raise InjectionError(
            f"controls={shown(chosen)}: "
            + (
                f"{shown(unknown[0])} is not known; expected some of {', '.join(CONTROLS)}."
                if unknown
                else "one is named twice."
            )
        )
    return chosen


def conditions(
    decoder: Model,
    model: Any,
    items: Sequence[Item],
    encoder: str,
    controls: Sequence[str],
    *,
    heads: Any = None,
    start: Any = "auto",
    seed: int = 0,
) -> dict[str, list[Memory]]:
    """Per condition one Memory an item: ``memory`` first, then the controls asked for.

    Same seed, same draws, whatever other controls are asked for.
    """

    def encode(texts):
        return encoded_by(decoder, model, texts, encoder, heads=heads, start=start)

    own = encode([i.memory for i in items])
    out = {MEMORY: own}
    for name in check_controls(controls):
        draw = np.random.default_rng([seed, list(CONTROLS).index(name)])
        if name == "shuffled":
            out[name] = encode(other_memories(items, seed))
        elif name == "random_tokens":
            pool = ordinary_tokens(model, decoder)
            out[name] = encode(
                [draw.choice(np.setdiff1d(pool, m.ids), len(set(m.ids)), replace=False).tolist() for m in own]
            )
        elif name == "random_direction":
            out[name] = [_random_direction(m, draw) for m in own]
        else:
            from ..data.words import WORDS

            out[name] = encode([_word(WORDS[name], i, draw) for i in items])
    return out


def _random_direction(memory: Memory, draw: np.random.Generator) -> Memory:
    vectors = torch.tensor(
        draw.standard_normal(memory.vectors.shape), dtype=torch.float32, device=memory.vectors.device
    )
    vectors *= memory.vectors.float().norm(dim=-1, keepdim=True) / vectors.norm(dim=-1, keepdim=True)
    return Memory(vectors.to(memory.vectors.dtype), "random direction", memory.encoder, memory.heads)


def _word(words: Sequence[str], item: Item, draw: np.random.Generator) -> str:
    """A word that is part of neither the memory nor the answer."""
    words_in_use = f" {item.memory} {item.answer} ".lower()
    return str(draw.choice([w for w in words if w.lower() not in words_in_use]))
