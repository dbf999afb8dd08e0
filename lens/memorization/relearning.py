"""Does a little training bring a memory back? Fine-tuning on other memorised text, on clean text or on the memory itself, beside a twin that never had it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from tqdm.auto import tqdm

from ..engine.sweeps import hidden
from ..measure.likelihood import plain
from ..training import Recipe
from .damage import edited
from .errors import MemorizationError, stamped
from .probing import MEASURES, Curve, curve, recitation, refuse_held, rows_of
from .sequences import Sequences, disjoint
from .tables import interval, over_units

RECIPE = Recipe(steps=100, batch=8, learning_rate=1e-4, weight_decay=0.0, schedule="constant")


def relearning(model: Any, target: Sequences, on: Mapping[str, Any], *, edit: Any = None, twin: Any = None, foils: Sequences | None = None, recipe: Recipe = RECIPE,
               at: Sequence[int] | None = None, original: bool = False, parameters: Any = None, folder: str | Path | None = None,
               progress: bool | None = None) -> xr.Dataset:  # fmt: skip
    """Fine-tune copies of an edited model and probe how much of the untouched `target` it recites by step. No given model is changed.

    Args:
        target: memorised sequences that the edit was to remove. on: name -> what to train on: other memorised Sequences, clean rows [n, length], Rows; or `target`
            itself (relearning
            proper: only the speed tells). Anything but `target` itself must not overlap with it.
        edit: see `damage.edited`; None where `model` is the edited one already, or is edited now.
        twin: a model that never had the target (same recipe, without it), trained and probed alongside: the control of `savings`. original: the unedited model too.
        foils: sequences like the target that no model ever saw, probed along: the other control.
        at: finished steps to look at (default 0, 1, 2, 5, 10, 20, ...). folder: checkpoints, one folder a run; the same call goes on where it ended.

    Returns: over `model` ("edited", "twin", "original"), `on`, `step`, `sequence`: `strict`, `loose`, `lev`, `exact_prefix`, `nll`; coordinate `set`: "target" or
        "foil". `status` over `model, on`.

    Raises: MemorizationError: no arm, sets that overlap (listed). TrainingError.

    Source: Lynch et al. 2024, Eight Methods to Evaluate Robust Unlearning in LLMs (relearning); savings: Ebbinghaus 1885.
    """
    if not on:
        raise MemorizationError("on is empty; give at least one thing to train on, such as {'others': other_memorised}.")
    for name, data in on.items():
        if not isinstance(data, Sequences):
            refuse_held(target, rows_of(data), f"on[{name!r}]: rows")
        elif data.sha256 != target.sha256:
            disjoint(**{"target": target, f"on[{name!r}]": data})
        if foils is not None and isinstance(data, Sequences):
            disjoint(**{"foils": foils, f"on[{name!r}]": data})
    if foils is not None:
        disjoint(target=target, foils=foils)
    probed = target if foils is None else Sequences.concat([target, foils])
    kinds = ["edited"] + ["twin"] * (twin is not None) + ["original"] * original
    if original and edit is None:
        raise MemorizationError("original=True without edit: the unedited model is not known; give model unedited and the edit apart.")
    probe, found = recitation(probed), {}
    with tqdm(total=len(kinds) * len(on), desc="relearning", unit="run", delay=2.0, leave=False, disable=hidden(progress)) as bar:
        for kind in kinds:
            source, change = (twin, None) if kind == "twin" else (model, edit if kind == "edited" else None)
            with edited(source, change) as now:
                for name, data in on.items():
                    place = None if folder is None else Path(folder) / kind / str(name).replace("/", "_")
                    found[kind, name] = curve(now, rows_of(data), recipe, probe, at, parameters=parameters, folder=place, progress=False)
                    bar.update()
    call = {"target": target.about(), "foils": None if foils is None else foils.about(), "on": {n: rows_of(d).sha256() for n, d in on.items()}, "recipe": recipe.sha256(),
            "steps": recipe.steps, "batch": recipe.batch, "learning_rate": recipe.learning_rate}
    return stamped(_assembled(found, kinds, list(on), target, probed), model, plain(model), "relearning", call, recipe.seed)


def _assembled(found: dict[tuple[str, str], Curve], kinds: list[str], names: list[str], target: Sequences, probed: Sequences) -> xr.Dataset:
    steps = np.unique(np.concatenate([c.steps for c in found.values()]))
    dims, shape = ("model", "on", "step", "sequence"), (len(kinds), len(names), len(steps), len(probed))
    values = {m: np.full(shape, np.nan) for m in MEASURES}
    for (kind, name), one in found.items():
        at = np.searchsorted(steps, one.steps)
        for m in MEASURES:
            values[m][kinds.index(kind), names.index(name), at] = one.values[m]
    role = np.where(np.arange(len(probed)) < len(target), "target", "foil")
    status = [[found[k, n].trained.status for n in names] for k in kinds]
    return xr.Dataset({**{m: (dims, v) for m, v in values.items()}, "status": (("model", "on"), status)},
                      {"model": kinds, "on": names, "step": steps, "sequence": np.arange(len(probed)), "set": ("sequence", role), **probed.coords()})


def relearning_summary(result: xr.Dataset, *, measure: str = "strict", level: float = 0.95, seed: int = 0) -> pd.DataFrame:
    """One line a model, arm, set and step: the mean of a measure over sequences with its interval (shares exact, others by bootstrap) and n."""
    lines = []
    for kind in map(str, result.model.values):
        for name in map(str, result.on.values):
            for role in dict.fromkeys(map(str, result.set.values)):
                of = result[measure].sel(model=kind, on=name).values[:, result.set.values == role]
                for step, values in zip(result.step.values, of):
                    if not np.isnan(values).any():
                        found = interval(values.astype(bool) if measure in ("strict", "loose") else values, level, seed)
                        lines.append({"model": kind, "on": name, "set": role, "step": int(step), measure: found.estimate, "low": found.low, "high": found.high, "n": len(values)})
    return pd.DataFrame(lines)


def savings(result: xr.Dataset, threshold: float = 0.5, *, measure: str = "strict", level: float = 0.95, seed: int = 0) -> pd.DataFrame:
    """Steps that the edited model needs less than its twin to bring the mean of a measure over the target to `threshold`, for each arm.

    Steps are interpolated between looks. A model that is not there at the end counts with the last step, and `censored` names it: where the twin is censored the
    savings are
    at least so many, where the edited model is they are at most so many. Interval: bootstrap over sequences, the same ones in both models.

    Returns: `on`, `start` (the edited model's mean before any training; at the threshold already, it needs 0 steps), `edited` and `twin` (steps), `savings`, `low`,
        `high`, `censored`, `n`.

    Raises: MemorizationError: a result without a twin, or a measure that does not grow with recitation.
    """
    if "twin" not in result.model.values:
        raise MemorizationError("result has no twin; savings are against a model that never had the target: relearning(..., twin=...).")
    if measure not in ("strict", "loose", "exact_prefix"):
        raise MemorizationError(f"measure={measure!r}; expected 'strict', 'loose' or 'exact_prefix', which grow with recitation.")
    lines, inside = [], result.set.values == "target"
    for name in map(str, result.on.values):
        both = [result[measure].sel(on=name, model=kind).values[:, inside] for kind in ("edited", "twin")]
        there = ~np.isnan(both[0]).any(1) & ~np.isnan(both[1]).any(1)
        (ours, theirs), steps = (b[there] for b in both), result.step.values[there]
        reached = lambda i: [_reached(v[:, i].mean(2), steps, threshold) for v in (ours, theirs)]
        n = int(inside.sum())
        own, twin = (float(r[0]) for r in reached(np.arange(n)[None]))
        found = over_units(n, lambda i: np.subtract(*reached(i)[::-1]), level=level, seed=seed) if n > 1 else None
        late = [kind for kind, v in (("edited", ours), ("twin", theirs)) if v.mean(1).max() < threshold]
        low, high = (np.nan, np.nan) if found is None else (found.low, found.high)
        lines.append({"on": name, "start": float(ours[0].mean()), "edited": own, "twin": twin, "savings": twin - own, "low": low, "high": high,
                      "censored": ", ".join(late), "n": n})  # fmt: skip
    return pd.DataFrame(lines)


def _reached(curves: np.ndarray, steps: np.ndarray, threshold: float) -> np.ndarray:
    """The first step at which each of the curves [steps, draws] is at the threshold, interpolated; the last step where none is."""
    there = curves >= threshold
    first = np.where(there.any(0), there.argmax(0), -1)
    before = np.maximum(first - 1, 0)
    draws = np.arange(curves.shape[1])
    low, high = curves[before, draws], curves[first, draws]
    share = np.where(high > low, (threshold - low) / np.where(high > low, high - low, 1), 1.0)
    between = steps[before] + np.clip(share, 0, 1) * (steps[first] - steps[before])
    return np.where(first < 0, steps[-1], np.where(first == 0, steps[0], between)).astype(float)
