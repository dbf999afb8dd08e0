"""Small random models whose layers are not all alike, or add more than attention and an MLP, with plain hooks on them.

Where their sites lie is written down by hand from the modelling files; nothing here is shared with the package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import transformers as T
from torch import Tensor, nn

from tests.models import word_tokenizer

N_LAYERS = 4
_SIZE = dict(
    vocab_size=97,
    hidden_size=32,
    num_hidden_layers=N_LAYERS,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=48,
    max_position_embeddings=64,
    initializer_range=0.3,
    bos_token_id=0,
    eos_token_id=0,
    pad_token_id=0,
)
#: A change of what a site holds, ``[batch, position, width]``.
Change = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Where:
    """Where a kind's sites lie.

    Attributes:
        blocks: path of the list of blocks. norm: of the last norm. start: by layer, a norm inside the block from which
            its stream goes on.
        mixers: by layer, the modules that are added before the MLP, in the order in which they run, and the factor of
            each. attn: by layer, which of them is at ``attn_out``.
        mlp: the module that is added last. down: its last projection.
        d_head: width of a head. gated: whether the projection to queries also makes a gate, behind each head's query.
        with_heads: layers with attention heads.
    """

    blocks: str
    norm: str
    mixers: Callable[[int], Mapping[str, float]]
    attn: Callable[[int], str]
    mlp: str
    down: str | None = None
    start: Mapping[int, str] = field(default_factory=dict)
    d_head: int = 8
    gated: bool = False
    with_heads: tuple[int, ...] = tuple(range(N_LAYERS))


_LINEAR = ("linear_attn", "self_attn")
WHERE = {
    "qwen3_next": Where(
        "model.layers",
        "model.norm",
        lambda l: {_LINEAR[l % 2]: 1.0},
        lambda l: _LINEAR[l % 2],
        "mlp",
        d_head=16,
        gated=True,
        with_heads=(1, 3),
    ),
    "falcon_h1": Where(
        "model.layers",
        "model.final_layernorm",
        lambda l: {"mamba": 0.8, "self_attn": 0.6},
        lambda l: "self_attn",
        "feed_forward",
        "feed_forward.down_proj",
    ),
    "norms behind": Where(
        "model.decoder.layers",
        "model.decoder.project_out",
        lambda l: {"self_attn": 1.0},
        lambda l: "self_attn",
        *["fc2"] * 2,
    ),
    "rwkv": Where(
        "rwkv.blocks",
        "rwkv.ln_out",
        lambda l: {"attention": 1.0},
        lambda l: "attention",
        "feed_forward",
        start={0: "pre_ln"},
    ),
}


def rwkv() -> Any:
    """The stream is halved behind every other layer."""
    torch.manual_seed(0)
    model = T.RwkvForCausalLM(
        T.RwkvConfig(
            vocab_size=97,
            context_length=64,
            hidden_size=32,
            num_hidden_layers=N_LAYERS,
            rescale_every=2,
            bos_token_id=0,
            eos_token_id=0,
        )
    )
    model.eval().requires_grad_(False)
    for name, p in model.named_parameters():
        if p.ndim == 2 or name.endswith(("time_decay", "time_first")):
            p.copy_(torch.randn(p.shape) * 0.3)
    model.tokenizer = word_tokenizer()
    return model


def opt(**options: Any) -> Any:
    """The MLP's layers lie in the block itself; ``do_layer_norm_before=False``: its norms lie on the stream."""
    torch.manual_seed(0)
    config = dict(
        vocab_size=97,
        hidden_size=32,
        num_hidden_layers=N_LAYERS,
        ffn_dim=48,
        num_attention_heads=4,
        max_position_embeddings=64,
        word_embed_proj_dim=32,
        init_std=0.3,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=1,
    )
    return _ready(T.OPTForCausalLM(T.OPTConfig(**config | options)))


def seeing(depth: int = 2) -> Any:
    """A Llama that sees, with so many layers of vision."""
    torch.manual_seed(0)
    eyes = T.CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=depth,
        num_attention_heads=2,
        image_size=16,
        patch_size=4,
    )
    config = T.LlavaConfig(vision_config=eyes, text_config=T.LlamaConfig(**_SIZE), image_token_index=90)
    return _ready(T.LlavaForConditionalGeneration(config))


def _ready(model: Any) -> Any:
    """A model in eval mode, whose norms and biases are random too."""
    model.eval().requires_grad_(False)
    for p in model.parameters():
        if p.ndim == 1:
            p.add_(torch.randn_like(p) * 0.2)
    model.tokenizer = word_tokenizer()
    return model


def qwen3_next() -> Any:
    """Layers 1 and 3 have attention, 0 and 2 a linear one."""
    torch.manual_seed(0)
    config = T.Qwen3NextConfig(
        **_SIZE,
        head_dim=16,
        linear_key_head_dim=8,
        linear_value_head_dim=8,
        linear_num_key_heads=2,
        linear_num_value_heads=4,
        moe_intermediate_size=24,
        shared_expert_intermediate_size=24,
        num_experts_per_tok=2,
        num_experts=4,
        layer_types=["linear_attention", "full_attention"] * 2,
    )
    return _ready(T.Qwen3NextForCausalLM(config))


def falcon_h1() -> Any:
    """A state space runs beside attention, each with a factor of its own."""
    torch.manual_seed(0)
    config = T.FalconH1Config(
        **_SIZE,
        mamba_d_ssm=64,
        mamba_n_heads=4,
        mamba_d_head=16,
        mamba_d_state=8,
        mamba_chunk_size=8,
        lm_head_multiplier=0.5,
        embedding_multiplier=2.0,
        key_multiplier=0.7,
        attention_out_multiplier=0.6,
        attention_in_multiplier=1.2,
        ssm_in_multiplier=0.9,
        ssm_out_multiplier=0.8,
        mlp_multipliers=[0.7, 0.9],
        ssm_multipliers=[0.9] * 5,
    )
    return _ready(T.FalconH1ForCausalLM(config))


