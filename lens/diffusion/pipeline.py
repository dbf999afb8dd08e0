"""A text-to-picture diffusion model as this family takes it: Stable Diffusion and the organism `cards` through one
interface.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..arguments import door, unfit
from ..engine.linear import Linear, LinearError, linears
from ..models import weight_hash
from ..models.state import identity
from .arguments import Captions
from .captions import token_ids
from .codecs import Autoencoder, Patches
from .conditions import refuse_more_than_text
from .errors import DiffusionError
from .parts import coder, text_settings, unet_settings
from .pictures import tensor_of
from .state import attentions, plain, vocabulary_hash

#: The second layers of a U-Net's feed-forward blocks: their inputs are the hidden neurons.
FEED_FORWARD = "*.ff.net.2"
#: The keys and values of its cross-attention, where a caption's words enter: their inputs are the text encoder's
#: states, the same in each block and at each step.
CROSS_ATTENTION = ("*.attn2.to_k", "*.attn2.to_v")


@door(DiffusionError)
@dataclass(eq=False)
class Pipeline:
    """The parts of a pipeline. Masks and edits are of `unet`, `hash` of all parts; `layers` are its feed-forward
    blocks' second layers.

    `card`: what an organism says of itself, empty for others.
    """

    name: str
    unet: nn.Module
    text_encoder: nn.Module
    tokenizer: Any
    scheduler: Any
    codec: Patches | Autoencoder
    card: Mapping[str, Any]

    @classmethod
    @door(DiffusionError)
    def of(cls, parts: Any, name: str | None = None) -> Pipeline:
        """From a diffusers pipeline with `unet`, `text_encoder`, `tokenizer`, `scheduler` and `vae`
        (StableDiffusionPipeline).

        Raises: DiffusionError: a part is missing, the U-Net has no feed-forward blocks of the expected kind, or its
        pictures depend on more than a text.
        """
        try:
            missing = [
                part
                for part in ("unet", "text_encoder", "tokenizer", "scheduler", "vae")
                if getattr(parts, part, None) is None
            ]
        except Exception:  # an object may refuse to tell what it has
            raise DiffusionError(
                unfit("parts", parts, "a pipeline such as StableDiffusionPipeline, all of its parts loaded")
            ) from None
        if missing:
            raise DiffusionError(
                f"parts: a {type(parts).__name__} without {', '.join(missing)}; expected a pipeline such as"
                " StableDiffusionPipeline, all of its parts loaded."
            )
        refuse_more_than_text(parts)
        for module in (parts.unet, parts.text_encoder, parts.vae):
            module.eval().requires_grad_(False)
        pipeline = cls(
            name or type(parts).__name__,
            parts.unet,
            parts.text_encoder,
            parts.tokenizer,
            parts.scheduler,
            Autoencoder(parts.vae),
            {},
        )
        _ = pipeline.layers  # raises where there is none
        return pipeline

    @property
    def layers(self) -> dict[str, Linear]:
        """The feed-forward blocks' second layers by name, down blocks first, in the order in which they run.

        Raises: DiffusionError: there is none named `*.ff.net.2`.
        """
        return self.named(FEED_FORWARD)

    @door(DiffusionError)
    def named(self, which: str | Sequence[str]) -> dict[str, Linear]:
        """The U-Net's linear layers whose names match, in the order in which their blocks run; those of a compiled
        U-Net have the names of the plain one.

        Raises: DiffusionError: a pattern matches none, such as one of split projections where fused ones run, or a
        layer has an adapter in force.
        """
        try:
            layers = linears(self.unet, which)
        except LinearError as error:
            if "an adapter" in str(error):
                raise DiffusionError(
                    f"unet: {error} In diffusers: pipeline.fuse_lora() and unload_lora_weights(), or"
                    " unet.disable_adapters()."
                ) from None
            if any("Fused" in type(getattr(module, "processor", None)).__name__ for module in self.unet.modules()):
                raise DiffusionError(
                    f"unet: {error} This U-Net's attention has projections that do not run: fused by"
                    " fuse_qkv_projections(), its keys and values are one layer, *.to_kv (*.to_qkv within a picture)."
                    " Call unfuse_qkv_projections() first, or name those."
                ) from None
            raise DiffusionError(
                f"unet: a {type(self.unet).__name__} without feed-forward blocks (or other layers) of the expected kind"
                f" ({error}) Give a U-Net with transformer blocks, such as UNet2DConditionModel with"
                " CrossAttnDownBlock2D."
            ) from None
        stage = {"down_blocks": 0, "mid_block": 1, "up_blocks": 2}
        return dict(sorted(layers.items(), key=lambda item: stage.get(item[0].split(".")[0], 3)))

    @property
    def device(self) -> torch.device:
        """Where the network is, and so the latents."""
        return next(self.unet.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Of the network's weights."""
        return next(self.unet.parameters()).dtype

    @property
    def hash(self) -> str:
        """The SHA-256 of all that a picture depends on as it is now: the weights of the U-Net, the text encoder and the
        autoencoder, the tokenizer's vocabulary, the scheduler's settings. Compiled parts have that of plain ones.
        """
        return hashlib.sha256(json.dumps(self._identities(), sort_keys=True, default=str).encode()).hexdigest()

    @property
    def unet_hash(self) -> str:
        """The hash of the U-Net's weights alone, which masks, statistics and edits carry; compiled, it has that of the
        plain one.
        """
        return weight_hash(self.unet)

    def _identities(self) -> dict[str, Any]:
        codec, settings = self.codec, dict(getattr(self.scheduler, "config", None) or {})
        pictures: dict[str, Any] = {"patch": codec.size}
        if isinstance(codec, Autoencoder):
            pictures = {"weights": weight_hash(codec.vae), "scale": float(coder(codec.vae).config.scaling_factor)}
        return {
            "unet": self.unet_hash,
            "text_encoder": weight_hash(self.text_encoder),
            "pictures": pictures,
            "tokenizer": vocabulary_hash(self.tokenizer),
            "scheduler": [
                type(self.scheduler).__name__,
                {key: value for key, value in settings.items() if not key.startswith("_")},
            ],
        }

    def state(self) -> str:
        """What the U-Net and the text encoder compute beside their weights, as 16 hexadecimal digits: configuration,
        hooks, replaced methods, FreeU, adapters' scales, attention processors.

        Raises: DiffusionError: something of it has no content to compare, such as a hook that holds an open file.
        """
        digests = {}
        for name, module in (("unet", self.unet), ("text_encoder", self.text_encoder)):
            known = identity(plain(module))
            if known.digest is None:
                raise DiffusionError(
                    f"{name}: {known.unidentified}, so that it cannot be told from another one of these weights; "
                    "take it off, or leave folder out."
                )
            digests[name] = [known.digest, attentions(module)]
        return hashlib.sha256(json.dumps(digests, default=str).encode()).hexdigest()[:16]

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Of one picture's latents, (channels, height, width)."""
        settings = unet_settings(self.unet)
        size = settings.sample_size
        h, w = (size, size) if isinstance(size, int) else size
        return settings.in_channels, h, w

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Of one picture, (3, height, width) in pixels."""
        return 3, self.latent_shape[1] * self.codec.size, self.latent_shape[2] * self.codec.size

    def copy(self) -> Pipeline:
        """The same pipeline with weights of its own, for training; not compiled."""
        return Pipeline(
            self.name,
            deepcopy(plain(self.unet)),
            deepcopy(plain(self.text_encoder)),
            self.tokenizer,
            self.scheduler,
            self.codec,
            self.card,
        )

    # -- captions ---------------------------------------------------------------------------------------------------

    @door(DiffusionError)
    def tokens(self, captions: Captions) -> Int[Tensor, "n length"]:
        """Token ids of captions, padded to the encoder's length.

        Raises: DiffusionError: no caption, one that is no text, one longer than the encoder's limit, a word that the
            tokenizer has no id for.
        """
        longest = text_settings(self.text_encoder).max_position_embeddings
        return token_ids(captions, self.tokenizer, longest, self.name)

    @door(DiffusionError)
    @torch.no_grad()
    def embed(self, captions: Captions) -> Float[Tensor, "n length d"]:
        """The text encoder's states of captions. Raises as `tokens`."""
        return self.text_encoder(self.tokens(captions).to(self.device))[0].to(self.dtype)

    # -- pictures ---------------------------------------------------------------------------------------------------

    @door(DiffusionError)
    def pictures(self, images: Any, argument: str = "images") -> Float[Tensor, "n 3 h w"]:
        """Pictures of the pipeline's size as numbers from -1 to 1: PIL pictures (mode RGB), or a tensor [n, 3, h, w]
        that has them already.

        Raises: DiffusionError: another mode, size, shape or range, or a number that is not finite.
        """
        return tensor_of(images, self.image_shape, self.name, argument).to(self.device, self.dtype)

    @door(DiffusionError)
    @torch.no_grad()
    def encode(self, images: Any) -> Float[Tensor, "n c h w"]:
        """Latents of pictures. Raises as `pictures`."""
        return self.codec.encode(self.pictures(images)).to(self.dtype)

    @door(DiffusionError)
    @torch.no_grad()
    def decode(self, latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 3 h w"]:
        """Pictures of latents, from -1 to 1, float32. Raises: DiffusionError: latents of another shape."""
        if tuple(latents.shape[1:]) != self.latent_shape or not len(latents):
            raise DiffusionError(unfit("latents", latents, f"shape {('n', *self.latent_shape)}, at least one"))
        return self.codec.decode(latents).float().clamp(-1, 1)
