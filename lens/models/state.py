"""The model as it is now: what is in force on it, and what it would take to be the same model.

Three things are told apart. ``State.of`` compares, before each call, the model's *structure* with what it was (about 5
ms for SmolLM2): which modules there are, their plain attributes, buffers, hooks and replaced methods, the
configuration; what was checked on another structure is checked again. ``State.foreign`` is what a path that writes
blocks out, or runs layers on a part of the text, cannot follow: a person's own hooks and replaced methods; such a model
runs whole. ``identity`` is the content of all this, which weights do not say, and goes into records and into the
identity of a store.
"""

from __future__ import annotations

import hashlib
import sys
import types
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from .foreign import Foreign, foreign, hooks_on, modules_of, of_library, plain_name, replaced_methods, user_hooks
from .identity import MODULE_INTERNAL, Unidentified, digest, installed
from .tree import Tree

__all__ = [
    "Foreign",
    "Identity",
    "State",
    "foreign",
    "identity",
    "modules_of",
    "plain_modules",
    "plain_name",
    "replaced_methods",
    "structure",
    "user_hooks",
]

_REMEMBERED = "_mnemoscope_state"
_WRAPPERS = "transformer_lens"
_SCALARS = frozenset((int, float, complex, str, bytes, bool, type(None), torch.dtype, torch.device, torch.Size))
#: Rotary embeddings that rewrite their own frequencies as texts come by.
_MOVING = ("dynamic", "longrope")
#: What a configuration says of names, files and training, not of what the model computes.
_UNTOLD = frozenset(
    (
        "_name_or_path",
        "name_or_path",
        "architectures",
        "transformers_version",
        "torch_dtype",
        "dtype",
        "id2label",
        "label2id",
        "_commit_hash",
        "task_specific_params",
        "problem_type",
        "pad_token_id",
        "bos_token_id",
        "eos_token_id",
        "use_cache",
        "initializer_range",
        "output_attentions",
        "output_hidden_states",
        "return_dict",
        "_attn_implementation_internal",
        "_experts_implementation_internal",
        "_output_attentions",
        "tokenizer_class",
        "chunk_size_feed_forward",
        "auto_map",
        "transformers_weights",
    )
)
#: Attributes that transformers and this package keep on a model for themselves.
_MARKS = ("_mnemoscope", "_output_capturing")
#: Attributes that a model's own forwards move (states of recurrent layers and of rotary embeddings that follow the
#: text).
_PASSING = frozenset(
    ("max_seq_len_cached", "layers_are_rescaled", "conv1d_state", "recurrent_states", "_is_hf_initialized")
)
#: How transformers spreads, loads and saves a model.
_PLACING = frozenset(
    (
        "_tp_plan",
        "_ep_plan",
        "_pp_plan",
        "_fsdp_plan",
        "_no_split_modules",
        "_keep_in_fp32_modules",
        "_keep_in_fp32_modules_strict",
        "_skip_keys_device_placement",
        "_keys_to_ignore_on_load_missing",
        "_keys_to_ignore_on_load_unexpected",
        "_keys_to_ignore_on_save",
        "all_tied_weights_keys",
    )
)
#: What of a module's attributes a comparison passes over.
_PASSED = MODULE_INTERNAL | _PASSING | _PLACING
_ATTENTIONS = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention", None)


# -- structure
# ------------------------------------------------------------------------------------------------------------


def _frozen(value: Any, depth: int = 3) -> Any:
    """A plain attribute as something that stays as it is and can be compared; any other object is itself."""
    kind = type(value)
    if kind in _SCALARS:
        return value
    if depth and isinstance(value, (list, tuple)):
        return kind.__name__, tuple(_frozen(v, depth - 1) for v in value)
    if depth and isinstance(value, dict):
        return kind.__name__, tuple(
            (k if type(k) in _SCALARS else id(k), _frozen(v, depth - 1)) for k, v in value.items()
        )
    if depth and isinstance(value, (set, frozenset)):
        return frozenset(v for v in value if type(v) in _SCALARS)
    if isinstance(value, Tensor):
        return _tensor_mark(value)
    equal: Any = kind.__eq__
    return value if equal is object.__eq__ else id(value)


