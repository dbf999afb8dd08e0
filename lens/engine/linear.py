"""The linear layers of a model by their plain names, what goes into them, and the gradients that come back out of them.

The same for any module that holds `nn.Linear` (or GPT-2's `Conv1D`): the feed-forward layers of a language model, the
    transformer blocks of a U-Net.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import Error
from ..models.tree import Tree
from ..notices import warn
from .changes import temporary
from .effective import is_conv1d
from .feedforward import BLOCKS, FEED_FORWARD, blocks_with_experts, folded, in_block, is_router, outside
from .places import alone

#: `which="mlp"`: the feed-forward layers of the decoders that the engine knows; routers are none of them.
MLP = tuple(f"*.{block}.*" for block in BLOCKS)


class LinearError(Error, ValueError):
    """No linear layer of that name, or one that cannot be watched; the message lists near names."""


@dataclass(frozen=True)
class Linear:
    """One linear layer: its plain name, its module, and whether the module keeps its weight as [in, out] (GPT-2's
    Conv1D).

    `adapter`: the kind of adapter that is in force on it, so that the module's weight is only a part of what the model
    applies; "" where there is none,
    or one that is merged or switched off. `feed_forward`: how many feed-forward weights its model has where linear
        layers do not hold them all (experts); else 0.
    """

    name: str
    module: nn.Module
    transposed: bool = False
    adapter: str = ""
    feed_forward: int = 0

    def require_own(self) -> "Linear":
        """The layer itself.

        Raises: LinearError: an adapter is in force on it.
        """
        if self.adapter:
            raise LinearError(
                f"{self.name}: an adapter ({self.adapter}) is in force on this layer, so that its weight is not what"
                " the model applies; merge it into the weights (merge_and_unload, or merge_adapter) or switch it off"
                " (disable_adapter) first, or choose other layers."
            )
        return self

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
        which: a glob pattern such as "model.layers.3.mlp.down_proj", "*.mlp.*" or "*.ff.net.2", several of them, or
            "mlp": every linear layer of every feed-forward block, routers aside. The experts of a mixture are mostly
            fused parameters and no linear layers: "mlp" then warns, with the share of the feed-forward weights that is
            covered.

    Raises: LinearError: a pattern matches no linear layer (the message lists near names), the model holds none, or an
        adapter is in force on one of those chosen.

    >>> linears(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)), "2")["2"].weight.shape
    torch.Size([2, 3])
    """
    every = every_linear(model)
    patterns = (
        MLP if isinstance(which, str) and which == "mlp" else (which,) if isinstance(which, str) else tuple(which)
    )
    if not patterns:
        raise LinearError('which is empty: no layers are named; expected glob patterns of layer names, or "mlp".')
    chosen: dict[str, Linear] = {}
    total, left = outside(_base(model), every)
    routing = blocks_with_experts((*every, *left)) if patterns is MLP else set()
    for pattern in patterns:
        found = {name: linear for name, linear in every.items() if fnmatchcase(name, pattern)}
        if not found and patterns is not MLP:
            raise LinearError(
                f"which: {pattern!r} matches none of the model's {len(every)} linear layers; {near(pattern, every)}."
            )
        chosen |= {name: linear for name, linear in found.items() if not is_router(name, routing)}
    if not chosen and left:
        raise LinearError(
            f'which="mlp": no feed-forward weight of this model is in a linear layer: its experts ({folded(left)}) are'
            " fused parameters and not served yet; "
            f"name other layers, such as those of attention; {near('attn', every)}."
        )
    if not chosen:
        raise LinearError(
            f'which="mlp" finds no layer of the model: none is named like {", ".join(MLP)}; {near("mlp", every)}.'
        )
    chosen = {
        name: replace(linear.require_own(), feed_forward=total) for name, linear in every.items() if name in chosen
    }
    if patterns is MLP and total and (covered := covered_by(chosen)) < total:
        warn(
            f'which="mlp": the linear layers hold {100 * covered / total:.1f} % of the feed-forward weights; the rest'
            f" are no linear layers and not served yet (fused experts and the like: {folded(left)}), so that what is"
            " found is found in that share."
        )
    return chosen


def covered_by(layers: Mapping[str, Linear]) -> int:
    """How many feed-forward weights some linear layers hold."""
    return sum(linear.d_in * linear.d_out for name, linear in layers.items() if in_block(name) is not None)


