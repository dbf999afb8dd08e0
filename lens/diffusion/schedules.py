"""A pipeline's scheduler as it is: copied for each run, started at its first step or in the middle, and asked at which
level of noise a step is.

The copy keeps what the pipeline corrected in the scheduler after it was made; one built anew from its configuration
would lose that. Started in the middle, formulas of several steps begin as they do at the first step (one that has no
history yet has a lower order), and a run that would still not end at the given latents is refused.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
import json
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .errors import DiffusionError
from .pipeline import Pipeline

#: What a network may predict; from each of them the predicted noise follows.
PREDICTIONS = ("epsilon", "v_prediction", "sample")
#: What a run asks of a scheduler.
_ASKED = ("set_timesteps", "step", "scale_model_input", "add_noise", "init_noise_sigma", "alphas_cumprod")
#: Errors by which a scheduler says that it cannot do what it was asked.
_OTHERS = (ValueError, TypeError, NotImplementedError, ImportError, AttributeError, LookupError)
_ADVICE = "give the pipeline another one, such as DDIMScheduler.from_config(pipeline.scheduler.config)."
#: How far from the given latents a run may end when it is told the noise that was added, beyond the schedule's own last
#: level; in units of that noise.
OFF = 0.01
#: How far from 1 the noise of one step may be, in units of its level, where a scheduler adds noise of its own: numbers
#: that are looked at, and the share.
_LOOKED_AT, _LEVEL = 4096, 0.15


class Scheduled(Protocol):
    """Something that has a scheduler, and where its latents are: a pipeline."""

    scheduler: Any

    @property
    def device(self) -> torch.device:
        """Where the latents are."""
        ...


class Schedule:
    """One run of a copy of the scheduler: `steps` [step], the timesteps in order; the methods are called for one after
    another.

    Args:
        steps: as asked of the scheduler. share: None to start from noise at the first step; else the share of the steps
            to run, the last ones.

    Raises: DiffusionError: steps or share out of range, or a scheduler of a kind that this family does not know.
    """

    def __init__(self, pipeline: Scheduled, steps: int, share: float | None = None):
        scheduler = pipeline.scheduler
        refuse_unknown(scheduler)
        most = scheduler.config.num_train_timesteps
        if isinstance(steps, bool) or not 1 <= int(steps) <= most:
            raise DiffusionError(f"steps={steps!r}; expected 1 to {most}.")
        if share is not None and not 0 < share <= 1:
            raise DiffusionError(f"start has a share of {share!r}; expected one above 0, at most 1.")
        self.ran = copy.deepcopy(scheduler)
        self._try("set_timesteps", int(steps), device=pipeline.device)
        every = self.ran.timesteps
        if every[0] < every[-1]:
            raise DiffusionError(
                f"scheduler: the timesteps of {type(scheduler).__name__} rise, as for an inversion; {_ADVICE}"
            )
        self.steps: Int[Tensor, " step"] = every
        if share is not None:
            self._start_late(max(1, round(share * len(every))))
        taken = inspect.signature(self.ran.step).parameters
        self._noisy, self._ordered = "generator" in taken, "order" in taken

    def _start_late(self, count: int) -> None:
        """Keep the last `count` steps, or a few more where the scheduler's steps come in groups."""
        every, order = self.ran.timesteps, int(getattr(self.ran, "order", 1))
        if getattr(self.ran.config, "skip_prk_steps", False):
            # the pseudo linear multistep formula takes its second timestep twice, for a history; so does a start in the
            # middle
            own = torch.unique_consecutive(every)
            own = own[len(own) - max(1, count - 1) :]
            self.steps = torch.cat([own[:2], own[1:]])
            return
        at = len(every) - count
        at -= at % order
        self.steps = every[at:]
        if hasattr(self.ran, "set_begin_index"):
            self.ran.set_begin_index(at)

    def noisy(self, seeds: Sequence[int], shape: Sequence[int]) -> dict[str, Any]:
        """Options of `step` for a scheduler that may add noise: a generator for each row that has drawn its starting
        noise already.
        """
        if not self._noisy:
            return {}
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        for generator in generators:
            torch.randn(*shape, generator=generator)
        return {"generator": generators}

    def starting(
        self, added: Float[Tensor, "b c h w"], clean: Float[Tensor, "b c h w"] | None = None
    ) -> Float[Tensor, "b c h w"]:
        """Latents before the first step: noise alone, or clean latents with that noise at its level."""
        return (
            added * self.ran.init_noise_sigma
            if clean is None
            else self.ran.add_noise(clean, added, self.steps[:1].expand(len(clean)))
        )

    def rows(self, x: Float[Tensor, "b c h w"], t: Tensor) -> Float[Tensor, "b c h w"]:
        """What the network is given for latents."""
        return self.ran.scale_model_input(x, t)

    def step(
        self, number: int, out: Float[Tensor, "b c h w"], x: Float[Tensor, "b c h w"], own: dict[str, Any]
    ) -> Float[Tensor, "b c h w"]:
        """Latents after step `number` of `steps`, from what the network predicted."""
        if self._ordered:
            # linear multistep: as many terms as there are predictions so far
            own = own | {"order": min(number + 1, 4)}
        return self._try("step", out, self.steps[number], x, **own).prev_sample

    def signal(self, t: Tensor) -> float:
        """How much of the network's input the clean latents are: input = signal * clean + sqrt(1 - signal^2) * noise.
        Asked before `step`.
        """
        scaled = float(self.ran.scale_model_input(torch.ones(1), t))
        if scaled != 1:
            return scaled  # of a scheduler that works on clean + sigma * noise
        at, sigmas = getattr(self.ran, "step_index", None), getattr(self.ran, "sigmas", None)
        return float(
            (1 + sigmas[at] ** 2) ** -0.5
            if at is not None and sigmas is not None
            else self.ran.alphas_cumprod[int(t)].sqrt()
        )

    def in_noise(self, t: Tensor) -> float:
        """By how much a difference of two predictions is multiplied to be that of the predicted noise. Asked before
        `step`.
        """
        kind = prediction(self.ran)
        if kind == "epsilon":
            return 1.0
        signal = self.signal(t)
        return signal if kind == "v_prediction" else signal / max(1 - signal**2, 1e-12) ** 0.5

    def answer(self, t: Tensor, clean: Tensor, added: Tensor) -> Tensor:
        """What a network says that knows both the clean latents and the noise."""
        kind = prediction(self.ran)
        if kind == "epsilon":
            return added
        signal = self.signal(t)
        return clean if kind == "sample" else signal * added - (1 - signal**2) ** 0.5 * clean

    def _try(self, name: str, *args: Any, **options: Any) -> Any:
        try:
            return getattr(self.ran, name)(*args, **options)
        except _OTHERS as error:
            raise DiffusionError(
                f"scheduler: {name} of {type(self.ran).__name__} failed ({type(error).__name__}: "
                f"{(str(error).splitlines() or [''])[0]}); {_ADVICE}"
            ) from None


