"""The random control of the reproduction of Function Vectors, several directions that count as one vector, and what of
a measurement is stored.
"""

from __future__ import annotations

from typing import Any

import xarray as xr

from ... import vectors
from .bench import Bench

RANDOM = "random vector"


def random_draws(bench: Bench, vector: vectors.Vector) -> dict[str, vectors.Vector]:
    """The draws of the random control for a vector, by name."""
    return {f"{RANDOM} {d + 1}": vectors.random_like(vector, 1000 * bench.seed + d) for d in range(bench.plan.draws)}


def is_draw(name: Any) -> bool:
    """Whether a vector is one of the draws of the random control."""
    return str(name).startswith(f"{RANDOM} ")


def averaged(ds: xr.Dataset) -> xr.Dataset:
    """The draws of the random control put together: one vector with their mean in place of the first of them."""
    names = list(map(str, ds["vector"].values))
    draws = [n for n in names if is_draw(n)]
    if not draws:
        return ds
    of_vectors = [v for v in ds.data_vars if "vector" in ds[v].dims]
    mean = ds[of_vectors].sel(vector=draws).astype("float32").mean("vector").expand_dims(vector=[RANDOM])
    order = list(dict.fromkeys(RANDOM if is_draw(n) else n for n in names))
    rest = ds[of_vectors].sel(vector=[n for n in names if n not in draws])
    put = mean
    if rest.sizes["vector"]:
        put = xr.concat([rest, mean], "vector", coords="minimal", compat="override").sel(vector=order)
    others = {v: ds[v] for v in ds.data_vars if v not in of_vectors}
    return put.transpose(*[d for d in ds.dims if d in put.dims]).assign(others)


def light(ds: xr.Dataset) -> xr.Dataset:
    """What the tables need: whether answers are right; of several random vectors their mean."""
    right = ds[[v for v in ("correct", "base_correct") if v in ds]]
    put = unlabelled(averaged(right) if "vector" in ds.dims else right)

    def whole(v):
        return not v.isnull().any() and bool((v == v.round()).all())

    return put.assign({n: v.astype("int8") for n, v in put.data_vars.items() if whole(v)})


def unlabelled(ds: xr.Dataset) -> xr.Dataset:
    """Without the labels that task, split and seed give anew."""
    return ds.drop_vars([c for c in ("x", "y", "tokens", "answer_tokens", "fixed_points") if c in ds.coords or c in ds])


def light_sweep(ds: xr.Dataset) -> xr.Dataset:
    """Of a sweep over many cells: whether answers are right, and the mean log-probability of the answer."""
    return light(ds).assign(mean_logprob=averaged(ds[["logprob"]].mean("item")).logprob)
