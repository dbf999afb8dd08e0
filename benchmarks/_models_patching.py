"""The columns of patching: every site exactly, from gradients, along paths, under noise, and one cell looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

import lens

from ._models_cells import ANSWER, CLEAN, CORRUPTED, DIFFERENT, FOIL, Case, Ours, Part, Values
from ._models_naive import Change, Naive

SITES = (
    "embed",
    "resid_pre",
    "q",
    "k",
    "v",
    "pattern",
    "z",
    "attn_out",
    "resid_mid",
    "neuron",
    "router",
    "expert",
    "mlp_out",
    "resid_post",
)
HEADED = ("q", "k", "v", "pattern", "z")
#: Sites with an axis of experts.
ROUTED = ("router", "expert")
#: Positions that are patched: where the prompts differ, one after it, the last.
POSITIONS = (DIFFERENT, 5, len(CLEAN) - 1)
_ATTRIBUTED = (
    "embed",
    "resid_pre",
    "q",
    "pattern",
    "z",
    "attn_out",
    "resid_mid",
    "neuron",
    "router",
    "expert",
    "mlp_out",
)


def difference(logits: Tensor) -> Tensor:
    """The logit difference at the last token."""
    return logits[-1, ANSWER] - logits[-1, FOIL]


def copied(source: Tensor, positions: Sequence[int] | None, head: int | None = None) -> Callable[[Tensor], Tensor]:
    """Copies what another run held, at some positions and a head; `source` is without the batch's axis."""

    def put(x: Tensor) -> Tensor:
        new, rows = x.clone(), slice(None) if positions is None else list(positions)
        at = (0, rows) if head is None else (0, rows, head)
        new[at] = source[at[1:]].to(x)
        return new

    return put


def pattern_of(source: Tensor, head: int) -> Callable[[Tensor], Tensor]:
    """Copies one head's pattern."""

    def put(x: Tensor) -> Tensor:
        new = x.clone()
        new[0, head] = source[head].to(x)
        return new

    return put


def n_heads(case: Case, site: str) -> int:
    """Heads of a site, or experts."""
    if site in ROUTED:
        return len(case.naive.module(case.where.at(case.having(site)[0]).experts, case.having(site)[0]).gate_up_proj)
    where = case.where.at(case.having(site)[0])
    return len(where.z) if site in ("z", "pattern") else len(where.qkv[site][1])


# -- exact patching ----------------------------------------------------------------------------------------------------


def patched(site: str) -> Callable[[Case], list[Part]]:
    """Patching at one site, over layers and positions, or layers and heads."""

    def parts(case: Case) -> list[Part]:
        layers = [0] if site == "embed" else case.having(site)
        lacking = [layer for layer in case.layers if layer not in layers] if site != "embed" else []
        unsure = site in case.where.unsure
        made = []
        if layers:
            made.append(
                Part(site, lambda c: _patch(c, site, layers), lambda c, n: _cells(c, n, site, layers), None, unsure)
            )
        if lacking:
            reason = case.where.reason(site, lacking[0])
            made.append(Part(f"{site} of layer {lacking[0]}", lambda c: _patch(c, site, lacking[:1]), None, reason))
        return made

    return parts


def _patch(case: Case, site: str, layers: Sequence[int], **options: Any) -> Ours:
    over = ("layer", "head" if site in HEADED else "expert" if site in ROUTED else "position")
    if over[1] == "position":
        options["positions"] = list(POSITIONS)
    ds = lens.patch(case.model, case.pair, site, over, layers=list(layers), progress=False, **options)
    values = {
        "value": ds.value.transpose("layer", ...).values,
        "clean": ds.clean.values,
        "corrupted": ds.corrupted.values,
    }
    return Ours(values, ds)


