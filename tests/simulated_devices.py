"""Devices that are made up: tensors on ``made:0`` and ``made:1`` hold numbers in the processor's memory, and an
operation on tensors of two devices raises, as between two GPUs. Every transfer is noted.

To be used in a process of its own, for torch has one such backend a process, and calls it the accelerator from then on.
"""

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import (
    _DummyBackendModule,
    _DummyDeviceGuard,
    _setup_privateuseone_for_python_backend,
)

KIND, COUNT = "made", 2
aten = torch.ops.aten
#: Transfers so far: from where, to where, bytes.
transfers: list[tuple[torch.device, torch.device, int]] = []


class _Module(_DummyBackendModule):
    def device_count(self):
        return COUNT


class _Guard(_DummyDeviceGuard):
    def device_count(self):
        return COUNT

    def deviceCount(self):  # torch asks by either name
        return COUNT


class Placed(torch.Tensor):
    """A tensor on a made-up device; ``held`` are its numbers."""

    @staticmethod
    def __new__(cls, held, device):
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=device,
        )
        made.held = held
        return made

    def __repr__(self):
        return f"{self.held!r} on {self.device}"

    def tolist(self):
        return self.held.tolist()

    def data_ptr(self):
        return self.held.data_ptr()

    def untyped_storage(self):
        return self.held.untyped_storage()

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return run(function, args, kwargs or {})


def _place(device):
    """A device of ours with its number, or None."""
    device = None if device is None else torch.device(device)
    if device is None or device.type != KIND:
        return None
    return torch.device(KIND, device.index or 0)


def _here(value):
    """The same on the processor."""
    if isinstance(value, Placed):
        return value.held
    return torch.device("cpu") if isinstance(value, torch.device) and value.type == KIND else value


def _there(out, device):
    if device is None:
        return out
    return tree_map(lambda x: Placed(x, device) if isinstance(x, torch.Tensor) else x, out)


#: Operations that take an index from the processor for values on a device.
_INDEXING = (aten.index.Tensor, aten.index_put_.default, aten.index_put.default, aten._index_put_impl_.default)


def run(function, args, kwargs):
    """One operation of torch's, on the numbers; raises where two devices meet."""
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
    ours = [x for x in tensors if isinstance(x, Placed)]
    asked = _place(kwargs.get("device"))
    if function in (aten._to_copy.default, aten.copy_.default):
        into, source = (args[0], args[1]) if function is aten.copy_.default else (None, args[0])
        to = into.device if into is not None else asked or torch.device(kwargs.get("device") or source.device)
        out = function(*tree_map(_here, args), **tree_map(_here, kwargs))
        if to != source.device:
            transfers.append((source.device, to, source.nbytes))
        return into if into is not None else _there(out, _place(to))
    if ours and function is not aten._local_scalar_dense.default:
        rest = [x for x in tensors if not isinstance(x, Placed) and x.ndim]
        if function in _INDEXING and isinstance(args[0], Placed):
            rest = []
        devices = {x.device for x in (*ours, *rest)}
        if len(devices) > 1:
            names = " and ".join(sorted(map(str, devices)))
            raise RuntimeError(f"Expected all tensors to be on the same device, but found {names} ({function})")
        asked = asked or ours[0].device
    if function is aten._local_scalar_dense.default:
        asked = None
    if function is aten.histc.default and not args[0].is_floating_point():  # of whole numbers GPUs alone have it
        held = _here(args[0])
        return _there(function(held.float(), *args[1:], **kwargs).to(held.dtype), asked)
    out = function(*tree_map(_here, args), **tree_map(_here, kwargs))
    if function._schema.name.endswith("_") and isinstance(args[0], Placed):
        return args[0]
    return kwargs["out"] if kwargs.get("out") is not None else _there(out, asked)


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return run(function, args, kwargs or {})


class _Calls(TorchFunctionMode):
    """What torch does in C++ before any operation: new tensors on a device, and lists as indexes."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if function in (torch.tensor, torch.as_tensor) and _place(kwargs.get("device")) is not None:
            place = _place(kwargs.pop("device"))
            return function(*args, **kwargs).to(place)
        if function in (torch.Tensor.__getitem__, torch.Tensor.__setitem__) and isinstance(args[0], Placed):
            key = args[1] if isinstance(args[1], tuple) else (args[1],)
            key = tuple(torch.tensor(i, dtype=torch.long if not i else None) if isinstance(i, list) else i for i in key)
            args = (args[0], key if isinstance(args[1], tuple) else key[0], *args[2:])
        return function(*args, **kwargs)


class Simulated:
    """``with Simulated():`` the devices are there."""

    _registered = False

    def __enter__(self):
        if not Simulated._registered:
            _setup_privateuseone_for_python_backend(KIND, backend_module=_Module(), device_guard=_Guard())
            Simulated._registered = True
            # accelerate 1.16 asks it of whatever torch calls the accelerator; these keep no memory back
            torch.accelerator.empty_cache = lambda: None
        self._modes = [_Calls(), _Operations()]
        for mode in self._modes:
            mode.__enter__()
        return self

    def __exit__(self, *exc):
        for mode in reversed(self._modes):
            mode.__exit__(*exc)


def spread(model, second):
    """Puts a model's parts on the two devices, ``second`` telling by name which are on the second; accelerate moves
    what goes in between, as on GPUs.
    """
    from accelerate import dispatch_model

    from tests.placed import parts_of

    where = {name: f"{KIND}:{int(second(name))}" for name in parts_of(model)}
    made: dict[int, torch.nn.Parameter] = {}
    for name, module in model.named_modules():
        for held in (module._parameters, module._buffers):
            for key, value in held.items():
                if value is None:
                    continue
                full = f"{name}.{key}"
                device = next(torch.device(place) for part, place in where.items() if full.startswith(f"{part}."))
                if id(value) not in made:
                    new = Placed(value.detach(), device)
                    made[id(value)] = torch.nn.Parameter(new, False) if held is module._parameters else new
                held[key] = made[id(value)]
    return dispatch_model(model, where, main_device=f"{KIND}:0", force_hooks=True)
