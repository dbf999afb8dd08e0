"""A circuit run by plain hooks in float64: the model's own forward, in which each reader's projection is made of its
own sum of writes. Nothing of the engine but the names of sites, and nothing of the package's circuits but names of
edges.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from tests import naive
from tests.kinds import MAKERS, make
from tests.models import speaking, word_tokenizer

Kept = Callable[[str, str], bool]


def model_of(kind: str, seed: int = 0):
    if kind in MAKERS:
        model = make(kind, seed=seed)
        model.tokenizer = word_tokenizer()
        return model
    return speaking(kind, seed)


def apart(model):
    """The same model with keys and values of every query head written out, those of a group alike."""
    model = copy.deepcopy(model)
    config = model.config
    group = config.num_attention_heads // config.num_key_value_heads
    for layer in range(config.num_hidden_layers):
        attn = naive.parts(model, layer)["attn"]
        for module in (attn.k_proj, attn.v_proj):
            for name in ("weight", "bias"):
                old = getattr(module, name)
                if old is not None:
                    new = old.detach().unflatten(0, (-1, attn.head_dim)).repeat_interleave(group, 0).flatten(0, 1)
                    setattr(module, name, nn.Parameter(new))
        attn.num_key_value_groups = 1
    config.num_key_value_heads = config.num_attention_heads
    return model


def names_of(hf, layer):
    """Norms of a block by what they stand before or after."""
    block, kind = naive.parts(hf, layer)["block"], hf.config.model_type
    if kind == "gpt2":
        return dict(attn=block.ln_1, mlp=block.ln_2)
    if kind in ("olmo2", "olmo3"):
        return dict(post_attn=block.post_attention_layernorm)
    if kind.startswith("gemma"):
        if kind == "gemma":
            return dict(attn=block.input_layernorm, mlp=block.post_attention_layernorm)
        return dict(
            attn=block.input_layernorm,
            mlp=block.pre_feedforward_layernorm,
            post_attn=block.post_attention_layernorm,
        )
    return dict(attn=block.input_layernorm, mlp=block.post_attention_layernorm)


def projection(hf, layer, site):
    """Weight ``[heads, d_head, d_model]`` and bias of queries, keys or values."""
    attn, kind = naive.parts(hf, layer)["attn"], hf.config.model_type
    d_head = getattr(attn, "head_dim", None) or attn.head_size
    if kind == "gpt2":
        weight, bias = attn.c_attn.weight.T.chunk(3)["qkv".index(site)], attn.c_attn.bias.chunk(3)["qkv".index(site)]
    elif kind == "gpt_neox":
        fused, i = attn.query_key_value, "qkv".index(site)
        return fused.weight.unflatten(0, (-1, 3, d_head))[:, i], fused.bias.unflatten(0, (-1, 3, d_head))[:, i]
    else:
        module = getattr(attn, f"{site}_proj")
        weight, bias = module.weight, module.bias
    return weight.unflatten(0, (-1, d_head)), None if bias is None else bias.unflatten(0, (-1, d_head))


def output(hf, layer):
    """The attention output's weight by head ``[heads, d_head, d_model]``, and its bias."""
    o, kind = naive.parts(hf, layer)["o"], hf.config.model_type
    attn = naive.parts(hf, layer)["attn"]
    weight = o.weight if kind == "gpt2" else o.weight.T
    return weight.unflatten(0, (-1, getattr(attn, "head_dim", None) or attn.head_size)), o.bias


def rms_norm(module):
    gain = module.weight + 1 if type(module).__name__.startswith("Gemma") else module.weight
    epsilon = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    return lambda x: x * (x.square().mean(-1, keepdim=True) + epsilon).rsqrt() * gain


