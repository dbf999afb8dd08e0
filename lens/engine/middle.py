"""The residual stream between attention and the MLP, which no module holds: the sum of what is added before the MLP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from torch import Tensor, nn

from .ends import Ends


class Middle:
    """What a change of the stream in the middle of one block needs: all that is added before the MLP but for what is
    added last, on which the change acts.
    """

    def __init__(self, ends: Ends):
        self.ends = ends
        self._before: list[Tensor] = []
        self._shape: tuple[int, ...] = ()

    def enter(self, x: Tensor) -> None:
        """Notes what goes into the block."""
        self._shape = tuple(x.shape)
        self._before[:] = [x] if self.ends.start is None else []

    def parts(self) -> Iterator[tuple[nn.Module, Callable[[Tensor], None]]]:
        """The modules whose outputs are to be noted, and what notes each."""
        if self.ends.start is not None:
            yield self.ends.start, self._before.append
        for end in self.ends.mixers:
            if end.module is not self.ends.last:
                yield end.module, partial(self._note, end.factor)

    def _note(self, factor: float, x: Tensor) -> None:
        self._before.append(x if factor == 1.0 else x * factor)

    def through(self, change: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """A change of the stream as one of what is added to it last."""

        def last(x: Tensor) -> Tensor:
            if len(self._before) != len(self.ends.mixers) or self._shape != tuple(x.shape):
                return x  # computed again, of a forward that was made before this
            # what goes into a block may lie where the one before it computes
            first, *others = (part.reshape(x.shape).to(x.device) for part in self._before)
            before = sum(others, first)
            stream = before + x
            new = change(stream)
            return x if new is stream else new - before

        return last
