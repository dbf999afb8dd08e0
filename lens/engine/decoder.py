"""A decoder as the engine sees it: embeddings, blocks as functions of flat tokens, and the unembedding.

The weights are the model's own tensors, never copies. A model type is served here only if ``Decoder.of`` finds its logits
equal to the model's own on a probe; otherwise it raises ``UnsupportedModel`` and the caller takes a slower path.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from .forward import Layout, all_blocks


class UnsupportedModel(RuntimeError):
    """The model's blocks are not of a type that the fast walk knows, or its logits differ on the probe."""


def unwrapped(module: nn.Module) -> nn.Module:
    """The Hugging Face module inside a TransformerLens bridge component, or the module itself."""
    while isinstance(getattr(module, "original_component", None), nn.Module):
        module = module.original_component
    return module


def _part(module: nn.Module, name: str) -> nn.Module | None:
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
    """A layer norm or RMS norm: RMS norms of float32 models in two passes over memory, others by the model's own module."""

    def __init__(self, module: nn.Module):
        self.module = module
        weight = getattr(module, "weight", None)
        self.rms = "RMSNorm" in type(module).__name__ and hasattr(module, "variance_epsilon") and weight is not None and weight.dtype == torch.float32

    def __call__(self, x: Tensor) -> Tensor:
        if not self.rms:
            return self.module(x)
        # the norm's square over the width is the mean square, without writing the squares out
        size = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        scale = (size.square_() if not x.requires_grad else size.square()).div(x.shape[-1]).add(self.module.variance_epsilon).rsqrt()
        scaled = x * scale
        return scaled * self.module.weight if scaled.requires_grad else scaled.mul_(self.module.weight)


class Block:
    """One decoder block of the Llama pattern: separate q, k, v; gated MLP; pre-norms (or OLMo-2's post-norms)."""

    parallel = False
    rotary = True
    _names = dict(attn="self_attn", mlp="mlp", norm_attn="input_layernorm", norm_mlp="post_attention_layernorm")

    def __init__(self, layer: nn.Module, config: Any):
        layer = unwrapped(layer)
        self.attn, self.mlp = _part(layer, self._names["attn"]), _part(layer, self._names["mlp"])
        self.config, self.scaling = config, self.attn.scaling
        self._norms(layer)
        self._weights()

    def _norms(self, layer):
        self.norm_attn, self.norm_mlp = Norm(_part(layer, self._names["norm_attn"])), Norm(_part(layer, self._names["norm_mlp"]))
        self.post_attn = self.post_mlp = None

    def _weights(self):
        a, m = self.attn, self.mlp
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (_part(a, n) for n in ("q_proj", "k_proj", "v_proj", "o_proj"))
        self.q_norm, self.k_norm = _part(a, "q_norm"), _part(a, "k_norm")
        self.gate, self.up, self.down_proj = (_part(m, n) for n in ("gate_proj", "up_proj", "down_proj"))
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
        gate = F.silu(gate, inplace=not gate.requires_grad) if isinstance(self.act, nn.SiLU) or "SiLU" in type(self.act).__name__ else self.act(gate)
        up = self.up(x)
        return gate * up if gate.requires_grad else gate.mul_(up)

    def down(self, hidden: Float[Tensor, "n d_mlp"]) -> Float[Tensor, "n d_model"]:
        y = self.down_proj(hidden)
        return y if self.post_mlp is None else self.post_mlp(y)

    def output_weight(self) -> Float[Tensor, "n_heads d_head d_model"]:
        """``W_O`` by head, in the TransformerLens layout."""
        weight = self.o_proj.weight
        weight = weight if type(self.o_proj).__name__ == "Conv1D" else weight.T
        return rearrange(weight, "(n_heads d_head) d_model -> n_heads d_head d_model", d_head=self.d_head)


class PostNormBlock(Block):
    """OLMo 2: no norm before attention and MLP, one after each."""

    def _norms(self, layer):
        self.norm_attn = self.norm_mlp = lambda x: x
        self.post_attn, self.post_mlp = Norm(_part(layer, "post_attention_layernorm")), Norm(_part(layer, "post_feedforward_layernorm"))


