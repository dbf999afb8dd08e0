"""A text-to-picture diffusion model as this family takes it: Stable Diffusion and the organism `cards` through one interface."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional as F

from ..engine.linear import Linear, LinearError, linears
from ..models import ORGANISM, ORGANISMS, LoadError, _device, _dtype, _folder, weight_hash
from .errors import DiffusionError

#: The second layers of a U-Net's feed-forward blocks: their inputs are the hidden neurons.
FEED_FORWARD = "*.ff.net.2"
#: The keys and values of its cross-attention, where a caption's words enter: their inputs are the text encoder's states, the same in each block and at each step.
CROSS_ATTENTION = ("*.attn2.to_k", "*.attn2.to_v")


class Patches:
    """Pictures cut into patches of `size` x `size` pixels: latents are the pixels themselves, in another order."""

    def __init__(self, size: int):
        self.size = size

    def encode(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n c h2 w2"]:
        return F.pixel_unshuffle(images, self.size) if self.size > 1 else images

    def decode(self, latents: Float[Tensor, "n c h2 w2"]) -> Float[Tensor, "n 3 h w"]:
        return F.pixel_shuffle(latents, self.size) if self.size > 1 else latents


class Autoencoder:
    """Stable Diffusion's latents: the mean of the encoder's distribution, scaled as the U-Net was trained on."""

    def __init__(self, vae: nn.Module):
        self.vae = vae
        self.size = 2 ** (len(vae.config.block_out_channels) - 1)

    def encode(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n c h2 w2"]:
        return self.vae.encode(images.to(self.vae.dtype)).latent_dist.mean * self.vae.config.scaling_factor

    def decode(self, latents: Float[Tensor, "n c h2 w2"]) -> Float[Tensor, "n 3 h w"]:
        return self.vae.decode(latents.to(self.vae.dtype) / self.vae.config.scaling_factor).sample


@dataclass(eq=False)
class Pipeline:
    """The parts of a pipeline. Masks, edits and hashes are of `unet`; `layers` are its feed-forward blocks' second layers.

    `card`: what an organism says of itself, empty for others.
    """

    name: str
    unet: nn.Module
    text_encoder: nn.Module
    tokenizer: Any
    scheduler: Any
    codec: Patches | Autoencoder
    card: dict[str, Any]

    @classmethod
    def of(cls, parts: Any, name: str | None = None) -> Pipeline:
        """From a diffusers pipeline with `unet`, `text_encoder`, `tokenizer`, `scheduler` and `vae` (StableDiffusionPipeline).

        Raises: DiffusionError: a part is missing, or the U-Net has no feed-forward blocks of the expected kind.
        """
        if missing := [part for part in ("unet", "text_encoder", "tokenizer", "scheduler", "vae") if getattr(parts, part, None) is None]:
            raise DiffusionError(f"parts: a {type(parts).__name__} without {', '.join(missing)}; expected a pipeline such as StableDiffusionPipeline, all of its parts loaded.")
        for module in (parts.unet, parts.text_encoder, parts.vae):
            module.eval().requires_grad_(False)
        made = cls(name or type(parts).__name__, parts.unet, parts.text_encoder, parts.tokenizer, parts.scheduler, Autoencoder(parts.vae), {})
        made.layers
        return made

    @property
    def layers(self) -> dict[str, Linear]:
        """The feed-forward blocks' second layers by name, down blocks first, in the order in which they run.

        Raises: DiffusionError: there is none named `*.ff.net.2`.
        """
        return self.named(FEED_FORWARD)

    def named(self, which: str | Sequence[str]) -> dict[str, Linear]:
        """The U-Net's linear layers whose names match, in the order in which their blocks run. Raises: DiffusionError: a pattern matches none."""
        try:
            found = linears(self.unet, which)
        except LinearError as error:
            raise DiffusionError(f"unet: a {type(self.unet).__name__} without feed-forward blocks (or other layers) of the expected kind ({error}) Give a U-Net with transformer "
                                 "blocks, such as UNet2DConditionModel with CrossAttnDownBlock2D.") from None
        stage = {"down_blocks": 0, "mid_block": 1, "up_blocks": 2}
        return dict(sorted(found.items(), key=lambda item: stage.get(item[0].split(".")[0], 3)))

    @property
    def device(self) -> torch.device:
        return next(self.unet.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.unet.parameters()).dtype

    @property
    def hash(self) -> str:
        """The hash of the U-Net's weights as they are now."""
        return weight_hash(self.unet)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        size = self.unet.config.sample_size
        h, w = (size, size) if isinstance(size, int) else size
        return self.unet.config.in_channels, h, w

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return 3, self.latent_shape[1] * self.codec.size, self.latent_shape[2] * self.codec.size

    def copied(self) -> Pipeline:
        """The same pipeline with weights of its own, for training."""
        return Pipeline(self.name, copy.deepcopy(self.unet), copy.deepcopy(self.text_encoder), self.tokenizer, self.scheduler, self.codec, self.card)

    # -- captions ---------------------------------------------------------------------------------------------------

    def tokens(self, captions: Sequence[str]) -> Int[Tensor, "n length"]:
        """Token ids of captions, padded to the encoder's length.

        Raises: DiffusionError: no caption, one that is no text, one longer than the encoder's limit, a word that the tokenizer has no id for.
        """
        captions = [captions] if isinstance(captions, str) else list(captions)
        if not captions or not all(isinstance(caption, str) for caption in captions):
            wrong = next((repr(c) for c in captions if not isinstance(c, str)), "none")
            raise DiffusionError(f"captions holds {wrong}; expected at least one text, and texts only.")
        limit = int(min(self.tokenizer.model_max_length, self.text_encoder.config.max_position_embeddings))
        rows = self.tokenizer(captions, truncation=False)["input_ids"]
        for caption, row in zip(captions, rows):
            if len(row) > limit:
                raise DiffusionError(f"captions: {caption[:80]!r} has {len(row)} tokens with its start and end; the text encoder takes {limit}. Shorten it.")
            unknown = self.tokenizer.unk_token_id
            if unknown is not None and unknown != self.tokenizer.eos_token_id and unknown in row:
                raise DiffusionError(f"captions: {caption[:80]!r} has a word that {self.name} was never told; use the words of its captions.")
        pad = self.tokenizer.pad_token_id
        return torch.tensor([row + [pad] * (limit - len(row)) for row in rows])

    @torch.no_grad()
    def embed(self, captions: Sequence[str]) -> Float[Tensor, "n length d"]:
        """The text encoder's states of captions. Raises as `tokens`."""
        return self.text_encoder(self.tokens(captions).to(self.device))[0].to(self.dtype)

    # -- pictures ---------------------------------------------------------------------------------------------------

    def pictures(self, images: Any, argument: str = "images") -> Float[Tensor, "n 3 h w"]:
        """Pictures of the pipeline's size as numbers from -1 to 1: PIL pictures (mode RGB), or a tensor [n, 3, h, w] that has them already.

        Raises: DiffusionError: another mode, size, shape or range, or a number that is not finite.
        """
        _, h, w = self.image_shape
        if isinstance(images, Tensor):
            if images.ndim != 4 or tuple(images.shape[1:]) != (3, h, w):
                raise DiffusionError(f"{argument} has shape {tuple(images.shape)}; expected [n, 3, {h}, {w}] for {self.name}: resize the pictures.")
            if not len(images):
                raise DiffusionError(f"{argument} is empty; give at least one picture.")
            if not bool(torch.isfinite(images).all()) or float(images.abs().max()) > 1 + 1e-4:
                raise DiffusionError(f"{argument} has numbers that are not finite or lie outside -1 to 1; scale pixels from 0-255 by x / 127.5 - 1.")
            return images.to(self.device, self.dtype)
        made = []
        for number, image in enumerate([images] if hasattr(images, "mode") else images):
            mode, size = getattr(image, "mode", None), getattr(image, "size", None)
            if mode != "RGB":
                raise DiffusionError(f"{argument}[{number}] has mode {mode!r}; expected a PIL picture of mode 'RGB': use image.convert('RGB').")
            if tuple(size) != (w, h):
                raise DiffusionError(f"{argument}[{number}] has {size[0]} x {size[1]} pixels; {self.name} makes {w} x {h}: resize it.")
            made.append(torch.from_numpy(np.asarray(image, dtype=np.float32) / 127.5 - 1).permute(2, 0, 1))
        if not made:
            raise DiffusionError(f"{argument} is empty; give at least one picture.")
        return torch.stack(made).to(self.device, self.dtype)

    @torch.no_grad()
    def encode(self, images: Any) -> Float[Tensor, "n c h w"]:
        """Latents of pictures. Raises as `pictures`."""
        return self.codec.encode(self.pictures(images)).to(self.dtype)

    @torch.no_grad()
    def decode(self, latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 3 h w"]:
        """Pictures of latents, from -1 to 1, float32."""
        return self.codec.decode(latents).float().clamp(-1, 1)


def load(name: str | os.PathLike = "organism:cards", *, device: str = "auto", dtype: str | torch.dtype = "float32") -> Pipeline:
    """A pipeline by name: "organism:cards", a folder in diffusers' layout, or a hub name ("CompVis/stable-diffusion-v1-4").

    Raises: LoadError: an unknown name or a device that is not there. DiffusionError: a folder that is no pipeline, or one without the expected feed-forward blocks.
    """
    from diffusers import DiffusionPipeline

    place, kind = _device(device), _dtype(dtype)
    folder = _organism(str(name)) if str(name).startswith(ORGANISM) else _folder(str(name))
    if folder is not None and not (folder / "model_index.json").is_file():
        raise DiffusionError(f"name={str(name)!r} holds no model_index.json, so it is no diffusion pipeline; expected a folder that a pipeline's save_pretrained wrote.")
    try:
        index = json.loads((folder / "model_index.json").read_text(encoding="utf-8")) if folder is not None else {}
        if index.get("_class_name") == "Cards":
            return _cards(str(name), folder, index, place, kind)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise DiffusionError(f"name={str(name)!r} is damaged or not whole ({_why(error)}); copy or train it again.") from None
    try:
        parts = DiffusionPipeline.from_pretrained(str(folder or name), dtype=kind, use_safetensors=True, safety_checker=None)
    except (OSError, ValueError, SafetensorError) as error:
        raise DiffusionError(f"name={str(name)!r} could not be loaded ({_why(error)}); the weights of a hub name must be reachable or in the cache, "
                             "and 'organism:cards' ships with the package.") from None
    return Pipeline.of(parts.to(place), str(name))


def _organism(name: str) -> Path:
    """The folder of a diffusion model that ships with the package."""
    there = sorted(path.parent.name for path in ORGANISMS.glob("*/model_index.json"))
    if (wanted := name.removeprefix(ORGANISM)) not in there:
        raise LoadError(f"name={name!r}: there is no such organism that makes pictures; there are: {', '.join(there) or 'none yet'}")
    return ORGANISMS / wanted


def _why(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def _cards(name: str, folder: Path, index: dict, place: torch.device, kind: torch.dtype) -> Pipeline:
    from diffusers import DDIMScheduler, UNet2DConditionModel
    from diffusers.utils import logging as told
    from transformers import CLIPTextModel, PreTrainedTokenizerFast
    from transformers.utils import logging

    for quiet in (logging, told):
        quiet.disable_progress_bar()
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    for file in sorted(folder.glob("*/*.safetensors")):
        if hashlib.sha256(file.read_bytes()).hexdigest() != card["weights_sha256"].get(file.parent.name):
            raise DiffusionError(f"name={name!r}: the weights in {file.parent.name} are not those of the card; get the folder anew, or train it again with `{card['rebuild']}`.")
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", dtype=kind, use_safetensors=True, low_cpu_mem_usage=False)
    text = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=kind, use_safetensors=True)
    for module in (unet, text):
        module.to(place).eval().requires_grad_(False)
    return Pipeline(name, unet, text, PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer"), DDIMScheduler.from_pretrained(folder / "scheduler"),
                    Patches(int(index["patch"])), card)


def of_parts(name: str, denoiser: Any, tokenizer: Any, scheduler: Any, patch: int, card: dict[str, Any] | None = None) -> Pipeline:
    """A pipeline of an organism that was just trained: a module with `unet` and `text_encoder`."""
    return Pipeline(name, denoiser.unet.eval(), denoiser.text_encoder.eval(), tokenizer, scheduler, Patches(patch), dict(card or {}))