def feed_forward(layers: Mapping[str, Linear]) -> dict[str, int]:
    """For a record: how many feed-forward weights there are where these layers are but a part of them (`FEED_FORWARD`);
    else empty.
    """
    total = max((linear.feed_forward for linear in layers.values()), default=0)
    return {FEED_FORWARD: total} if total and covered_by(layers) < total else {}


def every_linear(model: Any) -> dict[str, Linear]:
    """All linear layers by their plain names, those under an adapter too; the adapters' own are none of the model's.

    Raises: LinearError: the model holds none.
    """
    every = {linear.name: linear for linear in _every(model)}
    if not every:
        raise LinearError(
            f"model: a {type(model).__name__} without a linear layer; give a model with nn.Linear or Conv1D modules."
        )
    return every


def near(name: str, known: Sequence[str] | Mapping[str, Any], count: int = 4) -> str:
    """The known names that are most like `name`, as the end of a message."""
    known = list(known)
    close = difflib.get_close_matches(name.replace("*", ""), known, n=count, cutoff=0.3) or known[:count]
    return "near ones: " + ", ".join(close)


def _base(model: Any) -> nn.Module:
    """The module whose layers are named: out of a bridge and of a peft wrapper."""
    core = getattr(model, "original_model", model)
    return core.get_base_model() if hasattr(core, "get_base_model") and hasattr(core, "peft_config") else core


def _every(model: Any) -> Iterator[Linear]:
    core = _base(model)
    seen: set[int] = idle_projections(core)
    # a bridge reaches some layers by names of its own first; the plain model's names were noted before the boot
    plain = (
        {id(module): name for name, module in core.__dict__.get("_mnemoscope_layers", ())}
        if isinstance(core, nn.Module)
        else {}
    )
    for name, module, adapter in _walk(core):
        transposed = is_conv1d(module)
        if (isinstance(module, nn.Linear) or transposed) and id(module) not in seen:
            seen.add(id(module))
            # a bridge, a peft adapter and a compiled module put the plain layer one level down
            yield Linear(
                re.sub(_LEVELS, "", plain.get(id(module), name)).removeprefix("."), module, transposed, adapter
            )


#: What stands in a module's path where a bridge, an adapter or a compiler put the plain layer one level down.
_LEVELS = r"\.?(_original_component|original_component|_orig_mod|base_layer|original_module|modules_to_save\.[^.]+)\b"


def _walk(
    module: nn.Module, name: str = "", adapter: str = "", seen: set[int] | None = None
) -> Iterator[tuple[str, nn.Module, str]]:
    """The modules with their names, and the adapter that is in force around each; an adapter's own parts, and copies
    that do not run, are left out.
    """
    seen = set() if seen is None else seen
    if id(module) in seen:
        return
    seen.add(id(module))
    children, inner = list(module.named_children()), None
    if isinstance(module._modules.get("base_layer"), nn.Module):
        inner, adapter = [("base_layer", module.base_layer)], adapter or _in_force(module)
    elif isinstance(module._modules.get("original_module"), nn.Module):
        inner = [_running_copy(module)]
    else:
        yield name, module, adapter
    for child, part in children if inner is None else inner:
        yield from _walk(part, f"{name}.{child}" if name else child, adapter, seen)


def _in_force(layer: nn.Module) -> str:
    """The kind of adapter that a layer with a `base_layer` applies at present, or "": merged, switched off, or none of
    its adapters active.
    """
    active = getattr(layer, "active_adapters", None)
    try:
        own = layer._get_available_adapters() if active is not None else None
    except AttributeError:
        own = None
    idle = active is not None and own is not None and not own & set(active)
    if getattr(layer, "disable_adapters", False) is True or getattr(layer, "merged", False) is True or idle:
        return ""
    kind = type(layer).__module__.split(".")[-2:-1]
    return ".".join([*kind, type(layer).__name__])


def _running_copy(wrapper: nn.Module) -> tuple[str, nn.Module]:
    """Which of the copies of a layer that is trained whole runs at present, and its place in the wrapper."""
    copies, active = getattr(wrapper, "modules_to_save", None), getattr(wrapper, "active_adapters", None) or [None]
    if copies is None or getattr(wrapper, "disable_adapters", False) is True or active[0] not in copies:
        return "original_module", wrapper.original_module
    return f"modules_to_save.{active[0]}", copies[active[0]]


