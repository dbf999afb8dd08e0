"""Fused experts: parameters of three axes that hold one matrix an expert, seen as one linear layer an expert.

In transformers 5 the experts of a mixture are no modules: one parameter holds the first matrices of all of them, one
the second, and a forward may multiply them expert by expert, in groups or in one batch. Here each matrix is a module
whose weight is a view of its part of the parameter. While somebody watches or changes what goes into one (`held`), the
experts' forward is one that calls these modules; it was compared with the model's own on a probe, outputs and
gradients, and a kind of experts for which they differ is refused with the reason.
"""

from __future__ import annotations

import copy
import inspect
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import Error

_KEPT = "_mnemoscope_experts"
#: Names of the parameters: what reads the stream (gate and up in one, or up alone), and what writes to it.
_FIRST, _SECOND = ("gate_up_proj", "up_proj"), "down_proj"
#: Experts, neurons and tokens of the probe: few, whatever the model's.
_EXPERTS, _NARROW, _TOKENS = 3, 16, 9
#: Largest difference between the two forwards, as a share of the largest number, by dtype.
_CLOSE = {torch.float64: 1e-8, torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}


class ExpertError(Error, ValueError):
    """A router that sends a token to an expert that has no matrix."""


class Routed(NamedTuple):
    """Whose rows an expert was given: the numbers of its tokens among all that the mixture was given, [batch *
    position], and how many these are.
    """

    rows: Int[Tensor, " some"]
    tokens: int

    def pieces(self, count: int) -> Int[Tensor, " some"]:
        """Of each row, which of `count` equal pieces of all tokens it is from: with the batch's size, the element."""
        return self.rows // (self.tokens // count)


class Expert(nn.Module):
    """One expert's matrix as a linear layer; none of the model's own modules.

    Attributes: owner: the module that holds the parameter. parameter: the parameter's name there. number: the
        expert's. transposed: whether the parameter keeps [in, out].
    """

    owner: nn.Module

    def __init__(self, owner: nn.Module, parameter: str, number: int, transposed: bool):
        super().__init__()
        self.__dict__["owner"] = owner  # not as a module within this one
        self.parameter, self.number, self.transposed = parameter, number, transposed

    @property
    def stack(self) -> nn.Parameter:
        """The parameter, with the matrices of all experts."""
        own: Any = self.owner._parameters
        stack: nn.Parameter = own[self.parameter]
        return stack

    @property
    def weight(self) -> Tensor:
        """This expert's part of the parameter, sharing its memory: [out, in], or [in, out] where `transposed`."""
        return self.stack[self.number]

    @property
    def bias(self) -> Float[Tensor, " out"] | None:
        """What is added to its products, where the experts have biases."""
        biases = self.owner._parameters.get(f"{self.parameter}_bias")
        return None if biases is None else biases[self.number]

    def forward(self, x: Float[Tensor, "some in"], routed: Routed | None = None) -> Float[Tensor, "some out"]:
        """The product with the rows that were sent here; `routed` says whose they are, for who watches."""
        weight = self.weight.T if self.transposed else self.weight
        return F.linear(x.to(weight.dtype), weight, self.bias)


@dataclass(frozen=True)
class _Kind:
    """How a module with experts computes. first: the name of the parameter that reads the stream. names: of the
    forward's arguments. gate: of the module and the first product, what the second matrix reads.
    """

    first: str
    transposed: bool
    names: tuple[str, ...]
    gate: Callable[[Any, Tensor], Tensor]

    @property
    def sent(self) -> bool:
        """Whether every expert is given all tokens, times its weight for each (Llama 4), and zeros count for none."""
        return len(self.names) == 1