def timesteps(pipeline: Pipeline, steps: int) -> Int[Tensor, " step"]:
    """The steps that the pipeline's scheduler makes of so many; PNDM, as Stable Diffusion 1 has it, makes one more.
    Raises as `Schedule`.
    """
    return Schedule(pipeline, steps).steps.cpu()


def prediction(scheduler: Any) -> str:
    """What the network of a scheduler predicts: one of `PREDICTIONS`, or another word that `refuse_unknown` refuses."""
    return getattr(scheduler.config, "prediction_type", "epsilon")


def refuse_unknown(scheduler: Any) -> None:
    """Raises: DiffusionError: a scheduler that lacks what a run asks for, asks for more, predicts something else, or
    draws noise that is not a picture's own.
    """
    name = type(scheduler).__name__
    if missing := [part for part in _ASKED if not hasattr(scheduler, part)]:
        raise DiffusionError(
            f"scheduler: a {name} without {', '.join(missing)} is of a kind that this family does not know; {_ADVICE}"
        )
    needed = {
        key
        for key, value in inspect.signature(scheduler.step).parameters.items()
        if value.default is value.empty and value.kind is value.POSITIONAL_OR_KEYWORD
    }
    if further := sorted(needed - {"model_output", "timestep", "sample"}):
        raise DiffusionError(
            f"scheduler: a step of {name} needs {', '.join(further)} too, which a text alone does not give; {_ADVICE}"
        )
    if (kind := prediction(scheduler)) not in PREDICTIONS or getattr(scheduler.config, "use_flow_sigmas", False):
        raise DiffusionError(
            f"scheduler: {name} with prediction_type={kind!r}, "
            f"use_flow_sigmas={getattr(scheduler.config, 'use_flow_sigmas', False)}; "
            f"expected one of {', '.join(PREDICTIONS)} of a diffusion, not of a flow."
        )
    if hasattr(scheduler, "noise_sampler"):
        raise DiffusionError(
            f"scheduler: {name} draws one path of noise for a whole batch, so that a picture would depend on those "
            f"beside it; {_ADVICE}"
        )


def require_noise(pipeline: Pipeline, reason: str) -> None:
    """Raises DiffusionError, with the reason, where the U-Net was trained to predict something else than the noise, and
    for a scheduler of an unknown kind.
    """
    refuse_unknown(pipeline.scheduler)
    if (kind := prediction(pipeline.scheduler)) != "epsilon":
        raise DiffusionError(f"pipeline: {pipeline.name} predicts {kind!r}; {reason}.")


