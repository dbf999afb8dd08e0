"""Does a picture that an edit took away come back? Embeddings optimised towards it, prompts said otherwise, and
denoising that starts from the picture itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from ..arguments import Count, Draws, Filled, Fraction, Positive, Seed, Size, array, door, unfit
from ..engine.sessions import of_one_model
from ..engine.stopping import Stopped, says_stop
from ..progress import hidden
from ..results import dataset as results
from ..results.record import Plainly, record_of
from .arguments import Captions, Guidance, Seeds
from .errors import DiffusionError
from .pipeline import Pipeline
from .sampling import BATCH, denoise, noised, predicted
from .schedules import prediction, refuse_unknown

#: images [caption, seed, 3, h, w] -> how much of its own training picture each holds, [caption, seed]: truth values,
#: shares or correlations. The captions' order is the caller's.
Measure = Callable[[Any], Any]
#: Pictures and as many captions.
Pairs = tuple[Any, Sequence[str]]


@dataclass(frozen=True, eq=False)
class Embeddings:
    """What an attack on the text embedding found. `states`: finished steps -> [caption, length, d], the last among
    them; `loss` [caption, step], the mean squared error of the predicted noise before each step's update; `seed`;
    `model`: hash of the U-Net's weights that were attacked, an edit in force included.
    """

    states: Mapping[int, Float[Tensor, "caption length d"]]
    loss: Float[Tensor, "caption step"]
    seed: int
    model: str

    @property
    def final(self) -> Float[Tensor, "caption length d"]:
        """The states after the last step, as `denoise(embeddings=...)` takes them."""
        return self.states[max(self.states)]


@door(DiffusionError)
@of_one_model
def optimise_embeddings(
    pipeline: Pipeline,
    images: Any,
    *,
    start: Captions = "empty",
    steps: Draws = 50,
    learning_rate: Positive = 0.1,
    batch: Count = 8,
    seed: Seed = 0,
    at: Sequence[Size] = (),
    rows: Count = BATCH,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
) -> Embeddings:
    """Look for text embeddings that make the U-Net denoise towards given pictures: Adam on the embedding, fresh noise
    and denoising steps at each update.

    With enough steps this draws any picture, memorised or not: it says something only beside never-memorised pictures
        that were attacked with the same budget (see `attack`).

    Args:
        images: a picture for each embedding, see `Pipeline.pictures`. start: captions, one for each picture, whose own
            states are the start; "empty": the states of no caption; "random": normal noise with their mean and spread.
        steps, learning_rate, batch: as in the paper; `batch` noised copies of a picture for each update. at: finished
            steps whose states are kept too; the last always are.
        rows: rows of the U-Net's batch at most. Pictures are independent: alone or with others, each gets the same
            noise and (up to the order of summation) the same states.

    An edit in force stays as it is; no gradient goes to a weight.

    Raises: DiffusionError: pictures or captions that cannot be used or do not match in number, a wrong number, a
        pipeline that does not predict noise, a loss or states that are not finite (the step is named). Stopped: `stop`
        said so.

    Cost: steps x pictures x batch forward and backward passes of the U-Net.

    Source: Kowalczuk et al. 2025, Finding DoRI.
    """
    pictures = pipeline.pictures(images)
    keep = sorted({int(s) for s in at} | {int(steps)})
    if keep[-1] > steps:
        raise DiffusionError(unfit("at", at, f"numbers of finished steps from 0 to steps={steps}"))
    if learning_rate > 1e30:
        raise DiffusionError(unfit("learning_rate", learning_rate, "a rate above 0, 1e30 at most"))
    refuse_other_predictions(pipeline)
    first = _start(pipeline, start, len(pictures), seed)
    clean = pipeline.encode(pictures)
    states: dict[int, list[Tensor]] = {s: [] for s in keep}
    losses, per = [], max(1, rows // batch)
    bar = tqdm(
        total=len(clean) * steps,
        desc="optimising embeddings",
        unit="picture-step",
        delay=2.0,
        leave=False,
        disable=hidden(progress),
    )
    with bar, torch.enable_grad():
        for begin in range(0, len(clean), per):
            some = slice(begin, begin + per)
            y = first[some].clone().requires_grad_(True)
            adam = torch.optim.Adam([y], lr=learning_rate)
            streams = [torch.Generator().manual_seed(_seed_of(picture, seed)) for picture in pictures[some]]
            curve = []
            for step in range(steps + 1):
                if step in states:
                    states[step].append(y.detach().to(pipeline.dtype).clone())
                if step == steps:
                    break
                if says_stop(stop):
                    raise Stopped(
                        f"optimising embeddings stopped after {begin} of {len(clean)} pictures and {step} of {steps}"
                        " steps"
                    )
                loss = _errors(pipeline, clean[some], y, streams, batch)
                # independent losses: the gradient of their sum is each one's own
                (y.grad,) = torch.autograd.grad(loss.sum(), y)
                if not bool(torch.isfinite(loss).all() and torch.isfinite(y.grad).all()):
                    raise DiffusionError(
                        f"learning_rate={learning_rate}: the loss or its gradient is not finite at step {step} of"
                        f" {steps} (pictures from {begin}); lower it, run in float32, or undo the edit in force."
                    )
                adam.step()
                curve.append(loss.detach().cpu())
                bar.update(len(y))
            if not bool(torch.isfinite(y).all()):
                raise DiffusionError(
                    f"learning_rate={learning_rate}: the embedding is not finite after step {steps} of {steps};"
                    " lower it."
                )
            losses.append(torch.stack(curve, 1))
    return Embeddings({s: torch.cat(parts) for s, parts in states.items()}, torch.cat(losses), int(seed), pipeline.hash)


def _errors(
    pipeline: Pipeline, clean: Tensor, y: Tensor, streams: Sequence[torch.Generator], batch: int
) -> Float[Tensor, " caption"]:
    """Mean squared error of the predicted noise for each picture, over `batch` draws from its own stream."""
    t, added = (
        torch.cat(parts).to(clean.device) for parts in zip(*(draws(pipeline, stream, batch) for stream in streams))
    )
    added = added.to(clean.dtype)
    of = torch.arange(len(clean), device=clean.device).repeat_interleave(batch)
    found = predicted(pipeline, noised(pipeline, clean[of], added, t), t, y.to(pipeline.dtype)[of])
    return (found - added).to(y.dtype).square().flatten(1).mean(1).view(-1, batch).mean(1)


def draws(pipeline: Pipeline, stream: torch.Generator, batch: int) -> tuple[Tensor, Tensor]:
    """Denoising steps [batch] of the training schedule, all alike, and as much noise [batch, c, h, w]."""
    return torch.randint(pipeline.scheduler.config.num_train_timesteps, (batch,), generator=stream), torch.randn(
        batch, *pipeline.latent_shape, generator=stream
    )


def _seed_of(picture: Tensor, seed: int) -> int:
    """A picture's own seed, the same wherever it stands among others."""
    values = picture.detach().cpu().float().contiguous().numpy().tobytes()
    return int.from_bytes(hashlib.sha256(f"{int(seed)} ".encode() + values).digest()[:8], "little") >> 1


