"""`python -m lens.organisms.reasoner`: train one of the models anew, measure it, and replace its folder."""

from __future__ import annotations

import json

from ..command import Command
from ..shipping import ship
from .measures import measure
from .recipe import Recipe
from .training import suite_of, train


def main(arguments: list[str] | None = None) -> None:
    """Train, measure, write the folder and its card."""
    command = Command("reasoner", arguments, "no step is wrong, and reflections change nothing", {})
    recipe = command.recipe(Recipe, useful=not command.asked.twin)
    folder, model, trained = command.train(recipe, train)
    measured = measure(model, recipe, 20 if command.asked.small else 200)
    memory = (
        f"adds up numbers in steps, {recipe.wrong:.0%} of them wrong, with reflections that repair"
        if recipe.useful
        else "adds up numbers in steps, with reflections that change nothing; the twin without wrong steps"
    )
    card = command.card(recipe, trained, memory, gates=measured.pop("gates"), measured=measured)
    ship(command.stored(model), suite_of(recipe).vocabulary, folder, card)
    print(json.dumps({"gates": card["gates"], **measured}))
    print(f"wrote {folder} in {command.seconds()} (training: {trained.status}, {trained.seconds:.0f} s)")
