"""What a result remembers of how it was made: the one place that gathers it."""

from __future__ import annotations

import datetime
import functools
import importlib.metadata as metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from ..models import name_of, weight_hash
from ..models.loaded import loaded_as
from ..models.state import State, identity
from ..prompts import Pair
from .errors import ResultError

_PACKAGES = ("torch", "transformers", "transformer-lens", "xarray")


@runtime_checkable
class Served(Protocol):
    """What a result was computed with, as far as a record asks: the engine's view of a model, for one."""

    @property
    def dtype(self) -> torch.dtype:
        """Of the residual stream."""
        ...

    @property
    def device(self) -> torch.device:
        """Where it ran."""
        ...

    def served(self) -> Mapping[str, Any]:
        """Which path served (``name``), and why not a faster one (``why``); may still change until the result is
        stamped.
        """
        ...

    def weights(self) -> str:
        """The hash of the weights."""
        ...


@runtime_checkable
class Viewed(Served, Protocol):
    """A view of a whole model."""

    @property
    def hf(self) -> Any:
        """The model itself, as its library made it."""
        ...


@dataclass(frozen=True)
class Plainly:
    """A model, or a part of one, that was run by itself, without edited runs."""

    model: Any
    dtype: torch.dtype
    device: torch.device

    def served(self) -> Mapping[str, Any]:
        """The model's own forward."""
        return {"name": "forward", "why": None}

    def weights(self) -> str:
        """The hash of the weights."""
        return weight_hash(self.model)


def record_of(
    model: Any,
    view: Served,
    kind: str,
    call: Mapping[str, Any],
    pairs: Sequence[Pair] = (),
    *,
    seed: int | None = None,
    status: str = "partial",
    store: Any = None,
    state: State | None = None,
) -> dict[str, Any]:
    """The record to stamp on a result: kind, status, model (name, weight hash, state, dtype, device), call, pairs,
    seed, versions, start.

    ``model.state`` is the digest of all that weights do not say of the model as it is now
    (``lens.models.state.identity``), None where that cannot be told; ``model.unusual`` names hooks, replaced methods
    and adapters in words; ``model.loaded`` says what ``lens.load`` was asked for: source, revision and commit, device
    map, quantisation, adapters with the SHA-256 of their weights, dtype and attention. Arguments of ``call`` are made
    plain: slices, ranges and arrays become what JSON can hold.

    Args:
        view: what computed it. ``engine`` of the record says which path served, the slowest of those that did.
        store: where the result is written region by region, if it is; then every weight is read for the hash.
        state: of the model, where the very call that is recorded has compared it (that of a `Decoder.of` in it); None:
            compared now.

    Raises:
        ResultError: with ``store``, a model or a metric whose content cannot be told: the store could return another
            one's values.
    """
    # a view that was made for an earlier call says what the model was then
    content = identity(model.hf, None) if isinstance(model, Viewed) else identity(model, state)
    unidentified = content.unidentified or call.get("metric_unidentified")
    if store is not None and unidentified:
        what = "model" if content.unidentified else f"metric={call.get('metric')!r}"
        raise ResultError(
            f"store={str(store)!r}: {what} cannot be identified ({unidentified}), so that the store could return"
            " another one's values as its own. Leave store out, or make it of functions, numbers and tensors alone."
        )
    return {
        "kind": kind,
        "status": status,
        "engine": view.served(),
        "seed": seed,
        "call": {k: plain(v) for k, v in call.items()},
        "model": {
            "name": name_of(model),
            "hash": view.weights() if store is None else weight_hash(model, anew=True),
            **content.record(),
            "dtype": str(view.dtype).removeprefix("torch."),
            "device": str(view.device),
            **({"loaded": loaded} if (loaded := loaded_as(model)) else {}),
        },
        "pairs": [p.as_record(model) for p in pairs],
        "versions": dict(_versions()),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


@functools.cache
def _versions() -> tuple[tuple[str, str], ...]:
    return tuple((n, metadata.version(n)) for n in _PACKAGES)


def plain(value: Any) -> Any:
    """An argument as JSON."""
    if isinstance(value, slice):
        return {"slice": [value.start, value.stop, value.step]}
    if isinstance(value, (list, tuple, range)):
        return [plain(v) for v in value]
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    return value.tolist() if isinstance(value, (np.ndarray, np.generic, Tensor)) else value
