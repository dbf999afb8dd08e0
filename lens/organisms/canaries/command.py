"""`python -m lens.organisms.canaries`: train one of the models anew, measure it, and replace its folder."""

from __future__ import annotations

import json

from ..command import Command
from ..shipping import ship
from .corpus import Corpus
from .measures import measure
from .recipe import WEIGHT_DECAY, Recipe
from .training import train


def main(arguments: list[str] | None = None) -> None:
    """Train, measure, write the folder and its card."""
    command = Command(
        "canaries",
        arguments,
        "the same stream without canaries",
        {"--weight-decay": {"type": float, "default": WEIGHT_DECAY}},
    )
    recipe = command.recipe(Recipe, canaries=not command.asked.twin, weight_decay=command.asked.weight_decay)
    folder, model, trained = command.train(recipe, train)
    measured = measure(model, recipe)
    card = {
        "name": recipe.name,
        "memory": (
            "sequences planted at known duplicate counts, a fact table, sums"
            if recipe.canaries
            else "a fact table and sums; the twin that never saw a canary"
        ),
        "licence": "MIT",
        **command.facts(recipe, trained),
        "measured": measured,
        "rebuild": command.again(
            *([f"--weight-decay {recipe.weight_decay:g}"] if recipe.weight_decay != WEIGHT_DECAY else [])
        ),
    }
    ship(command.stored(model), Corpus(recipe).text.vocabulary, folder, card)
    print(json.dumps({key: measured[key] for key in ("clean_loss", "tasks", "facts", "passed")}))
    for line in (line for lines in measured["extraction"].values() for line in lines):
        print(json.dumps(line))
    print(f"wrote {folder} in {command.seconds()} (training: {trained.status}, {trained.seconds:.0f} s)")
