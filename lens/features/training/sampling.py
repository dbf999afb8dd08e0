"""Texts that a model writes by itself, from its start token, kept in parts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from ... import files
from ...arguments import FilePath, HFModel, Size, door
from ...containers import tensors
from ...models.hash import weight_hash
from ...prompts.start import start_token
from ..errors import FeatureError
from .recipe import Recipe


def path_of(folder: Path, part: int) -> Path:
    """Where the tokens of a part lie."""
    return folder / f"tokens-{part:04d}.safetensors"


@door(FeatureError)
def sample(
    model: HFModel, folder: FilePath, recipe: Recipe, part: Size, *, stop: Callable[[], bool] | None = None
) -> Int[Tensor, "texts length"]:
    """The tokens of a part: read where they are there, else written by the model at temperature 1, and kept.

    Args:
        stop: asked between batches; True leaves the part unwritten.

    Raises:
        FeatureError: the folder has tokens of another recipe or model; the model has no start token; `stop` said so.
            FileError: the folder cannot be written.

    Cost: a decoding step a token, so many rows at a time as the recipe says.
    """
    home, own = files.expanded(folder), {"recipe": recipe.sha256(), "model": weight_hash(model)}
    path = path_of(home, part)
    if path.exists():
        found, about = tensors(path, FeatureError)
        if {key: about.get(key) for key in own} != own:
            raise FeatureError(
                f"folder={str(folder)!r} holds {path.name} of another recipe or model; give a new folder."
            )
        return found["ids"].long()
    start = start_token(model)
    if start is None:
        raise FeatureError("model: it has no start token from which a text of its own could begin.")
    rows = []
    for first in range(0, recipe.texts, recipe.rows):
        if stop is not None and stop():
            raise FeatureError(f"part={part}: stopped after {first} of {recipe.texts} texts; the part was not kept.")
        n = min(recipe.rows, recipe.texts - first)
        rows.append(_written(model, start, n, recipe.length, (recipe.seed * 100_003 + part) * 10_007 + first))
    ids = torch.cat(rows)
    files.write_tensors(path, {"ids": ids.int()}, own, parents=True)
    return ids


@torch.no_grad()
def _written(model: Any, start: int, rows: int, length: int, seed: int) -> Int[Tensor, "rows length"]:
    """So many texts of one length, an end of text within one included, as in packed training texts."""
    from transformers import DynamicCache

    hf = getattr(model, "original_model", model)
    device = next(hf.parameters()).device
    draw = torch.Generator().manual_seed(seed)
    ids = torch.full((rows, 1), start, device=device)
    cache = DynamicCache(config=hf.config)
    while ids.shape[1] < length:
        logits = hf(ids[:, -1:], past_key_values=cache, use_cache=True).logits[:, -1]
        chance = logits.float().softmax(-1).cpu()
        ids = torch.cat([ids, torch.multinomial(chance, 1, generator=draw).to(device)], 1)
    return ids.cpu()
