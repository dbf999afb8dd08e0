"""The training of a top-k dictionary on activations, part by part, its state kept behind each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ... import files
from ...arguments import FilePath, HFModel, door
from ...containers import tensors
from ...engine.anatomy import Anatomy
from ...engine.changes import temporary
from ...engine.features import Tap, flat
from ...models import name_of
from ..activations import TopK
from ..dictionary import Dictionary
from ..errors import FeatureError
from ..weights import Matrix
from .recipe import Recipe
from .sampling import keep, kept, made_by, written

STATE = "state.safetensors"
#: Texts that go through the model together.
_TEXTS = 16
_BETAS = (0.9, 0.999)


class _Reached(Exception):
    """The activation is there: the rest of the forward is not needed."""


@door(FeatureError)
def fit(
    model: HFModel,
    folder: FilePath,
    recipe: Recipe,
    *,
    parts: int | None = None,
    on_part: Callable[[int, dict[str, float]], None] | None = None,
) -> Dictionary | None:
    """Trains a dictionary by its recipe, and goes on where an earlier run was cut.

    Args:
        folder: where tokens and the state lie. parts: at most so many now; None: all that are left.
        on_part: called with a part's number and what is known of it: ``seconds``, ``tokens``, ``explained_variance`` on
            its last batches, ``silent`` features, the share of ``outliers`` that were left out.

    Returns: the dictionary; None where parts are left.

    Raises:
        FeatureError: the folder is of another recipe or model; a part without a whole batch; logits that are no
            numbers. SiteError: no such site or layer. FileError: the folder cannot be written.

    Cost: a decoding step a token, and six products with the dictionary's weights a token and pass; memory for twice a
        part's activations.

    Source: Gao et al. 2024, Scaling and evaluating sparse autoencoders, sections 2.3 and A.2.
    """
    home = files.expanded(folder)
    anatomy = Anatomy.of(model)
    anatomy.require(*anatomy.layer_of(recipe.tap, recipe.layer))
    if not recipe.steps:
        there = recipe.texts * (recipe.length - recipe.skip_tokens)
        raise FeatureError(
            f"batch={recipe.batch}: no whole step in the {there} tokens of a part; give a smaller batch, fewer parts or"
            " more tokens."
        )
    own = made_by(model, recipe)
    state, done = _state(home, own)
    last = recipe.parts if parts is None else min(recipe.parts, done + parts)
    for part in range(done, last):
        began = time.perf_counter()
        ids, x = _texts(model, home, recipe, part, own)
        length = x.norm(dim=1)
        longest = state["longest"] if state else recipe.outliers * length.median().reshape(1)
        x = x[length <= longest]
        state = state or _first(x, recipe) | {"longest": longest}
        told = _trained(state, x, recipe, part) | {"outliers": (len(length) - len(x)) / len(length)}
        # the tokens last: a part that is cut is written anew, and seen by the same forwards
        files.write_tensors(home / STATE, state, own | {"part": str(part + 1)}, parents=True)
        keep(home, part, own, ids)
        if on_part is not None:
            on_part(part, told | {"seconds": time.perf_counter() - began, "tokens": float(ids.numel())})
    return _dictionary(state, recipe, name_of(model)) if last == recipe.parts else None


def _state(home: Path, own: dict[str, str]) -> tuple[dict[str, Tensor], int]:
    path = home / STATE
    if not path.exists():
        return {}, 0
    state, about = tensors(path, FeatureError)
    if {key: about.get(key) for key in own} != own or not str(about.get("part", "")).isdecimal():
        raise FeatureError(f"folder={str(home)!r} holds the state of another recipe or model; give a new folder.")
    return {name: x.clone() for name, x in state.items()}, int(about["part"])


def _texts(
    model: Any, home: Path, recipe: Recipe, part: int, own: dict[str, str]
) -> tuple[Int[Tensor, "texts length"], Float[Tensor, "tokens width"]]:
    """The tokens of a part and their activations: seen while the model writes, or read again where tokens are there."""
    tap, ids = Tap(recipe.tap, recipe.layer), kept(home, part, own)
    if ids is not None:
        return ids, activations(model, ids, tap, recipe.skip_tokens)
    ids, x = written(model, recipe, part, watch=tap)
    assert x is not None
    return ids, x[:, recipe.skip_tokens :].flatten(0, 1)


@torch.no_grad()
def activations(model: Any, ids: Int[Tensor, "texts length"], tap: Tap, skip: int) -> Float[Tensor, "tokens width"]:
    """A site's activations of texts of one length, leading tokens left out; the forward ends there."""
    anatomy = Anatomy.of(model)
    anatomy.require(*anatomy.layer_of(tap.site, tap.layer))
    seen: list[Tensor] = []

    def note(x: Tensor) -> Tensor:
        seen.append(flat(x[:, skip:].flatten(0, 1), tap).cpu())
        raise _Reached

    with temporary(anatomy.hf) as here:
        here.put(lambda: anatomy.attach(*anatomy.layer_of(tap.site, tap.layer), note))
        for rows in ids.split(_TEXTS):
            try:
                anatomy.forward(rows.to(anatomy.device))
            except _Reached:
                continue
    return torch.cat(seen)


