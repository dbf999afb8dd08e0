"""Denoising, batched over captions and seeds: the one loop that samples, watches and attacks go through."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from ..engine.sweeps import hidden
from ..engine.walk import Stopped
from .errors import DiffusionError
from .pipeline import Pipeline

#: Pictures denoised at once, each two rows of the U-Net's batch under guidance; large latents ask for fewer. And how many are decoded at once.
BATCH, DECODED = 96, 32


@dataclass(frozen=True, eq=False)
class Samples:
    """What denoising gave: `images` [caption, seed, 3, h, w] from -1 to 1; `difference` [caption, seed, step], the norm of the caption's part of the predicted noise
    |eps(x, caption) - eps(x, "")| (empty without guidance); `timesteps` [step]; `seeds`.
    """

    images: Float[Tensor, "caption seed 3 h w"]
    difference: Float[Tensor, "caption seed step"]
    timesteps: Int[Tensor, " step"]
    seeds: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Step:
    """One step of one batch, as `watch` sees it: `number` from 0; `captions` [b] and `seeds` [b], the numbers (not the values) of each row's caption and seed; `latents`
    [b, c, h, w] before the step; `guided`: the batch of the U-Net is 2 b rows, those without a caption first.
    """

    number: int
    timestep: int
    captions: Int[Tensor, " b"]
    seeds: Int[Tensor, " b"]
    latents: Float[Tensor, "b c h w"]
    guided: bool


def noise(pipeline: Pipeline, seeds: Sequence[int]) -> Float[Tensor, "seed c h w"]:
    """The starting noise of each seed, the same on any device and for any caption."""
    return torch.stack([torch.randn(pipeline.latent_shape, generator=torch.Generator().manual_seed(int(seed))) for seed in seeds])


def timesteps(pipeline: Pipeline, steps: int) -> Int[Tensor, " step"]:
    """The steps that the pipeline's scheduler makes of so many; PNDM, as Stable Diffusion 1 has it, makes one more. Raises DiffusionError for too few or too many."""
    most = pipeline.scheduler.config.num_train_timesteps
    if isinstance(steps, bool) or not 1 <= int(steps) <= most:
        raise DiffusionError(f"steps={steps!r}; expected 1 to {most}.")
    return _fresh(pipeline, steps).timesteps.cpu()


def _fresh(pipeline: Pipeline, steps: int) -> Any:
    ran = type(pipeline.scheduler).from_config(pipeline.scheduler.config)
    ran.set_timesteps(int(steps), device=pipeline.device)
    return ran


def denoise(pipeline: Pipeline, captions: Sequence[str] | None = None, *, embeddings: Float[Tensor, "caption length d"] | None = None, seeds: Sequence[int] = (0,), steps: int = 25,
            guidance: float = 3.0, start: tuple[Float[Tensor, "caption c h w"], float] | None = None, batch: int = BATCH,
            watch: Callable[[Step], AbstractContextManager] | None = None, each: Callable[[Step], None] | None = None, only: int | None = None, decode: bool = True,
            progress: bool | None = None, stop: Callable[[], bool] | None = None) -> Samples:
    """Pictures of captions, one for each seed.

    Args:
        embeddings: states of the text encoder in place of captions (found by an attack).
        seeds: of the starting noise; every caption starts from the same noise of a seed. steps: of the pipeline's own scheduler.
        guidance: classifier-free guidance; 1 runs the captioned half alone.
        start: latents of a picture for each caption and the share of the steps to run: the pictures are noised to that step and denoised from there.
        watch: a context around each call of the U-Net (hooks). each: called after each step, with the latents after it.
        only: run so many steps and stop there (for scores of first steps): the images are then what the last latents decode to. decode: False leaves the images out (none, [.., 0]).
        stop: asked before each step.

    A scheduler that adds noise draws it from the seed's own generator, after the starting noise, so that a picture depends on its caption and seed alone, not on its batch.

    Raises: DiffusionError: captions or embeddings that cannot be used, no seed, too few steps, latents that are not finite (the step is named). Stopped: `stop` said so.

    Cost: steps x captions x seeds x 2 forward passes of the U-Net (half of it with guidance 1).
    """
    states = _states(pipeline, captions, embeddings)
    seeds = tuple(int(seed) for seed in seeds)
    if not seeds or batch < 1:
        raise DiffusionError(f"seeds={list(seeds)}, batch={batch}; expected at least one seed, and a batch of at least 1.")
    if not 1 <= guidance < float("inf"):
        raise DiffusionError(f"guidance={guidance!r}; expected 1 (the caption alone) or more.")
    used = _within(timesteps(pipeline, steps), start)
    if only is not None and (isinstance(only, bool) or not 1 <= only <= len(used)):
        raise DiffusionError(f"only={only!r}; expected 1 to {len(used)}, the steps that there are.")
    count = len(used) if only is None else int(only)
    first = noise(pipeline, seeds)
    empty = pipeline.embed([""])
    if start is not None and (start[0].shape != (len(states), *pipeline.latent_shape) or not bool(torch.isfinite(start[0]).all())):
        raise DiffusionError(f"start has latents of shape {tuple(start[0].shape)}; expected {(len(states), *pipeline.latent_shape)}, one for each caption, all of them finite.")
    jobs = [(c, s) for c in range(len(states)) for s in range(len(seeds))]
    images: list[Tensor] = []
    differences: list[Tensor] = []
    bar = tqdm(total=len(jobs) * count, desc="denoising", unit="picture-step", delay=2.0, leave=False, disable=hidden(progress))
    with bar, torch.no_grad():
        for at in range(0, len(jobs), batch):
            some = torch.tensor(jobs[at:at + batch])
            ran = _fresh(pipeline, steps)
            own = _own_noise(pipeline, ran, [seeds[s] for s in some[:, 1]])
            x, used = _starting(pipeline, ran, first, some, start)
            text = states[some[:, 0]]
            run = torch.cat([empty.expand_as(text), text]) if guidance > 1 else text
            parts, finite = [], []
            for number, t in enumerate(used[:count]):
                if stop is not None and stop():
                    raise Stopped(f"denoising stopped after {at} of {len(jobs)} pictures")
                step = Step(number, int(t), some[:, 0], some[:, 1], x, guidance > 1)
                rows = ran.scale_model_input(torch.cat([x, x]) if guidance > 1 else x, t)
                with watch(step) if watch is not None else nullcontext():
                    out = pipeline.unet(rows, t, encoder_hidden_states=run).sample
                if guidance > 1:
                    plain, told = out.chunk(2)
                    change = told - plain
                    parts.append(change.float().flatten(1).norm(dim=1))
                    out = plain + guidance * change
                x = ran.step(out, t, x, **own).prev_sample
                finite.append(torch.isfinite(x).all())
                if each is not None:
                    each(Step(number, int(t), some[:, 0], some[:, 1], x, guidance > 1))
                bar.update(len(some))
            # asked once a batch: a device need not wait at each step
            if not bool((ok := torch.stack(finite)).all()):
                number = int((~ok).nonzero()[0])
                raise DiffusionError(f"latents are not finite after step {number} (of 0 to {count - 1}; timestep {int(used[number])}; captions {int(some[0, 0])} to {int(some[-1, 0])}); "
                                     f"run in float32, lower guidance={guidance}, or undo the edit in force.")
            images.append(torch.cat([pipeline.decode(few).cpu() for few in x.split(DECODED)]) if decode else torch.zeros(len(some), 3, 0, 0))
            differences.append(torch.stack(parts, 1).cpu() if parts else torch.zeros(len(some), 0))
    joined, difference = torch.cat(images), torch.cat(differences)
    return Samples(joined.view(len(states), len(seeds), *joined.shape[1:]), difference.view(len(states), len(seeds), difference.shape[1]), used[:count].cpu(), seeds)


