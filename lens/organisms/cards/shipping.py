"""How the organism `cards` ships: a folder of diffusers' layout with a card, replaced in one rename."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ... import files
from ...cache import sha256_file
from ...models.shipped import PICTURES
from ..shipping import write_card
from .corpus import Corpus
from .model import PATCH, Denoiser, scheduler, tokenizer_of
from .recipe import Recipe


def ship(model: Denoiser, recipe: Recipe, folder: Path, card: dict[str, Any]) -> dict[str, Any]:
    """Write the model as a folder of diffusers' layout (`unet`, `text_encoder`, `tokenizer`, `scheduler`) with a card;
    `folder` is replaced when all is ready.
    """
    with files.replacing(folder) as ready:
        parts = {
            "unet": model.unet,
            "text_encoder": model.text_encoder,
            "tokenizer": tokenizer_of(Corpus(recipe).vocabulary),
            "scheduler": scheduler(),
        }
        for name, part in parts.items():
            part.save_pretrained(ready / name)
        classes = {
            "unet": ("diffusers", "UNet2DConditionModel"),
            "text_encoder": ("transformers", "CLIPTextModel"),
            "tokenizer": ("transformers", "PreTrainedTokenizerFast"),
            "scheduler": ("diffusers", "DDIMScheduler"),
        }
        (ready / PICTURES).write_text(
            json.dumps({"_class_name": "Cards", "patch": PATCH, **classes}, indent=1) + "\n", encoding="utf-8"
        )
        weights = sorted(ready.glob("*/*.safetensors"))
        card = card | {
            "weights_sha256": {file.parent.name: sha256_file(file) for file in weights},
            "parameters": sum(value.numel() for value in model.parameters()),
        }
        write_card(ready, card)
    return card
