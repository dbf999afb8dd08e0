"""Steering directions from two sets of texts: the difference of their mean residual streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..arguments import Draws, Filled, HFModel, Index, Seed, Token, door
from ..engine.model import Model
from ..engine.sessions import of_one_model
from ..engine.sites import indices
from ..models import weight_hash
from ..prompts import start_token
from ..readout.reading import recorded
from .errors import VectorError
from .generation import prompt_ids
from .vector import LayerVectors, Vector


@door(VectorError)
@of_one_model(reads=False)
def contrast(
    model: HFModel,
    positive: Annotated[Sequence[Any], Filled()],
    negative: Annotated[Sequence[Any], Filled()],
    *,
    layer: Index | None = None,
    position: Literal["last", "mean"] = "last",
    splits: Draws = 20,
    seed: Seed = 0,
    start: Token | None = "auto",
    name: str = "contrast",
) -> LayerVectors | Vector:
    """The difference of means between two sets of texts, at every layer's output.

    Args:
        positive, negative: texts or chats that have what the direction stands for, and some that lack it; sets of
            different size may be given.
        layer: None for all layers (LayerVectors); a number for that layer's Vector.
        position: "last" token, or "mean" over a text's tokens (the start token left out).
        splits: how often both sets are halved at random, with `seed`, to measure reliability.

    Returns: directions with `reliability`, `[n_layers]`: the mean over splits of the cosine between the directions of
        the two halves. Near 0 the direction is noise; 1 is the same direction from every half. NaN where a set has
        fewer than two texts. A Vector has its layer's in `about["reliability"]`.

    Raises: VectorError: an empty set, no texts, an unknown position.

    Source: Rimsky et al. 2024, Steering Llama 2 via Contrastive Activation Addition (difference of means; there from
        pairs); the reliability is ours.
    """
    decoder = Model.of(model)
    chosen = None if layer is None else indices(layer, decoder.n_layers, "layer")[0]
    sets = [
        _read(model, decoder, texts, name, position, start)
        for name, texts in (("positive", positive), ("negative", negative))
    ]
    vectors = sets[0].mean(0) - sets[1].mean(0)
    reliability = _reliability(sets[0], sets[1], splits, seed)
    about = {
        "positive": len(sets[0]),
        "negative": len(sets[1]),
        "position": position,
        "splits": int(splits),
        "seed": int(seed),
    }
    every = LayerVectors(vectors, name, weight_hash(model), "contrast", about, reliability)
    if chosen is None:
        return every
    value = float(reliability[chosen])
    one = every.at(chosen)
    return replace(one, about={**one.about, "reliability": value if value == value else None})


@torch.no_grad()
def _read(model: Any, decoder: Model, texts: Sequence[Any], name: str, position: str, start: Any) -> Tensor:
    """Every text's residual stream after each layer at the position, `[text, n_layers, d_model]` in float32 on the
    CPU.
    """
    ids = [prompt_ids(model, t, start, f"{name}[{i}]") for i, t in enumerate(texts)]
    first = start_token(model, start)
    out = torch.empty(len(ids), decoder.n_layers, decoder.d_model)
    for batch, runs in recorded(decoder, ids, (), "texts"):
        posts = [runs.get("resid_post", l) for l in range(decoder.n_layers)]
        for k, i in enumerate(batch):
            lead = int(first is not None and isinstance(texts[i], str))
            begin = runs.starts[k] + (len(ids[i]) - 1 if position == "last" else lead)
            span = slice(begin, runs.starts[k] + len(ids[i]))
            out[i] = torch.stack([x[span].float().mean(0) for x in posts]).cpu()
    return out


def _reliability(positive: Tensor, negative: Tensor, splits: int, seed: int) -> Tensor:
    if min(len(positive), len(negative)) < 2:
        return torch.full((positive.shape[1],), float("nan"))
    draw, cosines = np.random.default_rng(seed), []
    for _ in range(int(splits)):
        halves = []
        for values in (positive, negative):
            order = torch.as_tensor(draw.permutation(len(values)))
            halves.append((values[order[: len(values) // 2]].mean(0), values[order[len(values) // 2 :]].mean(0)))
        first, second = (halves[0][k] - halves[1][k] for k in (0, 1))
        cosines.append(torch.cosine_similarity(first, second, dim=-1))
    return torch.stack(cosines).mean(0)
