"""Where the sites of a type of model lie, written down by hand from the modelling files of transformers.

The product finds these places by a probe; here a person has read them, so that the two can be compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Int

#: A projection: the module of a layer whose output holds it, and which entries of the last axis are which head's.
Projection = tuple[str, Int[np.ndarray, "head d_head"]]


@dataclass(frozen=True)
class Where:
    """The modules that hold the sites of one model.

    Attributes:
        layers: path of the list of blocks. embed, norm, head: paths of the token embedding, the final norm (None: there
            is none) and the unembedding.
        mixers: modules of a layer whose outputs, each times its factor, are what is added before the MLP; the module
            that runs last comes last. By layer where layers differ (`other`).
        attn: which of the mixers is the attention, None where there is none. inside: the module in which the softmax
            of the attention is taken.
        mlp: the module whose output, times its factor, the MLP adds. down: its last projection (its input is the site
            `neuron`); None where experts have no such layer.
        o: the output projection of the attention, z: which entries of its input are which head's. qkv: likewise of the
            projections.
        post: the norm between the output projection and the stream, where there is one.
        start: a norm inside the first block through which the stream goes before anything is added.
        parallel: attention and MLP read the same stream.
        logits: logits are this times the head's output; cap: then squashed to (-cap, cap).
        router, experts: modules of a mixture, None where a layer has none.
        other: layers of another kind: {layer: fields that differ}.
        lacks: site -> why a model of this type has none, for the table. unsure: sites of which a refusal that says so
            is as right as the numbers.
    """

    layers: str = "model.layers"
    embed: str = "model.embed_tokens"
    norm: str | None = "model.norm"
    head: str = "lm_head"
    mixers: Mapping[str, float] = field(default_factory=lambda: {"self_attn": 1.0})
    attn: str | None = "self_attn"
    inside: str | None = "self_attn"
    mlp: str | None = "mlp"
    mlp_times: float = 1.0
    down: str | None = "mlp.down_proj"
    o: str | None = "self_attn.o_proj"
    z: Any = None
    qkv: Mapping[str, Projection] = field(default_factory=dict)
    post: str | None = None
    start: str | None = None
    parallel: bool = False
    logits: float = 1.0
    cap: float | None = None
    router: str | None = None
    experts: str | None = None
    other: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    lacks: Mapping[str, str] = field(default_factory=dict)
    unsure: frozenset[str] = frozenset()

    def at(self, layer: int) -> Where:
        """The places of one layer."""
        return replace(self, other={}, **self.other[layer]) if layer in self.other else self

    def but(self, **changes: Any) -> Where:
        """The same places with some that differ."""
        return replace(self, **changes)

    def reason(self, site: str, layer: int) -> str | None:
        """Why a layer has no such site; None where it has."""
        at = self.at(layer)
        if site in at.lacks:
            return at.lacks[site]
        if site in ("z", "pattern", *"qkv") and at.attn is None:
            return "no attention"
        if site in "qkv" and site not in at.qkv:
            return f"no projection to {site}"
        if site == "attn_out" and at.attn is None:
            return "no attention"
        if site == "resid_mid" and at.parallel:
            return "attention and MLP run side by side"
        if site in ("resid_mid", "mlp_out") and at.mlp is None:
            return "no MLP"
        if site == "neuron" and at.down is None:
            return "no down projection outside the experts"
        if site in ("router", "expert") and at.router is None:
            return "no experts"
        return None

    def having(self, site: str, n_layers: int) -> list[int]:
        """The layers that have a site."""
        return [layer for layer in range(n_layers) if self.reason(site, layer) is None]


# -- layouts of projections --------------------------------------------------------------------------------------------


def whole(heads: int, d_head: int) -> Int[np.ndarray, "head d_head"]:
    """Heads one after the other."""
    return np.arange(heads * d_head).reshape(heads, d_head)


def apart(heads: int, shared: int, d_head: int, attn: str = "self_attn", names: str = "{}_proj") -> dict[str, Any]:
    """A module for each of q, k and v."""
    return {s: (f"{attn}.{names.format(s)}", whole(heads if s == "q" else shared, d_head)) for s in "qkv"}


def joined(module: str, heads: int, shared: int, d_head: int) -> dict[str, Projection]:
    """One module: all of q, then all of k, then all of v."""
    q, k = heads * d_head, shared * d_head
    return {
        "q": (module, whole(heads, d_head)),
        "k": (module, q + whole(shared, d_head)),
        "v": (module, q + k + whole(shared, d_head)),
    }


def by_head(module: str, heads: int, d_head: int) -> dict[str, Projection]:
    """One module: q, k and v of each head together."""
    table = np.arange(heads * 3 * d_head).reshape(heads, 3, d_head)
    return {s: (module, table[:, i]) for i, s in enumerate("qkv")}


def by_group(module: str, heads: int, shared: int, d_head: int) -> dict[str, Projection]:
    """One module: for each key/value head its query heads, then its k and its v."""
    each = heads // shared
    table = np.arange(shared * (each + 2) * d_head).reshape(shared, each + 2, d_head)
    return {
        "q": (module, table[:, :each].reshape(heads, d_head)),
        "k": (module, table[:, each]),
        "v": (module, table[:, each + 1]),
    }


def gated(attn: str, heads: int, shared: int, d_head: int) -> dict[str, Projection]:
    """A module for each; that of q also holds a gate behind each head's query."""
    q = np.arange(heads * 2 * d_head).reshape(heads, 2, d_head)[:, 0]
    return apart(heads, shared, d_head, attn) | {"q": (f"{attn}.q_proj", q)}


