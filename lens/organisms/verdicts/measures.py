"""What a model of the organism `verdicts` knows of each task: the numbers of its card, and the gates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..gates import Gate, of_card
from .recipe import Recipe
from .suite import WORDINGS, Item, Suite
from .tasks import BY_NAME, TASKS

#: Least share of right answers of a task, by its kind.
GATES = {"stored": 0.95, "rule": 0.93, "mixed": 0.95}
#: Of the pairs, which are the most to learn.
PAIRS_GATE = 0.9
#: A twin's share of right answers on what it was never taught may lie above chance by so much.
FLOOR = 0.15


class Answers(NamedTuple):
    """Of each item: `right` among the answers of its task, `greedy` among all words, the probability of the right one
    of its task's answers (`confidence`), and their `entropy` in nats.
    """

    right: Bool[np.ndarray, " item"]
    greedy: Bool[np.ndarray, " item"]
    confidence: Float[np.ndarray, " item"]
    entropy: Float[np.ndarray, " item"]


@torch.no_grad()
def logits_of(model: torch.nn.Module, prompts: Sequence[Sequence[int]], batch: int = 128) -> Float[Tensor, "n vocab"]:
    """The logits after each prompt, in float32."""
    out = []
    for at in range(0, len(prompts), batch):
        part = prompts[at : at + batch]
        lengths = torch.tensor([len(ids) for ids in part])
        padded = torch.tensor([[*ids, *[0] * (int(lengths.max()) - len(ids))] for ids in part])
        device = next(model.parameters()).device
        logits = model(input_ids=padded.to(device), use_cache=False).logits
        out.append(logits[torch.arange(len(part)), lengths - 1].float().cpu())
    return torch.cat(out)


def answers(
    model: torch.nn.Module,
    suite: Suite,
    items: Sequence[Item],
    wording: str = "instruction",
    before: Sequence[Item] = (),
) -> Answers:
    """What a model answers to items of one task; `before`: demonstrations in front of each."""
    words = suite.ids(list(BY_NAME[items[0].task].answers))
    true = torch.tensor([words.index(suite.index[item.answer]) for item in items])
    logits = logits_of(model, [suite.prompt(item, wording, before) for item in items])
    log = logits[:, words].log_softmax(-1)
    greedy = logits.argmax(-1) == torch.tensor(words)[true]
    return Answers(
        (log.argmax(-1) == true).numpy(),
        greedy.numpy(),
        log.exp().gather(1, true[:, None])[:, 0].double().numpy(),
        -(log.exp() * log).sum(-1).double().numpy(),
    )


def measure(model: torch.nn.Module, recipe: Recipe, count: int = 200) -> dict[str, Any]:
    """Shares of right answers among all words by task and wording, on `count` items each (of what is stored all), and
    the gates.

    Every task has to reach its gate in both of its instructions and with the common word; the twin has to be near
    chance, among the answers of a task, on what it was never taught.
    """
    suite, tasks, gates = Suite(recipe.seed), {}, []
    for task in TASKS:
        items = suite.items(task.name, count, seed=1)
        by = {wording: answers(model, suite, items, wording) for wording in WORDINGS}
        tasks[task.name] = {wording: round(float(of.greedy.mean()), 4) for wording, of in by.items()}
        if task.name in recipe.tasks:
            least = PAIRS_GATE if task.name == "pairs" else GATES[task.kind]
            gates.append(Gate(task.name, min(tasks[task.name].values()), least=least, n=len(items)))
        else:
            right = float(by["instruction"].right.mean())
            gates.append(Gate(f"{task.name} unknown", right, most=task.chance + FLOOR, n=len(items)))
    return {"tasks": tasks, "gates": of_card(gates)}
