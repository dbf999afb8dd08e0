"""`python -m lens.organisms.induction`: train the model anew, measure it, and replace its folder."""

from __future__ import annotations

import json
import time
from dataclasses import asdict

from ..shipping import ship
from .recipe import FOLDER, Recipe
from .sequences import measure, words
from .training import train


def main() -> None:
    """Train, measure, write the folder and its card."""
    recipe, start = Recipe(), time.monotonic()
    model = train(recipe)
    card = {
        "name": "induction",
        "memory": "none in the weights: it repeats what stands earlier in its context",
        "licence": "MIT",
        "recipe": asdict(recipe),
        "recipe_sha256": recipe.sha256(),
        "measured": measure(model, recipe),
        "rebuild": "python -m lens.organisms.induction",
    }
    card = ship(model, words(recipe.vocab), FOLDER, card)
    print(json.dumps(card["measured"]))
    print(f"wrote {FOLDER} in {time.monotonic() - start:.0f} s")
