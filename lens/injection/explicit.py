"""Patching from the explicit prompt: what the multi-hop prompt gains when one activation is that of the prompt that
names the entity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ..arguments import HFModel, Layers, Name, Positive, Seed, Token, door
from ..cluster import Workers, backend_of
from ..engine.edits import Edit
from ..engine.metrics import METRICS, sequence_logprob
from ..engine.model import Model
from ..engine.pieces import Cell, run_bytes
from ..engine.runs import Runs
from ..engine.sessions import of_one_model
from ..engine.sites import Site
from ..engine.sweep import Sweep
from ..readout.norms import kv_heads
from ..readout.reading import layers_with
from ..results import dataset as results
from ..results.record import record_of
from .bridge import partners
from .encoding import encode_items
from .items import InjectionError, Item, as_items
from .memories import different_layers
from .scoring import described, item_coords

#: What ``from_explicit`` copies, and whether it has a head axis.
PATCHED = {"attn_out": False, "z": True, "mlp_out": False, "resid_pre": False, "resid_post": False}


@door(InjectionError)
@of_one_model(reads=False)
def from_explicit(
    model: HFModel,
    items: Item | Sequence[Item] | Name,
    *,
    site: Literal["attn_out", "z", "mlp_out", "resid_pre", "resid_post"] = "attn_out",
    layers: Layers = None,
    control: bool = True,
    start: Token | None = "auto",
    seed: Seed = 0,
    memory_mb: Positive | None = None,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
    backend: Any = "local",
    workers: Workers = 2,
) -> xr.Dataset:
    """What the multi-hop prompt gains when one activation at its last token is that of the explicit prompt.

    The two prompts differ in length, so only their last tokens are matched. Each cell is one edited run, scored by the
    log-probability of the whole answer (teacher forced). The control copies from another item's explicit prompt
    (``partners``): what that still does is due to the form.

    Args:
        site: ``attn_out``, ``mlp_out``, ``resid_pre``, ``resid_post`` (per layer) or ``z`` (per layer and head).
        layers: which; None for all that have the site. ``control``: False leaves it out, which halves the time.
        stop: asked between layers; True ends with a partial result (NaN where nothing was computed).
        backend, workers: as ``lens.patch``.

    Returns: over (item, layer[, head]), in nats: ``effect`` and ``effect_other`` (value - unedited multi-hop prompt),
        ``value`` and ``value_other``; over (item,): ``multi_logprob`` and ``single_logprob`` of the unedited prompts.

    Raises: InjectionError (site, items), UnsupportedModel. Cost: two edited last tokens an item and cell, on top of two
        prompts' passes and the control's.

    >>> from_explicit(model, items, site="z").effect.mean("item").plot()       # doctest: +SKIP
    """
    decoder, items = Model.of(model), as_items(items)
    encoded, layers = (
        encode_items(model, items, start=start),
        different_layers(layers_with(decoder, layers, site), decoder),
    )
    others = partners(items, seed) if control else [None] * len(items)
    keep = (site,) if site in ("z", "mlp_out") else ()
    heads = list(range(decoder.n_heads)) if PATCHED[site] else [None]
    sources: dict[int, list[Tensor]] = {}
    answered_alone: dict[int, float] = {}

    @torch.no_grad()
    def make_runs(batch: Sequence[int], tails: Sequence[Tensor]) -> tuple[Runs, Runs]:
        def join(ids, tail):
            return torch.cat([ids.to(tail.device), tail])

        base = Runs.record(decoder, [join(encoded[i].ids, t) for i, t in zip(batch, tails)], keep)
        answered = [join(encoded[i].explicit_ids, t) for i, t in zip(batch, tails)]
        controls = {i: other for i in batch if (other := others[i]) is not None}
        source = Runs.record(
            decoder, [*answered, *(encoded[other].explicit_ids.to(decoder.device) for other in controls.values())], keep
        )

        def at_last(row: int, i: int) -> Tensor:
            return torch.stack(
                [source.get(site, l)[source.starts[row] + len(encoded[i].explicit_ids) - 1] for l in layers]
            )

        sources.clear()
        row_of_control = {i: row for row, i in enumerate(controls, start=len(batch))}
        for row, i in enumerate(batch):
            sources[i] = [at_last(row, i), *([at_last(row_of_control[i], controls[i])] if i in controls else [])]
            at = (
                source.starts[row]
                + len(encoded[i].explicit_ids)
                - 1
                + torch.arange(len(encoded[i].answer_ids), device=decoder.device)
            )
            answered_alone[i] = sequence_logprob(decoder, source.final[at][None], encoded[i].answer_ids).item()
        # the sweep reads its source where the base is read; prompts of other lengths stay outside of it
        return base, base

    def cells(i: int, source: Runs, k: int) -> Iterator[Cell]:
        position = (len(encoded[i].ids) - 1,)
        for condition, values in enumerate(sources[i]):
            for at, layer in enumerate(layers):
                for h, head in enumerate(heads):
                    value = values[at] if head is None else values[at, head]
                    yield Cell(
                        (at, h, condition),
                        at,
                        (Edit(Site(site, layer=layer, head=head, position=position), "replace", value),),
                    )

    lengths = [len(e.ids) for e in encoded]

    def size(i: int) -> int:
        own, other = encoded[i], others[i]
        recorded = [
            len(own.ids) + len(own.answer_ids),
            len(own.explicit_ids) + len(own.answer_ids),
            0 if other is None else len(encoded[other].explicit_ids),
        ]
        return sum(run_bytes(decoder, n, keep) for n in recorded)

    sweep = Sweep(
        decoder,
        encoded,
        lengths,
        (len(layers), len(heads), 2),
        cells,
        make_runs,
        METRICS["logprob"],
        label=f"explicit {site}",
        bytes_of=size,
        beside=answered_alone.__getitem__,
    )
    values = sweep.values(memory_mb=memory_mb, progress=progress, stop=stop, backend=backend_of(backend, workers))
    single = np.array([values.beside.get(i, np.nan) for i in range(len(items))])
    dims = ("item", "layer", "head") if PATCHED[site] else ("item", "layer")
    drop = (lambda x: x) if PATCHED[site] else (lambda x: x[:, :, 0])
    variables: dict[str, Any] = {}
    for condition, end in enumerate(("", "_other")[: 1 + bool(control)]):
        value = drop(values.value[..., condition])
        variables |= {
            f"effect{end}": (dims, (value - values.base.reshape(-1, *[1] * (value.ndim - 1))).astype(np.float32)),
            f"value{end}": (dims, value),
        }
    axes = (
        {"head": np.arange(decoder.n_heads), "kv_head": ("head", kv_heads(decoder, range(decoder.n_heads)))}
        if PATCHED[site]
        else {}
    )
    ds = xr.Dataset(
        {**variables, "multi_logprob": ("item", values.base), "single_logprob": ("item", single)},
        {**item_coords(encoded), "layer": layers, **axes},
    )
    for variable in ds.data_vars.values():
        variable.attrs["units"] = "nats"
    call = {
        "site": site,
        "layers": layers,
        "control": bool(control),
        "start": start,
        "items": [described(i) for i in items],
    }
    return results.stamp(
        ds,
        record_of(model, decoder, "explicit patch", call, seed=seed, status=values.status)
        | {"seconds": round(values.seconds, 3)},
    )
