"""One seed of the forgetting experiment: its course, the plan and where steps are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import xarray as xr

from ...engine.model import Model
from ...results import dataset as results
from ...results.record import record_of
from ..common import Steps
from .tasks import Course, Preset


@dataclass
class Bench:
    """One seed of a run: its course, the plan and where steps are kept."""

    course: Course
    plan: Preset
    steps: Steps
    progress: bool | None = None
    memory_mb: float | None = None

    def kept(self, name: str, make: Callable[[], xr.Dataset]) -> xr.Dataset:
        """A step of this seed."""
        return self.steps.kept(f"seed-{self.course.seed}/{name}", make)

    def stamped(self, ds: xr.Dataset, kind: str, **call: Any) -> xr.Dataset:
        """A Dataset made here, with its record."""
        reader = self.course.reader
        return results.stamp(
            ds, record_of(reader, Model.of(reader), kind, call, seed=self.course.seed, status="complete")
        )

    @property
    def layers(self) -> list[int]:
        """Layers at whose output vectors are tried."""
        return list(range(0, Model.of(self.course.reader).n_layers, self.plan.every))

    @property
    def walk(self) -> dict[str, Any]:
        """Arguments that every measurement of vectors takes."""
        return {
            "template": self.course.template,
            "seed": self.course.seed,
            "shots": self.plan.shots,
            "progress": self.progress,
        }
