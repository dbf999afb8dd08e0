"""Memory encoders: from the name of an entity to the vector that is added to a layer's attention output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from ..arguments import Heads, HFModel, Layers, Number, Positions, Token, door, unfit
from ..engine.edits import Edit
from ..engine.model import Model
from ..engine.runs import Runs
from ..engine.sessions import of_one_model
from ..engine.sites import Site, indices
from ..notices import warn
from ..prompts import start_token
from ..readout.norms import norm_parts
from ..tokens import PromptError, require_known, tokenize, tokenizer_of
from .items import InjectionError

Encoder = Literal["unembed", "embed", "activation", "head"]
ENCODERS = get_args(Encoder)
Where = Literal["all", "last", "subject", "not_first"]
POSITIONS = get_args(Where)


@door(InjectionError)
@dataclass(frozen=True, eq=False)
class Memory:
    """A memory as vectors for the attention output of every layer.

    `vectors` is `[n_layers, d_model]`, what is added at strength 1; `text`, `encoder`, `heads` and `ids` say where it
    comes from. It can
    stand as the value of an edit: `Edit(Site("attn_out", layer=9), "add", memory, scale=3)`.
    """

    vectors: Float[Tensor, "n_layers d_model"]
    text: str
    encoder: str
    heads: Sequence[int] | None = None
    ids: Sequence[int] = field(default=())

    @door(InjectionError)
    def at_site(self, site: Site) -> Float[Tensor, " d_model"]:
        """The vector for a site.

        Raises: InjectionError for a site that is not as wide as the residual stream, or a layer that is not there.
        """
        if site.name not in ("attn_out", "mlp_out", "resid_pre", "resid_mid", "resid_post"):
            raise InjectionError(
                f"a memory is a vector of the residual stream; site {site.name!r} has another shape, use 'attn_out'."
            )
        return self.vectors[indices(site.layer, len(self.vectors), "layer")[0]]

    def __repr__(self) -> str:
        norm = self.vectors.float().norm(dim=-1)
        return (
            f"Memory({self.text!r}, encoder={self.encoder!r}{'' if self.heads is None else f', heads={self.heads}'},"
            f" {len(norm)} layers, norm {norm.min():.3g} to {norm.max():.3g})"
        )


@door(InjectionError)
@of_one_model(reads=False)
def encode(
    model: HFModel, memory: str, encoder: Encoder = "activation", *, heads: Heads = None, start: Token | None = "auto"
) -> Memory:
    """Encodes a memory for injection.

    Args:
        model: a TransformerBridge or Hugging Face causal model.
        memory: the entity's name. It is tokenised as it stands: no start token and no leading space are added.
        encoder: ``unembed``: the sum of the unembedding's columns of the distinct tokens, with the final norm's weight
            folded in and the vocabulary's mean (for a LayerNorm also the model dimension's) taken off, as published;
            ``embed``: the sum of the distinct tokens' embedding rows; ``activation``: what each layer's attention adds
            at the last token when the model reads ``start`` + the memory alone; ``head``: the same of the named heads
            only, through their own W_O.
        heads: for ``head``: which. For the others: keep of the vector what these heads' W_O can write (the projection
            on the span of their rows); None keeps it whole, and then it makes no difference at which head it is added.
            In a hybrid's layers without attention heads nothing is left of it: the vector is 0 there.
        start: for ``activation`` and ``head``: "auto", "bos", one token, or None; see `encode_items`.

    Raises:
        InjectionError: an unknown encoder, no heads for ``head``, a memory that tokenises to nothing, or, for
            ``embed``, embeddings that are not as wide as the stream (OPT-350m).

    Source: Sakarvadia et al. 2023, section 3 (unembed); the other encoders: their code of 2024, and here (head).

    >>> lens.injection.encode(model, "George Washington", "activation")          # doctest: +SKIP
    """
    return encode_all(model, [memory], encoder, heads=heads, start=start)[0]


@door(InjectionError)
@of_one_model(reads=False)
@torch.no_grad()
def encode_all(
    model: HFModel,
    memories: Sequence[str | Sequence[int]],
    encoder: Encoder = "activation",
    *,
    heads: Heads = None,
    start: Token | None = "auto",
) -> list[Memory]:
    """Encodes several memories, as `encode`; a memory may also be given as token ids. One batched pass for the encoders
    that run the model.
    """
    return encoded_by(Model.of(model), model, memories, encoder, heads=heads, start=start)


def encoded_by(
    decoder: Model,
    model: HFModel,
    memories: Sequence[str | Sequence[int]],
    encoder: str,
    *,
    heads: Heads,
    start: Token | None,
) -> list[Memory]:
    """`encode_all` for who has the model's decoder in hand and is in a session with the model."""
    chosen = None if heads is None else tuple(sorted(set(indices(heads, decoder.n_heads, "head"))))
    if encoder == "head" and not chosen:
        raise InjectionError(
            "encoder='head' needs heads: which heads' own output is injected; write heads=3 or heads=(1, 3)."
        )
    if not len(memories):
        return []
    texts, ids = zip(*(_tokens(model, m, decoder.d_vocab) for m in memories))
    if encoder in ("activation", "head"):
        first = start_token(model, start)
        lead = [] if first is None else [first]
        vectors = _read(decoder, [torch.tensor(lead + list(i)) for i in ids], chosen if encoder == "head" else None)
    else:
        table = unembedding(decoder) if encoder == "unembed" else _embedding(decoder)
        vectors = [table(sorted(set(i))).sum(0).expand(decoder.n_layers, -1) for i in ids]
    if chosen is not None and encoder != "head":
        vectors = [_writable(decoder, v, chosen) for v in vectors]
    return [Memory(v.to(decoder.dtype), text, encoder, chosen, tuple(i)) for v, text, i in zip(vectors, texts, ids)]


