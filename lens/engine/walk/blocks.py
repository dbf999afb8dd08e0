"""Decoder blocks as functions of flat tokens, on the model's own modules and weights, never copies.

Here is what all blocks share, and the Llama pattern; one class a pattern, in the modules beside this one.
`families.FAMILIES` says which model type has which.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from ...models.placement import device_of, offloading
from ..effective import innermost, is_plain, linear_bias, linear_map, shape
from ..errors import UnsupportedModel
from ..resident import Resident
from ..sites import EXPERTS, SiteError

if TYPE_CHECKING:
    from .experts import Experts

#: Weights by head, and biases where there are some.
Projection = tuple[Float[Tensor, "heads d_head d_model"], Float[Tensor, "heads d_head"] | None]
#: Norms that multiply by one more than their weight.
_ONE_MORE = ("GemmaRMSNorm", "Gemma2RMSNorm", "Gemma3RMSNorm")
#: Numbers of a row from which on few rows, so many, are taken as columns.
_WIDE, _FEW = 1024, range(8, 49)


def unwrapped(module: Any) -> Any:
    """The Hugging Face module inside a TransformerLens bridge component, or the module itself.

    It is of whatever class its library has for it; what is read of it is found by name.
    """
    while isinstance(getattr(module, "original_component", None), nn.Module):
        module = module.original_component
    return module


def part_of(module: nn.Module, name: str) -> Any:
    """A submodule by name, out of its wrappers; None where there is none."""
    part = getattr(unwrapped(module), name, None)
    return unwrapped(part) if isinstance(part, nn.Module) else None


def rotate(x: Float[Tensor, "n heads d_head"], cos: Float[Tensor, "n rot"], sin: Float[Tensor, "n rot"]) -> Tensor:
    """Rotary position embedding on the first ``rot`` dimensions of each head (Su et al. 2021, half-split layout)."""
    rot = cos.shape[-1]
    turn, rest = x[..., :rot], x[..., rot:]
    half, cos, sin = rot // 2, cos[:, None], sin[:, None]
    if x.requires_grad or x.dtype != cos.dtype:
        turned = torch.cat((-turn[..., half:], turn[..., :half]), -1)
        turn = torch.addcmul(turn * cos, turned, sin).to(x.dtype)
    else:  # the same in place, half by half
        first, second = turn[..., :half], turn[..., half:]
        turn = turn * cos
        turn[..., :half].addcmul_(second, sin[..., :half], value=-1)
        turn[..., half:].addcmul_(first, sin[..., half:])
    return turn if rest.shape[-1] == 0 else torch.cat((turn, rest), -1)


def gated(act: nn.Module, gate: Float[Tensor, "n d_mlp"], up: Float[Tensor, "n d_mlp"]) -> Float[Tensor, "n d_mlp"]:
    """``act(gate) * up``; ``gate``'s memory is used again where no gradient is wanted."""
    silu = isinstance(act, nn.SiLU) or "SiLU" in type(act).__name__
    gate = F.silu(gate, inplace=not gate.requires_grad) if silu else act(gate)
    return gate * up if gate.requires_grad or up.requires_grad else gate.mul_(up)


def product(layer: nn.Module, x: Float[Tensor, "n d_in"]) -> Float[Tensor, "n d_out"]:
    """What a linear layer makes of some rows. Of few rows of many numbers, on a CPU and without gradients, as columns:
    that reads the weight in its own order, and is faster.
    """
    few = x.shape[-1] >= _WIDE and len(x) in _FEW and x.device.type == "cpu" and x.dtype == torch.float32
    if not few or torch.is_grad_enabled() or not isinstance(layer, nn.Linear) or not is_plain(layer):
        made: Tensor = layer(x)
        return made
    columns = layer.weight @ x.T
    return columns.T if layer.bias is None else columns.T + layer.bias


class Norm:
    """A layer norm or RMS norm: RMS norms of float32 models in two passes over memory, others by the model's own
    module.
    """

    def __init__(self, module: Any):
        self.module = module
        weight, kind = getattr(module, "weight", None), type(module).__name__
        self.one_more = kind in _ONE_MORE
        self.epsilon = "eps" if self.one_more else "variance_epsilon"
        named = self.one_more or ("RMSNorm" in kind and hasattr(module, self.epsilon))
        self.rms = named and weight is not None and weight.dtype == torch.float32

    @property
    def width(self) -> int:
        """Of what is normed, the last axis of `x`."""
        weight: Tensor = innermost(self.module).weight
        return weight.shape[-1]

    def __call__(self, x: Tensor) -> Tensor:
        """The normed stream, [..., width]."""
        if not self.rms or self.module.weight.is_meta:
            normed: Tensor = self.module(x)
            return normed
        # the norm's square over the width is the mean square, without writing the squares out
        size = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        epsilon = getattr(self.module, self.epsilon)
        if x.requires_grad:
            scale = size.square().div(x.shape[-1]).add(epsilon).rsqrt()
        else:
            scale = size.square_().div_(float(x.shape[-1])).add_(epsilon).rsqrt_()
        scaled = x * scale
        weight = 1 + self.module.weight if self.one_more else self.module.weight
        out: Tensor = scaled * weight if scaled.requires_grad else scaled.mul_(weight)
        return out


