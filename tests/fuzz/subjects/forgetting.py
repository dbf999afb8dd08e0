"""Forgetting: fine-tuning in sequence and what it costs."""

from __future__ import annotations

import copy
import functools
import warnings

import numpy as np
import torch

from lens import forgetting
from lens.training import Recipe, Rows
from tests.forgetting.helpers import HEADS, guide, prompts

from . import Subject
from .common import model

MODULES = ("lens.forgetting",)
#: records that only functions make
RESULTS = ("Sequence", "Setup")

RECIPE = Recipe(steps=1, batch=2, learning_rate=1e-3, seed=0)
QUIET = dict(progress=False)


def fresh():
    return copy.deepcopy(model())


def stages():
    return [forgetting.Stage.of("first", prompts(4, 1), prompts(4, 1)[:2])]


def probes():
    return [
        forgetting.Probe("old task", "instruction", prompts(5, 3)),
        forgetting.Probe("fact", "knowledge", prompts(4, 4)),
    ]


@functools.cache
def rows() -> Rows:
    return Rows.of(prompts(4, 3))


@functools.cache
def run() -> forgetting.Sequence:
    return forgetting.sequential(fresh, stages(), probes(), recipe=RECIPE, **QUIET)


@functools.cache
def recovery():
    return forgetting.recover(model(), probes()[0], torch.ones(32), -torch.ones(32), layers=[1], randoms=1)


def subjects():
    warnings.simplefilter("ignore")
    result, plain = run().result, forgetting.METHODS["plain"]
    yield Subject("Guide", forgetting.Guide, lambda: dict(direction=torch.ones(32), layer=1, heads=HEADS))
    yield Subject("Guide.of", forgetting.Guide.of, lambda: dict(vector=guide(), layer=1))
    yield Subject("Guide.random_like", guide().random_like, lambda: dict(seed=0))
    yield Subject("Guide.check", guide().check, lambda: dict(model=model()))
    yield Subject("Guide.described", guide().described, dict)
    yield Subject(
        "Method",
        forgetting.Method,
        lambda: dict(
            name="m", title="t", does="d", source="s", prepare=plain.prepare, options={"a": 1.0}, needs=("guide",)
        ),
    )
    yield Subject("Plan", forgetting.Plan, lambda: dict(rows=rows()))
    yield Subject("method", forgetting.method, lambda: dict(name="plain"))
    yield Subject("Probe", forgetting.Probe, lambda: dict(name="p", kind="knowledge", prompts=prompts(2)))
    yield Subject("Stage", forgetting.Stage, lambda: dict(name="s", rows=rows(), prompts=prompts(2)))
    yield Subject("Stage.of", forgetting.Stage.of, lambda: dict(name="s", prompts=prompts(2), validation=prompts(2)))
    yield Subject("accuracy", forgetting.accuracy, lambda: dict(model=model(), probe=probes()[0]))
    yield Subject("starting_from", forgetting.starting_from, lambda: dict(name="organism:symbols"))
    yield Subject(
        "fisher",
        forgetting.fisher,
        lambda: dict(model=fresh(), rows=rows(), names=["model.layers.0.self_attn.q_proj.weight"], examples=1),
    )
    yield Subject(
        "step_cost",
        forgetting.step_cost,
        lambda: dict(model=model(), rows=rows().take(torch.tensor([0])), method="plain", batch=1, steps=1, repeats=1),
    )
    yield Subject(
        "sequential",
        forgetting.sequential,
        lambda: dict(make_model=fresh, stages=stages(), probes=probes(), recipe=RECIPE, **QUIET),
    )
    yield Subject(
        "recover",
        forgetting.recover,
        lambda: dict(model=model(), probe=probes()[0], old=torch.ones(32), layers=[1], randoms=1),
    )
    yield Subject("recovered", forgetting.recovered, lambda: dict(result=recovery()))
    for of in ("at_end", "at_start", "performance", "change", "stability_gap", "summary"):
        yield Subject(of, getattr(forgetting, of), lambda: dict(result=result))
    yield Subject("compare_prompts", forgetting.compare_prompts, lambda: dict(result=result, baseline=result))
    yield Subject("compare", forgetting.compare, lambda: dict(runs={"plain": [{"a": 1.0}] * 2, "m": [{"a": 2.0}] * 2}))
    yield Subject("over_seeds", forgetting.over_seeds, lambda: dict(values=[1.0, 2.0, 4.0]))
    yield Subject("signs", forgetting.signs, lambda: dict(values=[1.0, 2.0, 4.0]))
    yield Subject("weight_drift", forgetting.weight_drift, lambda: dict(before=model(), after=model()))
    yield Subject("cosine", forgetting.cosine, lambda: dict(a=torch.ones(3), b=torch.arange(3.0)))
    yield Subject("similarity", forgetting.similarity, lambda: dict(watched=np.ones((1, 2, 3))))
    yield Subject("overlap", forgetting.overlap, lambda: dict(a=[(0, 1)], b=[(0, 1), (1, 1)], total=12))
