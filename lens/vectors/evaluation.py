"""What a vector does to a task: every vector, layer and strength on every prompt, in one walk down the layers.

A row is one prompt with one vector at one layer and strength. It leaves the prompt's unedited run after that layer, at
the last token, so that nothing before it is computed again; the answer's tokens ride along, so that answers of any
length are read whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
import xarray as xr

from ..arguments import (
    Draws,
    FilePath,
    HFModel,
    Layers,
    Positive,
    Seed,
    Size,
    Token,
    different_numbers,
    door,
    shown,
)
from ..cluster import Workers, backend_of
from ..engine.edits import Edit
from ..engine.model import Model
from ..engine.pieces import Cell, run_bytes
from ..engine.sessions import of_one_model
from ..engine.sites import Site, indices
from ..engine.sweep import Sweep, Values, alone
from ..readout.answers import ANSWER, SCORES
from ..results import dataset as results
from ..results.record import record_of
from ..results.resume import SweepStore
from .errors import VectorError
from .prompts import KINDS, Kind, TaskPrompt, answered, as_task, build, is_kind
from .tasks import Split, Task
from .templates import Form, as_template
from .vector import LayerVectors, Vector, random_like, require_width

#: Items to a region of a store on disk.
REGION = 8
#: The layer label of distributed insertion, where each head's part goes to its own layer.
OWN_LAYERS = -1
_CELL_BYTES = 900
AXES = ("item", "condition", "vector", "layer", "strength")
_UNITS = {
    "correct": "1",
    "first": "1",
    "first_logprob": "nats",
    "rank": SCORES["rank"],
    "logprob": SCORES["logprob"],
    "top": SCORES["top"],
}


def _variables(scores: np.ndarray) -> dict[str, np.ndarray]:
    """The variables of a result from the shared scores, `[..., score]`; NaN where not yet computed."""
    of = {name: scores[..., k] for k, name in enumerate(SCORES)}
    first = np.where(np.isnan(of["rank"]), np.nan, of["rank"] == 0)
    return {
        "correct": of["exact"],
        "first": first,
        "first_logprob": of["first"],
        "rank": of["rank"],
        "logprob": of["logprob"],
        "top": of["top"],
    }


@door(VectorError)
@of_one_model
def evaluate(
    model: HFModel,
    task: Task | FilePath,
    vectors: Vector | LayerVectors | Mapping[str, Vector | LayerVectors],
    *,
    layers: Layers | Literal["all"] = "all",
    strengths: float | Sequence[float] = (1.0,),
    conditions: str | Sequence[str] = ("zero_shot",),
    shots: Size = 10,
    split: Split = "test",
    n: Draws | None = None,
    template: Form | None = None,
    instruction: str | None = None,
    position: Literal["last", "all_new", "new", "all"] = "last",
    distributed: bool = False,
    only_known: bool = False,
    seed: Seed = 0,
    start: Token | None = "auto",
    memory_mb: Positive | None = None,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
    on_part: Callable[[xr.Dataset], None] | None = None,
    store: FilePath | None = None,
    backend: Any = "local",
    workers: Workers = 2,
) -> results.Result:
    """How well a model does a task with each vector added to the residual stream after each layer, and without any.

    Args:
        vectors: by name, taken as they are; put a control among them. A single one is set against `random_like` it
            (drawn with `seed`), called "random".
        layers: "all", or which (0-based). strengths: what the vectors are multiplied by.
        conditions: kinds of prompt, see `build`: "zero_shot", "shuffled", "icl", "instruction", or "text" alone.
        split, n, template, instruction, shots, start: of the prompts, see `build`; all conditions have the same items.
        position: "last": the last prompt token, as published; "all_new": there and at the answer's own tokens too;
            "all": at every token.
        distributed: each head's part is added to the attention output of its own layer, in place of all at one layer;
            the layer axis then is [-1].
        only_known: leave out items whose whole answer the model does not give after `shots` demonstrations (the
            published filter asks for its first token only).
        memory_mb: extra memory to stay under; None: by the device, 500 on a CPU.
        stop: asked between layers; True ends with a partial result. on_part: called with the result so far.
        store: a path that ends in .zarr; written as it goes and taken up again where it was cut.
        backend, workers: as ``lens.patch``.

    Returns:
        A result over ``item, condition, vector, layer, strength``: ``correct`` (greedy decoding would give the whole
        answer; answer tokens are read after the right ones), ``first`` (so for its first token), ``first_logprob`` and
        ``logprob`` (of the first token and of the whole answer, nats), ``rank`` (of the first token), ``top`` (the most
        likely token's id); the same without a vector, ``base_*``, over ``item, condition`` (NaN where a stopped
        evaluation did not come); ``norm`` of each vector at each layer at strength 1.

    Raises:
        VectorError: arguments that cannot be used, vectors of another width; a store of another evaluation:
            ResultError, which says what differs.

    Source: Todd et al. 2024 (one layer, strength 1, first token); distributed insertion: ours.
    """
    task, decoder = as_task(task), Model.of(model)
    by_name = _vectors(vectors, decoder, distributed, seed)
    strengths, conditions = different_numbers(strengths, "strengths", VectorError), _conditions(conditions)
    position = "all_new" if position == "new" else position
    layers = (
        [OWN_LAYERS] if distributed else indices(None if isinstance(layers, str) else layers, decoder.n_layers, "layer")
    )
    if not layers or len(set(layers)) < len(layers):
        raise VectorError(f"layers={layers!r}: expected different layers, at least one, or 'all'.")
    template = as_template(template, task)
    prompts = _prompts(
        model,
        task,
        conditions,
        only_known,
        n=n,
        shots=shots,
        split=split,
        template=template,
        instruction=instruction,
        seed=seed,
        start=start,
    )
    # item by item, so that a batch of the sweep holds whole items
    flat = [p for of_item in zip(*prompts) for p in of_item]
    items, kinds, names = len(prompts[0]), len(conditions), list(by_name)
    shape = (len(layers), len(strengths), len(names))

    def cells(i: int, source: Any, number: int) -> Iterator[Cell]:
        at = _places(flat[i], position)
        for li, layer in enumerate(layers):
            for vi, vector in enumerate(by_name.values()):
                for si, strength in enumerate(strengths):
                    yield Cell((li, si, vi), li, _edits(vector, layer, at, strength))

    call = dict(
        layers=layers,
        strengths=strengths,
        conditions=conditions,
        shots=shots,
        split=split,
        n=n,
        template=template.name,
        position=position,
        distributed=distributed,
        only_known=only_known,
        start=start,
        task=task.name,
        vectors={k: _description(v) for k, v in by_name.items()},
        prompts=[_prompt_record(p) for p in flat],
    )
    record = record_of(model, decoder, "vector evaluation", call, seed=seed, store=store)
    coords = _coords(prompts[0], conditions, names, layers, strengths)
    norms = np.array([[_norm(v, layer) for layer in layers] for v in by_name.values()], np.float32)

    def labelled(values: Values) -> results.Result:
        scores, base = (
            values.value.reshape(items, kinds, *shape, -1).transpose(0, 1, 4, 2, 3, 5),
            values.base.reshape(items, kinds, -1),
        )
        of: dict[str, Any] = {
            name: (AXES, v.astype(np.float32), {"units": _UNITS[name]}) for name, v in _variables(scores).items()
        }
        of |= {
            f"base_{name}": (("item", "condition"), v.astype(np.float32), {"units": _UNITS[name]})
            for name, v in _variables(base).items()
        }
        of["norm"] = (("vector", "layer"), norms, {"units": "residual stream"})
        return results.stamp(
            xr.Dataset(of, coords), record | {"status": values.status, "seconds": round(values.seconds, 4)}
        )

    def fill(ds: xr.Dataset, values: Values) -> None:
        values.value[...], values.base[...] = _stored_scores(ds, values)

    grid = Sweep(
        decoder,
        flat,
        [len(p) for p in flat],
        shape,
        cells,
        alone(decoder, [p.ids for p in flat]),
        ANSWER,
        label="vectors",
        bytes_of=lambda i: run_bytes(decoder, len(flat[i]) + len(flat[i].answer_ids), ()),
        waiting=int(np.prod(shape)) * _CELL_BYTES,
        axis="item",
        per=kinds,
        region=REGION,
    )
    return grid.run(
        labelled,
        record=record,
        store=None
        if store is None
        else lambda template: SweepStore(store, template, regions={"item": REGION, "layer": 1}),
        fill=fill,
        memory_mb=memory_mb,
        progress=progress,
        stop=stop,
        on_part=on_part,
        backend=backend_of(backend, workers, store),
    )


def _stored_scores(stored: xr.Dataset, values: Values) -> tuple[np.ndarray, np.ndarray]:
    """What a store holds: the edited runs' scores and the unedited ones'."""
    source, axes = {"exact": "correct", "first": "first_logprob"}, ("item", "condition", "layer", "strength", "vector")

    def read(lead, dims):
        return np.stack([stored[lead + source.get(name, name)].transpose(*dims).values for name in SCORES], -1)

    return read("", axes).reshape(values.value.shape), read("base_", axes[:2]).reshape(values.base.shape)


def _vectors(vectors: Any, decoder: Model, distributed: bool, seed: int) -> dict[str, Vector | LayerVectors]:
    if isinstance(vectors, (Vector, LayerVectors)):
        by_name = {vectors.name: vectors, "random": random_like(vectors, seed)}
    elif vectors:
        by_name = dict(vectors)
    else:
        raise VectorError(
            f"vectors={vectors!r} holds none; expected a Vector, LayerVectors, or a dictionary of them by name."
        )
    require_width(decoder, *by_name.values())
    for name, v in by_name.items():
        if distributed and not (isinstance(v, Vector) and v.heads):
            raise VectorError(
                f"distributed=True: vector {name!r} has no parts by head; use one from extract (sums of vectors with"
                " other heads lose them)."
            )
        if distributed and isinstance(v, Vector) and any(l >= decoder.n_layers for l, _ in v.heads):
            raise VectorError(
                f"distributed=True: vector {name!r} has a head at layer {max(l for l, _ in v.heads)}, this model has"
                f" layers 0 to {decoder.n_layers - 1}."
            )
    return by_name


def _conditions(conditions: Any) -> list[Kind]:
    """The kinds of prompt, each once. Raises: VectorError: none, one that is not known, or "text" among others."""
    names = [conditions] if isinstance(conditions, str) else list(conditions)
    kinds = [name for name in names if is_kind(name)]
    if not kinds or len(set(kinds)) < len(names):
        raise VectorError(f"conditions={shown(names)}: expected different kinds of prompt, some of {', '.join(KINDS)}.")
    if "text" in kinds and len(kinds) > 1:
        raise VectorError(
            f"conditions={kinds!r}: 'text' has an item for every sentence; evaluate it in a call of its own."
        )
    return kinds


def _prompts(
    model: Any, task: Any, conditions: Sequence[Kind], only_known: bool, **options: Any
) -> list[list[TaskPrompt]]:
    """The prompts of each condition, item by item the same question."""
    prompts = [
        build(model, task, kind, **(options if kind == "instruction" else options | {"instruction": None}))
        for kind in conditions
    ]
    if any([(p.x, p.y) for p in of] != [(p.x, p.y) for p in prompts[0]] for of in prompts):
        raise VectorError(
            f"conditions={list(conditions)!r}: their prompts ask different questions; evaluate them in calls of their"
            " own."
        )
    if not only_known:
        return prompts
    if "text" in conditions:
        raise VectorError(
            "only_known=True: which items are known is told from demonstrations, item by item; 'text' has an item for"
            " every sentence."
        )
    icl = (
        prompts[conditions.index("icl")]
        if "icl" in conditions
        else build(model, task, "icl", **options | {"instruction": None})
    )
    right = answered(model, icl)
    if not right.any():
        raise VectorError(
            f"only_known=True: the model answers none of the {len(right)} items with {options['shots']} demonstrations;"
            " use only_known=False or another task."
        )
    return [[p for p, k in zip(of, right) if k] for of in prompts]


def _places(prompt: TaskPrompt, position: str) -> tuple[int, ...]:
    last, tail = len(prompt) - 1, len(prompt.answer_ids) - 1
    return {"last": (last,), "all_new": tuple(range(last, last + tail + 1)), "all": tuple(range(last + tail + 1))}[
        position
    ]


def _edits(vector: Vector | LayerVectors, layer: int, at: tuple[int, ...], strength: float) -> tuple[Edit, ...]:
    if layer != OWN_LAYERS or not isinstance(vector, Vector):
        return (Edit(Site("resid_post", layer=layer, position=at), "add", vector, scale=strength),)
    by_layer: dict[int, torch.Tensor] = {}
    for (l, _), part in zip(vector.heads, vector.by_head):
        by_layer[l] = by_layer[l] + part if l in by_layer else part
    return tuple(
        Edit(Site("attn_out", layer=l, position=at), "add", by_layer[l], scale=strength) for l in sorted(by_layer)
    )


def _norm(vector: Vector | LayerVectors, layer: int) -> float:
    return vector.norm if isinstance(vector, Vector) else float(vector.norm[layer])


def _description(vector: Vector | LayerVectors) -> dict[str, Any]:
    """A vector for a record: where it is from, and a digest that tells it from another."""
    values = vector.direction if isinstance(vector, Vector) else vector.vectors
    return {
        "name": vector.name,
        "source": vector.source,
        "model": vector.model,
        "about": dict(vector.about),
        "heads": [list(h) for h in getattr(vector, "heads", ())],
        "sha256": hashlib.sha256(values.contiguous().numpy().tobytes()).hexdigest(),
    }


def _prompt_record(prompt: TaskPrompt) -> dict[str, Any]:
    return {"text": prompt.text, "y": prompt.y, "kind": prompt.kind}


def _coords(
    prompts: Sequence[TaskPrompt],
    conditions: Sequence[str],
    names: Sequence[str],
    layers: Sequence[int],
    strengths: Sequence[float],
) -> dict[str, Any]:
    coords = {
        "item": np.arange(len(prompts)),
        "x": ("item", [p.x for p in prompts]),
        "y": ("item", [p.y for p in prompts]),
        "answer_tokens": ("item", [len(p.answer_ids) for p in prompts]),
        "condition": list(conditions),
        "vector": list(names),
        "layer": list(layers),
        "strength": list(strengths),
    }
    return coords | ({"insertion": ("layer", ["each head's own"])} if list(layers) == [OWN_LAYERS] else {})
