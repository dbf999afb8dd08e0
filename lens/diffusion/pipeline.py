"""A text-to-picture diffusion model as this family takes it: Stable Diffusion and the organism `cards` through one
interface.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ..arguments import door, unfit
from ..arguments.kinds import is_sequence
from ..engine.linear import Linear, LinearError, linears
from ..models import weight_hash
from ..models.state import identity
from .arguments import Captions
from .errors import DiffusionError
from .parts import coder, text_settings, unet_settings

#: The second layers of a U-Net's feed-forward blocks: their inputs are the hidden neurons.
FEED_FORWARD = "*.ff.net.2"
#: The keys and values of its cross-attention, where a caption's words enter: their inputs are the text encoder's
#: states, the same in each block and at each step.
CROSS_ATTENTION = ("*.attn2.to_k", "*.attn2.to_v")


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
        made = cls(
            name or type(parts).__name__,
            parts.unet,
            parts.text_encoder,
            parts.tokenizer,
            parts.scheduler,
            Autoencoder(parts.vae),
            {},
        )
        _ = made.layers  # raises where there is none
        return made

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
            found = linears(self.unet, which)
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
        return dict(sorted(found.items(), key=lambda item: stage.get(item[0].split(".")[0], 3)))

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
        told = {}
        for name, module in (("unet", self.unet), ("text_encoder", self.text_encoder)):
            found = identity(plain(module))
            if found.digest is None:
                raise DiffusionError(
                    f"{name}: {found.unidentified}, so that it cannot be told from another one of these weights; "
                    "take it off, or leave folder out."
                )
            told[name] = [found.digest, attentions(module)]
        return hashlib.sha256(json.dumps(told, default=str).encode()).hexdigest()[:16]

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

    def copied(self) -> Pipeline:
        """The same pipeline with weights of its own, for training; not compiled."""
        return Pipeline(
            self.name,
            copy.deepcopy(plain(self.unet)),
            copy.deepcopy(plain(self.text_encoder)),
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
        captions = [captions] if isinstance(captions, str) else list(captions)
        if not captions:
            raise DiffusionError(unfit("captions", captions, "at least one text"))
        limit = int(min(self.tokenizer.model_max_length, text_settings(self.text_encoder).max_position_embeddings))
        rows = self.tokenizer([spelled_out(caption, self.tokenizer) for caption in captions], truncation=False)[
            "input_ids"
        ]
        for caption, row in zip(captions, rows):
            if len(row) > limit:
                raise DiffusionError(
                    f"captions: {caption[:80]!r} has {len(row)} tokens with its start and end; the text encoder takes"
                    f" {limit}. Shorten it."
                )
            unknown = self.tokenizer.unk_token_id
            if unknown is not None and unknown != self.tokenizer.eos_token_id and unknown in row:
                raise DiffusionError(
                    f"captions: {caption[:80]!r} has a word that {self.name} was never told; use the words of its"
                    " captions."
                )
        pad = self.tokenizer.pad_token_id
        return torch.tensor([row + [pad] * (limit - len(row)) for row in rows])

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
        _, h, w = self.image_shape
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
                    f"{argument} has shape {tuple(images.shape)}; expected [n, 3, {h}, {w}] for {self.name}: resize the"
                    " pictures."
                )
            if not len(images):
                raise DiffusionError(f"{argument} is empty; give at least one picture.")
            if not bool(torch.isfinite(images).all()) or float(images.abs().max()) > 1 + 1e-4:
                raise DiffusionError(
                    f"{argument} has numbers that are not finite or lie outside -1 to 1; scale pixels from 0-255 by x /"
                    " 127.5 - 1."
                )
            return images.to(self.device, self.dtype)
        made = []
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
                    f"{argument}[{number}] has {size[0]} x {size[1]} pixels; {self.name} makes {w} x {h}: resize it."
                )
            made.append(torch.from_numpy(np.asarray(image, dtype=np.float32) / 127.5 - 1).permute(2, 0, 1))
        if not made:
            raise DiffusionError(f"{argument} is empty; give at least one picture.")
        return torch.stack(made).to(self.device, self.dtype)

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


def is_picture(image: Any) -> bool:
    """Whether it is a picture of PIL."""
    from PIL.Image import Image

    return isinstance(image, Image)


def plain(module: nn.Module) -> nn.Module:
    """What `torch.compile` wrapped, or the module itself."""
    return getattr(module, "_orig_mod", module)


def vocabulary_hash(tokenizer: Any) -> str:
    """The SHA-256 of a tokenizer's tokens and their ids; kept on it until it has another number of them."""
    kept = getattr(tokenizer, _VOCABULARY, None)
    if kept is None or kept[0] != len(tokenizer):
        words = json.dumps(sorted(tokenizer.get_vocab().items())).encode()
        kept = len(tokenizer), hashlib.sha256(words).hexdigest()
        setattr(tokenizer, _VOCABULARY, kept)
    return kept[1]


