"""The columns of what is read: the logit lens, attention, direct logit attribution, a head's vocabulary, scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

import lens
from lens import scoring

from ._models_cells import ANSWER, CLEAN, CORRUPTED, FOIL, Case, Ours, Part, Values
from ._models_naive import Naive, NaiveError

# -- the logit lens ----------------------------------------------------------------------------------------------------


def logit_lens(case: Case) -> list[Part]:
    """Every layer's stream through the model's own last norm and head."""
    sites = ["resid_post"] + ["resid_mid"] * (len(case.having("resid_mid")) == case.naive.n_layers)
    return [Part(s, lambda c, s=s: _lens(c, s), lambda c, n, s=s: _lensed(n, s)) for s in sites]


def _lens(case: Case, site: str) -> Ours:
    ds = lens.logit_lens(case.model, case.pair, k=3, site=site)
    names = ("logit", "logit_diff", "prob", "kl")
    values = {name: ds[name].transpose("layer", "position").values for name in names}
    return Ours(values | {"top_prob": ds.top_prob.transpose("layer", "position", "top").values}, ds)


def _lensed(naive: Naive, site: str) -> Values:
    places = [(site, layer) for layer in range(naive.n_layers)]
    streams = naive.read(CLEAN, [("resid_pre", 0)] * (site == "resid_post") + places)
    logits = torch.stack([naive.head(stream) for stream in streams])
    logs, final = logits.log_softmax(-1), naive.logits(CLEAN).log_softmax(-1)
    return {
        "logit": (logits[..., ANSWER], None),
        "logit_diff": (logits[..., ANSWER] - logits[..., FOIL], None),
        "prob": (logs[..., ANSWER].exp(), None),
        "kl": ((final.exp() * (final - logs)).sum(-1).clamp(min=0), None),
        "top_prob": (logs.exp().topk(3).values, None),
    }


# -- attention ---------------------------------------------------------------------------------------------------------


def attention(case: Case) -> list[Part]:
    """The patterns of every layer that has them."""
    layers = case.having("pattern")
    made = []
    if layers:
        made.append(Part("pattern", lambda c: _attention(c, layers), lambda c, n: _patterns(n, layers)))
    if rest := [layer for layer in case.layers if layer not in layers]:
        reason = case.where.reason("pattern", rest[0])
        made.append(Part(f"pattern of layer {rest[0]}", lambda c: _attention(c, rest[:1]), None, reason))
    return made


def _attention(case: Case, layers: Sequence[int]) -> Ours:
    ds = lens.attention(case.model, case.pair, layers=list(layers))
    return Ours({"pattern": ds.pattern.transpose("layer", "head", "query", "key").values}, ds)


def _patterns(naive: Naive, layers: Sequence[int]) -> Values:
    return {"pattern": (torch.stack(naive.read(CLEAN, [("pattern", l) for l in layers])), None)}


# -- direct logit attribution ------------------------------------------------------------------------------------------


def direct(case: Case) -> list[Part]:
    """What each head and MLP adds to the logit difference."""
    if (reason := case.where.lacks.get("direct")) or not case.having("z"):
        return [Part("contribution", _direct, None, reason or case.where.reason("z", 0))]
    return [Part("contribution", _direct, lambda c, n: _contributions(n))]


def _direct(case: Case) -> Ours:
    ds = lens.direct_logit_attribution(case.model, case.pair)
    layers, heads = case.having("z"), len(case.where.at(case.having("z")[0]).z) if case.having("z") else 0
    of = ds.contribution
    names = [f"head {h}" for h in range(heads)]
    every = float(np.nansum(of.values)) + float(ds.embed) + float(ds.bias)
    values = {
        "heads": of.sel(layer=layers, component=names).transpose("layer", "component").values,
        "attn_bias": of.sel(layer=layers, component="attn_bias").values,
        "mlp": of.sel(component="mlp").values,
        "embed": ds.embed.values,
        "bias": ds.bias.values,
        "sum": every,
    }
    if case.where.cap is None:
        values["total"] = ds.total.values
    return Ours(values, ds)


def _contributions(naive: Naive) -> Values:
    """Parts of the stream through the last norm as it is at the last token; a cap comes after."""
    where, n = naive.where, naive.n_layers
    with_heads = where.having("z", n)
    final = naive.read(CLEAN, [("resid_post", n - 1)])[0][-1]
    through, shift = naive.frozen(naive.module(where.norm), final)

    def along(x: Float[Tensor, "... d_model"]) -> Tensor:
        logits = naive.unembedding(through(x))
        return logits[..., ANSWER] - logits[..., FOIL]

    heads, biases = [], []
    for layer in with_heads:
        by_head, bias = head_parts(naive, layer, naive.read(CLEAN, [("z", layer)])[0][-1])
        heads.append(along(by_head))
        biases.append(along(bias))
    mlp = [
        along(naive.read(CLEAN, [("mlp_out", layer)])[0][-1]) if where.reason("mlp_out", layer) is None else 0.0
        for layer in range(n)
    ]
    head_bias, constant = naive.head_bias(), naive.unembedding(torch.as_tensor(shift))
    bias = (constant + head_bias)[ANSWER] - (constant + head_bias)[FOIL]
    heads, biases, mlp = torch.stack(heads), torch.stack(biases), torch.tensor([float(x) for x in mlp])
    scale = max(float(heads.abs().max()), float(mlp.abs().max()))
    total = float(naive.unembedding(through(final) + shift)[[ANSWER, FOIL]] @ torch.tensor([1.0, -1.0]).double())
    total += float(head_bias[ANSWER] - head_bias[FOIL])
    apart = abs(total - float(last_difference(naive))) if where.cap is None else 0.0
    if naive.model.dtype == torch.float32 and apart > 1e-4 * max(1.0, scale):
        raise NaiveError(f"the parts' sum {total:.4g} is not the model's difference {last_difference(naive):.4g}")
    values = {
        "heads": (heads, scale),
        "attn_bias": (biases, scale),
        "mlp": (mlp, scale),
        "embed": (along(naive.read(CLEAN, [("resid_pre", 0)])[0][-1]), scale),
        "bias": (bias, scale),
        "sum": (total, scale),
    }
    return values | ({"total": (total, scale)} if where.cap is None else {})


def last_difference(naive: Naive) -> Tensor:
    """The model's own logit difference of the clean prompt."""
    logits = naive.logits(CLEAN)[-1]
    return logits[ANSWER] - logits[FOIL]