def _moving(module: nn.Module) -> bool:
    return getattr(module, "rope_type", None) in _MOVING


def _tensor_mark(value: Tensor) -> tuple[int, int]:
    return (
        value.data_ptr() if value.device.type != "meta" and value.layout is torch.strided else id(value)
    ), value._version


def structure(hf: nn.Module) -> tuple[list[Any], int]:
    """What a check of the model depends on, weights' values aside, and how often weights were written to.

    Two lists are equal where nothing changed; they hold the modules themselves.
    """
    writes = 0
    out: list[Any] = [
        tuple(nn.modules.module._global_forward_hooks.values()),
        tuple(nn.modules.module._global_forward_pre_hooks.values()),
    ]
    tree = Tree.of(hf)
    modules, kept = tree.modules, tree.attributes
    types_ = list(map(type, modules))
    wrappers: dict[Any, bool] = {kind: kind.__module__.startswith(_WRAPPERS) for kind in dict.fromkeys(types_)}
    out += modules
    add, configs = out.append, {}
    for i, (module, wrapper) in enumerate(zip(modules, map(wrappers.__getitem__, types_))):
        own = module.__dict__
        if own["_forward_hooks"] or own["_forward_pre_hooks"]:
            out.extend(hooks_on(module))
        if own["_parameters"]:
            for p in own["_parameters"].values():
                if p is not None:
                    add((p.dtype, p.device))
                    writes += p._version
        moving = own.get("rope_type") in _MOVING
        if own["_buffers"] and not moving:
            out.extend(_tensor_mark(b) for b in own["_buffers"].values() if b is not None)
        if wrapper:
            continue
        # most attributes are torch's own: those to look at are chosen once, as long as there are no others
        names, held = tuple(own), kept[i]
        if held is None or held[0] != names:
            held = kept[i] = names, [name for name in names if name not in _PASSED and not name.startswith(_MARKS)]
        for name in held[1]:
            value = own[name]
            if type(value) in _SCALARS:
                add(value)
            elif isinstance(value, nn.Module) or (moving and isinstance(value, Tensor)):
                continue
            elif hasattr(value, "to_diff_dict"):
                configs[id(value)] = value
            elif not (name == "forward" and of_library(value)):
                add((name, _frozen(value)))
    add(types_)
    out.extend((kind, kind.forward) for kind in wrappers)
    out.extend(tuple((k, _frozen(v)) for k, v in c.__dict__.items() if k not in _UNTOLD) for c in configs.values())
    for name in {kind.__module__ for kind in wrappers if kind.__module__.startswith("transformers.models.")}:
        out.append(tuple(f for f in vars(sys.modules[name]).values() if type(f) is types.FunctionType))
    return out, writes


@dataclass
class State:
    """A model's structure as it was last compared; whoever checked something on it keeps the object and compares with
    ``is``.

    Attributes:
        foreign: the person's hooks and replaced methods.
        verified: texts on which a path gave the model's own logits, as (length, digest), forgotten where a weight was
            written to; with the weights' hash as a third part they are kept.
        told: the content of it all, once asked for. writes: how often weights had been written to.
    """

    mark: list[Any]
    foreign: tuple[Foreign, ...]
    verified: "OrderedDict[tuple[Any, ...], None]" = field(default_factory=OrderedDict)
    told: "Identity | None" = None
    writes: int = -1

    @classmethod
    def of(cls, model: Any) -> "State":
        """The state of a model now: the same object as before where its structure is as it was."""
        hf = getattr(model, "original_model", model)
        mark, writes = structure(hf)
        found: State | None = hf.__dict__.get(_REMEMBERED)
        if found is None or found.mark != mark:
            found = cls(mark, tuple(foreign(model)))
            hf.__dict__[_REMEMBERED] = found
        if writes != found.writes:
            found.writes = writes
            # what was verified on weights of a known content is still so when they hold it again
            for key in [k for k in found.verified if len(k) < 3]:
                del found.verified[key]
        return found

    def remember(self, key: tuple[Any, ...]) -> None:
        """Notes a text as verified; the oldest of 4096 is forgotten."""
        self.verified[key] = None
        if len(self.verified) > 4096:
            self.verified.popitem(last=False)

    def refusal(self) -> str | None:
        """Why only whole forwards of the model's own serve it, or None."""
        if not self.foreign:
            return None
        first, more = self.foreign[0], len(self.foreign) - 1
        return (
            f"{first}{f' and {more} more' if more else ''} would act on whole forwards of the model only; take it off, "
            "or use lens.patch(method='exact'), which then runs whole forwards."
        )


