"""What an injection costs elsewhere: how far it moves predictions on unrelated prompts, and how it reads ordinary
text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import torch
import xarray as xr

from ..arguments import Filled, Heads, HFModel, Layers, Name, Seed, Token, different_numbers, door, unfit
from ..engine.metrics import sequence_logprob
from ..engine.model import Model
from ..engine.runs import Runs
from ..engine.sessions import of_one_model
from ..prompts import start_token
from ..results import dataset as results
from ..results.record import record_of
from ..tokens import tokenize, tokenizer_of
from .controls import check_controls, conditions
from .items import InjectionError, Item, as_items
from .memories import Encoder, different_layers, edits


@door(InjectionError)
@of_one_model
@torch.no_grad()
def damage(
    model: HFModel,
    items: Item | Sequence[Item] | Name,
    prompts: Annotated[Sequence[str], Filled()],
    *,
    layers: Layers,
    strengths: float | Sequence[float],
    encoder: Encoder = "activation",
    texts: Sequence[str] = (),
    controls: str | Sequence[str] = ("random_direction",),
    heads: Heads = None,
    start: Token | None = "auto",
    seed: Seed = 0,
    positions: Literal["all", "last"] = "all",
) -> xr.Dataset:
    """Injects every item's memory into prompts and texts that have nothing to do with it.

    Args:
        items: whose memories are injected.
        prompts: unrelated prompts; the next-token distribution at their end is compared.
        layers, strengths: the cells to judge, every combination.
        texts: held-out text; each is read whole under the injection, at all positions.
        positions: "all" or "last", of the prompts. Texts are always injected at all positions.

    Returns: over ``layer, strength, condition, item`` (a mean over prompts or texts within an item): ``kl`` =
        KL(unedited || injected) of the next token, nats; ``top_changed``, the share of prompts whose most likely token
        changes; ``nll``, the mean negative log-likelihood of the texts' tokens, nats a token; with the attributes
        ``nll_clean`` and ``perplexity_clean``. The items are the units for intervals.

    Cost: items x prompts runs for every cell and condition; give a dozen of each.

    Raises: InjectionError: no prompt, a text of one token, positions that are neither "all" nor "last".
    """
    items, decoder = as_items(items), Model.of(model)
    prompts, texts, controls = list(prompts), list(texts), check_controls(controls)
    layers = different_layers(layers, decoder)
    strengths = different_numbers(strengths, "strengths", InjectionError)
    injected = conditions(decoder, model, items, encoder, controls, heads=heads, start=start, seed=seed)
    lead = start_token(model, start)
    ids = {
        name: [torch.tensor(([] if lead is None else [lead]) + tokenize(tokenizer_of(model), t)) for t in of]
        for name, of in (("prompts", prompts), ("texts", texts))
    }
    if empty := [p for p, i in zip(prompts, ids["prompts"]) if not len(i)]:
        raise InjectionError(unfit("prompts", empty[0], "texts of at least one token"))
    if any(len(t) < 2 for t in ids["texts"]):
        raise InjectionError(
            f"texts: {texts[[len(t) < 2 for t in ids['texts']].index(True)]!r} has nothing to predict; give texts of"
            " several tokens."
        )
    shape = (len(layers), len(strengths), len(injected), len(items))
    kl, changed, nll = np.full(shape, np.nan), np.full(shape, np.nan), np.full(shape, np.nan)
    runs = Runs.record(decoder, ids["prompts"], keep=())
    ends = [[n - 1] for n in runs.lengths]
    clean = decoder.unembed(runs.final[[s + n - 1 for s, n in zip(runs.starts, runs.lengths)]]).float().log_softmax(-1)
    plain, tokens = 0.0, sum(len(t) - 1 for t in ids["texts"])
    whole = Runs.record(decoder, ids["texts"], keep=()) if texts else None
    if whole is not None:
        plain = (
            -sum(
                _text_logprob(decoder, whole.final[s : s + n - 1][None], t)
                for s, n, t in zip(whole.starts, whole.lengths, ids["texts"])
            )
            / tokens
        )
    for c, of_items in enumerate(injected.values()):
        for i, memory in enumerate(of_items):
            cells = [(a, b) for a in range(len(layers)) for b in range(len(strengths))]
            rows = [
                (p, edits(memory, layers[a], strengths[b], position=None if positions == "all" else ends[p][0]))
                for a, b in cells
                for p in range(len(prompts))
            ]
            after = decoder.run(runs, rows, ends)
            for (a, b), resid in zip(cells, after.resid.split(len(prompts))):
                now = decoder.unembed(resid).float().log_softmax(-1)
                kl[a, b, c, i] = (clean.exp() * (clean - now)).sum(-1).mean()
                changed[a, b, c, i] = (now.argmax(-1) != clean.argmax(-1)).float().mean()
            if whole is not None:
                for a, b in cells:
                    read = decoder.run(
                        whole,
                        [(t, edits(memory, layers[a], strengths[b])) for t in range(len(texts))],
                        [list(range(n - 1)) for n in whole.lengths],
                    )
                    nll[a, b, c, i] = (
                        -sum(
                            _text_logprob(decoder, read.resid[read.first[t] : read.first[t + 1]][None], ids["texts"][t])
                            for t in range(len(texts))
                        )
                        / tokens
                    )
    dims = ("layer", "strength", "condition", "item")
    ds = xr.Dataset(
        {
            "kl": (dims, kl, {"units": "nats"}),
            "top_changed": (dims, changed, {"units": "share of prompts"}),
            "nll": (dims, nll, {"units": "nats per token"}),
        },
        coords={
            "layer": layers,
            "strength": strengths,
            "condition": list(injected),
            "item": np.arange(len(items)),
            "memory": ("item", [i.memory for i in items]),
        },
    )
    if whole is not None:
        ds["nll"].attrs |= {"nll_clean": float(plain), "perplexity_clean": float(np.exp(plain))}
    call = dict(
        encoder=encoder,
        layers=layers,
        strengths=strengths,
        controls=list(controls),
        heads=heads,
        positions=positions,
        start=start,
        prompts=list(prompts),
        texts=list(texts),
        memories=[i.memory for i in items],
    )
    return results.stamp(ds, record_of(model, decoder, "injection damage", call, seed=seed) | {"status": "complete"})


def _text_logprob(decoder: Model, resid: torch.Tensor, ids: torch.Tensor) -> float:
    return float(sequence_logprob(decoder, resid, ids[1:].tolist())[0])
