"""Fused projections behind a bridge: one matrix of the model, and the copies of its parts that the bridge runs instead.

Where query, key and value (or gate and up) are one matrix, a boot splits it into layers of their own for its hooks.
The model's matrix stays, read by everything that reads the plain model's weights; a change of one must reach the
other. Which row of the matrix a part's row is a copy of, the boot's own split says: it is run once on a matrix whose
every row holds its number.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

#: A bridge component's split, and the attributes that take what it gives, in order.
_SPLITS = {"split_qkv_matrix": ("q", "k", "v"), "split_gate_up_matrix": ("gate", "in")}
_REMEMBERED = "_mnemoscope_fused"


@dataclass(frozen=True)
class Fused:
    """One fused layer and its parts, plain modules both; `rows[i]` are the outputs of `whole` that `parts[i]` copies.
    `transposed`: whole keeps [in, out].
    """

    whole: Any
    parts: tuple[Any, ...]
    rows: tuple[Int[Tensor, " d_part"], ...]
    transposed: bool

    @property
    def weight(self) -> Float[Tensor, "out in"]:
        """The fused weight as [out, in]; writing to it writes to the model."""
        weight: Tensor = self.whole.weight
        return weight.T if self.transposed else weight

    @torch.no_grad()
    def consistent(self) -> bool:
        """Whether every part is what the fused layer holds."""
        for part, rows in zip(self.parts, self.rows):
            rows = rows.to(part.weight.device)
            if not torch.equal(part.weight, self.weight[rows]):
                return False
            if getattr(part, "bias", None) is not None and not torch.equal(part.bias, self.whole.bias[rows]):
                return False
        return True


def fused_layers(core: nn.Module) -> tuple[list[Fused], set[int]]:
    """The fused layers of the Hugging Face model in a bridge, found once; none in a plain model. Second, the ids of
    the modules that a boot split in a way that could not be followed: fused ones and parts.
    """
    if "_mnemoscope_parameters" not in core.__dict__:
        return [], set()
    cached = core.__dict__.get(_REMEMBERED)
    mark = tuple(id(value) for value in core.parameters())
    if cached is None or cached[0] != mark:
        copies = core.__dict__["_mnemoscope_parameters"][1]
        untouched = {id(value) for value, version in copies if value._version == version}
        layers, lost = [], set()
        for component, split, parts in _components(core):
            layer = _followed(component, split, parts)
            if layer is None or (all(id(part.weight) in untouched for part in parts) and not layer.consistent()):
                size = sum(part.weight.numel() for part in parts)
                lost |= {id(part) for part in parts} | {
                    id(module)
                    for module in _plain(component).modules()
                    if isinstance(getattr(module, "weight", None), nn.Parameter) and module.weight.numel() >= size
                }
            else:
                layers.append(layer)
        cached = mark, layers, lost
        core.__dict__[_REMEMBERED] = cached
    return cached[1], cached[2]


def _components(core: nn.Module) -> Iterator[tuple[nn.Module, Any, list[Any]]]:
    """The components of a bridge that split a fused layer, the split, and the layers that it gave."""
    for module in core.modules():
        for name, attributes in _SPLITS.items():
            parts: list[Any] = [_plain(module._modules.get(attribute)) for attribute in attributes]
            if module.__dict__.get(name) is not None and all(
                isinstance(getattr(part, "weight", None), nn.Parameter) for part in parts
            ):
                yield module, module.__dict__[name], parts


def _plain(module: Any) -> Any:
    while "_original_component" in getattr(module, "_modules", {}):
        module = module._modules["_original_component"]
    return module


@torch.no_grad()
def _followed(component: nn.Module, split: Any, parts: list[Any]) -> Fused | None:
    """What the split does, tried out on a matrix of row numbers."""
    owner, copies = _plain(component), {id(part) for part in parts}
    for name, child in owner._modules.items():
        whole = _plain(child)
        weight = getattr(whole, "weight", None)
        if not isinstance(weight, nn.Parameter) or weight.ndim != 2 or id(whole) in copies:
            continue
        transposed = type(whole).__name__ == "Conv1D"
        numbers = torch.arange(weight.shape[1 if transposed else 0], dtype=torch.float32)
        stand_in, trial = copy.copy(whole), copy.copy(owner)
        stand_in._parameters = {
            key: None if value is None else nn.Parameter(numbers.clone(), requires_grad=False)
            for key, value in whole._parameters.items()
        }
        stand_in._parameters["weight"] = nn.Parameter(
            (numbers.expand(weight.shape) if transposed else numbers[:, None].expand(weight.shape)).clone(),
            requires_grad=False,
        )
        trial._modules = dict(owner._modules) | {name: stand_in}
        try:
            rows = tuple(layer.weight[:, 0].round().long() for layer in split(trial))
        except Exception:  # the split reads another child, or more than weights
            continue
        if torch.equal(torch.cat(rows).sort().values, numbers.long()) and [len(r) for r in rows] == [
            part.weight.shape[0] for part in parts
        ]:
            return Fused(whole, tuple(parts), rows, transposed)
    return None
