"""The instruction vector of a task: which heads, and the sum of what they add at a prompt's last token."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from ..arguments import Count, Draws, FilePath, HFModel, Index, Seed, Size, Token, door
from ..engine.model import Model
from ..engine.sessions import of_one_model
from ..engine.sites import indices
from ..models import weight_hash
from ..readout.norms import post_norm_scale, through_norm
from .errors import VectorError
from .heads import top_heads
from .means import Means, Source
from .mediation import head_effects, task_means
from .prompts import as_task
from .tasks import Split, Task
from .templates import Form
from .vector import LayerVectors, Vector


@torch.no_grad()
def head_parts(
    model: Any, z: Float[Tensor, "layer head d_head"], heads: Sequence[tuple[int, int]]
) -> Float[Tensor, "k d_model"]:
    """What each head `(layer, head)` adds to the residual stream when the heads' outputs are `z`: `z @ W_O` of that
    head, without the projection's bias, float32.

    A post-norm (OLMo 2) is applied at the scale of that layer's whole attention output for `z`.
    """
    decoder, out = Model.of(model), []
    for layer, head in heads:
        block, own = decoder.blocks[layer], z[layer].to(decoder.device).float()
        part = own[head] @ block.output_weight()[head].float()
        out.append(through_norm(block.post_attn, part, post_norm_scale(block, own[None])[0]).cpu())
    return torch.stack(out) if out else torch.zeros(0, decoder.d_model)


@door(VectorError)
@of_one_model(reads=False)
def extract(
    model: HFModel,
    task: Task | FilePath,
    *,
    top: Count = 10,
    heads: Sequence[tuple[Index, Index]] | None = None,
    effects: xr.Dataset | Mapping[str, xr.Dataset] | None = None,
    means: Means | None = None,
    source: Source = "demonstrations",
    split: Split = "valid",
    shots: Size = 10,
    mean_prompts: Draws = 100,
    trials: Draws = 25,
    template: Form | None = None,
    seed: Seed = 0,
    start: Token | None = "auto",
    name: str | None = None,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
) -> Vector:
    """The instruction vector of a task: the sum over a few heads of their mean output at the last token, each through
    its own rows of W_O.

    Args:
        top: how many heads, by mean effect; ignored where `heads` names them (for example those of `universal`).
        effects: what `head_effects` returned, or several of them by task (then the mean over tasks counts, see
            `universal`); None measures them on `trials` prompts (only where `heads` is None).
        means: what `mean_activations` returned; None takes them over `mean_prompts` prompts with `shots` demonstrations
            (`source` "instruction": with the instruction alone), of those that the model answers right where there are
            any.
        split: where the questions are from that means and effects are taken of (means from instructions: of train, a
            question can be asked once only).

    Raises: VectorError: no such head, effects of another model, an unknown source, more heads than there are.

    Source: Todd et al. 2024; from instructions: Davidson et al. 2025.
    """
    task, decoder = as_task(task), Model.of(model)
    if source not in ("demonstrations", "instruction"):
        raise VectorError(f"source={source!r}: expected 'demonstrations' or 'instruction'.")
    if heads is None and (
        isinstance(top, bool) or not hasattr(top, "__index__") or not 1 <= top <= len(_heads_of(decoder))
    ):
        raise VectorError(f"top={top!r}: expected a number of heads from 1 to {len(_heads_of(decoder))}.")
    if means is None:
        means = task_means(
            model,
            task,
            source=source,
            split=split,
            shots=shots,
            n=mean_prompts,
            template=template,
            seed=seed,
            start=start,
        )
        asked_of = split if source == "demonstrations" else "train"
    else:
        asked_of = None
    about: dict[str, Any] = {
        "task": task.name,
        "means": {"source": means.source, "n": means.n, "task": means.task, "split": asked_of},
    }
    if heads is None:
        if effects is None:
            effects = head_effects(
                model,
                task,
                means=means,
                trials=trials,
                shots=shots,
                source=source,
                split=split,
                template=template,
                seed=seed,
                start=start,
                progress=progress,
                stop=stop,
            )
        several = (
            effects if isinstance(effects, Mapping) and not isinstance(effects, xr.Dataset) else {task.name: effects}
        )
        for of, ds in several.items():
            if (ds.sizes.get("layer"), ds.sizes.get("head")) != (decoder.n_layers, decoder.n_heads):
                raise VectorError(
                    f"effects of {of!r} cover {ds.sizes.get('layer')} layers x {ds.sizes.get('head')} heads, this model"
                    f" has {decoder.n_layers} x {decoder.n_heads}; measure them on this model."
                )
        heads = top_heads(effects, top)
        about["heads"] = f"the {top} of largest mean effect over " + " and ".join(
            f"{ds.sizes['prompt']} prompts of {of}" for of, ds in several.items()
        )
    else:
        heads = _indices_of(heads, decoder)
        about["heads"] = f"{len(heads)} given"
    parts = head_parts(model, means.fits(decoder).z, heads)
    return Vector(parts.sum(0), parts, tuple(heads), name or task.name, weight_hash(model), means.source, about)


def _heads_of(decoder: Model) -> list[tuple[int, int]]:
    """Every head of a model, ``(layer, head)``."""
    return [(l, h) for l in decoder.attention_layers for h in range(decoder.n_heads)]


def _indices_of(heads: Any, decoder: Model) -> tuple[tuple[int, int], ...]:
    try:
        chosen = [(indices(l, decoder.n_layers, "layer")[0], indices(h, decoder.n_heads, "head")[0]) for l, h in heads]
    except TypeError:
        raise VectorError(f"heads={heads!r}: expected pairs (layer, head).") from None
    except ValueError as error:
        raise VectorError(f"heads={heads!r}: {error}") from None
    if not chosen or len(set(chosen)) < len(chosen):
        raise VectorError(f"heads={heads!r}: expected different pairs (layer, head), at least one.")
    for layer, _ in chosen:
        decoder.require("z", layer)
    return tuple(chosen)


@door(VectorError)
def layer_average(means: Means) -> LayerVectors:
    """The mean residual stream after each layer at the last token: the simpler vector that function vectors are
    compared with.

    Source: Todd et al. 2024 ("layer average"), added at the layer that it was read from.
    """
    return LayerVectors(
        means.resid, f"layer average of {means.task}", "", means.source, {"task": means.task, "n": means.n}
    )
