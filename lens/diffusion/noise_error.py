"""The noise that a diffusion model predicts for pictures that it never saw, against the noise that was added."""

from __future__ import annotations

import itertools
from typing import Annotated, Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from ..arguments import Count, Seed, Share, Whole, door, unfit
from ..arguments import array as numbers
from ..engine.sessions import of_one_model
from ..progress import hidden
from ..results import dataset as results
from ..stats import Interval, bootstrap
from ..stats.bounds import AT_LEAST_0
from .arguments import Captions, texts_of
from .errors import DiffusionError
from .pipeline import Pipeline
from .sampling import BATCH, noised, predicted
from .schedules import require_noise


@door(DiffusionError)
@of_one_model
def denoising_error(
    pipeline: Pipeline,
    images: Any,
    captions: Captions,
    *,
    bins: Any = 10,
    per: Annotated[int, Whole(1, 10**6)] = 2,
    seed: Seed = 0,
    batch: Count = 2 * BATCH,
    level: Share = 0.95,
    progress: bool | None = None,
) -> xr.Dataset:
    """Mean squared error of the predicted noise on pictures, by bin of the training schedule's step.

    The same seed gives each picture the same steps and noise under any edit (common random numbers), so that errors
    before and after one compare in pairs.

    Args:
        images, captions: held-out pairs. bins: how many of equal width, or their edges [first, ..., last + 1]. per:
            draws of step and noise for each picture and bin.

    Returns: over `picture, bin`: `error`; over `bin`: `mean`, `low`, `high` (bootstrap over pictures), coordinates
        `begin`, `end`; `overall`, `overall_low`, `overall_high` over all bins.

    Raises: DiffusionError: pairs that do not fit, bins that are not there, a scheduler whose network does not predict
        noise, an error that is not finite.

    Cost: pictures x bins x per forward passes of the U-Net, without guidance.
    """
    require_noise(pipeline, "this error is of the predicted noise ('epsilon')")
    steps = int(pipeline.scheduler.config.num_train_timesteps)
    expected = f"1 to {steps}, or rising edges from 0 to {steps}"
    edges = numbers(bins, "bins", expected, DiffusionError, "iu", np.int64)
    if edges.ndim == 0 and 0 < edges <= steps:
        edges = np.linspace(0, steps, int(edges) + 1).round().astype(int)
    if edges.ndim != 1 or len(edges) < 2 or edges[0] < 0 or edges[-1] > steps or (np.diff(edges) < 1).any():
        raise DiffusionError(unfit("bins", bins, expected))
    texts = texts_of(captions)
    clean = pipeline.encode(torch.from_numpy(images) if isinstance(images, np.ndarray) else images)
    if len(clean) != len(texts):
        raise DiffusionError(
            f"images has {len(clean)} pictures and captions {len(texts)} texts; expected a caption for each picture,"
            " in the same order."
        )
    known = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    states, whose = pipeline.embed(list(known)), torch.tensor([known[text] for text in texts])
    jobs, error = len(edges[:-1]) * per, np.zeros((len(clean), len(edges) - 1))
    some = max(1, batch // jobs)
    with torch.no_grad():
        for at in tqdm(
            range(0, len(clean), some),
            desc="denoising error",
            unit="batch",
            delay=2.0,
            leave=False,
            disable=hidden(progress),
        ):
            of = range(at, min(at + some, len(clean)))
            drawn = [_draw(seed, number, edges, per, tuple(clean.shape[1:])) for number in of]
            t, added = (
                torch.cat([t for t, _ in drawn]).to(clean.device),
                torch.cat([noise for _, noise in drawn]).to(clean),
            )
            number = torch.tensor(of).repeat_interleave(jobs)
            errors = []
            for rows in torch.arange(len(t)).split(batch):
                x = noised(pipeline, clean[number[rows]], added[rows], t[rows])
                out = predicted(pipeline, x, t[rows], states[whose[number[rows]]])
                errors.append(((out - added[rows]).double() ** 2).flatten(1).mean(1).cpu())
            error[at : at + len(of)] = torch.cat(errors).view(len(of), -1, per).mean(2).numpy()
    if not np.isfinite(error).all():
        raise DiffusionError("pipeline: the predicted noise is not finite; run in float32, or undo the edit in force.")
    coords = {
        "picture": np.arange(len(error)),
        "bin": np.arange(error.shape[1]),
        "begin": ("bin", edges[:-1]),
        "end": ("bin", edges[1:]),
    }
    ds = xr.Dataset({"error": (("picture", "bin"), error)}, coords)
    if len(error) > 1:
        by, whole = (
            bootstrap(x, level=level, seed=seed, values="number", bounds=AT_LEAST_0) for x in (error, error.mean(1))
        )
    else:
        by, whole = (
            Interval(value, value * np.nan, value * np.nan, level, 1, "none: one picture")
            for value in (error[0], error.mean())
        )
    ds = ds.assign(
        mean=("bin", by.estimate),
        low=("bin", by.low),
        high=("bin", by.high),
        overall=whole.estimate,
        overall_low=whole.low,
        overall_high=whole.high,
        interval_kind=("bin", np.broadcast_to(by.kind, ds.sizes["bin"])),
        overall_interval_kind=str(whole.kind),
    )
    model = {"name": pipeline.name, "hash": pipeline.unet_hash, "pipeline": pipeline.hash}
    return results.stamp(
        ds,
        {
            "kind": "denoising error",
            "seed": seed,
            "model": model,
            "call": {"bins": edges.tolist(), "per": per, "level": level},
        },
    )


def _draw(
    seed: int, number: int, edges: np.ndarray, per: int, shape: tuple[int, ...]
) -> tuple[Int[Tensor, " job"], Float[Tensor, "job c h w"]]:
    """Steps (`per` in each bin, bins in order) and noise of one picture; they depend on the seed and the picture's
    number alone.
    """
    rng = torch.Generator().manual_seed(
        int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> 1)
    )
    t = torch.cat([torch.randint(int(a), int(b), (per,), generator=rng) for a, b in itertools.pairwise(edges)])
    return t, torch.randn(len(t), *shape, generator=rng)