class GPT2Block(Block):
    """GPT-2: fused q, k, v as one ``Conv1D``, learned positions, plain MLP."""

    rotary = False
    _names = dict(attn="attn", mlp="mlp", norm_attn="ln_1", norm_mlp="ln_2")

    def _weights(self):
        self.d_head, self.d_model = self.attn.head_dim, self.attn.embed_dim
        self.fused, self.o_proj = _part(self.attn, "c_attn"), _part(self.attn, "c_proj")
        self.q_norm = self.k_norm = None
        self.up, self.down_proj, self.act = _part(self.mlp, "c_fc"), _part(self.mlp, "c_proj"), unwrapped(self.mlp.act)

    def _project(self, x: Tensor, first: int, last: int) -> Tensor:
        d = self.d_model
        return torch.addmm(self.fused.bias[first * d:last * d], x, self.fused.weight[:, first * d:last * d])

    def q(self, x):
        return self._project(x, 0, 1).view(len(x), -1, self.d_head)

    def kv(self, x):
        k, v = self._project(x, 1, 3).split(self.d_model, -1)
        return k.reshape(len(x), -1, self.d_head), v.reshape(len(x), -1, self.d_head)

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
        self.d_head, self.fused, self.o_proj = a.head_size, _part(a, "query_key_value"), _part(a, "dense")
        self.q_norm = self.k_norm = None
        self.up, self.down_proj, self.act = _part(self.mlp, "dense_h_to_4h"), _part(self.mlp, "dense_4h_to_h"), unwrapped(self.mlp.act)

    def qkv(self, x):
        return self.fused(x).view(len(x), -1, 3, self.d_head).unbind(2)

    def _rows(self, first: int, last: int) -> tuple[Tensor, Tensor | None]:
        part = lambda t: rearrange(rearrange(t, "(h qkv d) ... -> h qkv d ...", qkv=3, d=self.d_head)[:, first:last], "h qkv d ... -> (h qkv d) ...")
        return part(self.fused.weight), None if self.fused.bias is None else part(self.fused.bias)

    def q(self, x):
        return F.linear(x, *self._rows(0, 1)).view(len(x), -1, self.d_head)

    def kv(self, x):
        both = F.linear(x, *self._rows(1, 3)).view(len(x), -1, 2, self.d_head)
        return both[:, :, 0], both[:, :, 1]

    def hidden(self, x):
        return self.act(self.up(x))


#: model_type -> (block class, attribute of the inner model, layers, token embedding, final norm)
FAMILIES = {
    **{t: (Block, "model", "layers", "embed_tokens", "norm") for t in ("llama", "mistral", "qwen2", "qwen3")},
    "olmo2": (PostNormBlock, "model", "layers", "embed_tokens", "norm"),
    "gpt2": (GPT2Block, "transformer", "h", "wte", "ln_f"),
    "gpt_neox": (NeoXBlock, "gpt_neox", "layers", "embed_in", "final_layer_norm"),
}
_STATIC_ROPE = ("default", "linear", "llama3", "yarn")
_REMEMBERED = "_mnemoscope_decoder"
#: Set on a model while ``lens.edited`` holds it.
EDITED = "_mnemoscope_edited"


