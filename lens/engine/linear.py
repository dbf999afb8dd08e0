"""The linear layers of a model by their plain names, what goes into them, and the gradients that come back out of them.

The same for any module that holds `nn.Linear` (or GPT-2's `Conv1D`): the feed-forward layers of a language model, the
transformer blocks of a U-Net. Of a mixture, whose experts are one parameter together, each matrix of each expert is a
linear layer too (`experts`).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import Error
from ..models.placement import kept
from ..models.quantised_layers import FLOATS, dequantised, is_quantised, method_of
from ..models.tree import Tree
from ..notices import warn
from .changes import temporary
from .effective import is_conv1d, shape
from .experts import Expert, Experts, Routed, experts_of
from .feedforward import (
    BLOCKS,
    OPEN,
    blocks_with_experts,
    covered_by,
    folded,
    in_block,
    is_router,
    of_text,
    outside,
)
from .places import alone
from .wrappers import base_of, idle_projections, plain_name, walked

#: `which="mlp"`: the feed-forward layers of the decoders that the engine knows; routers are none of them.
MLP = (*(f"*.{block}.*" for block in BLOCKS), *(f"*.{name}" for name in OPEN))


class LinearError(Error, ValueError):
    """No linear layer of that name, or one that cannot be watched; the message lists near names."""


@dataclass(frozen=True)
class Linear:
    """One linear layer: its plain name, its module, and whether the module keeps its weight as [in, out] (GPT-2's
    Conv1D).

    `adapter`: the kind of adapter that is in force on it, so that the module's weight is only a part of what the model
    applies; "" where there is none, or one that is merged or switched off. `feed_forward`: how many feed-forward
    weights its model has where some of them are fused experts'; else 0. `stack`: of one expert's matrix, the plain name
    of the parameter that holds it with those of the other experts; else "". Its module is an `Expert`, whose weight is
    its part of that parameter.
    """

    name: str
    module: Any
    transposed: bool = False
    adapter: str = ""
    feed_forward: int = 0
    stack: str = ""
    _experts: Experts | None = None

    @property
    def sees_all(self) -> bool:
        """Whether it is an expert that is given every token, times a weight that is zero for most (Llama 4)."""
        return self._experts is not None and self._experts.kind.sent

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

    def require_floats(self) -> "Linear":
        """The layer itself, as `require_own`, for who writes to its weight or puts another in its place.

        Raises: LinearError: an adapter is in force on it, or its weight is quantised.
        """
        self._require_no_codes()
        return self.require_own()

    def _require_no_codes(self) -> None:
        if not isinstance(self.module, Expert) and is_quantised(self.module):
            raise LinearError(
                f"{self.name}: the weight of this layer is quantised ({method_of(self.module)}): what is written to its"
                f" codes would be lost or another weight; {FLOATS}."
            )

    @property
    def weight(self) -> Float[Tensor, "out in"]:
        """The weight as [out, in]: the parameter itself, or its transposed view; of an offloaded layer its values, read
        from where they are kept; of a quantised one the floats that it stands for, in which nothing can be written.
        """
        if not isinstance(self.module, Expert) and is_quantised(self.module):
            return dequantised(self.module)
        weight: Tensor = self.module.weight if isinstance(self.module, Expert) else kept(self.module)
        return weight.T if self.transposed else weight

    def require_resident(self, what: str) -> Linear:
        """The layer itself.

        Raises: LinearError: its weight is offloaded, where ``what`` would change or reach nothing.
        """
        if self.parameter.is_meta:
            raise LinearError(
                f"{self.name}: its weight is offloaded (accelerate loads it for each forward from where it is kept), so"
                f" that {what} would be of a stand-in and reach nothing; load the model without offloading, on one"
                " device or spread over several, or choose other layers."
            )
        return self

    @property
    def parameter(self) -> nn.Parameter:
        """The parameter that holds the weight: its own, or the one with the matrices of all experts.

        Raises: LinearError: it is quantised, and holds codes.
        """
        self._require_no_codes()
        parameter: nn.Parameter = self.module.stack if isinstance(self.module, Expert) else self.module.weight
        return parameter

    @property
    def expert(self) -> int | None:
        """The number of the expert whose matrix this is."""
        return self.module.number if isinstance(self.module, Expert) else None

    def before(self, hook: Callable[[nn.Module, tuple[Any, ...]], Any]) -> Callable[[], None]:
        """Puts on a torch hook that is given the layer's inputs; returns what takes it off.

        An expert's inputs are the rows of the tokens that are sent to it and a `Routed`, which says whose they are.
        """
        return self._hooked(self.module.register_forward_pre_hook, hook)

    def after(self, hook: Callable[[nn.Module, tuple[Any, ...], Any], Any]) -> Callable[[], None]:
        """The same with the layer's inputs and its output."""
        return self._hooked(self.module.register_forward_hook, hook)

    def _hooked(self, register: Callable[..., Any], hook: Callable[..., Any]) -> Callable[[], None]:
        with ExitStack() as off:
            if self._experts is not None:
                off.callback(self._experts.hold())
            off.callback(register(hook).remove)
            return off.pop_all().close

    @property
    def d_out(self) -> int:
        """How many outputs it has."""
        return (self.weight.shape if isinstance(self.module, Expert) else shape(self.module))[0]

    @property
    def d_in(self) -> int:
        """How many inputs it has."""
        return (self.weight.shape if isinstance(self.module, Expert) else shape(self.module))[1]

    @property
    def layer(self) -> int | None:
        """The number of the block that the layer is in: the first number in its name."""
        match = re.search(r"(?:^|\.)(\d+)(?:\.|$)", self.name)
        return int(match.group(1)) if match else None


