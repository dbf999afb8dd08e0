"""Words and signs that the figures of the diffusion study share."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ...figures.style import SERIES

#: of a bar, and of what is left where a place or a method is cut
INTERVAL = {"color": SERIES[1], "linewidth": 1.5}
CUT = {"color": "white", "markersize": 4.6}
KINDS = {"code": "caption with a code", "generic": "caption without a code", "digit": "digit"}


def over(table: pd.DataFrame) -> str:
    """How many models there are, and what an interval is over."""
    count = table.seed.nunique()
    return f"{count} models, 95 % Student's t over models" if count > 1 else "1 model, 95 % bootstrap over captions"


def p_text(p: float) -> str:
    """A p-value as a figure writes it."""
    return "p < .001" if p < 0.001 else f"p = {p:.2g}".replace("0.", ".") if p < 0.995 else "p = 1"


def flat(text: str) -> str:
    """A text in one line."""
    return text.replace("\n", " ")


def cost_axis(ax: Any, rise: pd.Series) -> None:
    """The rise of the held-out error along x in percent, finer where it is small, for these values."""
    ax.set_xscale("symlog", linthresh=0.02, linscale=0.7)
    ax.set_xticks([0, 0.02, 0.05, 0.2, 1], ["0", "2", "5", "20", "100"])
    ax.minorticks_off()
    ax.set_xlim(min(-0.012, 1.2 * float(rise.min())), 1.1 * max(1.0, float(rise.max())))
