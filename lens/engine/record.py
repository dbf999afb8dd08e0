"""What a result remembers of how it was made: the one place that gathers it."""

from __future__ import annotations

import datetime
import functools
import importlib.metadata as metadata
from typing import Any, Mapping, Sequence

import numpy as np
from torch import Tensor

from ..models import weight_hash
from ..prompts import Pair
from .decoder import Decoder

_PACKAGES = ("torch", "transformers", "transformer-lens", "xarray")


def record_of(model: Any, decoder: Decoder, kind: str, call: Mapping[str, Any], pairs: Sequence[Pair] = (), *, seed: int | None = None,
              status: str = "partial", engine: str = "fast") -> dict[str, Any]:
    """The record to stamp on a result: kind, status, model (name, weight hash, dtype, device), call, pairs, seed, versions, start.

    Arguments of ``call`` are made plain: slices, ranges and arrays become what JSON can hold.
    """
    name = getattr(getattr(model, "cfg", None), "model_name", None) or getattr(decoder.hf.config, "name_or_path", "") or type(decoder.hf).__name__
    return {"kind": kind, "status": status, "engine": engine, "seed": seed, "call": {k: plain(v) for k, v in call.items()},
            "model": {"name": str(name), "hash": weight_hash(model), "dtype": str(decoder.dtype).removeprefix("torch."), "device": str(decoder.device)},
            "pairs": [dict(clean=p.clean, corrupted=p.corrupted, answer=p.answer, foil=p.foil, spans=dict(p.spans), start=p.start, label=p.label) for p in pairs],
            "versions": dict(_versions()),
            "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")}


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
