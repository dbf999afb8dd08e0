"""The content of what weights do not say of a model: its configuration, buffers, plain attributes, classes, hooks and
adapters' state.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from .foreign import Foreign
from .identity import MODULE_INTERNAL, Unidentified, digest, installed
from .quantised_layers import SET_BY_FORWARD, form_of, method_of
from .structure import MARKS, NOT_COMPUTED, PASSING, SCALARS, WRAPPERS, moves

_ATTENTIONS = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention", None)


@dataclass(frozen=True)
class Identity:
    """What weights do not say of a model, as content: ``digest`` (None where something cannot be told), why not, what
    is unusual in words, and by what method how many layers are quantised.
    """

    digest: str | None
    unidentified: str | None
    unusual: tuple[str, ...]
    quantised: dict[str, int] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """As it stands in a result's record, under ``model``."""
        return {
            "state": self.digest,
            **({"unidentified": self.unidentified} if self.unidentified else {}),
            **({"unusual": list(self.unusual)} if self.unusual else {}),
            **({"quantised": self.quantised} if self.quantised else {}),
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
        if type(module).__module__.startswith(WRAPPERS):
            inner = module._modules.get("_original_component")
            stack += [(name, inner)] if inner is not None else []
            continue
        yield name, module
        stack += [
            (f"{name}.{part}" if name else part, child)
            for part, child in reversed(module._modules.items())
            if child is not None
        ]


def content_of(hf: nn.Module, foreign: Sequence[Foreign]) -> Identity:
    """The identity of a model on which a person's own hooks and methods are these."""
    parts: dict[str, str] = {}
    unidentified: list[str] = []

    def put(name: str, value: Any, what: str) -> None:
        try:
            parts[name] = digest(value)
        except Unidentified as error:
            unidentified.append(f"{what} holds {error}")

    configs: dict[int, Any] = {}
    quantised: dict[str, int] = {}
    for name, module in plain_modules(hf):
        if (method := method_of(module)) is not None:
            quantised[method] = quantised.get(method, 0) + 1
            parts[f"quantised {name}"] = form_of(module)
        for value in module.__dict__.values():
            if hasattr(value, "to_diff_dict"):
                configs[id(value)] = value
        if not installed(type(module).__module__):
            put(f"class {name}", type(module), f"class {type(module).__name__} of {name}")
        else:
            parts[f"class {name}"] = type(module).__qualname__
        attributes = _attributes(module)
        if attributes:
            put(f"attributes {name}", attributes, f"an attribute of {name}")
        for buffer, value in _contents(module).items():
            parts[f"buffer {name}.{buffer}"] = _buffer_digest(value)
    for number, config in enumerate(configs.values()):
        put(f"config {number}", _config(config), "the configuration")
    for number, item in enumerate(foreign):
        put(f"foreign {number} {item.module} {item.what}", item.function, str(item))
    unusual = [str(item) for item in foreign] + _adapters(hf)
    whole = hashlib.sha256(repr(sorted(parts.items())).encode()).hexdigest()[:32]
    return Identity(
        None if unidentified else whole, unidentified[0] if unidentified else None, tuple(unusual), quantised
    )


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


def _attributes(module: nn.Module) -> dict[str, Any]:
    """The plain attributes of a module that say what it computes."""
    library = installed(type(module).__module__)
    whole_model = (hasattr(module, "config") and hasattr(module, "generation_config")) or hasattr(
        module, "_no_split_modules"
    )
    attributes = {}
    for name, value in module.__dict__.items():
        if (
            name in MODULE_INTERNAL
            or name in _LOADING
            or name in PASSING
            or name in SET_BY_FORWARD
            or name.startswith(MARKS)
            or isinstance(value, nn.Module)
            or hasattr(value, "to_diff_dict")
        ):
            continue
        if whole_model and (name.startswith("_") or type(value) not in (int, float, bool)):
            continue
        if library and (value is None or isinstance(value, Tensor) or not _frozen_plain(value)):
            continue
        if name != "training" and not (name == "forward" and callable(value)):
            attributes[name] = value
    return attributes


def _frozen_plain(value: Any, depth: int = 3) -> bool:
    """Whether an attribute of a library's module is plain data (its objects, such as a cache or a handle, say nothing
    of what it computes).
    """
    if type(value) in SCALARS:
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
    if moves(module):
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
    whole = {k: v for k, v in config.to_dict().items() if k not in NOT_COMPUTED and _frozen_plain(v)}
    attention = getattr(config, "_attn_implementation", None)
    if attention not in _ATTENTIONS:
        from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

        whole["attention"] = (attention, ALL_ATTENTION_FUNCTIONS.get(attention, None))
    return whole


def _adapters(hf: nn.Module) -> list[str]:
    """Adapters in words: their names, on how many layers, with which scales."""
    scales_of: dict[str, list[Any]] = {}
    module: Any
    for _, module in plain_modules(hf):
        active = getattr(module, "active_adapters", None)
        if isinstance(getattr(module, "scaling", None), dict) and isinstance(active, list):
            for name in active:
                scales_of.setdefault(
                    "adapter"
                    f" {name!r}{' (switched off)' if getattr(module, 'disable_adapters', False) is True else ''}",
                    [],
                ).append(module.scaling.get(name))
    return [
        f"{name} on {len(scales)} layers, scale"
        f" {', '.join(sorted({f'{s:g}' for s in scales if isinstance(s, (int, float))}))}"
        for name, scales in scales_of.items()
    ]
