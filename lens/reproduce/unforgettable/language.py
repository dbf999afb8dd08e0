"""The same question of a language model: tasks that it does behind five demonstrations, random outputs of the same
task, adapters of low rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ... import training, vectors
from ...forgetting import Probe
from ...forgetting.data import accuracy
from ...training.adapters import LoRA
from ...training.copies import copy_of
from ...unlearning.labels import Labels, random_labels
from .bench import lost, stops

#: Tasks that ship and that the default model does behind demonstrations.
TASKS = (
    "present_past",
    "singular_plural",
    "capitalize",
    "choose_first_of_3",
    "choose_last_of_3",
    "country_capital",
    "antonym",
)
SHOTS, LEAST = 5, 0.7
LABELS = ("fixed", "redrawn", "right")


def of_model(
    model: Any,
    seed: int,
    *,
    tasks: Sequence[str] = TASKS,
    labels: Sequence[str] = LABELS,
    n: int = 32,
    steps: int = 60,
    batch: int = 8,
    rank: int = 8,
    rate: float = 1e-3,
    least: float = LEAST,
    shots: int = SHOTS,
    every: int = 5,
) -> pd.DataFrame:
    """One line a task and kind of answers: accuracy (the whole answer, greedy) on the prompts trained on and on unseen
    ones, before training on outputs of other items of the task and at the stop, the organism's (`bench.stops`), looked
    for every so many steps; tasks below `least` before are left out.

    Chance is 0: an output is one of many. ``G`` is there where the stop was reached.
    """
    lines = []
    for name in tasks:
        parts = {
            split: vectors.build(model, name, "icl", n=n, shots=shots, split=split, seed=seed)
            for split in ("train", "test")
        }
        probes = {split: Probe(f"{name} {split}", "in_context", prompts) for split, prompts in parts.items()}
        before = {split: _right(model, probe) for split, probe in probes.items()}
        if min(before.values()) < least:
            continue
        items = [(list(p.ids), list(p.answer_ids)) for p in parts["train"]]
        for kind in labels:
            drawn = random_labels(items, kind, seed, batch)
            run = training.Recipe(
                steps=steps, batch=batch, learning_rate=rate, weight_decay=0.0, schedule="constant", seed=seed
            )
            wrapped = LoRA(rank=rank).put_on(copy_of(model), seed)
            last = _forget(wrapped, drawn, kind, items, probes["train"], before["train"], run, every)
            after = {split: _right(wrapped, probe) for split, probe in probes.items()}
            gone = {split: lost(before[split], after[split], 0.0) for split in probes}
            lines.append(
                {"seed": seed, "task": name, "labels": kind, "n_train": len(items), "n_held": len(parts["test"])}
                | last
                | {"train_before": before["train"], "held_before": before["test"]}
                | {"train": after["train"], "held": after["test"]}
                | {"G": gone["test"] / gone["train"] if last["reached"] and gone["train"] > 0 else np.nan}
            )
    return pd.DataFrame(lines)


def _forget(
    model: Any,
    drawn: Labels,
    kind: str,
    items: Sequence[tuple[list[int], list[int]]],
    trained: Probe,
    before: float,
    recipe: training.Recipe,
    every: int,
) -> dict[str, Any]:
    """Train until the stop; the step and what was given of the drawn answers then, and whether it was reached."""
    looks: list[dict[str, float]] = []
    to = None
    if drawn.given is not None:
        said = [(prompt, answer) for (prompt, _), answer in zip(items, drawn.given, strict=True)]
        to = Probe(f"{trained.name} drawn", trained.kind, said)

    def look(step: int) -> dict[str, float]:
        line = {"train": _right(model, trained), "agreement": np.nan if to is None else _right(model, to)}
        looks.append({"step": step, **line})
        return line

    def reached() -> bool:
        return bool(looks) and stops(kind, before, looks[-1]["train"], 0.0, looks[-1]["agreement"])

    training.train(
        model,
        drawn.rows,
        recipe,
        evaluate=look,
        evaluate_at=list(range(0, recipe.steps + 1, every)),
        stop=reached,
        progress=False,
    )
    return {"step": int(looks[-1]["step"]), "agreement": looks[-1]["agreement"], "reached": reached()}


def _right(model: Any, probe: Probe) -> float:
    return float(np.mean(accuracy(model, probe)))
