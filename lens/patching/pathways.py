"""Which tokens carry a reading, and until when: other streams at some places alone, from a layer on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated

import numpy as np
import xarray as xr

from ..arguments import Filled, HFModel, Name, Positive, door
from ..engine.edits import Edit
from ..engine.metrics import METRICS
from ..engine.pieces import Cell
from ..engine.runs import Runs
from ..engine.sessions import of_one_model
from ..engine.sites import Site
from ..engine.sweep import Sweep, paired
from ..notices import warn
from ..prompts import EncodedPair, Pair, encode_all, resolve_positions
from ..results import dataset as results
from ..results.record import record_of
from .exact import chosen_pairs, remember
from .grid import PatchError, patchable


@door(PatchError)
@of_one_model
def pathways(
    model: HFModel,
    items: Pair | Sequence[Pair],
    places: Annotated[Sequence[Name], Filled()],
    *,
    memory_mb: Positive | None = None,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
) -> xr.Dataset:
    """What the streams at some places carry of a reading, from each layer on: those of the cue (the contextual pathway)
    beside those of the word itself (the associative one).

    From layer ``l`` on the streams at one place are those of ``corrupted``, at every layer; all other tokens go on from
    what they then read. Where the effect falls to 0 with ``l``, what stands at that place has been read.

    Args:
        items: pairs with a foil, both of one token, aligned token by token. places: names of spans of theirs, without
            the last token.

    Returns: over ``prompt``, ``place`` and ``layer`` (0 to ``n_layers``, behind the last block, where nothing reads
        these any more): ``effect``, the change of the log-odds of answer and foil in nats, and ``share``, of the change
        between the two prompts; over ``prompt``: ``clean``, ``corrupted``. `lens.summary` takes it.

    Raises:
        PatchError: a place with the last token; a model that cannot be patched. PromptError: a place that an item does
            not have.

    Warns of a place with the first token, where attention rests that reads nothing.

    Cost: for each place and layer a suffix of the prompt from that place on.
    """
    began = time.perf_counter()
    _, chosen = chosen_pairs(items)
    if len(set(places)) != len(places):
        raise PatchError(f"places={list(places)!r} name one twice; give each once.")
    view = patchable(model)
    encoded = encode_all(model, chosen)
    at = [[_place(e, name, f"items[{i}]") for name in places] for i, e in enumerate(encoded)]
    if any(0 in group for of in at for group in of):
        warn("places: one holds the first token, where attention rests that reads nothing; its effect may be of that.")
    metric, n = METRICS["logit_diff"], view.n_layers
    for e in encoded:
        metric.sequences(e)

    def cells(prompt: int, source: Runs, k: int) -> Iterator[Cell]:
        for place, group in enumerate(at[prompt]):
            edits = [Edit(Site("resid_pre", l, position=group), "replace", source[k]) for l in range(n)]
            for layer in range(n):
                yield Cell((layer, place), layer, tuple(edits[layer:]))

    sweep = Sweep(
        view,
        encoded,
        [len(e) for e in encoded],
        (n, len(places)),
        cells,
        paired(view, [(e.clean_ids, e.corrupted_ids) for e in encoded]),
        metric,
        label="pathways",
    )
    values = sweep.values(memory_mb=memory_mb, progress=progress, stop=stop)
    ends = np.stack([values.base, values.source], 1)
    value = np.full((len(chosen), len(places), n + 1), np.nan)
    value[..., :n], value[..., n] = values.value.transpose(0, 2, 1), ends[:, :1]
    effect = value - ends[:, :1, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = effect / (ends[:, 1] - ends[:, 0])[:, None, None]
    dims = ("prompt", "place", "layer")
    ds = xr.Dataset(
        {
            "effect": (dims, effect, {"units": "nats"}),
            "share": (dims, share),
            "clean": ("prompt", ends[:, 0], {"units": "nats"}),
            "corrupted": ("prompt", ends[:, 1], {"units": "nats"}),
        },
        {
            "prompt": np.arange(len(chosen)),
            "place": list(places),
            "layer": np.arange(n + 1),
            "label": ("prompt", np.array([pair.label for pair in chosen], dtype=str)),
        },
    )
    call = {"places": list(places), "metric": metric.name, "unit": metric.unit, "direction": "noise"}
    record = record_of(model, view, "pathways", call, chosen, state=view.state)
    return remember(
        results.stamp(ds, {**record, "status": values.status, "seconds": round(time.perf_counter() - began, 4)})
    )


def _place(encoded: EncodedPair, name: str, where: str) -> tuple[int, ...]:
    [(_, group)] = resolve_positions(encoded, name)
    if len(encoded) - 1 in group:
        raise PatchError(
            f"places: {name!r} of {where} holds the last token, where the answer is written; give places before it, or"
            " see lens.depth."
        )
    return group
