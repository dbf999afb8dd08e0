"""Where a model of an organism is: in a folder, shipped with the package, or trained there now."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from .errors import ReproduceError


def found(
    organism: ModuleType,
    recipe: Any,
    place: Path | None,
    arguments: Sequence[str],
    *,
    twin: bool,
    small: bool = False,
    takes: str = "",
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """The folder of a model; trained now where it is not there.

    Args:
        organism: its module, with `Recipe`, `folder_of` and `main`. recipe: what the model must have been trained by.
        place: holds one folder a model, named as `Recipe.name`; one that is neither there nor shipped is trained into
            it. None: only those that ship.
        arguments: of `organism.main` beside seed and folders. small: models of `Recipe.small`, which never ship. takes:
            how long a training takes, in words.

    Raises: ReproduceError: a model that is nowhere and no folder to train it into, or one that another recipe made.
    """
    shipped, name = organism.folder_of(recipe.seed, twin=twin), organism.__name__
    for at in ([] if place is None else [place / recipe.name]) + ([] if small else [shipped]):
        if (at / "card.json").is_file():
            if recipe_of(organism, at) != recipe:
                raise ReproduceError(
                    f"models: {at} was trained by another recipe than {recipe.name} asks for; choose another folder, or"
                    " remove that one"
                )
            return at
    if place is None:
        raise ReproduceError(
            f"models: {recipe.name} does not ship with the package; give a folder to find it in or to train it into"
            f" (--models FOLDER), or train it there with `python -m {name} --seed {recipe.seed}{' --twin' * twin} --out"
            " FOLDER`"
        )
    say(
        f"training {recipe.name} into {place} ({'under a minute' if small else takes}; the same call goes on where it"
        " was cut)"
    )
    organism.main(
        [
            "--seed",
            str(recipe.seed),
            "--out",
            str(place),
            "--checkpoints",
            str(place / "checkpoints" / recipe.name),
            *arguments,
            *(["--twin"] if twin else []),
            *(["--small"] if small else []),
        ]
    )
    return place / recipe.name


def recipe_of(organism: ModuleType, folder: Path) -> Any:
    """The recipe in a model's card."""
    return organism.Recipe(**json.loads((folder / "card.json").read_text(encoding="utf-8"))["recipe"])