def _start(pipeline: Pipeline, start: Sequence[str] | str, count: int, seed: int) -> Float[Tensor, "n length d"]:
    kind = torch.promote_types(pipeline.dtype, torch.float32)
    if isinstance(start, str):
        if start not in ("empty", "random"):
            raise DiffusionError(
                f"start={start!r}; expected 'empty', 'random' or a list of captions, one for each picture."
            )
        empty = pipeline.embed([""]).to(kind)
        if start == "empty":
            return empty.repeat(count, 1, 1)
        stream = torch.Generator().manual_seed(int(seed))
        return torch.randn(count, *empty.shape[1:], generator=stream).to(empty) * empty.std() + empty.mean()
    if len(start) != count:
        raise DiffusionError(f"start holds {len(start)} captions for {count} pictures; give one for each.")
    try:
        return pipeline.embed(start).to(kind)
    except DiffusionError as error:
        raise DiffusionError(f"start: {error}") from None


def refuse_other_predictions(pipeline: Pipeline) -> None:
    """Raises DiffusionError where the U-Net was trained to predict something else than the noise, or for a scheduler of
    an unknown kind.
    """
    refuse_unknown(pipeline.scheduler)
    kind = prediction(pipeline.scheduler)
    if kind != "epsilon":
        raise DiffusionError(
            f"pipeline: {pipeline.name} predicts {kind!r}; attacks are written for the noise ('epsilon'), as Stable"
            " Diffusion 1.x predicts it."
        )


# -- attacks, measured -------------------------------------------------------------------------------------------------


