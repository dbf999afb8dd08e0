"""What a model's activations and weights say in its own vocabulary, and where its heads look.

``logit_lens``, ``head_vocabulary`` and ``direct_logit_attribution`` read into the vocabulary; ``attention``,
``induction_scores`` and ``copying_scores`` (in ``lens.readout.heads``) describe heads. All of them run on a
``TransformerBridge`` or a plain Hugging Face causal model with a ``.tokenizer``, leave no hook behind, and return
labelled results. Query heads are listed as they are, with the coordinate ``kv_head`` saying which key/value head each
reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from ..arguments import Count, HFModel, Index, Positions, Token, door
from ..engine.metrics import LOGIT_BYTES
from ..engine.model import Model
from ..engine.runs import Runs
from ..engine.sessions import of_one_model
from ..engine.sites import RESIDUAL, SiteError, indices
from ..prompts import Pair
from ..results import dataset as results
from .heads import attention, copying_scores, induction_scores
from .reading import (
    ReadoutError,
    answers,
    back_through_norm,
    count,
    kv_heads,
    labels,
    module_bias,
    norm_scale,
    one_position,
    one_token,
    places,
    read_prompt,
    read_prompts,
    record,
    recorded,
    through_norm,
    value_weight,
)

__all__ = [
    "ReadoutError",
    "attention",
    "copying_scores",
    "direct_logit_attribution",
    "head_vocabulary",
    "induction_scores",
    "logit_lens",
]

_STREAMS = tuple(s for s in RESIDUAL if s != "embed")


@door(ReadoutError)
@of_one_model(reads=False)
@torch.no_grad()
def logit_lens(
    model: HFModel,
    prompts: str | Pair | Sequence[str | Pair],
    *,
    positions: Positions = None,
    k: Count = 5,
    answer: Token | Sequence[Token] | None = None,
    foil: Token | Sequence[Token] | None = None,
    site: str = "resid_post",
    which: str = "clean",
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

    Returns:
        Over ``[prompt,] layer [, position]``: ``prob``, ``logit`` and ``rank`` of the answer (rank 0 is the top),
        ``logit_diff`` = logit(answer) - logit(foil), ``kl`` = KL(final prediction || this layer's) in nats; with an
        axis ``top`` of size ``k``: ``top_token``, ``top_prob``. Coordinates ``top_id``, ``token`` and ``token_index``,
        ``answer_token``, ``foil_token``.

    Raises:
        SiteError: another site. PromptError, ReadoutError: an empty prompt, a position that is not there, an answer
            that is not one token.

    Source: nostalgebraist 2020, interpreting GPT: the logit lens; KL as in Belrose et al. 2023, Tuned Lens, section 3.

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
        size = max(1, LOGIT_BYTES // (4 * decoder.d_vocab))
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
                stream = torch.stack([runs.resid[0][token] if l < 0 else runs.get(site, l)[token] for l in group])
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
            **_answer_coords(model, readings, wanted),
        },
    )
    _units(ds, kl="nats", prob="1", logit="logits", logit_diff="logits", rank="tokens", top_prob="1")
    if where.scalar:
        ds = ds.isel(position=0)
    call = dict(positions=positions, k=k, answer=answer, foil=foil, site=site, which=which)
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
    text: str | Pair | None = None,
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
        out = through_norm(
            block.post_attn, z[:, at_head] @ w_o, norm_scale(block.post_attn, before_post_norm(block, z))
        )
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
        found = logits.topk(k, largest=largest)
        likely = found.indices.cpu().numpy()
        variables |= {
            name: (("source", "top"), found.values.cpu().numpy()),
            f"{name}_token": (("source", "top"), labels(model, likely)),
        }
        coords[f"{name}_id"] = (("source", "top"), likely)
    variables |= {"norm": ("source", out.norm(dim=-1).cpu().numpy()), **extra}
    ds = xr.Dataset(variables, {**coords, "top": np.arange(k), "layer": at_layer, "head": at_head, "kv_head": shared})
    if single:
        ds = alone(ds, "source")
    if text is not None:
        _units(ds, promoted="logits", suppressed="logits")
    call = dict(
        layer=at_layer, head=at_head, tokens=tokens, position=position if text is not None else None, k=k, which=which
    )
    return results.stamp(ds, record(model, decoder, "head_vocabulary", call, readings))


@door(ReadoutError)
@of_one_model(reads=False)
@torch.no_grad()
def direct_logit_attribution(
    model: HFModel,
    pairs: str | Pair | Sequence[str | Pair],
    *,
    position: Positions = "last",
    answer: Token | Sequence[Token] | None = None,
    foil: Token | Sequence[Token] | None = None,
    which: str = "clean",
) -> xr.Dataset:
    """How much of the logit difference each head and MLP writes into the residual stream directly, at one position.

    The final norm is frozen at the scale that it has in the run; the logit difference is then a sum over what was added
    to the stream, and the parts add up to it exactly (to rounding):
    ``contribution.sum(["layer", "component"]) + embed + bias == total``.
    Effects through later layers are not in it: patch for those.

    Args:
        pairs: pairs, or texts with ``answer`` given; several have a ``prompt`` axis.
        position: an int or the name of one token, whose prediction is taken apart.
        answer, foil: as in ``logit_lens``; without a foil the answer's logit is taken apart.
        which: ``clean`` or ``corrupted``: the prompt of a pair that is read.

    Returns:
        ``contribution`` over ``[prompt,] layer, component`` in logits; components: "head 0", ..., "attn_bias" (the
        attention output's bias, and a post-norm's; 0 where there is none), "mlp", and in hybrids "mixer": what linear
        attention or a state space adds, in place of attention or beside it. NaN where a layer has no such thing (heads
        in a layer without attention), which sums leave out. ``embed``: the embedding with learned
        positions; ``bias``: of the final norm and the unembedding; ``total``: the model's logit difference. Coordinates
        ``head``, ``kv_head`` (-1: no head) along ``component``. A post-norm (OLMo 2) is frozen at the scale of the
        whole attention output, which makes each head's share of it linear too.

    Raises:
        ReadoutError: no answer, a position of several tokens. PromptError: see ``logit_lens``. SiteError: a model
        without attention heads, or whose stream is more than a sum (norms on the stream itself, as in OPT-350m).

    Source: Elhage et al. 2021, A Mathematical Framework for Transformer Circuits; Wang et al. 2023, Interpretability in
        the Wild, section 3.1.
    """
    decoder = Model.of(model)
    decoder.attention_parts()
    decoder.require_sum()
    single, readings = read_prompts(model, pairs, which, "pairs")
    wanted = answers(model, readings, answer, foil)
    for r, (a, _) in zip(readings, wanted):
        if a is None:
            raise ReadoutError(
                f"answer=None, and {r.text!r} is plain text, which has no answer; give answer=' Paris', or a lens.Pair."
            )
    at = one_position(readings, position)
    heads = range(decoder.n_heads)
    others = ["attn_bias", *["mixer"] * any(map(decoder.headless, range(decoder.n_layers))), "mlp"]
    components = [*(f"head {h}" for h in heads), *others]
    value = {n: np.zeros(len(readings), np.float32) for n in ("embed", "bias", "total")}
    value["contribution"] = np.zeros((len(readings), decoder.n_layers, len(components)), np.float32)
    for batch, runs in recorded(decoder, [r.ids for r in readings], ("z", "mlp_out"), "direct logit attribution"):
        token = torch.tensor([runs.starts[n] + at[i] for n, i in enumerate(batch)], device=decoder.device)
        for name, found in _attributed(decoder, runs, token, [wanted[i] for i in batch]).items():
            value[name][batch] = found.cpu().numpy()
    ds = xr.Dataset(
        {n: (("prompt", "layer", "component")[: v.ndim], v) for n, v in value.items()},
        {
            "prompt": np.arange(len(readings)),
            "layer": np.arange(decoder.n_layers),
            "component": np.array(components),
            "head": ("component", [*heads, *[-1] * len(others)]),
            "kv_head": ("component", [*kv_heads(decoder, heads), *[-1] * len(others)]),
            "label": ("prompt", np.array([r.label for r in readings], dtype=str)),
            "token": ("prompt", np.array([r.tokens[p] for r, p in zip(readings, at)], dtype=str)),
            "token_index": ("prompt", at),
            **_answer_coords(model, readings, wanted),
        },
    )
    _units(ds, contribution="logits", embed="logits", bias="logits", total="logits")
    call = dict(position=position, answer=answer, foil=foil, which=which)
    return results.stamp(
        alone(ds, "prompt") if single else ds, record(model, decoder, "direct_logit_attribution", call, readings)
    )


def _attributed(
    decoder: Model, runs: Runs, token: Tensor, wanted: Sequence[tuple[int, int | None]]
) -> dict[str, Tensor]:
    """The parts of the logit difference at some tokens ``[n]``: contribution ``[n, layer, component]`` and the rest
    ``[n]``.
    """
    weight, bias = decoder.unembedding(), decoder.unembedding_bias()

    def column(n):
        return torch.tensor([w[n] if w[n] is not None else 0 for w in wanted], device=token.device)

    there = torch.tensor([float(f is not None) for _, f in wanted], device=token.device)

    def difference(table: Tensor) -> Tensor:
        second = table[column(1)].float()
        return table[column(0)].float() - second * there.reshape(-1, *[1] * (second.ndim - 1))

    unembed, final = difference(weight), runs.resid[-1][token]
    # the direction in the residual stream along which an addend counts
    direction = back_through_norm(decoder.norm, unembed, norm_scale(decoder.norm, final))

    def along(x):
        return (x.float() * direction).sum(-1)

    def of_attention(l: int, block: Any) -> Tensor:
        """Each head's part, and what the output adds whatever they are."""
        if l not in with_heads:
            return torch.full((len(token), decoder.n_heads + 1), torch.nan, device=token.device)
        z = runs.get("z", l)[token].float()
        inner = back_through_norm(block.post_attn, direction, norm_scale(block.post_attn, before_post_norm(block, z)))
        by_head = torch.einsum("nhd,hdm,nm->nh", z, block.output_weight().float(), inner)
        rest = torch.zeros_like(there)
        if (b := block.output_bias()) is not None:
            rest = rest + inner @ b
        if (b := module_bias(block.post_attn)) is not None:
            rest = rest + direction @ b
        return torch.cat([by_head, rest[:, None]], 1)

    with_heads = set(decoder.attention_layers)
    headless = [decoder.headless(l) for l in range(decoder.n_layers)]
    parts = []
    for l, block in enumerate(decoder.attention_parts()):
        found = [of_attention(l, block)]
        if any(headless):
            site = headless[l]
            mixed = torch.full_like(there, torch.nan) if site is None else along(runs.get(site, l)[token])
            found.append(mixed[:, None])
        parts.append(torch.cat([*found, along(runs.get("mlp_out", l)[token])[:, None]], 1))
    logits = decoder.unembed(final).float()
    b_norm = module_bias(decoder.norm)
    constant = (unembed @ b_norm if b_norm is not None else torch.zeros_like(there)) + (
        difference(bias) if bias is not None else 0
    )

    def own(n):
        return logits.gather(1, column(n)[:, None])[:, 0]

    return {
        "contribution": torch.stack(parts, 1),
        "embed": along(runs.resid[0][token]),
        "bias": constant,
        "total": own(0) - there * own(1),
    }


