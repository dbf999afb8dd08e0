"""A band's removal in what JSON can hold."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from widgets.base import points, state
from widgets.base.sets import Sides
from widgets.curvature_view.work import Band, Removal


def pack(run: Removal) -> dict[str, Any]:
    """The removal with its measured points."""
    return {
        "band": asdict(run.band),
        "texts": run.sides.digest(),
        "points": {name: points.pack(point) for name, point in run.points.items()},
        "base": None if run.base is None else state.pack(run.base),
        "removed": run.removed,
        "status": run.status,
        "seconds": run.seconds,
        "hashes": list(run.hashes),
    }


def unpack(packed: dict[str, Any], sides: Sides) -> Removal:
    """The removal that `pack` was given. Raises ViewError where the view's texts are other ones."""
    sides.expect(packed["texts"])
    before, after = packed["hashes"]
    return Removal(
        Band(**packed["band"]),
        sides,
        {name: points.unpack(point) for name, point in packed["points"].items()},
        None if packed["base"] is None else state.unpack(packed["base"]),
        packed["removed"],
        status=packed["status"],
        seconds=packed["seconds"],
        hashes=(before, after),
    )
