"""Copies of a model that are trained in its place."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from ..scoring.likelihood import plain


def copy_of(model: Any) -> nn.Module:
    """A plain copy with weights of its own, an edit in force on the given model included, which nothing done to either
    changes in the other.
    """
    clone = copy.deepcopy(plain(model))
    for name in [n for n in clone.__dict__ if n.startswith("_mnemoscope")]:
        del clone.__dict__[name]
    return clone
