"""A slow reference for edits: plain forward hooks on a Hugging Face model, one edited run a forward.

It shares nothing with the engine but the vocabulary of sites.
"""

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

_PATTERN_EDITS: dict = {}
_PATTERNS: dict = {}


def _attention(module, query, key, value, attention_mask, scaling=None, dropout=0.0, **kwargs):
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = query @ key.transpose(2, 3) * scale
    causal = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    pattern = scores.masked_fill(~causal, float("-inf")).softmax(-1)
    for change in _PATTERN_EDITS.get((id(module.config), module.layer_idx), ()):
        pattern = change(pattern)
    _PATTERNS[id(module.config), module.layer_idx] = pattern
    return (pattern @ value).transpose(1, 2).contiguous(), pattern


AttentionInterface.register("naive", _attention)
AttentionMaskInterface.register("naive", eager_mask)


def parts(hf, layer):
    kind = hf.config.model_type
    if kind == "gpt2":
        block = hf.transformer.h[layer]
        return dict(
            block=block,
            attn=block.attn,
            o=block.attn.c_proj,
            mlp=block.mlp,
            down=block.mlp.c_proj,
            attn_end=block.attn,
            mlp_end=block.mlp,
            embed=hf.transformer.wte,
        )
    if kind == "gpt_neox":
        block = hf.gpt_neox.layers[layer]
        return dict(
            block=block,
            attn=block.attention,
            o=block.attention.dense,
            mlp=block.mlp,
            down=block.mlp.dense_4h_to_h,
            attn_end=block.attention,
            mlp_end=block.mlp,
            embed=hf.gpt_neox.embed_in,
        )
    block = hf.model.layers[layer]
    post = kind == "olmo2"
    return dict(
        block=block,
        attn=block.self_attn,
        o=block.self_attn.o_proj,
        mlp=block.mlp,
        down=block.mlp.down_proj,
        attn_end=block.post_attention_layernorm if post else block.self_attn,
        mlp_end=block.post_feedforward_layernorm if post else block.mlp,
        embed=hf.model.embed_tokens,
    )


def _on_output(module, change):
    def hook(_, args, output):
        return (change(output[0]), *output[1:]) if isinstance(output, tuple) else change(output)

    return module.register_forward_hook(hook)


def _on_input(module, change):
    def hook(_, args, kwargs):
        if args:
            return (change(args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": change(kwargs["hidden_states"])}

    return module.register_forward_pre_hook(hook, with_kwargs=True)


def _projected(hf, p, site, change):
    """Hooks the q, k or v projection's output, seen as [batch, position, head, d_head]."""
    kind, attn = hf.config.model_type, p["attn"]
    if kind == "gpt2":

        def fused(x):
            chunks = list(x.split(x.shape[-1] // 3, -1))
            i = "qkv".index(site)
            view = chunks[i].unflatten(-1, (-1, attn.head_dim))
            chunks[i] = change(view).flatten(-2)
            return torch.cat(chunks, -1)

        return _on_output(attn.c_attn, fused)
    if kind == "gpt_neox":

        def fused(x):
            view = x.unflatten(-1, (-1, 3, attn.head_size)).clone()
            view[..., "qkv".index(site), :] = change(view[..., "qkv".index(site), :])
            return view.flatten(-3)

        return _on_output(attn.query_key_value, fused)
    return _on_output(getattr(attn, f"{site}_proj"), lambda x: change(x.unflatten(-1, (-1, attn.head_dim))).flatten(-2))


def hook(hf, site, layer, change):
    """Installs ``change`` on a site's activation ``[1, position, ...]`` (pattern: ``[1, head, query, key]``); returns
    an undo.
    """
    p = parts(hf, layer or 0)
    d_head = getattr(p["attn"], "head_dim", None) or p["attn"].head_size
    if site == "pattern":
        key = (id(p["attn"].config), layer)
        _PATTERN_EDITS.setdefault(key, []).append(change)
        return lambda: _PATTERN_EDITS[key].remove(change)
    if site == "resid_mid":
        seen = {}
        first = _on_input(p["block"], lambda x: seen.setdefault("pre", x) if not seen.update(pre=x) else x)
        second = _on_output(p["attn_end"], lambda x: change(seen["pre"] + x) - seen["pre"])
        return lambda: (first.remove(), second.remove())
    if site == "resid_post":
        return _on_output(p["block"], change).remove
    handle = {
        "embed": lambda: _on_output(p["embed"], change),
        "resid_pre": lambda: _on_input(p["block"], change),
        "attn_out": lambda: _on_output(p["attn_end"], change),
        "mlp_out": lambda: _on_output(p["mlp_end"], change),
        "z": lambda: _on_input(p["o"], lambda x: change(x.unflatten(-1, (-1, d_head))).flatten(-2)),
        "neuron": lambda: _on_input(p["down"], change),
        **{s: lambda s=s: _projected(hf, p, s, change) for s in "qkv"},
    }[site]()
    return handle.remove


@torch.no_grad()
def forward(hf, ids, changes=()):
    """Logits ``[position, vocab]`` with ``changes``, a list of (site, layer, function) in the order given."""
    undo = [hook(hf, *c) for c in changes]
    try:
        return hf(ids[None]).logits[0]
    finally:
        for u in undo:
            u()


@torch.no_grad()
def activation(hf, ids, site, layer):
    seen = []
    forward(hf, ids, [(site, layer, lambda x: (seen.append(x.clone()), x)[1])])
    return seen[0][0]
