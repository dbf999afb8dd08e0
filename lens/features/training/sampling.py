"""Texts that a model writes by itself, from its start token, kept in parts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ... import files
from ...arguments import FilePath, HFModel, Size, door
from ...containers import tensors
from ...engine.anatomy import Anatomy
from ...engine.drawing import inverted
from ...engine.features import Tap, flat
from ...engine.sites import Site
from ...engine.writing.acts import Acts
from ...engine.writing.readers import Readers
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
        FeatureError: the folder has tokens of another recipe or model; the model has no start token, or logits that are
            no numbers; `stop` said so. FileError: the folder cannot be written.

    Cost: a decoding step a token, so many rows at a time as the recipe says.
    """
    home, own = files.expanded(folder), made_by(model, recipe)
    found = kept(home, part, own)
    if found is None:
        found, _ = written(model, recipe, part, stop=stop)
        keep(home, part, own, found)
    return found


def made_by(model: Any, recipe: Recipe) -> dict[str, str]:
    """By which files of a folder are known as those of a model and a recipe."""
    return {"recipe": recipe.sha256(), "model": weight_hash(model)}


def kept(home: Path, part: int, own: dict[str, str]) -> Int[Tensor, "texts length"] | None:
    """The tokens of a part that lie in a folder, or None. Raises: as `sample`."""
    path = path_of(home, part)
    if not path.exists():
        return None
    found, about = tensors(path, FeatureError)
    if {key: about.get(key) for key in own} != own:
        raise FeatureError(f"folder={str(home)!r} holds {path.name} of another recipe or model; give a new folder.")
    return found["ids"].long()


def keep(home: Path, part: int, own: dict[str, str], ids: Int[Tensor, "texts length"]) -> None:
    """Writes the tokens of a part. Raises: FileError."""
    files.write_tensors(path_of(home, part), {"ids": ids.int()}, own, parents=True)


def written(
    model: Any, recipe: Recipe, part: int, *, stop: Callable[[], bool] | None = None, watch: Tap | None = None
) -> tuple[Int[Tensor, "texts length"], Float[Tensor, "texts length width"] | None]:
    """The texts of a part, written by the model, and what it is at a place of each token, where one is watched.

    Args:
        stop: as of `sample`.

    Raises: as `sample`; SiteError: no such place.

    Cost: a token a row and step through the written-out blocks, or the model's own forward where these do not serve.
    """
    start = start_token(model)
    if start is None:
        raise FeatureError("model: it has no start token from which a text of its own could begin.")
    texts, seen = [], []
    for first in range(0, recipe.texts, recipe.rows):
        if stop is not None and stop():
            raise FeatureError(f"part={part}: stopped after {first} of {recipe.texts} texts; the part was not kept.")
        n = min(recipe.rows, recipe.texts - first)
        draw = torch.Generator().manual_seed((recipe.seed * 100_003 + part) * 10_007 + first)
        ids, x = _side_by_side(model, torch.full((n, 1), start), recipe.length, draw, watch)
        texts.append(ids)
        seen += [] if x is None else [x]
    return torch.cat(texts), torch.cat(seen) if seen else None


@torch.no_grad()
def _side_by_side(
    model: Any, begun: Int[Tensor, "rows 1"], length: int, draw: torch.Generator, watch: Tap | None
) -> tuple[Int[Tensor, "rows length"], Float[Tensor, "rows length width"] | None]:
    """So many texts of one length, an end of text within one included, as in packed training texts."""
    rows = range(len(begun))
    acts = Acts(
        lambda: Anatomy.of(model), [()] * len(begun), capture=[] if watch is None else [Site(watch.site, watch.layer)]
    )
    # what reads them is compared with the model's own forward on as many tokens as they will have
    probe = torch.randint(Anatomy.of(model).d_vocab, (length,), generator=torch.Generator().manual_seed(0))
    readers = Readers(model, acts, [probe])
    ids = [begun.to(readers.device)]
    with ExitStack() as stack:
        reader = readers.reader(stack)
        logits = reader.start(list(ids[0]), rows)
        for step in range(1, length):
            ids.append(drawn(logits, draw))
            if step < length - 1 or watch is not None:  # else nothing is asked of the last token
                logits = reader.step(ids[-1][:, 0], step, logits)
    if watch is None:
        return torch.cat(ids, 1).cpu(), None
    seen = torch.stack([flat(torch.stack(acts.captured[0][row]), watch) for row in rows])
    return torch.cat(ids, 1).cpu(), seen


def drawn(logits: Float[Tensor, "rows vocab"], draw: torch.Generator) -> Int[Tensor, "rows 1"]:
    """A token a row at temperature 1: where the sum of chances passes a number drawn evenly (one number a row, not one
    a word of the vocabulary). Float32 logits are written over.

    Raises: FeatureError: logits that are no numbers.

    Cost: the exponential of every logit, and one wait for the device.
    """
    weight = logits.float()
    weight.sub_(weight.amax(-1, keepdim=True)).exp_()
    u = torch.rand(len(logits), 1, generator=draw, dtype=torch.float64).to(logits.device)
    token, total = inverted(weight, u[:, 0])
    if not bool(total.isfinite().all()):
        raise FeatureError("model: its logits are not finite, so that no token can be drawn; load it in float32.")
    return token[:, None]
