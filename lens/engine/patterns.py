"""Attention patterns of stock Hugging Face attention, made changeable.

The pattern is no module's output. While a change is in force, the model runs under an attention function of ours that
asks the module's own eager function for the pattern, changes it and applies it to the values.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

from .changes import temporary
from .sites import SiteError

NAME = "mnemoscope"
#: per attention module, the changes in force, in order
_changes: dict[nn.Module, list[Callable[[Tensor], Tensor]]] = {}
#: per config, how many changes are in force and what to go back to
_running: dict[int, list[Any]] = {}


def _attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> Any:
    eager = _eager(module)
    if eager is None:
        raise SiteError(
            f"site='pattern' cannot be reached: {type(module).__name__} of the same model has no eager attention of its"
            " own; use 'z'."
        )
    out, pattern = eager(module, query, key, value, attention_mask, **kwargs)
    changes = _changes.get(module, ())
    if not changes:
        return out, pattern
    values = value.repeat_interleave(pattern.shape[1] // value.shape[1], 1)
    gap = ((pattern @ values).transpose(1, 2) - out).abs().max()
    if not gap <= (1e-5 if out.dtype == torch.float32 else 5e-2) * max(1.0, out.abs().max().item()):
        raise SiteError(
            f"site='pattern' cannot be changed in {type(module).__name__}: its output is not the pattern times the"
            " values; use 'z'."
        )
    seen = pattern.transpose(1, 2)
    new = seen
    for change in changes:
        new = change(new)
    if new is seen:
        return out, pattern
    pattern = new.transpose(1, 2)
    return (pattern @ values).transpose(1, 2).contiguous(), pattern


AttentionInterface.register(NAME, _attend)
AttentionMaskInterface.register(NAME, eager_mask)


def eager_patterns(config: Any, attn: nn.Module, change: Callable[[Tensor], Tensor]) -> Callable[[], None]:
    """Puts a change of the patterns ``[batch, query, head, key]`` of one attention module in force; returns what undoes
    it.

    Raises:
        SiteError: the module does not go through the library's attention functions.
    """
    inner = attention_inside(attn)
    if inner is None:
        raise SiteError(
            f"site='pattern' cannot be reached in {type(attn).__name__}: it does not use the library's attention"
            " functions; use 'z'."
        )
    state = _running.setdefault(id(config), [0, config._attn_implementation])
    state[0] += 1
    config._attn_implementation = NAME
    _changes.setdefault(inner, []).append(change)

    def undo() -> None:
        if change not in _changes.get(inner, ()):
            return  # undone before
        _changes[inner].remove(change)
        if not _changes[inner]:
            del _changes[inner]
        state[0] -= 1
        if not state[0]:
            config._attn_implementation = state[1]
            _running.pop(id(config), None)

    return undo


def acting(
    anatomy: Any, layers: Mapping[int, tuple[nn.Module, Tensor, nn.Module, Tensor]], hook: Callable[..., Any]
) -> set[int]:
    """The layers whose place of the pattern acts: with twice the pattern, and the block's own input again, the output
    projection must read twice as much.

    Args:
        layers: number -> block, what went into it, output projection, what went into that; all of one forward on the
            probe.
        hook: puts a function on what goes into a module in force, and says how to undo it.
    """
    read: dict[int, Tensor] = {}
    if not layers:
        return set()
    with temporary(anatomy.hf) as here, torch.no_grad():
        for l, (block, x, out, _) in layers.items():
            here.put(lambda: hook(block, "in", lambda now, x=x: x.to(now)).remove)
            here.put(lambda: anatomy.attach("pattern", l, lambda pattern: 2 * pattern))
            here.put(lambda: hook(out, "in", partial(_kept, read, l, anatomy.device)).remove)
        try:
            anatomy.forward(anatomy.probe_ids())
        except SiteError:
            return set()
    return {
        l
        for l, (*_, z) in layers.items()
        if l in read and torch.allclose(read[l], 2 * z, rtol=1e-2, atol=1e-3 * float(z.abs().max()))
    }


def _kept(into: dict[int, Tensor], layer: int, device: torch.device, z: Tensor) -> None:
    into[layer] = z.detach().to(device, copy=True)


class _Inside(TorchFunctionMode):
    """While an attention runs: its first softmax over queries and keys is its pattern, and a fused kernel is written
    out to have one.
    """

    def __init__(self, change: Callable[[Tensor], Tensor], heads: int):
        super().__init__()
        self.change, self.heads, self.met = change, heads, False

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.met or function not in (*_SOFTMAX, F.scaled_dot_product_attention):
            return function(*args, **kwargs)
        if function is F.scaled_dot_product_attention:
            self.met = True
            return _kernel(self.changed, *args, **kwargs)
        out = function(*args, **kwargs)
        if not isinstance(out, Tensor) or out.ndim not in (3, 4) or (out.ndim == 3 and out.shape[0] % self.heads):
            return out
        self.met = True
        # some keep the heads of all rows on one axis
        return self.changed(out) if out.ndim == 4 else self.changed(out.unflatten(0, (-1, self.heads))).flatten(0, 1)

    def changed(self, pattern: Tensor) -> Tensor:
        """The pattern ``[batch, head, query, key]`` after the change."""
        seen = pattern.transpose(1, 2)
        new = self.change(seen)
        return pattern if new is seen else new.transpose(1, 2)


_SOFTMAX = (F.softmax, torch.softmax, Tensor.softmax)


def _kernel(
    changed: Callable[[Tensor], Tensor],
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Scaled dot-product attention written out, its pattern changed; arguments as torch's."""
    if enable_gqa or key.shape[1] not in (1, query.shape[1]):
        key, value = (t.repeat_interleave(query.shape[1] // t.shape[1], 1) for t in (key, value))
    scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=key.device).triu(1)
        scores = scores.masked_fill(later, _LOW)
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, _LOW) if attn_mask.dtype == torch.bool else scores + attn_mask
    return changed(scores.softmax(-1, dtype=torch.float32).to(value.dtype)) @ value


