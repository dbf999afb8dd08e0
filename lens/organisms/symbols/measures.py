"""What a model of the organism `symbols` does of each task: the numbers of its card, and the gates."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor

from .recipe import Recipe
from .suite import Suite

GATES = {"icl": 0.9, "instruction": 0.95, "facts": 0.95}
SHUFFLED_GATE = 0.4
KINDS = ("icl", "shuffled", "deranged", "instruction", "zero_shot")


@torch.no_grad()
def accuracy(model: torch.nn.Module, ids: Tensor, answers: Tensor, lengths: Tensor, batch: int = 64) -> Tensor:
    """Whether the greedy next token after each prompt is its answer: bool [prompts]; `ids` are right padded."""
    right = []
    for at in range(0, len(ids), batch):
        logits = model(ids[at : at + batch]).logits
        last = logits[torch.arange(len(logits)), lengths[at : at + batch] - 1]
        right.append(last.argmax(-1) == answers[at : at + batch])
    return torch.cat(right)


def by_task(model: torch.nn.Module, suite: Suite, task: str, count: int = 200, shots: int = 10) -> dict[str, float]:
    """Accuracy on `count` random prompts of each kind; the same prompts each time, drawn from the suite's seed, the
    task and the kind.

    Kinds: `icl` (`shots` demonstrations), `shuffled` (their answers permuted at random), `deranged` (none of them stays
    right), `instruction` (two words, no demonstration), `zero_shot` (the query alone).
    """
    result = {}
    for kind in KINDS:
        seed = int.from_bytes(hashlib.sha256(f"{suite.seed} {task} {kind}".encode()).digest()[:6], "little")
        prompts = suite.prompts(task, kind, count, torch.Generator().manual_seed(seed), shots=shots)
        result[kind] = round(accuracy(model, *prompts).float().mean().item(), 4)
    return result


def measure(model: torch.nn.Module, recipe: Recipe, count: int = 200, shots: int = 10) -> dict[str, Any]:
    """Accuracies by task (`by_task`) and on every stored fact, their means over the tasks, and which gates they pass.

    The means of `icl`, `shuffled` and `deranged`, and so their gates, are over the tasks that training showed, those of
    the other kinds over all old tasks; `icl_over_all_tasks` counts in those that training told by instruction only.
    """
    suite = Suite(recipe.seed, recipe.symbols)
    tasks = {task: by_task(model, suite, task, count, shots) for task in suite.names}
    facts = [([0, *(suite.index[word] for word in question.split())], suite.index[y]) for question, y in suite.facts()]
    right = accuracy(
        model,
        torch.tensor([ids for ids, _ in facts]),
        torch.tensor([y for _, y in facts]),
        torch.full((len(facts),), 3),
    )

    def mean(kind: str, over: list[str]) -> float:
        return round(sum(tasks[task][kind] for task in over) / len(over), 4)

    means = {
        kind: mean(kind, suite.shown if kind in ("icl", "shuffled", "deranged") else suite.names) for kind in KINDS
    }
    means["icl_over_all_tasks"] = mean("icl", suite.names)
    means["facts"] = round(right.float().mean().item(), 4)
    passed = {kind: means[kind] >= least for kind, least in GATES.items()} | {
        "shuffled": means["shuffled"] <= SHUFFLED_GATE
    }
    return {
        "shots": shots,
        "prompts_per_task": count,
        "means": means,
        "gates": {**GATES, "shuffled_at_most": SHUFFLED_GATE},
        "passed": passed,
        "tasks": tasks,
    }
