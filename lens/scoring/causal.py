"""The object that gives a causal language model's own numbers: out of a bridge or an adapter's wrapper where that
changes nothing, and refused where the rows it gives are no log-likelihoods.

A bridge is slow, so the plain model of its weights runs instead: a second object that shares the weights, takes over
the buffers and the plain attributes (a router's bias, whether RWKV has divided its weights yet), and must agree with
the bridge on a probe. No forward may write into the weights.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from lens.engine.change_registry import share
from lens.engine.changes import edits_in_force
from lens.engine.memory import out_of_memory
from lens.models.placement import device_of, dispatched, require_readable
from lens.models.quantised_layers import FLOATS, methods, stored
from lens.models.state import plain_name, replaced_methods, user_hooks

from ..arguments import Fitting, HFModel, ModelLike, NonNegative, Whole, door
from ..errors import Error

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: Tokens of the probe, and how many of its last ones are changed to see whether earlier places look at them.
PROBE, CHANGED = 9, 4
#: How far two computations of the same logits may be apart, as a share of the largest.
CLOSE = {torch.float32: 1e-4, torch.float64: 1e-4}
_CLOSE_HALF = 5e-2
_PLAIN = (bool, int, float, str, type(None))


class ScoringError(Error, ValueError):
    """A model, row or option that cannot be scored; the message names it and the next step."""


class _Causal(Fitting):
    """What gives logits for token ids, whether or not an earlier place changes with later tokens."""

    expected = "a Hugging Face causal language model"

    def fits(self, value: Any) -> bool:
        # a model whose embeddings do not begin it says so by an error
        model: Any = value
        return isinstance(value, nn.Module) and hasattr(value, "config") and model.get_input_embeddings() is not None


Causal = Annotated[Any, _Causal()]
_EXPECTED = "a Hugging Face causal language model, a model from lens.load, or its name or folder"
Scored = Annotated[Any, ModelLike(_EXPECTED)]


@door(ScoringError)
def core(model: Scored) -> PreTrainedModel:
    """The Hugging Face causal model in a bridge, in a PEFT wrapper, or itself. Raises ScoringError for anything else, a
    model in training mode or an edited one.
    """
    hf: PreTrainedModel = inner(model)
    if not isinstance(hf, nn.Module) or not hasattr(hf, "config") or not hasattr(hf, "get_output_embeddings"):
        raise ScoringError(f"model is a {type(model).__name__}; expected {_EXPECTED}.")
    if getattr(hf.config, "is_encoder_decoder", False):
        raise ScoringError(
            f"model is a {type(hf).__name__}, an encoder with a decoder: what it gives are no "
            "log-likelihoods of its input's tokens. Expected a causal language model."
        )
    require_readable(hf)
    if hf.training:
        raise ScoringError("model is in training mode, where dropout changes every run; call model.eval() first.")
    if edits_in_force(hf):
        raise ScoringError(
            "model: edits are in force on it (lens.edited), which its weight hash does not tell; leave "
            "the with block first."
        )
    if hooked := user_hooks(model) or (user_hooks(hf) if hf is not model else []):
        raise ScoringError(
            f"model: {len({h.module for h in hooked})} of its modules have hooks (first: {hooked[0]}), "
            "which its weight hash does not tell; remove them first "
            "(reset_hooks() on a bridge)."
        )
    return hf


@door(ScoringError)
def inner(model: HFModel) -> Any:
    """What is inside a bridge and a PEFT wrapper, unchecked."""
    hf: Any = getattr(model, "original_model", model)
    return hf.get_base_model() if hasattr(hf, "get_base_model") else hf


@door(ScoringError)
def wrapped(model: HFModel) -> Any | None:
    """The outermost thing around the Hugging Face model that may compute something else than it: a PEFT model,
    somebody's own wrapper; None where there is none but a bridge.
    """
    if isinstance(model, nn.Module) and not type(model).__module__.startswith("transformer_lens."):
        return model if inner(model) is not model else None
    around = getattr(model, "original_model", None)
    return around if around is not None and inner(around) is not around else None


@door(ScoringError)
@torch.no_grad()
def plain(model: Scored) -> PreTrainedModel:
    """The plain Hugging Face model of a bridge's weights and buffers (shared, not copied), with the attention that
    transformers chooses; any other model as it is.

    A bridge whose weights or methods were replaced since it was made runs as it is.

    Raises: ScoringError: as `core`; a wrapper (prompt tuning) whose numbers are not those of the model inside; a model
    whose forward writes into its weights; a bridge that does not compute what the plain model of its weights does.
    """
    from lens.models.hash import plain_parameters

    hf = core(model)
    if (outer := wrapped(model)) is not None:
        require_same(outer, hf)
    # of a model that accelerate has spread no second one is made on its weights: it would take them to one device; what
    # applies quantised weights are the model's own layers
    if hf is model or "_mnemoscope_parameters" not in hf.__dict__ or dispatched(hf) or methods(hf):
        return hf
    state = plain_parameters(hf)
    if state is None or replaced_methods(model):
        return hf
    kind, advice = type(hf).__name__, "give the plain Hugging Face model itself instead of a bridge around it."
    try:
        with unwritten(hf):
            theirs = hf(probe(hf), use_cache=False).logits.float()
    except (RuntimeError, AttributeError, TypeError, KeyError) as error:
        if out_of_memory(error):
            raise
        raise ScoringError(
            f"model: the bridge around this {kind} cannot run it ({type(error).__name__}: {str(error)[:200]}); {advice}"
        ) from error
    try:
        second = _second(hf, dict(state))
        if second is None:
            return hf
        with unwritten(second):
            ours = second(probe(hf), use_cache=False).logits.float()
    except (RuntimeError, AttributeError, TypeError, KeyError):
        return hf
    if not same(theirs, ours, CLOSE.get(hf.dtype, _CLOSE_HALF)):
        raise ScoringError(
            f"model: the bridge around this {kind} gives other logits than the plain model of the same "
            f"weights (by up to {float((theirs - ours).abs().max()):.2g} on a "
            f"probe), so that it is not clear whose log-likelihoods are meant; {advice}"
        )
    share(second, hf)
    return second


def _second(hf: Any, state: dict[str, Tensor]) -> PreTrainedModel | None:
    """A plain model with these parameters and with the buffers and plain attributes of the one in the bridge; None
    where it would lack something.
    """
    from transformers.initialization import no_init_weights

    config = copy.deepcopy(hf.config)
    config._attn_implementation = None
    with no_init_weights():
        model = type(hf)(config).eval().requires_grad_(False)
    keys = model.load_state_dict(state, strict=False, assign=True)
    model.tie_weights()
    model.to(hf.device)
    mine = dict(model.named_buffers())
    tied = set(getattr(model, "_tied_weights_keys", None) or ())
    if set(keys.missing_keys) - set(mine) - tied or keys.unexpected_keys:
        return None
    theirs: dict[str, list[nn.Module]] = {}
    for name, module in hf.named_modules(remove_duplicate=False):
        theirs.setdefault(plain_name(name), []).append(module)
    for name, module in model.named_modules():
        # the bridge's own wrapper has the same name and another type
        if (other := next((m for m in theirs.get(name, ()) if type(m) is type(module)), None)) is not None:
            _take_over(module, other)
    buffers = {plain_name(name): value for name, value in hf.named_buffers()}
    for name, value in buffers.items():
        # a bridge gives its head a bias of zeros
        if name not in mine and not name.endswith("inv_freq") and bool(value.any()):
            return None
    fixed = {name: value for name, value in mine.items() if not name.endswith("inv_freq")}
    return (
        None
        if any(name not in buffers or buffers[name].shape != value.shape for name, value in fixed.items())
        else model
    )


def _take_over(module: nn.Module, other: nn.Module) -> None:
    """The buffers of another module of the same type, and its plain attributes where they differ.

    What is in its files is shared; what a forward may write into (rotary frequencies) is copied.
    """
    for name, value in other._buffers.items():
        own = module._buffers.get(name)
        if value is not None and own is not None and own.shape == value.shape:
            module._buffers[name] = value.clone() if name in other._non_persistent_buffers_set else value
    for name, value in other.__dict__.items():
        if name.startswith("_") or name == "training" or name not in module.__dict__:
            continue
        if isinstance(value, Tensor) or (isinstance(value, _PLAIN) and type(module.__dict__[name]) in _PLAIN):
            module.__dict__[name] = value


@door(ScoringError)
def cast(model: Causal, dtype: torch.dtype | None, device: torch.device | None) -> nn.Module:
    """The model itself where it fits, else a copy with its parameters in `dtype` on `device`; buffers such as rotary
    frequencies keep their precision.
    """
    if dtype in (None, model.dtype) and device in (None, model.device):
        return model
    if dispatched(model):
        raise ScoringError(
            f"dtype={dtype}, device={device}: the model is spread over devices or offloaded by accelerate, so that it"
            " is scored as it is; load it in this dtype, or on this device, instead."
        )
    if dtype not in (None, model.dtype) and (quantised := methods(model)):
        raise ScoringError(
            f"dtype={str(dtype).removeprefix('torch.')!r}: the weights of this {type(model).__name__} are quantised"
            f" ({', '.join(quantised)}) and cannot be cast; leave dtype out, or {FLOATS}."
        )
    copied = copy.deepcopy(model)
    if dtype is not None:
        for p in copied.parameters():
            p.data = p.data.to(dtype)
    return copied if device is None else copied.to(device)


# -- probes ---------------------------------------------------------------------------------------------------------


@door(ScoringError)
def probe(model: Causal, change: Annotated[int, Whole(0, PROBE)] = 0) -> Tensor:
    """Random token ids [1, 9], always the same; `change`: how many of the last are others."""
    size = model.get_input_embeddings().weight.shape[0]
    ids = torch.randint(0, size, (1, PROBE), generator=torch.Generator().manual_seed(0))
    if change:
        ids[0, -change:] = (ids[0, -change:] + 1) % size
    return ids.to(device_of(model))


@door(ScoringError)
@torch.no_grad()
def settle(model: HFModel) -> nn.Module:
    """A model just loaded after one forward, which some types use to write into their weights (RWKV)."""
    hf = inner(model)
    hf(probe(hf), use_cache=False)
    return model


@door(ScoringError)
def same(a: Float[Tensor, "..."], b: Float[Tensor, "..."], close: NonNegative) -> bool:
    """Whether two tensors are equal up to a share of the largest finite number; a logit may be -inf in both."""
    if a.shape != b.shape:
        return False
    b = b.to(a.device)
    most = b[b.isfinite()].abs().max() if bool(b.isfinite().any()) else 0.0
    return bool(((a == b) | ((a - b).abs() <= close * most)).all())


@door(ScoringError)
@torch.no_grad()
def require_same(outer: HFModel, hf: Causal) -> None:
    """Refuse a wrapper that computes other logits than the model inside it. Raises ScoringError."""
    what = f"model is a {type(outer).__name__} around a {type(hf).__name__}"
    advice = (
        "Merge it into the weights where its kind allows that (merge_and_unload), "
        "or score the model inside it by itself (get_base_model())."
    )
    kinds = [c for c in getattr(outer, "peft_config", {}).values()] if hasattr(outer, "peft_config") else []
    if any(getattr(c, "alora_invocation_tokens", None) for c in kinds):
        raise ScoringError(
            f"{what} whose adapter begins to act at invocation tokens, which only the wrapper looks "
            f"for: a row of the model inside would be another model's. {advice}"
        )
    ids = probe(hf)
    try:
        output = outer(input_ids=ids, use_cache=False)
        output = getattr(output, "logits", output)
        inside = hf(ids, use_cache=False).logits
        equal = isinstance(output, Tensor) and same(output.float(), inside.float(), CLOSE.get(hf.dtype, _CLOSE_HALF))
        alike = isinstance(output, Tensor) and output.shape == inside.shape
        seen = f"{'other logits' if alike else 'logits of another shape'} than the model inside it"
    except (RuntimeError, AttributeError, TypeError, ValueError, IndexError) as error:
        equal, seen = False, f"{type(error).__name__} on token ids alone"
    if not equal:
        tuned = any(getattr(c, "is_prompt_learning", False) for c in kinds)
        virtual = " (virtual tokens before the text live in the wrapper)" if tuned else ""
        raise ScoringError(f"{what} and gives {seen}{virtual}; its rows would be scored as the other model's. {advice}")


@door(ScoringError)
@contextmanager
def unwritten(model: nn.Module) -> Iterator[None]:
    """Forwards in the block must not write into the model's parameters or saved buffers: a write is stopped before it
    happens. Raises ScoringError.
    """
    saved = [*stored(model, list(model.named_parameters())), *_saved_buffers(model)]
    with _Guard({t.untyped_storage().data_ptr(): name for name, t in saved if t.device.type != "meta"}):
        yield


def _saved_buffers(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, module in model.named_modules():
        for key, value in module._buffers.items():
            if value is not None and key not in module._non_persistent_buffers_set:
                yield f"{name}.{key}", value


class _Guard(TorchDispatchMode):
    """Stops an operation that would write into one of these storages."""

    def __init__(self, own: dict[int, str]):
        super().__init__()
        self.own = own

    def __torch_dispatch__(self, func: Any, types: Iterable[type], args: tuple = (), kwargs: dict | None = None) -> Any:
        schema = func._schema
        if schema.is_mutable:
            for argument, value in zip(schema.arguments, args):
                written = argument.alias_info is not None and argument.alias_info.is_write and isinstance(value, Tensor)
                if written and (name := self.own.get(value.untyped_storage().data_ptr())) is not None:
                    raise ScoringError(
                        f"model: its forward writes into its own weights ({name}), so that it is another model "
                        "afterwards; "
                        "run it once yourself (model(ids)) and call again."
                    )
        return func(*args, **(kwargs or {}))
