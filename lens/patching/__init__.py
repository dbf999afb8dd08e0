"""Activation patching: which site carries it?

``patch`` (exact or by attribution), ``patch_between`` (one checkpoint's states in another), ``path_patch``,
``causal_trace``, ``depth``, ``commitment``, ``pathways``, ``explain_cell``, ``summary``, ``agreement``.
"""

from .attribution import Agreement, agreement
from .between import patch_between
from .cells import CellView, explain_cell
from .commitment import commitment
from .controls import random_prompts, shuffled_pairs
from .depth import depth
from .exact import last_partial, patch
from .noise import causal_trace
from .paths import path_patch
from .pathways import pathways
from .summary import summary

__all__ = [
    "Agreement",
    "CellView",
    "agreement",
    "causal_trace",
    "commitment",
    "depth",
    "explain_cell",
    "last_partial",
    "patch",
    "patch_between",
    "path_patch",
    "pathways",
    "random_prompts",
    "shuffled_pairs",
    "summary",
]
