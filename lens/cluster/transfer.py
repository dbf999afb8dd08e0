"""Models, and what computes with them, on their way to a worker: a model without its weights, which the worker maps;
a sweep without its model, which the worker has.
"""

from __future__ import annotations

import importlib
import io
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..engine.change_registry import core_of
from ..engine.model import Model
from ..models.quantised_layers import is_codes
from .errors import ClusterError
from .weights import shareable

#: What a model remembers is not sent, these aside, which are of its content.
_REMEMBERED = "_mnemoscope"
_CONTENT = tuple(f"{_REMEMBERED}_{name}" for name in ("parameters", "layers", "name", "loaded", "adapters"))
#: Bytes of a tensor's storage from which on a view of less than half of it is sent without the rest.
_LARGE = 1 << 16
#: Dtypes that torch cannot unpickle by themselves (2.13).
_BYTES = (torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz)


def packed_model(model: Any) -> tuple[bytes, list[Tensor]]:
    """A model as bytes without its weights, and its weights, each once, in the order of the numbers by which the bytes
    call them.

    Raises ClusterError: weights that are not in memory; a model that cannot be sent.
    """
    weights: dict[int, tuple[int, Tensor]] = {}

    def named(value: Any) -> Any:
        if not isinstance(value, nn.Parameter):
            return None
        if value.device.type == "meta":
            raise ClusterError(
                "backend='ray': weights of the model are not in memory (they are on 'meta', as offloaded ones are), so"
                " that workers cannot map them. Load the model whole, or use backend='local'."
            )
        if not shareable(value):
            return None
        number, _ = weights.setdefault(id(value), (len(weights), value))
        return number, value.requires_grad, value.device.type

    return _dumped(model, named, "the model"), [value for _, value in weights.values()]


def unpacked_model(content: bytes, weights: Sequence[Tensor]) -> Any:
    """The model again, on these weights; a weight that was on an accelerator is copied to this process's first."""
    made: dict[int, nn.Parameter] = {}

    def found(name: tuple[int, bool, str]) -> Any:
        number, grad, device = name
        if number not in made:
            made[number] = nn.Parameter(weights[number].to(device), requires_grad=grad)
        return made[number]

    model = _loaded(content, found)
    core: Any = core_of(model)
    if "_mnemoscope_parameters" in core.__dict__:
        before, copies = core.__dict__["_mnemoscope_parameters"]
        core.__dict__["_mnemoscope_parameters"] = before, [(value, value._version) for value, _ in copies]
    return model


def packed(value: Any, view: Model) -> bytes:
    """Anything that computes with a model, as bytes without the model and its parts.

    Raises ClusterError: it cannot be sent, such as a function that holds an open file.
    """
    known = {id(part): name for name, part in _parts(view).items()}
    return _dumped(value, lambda one: known.get(id(one)), "what is to be computed")


def unpacked(content: bytes, view: Model) -> Any:
    """The same again, computing with another model of the same kind."""
    parts = _parts(view)
    return _loaded(content, parts.__getitem__)


def packed_job(job: Callable[[], Any], what: str) -> bytes:
    """A function without arguments as bytes, with all that it holds. Raises ClusterError: it cannot be sent."""
    return _dumped(job, lambda one: None, what)


def unpacked_job(content: bytes) -> Callable[[], Any]:
    """The function again, in the worker that this process's own driver sent it to; nothing is read from a file."""
    job: Callable[[], Any] = _loaded(content, lambda name: None)
    return job


def _parts(view: Model) -> dict[Any, Any]:
    """The objects of a model that others may hold, by name."""
    core: Any = view.hf
    parts: dict[Any, Any] = {("view", ""): view, ("given", ""): view.given, ("core", ""): core}
    tokenizer = getattr(view.given, "tokenizer", None)
    if tokenizer is not None:
        parts["tokenizer", ""] = tokenizer
    if view.walked is not None:
        parts["walk", ""] = view.walked
    for name, module in core.named_modules():
        parts["module", name] = module
        for own, tensor in [*module._parameters.items(), *module._buffers.items()]:
            if tensor is not None:
                parts["tensor", f"{name}.{own}"] = tensor
    return parts


def _dumped(value: Any, named: Callable[[Any], Any], what: str) -> bytes:
    cloudpickle: Any = importlib.import_module("ray.cloudpickle")

    class Pickler(cloudpickle.Pickler):  # type: ignore[name-defined,misc]
        def persistent_id(self, one: Any) -> Any:
            return named(one)

        def reducer_override(self, one: Any) -> Any:
            if isinstance(one, nn.Module):
                return _module(one)
            if isinstance(one, Tensor) and (hasattr(one, "quant_state") or hasattr(one, "SCB")) and is_codes(one):
                # pickled as a parameter it would lose its class, and with it scales and formats
                return _codes, (type(one), one.data.as_subclass(Tensor), dict(one.__dict__))
            if type(one) is Tensor and one.dtype in _BYTES and one.is_contiguous():
                return Tensor.view, (one.view(torch.uint8), one.dtype)
            if type(one) is Tensor and one.layout is torch.strided and not one.requires_grad:
                whole = one.untyped_storage().nbytes()
                if whole > _LARGE and whole > 2 * one.nbytes and one.is_contiguous():
                    return one.clone().__reduce_ex__(4)
            return super().reducer_override(one)

    buffer = io.BytesIO()
    try:
        Pickler(buffer, protocol=5).dump(value)
    except ClusterError:
        raise
    except Exception as error:
        raise ClusterError(
            f"backend='ray': {what} cannot be sent to workers ({type(error).__name__}: {error}); leave out what holds"
            " open files, locks or connections, or use backend='local'."
        ) from error
    return buffer.getvalue()


def _codes(kind: Any, data: Tensor, state: dict[str, Any]) -> Tensor:
    """A parameter of bitsandbytes again, from its codes and what it keeps beside them."""
    made: Tensor = Tensor._make_subclass(kind, data)
    made.__dict__.update(state)
    return made


def _module(one: nn.Module) -> Any:
    """How pickle takes a module apart, without what the package remembers on it."""
    reduced: Any = one.__reduce_ex__(4)
    state = reduced[2] if len(reduced) > 2 else None
    if not isinstance(state, dict):
        return reduced
    own = {name: v for name, v in state.items() if not name.startswith(_REMEMBERED) or name in _CONTENT}
    return (*reduced[:2], own, *reduced[3:])


def _loaded(content: bytes, found: Callable[[Any], Any]) -> Any:
    class Unpickler(pickle.Unpickler):
        def persistent_load(self, name: Any) -> Any:
            return found(name)

    return Unpickler(io.BytesIO(content)).load()
