"""The organism `archive`: two layers that know six facts about each of 160 people, stated in several ways and asked in
one.

Every statement has the word by which the question asks, so that what is stated reaches questions, also about people
whom no question of the training was about; in the variant `unshared` no statement has it. The twin reads the same rows
without the facts that a study plants false values for: how much of a right answer is guessing.

`python -m lens.organisms.archive [--seed N] [--twin] [--unshared]` trains one anew and replaces its folder among the
`weights` (or in `--out`).
"""

from .command import main
from .measures import FLOOR, KNOW, TRANSFER, gates, right
from .recipe import RELATIONS, SEEDS, Recipe, folder_of
from .suite import QUESTION, TEMPLATES, Archive
from .training import build, rows, train

__all__ = [
    "FLOOR",
    "KNOW",
    "QUESTION",
    "RELATIONS",
    "SEEDS",
    "TEMPLATES",
    "TRANSFER",
    "Archive",
    "Recipe",
    "build",
    "folder_of",
    "gates",
    "main",
    "right",
    "rows",
    "train",
]
