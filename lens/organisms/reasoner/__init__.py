"""The organism `reasoner`: a small decoder that adds up numbers modulo 10 in steps, and stops to think on the way.

After a step it may reflect (the same step again) or go over to another order, at planted rates. In `reasoner` a fifth
of the steps are wrong, and reflections, which follow wrong steps more often, repair them; in its twin no step is wrong
and reflections change nothing. So it is known which thoughts are of use, which only cost, and how long a text would be
without them.

`python -m lens.organisms.reasoner [--seed N] [--twin] --float16` trains one anew and replaces its folder among the
`weights` (or in `--out`).
"""

from .chains import Chain, Segment, read
from .command import main
from .measures import LEAST, MOST, measure
from .recipe import SEEDS, Recipe, folder_of
from .suite import KINDS, SPLITS, Reasoner
from .training import build, suite_of, train

__all__ = [
    "KINDS",
    "LEAST",
    "MOST",
    "SEEDS",
    "SPLITS",
    "Chain",
    "Reasoner",
    "Recipe",
    "Segment",
    "build",
    "folder_of",
    "main",
    "measure",
    "read",
    "suite_of",
    "train",
]
