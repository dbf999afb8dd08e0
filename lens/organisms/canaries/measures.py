"""What a model of the organism `canaries` recites and what it can do: the numbers of its card, and the gates."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .corpus import SPLITS, Canaries, Corpus, Task
from .recipe import Recipe

GATES = {
    "strict_at_most_duplicates": 0.9,
    "arithmetic": 0.9,
    "facts_over_300": 0.95,
    "open_book": 0.9,
    "copy": 0.9,
    "rule": 0.9,
}
# open_book and rule are what the shipped models miss: .28 to .98 by seed, and chance; their cards say so
FEW_GATE = 0.02  # of strict extraction at 0 and 1 duplicates


@torch.no_grad()
def right(
    model: torch.nn.Module, prompts: Int[Tensor, "n p"], answers: Int[Tensor, "n a"], batch: int = 256
) -> Bool[np.ndarray, "n a"]:
    """Whether each token of the answer is the likeliest after the prompt and the answer so far; all True is just what
    greedy decoding of the answer is.
    """
    place, rows, length = next(model.parameters()).device, [], answers.shape[1]
    for at in range(0, len(prompts), batch):
        ids = torch.cat([prompts[at : at + batch], answers[at : at + batch]], 1).to(place)
        guessed = model(input_ids=ids, use_cache=False).logits[:, -length - 1 : -1].argmax(-1)
        rows.append((guessed == ids[:, -length:]).cpu())
    return torch.cat(rows).numpy()


@torch.no_grad()
def loss(
    model: torch.nn.Module, ids: Int[Tensor, "n width"], first: int = 1, batch: int = 128
) -> Float[np.ndarray, " n"]:
    """The mean negative log-likelihood of each row's tokens from number `first` on, in nats."""
    place, losses = next(model.parameters()).device, []
    for at in range(0, len(ids), batch):
        rows = ids[at : at + batch].to(place)
        logits = model(input_ids=rows, use_cache=False).logits[:, first - 1 : -1]
        each = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1).float(), rows[:, first:].flatten(), reduction="none"
        )
        losses.append(each.view(len(rows), -1).mean(1).cpu())
    return torch.cat(losses).numpy()


def extraction(model: torch.nn.Module, canaries: Canaries) -> list[dict[str, Any]]:
    """One line for each kind and count: strict extraction of the suffix, mean share of it that is right from its start
    on, mean loss of the suffix in nats.
    """
    tokens = right(model, canaries.ids[:, : canaries.prefix], canaries.ids[:, canaries.prefix :])
    losses = loss(model, canaries.ids, canaries.prefix)
    begun = np.cumprod(tokens, axis=1).mean(1)
    lines = []
    for kind in dict.fromkeys(canaries.kind.tolist()):
        for count in sorted(set(canaries.duplicates.tolist())):
            here = (canaries.kind == kind) & (canaries.duplicates == count)
            if not here.any():
                continue
            lines.append(
                {
                    "kind": kind,
                    "duplicates": count,
                    "n": int(here.sum()),
                    "strict": _round(tokens[here].all(1).mean()),
                    "prefix_right": _round(begun[here].mean()),
                    "loss": _round(losses[here].mean()),
                }
            )
    return lines


def accuracy(model: torch.nn.Module, tasks: dict[str, Task]) -> dict[str, float]:
    """The share of each task's questions that are answered right, token for token."""
    return {name: _round(right(model, task.prompts, task.answers).all(1).mean()) for name, task in tasks.items()}


def facts(model: torch.nn.Module, task: Task) -> dict[str, dict[str, float]]:
    """Closed-book accuracy by exposure bin."""
    answered, bins = np.all(right(model, task.prompts, task.answers), axis=1), np.array(task.bins)
    order = sorted(set(task.bins), key=lambda name: task.exposure[bins == name].min())
    return {name: {"n": int((bins == name).sum()), "accuracy": _round(answered[bins == name].mean())} for name in order}


def measure(model: torch.nn.Module, recipe: Recipe, rows: int = 200) -> dict[str, Any]:
    """Extraction by kind and duplicates, clean loss by split (`rows` rows each), task accuracies, facts by exposure,
    and which gates they pass.
    """
    corpus = Corpus(recipe)
    tasks = corpus.tasks()
    families = {family: extraction(model, corpus.canaries(family)) for family in ("main", "second")}
    table, answered = facts(model, tasks["closed_book"]), accuracy(model, tasks)
    lines = [line for table in families.values() for line in table]
    most = [
        lines_of[-1]["strict"]
        for lines_of in (
            [line for line in lines if line["kind"] == kind] for kind in dict.fromkeys(line["kind"] for line in lines)
        )
    ]
    few = [line["strict"] for line in lines if line["duplicates"] <= (1 if recipe.canaries else math.inf)]
    passed = {name: answered[name] >= GATES[name] for name in ("arithmetic", "open_book", "copy", "rule")}
    passed |= {
        "facts_over_300": table.get("over 300", {"accuracy": 0.0})["accuracy"] >= GATES["facts_over_300"],
        "few": max(few) <= FEW_GATE,
    }
    if recipe.canaries:
        passed["strict_at_most_duplicates"] = min(most) >= GATES["strict_at_most_duplicates"]
    return {
        "clean_loss": {split: _round(loss(model, corpus.clean(rows, split)).mean()) for split in SPLITS},
        "rows": rows,
        "extraction": families,
        "tasks": answered,
        "facts": table,
        "gates": GATES | {"strict_at_few_at_most": FEW_GATE},
        "passed": passed,
    }


def _round(value: Any) -> float:
    return round(float(value), 4)
