"""Heads by where they look and what they copy: attention patterns, induction and copying scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from ..arguments import Count, Draws, Heads, HFModel, Layers, Seed, Share, Token, door
from ..engine.memory import logit_bytes
from ..engine.model import Model
from ..engine.runs import Runs
from ..engine.sessions import of_one_model
from ..prompts import start_token
from ..results import dataset as results
from ..stats import bootstrap, proportion
from ..stats.bounds import SHARE
from .norms import back_through_norm, kv_heads, norm_scale, through_norm, value_weight
from .reading import (
    Prompt,
    ReadoutError,
    count,
    layers_with,
    one_token,
    ordinary_tokens,
    read_prompt,
    record,
    recorded,
    selected,
)

#: Keys that a query of the second copy looks at, as offsets back from it, given the length of a copy.
SCORES = {
    "induction": lambda length: length - 1,
    "previous_token": lambda length: 1,
    "duplicate_token": lambda length: length,
}


@door(ReadoutError)
@of_one_model(reads=False)
@torch.no_grad()
def attention(
    model: HFModel, prompt: Prompt, *, layers: Layers = None, heads: Heads = None, which: str = "clean"
) -> xr.Dataset:
    """The attention patterns of a prompt.

    Args:
        prompt: text or a pair.
        layers, heads: ints, slices or lists; None for all, of a hybrid's layers for those with attention.
        which: ``clean`` or ``corrupted``: the prompt of a pair that is run.

    Returns: ``pattern`` over ``layer, head, query, key``, float32; every row sums to 1 and keys after the query are 0.
        Coordinates ``token_query``, ``token_key``, and ``kv_head``: the key/value head that a query head reads.

    Raises:
        SiteError: no such layer or head. ReadoutError, PromptError: an empty prompt, or ``which`` with plain text.
    """
    decoder = Model.of(model)
    reading = read_prompt(model, prompt, which)
    at_layer, at_head = layers_with(decoder, layers, "pattern"), selected(heads, decoder.n_heads, "head")
    runs = Runs.record(decoder, [reading.ids], ("pattern",))
    pattern = np.stack([runs.get("pattern", l)[0, at_head].float().cpu().numpy() for l in at_layer])
    n, tokens = len(reading), np.array(reading.tokens, dtype=str)
    ds = xr.Dataset(
        {"pattern": (("layer", "head", "query", "key"), pattern)},
        {
            "layer": at_layer,
            "head": at_head,
            "kv_head": ("head", kv_heads(decoder, at_head)),
            "query": np.arange(n),
            "key": np.arange(n),
            "token_query": ("query", tokens),
            "token_key": ("key", tokens),
        },
    )
    ds["pattern"].attrs["units"] = "1"
    return results.stamp(
        ds, record(model, decoder, "attention", dict(layers=layers, heads=heads, which=which), [reading])
    )


def pattern_scores(pattern: Float[Tensor, "*rows query key"], length: int) -> Float[Tensor, " n_scores *rows"]:
    """Mean attention of the second copy's queries to the places that ``SCORES`` names; the sequence ends in two copies
    of ``length`` tokens.
    """
    query = torch.arange(pattern.shape[-2] - length, pattern.shape[-2], device=pattern.device)
    return torch.stack([pattern[..., query, query - offset(length)].float().mean(-1) for offset in SCORES.values()])


@door(ReadoutError)
@of_one_model(reads=False)
@torch.no_grad()
def induction_scores(
    model: HFModel,
    *,
    length: Count = 50,
    sequences: Draws = 8,
    seed: Seed = 0,
    tokens: Sequence[Token] | None = None,
    start: Token | None = "auto",
    level: Share = 0.95,
) -> xr.Dataset:
    """How much each head attends as an induction, previous-token or duplicate-token head, on repeated random tokens.

    A sequence is ``length`` distinct random tokens, twice over, after a start token. All three scores average the
    attention of the second copy's queries: ``induction`` to the token after the earlier copy of the query's token (the
    prefix-matching score), ``previous_token`` to the token just before, ``duplicate_token`` to the earlier copy itself.

    Args:
        length: tokens of one copy, 2 or more.
        sequences: random sequences, 2 or more; the unit of the interval.
        tokens: ids (or texts of one token) to draw from; by default the vocabulary without special tokens.
        start: the start token: ``"auto"``, ``"bos"``, one token as text or id, or None (`lens.prompts.start_token`).
        level: of the interval over sequences (`lens.stats.means.mean_interval`; none below 5).

    Returns: over ``score, layer, head``: ``mean``, ``low``, ``high``, ``interval_kind``; ``samples`` over ``score,
        sequence, layer, head``; ``chance``, what uniform attention would score; ``n``. Coordinates ``kv_head``, and
        ``token_id``: the sequences. NaN in layers of a hybrid that have no attention.

    Raises:
        ReadoutError: too short, too few sequences, fewer than ``length`` distinct tokens to draw from.
        UnsupportedModel: longer than the model's context.

    Source: Elhage et al. 2021; Olsson et al. 2022, In-context Learning and Induction Heads (prefix-matching score on
        repeated random tokens).
    """
    decoder = Model.of(model)
    length, sequences = count(length, "length", 2), count(sequences, "sequences", 2)
    first = start_token(model, start)
    pool = (
        ordinary_tokens(model, decoder)
        if tokens is None
        else np.array([one_token(model, decoder, t, "tokens") for t in tokens], dtype=int)
    )
    pool = np.setdiff1d(pool, [] if first is None else [first])
    if len(pool) < length:
        raise ReadoutError(
            f"length={length}: there are only {len(pool)} distinct tokens to draw from, and a copy must not repeat one;"
            " give a smaller length or more tokens."
        )
    draw = np.random.default_rng(seed)
    ids = [
        torch.tensor([*([] if first is None else [first]), *half, *half])
        for half in (draw.choice(pool, length, replace=False) for _ in range(sequences))
    ]
    samples = np.full((len(SCORES), sequences, decoder.n_layers, decoder.n_heads), np.nan, np.float32)
    for batch, runs in recorded(decoder, ids, ("pattern",), "induction scores"):
        for l in layers_with(decoder, None, "pattern"):
            samples[:, batch, l] = pattern_scores(runs.get("pattern", l), length).cpu().numpy()
    interval = bootstrap(samples, axis=1, level=level, seed=seed, values="number", bounds=SHARE)
    dims, heads = ("score", "layer", "head"), np.arange(decoder.n_heads)
    queries = np.arange(len(ids[0]) - length, len(ids[0]))
    ds = xr.Dataset(
        {
            "mean": (dims, samples.mean(1)),
            "low": (dims, np.asarray(interval.low, np.float32)),
            "high": (dims, np.asarray(interval.high, np.float32)),
            "interval_kind": (dims, np.broadcast_to(interval.kind, samples.mean(1).shape)),
            "samples": (("score", "sequence", "layer", "head"), samples),
            "chance": float((1 / (queries + 1)).mean()),
            "n": sequences,
        },
        {
            "score": list(SCORES),
            "sequence": np.arange(sequences),
            "token_id": (("sequence", "place"), torch.stack(ids).numpy()),
            "layer": np.arange(decoder.n_layers),
            "head": heads,
            "kv_head": ("head", kv_heads(decoder, heads)),
        },
    )
    for name in ("mean", "low", "high", "samples", "chance"):
        ds[name].attrs["units"] = "1"
    call = dict(length=length, sequences=sequences, start=first, level=level, tokens=None if tokens is None else pool)
    return results.stamp(ds, record(model, decoder, "induction_scores", call, seed=seed))


@door(ReadoutError)
@of_one_model(reads=False)
@torch.no_grad()
def copying_scores(
    model: HFModel,
    *,
    method: str = "eigenvalue",
    layers: Layers = None,
    tokens: Sequence[Token] | None = None,
    samples: Draws = 100,
    k: Count = 5,
    start: Token | None = "auto",
    seed: Seed = 0,
    level: Share = 0.95,
) -> xr.Dataset:
    """How much each head's value/output circuit raises the token that it reads.

    ``method="eigenvalue"``: sum of the eigenvalues of ``W_E W_V W_O W_U`` over the sum of their magnitudes, real part:
    +1 for a head that raises every token it reads, -1 for one that lowers it, about 0 otherwise. The norms' weights and
    centring are folded in; their scales are left out, and so is the bound at which a model clips its values. Computed
    from the ``d_head x d_head`` matrix with the same non-zero eigenvalues.

    ``method="top_k"``: the share of tokens that come out among the head's own ``k`` highest logits when it attends to
    nothing else. The head reads the token's residual stream after block 0, of a run on the start token and this token
    alone (heads of block 0 read the stream before it); what it writes is normed by itself, without the biases of
    output, final norm and unembedding. Costs a product with ``W_U`` for every head and token: choose ``layers``.

    Args:
        layers: ints, slices or lists; None for all, of a hybrid's layers for those with attention heads.
        tokens: for ``top_k``: ids, or texts of one token; by default ``samples`` random ones, special tokens left out.
        k: for ``top_k``: how many of the top (and of the bottom) count as a hit.
        start: for ``top_k``: as in ``induction_scores``.
        level: for ``top_k``: of the exact binomial interval over tokens.

    Returns: over ``layer, head``: ``eigenvalue_score``; or ``hit_rate`` with ``low``, ``high``, ``suppressed_rate``
        (among the ``k`` lowest: negative copying), ``n`` tokens and ``chance``. Coordinate ``kv_head``.

    Raises:
        ReadoutError: unknown method, no tokens, k out of range. SiteError: no such layer. PromptError: not one token.

    Source: Elhage et al. 2021, A Mathematical Framework for Transformer Circuits (copying, eigenvalues); Wang et al.
        2023, Interpretability in the Wild, section 3.1 and appendix (copy score).
    """
    decoder = Model.of(model)
    if method not in ("eigenvalue", "top_k"):
        raise ReadoutError(f"method={method!r} is not known; expected 'eigenvalue' or 'top_k'.")
    at_layer, heads = layers_with(decoder, layers), np.arange(decoder.n_heads)
    dims, call = ("layer", "head"), dict(method=method, layers=layers)
    if method == "eigenvalue":
        if tokens is not None:
            raise ReadoutError(
                "tokens is given, but method='eigenvalue' reads the whole vocabulary; use method='top_k'."
            )
        variables: dict[str, Any] = {"eigenvalue_score": (dims, _eigenvalue_scores(decoder, at_layer))}
    else:
        k, first = count(k, "k"), start_token(model, start)
        if 2 * k > decoder.d_vocab:
            raise ReadoutError(f"k={k} is too large; the top and the bottom of {decoder.d_vocab} tokens would overlap.")
        if tokens is None:
            pool = np.setdiff1d(ordinary_tokens(model, decoder), [] if first is None else [first])
            ids = (
                np.random.default_rng(seed)
                .choice(pool, min(count(samples, "samples"), len(pool)), replace=False)
                .tolist()
            )
        else:
            ids = [
                one_token(model, decoder, t, "tokens")
                for t in ([tokens] if isinstance(tokens, str) or not hasattr(tokens, "__iter__") else tokens)
            ]
        if not ids:
            raise ReadoutError("tokens is empty; give at least one token, or None for random ones.")
        up, down = _hits(decoder, at_layer, ids, first, k)
        interval = proportion(up, len(ids), level=level)
        variables = {
            "hit_rate": (dims, up / len(ids)),
            "low": (dims, np.asarray(interval.low)),
            "high": (dims, np.asarray(interval.high)),
            "suppressed_rate": (dims, down / len(ids)),
            "chance": k / decoder.d_vocab,
            "n": len(ids),
        }
        call |= dict(tokens=ids, k=k, start=first, level=level)
    ds = xr.Dataset(variables, {"layer": at_layer, "head": heads, "kv_head": ("head", kv_heads(decoder, heads))})
    for name in variables:
        ds[name].attrs["units"] = "tokens" if name == "n" else "1"
    return results.stamp(
        ds, record(model, decoder, "copying_scores", call, seed=seed if method == "top_k" and tokens is None else None)
    )


def _eigenvalue_scores(decoder: Model, layers: list[int]) -> Float[np.ndarray, "layer head"]:
    blocks = decoder.attention_parts()
    share = decoder.n_heads // decoder.n_kv_heads
    both = (
        (
            back_through_norm(decoder.norm, decoder.unembedding().float()).T
            @ decoder.embeddings()[: decoder.d_vocab].float()
        )
        .cpu()
        .double()
    )
    out = np.zeros((len(layers), decoder.n_heads), np.float32)
    for n, l in enumerate(layers):
        block = blocks[l]
        w_v = (
            back_through_norm(block.norm_attn, value_weight(block).float().transpose(1, 2))
            .transpose(1, 2)
            .cpu()
            .double()
        )
        w_o = through_norm(block.post_attn, block.output_weight()).cpu().double()
        # A B with A = W_E W_V [d_vocab, d_head] and B = W_O W_U [d_head, d_vocab] has the non-zero eigenvalues of B A
        values = torch.linalg.eigvals(w_o @ both @ w_v.repeat_interleave(share, 0))
        size = values.abs().sum(-1)
        out[n] = torch.where(size > 0, values.real.sum(-1) / size, torch.zeros_like(size)).numpy()
    return out


def _hits(
    decoder: Model, layers: list[int], ids: list[int], first: int | None, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """How many tokens a head puts among its ``k`` highest, and its ``k`` lowest, logits: ``[layer, head]`` each."""
    before = [] if first is None else [first]
    blocks = decoder.attention_parts()
    share, last = decoder.n_heads // decoder.n_kv_heads, len(before)
    runs = Runs.record(decoder, [torch.tensor([*before, i]) for i in ids], ())
    at, own = torch.tensor(runs.starts, device=decoder.device) + last, torch.tensor(ids, device=decoder.device)
    unembed = decoder.unembedding().float().T
    rows = max(1, logit_bytes(decoder.device) // (4 * decoder.d_vocab))
    up, down = np.zeros((len(layers), decoder.n_heads)), np.zeros((len(layers), decoder.n_heads))
    for n, l in enumerate(layers):
        block = blocks[l]
        v = block.values(block.norm_attn(runs.get("resid_pre", min(l, 1))[at])).float()
        out = torch.einsum("nhd,hdm->nhm", v.repeat_interleave(share, 1), block.output_weight().float())
        out = through_norm(block.post_attn, out, norm_scale(block.post_attn, out))
        out = through_norm(decoder.norm, out, norm_scale(decoder.norm, out))
        for a in range(0, len(ids), max(1, rows // decoder.n_heads)):
            some = slice(a, a + max(1, rows // decoder.n_heads))
            logits = out[some] @ unembed
            mine = logits.gather(2, own[some, None, None].expand(-1, decoder.n_heads, 1))
            up[n] += ((logits > mine).sum(-1) < k).sum(0).cpu().numpy()
            down[n] += ((logits < mine).sum(-1) < k).sum(0).cpu().numpy()
    return up, down
