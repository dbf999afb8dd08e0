"""Decoder blocks as functions of flat tokens, on the model's own modules and weights, never copies.

One class a pattern; `FAMILIES` says which model type has which.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from ..effective import is_plain, linear_map
from ..errors import UnsupportedModel


def unwrapped(module: nn.Module) -> nn.Module:
    """The Hugging Face module inside a TransformerLens bridge component, or the module itself."""
    while isinstance(getattr(module, "original_component", None), nn.Module):
        module = module.original_component
    return module


def part_of(module: nn.Module, name: str) -> nn.Module | None:
    part = getattr(unwrapped(module), name, None)
    return unwrapped(part) if isinstance(part, nn.Module) else None


def rotate(x: Float[Tensor, "n heads d_head"], cos: Float[Tensor, "n rot"], sin: Float[Tensor, "n rot"]) -> Tensor:
    """Rotary position embedding on the first ``rot`` dimensions of each head (Su et al. 2021, half-split layout)."""
    rot = cos.shape[-1]
    turn, rest = x[..., :rot], x[..., rot:]
    half = rot // 2
    turned = torch.cat((-turn[..., half:], turn[..., :half]), -1)
    turn = torch.addcmul(turn * cos[:, None], turned, sin[:, None]).to(x.dtype)
    return turn if rest.shape[-1] == 0 else torch.cat((turn, rest), -1)


class Norm:
    """A layer norm or RMS norm: RMS norms of float32 models in two passes over memory, others by the model's own
    module.
    """

    def __init__(self, module: nn.Module):
        self.module = module
        weight = getattr(module, "weight", None)
        named = "RMSNorm" in type(module).__name__ and hasattr(module, "variance_epsilon")
        self.rms = named and weight is not None and weight.dtype == torch.float32

    def __call__(self, x: Tensor) -> Tensor:
        if not self.rms:
            return self.module(x)
        # the norm's square over the width is the mean square, without writing the squares out
        size = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        square = size.square_() if not x.requires_grad else size.square()
        scale = square.div(x.shape[-1]).add(self.module.variance_epsilon).rsqrt()
        scaled = x * scale
        return scaled * self.module.weight if scaled.requires_grad else scaled.mul_(self.module.weight)


class Block:
    """One decoder block of the Llama pattern: separate q, k, v; gated MLP; pre-norms (or OLMo-2's post-norms)."""

    parallel = False
    rotary = True
    _names = dict(attn="self_attn", mlp="mlp", norm_attn="input_layernorm", norm_mlp="post_attention_layernorm")

    def __init__(self, layer: nn.Module, config: Any):
        layer = unwrapped(layer)
        self.attn, self.mlp = part_of(layer, self._names["attn"]), part_of(layer, self._names["mlp"])
        if changed := next((m for m in (layer, self.attn, self.mlp) if type(m).__module__.startswith("peft.")), None):
            raise UnsupportedModel(f"its {type(changed).__name__} stands in the place of a whole attention or MLP.")
        self.config, self.scaling = config, self.attn.scaling
        self._norms(layer)
        self._weights()

    def _norms(self, layer):
        self.norm_attn = Norm(part_of(layer, self._names["norm_attn"]))
        self.norm_mlp = Norm(part_of(layer, self._names["norm_mlp"]))
        self.post_attn = self.post_mlp = None

    def _weights(self):
        a, m = self.attn, self.mlp
        self.q_proj, self.k_proj, self.v_proj = (part_of(a, n) for n in ("q_proj", "k_proj", "v_proj"))
        self.o_proj = part_of(a, "o_proj")
        self.q_norm, self.k_norm = part_of(a, "q_norm"), part_of(a, "k_norm")
        self.gate, self.up, self.down_proj = (part_of(m, n) for n in ("gate_proj", "up_proj", "down_proj"))
        self.d_head = a.head_dim
        self.act = unwrapped(m.act_fn)

    def q(self, x: Float[Tensor, "n d_model"]) -> Float[Tensor, "n n_heads d_head"]:
        return self.q_proj(x).view(len(x), -1, self.d_head)

    def kv(self, x: Float[Tensor, "n d_model"]) -> tuple[Tensor, Tensor]:
        return self.k_proj(x).view(len(x), -1, self.d_head), self.v_proj(x).view(len(x), -1, self.d_head)

    def qkv(self, x: Float[Tensor, "n d_model"]) -> tuple[Tensor, Tensor, Tensor]:
        return self.q(x), *self.kv(x)

    def normed(self, x: Tensor, norm: nn.Module | None) -> Tensor:
        """Query/key normalisation: over one head (Qwen 3) or over all heads at once (OLMo 2)."""
        if norm is None:
            return x
        return norm(x) if norm.weight.shape[-1] == self.d_head else norm(x.flatten(1)).view_as(x)

    def placed_q(self, q: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Queries as they meet the keys: normalised where the model does so, and rotated."""
        q = self.normed(q, self.q_norm)
        return rotate(q, cos, sin) if self.rotary else q

    def placed_k(self, k: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        k = self.normed(k, self.k_norm)
        return rotate(k, cos, sin) if self.rotary else k

    def out(self, z: Float[Tensor, "n n_heads d_head"]) -> Float[Tensor, "n d_model"]:
        y = self.o_proj(z.reshape(len(z), -1))
        return y if self.post_attn is None else self.post_attn(y)

    def hidden(self, x: Float[Tensor, "n d_model"]) -> Float[Tensor, "n d_mlp"]:
        gate = self.gate(x)
        silu = isinstance(self.act, nn.SiLU) or "SiLU" in type(self.act).__name__
        gate = F.silu(gate, inplace=not gate.requires_grad) if silu else self.act(gate)
        up = self.up(x)
        return gate * up if gate.requires_grad else gate.mul_(up)

    def down(self, hidden: Float[Tensor, "n d_mlp"]) -> Float[Tensor, "n d_model"]:
        y = self.down_proj(hidden)
        return y if self.post_mlp is None else self.post_mlp(y)

    def output_weight(self) -> Float[Tensor, "n_heads d_head d_model"]:
        """``W_O`` by head, in the TransformerLens layout, as it is applied now: with adapters where there are some.

        Raises: LayerError: under an adapter that applies no fixed weight.
        """
        weight = linear_map(self.o_proj, "attention output")[0].T
        return rearrange(weight, "(n_heads d_head) d_model -> n_heads d_head d_model", d_head=self.d_head)

    def value_weight(self) -> Float[Tensor, "n_kv_heads*d_head d_model"]:
        """The rows of the value projection, key/value head by key/value head, as they are applied now.

        Raises: as ``output_weight``.
        """
        return linear_map(self.v_proj, "values")[0]


class PostNormBlock(Block):
    """OLMo 2: no norm before attention and MLP, one after each."""

    def _norms(self, layer):
        self.norm_attn = self.norm_mlp = lambda x: x
        self.post_attn = Norm(part_of(layer, "post_attention_layernorm"))
        self.post_mlp = Norm(part_of(layer, "post_feedforward_layernorm"))


class GPT2Block(Block):
    """GPT-2: fused q, k, v as one ``Conv1D``, learned positions, plain MLP."""

    rotary = False
    _names = dict(attn="attn", mlp="mlp", norm_attn="ln_1", norm_mlp="ln_2")

    def _weights(self):
        self.d_head, self.d_model = self.attn.head_dim, self.attn.embed_dim
        self.fused, self.o_proj = part_of(self.attn, "c_attn"), part_of(self.attn, "c_proj")
        self.q_norm = self.k_norm = None
        self.up, self.down_proj = part_of(self.mlp, "c_fc"), part_of(self.mlp, "c_proj")
        self.act = unwrapped(self.mlp.act)

    def _project(self, x: Tensor, first: int, last: int) -> Tensor:
        d = self.d_model
        if not is_plain(self.fused):
            # under an adapter the layer's parameter is not what it applies
            return self.fused(x)[:, first * d : last * d]
        return torch.addmm(self.fused.bias[first * d : last * d], x, self.fused.weight[:, first * d : last * d])

    def q(self, x):
        return self._project(x, 0, 1).view(len(x), -1, self.d_head)

    def kv(self, x):
        k, v = self._project(x, 1, 3).split(self.d_model, -1)
        return k.reshape(len(x), -1, self.d_head), v.reshape(len(x), -1, self.d_head)

    def value_weight(self):
        return linear_map(self.fused, "queries, keys and values")[0][2 * self.d_model :]

    def hidden(self, x):
        return self.act(self.up(x))


class NeoXBlock(Block):
    """GPT-NeoX and Pythia: q, k, v fused head by head, rotary on part of each head, attention and MLP side by side."""

    _names = dict(attn="attention", mlp="mlp", norm_attn="input_layernorm", norm_mlp="post_attention_layernorm")

    def __init__(self, layer, config):
        super().__init__(layer, config)
        self.parallel = bool(unwrapped(layer).use_parallel_residual)

    def _weights(self):
        a = self.attn
        self.d_head, self.fused, self.o_proj = a.head_size, part_of(a, "query_key_value"), part_of(a, "dense")
        self.q_norm = self.k_norm = None
        self.up, self.down_proj = part_of(self.mlp, "dense_h_to_4h"), part_of(self.mlp, "dense_4h_to_h")
        self.act = unwrapped(self.mlp.act)

    def qkv(self, x):
        return self.fused(x).view(len(x), -1, 3, self.d_head).unbind(2)

    def _rows(self, t: Tensor, first: int, last: int) -> Tensor:
        by_head = rearrange(t, "(h qkv d) ... -> h qkv d ...", qkv=3, d=self.d_head)
        return rearrange(by_head[:, first:last], "h qkv d ... -> (h qkv d) ...")

    def _project(self, x: Tensor, first: int, last: int) -> Tensor:
        if not is_plain(self.fused):
            # under an adapter the layer's parameter is not what it applies
            return self.fused(x).view(len(x), -1, 3, self.d_head)[:, :, first:last]
        weight, bias = self.fused.weight, self.fused.bias
        out = F.linear(x, self._rows(weight, first, last), None if bias is None else self._rows(bias, first, last))
        return out.view(len(x), -1, last - first, self.d_head)

    def q(self, x):
        return self._project(x, 0, 1)[:, :, 0]

    def kv(self, x):
        return self._project(x, 1, 3).unbind(2)

    def value_weight(self):
        return self._rows(linear_map(self.fused, "queries, keys and values")[0], 2, 3)

    def hidden(self, x):
        return self.act(self.up(x))


#: model_type -> (block class, attribute of the inner model, layers, token embedding, final norm)
FAMILIES = {
    **{t: (Block, "model", "layers", "embed_tokens", "norm") for t in ("llama", "mistral", "qwen2", "qwen3")},
    "olmo2": (PostNormBlock, "model", "layers", "embed_tokens", "norm"),
    "gpt2": (GPT2Block, "transformer", "h", "wte", "ln_f"),
    "gpt_neox": (NeoXBlock, "gpt_neox", "layers", "embed_in", "final_layer_norm"),
}
