"""A few values of each of many tensors, read again and again: in one go from memory where that can be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor, nn

__all__ = ["SAMPLED", "Samples"]

#: Values that are looked at of each tensor.
SAMPLED = 16


class Samples:
    """The way to `SAMPLED` values of each of some tensors, spread over all of it; `read` may be called as long as every
    tensor is alive and has its storage, place, strides, shape and dtype.

    Of tensors in the processor's memory that are contiguous only the addresses are kept: that holds no storage (a model
    that moves to another device leaves none behind), and reads hundreds of tensors in some 20 microseconds, which
    torch needs for ten. Of others the values are picked by torch, one transfer a device and dtype.

    Attributes: ends: of each tensor, in which piece of what `read` gives its values are, and from where to where.
    """

    def __init__(self, values: Sequence[Tensor]):
        self.ends: list[tuple[int, int, int]] = []
        self._picked: dict[tuple[torch.device, torch.dtype], list[tuple[int, int, int]]] = {}
        #: of each tensor in memory: its first sampled value's address, the way to the next, how many, bytes of one
        direct: list[tuple[int, int, int, int]] = []
        groups: dict[Any, int] = {None: 0}
        at = [0]
        for i, value in enumerate(values):
            n, width = value.numel(), value.element_size()
            plain = type(value) is nn.Parameter or type(value.data) is Tensor
            if not plain or value.layout is not torch.strided or value.is_meta or not n:
                self.ends.append((0, 0, 0))
                continue
            step, first = (-(-n // SAMPLED), (n - 1) % SAMPLED) if n > SAMPLED else (1, 0)
            count = -(-(n - first) // step)
            if value.device.type == "cpu" and value.is_contiguous() and (address := value.data_ptr()):
                direct.append((address + first * width, step * width, count, width))
                group = 0
            else:
                of = value.device, value.dtype
                self._picked.setdefault(of, []).append((i, first, step))
                group = groups.setdefault(of, len(groups))
                at += [0] * (group + 1 - len(at))
            self.ends.append((group, at[group], at[group] + count * width))
            at[group] += count * width
        # numbers of one size that lie at multiples of it are read whole, others byte by byte
        sizes = {width for *_, width in direct}
        size = sizes.pop() if len(sizes) == 1 else 1
        if size not in (2, 4, 8) or any(address % size for address, *_ in direct):
            size = 1
        every = _addresses(direct, size)
        self._low = int(every.min()) if len(every) else 0
        self._span = (int(every.max()) - self._low) // size + 1 if len(every) else 0
        self._offsets, self._kind = (every - self._low) // size, f"<u{size}"

    @torch.no_grad()
    def read(self, values: Sequence[Tensor]) -> list[bytes]:
        """The sampled values of the tensors, many in a piece; `of` finds those of one."""
        out = [_Memory(self._low, self._span, self._kind).array[self._offsets].tobytes() if self._span else b""]
        for members in self._picked.values():
            picked = []
            for i, first, step in members:
                value = values[i]
                if value.is_contiguous():
                    size = -(-(value.numel() - first) // step)
                    picked.append(value.as_strided((size,), (step,), value.storage_offset() + first))
                else:
                    picked.append(value.reshape(-1)[first::step])
            out.append(torch.cat(picked).cpu().view(torch.uint8).numpy().tobytes())
        return out

    def of(self, i: int, read: Sequence[bytes]) -> bytes:
        """Of what was read, the values of one tensor."""
        group, start, end = self.ends[i]
        return read[group][start:end]


def _addresses(direct: list[tuple[int, int, int, int]], size: int) -> Int64[np.ndarray, " pieces"]:
    """Of every piece of `size` bytes of the values, in order."""
    if not direct:
        return np.empty(0, np.int64)
    first, step, count, width = np.array(direct, dtype=np.int64).T
    of = np.repeat(np.arange(len(direct)), count)
    number = np.arange(len(of)) - np.repeat(np.cumsum(count) - count, count)
    values, pieces = first[of] + step[of] * number, width[of] // size
    piece = np.arange(int(pieces.sum())) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    every: np.ndarray = np.repeat(values, pieces) + size * piece
    return every


class _Memory:
    """A stretch of this process's memory as an array; only what belongs to a living tensor may be looked at in it."""

    def __init__(self, low: int, span: int, kind: str):
        self.__array_interface__ = {"data": (low, True), "shape": (span,), "typestr": kind, "version": 3}
        self.array = np.asarray(self)
