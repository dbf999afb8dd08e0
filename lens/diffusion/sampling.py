"""Denoising, batched over captions and seeds: the one loop that samples, watches and attacks go through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from ..arguments import Count, Fraction, door, unfit
from ..engine.linear import uncompiled
from ..engine.sessions import of_one_model
from ..engine.stopping import Stopped, says_stop
from ..progress import hidden
from .arguments import Captions, Guidance, Seeds
from .errors import DiffusionError
from .parts import unet_settings
from .pipeline import Pipeline
from .schedules import Schedule, refuse_drift
from .schedules import timesteps as timesteps

#: Pictures denoised at once, each two rows of the U-Net's batch under guidance; large latents ask for fewer. And how
#: many are decoded at once.
BATCH, DECODED = 96, 32


@dataclass(frozen=True, eq=False)
class Samples:
    """What denoising gave: `images` [caption, seed, 3, h, w] from -1 to 1; `difference` [caption, seed, step], the norm
    of the caption's part of the predicted noise, |eps(x, caption) - eps(x, "")| (empty without guidance), in units of
    noise also where the network predicts a velocity or the picture; `timesteps` [step]; `seeds`.
    """

    images: Float[Tensor, "caption seed 3 h w"]
    difference: Float[Tensor, "caption seed step"]
    timesteps: Int[Tensor, " step"]
    seeds: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Step:
    """One step of one batch, as `watch` sees it: `number` from 0; `captions` [b] and `seeds` [b], the numbers (not the
    values) of each row's caption and seed; `latents` [b, c, h, w] before the step; `guided`: the batch of the U-Net is
    2 b rows, those without a caption first.
    """

    number: int
    timestep: int
    captions: Int[Tensor, " b"]
    seeds: Int[Tensor, " b"]
    latents: Float[Tensor, "b c h w"]
    guided: bool


@door(DiffusionError)
def noise(pipeline: Pipeline, seeds: Seeds) -> Float[Tensor, "seed c h w"]:
    """The starting noise of each seed, the same on any device and for any caption."""
    return torch.stack(
        [torch.randn(pipeline.latent_shape, generator=torch.Generator().manual_seed(int(seed))) for seed in seeds]
    )


@door(DiffusionError)
@of_one_model
def denoise(
    pipeline: Pipeline,
    captions: Captions | None = None,
    *,
    embeddings: Float[Tensor, "caption length d"] | None = None,
    seeds: Seeds = (0,),
    steps: Count = 25,
    guidance: Guidance = 3.0,
    start: tuple[Float[Tensor, "caption c h w"], Fraction] | None = None,
    batch: Count = BATCH,
    watch: Callable[[Step], AbstractContextManager] | None = None,
    each: Callable[[Step], None] | None = None,
    only: Count | None = None,
    decode: bool = True,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
) -> Samples:
    """Pictures of captions, one for each seed.

    Args:
        embeddings: states of the text encoder in place of captions (found by an attack).
        seeds: of the starting noise; every caption starts from the same noise of a seed. steps: of the pipeline's own
            scheduler.
        guidance: classifier-free guidance; 1 runs the captioned half alone.
        start: latents of a picture for each caption and the share of the steps to run: the pictures are noised to that
            step and denoised from there. Schedulers whose steps come in groups begin at one. A scheduler that would
            not end at the latents when told the noise is refused.
        watch: a context around each call of the U-Net (hooks); a compiled U-Net runs as it was written meanwhile. each:
            called after each step, with the latents after it.
        only: run so many steps and stop there (for scores of first steps): the images are then what the last latents
            decode to. decode: False leaves the images out (none, [.., 0]).
        stop: asked before each step.

    The scheduler is the pipeline's own, as it is now; a copy of it runs. One that adds noise draws it from the seed's
    own generator, after the starting noise, so that a picture depends on its caption and seed alone, not on its batch.

    Raises: DiffusionError: captions or embeddings that cannot be used, no seed, too few steps, a scheduler of another
        kind or one that cannot start in the middle, latents that are not finite (the step is named). Stopped: `stop`
        said so.

    Cost: steps x captions x seeds x 2 forward passes of the U-Net (half of it with guidance 1).
    """
    states = _states(pipeline, captions, embeddings)
    seeds = tuple(int(seed) for seed in seeds)
    share = None if start is None else start[1]
    used = Schedule(pipeline, steps, share).steps
    if only is not None and only > len(used):
        raise DiffusionError(f"only={only!r}; expected 1 to {len(used)}, the steps that there are.")
    count = len(used) if only is None else int(only)
    first = noise(pipeline, seeds)
    empty = pipeline.embed([""])
    if start is not None and (
        start[0].shape != (len(states), *pipeline.latent_shape) or not bool(torch.isfinite(start[0]).all())
    ):
        raise DiffusionError(
            f"start has latents of shape {tuple(start[0].shape)}; expected {(len(states), *pipeline.latent_shape)}, one"
            " for each caption, all of them finite."
        )
    if start is not None:
        refuse_drift(pipeline, steps, *start)
    jobs = [(c, s) for c in range(len(states)) for s in range(len(seeds))]
    images: list[Tensor] = []
    differences: list[Tensor] = []
    bar = tqdm(
        total=len(jobs) * count, desc="denoising", unit="picture-step", delay=2.0, leave=False, disable=hidden(progress)
    )
    with bar, torch.no_grad():
        for at in range(0, len(jobs), batch):
            some = torch.tensor(jobs[at : at + batch])
            ran = Schedule(pipeline, steps, share)
            own = ran.noisy([seeds[s] for s in some[:, 1]], pipeline.latent_shape)
            added = first[some[:, 1]].to(pipeline.device, pipeline.dtype)
            x = ran.starting(added, None if start is None else start[0].to(added)[some[:, 0]])
            text = states[some[:, 0]]
            run = torch.cat([empty.expand_as(text), text]) if guidance > 1 else text
            parts, finite = [], []
            for number, t in enumerate(used[:count]):
                if says_stop(stop):
                    raise Stopped(f"denoising stopped after {at} of {len(jobs)} pictures")
                step = Step(number, int(t), some[:, 0], some[:, 1], x, guidance > 1)
                rows = ran.rows(torch.cat([x, x]) if guidance > 1 else x, t)
                with (
                    uncompiled(pipeline.unet) if watch is not None else nullcontext(),
                    watch(step) if watch is not None else nullcontext(),
                ):
                    out = pipeline.unet(rows, t, encoder_hidden_states=run).sample
                if guidance > 1:
                    plain, captioned = out.chunk(2)
                    change = captioned - plain
                    parts.append(change.float().flatten(1).norm(dim=1) * ran.in_noise(t))
                    out = plain + guidance * change
                x = ran.step(number, out, x, own)
                finite.append(torch.isfinite(x).all())
                if each is not None:
                    each(Step(number, int(t), some[:, 0], some[:, 1], x, guidance > 1))
                bar.update(len(some))
            # asked once a batch: a device need not wait at each step
            if not bool((ok := torch.stack(finite)).all()):
                number = int((~ok).nonzero()[0])
                raise DiffusionError(
                    f"latents are not finite after step {number} (of 0 to {count - 1}; timestep {int(used[number])};"
                    f" captions {int(some[0, 0])} to {int(some[-1, 0])}); run in float32, lower guidance={guidance}, or"
                    " undo the edit in force."
                )
            images.append(
                torch.cat([pipeline.decode(few).cpu() for few in x.split(DECODED)])
                if decode
                else torch.zeros(len(some), 3, 0, 0)
            )
            differences.append(torch.stack(parts, 1).cpu() if parts else torch.zeros(len(some), 0))
    joined, difference = torch.cat(images), torch.cat(differences)
    return Samples(
        joined.view(len(states), len(seeds), *joined.shape[1:]),
        difference.view(len(states), len(seeds), difference.shape[1]),
        used[:count].cpu(),
        seeds,
    )


def _states(pipeline: Pipeline, captions: Sequence[str] | None, embeddings: Tensor | None) -> Tensor:
    if (captions is None) == (embeddings is None):
        raise DiffusionError("captions and embeddings: give one of the two.")
    if captions is not None:
        return pipeline.embed(captions)
    assert embeddings is not None  # one of the two is there
    width = unet_settings(pipeline.unet).cross_attention_dim
    if not embeddings.numel() or embeddings.shape[-1] != width or not bool(torch.isfinite(embeddings).all()):
        raise DiffusionError(
            f"embeddings has shape {tuple(embeddings.shape)}; expected finite states [caption, length, {width}]."
        )
    return embeddings.to(pipeline.device, pipeline.dtype)


@door(DiffusionError)
def predicted(
    pipeline: Pipeline,
    latents: Float[Tensor, "b c h w"],
    timesteps: Int[Tensor, " b"],
    states: Float[Tensor, "b length d"],
) -> Float[Tensor, "b c h w"]:
    """The U-Net's noise for latents that are noised already; gradients go through. Raises: DiffusionError: shapes that
    do not fit one another or the U-Net.
    """
    _require_shape("latents", latents, (len(latents), *pipeline.latent_shape))
    _require_shape("timesteps", timesteps, (len(latents),))
    _require_shape("states", states, (len(latents), states.shape[1], unet_settings(pipeline.unet).cross_attention_dim))
    return pipeline.unet(latents, timesteps, encoder_hidden_states=states).sample


def _require_shape(name: str, value: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(value.shape) != shape or not value.numel():
        raise DiffusionError(unfit(name, value, f"shape {shape}, at least one"))


@door(DiffusionError)
def noised(
    pipeline: Pipeline, clean: Float[Tensor, "b c h w"], added: Float[Tensor, "b c h w"], timesteps: Int[Tensor, " b"]
) -> Float[Tensor, "b c h w"]:
    """Clean latents with noise of the training schedule at some steps. Raises: DiffusionError: shapes that do not fit,
    steps that are not there.
    """
    _require_shape("added", added, tuple(clean.shape))
    _require_shape("timesteps", timesteps, (len(clean),))
    # asked on the processor alone: a device need not wait
    if timesteps.device.type == "cpu" and not 0 <= int(timesteps.min()) <= int(timesteps.max()) < len(
        pipeline.scheduler.alphas_cumprod
    ):
        raise DiffusionError(
            unfit("timesteps", timesteps, f"steps from 0 to {len(pipeline.scheduler.alphas_cumprod) - 1}")
        )
    a = pipeline.scheduler.alphas_cumprod.to(clean.device, torch.float32)[timesteps][:, None, None, None]
    return (a.sqrt() * clean + (1 - a).sqrt() * added).to(clean.dtype)