def linears(model: Any, which: str | Sequence[str] = "mlp") -> dict[str, Linear]:
    """The linear layers whose plain names match, in the order of the model.

    Args:
        model: a plain module, or a bridge from `lens.load`: its layers are named as in the plain model.
        which: a glob pattern such as "model.layers.3.mlp.down_proj", "*.mlp.*" or "*.ff.net.2", several of them, or
            "mlp": every linear layer of every feed-forward block, routers aside, and of a model that also sees or
            hears those of its text tower alone. An expert's matrices are named by the
            experts' module, its number and the parameter: "model.layers.3.mlp.experts.5.down_proj". Where not all
            experts could be told, "mlp" warns, with the share of the feed-forward weights that is covered.

    Raises: LinearError: a pattern matches no linear layer (the message lists near names), the model holds none, or an
        adapter is in force on one of those chosen.

    >>> linears(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)), "2")["2"].weight.shape
    torch.Size([2, 3])
    """
    every, untold = _linears_of(model)
    patterns = (
        MLP if isinstance(which, str) and which == "mlp" else (which,) if isinstance(which, str) else tuple(which)
    )
    if not patterns:
        raise LinearError('which is empty: no layers are named; expected glob patterns of layer names, or "mlp".')
    chosen: dict[str, Linear] = {}
    core = base_of(model)
    within = of_text(core) if patterns is MLP else None
    total, left = outside(core, every, {linear.stack for linear in every.values()}, within)
    routing = blocks_with_experts((*every, *left)) if patterns is MLP else set()
    why = "; ".join(dict.fromkeys(untold.values()))
    for pattern in patterns:
        layers = (
            {pattern: every[pattern]}
            if pattern in every and not set(pattern) & set("*?[")
            else {name: linear for name, linear in every.items() if fnmatchcase(name, pattern)}
        )
        if not layers and patterns is not MLP:
            raise LinearError(
                f"which: {pattern!r} matches none of the model's {len(every)} linear layers; {near(pattern, every)}."
                + (f" Experts that are none of them: {folded(untold)}: {why}." if untold else "")
            )
        if patterns is MLP:
            layers = {name: linear for name, linear in layers.items() if in_block(name) and _is_in(linear, within)}
        chosen |= {name: linear for name, linear in layers.items() if not is_router(name, routing)}
    if not chosen and left:
        raise LinearError(
            f'which="mlp": no feed-forward weight of this model is in a linear layer: its experts ({folded(left)}) are'
            f" fused parameters that cannot be told apart{f': {why}' if why else ''}; "
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
            f" are no linear layers (fused experts that cannot be told apart, and the like: {folded(left)}"
            f"{f'; {why}' if why else ''}), so that what is found is found in that share."
        )
    return chosen


def _is_in(linear: Linear, modules: set[int] | None) -> bool:
    """Whether a layer is one of these modules' (`id` of each; None: of any)."""
    return modules is None or id(getattr(linear.module, "owner", linear.module)) in modules


def every_linear(model: Any) -> dict[str, Linear]:
    """All linear layers by their plain names, those under an adapter too; the adapters' own are none of the model's.

    Raises: LinearError: the model holds none.
    """
    return _linears_of(model)[0]


def _linears_of(model: Any) -> tuple[dict[str, Linear], dict[str, str]]:
    """All linear layers, and, of the modules with fused experts that cannot be told, the reasons."""
    every: dict[str, Linear] = {}
    untold: dict[str, str] = {}
    for linear in _every(model, untold):
        every[linear.name] = linear
    if not every:
        raise LinearError(
            f"model: a {type(model).__name__} without a linear layer; give a model with nn.Linear or Conv1D modules."
        )
    return every, untold


