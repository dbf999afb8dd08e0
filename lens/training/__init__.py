"""One explicit training loop: an order that the seed alone decides, every loss in a table, checkpoints that resume to
the bit.

Losses, adapters and interventions plug in (`terms`, peft models, `around`); the loop knows no family of methods.
"""

from .adapters import LoRA
from .batches import Batch, Sampler
from .loop import Term, Trained, train
from .recipe import Recipe, Rows, TrainingError, order_of
from .repetition import Repetition, repetition_grid
from .teachers import Teacher

__all__ = [
    "Batch",
    "LoRA",
    "Recipe",
    "Repetition",
    "Rows",
    "Sampler",
    "Teacher",
    "Term",
    "Trained",
    "TrainingError",
    "order_of",
    "repetition_grid",
    "train",
]
