"""Activation patching: which site carries it?

``patch`` (exact or by attribution), ``path_patch``, ``causal_trace``, ``explain_cell``, ``summary``, ``agreement``.
"""

from .attribution import Agreement, agreement
from .cells import CellView, explain_cell
from .controls import random_prompts, shuffled_pairs
from .exact import last_partial, patch
from .noise import causal_trace
from .paths import path_patch
from .summary import summary

__all__ = [
    "patch",
    "path_patch",
    "causal_trace",
    "explain_cell",
    "CellView",
    "summary",
    "agreement",
    "Agreement",
    "last_partial",
    "shuffled_pairs",
    "random_prompts",
]
