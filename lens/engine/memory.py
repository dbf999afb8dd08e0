"""Memory that runs out, on whatever device: how it is recognised, and what a person is told."""

from __future__ import annotations

import torch

from ..errors import Error

#: What to catch where work can be done in smaller pieces; `out_of_memory` then says whether that would help.
ERRORS = (RuntimeError, MemoryError)
#: torch has an error of its own for accelerators alone; its allocator on the CPU raises a RuntimeError that says this.
_CPU = ("DefaultCPUAllocator: can't allocate memory", "DefaultCPUAllocator: not enough memory")


class OutOfMemoryError(Error, torch.OutOfMemoryError):
    """There is no room for even the smallest piece of the work; the message names the setting that asks for less."""


def no_room(device: torch.device, tokens: int) -> OutOfMemoryError:
    """The error for one row that does not fit."""
    return OutOfMemoryError(
        f"the memory of {device} ran out even for one row of {tokens} tokens at a time. "
        "Free some, or give shorter texts."
    )


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or on the CPU, so that half of the rows may fit."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(said in str(error) for said in _CPU)
