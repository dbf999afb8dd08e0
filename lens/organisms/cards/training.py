"""The training of the organism `cards`: the loss of a denoiser, over the stream of its recipe."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ... import training
from ..training import fit
from .corpus import Corpus
from .model import PATCH, Denoiser, build, ids_of, scheduler
from .recipe import Recipe


class Denoising:
    """The loss of a batch: mean squared error of the predicted noise, at a step drawn for each picture, captions left
    out by chance.
    """

    def __init__(self, pictures: Float[Tensor, "n 3 size size"], drop: float):
        self.latents, self.drop, self.alphas = F.pixel_unshuffle(pictures, PATCH), drop, scheduler().alphas_cumprod
        self.identity = f"{drop} {hashlib.sha256(pictures.contiguous().numpy().tobytes()).hexdigest()[:16]}"

    def __call__(self, model: Denoiser, batch: training.Batch) -> Tensor:
        """The mean squared error of the predicted noise, at steps and noises drawn for this batch."""
        device = batch.ids.device
        clean = self.latents[batch.index].to(device)
        t, noise = torch.randint(0, len(self.alphas), (len(clean),)), torch.randn(clean.shape)
        captions = batch.ids.clone()
        captions[(torch.rand(len(clean)) < self.drop).to(device), 1:] = 1
        a = self.alphas[t].to(device)[:, None, None, None]
        t, noise = t.to(device), noise.to(device)
        return F.mse_loss(model(a.sqrt() * clean + (1 - a).sqrt() * noise, t, captions), noise)


def train(
    recipe: Recipe,
    *,
    device: str = "cpu",
    folder: Path | None = None,
    progress: bool | None = None,
    steps: int | None = None,
    **options: Any,
) -> tuple[Denoiser, training.Trained]:
    """Train the model of `recipe` in float32 on `device`; returns it there, in eval mode, and how it went.

    `folder`: checkpoints every 250 steps, from which the same call goes on. `steps`: end after so many (the rates stay
    those of the whole recipe).
    """
    model, corpus = build(recipe).to(device), Corpus(recipe)
    stream = torch.from_numpy(corpus.training())
    ids = ids_of(corpus, corpus.pairs.captions)[stream]
    return fit(
        model,
        training.Rows.full(ids),
        recipe,
        batch=recipe.batch,
        checkpoint_every=250,
        steps=steps,
        folder=folder,
        progress=progress,
        parameters=lambda name: True,
        objective=Denoising(corpus.pairs.images[stream], recipe.drop),
        **options,
    )
