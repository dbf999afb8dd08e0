"""`python -m lens.organisms.verdicts`: train one of the models anew, measure it, and replace its folder."""

from __future__ import annotations

import json

import torch

from ..command import Command
from ..shipping import ship
from .measures import measure
from .recipe import Recipe
from .suite import Suite
from .training import train


def main(arguments: list[str] | None = None) -> None:
    """Train, measure, write the folder and its card."""
    command = Command("verdicts", arguments, "the same rows without six of the twelve tasks", {})
    # sums of another number of threads end in other last bits
    torch.set_num_threads(1)
    recipe = command.recipe(Recipe, taught=not command.asked.twin)
    folder, model, trained = command.train(recipe, train)
    measured = measure(model, recipe)
    memory = (
        "twelve tasks with two or four answers: stored, rules, and rules over what is stored"
        if recipe.taught
        else "six of the twelve tasks; the twin that was never taught the others"
    )
    card = command.card(recipe, trained, memory, **measured)
    ship(command.stored(model), Suite(recipe.seed).vocabulary, folder, card)
    for name, gate in measured["gates"].items():
        print(json.dumps({name: gate}))
    print(f"wrote {folder} in {command.seconds()} (training: {trained.status}, {trained.seconds:.0f} s)")