# -- the places of families --------------------------------------------------------------------------------------------


def llama(heads: int = 4, shared: int = 2, d_head: int = 8, **changes: Any) -> Where:
    """Llama and what is laid out like it."""
    return Where(z=whole(heads, d_head), qkv=apart(heads, shared, d_head)).but(**changes)


def post_norm(heads: int = 4, shared: int = 2, d_head: int = 8, **changes: Any) -> Where:
    """Like Llama, with a norm behind attention and behind the MLP."""
    names = dict(attn="post_attention_layernorm", mlp="post_feedforward_layernorm", post="post_attention_layernorm")
    return llama(heads, shared, d_head).but(mixers={"post_attention_layernorm": 1.0}, **names).but(**changes)


def moe(heads: int = 4, shared: int = 2, d_head: int = 8, **changes: Any) -> Where:
    """Like Llama, with experts in every layer."""
    return llama(heads, shared, d_head, down=None, router="mlp.gate", experts="mlp.experts").but(**changes)


def gpt2(**changes: Any) -> Where:
    """GPT-2: one projection, learned positions."""
    where = Where(
        "transformer.h",
        "transformer.wte",
        "transformer.ln_f",
        mixers={"attn": 1.0},
        attn="attn",
        inside="attn",
        down="mlp.c_proj",
        o="attn.c_proj",
        z=whole(4, 8),
        qkv=joined("attn.c_attn", 4, 4, 8),
    )
    return where.but(**changes)


def neox(**changes: Any) -> Where:
    """GPT-NeoX."""
    where = Where(
        "gpt_neox.layers",
        "gpt_neox.embed_in",
        "gpt_neox.final_layer_norm",
        mixers={"attention": 1.0},
        attn="attention",
        inside="attention",
        down="mlp.dense_4h_to_h",
        o="attention.dense",
        z=whole(4, 8),
        qkv=by_head("attention.query_key_value", 4, 8),
        parallel=True,
    )
    return where.but(**changes)


def falcon(qkv: dict[str, Projection], **changes: Any) -> Where:
    """Falcon: parallel, the projection laid out by its architecture."""
    where = Where(
        "transformer.h",
        "transformer.word_embeddings",
        "transformer.ln_f",
        mixers={"self_attention": 1.0},
        attn="self_attention",
        inside="self_attention",
        down="mlp.dense_4h_to_h",
        o="self_attention.dense",
        z=whole(4, 8),
        qkv=qkv,
        parallel=True,
    )
    return where.but(**changes)


def bloom(**changes: Any) -> Where:
    """BLOOM: the attention module returns the stream with its output added, so that its projection is the place."""
    projection = "self_attention.dense"
    where = falcon(by_head("self_attention.query_key_value", 4, 8), parallel=False)
    return where.but(mixers={projection: 1.0}, attn=projection, mlp="mlp.dense_4h_to_h").but(**changes)


def mpt(**changes: Any) -> Where:
    """MPT."""
    where = Where(
        "transformer.blocks",
        "transformer.wte",
        "transformer.norm_f",
        mixers={"attn": 1.0},
        attn="attn",
        inside="attn",
        mlp="ffn.down_proj",
        down="ffn.down_proj",
        o="attn.out_proj",
        z=whole(4, 8),
        qkv=joined("attn.Wqkv", 4, 4, 8),
    )
    return where.but(**changes)


def opt(**changes: Any) -> Where:
    """OPT."""
    where = Where(
        "model.decoder.layers",
        "model.decoder.embed_tokens",
        "model.decoder.final_layer_norm",
        mlp="fc2",
        down="fc2",
        o="self_attn.out_proj",
        z=whole(4, 8),
        qkv=apart(4, 4, 8),
    )
    return where.but(**changes)


def gptj(**changes: Any) -> Where:
    """GPT-J."""
    where = Where(
        "transformer.h",
        "transformer.wte",
        "transformer.ln_f",
        mixers={"attn": 1.0},
        attn="attn",
        inside="attn",
        down="mlp.fc_out",
        o="attn.out_proj",
        z=whole(4, 8),
        qkv=apart(4, 4, 8, "attn"),
        parallel=True,
    )
    return where.but(**changes)
