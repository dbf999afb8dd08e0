"""One training of the study, with its looks: losses by kind of token, copying, the best head's prefix matching, and the
loss of the subset.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor
from torch.nn import functional as F

from ... import training
from ...models import weight_hash
from ...organisms.decoder import decoder
from ...results import dataset as results
from ...training import Rows
from ..errors import ReproduceError
from .arms import HALF_STEPS, Arm, Preset, plan_of
from .language import LENGTH, SEEN, TEXT, WORDS, Drawn, draw, twice

LAYERS, RATE, WARMUP, HEAD = 2, 3e-3, 100, 24
#: Seeds of what is drawn: rows of each training, test rows, rows of random words.
POOLS, TESTS, COPIES = 10_000, 5, 7
#: Rows of random words, and of the subset, that a look reads.
COPIED, SUBSET = 64, 256
#: Looks at everything.
QUARTERS = 4
#: Losses in nats a token, and the score of the best head; `text_choose` is of the rows that an early stop is chosen on,
#: `text`, `lists` and `all` of the others.
MEASURES = ("text", "text_choose", "lists", "all", "copy_1", "copy_2", "prefix_matching", "subset")


@dataclass(frozen=True)
class Sizes:
    """What a model of a width has."""

    d_model: int
    layers: int = LAYERS

    @property
    def heads(self) -> int:
        """Of 24 columns each."""
        return self.d_model // HEAD

    @property
    def d_mlp(self) -> int:
        """Two thirds of the width."""
        return self.d_model * 2 // 3


def build(arm: Arm) -> Any:
    """The untrained model of a training: a Llama-type decoder whose residual writes begin small. It computes attention
    without its patterns, which takes a tenth off a step; `copying` asks for them.
    """
    if arm.d_model % HEAD:
        raise ReproduceError(f"sizes: width {arm.d_model}; expected a multiple of {HEAD}, the width of a head.")
    model = decoder(Sizes(arm.d_model), vocabulary=WORDS + 1, context=LENGTH + 1, seed=arm.seed, attention="sdpa")
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.div_((2 * LAYERS) ** 0.5)
    return model


def pool(arm: Arm, plan: Preset) -> Rows:
    """The rows that a training draws on; those of one seed begin alike."""
    if not arm.text:
        return _mixture(plan.steps * plan.batch, POOLS + arm.seed)
    lists = draw(plan_of(arm, plan).unique, POOLS + arm.seed, lists=1.0).rows
    return Rows.joined([lists, draw(plan_of(arm, plan).subset, 2 * POOLS + arm.seed, lists=0.0).rows])


@lru_cache(maxsize=1)
def _mixture(count: int, seed: int) -> Rows:
    """Drawn once for all trainings of a seed, which come one after another."""
    return draw(count, seed).rows


@cache
def tests(count: int) -> Drawn:
    """Rows that no training sees."""
    return draw(count, TESTS)


@contextlib.contextmanager
def with_patterns(model: Any) -> Iterator[None]:
    """Within, the model gives the attention patterns that are asked of it."""
    own = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(own)


@torch.no_grad()
def losses(model: Any, ids: Tensor, patterns: list[Tensor] | None = None) -> Tensor:
    """Cross-entropy in nats of each token but the first, [n, length - 1]; attention of all heads goes into
    `patterns`, [layer, n, head, query, key] a piece.
    """
    pieces = []
    for part in ids.split(128):
        out = model(input_ids=part, use_cache=False, output_attentions=patterns is not None)
        pieces.append(F.cross_entropy(out.logits[:, :-1].transpose(1, 2), part[:, 1:], reduction="none"))
        if patterns is not None:
            patterns.append(torch.stack(out.attentions))
    return torch.cat(pieces)


def copying(model: Any) -> dict[str, float]:
    """Losses of the two copies of random words, and the prefix matching of the best head: attention from a word to the
    one after its earlier copy.
    """
    ids = twice(COPIED, COPIES)
    half = (ids.shape[1] - 1) // 2
    patterns: list[Tensor] = []
    with with_patterns(model):
        loss = losses(model, ids, patterns)
    query = torch.arange(half + 1, 2 * half)
    scores = torch.cat(patterns, 1)[..., query, query - half + 1].mean((1, 3))
    return {
        "copy_1": loss[:, :half].mean().item(),
        "copy_2": loss[:, half + 1 :].mean().item(),
        "prefix_matching": scores.max().item(),
    }


def look(model: Any, count: int, subset: Tensor | None) -> dict[str, float]:
    """All `MEASURES` of a model by name: every other test row chooses, the rest report."""
    drawn = tests(count)
    loss, kinds = losses(model, drawn.rows.ids), drawn.kinds[:, 1:]
    (report, choose), (of, other) = ((each[::2], each[1::2]) for each in (loss, kinds))
    return {
        "text": report[of == TEXT].mean().item(),
        "text_choose": choose[other == TEXT].mean().item(),
        "lists": report[of == SEEN].mean().item(),
        "all": report.mean().item(),
        **copying(model),
        "subset": np.nan if subset is None else losses(model, subset[:SUBSET]).mean().item(),
    }


@contextlib.contextmanager
def dropped(model: Any, share: float) -> Iterator[None]:
    """Within, what attention and MLPs write is dropped at this rate while the model trains."""

    def drop(module: Any, given: Any, out: Tensor) -> Tensor:
        return F.dropout(out, share, module.training)

    handles = [
        module.register_forward_hook(drop)
        for name, module in model.named_modules()
        if share and name.endswith(("o_proj", "down_proj"))
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def recipe(arm: Arm, plan: Preset) -> training.Recipe:
    """How a training goes: half the unique-only trainings see the same rows in half the steps, the others in half the
    batch.
    """
    rows = plan_of(arm, plan).budget
    steps = plan.steps if rows == plan.steps * plan.batch else rows // plan.batch
    batch = plan.batch
    if rows < plan.steps * plan.batch and not arm.name.startswith(HALF_STEPS):
        steps, batch = plan.steps, rows // plan.steps
    ends = round(steps * arm.ends)
    return training.Recipe(
        steps=ends,
        batch=batch,
        learning_rate=RATE,
        weight_decay=arm.decay,
        warmup=min(WARMUP, ends // 2),
        seed=arm.seed,
    )


def trained(arm: Arm, plan: Preset, progress: bool | None = False) -> xr.Dataset:
    """A training from its first step to its last: `MEASURES` over `look` (all of them at each quarter, copying and the
    head at each look), `step` of each look, and what was trained.

    Raises: ReproduceError: a loss that is not finite, a training that was stopped.
    """
    seen, how, drawn = plan_of(arm, plan), recipe(arm, plan), pool(arm, plan)
    model = build(arm)
    subset = drawn.ids[seen.unique : seen.rows] if seen.repeats > 1 else None
    at = [max(1, round(how.steps * i / plan.looks)) for i in range(1, plan.looks + 1)]
    whole = {max(1, round(how.steps * i / QUARTERS)) for i in range(1, QUARTERS + 1)}

    def looked(step: int) -> dict[str, float]:
        return look(model, plan.tests, subset) if step in whole else copying(model)

    run = training.train(
        model,
        seen.sampler(drawn, how.batch, tests(plan.tests).rows),
        how,
        parameters=lambda name: True,
        around=(lambda batch: dropped(model, arm.dropout)) if arm.dropout else None,
        evaluate=looked,
        evaluate_at=sorted({*at, *whole}),
        progress=progress,
    )
    if run.status != "complete":
        raise ReproduceError(f"{arm.key}: training {run.status} after step {run.step}; its looks say nothing.")
    table = run.evaluations
    about = {
        "d_model": arm.d_model,
        "seed": arm.seed,
        "repeats": arm.repeats,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "subset_rows": seen.subset if seen.repeats > 1 else 0,
        "steps": how.steps,
        "batch": how.batch,
    }
    columns = {name: ("look", table.get(name, pd.Series(np.nan, table.index)).to_numpy(float)) for name in MEASURES}
    ds = xr.Dataset({**columns, "step": ("look", table.step.to_numpy()), **about})
    record = {"kind": "repeated_data", "arm": arm._asdict(), "weights": weight_hash(model)[:16]}
    return results.stamp(ds, {**record, "call": asdict(how)})