class Block:
    """One decoder block of the Llama pattern: separate q, k, v; gated MLP; pre-norms (or OLMo-2's post-norms).

    Attributes:
        window: how many of the last tokens a query sees, itself among them; None: all of them.
        table: which of the model's rotary tables turns its queries and keys; see ``Decoder.rope``.
        cap: the bound that attention scores are bent to by a tanh, or None.
        experts: the mixture of experts in the MLP's place, or None.
        d_mlp: neurons of the MLP; None for a mixture of experts.
        device: where it computes.
    """

    parallel = False
    rotary = True
    window: int | None = None
    table: str | None = None
    cap: float | None = None
    experts: Experts | None = None
    norm_attn: Callable[[Tensor], Tensor]
    norm_mlp: Callable[[Tensor], Tensor]
    q_norm: Norm | None = None
    k_norm: Norm | None = None
    post_attn: Norm | None = None
    post_mlp: Norm | None = None
    d_head: int
    scaling: float
    _names = dict(attn="self_attn", mlp="mlp", norm_attn="input_layernorm", norm_mlp="post_attention_layernorm")

    def __init__(self, layer: nn.Module, config: Any):
        layer = unwrapped(layer)
        self.layer, self.device, self._offloaded = layer, device_of(layer), tuple(offloading(layer))
        self.attn, self.mlp = part_of(layer, self._names["attn"]), part_of(layer, self._names["mlp"])
        if changed := next((m for m in (layer, self.attn, self.mlp) if type(m).__module__.startswith("peft.")), None):
            raise UnsupportedModel(f"its {type(changed).__name__} stands in the place of a whole attention or MLP.")
        self.config, self.scaling = config, self.attn.scaling
        self._norms(layer)
        self._attention()
        self._feed_forward()
        self.d_mlp: int | None = None if self.experts is not None else shape(self.down_proj)[1]

    def resident(self) -> Resident:
        """For a with block in which its offloaded weights are where it computes, read once."""
        return Resident(self._offloaded)

    @property
    def sinks(self) -> Float[Tensor, " n_heads"] | None:
        """A score of each query head that takes part in the softmax and belongs to no token, or None."""
        return None

    def _norms(self, layer: nn.Module) -> None:
        self.norm_attn = Norm(part_of(layer, self._names["norm_attn"]))
        self.norm_mlp = Norm(part_of(layer, self._names["norm_mlp"]))

    def _attention(self) -> None:
        a = self.attn
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (
            part_of(a, n) for n in ("q_proj", "k_proj", "v_proj", "o_proj")
        )
        self.d_head = a.head_dim
        self.q_norm, self.k_norm = (None if (m := part_of(a, n)) is None else Norm(m) for n in ("q_norm", "k_norm"))

    def _feed_forward(self) -> None:
        self.gate, self.up, self.down_proj = (part_of(self.mlp, n) for n in ("gate_proj", "up_proj", "down_proj"))
        self.act = unwrapped(self.mlp.act_fn)

    def require(self, site: str, layer: int) -> None:
        """Raises: SiteError: this block, that of ``layer``, has no such site."""
        if site == "resid_mid" and self.parallel:
            raise SiteError(
                "site 'resid_mid' does not exist: this model's attention and MLP run side by side; use 'attn_out' or"
                " 'resid_post'."
            )
        if site == "neuron" and self.d_mlp is None:
            raise SiteError(
                f"site 'neuron' does not exist in layer {layer}: its MLP is a mixture of experts, each token has other"
                " neurons; use 'mlp_out', or a layer with a plain MLP where the model has one."
            )
        if site in EXPERTS and (self.experts is None or (site == "expert" and self.post_mlp is not None)):
            what = "has no routed experts" if self.experts is None else "adds its experts' sum through a norm"
            raise SiteError(f"site={site!r} does not exist in layer {layer}, which {what}.")

    def has(self, site: str, layer: int) -> bool:
        """Whether this block, that of ``layer``, has a site."""
        try:
            self.require(site, layer)
        except SiteError:
            return False
        return True

    def q(self, x: Float[Tensor, "n d_model"]) -> Float[Tensor, "n n_heads d_head"]:
        """The queries of normed inputs, before their norm and rotation."""
        q: Tensor = self.q_proj(x)
        return q.view(len(x), -1, self.d_head)

    def kv(self, x: Float[Tensor, "n d_model"]) -> tuple[Tensor, Tensor]:
        """The keys and values of normed inputs, [n, n_kv_heads, d_head] each."""
        return self.k_proj(x).view(len(x), -1, self.d_head), self.v_proj(x).view(len(x), -1, self.d_head)

    def qkv(self, x: Float[Tensor, "n d_model"]) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of normed inputs."""
        return self.q(x), *self.kv(x)

    def normed(self, x: Tensor, norm: Norm | None) -> Tensor:
        """Query/key normalisation: over one head (Qwen 3, Gemma 3) or over all heads at once (OLMo)."""
        if norm is None:
            return x
        return norm(x) if norm.width == self.d_head else norm(x.flatten(1)).view_as(x)

    def placed_q(self, q: Tensor, cos: Tensor | None, sin: Tensor | None) -> Tensor:
        """Queries as they meet the keys: normalised where the model does so, and rotated."""
        q = self.normed(q, self.q_norm)
        return q if cos is None or sin is None or not self.rotary else rotate(q, cos, sin)

    def placed_k(self, k: Tensor, cos: Tensor | None, sin: Tensor | None) -> Tensor:
        """Keys, normed where the block norms them and rotated to their positions."""
        k = self.normed(k, self.k_norm)
        return k if cos is None or sin is None or not self.rotary else rotate(k, cos, sin)

    def placed_v(self, v: Tensor) -> Tensor:
        """Values as they are added up."""
        return v

    def capped(self, scores: Tensor) -> Tensor:
        """Attention scores, bent to the block's bound where it has one."""
        return scores if self.cap is None else torch.tanh(scores / self.cap) * self.cap

    def out(self, z: Float[Tensor, "n n_heads d_head"]) -> Float[Tensor, "n d_model"]:
        """What the heads' `z` add to the stream."""
        y: Tensor = self.o_proj(z.reshape(len(z), -1))
        return y if self.post_attn is None else self.post_attn(y)

    def hidden(self, x: Float[Tensor, "n d_model"]) -> Float[Tensor, "n d_mlp"]:
        """The neurons' activations."""
        return gated(self.act, self.gate(x), self.up(x))

    def down(self, hidden: Float[Tensor, "n d_mlp"]) -> Float[Tensor, "n d_model"]:
        """What the neurons add to the stream."""
        y = product(self.down_proj, hidden)
        return y if self.post_mlp is None else self.post_mlp(y)

    def feed(self, x: Float[Tensor, "n d_model"], tap: Callable[[str, Tensor], Tensor]) -> Float[Tensor, "n d_model"]:
        """What the MLP adds to the stream, from the normalised stream; taps ``neuron``, or ``router`` of a mixture of
        experts.
        """
        if self.experts is None:
            return self.down(tap("neuron", self.hidden(x)))
        y = self.experts(x, tap)
        return y if self.post_mlp is None else self.post_mlp(y)

    def output_weight(self) -> Float[Tensor, "n_heads d_head d_model"]:
        """``W_O`` by head, in the TransformerLens layout, as it is applied now: with adapters where there are some.

        Raises: LayerError: under an adapter that applies no fixed weight.
        """
        weight: Tensor = linear_map(self.o_proj, "attention output")[0].T
        return rearrange(weight, "(n_heads d_head) d_model -> n_heads d_head d_model", d_head=self.d_head)

    def output_bias(self) -> Float[Tensor, " d_model"] | None:
        """The bias of the output projection in float32, or None."""
        bias = linear_bias(self.o_proj)
        return None if bias is None else bias.float()

    def read_weights(self) -> tuple[Projection, Projection, Projection]:
        """The projections to queries, keys and values by head, as they are applied now: weights ``[heads, d_head,
        d_model]`` and biases ``[heads, d_head]`` or None.

        Raises: as ``output_weight``.
        """
        maps = zip((self.q_proj, self.k_proj, self.v_proj), ("queries", "keys", "values"))
        q, k, v = (self._by_head(*linear_map(layer, name)) for layer, name in maps)
        return q, k, v

    def _by_head(self, weight: Tensor, bias: Tensor | None) -> Projection:
        return weight.unflatten(0, (-1, self.d_head)), None if bias is None else bias.view(-1, self.d_head)

    @property
    def bound(self) -> float | None:
        """What values are clipped at: nothing."""
        return None

    def values(self, x: Float[Tensor, "n d_model"]) -> Float[Tensor, "n n_kv_heads d_head"]:
        """The values of normed rows of the stream."""
        return self.kv(x)[1]

    def value_weight(self) -> Float[Tensor, "n_kv_heads*d_head d_model"]:
        """The rows of the value projection, key/value head by key/value head, as they are applied now.

        Raises: as ``output_weight``.
        """
        return linear_map(self.v_proj, "values")[0]


def _as_it_is(x: Tensor) -> Tensor:
    return x


class PostNormBlock(Block):
    """OLMo 2 and 3: no norm before attention and MLP, one after each."""

    def _norms(self, layer: nn.Module) -> None:
        self.norm_attn = self.norm_mlp = _as_it_is
        self.post_attn = Norm(part_of(layer, "post_attention_layernorm"))
        self.post_mlp = Norm(part_of(layer, "post_feedforward_layernorm"))


class SomeRotaryBlock(Block):
    """SmolLM 3: some layers turn neither queries nor keys."""

    def _attention(self) -> None:
        super()._attention()
        self.rotary = bool(self.attn.use_rope)
