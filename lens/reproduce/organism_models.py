"""Where a model of an organism is: in a folder, shipped with the package, or trained there now."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from .. import models
from ..cache import sha256_file
from ..models.shipped import folders
from .errors import ReproduceError


def pairs(
    organism: ModuleType,
    mark: str,
    folder: str | os.PathLike | None,
    seeds: Sequence[int],
    arguments: Sequence[str],
    takes: str,
    say: Callable[[str], None],
    twins: bool = True,
    fields: Mapping[str, Any] | None = None,
) -> Iterator[tuple[int, list[Path]]]:
    """By seed the folder of a model, and of its twin that never saw what was planted; trained where they are not there.

    Args:
        organism: its module, with `Recipe`, `folder_of` and `main`. mark: the field of its recipe that tells both
            apart.
        folder: holds one folder a model, named as `Recipe.name`; one that is neither there nor shipped is trained into
            it. None: only those that ship.
        arguments: of `organism.main` beside seed and folders. takes: how long a training takes, in words. fields: of
            the recipe beside the seed and the mark, where they are not its defaults; `folder_of` takes them too.

    Raises: ReproduceError: a model that is nowhere and no folder to train it into, or one that another recipe made.
    """
    place = None if folder is None else Path(folder)
    for seed in map(int, seeds):
        at = []
        for planted in (True, False)[: 1 + twins]:
            recipe = organism.Recipe(**{**(fields or {}), "seed": seed, mark: planted})
            own = [] if place is None else [place / recipe.name]
            places = [*own, organism.folder_of(seed, twin=not planted, **(fields or {}))]
            there = next((one for one in places if (one / "card.json").is_file()), None)
            if there is not None and recipe_of(organism, there) != recipe:
                raise ReproduceError(
                    f"models: {there} was trained by another recipe than {recipe.name} asks for; choose another folder,"
                    " or remove that one"
                )
            if there is None:
                command = ["--seed", str(seed), *["--twin"] * (not planted)]
                if place is None:
                    raise ReproduceError(
                        f"models: {recipe.name} does not ship with the package; give a folder to find it in or to train"
                        f" it into (--models FOLDER), or train it there with `python -m {organism.__name__}"
                        f" {' '.join(command)} --out FOLDER`"
                    )
                say(f"training {recipe.name} into {place} ({takes}; the same call goes on where it was cut)")
                folders = ["--out", str(place), "--checkpoints", str(place / "checkpoints" / recipe.name)]
                organism.main([*command, *folders, *arguments])
                there = place / recipe.name
            at.append(there)
        yield seed, at


def recipe_of(organism: ModuleType, folder: Path) -> Any:
    """The recipe in a model's card."""
    return organism.Recipe(**json.loads((folder / "card.json").read_text(encoding="utf-8"))["recipe"])


def bridged(folder: Path) -> Any:
    """The model in a folder behind a bridge, on the CPU; records name one that ships by its name, not by a path of this
    machine.

    Raises: ReproduceError: weights that are not those of the card.
    """
    _require_weights(folder)
    shipped = folders().get(folder.name) == folder
    return models.load(f"organism:{folder.name}" if shipped else str(folder), device="cpu")


def _require_weights(folder: Path) -> None:
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    if sha256_file(folder / "model.safetensors") != card["weights_sha256"]:
        raise ReproduceError(
            f"models: the weights in {folder} are not those of its card; train it again or get it anew"
        )


def loaded(folder: Path, attention: str | None = "eager") -> nn.Module:
    """The model of words in a folder, a plain Hugging Face model in eval mode whose records name the organism.

    `attention`: as for transformers; None: as it does by itself. Raises: ReproduceError: weights that are not those of
    the card.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    _require_weights(folder)
    model = (
        AutoModelForCausalLM.from_pretrained(
            folder, dtype="float32", attn_implementation=attention, use_safetensors=True, local_files_only=True
        )
        .eval()
        .requires_grad_(False)
    )
    model.config.name_or_path = f"organism:{folder.name}"  # records name the organism, not a path of this machine
    return model
