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
from ...unlearning.labels import random_labels

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
) -> pd.DataFrame:
    """One line a task and kind of answers: accuracy (the whole answer, greedy) on the prompts trained on and on unseen
    ones, before and after so many steps on outputs of other items of the task; tasks below `least` before are left out.

    Chance is 0: an output is one of many.
    """
    lines = []
    for name in tasks:
        parts = {
            split: vectors.build(model, name, "icl", n=n, shots=shots, split=split, seed=seed)
            for split in ("train", "test")
        }
        probes = {split: Probe(f"{name} {split}", "in_context", prompts) for split, prompts in parts.items()}
        before = {split: float(np.mean(accuracy(model, probe))) for split, probe in probes.items()}
        if min(before.values()) < least:
            continue
        items = [(list(p.ids), list(p.answer_ids)) for p in parts["train"]]
        for kind in labels:
            drawn = random_labels(items, kind, seed, batch)
            wrapped = LoRA(rank=rank).put_on(copy_of(model), seed)
            training.train(
                wrapped,
                drawn.rows,
                training.Recipe(
                    steps=steps, batch=batch, learning_rate=rate, weight_decay=0.0, schedule="constant", seed=seed
                ),
                progress=False,
            )
            after = {split: float(np.mean(accuracy(wrapped, probe))) for split, probe in probes.items()}
            lost = {split: 1 - after[split] / before[split] if before[split] else np.nan for split in probes}
            lines.append(
                {"seed": seed, "task": name, "labels": kind, "n_train": len(items), "n_held": len(parts["test"])}
                | {"train_before": before["train"], "held_before": before["test"]}
                | {"train": after["train"], "held": after["test"]}
                | {"G": lost["test"] / lost["train"] if lost["train"] > 0.5 and kind != "right" else np.nan}
            )
    return pd.DataFrame(lines)
