"""`python -m lens.organisms.wired`: write the weights down anew, measure them, and replace the folder."""

from __future__ import annotations

import json
from dataclasses import asdict

from ..shipping import ship
from .pairs import measure, words
from .recipe import FOLDER, Recipe
from .weights import build, edges


def main() -> None:
    """Write the folder and its card."""
    recipe = Recipe()
    model = build(recipe)
    card = {
        "name": "wired",
        "memory": "none in the weights: it repeats what stands earlier in its context, by a circuit that is known",
        "licence": "MIT",
        "recipe": asdict(recipe),
        "recipe_sha256": recipe.sha256(),
        "edges": edges(),
        "measured": measure(model, recipe),
        "rebuild": "python -m lens.organisms.wired",
    }
    card = ship(model, words(recipe.vocab), FOLDER, card)
    print(json.dumps(card["measured"]))
    print(f"wrote {FOLDER}")