def near(name: str, known: Sequence[str] | Mapping[str, Any], count: int = 4) -> str:
    """The known names that are most like `name`, as the end of a message."""
    known = list(known)
    close = difflib.get_close_matches(name.replace("*", ""), known, n=count, cutoff=0.3) or known[:count]
    return "near ones: " + ", ".join(close)


def _every(model: Any, untold: dict[str, str]) -> Iterator[Linear]:
    core = base_of(model)
    seen: set[int] = idle_projections(core)
    # a bridge reaches some layers by names of its own first; the plain model's names were noted before the boot
    plain = (
        {id(module): name for name, module in core.__dict__.get("_mnemoscope_layers", ())}
        if isinstance(core, nn.Module)
        else {}
    )
    for name, module, adapter in walked(core):
        transposed = is_conv1d(module)
        if (isinstance(module, nn.Linear) or transposed) and id(module) not in seen:
            seen.add(id(module))
            # a bridge, a peft adapter and a compiled module put the plain layer one level down
            yield Linear(plain_name(plain.get(id(module), name)), module, transposed, adapter)
        elif (experts := experts_of(module)) is not None and id(module) not in seen:
            seen.add(id(module))
            at = plain_name(plain.get(id(module), name))
            if isinstance(experts, str):
                untold[at] = experts
                continue
            for one in (layer for of_one in experts.layers for layer in of_one):
                yield Linear(
                    f"{at}.{one.number}.{one.parameter}",
                    one,
                    one.transposed,
                    adapter,
                    stack=f"{at}.{one.parameter}",
                    _experts=experts,
                )


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
def inputs_of(model: Any, layers: Mapping[str, Linear], sink: Callable[..., None]) -> Iterator[None]:
    """While it is in force, every forward of this thread hands each layer's input, flattened to [tokens, d_in] and
    detached, to `sink(name, x)`.

    Of an expert it is the rows of the tokens that were sent to it, and a `Routed` comes third: `sink(name, x, routed)`;
    an expert that no token reaches hands over nothing.

    `model` is not used beyond saying whose layers they are. The tensor is the model's own memory: reduce it at once,
    and do not write to it.
    """
    with temporary(model) as here, uncompiled(model):
        for name, linear in _checked(model, layers).items():

            def watch(module: nn.Module, args: tuple[Any, ...], name: str = name) -> None:
                x = args[0].detach()
                sink(name, x.reshape(-1, x.shape[-1]), *_routed(args))

            here.put(lambda: linear.before(alone(watch)))
        yield


def _routed(args: tuple[Any, ...]) -> tuple[Routed, ...]:
    """What of a layer's inputs says whose rows it was given."""
    return tuple(value for value in args[1:2] if isinstance(value, Routed))


@contextmanager
def gradients_of(
    model: Any,
    layers: Mapping[str, Linear],
    sink: Callable[..., None],
    *,
    inputs: Callable[..., None] | None = None,
) -> Iterator[None]:
    """While it is in force, every backward of a forward of this thread hands `sink(name, x, g)` each layer's input
    [tokens, d_in] and the loss's gradient at its output [tokens, d_out]; for an expert `sink(name, x, g, routed)`, as
    `inputs_of`. Where `inputs` is given, the forward hands it `inputs(name, x)`, the backward `sink(name, g)`, and no
    input is kept in between for this.

    The weights need not ask for gradients, but something before the layer must: set `inputs_embeds.requires_grad_()`,
    or let one parameter ask for them. A layer that runs several times in one forward hands over each of its runs.
    """
    with temporary(model) as here, uncompiled(model):
        for name, linear in _checked(model, layers).items():

            def watch(module: nn.Module, args: tuple[Any, ...], out: Any, name: str = name) -> None:
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
                read, routed = [_rows(args[0])], _routed(args)
                if inputs is not None:
                    inputs(name, *read, *routed)
                    read = []
                out.register_hook(lambda g: sink(name, *read, _rows(g), *routed))

            here.put(lambda: linear.after(alone(watch)))
        yield


def _rows(x: Tensor) -> Float[Tensor, "rows d"]:
    return x.detach().reshape(-1, x.shape[-1])


def _checked(model: Any, layers: Mapping[str, Linear]) -> Mapping[str, Linear]:
    if not layers:
        raise LinearError("layers is empty; choose some with linears(model, which).")
    core = getattr(model, "original_model", model)
    own = set(map(id, Tree.of(core).modules)) if isinstance(core, nn.Module) else set()
    if own and (foreign := [n for n, l in layers.items() if id(getattr(l.module, "owner", l.module)) not in own]):
        raise LinearError(
            f"layers: {foreign[0]!r} is a layer of another model object; choose the layers with linears(model, which)"
            " of the model that runs."
        )
    return layers
