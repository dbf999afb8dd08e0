"""Trade-off curves: the curvature edit and its controls at every amount removed, all from one decomposition."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from ..arguments import HFModel, Portion, Seed, Whole, door
from ..engine.sessions import of_one_model
from ..engine.stopping import says_stop
from ..progress import hidden
from ..results import dataset as results
from ..results.record import plain as as_json
from .controls import CONTROLS, Match, control, is_control
from .edit import Deficient, Edit, keep
from .eigen import By, Decomposition
from .errors import CurvatureError
from .factors import require_model

#: What every point says of its edit.
_OWN = ("kept", "mass", "removed", "seconds")


@door(CurvatureError)
@of_one_model(reads=False)
def curve(
    model: HFModel,
    decomposition: Decomposition,
    rhos: Portion | Sequence[Portion],
    evaluate: Callable[[Any], Mapping[str, Any]],
    *,
    by: By = "kfac",
    controls: Sequence[str] = ("random", "svd"),
    match: Match = "norm",
    draws: Annotated[int, Whole(1, 10**4)] = 1,
    seed: Seed = 0,
    deficient: Deficient = "refuse",
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
    on_part: Callable[[xr.Dataset], None] | None = None,
) -> results.Result:
    """Evaluate the model under the edit at every share of mass, and under each control at the same amount removed from
    every layer.

    Args:
        rhos: shares of curvature mass that stay, each in (0, 1].
        evaluate: called with `model` while an edit is in force (and once without) -> name -> a number, or a list of one
            number an item (then an interval over items can follow).
        controls: kinds of `control`; those that are drawn are repeated `draws` times, with the seeds `seed`, `seed +
            1`, ...
        match: what a control has in common with the edit, "norm" or "count". by, deficient: see `keep`.
        stop: asked before each point; True ends with a partial result. on_part: called with the result so far.

    Returns: a result over `edit, rho, draw` (NaN past the first draw where nothing is drawn): what `evaluate` gave, and
        for every ``<name>`` the unedited ``base_<name>``; ``kept`` (share of the coefficients), ``mass`` (share of the
        curvature mass; NaN in other bases), ``removed`` (Frobenius norm), ``seconds`` (without the evaluation).

    Raises: CurvatureError: arguments that do not fit, an `evaluate` that changes what it returns. As `keep` and
        `control`. The weights are put back, also after an exception.
    """
    require_model(model, decomposition.model, "decomposition")
    rhos = [float(r) for r in np.atleast_1d(np.asarray(rhos, dtype=float))]
    if not rhos or len(set(rhos)) < len(rhos):
        raise CurvatureError(f"rhos={rhos!r}: expected different shares of the mass, at least one.")
    if unknown := [c for c in controls if c not in CONTROLS or c == by]:
        raise CurvatureError(
            f"controls: {unknown[0]!r} is not known or the edit itself; expected some of"
            f" {', '.join(c for c in CONTROLS if c != by)}."
        )
    kinds = [kind for kind in dict.fromkeys(controls) if is_control(kind)]
    methods = [by, *kinds]
    base = _values(evaluate(model))
    own = {name: np.full((len(methods), len(rhos), draws), np.nan) for name in _OWN}
    cells = {name: np.full((len(methods), len(rhos), draws, *np.shape(v)), np.nan) for name, v in base.items()}
    if clash := set(base) & set(_OWN):
        raise CurvatureError(f"evaluate returns {sorted(clash)!r}, names that the curve uses itself; expected others.")

    def result(status: str) -> results.Result:
        return _dataset(decomposition, methods, rhos, draws, seed, match, deficient, base, own, cells, status)

    def point(at: tuple[int, int, int], make: Callable[[], Edit]) -> Edit:
        began = time.perf_counter()
        edit = make()
        with edit.applied(model):
            spent = time.perf_counter() - began
            values = _values(evaluate(model))
            if {k: np.shape(v) for k, v in values.items()} != {k: np.shape(v) for k, v in base.items()}:
                raise CurvatureError(
                    f"evaluate returned {sorted(values)} of other names or lengths than without an edit"
                    f" ({sorted(base)}); it must return the same ones every time."
                )
            began = time.perf_counter()
        for name, value in {
            **values,
            "kept": edit.kept,
            "removed": edit.removed,
            "mass": _mean_mass(edit),
            "seconds": spent + time.perf_counter() - began,
        }.items():
            (own if name in own else cells)[name][at] = value
        return edit

    def show() -> None:
        bar.update()
        if on_part is not None:
            on_part(result("partial"))

    repeats = {kind: draws if CONTROLS[kind] else 1 for kind in kinds}
    with tqdm(
        total=len(rhos) * (1 + sum(repeats.values())),
        desc="trade-off curve",
        unit="point",
        delay=2.0,
        leave=False,
        disable=hidden(progress),
    ) as bar:
        for r, rho in enumerate(rhos):
            if says_stop(stop):
                return result("partial")
            like = point((0, r, 0), lambda: keep(decomposition, rho, by=by, deficient=deficient))
            show()
            for m, kind in enumerate(kinds, start=1):
                for d in range(repeats[kind]):
                    if says_stop(stop):
                        return result("partial")
                    point((m, r, d), lambda: control(decomposition, kind, like, match=match, seed=seed + d))
                    show()
    return result("complete")


def _values(returned: Any) -> dict[str, np.ndarray]:
    if not isinstance(returned, Mapping) or not returned:
        raise CurvatureError(
            f"evaluate returned {returned!r:.80}; expected a dictionary: name -> a number, or a list of one number an"
            " item."
        )
    values = {}
    for name, value in returned.items():
        try:
            array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value, dtype=float)
        except (TypeError, ValueError):
            array = np.empty((0, 0))
        if array.ndim > 1:
            raise CurvatureError(
                f"evaluate returned {name}={value!r:.80}; expected a number, or a list of one number an item."
            )
        values[str(name)] = array
    return values


def _mean_mass(edit: Edit) -> float:
    return float(np.mean(list(edit.mass.values())))


def _dataset(
    decomposition: Decomposition, methods, rhos, draws, seed, match, deficient, base, own, cells, status: str
) -> results.Result:
    dims = ("edit", "rho", "draw")
    items = {name: (f"{name}_item",) if np.ndim(v) else () for name, v in base.items()}
    ds = xr.Dataset(
        {name: (dims, v.copy()) for name, v in own.items()}
        | {name: ((*dims, *items[name]), v.copy()) for name, v in cells.items()}
        | {f"base_{name}": (items[name], v) for name, v in base.items()},
        coords={"edit": methods, "rho": rhos, "draw": np.arange(draws)},
    )
    record = dict(decomposition.record)
    call = {
        "factors": record.get("call", {}),
        "layers": list(decomposition),
        "edits": methods,
        "rhos": as_json(rhos),
        "match": match,
        "draws": draws,
        "deficient": deficient,
    }
    return results.stamp(ds, record | {"kind": "curvature curve", "call": call, "seed": seed, "status": status})
