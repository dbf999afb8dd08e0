"""Mixtures of experts in a decoder's blocks: where a token's weights on the experts are, and what each expert adds.

Found on a probe by what modules are given, not by their names: a module that takes tokens, the numbers of experts and
their weights and gives as many tokens back; or one that takes every token once an expert, times its weight (Llama 4).
Then confirmed by arithmetic: noise in the place of what the experts return must move the block's output by that noise
times one factor, and with other weights the block's output must move by what the experts are seen to add.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from .changes import temporary
from .places import after_call, alone, before_call, evaluating

if TYPE_CHECKING:
    from .anatomy import Anatomy

#: How far what is added and what is seen of it may be apart, as a share of the numbers that they are parts of.
_NEAR = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 6e-2, torch.float16: 8e-3}


@dataclass
class Mixture:
    """The experts of one block.

    Attributes:
        module: what holds them. n_experts. slots: where its forward is given tokens, the experts' numbers and their
            weights: positions of arguments, or their names. router: of experts that are given every token times its
            weight, the module that gives the weights ``[token, expert]``, as its output or (``part``) one of them.
        scale: what the model multiplies the experts' output by before it adds it to the residual stream; None where
            that is no factor. why: why not, in words.
    """

    module: nn.Module
    n_experts: int
    slots: tuple[Any, ...] = ()
    router: nn.Module | None = None
    part: int | None = None
    scale: float | None = None
    why: str = ""

    def attach(
        self, site: str, change: Callable[[Tensor], Tensor], batch: Callable[[], int], everywhere: bool
    ) -> Callable[[], None]:
        """Puts a change of ``router`` ``[batch, position, expert]`` or ``expert`` ``[batch, position, expert,
        d_model]`` in force; returns what undoes it. ``batch``: rows of the forward that is under way.
        """

        def through(x: Tensor) -> Tensor | None:
            seen = x.unflatten(0, (batch(), -1))
            new = change(seen)
            return None if new is seen else new.flatten(0, 1)

        look = {
            ("router", True): self._weights_of_router,
            ("router", False): self._weights,
            ("expert", True): self._sent,
            ("expert", False): self._added,
        }[site, self.router is not None](through)
        look = look if everywhere else alone(look)
        if site == "router":
            return (before_call(self.module, look) if self.router is None else after_call(self.router, look)).remove
        return after_call(self.module, look).remove

    # -- the weights -------------------------------------------------------------------------------------------------

    def _weights(self, through: Callable[[Tensor], Tensor | None]) -> Callable[..., Any]:
        def look(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            x, index, weight = self._given(args, kwargs)
            own = self._dense(index, weight)
            new = through(own)
            if new is None:
                return None
            if new.requires_grad and torch.is_grad_enabled():
                # every expert runs, so that the gradient of those that a token is not sent to is there too
                index = torch.arange(self.n_experts, device=index.device).expand(len(x), -1)
                weight = new.to(weight.dtype)
            else:
                index, weight = _sparse(index, weight, own, new.to(weight.dtype))
            return self._call(args, kwargs, x, index, weight)

        return look

    def _weights_of_router(self, through: Callable[[Tensor], Tensor | None]) -> Callable[..., Any]:
        def look(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Any:
            own = out if self.part is None else out[self.part]
            new = through(own)
            if new is None:
                return None
            new = new.to(own.dtype)
            return new if self.part is None else (*out[: self.part], new, *out[self.part + 1 :])

        return look

    def _dense(self, index: Int[Tensor, "n chosen"], weight: Float[Tensor, "n chosen"]) -> Float[Tensor, "n n_experts"]:
        return weight.new_zeros(len(index), self.n_experts).scatter_add(1, index, weight)

    # -- what experts add --------------------------------------------------------------------------------------------

    def _added(self, through: Callable[[Tensor], Tensor | None]) -> Callable[..., Any]:
        def look(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Tensor) -> Tensor | None:
            scale: Any = self.scale  # told, where this is put on
            parts = self.parts(*self._given(args, kwargs)) * scale
            new = through(parts)
            if new is None:
                return None
            total: Tensor = (new.sum(1) / scale).to(out.dtype)
            if new.requires_grad and torch.is_grad_enabled():
                return total
            # of tokens that keep their parts the model's own sum stands, to the bit
            return torch.where((new != parts).flatten(1).any(1)[:, None], total, out)

        return look

    def _sent(self, through: Callable[[Tensor], Tensor | None]) -> Callable[..., Any]:
        def look(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Tensor) -> Tensor | None:
            scale: Any = self.scale  # told, where this is put on
            parts = out.view(self.n_experts, -1, out.shape[-1]).transpose(0, 1) * scale
            new = through(parts)
            return None if new is None else (new / scale).transpose(0, 1).reshape(out.shape).to(out.dtype)

        return look

    def parts(
        self, x: Float[Tensor, "n d_model"], index: Int[Tensor, "n chosen"], weight: Float[Tensor, "n chosen"]
    ) -> Float[Tensor, "n n_experts d_model"]:
        """What each expert returns for each token, weight and all, 0 where a token is not sent: the module's own
        forward, expert by expert.
        """
        added = x.new_zeros(len(x), self.n_experts, x.shape[-1])
        for expert in index.unique().tolist():
            rows, slot = (index == expert).nonzero(as_tuple=True)
            one = self._call((), {}, x[rows], torch.full_like(rows, expert)[:, None], weight[rows, slot][:, None])
            out = self.module.forward(*one[0], **one[1])
            added = added.index_put((rows, torch.full_like(rows, expert)), out.to(added.dtype), accumulate=True)
        return added

    def _given(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        x, index, weight = (args[s] if isinstance(s, int) and s < len(args) else kwargs[s] for s in self.slots)
        return x, index, weight

    def _call(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], *routing: Tensor
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with other tokens, numbers and weights."""
        by = dict(zip(self.slots, routing))
        own = [by[i] if i in by else args[i] for i in range(max(len(args), sum(isinstance(s, int) for s in by)))]
        return tuple(own), {**kwargs, **{s: value for s, value in by.items() if isinstance(s, str)}}


