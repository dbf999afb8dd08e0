"""The columns of weights: masks found from activations, and the curvature of the loss, over the feed-forward layers."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

import lens

from ._models_cells import CLEAN, Case, Ours, Part, Values
from ._models_experts import gradients, inputs, replaced, weight
from ._models_naive import Naive

_DRAW = torch.Generator().manual_seed(11)
MEMORISED, REFERENCE = torch.randint(2, 90, (4, 10), generator=_DRAW), torch.randint(2, 90, (4, 10), generator=_DRAW)
#: More tokens than any layer is wide.
TEXTS = torch.randint(2, 90, (24, 8), generator=_DRAW)
#: Parts of a name that send tokens to experts and are no feed-forward weights.
_ROUTERS = ("gate", "router", "shared_expert_gate")


class Partial(lens.Error):
    """Only a part of the feed-forward weights was covered."""


def pattern(case: Case) -> str | list[str]:
    """Which layers: the feed-forward ones, or, where a model has none, the projections of its blocks."""
    return "mlp" if case.where.mlp else [f"{case.where.layers}.*.mixer.*_proj"]


def feed_forward(naive: Naive) -> dict[str, nn.Parameter]:
    """Every matrix of the feed-forward blocks, routers aside."""
    found = {}
    for layer in range(naive.n_layers):
        where = naive.where.at(layer)
        if where.mlp is None:
            return {}
        roots = {(where.experts or where.down or where.mlp).split(".")[0]}
        roots |= {"fc1"} if "fc2" in roots else set()
        for name, p in naive.blocks[layer].named_parameters():
            parts = name.split(".")
            # a vector may have axes of length one
            matrix = p.ndim > 1 and p.numel() > max(p.shape) and not name.endswith("bias")
            if parts[0] in roots and matrix and not (where.router and set(parts[1:-1]) & set(_ROUTERS)):
                found[f"{naive.where.layers}.{layer}.{name}"] = p
    return found


def covered(case: Case, sizes: Mapping[str, int]) -> None:
    """Raises: Partial: some feed-forward weights are not among the layers."""
    total = sum(p.numel() for p in feed_forward(case.naive).values())
    if (mine := sum(sizes.values())) < total:
        raise Partial(f"{100 * mine / total:.0f} % of the feed-forward weights are covered")


# -- masks -------------------------------------------------------------------------------------------------------------


def masks(case: Case) -> list[Part]:
    """Scores by contrast, and the model with the highest ones cut out."""
    return [
        Part("scores", _scores, lambda c, n: _contrast(c, n)),
        Part("mask", _masked, lambda c, n: _cut(c, n)),
    ]


def _scores(case: Case) -> Ours:
    found = lens.subspace.score(case.model, MEMORISED, REFERENCE, layers=pattern(case), overlap=4, progress=False)
    covered(case, {name: value.numel() for name, value in found.values.items()})
    case.notes["scored"] = list(found.values)
    return Ours(
        {f"score {name}": value for name, value in found.values.items()}
        | {f"allowed {name}": found.allowed[name].float() for name in found.values}
    )


def _contrast(case: Case, naive: Naive) -> Values:
    names, values = case.notes["scored"], {}
    mem, ref = (inputs(naive, names, ids) for ids in (MEMORISED, REFERENCE))
    scale = 0.0
    for name in names:
        first, second = ((x.square() / x.square().sum(-1, keepdim=True)).mean(0) for x in (mem[name], ref[name]))
        values[f"score {name}"] = weight(naive, name).abs().double() * first.sqrt(), None
        values[f"allowed {name}"] = (first > second).double(), 1.0
    scale = max(float(v.max()) for key, (v, _) in values.items() if key.startswith("score"))
    return {key: (v, scale if s is None else s) for key, (v, s) in values.items()}


def _masked(case: Case) -> Ours:
    mask = lens.subspace.locate(
        case.model, MEMORISED, REFERENCE, sparsity=0.1, layers=pattern(case), overlap=4, progress=False
    )
    covered(case, {name: a * b for name, (a, b) in mask.shapes.items()})
    case.notes["mask"] = {name: mask.dense(name) for name in mask.layers}
    with torch.no_grad(), lens.edited(case.model, mask):
        within = case.model(CLEAN[None])
    with torch.no_grad():
        after = case.model(CLEAN[None])
    return Ours({"within": getattr(within, "logits", within)[0], "after": getattr(after, "logits", after)[0]})


def _cut(case: Case, naive: Naive) -> Values:
    new = {name: weight(naive, name) * ~chosen for name, chosen in case.notes["mask"].items()}
    with replaced(naive, new):
        within = naive.logits(CLEAN)
    after = naive.logits(CLEAN)
    scale = (within - after).abs().max()
    return {"within": (within, scale), "after": (after, scale)}


# -- curvature ---------------------------------------------------------------------------------------------------------


def curvature(case: Case) -> list[Part]:
    """The factors of every layer, and the model with the flat part of its weights cut out."""
    return [Part("factors", _factors, _grams), Part("edit", _kept, _without)]


def _factors(case: Case) -> Ours:
    found = lens.curvature.factors(case.model, pattern(case), TEXTS, fisher="empirical", progress=False)
    covered(case, {name: len(found.a[name]) * len(found.g[name]) for name in found.g})
    case.notes["factors"] = list(found.g)
    return Ours({f"a {n}": found.a[n] for n in found.g} | {f"g {n}": found.g[n] for n in found.g})


def _grams(case: Case, naive: Naive) -> Values:
    names = case.notes["factors"]
    x, g = gradients(naive, names, TEXTS)
    values = {}
    for name in names:
        values[f"a {name}"] = x[name].T @ x[name] / len(x[name]), None
        values[f"g {name}"] = g[name].T @ g[name] / len(g[name]), None
    return values


def _kept(case: Case) -> Ours:
    factors = lens.curvature.factors(case.model, pattern(case), TEXTS, fisher="empirical", progress=False)
    decomposition = lens.curvature.decompose(case.model, factors)
    edit = lens.curvature.keep(decomposition, 0.8, deficient="drop")
    covered(case, {name: new.numel() for name, new in edit.new.items()})
    case.notes["edit"] = dict(edit.new)
    case.notes["counts"] = dict(edit.counts)
    with torch.no_grad(), lens.edited(case.model, edit):
        within = case.model(CLEAN[None])
    with torch.no_grad():
        after = case.model(CLEAN[None])
    logits = {"within": getattr(within, "logits", within)[0], "after": getattr(after, "logits", after)[0]}
    return Ours(logits | {f"mass {n}": m for n, m in edit.mass.items()})


def _without(case: Case, naive: Naive) -> Values:
    with replaced(naive, case.notes["edit"]):
        within = naive.logits(CLEAN)
    after = naive.logits(CLEAN)
    x, g = gradients(naive, list(case.notes["edit"]), TEXTS)
    values = {"within": (within, (within - after).abs().max()), "after": (after, (within - after).abs().max())}
    for name, count in case.notes["counts"].items():
        mu, lam = (torch.linalg.eigvalsh(t[name].T @ t[name]).clamp(min=0) for t in (x, g))
        mass = (lam[:, None] * mu[None, :]).flatten().sort(descending=True).values
        values[f"mass {name}"] = mass[:count].sum() / mass.sum(), 1.0
    return values