_LOW = float("-inf")


def softmaxed(attn: nn.Module, change: Callable[[Tensor], Tensor], heads: int) -> Callable[[], None]:
    """Puts a change of the patterns ``[batch, query, head, key]`` in force in an attention that does not go by the
    library's attention functions; returns what undoes it.
    """
    running: list[Any] = []  # of `_Inside`; torch's way in and out of it has no annotations

    def begin(*_: Any) -> None:
        running.append(_Inside(change, heads))
        running[-1].__enter__()

    def end(*_: Any) -> None:
        if running:
            running.pop().__exit__(None, None, None)

    handles = attn.register_forward_pre_hook(begin), attn.register_forward_hook(end, always_call=True)

    def undo() -> None:
        for handle in handles:
            handle.remove()
        while running:
            end()

    return undo


def attention_inside(attn: nn.Module) -> nn.Module | None:
    """The module at or below ``attn`` that calls the library's attention functions, if there is one."""
    return next(
        (m for m in attn.modules() if "attention_interface" in _source_names(m) and _eager(m) is not None), None
    )


def _eager(module: nn.Module) -> Callable[..., Any] | None:
    return getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)


def _source_names(module: nn.Module) -> tuple[str, ...]:
    code = getattr(type(module).forward, "__wrapped__", type(module).forward)
    return getattr(getattr(code, "__code__", None), "co_varnames", ())


def hooked_pattern(point: nn.Module, change: Callable[[Tensor], Tensor]) -> Callable[[], None]:
    """The same on a bridge's hook point, which passes ``[batch, head, query, key]``."""

    def through(_: Any, args: Any, x: Tensor) -> Tensor | None:
        seen = x.transpose(1, 2)
        new = change(seen)
        return None if new is seen else new.transpose(1, 2)

    return point.register_forward_hook(through).remove
