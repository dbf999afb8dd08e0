"""Names of activations in dictionaries' files, TransformerLens' and modules', as places of the engine."""

from __future__ import annotations

import re
from typing import Literal

from ..engine.features import Tap
from .errors import FeatureError

#: By TransformerLens' name behind ``blocks.N.``: the site, and of the MLP's input whether the gain is in it.
_HOOKS = {
    "hook_resid_pre": ("resid_pre", True),
    "hook_resid_mid": ("resid_mid", True),
    "hook_resid_post": ("resid_post", True),
    "hook_attn_out": ("attn_out", True),
    "hook_mlp_out": ("mlp_out", True),
    "attn.hook_z": ("z", True),
    "attn.hook_q": ("q", True),
    "attn.hook_k": ("k", True),
    "attn.hook_v": ("v", True),
    "mlp.hook_post": ("neuron", True),
    "mlp.hook_out": ("mlp_out", True),
    "mlp.hook_in": ("mlp_in", True),
    "hook_mlp_in": ("resid_mid", True),
    "ln2.hook_normalized": ("mlp_in", False),
    "ln2.hook_out": ("mlp_in", True),
    "ln2_post.hook_normalized": ("mlp_out", True),
    "ln2_post": ("mlp_out", True),
    "ln1_post": ("attn_out", True),
    "hook_in": ("resid_pre", True),
    "hook_out": ("resid_post", True),
}
#: By a module's name behind ``layers.N.`` (or ``h.N.``): what it returns, and what it is given.
_MODULES = {
    "": ("resid_post", "resid_pre"),
    "mlp": ("mlp_out", "mlp_in"),
    "feed_forward": ("mlp_out", "mlp_in"),
    "self_attn": ("attn_out", None),
    "attn": ("attn_out", None),
    "attention": ("attn_out", None),
    "self_attn.o_proj": ("attn_out", "z"),
    "pre_feedforward_layernorm": ("mlp_in", "resid_mid"),
    "post_feedforward_layernorm": ("mlp_out", None),
    "post_attention_layernorm": ("attn_out", None),
}
_BLOCK = re.compile(r"^blocks\.(\d+)\.(.+)$")
_LAYER = re.compile(r"^(?:model\.)?(?:language_model\.)?(?:transformer\.|gpt_neox\.)?(?:layers|h)\.(\d+)(?:\.(.+))?$")


def tap_of(name: str, side: Literal["in", "out"] = "out", head: int | None = None, where: str = "the file") -> Tap:
    """The place that a name means.

    Args:
        name: such as ``blocks.3.hook_resid_post``, ``model.layers.3.mlp`` or ``model.layers.3.output``.
        side: of a module that is named without ".input" or ".output", which of the two is meant. head: the one head.

    Raises:
        FeatureError: a name that is not known.

    >>> tap_of("blocks.3.attn.hook_z"), tap_of("layers.3.mlp", "in")
    (Tap(site='z', layer=3, head=None, gain=True), Tap(site='mlp_in', layer=3, head=None, gain=True))
    """
    if name in ("hook_embed", "embed"):
        return Tap("embed", 0)
    block, layer = _BLOCK.match(name), _LAYER.match(name)
    if block and block[2] in _HOOKS:
        site, gain = _HOOKS[block[2]]
        return Tap(site, int(block[1]), head if site in ("z", "q", "k", "v") else None, gain)
    if layer:
        module = layer[2] or ""
        for end in ("input", "output"):
            if module == end or module.endswith(f".{end}"):
                module, side = module[: -len(end)].rstrip("."), "in" if end == "input" else "out"
        found = _MODULES.get(module)
        known = found[side == "in"] if found else None
        if known is not None:
            return Tap(known, int(layer[1]), head if known == "z" else None)
    raise FeatureError(
        f"the hook {name!r} of {where} is not known; expected blocks.N.hook_... of TransformerLens or"
        " model.layers.N... of a module. Say it with tap='resid_post', layer=N."
    )
