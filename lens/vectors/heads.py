"""Head sets: which heads carry a task, which carry many, and how much two sets have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np
import xarray as xr
from scipy import stats

from ..arguments import Count, Draws, Index, Seed, Share, door
from ..readout.agreement import Agreement, AgreementError, compare
from ..results import dataset as results
from ..stats.bounds import effect_bounds
from ..stats.effects import UNITS, clusters, tested
from .errors import VectorError

Head = tuple[Index, Index]


@door(VectorError)
def summary(
    effects: xr.Dataset,
    *,
    level: Share = 0.95,
    resamples: Draws = 2000,
    flips: Draws | None = None,
    method: str = "auto",
    seed: Seed = 0,
    cluster: str | Sequence[Any] | None = "auto",
) -> xr.Dataset:
    """The mean effect of every head over prompts, with an interval and a two-sided sign-flip test (guaranteed if
    effects are symmetric about 0), Holm-corrected over all heads.

    `cluster`: what counts as one. "auto": prompts that ask the same question (`x`) are one unit, the mean of their
    effects; None: each prompt; a coordinate of the prompts; or a label
    for each. `method`: of the interval, see `lens.stats.intervals.bootstrap`.

    Returns: over `layer, head`: ``mean``, ``low``, ``high``, ``interval_kind``, ``n`` (units), ``p``, ``p_kind``
        ("approximate" where effects are seen to be skewed), ``p_holm``, and ``rank`` (0 = largest mean); ``units``: in
        words, what counted as one. `flips`: sign patterns; None takes 100 a head and at least 10 000, so that Holm's
        correction can reach 0.05. The record's `statistics` hold the kind of p and the smallest it can be (`p_floor`).

    Raises: VectorError: no result of `head_effects`, fewer than two prompts. StatisticsError: a cluster that fits no
        prompt.
    """
    x = _effects(effects)
    if x.shape[0] < 2:
        raise VectorError(
            f"effects have {x.shape[0]} prompt(s); an interval over prompts needs at least two: take more trials."
        )
    fields = {
        str(c): effects[c].values.tolist() for c in effects.coords if effects[c].dims == ("prompt",) and c != "prompt"
    }
    units, note = clusters(cluster, len(x), fields, ("x", *UNITS))
    whole = np.isfinite(x).all(0)
    unit = effects["effect"].attrs.get("units", "")
    estimates, about = tested(
        np.where(whole, x, np.nan),
        units,
        level=level,
        resamples=resamples,
        flips=flips,
        method=method,
        seed=seed,
        bounds=effect_bounds(unit),
    )
    estimates["n"] = np.where(whole, estimates["n"], np.isfinite(x).sum(0))
    rank = np.full(whole.shape, np.nan)
    rank[whole] = np.argsort(np.argsort(-estimates["mean"][whole], kind="stable"), kind="stable")
    ds = xr.Dataset(
        {
            name: (("layer", "head"), v, {"units": unit} if name in ("mean", "low", "high") else {})
            for name, v in (estimates | {"rank": rank}).items()
        },
        coords={"layer": effects["layer"].values, "head": effects["head"].values},
    )
    ds["units"] = ((), note)
    record = results.provenance(effects)
    return results.stamp(
        ds,
        {
            **record,
            "kind": "head summary",
            "of": record.get("kind"),
            "statistics": {**about, "n_prompts": len(x), "n_heads": int(whole.sum()), "units": note},
        },
    )


@door(VectorError)
def top_heads(effects: xr.Dataset | Mapping[str, xr.Dataset], k: Count = 10) -> list[Head]:
    """The `k` heads of the largest mean effect, `(layer, head)`, largest first; over several tasks: see `universal`.

    Raises: VectorError: more heads than there are.
    """
    if isinstance(effects, Mapping) and not isinstance(effects, xr.Dataset):
        return universal(effects, k)
    return _largest(_mean(effects), effects, k)


@door(VectorError)
def universal(
    effects: Mapping[str, xr.Dataset], k: Count = 10, *, above: Mapping[str, bool | float] | float | None = None
) -> list[Head]:
    """The `k` heads of the largest effect averaged over tasks, each task counting the same.

    `above` says which tasks take part: per task True or False (say, whether the model beats the most frequent answer
    there, as published), or a smallest mean effect of the task's own best head, for all or per task.

    Raises: VectorError: no task is left, or results of different grids.

    Source: Todd et al. 2024.
    """
    if not isinstance(effects, Mapping) or isinstance(effects, xr.Dataset) or not effects:
        empty = " without entries" if isinstance(effects, Mapping) and not effects else ""
        raise VectorError(f"effects is a {type(effects).__name__}{empty}; expected a mapping of task name to result.")
    means = {name: _mean(ds) for name, ds in effects.items()}
    first = next(iter(effects.values()))
    for name, mean in means.items():
        if mean.shape != _mean(first).shape:
            raise VectorError(
                f"effects[{name!r}] is over {mean.shape} heads, another task over {_mean(first).shape}; average over"
                " results of one model."
            )
    if above is not None:

        def limit(name):
            return above.get(name, False) if isinstance(above, Mapping) else above

        def takes(name):
            return limit(name) if isinstance(limit(name), (bool, np.bool_)) else np.nanmax(means[name]) >= limit(name)

        means = {name: mean for name, mean in means.items() if takes(name)}
        if not means:
            raise VectorError(f"above={above!r} leaves none of the {len(effects)} tasks; lower it.")
    return _largest(np.mean(list(means.values()), 0), first, k)


@door(VectorError)
def overlap(a: Sequence[Head] | Set[Head], b: Sequence[Head] | Set[Head], heads: Count | None = None) -> dict[str, Any]:
    """How much two sets of heads have in common.

    Returns: ``jaccard`` (shared / united), ``shared`` and ``n`` (how many, and of which sizes), and, where `heads` says
        how many heads the model has, the number ``expected`` to be shared by chance and ``p``, the hypergeometric
        probability of sharing as many or more.

    Raises: VectorError: an empty set, or sets larger than the model.
    """
    a, b = ({(int(l), int(h)) for l, h in x} for x in (a, b))
    if not a or not b:
        raise VectorError(f"{'a' if not a else 'b'}=[] holds no head; give at least one (layer, head).")
    shared = len(a & b)
    out: dict[str, Any] = {
        "jaccard": shared / len(a | b),
        "shared": shared,
        "n": (len(a), len(b)),
        "expected": None,
        "p": None,
    }
    if heads is not None:
        if heads < len(a | b):
            raise VectorError(
                f"heads={heads!r}: the two sets hold {len(a | b)} different heads; give the number of heads of the"
                " whole model."
            )
        out["expected"] = len(a) * len(b) / heads
        out["p"] = float(stats.hypergeom.sf(shared - 1, heads, len(a), len(b)))
    return out


@door(VectorError)
def agreement(exact: xr.Dataset, estimate: xr.Dataset, k: Count = 10, **options: Any) -> Agreement:
    """How an estimate of the heads' effects agrees with the exact ones: Pearson and Spearman with intervals over
    prompts, top-`k` overlap, signs.

    "atp*" estimates magnitudes and is compared with the exact effects' absolute values. `options`: `resamples`,
    `level`, `seed`.

    Raises: VectorError: results of different tasks, metrics or prompts.
    """
    _effects(exact, "exact"), _effects(estimate, "estimate")
    require_same_prompts(exact, estimate)
    magnitude = results.provenance(estimate).get("call", {}).get("method") == "atp*"
    try:
        return compare(exact, estimate, same=("task", "metric", "source"), magnitude=magnitude, k=k, **options)
    except AgreementError as error:
        raise VectorError(str(error)) from None


def require_same_prompts(exact: xr.Dataset, estimate: xr.Dataset) -> None:
    """Refuses (VectorError) an estimate of other prompts than those of the exact effects, where their records say which
    they are.
    """
    record = results.provenance(estimate)
    if "texts" in record and record["texts"] != results.provenance(exact).get("texts"):
        raise VectorError(
            "estimate and exact are of different prompts; use the same task, seed, shots, trials and template."
        )


def _effects(ds: xr.Dataset, name: str = "effects") -> np.ndarray:
    """Effects ``[prompt, layer, head]``."""
    if (
        "effect" not in ds
        or not {"layer", "head"} <= set(ds["effect"].dims) <= {"prompt", "layer", "head"}
        or ds["effect"].dtype.kind not in "fiu"
    ):
        raise VectorError(
            f"{name} is a Dataset without effects over layer and head; give a result of lens.vectors.head_effects."
        )
    x = ds["effect"]
    return np.asarray(
        (x if "prompt" in x.dims else x.expand_dims("prompt")).transpose("prompt", "layer", "head").values, float
    )


def _mean(ds: xr.Dataset) -> np.ndarray:
    """Effects ``[layer, head]`` over the prompts that have all heads; NaN in layers that have no heads."""
    x = _effects(ds)
    record = results.provenance(ds) if results.ATTRIBUTE in ds.attrs else {}
    headless = np.isin(np.asarray(ds["layer"]), record.get("without_heads", []))
    whole = np.isfinite(x[:, ~headless]).all((1, 2))
    if not whole.any():
        raise VectorError(
            "effects: no prompt has all heads; finish the sweep (call head_effects again with the same store)."
        )
    return x[whole].mean(0)


def _largest(mean: np.ndarray, ds: xr.Dataset, k: int) -> list[Head]:
    if k > (there := int(np.isfinite(mean).sum())):
        raise VectorError(f"k={k!r}: expected a whole number from 1 to {there}, the number of heads.")
    order = np.argsort(-mean.ravel(), kind="stable")[:k]
    layers, heads = np.asarray(ds["layer"]), np.asarray(ds["head"])
    return [(int(layers[l]), int(heads[h])) for l, h in (np.unravel_index(i, mean.shape) for i in order)]