def idle_projections(model: nn.Module) -> set[int]:
    """Linear layers that a fused attention of diffusers holds and does not run (`id` of each): its split projections,
    or, fused no longer, the joint ones.

    Reading them, or writing into them, says nothing about what the model computes.
    """
    idle: set[int] = set()
    for module in Tree.of(model).modules:
        if isinstance(module._modules.get("to_q"), nn.Module) and hasattr(module, "processor"):
            joint = {
                "to_qkv": ("to_q", "to_k", "to_v"),
                "to_kv": ("to_k", "to_v"),
                "to_added_qkv": ("add_q_proj", "add_k_proj", "add_v_proj"),
            }
            fused = "Fused" in type(module.processor).__name__
            for whole, parts in joint.items():
                if isinstance(getattr(module, whole, None), nn.Module):
                    idle |= {
                        id(layer)
                        for part in (parts if fused else (whole,))
                        for layer in getattr(module, part).modules()
                    }
    return idle


@contextmanager
def uncompiled(model: Any) -> Iterator[None]:
    """While it is in force, a model that `torch.compile` has wrapped, whole or in parts, runs as it was written: what
    was compiled does not see hooks that came later.
    """
    core = getattr(model, "original_model", model)
    modules = Tree.of(core).modules if isinstance(core, nn.Module) else ()
    compiled = any(
        type(module).__name__ == "OptimizedModule" or module.__dict__.get("_compiled_call_impl") is not None
        for module in modules
    )
    with torch.compiler.set_stance("force_eager") if compiled else nullcontext():
        yield


@contextmanager
def inputs_of(
    model: Any, layers: Mapping[str, Linear], sink: Callable[[str, Float[Tensor, "tokens d_in"]], None]
) -> Iterator[None]:
    """While it is in force, every forward of this thread hands each layer's input, flattened to [tokens, d_in] and
    detached, to `sink(name, x)`.

    `model` is not used beyond saying whose layers they are. The tensor is the model's own memory: reduce it at once,
    and do not write to it.
    """
    with temporary(model) as here, uncompiled(model):
        for name, linear in _checked(model, layers).items():

            def watch(module, args, name=name):
                x = args[0].detach()
                sink(name, x.reshape(-1, x.shape[-1]))

            here.put(lambda: linear.module.register_forward_pre_hook(alone(watch)).remove)
        yield


@contextmanager
def gradients_of(
    model: Any,
    layers: Mapping[str, Linear],
    sink: Callable[[str, Float[Tensor, "tokens d_in"], Float[Tensor, "tokens d_out"]], None],
) -> Iterator[None]:
    """While it is in force, every backward of a forward of this thread hands `sink(name, x, g)` each layer's input
    [tokens, d_in] and the loss's gradient at its output [tokens, d_out].

    The weights need not ask for gradients, but something before the layer must: set `inputs_embeds.requires_grad_()`,
    or let one parameter ask for them. A layer that runs several times in one forward hands over each of its runs.
    """
    with temporary(model) as here, uncompiled(model):
        for name, linear in _checked(model, layers).items():

            def watch(module, args, out, name=name):
                if not isinstance(out, Tensor):
                    raise LinearError(
                        f"{name}: this {type(module).__name__} gives a {type(out).__name__} instead of its product, as"
                        " a router does; leave it out: which=[...] with patterns of the other layers."
                    )
                if not out.requires_grad:
                    raise LinearError(
                        f"{name}: nothing before this layer asks for gradients, so none comes back to it; let the"
                        " embeddings ask for them (requires_grad_) before the forward."
                    )
                x = args[0].detach()

                def back(g):
                    sink(name, x.reshape(-1, x.shape[-1]), g.detach().reshape(-1, g.shape[-1]))

                out.register_hook(back)

            here.put(lambda: linear.module.register_forward_hook(alone(watch)).remove)
        yield


def _checked(model: Any, layers: Mapping[str, Linear]) -> Mapping[str, Linear]:
    if not layers:
        raise LinearError("layers is empty; choose some with linears(model, which).")
    core = getattr(model, "original_model", model)
    own = set(map(id, Tree.of(core).modules)) if isinstance(core, nn.Module) else set()
    if own and (foreign := [name for name, linear in layers.items() if id(linear.module) not in own]):
        raise LinearError(
            f"layers: {foreign[0]!r} is a layer of another model object; choose the layers with linears(model, which)"
            " of the model that runs."
        )
    return layers
