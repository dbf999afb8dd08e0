"""What a method costs: its training step against a plain one, and its preparation."""

from __future__ import annotations

import copy
import dataclasses
import time
from typing import Any

import numpy as np

from ..arguments import Count, Draws, HFModel, Positive, Seed, door
from ..engine.sessions import of_one_model
from ..training import LoRA, Recipe, Rows, train
from .data import ForgettingError, Stage, anatomy
from .guide import Guide
from .methods import Method
from .methods import method as method_of
from .plans import Setup, trained_parameters


@door(ForgettingError)
@of_one_model(reads=False)
def step_cost(
    model: HFModel,
    rows: Rows,
    method: str | Method = "guided",
    *,
    guide: Guide | None = None,
    old_rows: Rows | None = None,
    lora: LoRA | None = None,
    batch: Count = 8,
    steps: Draws = 6,
    repeats: Draws = 5,
    learning_rate: Positive = 1e-5,
    seed: Seed = 0,
) -> dict[str, Any]:
    """Seconds of a training step by a method and by plain fine-tuning, in turn on copies of a model, so that both meet
    the same noise of the machine.

    Args:
        steps, repeats: each repeat trains so many steps by each; one repeat before them warms up.

    Returns: ``plain`` and ``method`` (median seconds a step), ``ratio`` (median of the repeats' ratios), ``ratios``
        (all of them), ``cpu_ratio``, ``cpu_plain`` and ``cpu_method`` (the same in processor time, which other jobs on
        the machine disturb less; means nothing on a GPU), ``prepare_seconds`` and ``notes`` (a teacher's memory). The
        teacher's outputs are kept beforehand: the ratio is that of every step, and ``prepare_seconds`` is paid once a
        stage.
    """
    chosen = method_of(method)
    for name, value in (("guide", guide), ("old_rows", old_rows)):
        if value is None and name in chosen.needs:
            raise ForgettingError(f"{name}=None: method {chosen.name!r} cannot do without; give one.")
    anatomy(model)
    if guide is not None:
        guide.check(model)
    recipe = Recipe(steps=steps, batch=batch, learning_rate=learning_rate, seed=seed)
    seconds: dict[str, list[float]] = {"plain": [], "method": []}
    cpus: dict[str, list[float]] = {"plain": [], "method": []}
    prepared: dict[str, Any] = {}
    for label, chosen in (("plain", method_of("plain")), ("method", method_of(method))):
        own = copy.deepcopy(model)
        touched = lora.touched(own) if lora is not None else tuple(n for n, _ in own.named_parameters())
        began = time.perf_counter()
        plan = chosen.prepare(
            Setup(own, lambda: copy.deepcopy(model), 0, Stage("cost", rows), (), guide, old_rows, touched, seed, None),
            chosen.options,
        )
        wait = time.perf_counter() - began
        wrapped = own if lora is None else lora.put_on(own, seed)
        prepared[label] = (plan, wrapped, trained_parameters(wrapped, touched, plan), wait)
    for repeat in range(repeats + 1):
        for label in ("plain", "method") if repeat % 2 else ("method", "plain"):
            plan, wrapped, parameters, _ = prepared[label]
            cpu = time.process_time()
            training = train(
                wrapped,
                plan.rows,
                dataclasses.replace(recipe, seed=seed + repeat),
                terms=plan.terms,
                parameters=list(parameters.values()),
                around=None if plan.around is None else plan.around(wrapped),
                progress=False,
            )
            if repeat:
                seconds[label].append(training.seconds / steps)
                cpus[label].append((time.process_time() - cpu) / steps)
    ratios = np.array(seconds["method"]) / np.array(seconds["plain"])
    cpu_ratio = float(np.median(np.array(cpus["method"]) / np.array(cpus["plain"])))
    plan, _, _, wait = prepared["method"]
    return {
        "plain": float(np.median(seconds["plain"])),
        "method": float(np.median(seconds["method"])),
        "ratio": float(np.median(ratios)),
        "ratios": ratios.round(4).tolist(),
        "cpu_ratio": cpu_ratio,
        "cpu_plain": float(np.median(cpus["plain"])),
        "cpu_method": float(np.median(cpus["method"])),
        "prepare_seconds": round(wait, 4),
        "notes": plan.notes,
    }
