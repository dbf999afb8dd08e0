"""Vector arithmetic of the reproduction of Function Vectors: four list tasks of which the fourth should be the sum of
two less the third.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from ... import vectors
from ...vectors import Task
from .bench import Bench, of_task
from .draws import RANDOM, averaged, is_draw, light_sweep, random_draws
from .heads import means
from .steps import chosen_cells, only


@dataclass(frozen=True)
class Quartet:
    """Four tasks of which the fourth should be `b + c - a`: (first), (last), (first, capital), (last, capital)."""

    a: Task
    b: Task
    c: Task
    target: Task


def list_quartet(seed: int = 0) -> Quartet:
    """First and last word of a list, as it is and with a capital letter."""
    first, last = (vectors.load_task(f"choose_{place}_of_3", seed=seed) for place in ("first", "last"))

    def capital(t, place):
        return Task.from_pairs([(x, y.capitalize()) for x, y in t.pairs], name=f"{place}_capital", seed=seed)

    return Quartet(first, last, capital(first, "first"), capital(last, "last"))


def composition(bench: Bench, quartet: Quartet, heads: Sequence[tuple[int, int]]) -> xr.Dataset:
    """The composed vector on the fourth task's test questions, beside its parts, the task's own vector and random ones,
    each at the cell that validation chose for it.

    ``correct`` vector x item (of the random ones the mean over draws), ``base_correct`` and ``icl_correct`` item.
    Source: Todd et al. 2024 (other tasks; theirs are not released).
    """
    target = quartet.target
    v = {
        t.name: vectors.extract(bench.model, t, heads=list(heads), means=means(bench, t))
        for t in (quartet.a, quartet.b, quartet.c, target)
    }
    summed = v[quartet.b.name] + v[quartet.c.name] - v[quartet.a.name]
    tried = {
        "composed": summed,
        f"only {quartet.b.name}": v[quartet.b.name],
        f"only {quartet.c.name}": v[quartet.c.name],
        "direct": v[target.name],
        **random_draws(bench, summed),
    }
    return _composed(bench, target, quartet, tried)


@of_task("composition_sweep", light=light_sweep)
def _swept(bench: Bench, target: Task, tried: Mapping[str, vectors.Vector]) -> xr.Dataset:
    return bench.evaluate(target, tried, "valid", layers=bench.layers, strengths=bench.plan.strengths)


@of_task("composition")
def _composed(bench: Bench, target: Task, quartet: Quartet, tried: Mapping[str, vectors.Vector]) -> xr.Dataset:
    cells = chosen_cells(_swept(bench, target, tried))
    rows, cosine = [], []
    for name, cell in cells.items():
        of = {n: t for n, t in tried.items() if n == name or (name == RANDOM and is_draw(n))}
        ds = averaged(bench.evaluate(target, of, "test", **only(cell)))
        rows.append(ds.correct.sel(condition="zero_shot", vector=name).isel(layer=0, strength=0).values)
        cosine.append(float(np.mean([t.cosine(tried["direct"]) for t in of.values()])))
    shot = vectors.answered(bench.model, bench.prompts(target, "icl", n=bench.n(target, "test")))
    return bench.stamped(
        xr.Dataset(
            {
                "correct": (("vector", "item"), np.stack(rows).astype("float32")),
                "base_correct": ("item", ds.base_correct.sel(condition="zero_shot").values.astype("int8")),
                "icl_correct": ("item", shot),
            },
            coords={
                "vector": list(cells),
                "layer": ("vector", [c["layer"] for c in cells.values()]),
                "strength": ("vector", [c["strength"] for c in cells.values()]),
                "cosine": ("vector", cosine),
                "x": ("item", ds.x.values.astype(str)),
            },
        ),
        "vector composition",
        **{name: getattr(quartet, name).name for name in ("target", "a", "b", "c")},
    )
