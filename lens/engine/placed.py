"""Blocks and norms of a model that is spread over devices, or offloaded, for who takes them apart: they answer on the
device of the token ids, wherever they compute, and with the weights that they have there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..models.placement import device_of, offloaded
from .resident import resident

#: What a block is asked for, and answers with tensors.
_ANSWERS = ("out", "output_bias", "output_weight", "value_weight", "values")
_NORMS = ("norm_attn", "norm_mlp", "post_attn", "post_mlp")


def _moved(value: Any, device: torch.device) -> Any:
    return value.to(device) if isinstance(value, Tensor) else value


class PlacedNorm:
    """A norm as `norm` is, with what it is multiplied by."""

    def __init__(self, norm: Any, home: torch.device):
        self._norm, self.module, self.home = norm, norm.module, home
        self.factor: float = getattr(norm, "factor", 1.0)

    def __call__(self, x: Tensor) -> Tensor:
        """The normed rows, on the device of ``x``."""
        with resident(self.module):
            out: Tensor = self._norm(x.to(device_of(self.module)))
        return out.to(x.device)


class PlacedBlock:
    """A block as `block` is, of the layer module `layer`."""

    def __init__(self, block: Any, layer: nn.Module, home: torch.device):
        self._block, self._layer, self.home = block, layer, home

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._block, name)
        if name in _NORMS and getattr(value, "module", None) is not None:
            return PlacedNorm(value, self.home)
        return self._asked(value) if name in _ANSWERS else value

    def _asked(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def ask(*args: Any) -> Any:
            there = device_of(self._layer)
            with resident(self._layer):
                return _moved(method(*[_moved(value, there) for value in args]), self.home)

        return ask


def placed(blocks: Sequence[Any], layers: Sequence[nn.Module], home: torch.device) -> list[Any]:
    """Blocks that answer on one device: themselves where they compute and are kept there."""
    return [
        PlacedBlock(block, layer, home) if offloaded(layer) or device_of(layer) != home else block
        for block, layer in zip(blocks, layers)
    ]


def placed_norm(norm: Any, home: torch.device) -> Any:
    """A norm that answers on one device: itself where it computes and is kept there, or where there is none."""
    module = getattr(norm, "module", None)
    if module is None or not (offloaded(module) or device_of(module) != home):
        return norm
    return PlacedNorm(norm, home)
