"""Diffusion: a pipeline with random weights, its statistics, attacks, copies and utility."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from lens import diffusion
from lens.organisms import cards
from tests.diffusion.conftest import pipeline_of

from . import Subject

MODULES = ("lens.diffusion",)
RESULTS = ("Samples", "Step", "StepStatistics", "Threshold", "Embeddings", "Classifier")


@functools.cache
def pipeline() -> Any:
    return pipeline_of(cards.Recipe.small(seed=3))


@functools.cache
def corpus() -> Any:
    return cards.Corpus(cards.Recipe.small())


def pairs(of: str, n: int = 2) -> tuple[torch.Tensor, list[str]]:
    some = corpus().pairs.of(of)
    return some.images[:n], list(some.captions[:n])


@functools.cache
def sides() -> tuple[Any, Any]:
    return tuple(
        diffusion.statistics(pipeline(), pairs(of, 3)[1], seeds=(0, 1), steps=2) for of in ("code-many", "code-never")
    )


@functools.cache
def random_pictures(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@functools.cache
def classifier() -> Any:
    return diffusion.train_classifier(random_pictures((12, 3, 8, 8)), {"row": np.arange(12) % 2}, epochs=1, batch=4)


@functools.cache
def folder() -> Path:
    held = tempfile.TemporaryDirectory(prefix="fuzz-diffusion-")
    folder.held = held
    classifier().save(Path(held.name) / "classifier.safetensors")
    return Path(held.name)


@functools.cache
def relearned() -> xr.Dataset:
    """As `relearn` returns."""
    return xr.Dataset(
        {
            "value": (("model", "step", "caption", "seed"), np.linspace(0, 1, 48).reshape(2, 3, 4, 2)),
            "status": ("model", ["complete"] * 2),
        },
        {"model": ["edited", "twin"], "step": [0, 1, 2], "caption": range(4), "seed": [0, 1]},
    )


def redness(images: torch.Tensor) -> torch.Tensor:
    return images[:, :, 0].mean((2, 3))


def subjects():
    p, one = pipeline(), dict(pipeline=pipeline())
    quick = dict(seeds=(0,), guidance=3.0, progress=False)
    targets, control = pairs("code-many"), pairs("code-never")
    attacked = dict(measure=redness, denoising_steps=1, **quick, **one)
    yield Subject(
        "Pipeline",
        diffusion.Pipeline,
        lambda: dict(
            name="a",
            unet=p.unet,
            text_encoder=p.text_encoder,
            tokenizer=p.tokenizer,
            scheduler=p.scheduler,
            codec=p.codec,
            card={},
        ),
    )
    yield Subject("Pipeline.of", diffusion.Pipeline.of, lambda: dict(parts=_parts()))
    for name, given in (
        ("named", dict(which="*.ff.net.2")),
        ("state", {}),
        ("copy", {}),
        ("tokens", dict(captions=["digit one"])),
        ("embed", dict(captions=["digit one"])),
        ("pictures", dict(images=targets[0])),
        ("encode", dict(images=targets[0])),
        ("decode", dict(latents=torch.zeros(1, *p.latent_shape))),
    ):
        yield Subject(
            f"Pipeline.{name}", getattr(p, name), lambda given=given: dict(given), leave=("argument",)
        )  # how a picture is called in errors
    yield Subject("load", diffusion.load, lambda: dict(name="organism:cards", device="cpu"))
    yield Subject(
        "of_parts",
        diffusion.of_parts,
        lambda: dict(
            name="a", denoiser=cards.build(cards.Recipe.small()), tokenizer=p.tokenizer, scheduler=p.scheduler, patch=2
        ),
    )
    yield Subject("noise", diffusion.noise, lambda: dict(seeds=[0, 1], **one))
    yield Subject("denoise", diffusion.denoise, lambda: dict(captions=["digit one"], steps=1, **quick, **one))
    yield Subject(
        "denoise",
        diffusion.denoise,
        lambda: dict(
            embeddings=p.embed(["digit one"]), steps=2, start=(torch.ones(1, *p.latent_shape) / 2, 0.5), **quick, **one
        ),
    )
    yield Subject(
        "predicted",
        diffusion.predicted,
        lambda: dict(latents=torch.zeros(1, *p.latent_shape), timesteps=torch.tensor([5]), states=p.embed([""]), **one),
    )
    yield Subject(
        "noised",
        diffusion.noised,
        lambda: dict(
            clean=torch.zeros(1, *p.latent_shape),
            added=torch.ones(1, *p.latent_shape),
            timesteps=torch.tensor([5]),
            **one,
        ),
    )
    yield Subject("statistics", diffusion.statistics, lambda: dict(captions=["digit one"], steps=1, **quick, **one))
    yield Subject("StepStatistics.take", sides()[0].take, lambda: dict(items=[0]))
    yield Subject("StepStatistics.at", sides()[0].at, lambda: dict(step=0))
    yield Subject("scores", diffusion.scores, lambda: dict(memorised=sides()[0], reference=sides()[1], step=0, **one))
    yield Subject(
        "masks",
        diffusion.masks,
        lambda: dict(memorised=sides()[0], reference=sides()[1], sparsity=0.1, first=1, variant="published", **one),
    )
    yield Subject("union", diffusion.union, lambda: dict(by_step=_masks()))
    yield Subject(
        "locate",
        diffusion.locate,
        lambda: dict(memorised=sides()[0], reference=sides()[1], sparsity=0.1, first=1, variant="published", **one),
    )
    yield Subject("score_map", diffusion.score_map, lambda: dict(memorised=sides()[0], reference=sides()[1], **one))
    yield from _measures()
    yield Subject(
        "optimise_embeddings",
        diffusion.optimise_embeddings,
        lambda: dict(images=targets[0], steps=1, batch=1, progress=False, **one),
    )
    yield Subject(
        "attack", diffusion.attack, lambda: dict(targets=targets, control=control, steps=1, batch=1, **attacked)
    )
    yield Subject(
        "noisy_start", diffusion.noisy_start, lambda: dict(targets=targets, control=control, shares=(1.0,), **attacked)
    )
    yield Subject("prompts", diffusion.prompts, lambda: dict(variants={"a": targets[1]}, **attacked))
    yield Subject(
        "relearn", diffusion.relearn, lambda: dict(others=targets, targets=control, steps=1, batch=1, **attacked)
    )
    yield Subject("savings", diffusion.savings, lambda: dict(result=relearned()))
    yield Subject(
        "images_to_recover",
        diffusion.images_to_recover,
        lambda: dict(sources={"own": targets}, targets=control, twin=pipeline(), counts=(1,), steps=1, **attacked),
    )
    yield Subject(
        "interpolated",
        diffusion.interpolated,
        lambda: dict(pairs=(targets[0][:2], targets[1][:2]), points=2, steps=2, **one),
    )
    yield Subject(
        "denoising_error",
        diffusion.denoising_error,
        lambda: dict(images=targets[0], captions=targets[1], bins=2, per=1, progress=False, **one),
    )


def _measures():
    """Of pictures and of scores, without a pipeline."""
    images, truth, seen, pool = (
        random_pictures((3, 2, 3, 8, 8)),
        random_pictures((3, 3, 8, 8), 1),
        torch.ones(3, 8, 8, dtype=torch.bool),
        random_pictures((9, 3, 8, 8), 2),
    )
    never, seeds = np.random.default_rng(0).random((8, 2, 3)), dict(seed=0)
    yield Subject(
        "background_correlation", diffusion.background_correlation, lambda: dict(images=images, truth=truth, seen=seen)
    )
    yield Subject("ssim", diffusion.ssim, lambda: dict(images=images, truth=truth))
    yield Subject(
        "normalised_distance",
        diffusion.normalised_distance,
        lambda: dict(images=images, truth=truth, pool=pool, nearest=3),
    )
    yield Subject(
        "nearest_identity", diffusion.nearest_identity, lambda: dict(images=images, pool=pool, picture=np.arange(9))
    )
    yield Subject("diversity", diffusion.diversity, lambda: dict(images=images))
    yield Subject("threshold", diffusion.threshold, lambda: dict(never=never[:, :, 0]))
    yield Subject(
        "copied",
        diffusion.copied,
        lambda: dict(
            images=images,
            truth=truth,
            seen=seen,
            pool=pool,
            above=0.5,
            own=np.arange(3),
            picture=np.arange(9),
            captions=["a", "b", "c"],
            seeds=[0, 1],
            nearest=3,
        ),
    )
    yield Subject("rate", diffusion.rate, lambda: dict(copy=never[:, :, 0] > 0.5, resamples=50, **seeds))
    yield Subject("noise_difference", diffusion.noise_difference, lambda: dict(samples=never))
    yield Subject(
        "detect",
        diffusion.detect,
        lambda: dict(memorised=never + 1, never=never, first=(1, None), resamples=99, **seeds),
    )
    yield Subject(
        "detect_by_step",
        diffusion.detect_by_step,
        lambda: dict(memorised=never + 1, never=never, resamples=99, **seeds),
    )
    features = np.random.default_rng(1).normal(size=(2, 12, 3))
    yield Subject("frechet", diffusion.frechet, lambda: dict(a=features[0], b=features[1]))
    yield Subject(
        "frechet_interval", diffusion.frechet_interval, lambda: dict(a=features[0], b=features[1], resamples=50)
    )
    yield Subject("frechet_floor", diffusion.frechet_floor, lambda: dict(a=features[0], b=features[1], splits=5))
    yield Subject("precision_recall", diffusion.precision_recall, lambda: dict(real=features[0], generated=features[1]))
    yield Subject(
        "train_classifier",
        diffusion.train_classifier,
        lambda: dict(
            images=random_pictures((12, 3, 8, 8)), labels={"row": np.arange(12) % 2}, epochs=1, batch=4, progress=False
        ),
    )
    yield Subject("load_classifier", diffusion.load_classifier, lambda: dict(path=folder() / "classifier.safetensors"))
    for name, given in (("features", {}), ("predict", {}), ("accuracy", dict(labels={"row": np.arange(12) % 2}))):
        yield Subject(
            f"Classifier.{name}",
            getattr(classifier(), name),
            lambda given=given: dict(images=random_pictures((12, 3, 8, 8)), **given),
        )
    yield Subject("Classifier.save", classifier().save, lambda: dict(path=folder() / "again.safetensors"))


@functools.cache
def _masks() -> list[Any]:
    return diffusion.masks(pipeline(), *sides(), sparsity=0.1, variant="published")


def _parts() -> Any:
    """Parts as a pipeline of diffusers has them."""
    from types import SimpleNamespace

    p = pipeline()
    vae = torch.nn.Linear(1, 1)
    vae.config = SimpleNamespace(block_out_channels=(1, 1), scaling_factor=1.0)
    return SimpleNamespace(
        unet=p.unet, text_encoder=p.text_encoder, tokenizer=p.tokenizer, scheduler=p.scheduler, vae=vae
    )
