"""One explicit training loop: an order that the seed alone decides, every loss in a table, checkpoints that resume to
the bit.

Losses, adapters and interventions plug in (`terms`, peft models, `around`); the loop knows no family of methods.
`reinforce` trains on the reward of what a model draws itself.
"""

from .adapters import LoRA
from .batches import Batch, Sampler
from .loop import Term, Trained, train
from .recipe import Recipe, Rows, TrainingError, order_of
from .reinforce import Answers, Replay, reinforce
from .repetition import Repetition, repetition_grid
from .sampling import sample
from .teachers import Teacher

__all__ = [
    "Answers",
    "Batch",
    "LoRA",
    "Recipe",
    "Repetition",
    "Replay",
    "Rows",
    "Sampler",
    "Teacher",
    "Term",
    "Trained",
    "TrainingError",
    "order_of",
    "reinforce",
    "repetition_grid",
    "sample",
    "train",
]
