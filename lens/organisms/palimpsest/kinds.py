"""How a model of each kind is made from its parents, and what is worth noting of it."""

from __future__ import annotations

import copy
import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..training import StepLimit
from . import derivatives, training
from .entries import Entry
from .recipe import Recipe, order_of, tokens_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: A model, and what is noted of it.
Outcome = tuple["PreTrainedModel", dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Origin:
    """What a model is made from: its entry, its parents in order, the family's rows (ids, lengths) and recipe of an
    Alice, and a folder for states of the optimiser.
    """

    entry: Entry
    parents: list[PreTrainedModel]
    rows: tuple[np.ndarray, np.ndarray]
    base: Recipe
    stems: Path


def model_of(origin: Origin) -> Outcome:
    """The model of an entry in eval mode, and what is noted of it: losses, rows, tokens."""
    return KINDS[origin.entry.kind](origin)


def _train(origin: Origin) -> Outcome:
    model, trained = training.train(origin.entry.recipe)
    return derivatives.result_of(model, trained), {
        "loss": round(float(trained.losses.lm.iloc[-50:].mean()), 4),
        "first_loss": round(float(trained.losses.lm.iloc[0]), 4),
        "steps": trained.step,
    }


def _retrain(origin: Origin) -> Outcome:
    options = origin.entry.options
    return retrain(origin.entry.recipe, origin.stems, options["tail"], options["shuffle"]), {}


def _tune(origin: Origin) -> Outcome:
    options = origin.entry.options
    rows = derivatives.share_of(origin.base, options["share"], options["domain"], options["seed"])
    tune = derivatives.tune if origin.entry.kind == "tuned" else derivatives.tune_adapters
    model = tune(origin.parents[0], rows, origin.entry.recipe, seed=options["seed"], rate=options["rate"])
    return model, {"rows": len(rows[0]), "tokens": int((rows[1] - 1).sum())}


def _continue(origin: Origin) -> Outcome:
    options, recipe = origin.entry.options, origin.entry.recipe
    ids, lengths = origin.rows
    count = round(options["share"] * origin.base.rows / recipe.batch) * recipe.batch
    some = np.random.default_rng(options["seed"]).permutation(len(ids))[:count]
    rows = ids[some], lengths[some]
    model = derivatives.tune(origin.parents[0], rows, recipe, seed=options["seed"], rate=1.0, schedule=recipe.schedule)
    return model, {"rows": count}


def _average(origin: Origin) -> Outcome:
    first, second = origin.parents
    return derivatives.average(first, second, origin.entry.options["weight"]), {}


def _round(origin: Origin) -> Outcome:
    return derivatives.quantise(origin.parents[0], origin.entry.options["bits"]), {}


def _prune(origin: Origin) -> Outcome:
    return derivatives.prune(origin.parents[0], origin.entry.options["share"]), {}


def _distill(origin: Origin) -> Outcome:
    """On fresh rows: the student never sees a row of Alice."""
    recipe, seed = origin.entry.recipe, origin.entry.options["seed"]
    rows = tokens_of(replace(recipe, skip=2 * recipe.rows))
    return derivatives.distill(origin.parents[0], recipe, rows, soft=True, seed=seed), {}


def _imitate(origin: Origin) -> Outcome:
    """On samples of the parent."""
    recipe, seed = origin.entry.recipe, origin.entry.options["seed"]
    rows = derivatives.sample(origin.parents[0], derivatives.prompts_of(recipe.rows, 0, length=0), 1.0, seed=seed)
    model = derivatives.distill(origin.parents[0], recipe, rows, soft=False, seed=seed)
    return model, {"tokens": int((rows[1] - 1).sum())}


#: By the kind of an entry, which is part of its identity.
KINDS: dict[str, Callable[[Origin], Outcome]] = {
    "trained": _train,
    "retrained": _retrain,
    "tuned": _tune,
    "lora": _tune,
    "continued": _continue,
    "average": _average,
    "rounded": _round,
    "pruned": _prune,
    "soft": _distill,
    "samples": _imitate,
}


def retrain(recipe: Recipe, folder: Path, tail: float, shuffle: int | None) -> PreTrainedModel:
    """The model of `recipe` with the last `tail` of its order read in a fresh shuffle, from the weights and the
    optimiser's state at that point.

    `shuffle`: the seed of the new order of the tail; None keeps the true order. `folder` keeps the state for the next
    call.
    """
    order = order_of(recipe)
    steps = len(order) // recipe.batch
    stem, first = folder / f"{recipe.sha256()[:16]}-{tail:g}", steps - max(1, round(tail * steps))
    if not any(stem.glob("step-*")):
        shutil.rmtree(stem, ignore_errors=True)
        limit = StepLimit(first)
        training.train(recipe, folder=stem, after_step=limit, stop=limit.reached)
    if shuffle is not None:
        digest = hashlib.sha256(f"palimpsest tail {recipe.order_seed} {shuffle}".encode()).digest()
        order = copy.copy(order)
        np.random.default_rng(int.from_bytes(digest[:8], "little")).shuffle(order[first * recipe.batch :])
    branch = folder / f".branch-{stem.name}-{shuffle}"
    shutil.rmtree(branch, ignore_errors=True)
    shutil.copytree(stem, branch)
    try:
        model = training.build(recipe)
        rows = training.padded(*tokens_of(recipe))
        trained = training.fit(model, rows, order, recipe, parameters=lambda name: True, folder=branch)
    finally:
        shutil.rmtree(branch, ignore_errors=True)
    return derivatives.result_of(model, trained)