def _sparse(
    index: Int[Tensor, "n chosen"],
    weight: Float[Tensor, "n chosen"],
    own: Float[Tensor, "n n_experts"],
    new: Float[Tensor, "n n_experts"],
) -> tuple[Int[Tensor, "n more"], Float[Tensor, "n more"]]:
    """Numbers and weights of the experts of which a token's weight is not 0; tokens whose weights stay keep theirs as
    they are, and those that have fewer name one again, with weight 0.
    """
    changed = (new != own).any(1)
    if not bool(changed.any()):
        return index, weight
    rows = new[changed]
    some = rows != 0
    count = max(index.shape[1], int(some.sum(1).max()))
    order = some.to(torch.uint8).sort(dim=1, descending=True, stable=True).indices[:, :count]
    mine = rows.gather(1, order)
    order = torch.where(mine != 0, order, torch.where(some.any(1)[:, None], order[:, :1], index[changed][:, :1]))
    more = count - index.shape[1]
    index = torch.cat([index, index[:, :1].expand(-1, more)], 1)
    weight = torch.cat([weight, weight.new_zeros(len(weight), more)], 1)
    return index.index_put((changed,), order), weight.index_put((changed,), mine)


# -- finding ----------------------------------------------------------------------------------------------------------


def mixtures_of(anatomy: Anatomy) -> tuple[dict[int, Mixture], dict[int, str]]:
    """The mixtures of a model's blocks by layer, those that the probe confirms; and of those that it does not, why
    not. Costs two forwards on the probe, and for some tokens every expert.
    """
    hf, layers = anatomy.hf, anatomy.layers
    ids = anatomy.probe_ids()
    calls: dict[int, list[tuple[nn.Module, tuple[Any, ...], dict[str, Any], Any]]] = {l: [] for l in range(len(layers))}
    with evaluating(hf), torch.no_grad(), temporary(hf) as here:
        for l, block in enumerate(layers):
            for module in block.modules():

                def look(m: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, l: int = l) -> None:
                    calls[l].append((m, args, kwargs, out))

                here.put(lambda: after_call(module, alone(look)).remove)
        anatomy.forward(ids)
    mixtures = {l: one for l, seen in calls.items() if (one := _routed(seen) or _given_all(seen)) is not None}
    if not mixtures:
        return {}, {}
    trials = _Trials(anatomy, mixtures)
    return trials.confirmed(), trials.failed


