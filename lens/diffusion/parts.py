"""What this family reads of a pipeline's parts, with its types: diffusers and transformers keep it as attributes of
modules, which torch takes for tensors or modules.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast

import torch
from torch import Tensor, nn


class UNetSettings(Protocol):
    """A U-Net's configuration."""

    sample_size: int | tuple[int, int]
    in_channels: int
    cross_attention_dim: int


class TextSettings(Protocol):
    """A text encoder's configuration."""

    max_position_embeddings: int


class CoderSettings(Protocol):
    """An autoencoder's configuration."""

    block_out_channels: Sequence[int]
    scaling_factor: float


class Distribution(Protocol):
    """Where a picture's latents lie."""

    mean: Tensor


class Encoded(Protocol):
    """What an autoencoder says of pictures."""

    latent_dist: Distribution


class Decoded(Protocol):
    """What an autoencoder makes of latents."""

    sample: Tensor


class Coder(Protocol):
    """An autoencoder of diffusers."""

    config: CoderSettings
    dtype: torch.dtype

    def encode(self, x: Tensor, /) -> Encoded:
        """Latents of pictures."""
        ...

    def decode(self, z: Tensor, /) -> Decoded:
        """Pictures of latents."""
        ...


def unet_settings(unet: nn.Module) -> UNetSettings:
    """The configuration of a U-Net."""
    return cast(UNetSettings, unet.config)


def text_settings(text_encoder: nn.Module) -> TextSettings:
    """The configuration of a text encoder."""
    return cast(TextSettings, text_encoder.config)


def coder(vae: nn.Module) -> Coder:
    """An autoencoder with what it offers."""
    return cast(Coder, vae)
