"""Training a copy of a model while sequences are probed at chosen steps: per-sequence curves that survive an
interruption.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from ..arguments import FilePath, tried, unfit
from ..training import Recipe, Rows, Trained, train
from ..training.copies import copy_of
from .errors import MemorizationError
from .extraction import judge
from .reading import Reader
from .sequences import Sequences, names_of

#: Finished steps at which curves are looked at by default, as far as the training goes.
STEPS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
MEASURES = ("strict", "loose", "lev", "exact_prefix", "nll")
_BOOL = ("strict", "loose")


#: What is trained of a model: names of parameters, parameters, or a function of a name; None: all.
Parameters = Iterable[str | nn.Parameter] | Callable[[str], bool] | None


@dataclass(frozen=True, eq=False)
class Curve:
    """What was probed while a copy was trained. `steps`: finished steps; `values`: name -> [steps, n]; `trained`: how
    the training went; `model`: the trained copy.
    """

    steps: np.ndarray
    values: dict[str, np.ndarray]
    trained: Trained
    model: nn.Module


def rows_of(data: Any, name: str = "rows") -> Rows:
    """Rows to train on: `Rows` as they are; `Sequences`, or an array of ids [n, length], of which every token but the
    first counts.
    """
    if isinstance(data, Rows):
        return data
    ids = tried(lambda given: torch.as_tensor(np.asarray(given)), data.ids if isinstance(data, Sequences) else data)
    if ids is None or ids.is_floating_point() or ids.is_complex() or ids.dtype in (torch.bool, torch.uint64):
        raise MemorizationError(unfit(name, data, "token ids [n, length], Sequences or lens.training.Rows"))
    ids = ids.long()
    if ids.ndim != 2 or ids.shape[1] < 2 or not len(ids) or int(ids.min()) < 0:
        raise MemorizationError(
            f"{name} have shape {tuple(ids.shape)}; expected token ids [n, length] with at least 2 in a row, Sequences"
            " or lens.training.Rows."
        )
    return Rows(ids, torch.arange(ids.shape[1]).expand(ids.shape) >= 1, torch.full((len(ids),), ids.shape[1]))


def refuse_held(sequences: Sequences, rows: Rows, name: str) -> None:
    """Refuse rows of which one holds the whole suffix of a sequence, listing the sequences. Raises
    MemorizationError.
    """
    text = "\n".join("|" + "|".join(map(str, row[: int(n)])) + "|" for row, n in zip(rows.ids.tolist(), rows.lengths))
    names = [
        of
        for of, tail in zip(names_of(sequences), sequences.suffixes.tolist())
        if "|" + "|".join(map(str, tail)) + "|" in text
    ]
    if names:
        raise MemorizationError(
            f"{name} hold the suffix of {len(names)} of the sequences that are probed: {', '.join(names[:8])}; take"
            " those rows out."
        )


def recitation(sequences: Sequences, batch: int = 64) -> Callable[[Any], dict[str, np.ndarray]]:
    """A probe: model -> one value a sequence of each of `MEASURES`."""

    def probe(model: Any) -> dict[str, np.ndarray]:
        values = judge(
            sequences.suffixes,
            *Reader(model).recite(list(sequences.prefixes), sequences.suffixes, batch=batch, progress=False),
        )
        return {name: values[name] for name in MEASURES}

    return probe


def steps_of(at: Sequence[int] | None, steps: int) -> list[int]:
    """Which finished steps to look at, 0 and the last among them."""
    if at is not None and (wrong := [s for s in at if not 0 <= s <= steps]):
        raise MemorizationError(unfit("at", wrong[0], f"numbers of finished steps from 0 to {steps}"))
    wanted = sorted({0, steps, *(STEPS if at is None else map(int, at))})
    return [s for s in wanted if 0 <= s <= steps] if at is None else wanted


def curve(
    model: Any,
    rows: Rows,
    recipe: Recipe,
    probe: Callable[[Any], Mapping[str, np.ndarray]],
    at: Sequence[int] | None = None,
    *,
    parameters: Any = None,
    folder: FilePath | None = None,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
) -> Curve:
    """Train a copy of the model and probe it on the way; the given model is left as it is.

    Args:
        probe: model -> arrays [n] of numbers. at: finished steps at which it is called (0 and the last always).
        parameters: as for `lens.training.train`; None: all. folder: checkpoints; the same call goes on where it ended,
            with every value probed before.
    """
    trainee = copy_of(model)

    def look(finished: int) -> dict[str, float]:
        values = probe(trainee)
        return {f"{name}|{i}": float(v) for name, value in values.items() for i, v in enumerate(value)}

    steps = steps_of(at, recipe.steps)
    chosen = (lambda name: True) if parameters is None else parameters
    trained = train(
        trainee,
        rows,
        recipe,
        parameters=chosen,
        evaluate=look,
        evaluate_at=steps,
        folder=folder,
        progress=progress,
        stop=stop,
    )
    trainee.requires_grad_(False)
    table = trained.evaluations
    columns: dict[str, list[str]] = {}
    for key in map(str, table.columns):
        if key != "step":
            columns.setdefault(key.rpartition("|")[0], []).append(key)
    values = {name: table[keys].to_numpy() for name, keys in columns.items()}
    return Curve(
        table["step"].to_numpy(),
        {name: v.astype(bool) if name.rpartition("_")[2] in _BOOL else v for name, v in values.items()},
        trained,
        trainee,
    )
