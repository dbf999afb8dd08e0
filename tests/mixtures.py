"""Small random mixtures of experts, and what their experts compute, written down by hand from the modelling files."""

from __future__ import annotations

import torch
import transformers as T

V = 97
_SIZE = dict(
    vocab_size=V,
    hidden_size=32,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=48,
    max_position_embeddings=64,
    initializer_range=0.3,
    bos_token_id=0,
    eos_token_id=0,
    pad_token_id=0,
)
_FEW = dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=24)
_CONFIGS = {
    "mixtral": lambda: T.MixtralConfig(**_SIZE, num_local_experts=4, num_experts_per_tok=2),
    "qwen2_moe": lambda: T.Qwen2MoeConfig(**_SIZE, **_FEW, shared_expert_intermediate_size=24),
    "qwen3_moe": lambda: T.Qwen3MoeConfig(**_SIZE, **_FEW, head_dim=8, norm_topk_prob=True),
    "olmoe": lambda: T.OlmoeConfig(**_SIZE, num_experts=4, num_experts_per_tok=2),
    "granitemoe": lambda: T.GraniteMoeConfig(
        **_SIZE, num_local_experts=4, num_experts_per_tok=2, residual_multiplier=0.4, logits_scaling=3.0
    ),
    "deepseek_v3": lambda: T.DeepseekV3Config(
        **{**_SIZE, "num_key_value_heads": 4},
        q_lora_rank=16,
        kv_lora_rank=12,
        qk_nope_head_dim=8,
        qk_rope_head_dim=4,
        v_head_dim=6,
        n_routed_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=24,
        n_group=2,
        topk_group=1,
        first_k_dense_replace=1,
        n_shared_experts=1,
    ),
    "gpt_oss": lambda: T.GptOssConfig(
        **_SIZE,
        head_dim=8,
        num_local_experts=4,
        num_experts_per_tok=2,
        sliding_window=6,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    ),
    "llama4_text": lambda: T.Llama4TextConfig(
        **_SIZE,
        intermediate_size_mlp=48,
        num_local_experts=4,
        num_experts_per_tok=1,
        head_dim=8,
        interleave_moe_layer_step=2,
    ),
}
KINDS = tuple(_CONFIGS)
#: Kinds whose parameters keep [in, out].
TRANSPOSED = ("gpt_oss", "llama4_text")


def mixture(kind: str, seed: int = 0, implementation: str | None = None):
    """A random mixture in eval mode; norms, biases and routers are random too."""
    torch.manual_seed(seed)
    config = _CONFIGS[kind]()
    if implementation is not None:
        config._experts_implementation = implementation
    model = T.AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
    for name, p in model.named_parameters():
        if p.ndim == 1 or name.endswith("_bias"):
            p.add_(torch.randn_like(p) * 0.2)
    return model


def blocks(model) -> dict[str, torch.nn.Module]:
    """The modules that hold routed experts, by name."""
    return {name: module for name, module in model.named_modules() if name.endswith(".experts")}