def _tensors(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[int | str, Tensor]:
    call: dict[Any, Any] = {**dict(enumerate(args)), **kwargs}
    return {key: v for key, v in call.items() if isinstance(v, Tensor)}


def _count(module: nn.Module) -> int:
    """How many experts a module holds: the first axis of its parameters of three axes, or what it says."""
    stacks = {p.shape[0] for p in module.parameters() if p.ndim == 3}
    said = getattr(module, "num_experts", None)
    return stacks.pop() if len(stacks) == 1 else said if isinstance(said, int) else 0


def _routed(seen: list[tuple[nn.Module, tuple[Any, ...], dict[str, Any], Any]]) -> Mixture | None:
    """A module that was given tokens, numbers of experts and weights."""
    fits = []
    for module, args, kwargs, out in seen:
        tensors = _tensors(args, kwargs)
        whole = [k for k, v in tensors.items() if not v.is_floating_point() and v.ndim == 2 and v.dtype != torch.bool]
        if len(tensors) != 3 or len(whole) != 1 or not isinstance(out, Tensor) or out.ndim != 2:
            continue
        index = tensors[whole[0]]
        rest = [k for k in tensors if k not in whole]
        x = next((k for k in rest if tensors[k].shape == out.shape), None)
        weight = next((k for k in rest if k != x and tensors[k].shape == index.shape), None)
        if x is not None and weight is not None and len(index) == len(out) and _count(module) > int(index.max()):
            fits.append(Mixture(module, _count(module), (x, whole[0], weight)))
    # the innermost: the call of a wrapper ends after that of the module in it; two apart, or two calls, are not told
    inner = {id(m.module) for m in fits[:1]}
    return (
        fits[0]
        if fits
        and all(inner & set(map(id, m.module.modules())) for m in fits)
        and len({id(m.module) for m in fits}) == len(fits)
        else None
    )


def _given_all(seen: list[tuple[nn.Module, tuple[Any, ...], dict[str, Any], Any]]) -> Mixture | None:
    """A module that was given every token once an expert, times its weight, and the module that gave the weights."""
    for module, args, kwargs, out in seen:
        tensors, count = list(_tensors(args, kwargs).values()), _count(module)
        if (
            len(tensors) != 1
            or count < 2
            or not isinstance(out, Tensor)
            or tensors[0].shape != out.shape
            or out.ndim != 2
        ):
            continue
        if len(out) % count:
            continue
        x = tensors[0].view(count, -1, out.shape[-1])
        for router, router_args, router_kwargs, weights in seen:
            tokens = next(iter(_tensors(router_args, router_kwargs).values()), None)
            if tokens is None or tokens.shape != x.shape[1:]:
                continue
            for part, one in enumerate(weights if isinstance(weights, tuple) else (weights,)):
                if isinstance(one, Tensor) and one.shape == (x.shape[1], count):
                    if torch.equal(tokens[None] * one.T[..., None], x):
                        return Mixture(module, count, (), router, part if isinstance(weights, tuple) else None)
    return None


class _Trials:
    """Each block run again twice in one forward: with noise in the place of what the experts return, and with other
    weights.
    """

    def __init__(self, anatomy: Anatomy, found: dict[int, Mixture]):
        self.anatomy, self.found = anatomy, found
        self.generator = torch.Generator().manual_seed(2)
        self.kept: dict[int, Mixture] = {}
        self.failed = dict.fromkeys(
            found, "on a probe its experts did not add to the stream what they were seen to make"
        )
        self.again = False

    def confirmed(self) -> dict[int, Mixture]:
        hf = self.anatomy.hf
        with evaluating(hf), torch.no_grad(), temporary(hf) as here:
            for l, mixture in self.found.items():

                def look(
                    block: nn.Module,
                    args: tuple[Any, ...],
                    kwargs: dict[str, Any],
                    out: Any,
                    l: int = l,
                    mixture: Mixture = mixture,
                ) -> None:
                    if not self.again:
                        self._try(l, mixture, block, args, kwargs, out)

                here.put(lambda: after_call(self.anatomy.layers[l], alone(look)).remove)
            self.anatomy.forward(self.anatomy.probe_ids())
        self.failed = {l: why for l, why in self.failed.items() if l not in self.kept}
        return self.kept

    def _try(
        self, l: int, mixture: Mixture, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
    ) -> None:
        def run(*changes: Callable[[], Callable[[], None]]) -> Tensor:
            self.again = True
            try:
                with temporary(self.anatomy.hf) as here:
                    for change in changes:
                        here.put(change)
                    made = block(*args, **kwargs)
            finally:
                self.again = False
            return first(made)

        def first(value: Any) -> Tensor:
            made: Tensor = value[0] if isinstance(value, tuple) else value
            return made.double()

        y, noise = first(out), []
        if not torch.isfinite(y).all():
            self.failed[l] = (
                "what it adds on a probe is not finite; look for NaN in its weights, and in earlier layers'"
            )
            return
        near = _NEAR.get(self.anatomy.dtype, _NEAR[torch.bfloat16])
        # as large as the stream, beside which a small change would be lost in a low precision
        size = float(y.square().mean().sqrt()) or 1.0

        def instead(_: nn.Module, __: tuple[Any, ...], ___: dict[str, Any], own: Tensor) -> Tensor:
            noise.append((torch.randn(own.shape, generator=self.generator) * size).to(own))
            noise.append(own.clone())
            return noise[0].clone()

        moved = run(lambda: after_call(mixture.module, alone(instead)).remove) - y
        if len(noise) != 2:
            return
        put = noise[0].double() - noise[1].double()
        if mixture.router is not None:
            put = put.view(mixture.n_experts, -1, put.shape[-1]).sum(0)
        own = (1.0, float(getattr(self.anatomy.config, "residual_multiplier", 1.0)))
        mixture.scale, mixture.why = _factor(moved, put.reshape(y.shape), near, y, own)
        seen: list[Tensor] = []

        def watch(site: str, into: list[Tensor]) -> Callable[[], Callable[[], None]]:
            def look(parts: Tensor) -> Tensor:
                into.append(parts.double())
                return parts

            return lambda: mixture.attach(site, look, lambda: 1, False)

        def other(weights: Tensor) -> Tensor:
            drawn = torch.rand(weights.shape, generator=self.generator).to(weights)
            return drawn * 8 * float(weights.abs().max())

        def change() -> Callable[[], None]:
            return mixture.attach("router", other, lambda: 1, False)

        if mixture.scale is None:
            # what the experts add is not told; that other weights are used is
            if bool((run(change) - y).abs().max() > near * y.abs().max()):
                self.kept[l] = mixture
            return
        run(watch("expert", seen))
        moved = run(change, watch("expert", seen)) - y
        if len(seen) == 2:
            bad = (~torch.isfinite(seen[1])).flatten(0, 1).any(-1).any(0).nonzero()[:, 0].tolist()
            if bad:
                self.failed[l] = f"its expert {bad[0]} gives numbers that are not finite; look at that expert's weights"
            told = (seen[1] - seen[0]).sum(2).reshape(moved.shape)
            parts = (seen[0].abs().sum(2) + seen[1].abs().sum(2)).reshape(moved.shape)
            allowed = near * (y.abs() + parts.amax(-1, keepdim=True))
            if bool(((moved - told).abs() <= allowed).all()) and bool((told.abs() > allowed).any()):
                self.kept[l] = mixture


def _factor(moved: Tensor, put: Tensor, near: float, y: Tensor, own: tuple[float, ...]) -> tuple[float | None, str]:
    """The one factor by which what was put in moved the block's output (one of the model's own where that fits), or
    None and why not.
    """
    size = float((put * put).sum())
    factor = float((moved * put).sum()) / size if size else 0.0
    # what was added and taken off on the way may be larger than what is left of it
    allowed = near * (y.abs() + abs(factor) * put.abs() + y.square().mean(-1, keepdim=True).sqrt())
    if abs(factor) > 1e-3 and bool(((moved - factor * put).abs() <= allowed).all()):
        # the fit is over all numbers, and so much nearer than each of them
        return next((f for f in own if math.isclose(factor, f, rel_tol=near / 20)), factor), ""
    return None, "what its experts return goes through more than a factor on its way into the residual stream"
