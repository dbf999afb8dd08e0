"""How often a gate opens on texts that had no part in it, and the edits that a gated one has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ..arguments import HFModel, Seed, Share, Token, door
from ..engine.edits import Edit
from ..engine.gate_fitting import Items, activations, ids_of, read_items, require_apart
from ..engine.gate_reading import held, named, open_at, readings
from ..engine.gates import MEASURED, Gate
from ..engine.model import Model
from ..engine.sessions import of_one_model
from ..results.dataset import stamp
from ..results.record import record_of
from ..stats.intervals import bootstrap, proportion
from ..stats.means import MISSING
from .errors import VectorError

#: The label of texts that have none.
ORDINARY = "ordinary text"


@door(VectorError)
@of_one_model
def fire_rates(
    model: HFModel, gate: Gate, items: Any, *, level: Share = 0.95, seed: Seed = 0, start: Token | None = "auto"
) -> xr.Dataset:
    """How often a gate is open on held-out items and on ordinary text, by label.

    Args:
        gate: one that reads an activation.
        items: rows with a "text" (or "messages") and, where they are of a task, a "label"; or bare texts. None may be
            among those that the gate was fitted on.

    Returns: over ``label`` ("ordinary text" where there is none): ``mean``, the share of texts at whose last token it
        is open, with ``low``, ``high``, ``interval_kind`` (exact, Clopper and Pearson 1934) and ``n``; ``tokens``, the
        mean over texts of the share of a text's tokens (each for as long as the gate holds), with ``tokens_low``,
        ``tokens_high`` and ``tokens_kind`` over texts. No p-value: nothing says which rate there should be. Over
        ``text``: ``open`` at its last token, and ``reading``, what was compared there.

    Raises: VectorError: a gate that reads no activation, or is of other weights; items that it was fitted on.

    Cost: a run of every item.
    """
    view = _require(model, gate)
    of = read_items(items, "items", VectorError, ORDINARY)
    known = gate.about.get("texts", {})
    for name, hashes in known.items():
        require_apart(of.hashes, hashes, of, "items", f"{name}, on which the gate was fitted,", VectorError)
    opened, last = _opened(view, model, gate, of, start)
    labels = list(dict.fromkeys(of.labels))
    at_end = np.array([bool(one[-1]) for one in opened])
    share = np.array([float(one.float().mean()) for one in opened])
    columns: dict[str, list[Any]] = {
        k: []
        for k in ("mean", "low", "high", "interval_kind", "n", "tokens", "tokens_low", "tokens_high", "tokens_kind")
    }
    for label in labels:
        mine = np.array([one == label for one in of.labels])
        end = proportion(int(at_end[mine].sum()), int(mine.sum()), level)
        values: list[Any] = [end.estimate, end.low, end.high, f"{end.method}, exact", int(mine.sum())]
        if mine.sum() > 1:
            of_tokens = bootstrap(share[mine], level=level, seed=seed, bounds=(0, 1))
            values += [of_tokens.estimate, of_tokens.low, of_tokens.high, of_tokens.kind]
        else:
            values += [float(share[mine].mean()), np.nan, np.nan, "none: of one text"]
        for column, value in zip(columns, values):
            columns[column].append(value)
    ds = xr.Dataset(
        {
            **{name: ("label", np.array(column)) for name, column in columns.items()},
            "open": ("text", at_end),
            "reading": ("text", last),
        },
        {"label": labels, "text": np.arange(len(of)), "label_of_text": ("text", np.array(of.labels))},
    )
    call = {"gate": repr(gate), "target": gate.about.get("target"), "level": level, "missing": MISSING}
    record = record_of(model, view, "fire rates", call, seed=seed, status="complete", state=view.state)
    return stamp(ds, record)


@door(VectorError)
@of_one_model
def gate_rivals(
    model: HFModel,
    edit: Edit,
    items: Any,
    *,
    directions: Sequence[Any] = (),
    at: Literal["all", "last"] | None = None,
    seed: Seed = 0,
    start: Token | None = "auto",
) -> dict[str, Edit]:
    """The edits that a gated one has to beat, by name; of a token that it is to raise or lower also
    ``lens.generate(..., bias={token: size})``.

    Args:
        edit: one with a gate that reads an activation and a vector as value.
        items: texts, or rows as in `fire_rates`, on whose tokens the random gate opens as often.
        directions: those of all tasks, of which "global direction" is the mean, as long as the edit's.
        at: whether the random gate opens as often over all tokens of the items, or at their last ones alone. None:
            where the edit's own acts: at the last ones for an edit of position -1, or a gate that holds what it says at
            the prompt's end; else over all.

    Returns: "gated", the edit itself; "always", without its gate; "random gate", on a random direction, which holds as
        long; "random direction", another vector of equal norm behind the same gate; "global direction", where
        directions are given.

    Raises: VectorError: an edit without such a gate, or whose value is no vector.
    """
    if edit.when is None:
        raise VectorError(f"edit={edit!r:.120} has no gate; give one with when=, as lens.Gate.fit makes.")
    gate, value = edit.when, edit.value
    if not isinstance(value, Tensor) or value.ndim != 1:
        raise VectorError("edit: its value is no vector [width], which could be turned at random; give one.")
    view = _require(model, gate)
    of = read_items(items, "items", VectorError, ORDINARY)
    ends = gate.hold == "prompt" or _of_end(edit.site.position)
    last = ends if at is None else at == "last"
    [states] = activations(view, model, of, [gate.site], start, "items", VectorError, only_last=last)  # type: ignore[list-item]
    ids = [one[-len(x) :] for one, x in zip(ids_of(model, of, start, "items", VectorError), states)]
    draw = torch.Generator().manual_seed(seed)
    way = torch.randn(states[0].shape[-1], generator=draw)
    random = Gate.projection(gate.site, way, 0.0, hold=gate.hold, tokens=gate.tokens)  # type: ignore[arg-type]
    read = [readings(random, x) for x in states]
    counted = sum(int(_held(gate, open_at(gate, x), one).sum()) for x, one in zip(states, ids))
    threshold = _equal_rate(random, read, ids, counted)
    turned = torch.randn(len(value), generator=draw)
    rivals = {
        "gated": edit,
        "always": replace(edit, when=None),
        "random gate": replace(edit, when=replace(random, threshold=threshold)),
        "random direction": replace(edit, value=(turned / turned.norm() * value.float().norm().cpu()).to(value)),
    }
    if directions:
        mean = torch.stack([torch.as_tensor(getattr(one, "direction", one)).float().cpu() for one in directions]).mean(
            0
        )
        if mean.shape != value.shape or not mean.norm() > 0:
            raise VectorError(
                f"directions: their mean has shape {tuple(mean.shape)} and norm {float(mean.norm()):g}; expected the"
                f" edit's, {tuple(value.shape)}, and a length."
            )
        rivals["global direction"] = replace(edit, value=(mean / mean.norm() * value.float().norm().cpu()).to(value))
    return rivals


def _require(model: Any, gate: Gate) -> Model:
    view = Model.of(model)
    if gate.kind not in (*MEASURED, "function") or gate.site is None:
        raise VectorError(f"gate={gate}: it reads no activation; give one of a projection, cosine or centroids.")
    fitted = gate.about.get("model")
    if fitted and fitted != (own := view.weights()):
        raise VectorError(
            f"gate was fitted on weights {str(fitted)[:12]}, and this model's are {own[:12]}; fit one on this model."
        )
    return view


def _opened(view: Model, model: Any, gate: Gate, of: Items, start: Any) -> tuple[list[Tensor], np.ndarray]:
    """At which tokens of each item the gate is open, and what it read at the last (NaN of a function)."""
    [states] = activations(view, model, of, [gate.site], start, "items", VectorError)  # type: ignore[list-item]
    last = [float(readings(gate, x[-1:])[0]) if gate.kind in MEASURED else np.nan for x in states]
    ids = ids_of(model, of, start, "items", VectorError)
    return [_held(gate, open_at(gate, x), one) for x, one in zip(states, ids)], np.array(last)


def _held(gate: Gate, said: Tensor, ids: Tensor) -> Tensor:
    """Where a gate is open, of what it says at a text's tokens."""
    there = named(gate, ids.cpu())
    return held(gate, said if there is None else said & there)


def _equal_rate(gate: Gate, read: Sequence[Tensor], ids: Sequence[Tensor], count: int) -> float:
    """The threshold at which a gate is open at as many tokens, or as near to that as one that holds can be."""
    values = torch.cat(list(read)).sort(descending=True).values
    ends = torch.cat([values.new_tensor([float("inf")]), values, values.new_tensor([float("-inf")])])

    def threshold(k: int) -> float:
        # between the last reading that is to open it and the next
        return float(ends[k : k + 2].mean()) if 0 < k < len(values) else float(ends[k + 1 if k else 0])

    def opened(k: int) -> int:
        at = threshold(k)
        return sum(int(_held(gate, x > at, one).sum()) for x, one in zip(read, ids))

    fewer, more = 0, len(values)
    while fewer < more:
        middle = (fewer + more) // 2
        fewer, more = (middle + 1, more) if opened(middle) < count else (fewer, middle)
    near = [k for k in (fewer - 1, fewer) if k >= 0]
    return threshold(min(near, key=lambda k: abs(opened(k) - count)))


def _of_end(position: Any) -> bool:
    """Whether positions are the text's last alone."""
    return position in (-1, slice(-1, None)) or (isinstance(position, list | tuple) and list(position) == [-1])
