"""What gates say of activations and tokens, and for how long it holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .gates import Gate, GateError


def above(gate: Gate, values: Float[Tensor, " n"]) -> Bool[Tensor, " n"]:
    """Where a gate is open, of what it compares with its threshold."""
    return torch.ones_like(values, dtype=torch.bool) if gate.threshold == -math.inf else values > gate.threshold


def readings(gate: Gate, x: Float[Tensor, "n width"]) -> Float[Tensor, " n"]:
    """What a gate of activations compares with its threshold. Raises: GateError: of another width."""
    own: Any = gate.centroids if gate.kind == "nearest" else gate.direction
    if x.ndim != 2 or x.shape[-1] != own.shape[-1]:
        name = "centroids" if gate.kind == "nearest" else "direction"
        raise GateError(
            f"{name} of {gate} has {own.shape[-1]} numbers, and the site holds {tuple(x.shape[1:])} a token;"
            " give one of that width" + (", and name one head." if x.ndim > 2 else ".")
        )
    x, own = x.float(), own.to(x.device)
    # row by row the same to the bit, however many there are: a matrix product may sum in another order
    if gate.kind == "nearest":
        apart = torch.stack([(x - centroid).square().sum(-1).sqrt() for centroid in own], -1)
        others = [c for c in range(len(own)) if c != gate.target]
        nearer: Tensor = apart[:, others].amin(-1) - apart[:, gate.target]
        return nearer
    out: Tensor = (x * own).sum(-1)
    if gate.kind == "cosine":
        length = x.square().sum(-1).sqrt()
        return torch.where(length > 0, out / length, torch.zeros_like(out))
    return out


def open_at(gate: Gate, x: Float[Tensor, "n width"]) -> Bool[Tensor, " n"]:
    """At which of one row's tokens a gate of activations says yes, whatever the tokens are. Raises: GateError."""
    return answers(gate, x) if gate.kind == "function" else above(gate, readings(gate, x))


def named(gate: Gate, ids: Int[Tensor, " n"]) -> Bool[Tensor, " n"] | None:
    """Which tokens are among those at which alone a gate of activations can be open; None: all."""
    return among(ids, tuple(gate.tokens)) if gate.site is not None and gate.tokens else None


def held(gate: Gate, opened: Bool[Tensor, " n"], positions: Sequence[int] | None = None) -> Bool[Tensor, " n"]:
    """Where a gate is open in one prompt, of what it says at each of its tokens: for as long as it holds.

    Args: positions: those that its edit meets, None: all.
    """
    if gate.hold == "prompt":
        return opened[-1:].expand(len(opened))
    if gate.hold == "step":
        return opened
    met = opened if positions is None else torch.zeros_like(opened)
    if positions is not None:
        met[list(positions)] = opened[list(positions)]
    return met.long().cummax(0).values.bool()


def part_of(gate: Gate, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n width"]:
    """Of a site's activations the head or expert that a gate reads."""
    site: Any = gate.site
    sub = site.head if site.head is not None else site.expert
    return x if sub is None else x[:, sub]


def answers(gate: Gate, x: Float[Tensor, "n width"]) -> Bool[Tensor, " n"]:
    """What the person's function says of one row's tokens. Raises: GateError: it failed, or gave something else."""
    test: Any = gate.test  # of a function
    expected = f"of activations {tuple(x.shape)} it gives a truth value for each of the {len(x)} tokens"
    try:
        said = torch.as_tensor(test(x))
    except Exception as error:
        raise GateError(
            f"test of when={gate}: the condition raised {type(error).__name__}: {error}; {expected}."
        ) from error
    if said.dtype != torch.bool or said.shape != x.shape[:1]:
        raise GateError(
            f"test of when={gate}: the condition gave {said.dtype} of shape {tuple(said.shape)}; {expected}, as does"
            " (x @ direction) > 3."
        )
    return said.to(x.device)


def among(ids: Int[Tensor, " n"], tokens: tuple[int, ...]) -> Bool[Tensor, " n"]:
    """Which ids are among some."""
    return torch.isin(ids, torch.tensor(tokens, device=ids.device))
