"""What a model can do on text that is not memorised: loss, next-token ranking, tasks, copying, prefix matching; one
value a unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import xarray as xr

from ..arguments import Count, HFModel, Seed, Size, TokenRows, Whole, door, tried, unfit
from ..arguments.kinds import is_sequence
from ..engine.errors import UnsupportedModel
from ..engine.lengths import require_readable
from ..engine.sessions import of_one_model
from ..readout.heads import induction_scores
from ..scoring.likelihood import plain
from ..stats.units import repeated
from .errors import MemorizationError, stamp, token_rows, whole
from .reading import Reader

#: Most likely tokens kept at each place.
TOP = 10


@door(MemorizationError)
@of_one_model(reads=False)
def performance(
    model: HFModel,
    texts: TokenRows,
    tasks: Mapping[str, Any] | None = None,
    *,
    copying: Size = 16,
    repeats: Annotated[int, Whole(2)] = 4,
    heads: bool = True,
    seed: Seed = 0,
    progress: bool | None = None,
) -> xr.Dataset:
    """Measure a model, edited or not, once: everything that `damage` compares.

    Args:
        texts: held-out rows of token ids [n, length], or a list of rows; at least two tokens each. None is read beyond
            its own.
        tasks: name -> items, each (prompt ids, answer ids) or (prompt ids, answer ids, bin); or columns: a tuple of
            such lists, or an object with `prompts`, `answers` and, if any, `bins` and `chance`. An item is right where
            the whole answer is the greedy continuation.
        copying: tokens of the beginning of each text that are repeated for the copying loss (0: leave it out). repeats:
            how often they stand there. A token that all texts begin with is taken for their start token: it stands
            once, before the copies.
        heads: measure prefix matching on repeated random tokens (a decoder that the engine knows; else left out).

    Returns: over `text`: `nll` (nats, summed), `tokens`, `copy_loss` (nats a token, all copies but the first),
        `first_loss` (the first copy); over `place, top`: `ranking` (ids; coordinate `place_text`); over `item`:
        `right`, `answer_nll` (coordinates `task`, `bin`, `chance`; `duplicate_text`, `duplicate_item` where some are
        equal); over `random, layer, head`: `prefix_matching` (attention from a token to the one after its earlier
        copy).

    Raises: MemorizationError: no texts, a task without items.

    Source: Hernandez et al. 2022, Scaling Laws and Interpretability of Learning from Repeated Data (copying, prefix
        matching); Olsson et al. 2022.
    """
    rows, tasks = token_rows(texts), dict(tasks or {})
    if not rows or min(map(len, rows)) < 2:
        raise MemorizationError(
            f"texts has {len(rows)} rows, the shortest of {min(map(len, rows), default=0)} tokens; expected at least"
            " one row of at least 2 tokens."
        )
    items = {name: _items(name, of) for name, of in tasks.items()}
    reader = Reader(model, TOP)
    every = [i for of in items.values() for i in of]
    reader.check(rows, "texts")
    reader.check([np.concatenate(i[:2]) for i in every], "tasks")
    read = reader.read(rows, [len(r) - 1 for r in rows], label="texts", progress=progress)
    size = np.array([len(r) - 1 for r in rows])
    variables: dict[str, Any] = {
        "nll": ("text", np.array([-float(logprob.astype(np.float64).sum()) for logprob, _ in read]), {"units": "nats"}),
        "tokens": ("text", size),
        "ranking": (("place", "top"), np.concatenate([top for _, top in read]).astype(np.int32)),
    }
    coords: dict[str, Any] = {
        "text": np.arange(len(rows)),
        "place_text": ("place", np.repeat(np.arange(len(rows)), size)),
    }
    if copying:
        for name, values in _copying(reader, rows, whole(copying, "copying", 1), whole(repeats, "repeats", 2)).items():
            variables[name] = ("text", values, {"units": "nats per token"})
    if every:
        answered = reader.read(
            [np.concatenate(i[:2]) for i in every], [len(i[1]) for i in every], label="tasks", progress=progress
        )
        variables["right"] = (
            "item",
            np.array([bool((top[:, 0] == i[1]).all()) for (_, top), i in zip(answered, every)]),
        )
        variables["answer_nll"] = (
            "item",
            np.array([-float(logprob.mean()) for logprob, _ in answered]),
            {"units": "nats per token"},
        )
        coords |= {
            "task": ("item", np.array([name for name, of in items.items() for _ in of], dtype=str)),
            "bin": ("item", np.array([str(i[2]) for i in every], dtype=str)),
            "chance": (
                "item",
                np.array([float(getattr(tasks[name], "chance", np.nan)) for name, of in items.items() for _ in of]),
            ),
        }
    for axis, labels in (("text", repeated(rows)), ("item", repeated([len(i[0]), *i[0], *i[1]] for i in every))):
        if labels is not None:
            coords[f"duplicate_{axis}"] = (axis, labels)
    if heads:
        try:
            variables["prefix_matching"] = (
                ("random", "layer", "head"),
                prefix_matching(reader.model, rows, reader.context, seed),
            )
        except UnsupportedModel:
            pass
    call = {
        "texts": len(rows),
        "tokens": int(size.sum()),
        "tasks": {n: len(of) for n, of in items.items()},
        "copying": copying,
        "repeats": repeats,
        "heads": "prefix_matching" in variables,
    }
    return stamp(xr.Dataset(variables, coords), model, reader.model, "performance", call, seed)


@door(MemorizationError)
@of_one_model(reads=False)
def prefix_matching(
    model: HFModel,
    rows: TokenRows,
    context: Count | None = None,
    seed: Seed = 0,
    sequences: Annotated[int, Whole(1, 10**4)] = 8,
) -> np.ndarray:
    """Attention of each head from a token to the one after its earlier copy: [sequences, layer, head].

    On distinct random tokens (of those that occur in the rows) twice over, after the rows' start token where they all
    begin with one.
    """
    rows = token_rows(rows)
    if not rows or min(map(len, rows)) < 1:
        raise MemorizationError(unfit("rows", rows, "at least one row, each of at least one token"))
    require_readable(plain(model), max(int(row.max()) for row in rows), 0, MemorizationError, "rows")
    start, pool = _start(rows), np.unique(np.concatenate(rows))
    pool = np.setdiff1d(pool, [] if start is None else [start])
    context = context or getattr(plain(model).config, "max_position_embeddings", None) or 101
    length = min(50, len(pool), (context - 1) // 2)
    scores = induction_scores(
        model, length=max(2, length), sequences=sequences, seed=seed, tokens=pool.tolist(), start=start
    )
    return scores.samples.sel(score="induction").values


def _start(rows: Sequence[np.ndarray]) -> int | None:
    """The token that all of several rows begin with."""
    return int(rows[0][0]) if len(rows) > 1 and len({int(r[0]) for r in rows}) == 1 else None


def _copying(reader: Reader, rows: Sequence[np.ndarray], length: int, repeats: int) -> dict[str, np.ndarray]:
    """Loss of the first copy and of the later ones, where each text's beginning stands there several times; NaN for a
    text that is too short.
    """
    start = _start(rows)
    lead = np.array([] if start is None else [start], np.int64)
    if reader.context:
        length = min(length, (reader.context - len(lead)) // repeats)
    long = [i for i, r in enumerate(rows) if len(r) >= len(lead) + length and length >= 2]
    out = {name: np.full(len(rows), np.nan) for name in ("first_loss", "copy_loss")}
    copied = [np.concatenate([lead, np.tile(rows[i][len(lead) : len(lead) + length], repeats)]) for i in long]
    read = reader.read(copied, [len(r) - 1 for r in copied], label="copying") if long else []
    for i, (logprob, _) in zip(long, read):
        first = len(logprob) - length * (repeats - 1)
        out["first_loss"][i], out["copy_loss"][i] = -logprob[:first].mean(), -logprob[first:].mean()
    return out


def _items(name: str, of: Any) -> list[tuple[np.ndarray, np.ndarray, Any]]:
    """A task's items as (prompt ids, answer ids, bin)."""
    try:
        if hasattr(of, "prompts") and hasattr(of, "answers"):
            of = (of.prompts, of.answers, *([of.bins] if getattr(of, "bins", None) is not None else []))
        if not is_sequence(of):
            raise TypeError
        lines = [tuple(line) for line in (zip(*of, strict=True) if isinstance(of, tuple) else of)]
    except Exception:  # it has no items, or columns of unlike lengths
        raise MemorizationError(
            unfit(f"tasks[{name!r}]", of, "a list of (prompt ids, answer ids), or columns of equal length")
        ) from None
    out = []
    for i, line in enumerate(lines):
        if len(line) not in (2, 3):
            raise MemorizationError(
                f"tasks[{name!r}]: item {i} has {len(line)} parts; expected (prompt ids, answer ids) or (prompt ids,"
                " answer ids, bin)."
            )
        ids = tried(lambda parts: [np.asarray(part, np.int64).reshape(-1) for part in parts], line[:2])
        if ids is None:
            raise MemorizationError(unfit(f"tasks[{name!r}][{i}]", line, "(prompt ids, answer ids), whole numbers"))
        prompt, answer = ids
        if not len(prompt) or not len(answer):
            raise MemorizationError(
                f"tasks[{name!r}]: item {i} has a prompt of {len(prompt)} and an answer of {len(answer)} tokens;"
                " expected at least one of each."
            )
        out.append((prompt, answer, line[2] if len(line) == 3 else ""))
    if not out:
        raise MemorizationError(f"tasks[{name!r}] has no items; leave the task out, or give (prompt ids, answer ids).")
    return out