def head_parts(
    naive: Naive, layer: int, z: Float[Tensor, "head d_head"]
) -> tuple[Float[Tensor, "head d_model"], Float[Tensor, " d_model"]]:
    """What each head adds to the stream, and what is added whatever the heads; a norm behind at the scale of all."""
    where = naive.where.at(layer)
    times = where.mixers[where.attn]
    by_head, bias = naive.by_head(layer, z).double(), naive.projection_bias(layer).double()
    if where.post is None:
        return by_head * times, bias * times
    through, shift = naive.frozen(naive.module(where.post, layer), by_head.sum(0) + bias)
    return through(by_head) * times, (through(bias) + shift) * times


# -- a head's vocabulary -----------------------------------------------------------------------------------------------


def vocabulary(case: Case) -> list[Part]:
    """What one head's output promotes at the last token."""
    if (reason := case.where.lacks.get("direct")) or not (layers := case.having("z")):
        return [Part("promoted", lambda c: _vocabulary(c, 1), None, reason or case.where.reason("z", 0))]
    return [Part("promoted", lambda c: _vocabulary(c, layers[1]), lambda c, n: _promoted(n, layers[1]))]


def _vocabulary(case: Case, layer: int) -> Ours:
    ds = lens.head_vocabulary(case.model, layer, 2, text=case.pair, k=97)
    by_token = np.empty(97)
    by_token[ds.promoted_id.values] = ds.promoted.values
    return Ours({"promoted": by_token, "norm": ds.norm.values}, ds)


def _promoted(naive: Naive, layer: int) -> Values:
    part = head_parts(naive, layer, naive.read(CLEAN, [("z", layer)])[0][-1])[0][2]
    final = naive.read(CLEAN, [("resid_post", naive.n_layers - 1)])[0][-1]
    through, _ = naive.frozen(naive.module(naive.where.norm), final)
    return {"promoted": (naive.unembedding(through(part)), None), "norm": (part.norm(), None)}


# -- scores ------------------------------------------------------------------------------------------------------------

ROWS = [CLEAN.tolist(), CORRUPTED[:7].tolist(), [*CLEAN.tolist(), 11, 12, 13, 14]]


def scores(case: Case) -> list[Part]:
    """Log-likelihoods of rows of several lengths in one batch."""
    return [Part("logprob", _score, lambda c, n: _scored(n))]


def _score(case: Case) -> Ours:
    found = scoring.score(case.model, ROWS, start=None, extra=("mean", "variance"), progress=False)
    return Ours({"logprob": found.logprob, "mean": found.mean, "variance": found.variance})


def _scored(naive: Naive) -> Values:
    logprob, mean, variance = [], [], []
    for row in ROWS:
        logs = naive.logits(torch.tensor(row))[:-1].log_softmax(-1)
        p = logs.exp()
        logprob.append(logs.gather(1, torch.tensor(row[1:])[:, None])[:, 0])
        mean.append((p * logs).sum(-1))
        variance.append((p * logs.square()).sum(-1) - mean[-1].square())
    return {
        "logprob": (torch.cat(logprob), None),
        "mean": (torch.cat(mean), None),
        "variance": (torch.cat(variance), None),
    }
