"""`python -m lens.organisms.symbols`: train one of the models anew, measure it, and replace its folder."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path

import torch

from ..command import require_complete
from ..shipping import ship
from .measures import measure
from .recipe import Recipe, folder_of
from .suite import Suite
from .training import train


def main(arguments: list[str] | None = None) -> None:
    """Train, measure, write the folder and its card."""
    parser = argparse.ArgumentParser(
        prog="python -m lens.organisms.symbols",
        description="Train one of the models `symbols` anew and replace its folder.",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoints", type=Path, help="a folder; the same command goes on from what it holds")
    asked = parser.parse_args(arguments)
    # sums of another number of threads end in other last bits
    torch.set_num_threads(1)
    recipe, start = Recipe(seed=asked.seed), time.monotonic()
    model, trained = train(recipe, folder=asked.checkpoints)
    require_complete(trained, recipe)
    measured, suite = measure(model, recipe), Suite(recipe.seed, recipe.symbols)
    name = folder_of(recipe.seed).name
    card = {
        "name": name,
        "memory": (
            "stored tables, list selections and steps: told by two instruction words, shown by demonstrations (but not "
            + " and ".join(task for task in suite.names if task not in suite.shown)
            + "); the tables also as facts"
        ),
        "licence": "MIT",
        "recipe": asdict(recipe),
        "recipe_sha256": recipe.sha256(),
        "measured": measured,
        "rebuild": f"python -m lens.organisms.symbols --seed {recipe.seed}",
    }
    ship(model, suite.vocabulary, folder_of(recipe.seed), card)
    print(json.dumps({"means": measured["means"], "passed": measured["passed"]}))
    print(
        f"wrote {folder_of(recipe.seed)} in {time.monotonic() - start:.0f} s (training: {trained.status},"
        f" {trained.seconds:.0f} s)"
    )