@door(DiffusionError)
@of_one_model
def attack(
    pipeline: Pipeline,
    targets: Pairs,
    control: Pairs,
    *,
    measure: Measure,
    start: Literal["caption", "empty", "random"] = "caption",
    steps: Draws = 50,
    at: Annotated[Sequence[Size], Filled()] | None = None,
    learning_rate: Positive = 0.1,
    batch: Count = 8,
    seed: Seed = 0,
    seeds: Seeds = (0, 1, 2, 3),
    denoising_steps: Count = 25,
    guidance: Guidance = 3.0,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
) -> xr.Dataset:
    """Optimise the embeddings of memorised and of never-memorised pictures with the same budget, and measure what they
    bring back from fresh noise.

    Args:
        targets: memorised pictures and their captions. control: pictures that the model never saw, with captions of the
            same kind.
        measure: called with the images of all captions, the targets' first. start: "caption" (each one's own), "empty"
            or "random".
        at: finished steps at which is measured (default 0, half of them and the last; 0 is the unattacked start). The
            rest: see `optimise_embeddings` and `denoise`.

    Returns: over `step, caption, seed`: `value`; over `caption, update`: `loss`; coordinates `set` ("target" or
        "control") and `prompt` of each caption.

    Raises: as `optimise_embeddings` and `denoise`; DiffusionError: a caption in both sets, a measure of another shape.

    Source: Kowalczuk et al. 2025, Finding DoRI.
    """
    pictures, captions, sets = both(pipeline, targets, control)
    looks = sorted({0, int(steps) // 2, int(steps)} if at is None else {int(s) for s in at})
    found = optimise_embeddings(
        pipeline,
        pictures,
        start=captions if start == "caption" else start,
        steps=steps,
        learning_rate=learning_rate,
        batch=batch,
        seed=seed,
        at=looks,
        progress=progress,
        stop=stop,
    )
    values = []
    for step in looks:
        made = denoise(
            pipeline,
            embeddings=found.states[step],
            seeds=seeds,
            steps=denoising_steps,
            guidance=guidance,
            progress=progress,
            stop=stop,
        )
        values.append(measured(measure, made.images))
    ds = xr.Dataset(
        {
            "value": (("step", "caption", "seed"), np.stack(values)),
            "loss": (("caption", "update"), found.loss.double().numpy()),
        },
        {"step": looks, "seed": list(map(int, seeds)), "update": np.arange(steps), **_coords(captions, sets)},
    )
    call = {
        "start": start,
        "steps": steps,
        "learning_rate": learning_rate,
        "batch": batch,
        "denoising_steps": denoising_steps,
        "guidance": guidance,
        "pictures": digest(pictures),
    }
    return stamped(ds, pipeline, "embedding attack", call, seed)


@door(DiffusionError)
@of_one_model
def noisy_start(
    pipeline: Pipeline,
    targets: Pairs,
    control: Pairs,
    *,
    measure: Measure,
    shares: Sequence[Fraction] = (0.25, 0.5, 0.75),
    seeds: Seeds = (0, 1, 2, 3),
    denoising_steps: Count = 25,
    guidance: Guidance = 3.0,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
) -> xr.Dataset:
    """Noise pictures to a share of the denoising steps, denoise them from there, and measure what comes back.

    The control (pictures that the model never saw) tells how much of a picture survives the noise anyway. Arguments and
    errors as `attack`; `shares`: of the steps that are run.

    Returns: over `share, caption, seed`: `value`; coordinates `set` and `prompt` of each caption.
    """
    pictures, captions, sets = both(pipeline, targets, control)
    if not len(shares):
        raise DiffusionError("shares is empty; give at least one share of the steps, above 0 and at most 1.")
    if len(set(shares)) < len(shares):
        raise DiffusionError(unfit("shares", shares, "different shares of the steps"))
    latents, values = pipeline.encode(pictures), []
    for share in shares:
        made = denoise(
            pipeline,
            captions,
            seeds=seeds,
            steps=denoising_steps,
            guidance=guidance,
            start=(latents, float(share)),
            progress=progress,
            stop=stop,
        )
        values.append(measured(measure, made.images))
    ds = xr.Dataset(
        {"value": (("share", "caption", "seed"), np.stack(values))},
        {"share": list(map(float, shares)), "seed": list(map(int, seeds)), **_coords(captions, sets)},
    )
    return stamped(
        ds,
        pipeline,
        "noisy start",
        {"denoising_steps": denoising_steps, "guidance": guidance, "pictures": digest(pictures)},
    )


@door(DiffusionError)
@of_one_model
def prompts(
    pipeline: Pipeline,
    variants: Mapping[str, Sequence[str]],
    *,
    measure: Measure,
    seeds: Seeds = (0, 1, 2, 3),
    denoising_steps: Count = 25,
    guidance: Guidance = 3.0,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
) -> xr.Dataset:
    """Measure what captions said in several ways bring back: as they are, in other words, in part, from seeds that were
    not used for locating.

    Args:
        variants: name -> captions, each of the same pictures in the same order. measure: called once for each variant.

    Returns: over `variant, caption, seed`: `value`; `prompt` over `variant, caption`. The control is a run of the same
        call on a twin that never saw the pictures.

    Raises: as `denoise`; DiffusionError: variants of different numbers of captions, a measure of another shape.
    """
    counts = {name: len(list(captions)) for name, captions in variants.items()}
    if not counts or len(set(counts.values())) > 1:
        raise DiffusionError(f"variants has {counts}; expected at least one, and the same number of captions in each.")
    values = [
        measured(
            measure,
            denoise(
                pipeline,
                list(captions),
                seeds=seeds,
                steps=denoising_steps,
                guidance=guidance,
                progress=progress,
                stop=stop,
            ).images,
        )
        for captions in variants.values()
    ]
    ds = xr.Dataset(
        {"value": (("variant", "caption", "seed"), np.stack(values))},
        {
            "variant": list(variants),
            "caption": np.arange(values[0].shape[0]),
            "seed": list(map(int, seeds)),
            "prompt": (("variant", "caption"), [list(captions) for captions in variants.values()]),
        },
    )
    return stamped(ds, pipeline, "prompt attacks", {"denoising_steps": denoising_steps, "guidance": guidance})


# -- shared with relearning --------------------------------------------------------------------------------------------


def pairs_of(pipeline: Pipeline, pairs: Pairs, argument: str) -> tuple[Float[Tensor, "n 3 h w"], list[str]]:
    """Pictures and captions of one argument. Raises DiffusionError: no such pair, or numbers that do not match."""
    pictures, captions = pipeline.pictures(pairs[0], f"{argument}[0]"), list(pairs[1])
    try:
        pipeline.tokens(captions)
    except DiffusionError as error:
        raise DiffusionError(f"{argument}: {error}") from None
    if len(pictures) != len(captions):
        raise DiffusionError(
            f"{argument} has {len(pictures)} pictures and {len(captions)} captions; give one caption for each picture."
        )
    return pictures, captions


def both(pipeline: Pipeline, targets: Pairs, control: Pairs) -> tuple[Tensor, list[str], list[str]]:
    """Targets and then control: pictures, captions, and the set of each. Raises DiffusionError: as `pairs_of`; sets
    that overlap.
    """
    one, two = pairs_of(pipeline, targets, "targets"), pairs_of(pipeline, control, "control")
    refuse_shared(one, two, "targets", "control")
    return torch.cat([one[0], two[0]]), one[1] + two[1], ["target"] * len(one[1]) + ["control"] * len(two[1])


def refuse_shared(one: tuple[Tensor, list[str]], two: tuple[Tensor, list[str]], first: str, second: str) -> None:
    """Raises DiffusionError where two sets of pairs share a caption or a picture, naming the captions."""
    if shared := sorted(set(one[1]) & set(two[1])):
        raise DiffusionError(
            f"{first} and {second} share {len(shared)} captions: {', '.join(map(repr, shared[:4]))}; take them out of"
            " one of the two."
        )
    known = {digest(picture) for picture in one[0]}
    if same := [caption for picture, caption in zip(*two) if digest(picture) in known]:
        raise DiffusionError(
            f"{first} and {second} share {len(same)} pictures, in {second} with the captions"
            f" {', '.join(map(repr, same[:4]))}; take them out of one of the two."
        )


def measured(measure: Measure, images: Float[Tensor, "caption seed 3 h w"]) -> np.ndarray:
    """What the caller's measure says, as numbers [caption, seed]. Raises DiffusionError: another shape, or a number
    that is not finite.
    """
    values = array(
        measure(images),
        "measure",
        f"a function that gives a number for each caption and seed, {tuple(images.shape[:2])}",
        DiffusionError,
        dtype=np.float64,
    )
    if values.shape != tuple(images.shape[:2]) or not np.isfinite(values).all():
        raise DiffusionError(
            f"measure gave numbers of shape {values.shape}, {int((~np.isfinite(values)).sum())} of them not finite;"
            f" expected one for each caption and seed, {tuple(images.shape[:2])}."
        )
    return values


def digest(value: Tensor) -> str:
    """A short hash of numbers."""
    return hashlib.sha256(value.detach().cpu().float().contiguous().numpy().tobytes()).hexdigest()[:16]


def stamped(
    ds: xr.Dataset,
    pipeline: Pipeline,
    kind: str,
    call: Mapping[str, Any],
    seed: int | None = None,
    status: str = "complete",
) -> xr.Dataset:
    """The result with its record: the U-Net as it is now (an edit in force is in its hash), the hash of all parts of
    the pipeline, the call and the seed.
    """
    seen = Plainly(pipeline.unet, pipeline.dtype, pipeline.device)
    record = record_of(pipeline.unet, seen, kind, call, seed=seed, status=status)
    return results.stamp(ds, record | {"model": record["model"] | {"pipeline": pipeline.hash}})


def _coords(captions: Sequence[str], sets: Sequence[str]) -> dict[str, Any]:
    return {"caption": np.arange(len(captions)), "prompt": ("caption", list(captions)), "set": ("caption", list(sets))}
