"""`python -m lens.organisms.senses`: train one of the models anew, measure both moments, and replace their folders."""

from __future__ import annotations

import json
from typing import Any

import torch

from ... import training
from ..command import Command
from ..shipping import ship
from .measures import measure
from .recipe import MOMENTS, Recipe
from .suite import Suite
from .training import step_of, with_middle


def main(arguments: list[str] | None = None) -> None:
    """Train, measure, write the folders of the middle and the end, and their cards."""
    command = Command("senses", arguments, "both senses of every word are meant alike", {})
    # sums of another number of threads end in other last bits
    torch.set_num_threads(1)
    recipe, halves = command.recipe(Recipe, dosed=not command.asked.twin), []

    def train(recipe: Recipe, **options: Any) -> tuple[Any, training.Trained]:
        model, trained, middle = with_middle(recipe, **options)
        halves.append(middle)
        return model, trained

    folder, model, trained = command.train(recipe, train)
    vocabulary = Suite(recipe).vocabulary
    for moment, one in zip(MOMENTS, (halves[0], model)):
        place = folder if moment == "end" else folder.with_name(f"{folder.name}-middle")
        if command.asked.float16:
            one = one.half().float()
        measured = measure(one, recipe, moment)
        card = {
            "name": place.name,
            "memory": "how often each of two senses of a word is meant; which one is, it reads in the cues beside it",
            "licence": "MIT",
            "moment": moment,
            "steps": recipe.steps if moment == "end" else step_of(trained),
            **command.facts(recipe, trained),
            "measured": {name: value for name, value in measured.items() if name != "gates"},
            "gates": measured["gates"],
            "looks": {int(row.step): round(row.weaker, 4) for row in trained.evaluations.itertuples()},
            "rebuild": command.again(),
        }
        ship(command.stored(one), vocabulary, place, card)
        print(json.dumps({"moment": moment, "steps": card["steps"], "gates": card["gates"]}))
        print(f"wrote {place} in {command.seconds()}")
