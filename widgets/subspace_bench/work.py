"""From a question to a curve of edits: its points, each computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from lens import curvature, subspace
from lens.engine.linear import linears
from lens.engine.stopping import Stopped
from lens.results import dataset as results
from widgets.base.points import Point, measured
from widgets.base.sets import FOUND, Sides
from widgets.errors import ViewError
from widgets.subspace_bench.locator import Locator
from widgets.subspace_bench.question import CURVATURE, Question


@dataclass
class Curve:
    """A question, and the points that were computed for it so far."""

    question: Question
    sides: Sides
    locator: Locator
    number: int = 0
    unedited: Point | None = None
    base: xr.Dataset | None = None
    points: dict[float, tuple[Point, Point]] = field(default_factory=dict)
    failed: dict[float, str] = field(default_factory=dict)
    dataset: Any = None
    status: str = "running"
    seconds: float = 0.0
    hashes: tuple[str, str] = ("", "")

    @property
    def whole(self) -> Point:
        """The unedited model's point. Raises ViewError while it is being read."""
        if self.unedited is None:
            raise ViewError("unedited: the model is still being read; wait until its point is there")
        return self.unedited

    def complete(self) -> bool:
        return self.unedited is not None and all(s in self.points or s in self.failed for s in self.question.strengths)

    def there(self) -> int:
        """How many of the points that were asked for are there."""
        return sum(strength in self.points for strength in self.question.strengths)

    def strengths(self) -> list[float]:
        """Those that are there, weak to strong."""
        return sorted(self.points, reverse=self.question.kind == "kept")

    def at(self, index: int) -> float | None:
        """The strength of a place on the slider; None: unedited."""
        there = self.strengths()
        return there[min(index, len(there)) - 1] if index > 0 and there else None

    def lines(self) -> Iterator[tuple[str, str, float, Point]]:
        if self.unedited is not None:
            yield "unedited", "unedited", np.nan, self.unedited
        for strength in self.strengths():
            for line, point in zip(("edit", "control"), self.points[strength]):
                yield f"{'' if line == 'edit' else 'control '}{strength:g}", line, strength, point

    def joined(self, layers: Any) -> xr.Dataset | None:
        """All points as one result over `edit`, in the form of `lens.memorization.tradeoff`, with the coordinates
        `line`, `strength` and `share`.
        """
        every = list(self.lines())
        if not every:
            return None
        ds = xr.concat(
            [point.line for *_, point in every],
            "edit",
            data_vars="all",
            coords="minimal",
            compat="override",
            combine_attrs="drop",
        )
        ds = ds.assign_coords(
            edit=[name for name, *_ in every],
            line=("edit", [line for _, line, *_ in every]),
            strength=("edit", [s for *_, s, _ in every]),
            share=("edit", [point.share for *_, point in every]),
        )
        ds["gold"], ds["tokens"] = ds.gold.isel(edit=0), ds.tokens.isel(edit=0)
        ds["clean_loss"] = ("edit", [point.table[FOUND]["loss"] for *_, point in every])
        assert self.base is not None  # it comes with the unedited point
        record = results.provenance(self.base)
        q = self.question
        call = {
            "question": {**q.fields(), "strengths": list(q.strengths)},
            "layers": layers if isinstance(layers, str) else list(layers),
            "control": self.locator.control_text,
            "sets": {name: of.about() for name, of in self.sides.sets.items()},
            "failed": {f"{k:g}": v for k, v in self.failed.items()},
        }
        return results.stamp(
            ds,
            record
            | {
                "kind": "trade-off",
                "call": call,
                "seed": q.seed,
                "status": "complete" if self.complete() else "partial",
            },
        )


def trace(
    model: Any,
    run: Curve,
    level: float,
    stop: Callable[[], bool],
    on_point: Callable[[], None],
    begins: Callable[[str], None],
) -> None:
    """Compute the points that are missing, weak to strong, each with its control; one that cannot be made is noted and
    left out.

    Ends early where `stop` says so. Raises what the first point raised, where none could be made.
    """
    q, error = run.question, None
    try:
        if run.unedited is None:
            begins("Reading the unedited model …")
            run.unedited, run.base = measured(model, None, run.sides, None, level, q.seed)
            on_point()
        begins("Factors and eigenvectors …" if q.method == CURVATURE else "Scores of the weights …")
        run.locator.prepare(stop, begins)
        for strength in q.strengths:
            if strength in run.points:
                continue
            if stop():
                return
            try:
                sized = run.locator.edit(strength, stop)
                pair = [
                    measured(model, edit, run.sides, run.base, level, q.seed)[0] for edit in (sized.edit, sized.control)
                ]
            except (subspace.SubspaceError, curvature.CurvatureError) as raised:
                run.failed[strength], error = str(raised), error or raised
                continue
            pair[0].shares, pair[0].share, pair[1].share = sized.shares, sized.share, sized.share
            run.points[strength] = (pair[0], pair[1])
            run.failed.pop(strength, None)
            on_point()
    except Stopped:
        return
    if not run.points and error is not None:
        raise error


def grid_of(model: Any, names: Sequence[str]) -> dict[str, Any]:
    """Names of linear layers as a grid of matrices by blocks: `matrices`, `blocks` and, for each cell, the name or
    "".
    """
    found = linears(model, list(names))
    place = {
        name: (one.layer, name.split(f".{one.layer}.", 1)[-1] if one.layer is not None else name)
        for name, one in found.items()
    }
    matrices, blocks = (
        list(dict.fromkeys(m for _, m in place.values())),
        sorted({b for b, _ in place.values()}, key=lambda b: -1 if b is None else b),
    )
    at = {v: k for k, v in place.items()}
    short = [m.rsplit(".", 1)[-1] for m in matrices]
    return {
        "matrices": short if len(set(short)) == len(short) else matrices,
        "blocks": ["–" if b is None else b for b in blocks],
        "names": [[at.get((b, m), "") for b in blocks] for m in matrices],
    }