def scheduler_name(pipeline: Pipeline, steps: int) -> str:
    """A scheduler's class and the hash of its configuration, as it is now, and of the levels that it makes of so many
    steps.
    """
    ran = Schedule(pipeline, steps).ran
    config = {key: value for key, value in ran.config.items() if not key.startswith("_")}
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode())
    for key, value in sorted(vars(ran).items()):
        if isinstance(value, Tensor) and value.ndim < 2:
            digest.update(f"{key}:{value.double().tolist()}".encode())
    return f"{type(ran).__name__} {digest.hexdigest()[:12]}"


def refuse_drift(pipeline: Pipeline, steps: int, clean: Float[Tensor, "n c h w"], share: float) -> None:
    """Run the scheduler alone from clean latents that are noised to the middle, with a network that knows both.

    A scheduler without noise of its own must end at the latents (up to the schedule's own last level). One that adds
    noise must at each step be at the level of the step's timestep.

    Raises: DiffusionError: it does not.
    """
    clean = clean.detach().float().cpu()
    clean = clean.repeat(-(-_LOOKED_AT // clean.numel()), 1, 1, 1)
    added = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    ends = [_ended(pipeline, steps, clean, added, share, seed) for seed in (1, 2)]
    if not bool(torch.isfinite(ends[0]).all()):
        raise DiffusionError(
            f"start: with {type(pipeline.scheduler).__name__} and steps={steps}, latents that start at the last "
            f"{share:.0%} of the steps are not finite at the end, "
            f"whatever the network; {_ADVICE}"
        )
    if torch.equal(*ends):
        last = float(1 - pipeline.scheduler.alphas_cumprod[0]) ** 0.5 + OFF
        end = ends[0].double()
        a, b = (
            torch.linalg.lstsq(torch.stack([clean.flatten(), added.flatten()], 1).double(), end.flatten()[:, None])
            .solution.flatten()
            .tolist()
        )
        rest = float((end - a * clean - b * added).abs().max())
        if not (abs(a - 1) <= OFF and abs(b) <= last and rest <= last):
            raise DiffusionError(
                f"start: with {type(pipeline.scheduler).__name__} and steps={steps}, a network that knows the noise "
                f"ends at {a:.3f} times the latents and {b:+.3f} times "
                f"the noise when it starts at the last {share:.0%} of the steps (largest other difference "
                f"{rest:.2g}): {_why(pipeline.scheduler, float(clean.abs().max()))}{_ADVICE}"
            )
        return
    if (off := _levels_off(pipeline, steps, clean, added, share)) > _LEVEL:
        raise DiffusionError(
            f"start: with {type(pipeline.scheduler).__name__} and steps={steps}, latents are {off:.0%} off a step's "
            "level of noise when they start at the last "
            f"{share:.0%} of the steps; {_ADVICE}"
        )


def _why(scheduler: Any, largest: float) -> str:
    """What the person can do: clipped latents are one thing, formulas without a history another."""
    clips = [name for name in ("clip_sample", "thresholding") if getattr(scheduler.config, name, False)]
    if clips and largest > float(getattr(scheduler.config, "clip_sample_range", 1.0)):
        return (
            f"its {' and '.join(clips)} cuts latents beyond its range; give latents within it, or switch that off, or "
        )
    return "its formulas do not begin in the middle; start at the first step (a share of 1), or "


def _ended(pipeline: Pipeline, steps: int, clean: Tensor, added: Tensor, share: float, seed: int) -> Tensor:
    """Where a run ends whose network knows the noise that was added at its start."""
    schedule = _on_cpu(pipeline, steps, share)
    x, own = schedule.starting(added, clean), schedule.noisy([seed] * len(clean), clean.shape[1:])
    for number, t in enumerate(schedule.steps):
        schedule.rows(x, t)
        x = schedule.step(number, schedule.answer(t, clean, added), x, own)
    return x


def _levels_off(pipeline: Pipeline, steps: int, clean: Tensor, added: Tensor, share: float) -> float:
    """How far, at most, the noise in the network's input is from the level of its timestep, with a network that knows
    the clean latents.
    """
    schedule, off = _on_cpu(pipeline, steps, share), 0.0
    x, own = schedule.starting(added, clean), schedule.noisy(range(len(clean)), clean.shape[1:])
    for number, t in enumerate(schedule.steps):
        rows, signal = schedule.rows(x, t), schedule.signal(t)
        inside = (rows - signal * clean) / (1 - signal**2) ** 0.5
        off = max(off, abs(float(inside.std()) - 1))
        x = schedule.step(number, schedule.answer(t, clean, inside), x, own)
    return off


class _Place:
    """A pipeline's scheduler on the processor."""

    def __init__(self, scheduler: Any):
        self.scheduler, self.device = scheduler, torch.device("cpu")


def _on_cpu(pipeline: Pipeline, steps: int, share: float) -> Schedule:
    return Schedule(_Place(pipeline.scheduler), steps, share)
