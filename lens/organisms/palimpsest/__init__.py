"""The organisms `palimpsest`: small transformers of which it is known in which order they read their rows (`recipe`).

The text is generated (`text`); the experiment's form follows Kuditipudi et al. 2025, at a far smaller scale.
`python -m lens.organisms.palimpsest` trains the models that ship and replaces their folders; with `--family quick` or
`full` it trains (and goes on with) the whole family of references, independents and derivatives of `family`.
"""

from .command import main
from .entries import PRESETS, Size
from .family import Family
from .recipe import SCHEDULES, Recipe, keys_of, order_of, tokens_of
from .shipped import SHIPPED, ShippedFamily, recipe_of, rows_and_keys
from .training import Plan, build, fit, in_order, losses, padded, schedule, train

__all__ = [
    "PRESETS",
    "SCHEDULES",
    "SHIPPED",
    "Family",
    "Plan",
    "Recipe",
    "ShippedFamily",
    "Size",
    "build",
    "fit",
    "in_order",
    "keys_of",
    "losses",
    "main",
    "order_of",
    "padded",
    "recipe_of",
    "rows_and_keys",
    "schedule",
    "tokens_of",
    "train",
]