# -- identity
# -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Identity:
    """What weights do not say of a model, as content: ``digest`` (None where something cannot be told), why not, and
    what is unusual in words.
    """

    digest: str | None
    unidentified: str | None
    unusual: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """As it stands in a result's record, under ``model``."""
        return {
            "state": self.digest,
            **({"unidentified": self.unidentified} if self.unidentified else {}),
            **({"unusual": list(self.unusual)} if self.unusual else {}),
        }


def plain_modules(hf: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The modules of the Hugging Face model once each, those of a bridge's own left out, by the names of the plain
    model.
    """
    seen: set[int] = set()
    stack: list[tuple[str, nn.Module]] = [("", hf)]
    while stack:
        name, module = stack.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        if type(module).__module__.startswith(_WRAPPERS):
            inner = module._modules.get("_original_component")
            stack += [(name, inner)] if inner is not None else []
            continue
        yield name, module
        stack += [
            (f"{name}.{part}" if name else part, child)
            for part, child in reversed(module._modules.items())
            if child is not None
        ]


def identity(model: Any, state: State | None = None) -> Identity:
    """The content of what is in force on a model beside its parameters: configuration, buffers, plain attributes,
    classes, hooks, adapters' state.

    A bridge and the plain model of the same weights have the same. Device, dtype and the attention kernel are left out.
    Takes some 20 ms for SmolLM2 once a structure, and a second a gigabyte of large buffers; with hooks of the person's
    it is read anew at each call.

    ``state``: what ``State.of`` has just given; None: compared now.
    """
    hf, state = getattr(model, "original_model", model), state or State.of(model)
    if state.told is None or state.foreign:
        state.told = _read(hf, state)
    return state.told


def _read(hf: nn.Module, state: State) -> Identity:
    parts: dict[str, str] = {}
    unidentified: list[str] = []

    def put(name: str, value: Any, what: str) -> None:
        try:
            parts[name] = digest(value)
        except Unidentified as error:
            unidentified.append(f"{what} holds {error}")

    configs: dict[int, Any] = {}
    for name, module in plain_modules(hf):
        for value in module.__dict__.values():
            if hasattr(value, "to_diff_dict"):
                configs[id(value)] = value
        if not installed(type(module).__module__):
            put(f"class {name}", type(module), f"class {type(module).__name__} of {name}")
        else:
            parts[f"class {name}"] = type(module).__qualname__
        told = _told(module)
        if told:
            put(f"attributes {name}", told, f"an attribute of {name}")
        for buffer, value in _contents(module).items():
            parts[f"buffer {name}.{buffer}"] = _buffer_digest(value)
    for number, config in enumerate(configs.values()):
        put(f"config {number}", _config(config), "the configuration")
    for number, item in enumerate(state.foreign):
        put(f"foreign {number} {item.module} {item.what}", item.function, str(item))
    unusual = [str(item) for item in state.foreign] + _adapters(hf)
    whole = hashlib.sha256(repr(sorted(parts.items())).encode()).hexdigest()[:32]
    return Identity(None if unidentified else whole, unidentified[0] if unidentified else None, tuple(unusual))


#: Attributes of transformers' and peft's modules that say how a model is loaded, split or trained.
_LOADING = frozenset(
    (
        "_is_hf_initialized",
        "_hf_hook",
        "_old_forward",
        "gradient_checkpointing",
        "loss_type",
        "name_or_path",
        "_forward_hooks",
        "kernel_config",
        "all_tied_weights_keys",
        "_hf_peft_config_loaded",
        "hf_device_map",
        "is_gradient_checkpointing",
        "_gradient_checkpointing_func",
    )
)


def _told(module: nn.Module) -> dict[str, Any]:
    """The plain attributes of a module that say what it computes."""
    library = installed(type(module).__module__)
    whole_model = (hasattr(module, "config") and hasattr(module, "generation_config")) or hasattr(
        module, "_no_split_modules"
    )
    told = {}
    for name, value in module.__dict__.items():
        if (
            name in MODULE_INTERNAL
            or name in _LOADING
            or name in _PASSING
            or name.startswith(_MARKS)
            or isinstance(value, nn.Module)
            or hasattr(value, "to_diff_dict")
        ):
            continue
        if whole_model and (name.startswith("_") or type(value) not in (int, float, bool)):
            continue
        if library and (value is None or isinstance(value, Tensor) or not _frozen_plain(value)):
            continue
        if name != "training" and not (name == "forward" and callable(value)):
            told[name] = value
    return told


def _frozen_plain(value: Any, depth: int = 3) -> bool:
    """Whether an attribute of a library's module is plain data (its objects, such as a cache or a handle, say nothing
    of what it computes).
    """
    if type(value) in _SCALARS:
        return True
    if depth and isinstance(value, (list, tuple, set, frozenset)):
        return all(_frozen_plain(v, depth - 1) for v in value)
    return bool(depth) and isinstance(value, dict) and all(_frozen_plain(v, depth - 1) for v in value.values())


def _contents(module: nn.Module) -> dict[str, Tensor]:
    """The buffers that tell something: no bias of zeros, as bridges add one; rotary frequencies only where they are not
    those of the configuration.
    """
    buffers = {
        n: b
        for n, b in module._buffers.items()
        if b is not None and not (n == "bias" and b.is_floating_point() and not b.any())
    }
    own = buffers.get("inv_freq")
    if _moving(module):
        return {n: b for n, b in buffers.items() if not n.endswith("inv_freq")}
    first = buffers.get("original_inv_freq", getattr(module, "original_inv_freq", None))
    if (
        own is not None
        and isinstance(first, Tensor)
        and own.shape == first.shape
        and own.device == first.device
        and torch.equal(own, first)
    ):
        return {n: b for n, b in buffers.items() if n not in ("inv_freq", "original_inv_freq")}
    return buffers


_digests: "OrderedDict[tuple[Any, ...], str]" = OrderedDict()


def _buffer_digest(value: Tensor) -> str:
    """The digest of a buffer; of large ones remembered by place and version."""
    if value.numel() < 4096 or value.device.type == "meta":
        return digest(value) if value.device.type != "meta" else f"meta {tuple(value.shape)}"
    key = (
        value.data_ptr(),
        value._version,
        tuple(value.shape),
        value.dtype,
        float(value.reshape(-1)[:: max(1, value.numel() // 64)].double().sum()),
    )
    if key not in _digests:
        _digests[key] = digest(value)
        if len(_digests) > 2048:
            _digests.popitem(last=False)
    return _digests[key]


def _config(config: Any) -> dict[str, Any]:
    """The entries of a configuration that matter to what the model computes."""
    whole = {k: v for k, v in config.to_dict().items() if k not in _UNTOLD and _frozen_plain(v)}
    attention = getattr(config, "_attn_implementation", None)
    if attention not in _ATTENTIONS:
        from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

        whole["attention"] = (attention, ALL_ATTENTION_FUNCTIONS.get(attention, None))
    return whole


def _adapters(hf: nn.Module) -> list[str]:
    """Adapters in words: their names, on how many layers, with which scales."""
    found: dict[str, list[Any]] = {}
    module: Any
    for _, module in plain_modules(hf):
        active = getattr(module, "active_adapters", None)
        if isinstance(getattr(module, "scaling", None), dict) and isinstance(active, list):
            for name in active:
                found.setdefault(
                    "adapter"
                    f" {name!r}{' (switched off)' if getattr(module, 'disable_adapters', False) is True else ''}",
                    [],
                ).append(module.scaling.get(name))
    return [
        f"{name} on {len(scales)} layers, scale"
        f" {', '.join(sorted({f'{s:g}' for s in scales if isinstance(s, (int, float))}))}"
        for name, scales in found.items()
    ]
