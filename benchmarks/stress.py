"""Is anything left behind? Bad inputs, interruptions, kills, two workers, and what it costs beside an earlier build.

`python -m benchmarks stress` prints, last, one JSON line with every figure; `--part NAME` runs one part and keeps its
figures.
"""

from __future__ import annotations

from typing import Any

from .before import beside
from .parts import Parts

#: Figures that a part gives, None where it could not be taken; what must hold is said in the table.
FIGURES = {
    "inputs": {
        "bad_inputs": "at least 20000",
        "raw_error_fraction": "at most .01",
        "own_and_named_fraction": "at least .97",
        "hangs": "0",
    },
    "interruptions": {"interruptions": "at least 1000", "edits_left": "0"},
    "kills": {"kills_bit_equal": "60", "taken_for_whole": "0"},
    "ray": {"ray_two_workers_scoring": "at least 1.7"},
    "before": {"edit_loop_over_before": "at most 1.05", "sweep_over_before": "at most 1.05"},
}


def inputs(quick: bool) -> dict[str, Any]:
    """Odd arguments and damaged files, and those that end raw, unnamed or without an answer."""
    from .inputs import feed

    return feed(quick)


def interruptions(quick: bool) -> dict[str, Any]:
    """Rounds in which a change of a model is interrupted, and those that left something behind."""
    from .interruptions import interrupt

    return interrupt(quick)


def kills(quick: bool) -> dict[str, Any]:
    """Runs that were killed and started again, and those that are bit-equal to one that nobody disturbed."""
    from .kills import kill

    return kill(quick)


def ray(quick: bool) -> dict[str, Any]:
    """What a second worker of one thread gives to a scoring through Ray; None where the package is not installed."""
    import importlib.util

    if importlib.util.find_spec("ray") is None:
        return {"why": "the package ray is not installed"}
    from .ray_workers import speed_up

    return speed_up(quick)


def before(quick: bool) -> dict[str, Any]:
    """Times of the same calls over those of the earlier build, in the same run."""
    return beside("stress", ("edit_loop", "sweep"), quick=quick)


BENCH = Parts(
    "stress",
    FIGURES,
    {"inputs": inputs, "interruptions": interruptions, "kills": kills, "ray": ray, "before": before},
    code=("tests/models.py", "tests/fuzz/**/*.py", "widgets/**/*.py"),
)
