"""Words and bounds that the figures of the diffusion study share."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

KINDS = {"code": "caption with a code", "generic": "caption without a code", "digit": "digit"}


def over(table: pd.DataFrame) -> str:
    """How many models there are, and what an interval is over."""
    count = table.seed.nunique()
    return f"{count} models, 95 % Student's t over models" if count > 1 else "1 model, 95 % bootstrap over captions"


def span(counts: Iterable[float]) -> str:
    """A number, or the least and the largest."""
    low, high = int(np.min(list(counts))), int(np.max(list(counts)))
    return str(low) if low == high else f"{low} to {high}"


def p_text(p: float) -> str:
    """A p-value as a figure writes it."""
    return "p < .001" if p < 0.001 else f"p = {p:.2g}".replace("0.", ".") if p < 0.995 else "p = 1"


def flat(text: str) -> str:
    """A text in one line."""
    return text.replace("\n", " ")


def sides(value, low, high) -> np.ndarray:
    """Lengths of an interval's two sides; none where it has no bounds."""
    sides = np.array([np.subtract(value, low), np.subtract(high, value)], float).reshape(2, -1)
    return np.nan_to_num(sides).clip(min=0)
