"""The structure of a model: what a check of it depends on, weights' values aside."""

from __future__ import annotations

import sys
import types
from typing import Any

import torch
from torch import Tensor, nn

from .foreign import hooks_on, of_library
from .identity import MODULE_INTERNAL
from .tree import Tree

WRAPPERS = "transformer_lens"
SCALARS = frozenset((int, float, complex, str, bytes, bool, type(None), torch.dtype, torch.device, torch.Size))
#: Rotary embeddings that rewrite their own frequencies as texts come by.
_MOVING = ("dynamic", "longrope")
#: What a configuration says of names, files and training, not of what the model computes.
NOT_COMPUTED = frozenset(
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
MARKS = ("_mnemoscope", "_output_capturing")
#: Attributes that a model's own forwards move (states of recurrent layers and of rotary embeddings that follow the
#: text).
PASSING = frozenset(
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
_PASSED = MODULE_INTERNAL | PASSING | _PLACING


def _frozen(value: Any, depth: int = 3) -> Any:
    """A plain attribute as something that stays as it is and can be compared; any other object is itself."""
    kind = type(value)
    if kind in SCALARS:
        return value
    if depth and isinstance(value, (list, tuple)):
        return kind.__name__, tuple(_frozen(v, depth - 1) for v in value)
    if depth and isinstance(value, dict):
        return kind.__name__, tuple(
            (k if type(k) in SCALARS else id(k), _frozen(v, depth - 1)) for k, v in value.items()
        )
    if depth and isinstance(value, (set, frozenset)):
        return frozenset(v for v in value if type(v) in SCALARS)
    if isinstance(value, Tensor):
        return _tensor_mark(value)
    equal: Any = kind.__eq__
    return value if equal is object.__eq__ else id(value)


def moves(module: nn.Module) -> bool:
    """Whether a rotary embedding rewrites its own frequencies as texts come by."""
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
    modules, attributes = tree.modules, tree.attributes
    types_ = list(map(type, modules))
    wrappers: dict[Any, bool] = {kind: kind.__module__.startswith(WRAPPERS) for kind in dict.fromkeys(types_)}
    out += modules
    add, configs = out.append, {}
    for i, (module, wrapper) in enumerate(zip(modules, map(wrappers.__getitem__, types_))):
        own = module.__dict__
        if own["_forward_hooks"] or own["_forward_pre_hooks"]:
            out.extend(hooks_on(module))
        if own["_parameters"]:
            for p in own["_parameters"].values():
                if p is not None:
                    add((type(p), p.dtype, p.device))
                    writes += p._version
        moving = own.get("rope_type") in _MOVING
        if own["_buffers"] and not moving:
            out.extend(_tensor_mark(b) for b in own["_buffers"].values() if b is not None)
        if wrapper:
            continue
        # most attributes are torch's own: those to look at are chosen once, as long as there are no others
        names, entry = tuple(own), attributes[i]
        if entry is None or entry[0] != names:
            entry = attributes[i] = (
                names,
                [name for name in names if name not in _PASSED and not name.startswith(MARKS)],
            )
        for name in entry[1]:
            value = own[name]
            if type(value) in SCALARS:
                add(value)
            elif isinstance(value, nn.Module) or (moving and isinstance(value, Tensor)):
                continue
            elif hasattr(value, "to_diff_dict"):
                configs[id(value)] = value
            elif not (name == "forward" and of_library(value)):
                add((name, _frozen(value)))
    add(types_)
    out.extend((kind, kind.forward) for kind in wrappers)
    out.extend(tuple((k, _frozen(v)) for k, v in c.__dict__.items() if k not in NOT_COMPUTED) for c in configs.values())
    for name in {kind.__module__ for kind in wrappers if kind.__module__.startswith("transformers.models.")}:
        out.append(tuple(f for f in vars(sys.modules[name]).values() if type(f) is types.FunctionType))
    return out, writes
