"""Counts what makes the host wait for a device, on a device where nothing does: operations that read a tensor's numbers
on the host, or whose result's size depends on them, and copies from the host's memory that are not pinned.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

_aten = torch.ops.aten
#: Operations that wait on CUDA, whatever they are given.
WAITING = {
    _aten._local_scalar_dense,
    _aten.nonzero,
    _aten.nonzero_static,
    _aten.masked_select,
    _aten._unique2,
    _aten.unique_dim,
    _aten.unique_consecutive,
    _aten.bincount,
    _aten.repeat_interleave,
    _aten.is_nonzero,
}
#: Operations that count the places of a mask where they are given one.
INDEXED = {_aten.index, _aten.index_put, _aten.index_put_, _aten._unsafe_index}
#: What goes past operations: methods that read numbers, and tensors that are made of the host's on a device.
READING = {
    torch.Tensor.tolist: "tolist",
    torch.Tensor.numpy: "numpy",
    torch.Tensor.cpu: "cpu",
    torch.tensor: "tensor",
    torch.as_tensor: "as_tensor",
}


class Waits(TorchDispatchMode):
    """While it is entered, `found` takes on the name of everything that would wait, and `operations` counts all."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.operations = 0
        self._functions: list[_Functions] = []

    def __enter__(self) -> Waits:
        self._functions.append(_Functions(self.found))
        self._functions[-1].__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._functions.pop().__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations += 1
        packet = func.overloadpacket
        if packet in WAITING and not (packet is _aten.repeat_interleave and (kwargs or {}).get("output_size")):
            self.found.append(str(packet))
        elif packet in INDEXED and any(getattr(i, "dtype", None) in (torch.bool, torch.uint8) for i in args[1]):
            self.found.append(f"{packet} by a mask")
        return func(*args, **(kwargs or {}))


class _Functions(TorchFunctionMode):
    """What no operation tells of."""

    def __init__(self, found: list[str]) -> None:
        super().__init__()
        self.found = found

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        made = func in (torch.tensor, torch.as_tensor)
        if func in READING and (not made or kwargs.get("device") is not None):
            self.found.append(READING[func])
            with torch._C.DisableTorchFunction():
                return _quietly(func, args, kwargs)
        # by its name it is the host; a device that something else is on would be another there
        if func is torch.Tensor.to and any(isinstance(a, str) and a == "cpu" for a in (*args[1:], *kwargs.values())):
            self.found.append("to the host")
        return func(*args, **kwargs)


def _quietly(func: Any, args: Any, kwargs: Any) -> Any:
    """The call without its operations being counted again."""
    with torch.utils._python_dispatch._disable_current_modes():
        return func(*args, **kwargs)
