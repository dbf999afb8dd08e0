"""How many pictures bring a deleted concept back, and sooner than they teach it to a twin that never had it?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import pandas as pd
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from ..arguments import Count, Filled, Fraction, Seed, Share, door
from ..engine.sessions import of_one_model
from .arguments import Guidance
from .errors import DiffusionError
from .measures import Measure
from .pairs import Pairs, digest, pairs_of
from .pipeline import Pipeline
from .relearning import relearn, savings
from .sampling import denoise

#: Numbers of pictures by default; 33 is what MemoRa interpolates from three pairs.
COUNTS = (1, 3, 10, 33)


@door(DiffusionError)
def images_to_recover(
    pipeline: Pipeline,
    sources: Annotated[Mapping[str, Pairs], Filled()],
    targets: Pairs,
    *,
    measure: Measure,
    twin: Pipeline,
    counts: Annotated[Sequence[Count], Filled()] = COUNTS,
    threshold: float = 0.5,
    level: Share = 0.95,
    seed: Seed = 0,
    on_part: Callable[[str, int, xr.Dataset], None] | None = None,
    **options: Any,
) -> pd.DataFrame:
    """Relearning on the first k pictures of each source, and how many steps that takes the model that a concept was
    deleted from less than the twin that never had it.

    The twin sees the same pictures for the same steps: pictures that a model with the concept has made carry it, so
    that any model could learn it from them, and only what is saved tells that it was there. The targets' captions are
    none of those trained on.

    Args:
        pipeline: the concept deleted. sources: name -> pictures with captions, taken in their order: a user's own
            ("own"), the original model's ("original"), `interpolated` ones, and some of another concept as the control
            ("other").
        targets, measure, options: as `relearn`; `measure` gives 0 to 1. twin: as there, and always asked.
        counts: numbers of pictures; every source needs as many as the largest. threshold: of the mean of `measure` that
            counts as recovered. on_part: called with the source, the number of pictures and what `relearn` returned.

    Returns: one line a source and count: `source`, `k`; `start`, `edited`, `twin`, `savings`, `low`, `high`,
        `interval_kind`, `censored`, `n` of `savings`; `final` and `final_twin`, the mean at the end. The concept was
        hidden, not erased, where `low` is above 0 at few pictures.

    Raises: DiffusionError: more pictures asked for than there are, one twice among those trained on, pictures of
        another size, a twin of another size or codec, an overlap with the targets.

    Source: MemoRa (2025, arXiv 2510.03263), without interval or twin there; savings: Ebbinghaus 1885.

    Cost: sources x counts calls of `relearn`.
    """
    if "twin" in options or "others" in options:
        raise DiffusionError("options: others and twin are arguments of their own here; leave them out of the options.")
    if (twin.image_shape, twin.latent_shape) != (pipeline.image_shape, pipeline.latent_shape):
        raise DiffusionError(
            f"twin makes pictures of shape {twin.image_shape} from latents {twin.latent_shape}, the pipeline"
            f" {pipeline.image_shape} from {pipeline.latent_shape}; expected a twin of the same size and codec."
        )
    most = max(counts)
    checked = {name: _distinct(pipeline, pairs, name, most) for name, pairs in sources.items()}
    lines = []
    for name, (pictures, captions) in checked.items():
        for k in counts:
            found = relearn(
                pipeline,
                (pictures[:k], captions[:k]),
                targets,
                measure=measure,
                twin=twin,
                seed=seed,
                **options,
            )
            if on_part is not None:
                on_part(name, int(k), found)
            line = savings(found, threshold, level=level, seed=seed).iloc[0].to_dict()
            lines.append({"source": name, "k": int(k), **line, **_ends(found)})
    return pd.DataFrame(lines)


def _distinct(pipeline: Pipeline, pairs: Pairs, name: str, most: int) -> tuple[Tensor, list[str]]:
    """A source's pictures and captions. Raises DiffusionError: too few, or one twice among those trained on."""
    argument = f"sources[{name!r}]"
    pictures, captions = pairs_of(pipeline, pairs, argument)
    if len(pictures) < most:
        raise DiffusionError(
            f"counts: {most} pictures are asked for, {argument} has {len(pictures)}; give more pictures, or smaller"
            " counts."
        )
    hashes = [digest(picture) for picture in pictures[:most]]
    if len(set(hashes)) < len(hashes):
        twice = next(i for i, one in enumerate(hashes) if one in hashes[:i])
        raise DiffusionError(
            f"{argument}: picture {twice} is there twice among the first {most}, so that k counts too many; give every"
            " picture once."
        )
    return pictures, captions


def _ends(found: xr.Dataset) -> dict[str, float]:
    mean = found.value.isel(step=-1).mean(("caption", "seed"))
    return {"final": float(mean.sel(model="edited")), "final_twin": float(mean.sel(model="twin"))}


@door(DiffusionError)
@of_one_model
def interpolated(
    pipeline: Pipeline,
    pairs: Pairs,
    *,
    points: Count = 11,
    share: Fraction = 0.6,
    steps: Count = 25,
    guidance: Guidance = 3.0,
    seed: Seed = 0,
) -> tuple[Float[Tensor, "n 3 h w"], list[str]]:
    """Pictures between each two that follow each other: their latents on the great circle between both, noised to a
    share of the steps and denoised from there, as many points a pair, ends included; each with its first one's caption.

    Three pairs with eleven points are MemoRa's 33 pictures; it inverts the latents (DDIM) where here they are noised.
    Where the scheduler cuts latents to a range they are cut to it.

    Args:
        pairs: an even number of pictures with captions. share: of the denoising steps that are run.

    Raises: DiffusionError: an odd number of pictures, two that are alike in a pair.

    Source: MemoRa (2025, arXiv 2510.03263).
    """
    pictures, captions = pairs_of(pipeline, pairs, "pairs")
    if len(pictures) % 2:
        raise DiffusionError(f"pairs has {len(pictures)} pictures; expected an even number, two for each pair.")
    latents = pipeline.encode(pictures)
    between, said = [], []
    for at in range(0, len(pictures), 2):
        one, two = latents[at], latents[at + 1]
        if torch.equal(one, two):
            raise DiffusionError(f"pairs: pictures {at} and {at + 1} are one; give two that differ in every pair.")
        for w in torch.linspace(0, 1, int(points)):
            between.append(_within(pipeline, _slerp(one, two, float(w))))
            said.append(captions[at])
    made = denoise(
        pipeline,
        said,
        seeds=(seed,),
        steps=steps,
        guidance=guidance,
        start=(torch.stack(between), share),
        progress=False,
    )
    return made.images[:, 0], said


def _within(pipeline: Pipeline, latents: Tensor) -> Tensor:
    """Latents cut to the range to which the scheduler cuts its own."""
    settings = pipeline.scheduler.config
    if not settings.get("clip_sample", False):
        return latents
    return latents.clamp(-settings.clip_sample_range, settings.clip_sample_range)


def _slerp(one: Tensor, two: Tensor, weight: float) -> Tensor:
    """Spherical interpolation; along the line where both point the same way."""
    cosine = torch.nn.functional.cosine_similarity(one.flatten(), two.flatten(), dim=0).clamp(-1, 1)
    angle = torch.acos(cosine)
    if float(angle.sin()) < 1e-4:
        return torch.lerp(one, two, weight)
    return (torch.sin((1 - weight) * angle) * one + torch.sin(weight * angle) * two) / angle.sin()