class Experts:
    """The experts of one module. Use `experts_of(module)`."""

    def __init__(self, module: Any, kind: _Kind):
        self.module, self.kind = module, kind
        self.count: int = module._parameters[kind.first].shape[0]
        self.layers = [
            [Expert(module, name, number, kind.transposed) for name in (kind.first, _SECOND)]
            for number in range(self.count)
        ]
        self._holders: Counter[int] = Counter()
        #: under which name the module's forward stands, and what stood there
        self._own: tuple[str, Any] = "forward", None

    # a copy of the model finds its own
    def __deepcopy__(self, memo: Any) -> None:
        return None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()

    def forward(self, *args: Any, **kwargs: Any) -> Float[Tensor, "tokens d_model"]:
        """What the module's own forward gives, up to the order of sums, by a call of every expert that a token
        reaches.
        """
        call = dict(zip(self.kind.names, args)) | kwargs
        x = call.pop(self.kind.names[0])
        if self.kind.sent:
            return self._sent(x)
        index, weight = sorted(call.values(), key=lambda value: value.is_floating_point())
        if int(index.max()) >= self.count and not getattr(self.module, "_is_expert_parallel", False):
            raise ExpertError(
                f"{type(self.module).__name__}: a token is sent to expert {int(index.max())}, and the matrices are of"
                f" experts 0 to {self.count - 1}; what the others do cannot be told. Choose layers that are no experts."
            )
        out = torch.zeros(x.shape, dtype=torch.promote_types(x.dtype, weight.dtype), device=x.device)
        for number in index.unique().tolist():
            if number < self.count:
                rows, slot = (index == number).nonzero(as_tuple=True)
                part = self._expert(number, x[rows], Routed(rows, len(x)))
                out.index_add_(0, rows, (part * weight[rows, slot, None]).to(out.dtype))
        return out.to(x.dtype)

    def _sent(self, x: Float[Tensor, "expert_token d_model"]) -> Float[Tensor, "expert_token d_model"]:
        tokens = len(x) // self.count
        out = torch.zeros_like(x)
        for number, part in enumerate(x.view(self.count, tokens, -1)):
            rows = (part != 0).any(-1).nonzero()[:, 0]
            if len(rows):
                product = self._expert(number, part[rows], Routed(rows, tokens))
                out.index_add_(0, rows + number * tokens, product.to(out.dtype))
        return out

    def _expert(self, number: int, x: Float[Tensor, "some d_model"], routed: Routed) -> Float[Tensor, "some d_model"]:
        first, second = self.layers[number]
        out: Tensor = second(self.kind.gate(self.module, first(x, routed)), routed)
        if getattr(self.module, "has_post_expert_norm", False):
            out = self.module.post_expert_norm(out)
        return out

    def hold(self) -> Callable[[], None]:
        """Lets the module's forward, as this thread calls it, call every expert as a module; returns what ends that."""
        me = threading.get_ident()
        if not self._holders:
            # what moves inputs to the device stands around the forward that it keeps under another name
            slot = "_old_forward" if "_old_forward" in self.module.__dict__ else "forward"
            before = self.module.__dict__.get(slot)
            self._own = slot, before
            own = before or type(self.module).forward.__get__(self.module)

            def forward(*args: Any, **kwargs: Any) -> Any:
                mine = threading.get_ident() in self._holders or torch._C._current_graph_task_id() != -1
                return (self.forward if mine else own)(*args, **kwargs)

            self.module.__dict__[slot] = forward
        self._holders[me] += 1
        left = [me]

        def end() -> None:
            if not left:
                return
            self._holders[left.pop()] -= 1
            self._holders += Counter()
            if not self._holders:
                slot, own = self._own
                if own is None:
                    self.module.__dict__.pop(slot, None)
                else:
                    self.module.__dict__[slot] = own

        return end


def experts_of(module: nn.Module) -> Experts | str | None:
    """The fused experts of a module; why they cannot be told, in words; or None where it holds none.

    Probed once a module, and again when its parameters or its forward are others. Costs less than one of its experts.
    """
    own = module.__dict__["_parameters"]
    if getattr(own.get(_SECOND), "ndim", 0) != 3:
        return None
    first = next((name for name in _FIRST if getattr(own.get(name), "ndim", 0) == 3), None)
    if first is None:
        return None
    mark = (
        id(module),
        tuple(
            (name, id(value), value.dtype, value.device, value.shape)
            for name, value in own.items()
            if value is not None
        ),
        getattr(getattr(module, "config", None), "_experts_implementation", None),
        module.__dict__.get("forward"),
    )
    cached = module.__dict__.get(_KEPT)
    if cached is None or cached[0] != mark:
        if cached is not None and isinstance(cached[1], Experts) and cached[1]._holders:
            return cached[1]  # its forward is the one that was put there
        cached = module.__dict__[_KEPT] = mark, _experts_of(module, first)
    return cached[1]


def _experts_of(module: Any, first: str) -> Experts | str:
    kind = type(module).__name__
    one, other = (module._parameters[name] for name in (first, _SECOND))
    if one.dtype not in _CLOSE or one.device.type == "meta" or one.shape[0] != other.shape[0]:
        return f"{kind} keeps them as {one.dtype} {tuple(one.shape)} on {one.device}, which no matrix can be read from"
    if "forward" in module.__dict__ and "_old_forward" not in module.__dict__:
        return f"the forward of {kind} was replaced"
    names = tuple(inspect.signature(type(module).forward).parameters)[1:]
    if len(names) not in (1, 3):
        return f"the forward of {kind} takes {', '.join(names)}, of which it cannot be told who sends which token where"
    flag = getattr(module, "is_transposed", None)
    why: str | None = "no layout of its matrices fits"
    gates = [_own_gate] if hasattr(module, "_apply_gate") and first == _FIRST[0] else [_halves]
    for transposed in (False, True) if flag is None else (flag,):
        for gate in gates if first == _FIRST[0] else [_ungated]:
            layout = _Kind(first, transposed, names, gate)
            if _fits(one.shape, other.shape, layout):
                why = _differs(module, layout)
                if why is None:
                    return Experts(module, layout)
    return f"what {kind} computes is not told by its matrices ({why})"


