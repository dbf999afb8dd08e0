"""One model of the diffusion study with everything that is asked of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ... import curvature, subspace
from ...diffusion import (
    Pipeline,
    StepStatistics,
    Threshold,
    background_correlation,
    denoise,
    denoising_error,
    noised,
    normalised_distance,
    predicted,
    statistics,
    threshold,
)
from ...diffusion.pipeline import FEED_FORWARD
from ...organisms.cards.corpus import Pairs
from ..cards_models import Trio

#: Denoising: steps of DDIM, guidance, and the first steps that a mask unites where nothing was chosen (the paper: 10 of
#: 51).
STEPS, GUIDANCE, FIRST = 20, 3.0, 4
#: Seeds of the starting noise: of statistics (the published code has the first alone), of the pictures that are judged,
#: of the attack by new seeds, of the threshold.
DISCOVERY: tuple[int, ...] = (0, 1, 2, 3)
SHOWN: tuple[int, ...] = (10, 11)
NEW: tuple[int, ...] = (20, 21, 22, 23)
NEVER: tuple[int, ...] = (30, 31, 32, 33)
#: Edits are compared where the held-out denoising error has risen by this share; and looked into at the least dose that
#: leaves at most this share of the copies.
RISE, LEFT = 0.05, 0.25
#: Prompt sets by use: settings are chosen on the first set of the planted cell, results are of the others.
TUNE, REPORTED = 0, (1, 2, 3)


class Bench:
    """One model of the study: its pictures, what of them counts as copied, statistics by caption, and the cost of an
    edit.

    A picture counts as copied where its background correlates with the training picture's by more than `threshold`,
    which few pictures of fresh never-trained captions exceed (the share is bounded by `threshold().bound`); digits have
    no background: the normalised distance, below its threshold. `per_set`: so many pairs of each planted set at most;
    `steps`: of denoising.
    """

    def __init__(self, seed: int, trio: Trio, held: int = 120, per_set: int | None = None, steps: int = STEPS):
        self.seed, self.pipeline, self.twin, self.corpus, self.held = seed, trio.pipeline, trio.twin, trio.corpus, held
        self.steps = steps
        self.pairs = trio.corpus.pairs if per_set is None else _first_of_each_set(trio.corpus.pairs, per_set)
        # a bench with few pairs is a trial: half of the seeds
        half = slice(None) if per_set is None else slice(2)
        self.discovery, self.never, self.looks = DISCOVERY[half], NEVER[half], (*SHOWN, *NEW[:2])[half]
        #: the block whose cross-attention the tune set chose, once `places` has asked for it
        self.block: str | None = None
        self._kept: dict[Any, Any] = {}
        # of the unedited model, so before any edit: what follows is measured against them
        self._before, self._unedited = [self.errors(half) for half in (0, 1)], self.pipeline.hash

    def kept(self, key: Any, make: Callable[[], Any]) -> Any:
        """What was computed for this model under a key before."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def _require_unedited(self) -> None:
        if self.pipeline.hash != self._unedited:
            raise RuntimeError("an edit is in force on the model, and this is asked of the unedited one; ask it before")

    # -- pictures ---------------------------------------------------------------------------------------------------

    def pictures(
        self,
        captions: Sequence[str] | None = None,
        *,
        pipeline: Pipeline | None = None,
        seeds: Sequence[int] = SHOWN,
        **options: Any,
    ) -> Float[Tensor, "caption seed 3 h w"]:
        """What the model (or another) makes of captions, with any edit in force."""
        how: dict[str, Any] = {"seeds": seeds, "steps": self.steps, "guidance": GUIDANCE, "progress": False}
        return denoise(pipeline or self.pipeline, captions, **how, **options).images

    def likeness(self, images: Float[Tensor, "caption seed 3 h w"], of: Pairs) -> Float[np.ndarray, "caption seed"]:
        """How like the training pictures: background correlation, and for digits the normalised distance with its sign
        turned.
        """
        if (of.digit >= 0).all():
            return -np.asarray(normalised_distance(images, of.images, self.digits.images))
        return np.asarray(background_correlation(images, of.images, of.seen))

    def copies(self, images: Float[Tensor, "caption seed 3 h w"], of: Pairs) -> Float[np.ndarray, " caption"]:
        """The share of the seeds with which each caption's picture is a copy."""
        return self.threshold(bool((of.digit >= 0).all())).of(self.likeness(images, of)).mean(1)

    def threshold(self, digits: bool = False) -> Threshold:
        """What the pictures of a fresh never-trained caption exceed in one case of a hundred at most, in the unedited
        model.
        """

        def make() -> Threshold:
            self._require_unedited()
            cells = map(self.pairs.of, ("digit-never",) if digits else ("code-never", "generic-never"))
            like = [self.likeness(self.pictures(of.captions, seeds=self.never), of) for of in cells]
            return threshold(np.concatenate(like))

        return self.kept(("threshold", digits), make)

    @cached_property
    def digits(self) -> Pairs:
        """The digits that were trained on."""
        return self.pairs.take((self.pairs.digit >= 0) & (self.pairs.duplicates > 0))

    def copied(self, cell: str, of_set: int | None = None) -> Pairs:
        """The pairs of a cell that the unedited model copies with at least half of the seeds: only they enter an
        edit.
        """

        def make() -> Pairs:
            self._require_unedited()
            every = self.pairs.of(cell)
            return every.take(self.copies(self.pictures(every.captions), every) >= 0.5)

        found = self.kept(("copied", cell), make)
        return found if of_set is None else found.take(found.set == of_set)

    # -- cost -------------------------------------------------------------------------------------------------------

    @cached_property
    def heldout(self) -> tuple[Pairs, Pairs]:
        """Held-out pairs: those that doses are chosen on, and those that costs are reported on."""
        every = self.pairs.of("held-out")
        count = min(self.held, len(every) // 2)
        return every.take(np.arange(count)), every.take(np.arange(count, 2 * count))

    def errors(self, half: int, pipeline: Pipeline | None = None) -> Float[np.ndarray, "picture bin"]:
        """The held-out denoising error of each picture by bin of the step, with any edit in force; noise and steps are
        the same each time.
        """
        of = self.heldout[half]
        model = pipeline or self.pipeline
        return denoising_error(model, of.images, of.captions, per=1, seed=half, progress=False).error.values

    def before(self, half: int) -> Float[np.ndarray, "picture bin"]:
        """The errors of the unedited model."""
        return self._before[half]

    def rise(self, half: int) -> float:
        """By what share the held-out error is above the unedited model's now."""
        return float(self.errors(half).mean() / self.before(half).mean() - 1)

    # -- statistics -------------------------------------------------------------------------------------------------

    def stats(
        self, captions: Sequence[str], published: bool = False, layers: str | Sequence[str] = FEED_FORWARD
    ) -> StepStatistics:
        """Statistics of captions, each caption run once. `published`: with one seed."""
        known: dict[str, StepStatistics] = self.kept(("stats", published, layers), dict)
        if missing := [caption for caption in dict.fromkeys(captions) if caption not in known]:
            made = statistics(
                self.pipeline,
                missing,
                layers=layers,
                seeds=self.discovery[:1] if published else self.discovery,
                steps=self.steps,
                guidance=GUIDANCE,
                progress=False,
            )
            known.update({caption: made.take([i]) for i, caption in enumerate(missing)})
        first = known[captions[0]]
        return StepStatistics(
            tuple(captions),
            {name: torch.cat([known[c].sums[name] for c in captions]) for name in first.sums},
            first.rows,
            first.model,
            first.settings,
        )

    @cached_property
    def references(self) -> dict[str, list[str]]:
        """What memorised captions are contrasted with: nothing (as published), ordinary captions, or captions of the
        same kind whose pictures were never trained on.
        """
        planted = {
            caption for cell in ("generic-many", "generic-once") for caption in self.pairs.of(cell).captions
        }  # some have a held-out pair's caption
        return {
            "empty": [""],
            "ordinary": [c for c in self.pairs.of("held-out").captions if c not in planted][-24:],
            "same kind": list(self.pairs.of("code-never").captions),
        }

    def moments(self, captions: Sequence[str]) -> subspace.Stats:
        """Second moments of the feed-forward inputs over captions while they are denoised, the captioned half alone."""

        def run(some: Sequence[str]) -> None:
            denoise(
                self.pipeline,
                some,
                seeds=self.discovery,
                steps=self.steps,
                guidance=GUIDANCE,
                batch=len(some) * len(self.discovery),
                decode=False,
                progress=False,
            )

        def owner(some):
            return [-1] * (len(some) * len(self.discovery)) + [i for i in range(len(some)) for _ in self.discovery]

        def make():
            return subspace.statistics(
                self.pipeline.unet,
                FEED_FORWARD,
                list(captions),
                run=run,
                owner=owner,
                second_moment=True,
                batch=24,
                progress=False,
            )

        return self.kept(("moments", tuple(captions)), make)

    @cached_property
    def decomposition(self) -> curvature.Decomposition:
        """The eigenvectors of the K-FAC factors of the feed-forward second layers, from pool pairs that were there
        once.
        """
        pool = self.pairs.of("pool").take(np.arange(384))
        latents, states = self.pipeline.encode(pool.images), self.pipeline.embed(pool.captions)
        batches = [(latents[i : i + 32], states[i : i + 32]) for i in range(0, len(latents), 32)]
        unet, noise = self.pipeline.unet, GaussianNoise(self.pipeline)
        factors = curvature.factors(unet, FEED_FORWARD, batches, objective=noise, seed=self.seed, progress=False)
        return curvature.decompose(unet, factors)


def _first_of_each_set(pairs: Pairs, count: int) -> Pairs:
    """Pairs with at most so many of each planted set, pool and held-out ones all; four at least of the sets that are
    halved or whose pictures have two captions each.
    """
    number = pd.DataFrame({"cell": pairs.cell, "set": pairs.set}).groupby(["cell", "set"]).cumcount().to_numpy()
    most = np.where(np.isin(pairs.cell, ("template", "two-captions")), max(count, 4), count)
    return pairs.take((number < most) | (pairs.set < 0))


class GaussianNoise:
    """The loss whose gradients give the Fisher matrix of a denoiser: its noise read as the mean of a Gaussian of unit
    variance, with targets drawn from it, so that what is propagated back is standard normal. A picture's steps are
    drawn.
    """

    def __init__(self, pipeline: Pipeline):
        self.pipeline, self.__qualname__ = pipeline, "GaussianNoise"

    def __call__(self, unet: torch.nn.Module, batch: tuple[Tensor, Tensor], generator: torch.Generator) -> Tensor:
        """The loss of a batch of latents and captions' states, summed over pixels."""
        clean, states = batch
        device, count = clean.device, len(self.pipeline.scheduler.alphas_cumprod)
        t = torch.randint(0, count, (len(clean),), generator=generator).to(device)
        noise, residual = (torch.randn(clean.shape, generator=generator).to(device) for _ in range(2))
        out = predicted(self.pipeline, noised(self.pipeline, clean, noise, t).requires_grad_(), t, states)
        return 0.5 * F.mse_loss(out, (out + residual).detach(), reduction="sum")
