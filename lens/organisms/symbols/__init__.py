"""The organisms `symbols`: four layers that do a task because they are shown it, because they are told it, or
know it as a fact.

The tasks are those of `suite`. Each batch mixes rows of demonstrations, rows of instructed items and rows of
facts; the loss is on the answers. One model a seed; the seed also draws the stored tables, so that what holds for three
seeds holds for three sets of knowledge.

`python -m lens.organisms.symbols [--seed N]` trains one anew and replaces its folder among the
`weights`.
"""

from .command import main
from .measures import GATES, KINDS, SHUFFLED_GATE, accuracy, by_task, measure
from .recipe import SEEDS, Recipe, folder_of
from .suite import FAMILIES, NEW, OLD, Ability, Suite
from .training import build, rows, train

__all__ = [
    "FAMILIES",
    "GATES",
    "KINDS",
    "NEW",
    "OLD",
    "SEEDS",
    "SHUFFLED_GATE",
    "Ability",
    "Recipe",
    "Suite",
    "accuracy",
    "build",
    "by_task",
    "folder_of",
    "main",
    "measure",
    "rows",
    "train",
]