def different_layers(layers: Any, decoder: Model) -> list[int]:
    """The layers of a grid, each once.

    Raises: InjectionError: one that comes twice. SiteError: no such layer.
    """
    chosen = indices(layers, decoder.n_layers, "layer")
    if not chosen or len(set(chosen)) < len(chosen):
        raise InjectionError(
            unfit("layers", layers, f"different layers, at least one, from 0 to {decoder.n_layers - 1}")
        )
    return chosen


def _tokens(model: Any, memory: str | Sequence[int], size: int) -> tuple[str, list[int]]:
    if not isinstance(memory, str):
        if not len(memory):
            raise InjectionError("memory=[] holds no token; give at least one.")
        if wrong := [i for i in memory if not 0 <= i < size]:
            raise InjectionError(
                unfit("memories: memory", memory, f"token ids from 0 to {size - 1}, which {wrong[0]} is not")
            )
        return tokenizer_of(model).decode(list(memory)), list(memory)
    return memory, token_ids(model, memory)


def token_ids(model: Any, memory: str) -> list[int]:
    """The tokens of a memory as it stands.

    Raises: InjectionError: it tokenises to nothing, or the tokenizer does not know it.
    """
    tokenizer = tokenizer_of(model)
    ids = tokenize(tokenizer, memory)
    if not ids:
        raise InjectionError(
            f"memory={memory!r} tokenises to nothing, so there is nothing to inject or to read; give the entity's name."
        )
    try:
        require_known(tokenizer, memory, ids, "memory")
    except PromptError as error:
        raise InjectionError(str(error)) from None
    return ids


def unembedding(decoder: Model):
    """A function from token ids to their columns of W_U, folded and centred as TransformerLens folds and centres it:
    ``[n, d_model]`` in float32.

    The final norm's weight is multiplied in, each column loses its mean over ``d_model`` where the norm subtracts one,
    and the vocabulary's mean column
    is subtracted. Cost: one pass over W_U.
    """
    centre, weight, _ = norm_parts(decoder.norm)

    def fold(rows: Tensor) -> Tensor:
        rows = rows.float() if weight is None else rows.float() * weight
        return rows - rows.mean(-1, keepdim=True) if centre else rows

    table = decoder.unembedding()
    mean = fold(table.float().mean(0))
    return lambda ids: fold(table[torch.as_tensor(ids, device=decoder.device)]) - mean


def _embedding(decoder: Model):
    """A function from token ids to their rows of W_E, centred over ``d_model`` where the norms subtract the mean.

    Raises: InjectionError: embeddings that are not as wide as the stream.
    """
    if (width := decoder.embeddings().shape[-1]) != decoder.d_model:
        raise InjectionError(
            f"encoder='embed': token embeddings of this model are {width} wide and its residual stream"
            f" {decoder.d_model}, so that no embedding fits the site 'attn_out'; use encoder='activation'."
        )
    centre = norm_parts(decoder.norm)[0]

    def rows(ids):
        x = decoder.embed(torch.as_tensor(ids, device=decoder.device)).float()
        return x - x.mean(-1, keepdim=True) if centre else x

    return rows


