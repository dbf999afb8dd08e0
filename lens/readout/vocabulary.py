"""What a model's activations and weights say in its own vocabulary.

Read-outs run on a ``TransformerBridge`` or a plain Hugging Face causal model with a ``.tokenizer``, leave no hook
behind, and return labelled results. Query heads are listed as they are, with the coordinate ``kv_head`` saying which
key/value head each reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ..arguments import Count, HFModel, Index, Positions, Token, door
from ..engine.memory import logit_bytes
from ..engine.model import Model
from ..engine.runs import Runs
from ..engine.sessions import of_one_model
from ..engine.sites import RESIDUAL, SiteError, indices
from ..results import dataset as results
from .jacobian_lens.fitted import JacobianLens
from .labelling import alone, answer_coords, set_units
from .norms import kv_heads, norm_scale, post_norm_scale, through_norm, value_weight
from .places import one_position, places
from .reading import (
    Prompt,
    ReadoutError,
    answers,
    count,
    labels,
    one_token,
    read_prompt,
    read_prompts,
    record,
    recorded,
)

__all__ = ["head_vocabulary", "logit_lens"]

_STREAMS = tuple(s for s in RESIDUAL if s != "embed")


@door(ReadoutError)
@of_one_model(reads=False)
@torch.no_grad()
def logit_lens(
    model: HFModel,
    prompts: Prompt | Sequence[Prompt],
    *,
    positions: Positions = None,
    k: Count = 5,
    answer: Token | Sequence[Token] | None = None,
    foil: Token | Sequence[Token] | None = None,
    site: str = "resid_post",
    which: str = "clean",
    lens: JacobianLens | None = None,
) -> xr.Dataset:
    """What the model would predict if it stopped after each layer: the residual stream through the final norm and the
    unembedding.

    Args:
        prompts: text, a pair, or several (the result then has a ``prompt`` axis).
        positions: which tokens: None for all (for several prompts: the last of each), a name ("last", a span), an int,
            a slice, or a list of those. A single token given by itself leaves no ``position`` axis. Prompts that are
            shorter: NaN and "".
        k: most likely tokens to keep.
        answer, foil: one token each, as text or id, or one a prompt; by default the first tokens of the pair's answer
            and foil.
        site: ``resid_post`` (default), ``resid_pre`` or ``resid_mid``. ``resid_post`` begins with layer -1: the
            embedding (learned positions included), which is the ``resid_pre`` of layer 0; its last layer is the model's
            own prediction.
        which: ``clean`` or ``corrupted``: the prompt of a pair that is read.
        lens: a Jacobian lens, by whose average Jacobian each layer's ``resid_post`` is carried to the last stream
            first; None carries nothing. Its layers and the last are read then.

    Returns:
        Over ``[prompt,] layer [, position]``: ``prob``, ``logit`` and ``rank`` of the answer (rank 0 is the top),
        ``logit_diff`` = logit(answer) - logit(foil), ``kl`` = KL(final prediction || this layer's) in nats; with an
        axis ``top`` of size ``k``: ``top_token``, ``top_prob``. Coordinates ``top_id``, ``token`` and ``token_index``,
        ``answer_token``, ``foil_token``.

    Raises:
        SiteError: another site. PromptError, ReadoutError: an empty prompt, a position that is not there, an answer
            that is not one token.

    Source: nostalgebraist 2020, interpreting GPT: the logit lens; KL as in Belrose et al. 2023, Tuned Lens, section 3;
        the Jacobian lens as `lens.jacobian_lens`.

    >>> logit_lens(model, pair, positions="last").rank.plot()          # doctest: +SKIP
    """
    decoder, k = Model.of(model), count(k, "k")
    if site not in _STREAMS:
        raise SiteError(
            f"site={site!r} is not a residual stream; expected one of {', '.join(_STREAMS)} "
            "(for what a component writes, use head_vocabulary or direct_logit_attribution)."
        )
    if site == "resid_mid" and decoder.parallel(0):
        raise SiteError(
            "site='resid_mid' does not exist: this model's attention and MLP run side by side; use 'resid_post'."
        )
    single, readings = read_prompts(model, prompts, which)
    where = places(readings, "last" if positions is None and not single else positions)
    wanted = answers(model, readings, answer, foil)
    layers = list(range(-1 if site == "resid_post" else 0, decoder.n_layers))
    if lens is not None:
        lens.require(model)
        if site != "resid_post":
            raise ReadoutError(f"site={site!r} is not what a Jacobian lens reads; leave it at 'resid_post'.")
        layers = [*lens.layers, decoder.n_layers - 1]
    has_answer, has_foil = (all(w[i] is not None for w in wanted) for i in (0, 1))
    k = min(k, decoder.d_vocab)
    shape = (len(readings), len(layers), where.width)
    names = ["kl"] + ["prob", "logit", "rank"] * has_answer + ["logit_diff"] * has_foil
    out = {n: np.full(shape, np.nan, np.float32) for n in names} | {
        "top_prob": np.full((*shape, k), np.nan, np.float32)
    }
    top_id = np.full((*shape, k), -1)
    for batch, runs in recorded(decoder, [r.ids for r in readings], (), "logit lens"):
        cells = [(i, s, runs.starts[n] + p) for n, i in enumerate(batch) for s, p in enumerate(where.at[i])]
        size = max(1, logit_bytes(decoder.device) // (4 * decoder.d_vocab))
        for some in (cells[a : a + size] for a in range(0, len(cells), size)):
            row, slot, at = (np.array(c) for c in zip(*some))
            token = torch.as_tensor(at, device=decoder.device)
            aim, beside = (
                torch.tensor([wanted[i][n] for i in row], device=decoder.device)[:, None] if there else None
                for n, there in enumerate((has_answer, has_foil))
            )
            final = decoder.unembed(runs.final[token]).float().log_softmax(-1)
            share = final.exp()
            # layers together: the unembedding is the largest matrix, and few rows at a time would only wait for it
            for first in range(0, len(layers), together := max(1, size // len(some))):
                group = layers[first : first + together]
                streams = [(runs.get("resid_pre", 0) if l < 0 else runs.get(site, l))[token] for l in group]
                if lens is not None:
                    streams = [x if l not in lens.layers else lens.transport(l, x) for l, x in zip(group, streams)]
                stream = torch.stack(streams)
                for name, value in _lens(decoder.unembed(stream).float(), final, share, aim, beside, k).items():
                    into = top_id if name == "top_id" else out[name]
                    into[row[None], np.arange(first, first + len(group))[:, None], slot[None]] = value.cpu().numpy()
    shown = np.where(top_id < 0, "", labels(model, np.maximum(top_id, 0)))
    dims = ("prompt", "layer", "position")
    ds = xr.Dataset(
        {n: (dims + ("top",) * (v.ndim - 3), v) for n, v in [*out.items(), ("top_token", shown)]},
        {
            "prompt": np.arange(len(readings)),
            "layer": layers,
            **where.coords(readings),
            "top": np.arange(k),
            "top_id": ((*dims, "top"), top_id),
            **answer_coords(model, readings, wanted),
        },
    )
    set_units(ds, kl="nats", prob="1", logit="logits", logit_diff="logits", rank="tokens", top_prob="1")
    if where.scalar:
        ds = ds.isel(position=0)
    call: dict[str, Any] = dict(positions=positions, k=k, answer=answer, foil=foil, site=site, which=which)
    if lens is not None:
        call["lens"] = {"sha256": lens.digest(), "n_prompts": lens.n, "model": dict(lens.about.get("model", {}))}
    return results.stamp(alone(ds, "prompt") if single else ds, record(model, decoder, "logit_lens", call, readings))


def _lens(
    logits: Tensor, final: Tensor, share: Tensor, answer: Tensor | None, foil: Tensor | None, k: int
) -> dict[str, Tensor]:
    """What is read off logits ``[layer, n, d_vocab]``, given the final log-probabilities and probabilities ``[n,
    d_vocab]``.
    """
    own, other = (None if t is None else logits.gather(2, t.expand(len(logits), -1, 1)) for t in (answer, foil))
    normaliser = logits.logsumexp(-1, keepdim=True)
    top = logits.topk(k)
    read = {"top_prob": (top.values - normaliser).exp(), "top_id": top.indices}
    if own is not None:
        read |= {"prob": (own - normaliser)[..., 0].exp(), "logit": own[..., 0], "rank": (logits > own).sum(-1).float()}
        if other is not None:
            read["logit_diff"] = (own - other)[..., 0]
    # a sum of signed terms that is zero in theory may end just below it
    return read | {"kl": torch.linalg.vecdot(share, final - (logits - normaliser)).clamp(min=0)}


@door(ReadoutError)
@of_one_model(reads=False)
@torch.no_grad()
def head_vocabulary(
    model: HFModel,
    layer: Index,
    head: Index,
    *,
    text: Prompt | None = None,
    tokens: Token | Sequence[Token] | None = None,
    position: Positions = -1,
    k: Count = 10,
    which: str = "clean",
) -> xr.Dataset:
    """The tokens that a head's output promotes and suppresses most, from a run (``text``) or from its weights
    (``tokens``).

    With ``text``, the head's output ``z W_O`` at ``position`` goes through the final norm and ``W_U``. The norm's scale
    is the one of the whole residual stream in that run: the numbers are then the logits that this head adds there. With
    its own scale a head that writes little would be blown up. With ``tokens``, the head is taken to attend to that
    token alone and to read its bare embedding: ``norm(W_E) W_V W_O``, normed as if it were the whole stream, then
    ``W_U``; read these as an order and relative sizes. In both, the norms' and the unembedding's biases, which all
    heads share, are left out, as are those of values and output in the weights. A post-norm (OLMo 2) is applied at the
    scale of the whole attention output (``text``) or of the head's own (``tokens``).

    Args:
        layer, head: which query head; negative counts from the end.
        text: text or a pair to run. ``position``: an int or a name of one token; ``which``: the prompt of a pair.
        tokens: tokens as text or ids, one or several (an axis ``source`` then).
        k: tokens to keep at either end.

    Returns: over ``[source,] top``: ``promoted_token``, ``promoted``, ``suppressed_token``, ``suppressed`` (in logits
        for ``text``); ``norm`` of the head's output; for ``tokens`` also ``own_rank`` and ``own_rank_low``, the source
        token's own place from either end (0: the first). Coordinates ``layer``, ``head``, ``kv_head``, the ids.

    Raises:
        SiteError: no such layer or head. ReadoutError: neither or both of text and tokens; PromptError: no such
            position, not one token.

    Source: Elhage et al. 2021, A Mathematical Framework for Transformer Circuits (OV circuit); Dar et al. 2023,
        Analyzing Transformers in Embedding Space.
    """
    decoder, k = Model.of(model), count(k, "k")
    at_layer, at_head = (
        indices(int_only(layer, "layer"), decoder.n_layers, "layer")[0],
        indices(int_only(head, "head"), decoder.n_heads, "head")[0],
    )
    if (text is None) == (tokens is None):
        raise ReadoutError(
            f"text={text!r} and tokens={tokens!r}: expected exactly one: text to run, or tokens to read through the"
            " weights."
        )
    decoder.require("z", at_layer)
    decoder.require_sum()
    block, shared = decoder.attention_parts()[at_layer], int(kv_heads(decoder, [at_head])[0])
    w_o = block.output_weight()[at_head].float()
    readings, extra, coords, single = [], {}, {}, True
    if text is not None:
        readings = [read_prompt(model, text, which, "text")]
        runs = Runs.record(decoder, [readings[0].ids], ("z",))
        at = one_position(readings, position)
        z = runs.get("z", at_layer)[at].float()
        out = through_norm(block.post_attn, z[:, at_head] @ w_o, post_norm_scale(block, z))
        normed = through_norm(decoder.norm, out, norm_scale(decoder.norm, runs.resid[-1][at]))
        coords = {"position": at[0], "token": readings[0].tokens[at[0]]}
    else:
        single = isinstance(tokens, str) or not hasattr(tokens, "__iter__")
        named: Any = [tokens] if single else tokens
        ids = [one_token(model, decoder, t, "tokens") for t in named]
        if not ids:
            raise ReadoutError("tokens is empty; give at least one token.")
        source = torch.tensor(ids, device=decoder.device)
        x = decoder.embed(source)
        v = through_norm(block.norm_attn, x, norm_scale(block.norm_attn, x)) @ value_weight(block)[shared].float()
        out = (v if block.bound is None else v.clamp(-block.bound, block.bound)) @ w_o
        out = through_norm(block.post_attn, out, norm_scale(block.post_attn, out))
        normed = through_norm(decoder.norm, out, norm_scale(decoder.norm, out))
        coords = {"source_token": ("source", labels(model, ids)), "source": np.arange(len(ids))}
    logits = normed @ decoder.unembedding().float().T
    if text is None:
        own = logits.gather(1, source[:, None])
        extra = {
            "own_rank": ("source", (logits > own).sum(-1).cpu().numpy()),
            "own_rank_low": ("source", (logits < own).sum(-1).cpu().numpy()),
        }
    k = min(k, decoder.d_vocab)
    variables: dict[str, Any] = {}
    for name, largest in (("promoted", True), ("suppressed", False)):
        extremes = logits.topk(k, largest=largest)
        likely = extremes.indices.cpu().numpy()
        variables |= {
            name: (("source", "top"), extremes.values.cpu().numpy()),
            f"{name}_token": (("source", "top"), labels(model, likely)),
        }
        coords[f"{name}_id"] = (("source", "top"), likely)
    variables |= {"norm": ("source", out.norm(dim=-1).cpu().numpy()), **extra}
    ds = xr.Dataset(variables, {**coords, "top": np.arange(k), "layer": at_layer, "head": at_head, "kv_head": shared})
    if single:
        ds = alone(ds, "source")
    if text is not None:
        set_units(ds, promoted="logits", suppressed="logits")
    call = dict(
        layer=at_layer, head=at_head, tokens=tokens, position=position if text is not None else None, k=k, which=which
    )
    return results.stamp(ds, record(model, decoder, "head_vocabulary", call, readings))


def int_only(value: Any, argument: str) -> int:
    """One index, not several."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise SiteError(f"{argument}={value!r} is not an integer; a head is read by itself: give one {argument}.")
    return value