def _cells(case: Case, naive: Naive, site: str, layers: Sequence[int]) -> Values:
    """One forward a cell."""
    clean, base = (difference(naive.logits(ids)) for ids in (CLEAN, CORRUPTED))
    value = np.empty((len(layers), n_heads(case, site) if site in (*HEADED, *ROUTED) else len(POSITIONS)))
    for i, (layer, source) in enumerate(zip(layers, naive.read(CLEAN, [(site, layer) for layer in layers]))):
        for j in range(value.shape[1]):
            if site == "pattern":
                change = pattern_of(source, j)
            elif site in (*HEADED, *ROUTED):
                change = copied(source, None, j)
            else:
                change = copied(source, [POSITIONS[j]])
            value[i, j] = difference(naive.logits(CORRUPTED, [(site, layer, change)]))
    scale = np.abs(value - float(base)).max()
    return {"value": (value, scale), "clean": (clean, scale), "corrupted": (base, scale)}


# -- attribution -------------------------------------------------------------------------------------------------------


def attribution(case: Case) -> list[Part]:
    """Gradient times difference, at the base run and on the way from it."""
    made = [
        Part(
            site,
            lambda c, s=site, at=layers: _patch(c, s, at, method="attribution"),
            lambda c, n, s=site, at=layers: _gradients(c, n, s, at, 1),
            None,
            site in case.where.unsure,
        )
        for site in _ATTRIBUTED
        if (layers := [0] if site == "embed" else case.having(site))
    ]
    every = list(case.layers)
    steps = Part(
        "resid_pre in 3 steps",
        lambda c: _patch(c, "resid_pre", every, method="attribution", steps=3),
        lambda c, n: _gradients(c, n, "resid_pre", every, 3),
    )
    return [*made, steps]


def _gradients(case: Case, naive: Naive, site: str, layers: Sequence[int], steps: int) -> Values:
    places = [(site, layer) for layer in layers]
    clean, base = (float(difference(naive.logits(ids))) for ids in (CLEAN, CORRUPTED))
    first, second = (naive.read(ids, places) for ids in (CORRUPTED, CLEAN))
    begin, end = (naive.read(ids, [("embed", 0)])[0] for ids in (CORRUPTED, CLEAN))
    value = 0.0
    for step in range(steps):
        share = 0.0 if steps == 1 else (step + 0.5) / steps
        grads = naive.gradients(CORRUPTED, places, difference, begin + share * (end - begin))
        rows = [((b - a).double() * g.double()) for a, b, g in zip(first, second, grads)]
        value = value + np.stack([_summed(row, site) for row in rows]) / steps
    scale = np.abs(value).max()
    return {"value": (base + value, scale), "clean": (clean, scale), "corrupted": (base, scale)}


def _summed(product: Tensor, site: str) -> np.ndarray:
    if site == "pattern":
        return product.sum((-1, -2)).numpy()
    if site in HEADED:
        return product.sum((0, -1)).numpy()
    if site in ROUTED:
        return (product.sum(0) if site == "router" else product.sum((0, -1))).numpy()
    return product.sum(-1)[list(POSITIONS)].numpy()


# -- paths -------------------------------------------------------------------------------------------------------------


def paths(case: Case) -> list[Part]:
    """From every head to the queries, keys and values of one, and straight to the logits."""
    with_heads = case.having("z")
    if len(with_heads) < 2:
        reason = case.where.reason("z", 0) or "no heads"
        return [Part("paths", lambda c: _path(c, lens.Site("resid_post", c.naive.n_layers - 1), True), None, reason)]
    # before the last layer, where more goes on from what was received
    at = with_heads[-2] if len(with_heads) > 2 else with_heads[-1]
    made = [
        Part(
            f"{site} of {'all heads' if site == 'v' else 'each head'}",
            lambda c, s=site: _paths(c, s, at),
            lambda c, n, s=site: _all_sent(c, n, s, at),
            None,
            site in case.where.unsure,
        )
        for site in "qkv"
        if case.where.reason(site, at) is None
    ]
    last = case.naive.n_layers - 1
    for through in (True, False):
        made.append(
            Part(
                "resid_post" if through else "resid_post, MLPs held still",
                lambda c, t=through: _path(c, lens.Site("resid_post", last), t),
                lambda c, n, t=through: _sent(c, n, "resid_post", last, None, t),
                None if through else case.where.lacks.get("mlp_out"),
            )
        )
    return made