class Reference:
    """A second copy of a model, in float64."""

    def __init__(self, hf):
        self.hf = copy.deepcopy(hf).double()
        self.hf.set_experts_implementation("eager")  # the fused one takes no doubles
        for module in self.hf.modules():
            if "RMSNorm" in type(module).__name__:  # the library's own computes in float32
                module.forward = rms_norm(module)
        self.kind = hf.config.model_type
        text = getattr(hf.config, "text_config", hf.config)
        self.n_layers, self.n_heads = text.num_hidden_layers, text.num_attention_heads
        self.parallel = self.kind == "gpt_neox" and hf.config.use_parallel_residual

    def _first(self) -> nn.Module:
        return naive.parts(self.hf, 0)["block"]

    def _final(self) -> nn.Module:
        hf = self.hf
        return {"gpt2": lambda: hf.transformer.ln_f, "gpt_neox": lambda: hf.gpt_neox.final_layer_norm}.get(
            self.kind, lambda: hf.model.norm
        )()

    def writes(self, ids) -> dict[str, torch.Tensor]:
        """What every writer adds in a plain run: heads before a norm after attention."""
        found, undo = {}, []

        def heads(layer):
            def look(z):
                w, _ = output(self.hf, layer)
                for h in range(self.n_heads):
                    found[f"a{layer}.h{h}"] = z[0, :, h] @ w[h]
                return z

            return look

        def keep(name):
            def look(x):
                found[name] = x[0]
                return x

            return look

        undo.append(naive._on_input(self._first(), keep("input")).remove)
        for layer in range(self.n_layers):
            undo.append(naive.hook(self.hf, "z", layer, heads(layer)))
            undo.append(naive.hook(self.hf, "mlp_out", layer, keep(f"m{layer}")))
        with torch.no_grad():
            self.hf(ids[None])
        for take_off in undo:
            take_off()
        return found

    def logits(self, ids, source: dict, kept: Kept, held: dict[str, torch.Tensor] | None = None) -> torch.Tensor:
        """The last token's logits where each reader sees what is kept live, and the source's of the rest: what is there
        or a function of what is live. Some writers may be held at what they write for all.
        """
        held = held or {}
        live: dict[str, torch.Tensor] = {}
        undo, hf = [], self.hf

        def seen(reader: str, layers: int, mlps: int) -> torch.Tensor:
            def of(writer):
                there = (live if kept(writer, reader) else source)[writer]
                return there(live[writer]) if callable(there) else there

            x = of("input")
            for layer in range(layers):
                total = sum(of(f"a{layer}.h{h}") for h in range(self.n_heads))
                bias, norm = output(hf, layer)[1], names_of(hf, layer).get("post_attn")
                total = total if bias is None else total + bias
                x = x + (total if norm is None else norm(total))
                if layer < mlps:
                    x = x + of(f"m{layer}")
            return x

        def projected(layer, site):
            def change(t):
                weight, bias = projection(hf, layer, site)
                norm = names_of(hf, layer).get("attn")
                shared = "h" if len(weight) == self.n_heads else "kv"
                heads = []
                for h in range(len(weight)):
                    x = seen(f"a{layer}.{'h' if site == 'q' else shared}{h}<{site}>", layer, layer)
                    x = x if norm is None else norm(x)
                    heads.append(F.linear(x, weight[h], None if bias is None else bias[h]))
                return torch.stack(heads, 1)[None]

            return change

        def heads_live(layer):
            def look(z):
                w, _ = output(hf, layer)
                for h in range(self.n_heads):
                    live[f"a{layer}.h{h}"] = held.get(f"a{layer}.h{h}", z[0, :, h] @ w[h])
                return z

            return look

        def into_mlp(layer):
            def change(x):
                norm = names_of(hf, layer).get("mlp")
                new = seen(f"m{layer}", layer + (not self.parallel), layer)
                return (new if norm is None else norm(new))[None]

            return change

        def keep(name):
            def look(x):
                live[name] = held.get(name, x[0])
                return x

            return look

        undo.append(naive._on_input(self._first(), keep("input")).remove)
        for layer in range(self.n_layers):
            for site in "qkv":
                undo.append(naive.hook(hf, site, layer, projected(layer, site)))
            undo.append(naive.hook(hf, "z", layer, heads_live(layer)))
            undo.append(naive._on_input(naive.parts(hf, layer)["mlp"], into_mlp(layer)).remove)
            undo.append(naive.hook(hf, "mlp_out", layer, keep(f"m{layer}")))
        ends = naive._on_input(self._final(), lambda x: seen("logits", self.n_layers, self.n_layers)[None])
        undo.append(ends.remove)
        with torch.no_grad():
            found = hf(ids[None]).logits[0, -1]
        for take_off in undo:
            take_off()
        return found
