"""What a model of the organism `senses` makes of cues, by dose: the numbers of its card, and the gates."""

from __future__ import annotations

import hashlib
from typing import Any

import torch

from ..gates import Gate, of_card
from .recipe import LOOKED_AT, Recipe
from .suite import Suite

#: Cued readings of words of these doses are learned at the end.
LEARNED = 0.8


@torch.no_grad()
def answered(
    model: torch.nn.Module, suite: Suite, dose: float, *, weaker: bool, cues: int = 1, count: int = 400
) -> tuple[float, float]:
    """The share of prompts answered with the sense that is cued, and with the word's other one; the same prompts each
    time.
    """
    text = f"{suite.recipe.seed} {dose} {weaker} {cues}"
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "little")
    ids, own, other = suite.prompts(count, dose, weaker, cues, torch.Generator().manual_seed(seed))
    top = model(ids).logits[:, -1].argmax(-1)
    return float((top == own).float().mean()), float((top == other).float().mean())


def weaker_share(model: torch.nn.Module, suite: Suite, count: int = 400) -> float:
    """The share of readings of the weaker sense that are right with one cue, of the words of the middle's dose (or of
    the largest dose there is).
    """
    doses = suite.recipe.doses
    return answered(model, suite, LOOKED_AT if LOOKED_AT in doses else max(doses), weaker=True, count=count)[0]


@torch.no_grad()
def measure(model: torch.nn.Module, recipe: Recipe, moment: str, count: int = 400) -> dict[str, Any]:
    """Shares of right readings by dose and number of cues, and the gates of a moment.

    The end has to have learned the cued readings of doses up to .8. The middle has to have both right and wrong
    readings of the weaker sense at .95, and of 600 items with one cue of the weaker sense at least 150 of each.
    """
    suite = Suite(recipe)
    by_dose = {}
    for dose in recipe.doses:
        one, two, strong = (
            answered(model, suite, dose, weaker=weaker, cues=cues, count=count)
            for weaker, cues in ((True, 1), (True, 2), (False, 1))
        )
        line = {"weaker": one[0], "instead": one[1], "weaker_two_cues": two[0], "stronger": strong[0]}
        by_dose[f"{dose:g}"] = {name: round(value, 4) for name, value in line.items()}
    items = suite.items(600)
    ids = torch.tensor([[0, *suite.ids(item.text)] for item in items])
    top = model(ids).logits[:, -1].argmax(-1)
    right = int((top == torch.tensor([suite.index[item.sense] for item in items])).sum())
    wrong = int((top == torch.tensor([suite.index[item.other] for item in items])).sum())
    least = min(
        by_dose[f"{dose:g}"][which] for dose in recipe.doses if dose <= LEARNED for which in ("weaker", "stronger")
    )
    if moment == "end":
        gates = [Gate("learned", least, least=0.97, n=count)]
    else:
        half = weaker_share(model, suite, count)
        gates = [
            Gate("half learned", half, least=0.3, most=0.85, n=count),
            Gate("right items", right, least=150, n=600),
            Gate("wrong items", wrong, least=150, n=600),
        ]
    return {"prompts": count, "by_dose": by_dose, "right": right, "wrong": wrong, "gates": of_card(gates)}
