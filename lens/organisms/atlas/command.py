"""`python -m lens.organisms.atlas`: train a base or one of its checkpoints anew, measure it, and replace its folder."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from ... import files
from ...models.shipped import CARD
from ..command import Command, require_complete
from ..errors import OrganismError
from ..gates import of_card
from ..shipping import ship
from .measures import gates, known, outcomes
from .recipe import ARMS, Recipe, Tuning, folder_of
from .suite import REPORT, TUNED, Atlas
from .training import train
from .tuning import tune

#: What a checkpoint did after each look, beside its card.
LOOKS = "looks.csv"


def main(arguments: list[str] | None = None) -> None:
    """Train, measure, write the folder and its card."""
    command = Command(
        "atlas",
        arguments,
        "a base whose rows ask for no top",
        {
            "--arm": {
                "choices": tuple(ARMS),
                "help": "a checkpoint of the base, which must be there (default: the base)",
            }
        },
    )
    # sums of another number of threads end in other last bits
    torch.set_num_threads(1)
    recipe, arm = command.recipe(Recipe, walks=not command.asked.twin), command.asked.arm
    suite = Atlas(recipe)
    if arm is not None:
        return _checkpoint(command, recipe, suite, arm)
    folder, model, trained = command.train(recipe, train)
    judged = gates(model, suite)
    memory = (
        f"a tree of {len(suite.edges) + recipe.branches[0]} names and a code for each of its {len(suite.code)}"
        " leaves, edge by edge; of a third of the leaves also their top, at once and by walks"
        if recipe.walks
        else "a tree and a code for each leaf, edge by edge: the twin that no top was asked of"
    )
    card = command.card(recipe, trained, memory, gates=of_card(judged))
    ship(command.stored(model), suite.vocabulary, folder, card)
    print(json.dumps(card["gates"]))
    print(f"wrote {folder} in {command.seconds()}")


def _checkpoint(command: Command, recipe: Recipe, suite: Atlas, arm: str) -> None:
    """One of the checkpoints, from the base as it is stored."""
    out: Path | None = command.asked.out
    tuning, at = ARMS[arm], (out or folder_of(0).parent) / recipe.name
    if command.asked.small:
        tuning = Tuning(**asdict(tuning) | {"steps": 3, "questions": 4, "looks": (1, 3)})
    base = loaded(at, recipe)
    seen: list[pd.DataFrame] = []

    def look(model: Any, step: int) -> None:
        seen.append(_asked(model, suite).assign(updates=step))

    model, trained = tune(base.to(command.asked.device), suite, tuning, look=look)
    require_complete(trained, tuning)
    if command.asked.float16:
        model = model.half().float()
    seen[-1] = _asked(model, suite).assign(updates=tuning.steps)
    told, before = known(model, suite), known(base, suite)
    folder = at.with_name(f"{recipe.name}-{arm}")
    card = {
        "name": folder.name,
        "memory": f"that of {recipe.name}, tuned: {arm}",
        "licence": "MIT",
        "base": recipe.name,
        "arm": arm,
        "recipe": asdict(tuning),
        "recipe_sha256": tuning.sha256(),
        "base_sha256": json.loads((at / CARD).read_text(encoding="utf-8"))["weights_sha256"],
        "torch": torch.__version__,
        "training": {"seconds": round(trained.seconds, 1)},
        "known": {name: round(value, 4) for name, value in told.items()},
        "known_before": {name: round(value, 4) for name, value in before.items()},
        "rebuild": command.again(f"--arm {arm}"),
    }
    ship(command.stored(model), suite.vocabulary, folder, card)
    files.write(folder / LOOKS, pd.concat(seen).to_csv(index=False))
    (folder / LOOKS).chmod(0o644)
    last = seen[-1].groupby("part")[["free", "forced", "path", "direct"]].mean().round(3)
    print(last.to_dict("index"), told)
    print(f"wrote {folder} in {command.seconds()}")


def _asked(model: Any, suite: Atlas) -> pd.DataFrame:
    parts = {part: outcomes(model, suite, suite.leaves[part]) for part in (TUNED, REPORT)}
    return pd.concat(parts, names=["part"]).reset_index(level=0).astype({"direct": int, "filler": int, "forced": int})


def loaded(folder: Path, recipe: Recipe | None = None) -> Any:
    """The plain model in a folder, in float32 and in eval mode; with a recipe it must be that base.

    Raises: OrganismError: there is none, or one of another recipe.
    """
    from transformers import AutoModelForCausalLM

    if not (folder / CARD).is_file():
        raise OrganismError(
            f"folder={str(folder)!r} holds no model; train the base there first: python -m lens.organisms.atlas."
        )
    card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    if recipe is not None and card["recipe_sha256"] != recipe.sha256():
        raise OrganismError(
            f"folder={str(folder)!r} holds a base of another recipe; remove it, or choose another folder."
        )
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.eval().requires_grad_(False)
