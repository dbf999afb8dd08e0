"""The parts of a decoder whose blocks are not written out, as weights and norms: what readouts take apart.

Found on a probe and told by arithmetic: the norm before attention is the module whose output the value projection
reads, the final norm the one between the last block and the head, and the head's own factor and cap are what the logits
say. What cannot be told is refused by name. `ModuleBlock` answers the same questions as a written-out block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from ..models.placement import device_of
from .anatomy import Anatomy
from .changes import temporary
from .effective import LayerError, is_plain, linear_bias, linear_map, norm_map
from .fused_heads import clip_of
from .memory import logit_bytes
from .places import Place, alone, evaluating
from .resident import resident
from .sites import SiteError
from .walk.blocks import unwrapped

#: How near two tensors of a probe must be, as a share of the largest, to be called one and the same.
_NEAR = {torch.float32: 1e-5, torch.float64: 1e-9}
#: What a stream may be multiplied by between the last block and the final norm: RWKV halves it behind some blocks.
_BETWEEN = (1.0, 0.5)


@dataclass(frozen=True)
class Part:
    """A norm of the model, and what its output is multiplied by before it is used."""

    module: nn.Module
    factor: float = 1.0

    def __call__(self, x: Tensor) -> Tensor:
        """What the module makes of `x`, times the factor."""
        out: Tensor = self.module(x)
        return out if self.factor == 1.0 else out * self.factor


class Nothing:
    """Where a model has no norm: hands on what it is given."""

    module = None
    factor = 1.0

    def __call__(self, x: Tensor) -> Tensor:
        """The stream as it is."""
        return x


NOTHING = Nothing()


class ProbePass:
    """What went into and came out of a model's modules in one forward on the probe."""

    def __init__(self, anatomy: Anatomy):
        self.anatomy = anatomy
        self.outputs: dict[nn.Module, Tensor] = {}
        self.inputs: dict[nn.Module, Tensor] = {}
        self.calls: dict[nn.Module, int] = {}
        #: per block, how many things it returns; 0: a tensor by itself
        self.returned: dict[nn.Module, int] = {}
        hf = anatomy.hf

        def look(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
            first = out[0] if isinstance(out, tuple) and out else out
            self.calls[module] = self.calls.get(module, 0) + 1
            named = kwargs.get("hidden_states") if not args else None
            for value in (named, *args, *kwargs.values()):
                if isinstance(value, Tensor) and value.is_floating_point():
                    self.inputs[module] = value.detach().to(anatomy.device)
                    break
            if isinstance(first, Tensor):
                self.outputs[module] = first.detach().to(anatomy.device)
            self.returned[module] = len(out) if isinstance(out, tuple) else 0

        with evaluating(hf), torch.no_grad(), temporary(hf) as here:
            for module in hf.modules():
                here.put(lambda: module.register_forward_hook(alone(look), with_kwargs=True).remove)
            self.logits = anatomy.forward(anatomy.probe_ids()).detach()

    def once(self, module: nn.Module) -> bool:
        """Whether a module was called exactly once, with tensors going in and coming out."""
        return self.calls.get(module) == 1 and module in self.outputs and module in self.inputs


def ratio(one: Tensor, other: Tensor) -> float | None:
    """The factor ``c`` for which ``one = c * other`` to rounding, or None."""
    if one.numel() != other.numel():
        return None
    a, b = one.reshape(-1).double(), other.reshape(-1).double()
    size = float(b @ b)
    if not size or not torch.isfinite(a).all() or not torch.isfinite(b).all():
        return None
    if torch.equal(a, b):
        return 1.0
    c = float(a @ b) / size
    near = _NEAR.get(one.dtype, 2e-2)
    return c if c and bool((a - c * b).abs().max() <= near * a.abs().max()) else None


class ModuleBlock:
    """The attention of one block by its parts; every question raises `SiteError` or `LayerError` where it has no
    answer.

    Attributes:
        layer, d_head. parallel: whether the MLP reads the stream before attention has added to it.
    """

    def __init__(self, anatomy: Anatomy, layer: int, trace: ProbePass):
        self.anatomy, self.layer, self.d_head = anatomy, layer, anatomy.d_head
        self._parts: dict[str, Any] = {}
        for name, find in (("norm_attn", self._norm_attn), ("post_attn", self._post_attn)):
            try:
                self._parts[name] = find(trace)
            except (LayerError, SiteError) as error:
                self._parts[name] = error

    def _part(self, name: str) -> Any:
        if isinstance(part := self._parts[name], Exception):
            raise part
        return part

    @property
    def parallel(self) -> bool:
        """Whether attention and MLP read the same stream, so that there is no `resid_mid`."""
        return self.anatomy.is_parallel(self.layer)

    def _place(self, site: str) -> Place:
        return self.anatomy.require(site, self.layer)

    @property
    def o_proj(self) -> Any:
        """The output projection: what the heads' outputs go through."""
        return self._place("z").module

    @property
    def scale(self) -> float:
        """What the model multiplies the attention's output by before it is added to the stream."""
        return self._place("attn_out").scale

    @property
    def post_attn(self) -> Part | None:
        """A norm between the output projection and the stream, or None."""
        norm: Part | None = self._part("post_attn")
        return norm

    @property
    def norm_attn(self) -> Part | Nothing:
        """The norm before attention."""
        norm: Part | Nothing = self._part("norm_attn")
        return norm

    def _post_attn(self, trace: ProbePass) -> Part | None:
        end, o = self._place("attn_out").module, self.o_proj
        if end is o or not trace.once(o) or not trace.once(end) or ratio(trace.outputs[end], trace.outputs[o]) == 1.0:
            return None
        if ratio(trace.inputs[end], trace.outputs[o]) == 1.0 and _is_norm(end):
            return Part(end, self.scale)
        raise LayerError(
            f"layer {self.layer} of model type {self.anatomy.model_type!r}: what {type(end).__name__} makes of the"
            " output projection's output is no norm that could be found."
        )

    def _norm_attn(self, trace: ProbePass) -> Part | Nothing:
        layer = self.anatomy.layers[self.layer]
        x, read = trace.inputs.get(layer), trace.inputs.get(self._place("v").module)
        if x is not None and read is not None:
            if ratio(read, x) == 1.0:
                return NOTHING
            for module in layer.modules():
                if module is layer or not trace.once(module) or not torch.equal(trace.inputs[module], x):
                    continue
                factor = ratio(read, trace.outputs[module])
                if factor is not None and _is_norm(module):
                    return Part(module, factor)
        raise LayerError(
            f"layer {self.layer} of model type {self.anatomy.model_type!r}: the norm before its attention was not"
            " found."
        )

    def output_weight(self) -> Float[Tensor, "n_heads d_head d_model"]:
        """``W_O`` by head as it is applied now, the model's own factor in it.

        Raises: SiteError: a block without attention heads. LayerError: an adapter that applies no fixed weight.
        """
        weight = linear_map(self.o_proj, "attention output")[0].T
        weight = rearrange(weight, "(n_heads d_head) d_model -> n_heads d_head d_model", d_head=self.d_head)
        return weight if self._before == 1.0 else weight * self._before

    def output_bias(self) -> Float[Tensor, " d_model"] | None:
        """The bias of the output projection, times the model's factor, in float32; None where there is none."""
        bias = linear_bias(self.o_proj)
        return None if bias is None else bias.float() * self._before

    @property
    def _before(self) -> float:
        """The model's factor where no norm lies behind it."""
        return self.scale if self.post_attn is None else 1.0

    def value_weight(self) -> Float[Tensor, "n_kv_heads*d_head d_model"]:
        """The rows of the value projection, key/value head by key/value head, as they are applied now.

        Raises: LayerError: heads whose outputs are gated by the query's token.
        """
        place = self._ungated()
        weight = linear_map(place.module, "values")[0]
        return rearrange(place.view(weight.T), "d_model n_kv_heads d_head -> (n_kv_heads d_head) d_model")

    def values(self, x: Float[Tensor, "n d_model"]) -> Float[Tensor, "n n_kv_heads d_head"]:
        """The values of normed rows of the stream. Raises: as ``value_weight``."""
        place = self._ungated()
        v = place.view(place.module(x[None]))[0]
        return v if self.bound is None else v.clamp(-self.bound, self.bound)

    @property
    def bound(self) -> float | None:
        """What values are clipped at."""
        return clip_of(self.anatomy.config)

    def _ungated(self) -> Place:
        place = self._place("v")
        if self.layer in self.anatomy.gated:
            raise LayerError(
                f"layer {self.layer} of model type {self.anatomy.model_type!r}: its heads' outputs are multiplied by a"
                " gate that the query's token sets, so that what a head writes does not follow from what it reads"
                " alone; read it from a text instead (head_vocabulary(text=...), direct_logit_attribution)."
            )
        return place

    def out(self, z: Float[Tensor, "n n_heads d_head"]) -> Float[Tensor, "n d_model"]:
        """What heads' outputs add to the stream, after a post-norm where there is one."""
        y: Tensor = self.o_proj(z.reshape(1, len(z), -1))[0]
        if self.post_attn is not None:
            return self.post_attn(y[None])[0]
        return y if self.scale == 1.0 else y * self.scale


def _is_norm(module: nn.Module) -> bool:
    try:
        norm_map(module)
    except (LayerError, RuntimeError, AttributeError, TypeError):
        return False
    return True


class Tail:
    """What lies behind the last block: the final norm, the head, its factor and cap.

    Attributes:
        norm: the final norm (`NOTHING` where there is none). head: the linear layer of the logits.
        factor: what its output is multiplied by. cap: the soft cap ``cap * tanh(x / cap)`` on that, or None.
        before: what the last block's output is multiplied by on its way into the norm.
        why: why the parts could not be told, or None; `unembed` then is not there.
    """

    def __init__(self, anatomy: Anatomy, trace: ProbePass):
        self.anatomy, self.factor, self.before = anatomy, 1.0, 1.0
        self.norm: Part | Nothing = NOTHING
        self.cap: float | None = None
        self.head: Any = anatomy.head
        self.why: str | None = None
        try:
            self._find(trace)
        except LayerError as error:
            self.why = str(error)

    def _find(self, trace: ProbePass) -> None:
        a, kind = self.anatomy, f"model type {self.anatomy.model_type!r}"
        last = trace.outputs.get(a.layers[-1])
        if self.head is None or not trace.once(self.head) or last is None:
            raise LayerError(f"{kind}: no head that makes its logits out of the last residual stream was found.")
        read = trace.inputs[self.head]
        if ratio(read, last) != 1.0:
            blocks = {m for layer in a.layers for m in layer.modules()}
            fitting = [
                (b, m, c)
                for m in a.hf.modules()
                if m not in blocks and trace.once(m) and trace.inputs[m].shape == last.shape
                for b in _BETWEEN
                if torch.equal(trace.inputs[m], last * b)
                and (c := ratio(read, trace.outputs[m])) is not None
                and _is_norm(m)
            ]
            if not fitting:
                raise LayerError(f"{kind}: no norm between its last block and its head was found.")
            self.before, self.norm = fitting[0][0], Part(*fitting[0][1:])
        out = trace.outputs[self.head]
        cap = getattr(a.config, "final_logit_softcapping", None)
        for scale in dict.fromkeys((1.0, _first(a.config))):
            if (cap and ratio(trace.logits, cap * torch.tanh(out * scale / cap)) == 1.0) or (not cap and scale == 1.0):
                self.cap, self.factor = cap or None, scale
                break
        if not self.cap:
            factor = ratio(trace.logits, out)
            if factor is None:
                raise LayerError(f"{kind}: its logits are not its head's output times one number.")
            self.factor = 1.0 if abs(factor - 1) < 1e-7 else factor
        near = _NEAR.get(last.dtype, 2e-2) * 10
        with torch.no_grad():
            resid, some = self.entering(last), torch.arange(0, a.d_vocab, max(1, a.d_vocab // 64), device=last.device)
            gaps = self.unembed(resid) - trace.logits, self.unembed(resid, some) - trace.logits[..., some]
            gap = max(float(g.abs().max()) for g in gaps) / trace.logits.abs().max().clamp(min=1.0)
        if not gap <= near:
            raise LayerError(f"{kind}: its final norm and head by themselves give other logits (by {gap:.2g}).")

    def entering(self, resid: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        """What enters the final norm, of what leaves the last block."""
        return resid if self.before == 1.0 else resid * self.before

    def unembed(self, resid: Float[Tensor, "... d_model"], columns: Tensor | None = None) -> Tensor:
        """Logits of a stream that enters the final norm: all, or the ``columns`` named. Cost: one product with the
        head's rows, of the columns alone where its weight is what it applies.
        """
        plain = unwrapped(self.head)
        with resident(self.norm.module, plain):
            x = self.norm(resid.reshape(1, -1, resid.shape[-1]))
            columns = None if columns is None else columns.to(device_of(plain))
            if columns is None:
                out = self.head(x)
            elif is_plain(plain):
                bias = None if plain.bias is None else plain.bias[columns]
                out = nn.functional.linear(x.to(columns.device), plain.weight[columns], bias)
            else:
                size = max(1, logit_bytes(x.device) // (4 * self.anatomy.d_vocab))
                out = torch.cat([self.head(rows)[..., columns] for rows in x.split(size, 1)], 1)
        logits = self.capped(out[0] if self.factor == 1.0 else out[0] * self.factor)
        return logits.reshape(*resid.shape[:-1], -1).to(resid.device)

    def capped(self, logits: Tensor) -> Tensor:
        """Logits under the model's soft cap, where it has one."""
        return logits if self.cap is None else self.cap * torch.tanh(logits / self.cap)

    def weight(self) -> Float[Tensor, "d_vocab d_model"]:
        """The rows of the unembedding as they are applied now, the model's factor in them (before a soft cap)."""
        weight = linear_map(self._required_head(), "unembedding")[0]
        return weight if self.factor == 1.0 else weight * self.factor

    def bias(self) -> Float[Tensor, " d_vocab"] | None:
        """The unembedding's bias, times the factor, in float32; None where there is none."""
        bias = linear_bias(self._required_head())
        return None if bias is None else bias.float() * self.factor

    def _required_head(self) -> Any:
        if self.why is not None:
            raise SiteError(self.why)
        return self.head


def _first(config: Any) -> float:
    """A factor on the head's output that a configuration names under one of its usual names, else 1."""
    for name in ("logit_scale", "lm_head_multiplier"):
        if isinstance(value := getattr(config, name, None), float | int) and value:
            return float(value)
    value = getattr(config, "logits_scaling", None)
    return 1.0 / value if value else 1.0


def parts_of(anatomy: Anatomy) -> tuple[list[ModuleBlock], Tail, ProbePass]:
    """Every block's parts and what lies behind them; costs one forward on the probe."""
    trace = ProbePass(anatomy)
    return [ModuleBlock(anatomy, l, trace) for l in range(anatomy.n_layers)], Tail(anatomy, trace), trace
