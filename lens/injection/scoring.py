"""Scores of answers of any number of tokens, and the unedited prompts that an injection is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from ..engine import results
from ..engine.decoder import Decoder
from ..engine.metrics import Metric, by_chunk
from ..engine.record import record_of
from ..measure.reading import recorded, start_token
from ..tokens import tokenize, tokenizer_of
from .items import EncodedItem, InjectionError, Item, as_items, encode_items

#: What is read of every run, and its unit.
SCORES = {
    "logprob": "nats",                  # ln p(answer | prompt), all its tokens
    "first": "nats",                    # ln p of the answer's first token: what the paper's percentages are of
    "rank": "rank (0 = top)",           # of the answer's first token
    "exact": "1",                       # 1 where every token of the answer is the model's first choice in turn: greedy decoding would say it
    "top": "token id",                  # the most likely next token
}


def _read(decoder: Decoder, resid: Sequence[Tensor], encoded: Any, clean: Any = None) -> Float[Tensor, "rows 5"]:
    target = torch.tensor(encoded.answer_ids, device=resid[0].device)

    def read(logits: Tensor) -> Tensor:
        wanted = logits.gather(-1, target.expand(len(logits), -1)[..., None])[..., 0]
        each = wanted - logits.logsumexp(-1)
        best, top = logits.max(-1)
        # a tie counts as the first choice: the two are equally likely
        return torch.stack([each.sum(-1), each[:, 0], (logits[:, 0] > wanted[:, :1]).sum(-1).float(), (wanted == best).all(-1).float(), top[:, 0].float()], -1)

    return by_chunk(decoder, resid[0], read)


#: All scores of one walk, in the order of ``SCORES``.
ANSWER = Metric("answer", "nats", lambda e: [tuple(e.answer_ids)], _read, scores=(len(SCORES),))


@torch.no_grad()
def read_prompts(decoder: Decoder, ids: Sequence[Tensor], answers: Sequence[Sequence[int]]) -> Float[np.ndarray, "prompt 5"]:
    """The scores of unedited prompts; each is followed by its answer, read by teacher forcing. Cost: one pass over each."""

    class Answered:
        def __init__(self, answer):
            self.answer_ids = answer

    out = np.empty((len(ids), len(SCORES)))
    whole = [torch.cat([t, torch.tensor(a[:-1], dtype=torch.long)]) for t, a in zip(ids, answers)]
    for batch, runs in recorded(decoder, whole, (), "prompts"):
        for k, i in enumerate(batch):
            at = runs.starts[k] + len(ids[i]) - 1 + torch.arange(len(answers[i]), device=decoder.device)
            out[i] = _read(decoder, [runs.resid[-1][at][None]], Answered(answers[i]))[0].cpu().numpy()
    return out


def score(model: Any, items: Any, *, start: Any = "auto", seed: int = 0) -> xr.Dataset:
    """How well the model answers without any injection, by prompt.

    Over `item` and `prompt`: ``multi`` (the multi-hop prompt), ``single`` (the explicit one), ``prompted`` (the memory and a full stop put before the multi-hop
    prompt: what injection has to compete with) and ``prompted_other`` (another item's memory there: its control, drawn with `seed`).

    Returns: ``logprob``, ``first``, ``rank``, ``exact``, ``top`` (see `SCORES`), each ``[item, prompt]``.

    Raises: InjectionError: items that this model's tokenizer cannot align.
    """
    items = as_items(items)
    encoded, decoder = encode_items(model, items, start=start), Decoder.of(model)
    others = other_memories(items, seed)
    lead = start_token(model, decoder, start)
    text = lambda memory, item: torch.tensor(([] if lead is None else [lead]) + tokenize(tokenizer_of(model), f"{memory}. {item.prompt}"))
    prompts = {"multi": [e.ids for e in encoded], "single": [e.explicit_ids for e in encoded], "prompted": [text(i.memory, i) for i in items],
               "prompted_other": [text(o, i) for o, i in zip(others, items)]}
    answers = [e.answer_ids for e in encoded]
    values = np.stack([read_prompts(decoder, ids, answers) for ids in prompts.values()], 1)
    ds = xr.Dataset({name: (("item", "prompt"), values[..., k].astype(np.float32), {"units": unit}) for k, (name, unit) in enumerate(SCORES.items())},
                    coords={"prompt": list(prompts), **item_coords(encoded)})
    record = record_of(model, decoder, "injection prompts", {"start": start, "items": [described(i) for i in items]}, seed=seed)
    return results.stamp(ds, record | {"status": "complete"})


def other_memories(items: Sequence[Item], seed: int = 0) -> list[str]:
    """For each item another item's memory, drawn without replacement where the texts allow it; never its own and never its answer.

    Raises: InjectionError: fewer than two different memories.
    """
    memories = [i.memory for i in items]
    if len({m.lower() for m in memories}) < 2:
        raise InjectionError(f"items: {len(items)} items share the memory {memories[0]!r}; the shuffled control needs at least two different ones.")
    draw, n = np.random.default_rng(seed), len(items)
    order = draw.permutation(n)
    clash = lambda i, j: memories[j].lower() in (memories[i].lower(), items[i].answer.strip().lower())
    for i in range(n):
        if clash(i, order[i]):
            free = [k for k in range(n) if not clash(i, order[k]) and not clash(k, order[i])]
            if free:
                k = int(draw.choice(free))
                order[i], order[k] = order[k], order[i]
            else:   # one entity in more than half of the items: some are used twice
                order[i] = draw.choice([j for j in range(n) if not clash(i, j)] or [j for j in range(n) if memories[j].lower() != memories[i].lower()])
    return [memories[j] for j in order]


def item_coords(encoded: Sequence[EncodedItem]) -> dict[str, Any]:
    """Labels of the item axis."""
    return {"item": np.arange(len(encoded)), "label": ("item", [e.item.label or str(n) for n, e in enumerate(encoded)]), "memory": ("item", [e.item.memory for e in encoded]),
            "answer": ("item", [e.item.answer for e in encoded]), "group": ("item", [e.item.group for e in encoded]),
            "tokens": ("item", [len(e.ids) for e in encoded]), "answer_tokens": ("item", [len(e.answer_ids) for e in encoded])}


def described(item: Item) -> dict[str, Any]:
    """An item for a record."""
    return {name: getattr(item, name) for name in ("prompt", "explicit", "memory", "answer", "subject", "label", "group")}