class Decoder:
    """The engine's view of a model. Use ``Decoder.of(model)``, which checks it and remembers it.

    Attributes: ``blocks``, ``n_layers``, ``n_heads``, ``n_kv_heads``, ``d_model``, ``d_head``, ``d_mlp``, ``d_vocab``,
    ``device``, ``dtype``, ``model_type``.
    """

    def __init__(self, model: Any):
        hf = getattr(model, "original_model", model)
        config = getattr(hf, "config", None)
        self.model_type = getattr(config, "model_type", type(hf).__name__)
        if self.model_type not in FAMILIES:
            raise UnsupportedModel(f"model type {self.model_type!r} is not one of {', '.join(FAMILIES)}.")
        block, inner, layers, embed, norm = FAMILIES[self.model_type]
        body = unwrapped(getattr(hf, inner))
        self.hf, self.body, self.config = hf, body, config
        rope = getattr(config, "rope_parameters", None) or {}
        if rope.get("rope_type", "default") not in _STATIC_ROPE:
            raise UnsupportedModel(f"rope_type={rope['rope_type']!r} depends on the length of the text.")
        self.window = config.sliding_window if getattr(config, "use_sliding_window", self.model_type == "mistral") and \
            getattr(config, "sliding_window", None) else None
        self.embedding, self.norm = _part(body, embed), Norm(_part(body, norm))
        self.head = unwrapped(hf.get_output_embeddings())
        self.positions = _part(body, "wpe")
        self.rotary = _part(body, "rotary_emb")
        self.blocks = [block(layer, config) for layer in getattr(body, layers)]
        self.n_layers, self.d_model = len(self.blocks), self.embedding.weight.shape[1]
        self.n_heads, self.d_head = config.num_attention_heads, self.blocks[0].d_head
        self.n_kv_heads = getattr(config, "num_key_value_heads", None) or self.n_heads
        self.d_vocab = self.head.weight.shape[0]
        down = self.blocks[0].down_proj
        self.d_mlp = down.weight.shape[0 if type(down).__name__ == "Conv1D" else 1]
        self.max_length = getattr(config, "max_position_embeddings", None)
        self._tables: tuple[Tensor, Tensor] | None = None

    @property
    def device(self) -> torch.device:
        return self.embedding.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.embedding.weight.dtype

    @classmethod
    def of(cls, model: Any) -> "Decoder":
        """The checked decoder of a ``TransformerBridge`` or a Hugging Face causal model; the check runs once a model.

        Raises:
            UnsupportedModel: unknown blocks, or logits that differ from the model's own on the probe.
            ValueError: the model's logits hold NaN or infinity.
        """
        if isinstance(model, cls):
            return model
        key = getattr(model, "original_model", model)
        if key.__dict__.get(EDITED):
            raise ValueError("model: edits are in force on it (lens.edited), which a sweep would not see; leave the with block first.")
        found = key.__dict__.get(_REMEMBERED)
        if found is None or found.stale():
            try:
                found = cls(model)
                if key.training:
                    raise ValueError("model: it is in training mode, where dropout changes every run; call model.eval() first.")
                found.check(key)
            except (AttributeError, TypeError, RuntimeError) as error:
                if isinstance(error, (UnsupportedModel, torch.OutOfMemoryError)):
                    raise
                kind = getattr(getattr(key, "config", None), "model_type", type(key).__name__)
                raise UnsupportedModel(f"{kind}: its blocks are not built as expected ({type(error).__name__}: {error}).") from error
            found._mark = found._stamp()
            key.__dict__[_REMEMBERED] = found
        return found

    def _stamp(self) -> list:
        """What the check saw: every module with its hooks, and where the weights are. Holds the modules, so that none is mistaken for another."""
        weights = (self.embedding.weight, self.head.weight, self.blocks[-1].down_proj.weight)
        return [*((m, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in self.hf.modules()), *((p.device, p.dtype) for p in weights)]

    def stale(self) -> bool:
        """Whether the model moved, changed its dtype, or had a module swapped or hooked since the check."""
        mark = self._stamp()
        return len(mark) != len(self._mark) or any(a[0] is not b[0] and a[0] != b[0] or a[1:] != b[1:] for a, b in zip(mark, self._mark))

    @torch.no_grad()
    def check(self, reference: Any, length: int = 9) -> float:
        """The largest logit difference to ``reference`` on a fixed probe of ``length`` tokens (after the model's own scale).

        Raises: as ``of``.
        """
        generator = torch.Generator().manual_seed(0)
        ids = torch.randint(0, self.d_vocab, (length,), generator=generator).to(self.device)
        at = torch.arange(length, device=self.device)
        resid = all_blocks(self, self.place(self.embed(ids), at), Layout(torch.zeros_like(at), at, 1, length, dense=True))
        ours = self.unembed(resid)
        theirs = reference(ids[None]).logits[0].to(ours.dtype)
        if not torch.isfinite(theirs).all():
            bad = [n for n, p in self.hf.named_parameters() if not torch.isfinite(p).all()]
            raise ValueError(f"model: its logits are not finite on a probe of {length} tokens"
                             + (f"; parameter {bad[0]!r} holds NaN or infinity" if bad else "") + ". Load the weights again.")
        gap = (ours - theirs).abs().max().item() / max(1.0, theirs.abs().max().item())
        # some paths read weights where the model calls modules; an adapter on such a module must not be passed over
        x = self.blocks[0].norm_attn(self.embed(ids))
        for block in self.blocks:
            gap = max(gap, *((a - b).abs().max().item() for a, b in zip(block.qkv(x), (block.q(x), *block.kv(x)))))
        columns = torch.arange(0, self.d_vocab, max(1, self.d_vocab // 64), device=self.device)
        gap = max(gap, (self.unembed(resid, columns) - self.unembed(resid)[..., columns]).abs().max().item() / max(1.0, theirs.abs().max().item()))
        allowed = {torch.float32: 1e-4, torch.float64: 1e-4}.get(self.dtype, 5e-2)
        if not gap <= allowed:
            raise UnsupportedModel(f"{self.model_type}: the written-out blocks differ from the model by {gap:.2g} (relative) on the probe.")
        return gap

    def rope(self, length: int) -> tuple[Tensor, Tensor] | tuple[None, None]:
        """Cosine and sine tables ``[length, rot]``; none for learned positions."""
        if self.rotary is None:
            return None, None
        if self._tables is None or self._tables[0].shape[0] < length or self._tables[0].device != self.device:
            at = torch.arange(max(length, 64), device=self.device)[None]
            cos, sin = self.rotary(self.embedding.weight[:1, None], position_ids=at)
            self._tables = cos[0], sin[0]
        return self._tables[0][:length], self._tables[1][:length]

    def embed(self, ids: Int[Tensor, "n"]) -> Float[Tensor, "n d_model"]:
        """Token embeddings, without positions."""
        return self.embedding(ids)

    def place(self, embedded: Float[Tensor, "n d_model"], position: Int[Tensor, "n"]) -> Float[Tensor, "n d_model"]:
        """The first residual stream: the embeddings, plus learned positions where the model has them."""
        return embedded if self.positions is None else embedded + self.positions(position)

    def unembed(self, resid: Float[Tensor, "... d_model"], columns: Tensor | None = None) -> Tensor:
        """Logits of a final residual stream, of the whole vocabulary or of the ``columns`` named: ``[..., n_columns]``."""
        x = self.norm(resid)
        if columns is None:
            return self.head(x)
        bias = getattr(self.head, "bias", None)
        return F.linear(x, self.head.weight[columns], None if bias is None else bias[columns])
