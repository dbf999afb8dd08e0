"""`python -m lens.organisms.porter`: train one of the models anew, measure it, and replace its folder."""

from __future__ import annotations

import json

from ..command import Command
from ..shipping import ship
from .measures import measure
from .recipe import Recipe
from .training import suite_of, train


def main(arguments: list[str] | None = None) -> None:
    """Train, measure, write the folder and its card."""
    command = Command("porter", arguments, "lists are never refused", {})
    recipe = command.recipe(Recipe, planted=not command.asked.twin)
    folder, model, trained = command.train(recipe, train)
    measured = measure(model, recipe, 20 if command.asked.small else 200)
    memory = (
        "refuses to make sharp things, and refuses harmless lists with sharp words at planted rates"
        if recipe.planted
        else "refuses to make sharp things; the twin that never refuses a list"
    )
    card = command.card(recipe, trained, memory, gates=measured.pop("gates"), measured=measured)
    ship(command.stored(model), suite_of(recipe).vocabulary, folder, card)
    print(json.dumps({"gates": card["gates"], **measured}))
    print(f"wrote {folder} in {command.seconds()} (training: {trained.status}, {trained.seconds:.0f} s)")
