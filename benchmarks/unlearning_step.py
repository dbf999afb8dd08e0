"""A step of unlearning with a frozen reference beside the passes that it makes: forward and backward of the same forget
and retain rows through the same adapters, and nothing else. The kinds take turns.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from typing import Any

import torch

import lens
from lens.training import LoRA, Recipe, Rows, order_of, train
from lens.unlearning import method
from lens.unlearning.plans import Plan, Setup

from .subjects import smollm2, tiny

#: Rows of each set, tokens of a row, rows of a batch; steps of a turn, and turns.
ROWS, TOKENS, BATCH = 16, 32, 4
STEPS = {True: 1, False: 4}
TURNS = {True: 1, False: 5}
#: What reads a frozen reference: its tokens' log-probabilities, or its whole distributions.
METHODS = ("npo", "kl")


def sets(size: int) -> tuple[Rows, Rows]:
    """Two sets of random rows, of which each token after the first counts."""
    by = torch.Generator().manual_seed(0)
    forget, retain = (Rows.full(torch.randint(1, size, (ROWS, TOKENS), generator=by)) for _ in range(2))
    return forget, retain


def passes(model: Any, forget: Rows, retain: Rows, recipe: Recipe) -> None:
    """The passes of as many steps: their losses are plain cross-entropies of all logits."""
    orders = [order_of(dataclasses.replace(recipe, seed=recipe.seed + i), ROWS) for i in range(2)]
    model.train()
    for step in range(recipe.steps):
        loss = 0.0
        for rows, order in zip((forget, retain), orders):
            ids = rows.take(order[step]).ids
            logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
            loss = loss + torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        for value in model.parameters():
            value.grad = None


def run(quick: bool) -> dict[str, Any]:
    """The figures; `quick`: of a random model of four layers."""
    try:
        subject = tiny() if quick else smollm2()
    except lens.LoadError as error:
        return {"why": str(error)}
    model = subject.copy().train(False)
    forget, retain = sets(model.get_input_embeddings().weight.shape[0])
    recipe = Recipe(STEPS[quick], BATCH, 1e-5, weight_decay=0.0, schedule="constant")
    plans: dict[str, Plan] = {}
    for name in METHODS:
        began, chosen = time.process_time(), method(name)
        setup = Setup(model, model, forget, retain, (), recipe, 0)
        plans[name] = chosen.prepare(setup, chosen.options)
        plans[name].notes["prepare_cpu_seconds"] = time.process_time() - began
    adapted = LoRA(rank=8).put_on(model, 0)
    kinds = {"passes": lambda: passes(adapted, forget, retain, recipe)} | {
        name: lambda plan=plan: train(
            adapted, plan.rows, recipe, terms=plan.terms, base_weight=plan.base_weight, progress=False
        )
        for name, plan in plans.items()
    }
    wall: dict[str, list[float]] = {name: [] for name in kinds}
    cpu: dict[str, list[float]] = {name: [] for name in kinds}
    for turn in range(-1, TURNS[quick]):
        for name in sorted(kinds, reverse=bool(turn % 2)):
            began, own = time.perf_counter(), time.process_time()
            kinds[name]()
            if turn >= 0:  # the first warms up
                wall[name].append(time.perf_counter() - began)
                cpu[name].append(time.process_time() - own)

    def over(of: dict[str, list[float]], name: str) -> float:
        return statistics.median(a / b for a, b in zip(of[name], of["passes"]))

    return {
        "step_over_passes": max(over(wall, name) for name in METHODS),
        "step_over_passes_by_method": {name: over(wall, name) for name in METHODS},
        "step_over_passes_cpu": {name: over(cpu, name) for name in METHODS},
        "passes_seconds": statistics.median(wall["passes"]) / recipe.steps,
        "reference_bytes": {name: plan.notes["reference_bytes"] for name, plan in plans.items()},
        "prepare_cpu_seconds": {name: plan.notes["prepare_cpu_seconds"] for name, plan in plans.items()},
    }
