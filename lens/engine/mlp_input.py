"""What a block's MLP reads of the stream: no site, since nothing is written there, but some dictionaries read it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from .anatomy import Anatomy
from .changes import temporary
from .effective import LayerError, innermost, norm_map
from .features import nothing
from .places import evaluating, hook
from .sites import SiteError

_REMEMBERED = "_mnemoscope_mlp_norms"


def stream_site(anatomy: Anatomy, layer: int) -> str:
    """The site that the MLP's norm reads: the stream after attention, or before it in a parallel block."""
    return "resid_pre" if anatomy.is_parallel(layer) else "resid_mid"


def mlp_input(anatomy: Anatomy, layer: int, gain: bool) -> Callable[[Tensor], Tensor]:
    """From the stream to what the MLP reads of it, ``[..., d_model]`` both.

    Args:
        gain: whether the norm's weight and bias are in it.

    Raises:
        SiteError: no norm of this layer reads the stream and hands it to the MLP.
    """
    known = anatomy.__dict__.setdefault(_REMEMBERED, {})
    if layer not in known:
        known[layer] = _norm_of(anatomy, layer)
    module = known[layer]
    if module is None:  # the MLP reads the stream itself
        return nothing
    if gain:
        weight = innermost(module).weight
        return lambda x: module(x.to(weight.device, weight.dtype))
    centre, _, _, epsilon = norm_map(module)

    def scaled(x: Tensor) -> Tensor:
        x = x.float()
        x = x - x.mean(-1, keepdim=True) if centre else x
        return x * (x.square().mean(-1, keepdim=True) + epsilon).rsqrt()

    return scaled


def _norm_of(anatomy: Anatomy, layer: int) -> nn.Module | None:
    """The module between the stream and the MLP, found by what goes through on a probe; None where there is none."""
    block, site = anatomy.layers[layer], stream_site(anatomy, layer)
    seen: dict[nn.Module, tuple[Tensor, Tensor]] = {}
    inputs: dict[nn.Module, Tensor] = {}
    stream: list[Tensor] = []

    def entering(module: nn.Module) -> Callable[[Tensor], None]:
        return lambda x: inputs.__setitem__(module, x.detach().clone())

    def leaving(module: nn.Module) -> Callable[[Tensor], None]:
        return lambda x: seen.__setitem__(module, (inputs[module], x.detach().clone())) if module in inputs else None

    def note(x: Tensor) -> Tensor:
        stream.append(x.detach().clone())
        return x

    with temporary(anatomy.hf) as here, evaluating(anatomy.hf), torch.no_grad():
        for module in block.modules():
            here.put(lambda: hook(module, "in", entering(module)).remove)
            if _normlike(module):
                here.put(lambda: hook(module, "out", leaving(module)).remove)
        here.put(lambda: anatomy.attach(site, layer, note))
        anatomy.forward(anatomy.probe_ids())
    down = anatomy.require("neuron", layer).module if anatomy.has("neuron", layer) else None
    norms = [m for m, (x, _) in seen.items() if _same(x, stream[-1])]
    for module in norms:
        out = seen[module][1]
        if any(_same(inputs[m], out) for m in _around(block, down) if m in inputs):
            return module
    if any(_same(inputs[m], stream[-1]) for m in _around(block, down) if m in inputs):
        return None
    raise SiteError(
        f"mlp_in of layer {layer}: of model type {anatomy.model_type!r} no norm was found that reads the stream and"
        " hands it to the MLP; a dictionary of that input cannot be read here."
    )


def _normlike(module: nn.Module) -> bool:
    weight: Any = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim != 1:
        return False
    try:
        norm_map(module)
    except LayerError:
        return False
    return True


def _around(block: nn.Module, down: nn.Module | None) -> Iterator[nn.Module]:
    """The modules of a block that hold its down projection, from the innermost; any that is named like an MLP where
    there is none.
    """
    for name, module in reversed(list(block.named_modules())):
        if module is block or not name:
            continue
        inner = list(module.modules())
        if (down is not None and any(m is down for m in inner) and module is not down) or (
            down is None and any(part in name.lower() for part in ("mlp", "moe", "feed_forward", "ffn"))
        ):
            yield module


def _same(a: Tensor, b: Tensor) -> bool:
    if a.numel() != b.numel():
        return False
    a, b = a.reshape(-1).float(), b.reshape(-1).float().to(a.device)
    return bool((a - b).abs().max() <= 1e-5 * max(1.0, b.abs().max().item()))
