"""Memory injection: put the name of a missing entity back at an attention layer, and measure whether it helped and what
it cost.

>>> memory = lens.injection.encode(model, "George Washington", encoder="activation")  # doctest: +SKIP
>>> grid = lens.injection.sweep(model, items, strengths=range(1, 16), controls=("shuffled",))  # doctest: +SKIP

Source: Sakarvadia et al. 2023, Memory Injections: Correcting Multi-Hop Reasoning Failures During Inference in
    Transformer-Based Language Models.
"""

from .attention_lens import AttentionLens, lens_reading, train_lenses
from .bridge import bridge_reading
from .controls import CONTROLS
from .damage import damage
from .effects import best, held_out, log_ratio, percent_change, summary, trimmed_mean
from .encoding import EncodedItem, encode_items
from .explicit import from_explicit
from .item_means import over_items
from .items import InjectionError, Item, load_items
from .lens_data import lens_texts
from .live import Distribution, generate, next_tokens, places
from .memories import ENCODERS, POSITIONS, Memory, edits, encode, encode_all
from .prediction import predicts
from .scoring import SCORES, score
from .sweep import sweep

__all__ = [
    "CONTROLS",
    "ENCODERS",
    "POSITIONS",
    "SCORES",
    "AttentionLens",
    "Distribution",
    "EncodedItem",
    "InjectionError",
    "Item",
    "Memory",
    "best",
    "bridge_reading",
    "damage",
    "edits",
    "encode",
    "encode_all",
    "encode_items",
    "from_explicit",
    "generate",
    "held_out",
    "lens_reading",
    "lens_texts",
    "load_items",
    "log_ratio",
    "next_tokens",
    "over_items",
    "percent_change",
    "places",
    "predicts",
    "score",
    "summary",
    "sweep",
    "train_lenses",
    "trimmed_mean",
]
