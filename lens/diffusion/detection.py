"""Which captions are memorised, told from the noise that the network predicts: no training picture is needed.

For a memorised caption the predicted noise depends on the caption far more than for others: d(p) is the mean over steps
(and seeds) of |eps(x_t, p) - eps(x_t, "")|.
Source: Wen et al. 2024, Detecting, Explaining, and Mitigating Memorization in Diffusion Models.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from ..arguments import Count, Draws, Seed, Share, array, door
from ..results import dataset as results
from ..stats import AUC, auc, bootstrap, holm
from ..stats.bounds import AT_LEAST_0
from ..stats.labels import MEMBER
from .errors import DiffusionError
from .sampling import Samples

Differences = Samples | Float[Tensor, "caption seed step"] | Float[np.ndarray, "caption seed step"]


@door(DiffusionError)
def noise_difference(samples: Any, first: Count | None = None) -> Float[np.ndarray, " caption"]:
    """d(p) of each caption: the mean over seeds and steps of the caption's part of the predicted noise.

    Args:
        samples: from `denoise` with guidance, or its `difference` [caption, seed, step]. first: only the first steps,
            those with the most noise (None: all).

    Raises: DiffusionError: no differences (guidance 1), numbers that are not finite, more steps than were run.
    """
    values = _differences(samples, "samples")
    steps = values.shape[2] if first is None else first
    if steps > values.shape[2]:
        raise DiffusionError(
            f"first={first!r}; the samples have {values.shape[2]} steps: give 1 to {values.shape[2]}, or None for all."
        )
    return values[:, :, :steps].mean((1, 2))


@door(DiffusionError)
def detect(
    memorised: Any,
    never: Any,
    *,
    first: Sequence[Count | None] = (1, 5, 10, None),
    groups: Any = None,
    level: Share = 0.95,
    resamples: Draws = 20_000,
    seed: Seed = 0,
) -> xr.Dataset:
    """How well d(p) tells captions whose pictures were trained from those that never were.

    Args:
        memorised, never: of the two kinds of captions, denoised with the same seeds and steps. first: numbers of first
            steps to average over, None for all of them.
        groups: names by caption, memorised ones first, of what was drawn by lot together (with a code or without, say);
            labels are permuted within them.

    Returns: over `first`: `auc`, `low`, `high` (DeLong), `p` (labels permuted; guaranteed where the trained captions
        were drawn by lot), `p_kind`, `holm` over `first`, `null` (what the groups alone give away), `tpr`, `tpr_low`,
        `tpr_high` at 1 % false positives, `fpr`, what so many captions reach of it, and `note`, what they cannot
        resolve; over `first, caption`: `score`; over `caption`: `memorised`.

    Raises: DiffusionError: other numbers of seeds or steps in the two, and as `noise_difference`. StatisticsError:
        groups that do not fit.
    """
    a, b = _both(memorised, never)
    groups = (
        None
        if groups is None
        else array(groups, "groups", "a name for each caption, memorised ones first", DiffusionError, "biufUSO")
    )
    steps = [a.shape[2] if k is None else k for k in first]
    if not steps or len(set(steps)) < len(steps):
        raise DiffusionError(
            f"first={list(first)}: of {a.shape[2]} steps that is {steps}; expected different numbers, at least one."
        )
    score = np.stack([np.concatenate([noise_difference(part, k) for part in (a, b)]) for k in steps])
    label = np.arange(score.shape[1]) < len(a)
    curves = [auc(line, label, groups=groups, level=level, resamples=resamples, seed=seed) for line in score]
    cells = [_cell(curve) | {"fpr": _reached(line[~label])} for curve, line in zip(curves, score)]
    ds = xr.Dataset(
        {
            **{name: ("first", [cell[name] for cell in cells]) for name in cells[0]},
            "score": (("first", "caption"), score),
            "memorised": ("caption", label),
        },
        {"first": steps, "caption": np.arange(len(label))},
    )
    ds["holm"] = ("first", holm(ds.p.values))
    ds["p"].attrs["guaranteed_if"] = MEMBER
    call = {
        "memorised": len(a),
        "never": len(b),
        "seeds": a.shape[1],
        "steps": a.shape[2],
        "level": level,
        "resamples": resamples,
        "groups": groups is not None,
    }
    return results.stamp(ds, {"kind": "detection", "seed": seed, "call": call})


@door(DiffusionError)
def detect_by_step(
    memorised: Any, never: Any, *, level: Share = 0.95, resamples: Draws = 2000, seed: Seed = 0
) -> xr.Dataset:
    """The caption's part of the predicted noise at each step, and how well that step alone tells the two kinds of
    captions apart.

    Returns: over `step`: `memorised`, `never` (means over captions) with `..._low`, `..._high` (over captions) and
        `..._interval_kind`, `auc`, `low`, `high`, `p`, `p_kind`, `holm` over the steps.

    Raises: as `detect`.
    """
    a, b = _both(memorised, never)
    means: dict[str, tuple] = {}
    for name, values in (("memorised", a.mean(1)), ("never", b.mean(1))):
        if len(values) < 2:
            raise DiffusionError(f"{name} is of {len(values)} caption; an interval over captions needs at least two.")
        interval = bootstrap(values, level=level, resamples=resamples, seed=seed, values="number", bounds=AT_LEAST_0)
        means |= {
            name: ("step", np.atleast_1d(interval.estimate)),
            f"{name}_low": ("step", np.atleast_1d(interval.low)),
            f"{name}_high": ("step", np.atleast_1d(interval.high)),
            f"{name}_interval_kind": ("step", np.atleast_1d(interval.kind)),
        }
    label = np.arange(len(a) + len(b)) < len(a)
    cells = [
        _cell(auc(line, label, level=level, resamples=resamples, seed=seed))
        for line in np.concatenate([a, b]).mean(1).T
    ]
    ds = xr.Dataset(
        means | {name: ("step", [cell[name] for cell in cells]) for name in ("auc", "low", "high", "p", "p_kind")},
        {"step": np.arange(a.shape[2])},
    )
    ds["holm"] = ("step", holm(ds.p.values))
    ds["p"].attrs["guaranteed_if"] = MEMBER
    times = {
        tuple(np.asarray(samples.timesteps).tolist()) for samples in (memorised, never) if isinstance(samples, Samples)
    }
    if len(times) > 1:
        raise DiffusionError(
            "memorised and never were denoised at other timesteps; run both with the same number of steps."
        )
    if times:
        ds = ds.assign_coords(timestep=("step", list(times.pop())))
    call = {"memorised": len(a), "never": len(b), "seeds": a.shape[1], "level": level, "resamples": resamples}
    return results.stamp(ds, {"kind": "detection by step", "seed": seed, "call": call})


def _differences(samples: Differences, argument: str) -> np.ndarray:
    differences = samples.difference if isinstance(samples, Samples) else samples
    values = array(
        differences,
        argument,
        "Samples of `denoise` with guidance, or their differences [caption, seed, step]",
        DiffusionError,
        dtype=np.float64,
    )
    if values.ndim != 3 or not values.size:
        raise DiffusionError(
            f"{argument} has differences of shape {values.shape}; expected [caption, seed, step], none of them 0:"
            " denoise with guidance above 1."
        )
    if not np.isfinite(values).all() or (values < 0).any():
        raise DiffusionError(
            f"{argument} has differences that are no norms (not finite, or below 0); run in float32, or undo the edit"
            " in force."
        )
    return values


def _both(memorised: Differences, never: Differences) -> tuple[np.ndarray, np.ndarray]:
    a, b = _differences(memorised, "memorised"), _differences(never, "never")
    if a.shape[1:] != b.shape[1:]:
        raise DiffusionError(
            f"memorised has {a.shape[1]} seeds of {a.shape[2]} steps and never {b.shape[1]} of {b.shape[2]}; denoise"
            " both with the same seeds and steps."
        )
    return a, b


def _cell(curve: AUC) -> dict[str, Any]:
    at = curve.tpr_at[0.01]
    return {
        "auc": curve.auc,
        "low": curve.interval.low,
        "high": curve.interval.high,
        "p": float(curve.p),
        "p_kind": curve.p.kind,
        "null": curve.null,
        "tpr": at.estimate,
        "tpr_low": at.low,
        "tpr_high": at.high,
        "note": "; ".join(curve.notes),
    }


def _reached(never: np.ndarray, rate: float = 0.01) -> float:
    """The share of never-trained captions above the threshold that the rate at 1 % was read at: the lowest that no more
    than 1 % of them exceed.
    """
    highest = np.sort(never)[::-1]
    return float((never > highest[int(rate * len(never) + 1e-9)]).mean())
