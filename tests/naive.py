"""A slow reference for edits: plain forward hooks on a Hugging Face model, one edited run a forward.

It shares nothing with the engine but the vocabulary of sites.
"""

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

from lens.engine.sites import HEADED

_PATTERN_EDITS: dict = {}
_PATTERNS: dict = {}


def _attention(
    module, query, key, value, attention_mask, scaling=None, dropout=0.0, softcap=None, s_aux=None, **kwargs
):
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = query @ key.transpose(2, 3) * scale
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    seen = torch.ones(scores.shape[-2:], dtype=torch.bool).tril() if attention_mask is None else attention_mask == 0
    scores = scores.masked_fill(~seen, float("-inf"))
    if s_aux is not None:
        scores = torch.cat([scores, s_aux[None, :, None, None].expand(*scores.shape[:-1], 1)], -1)
    pattern = scores.float().softmax(-1)[..., : key.shape[-2]].to(query.dtype)
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
    body = hf.model.language_model if kind == "gemma3" else hf.model
    block = body.layers[layer]
    post = kind in ("olmo2", "olmo3", "gemma2", "gemma3", "gemma3_text")
    return dict(
        block=block,
        attn=block.self_attn,
        o=block.self_attn.o_proj,
        mlp=block.mlp,
        down=getattr(block.mlp, "down_proj", None),  # a mixture of experts has none
        attn_end=block.post_attention_layernorm if post else block.self_attn,
        mlp_end=block.post_feedforward_layernorm if post else block.mlp,
        embed=body.embed_tokens,
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
    if kind == "phi3":
        config = attn.config
        sizes = [n * attn.head_dim for n in (config.num_attention_heads, *[config.num_key_value_heads] * 2)]

        def fused(x):
            chunks = list(x.split(sizes, -1))
            i = "qkv".index(site)
            chunks[i] = change(chunks[i].unflatten(-1, (-1, attn.head_dim))).flatten(-2)
            return torch.cat(chunks, -1)

        return _on_output(attn.qkv_proj, fused)
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


def changed(edit, source_activation):
    """The edit as a function on a whole activation [1, position, ...] (pattern [1, head, query, key])."""
    site = edit.site

    def apply(x):
        x = x.clone()
        view = x[0].transpose(0, 1) if site.name == "pattern" else x[0]  # [position, head, key] for patterns
        length = view.shape[0]
        at = (
            range(length)
            if site.position is None
            else [p % length for p in ([site.position] if isinstance(site.position, int) else site.position)]
        )
        axis = {"neuron": site.neuron}.get(site.name, site.head)
        for p in at:
            if site.name in HEADED or site.name == "neuron":
                subs = range(view.shape[1]) if axis is None else [axis] if isinstance(axis, int) else list(axis)
            else:
                subs = [slice(None)]
            for s in subs:
                old = view[p, s]
                if edit.op in ("replace", "resample") and not isinstance(edit.value, torch.Tensor):
                    new = (source_activation.transpose(0, 1) if site.name == "pattern" else source_activation)[
                        p, s
                    ] * edit.scale
                elif edit.op in ("replace", "mean"):
                    new = (
                        edit.value * edit.scale
                        if not (site.name == "neuron" and axis is None)
                        else edit.value[s] * edit.scale
                    )
                elif edit.op == "add":
                    new = old + edit.scale * (
                        edit.value if not (site.name == "neuron" and axis is None) else edit.value[s]
                    )
                else:
                    new = old * (edit.scale if edit.op == "scale" else 0.0)
                if site.name == "pattern" and site.key is not None:
                    keys = [site.key] if isinstance(site.key, int) else list(site.key)
                    kept = old.clone()
                    kept[keys] = new[keys]
                    new = kept
                view[p, s] = new
        return x

    return apply