def _read(decoder: Model, ids: Sequence[Tensor], heads: tuple[int, ...] | None) -> list[Tensor]:
    """Per memory, every layer's attention output at its last token (of the named heads only), ``[n_layers,
    d_model]``.
    """
    runs = Runs.record(decoder, ids, keep=() if heads is None else ("z",))
    last = runs.offset + torch.tensor(runs.lengths, device=decoder.device) - 1
    if heads is None:
        return list(torch.stack([runs.get("attn_out", l)[last] for l in range(decoder.n_layers)], 1))
    out, there = [], set(decoder.attention_layers)
    for layer, block in enumerate(decoder.attention_parts()):
        if layer not in there:
            out.append(runs.get("resid_pre", layer).new_zeros(len(ids), decoder.d_model))
            continue
        z = runs.get("z", layer)[last]
        alone = torch.zeros_like(z)
        alone[:, list(heads)] = z[:, list(heads)]
        # what the heads add with all others silent; the bias of the projection belongs to none of them
        out.append(block.out(alone) - block.out(torch.zeros_like(z)))
    return list(torch.stack(out, 1))


def _writable(decoder: Model, vectors: Tensor, heads: tuple[int, ...]) -> Tensor:
    """The projection of each layer's vector on the span of what the heads can write."""
    out, there = [], set(decoder.attention_layers)
    for layer, (block, v) in enumerate(zip(decoder.attention_parts(), vectors, strict=True)):
        if layer not in there:
            out.append(torch.zeros_like(v, dtype=torch.float32))
            continue
        rows = block.output_weight()[list(heads)].flatten(0, 1).float()
        basis = torch.linalg.qr(rows.T).Q
        out.append(basis @ (basis.T @ v.float()))
    return torch.stack(out)


@door(InjectionError)
def edits(memory: Memory, layers: Layers, strength: float = 1.0, *, position: Positions = None) -> tuple[Edit, ...]:
    """The edits that inject a memory at the attention output of some layers: `attn_out <- attn_out + strength *
    memory`.

    Args:
        layers: one or several, 0-based.
        strength: any finite number; negative takes the memory's direction out.
        position: token positions, as in `Site`; None for all (while generating: also every new token).

    Raises: InjectionError for a strength that is no finite number; SiteError: no such layer.
    """
    return tuple(
        Edit(Site("attn_out", layer=layer, position=position), "add", memory, scale=float(strength))
        for layer in indices(layers, len(memory.vectors), "layer")
    )


def check_strength(strength: Any) -> float:
    """The strength as a float.

    Raises: InjectionError for what is no finite number.
    """
    return float(Number().of(strength, "strength", InjectionError, "for example 3, 0.5 or -1"))


def stream_rms(runs: Runs, prompt: int = 0, length: int | None = None) -> Float[Tensor, " n_layers"]:
    """The median over a prompt's tokens of the root mean square of the residual stream, at every layer's input: a start
    token's outsize activations do not count.

    ``length``: its first so many tokens only (an answer may follow).
    """
    span = slice(runs.starts[prompt], runs.starts[prompt] + (length or runs.lengths[prompt]))
    return torch.stack([x[span].float().square().mean(-1).sqrt().median().cpu() for x in runs.resid[:-1]])


def relative_factors(
    vectors: Float[Tensor, "n_layers d_model"], rms: Float[Tensor, " n_layers"]
) -> Float[Tensor, " n_layers"]:
    """What a memory is multiplied by at each layer so that strength 1 has the residual stream's own RMS."""
    return rms / vectors.float().square().mean(-1).sqrt().cpu().clamp(min=1e-12)


def warn_overflow(
    decoder: Model,
    vectors: Float[Tensor, "n_layers d_model"],
    layers: Sequence[int],
    strength: float,
    resid: Sequence[float],
) -> None:
    """Warns, naming the first layer, where the residual stream plus the injected vector leaves the model's number
    format.

    ``resid``: per layer, the largest absolute value of the unedited stream.
    """
    limit = torch.finfo(decoder.dtype).max
    largest = vectors.float().abs().amax(-1).tolist()
    for layer in layers:
        if abs(strength) * largest[layer] + resid[layer] > limit:
            warn(
                f"strength={strength:g} overflows {str(decoder.dtype).removeprefix('torch.')} at layer {layer}: the"
                f" stream would reach {abs(strength) * largest[layer] + resid[layer]:.3g}, above {limit:.3g}; use a"
                " smaller strength or dtype='float32'."
            )
            return
