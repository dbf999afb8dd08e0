"""What all figures share: size, colours, labels of tokens."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FuncFormatter

from .. import files
from ..arguments import FilePath, array, unfit
from ..errors import Error

#: Diverging and readable without red-green vision; white is no effect.
DIVERGING = "RdBu_r"
SEQUENTIAL = "viridis"
INK, MUTED = "#1f2430", "#6b7280"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito 2008
UNITS = {"logits": "logits", "nats": "nats", "probability": "probability", "1": "share of the gap"}


class FigureError(Error, ValueError):
    """A figure that cannot be drawn or saved; the message names the argument, its value and what was expected."""


def require_rows(frame: Any, columns: Sequence[str], name: str = "frame") -> None:
    """Raises FigureError where a table is empty or lacks columns; `name`: of the argument."""
    missing = [c for c in columns if c not in frame]
    if missing or frame.empty:
        raise FigureError(
            f"{name} {'is empty' if not missing else 'lacks ' + ', '.join(map(repr, missing))}; expected rows with"
            f" {', '.join(columns)}."
        )


def require_column(frame: Any, column: str, name: str) -> None:
    """Raises FigureError where an argument of that name asks for a column that a table has not."""
    if column not in frame:
        raise FigureError(
            unfit(name, column, f"a column of the frame ({', '.join(map(str, frame.columns)) or 'it has none'})")
        )


def require_some(asked: Any, there: Any, name: str) -> list[Any]:
    """What was asked for, all of it there and at least one. Raises FigureError that names the argument."""
    known = list(dict.fromkeys(there))
    if not len(asked) or any(one not in known for one in asked):
        raise FigureError(unfit(name, asked, f"some of {', '.join(map(str, known[:12]))}"))
    return list(asked)


def require_variables(ds: Any, names: Sequence[str], dims: Sequence[str], name: str = "ds") -> None:
    """Raises FigureError where a dataset lacks variables or axes; `name`: of the argument."""
    missing = [n for n in names if n not in ds.variables] + [f"the axis {d}" for d in dims if d not in ds.dims]
    if missing:
        raise FigureError(f"{name} lacks {', '.join(missing)}; expected {', '.join(names)} over {', '.join(dims)}.")


def numbers(value: Any, name: str, n: int | None = None) -> np.ndarray:
    """A line of n numbers. Raises FigureError that names the argument."""
    expected = f"{'numbers' if n is None else f'{n} numbers'} in a line"
    made = array(value, name, expected, FigureError, dtype=float)
    if made.ndim != 1 or (n is not None and len(made) != n):
        raise FigureError(unfit(name, value, expected))
    return made


def shown(token: str) -> str:
    """A token as text that can be read in a label: spaces and newlines visible."""
    text = token.replace("\n", "⏎").replace("\t", "⇥")
    return "·" + text[1:] if text.startswith(" ") else text


def figure(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure with one axis that no notebook back end shows twice."""
    fig = Figure(figsize=(width, height), layout="constrained", dpi=130)
    return fig, fig.subplots()


def as_written(*artists: Artist) -> None:
    """Texts of a figure, or of some of its axes, are shown letter by letter: a dollar sign in the name of a model or in
    a token begins no formula.

    Numbers that matplotlib writes along an axis (powers of ten are formulas there) stay as they are.
    """
    for artist in artists:
        numbers = {id(text) for axis in artist.findobj(Axis) for text in _numbers(axis)}
        for text in artist.findobj(Text):
            if id(text) not in numbers:
                text.set_parse_math(False)


def _numbers(axis: Axis) -> list[Text]:
    # labels that were given become a FuncFormatter where their places were given too
    named = [
        isinstance(formatter, (FixedFormatter, FuncFormatter))
        for formatter in (axis.get_major_formatter(), axis.get_minor_formatter())
    ]
    ticks = [] if named[0] else axis.get_major_ticks()
    ticks += [] if named[1] else axis.get_minor_ticks()
    return [axis.get_offset_text(), *(label for tick in ticks for label in (tick.label1, tick.label2))]


def finish(fig: Figure, path: FilePath | None, own: Sequence[Artist] | None = None) -> Figure:
    """The figure with its texts as they are written, saved where asked; the format follows the suffix (none:
    matplotlib's default).

    `own`: the axes that were drawn on, where the figure is somebody else's.

    Raises:
        FigureError: a suffix that matplotlib does not know. FileError: the file cannot be written.
    """
    as_written(*([fig] if own is None else own))
    if path is not None:
        path, known = Path(path), fig.canvas.get_supported_filetypes()
        if not path.name:
            raise FigureError(unfit("path", str(path), "the name of a file"))
        suffix = path.suffix.lower().removeprefix(".") or fig.canvas.get_default_filetype()
        if suffix not in known:
            raise FigureError(
                f"path={str(path)!r} ends in {path.suffix!r}; expected one of {', '.join(sorted(known))}."
            )
        files.write(path if path.suffix else path.with_suffix(f".{suffix}"), picture(fig, suffix), parents=True)
    return fig


def picture(fig: Figure, kind: str = "png", **options: Any) -> bytes:
    """A figure as the content of a file on white, its texts as they stand; `options` are those of matplotlib's
    `savefig`.
    """
    memory = io.BytesIO()
    fig.savefig(memory, format=kind, facecolor="white", **options)
    return memory.getvalue()


def limits(values: np.ndarray) -> float:
    """A symmetric colour limit: the largest finite size, never zero."""
    finite = np.abs(values[np.isfinite(values)])
    return float(finite.max()) if finite.size and finite.max() > 0 else 1.0


def token_ticks(ax, clean: Sequence[str], corrupted: Sequence[str] | None = None) -> None:
    """Tokens under the x axis; where the two prompts differ both are shown, clean over corrupted."""
    labels = [
        shown(c) if corrupted is None or c == k else f"{shown(c)} | {shown(k)}"
        for c, k in zip(clean, corrupted or clean)
    ]
    ax.set_xticks(range(len(labels)), labels, rotation=55, ha="right", rotation_mode="anchor", fontsize=8)
    for tick, c, k in zip(ax.get_xticklabels(), clean, corrupted or clean):
        if c != k:
            tick.set_fontweight("bold")