def _path(case: Case, receiver: Any, through: bool) -> Ours:
    heads = len(case.where.at(case.having("z")[0]).z) if case.having("z") else 1
    early = [l for l in case.having("z") if l < receiver.layer + (receiver.name == "resid_post")] or [0]
    senders = [(layer, head) for layer in early for head in range(heads)]
    ds = lens.path_patch(case.model, case.pair, receiver, senders=senders, through_mlps=through, progress=False)
    value = ds.value.sel(layer=early).transpose("layer", "head").values
    return Ours({"value": value, "clean": ds.clean.values, "corrupted": ds.corrupted.values}, ds)


def _heads(case: Case, site: str) -> list[int | None]:
    """The heads that receive, one after the other; None: all together."""
    return [None] if site == "v" else list(range(n_heads(case, site)))


def _paths(case: Case, site: str, layer: int) -> Ours:
    made = [_path(case, lens.Site(site, layer, head=head), True) for head in _heads(case, site)]
    return Ours(dict(made[0].values) | {"value": np.stack([one.values["value"] for one in made])}, made[0].result)


def _all_sent(case: Case, naive: Naive, site: str, layer: int) -> Values:
    made = [_sent(case, naive, site, layer, head, True) for head in _heads(case, site)]
    scale = max(one["value"][1] for one in made)
    return {name: (value, scale) for name, (value, _) in made[0].items()} | {
        "value": (np.stack([one["value"][0] for one in made]), scale)
    }


def _sent(case: Case, naive: Naive, site: str, layer: int, head: int | None, through: bool) -> Values:
    """A forward in which all else is held still, and one that goes on from what arrived."""
    early = [l for l in case.having("z") if l < layer + (site == "resid_post")]
    clean, base = float(difference(naive.logits(CLEAN))), float(difference(naive.logits(CORRUPTED)))
    source = dict(zip(early, naive.read(CORRUPTED, [("z", l) for l in early])))
    still, holds = {}, [("mlp_out", l) for l in case.having("mlp_out") if not through]
    for l in range(naive.n_layers):
        held = [("z", l)] if l in case.having("z") else []
        attn = case.where.at(l).attn
        held += [(name, l) for name in naive.stream_changes(l) if not (held and _is(case, l, name, attn))]
        still |= dict(zip(held, naive.read(CLEAN, held)))
    still |= dict(zip(holds, naive.read(CLEAN, holds)))
    # the receiver's own layer is reached by the stream alone
    value = np.empty((len(early), len(case.where.at(early[0]).z)))
    for i, l in enumerate(early):
        for h in range(value.shape[1]):
            changes: list[Change] = [(s, at, copied(x, None)) for (s, at), x in still.items() if (s, at) != ("z", l)]
            sent = still["z", l].clone()
            sent[:, h] = source[l][:, h]
            changes.append(("z", l, copied(sent, None)))
            arrived = naive.read(CLEAN, [(site, layer)], changes)[0]
            value[i, h] = difference(naive.logits(CLEAN, [(site, layer, copied(arrived, None, head))]))
    scale = np.abs(value - clean).max()
    return {"value": (value, scale), "clean": (clean, scale), "corrupted": (base, scale)}


def _is(case: Case, layer: int, name: str, attn: str | None) -> bool:
    """Whether a mixer is the attention, whose heads are held still already."""
    return name == f"mixer:{attn}"


# -- noise, and one cell -----------------------------------------------------------------------------------------------


def trace(case: Case) -> list[Part]:
    """Clean states put back into runs whose subject drowned in noise."""
    made = [Part("resid_post", lambda c: _trace(c, "resid_post", 1), lambda c, n: _noised(c, n, "resid_post", 1))]
    if len(case.having("mlp_out")) == case.naive.n_layers:
        made.append(
            Part("mlp_out, 3 layers", lambda c: _trace(c, "mlp_out", 3), lambda c, n: _noised(c, n, "mlp_out", 3))
        )
    return made


