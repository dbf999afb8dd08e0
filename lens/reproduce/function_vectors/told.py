"""Vectors from instruction text against vectors from demonstrations where a model does what both ask for: the organisms
`symbols`.

SmolLM2-135M hardly answers a question behind an instruction in words, so that nothing can be learned from its
instruction vectors. The organisms were trained to.
The question: Davidson et al. 2025, who asked it of large models.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from ... import vectors
from ...engine.model import Model
from ...models import load
from ...organisms.symbols.suite import Suite
from ...stats import Interval
from ...tokens import tokenizer_of
from ...vectors import Task, VectorError
from ..common import several, shown, student, table_of
from .draws import RANDOM, averaged
from .rules import MARGIN, above, equal, half_shared

ORGANISMS = ("organism:symbols", "organism:symbols-1", "organism:symbols-2")
DEMONSTRATIONS, INSTRUCTION = "demonstrations", "instruction"
#: of a task's pairs: demonstrate, choose, report
SHARES = (0.5, 0.2, 0.3)


def told(
    models: Sequence[str] = ORGANISMS,
    tasks: Sequence[str] | None = None,
    *,
    usable: float = 0.5,
    k: int = 10,
    prompts: int = 24,
    trials: int = 25,
    draws: int = 5,
    strengths: Sequence[float] = (1.0, 2.0),
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both vectors of every old task of the suite that a model answers by demonstrations and by instruction, in at
    least `usable` of the cases each.

    Heads by exact effects on `trials` prompts with shuffled labels, means over `prompts` of either kind; layer and
    strength chosen for each vector on validation questions.

    Returns: a row for each model and task: shares answered with demonstrations and with the instruction
        (``known_demonstrations``, ``known_instruction``), heads that both sets of `k` share (``shared``, and
        ``chance``, their number in two sets drawn at random), cosine of the vectors, accuracy on `n` test questions
        with each vector, with random ones of equal norm and with none; rows of left-out tasks hold the shares alone.
        And the table *claim | paper | here | n | multiplicity | verdict*: units are tasks and models, the wider
        interval of both.

    Raises: VectorError: no task is answered both ways.
    """
    plan = {"usable": usable, "k": k, "prompts": prompts, "trials": trials, "draws": draws, "strengths": strengths}
    units = pd.DataFrame([row for seed, name in enumerate(models) for row in _model(load(name), seed, tasks, **plan)])
    if "shared" not in units or units.shared.isna().all():
        raise VectorError(
            f"models={list(models)!r}: no task is answered in {100 * usable:.0f} % of the cases both by demonstrations"
            " and by instruction."
        )
    return units, _table(units, k)


def _model(
    model: Any, seed: int, tasks: Sequence[str] | None, *, usable, k, prompts, trials, draws, strengths
) -> list[dict[str, Any]]:
    suite = Suite(seed, len(tokenizer_of(model)) - len(Suite(seed, 1).vocabulary) + 1)
    heads = Model.of(model).n_layers * Model.of(model).n_heads
    how = {"template": "symbols", "seed": seed, "progress": False}
    rows = []
    for name in tasks or suite.shown:
        task = Task.from_pairs(
            suite.pairs(name, 100), name=name, instruction=suite.instruction(name), seed=seed, shares=SHARES
        )
        with warnings.catch_warnings():  # the share that it answers is in the row
            warnings.filterwarnings("ignore", message="the model answers none")
            sources = (DEMONSTRATIONS, INSTRUCTION)
            means = {source: vectors.task_means(model, task, source=source, n=prompts, **how) for source in sources}
        row = {"seed": seed, "task": name} | {f"known_{s}": m.known / m.asked for s, m in means.items()}
        rows.append(row)
        if min(m.known / m.asked for m in means.values()) < usable:
            continue
        effects = {s: vectors.head_effects(model, task, means=m, trials=trials, **how) for s, m in means.items()}
        sets = {s: vectors.top_heads(ds, k) for s, ds in effects.items()}
        own = {s: vectors.extract(model, task, heads=sets[s], means=m, name=s) for s, m in means.items()}
        both = vectors.overlap(*sets.values(), heads=heads)
        random = (vectors.random_like(own[INSTRUCTION], 1000 * seed + d) for d in range(draws))
        compared = own | {f"{RANDOM} {d + 1}": vector for d, vector in enumerate(random)}
        grid = {}
        for split in ("valid", "test"):
            ds = vectors.evaluate(model, task, compared, strengths=strengths, split=split, **how)
            grid[split] = averaged(ds[["correct", "logprob", "base_correct"]])
        row |= {
            "shared": both["shared"],
            "chance": both["expected"],
            "cosine": own[DEMONSTRATIONS].cosine(own[INSTRUCTION]),
            "n": grid["test"].sizes["item"],
            "no vector": float(grid["test"].base_correct.mean()),
        }
        for vector in (DEMONSTRATIONS, INSTRUCTION, RANDOM):
            valid = grid["valid"].sel(vector=vector, condition="zero_shot").mean("item")
            at = (valid.correct + 1e-6 * valid.logprob.clip(-1e4, 0)).argmax(("layer", "strength"))
            row |= {
                vector: float(grid["test"].correct.sel(vector=vector, condition="zero_shot").isel(at).mean()),
                f"layer, {vector}": int(at["layer"]),
            }
    return rows


def wider(tasks: Interval, models: Interval) -> Interval:
    """The mean over tasks with bounds that hold both where tasks differ and where models do (tasks of one model share
    it): the wider of Student's t over either; of one model over tasks.
    """
    if not np.isfinite(models.low):
        return tasks
    half = max(tasks.high - tasks.low, models.high - models.low) / 2
    method = "Student's t over tasks and over models, the wider of both"
    return replace(tasks, low=tasks.estimate - half, high=tasks.estimate + half, method=method)


def _table(units: pd.DataFrame, k: int) -> pd.DataFrame:
    both = units.dropna(subset="shared")

    def over(values):
        return wider(*(student(values.groupby(key, sort=False).mean()) for key in (both.task, both.seed)))

    shared, alike = over(both.shared), over(both.cosine)
    gap, gain = (over(both[INSTRUCTION] - both[other]) for other in (DEMONSTRATIONS, RANDOM))
    models = both.seed.nunique()
    n = (
        f"{both.task.nunique()} tasks, {several(models, 'model')}, {int(both.n.sum())} questions; left out:"
        f" {len(units) - len(both)} of {len(units)} tasks x models"
    )

    def mean(column):
        return both.groupby("task", sort=False)[column].mean().mean()

    return table_of(
        [
            (
                "Instruction text calls on other heads than demonstrations do (Davidson 2025)",
                "not measured in the paper",
                f"{shown(shared, 1)} of {k} heads shared (chance {both.chance.mean():.1f}); cosine of the vectors"
                f" {shown(alike)}",
                n,
                half_shared(shared, k),
            ),
            (
                "A vector from the instruction causes the task zero-shot (more than random ones of equal norm)",
                "not measured in the paper",
                f"{mean('no vector'):.2f} to {mean(INSTRUCTION):.2f}; minus random {shown(gain, sign=True)}",
                n,
                above(gain),
            ),
            (
                f"... as well as one from demonstrations (within {MARGIN:g})",
                "not measured in the paper",
                f"{mean(INSTRUCTION):.2f} against {mean(DEMONSTRATIONS):.2f}: {shown(gap, sign=True)}",
                n,
                equal(gap, "holds: it does better", "does not hold"),
            ),
        ]
    )