def between(kind: str, module, first):
    """What the second matrix reads, from the first one's product."""
    if kind == "gpt_oss":
        gate, up = first[:, ::2].clamp(max=module.limit), first[:, 1::2].clamp(-module.limit, module.limit)
        return (up + 1) * gate * torch.sigmoid(gate * module.alpha)
    gate, up = first.split(first.shape[1] // 2, dim=1)
    return torch.nn.functional.silu(gate) * up


def by_hand(kind: str, module, x, index=None, weight=None):
    """The experts' output [tokens, d_model], and by expert the numbers of its tokens and the inputs of its two
    matrices: loops over experts and tokens.
    """
    out, seen = torch.zeros_like(x), {}
    tokens = len(x) // module.num_experts if index is None else len(x)
    for e in range(module.num_experts):
        first, second = module.gate_up_proj[e], module.down_proj[e]
        if kind not in TRANSPOSED:
            first, second = first.T, second.T
        rows = []
        for t in range(tokens):
            if index is None:
                here = [(e * tokens + t, 1.0)] if bool(x[e * tokens + t].any()) else []
            else:
                here = [(t, weight[t, k]) for k in range(index.shape[1]) if int(index[t, k]) == e]
            for row, by in here:
                product = x[row][None] @ first
                if kind == "gpt_oss":
                    product = product + module.gate_up_proj_bias[e]
                hidden = between(kind, module, product)
                made = hidden @ second
                if kind == "gpt_oss":
                    made = made + module.down_proj_bias[e]
                out[row] += made[0] * by
                rows.append((t, x[row], hidden[0]))
        if rows:
            seen[e] = ([t for t, *_ in rows], torch.stack([a for _, a, _ in rows]), torch.stack([b for *_, b in rows]))
    return out, seen


def routing(model, ids) -> dict[str, tuple]:
    """By experts' module, what its forward was given and what it returned, by plain hooks."""
    kept: dict[str, tuple] = {}
    handles = [
        module.register_forward_hook(lambda m, args, out, name=name: kept.__setitem__(name, (args, out)))
        for name, module in blocks(model).items()
    ]
    model(ids)
    for handle in handles:
        handle.remove()
    return kept


def layer_of(name: str) -> int:
    """The block that a module is in, by its name."""
    return next(int(part) for part in name.split(".") if part.isdigit())


def mixed_layers(model) -> list[int]:
    """The layers with routed experts."""
    return sorted(map(layer_of, blocks(model)))


def one_expert(kind: str, module, e: int, x):
    """What one expert makes of tokens ``[n, d_model]``, its weight left out."""
    first, second = module.gate_up_proj[e], module.down_proj[e]
    if kind not in TRANSPOSED:
        first, second = first.T, second.T
    hidden = between(kind, module, x @ first + (module.gate_up_proj_bias[e] if kind == "gpt_oss" else 0))
    return hidden @ second + (module.down_proj_bias[e] if kind == "gpt_oss" else 0)


class Rewritten:
    """While it is in force, the experts of some layers are sums over all of them, by the weights and parts that
    ``router`` and ``expert`` (by layer) make of ``[batch, position, expert]`` and ``[batch, position, expert,
    d_model]``; ``seen`` holds what both were given.
    """

    def __init__(self, kind: str, model, rows: int, router=None, expert=None):
        self.kind, self.model, self.rows = kind, model, rows
        self.router, self.expert = router or {}, expert or {}
        self.seen: dict[tuple[str, int], torch.Tensor] = {}
        self.multiplier = getattr(model.config, "residual_multiplier", 1.0)

    def _shaped(self, x):
        return x.reshape(self.rows, -1, *x.shape[1:])

    def _changed(self, layer: int, x, weights):
        """From tokens and dense weights, what the experts add together."""
        module = self.found[layer]
        weights = self._shaped(weights)
        self.seen["router", layer] = weights
        weights = self.router.get(layer, lambda w: w)(weights).flatten(0, 1)
        parts = []
        for e in range(module.num_experts):
            w = weights[:, e : e + 1]
            given = one_expert(self.kind, module, e, x * w) if self.kind == "llama4_text" else None
            parts.append(w * one_expert(self.kind, module, e, x) if given is None else given)
        parts = self._shaped(torch.stack(parts, 1)) * self.multiplier
        self.seen["expert", layer] = parts
        parts = self.expert.get(layer, lambda p: p)(parts)
        return (parts.sum(2) / self.multiplier).flatten(0, 1)

    def __enter__(self):
        self.found = {layer_of(name): module for name, module in blocks(self.model).items()}
        self.replaced = []
        for name, module in blocks(self.model).items():
            layer = layer_of(name)
            if self.kind == "llama4_text":
                mixture = self.model.get_submodule(name.rpartition(".")[0])

                def forward(hidden, mixture=mixture, layer=layer):
                    x = hidden.reshape(-1, hidden.shape[-1])
                    scores, logits = mixture.router(x)
                    return mixture.shared_expert(x) + self._changed(layer, x, scores), logits

                self.replaced.append(mixture)
                mixture.forward = forward
            else:

                def forward(x, index, weight, layer=layer, module=module):
                    dense = torch.zeros(len(x), module.num_experts, dtype=weight.dtype)
                    for t in range(len(x)):
                        for k in range(index.shape[1]):
                            dense[t, index[t, k]] = weight[t, k]
                    return self._changed(layer, x, dense)

                self.replaced.append(module)
                module.forward = forward
        return self

    def __exit__(self, *_):
        for module in self.replaced:
            del module.forward
