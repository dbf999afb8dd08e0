"""Plain forwards of a plain model with hooks on its own modules: what the numbers of the table are compared with.

It shares nothing with the package: the places come from `_models_places`, every edited run is a forward of its own on
one text, and what a site holds is read where the library's own module gives it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ._models_variants import LAYERS, Variant

#: A site, a layer, and what becomes of the activation there, `[1, position, ...]` (patterns: `[1, head, query, key]`).
Change = tuple[str, int, Callable[[Tensor], Tensor]]
_SOFTMAX = (F.softmax, torch.softmax, Tensor.softmax)
#: Names under which a block is given the stream, where it is not by place.
_STREAM = ("hidden_states", "inputs", "x", "input", "hidden")


class NaiveError(Exception):
    """The reference itself does not hold: a place that is written down wrongly."""


class Naive:
    """A plain model of a variant, with its own attention; where a pattern is asked for, that is written out."""

    def __init__(self, variant: Variant, dtype: torch.dtype | None = None, seed: int = 0):
        self.variant, self.where = variant, variant.where
        self.model = variant.build(dtype=dtype, seed=seed)
        self.blocks = self.model.get_submodule(self.where.layers)

    def module(self, path: str, layer: int | None = None) -> nn.Module:
        """A module by its path in the model or in a block."""
        return self.model.get_submodule(path) if layer is None else self.blocks[layer].get_submodule(path)

    # -- forwards ------------------------------------------------------------------------------------------------------

    def logits(self, ids: Tensor, changes: Sequence[Change] = ()) -> Float[Tensor, "position d_vocab"]:
        """One forward with the changes in force."""
        return self._logits(ids, changes)[0].detach().double()

    def _logits(self, ids: Tensor, changes: Sequence[Change]) -> Float[Tensor, "1 position d_vocab"]:
        with torch.set_grad_enabled(torch.is_grad_enabled()), self.changed(changes):
            return self.model(torch.as_tensor(ids)[None], use_cache=False).logits

    def read(self, ids: Tensor, places: Sequence[tuple[str, int]], changes: Sequence[Change] = ()) -> list[Tensor]:
        """What sites hold in one forward, each without the batch's axis."""
        seen: dict[int, Tensor] = {}

        def keep(number: int) -> Callable[[Tensor], Tensor]:
            return lambda x: seen.__setitem__(number, x.detach().clone()) or x

        with torch.no_grad():
            self._logits(ids, [*changes, *((site, layer, keep(i)) for i, (site, layer) in enumerate(places))])
        return [seen[i][0] for i in range(len(places))]

    def gradients(
        self, ids: Tensor, places: Sequence[tuple[str, int]], score: Callable[[Tensor], Tensor], start: Any = None
    ) -> list[Tensor]:
        """The gradient of `score(logits [position, d_vocab])` by what sites hold; `start`: embeddings to begin with."""
        seen: dict[int, Tensor] = {}

        def keep(number: int) -> Callable[[Tensor], Tensor]:
            return lambda x: seen.setdefault(number, x if x.requires_grad else x.requires_grad_())

        def leaf(x: Tensor) -> Tensor:
            return (x if start is None else start[None].to(x)).detach().clone().requires_grad_()

        with torch.enable_grad():
            kept = [(site, layer, keep(i)) for i, (site, layer) in enumerate(places)]
            value = score(self._logits(ids, [("embed", 0, leaf), *kept])[0])
            return [g[0] for g in torch.autograd.grad(value, [seen[i] for i in range(len(places))])]

    def head(self, stream: Float[Tensor, "position d_model"]) -> Float[Tensor, "position d_vocab"]:
        """The model's own logits of a final stream, put in place of what enters its last norm."""
        target = self.module(self.where.head if self.where.norm is None else self.where.norm)
        handle = _on_input(target, lambda x: stream[None].to(x))
        try:
            with torch.no_grad():
                return self.model(torch.full((1, len(stream)), 2), use_cache=False).logits[0].double()
        finally:
            handle()

    # -- sites ---------------------------------------------------------------------------------------------------------

    @contextmanager
    def changed(self, changes: Sequence[Change]) -> Iterator[None]:
        """The changes in force on every forward, in the order in which the block computes what they change."""
        patterns = [c for c in changes if c[0] == "pattern"]
        with ExitStack() as stack:
            for site, layer, change in changes:
                if site != "pattern":
                    stack.callback(self._put(site, layer, change))
            if patterns:
                stack.enter_context(_Patterns(self, patterns))
            yield

    def _put(self, site: str, layer: int, change: Callable[[Tensor], Tensor]) -> Callable[[], None]:
        where = self.where.at(layer)
        if site == "embed":
            return _on_output(self.module(self.where.embed), change)
        if site == "resid_pre":
            return _on_input(self.blocks[layer], change)
        if site == "resid_post":
            return _on_output(self.blocks[layer], change)
        if site == "attn_out":
            return _on_output(self.module(where.attn, layer), _times(change, where.mixers[where.attn]))
        if site == "mlp_out":
            return _on_output(self.module(where.mlp, layer), _times(change, where.mlp_times))
        if site == "neuron":
            return _on_input(self.module(where.down, layer), change)
        if site == "z":
            return _on_input(self.module(where.o, layer), _heads(change, torch.as_tensor(where.z)))
        if site in where.qkv:
            module, table = where.qkv[site]
            return _on_output(self.module(module, layer), _heads(change, torch.as_tensor(table)))
        if site == "resid_mid":
            return self._middle(layer, change)
        if site in ("router", "expert"):
            return self._mixture(site, layer, change)
        if site.startswith("mixer:"):
            name = site.removeprefix("mixer:")
            return _on_output(self.module(name, layer), _times(change, where.mixers[name]))
        raise NaiveError(f"site {site!r} is not known")

    def _middle(self, layer: int, change: Callable[[Tensor], Tensor]) -> Callable[[], None]:
        """The stream between attention and MLP is no module's: what the mixers add is changed by as much."""
        where, stream = self.where.at(layer), {}
        last = list(where.mixers)[-1]

        def begin(x: Tensor) -> Tensor:
            stream.clear()
            stream["before"] = x
            return x

        def add(name: str) -> Callable[[Tensor], Tensor]:
            def onto(x: Tensor) -> Tensor:
                stream[name] = where.mixers[name] * x
                if name != last:
                    return x
                rest = sum(part for key, part in stream.items() if key != last)
                return (change(rest + stream[last]) - rest) / where.mixers[last]

            return onto

        first = self.module(where.start, layer) if where.start and layer == 0 else None
        undo = [_on_output(first, begin) if first is not None else _on_input(self.blocks[layer], begin)]
        undo += [_on_output(self.module(name, layer), add(name)) for name in where.mixers]
        return lambda: [each() for each in undo] and None

    def _mixture(self, site: str, layer: int, change: Callable[[Tensor], Tensor]) -> Callable[[], None]:
        """The weights of all experts, `[1, position, expert]`, or what each adds, `[1, position, expert, d_model]`: by
        the experts' own module, once for each expert with its weights alone.
        """
        where = self.where.at(layer)
        experts, times = self.module(where.experts, layer), where.mlp_times
        own = type(experts).forward.__get__(experts)
        if self.variant.row == "llama4_text":  # weights multiply what the experts read
            if site == "router":
                router = self.module(where.router, layer)
                return router.register_forward_hook(lambda _, a, out: (change(out[0][None])[0], *out[1:])).remove

            def spoken(x: Tensor) -> Tensor:
                made = own(x)
                by_token = made.unflatten(0, (self.model.config.num_local_experts, -1)).transpose(0, 1)
                return change(by_token[None])[0].transpose(0, 1).flatten(0, 1).to(made.dtype)

            return _forward(experts, spoken)

        def alone(x: Tensor, *routing: Tensor, **named: Tensor) -> Tensor:
            index, share = sorted([*routing, *named.values()], key=torch.is_floating_point)
            count = experts.gate_up_proj.shape[0]
            whole = share.new_zeros(len(x), count).scatter(1, index, share)
            if site == "router":
                whole = change(whole[None])[0].to(whole.dtype)
            every = torch.arange(count)
            parts = [own(x, torch.full_like(index[:, :1], e), whole[:, e : e + 1]) for e in every.tolist()]
            added = torch.stack(parts, 1)
            added = change(added[None] * times)[0] / times if site == "expert" else added
            return added.sum(1).to(x.dtype)

        return _forward(experts, alone)

    def stream_changes(self, layer: int) -> list[str]:
        """Names of all that is added to the stream by the mixers of a layer, as sites for `read`."""
        return [f"mixer:{name}" for name in self.where.at(layer).mixers]

    # -- linear parts --------------------------------------------------------------------------------------------------

    def by_head(self, layer: int, z: Float[Tensor, "head d_head"]) -> Float[Tensor, "head d_model"]:
        """What each head's output becomes in the output projection, without its bias."""
        where = self.where.at(layer)
        module, table = self.module(where.o, layer), torch.as_tensor(where.z)
        rows = torch.zeros(len(table) + 1, table.numel(), dtype=z.dtype)
        for head, entries in enumerate(table):
            rows[head + 1, entries] = z[head]
        out = module(rows)
        return out[1:] - out[:1]

    def projection_bias(self, layer: int) -> Float[Tensor, " d_model"]:
        """What the output projection adds by itself."""
        where = self.where.at(layer)
        module = self.module(where.o, layer)
        return module(torch.zeros(1, torch.as_tensor(where.z).numel(), dtype=next(module.parameters()).dtype))[0]

    def frozen(
        self, norm: nn.Module | None, at: Float[Tensor, " d_model"]
    ) -> tuple[Callable[[Tensor], Tensor], Tensor | float]:
        """A norm with the scale that it has at one place: what it makes of an addend of that, and its bias.

        Raises: NaiveError: it is none of the norms that are known.
        """
        if norm is None:
            return (lambda x: x), 0.0
        at, truth = at.double(), norm(at[None].to(next(norm.parameters(), at).dtype))[0].double()
        weight = getattr(norm, "weight", None)
        gains = [torch.ones_like(at)] if weight is None else [weight.double(), 1 + weight.double()]
        bias = getattr(norm, "bias", None)
        added = torch.zeros_like(at) if bias is None else bias.double()
        eps = next((float(getattr(norm, n)) for n in ("eps", "variance_epsilon", "norm_eps") if hasattr(norm, n)), 0.0)
        for centre in (False, True):
            left = at - at.mean() if centre else at
            scale = (left.square().mean() + eps).rsqrt()
            for gain in gains:
                if torch.allclose(left * scale * gain + added, truth, atol=self.tolerance, rtol=self.tolerance):
                    return (
                        lambda x, c=centre, g=gain: (x.double() - x.double().mean(-1, keepdim=True) * c) * scale * g
                    ), added
        raise NaiveError(f"{type(norm).__name__} is no norm that is known")

    @property
    def tolerance(self) -> float:
        """How far the rounding of the weights' type may put a closed form from a module."""
        return 1e-4 if self.model.dtype == torch.float32 else 5e-2

    def unembedding(self, x: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_vocab"]:
        """The head without its bias, times the model's own factor; before a cap."""
        head = self.module(self.where.head)
        bias = head(torch.zeros(1, x.shape[-1], dtype=head.weight.dtype))[0].double()
        return (head(x.to(head.weight.dtype)).double() - bias) * self.where.logits

    def head_bias(self) -> Float[Tensor, " d_vocab"]:
        """The head's bias, times the model's own factor."""
        head = self.module(self.where.head)
        return head(torch.zeros(1, head.weight.shape[1], dtype=head.weight.dtype))[0].double() * self.where.logits

    @property
    def n_layers(self) -> int:
        """Blocks of the model."""
        return LAYERS


class _Patterns(TorchFunctionMode):
    """While it is in force, the pattern inside a layer's attention is changed: what a softmax gives, or what a fused
    kernel would have taken one of.
    """

    def __init__(self, naive: Naive, changes: Sequence[Change]):
        super().__init__()
        self.changes: dict[int, list[Callable[[Tensor], Tensor]]] = {}
        for _, layer, change in changes:
            self.changes.setdefault(layer, []).append(change)
        self.naive, self.inside, self.handles = naive, None, []

    def __enter__(self) -> Any:
        for layer in self.changes:
            module = self.naive.module(self.naive.where.at(layer).inside, layer)
            self.handles.append(module.register_forward_pre_hook(lambda *_, l=layer: setattr(self, "inside", l)))
            self.handles.append(module.register_forward_hook(lambda *_: setattr(self, "inside", None)))
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        for handle in self.handles:
            handle.remove()
        super().__exit__(*error)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.inside is not None and func is F.scaled_dot_product_attention:
            return self._written_out(*args, **(kwargs or {}))
        out = func(*args, **(kwargs or {}))
        if self.inside is None or func not in _SOFTMAX or out.ndim != 4:
            return out
        keys = out.shape[2]  # a sink has a column of its own behind the keys
        # as the values are weighed with it: in the model's own type
        whole = out.to(self.naive.model.dtype)
        whole = torch.cat([self._changed(whole[..., :keys]), whole[..., keys:]], -1)
        return whole.to(out.dtype)

    def _changed(self, pattern: Tensor) -> Tensor:
        for change in self.changes[self.inside]:
            pattern = change(pattern)
        return pattern

    def _written_out(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """The fused kernel's product, by its documentation."""
        key, value = (x.repeat_interleave(query.shape[1] // x.shape[1], 1) for x in (key, value))
        scores = query @ key.transpose(-1, -2) * (query.shape[-1] ** -0.5 if scale is None else scale)
        if is_causal:
            attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attn_mask, float("-inf"))
        elif attn_mask is not None:
            scores = scores + attn_mask
        # not by `F.softmax`, which is another call that this would see
        pattern = (scores.float() - scores.float().amax(-1, keepdim=True)).exp()
        pattern = (pattern / pattern.sum(-1, keepdim=True)).to(query.dtype)
        return self._changed(pattern) @ value


def _forward(module: nn.Module, forward: Callable[..., Tensor]) -> Callable[[], None]:
    """Puts another forward in a module's place."""
    module.forward = forward
    return lambda: module.__dict__.pop("forward", None) and None


def _times(change: Callable[[Tensor], Tensor], factor: float) -> Callable[[Tensor], Tensor]:
    """A change of what is added to the stream, as one of a module's output that is multiplied first."""
    return change if factor == 1.0 else lambda x: change(x * factor) / factor


def _heads(change: Callable[[Tensor], Tensor], table: Tensor) -> Callable[[Tensor], Tensor]:
    """A change of `[1, position, head, d_head]` as one of the flat activation."""

    def put(x: Tensor) -> Tensor:
        new = x.clone()
        new[..., table] = change(x[..., table])
        return new

    return put


def _batched(change: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A change for modules that see tokens without a batch's axis as well."""
    return lambda x: change(x) if x.ndim != 2 else change(x[None])[0]


def _on_output(module: nn.Module, change: Callable[[Tensor], Tensor]) -> Callable[[], None]:
    change = _batched(change)

    def hook(_: Any, args: Any, out: Any) -> Any:
        return (change(out[0]), *out[1:]) if isinstance(out, tuple) else change(out)

    return module.register_forward_hook(hook).remove


def _on_input(module: nn.Module, change: Callable[[Tensor], Tensor]) -> Callable[[], None]:
    change = _batched(change)

    def hook(_: Any, args: Any, kwargs: Any) -> Any:
        if args:
            return (change(args[0]), *args[1:]), kwargs
        key = next(k for k in _STREAM if k in kwargs)
        return args, {**kwargs, key: change(kwargs[key])}

    return module.register_forward_pre_hook(hook, with_kwargs=True).remove