_VOCABULARY = "_mnemoscope_vocabulary"


def spelled_out(caption: str, tokenizer: Any) -> str:
    """A caption with each learned word of several vectors (textual inversion) as all of its tokens, `<word> <word>_1
    <word>_2`, as diffusers' pipelines write it.
    """
    added = getattr(tokenizer, "added_tokens_encoder", {})
    for token in [token for token in added if f"{token}_1" in added and token in tokenizer.tokenize(caption)]:
        parts = [token]
        while f"{token}_{len(parts)}" in added:
            parts.append(f"{token}_{len(parts)}")
        caption = caption.replace(token, " ".join(parts))
    return caption


def attentions(unet: nn.Module) -> list[Any]:
    """Attention processors that may compute something else than diffusers' default one: a person's own, and any on an
    attention whose norms or scale some processors pass over.
    """
    found = []
    for name, module in unet.named_modules():
        processor = getattr(module, "processor", None)
        own = not type(processor).__module__.startswith("diffusers.")
        if processor is not None and (
            own
            or getattr(module, "norm_q", None) is not None
            or getattr(module, "norm_k", None) is not None
            or getattr(module, "scale_qk", True) is False
        ):
            plain_values = {
                key: value for key, value in vars(processor).items() if isinstance(value, (bool, int, float, str))
            }
            found.append(
                [
                    name.replace("_orig_mod.", ""),
                    f"{type(processor).__module__}.{type(processor).__qualname__}",
                    plain_values,
                ]
            )
    return found


def refuse_more_than_text(parts: Any) -> None:
    """Raises: DiffusionError: parts that a text, noise and a timestep do not determine the prediction of: control
    networks, a second text encoder, pictures as prompts, other channels.
    """
    own = (
        "unet",
        "text_encoder",
        "tokenizer",
        "scheduler",
        "vae",
        "safety_checker",
        "feature_extractor",
        "image_encoder",
    )
    components = getattr(parts, "components", None)
    if further := [
        name
        for name, part in (components if isinstance(components, dict) else {}).items()
        if part is not None and name not in own
    ]:
        raise DiffusionError(
            f"parts: the pictures of a {type(parts).__name__} depend on {', '.join(further)} too, which this family "
            "does not run; give a StableDiffusionPipeline."
        )
    if getattr(parts.text_encoder.config, "use_attention_mask", False):
        raise DiffusionError(
            "text_encoder: use_attention_mask=True, so that its states depend on where a caption ends; expected "
            "one that reads the padding too, as Stable Diffusion's does."
        )
    config = parts.unet.config
    for key, allowed in _TEXT_ALONE.items():
        if (value := getattr(config, key, None)) not in allowed:
            raise DiffusionError(
                f"unet: {key}={value!r}, so that its prediction depends on more than a text, noise and a timestep; "
                f"expected {allowed[0]!r}. "
                "Give a U-Net as Stable Diffusion 1 and 2 have it (adapters for pictures unloaded)."
            )
    taken, made = getattr(config, "in_channels", None), getattr(config, "out_channels", None)
    if taken != made:
        raise DiffusionError(
            f"unet: it takes {taken} channels and makes {made}; expected as many: inpainting and learned variances "
            "are not served."
        )


#: What a U-Net's configuration may say where its prediction depends on a text, noise and a timestep alone.
_TEXT_ALONE = {
    "time_cond_proj_dim": (None,),
    "class_embed_type": (None,),
    "num_class_embeds": (None,),
    "addition_embed_type": (None, "text"),
    "encoder_hid_dim_type": (None, "text_proj"),
}
