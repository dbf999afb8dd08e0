"""The columns of what is added to a stream: injection, by sweep and live, and steering."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

import lens

from ._models_cells import ANSWER, CLEAN, CORRUPTED, DIFFERENT, Case, Ours, Part, Values, text
from ._models_naive import Change, Naive

START, MEMORY, REPLY = 1, (61, 62), (ANSWER, 12)
PROMPT = torch.cat([torch.tensor([START]), CLEAN])
STRENGTHS = (1.0, -3.0)


def added(vector: Tensor, positions: Sequence[int] | None, times: float = 1.0) -> Callable[[Tensor], Tensor]:
    """Adds a vector at some positions."""

    def put(x: Tensor) -> Tensor:
        new = x.clone()
        new[:, slice(None) if positions is None else list(positions)] += (times * vector).to(x)
        return new

    return put


def direction() -> Tensor:
    """Some direction of the stream."""
    return torch.randn(32, generator=torch.Generator().manual_seed(3)) * 2


def answer_logprob(naive: Naive, prompt: Tensor, answer: Sequence[int], changes: Sequence[Change] = ()) -> Tensor:
    """Ln p of each of an answer's tokens after a prompt, `[token]`."""
    whole = torch.cat([prompt, torch.tensor(answer[:-1], dtype=torch.long)])
    logs = naive.logits(whole, changes)[len(prompt) - 1 :].log_softmax(-1)
    return logs.gather(1, torch.tensor(answer)[:, None])[:, 0]


# -- injection ---------------------------------------------------------------------------------------------------------


def injected(case: Case) -> list[Part]:
    """A memory by every encoder, added to every layer's attention output."""
    layers = case.having("attn_out")
    if not layers:
        return [Part("activation", lambda c: _inject(c, "activation", [0]), None, case.where.reason("attn_out", 0))]
    why = case.where.lacks.get("direct")
    made = [
        Part("activation", lambda c: _inject(c, "activation", layers), lambda c, n: _injected(n, "activation", layers))
    ]
    made += [
        Part(e, lambda c, e=e: _inject(c, e, layers), None if why else lambda c, n, e=e: _injected(n, e, layers), why)
        for e in ("embed", "unembed")
    ]
    if case.having("z"):
        made.append(Part("head", lambda c: _inject(c, "head", layers), lambda c, n: _injected(n, "head", layers)))
    return made


def _inject(case: Case, encoder: str, layers: Sequence[int]) -> Ours:
    item = lens.injection.Item(text(CLEAN), text(CORRUPTED), text(MEMORY), f" {text(REPLY)}")
    ds = lens.injection.sweep(
        case.model,
        item,
        encoder=encoder,
        heads=1 if encoder == "head" else None,
        strengths=STRENGTHS,
        layers=list(layers),
        controls=(),
        start=START,
        progress=False,
    )
    values = {
        name: ds[name].isel(item=0, condition=0).transpose("layer", "strength").values for name in ("logprob", "first")
    }
    return Ours(values | {"multi": ds.multi_logprob.values, "single": ds.single_logprob.values}, ds)


def memory(naive: Naive, encoder: str, layer: int) -> Tensor:
    """A memory's vector for one layer's attention output."""
    alone = torch.tensor([START, *MEMORY])
    if encoder == "activation":
        return naive.read(alone, [("attn_out", layer)])[0][-1]
    if encoder == "head":
        if naive.where.reason("z", layer) is not None:
            return naive.read(alone, [("attn_out", layer)])[0][-1] * 0

        def only(kept: Sequence[int]) -> Callable[[Tensor], Tensor]:
            def put(x: Tensor) -> Tensor:
                new = torch.zeros_like(x)
                new[:, :, list(kept)] = x[:, :, list(kept)]
                return new

            return put

        spoken, silent = (
            naive.read(alone, [("attn_out", layer)], [("z", layer, only(kept))])[0][-1] for kept in ([1], [])
        )
        return spoken - silent
    ids = torch.tensor(sorted(set(MEMORY)))
    final = naive.read(alone, [("resid_post", naive.n_layers - 1)])[0][-1]
    norm = naive.module(naive.where.norm)
    centre = "direct" not in naive.where.lacks and _centres(naive, norm, final)
    if encoder == "embed":
        rows = naive.module(naive.where.embed)(ids).float()
        rows = rows - rows.mean(-1, keepdim=True) if centre else rows
        return rows.sum(0)
    gain = _gain(naive, norm, final)
    # the columns as they are applied
    table = naive.module(naive.where.head).weight.double() * gain * naive.where.logits
    table = table - table.mean(-1, keepdim=True) if centre else table
    return (table[ids] - table.mean(0)).sum(0)


def _centres(naive: Naive, norm: Any, at: Tensor) -> bool:
    """Whether a norm takes the mean off."""
    through, _ = naive.frozen(norm, at)
    return bool(through(torch.ones(len(at)).double()).abs().max() < 1e-9)


def _gain(naive: Naive, norm: Any, at: Tensor) -> Tensor:
    """What a norm multiplies each entry by, without its scale."""
    weight = norm.weight.double()
    through, _ = naive.frozen(norm, at)
    probe = torch.randn(len(at), generator=torch.Generator().manual_seed(0)).double()
    left = probe - probe.mean() if _centres(naive, norm, at) else probe
    for gain in (weight, 1 + weight):
        ratio = through(probe) / (left * gain)
        if (ratio / ratio[0] - 1).abs().max() < 1e-6:
            return gain
    raise ValueError("the norm multiplies by something else than its weight")


