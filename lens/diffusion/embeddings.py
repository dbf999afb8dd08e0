"""Text embeddings that make a U-Net denoise towards given pictures, optimised."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from ..arguments import Count, Draws, Positive, Seed, Size, door, unfit
from ..engine.sessions import of_one_model
from ..engine.stopping import Stopped, says_stop
from ..progress import hidden
from .arguments import Captions
from .errors import DiffusionError
from .pipeline import Pipeline
from .sampling import BATCH, noised, predicted
from .schedules import require_noise

#: Why an attack asks for the noise.
ATTACKS = "attacks are written for the noise ('epsilon'), as Stable Diffusion 1.x predicts it"


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
    require_noise(pipeline, ATTACKS)
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
    noise = predicted(pipeline, noised(pipeline, clean[of], added, t), t, y.to(pipeline.dtype)[of])
    return (noise - added).to(y.dtype).square().flatten(1).mean(1).view(-1, batch).mean(1)


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
