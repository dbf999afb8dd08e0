"""The organisms `senses`: six layers that say which of two senses of a word is meant, by the cues around it and by how
often each is meant.

How strong the association of a word with its stronger sense is was set by training: its dose. Each model has two
moments, the end of its training and a middle at which readings of the weaker sense are right about half of the time, so
that right and wrong answers stand beside each other. One model a seed; the seed draws the senses too.

`python -m lens.organisms.senses [--seed N] --float16` trains one anew and replaces its folders among the `weights`.
"""

from .command import main
from .measures import answered, measure, weaker_share
from .recipe import MOMENTS, SEEDS, Recipe, folder_of
from .suite import Item, Suite
from .training import build, train, with_middle

__all__ = [
    "MOMENTS",
    "SEEDS",
    "Item",
    "Recipe",
    "Suite",
    "answered",
    "build",
    "folder_of",
    "main",
    "measure",
    "train",
    "weaker_share",
    "with_middle",
]
