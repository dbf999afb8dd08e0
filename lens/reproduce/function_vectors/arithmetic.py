"""Vector arithmetic of the reproduction of Function Vectors: four list tasks of which the fourth should be the sum of
two less the third.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from ... import vectors
from ...vectors import Task
from .steps import RANDOM, Bench, averaged, chosen_cells, is_draw, means, random_draws, swept_lightly


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
    swept = bench.kept(
        target.name,
        "composition_sweep",
        lambda: vectors.evaluate(
            bench.model,
            target,
            tried,
            layers=bench.layers,
            strengths=bench.plan.strengths,
            conditions=("zero_shot",),
            split="valid",
            n=bench.n(target, "valid"),
            **bench.walk,
        ),
        light=swept_lightly,
    )
    cells = chosen_cells(swept)
    of = {name: {n: t for n, t in tried.items() if n == name or (name == RANDOM and is_draw(n))} for name in cells}

    def make() -> xr.Dataset:
        rows = {}
        for name in cells:
            ds = averaged(
                vectors.evaluate(
                    bench.model,
                    target,
                    of[name],
                    layers=[int(cells[name]["layer"])],
                    strengths=[cells[name]["strength"]],
                    conditions=("zero_shot",),
                    split="test",
                    n=bench.n(target, "test"),
                    **bench.walk,
                )
            )
            rows[name] = ds.correct.sel(condition="zero_shot", vector=name).isel(layer=0, strength=0).values
        cosine = [float(np.mean([t.cosine(v[target.name]) for t in of[name].values()])) for name in cells]
        shot = vectors.answered(bench.model, bench.prompts(target, "icl", n=bench.n(target, "test")))
        return bench.stamped(
            xr.Dataset(
                {
                    "correct": (("vector", "item"), np.stack([rows[n] for n in cells]).astype("float32")),
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
            target=target.name,
            a=quartet.a.name,
            b=quartet.b.name,
            c=quartet.c.name,
        )

    return bench.kept(target.name, "composition", make)
