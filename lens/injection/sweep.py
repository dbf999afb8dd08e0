"""The grid of an injection experiment: every item, layer, strength and control in one walk down the layers.

A row is one item with one vector at one layer and strength: it leaves the item's unedited run after that layer's
attention, so nothing before it is computed again; the answer's tokens ride along, so that one run gives the
log-probability of an answer of any length.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr

from ..arguments import Count, FilePath, Heads, HFModel, Layers, Name, Positive, Seed, Token, different_numbers, door
from ..cluster import Workers, backend_of
from ..engine.edits import Edit
from ..engine.memory import memory_of
from ..engine.model import Model
from ..engine.pieces import Cell, batches_of, run_bytes
from ..engine.runs import Runs
from ..engine.sessions import of_one_model
from ..engine.sites import Site
from ..engine.sweep import Sweep, Values, alone
from ..notices import warn
from ..readout.reading import recorded
from ..results import dataset as results
from ..results.record import record_of
from ..results.resume import SweepStore
from .controls import MEMORY, check_controls, conditions
from .encoding import EncodedItem, encode_items
from .items import InjectionError, Item, as_items
from .memories import (
    Encoder,
    Memory,
    Where,
    different_layers,
    relative_factors,
    stream_rms,
    warn_overflow,
)
from .scoring import ANSWER, SCORES, described, item_coords, read_prompts

#: Items to a region of a store on disk.
REGION = 8
#: Memory of one cell that waits for its walk, and of each of its edits, in bytes.
_CELL_BYTES, _EDIT_BYTES = 350, 550


@door(InjectionError)
@of_one_model
def sweep(
    model: HFModel,
    items: Item | Sequence[Item] | Name,
    *,
    encoder: Encoder = "unembed",
    strengths: float | Sequence[float] = tuple(range(1, 16)),
    layers: Layers = None,
    positions: Where = "all",
    controls: str | Sequence[str] = ("shuffled", "random_direction"),
    relative: bool = False,
    heads: Heads = None,
    window: Count = 1,
    start: Token | None = "auto",
    seed: Seed = 0,
    memory_mb: Positive | None = None,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
    on_part: Callable[[xr.Dataset], None] | None = None,
    store: FilePath | None = None,
    backend: Any = "local",
    workers: Workers = 2,
) -> xr.Dataset:
    """Injects every item's memory at every layer and strength, and every control there too.

    Args:
        items: lens.injection.Item objects, or the name of a data set.
        encoder, heads, start: see `encode`.
        strengths: what the vector is multiplied by; any finite numbers.
        layers: which; None for all.
        positions: prompt tokens that are edited: ``all`` (as published, the start token too), ``last``, ``subject``,
            ``not_first`` (all but the start token). The answer's own tokens are never edited.
        controls: see `lens.injection.CONTROLS`; each runs at the same layers, positions and strengths.
        relative: strengths count in units of the residual stream: the vector is first scaled to the median RMS of the
            item's prompt tokens at the input of that layer.
        window: layers injected together around a cell's layer.
        seed: of the controls.
        memory_mb: extra memory to stay under; None: by the device. One item's unedited runs and a chunk of logits
            (64 MiB) are needed whatever it says.
        stop: asked between layers; True ends the sweep with a partial result. on_part: called with the result so far as
            layers finish, from the last to the first.
        store: a path that ends in .zarr; written as the sweep goes and taken up again where it was cut.
        backend, workers: as ``lens.patch``.

    Returns:
        A result over ``item, layer, strength, condition`` with the `SCORES` of every edited run, ``multi_*`` and
        ``single_*`` (the scores of the two unedited prompts, by item; ``multi_*`` is NaN where a stopped sweep did not
        come) and ``norm`` (of the vector at strength 1 as it is injected, by item, layer and condition).

    Raises:
        InjectionError: items, encoder, strengths, positions or controls that cannot be used; a store of another sweep:
            ResultError, which says what differs.

    Source: Sakarvadia et al. 2023, section 4 (layers x strengths 1 to 15 at all positions, without controls at the same
        cells).
    """
    items = as_items(items)
    strengths = different_numbers(strengths, "strengths", InjectionError)
    controls = check_controls(controls)
    decoder = Model.of(model)
    memory_mb = memory_of(decoder, memory_mb)
    encoded = encode_items(model, items, start=start)
    layers = different_layers(layers, decoder)
    places = [_places(e, positions, n) for n, e in enumerate(encoded)]
    injected = conditions(decoder, model, items, encoder, controls, heads=heads, start=start, seed=seed)
    names, shape = list(injected), (len(layers), len(strengths), len(injected))
    largest, unit = _unedited(decoder, encoded, relative, memory_mb)
    factors = {c: _factors(of_items, unit) for c, of_items in injected.items()}
    for m, f in zip(injected[MEMORY], factors[MEMORY]):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warn_overflow(decoder, m.vectors * f[:, None].to(m.vectors), layers, max(strengths, key=abs), largest)
        if caught:
            warn(str(caught[0].message))
            break
    around = [range(max(0, l - (window - 1) // 2), min(decoder.n_layers, l + window // 2 + 1)) for l in layers]

    def cells(i: int, source: Runs, number: int) -> Iterator[Cell]:
        for li, span in enumerate(around):
            sites = [Site("attn_out", layer=l, position=places[i]) for l in span]
            for ci, name in enumerate(names):
                memory, factor = injected[name][i], factors[name][i]
                for si, strength in enumerate(strengths):
                    yield Cell(
                        (li, si, ci),
                        li,
                        tuple(Edit(s, "add", memory, scale=strength * float(factor[l])) for s, l in zip(sites, span)),
                    )

    call = dict(
        encoder=encoder,
        strengths=strengths,
        layers=layers,
        positions=positions,
        controls=list(controls),
        relative=relative,
        heads=heads,
        window=window,
        start=start,
    )
    record = record_of(
        model,
        decoder,
        "injection",
        call | {"items": [described(i) for i in items]},
        seed=seed,
        store=store,
        state=decoder.state,
    )
    single = _scores(decoder, [e.explicit_ids for e in encoded], encoded, memory_mb)
    norms = np.stack(
        [
            torch.stack(
                [m.vectors.float().norm(dim=-1) * f.to(m.vectors.device) for m, f in zip(injected[c], factors[c])]
            )
            .cpu()
            .numpy()[:, layers]
            for c in names
        ],
        -1,
    )

    def labelled(values: Values) -> xr.Dataset:
        axes = ("item", "layer", "strength", "condition")
        of: dict[str, Any] = {
            name: (axes, values.value[..., k].copy(), {"units": unit}) for k, (name, unit) in enumerate(SCORES.items())
        }
        for k, (name, unit) in enumerate(SCORES.items()):
            of[f"multi_{name}"], of[f"single_{name}"] = (
                ("item", values.base[:, k].copy(), {"units": unit}),
                (
                    "item",
                    single[:, k],
                    {"units": unit},
                ),
            )
        of["norm"] = (("item", "layer", "condition"), norms.astype(np.float32), {"units": "residual stream"})
        ds = xr.Dataset(of, coords={"layer": layers, "strength": strengths, "condition": names, **item_coords(encoded)})
        return results.stamp(ds, record | {"status": values.status, "seconds": round(values.seconds, 4)})

    def fill(ds: xr.Dataset, values: Values) -> None:
        axes = ("item", "layer", "strength", "condition")
        values.value[...] = np.stack([ds[name].transpose(*axes).values for name in SCORES], -1)
        values.base[...] = np.stack([ds[f"multi_{name}"].values for name in SCORES], -1)

    grid = Sweep(
        decoder,
        encoded,
        [len(e.ids) for e in encoded],
        shape,
        cells,
        alone(decoder, [e.ids for e in encoded]),
        ANSWER,
        label="injection",
        bytes_of=lambda i: run_bytes(decoder, len(encoded[i].ids) + len(encoded[i].answer_ids), ()),
        waiting=int(np.prod(shape)) * (_CELL_BYTES + window * _EDIT_BYTES),
        axis="item",
        region=REGION,
    )
    # what stays in memory beside the walks: the vectors, and the scores with a labelled copy of them
    beside = (_vector_bytes(injected) + 2 * len(items) * int(np.prod(shape)) * len(SCORES) * 4) / 2**20
    return grid.run(
        labelled,
        record=record,
        store=None
        if store is None
        else lambda template: SweepStore(store, template, regions={"item": REGION, "layer": 1}),
        fill=fill,
        memory_mb=max(memory_mb - beside, memory_mb / 4),
        progress=progress,
        stop=stop,
        on_part=on_part,
        backend=backend_of(backend, workers, store),
    )


def _places(encoded: EncodedItem, positions: str, number: int) -> tuple[int, ...]:
    if positions not in encoded.positions:
        raise InjectionError(
            f"positions={positions!r}: items[{number}] ({encoded.item.prompt!r}) names no subject; give Item(...,"
            " subject=...) or use positions='last'."
        )
    return encoded.positions[positions]


def _vector_bytes(injected: dict[str, list[Memory]]) -> int:
    """Memory of all vectors; layers and items may share theirs."""
    return sum(
        {
            s.data_ptr(): s.nbytes()
            for of_items in injected.values()
            for m in of_items
            for s in [m.vectors.untyped_storage()]
        }.values()
    )


def _groups(decoder: Model, lengths: Sequence[int], memory_mb: float) -> list[list[int]]:
    """Prompts whose runs are made together within the memory: what is kept of them, and twice everything in the layer
    that is being computed.
    """

    def size(n):
        return (
            run_bytes(decoder, n, ())
            + 2 * run_bytes(decoder, n, ("q", "k", "z", "neuron", "mlp_out")) / decoder.n_layers
        )

    return batches_of([size(n) for n in lengths], memory_mb * 2**20 * 0.8)


def _scores(
    decoder: Model, ids: Sequence[torch.Tensor], encoded: Sequence[EncodedItem], memory_mb: float
) -> np.ndarray:
    """The scores of unedited prompts, each followed by its item's answer."""
    answers = [e.answer_ids for e in encoded]
    groups = _groups(decoder, [len(i) + len(a) for i, a in zip(ids, answers)], memory_mb)
    return np.concatenate([read_prompts(decoder, [ids[i] for i in g], [answers[i] for i in g]) for g in groups])


