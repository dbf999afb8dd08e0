"""The frame of a benchmark: the subject, the machine's speed and peaks on the way, and a run from the first warning to
the JSON line.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import machine
from .tables import finish


def worst(held: float, gap: float) -> float:
    """The larger difference; a NaN must not pass for a small one."""
    return max(held, gap if math.isfinite(gap) else math.inf)


class Frame:
    """A subject and what is collected on the way. A benchmark adds `times`, `measure` and `report`."""

    times: Any

    def __init__(self, subject: Any, repeats: int, quick: bool):
        self.subject, self.repeats, self.quick = subject, repeats, quick
        self.gemm: list[float] = []
        self.gemm_size = 256 if quick else machine.GEMM_SIZE
        self.peaks: dict[str, float] = {}

    @property
    def name(self) -> str:
        """The model's, in the report."""
        return self.subject.model.name

    def beat(self) -> None:
        """The machine's speed now."""
        self.gemm.append(machine.gemm_rate(self.gemm_size))

    def peaked(self, name: str, call: Callable[[], Any]) -> tuple[float, Any]:
        """Seconds and result of a call; `peaks` keeps the most that it added to the resident memory."""
        with machine.peak_memory() as peak:
            seconds, result = machine.timed(call)
        self.peaks[name] = max(self.peaks.get(name, -math.inf), peak.extra_mb)
        return seconds, result

    def others(self) -> dict[str, Any]:
        """What the benchmark itself saw of other programs."""
        return {}

    def timings(self) -> dict[str, Any]:
        """All timings, for the file."""
        return {"runs_seconds": vars(self.times), "gemm_runs": self.gemm}


def run(
    make: Callable[[], Any], show: Callable[[Any, dict], str], *, tolerance: float, what: str, file: Path | None
) -> int:
    """Measures what `make` gives, prints the tables and, last, one JSON line; returns 1 where numbers (`what`) differ,
    else 0. Raises what `make` raises.
    """
    machine.set_threads()
    watch = machine.Watch()
    bench = make()
    with machine.settled():
        bench.measure()
    report = bench.report() | {
        "machine": watch.end() | bench.others() | {"load": os.getloadavg()[0]},
        "quick": bench.quick,
        "model": bench.name,
        "repeats": bench.repeats,
    }
    agree = finish(
        report,
        lambda made: show(bench, made),
        speeds=[bench.gemm],
        tolerance=tolerance,
        what=what,
        more=bench.timings(),
        file=file,
    )
    return 0 if agree else 1