def _first(x: Float[Tensor, "tokens width"], recipe: Recipe) -> dict[str, Tensor]:
    """Weights before the first step: random directions, read by themselves, about the mean."""
    draw = torch.Generator().manual_seed(recipe.seed)
    scale = x.shape[1] ** 0.5 / x.norm(dim=1).mean()
    decoder = torch.randn(recipe.n_features, x.shape[1], generator=draw)
    decoder /= decoder.norm(dim=1, keepdim=True)
    weights = {
        "encoder": decoder.clone(),
        "bias": torch.zeros(recipe.n_features),
        "decoder": decoder,
        "centre": x.mean(0) * scale,
    }
    moments = {f"{name}.{m}": torch.zeros_like(w) for name, w in weights.items() for m in ("first", "second")}
    return (
        weights | moments | {"scale": scale.reshape(1), "quiet": torch.zeros(recipe.n_features), "step": torch.zeros(1)}
    )


def _batches(x: Tensor, recipe: Recipe, part: int) -> Iterator[Tensor]:
    draw = torch.Generator().manual_seed(recipe.seed * 100_003 + part)
    for _ in range(recipe.passes):
        for at in torch.randperm(len(x), generator=draw).split(recipe.batch):
            if len(at) == recipe.batch:
                yield x[at]


def _trained(state: dict[str, Tensor], x: Tensor, recipe: Recipe, part: int) -> dict[str, float]:
    """The passes over a part."""
    names = ("encoder", "bias", "decoder", "centre")
    explained: list[float] = []
    for rows in _batches(x, recipe, part):
        weights = [state[name].requires_grad_() for name in names]
        rows = rows * state["scale"]
        with torch.enable_grad():
            loss, active, share = _loss(rows, weights, state["quiet"], recipe)
            gradients = torch.autograd.grad(loss, weights)
        for weight in weights:
            weight.requires_grad_(False)
        _step(state, dict(zip(names, gradients)), recipe)
        state["quiet"] = torch.where(active, 0.0, state["quiet"] + len(rows))
        explained.append(share)
    tail = explained[-20:] or [float("nan")]
    silent = float((state["quiet"] >= recipe.silent).sum())
    return {"explained_variance": sum(tail) / len(tail), "silent": silent}


def _loss(x: Tensor, weights: list[Tensor], quiet: Tensor, recipe: Recipe) -> tuple[Tensor, Tensor, float]:
    """The error over the variance, with the silent features' share; which features were active; variance explained."""
    encoder, bias, decoder, centre = weights
    h = (x - centre) @ encoder.T + bias

    def top(of: Tensor, k: int) -> Tensor:
        best, at = of.topk(k, dim=1)
        return torch.zeros_like(of).scatter(1, at, best.relu())

    f = top(h, recipe.k)
    error = x - (f @ decoder + centre)
    total = (x - x.mean(0)).square().sum().detach()
    loss = error.square().sum() / total
    share = 1 - float(loss.detach())
    silent = (quiet >= recipe.silent).nonzero()[:, 0]
    if len(silent):
        left = error.detach()
        made = top(h[:, silent], min(2 * recipe.k, len(silent))) @ decoder[silent]
        aux = (left - made).square().sum() / left.square().sum()
        loss = loss + recipe.aux * torch.nan_to_num(aux)
    return loss, (f.detach() > 0).any(0), share


@torch.no_grad()
def _step(state: dict[str, Tensor], gradients: dict[str, Tensor], recipe: Recipe) -> None:
    """One step of Adam; directions keep their length 1, and what would change it is taken from their gradient."""
    along = (gradients["decoder"] * state["decoder"]).sum(1, keepdim=True)
    gradients["decoder"] = gradients["decoder"] - along * state["decoder"]
    state["step"] += 1
    t = float(state["step"])
    rate = recipe.rate * min(1.0, t / 100, (recipe.steps - t + 1) / max(1.0, recipe.steps / 5))
    for name, gradient in gradients.items():
        first, second = state[f"{name}.first"], state[f"{name}.second"]
        first.lerp_(gradient, 1 - _BETAS[0])
        second.lerp_(gradient.square(), 1 - _BETAS[1])
        state[name] -= rate * (first / (1 - _BETAS[0] ** t)) / ((second / (1 - _BETAS[1] ** t)).sqrt() + 1e-8)
    state["decoder"] /= state["decoder"].norm(dim=1, keepdim=True)


def _dictionary(state: dict[str, Tensor], recipe: Recipe, name: str | None) -> Dictionary:
    """The dictionary of the plain activation: the scale is folded into the weights."""
    scale, tap = float(state["scale"]), Tap(recipe.tap, recipe.layer)
    centre = state["centre"] / scale
    return Dictionary(
        name=f"{name or 'model'}-{recipe.tap}-{recipe.layer}-{recipe.n_features}",
        reads=tap,
        writes=tap,
        encoder=Matrix.of(state["encoder"] * scale, "encoder"),
        encoder_bias=state["bias"],
        rule=TopK(recipe.k),
        decoder=Matrix.of(state["decoder"] / scale, "decoder"),
        decoder_bias=centre,
        centre=centre,
        skip_tokens=recipe.skip_tokens,
        starts=True,
        model=name,
        source="trained",
        about={"recipe": asdict(recipe), "recipe_sha256": recipe.sha256()},
    )