MAKERS = {
    "qwen3_next": qwen3_next,
    "falcon_h1": falcon_h1,
    "rwkv": rwkv,
    "norms behind": lambda: opt(do_layer_norm_before=False, word_embed_proj_dim=16),
}


# -- plain hooks -------------------------------------------------------------------------------------------------------


def by_head(change: Change, d_head: int, gated: bool = False) -> Change:
    """A change of ``[batch, position, head, d_head]`` as one of what a projection reads or makes."""

    def flat(x: Tensor) -> Tensor:
        new = x.unflatten(-1, (-1, 2 * d_head if gated else d_head)).clone()
        new[..., :d_head] = change(new[..., :d_head].clone())
        return new.flatten(-2)

    return flat


def _batched(change: Change) -> Change:
    """A change for modules that see tokens without a batch's axis as well."""
    return lambda x: change(x) if x.ndim != 2 else change(x[None])[0]


def into(module: nn.Module, change: Change) -> Any:
    """A hook on what goes into a module."""
    change = _batched(change)

    def before(_: Any, args: Any, kwargs: Any) -> Any:
        if args:
            return (change(args[0]), *args[1:]), kwargs
        return args, kwargs | {"hidden_states": change(kwargs["hidden_states"])}

    return module.register_forward_pre_hook(before, with_kwargs=True)


def out_of(module: nn.Module, change: Change, times: float = 1.0) -> Any:
    """A hook on what comes out of a module, times a factor."""
    change = _batched(change)

    def after(_: Any, args: Any, out: Any) -> Any:
        new = change((out[0] if isinstance(out, tuple) else out) * times) / times
        return (new, *out[1:]) if isinstance(out, tuple) else new

    return module.register_forward_hook(after)


def put(kind: str, model: Any, site: str, layer: int, change: Change) -> list[Any]:
    """A change at a site in force; returns the hooks."""
    where, block = WHERE[kind], model.get_submodule(WHERE[kind].blocks)[layer]
    mixers = where.mixers(layer)
    if site == "embed":
        return [out_of(model.get_input_embeddings(), change)]
    if site == "resid_pre":
        return [into(block, change)]
    if site == "resid_post":
        return [out_of(block, change)]
    if site == "attn_out":
        return [out_of(block.get_submodule(where.attn(layer)), change, mixers[where.attn(layer)])]
    if site == "mlp_out":
        return [out_of(block.get_submodule(where.mlp), change)]
    if site == "z":
        return [into(block.get_submodule("self_attn.o_proj"), by_head(change, where.d_head))]
    if site in ("q", "k", "v"):
        seen = by_head(change, where.d_head, gated=where.gated and site == "q")
        return [out_of(block.get_submodule(f"self_attn.{site}_proj"), seen)]
    if site == "neuron":
        return [into(block.get_submodule(where.down), change)]
    if site.startswith("mixer:"):
        name = site.removeprefix("mixer:")
        return [out_of(block.get_submodule(name), change, mixers[name])]
    assert site == "resid_mid", site
    # no module's: what the mixer that runs last adds is changed by as much
    stream: dict[str, Tensor] = {}

    def keep(name: str) -> Change:
        def look(x: Tensor) -> Tensor:
            stream[name] = x
            if name != list(mixers)[-1]:
                return x
            rest = sum(stream[other] for other in stream if other != name)
            return change(rest + x) - rest

        return look

    first = out_of(block.get_submodule(where.start[layer]), keep("start")) if layer in where.start else None
    hooks = [first or into(block, keep("start"))]
    return hooks + [out_of(block.get_submodule(name), keep(name), times) for name, times in mixers.items()]


def logits(kind: str, model: Any, ids: Tensor, *changes: tuple[str, int, Change], grad: bool = False) -> Tensor:
    """Logits ``[position, d_vocab]`` of one forward with changes of sites in force."""
    hooks = [hook for change in changes for hook in put(kind, model, *change)]
    try:
        with torch.set_grad_enabled(grad):
            return model(ids.reshape(1, -1), use_cache=False).logits[0]
    finally:
        for hook in hooks:
            hook.remove()


def gradient(kind: str, model: Any, ids: Tensor, site: str, layer: int, score: Callable[[Tensor], Tensor]) -> Tensor:
    """The gradient of ``score(logits)`` by what a site holds, ``[position, width]``."""
    leaf: list[Tensor] = []

    def begin(x: Tensor) -> Tensor:
        leaf.append(x.detach().clone().requires_grad_())
        return leaf[0]

    return torch.autograd.grad(score(logits(kind, model, ids, (site, layer, begin), grad=True)), leaf)[0][0]


def read(
    kind: str, model: Any, ids: Tensor, places: Sequence[tuple[str, int]], *changes: tuple[str, int, Change]
) -> list[Tensor]:
    """What sites hold, ``[position, width]`` each."""
    seen: dict[tuple[str, int], Tensor] = {}
    looks = [(*key, lambda x, key=key: seen.setdefault(key, x[0].clone()) is None or x) for key in places]
    logits(kind, model, ids, *changes, *looks)
    return [seen[key] for key in places]


@torch.no_grad()
def head(kind: str, model: Any, stream: Tensor) -> Tensor:
    """The model's own logits where a stream ``[position, d_model]`` enters its last norm."""
    hook = into(model.get_submodule(WHERE[kind].norm), lambda x: stream[None].to(x))
    try:
        return model(torch.full((1, len(stream)), 2), use_cache=False).logits[0]
    finally:
        hook.remove()
