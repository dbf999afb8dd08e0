"""Where the bridge entity is read: single-hop against multi-hop prompts, head by head, and whether that tells where
injection works.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from ..arguments import Count, HFModel, Layers, Name, Positive, Seed, Token, door
from ..engine.memory import memory_of
from ..engine.model import Model
from ..engine.pieces import run_bytes
from ..engine.runs import Runs
from ..engine.sessions import of_one_model
from ..progress import hidden
from ..readout.norms import kv_heads, norm_scale, post_norm_scale, through_norm
from ..readout.reading import layers_with
from ..results import dataset as results
from ..results.record import record_of
from .encoding import EncodedItem, encode_items
from .items import InjectionError, Item, as_items
from .memories import token_ids
from .scoring import described, item_coords

#: The two prompts of an item, in the order of the axis ``prompt``.
PROMPTS = ("single", "multi")


# -- head read-outs ---------------------------------------------------------------------------------------------------


@door(InjectionError)
@of_one_model(reads=False)
def bridge_reading(
    model: HFModel,
    items: Item | Sequence[Item] | Name,
    *,
    layers: Layers = None,
    start: Token | None = "auto",
    k: Count = 10,
    full: bool = True,
    seed: Seed = 0,
    memory_mb: Positive | None = None,
    progress: bool | None = None,
) -> xr.Dataset:
    """How strongly every head writes the bridge entity at the last token, of the explicit (single-hop) and of the
    multi-hop prompt.

    A head's output ``z W_O`` goes through the final norm's weight, frozen at the scale that the whole residual stream
    has in that run, and ``W_U``: the logits that this head adds there. The biases that all heads share (attention
    output, final norm, unembedding) are left out. A post-norm (OLMo 2) is frozen at the scale of the whole attention
    output.

    Args:
        items: items, or the name of a data set.
        layers: which; None for all, of a hybrid's layers for those with attention heads.
        start: the start token of both prompts; see `encode_items`.
        k: a head that has a token of the entity among its ``k`` first ones reads it (``hit``).
        full: False leaves out ``rank``, ``hit`` and ``kl``, which take the whole vocabulary and nearly all the time.
        seed: which other item's entity is the control; see ``partners``.
        memory_mb: extra memory to stay under, None: by the device; one item's runs and logits are always held.
        progress: a bar over two seconds; False for none.

    Returns: over (item, layer, head, prompt = "single", "multi"): ``score``, the mean over the entity's distinct tokens
        of logit - mean logit of the vocabulary, the better of the entity with and without a space before it (logits);
        ``score_other``, the same of another item's entity; ``rank`` of the entity's best token (0 = top) and ``hit``.
        Over (item, layer, head): ``reading`` = single - multi of ``score``, ``reading_other`` (the control; NaN where
        all items share one memory), ``kl`` = KL(single || multi) of the head's own next-token distributions (nats).

    Raises: InjectionError (a memory or an item that the tokenizer cannot take), SiteError (no such layer),
        UnsupportedModel.

    Source: Sakarvadia et al. 2023, Memory Injections, section 2 (head outputs read through W_U; there with the shared
        bias, here without).

    >>> reading = bridge_reading(model, items)                                # doctest: +SKIP
    >>> over_items(reading, "reading").excess.argmax(...)                      # doctest: +SKIP
    """
    decoder = Model.of(model)
    blocks = decoder.attention_parts()
    decoder.require_sum()
    weights = {layer: blocks[layer].output_weight for layer in layers_with(decoder, layers)}
    return read_heads(
        model,
        items,
        weights,
        "bridge reading",
        {"layers": layers},
        start=start,
        k=k,
        full=full,
        seed=seed,
        memory_mb=memory_mb,
        progress=progress,
    )


@torch.no_grad()
def read_heads(
    model: Any,
    items: Any,
    weights: Mapping[int, Callable[[], Tensor]],
    kind: str,
    call: Mapping[str, Any],
    *,
    start: Any,
    k: int,
    full: bool,
    seed: int,
    memory_mb: float | None,
    progress: bool | None,
) -> xr.Dataset:
    """``bridge_reading`` through any map of a head's ``z`` to the residual stream: per layer a function that gives
    ``[n_heads, d_head, d_model]``.
    """
    began, decoder, items = time.perf_counter(), Model.of(model), as_items(items)
    memory_mb = memory_of(decoder, memory_mb)
    encoded = encode_items(model, items, start=start)
    layers, others = list(weights), partners(items, seed)
    tokens = [memory_tokens(model, i.memory) for i in items]
    shape = (len(items), len(layers), decoder.n_heads)
    names = ["score", "score_other", *(["rank", "hit"] if full else [])]
    out = {n: np.full((*shape, 2), np.nan, np.float32) for n in names} | (
        {"kl": np.full(shape, np.nan, np.float32)} if full else {}
    )
    table = decoder.unembedding().float()
    mean = table.mean(0)
    with tqdm(
        total=len(items) * len(layers), desc=kind, unit="layer", delay=2.0, leave=False, disable=hidden(progress)
    ) as bar:
        for block, runs in _both_prompts(decoder, encoded, ("z",), memory_mb / 2):
            last = last_tokens(runs)
            scale = norm_scale(decoder.norm, runs.resid[-1][last])
            own, other = (
                _directions(table, mean, [None if j is None else tokens[j] for j in js])
                for js in (block, [others[i] for i in block])
            )
            for at, layer in enumerate(layers):
                vectors = head_vectors(decoder, layer, runs.get("z", layer)[last], scale, weights[layer]())
                vectors = vectors.unflatten(0, (2, len(block))).transpose(0, 1)
                for name, direction in (("score", own), ("score_other", other)):
                    out[name][block, at] = (
                        torch.einsum("nphm,nvm->nphv", vectors, direction).amax(-1).movedim(1, -1).cpu().numpy()
                    )
                if full:
                    for name, value in _distributions(table, vectors, [tokens[i] for i in block], k, memory_mb / 4):
                        out[name][block, at] = value
                bar.update(len(block))
    dims = ("item", "layer", "head", "prompt")
    out |= {
        name.replace("score", "reading"): out[name][..., 0] - out[name][..., 1] for name in ("score", "score_other")
    }
    heads = np.arange(decoder.n_heads)
    ds = xr.Dataset(
        {n: (dims[: v.ndim], v) for n, v in out.items()},
        {
            **item_coords(encoded),
            "layer": layers,
            "head": heads,
            "kv_head": ("head", kv_heads(decoder, heads)),
            "prompt": list(PROMPTS),
        },
    )
    for name in ("score", "score_other", "reading", "reading_other"):
        ds[name].attrs["units"] = "logits"
    if full:
        ds["kl"].attrs["units"], ds["rank"].attrs["units"] = "nats", "rank (0 = top)"
    call = {**call, "start": start, "k": k, "full": full, "items": [described(i) for i in items]}
    return results.stamp(
        ds,
        record_of(model, decoder, kind, call, seed=seed, status="complete")
        | {"seconds": round(time.perf_counter() - began, 3)},
    )


def head_vectors(
    decoder: Model,
    layer: int,
    z: Float[Tensor, "n n_heads d_head"],
    scale: Float[Tensor, "n 1"],
    weight: Float[Tensor, "n_heads d_head d_model"],
) -> Float[Tensor, "n n_heads d_model"]:
    """What each head adds to the input of the unembedding: its output through the norms, frozen at ``scale`` (see
    ``norm_scale``), biases left out.
    """
    block = decoder.attention_parts()[layer]
    out = torch.einsum("nhd,hdm->nhm", z.float(), weight.float())
    added = through_norm(block.post_attn, out, post_norm_scale(block, z.float())[:, None])
    return through_norm(decoder.norm, added, scale[:, None])


def last_tokens(runs: Runs) -> Tensor:
    """Index of every prompt's last token in the runs' flat tensors, ``[n_prompts]``."""
    return runs.offset + torch.tensor(runs.lengths, device=runs.offset.device) - 1


def memory_tokens(model: Any, memory: str) -> list[tuple[int, ...]]:
    """The distinct tokens of a memory as it begins a text and as it follows a space; one entry where the tokenizer
    makes no difference.

    Raises: InjectionError for a memory that tokenises to nothing or is unknown to the tokenizer.
    """
    variants: list[tuple[int, ...]] = []
    for text in (memory.strip(), f" {memory.strip()}"):
        distinct = tuple(dict.fromkeys(token_ids(model, text)))
        if distinct not in variants:
            variants.append(distinct)
    return variants


def partners(items: Sequence[Item], seed: int = 0) -> list[int | None]:
    """For each item the number of another one whose entity is its control: of the same group where there is one, never
    an entity that its prompts or its answer name. None where no other item will do.
    """
    rng, out = np.random.default_rng(seed), []
    for item in items:
        said = f"{item.prompt}\n{item.explicit}\n{item.answer}".lower()
        free = [
            j
            for j, o in enumerate(items)
            if o.memory.strip().lower() not in said and o.memory.strip().lower() != item.memory.strip().lower()
        ]
        near = [j for j in free if items[j].group == item.group] or free
        out.append(int(rng.choice(near)) if near else None)
    return out


def _both_prompts(
    decoder: Model, encoded: Sequence[EncodedItem], keep: Sequence[str], memory_mb: float
) -> Iterator[tuple[list[int], Runs]]:
    """The numbers of some items that fit the memory, and the runs of all their explicit prompts, then of all their
    multi-hop prompts.
    """
    sizes = [run_bytes(decoder, len(e.ids) + len(e.explicit_ids), keep) for e in encoded]
    for block in _blocks(sizes, memory_mb * 2**20):
        yield (
            block,
            Runs.record(decoder, [encoded[i].explicit_ids for i in block] + [encoded[i].ids for i in block], keep),
        )


def _blocks(sizes: Sequence[float], limit: float) -> Iterator[list[int]]:
    """Consecutive numbers whose sizes stay under ``limit`` together; at least one each."""
    block: list[int] = []
    used = 0.0
    for i, size in enumerate(sizes):
        if block and used + size > limit:
            yield block
            block, used = [], 0.0
        block.append(i)
        used += size
    yield block


def _directions(
    table: Tensor, mean: Tensor, tokens: Sequence[list[tuple[int, ...]] | None]
) -> Float[Tensor, "n 2 d_model"]:
    """Per memory and variant, the direction whose product is the mean centred logit; NaN where there is no memory."""
    nothing = torch.full_like(mean, math.nan).expand(2, -1)

    def one(ids):
        return table[torch.tensor(ids, device=table.device)].mean(0) - mean

    return torch.stack([nothing if t is None else torch.stack([one(t[0]), one(t[-1])]) for t in tokens])


def _distributions(
    table: Tensor,
    vectors: Float[Tensor, "n 2 n_heads d_model"],
    tokens: Sequence[list[tuple[int, ...]]],
    k: int,
    memory_mb: float,
) -> Iterator[tuple[str, np.ndarray]]:
    """What takes the whole vocabulary: ``rank`` and ``hit`` ``[n, head, prompt]``, ``kl`` ``[n, head]``; logits of a
    few items are held at once.
    """
    n, _, n_heads, _ = vectors.shape
    at_once = max(1, int(memory_mb * 2**20 / (4 * 4 * 2 * n_heads * len(table))))
    rank, kl = [], []
    for first in range(0, n, at_once):
        part = vectors[first : first + at_once]
        # flat: one product over all rows, not one for every item and prompt
        logits = (part.reshape(-1, part.shape[-1]) @ table.T).view(*part.shape[:-1], -1)
        for x, variants in zip(logits, tokens[first : first + at_once]):
            ids = torch.tensor(sorted({t for v in variants for t in v}), device=x.device)
            rank.append((x > x[..., ids].amax(-1, keepdim=True)).sum(-1).T)
        single, multi = logits.log_softmax(-1).unbind(1)
        # a sum of signed terms that is zero in theory may end just below it
        kl.append((single.exp() * (single - multi)).sum(-1).clamp(min=0))
    ranks = torch.stack(rank).cpu().numpy()
    yield from (("rank", ranks), ("hit", ranks < k), ("kl", torch.cat(kl).cpu().numpy()))


# -- patching from the explicit prompt
# ----------------------------------------------------------------------------------


# -- over items
# ---------------------------------------------------------------------------------------------------------