_SAMPLES, _NOISE = 2, 3.0


def _trace(case: Case, site: str, window: int) -> Ours:
    ds = lens.causal_trace(
        case.model,
        case.pair,
        site,
        metric="logit_diff",
        noise=_NOISE,
        samples=_SAMPLES,
        window=window,
        positions=list(POSITIONS),
        progress=False,
    )
    return Ours({"value": ds.value.values, "clean": ds.clean.values, "corrupted": ds.corrupted.values}, ds)


def _noised(case: Case, naive: Naive, site: str, window: int) -> Values:
    rows = naive.module(naive.where.embed)(torch.arange(naive.model.get_input_embeddings().weight.shape[0]))
    sigma, n = _NOISE * rows.float().std().item(), naive.n_layers
    values, bases = np.zeros((n, len(POSITIONS))), 0.0
    for sample in range(_SAMPLES):
        # the package's own draw: what it is added to, and how large, is what is compared
        seed = int(np.random.SeedSequence([0, 0, sample]).generate_state(1)[0])
        noise = torch.randn(1, rows.shape[-1], generator=torch.Generator().manual_seed(seed)) * sigma

        def drown(x: Tensor, noise: Tensor = noise) -> Tensor:
            new = x.clone()
            new[0, DIFFERENT] += noise[0].to(x)
            return new

        bases += float(difference(naive.logits(CLEAN, [("embed", 0, drown)]))) / _SAMPLES
        held = naive.read(CLEAN, [(site, l) for l in range(n)])
        for layer in range(n):
            span = range(max(0, layer - window // 2), min(n, layer - window // 2 + window))
            for j, p in enumerate(POSITIONS):
                changes = [(site, l, copied(held[l], [p])) for l in span]
                values[layer, j] += float(difference(naive.logits(CLEAN, [("embed", 0, drown), *changes]))) / _SAMPLES
    scale = np.abs(values - bases).max()
    return {"value": (values, scale), "clean": (difference(naive.logits(CLEAN)), scale), "corrupted": (bases, scale)}


def explained(case: Case) -> list[Part]:
    """One cell's predictions."""
    cells = [("resid_pre", 2, DIFFERENT, None), ("mlp_out", 1, len(CLEAN) - 1, None), ("z", 1, None, 2)]
    return [
        Part(
            f"{site} of layer {layer}",
            lambda c, cell=(site, layer, at, head): _explain(c, *cell),
            lambda c, n, cell=(site, layer, at, head): _explained(n, *cell),
        )
        for site, layer, at, head in cells
        if case.where.reason(site, layer) is None
    ]


def _explain(case: Case, site: str, layer: int, at: int | None, head: int | None) -> Ours:
    view = lens.explain_cell(case.model, case.pair, site, layer, at, head, k=97)
    return Ours(
        {name: getattr(view, f"{name}_value") for name in ("clean", "corrupted", "edited")}
        | {f"{name} tokens": _by_token(getattr(view, name)) for name in ("clean", "corrupted", "edited")}
    )


def _by_token(shown: Sequence[tuple[str, float]]) -> np.ndarray:
    """Probabilities in the order of the vocabulary."""
    table = {word.strip(): p for word, p in shown}
    return np.array([table[f"w{i}"] for i in range(97)])


def _explained(naive: Naive, site: str, layer: int, at: int | None, head: int | None) -> Values:
    source = naive.read(CLEAN, [(site, layer)])[0]
    change = (site, layer, copied(source, None if at is None else [at], head))
    logits = [naive.logits(CLEAN), naive.logits(CORRUPTED), naive.logits(CORRUPTED, [change])]
    values = [float(difference(x)) for x in logits]
    scale, names = max(abs(values[0] - values[1]), abs(values[2] - values[1])), ("clean", "corrupted", "edited")
    return {name: (v, scale) for name, v in zip(names, values)} | {
        f"{name} tokens": (x[-1].softmax(-1), None) for name, x in zip(names, logits)
    }
