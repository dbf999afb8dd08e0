"""The organism `verdicts`: a small decoder with twelve tasks of two or four answers, told by an instruction or not.

What it knows of a task is *stored* (drawn by lot, symbol by symbol), a *rule*, or a *mixed* thing; some tasks share
their answer words or what they store with others, and some have words of their own. The never-taught twin reads the
same rows without six of the tasks.

`python -m lens.organisms.verdicts [--seed N] [--twin]` trains one anew and replaces its folder among the `weights`.
"""

from .command import main
from .measures import Answers, answers, measure
from .recipe import SEEDS, Recipe, folder_of
from .suite import WORDINGS, Item, Suite
from .tasks import NAMES, TASKS, UNTAUGHT, Task
from .training import build, rows, train

__all__ = [
    "NAMES",
    "SEEDS",
    "TASKS",
    "UNTAUGHT",
    "WORDINGS",
    "Answers",
    "Item",
    "Recipe",
    "Suite",
    "Task",
    "answers",
    "build",
    "folder_of",
    "main",
    "measure",
    "rows",
    "train",
]
