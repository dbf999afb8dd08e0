"""What chosen heads write during a forward of a training or of its teacher."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..engine.changes import temporary
from .wrapped import anatomy


class HeadOutputs:
    """Listens to what chosen heads write (the input of the output projection) during a forward, so that no second one
    is needed.
    """

    def __init__(self, heads: Iterable[tuple[int, int]]):
        self.heads = tuple(heads)
        self._outputs: dict[int, Tensor] = {}

    @contextlib.contextmanager
    def listening(self, model: Any) -> Iterator[None]:
        """Forwards inside are heard; the last one is what `at` reads."""
        a = anatomy(model)
        with temporary(model, "listening to heads") as here:
            for layer in sorted({l for l, _ in self.heads}):
                here.put(lambda: a.attach("z", layer, self._listener(layer), everywhere=True))
            yield

    def _listener(self, layer: int) -> Callable[[Tensor], Tensor]:
        """What hears a layer's heads and changes nothing."""

        def hear(z: Tensor) -> Tensor:
            self._outputs[layer] = z
            return z

        return hear

    def at(self, last: Int[Tensor, " batch"]) -> Float[Tensor, "batch k d_head"]:
        """The heads' outputs at one position a row, with their gradients."""
        rows = torch.arange(len(last), device=last.device)
        return torch.stack([self._outputs[l][rows, last, h] for l, h in self.heads], 1)

    def forget(self) -> None:
        """Drops what was recorded, before the next forward."""
        self._outputs.clear()
