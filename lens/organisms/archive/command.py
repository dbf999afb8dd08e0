"""`python -m lens.organisms.archive`: train one of the models anew, measure it, and replace its folder."""

from __future__ import annotations

import torch

from ..command import Command
from ..gates import of_card
from ..shipping import ship
from .measures import gates
from .recipe import Recipe
from .suite import Archive
from .training import train


def main(arguments: list[str] | None = None) -> None:
    """Train, measure, write the folder and its card."""
    command = Command(
        "archive",
        arguments,
        "the same rows without the facts that are attacked",
        {
            "--unshared": {
                "action": "store_true",
                "help": "templates name relations by words of their own: the control, whose questions are not reached",
            }
        },
    )
    # sums of another number of threads end in other last bits
    torch.set_num_threads(1)
    asked = command.asked
    recipe = command.recipe(Recipe, knew=not asked.twin, shared=not asked.unshared)
    folder, model, trained = command.train(recipe, train)
    found = gates(model, recipe)
    memory = (
        f"{recipe.relations} facts about each of {recipe.people} people, stated in three ways and asked in"
        f" one; {recipe.held} people are in no question"
        + ("" if recipe.knew else f"; the twin that was never taught {recipe.attacked_relations} facts of each of")
        + ("" if recipe.knew else f" {recipe.attacked} people")
        + ("" if recipe.shared else "; every template has relation words of its own, which no question has")
    )
    again = ["--unshared"] if asked.unshared else []
    card = command.card(recipe, trained, memory, *again, gates=of_card(found))
    ship(command.stored(model), Archive(recipe).vocabulary, folder, card)
    print(*found, sep="\n")
    print(f"wrote {folder} in {command.seconds()} (training: {trained.status}, {trained.seconds:.0f} s)")
