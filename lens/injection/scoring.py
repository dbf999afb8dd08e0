"""Scores of answers of any number of tokens, and the unedited prompts that an injection is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from ..arguments import HFModel, Name, Seed, Token, door
from ..engine.model import Model
from ..engine.sessions import of_one_model
from ..prompts import Chat, PromptError, prompt_ids
from ..readout.answers import ANSWER, SCORES
from ..readout.answers import read_answers as read_prompts
from ..results import dataset as results
from ..results.record import record_of
from .encoding import EncodedItem, encode_items
from .items import InjectionError, Item, as_items

__all__ = ["ANSWER", "SCORES", "described", "item_coords", "other_memories", "read_prompts", "score"]


@door(InjectionError)
@of_one_model
def score(
    model: HFModel, items: Item | Sequence[Item] | Name, *, start: Token | None = "auto", seed: Seed = 0
) -> xr.Dataset:
    """How well the model answers without any injection, by prompt.

    Over `item` and `prompt`: ``multi`` (the multi-hop prompt), ``single`` (the explicit one), ``prompted`` (the memory
    and a full stop, which a vocabulary of whole words may lack, put before the multi-hop prompt: what injection has to
    compete with) and ``prompted_other`` (another item's memory there: its control, drawn with `seed`).

    Returns: ``logprob``, ``first``, ``rank``, ``exact``, ``top`` (see `SCORES`), each ``[item, prompt]``.

    Raises: InjectionError: items that this model's tokenizer cannot align.
    """
    items = as_items(items)
    decoder = Model.of(model)
    encoded = encode_items(model, items, start=start)
    others = other_memories(items, seed)

    def text(memory, item):
        try:
            return prompt_ids(model, item.prompted(memory), start)
        except PromptError:  # a vocabulary of whole words, without the full stop
            return prompt_ids(model, item.prompted(memory, stop=""), start)

    prompts = {
        "multi": [e.ids for e in encoded],
        "single": [e.explicit_ids for e in encoded],
        "prompted": [text(i.memory, i) for i in items],
        "prompted_other": [text(o, i) for o, i in zip(others, items)],
    }
    answers = [e.answer_ids for e in encoded]
    values = np.stack([read_prompts(decoder, ids, answers) for ids in prompts.values()], 1)
    ds = xr.Dataset(
        {
            name: (("item", "prompt"), values[..., k].astype(np.float32), {"units": unit})
            for k, (name, unit) in enumerate(SCORES.items())
        },
        coords={"prompt": list(prompts), **item_coords(encoded)},
    )
    record = record_of(
        model,
        decoder,
        "injection prompts",
        {"start": start, "items": [described(i) for i in items]},
        seed=seed,
        state=decoder.state,
    )
    return results.stamp(ds, record | {"status": "complete"})


def other_memories(items: Sequence[Item], seed: int = 0) -> list[str]:
    """For each item another item's memory, drawn without replacement where the texts allow it; never its own and never
    its answer.

    Raises: InjectionError: fewer than two different memories.
    """
    memories = [i.memory for i in items]
    if len({m.lower() for m in memories}) < 2:
        raise InjectionError(
            f"items: {len(items)} items share the memory {memories[0]!r}; the shuffled control needs at least two"
            " different ones."
        )
    draw, n = np.random.default_rng(seed), len(items)
    order = draw.permutation(n)

    def clash(i, j):
        return memories[j].lower() in (memories[i].lower(), items[i].answer.strip().lower())

    for i in range(n):
        if clash(i, order[i]):
            free = [k for k in range(n) if not clash(i, order[k]) and not clash(k, order[i])]
            if free:
                k = int(draw.choice(free))
                order[i], order[k] = order[k], order[i]
            else:  # one entity in more than half of the items: some are used twice
                order[i] = draw.choice(
                    [j for j in range(n) if not clash(i, j)]
                    or [j for j in range(n) if memories[j].lower() != memories[i].lower()]
                )
    return [memories[j] for j in order]


def item_coords(encoded: Sequence[EncodedItem]) -> dict[str, Any]:
    """Labels of the item axis."""
    return {
        "item": np.arange(len(encoded)),
        "label": ("item", [e.item.label or str(n) for n, e in enumerate(encoded)]),
        "memory": ("item", [e.item.memory for e in encoded]),
        "answer": ("item", [e.item.answer for e in encoded]),
        "group": ("item", [e.item.group for e in encoded]),
        "tokens": ("item", [len(e.ids) for e in encoded]),
        "answer_tokens": ("item", [len(e.answer_ids) for e in encoded]),
    }


def described(item: Item) -> dict[str, Any]:
    """An item for a record."""
    fields = {n: getattr(item, n) for n in ("prompt", "explicit", "memory", "answer", "subject", "label", "group")}
    return {name: value.as_record() if isinstance(value, Chat) else value for name, value in fields.items()}
