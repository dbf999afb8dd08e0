"""Pictures with their captions, as attacks take them: checked, and two sets that share none."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from .errors import DiffusionError
from .pipeline import Pipeline

#: Pictures and as many captions.
Pairs = tuple[Any, Sequence[str]]


def pairs_of(pipeline: Pipeline, pairs: Pairs, argument: str) -> tuple[Float[Tensor, "n 3 h w"], list[str]]:
    """Pictures and captions of one argument. Raises DiffusionError: no such pair, or numbers that do not match."""
    pictures, captions = pipeline.pictures(pairs[0], f"{argument}[0]"), list(pairs[1])
    try:
        pipeline.tokens(captions)
    except DiffusionError as error:
        raise DiffusionError(f"{argument}: {error}") from None
    if len(pictures) != len(captions):
        raise DiffusionError(
            f"{argument} has {len(pictures)} pictures and {len(captions)} captions; give one caption for each picture."
        )
    return pictures, captions


def targets_and_control(pipeline: Pipeline, targets: Pairs, control: Pairs) -> tuple[Tensor, list[str], list[str]]:
    """Targets and then control: pictures, captions, and the set of each. Raises DiffusionError: as `pairs_of`; sets
    that overlap.
    """
    one, two = pairs_of(pipeline, targets, "targets"), pairs_of(pipeline, control, "control")
    refuse_shared(one, two, "targets", "control")
    return torch.cat([one[0], two[0]]), one[1] + two[1], ["target"] * len(one[1]) + ["control"] * len(two[1])


def refuse_shared(one: tuple[Tensor, list[str]], two: tuple[Tensor, list[str]], first: str, second: str) -> None:
    """Raises DiffusionError where two sets of pairs share a caption or a picture, naming the captions."""
    if shared := sorted(set(one[1]) & set(two[1])):
        raise DiffusionError(
            f"{first} and {second} share {len(shared)} captions: {', '.join(map(repr, shared[:4]))}; take them out of"
            " one of the two."
        )
    known = {digest(picture) for picture in one[0]}
    if same := [caption for picture, caption in zip(*two) if digest(picture) in known]:
        raise DiffusionError(
            f"{first} and {second} share {len(same)} pictures, in {second} with the captions"
            f" {', '.join(map(repr, same[:4]))}; take them out of one of the two."
        )


def digest(value: Tensor) -> str:
    """A short hash of numbers."""
    return hashlib.sha256(value.detach().cpu().float().contiguous().numpy().tobytes()).hexdigest()[:16]
