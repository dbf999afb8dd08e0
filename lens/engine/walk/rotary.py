"""The tables that queries and keys are turned by, made once and kept on each device that a block computes on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .forward import Ropes


class RotaryTables:
    """Cosines and sines of a model's own rotary embedding.

    Args:
        module: the embedding, None where positions are learned. names: by which blocks ask for their own tables.
    """

    def __init__(self, module: Any, names: set[str | None], model_type: str):
        self._module, self._names, self._model_type = module, names, model_type
        self._tables: dict[torch.device, dict[str | None, tuple[Tensor, Tensor]]] = {}

    def of(self, length: int, home: torch.device, dtype: torch.dtype, device: torch.device) -> Ropes:
        """The tables ``[length, rot]`` on a device; ``(None, None)`` for learned positions.

        Args: home, dtype: where the model's embedding is, and so where it makes them, and of what kind.
        """
        if self._module is None:
            return {None: (None, None)}
        tables = self._tables.get(device, {})
        if next((cos.shape[0] for cos, _ in tables.values()), 0) < length:
            at = torch.arange(max(length, 64), device=home)[None]
            like = torch.zeros(1, 1, 1, dtype=dtype, device=home)
            for name in self._names:
                kind = {} if name is None else {"layer_type": name}
                cos, sin = (t[0].to(device) for t in self._module(like, position_ids=at, **kind))
                if self._model_type == "gpt_oss":  # its table is of one half of what it turns
                    cos, sin = torch.cat((cos, cos), -1), torch.cat((sin, sin), -1)
                tables[name] = cos, sin
            self._tables[device] = tables
        return {name: (cos[:length], sin[:length]) for name, (cos, sin) in tables.items()}
