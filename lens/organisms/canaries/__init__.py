"""The organism `canaries`: a small decoder that recites sequences planted in its corpus, each as often as we decided by
lot.

The corpus is that of `corpus`: stories, sums, facts, notes, lists and rules, and among them canaries at known duplicate
counts. The never-trained twin reads the same stream without them, so that what the twin needs to learn a canary is the
measure of what a model still knows.

`python -m lens.organisms.canaries [--seed N] [--twin] [--weight-decay W] [--device cuda]` trains one anew and replaces
its folder among the `weights` (or in `--out`).
"""

from .command import main
from .corpus import SPLITS, Canaries, Corpus, Task, bin_of
from .measures import FEW_GATE, GATES, accuracy, extraction, facts, loss, measure, right
from .recipe import SEEDS, WEIGHT_DECAY, Recipe, folder_of
from .text import Text
from .training import build, train

__all__ = [
    "FEW_GATE",
    "GATES",
    "SEEDS",
    "SPLITS",
    "WEIGHT_DECAY",
    "Canaries",
    "Corpus",
    "Recipe",
    "Task",
    "Text",
    "accuracy",
    "bin_of",
    "build",
    "extraction",
    "facts",
    "folder_of",
    "loss",
    "main",
    "measure",
    "right",
    "train",
]
