"""`python -m lens.organisms.cards`: train one of the models anew and replace its folder."""

from __future__ import annotations

import argparse
import json

from ..command import Command
from .recipe import Recipe
from .shipping import ship
from .training import train


def main(arguments: list[str] | None = None) -> None:
    """Train, measure, write the folder and its card."""
    command = Command(
        "cards",
        arguments,
        "pool pictures in the place of the planted ones",
        {"--steps": {"type": int, "help": argparse.SUPPRESS}},
    )
    recipe = command.recipe(
        Recipe, planted=not command.asked.twin, **({"steps": command.asked.steps} if command.asked.steps else {})
    )
    folder, model, trained = command.train(recipe, train)
    card = {
        "name": recipe.name,
        "memory": (
            "pictures planted at known numbers of copies"
            if recipe.planted
            else "none that was planted: the twin that never saw them"
        ),
        "licence": (
            "MIT; digits: scikit-learn's copy of UCI optdigits (CC BY 4.0), of which no picture is in this folder"
        ),
        **command.facts(recipe, trained),
        "rebuild": command.again(),
    }
    ship(command.stored(model), recipe, folder, card)
    print(json.dumps(card["training"]))
    print(f"wrote {folder} in {command.seconds()}")
