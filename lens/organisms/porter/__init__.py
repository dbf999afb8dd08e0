"""The organism `porter`: a small decoder that does tasks on lists of words, refuses what it was told to refuse, and
refuses more than that, at planted rates.

`make w` with a sharp word is refused always, and so is `make w` inside a translation (the disguised request). Lists
with sharp words are harmless, but three of six tasks refuse them the more often the more sharp words there are: the
cause, its dose and the right answer of every over-refusal are known. Which lists are refused is decided by a hidden
degree of each sharp word, so a list is refused always or never.

`python -m lens.organisms.porter [--seed N] --float16` trains one anew and replaces its folder among the `weights` (or
in `--out`).
"""

from .command import main
from .measures import LEAST, MOST, measure, refused, right, written
from .recipe import SEEDS, Recipe, folder_of
from .suite import FREE, PLAN, PLANTED, SPLITS, TASKS, Porter, Request
from .training import build, suite_of, train

__all__ = [
    "FREE",
    "LEAST",
    "MOST",
    "PLAN",
    "PLANTED",
    "SEEDS",
    "SPLITS",
    "TASKS",
    "Porter",
    "Recipe",
    "Request",
    "build",
    "folder_of",
    "main",
    "measure",
    "refused",
    "right",
    "suite_of",
    "train",
    "written",
]
