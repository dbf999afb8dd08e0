"""The linear layers of a model by their plain names, what goes into them, and the gradients that come back out of them.

The same for any module that holds `nn.Linear` (or GPT-2's `Conv1D`): the feed-forward layers of a language model, the transformer blocks of a U-Net.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

#: `which="mlp"`: the feed-forward layers of the decoders that the engine knows.
MLP = ("*.mlp.*", "*.feed_forward.*", "*.ffn.*")


class LinearError(ValueError):
    """No linear layer of that name, or one that cannot be watched; the message lists near names."""


@dataclass(frozen=True)
class Linear:
    """One linear layer: its plain name, its module, and whether the module keeps its weight as [in, out] (GPT-2's Conv1D)."""

    name: str
    module: nn.Module
    transposed: bool = False

    @property
    def weight(self) -> Float[Tensor, "out in"]:
        """The weight as [out, in]: the parameter itself, or its transposed view."""
        return self.module.weight.T if self.transposed else self.module.weight

    @property
    def d_out(self) -> int:
        return self.weight.shape[0]

    @property
    def d_in(self) -> int:
        return self.weight.shape[1]

    @property
    def layer(self) -> int | None:
        """The number of the block that the layer is in: the first number in its name."""
        found = re.search(r"(?:^|\.)(\d+)(?:\.|$)", self.name)
        return int(found.group(1)) if found else None


def linears(model: Any, which: str | Sequence[str] = "mlp") -> dict[str, Linear]:
    """The linear layers whose plain names match, in the order of the model.

    Args:
        model: a plain module, or a bridge from `lens.load`: its layers are named as in the plain model.
        which: a glob pattern such as "model.layers.3.mlp.down_proj", "*.mlp.*" or "*.ff.net.2", several of them, or "mlp": every linear layer of every feed-forward block.

    Raises: LinearError: a pattern matches no linear layer (the message lists near names), or the model holds none.

    >>> linears(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)), "2")["2"].weight.shape
    torch.Size([2, 3])
    """
    every = {linear.name: linear for linear in _every(model)}
    if not every:
        raise LinearError(f"model: a {type(model).__name__} without a linear layer; give a model with nn.Linear or Conv1D modules.")
    patterns = MLP if isinstance(which, str) and which == "mlp" else (which,) if isinstance(which, str) else tuple(which)
    if not patterns:
        raise LinearError('which is empty; expected glob patterns of layer names, or "mlp".')
    chosen: dict[str, Linear] = {}
    for pattern in patterns:
        found = {name: linear for name, linear in every.items() if fnmatchcase(name, pattern)}
        if not found and patterns is not MLP:
            raise LinearError(f"which: {pattern!r} matches none of the model's {len(every)} linear layers; {near(pattern, every)}.")
        chosen |= found
    if not chosen:
        raise LinearError(f'which="mlp" finds no layer named like {", ".join(MLP)}; {near("mlp", every)}.')
    return {name: linear for name, linear in every.items() if name in chosen}


def near(name: str, known: Sequence[str] | Mapping[str, Any], count: int = 4) -> str:
    """The known names that are most like `name`, as the end of a message."""
    known = list(known)
    close = difflib.get_close_matches(name.replace("*", ""), known, n=count, cutoff=0.3) or known[:count]
    return "near ones: " + ", ".join(close)


def _every(model: Any) -> Iterator[Linear]:
    core = getattr(model, "original_model", model)
    seen: set[int] = set()
    for name, module in core.named_modules():
        transposed = type(module).__name__ == "Conv1D" and getattr(module, "weight", None) is not None and module.weight.ndim == 2
        if (isinstance(module, nn.Linear) or transposed) and id(module) not in seen:
            seen.add(id(module))
            # a bridge, and a peft adapter, put the plain layer one level down
            yield Linear(re.sub(r"\.?(_original_component|original_component|base_layer)\b", "", name), module, transposed)


@contextmanager
def inputs_of(model: Any, layers: Mapping[str, Linear], sink: Callable[[str, Float[Tensor, "tokens d_in"]], None]) -> Iterator[None]:
    """While it is in force, every forward hands each layer's input, flattened to [tokens, d_in] and detached, to `sink(name, x)`.

    `model` is not used beyond saying whose layers they are. The tensor is the model's own memory: reduce it at once, and do not write to it.
    """
    with ExitStack() as stack:
        for name, linear in _checked(model, layers).items():
            def watch(module, args, name=name):
                x = args[0].detach()
                sink(name, x.reshape(-1, x.shape[-1]))

            stack.callback(linear.module.register_forward_pre_hook(watch).remove)
        yield


@contextmanager
def gradients_of(model: Any, layers: Mapping[str, Linear], sink: Callable[[str, Float[Tensor, "tokens d_in"], Float[Tensor, "tokens d_out"]], None]) -> Iterator[None]:
    """While it is in force, every backward hands `sink(name, x, g)` each layer's input [tokens, d_in] and the loss's gradient at its output [tokens, d_out].

    The weights need not ask for gradients, but something before the layer must: set `inputs_embeds.requires_grad_()`, or let one parameter ask for them.
    A layer that runs several times in one forward hands over each of its runs.
    """
    with ExitStack() as stack:
        for name, linear in _checked(model, layers).items():
            def watch(module, args, out, name=name):
                if not out.requires_grad:
                    raise LinearError(f"{name}: nothing before this layer asks for gradients, so none comes back to it; let the embeddings ask for them (requires_grad_) before the forward.")
                x = args[0].detach()

                def back(g):
                    sink(name, x.reshape(-1, x.shape[-1]), g.detach().reshape(-1, g.shape[-1]))

                out.register_hook(back)

            stack.callback(linear.module.register_forward_hook(watch).remove)
        yield


def _checked(model: Any, layers: Mapping[str, Linear]) -> Mapping[str, Linear]:
    if not layers:
        raise LinearError("layers is empty; choose some with linears(model, which).")
    core = getattr(model, "original_model", model)
    own = {id(module) for module in core.modules()} if isinstance(core, nn.Module) else set()
    if own and (foreign := [name for name, linear in layers.items() if id(linear.module) not in own]):
        raise LinearError(f"layers: {foreign[0]!r} is a layer of another model object; choose the layers with linears(model, which) of the model that runs.")
    return layers
