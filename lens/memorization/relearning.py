"""Does a little training bring a memory back? Fine-tuning on other memorised text, on clean text or on the memory
itself, beside a twin that never had it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from tqdm.auto import tqdm

from ..arguments import FilePath, HFModel, Seed, Share, Size, door, unfit
from ..engine.lengths import require_readable
from ..engine.sessions import of_one_model
from ..progress import hidden
from ..scoring.likelihood import plain
from ..stats.crossings import crossing_difference
from ..stats.samples import PValue
from ..training import Recipe
from .damage import edited
from .distances import BOUNDS
from .errors import Holds, MemorizationError, causal, stamp
from .probing import MEASURES, Curve, Parameters, curve, recitation, refuse_held, rows_of
from .sequences import Sequences, apart, disjoint
from .tables import as_summary, change_test, over, units_of, with_mean, with_tests

Measure = Literal["strict", "loose", "lev", "exact_prefix", "nll"]
RECIPE = Recipe(steps=100, batch=8, learning_rate=1e-4, weight_decay=0.0, schedule="constant")
#: why a cell of `relearning_summary` has nothing
NO_LOOK = "none: no look at this step"


#: What `relearning` gives.
Relearned = Annotated[Any, Holds("relearning", ("set",), ("model", "on", "step", "sequence"))]


@door(MemorizationError)
@of_one_model(reads=False)
def relearning(
    model: HFModel,
    target: Sequences,
    on: Mapping[str, Any],
    *,
    edit: Any = None,
    twin: HFModel | None = None,
    foils: Sequences | None = None,
    recipe: Recipe = RECIPE,
    at: Sequence[Size] | None = None,
    original: bool = False,
    parameters: Parameters = None,
    folder: FilePath | None = None,
    progress: bool | None = None,
) -> xr.Dataset:
    """Fine-tune copies of an edited model and probe how much of the untouched `target` it recites by step. No given
    model is changed.

    Args:
        target: memorised sequences that the edit was to remove. on: name -> what to train on: other memorised
            Sequences, clean rows [n, length], Rows; or `target` itself (relearning proper: only the speed tells).
            Anything but `target` itself must not overlap with it.
        edit: see `damage.edited`; None where `model` is the edited one already, or is edited now.
        twin: a model that never had the target (same recipe, without it), trained and probed alongside: the control of
            `savings`. original: the unedited model too.
        foils: sequences like the target that no model ever saw, probed along: the other control.
        at: finished steps to look at (default 0, 1, 2, 5, 10, 20, ...). folder: checkpoints, one folder a run; the same
            call goes on where it ended.

    Returns: over `model` ("edited", "twin", "original"), `on`, `step`, `sequence`: `strict`, `loose`, `lev`,
        `exact_prefix`, `nll`; coordinate `set`: "target" or "foil". `status` over `model, on`.

    Raises: MemorizationError: no arm, sets that overlap (listed). TrainingError.

    Source: Lynch et al. 2024, Eight Methods to Evaluate Robust Unlearning in LLMs (relearning); savings: Ebbinghaus
        1885.
    """
    if not on:
        raise MemorizationError(
            "on is empty; give at least one thing to train on, such as {'others': other_memorised}."
        )
    if twin is not None:
        causal(twin, "twin")
    for name, data in on.items():
        ids = rows_of(data, f"on[{name!r}]: rows").ids
        require_readable(plain(model), int(ids.max()), ids.shape[1], MemorizationError, f"on[{name!r}]")
        if not isinstance(data, Sequences):
            refuse_held(target, rows_of(data, f"on[{name!r}]: rows"), f"on[{name!r}]: rows")
        elif data.sha256 != target.sha256:
            apart({"target": target, f"on[{name!r}]": data})
        if foils is not None and isinstance(data, Sequences):
            apart({"foils": foils, f"on[{name!r}]": data})
    if foils is not None:
        disjoint(target=target, foils=foils)
    probed = target if foils is None else Sequences.concat([target, foils])
    kinds = ["edited"] + ["twin"] * (twin is not None) + ["original"] * original
    if original and edit is None:
        raise MemorizationError(
            "original=True without edit: the unedited model is not known; give model unedited and the edit apart."
        )
    probe, curves = recitation(probed), {}
    with tqdm(
        total=len(kinds) * len(on), desc="relearning", unit="run", delay=2.0, leave=False, disable=hidden(progress)
    ) as bar:
        for kind in kinds:
            source, change = (twin, None) if kind == "twin" else (model, edit if kind == "edited" else None)
            with edited(source, change) as now:
                for name, data in on.items():
                    place = None if folder is None else Path(folder) / kind / str(name).replace("/", "_")
                    curves[kind, name] = curve(
                        now, rows_of(data), recipe, probe, at, parameters=parameters, folder=place, progress=False
                    )
                    bar.update()
    call = {
        "target": target.about(),
        "foils": None if foils is None else foils.about(),
        "on": {n: rows_of(d).sha256() for n, d in on.items()},
        "recipe": recipe.sha256(),
        "steps": recipe.steps,
        "batch": recipe.batch,
        "learning_rate": recipe.learning_rate,
    }
    return stamp(
        _assembled(curves, kinds, list(on), target, probed), model, plain(model), "relearning", call, recipe.seed
    )


def _assembled(
    curves: dict[tuple[str, str], Curve], kinds: list[str], names: list[str], target: Sequences, probed: Sequences
) -> xr.Dataset:
    steps = np.unique(np.concatenate([c.steps for c in curves.values()]))
    dims, shape = ("model", "on", "step", "sequence"), (len(kinds), len(names), len(steps), len(probed))
    values = {m: np.full(shape, np.nan) for m in MEASURES}
    for (kind, name), one in curves.items():
        at = np.searchsorted(steps, one.steps)
        for m in MEASURES:
            values[m][kinds.index(kind), names.index(name), at] = one.values[m]
    role = np.where(np.arange(len(probed)) < len(target), "target", "foil")
    status = [[curves[k, n].trained.status for n in names] for k in kinds]
    return xr.Dataset(
        {**{m: (dims, v) for m, v in values.items()}, "status": (("model", "on"), status)},
        {
            "model": kinds,
            "on": names,
            "step": steps,
            "sequence": np.arange(len(probed)),
            "set": ("sequence", role),
            **probed.coords(),
        },
    )


@door(MemorizationError)
def relearning_summary(
    result: Relearned,
    *,
    measure: Measure = "strict",
    level: Share = 0.95,
    seed: Seed = 0,
    cluster: str | Sequence[Any] | Mapping[str, Any] | None = "auto",
) -> xr.Dataset:
    """Over `model, on, set, step` (`on`: the arm): the mean of a measure over units, as `mean` and by its own name,
    with its interval (`low`, `high`; shares exact) and `interval_kind`; n (units; 0 where the arm had no look at that
    step, and nothing else there); `p` that it is what it was at the first look (sign flips of the paired differences,
    two-sided; guaranteed if symmetric about 0 under the null), `p_holm` over all cells, `p_kind` ("none" of the first
    look itself); `units`: in words, what counted as one. `.to_dataframe().query("n > 0")` is the table, one line a
    look.

    `cluster`: "auto": sequences that are equal or share a coordinate named scene, entity, memory, duplicate or seed are
    one unit, the mean of their values; None: each; a coordinate; or a label for each sequence, targets and foils, in
    their order.

    Raises: MemorizationError: a cluster that is not there. StatisticsError: labels that do not fit.
    """
    _measured(result, measure)
    lines: list[dict[str, Any]] = []
    tests: list[PValue | str] = []
    units, notes = units_of(result, cluster, {"sequence": "sequences"})
    looks = result[measure].transpose("model", "on", "step", "sequence").values
    axes = {axis: list(map(str, result[axis].values)) for axis in ("model", "on")}
    axes["set"] = list(dict.fromkeys(map(str, result.set.values)))
    for k in range(len(axes["model"])):
        for a in range(len(axes["on"])):
            for role in axes["set"]:
                inside = result.set.values == role
                of = None if units["sequence"] is None else units["sequence"][inside]
                first = None
                for values in looks[k, a][:, inside]:
                    if np.isnan(values).any():
                        lines.append({measure: np.nan, "low": np.nan, "high": np.nan, "interval_kind": NO_LOOK, "n": 0})
                        tests.append(NO_LOOK.removeprefix("none: "))
                    else:
                        of_units = values.astype(bool) if measure in ("strict", "loose") else values
                        interval = over(of_units, of, level, seed, bounds=BOUNDS[measure])
                        lines.append(
                            {
                                measure: interval.estimate,
                                "low": interval.low,
                                "high": interval.high,
                                "interval_kind": str(interval.kind),
                                "n": int(interval.n),
                            }
                        )
                        tests.append(
                            "the first look, with which the others are compared"
                            if first is None
                            else change_test(values - first, of, seed)
                        )
                        first = values if first is None else first
    table = with_mean(with_tests(pd.DataFrame(lines), tests).assign(units=notes["sequence"]), measure)
    return as_summary(table, {**axes, "step": result.step.values}, result, measure=measure, level=level, seed=seed)


def _measured(result: xr.Dataset, measure: str) -> None:
    if measure not in result:
        measures = ", ".join(name for name in result.data_vars if name in MEASURES) or "none"
        raise MemorizationError(unfit("measure", measure, f"a measure that the result holds: {measures}"))


@door(MemorizationError)
def savings(
    result: Relearned,
    threshold: float = 0.5,
    *,
    measure: Literal["strict", "loose", "exact_prefix"] = "strict",
    level: Share = 0.95,
    seed: Seed = 0,
) -> pd.DataFrame:
    """Steps that the edited model needs less than its twin to bring the mean of a measure over the target to
    `threshold`, for each arm.

    Steps are interpolated between looks. A model that is not there at the end counts with the last step, and `censored`
    names it: where the twin is censored the savings are at least so many, where the edited model is they are at most so
    many. Interval: from the intervals of the means over sequences at each look, exact for shares
    (`lens.stats.crossings`).

    Returns: `on`, `start` (the edited model's mean before any training; at the threshold already, it needs 0 steps),
        `edited` and `twin` (steps), `savings`, `low`, `high`, `interval_kind`, `censored`, `n`.

    Raises: MemorizationError: a result without a twin, or a measure that does not grow with recitation.
    """
    if "twin" not in result.model.values:
        raise MemorizationError(
            "result has no twin; savings are against a model that never had the target: relearning(..., twin=...)."
        )
    _measured(result, measure)
    lines, inside = [], result.set.values == "target"
    for name in map(str, result.on.values):
        both = [result[measure].sel(on=name, model=kind).values[:, inside] for kind in ("edited", "twin")]
        there = ~np.isnan(both[0]).any(1) & ~np.isnan(both[1]).any(1)
        (ours, theirs), steps = (b[there] for b in both), result.step.values[there]
        n = int(inside.sum())
        late = [kind for kind, v in (("edited", ours), ("twin", theirs)) if v.mean(1).max() < threshold]
        lines.append(
            {
                "on": name,
                "start": float(ours[0].mean()),
                **crossing_difference(ours, theirs, steps, threshold, level, seed),
                "censored": ", ".join(late),
                "n": n,
            }
        )
    return pd.DataFrame(lines)
