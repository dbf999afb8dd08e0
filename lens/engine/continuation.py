"""What an edited run continues: keys and values of the unedited run before its first changed token, and how each layer
was called.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .anatomy import Anatomy
from .errors import UnsupportedModel

#: Names by which layers take a cache.
CACHE_ARGUMENTS = ("past_key_values", "layer_past", "past_key_value")


class Prefix:
    """What attention asks of a cache: keys and values of a prefix to put before the new ones; `whole` has them all."""

    def __init__(self, keys: Tensor | None = None, values: Tensor | None = None):
        self.keys, self.values = keys, values
        self.whole: tuple[Tensor, Tensor] | None = None

    def update(self, keys: Tensor, values: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """The keys and values of the whole text so far."""
        if self.keys is not None and self.values is not None:
            shape = (len(keys), -1, -1, -1)
            keys, values = (
                torch.cat((self.keys.expand(shape), keys), 2),
                torch.cat((self.values.expand(shape), values), 2),
            )
        self.whole = keys, values
        return keys, values

    def get_seq_length(self, *_: Any) -> int:
        """Tokens of the prefix."""
        return 0 if self.keys is None else self.keys.shape[2]


@dataclass
class Continuation:
    """What edited runs of a prompt continue: keys and values of the unedited run by layer, how each layer was called,
    and causal masks from the positions on at which runs began.
    """

    anatomy: Anatomy
    length: int
    calls: list[dict[str, Any]]
    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    masks: dict[tuple[int, torch.dtype, torch.device], Tensor] = field(default_factory=dict)
    #: whether the run itself left them, not its layers one by one
    of_run: bool = False

    def before(self, layer: int, start: int) -> Prefix:
        """The keys and values of a layer before a position."""
        return Prefix(self.keys[layer][:, :, :start], self.values[layer][:, :, :start]) if start else Prefix()

    def arguments(self, call: dict[str, Any], x: Tensor, start: int) -> dict[str, Any]:
        """What a layer was called with, for the positions from ``start`` on.

        Raises:
            UnsupportedModel: an argument that is not understood.
        """
        arguments = {name: self._cut(name, value, start) for name, value in call.items()}
        if "attention_mask" in call and call["attention_mask"] is None:
            key = start, x.dtype, x.device
            if key not in self.masks:
                self.masks[key] = self._causal(x, start)
            arguments["attention_mask"] = self.masks[key]
        return arguments

    def _causal(self, x: Tensor, start: int) -> Tensor:
        attention = self.anatomy.config._attn_implementation
        if attention not in ("sdpa", "eager"):
            raise UnsupportedModel(
                f"attention {attention!r} takes no mask; load the model with attn_implementation='sdpa' or 'eager'."
            )
        visible = (
            torch.arange(self.length, device=x.device) <= torch.arange(start, self.length, device=x.device)[:, None]
        )
        if attention == "sdpa":
            return visible[None, None]
        mask = torch.zeros(visible.shape, dtype=x.dtype, device=x.device)
        return mask.masked_fill(~visible, torch.finfo(x.dtype).min)[None, None]

    def _cut(self, name: str, value: Any, start: int) -> Any:
        """A layer's argument for the positions from ``start`` on."""
        length = self.length
        if isinstance(value, tuple) and name.startswith("position_embeddings"):
            return tuple(self._cut(name, v, start) for v in value)
        if not isinstance(value, Tensor):
            return value
        if name.startswith("position_embeddings") and value.ndim == 3 and value.shape[1] == length:
            return value[:, start:]
        if name == "position_ids" and value.ndim == 2 and value.shape[1] == length:
            return value[:, start:]
        if name == "cache_position" and value.shape == (length,):
            return value[start:]
        if name.endswith("mask") and value.ndim == 4 and value.shape[2:] == (length, length):
            return value[:, :, start:]
        raise UnsupportedModel(
            f"model type {self.anatomy.model_type!r}: its layers take {name!r} of shape {tuple(value.shape)}, which is"
            " not understood."
        )
