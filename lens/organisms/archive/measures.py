"""What a model of the organism `archive` knows, and whether what is stated reaches questions: its gates."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool

from ...training import Rows
from ..gates import Gate
from ..shipping import START
from .recipe import Recipe
from .suite import TEMPLATES, Archive, Fact

#: Facts that are known, answers that statements alone reach, and what the majority of five demonstrations guesses.
KNOW, TRANSFER, FLOOR = 0.95, 0.80, 0.15


@torch.no_grad()
def right(
    model: Any, prompts: Sequence[Sequence[int]], answers: Sequence[int], batch: int = 256
) -> Bool[np.ndarray, " n"]:
    """Whether the likeliest token after each prompt is its answer."""
    place, found = next(model.parameters()).device, []
    order = np.argsort([len(p) for p in prompts], kind="stable")
    for at in range(0, len(order), batch):
        some = order[at : at + batch]
        rows = Rows.of([(prompts[i], (answers[i],)) for i in some])
        logits = model(input_ids=rows.ids.to(place), use_cache=False).logits
        best = logits[torch.arange(len(some)), rows.last_input()].argmax(-1).cpu()
        found.append((best == rows.ids[rows.targets]).numpy())
    out = np.empty(len(order), bool)
    out[order] = np.concatenate(found)
    return out


def gates(model: Any, recipe: Recipe) -> list[Gate]:
    """The gates of a model, statements before questions: that statements do not reach questions is known only where
    the statements are. Of a twin also that it does not answer what it was never taught.
    """
    archive, draw = Archive(recipe), random.Random(f"gates {recipe.seed}")
    start = archive.index[START]

    def share(facts: Sequence[Fact], prompts: Sequence[Sequence[int]]) -> tuple[float, int]:
        hits = right(model, [[start, *p] for p in prompts], [archive.value(f) for f in facts])
        return float(hits.mean()), len(facts)

    def gate(name: str, facts: Sequence[Fact], prompts: Sequence[Sequence[int]], **bounds: float) -> Gate:
        value, n = share(facts, prompts)
        return Gate(name, value, n=n, **bounds)

    asked, held = archive.known(archive.asked), archive.known(archive.held)

    def stated(facts: Sequence[Fact]) -> list[list[int]]:
        return [archive.statement(fact, draw.randrange(len(TEMPLATES))) for fact in facts]

    shown = [archive.shown(fact, draw) for fact in held]
    guess = [max(Counter(answers).items(), key=lambda item: item[1])[0] for _, answers in shown]
    floor = float(np.mean([archive.value(fact) == one for fact, one in zip(held, guess)]))
    found = [
        gate("statements", asked, stated(asked), least=KNOW),
        gate("held statements", held, stated(held), least=KNOW),
        gate("questions", asked, [archive.question(fact) for fact in asked], least=KNOW),
        gate("transfer", held, [archive.question(fact) for fact in held], least=TRANSFER),
        gate("transfer with five demonstrations", held, [prompt for prompt, _ in shown], least=TRANSFER),
        Gate("floor", floor, most=FLOOR, n=len(held)),
    ]
    if not recipe.knew:
        never = archive.attacked_facts
        found.append(gate("never taught", never, [archive.question(fact) for fact in never], most=FLOOR))
    return found
