"""Pictures as the latents that a U-Net works on, and back."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from .parts import coder


class Patches:
    """Pictures cut into patches of `size` x `size` pixels: latents are the pixels themselves, in another order."""

    def __init__(self, size: int):
        self.size = size

    def encode(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n c h2 w2"]:
        """Pictures in -1 to 1 as latents, each patch of pixels folded into the channels."""
        return F.pixel_unshuffle(images, self.size) if self.size > 1 else images

    def decode(self, latents: Float[Tensor, "n c h2 w2"]) -> Float[Tensor, "n 3 h w"]:
        """Latents as pictures in -1 to 1."""
        return F.pixel_shuffle(latents, self.size) if self.size > 1 else latents


class Autoencoder:
    """Stable Diffusion's latents: the mean of the encoder's distribution, scaled as the U-Net was trained on."""

    def __init__(self, vae: nn.Module):
        self.vae = vae
        self.size = 2 ** (len(coder(vae).config.block_out_channels) - 1)

    def encode(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n c h2 w2"]:
        """Pictures in -1 to 1 as latents: the mean of what the encoder says, scaled as the network expects it."""
        vae = coder(self.vae)
        return vae.encode(images.to(vae.dtype)).latent_dist.mean * vae.config.scaling_factor

    def decode(self, latents: Float[Tensor, "n c h2 w2"]) -> Float[Tensor, "n 3 h w"]:
        """Latents as pictures in -1 to 1."""
        vae = coder(self.vae)
        return vae.decode(latents.to(vae.dtype) / vae.config.scaling_factor).sample
