"""Pictures of one size as numbers from -1 to 1: tensors that a pipeline takes, arrays that a measure reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..arguments import array, unfit
from ..arguments.kinds import is_sequence
from .errors import DiffusionError

Images = Float[Tensor, "caption seed 3 h w"] | Float[Tensor, "n 3 h w"] | Float[np.ndarray, "..."]


def tensor_of(
    images: Any, shape: tuple[int, int, int], name: str, argument: str = "images"
) -> Float[Tensor, "n 3 h w"]:
    """Pictures of one size as numbers from -1 to 1: PIL pictures (mode RGB), or a tensor [n, 3, h, w] that has them
    already.

    Args:
        shape: of a picture, (3, h, w). name: of what makes or takes pictures of this size, for errors.

    Raises: DiffusionError: another mode, size, shape or range, or a number that is not finite.
    """
    _, h, w = shape
    if isinstance(images, Tensor):
        if (
            images.is_meta
            or images.is_complex()
            or images.dtype == torch.bool
            or images.layout is not torch.strided
            or images.ndim != 4
            or tuple(images.shape[1:]) != (3, h, w)
        ):
            raise DiffusionError(
                f"{argument} has shape {tuple(images.shape)}; expected [n, 3, {h}, {w}] for {name}: resize the"
                " pictures."
            )
        if not len(images):
            raise DiffusionError(f"{argument} is empty; give at least one picture.")
        if not bool(torch.isfinite(images).all()) or float(images.abs().max()) > 1 + 1e-4:
            raise DiffusionError(
                f"{argument} has numbers that are not finite or lie outside -1 to 1; scale pixels from 0-255 by x /"
                " 127.5 - 1."
            )
        return images
    tensors = []
    try:
        several = is_sequence(images) and not isinstance(images, range)
    except Exception:  # an object may refuse to tell what it has
        several = False
    if not is_picture(images) and not several:
        raise DiffusionError(
            unfit(argument, images, f"PIL pictures of mode RGB, or a tensor [n, 3, {h}, {w}] from -1 to 1")
        )
    for number, image in enumerate([images] if is_picture(images) else images):
        mode = image.mode if is_picture(image) else None
        if mode != "RGB":
            raise DiffusionError(
                f"{argument}[{number}] has mode {mode!r}; expected a PIL picture of mode 'RGB': use"
                " image.convert('RGB')."
            )
        size = tuple(image.size)
        if size != (w, h):
            raise DiffusionError(
                f"{argument}[{number}] has {size[0]} x {size[1]} pixels; {name} makes {w} x {h}: resize it."
            )
        tensors.append(torch.from_numpy(np.asarray(image, dtype=np.float32) / 127.5 - 1).permute(2, 0, 1))
    if not tensors:
        raise DiffusionError(f"{argument} is empty; give at least one picture.")
    return torch.stack(tensors)


def is_picture(image: Any) -> bool:
    """Whether it is a picture of PIL."""
    from PIL.Image import Image

    return isinstance(image, Image)


def pixels(
    images: Any, argument: str = "images", ndim: Sequence[int] = (4, 5), size: Sequence[int] | None = None
) -> Float[np.ndarray, "..."]:
    """Pictures [n, 3, h, w] or [caption, seed, 3, h, w] as float64.

    Raises: DiffusionError: another number of axes, channels or pixels (`size`: those expected), an empty array, numbers
        that are not finite or lie outside -1 to 1.
    """
    values = array(images, argument, "pictures: numbers [n, 3, h, w] or [caption, seed, 3, h, w]", DiffusionError)
    if values.dtype.kind not in "fiu" or values.ndim not in ndim or values.shape[-3] != 3 or not values.size:
        shapes = " or ".join({4: "[n, 3, h, w]", 5: "[caption, seed, 3, h, w]"}[k] for k in ndim)
        raise DiffusionError(
            f"{argument} has shape {values.shape} and type {values.dtype}; expected numbers {shapes}: `Samples.images`,"
            " or pictures stacked."
        )
    if size is not None and values.shape[-2:] != tuple(size):
        raise DiffusionError(
            f"{argument} has {values.shape[-1]} x {values.shape[-2]} pixels; expected {size[1]} x {size[0]}, as those"
            " it is compared with: resize it."
        )
    values = values.astype(np.float64)
    if not np.isfinite(values).all() or abs(values).max() > 1 + 1e-4:
        raise DiffusionError(
            f"{argument} has numbers that are not finite or lie outside -1 to 1; scale pixels from 0-255 by x / 127.5"
            " - 1."
        )
    return values
