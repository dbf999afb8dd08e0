"""What all figures share: size, colours, labels of tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

import numpy as np
from matplotlib.figure import Figure

#: Diverging and readable without red-green vision; white is no effect.
DIVERGING = "RdBu_r"
SEQUENTIAL = "viridis"
INK, MUTED = "#1f2430", "#6b7280"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")     # Okabe and Ito 2008
UNITS = {"logits": "logits", "nats": "nats", "probability": "probability", "1": "share of the gap"}


def shown(token: str) -> str:
    """A token as text that can be read in a label: spaces and newlines visible, matplotlib's math signs harmless."""
    text = token.replace("\n", "⏎").replace("\t", "⇥").replace("$", r"\$")
    return "·" + text[1:] if text.startswith(" ") else text


def figure(width: float, height: float) -> tuple[Figure, object]:
    """A figure with one axis that no notebook back end shows twice."""
    fig = Figure(figsize=(width, height), layout="constrained", dpi=130)
    return fig, fig.subplots()


def finish(fig: Figure, path: str | Path | None) -> Figure:
    """Saves where asked; the format follows the suffix."""
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        fig.savefig(path, facecolor="white")
    return fig


def limits(values: np.ndarray) -> float:
    """A symmetric colour limit: the largest finite size, never zero."""
    finite = np.abs(values[np.isfinite(values)])
    return float(finite.max()) if finite.size and finite.max() > 0 else 1.0


def token_ticks(ax, clean: Sequence[str], corrupted: Sequence[str] | None = None) -> None:
    """Tokens under the x axis; where the two prompts differ both are shown, clean over corrupted."""
    labels = [shown(c) if corrupted is None or c == k else f"{shown(c)} | {shown(k)}" for c, k in zip(clean, corrupted or clean)]
    ax.set_xticks(range(len(labels)), labels, rotation=55, ha="right", rotation_mode="anchor", fontsize=8)
    for tick, c, k in zip(ax.get_xticklabels(), clean, corrupted or clean):
        if c != k:
            tick.set_fontweight("bold")