def _own_noise(pipeline: Pipeline, ran: Any, seeds: Sequence[int]) -> dict[str, Any]:
    """For a scheduler that may add noise at a step, a generator for each row that has drawn its starting noise already."""
    if "generator" not in inspect.signature(ran.step).parameters:
        return {}
    made = [torch.Generator().manual_seed(seed) for seed in seeds]
    for one in made:
        torch.randn(pipeline.latent_shape, generator=one)
    return {"generator": made}


def _within(every: Tensor, start: tuple[Tensor, float] | None) -> Tensor:
    """The steps that are run: all of them, or the last share where pictures are the start."""
    if start is None:
        return every
    if not 0 < start[1] <= 1:
        raise DiffusionError(f"start has a share of {start[1]!r}; expected one above 0, at most 1.")
    return every[len(every) - max(1, round(start[1] * len(every))):]


def _starting(pipeline: Pipeline, ran: Any, first: Tensor, some: Tensor, start: tuple[Tensor, float] | None) -> tuple[Tensor, Tensor]:
    """Where a batch starts, and the steps that it goes through."""
    x = first[some[:, 1]].to(pipeline.device, pipeline.dtype)
    if start is None:
        return x * ran.init_noise_sigma, ran.timesteps
    used = _within(ran.timesteps, start)
    return ran.add_noise(start[0].to(x)[some[:, 0]], x, used[:1].expand(len(x))), used


def _states(pipeline: Pipeline, captions: Sequence[str] | None, embeddings: Tensor | None) -> Tensor:
    if (captions is None) == (embeddings is None):
        raise DiffusionError("captions and embeddings: give one of the two.")
    if embeddings is None:
        return pipeline.embed(captions)
    width = pipeline.unet.config.cross_attention_dim
    if embeddings.ndim != 3 or embeddings.shape[-1] != width or not bool(torch.isfinite(embeddings).all()):
        raise DiffusionError(f"embeddings has shape {tuple(embeddings.shape)}; expected finite states [caption, length, {width}].")
    return embeddings.to(pipeline.device, pipeline.dtype)


def predicted(pipeline: Pipeline, latents: Float[Tensor, "b c h w"], timesteps: Int[Tensor, " b"], states: Float[Tensor, "b length d"]) -> Float[Tensor, "b c h w"]:
    """The U-Net's noise for latents that are noised already; gradients go through."""
    return pipeline.unet(latents, timesteps, encoder_hidden_states=states).sample


def noised(pipeline: Pipeline, clean: Float[Tensor, "b c h w"], added: Float[Tensor, "b c h w"], timesteps: Int[Tensor, " b"]) -> Float[Tensor, "b c h w"]:
    """Clean latents with noise of the training schedule at some steps."""
    a = pipeline.scheduler.alphas_cumprod.to(clean.device, torch.float32)[timesteps][:, None, None, None]
    return (a.sqrt() * clean + (1 - a).sqrt() * added).to(clean.dtype)