def _own_gate(module: Any, x: Tensor) -> Tensor:
    read: Tensor = module._apply_gate(x)
    return read


def _halves(module: Any, x: Tensor) -> Tensor:
    gate, up = x.chunk(2, dim=-1)
    read: Tensor = up * module.act_fn(gate)
    return read


def _ungated(module: Any, x: Tensor) -> Tensor:
    read: Tensor = module.act_fn(x)
    return read


def _fits(first: torch.Size, second: torch.Size, kind: _Kind) -> bool:
    """Whether the two shapes are of one stream and one width between them."""
    (out, d_in), (d_out, width) = (s[1:] if not kind.transposed else s[1:][::-1] for s in (first, second))
    return d_in == d_out and out == width * (1 if kind.gate is _ungated else 2)


def _differs(module: Any, kind: _Kind) -> str | None:
    """Tries the forward out on a copy of the module with few narrow experts and random numbers: None where the one
    that calls them gives the same, outputs and gradients.
    """
    try:
        with torch.inference_mode(False), torch.enable_grad():
            small = _small(module, kind)
            ours, inputs = Experts(small, kind), _inputs(module, kind)
            pairs = []
            for forward in (small.forward, ours.forward):
                x, *routing = (value.clone().requires_grad_(value.is_floating_point()) for value in inputs)
                out = forward(x, *routing)
                back = torch.linspace(-1, 1, out.numel()).reshape(out.shape).to(out)
                pairs.append((out, *torch.autograd.grad(out, [v for v in (x, *routing) if v.requires_grad], back)))
    except Exception as error:
        return f"trying it out ended in {type(error).__name__}: {str(error)[:160]}"
    tolerance = _CLOSE[module._parameters[kind.first].dtype]
    for what, own, told in zip(("output", "gradient of its input", "gradient of its weights"), *pairs):
        gap = float(((own - told).abs().max() / own.abs().max().clamp_min(1e-30)).detach())
        if not gap <= tolerance:
            return f"its {what} is {gap:.2g} off"
    return None


def _small(module: Any, kind: _Kind) -> Any:
    """A copy of the module, of its class and configuration, with few experts of few neurons."""
    generator, own = torch.Generator().manual_seed(0), module._parameters
    small, count = copy.copy(module), own[kind.first].shape[0]
    small.__dict__.pop(_KEPT, None)
    for slot in ("_old_forward", "_hf_hook", "forward"):
        small.__dict__.pop(slot, None)

    def drawn(like: Tensor, *shape: int) -> nn.Parameter:
        value = torch.randn(shape, generator=generator) / (shape[-1] if len(shape) > 2 else 1) ** 0.5
        return nn.Parameter(value.to(like.device, like.dtype), requires_grad=False)

    wide = own[kind.first].shape[1 if kind.transposed else 2]
    sizes = {kind.first: (_NARROW * (1 if kind.gate is _ungated else 2), wide), _SECOND: (wide, _NARROW)}
    parameters: dict[str, nn.Parameter | None] = {}
    for name, value in own.items():
        if name in sizes:
            shape = sizes[name][::-1] if kind.transposed else sizes[name]
            value = drawn(value, _EXPERTS, *shape)
        elif value is not None and name.removesuffix("_bias") in sizes:
            value = drawn(value, _EXPERTS, sizes[name.removesuffix("_bias")][0])
        elif value is not None and value.shape[:1] == (count,):
            value = drawn(value, _EXPERTS, *value.shape[1:])
        parameters[name] = value
    small._parameters = parameters
    if "num_experts" in small.__dict__:
        small.num_experts = _EXPERTS
    return small


def _inputs(module: Any, kind: _Kind) -> list[Tensor]:
    """Random tokens for the copy, so routed that one expert gets none."""
    generator, like = torch.Generator().manual_seed(1), module._parameters[kind.first]
    wide = like.shape[1 if kind.transposed else 2]

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(like.device, like.dtype)

    if kind.sent:
        x = drawn(_EXPERTS, _TOKENS, wide)
        x[1], x[0, ::3] = 0, 0
        return [x.flatten(0, 1)]
    index = torch.tensor([[0, 2], [2, 0]]).repeat(_TOKENS, 1)[:_TOKENS].to(like.device)
    weight = torch.rand(_TOKENS, 2, generator=generator).to(like.device, like.dtype)
    names = kind.names[1:]
    # who takes indices first, and who weights, says the name
    return [drawn(_TOKENS, wide), *((weight, index) if "weight" in names[0] else (index, weight))]
