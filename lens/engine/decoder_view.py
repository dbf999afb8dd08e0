"""The sizes, parts and sites of any decoder, as its blocks are written out or as they were found in its own modules.

It runs nothing but the probes by which parts are found.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..models.state import State
from .anatomy import Anatomy
from .effective import table
from .ending import Ending
from .errors import UnsupportedModel
from .parts import ModuleBlock, Tail, parts_of
from .placed import PlacedNorm, placed, placed_norm
from .sites import HEADED, SiteError
from .walk.decoder import Decoder


@dataclass(frozen=True)
class OwnModules:
    """The parts of a model whose blocks are not written out."""

    blocks: list[ModuleBlock]
    tail: Tail
    ending: Ending


class DecoderView:
    """The sizes, parts and sites of any decoder.

    Attributes:
        hf: the Hugging Face model. config: of its text part. model_type.
        n_layers, n_heads, n_kv_heads, d_head, d_model, d_mlp, d_vocab: sizes; 0 where a model has no such thing.
        blocks: each block's attention by its parts (``output_weight()``, ``value_weight()``, ``norm_attn``,
            ``post_attn``, ``out(z)``, ``values(x)``). norm: the final norm.
        walked: the written-out blocks, or None. why: why not, in words. state: what the model was when it was probed.
    """

    blocks: list[Any]
    config: Any
    model_type: str
    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    d_model: int
    d_mlp: int
    d_vocab: int
    max_length: int | None

    def __init__(self, model: Any, state: State):
        self.state = state
        self.hf: Any = getattr(model, "original_model", model)
        self.walked: Decoder | None = None
        self.why: str | None = None
        self._source = model
        try:
            self._take(Decoder.of(model))
        except UnsupportedModel as reason:
            try:
                self._without_walk(str(reason))
            except UnsupportedModel as error:
                raise UnsupportedModel(f"{error} {reason}") from error

    def _take(self, decoder: Decoder) -> None:
        self.walked = decoder
        self.config, self.model_type = decoder.config, decoder.model_type
        self.blocks = placed(decoder.blocks, [block.layer for block in decoder.blocks], decoder.device)
        for name in (
            "n_layers",
            "n_heads",
            "n_kv_heads",
            "d_head",
            "d_model",
            "d_mlp",
            "d_vocab",
            "max_length",
        ):
            setattr(self, name, getattr(decoder, name))

    def _without_walk(self, reason: str) -> None:
        """Goes on without the written-out blocks, for as long as the model's structure is what it is."""
        self.walked, self.why = None, reason
        a, own = self.anatomy, self.own
        self.blocks, self.config, self.model_type = placed(own.blocks, a.layers, a.device), a.config, a.model_type
        self.n_layers, self.n_heads, self.n_kv_heads, self.d_head = a.n_layers, a.n_heads, a.n_kv_heads, a.d_head
        self.d_model, self.d_vocab = a.d_model, a.d_vocab
        self.d_mlp = max((a.neurons(l) for l in range(a.n_layers) if a.has("neuron", l)), default=0)
        self.max_length = getattr(a.config, "max_position_embeddings", None)

    @property
    def given(self) -> Any:
        """The model as it was given: a bridge, or the Hugging Face model."""
        return self._source

    @functools.cached_property
    def anatomy(self) -> Anatomy:
        """Where the sites lie; probed when first asked for."""
        return Anatomy.of(self._source)

    @functools.cached_property
    def own(self) -> OwnModules:
        """Its own modules by their parts; probed when first asked for."""
        _require_token_logits(self.anatomy)
        blocks, tail, seen = parts_of(self.anatomy)
        return OwnModules(blocks, tail, Ending(self.anatomy, tail, seen))

    @property
    def ending(self) -> Ending:
        """How what runs of the model's own modules end in becomes logits."""
        return self.own.ending

    def sites_of(self, sites: Iterable[str], required: Iterable[str] = ()) -> list[tuple[str, int]]:
        """Of these sites, every layer that has them.

        Raises:
            SiteError: a required site that no layer has.
        """
        a, keys = self.anatomy, []
        for site in dict.fromkeys(sites):
            if site in ("resid_pre", "resid_mid", "resid_post", "embed"):
                continue
            layers = [l for l in range(a.n_layers) if a.has(site, l)]
            if not layers and site in required:
                a.require(site, 0)
            keys += [(site, l) for l in layers]
        return keys

    @property
    def device(self) -> torch.device:
        """Where the token embedding lies."""
        return (self.walked or self.anatomy).device

    @property
    def dtype(self) -> torch.dtype:
        """Of the token embedding, and so of the residual stream."""
        dtype: torch.dtype = self.embedding.weight.dtype
        return dtype

    @property
    def embedding(self) -> Any:
        """The token embedding."""
        return self.walked.embedding if self.walked is not None else self.anatomy.embedding

    @property
    def norm(self) -> Any:
        """The final norm; ``module`` None where there is none.

        Raises: SiteError: none was found.
        """
        if self.walked is not None:
            return placed_norm(self.walked.norm, self.device)
        if self.own.tail.why is not None:
            raise SiteError(self.own.tail.why)
        return placed_norm(self.own.tail.norm, self.device)

    @property
    def causal(self) -> bool:
        """Whether no token reads a later one, and nothing but the model acts on its tokens."""
        return self.walked is not None or (self.anatomy.causal and not self.state.foreign)

    @property
    def reads_ahead(self) -> bool:
        """Whether tokens read later ones."""
        return self.walked is None and not self.anatomy.causal

    def parallel(self, layer: int) -> bool:
        """Whether a layer's MLP reads the stream before its attention has added to it."""
        parallel: bool = self.blocks[layer].parallel
        return parallel

    def heads(self, site: str) -> int:
        """Heads at a site: query heads, or key/value heads for ``k`` and ``v``."""
        return self.n_heads if HEADED[site] == "query" else self.n_kv_heads

    def experts(self, site: str, layers: Sequence[int]) -> int:
        """Experts at a site (``router``, ``expert``) of some layers.

        Raises:
            SiteError: a layer without experts, or layers with more and fewer of them.
        """
        for layer in layers:
            self.require(site, layer)
        counts = {self._experts(layer) for layer in layers}
        if len(counts) > 1:
            raise SiteError(f"layers={list(layers)!r} have {min(counts)} to {max(counts)} experts; take like ones.")
        return counts.pop()

    def _experts(self, layer: int) -> int:
        if self.walked is not None:
            mixture = self.walked.blocks[layer].experts
            return 0 if mixture is None else mixture.n_experts
        experts = self.anatomy.mixtures.get(layer)
        return 0 if experts is None else experts.n_experts

    @property
    def n_experts(self) -> int:
        """Routed experts of the layer that has most; 0 where none has any."""
        return max(map(self._experts, range(self.n_layers)))

    def require(self, site: str, layer: int) -> None:
        """Nothing, where a layer has a site.

        Raises:
            SiteError: it has not; the message says which layers have.
        """
        try:
            self._required(site, layer)
        except SiteError as error:
            having = [l for l in range(self.n_layers) if self._has(site, l)]
            advice = f" Layers that have it: layers={having}." if having and layer not in having else ""
            raise SiteError(f"{error}{advice}") from None

    def _required(self, site: str, layer: int) -> None:
        if self.walked is not None:
            self.walked.require(site, layer)
        else:
            self.anatomy.require(*self.anatomy.layer_of(site, layer))

    def _has(self, site: str, layer: int) -> bool:
        try:
            self._required(site, layer)
        except SiteError:
            return False
        return True

    def has(self, site: str, layer: int = 0) -> bool:
        """Whether a layer has a site."""
        return self._has(site, layer)

    def embed(self, ids: Int[Tensor, " n"]) -> Float[Tensor, "n d_model"]:
        """Token embeddings, without learned positions."""
        embedded: Tensor = self.embedding(ids)
        return embedded

    def embeddings(self) -> Float[Tensor, "tokens d_model"]:
        """The rows of the token embedding as they are looked up now."""
        return table(self.embedding).to(self.device)

    def unembed(self, resid: Float[Tensor, "... d_model"], columns: Tensor | None = None) -> Tensor:
        """Logits of a final residual stream (as runs end in), of the whole vocabulary or of the ``columns`` named."""
        return (self.walked or self.ending).unembed(resid, columns)

    def unembedding(self) -> Float[Tensor, "d_vocab d_model"]:
        """The rows of the unembedding as they are applied now, the model's own factor in them, before a soft cap.

        Raises: LayerError: under an adapter that applies no fixed weight. SiteError: no head was found.
        """
        return (self.walked.unembedding() if self.walked is not None else self.own.tail.weight()).to(self.device)

    @property
    def cap(self) -> float | None:
        """The soft cap on the logits, ``cap * tanh(logits / cap)``, or None."""
        return self.walked.cap if self.walked is not None else self.own.tail.cap

    def capped(self, logits: Tensor) -> Tensor:
        """Logits under the model's soft cap, where it has one."""
        return (self.walked or self.own.tail).capped(logits)

    def linear_head(self) -> tuple[Any, nn.Module] | None:
        """The final norm and a plain linear layer that together give the logits, up to `capped`, for readers of whole
        distributions; None where more acts on them (an adapter, a factor) or the blocks are not written out.
        """
        found = None if self.walked is None else self.walked.linear_head()
        return None if found is None or isinstance(placed_norm(found[0], self.device), PlacedNorm) else found

    def unembedding_bias(self) -> Float[Tensor, " d_vocab"] | None:
        """The bias of the unembedding in float32, or None."""
        bias = (self.walked or self.own.tail).bias()
        return None if bias is None else bias.to(self.device)

    @property
    def attention_layers(self) -> list[int]:
        """The layers with attention heads; in a hybrid some have linear attention or a state space in their place."""
        return [l for l in range(self.n_layers) if self._has("z", l)]

    def attention_parts(self) -> list[ModuleBlock]:
        """The blocks, layer by layer; of one without attention heads every question raises SiteError.

        Raises: SiteError: a model without attention heads.
        """
        if not self.n_heads:
            raise SiteError(f"model type {self.model_type!r} has no attention heads whose outputs could be told apart.")
        return self.blocks

    def headless(self, layer: int) -> str | None:
        """The site of what a layer adds before its MLP by anything but attention heads (``attn_out``, where it has
        none; ``mixer`` beside them), or None.
        """
        if self.walked is not None:
            return None
        return "mixer" if self.anatomy.has("mixer", layer) else None if self._has("z", layer) else "attn_out"

    def require_sum(self) -> None:
        """Nothing, where the stream that enters the final norm is the sum of the embedding and of what layers add.

        Raises: SiteError: something else acts on the stream on its way, or what a layer adds was not found.
        """
        if self.walked is not None:
            return
        a, kind = self.anatomy, f"model type {self.model_type!r}"
        for layer in range(self.n_layers):
            a.require("mlp_out", layer)
            if not a.ends[layer].sums:
                raise SiteError(
                    f"{kind}: in layer {layer} a norm lies on the residual stream itself, so that what attention heads"
                    " and MLPs add is not what reaches the logits of it; patch or ablate instead."
                )
        if len(a.handed_on) < self.n_layers - 1 or self.ending.before != 1.0:
            raise SiteError(
                f"{kind} changes its residual stream between layers, so that what attention heads and MLPs add is not"
                " what reaches the logits of it; patch or ablate instead."
            )


def _require_token_logits(anatomy: Anatomy) -> None:
    """Refuses a model that predicts no token at each position: a base model, a classifier."""
    ids = anatomy.probe_ids()
    with torch.no_grad():
        logits = anatomy.forward(ids)
    if not isinstance(logits, Tensor) or logits.ndim != 3 or logits.shape[:2] != ids.shape:
        seen = (
            f"its logits have the shape {tuple(logits.shape)}"
            if isinstance(logits, Tensor)
            else "its output holds no logits"
        )
        raise UnsupportedModel(
            f"model={type(anatomy.hf).__name__} predicts no token at each position ({seen} for a text of {ids.shape[1]}"
            " tokens), so that no metric can be read; give the causal language model of the same weights."
        )
