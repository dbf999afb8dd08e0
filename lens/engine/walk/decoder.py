"""A decoder as the engine sees it: embeddings, blocks as functions of flat tokens, and the unembedding.

The weights are the model's own tensors, never copies. A model type is served here only if ``Decoder.of`` finds its
logits equal to the model's own on a probe; otherwise it raises ``UnsupportedModel`` and the caller takes a slower path.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ...models.placement import device_of, offloaded, offloading
from ...models.quantised_layers import not_finite
from ...models.state import State
from ..change_registry import WEIGHTS, Changes
from ..changes import edits_in_force
from ..effective import is_plain, linear_bias, linear_map, mixing_layer, table
from ..errors import RunError, UnsupportedModel
from ..memory import out_of_memory
from ..resident import Resident
from ..sessions import hash_of
from ..sites import SiteError
from .blocks import Block, Norm, part_of, unwrapped
from .families import FAMILIES
from .forward import Layout, Ropes, all_blocks
from .rotary import RotaryTables

__all__ = [
    "FAMILIES",
    "WEIGHT_EDIT",
    "Block",
    "Decoder",
    "UnsupportedModel",
    "both_ways",
    "unwrapped",
    "without_wrapper",
]

#: Kinds of peft adapters whose wrapper, not their layers alone, decides what a forward computes.
_WRAPPERS_THAT_ACT = {"XLORA", "POLY", "SHADOW", "CARTRIDGE"}


def both_ways(config: Any) -> bool:
    """Whether a configuration says that tokens read later ones too: encoders, embedding models made of decoders,
    Gemma's switch.
    """
    return getattr(config, "is_causal", True) is False or getattr(config, "use_bidirectional_attention", None) in (
        True,
        "all",
    )


def without_wrapper(model: Any) -> Any:
    """The plain causal model that holds its adapters as modules, out of a peft wrapper; any other model as it is.

    Raises:
        UnsupportedModel: a wrapper that does more in its forward than its modules do by themselves (virtual tokens,
            routing, adapters that begin at a token).
    """
    if not hasattr(model, "get_base_model") or not hasattr(model, "peft_config"):
        return model
    configs = list(model.peft_config.values())
    kinds = {str(getattr(c.peft_type, "value", c.peft_type)) for c in configs}
    acting = kinds & _WRAPPERS_THAT_ACT or any(
        c.is_prompt_learning or getattr(c, "alora_invocation_tokens", None) for c in configs
    )
    if acting:
        raise UnsupportedModel(
            f"its peft wrapper ({', '.join(sorted(kinds))}) does more than the adapted layers do by themselves."
        )
    return model.get_base_model()


def _rope_types(config: Any) -> set[str]:
    """The kinds of rotary embedding in a configuration, of all its layer types."""
    parameters = getattr(config, "rope_parameters", None) or {}
    each = [p for p in parameters.values() if isinstance(p, dict)] or [parameters]
    return {p.get("rope_type", "default") for p in each}


_STATIC_ROPE = ("default", "linear", "llama3", "yarn")
#: Tokens of one forward that compares unedited runs with the model's own.
VERIFY_TOKENS = 2048
_REMEMBERED = "_mnemoscope_decoder"
#: Set on a parameter while new weights are in force on it.
WEIGHT_EDIT = "_mnemoscope_weight_edit"


class Decoder:
    """The engine's view of a model. Use ``Decoder.of(model)``, which checks it and remembers it.

    A model that is spread over devices is followed: each block computes where it is, to which the streams come.

    Attributes: ``blocks``, ``n_layers``, ``n_heads``, ``n_kv_heads``, ``d_model``, ``d_head``, ``d_mlp`` (neurons that
    a token has in the widest layer; a block's own are ``blocks[layer].d_mlp``), ``d_vocab``, ``cap`` (the bound that
    logits are bent to, or None), ``device``, ``dtype``, ``model_type``; ``out_device``, ``head_device``, where the
    final norm and the unembedding are. What runs end in, and their logits, come back to ``device``.
    """

    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_model: int
    d_head: int
    d_mlp: int
    d_vocab: int
    max_length: int | None
    cap: float | None
    state: State

    def __init__(self, model: Any):
        hf: Any = without_wrapper(getattr(model, "original_model", model))
        config: Any = getattr(hf, "config", None)
        self.model_type: str = getattr(config, "model_type", type(hf).__name__)
        if self.model_type not in FAMILIES:
            raise UnsupportedModel(f"model type {self.model_type!r} is not one of {', '.join(FAMILIES)}.")
        family = FAMILIES[self.model_type]
        body, config = family.body_of(hf), getattr(config, "text_config", config)
        self.hf, self.body, self.config = hf, body, config
        if mixed := mixing_layer(hf):
            raise UnsupportedModel(mixed)
        for kind in _rope_types(config):
            if kind not in _STATIC_ROPE:
                raise UnsupportedModel(f"rope_type={kind!r} depends on the length of the text.")
        self.embedding, self.norm = part_of(body, family.embedding), Norm(part_of(body, family.norm))
        self.head = unwrapped(hf.get_output_embeddings())
        self.positions = part_of(body, "wpe")
        self.blocks = family.blocks_of(body, config)
        tables = {block.table for block in self.blocks}
        self.rotary = RotaryTables(part_of(body, "rotary_emb"), tables, self.model_type)
        self.n_layers, self.d_model = len(self.blocks), self.embedding.weight.shape[1]
        self.n_heads, self.d_head = config.num_attention_heads, self.blocks[0].d_head
        self.n_kv_heads = getattr(config, "num_key_value_heads", None) or self.n_heads
        self.d_vocab = self.head.weight.shape[0]
        self.d_mlp = max(
            b.d_mlp or (0 if b.experts is None else b.experts.top_k * b.experts.d_expert) for b in self.blocks
        )
        self.max_length = getattr(config, "max_position_embeddings", None)
        self.cap = config.final_logit_softcapping if family.capped else None
        self.out_device, self.head_device = device_of(self.norm.module), device_of(self.head)
        self._end = tuple(offloaded for m in (self.norm.module, self.head) for offloaded in offloading(m))
        #: numbers of the edits of weights in force when the hash was looked up, and the hash
        self._content: tuple[tuple[int, ...], str] = (), ""

    @property
    def device(self) -> torch.device:
        """Where the embedding is, and so token ids."""
        weight: Tensor = self.embedding.weight
        return device_of(self.embedding) if weight.is_meta else weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the embedding, and so of the residual stream."""
        dtype: torch.dtype = self.embedding.weight.dtype
        return dtype

    @classmethod
    def of(cls, model: Any) -> "Decoder":
        """The checked decoder of a ``TransformerBridge`` or a Hugging Face causal model; the check runs once a model.

        Raises:
            UnsupportedModel: unknown blocks, or logits that differ from the model's own on the probe.
            RunError: the model's logits hold NaN or infinity.
        """
        if isinstance(model, cls):
            return model
        key = getattr(model, "original_model", model)
        if edits_in_force(key):
            raise RunError(
                "model: edits are in force on it (lens.edited), which a sweep would not see; leave the with block"
                " first."
            )
        state = State.of(model)
        decoder: Decoder | None = key.__dict__.get(_REMEMBERED)
        if state.foreign:
            raise UnsupportedModel(
                f"{getattr(getattr(key, 'config', None), 'model_type', type(key).__name__)}: {state.refusal()}"
            )
        if decoder is None or decoder.state is not state:
            try:
                decoder = cls(model)
                if key.training:
                    raise RunError(
                        "model: it is in training mode, where dropout changes every run; call model.eval() first."
                    )
                decoder.check(key)
            except (AttributeError, TypeError, RuntimeError) as error:
                if isinstance(error, UnsupportedModel) or out_of_memory(error):
                    raise
                kind = getattr(getattr(key, "config", None), "model_type", type(key).__name__)
                raise UnsupportedModel(
                    f"{kind}: its blocks are not built as expected ({type(error).__name__}: {error})."
                ) from error
            decoder.state = state
            key.__dict__[_REMEMBERED] = decoder
        return decoder

    @torch.no_grad()
    def check(self, reference: Any, length: int = 9) -> float:
        """The largest logit difference to ``reference`` on a fixed probe of ``length`` tokens (after the model's own
        scale).

        Raises: as ``of``.
        """
        if both_ways(self.config):
            raise UnsupportedModel(
                f"{self.model_type}: its tokens read later ones too, where the written-out blocks are causal."
            )
        generator = torch.Generator().manual_seed(0)
        ids = torch.randint(0, self.d_vocab, (length,), generator=generator).to(self.device)
        at = torch.arange(length, device=self.device)
        resid = all_blocks(
            self, self.place(self.embed(ids), at), Layout(torch.zeros_like(at), at, 1, length, dense=True)
        )
        ours = self.unembed(resid)
        theirs = reference(ids[None]).logits[0].to(ours)
        if not torch.isfinite(theirs).all():
            raise self._not_finite(f"its logits are not finite on a probe of {length} tokens")
        gap: float = (ours - theirs).abs().max().item() / max(1.0, theirs.abs().max().item())
        # some paths read weights where the model calls modules; an adapter on such a module must not be passed over
        with self.blocks[0].resident():
            normed = self.blocks[0].norm_attn(self.embed(ids).to(self.blocks[0].device))
        for layer, block in enumerate(self.blocks):
            x = normed.to(block.device)
            with block.resident():
                gap = max(gap, *((a - b).abs().max().item() for a, b in zip(block.qkv(x), (block.q(x), *block.kv(x)))))
                difference = 0.0 if block.experts is None else block.experts.gap(x)
            if math.isnan(difference):
                raise self._not_finite(f"an expert of layer {layer} gives numbers that are not finite")
            gap = max(gap, difference)
        columns = torch.arange(0, self.d_vocab, max(1, self.d_vocab // 64), device=self.device)
        gap = max(
            gap,
            (self.unembed(resid, columns) - self.unembed(resid)[..., columns]).abs().max().item()
            / max(1.0, theirs.abs().max().item()),
        )
        if not gap <= self.allowed:
            raise UnsupportedModel(
                f"{self.model_type}: the written-out blocks differ from the model by {gap:.2g} (relative) on the probe."
            )
        return gap

    def _not_finite(self, what: str) -> RunError:
        bad = next(not_finite(self.hf), None)
        named = f"; parameter {bad[0]!r} holds NaN or infinity" if bad else ""
        return RunError(f"model: {what}{named}. Load the weights again.")

    @property
    def allowed(self) -> float:
        """How far logits may differ from the model's own, relative to the largest (at least 1)."""
        return {torch.float32: 1e-4, torch.float64: 1e-4}.get(self.dtype, 5e-2)

    @torch.no_grad()
    def verify(self, ids: Sequence[Int[Tensor, " length"]], resid: Sequence[Float[Tensor, " d_model"]]) -> None:
        """Compares the next-token logits of unedited runs with those of the model's own forward.

        Args:
            ids: the texts; each is compared once as long as the model's structure is what it is. resid: the final
                residual stream of each at its last token.

        Costs a forward for all texts of one length that were not compared before.

        Raises:
            UnsupportedModel: they differ; the caller takes a slower path.
        """
        fresh: dict[tuple[Any, ...], tuple[Tensor, Tensor]] = {}
        for key, text, last in zip(self._keys(ids), ids, resid):
            if key not in self.state.verified:
                fresh[key] = text, last
        new: dict[int, list[tuple[tuple[Any, ...], Tensor, Tensor]]] = {}
        for key, (text, last) in fresh.items():
            new.setdefault(len(text), []).append((key, text, last))
        if not new:
            return
        options = {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(self.hf.forward).parameters else {}
        for same in new.values():
            size = max(1, VERIFY_TOKENS // len(same[0][1]))
            for part in (same[a : a + size] for a in range(0, len(same), size)):
                theirs = (
                    self.hf(torch.stack([text for _, text, _ in part]), use_cache=False, **options)
                    .logits[:, -1]
                    .float()
                )
                ours = self.unembed(torch.stack([last for *_, last in part])).to(theirs)
                # where both are infinite or no number there is no difference; where one is, it is not small
                off = (ours - theirs).abs().masked_fill((ours == theirs) | (ours.isnan() & theirs.isnan()), 0.0)
                largest = theirs.abs().masked_fill(~theirs.isfinite(), 0.0).amax(-1).clamp(min=1.0)
                gap = (off.amax(-1) / largest).max().item()
                if not gap <= self.allowed:
                    raise UnsupportedModel(
                        f"{self.model_type}: on a text of {len(part[0][1])} tokens the written-out blocks differ from"
                        f" the model's own forward by {gap:.2g} (relative); something acts on it that they do not"
                        " follow."
                    )
                for key, *_ in part:
                    self.state.remember(key)

    def verified(self, ids: Int[Tensor, " length"]) -> bool:
        """Whether a text was compared already, as the model now is."""
        return self._keys([ids])[0] in self.state.verified

    def _keys(self, ids: Sequence[Int[Tensor, " length"]]) -> list[tuple[Any, ...]]:
        """By what texts are known, with the weights in force."""
        weights = self._edited_content()
        own = torch.cat(list(ids)).cpu().split([len(text) for text in ids])
        return [(len(text), hash(text.numpy().tobytes()), *weights) for text in own]

    def _edited_content(self) -> tuple[str, ...]:
        """The hash of the weights while an edit of this package is in force on them: the same mask, put on once more,
        is known. Looked up once an edit.
        """
        edits = tuple(change.number for change in Changes.of(self.hf).in_force(WEIGHTS))
        if not edits:
            return ()
        if self._content[0] != edits:
            self._content = edits, hash_of(self.hf)
        return self._content[1:]

    def require(self, site: str, layer: int) -> None:
        """Nothing, where a layer has a site.

        Raises:
            SiteError: it has not.
        """
        self.blocks[layer].require(site, layer)

    def has(self, site: str, layer: int) -> bool:
        """Whether a layer has a site."""
        try:
            self.require(site, layer)
        except SiteError:
            return False
        return True

    def rope(self, length: int, device: torch.device | None = None) -> Ropes:
        """Cosine and sine tables ``[length, rot]`` on a device (the embedding's by default), by the name by which a
        block asks for its own (``Block.table``); ``(None, None)`` for learned positions.
        """
        return self.rotary.of(length, self.device, self.dtype, self.device if device is None else device)

    def embed(self, ids: Int[Tensor, " n"]) -> Float[Tensor, "n d_model"]:
        """Token embeddings, without positions."""
        embedded: Tensor = self.embedding(ids)
        return embedded

    def place(self, embedded: Float[Tensor, "n d_model"], position: Int[Tensor, " n"]) -> Float[Tensor, "n d_model"]:
        """The first residual stream: the embeddings, plus learned positions where the model has them."""
        if self.positions is None:
            return embedded
        learned: Tensor = self.positions(position)
        return embedded + learned.to(embedded.device)

    def unembed(self, resid: Float[Tensor, "... d_model"], columns: Tensor | None = None) -> Tensor:
        """Logits of a final residual stream, of the whole vocabulary or of the ``columns`` named: ``[...,
        n_columns]``.
        """
        with Resident(self._end):
            x = self.norm(resid.to(self.out_device)).to(self.head_device)
            if columns is None:
                logits = self.head(x)
            elif not is_plain(self.head):
                logits = self.head(x)[..., columns.to(x.device)]
            else:
                columns, bias = columns.to(x.device), self.head.bias
                logits = F.linear(x, self.head.weight[columns], None if bias is None else bias[columns])
        return self.capped(logits).to(resid.device)

    def capped(self, logits: Tensor) -> Tensor:
        """Logits under the model's soft cap, where it has one: ``cap * tanh(x / cap)``."""
        return logits if self.cap is None else torch.tanh(logits / self.cap) * self.cap

    def unembedding(self) -> Float[Tensor, "d_vocab d_model"]:
        """The rows of the unembedding as they are applied now: its parameter, or with adapters (a product with
        ``d_model`` rows then).

        Raises: LayerError: under an adapter that applies no fixed weight.
        """
        return linear_map(self.head, "unembedding")[0]

    def linear_head(self) -> tuple[Norm, nn.Module] | None:
        """The final norm and a plain linear layer that together give the logits, up to `capped`; None where more acts
        on them, or where they compute elsewhere than where the token ids are, or are offloaded.
        """
        if self.head_device != self.device or offloaded(self.head):
            return None
        return (self.norm, self.head) if is_plain(self.head) else None

    def bias(self) -> Float[Tensor, " d_vocab"] | None:
        """The bias of the unembedding in float32, or None."""
        bias = linear_bias(self.head)
        return None if bias is None else bias.float()

    def embeddings(self) -> Float[Tensor, "tokens d_model"]:
        """The rows of the token embedding as they are looked up now."""
        return table(self.embedding)