def _injected(naive: Naive, encoder: str, layers: Sequence[int]) -> Values:
    reply, explicit = list(REPLY), torch.cat([torch.tensor([START]), CORRUPTED])
    base, at = answer_logprob(naive, PROMPT, reply), range(len(PROMPT))
    found = torch.stack(
        [
            torch.stack(
                [
                    answer_logprob(
                        naive, PROMPT, reply, [("attn_out", l, added(memory(naive, encoder, l), at, strength))]
                    )
                    for strength in STRENGTHS
                ]
            )
            for l in layers
        ]
    )
    first, whole = found[..., 0], found.sum(-1)
    scale = float((whole - base.sum()).abs().max())
    return {
        "logprob": (whole, scale),
        "first": (first, scale),
        "multi": (base.sum()[None], scale),
        "single": (answer_logprob(naive, explicit, reply).sum()[None], scale),
    }


def injected_live(case: Case) -> list[Part]:
    """The next token under an injection at two layers, and text written under it."""
    layers = case.having("attn_out")
    if not layers:
        return [Part("next token", lambda c: _live(c, [0]), None, case.where.reason("attn_out", 0))]
    two = [layers[0], layers[-1]]
    made = [Part("next token", lambda c: _live(c, two), lambda c, n: _lived(n, two))]
    return made + [Part("text", lambda c: _written(c, two), lambda c, n: _wrote(n, two))] * _decided(case)


def _decided(case: Case) -> bool:
    """Whether the most likely token is the same whatever rounds: not so in a narrow type."""
    return case.variant.dtype == torch.float32


def _encoded(case: Case) -> Any:
    return lens.injection.encode(case.model, text(MEMORY), encoder="activation", start=START)


def _live(case: Case, layers: Sequence[int]) -> Ours:
    options = dict(layers=layers, strength=2.0, positions="not_first", answer=f" {text(REPLY)}", start=START)
    found = lens.injection.next_tokens(case.model, text(CLEAN), _encoded(case), **options)
    return Ours({
        "before": found.logprobs_before,
        "after": found.logprobs_after,
        "answer_before": found.answer_before,
        "answer_after": found.answer_after,
    })  # fmt: skip


def _lived(naive: Naive, layers: Sequence[int]) -> Values:
    at = range(1, len(PROMPT))
    changes = [("attn_out", l, added(memory(naive, "activation", l), at, 2.0)) for l in layers]
    before, after = (naive.logits(PROMPT, c)[-1].log_softmax(-1) for c in ((), changes))
    scale = float((after - before).abs().max())
    reply = list(REPLY)
    return {
        "before": (before, scale),
        "after": (after, scale),
        "answer_before": (answer_logprob(naive, PROMPT, reply).sum(), scale),
        "answer_after": (answer_logprob(naive, PROMPT, reply, changes).sum(), scale),
    }


_NEW = 4


def _written(case: Case, layers: Sequence[int]) -> Ours:
    found = lens.injection.generate(
        case.model, text(CLEAN), _encoded(case), layers=layers, strength=2.0, max_new_tokens=_NEW, start=START
    )
    return Ours({"tokens": np.array(found.ids)})


def _wrote(naive: Naive, layers: Sequence[int]) -> Values:
    changes = [("attn_out", l, added(memory(naive, "activation", l), None, 2.0)) for l in layers]
    return {"tokens": (greedy(naive, PROMPT, lambda n: changes), 1.0)}


def greedy(naive: Naive, prompt: Tensor, changes: Callable[[int], Sequence[Change]]) -> np.ndarray:
    """The most likely tokens, each by a forward over the whole text; `changes(length)` are in force."""
    ids = prompt
    for _ in range(_NEW):
        token = int(naive.logits(ids, changes(len(ids)))[-1].argmax())
        ids = torch.cat([ids, torch.tensor([token])])
        if token == 0:
            break
    return ids[len(prompt) :].numpy()


# -- steering ----------------------------------------------------------------------------------------------------------


def steered(case: Case) -> list[Part]:
    """Edits in force on the model itself, and text written while a vector acts."""
    sites = [s for s in ("resid_post", "attn_out", "mlp_out", "z", "pattern") if 1 in case.having(s)]
    made = [Part(s, lambda c, s=s: _edited(c, s), lambda c, n, s=s: _in_force(n, s)) for s in sites]
    return made + [Part("text", _steer, lambda c, n: {"tokens": (_steered_text(n), 1.0)})] * _decided(case)


def _edited(case: Case, site: str) -> Ours:
    place = lens.Site(site, layer=1, position=None if site == "pattern" else (DIFFERENT, 5))
    edit = lens.Edit(place, "zero") if site in ("z", "pattern") else lens.Edit(place, "add", direction())
    with torch.no_grad(), lens.edited(case.model, edit):
        logits = case.model(CLEAN[None])
    return Ours({"logits": getattr(logits, "logits", logits)[0]})


def _in_force(naive: Naive, site: str) -> Values:
    if site in ("z", "pattern"):
        at = slice(None) if site == "pattern" else [DIFFERENT, 5]

        def change(x: Tensor) -> Tensor:
            new = x.clone()
            new[:, at] = 0
            return new
    else:
        change = added(direction(), [DIFFERENT, 5])
    new = naive.logits(CLEAN, [(site, 1, change)])
    return {"logits": (new, (new - naive.logits(CLEAN)).abs().max())}


def _steer(case: Case) -> Ours:
    vector = lens.vectors.Vector(direction(), name="drawn")
    found = lens.vectors.generate(
        case.model, PROMPT.tolist(), vector, layer=2, position="new", max_new_tokens=_NEW, start=START
    )
    return Ours({"tokens": np.array(found.ids)})


def _steered_text(naive: Naive) -> np.ndarray:
    return greedy(naive, PROMPT, lambda n: [("resid_post", 2, added(direction(), range(len(PROMPT) - 1, n)))])
