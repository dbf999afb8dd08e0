"""What DiffusionBench shows of a run: pictures while they come, the edit, the map, and how far it is."""

from __future__ import annotations

import time
from typing import Any, ClassVar

import traitlets

from widgets.base.force import ForceView
from widgets.base.sweep import PART_SECONDS
from widgets.diffusion_bench import copy
from widgets.diffusion_bench.question import STATES, Drawing, Pictures
from widgets.diffusion_bench.work import Work


class PictureView(ForceView):
    """A run whose pictures are shown as they are denoised. A subclass has `_work`."""

    limit = traitlets.Dict().tag(sync=True)
    before = traitlets.Dict().tag(sync=True, echo_update=False)
    after = traitlets.Dict().tag(sync=True, echo_update=False)
    random = traitlets.Dict().tag(sync=True, echo_update=False)
    attacked = traitlets.Dict().tag(sync=True, echo_update=False)
    scores = traitlets.Dict().tag(sync=True, echo_update=False)
    edit = traitlets.Dict().tag(sync=True)

    _titles: ClassVar[dict[str, str]] = {
        "ViewError": "This cannot be asked yet",
        "DiffusionError": "These captions, pictures or settings cannot be used",
        "SubspaceError": "Nothing could be located",
        "WeightError": "The weights are edited already",
    }
    _noun = "Drawing"

    level: float
    _work: Work

    def __init__(self, **traits: Any) -> None:
        self._asked, self._told, self._watched = 0, 0.0, 0.0
        super().__init__(**traits)

    def _tell(self, run: Drawing, now: bool) -> None:
        if now or time.monotonic() - self._told > PART_SECONDS:
            self._told = time.monotonic()
            self.publish(progress={"done": run.done, "total": run.total, "text": run.stage})

    def _watch(self, run: Drawing, state: str, pictures: Pictures) -> None:
        """Pictures while they come."""
        if time.monotonic() - self._watched > PART_SECONDS and run.number == self._asked:
            self._watched = time.monotonic()
            self.publish(**{state: copy.state(run, state, pictures, self._work.bound, self.level)})

    def _publish_run(self, run: Drawing) -> None:
        states = run.states()
        self.publish(limit=copy.limit(self._work))
        if run.edit is not None:
            self.publish(edit=copy.edit(run), scores=copy.scores(run))
        for name in STATES:
            if name in states:
                self.publish(**{name: copy.state(run, name, states[name], self._work.bound, self.level)})
            elif name == "attacked" or getattr(self, name).get("memorised") != run.question.memorised:
                self.publish(**{name: {}})

    def _progress(self, run: Drawing) -> dict[str, Any]:
        words = {
            "complete": f"all pictures are there, {run.seconds:.1f} s",
            "stopped": f"stopped after {run.seconds:.1f} s: {run.stage.rstrip(' …')}",
        }
        return {"done": run.done, "total": run.total, "text": words.get(run.status, run.stage)}
