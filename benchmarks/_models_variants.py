"""A variant of a type of model: tiny, random, the same each time.

Four layers, 32 wide, a vocabulary of 97 words; weights large enough that every site has an effect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import transformers

from ._models_places import Where

VOCABULARY, LAYERS = 97, 4
IDS = dict(bos_token_id=0, eos_token_id=0, pad_token_id=0)
#: What most configurations take.
PLAIN = dict(
    vocab_size=VOCABULARY,
    hidden_size=32,
    num_hidden_layers=LAYERS,
    num_attention_heads=4,
    intermediate_size=48,
    max_position_embeddings=64,
    initializer_range=0.3,
    **IDS,
)
GROUPED = dict(PLAIN, num_key_value_heads=2)
ONE = dict(PLAIN, num_key_value_heads=1)
GPT2 = dict(
    vocab_size=VOCABULARY,
    n_embd=32,
    n_layer=LAYERS,
    n_head=4,
    n_inner=48,
    n_positions=64,
    initializer_range=0.3,
    bos_token_id=0,
    eos_token_id=0,
)
HALVES = {"layer_types": ["sliding_attention", "full_attention"] * 2, "sliding_window": 6}
MULTIPLIERS = dict(residual_multiplier=0.4, logits_scaling=0.5, embedding_multiplier=2.0, attention_multiplier=0.2)
EXPERTS = dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=24)


@dataclass(frozen=True)
class Variant:
    """One model of a row.

    Attributes:
        row: the type. label: what is particular about this one.
        make: the model, freshly drawn. where: its places.
        attention: "eager", "sdpa", or None for the type's own default. dtype: of its weights.
        form: "plain", or "bridge" for a TransformerBridge around it.
    """

    row: str
    label: str
    make: Callable[[], Any]
    where: Where
    attention: str | None = None
    dtype: torch.dtype = torch.float32
    form: str = "plain"

    @property
    def name(self) -> str:
        """The row and what is particular."""
        return f"{self.row}, {self.label}" if self.label else self.row

    @property
    def draws(self) -> int:
        """How many models are drawn at most: rounding is judged over several."""
        return 1 if self.dtype == torch.float32 else 8

    @torch.no_grad()
    def build(self, *, attention: str | None = None, dtype: torch.dtype | None = None, seed: int = 0) -> Any:
        """The model with random weights, in eval mode; the same ones each time.

        What the type's own initialisation leaves small or equal (norms, biases, decays) is drawn too.
        """
        torch.manual_seed(seed)
        model = self.make()
        if (wanted := attention or self.attention) is not None:
            model.set_attn_implementation(wanted)
            model.config._attn_implementation = wanted  # Falcon keeps its own
        model = model.eval().requires_grad_(False)
        draw = torch.Generator().manual_seed(seed + 1)
        for name, p in model.named_parameters():
            _drawn(self.row, name, p, draw)
        for name, b in model.named_buffers():
            if name.endswith(("e_score_correction_bias", "expert_bias")):
                b.copy_(torch.randn(b.shape, generator=draw) * 0.1)
        # weights that a narrower type can hold, so that a copy in float32 is the same model
        model = model.to(self.dtype)
        return model if dtype is None else model.to(dtype)


#: Norms on queries and keys, which leave every pattern flat as they come.
_SHARPER = ("q_norm", "k_norm", "q_layernorm", "k_layernorm")


def _drawn(row: str, name: str, p: torch.Tensor, draw: torch.Generator) -> None:
    if name.endswith(("A_log", ".D", "dt_bias")):
        return
    if name.endswith(("time_decay", "time_first")):
        p.copy_(torch.randn(p.shape, generator=draw) * 0.5)
    elif any(norm in name for norm in _SHARPER):
        p.add_(torch.randn(p.shape, generator=draw) * 0.2).mul_(2)
    elif p.ndim == 1:
        p.add_(torch.randn(p.shape, generator=draw) * 0.2)
    elif row == "rwkv" and p.ndim == 2:
        p.copy_(torch.randn(p.shape, generator=draw) * 0.3)


#: Row -> its variants.
Rows = dict[str, list[Variant]]


def adder(rows: Rows) -> Callable[..., None]:
    """A function that adds a variant of the class `<stem>ForCausalLM` with `<like or stem>Config` to some rows."""

    def add(row: str, label: str, stem: str, where: Where, *, like: str | None = None, **options: Any) -> None:
        own = {key: options.pop(key) for key in ("attention", "dtype", "form") if key in options}
        kind = "GPT2LMHeadModel" if stem == "GPT2" else f"{stem}ForCausalLM"
        make = _maker(kind, f"{like or stem}Config", options)
        rows.setdefault(row, []).append(Variant(row, label, make, where, **own))

    return add


def _maker(model: str, config: str, options: Mapping[str, Any]) -> Callable[[], Any]:
    return lambda: getattr(transformers, model)(getattr(transformers, config)(**options))