@torch.no_grad()
def _unedited(
    decoder: Model, encoded: Sequence[EncodedItem], relative: bool, memory_mb: float
) -> tuple[list[float], torch.Tensor | None]:
    """Of the multi-hop prompts: per layer the largest absolute value of the stream; per item and layer the median RMS
    of its tokens (if ``relative``).
    """
    ids = [e.ids for e in encoded]
    largest = [0.0] * decoder.n_layers
    unit: torch.Tensor | None = None
    if relative:
        unit = torch.empty(len(encoded), decoder.n_layers)
    if relative or torch.finfo(decoder.dtype).max < 1e6:
        for group in _groups(decoder, [len(i) for i in ids], memory_mb):
            for batch, runs in recorded(decoder, [ids[i] for i in group], (), "prompts"):
                largest = [max(most, float(x.abs().max())) for most, x in zip(largest, runs.resid)]
                if unit is not None:
                    for k, i in enumerate(batch):
                        unit[group[i]] = stream_rms(runs, k)
    return largest, unit


def _factors(memories: Sequence[Memory], unit: torch.Tensor | None) -> list[torch.Tensor]:
    """Per item and layer, what strength 1 multiplies the encoded vector by."""
    if unit is None:
        return [torch.ones(len(m.vectors)) for m in memories]
    return [relative_factors(m.vectors, rms) for m, rms in zip(memories, unit)]
