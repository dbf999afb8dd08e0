"""Is it forgotten, and is the old state back: restoration, forgetting, distance to the twin, with intervals over units;
where the stopping rule stops; what tells beforehand which facts come back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pandas as pd
import xarray as xr

from ..arguments import Check, Name, Seed, Share, Unfit, door
from ..results import dataset as results
from ..stats import auc, bootstrap_comparison, holm, sign_flip
from ..stats.axes import units_of
from ..stats.bounds import AT_LEAST_0, SHARE, Bounds
from ..stats.means import NONE, mean_interval
from ..stats.samples import Interval, StatisticsError
from ..stats.units import unit_means
from .errors import UnlearningError
from .questions import PLANTED, RIGHT

#: Axes of a result, and what lies along them.
AXES = {"question": "questions", "forget": "rows", "retain": "rows", "foil": "rows"}
MEASURES = {
    "restoration": "R = (right - right at the start) / (right of the clean model - right at the start)",
    "forgetting": "F = 1 - planted / planted at the start",
    "right": "share of attacked questions answered right",
    "planted": "share of attacked questions answered as planted",
    "right elsewhere": "share of questions that were not attacked answered right",
    "distance to the twin": "KL(twin || model) over attacked questions, nats",
    "distance elsewhere": "KL(twin || model) over the other questions, nats",
    "forget loss": "loss on the forget set's answers, nats a token",
    "retain loss": "loss on the retain set's answers, nats a token",
    "forget probability": "probability of the forget set's answers, the geometric mean over tokens",
    "forgetting of probability": "1 - that probability / the one at the start",
    "foil probability": "probability of other rows' answers to the forget set's prompts",
    "retain probability": "probability of the retain set's answers",
}


class _Result(Check):
    """What `unlearn` gives."""

    expected = "what lens.unlearning.unlearn returned"

    def take(self, value: Any) -> Any:
        """The dataset itself."""
        if not isinstance(value, xr.Dataset) or not {"dose", "forget_logprob", "status", "is_model"} <= set(
            value.variables
        ):
            raise Unfit(value, self.expected)
        if (
            not all(value.sizes.get(axis) for axis in ("arm", "look", "forget", "retain"))
            or "start" not in value.arm.values
        ):
            raise Unfit(value, self.expected)
        return value


Result = Annotated[Any, _Result()]


@door(UnlearningError)
def summary(
    result: Result,
    *,
    level: Share = 0.95,
    seed: Seed = 0,
    cluster: str | Sequence[Any] | Mapping[str, Any] | None = "auto",
) -> xr.Dataset:
    """Every measure that the result holds, for each arm and look.

    Returns: over `measure, arm, look`: `mean` (of a ratio the ratio of means), `low`, `high`, `interval_kind`, `n`
        (units: questions or rows that share a unit count once), `p` (that nothing differs from the start: sign flips of
        the units' differences, two-sided; guaranteed if these are symmetric about 0 under the null), `p_kind`, `p_holm`
        (over all arms and looks of a measure, the models aside); `dose` over `arm, look`. A measure that cannot be had
        is not there (restoration without a clean model, distance without a twin); where a model has no such look all is
        NaN. `says` over `measure`: what each is; `units`: what counted as one, in words.

    `cluster`: "auto": questions, or rows of a set, that share a coordinate named entity (their `unit`), scene, memory,
    duplicate or seed are one unit, the mean of their values; None: each; a coordinate; or a mapping of an axis
    (`question`, `forget`, `retain`, `foil`) to any of these or to a label for each.

    Intervals are of these questions in this one start model; over seeds of training, collect the results of several.
    """
    axes_of = {axis: what for axis, what in AXES.items() if axis in result.dims}
    units, notes = units_of(result, cluster, axes_of, UnlearningError)
    lines = [line for measure in _measures(result, _Units(units, notes), level, seed) for line in measure]
    table = pd.DataFrame(lines)
    for _, of in table.groupby("measure", sort=False):
        tested = of.index[of.p.notna()]
        table.loc[tested, "p_holm"] = holm(of.p[tested].to_numpy()) if len(tested) else np.nan
    indexed = table.set_index(["measure", "arm", "look"])
    axes = {
        "measure": list(dict.fromkeys(table.measure)),
        "arm": [str(a) for a in result.arm.values],
        "look": result.look.values.tolist(),
    }
    shape = [len(v) for v in axes.values()]
    names = ("mean", "low", "high", "interval_kind", "n", "p", "p_kind", "p_holm", "units")
    every = indexed.reindex(pd.MultiIndex.from_product(axes.values(), names=list(axes)))
    ds = xr.Dataset({name: (tuple(axes), every[name].to_numpy().reshape(shape)) for name in names}, axes)
    for name in ("interval_kind", "p_kind", "units"):
        ds[name] = ds[name].astype(str)
    ds["dose"] = result.dose
    record = results.provenance(result) if results.ATTRIBUTE in result.attrs else {}
    about = {"kind": "unlearning summary", "of": record.get("kind"), "statistics": {"level": level, "seed": seed}}
    ds["says"] = ("measure", [MEASURES[name] for name in axes["measure"]])
    return results.stamp(ds, record | about)


@dataclass(frozen=True, eq=False)
class _Units:
    """What counts as one along each axis (None: each), and in words."""

    of: Mapping[str, np.ndarray | None]
    notes: Mapping[str, str]

    def among(self, axis: str, where: np.ndarray) -> _Of:
        """Some of an axis."""
        labels = self.of[axis]
        own = np.arange(len(where)) if labels is None else labels
        return _Of(where, own[where], self.notes[axis])


@dataclass(frozen=True, eq=False)
class _Of:
    """Which values along an axis a measure is of, the unit of each, and what counted as one."""

    where: np.ndarray
    labels: np.ndarray
    note: str


def _measures(result: xr.Dataset, units: _Units, level: float, seed: int) -> Iterator[list[dict[str, Any]]]:
    if "outcome" in result:
        attacked = result.attacked.values
        right, planted = ((result.outcome.values == of).astype(float) for of in (RIGHT, PLANTED))
        for values in (right, planted):
            values[result.outcome.values < 0] = np.nan
        clean = _once(result, right, "clean")
        at = units.among("question", attacked)
        if clean is not None:
            yield _ratio("restoration", result, right, clean - _start(result, right), at, level, seed)
        yield _ratio("forgetting", result, planted, -_start(result, planted), at, level, seed)
        yield _mean("right", result, right, at, level, seed, SHARE)
        yield _mean("planted", result, planted, at, level, seed, SHARE)
        other = units.among("question", ~attacked)
        if not attacked.all():
            yield _mean("right elsewhere", result, right, other, level, seed, SHARE)
        kl = result.kl_twin.values
        if not np.isnan(_start(result, kl)).any():
            yield _mean("distance to the twin", result, kl, at, level, seed, AT_LEAST_0)
            if not attacked.all():
                yield _mean("distance elsewhere", result, kl, other, level, seed, AT_LEAST_0)
    for name in ("forget", "foil", "retain"):
        if f"{name}_logprob" not in result:
            continue
        values = np.exp(result[f"{name}_logprob"].values)
        of = units.among(name, np.ones(values.shape[-1], bool))
        if name != "foil":
            yield _mean(f"{name} loss", result, -result[f"{name}_logprob"].values, of, level, seed, AT_LEAST_0)
        yield _mean(f"{name} probability", result, values, of, level, seed, SHARE)
        if name == "forget":
            yield _ratio("forgetting of probability", result, values, -_start(result, values), of, level, seed)


def _start(result: xr.Dataset, values: np.ndarray) -> np.ndarray:
    found = _once(result, values, "start")
    assert found is not None
    return found


def _once(result: xr.Dataset, values: np.ndarray, name: str) -> np.ndarray | None:
    """Values of a model that is looked at once; None where it was not given."""
    names = [str(a) for a in result.arm.values]
    return values[names.index(name), 0] if name in names else None


def _looks(result: xr.Dataset, values: np.ndarray, of: _Of) -> Iterator[tuple[str, int, bool, np.ndarray, np.ndarray]]:
    """Arm, look, whether it may be tested, and of each unit there its value and the start's."""
    first = unit_means(_start(result, values)[of.where], of.labels)[0]
    for a, arm in enumerate(map(str, result.arm.values)):
        for k in result.look.values.tolist():
            inside = values[a, k][of.where]
            if len(inside) and not np.isnan(inside).any():
                model = bool(result.is_model.values[a])
                yield (
                    arm,
                    k,
                    not model and float(result.dose.values[a, k]) != 0,
                    unit_means(inside, of.labels)[0],
                    first,
                )


def _mean(
    name: str, result: xr.Dataset, values: np.ndarray, of: _Of, level: float, seed: int, bounds: Bounds
) -> list[dict[str, Any]]:
    lines = []
    for arm, look, tests, now, first in _looks(result, values, of):
        interval = _guarded(
            lambda: mean_interval(now, level=level, seed=seed, bounds=bounds), float(now.mean()), len(now), level
        )
        lines.append(
            {
                "measure": name,
                "arm": arm,
                "look": look,
                "units": of.note,
                **_of(interval),
                **_test(now - first, tests, seed),
            }
        )
    return lines


def _ratio(
    name: str, result: xr.Dataset, values: np.ndarray, whole: np.ndarray, of: _Of, level: float, seed: int
) -> list[dict[str, Any]]:
    """(now - start) / `whole`, the ratio of the means over units."""
    full, lines = unit_means(whole[of.where], of.labels)[0], []
    for arm, look, tests, now, first in _looks(result, values, of):
        change = now - first
        value = float(change.mean() / full.mean()) if full.mean() else np.nan
        interval = _guarded(
            lambda: bootstrap_comparison(change, full, statistic="ratio", level=level, seed=seed),
            value,
            len(now),
            level,
        )
        lines.append(
            {"measure": name, "arm": arm, "look": look, "units": of.note, **_of(interval), **_test(change, tests, seed)}
        )
    return lines


def _guarded(interval: Callable[[], Interval], value: float, n: int, level: float) -> Interval:
    """The interval, or none with the reason."""
    try:
        return interval()
    except StatisticsError as error:
        why = f"{NONE}: {str(error).split(';')[0].split('. ')[0]}"
        return Interval(value, np.nan, np.nan, level, n, why)


def _of(interval: Interval) -> dict[str, Any]:
    return {
        "mean": float(interval.estimate),
        "low": float(interval.low),
        "high": float(interval.high),
        "interval_kind": str(interval.kind),
        "n": int(interval.n),
    }


def _test(change: np.ndarray, tests: bool, seed: int) -> dict[str, Any]:
    if not tests or len(change) < 2:
        why = "a model, or the start itself" if not tests else "fewer than two units"
        return {"p": np.nan, "p_kind": f"none: {why}", "p_holm": np.nan}
    found = sign_flip(change, seed=seed)
    return {"p": float(found), "p_kind": found.kind_if, "p_holm": np.nan}


@door(UnlearningError)
def stopping(result: Result) -> pd.DataFrame:
    """The stopping rule, the same for every arm: the first look at which the loss on held-out documents of the same
    facts reaches the twin's. It needs no right answer.

    Returns: a line for each arm: `arm`, `look`, `dose`, `loss` (nats a token, there), `twin` (the twin's), `status`:
        "reached", or "censored" where no look reaches it (the last look is given); `n` units. Losses are means of
        units, point estimates without an interval.

    Raises: UnlearningError: no held-out documents, no twin.
    """
    twin = _once(result, result.forget_logprob.values, "twin")
    if twin is None or "heldout_logprob" not in result:
        missing = "twin" if twin is None else "heldout"
        raise UnlearningError(
            f"result has no {missing}, and the stopping rule asks when the loss on held-out documents is the twin's;"
            f" give unlearn(..., {missing}=...)."
        )
    # rows that share a unit count once
    by_unit = unit_means(-result.heldout_logprob.values, result.entity_heldout.values.astype(str), axis=-1)[0]
    loss = by_unit.mean(0)
    names = [str(a) for a in result.arm.values]
    aim = float(loss[names.index("twin"), 0])
    lines = []
    for a, arm in enumerate(names):
        there = np.flatnonzero(~np.isnan(loss[a]))
        if result.is_model.values[a] or not len(there):
            continue
        reached = there[loss[a, there] >= aim]
        look = int(reached[0] if len(reached) else there[-1])
        lines.append(
            {
                "arm": arm,
                "look": look,
                "dose": float(result.dose.values[a, look]),
                "loss": float(loss[a, look]),
                "twin": aim,
                "n": len(by_unit),
                "status": "reached" if len(reached) else "censored",
            }
        )
    return pd.DataFrame(lines, columns=["arm", "look", "dose", "loss", "twin", "n", "status"])


@door(UnlearningError)
def predictors(
    result: Result,
    arm: Name,
    look: int | None = None,
    *,
    level: Share = 0.95,
    seed: Seed = 0,
) -> pd.DataFrame:
    """What tells beforehand which attacked questions an arm answers right: the area under the curve of the clean
    model's confidence (as published), and of the right answer's rank and log-odds in the start model.

    `look`: None: the arm's last. Returns: `predictor`, `auc`, `low`, `high`, `interval_kind`, `p`, `p_kind`
        (approximate: which questions come back was drawn by nobody), `p_holm` over the predictors, `n`, `right` (how
        many).

    Raises: UnlearningError: no questions, no such arm or look, all or none of the questions right.
    """
    if "outcome" not in result:
        raise UnlearningError("result has no questions; give unlearn(..., questions=...).")
    names = [str(a) for a in result.arm.values]
    if arm not in names:
        raise UnlearningError(f"arm={arm!r} is not in the result; it has {', '.join(names)}.")
    a = names.index(arm)
    there = np.flatnonzero(result.outcome.values[a, :, 0] >= 0)
    k = int(there[-1]) if look is None and len(there) else look
    if k not in there.tolist():
        raise UnlearningError(f"look={look!r}; arm {arm!r} has the looks {there.tolist()}.")
    attacked = result.attacked.values
    right = (result.outcome.values[a, k] == RIGHT)[attacked]
    if right.all() or not right.any():
        raise UnlearningError(
            f"arm {arm!r} answers {int(right.sum())} of {len(right)} attacked questions right at look {k}; a predictor"
            " needs some that are and some that are not."
        )
    of = {
        "rank in the start model": -_start(result, result["rank"].values)[attacked],
        "log-odds in the start model": _start(result, result.log_odds.values)[attacked],
    }
    if (clean := _once(result, result.p_right.values, "clean")) is not None:
        of = {"confidence of the clean model": clean[attacked], **of}
    lines = []
    for name, score in of.items():
        area = auc(score, right, seed=seed, level=level)
        p = area.p.doubted("nobody drew which facts come back; questions are taken as independent")
        lines.append(
            {
                "predictor": name,
                "auc": area.auc,
                "low": area.interval.low,
                "high": area.interval.high,
                "interval_kind": area.interval.kind,
                "p": float(p),
                "p_kind": p.kind_if,
                "n": len(right),
                "right": int(right.sum()),
            }
        )
    return pd.DataFrame(lines).assign(p_holm=lambda table: holm(table.p.to_numpy()))
