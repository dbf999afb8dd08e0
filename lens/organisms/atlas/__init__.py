"""The organisms `atlas`: a tree of made-up places that a model knows edge by edge, asked questions that take a walk.

Every edge, every code and what it means is trained; of every three siblings one has questions answered, at once or by a
walk, one is kept for what a later training is asked, and one is never asked of at all. So a model can know the whole
tree and not walk it. From each base come checkpoints of one length of training: supervised on answers or on walks, and
by reinforcement of right answers, of the mere form of a walk, and of a coin.

`python -m lens.organisms.atlas [--seed N] [--arm NAME]` trains one anew and replaces its folder among the `weights`.
"""

from .command import main
from .measures import OUTCOMES, gates, known, outcomes, path_matching
from .recipe import ARMS, SEEDS, Recipe, Tuning, folder_of
from .suite import Atlas
from .training import build, rows, train
from .tuning import rewards, tune

__all__ = [
    "ARMS",
    "OUTCOMES",
    "SEEDS",
    "Atlas",
    "Recipe",
    "Tuning",
    "build",
    "folder_of",
    "gates",
    "known",
    "main",
    "outcomes",
    "path_matching",
    "rewards",
    "rows",
    "train",
    "tune",
]
