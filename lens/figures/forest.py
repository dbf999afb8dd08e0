"""Claims as a person can look at them: effect and interval of each, its verdict by sign and colour."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..arguments import FilePath, door
from .style import INK, MUTED, FigureError, finish

#: kind of verdict -> (sign, colour, word in the legend); blue and orange are told apart without red-green vision
KINDS = {
    "holds": ("+", "#0072b2", "holds"),
    "part": ("±", "#7a5195", "holds in part"),
    "fails": ("−", "#d55e00", "does not hold"),
    "open": ("?", "#6b7280", "not shown"),
    "answer": ("•", "#009e73", "another answer, in words"),
    "none": ("·", "#767c87", "not judged"),
}

#: where a claim of no difference has its margin
BAND = "#f2deaa"
#: of the axes across the figure; claims stand at their left, numbers and verdicts at their right
LEFT, WIDTH = 0.385, 0.22


@dataclass(frozen=True)
class Line:
    """One claim of a forest plot.

    `label`: the claim. `kind`: of its verdict, a key of `KINDS`. `verdict`: the word. `effects`: estimates with the
    bounds of their intervals, of which the first is the one that the verdict follows; none where there is no interval.
    `null`: what an effect is where the claim is not so. `margin`: where the claim is that there is no difference, the
    bounds between which the interval of the first effect has to lie (either may be infinite).
    """

    label: str
    kind: str
    verdict: str
    effects: Sequence[tuple[float, float, float]] = ()
    null: float = 0.0
    margin: tuple[float, float] | None = None


@door(FigureError)
def forest_plot(lines: Sequence[Line], path: FilePath | None = None, *, title: str = "") -> Figure:
    """A row a claim: its effects with their intervals, beside the value that they have where the claim is not so, and
    the margin of a claim of no difference as a band.

    Units differ from claim to claim, so that each row has a scale of its own: its furthest bound is at the edge. The
    numbers stand at the right, the verdict as a sign and a colour at the left.

    Raises: FigureError: no line, a verdict of another kind, or a margin whose bounds do not rise.
    """
    if not lines:
        raise FigureError("lines=[] holds no claim; expected at least one.")
    if unknown := [line.kind for line in lines if line.kind not in KINDS]:
        raise FigureError(f"kind={unknown[0]!r} is not one of {', '.join(KINDS)}.")
    if bad := [line.margin for line in lines if line.margin and not line.margin[0] < line.margin[1]]:
        raise FigureError(f"margin={bad[0]}: its bounds do not rise; expected (lower, upper), such as (-0.05, 0.05).")
    labels = [_lines(line.label, 70) for line in lines]
    slots = [len(line.effects[:3]) + bool(line.margin and line.effects) for line in lines]
    heights = [0.3 + 0.16 * max(1, len(label) - 1, slot - 1) for label, slot in zip(labels, slots)]
    total = sum(heights)
    # its texts are dark whatever the style: so is its paper light
    fig = Figure(figsize=(12.5, total + 1.25), dpi=110, facecolor="white")
    ax = fig.add_axes((LEFT, 0.62 / (total + 1.25), WIDTH, total / (total + 1.25)), facecolor="none")
    ax.set(xlim=(-1.1, 1.1), ylim=(total, 0), yticks=[], xticks=[0])
    ax.set_xticklabels(["value without the claim; each row has a scale of its own"], fontsize=8, color=MUTED)
    ax.axvline(0, color=INK, linewidth=0.8, zorder=1)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.spines["bottom"].set_color(INK)
    ax.tick_params(color=INK)
    beside = ax.get_yaxis_transform()
    top = 0.0
    for number, (line, label, height, slot) in enumerate(zip(lines, labels, heights, slots)):
        sign, colour, _ = KINDS[line.kind]
        middle, paper = top + height / 2, "#f3f4f6" if number % 2 == 0 else "white"
        ax.axhspan(top, top + height, xmin=_at(0), xmax=_at(1), color=paper, zorder=0, clip_on=False, linewidth=0)

        def write(x: float, y: float, text: str, size: float = 7.8, colour: str = INK, **style: Any) -> None:
            ax.text(_at(x), y, text, transform=beside, fontsize=size, color=colour, va="center", **style)

        write(0.016, middle, sign, 13, colour, fontweight="bold", ha="center")
        write(0.03, middle, "\n".join(label), linespacing=1.15)
        shown = line.effects[:3]
        ends = [bound for bound in line.margin or () if math.isfinite(bound)] if shown else []
        ends += [bound for effect in shown for bound in effect]
        scale = max((abs(bound - line.null) for bound in ends), default=0.0) or 1.0
        for place, (estimate, low, high) in enumerate(shown):
            y = middle + 0.16 * (place - (slot - 1) / 2)
            at = [(value - line.null) / scale for value in (estimate, low, high)]
            ax.plot(at[1:], [y, y], color=colour, linewidth=2.2 if place == 0 else 1.2, zorder=2, solid_capstyle="butt")
            ax.plot(at[:1], [y], "o", color=colour, markersize=5 if place == 0 else 3.5, zorder=3)
            versus = f" vs {line.null:g}" if line.null and place == 0 else ""
            told = f"{estimate:.3g} [{low:.3g}, {high:.3g}]{versus}"
            write(0.612, y, told, 7.4 if len(told) <= 28 else 6.4)  # a long one would touch the verdict
        if shown and line.margin:
            y = middle + 0.16 * ((slot - 1) / 2)
            sides = [max(-1.1, min(1.1, (bound - line.null) / scale)) for bound in line.margin]
            first = (top + 0.04, top + height - 0.04 if len(shown) == 1 else middle + 0.16 * (1 - slot / 2))
            ax.fill_between(sides, *first, color=BAND, linewidth=0, zorder=0.5)
            write(0.612, y, _margin(*line.margin), 7, MUTED)
        if not shown:
            write(LEFT + WIDTH / 2, middle, "none drawn: see the details", 7, MUTED, ha="center", backgroundcolor=paper)
        write(0.745, middle, "\n".join(_lines(line.verdict, 50)), 7.6, colour, linespacing=1.15)
        top += height
    fig.text(0.012, 1 - 0.28 / (total + 1.25), title, fontsize=11, fontweight="bold", color=INK)
    there = [kind for kind in KINDS if any(line.kind == kind for line in lines)]
    for i, kind in enumerate(there):
        sign, colour, word = KINDS[kind]
        fig.text(0.012 + 0.15 * i, 0.2 / (total + 1.25), f"{sign} {word}", color=colour, fontsize=9)
    if any(line.margin and line.effects for line in lines):
        y = 1 - 0.54 / (total + 1.25)  # above the rows: the axis has its label below
        fig.add_artist(Rectangle((LEFT, y), 0.012, 0.12 / (total + 1.25), color=BAND, linewidth=0))
        said = "margin of a claim of no difference: it holds where the interval lies in the band"
        fig.text(LEFT + 0.016, y, said, fontsize=8, color=MUTED)
    return finish(fig, path)


def _margin(low: float, high: float) -> str:
    """A margin in words."""
    if not math.isfinite(low) or not math.isfinite(high):
        return f"margin: below {high:g}" if math.isfinite(high) else f"margin: above {low:g}"
    return f"margin: {low:g} to {high:g}"


def _at(x: float) -> float:
    """A place across the figure as a fraction of the axes."""
    return (x - LEFT) / WIDTH


def _lines(text: str, width: int) -> list[str]:
    """A text in two lines at most; what is cut ends in an ellipsis."""
    return textwrap.wrap(" ".join(str(text).split()), width, max_lines=2, placeholder="…") or [""]
