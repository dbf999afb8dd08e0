"""The models that ship with the package: weights of the organisms, each found by its folder.

`lens/organisms/<organism>/weights/<name>` holds a model and its card, and a card there is all that it takes: no list
names an organism, and none is imported to find one. In a clone the folder of an organism of words has links to the
files of its first model, so that its path loads as a folder does.
"""

from __future__ import annotations

from pathlib import Path

from lens.cache import LoadError

ORGANISM = "organism:"
ORGANISMS = Path(__file__).parent.parent / "organisms"
CARD = "card.json"
#: What only a model of words has in its folder, and what only one of pictures.
WORDS, PICTURES = "model.safetensors", "model_index.json"


def weights_of(organism: str) -> Path:
    """The folder in which the models of an organism are, a folder each."""
    return ORGANISMS / organism / "weights"


def folders(holds: str = CARD) -> dict[str, Path]:
    """Name -> folder of every model that ships and has a file of that name.

    Raises: LoadError: two organisms have a model of one name.
    """
    there: dict[str, Path] = {}
    for card in sorted(ORGANISMS.glob(f"*/weights/*/{CARD}")):
        folder = card.parent
        if folder.name in there:
            raise LoadError(
                f"name='{ORGANISM}{folder.name}' is two models, {there[folder.name]} and {folder}; rename the folder of"
                " one of them"
            )
        if (folder / holds).is_file():
            there[folder.name] = folder
    return dict(sorted(there.items()))


def folder_of(name: str, holds: str = WORDS, what: str = "") -> Path:
    """The folder of a model by its name, with "organism:" before it or not; `what`: words for the error, what it is of.

    Raises: LoadError: there is none that has a file `holds`.
    """
    there = folders(holds)
    short = name.removeprefix(ORGANISM)
    if short not in there:
        raise LoadError(f"name={name!r}: there is no such organism{what}; there are: {', '.join(there) or 'none yet'}")
    return there[short]


def organisms() -> list[str]:
    """The names of the small models that ship with the package; load one as `lens.load("organism:<name>")`."""
    return list(folders(WORDS))
