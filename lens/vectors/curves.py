"""How a vector's effect depends on how many heads it has, and on how the question is put."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr

from ..arguments import Count, Draws, FilePath, HFModel, Index, Layers, Seed, Size, Token, door, shown, unfit
from ..engine.model import Model
from ..engine.sessions import of_one_model
from ..engine.stopping import says_stop
from ..models import weight_hash
from ..results import dataset as results
from .errors import VectorError
from .evaluation import evaluate
from .extraction import head_parts
from .means import Means, Source
from .mediation import task_means
from .prompts import as_task
from .tasks import Split, Task
from .templates import Form, as_template
from .vector import LayerVectors, Vector, random_like


@door(VectorError)
@of_one_model(reads=False)
def head_count_curve(
    model: HFModel,
    task: Task | FilePath,
    effects: xr.Dataset,
    counts: Count | Sequence[Count] = (1, 2, 5, 10, 20, 40),
    *,
    means: Means | None = None,
    layers: Layers | Literal["all"] = "all",
    split: Split = "valid",
    means_split: Split = "valid",
    mean_prompts: Draws = 100,
    source: Source = "demonstrations",
    seed: Seed = 0,
    shots: Size = 10,
    template: Form | None = None,
    start: Token | None = "auto",
    **options: Any,
) -> results.Result:
    """The effect of vectors of ever more heads: those of the largest mean effect, and as many drawn at random as the
    control.

    Args:
        effects: what `head_effects` returned. counts: how many heads. means: what `mean_activations` returned; None
            takes them, see `extract`.
        split: where the questions are from that the vectors are evaluated on. options: of `evaluate` (strengths,
            conditions, n, distributed, store, ...).

    Returns: a result of `evaluate` with the axes ``heads`` (the counts) and ``choice`` ("top", "random") in place of
        ``vector``. The random heads are one draw with `seed`, of which a larger count keeps the smaller one's.

    Raises: VectorError: counts that are no different numbers of heads of this model; as `evaluate`.

    Source: Todd et al. 2024, appendix (accuracy by the number of heads); the control: ours.
    """
    from .heads import top_heads

    task, decoder = as_task(task), Model.of(model)
    every = [(l, h) for l in decoder.attention_layers for h in range(decoder.n_heads)]
    total = len(every)
    counts = [counts] if isinstance(counts, int) else [int(c) for c in counts]
    if not counts or len(set(counts)) < len(counts) or max(counts) > total:
        raise VectorError(f"counts={shown(counts)}: expected different numbers of heads, each from 1 to {total}.")
    if means is None:
        means = task_means(
            model,
            task,
            source=source,
            split=means_split,
            shots=shots,
            n=mean_prompts,
            template=template,
            seed=seed,
            start=start,
        )
    means.fits(decoder)
    order = np.random.default_rng(seed).permutation(total)[: max(counts)]
    ranked = {
        "top": list(top_heads(effects, max(counts))),
        "random": [every[i] for i in order],
    }
    vectors, hashed = {}, weight_hash(model)
    for choice, heads in ranked.items():
        parts = head_parts(model, means.z, heads)
        for k in counts:
            vectors[f"{choice} {k}"] = Vector(
                parts[:k].sum(0),
                parts[:k],
                tuple(heads[:k]),
                f"{task.name}, {choice} {k}",
                hashed,
                means.source,
                {"task": task.name, "heads": f"{choice} {k}", "n": means.n},
            )
    # the walk knows one axis of vectors; it is taken apart into two afterwards
    part = options.pop("on_part", None)
    options |= dict(layers=layers, split=split, shots=shots, template=template, seed=seed, start=start)

    def folded(ds):
        return _folded(ds, list(ranked), counts)

    return folded(
        evaluate(model, task, vectors, on_part=None if part is None else lambda ds: part(folded(ds)), **options)
    )


def _folded(ds: xr.Dataset, choices: Sequence[str], counts: Sequence[int]) -> results.Result:
    own = [
        ds.sel(vector=[f"{c} {k}" for k in counts])
        .drop_vars("vector")
        .rename(vector="heads")
        .assign_coords(heads=list(map(int, counts)))
        for c in choices
    ]
    alone = [v for v in ds.data_vars if "vector" not in ds[v].dims]
    whole = xr.concat([o.drop_vars(alone) for o in own], dim=xr.IndexVariable("choice", list(choices)))
    record = results.provenance(ds)
    return results.stamp(whole.assign({v: ds[v] for v in alone}), record | {"kind": "head count curve"})


@door(VectorError)
@of_one_model(reads=False)
def portability(
    model: HFModel,
    task: Task | FilePath,
    vector: Vector | LayerVectors | Mapping[str, Vector | LayerVectors],
    templates: Form | Sequence[Form],
    layer: Index,
    *,
    strength: float = 1.0,
    seed: Seed = 0,
    stop: Callable[[], bool] | None = None,
    **options: Any,
) -> results.Result:
    """The effect of a vector where the prompt has another form than those that it was read from.

    Args:
        vector: see `evaluate`; a single one is set against a random one. templates: Template objects or names
            (`TEMPLATES`).
        layer, strength: where and how strongly it is added; choose them on another split and with the vector's own
            template.
        stop: asked between layers and templates; True leaves the templates so far, status "partial". options: of
            `evaluate` (conditions, split, n, ...).

    Returns: results of `evaluate` along the new axis ``template``, with ``layer`` and ``strength`` of length 1.

    Raises: VectorError: templates that are none or come twice; as `evaluate`.

    Source: Todd et al. 2024 (other templates).
    """
    chosen = [as_template(t) for t in ([templates] if isinstance(templates, Form) else templates)]
    names = [t.name for t in chosen]
    if not chosen or len(set(names)) < len(names):
        raise VectorError(f"templates={names!r}: expected templates of different names, at least one.")
    if {"store", "on_part", "layers", "strengths", "template", "distributed"} & set(options):
        raise VectorError(
            f"options {sorted(options)!r}: portability sets layers, strengths and template itself, and takes no store,"
            " on_part or distributed."
        )
    if isinstance(vector, Mapping) and not vector:
        raise VectorError(unfit("vector", vector, "a Vector, LayerVectors, or a dictionary of them by name, not empty"))
    if isinstance(vector, (Vector, LayerVectors)):
        vector = {vector.name: vector, "random": random_like(vector, seed)}
    parts: list[xr.Dataset] = []
    for template in chosen:
        if parts and says_stop(stop):
            break
        parts.append(
            evaluate(
                model,
                task,
                vector,
                layers=[layer],
                strengths=(strength,),
                template=template,
                seed=seed,
                stop=stop,
                **options,
            )
        )
    records = [results.provenance(p) for p in parts]
    whole = len(parts) == len(chosen) and all(r["status"] == "complete" for r in records)
    # the number of the answer's tokens may differ from form to form
    ds = xr.concat(
        [p.reset_coords("answer_tokens") for p in parts],
        dim=xr.IndexVariable("template", names[: len(parts)]),
        data_vars="all",
    )
    record = records[0] | {
        "kind": "vector portability",
        "status": "complete" if whole else "partial",
        "seconds": round(sum(r["seconds"] for r in records), 4),
        "call": records[0]["call"] | {"template": names, "prompts": [r["call"]["prompts"] for r in records]},
    }
    return results.stamp(ds, record)
