"""A curve in what JSON can hold."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from widgets.base import points, state
from widgets.subspace_bench.question import Question
from widgets.subspace_bench.work import Curve


def pack(run: Curve) -> dict[str, Any]:
    """The run without its locator, which the same sets and weights make again."""
    return {
        "question": asdict(run.question),
        "texts": run.sides.digest(),
        "unedited": points.pack(run.whole),
        "base": None if run.base is None else state.pack(run.base),
        "points": [[strength, *map(points.pack, pair)] for strength, pair in run.points.items()],
        "failed": list(run.failed.items()),
        "notes": list(run.locator.notes),
        "status": run.status,
        "seconds": run.seconds,
        "hashes": list(run.hashes),
    }


def question_of(packed: dict[str, Any]) -> Question:
    """The question of the run that `pack` was given."""
    return Question(**packed["question"] | {"strengths": tuple(packed["question"]["strengths"])})


def fill(run: Curve, packed: dict[str, Any]) -> None:
    """Put into a run of the same question what `pack` was given. Raises ViewError for another set of texts."""
    run.sides.expect(packed["texts"])
    run.unedited = points.unpack(packed["unedited"])
    run.base = None if packed["base"] is None else state.unpack(packed["base"])
    run.points = {
        strength: (points.unpack(edit), points.unpack(control)) for strength, edit, control in packed["points"]
    }
    run.failed = {strength: text for strength, text in packed["failed"]}
    run.locator.notes = list(packed["notes"])
    run.status, run.seconds = packed["status"], packed["seconds"]
    before, after = packed["hashes"]
    run.hashes = (before, after)
