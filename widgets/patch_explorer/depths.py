"""From which layer on the other prompt no longer changes the answer of the pair that is shown, asked by a button."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import traitlets
import xarray as xr

import lens
from widgets.base.text import finite
from widgets.patch_explorer.cells import CellView
from widgets.patch_explorer.work import PatchMap


class DepthView(CellView):
    """A map beside the depth of reading and writing of its pair, which `lens.depth` measures.

    `depth` has the run's number, a status (running, ready, error) and a text; where it is ready also `rows`, a list
    [layer, effect in reading, effect in writing].
    """

    depth = traitlets.Dict().tag(sync=True)

    _depth: ClassVar[Callable[..., xr.Dataset]] = staticmethod(lens.depth)

    def _on_depth(self, _message: dict) -> None:
        run = self._shown
        if run is None:
            return
        self.publish(depth={"run": run.number, "status": "running", "text": "Measuring both depths …"})
        self._worker.quick("depth", lambda: self._measure_depth(run))

    def _measure_depth(self, run: PatchMap) -> None:
        try:
            answer = told(self._depth(self.model, [run.pair], progress=False))
        except BaseException as error:  # most pairs of unlike length or ending have none, and the text says why
            answer = {"status": "error", "text": f"No depth: {str(error) or type(error).__name__}"}
        if self._shown is run:
            self.publish(depth={"run": run.number, **answer})
            self._refresh_static()


def told(ds: xr.Dataset) -> dict[str, Any]:
    """What a result of one pair says, as the trait has it."""
    one, last = ds.isel(prompt=0), int(ds["layer"].values[-1])
    status = str(one["status"].values)
    rows = [
        [int(layer), *(finite(one["effect"].sel(measure=name, layer=layer)) for name in ("reading", "writing"))]
        for layer in ds["layer"].values
    ]
    if status != "determined":
        return {
            "status": "ready",
            "text": f"Not determined ({status}): the other prompt changes too little.",
            "rows": rows,
        }
    reading, writing = (_layer(float(one["depth"].sel(measure=name)), last) for name in ("reading", "writing"))
    return {
        "status": "ready",
        "text": f"Depth of reading: {reading}. Depth of writing: {writing}. Of one pair, so without an interval.",
        "rows": rows,
    }


def _layer(depth: float, last: int) -> str:
    if depth != depth:
        return "none"
    return f"behind the last block ({last})" if depth == last else f"layer {depth:.0f} of {last}"
