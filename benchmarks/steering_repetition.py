"""A step of a training that sees a subset again and again, by the plan and the package's loop, beside a plain loop that
is written out: rows by number, a forward, its loss, a backward, the gradient clipped, AdamW.

Both are of one process, in turn, by processor seconds: what else the machine does counts for neither.
"""

from __future__ import annotations

import math
import statistics
import time
from typing import Any

import torch
from torch.nn import functional as F

from lens import training
from lens.reproduce.repeated_data.arms import Arm, repeats
from lens.reproduce.repeated_data.bench import RATE, build
from lens.reproduce.repeated_data.language import draw

from .machine import set_threads

ROUNDS, STEPS, BATCH = {True: 1, False: 7}, {True: 4, False: 30}, 32
COUNT = 8


def plain(model: Any, ids: torch.Tensor, numbers: torch.Tensor, recipe: training.Recipe) -> list[float]:
    """The plain loop; the loss of each step."""
    weights = list(model.parameters())
    optimizer = torch.optim.AdamW(
        weights, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, betas=recipe.betas, fused=True
    )
    losses = []
    model.train()
    for step in range(recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(step)
        rows = ids[numbers[step * recipe.batch : (step + 1) * recipe.batch]]
        logits = model(input_ids=rows, use_cache=False).logits
        loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), rows[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, recipe.clip)
        optimizer.step()
        losses.append(loss.item())
    return losses


def run(quick: bool) -> dict[str, Any]:
    """The figures: of a model of 117 thousand parameters, rows of 65 tokens."""
    set_threads()
    steps = STEPS[quick]
    plan = training.Repetition(steps * BATCH, COUNT)
    pool = draw(plan.rows, 0).rows
    arm = Arm(repeats(COUNT), 24 if quick else 96, 0, COUNT)
    recipe = training.Recipe(steps, BATCH, RATE, warmup=steps // 2)
    ratios, apart = [], math.nan
    for round_ in range(ROUNDS[quick] + 1):
        mine, other = build(arm), build(arm)
        began = time.process_time()
        trained = training.train(mine, plan.sampler(pool, BATCH), recipe, parameters=lambda name: True, progress=False)
        between = time.process_time()
        losses = plain(other, pool.ids, plan.numbers(), recipe)
        ended = time.process_time()
        apart = max(abs(a - b) for a, b in zip(trained.losses.lm, losses))
        if round_:  # the first one warms up
            ratios.append((between - began) / (ended - between))
    return {
        "repetition_over_plain": statistics.median(ratios),
        "repetition_largest_difference_of_losses": apart,
        "repetition_rounds": ratios,
    }