def post_norm_scale(block: Any, z: Float[Tensor, "n n_heads d_head"]) -> Float[Tensor, "n 1"]:
    """What a block's post-norm (OLMo 2) multiplies its whole attention output by; 1 where it has none."""
    if block.post_attn is None:
        return torch.ones(len(z), 1, device=z.device)
    return norm_scale(block.post_attn, before_post_norm(block, z))


def before_post_norm(block: Any, z: Tensor) -> Tensor:
    """The attention output ``[n, d_model]`` of all heads together, before a post-norm."""
    out = torch.einsum("nhd,hdm->nm", z, block.output_weight().float())
    bias = block.output_bias()
    return out if bias is None else out + bias


def alone(ds: xr.Dataset, dim: str) -> xr.Dataset:
    """A Dataset without an axis of length 1; what was labelled along it stays as scalar coordinates."""
    return ds.isel({dim: 0}).drop_vars(dim, errors="ignore")


def int_only(value: Any, argument: str) -> int:
    """One index, not several."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise SiteError(f"{argument}={value!r} is not an integer; a head is read by itself: give one {argument}.")
    return value


def _answer_coords(model: Any, readings: Sequence, wanted: Sequence[tuple[int | None, int | None]]) -> dict[str, Any]:
    coords = {}
    for n, name in enumerate(("answer", "foil")):
        if any(w[n] is not None for w in wanted):
            shown = labels(model, [w[n] if w[n] is not None else 0 for w in wanted])
            coords[f"{name}_token"] = (
                "prompt",
                np.array([s if w[n] is not None else "" for s, w in zip(shown, wanted)], dtype=str),
            )
    return coords


def _units(ds: xr.Dataset, **units: str) -> None:
    for name, unit in units.items():
        if name in ds:
            ds[name].attrs["units"] = unit
