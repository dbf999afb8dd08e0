"""The ways to find or take out memory that the diffusion study compares, each an edit by its dose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ... import curvature, subspace
from ...diffusion import locate
from ...diffusion.pipeline import CROSS_ATTENTION as ATTENTION
from ...diffusion.pipeline import FEED_FORWARD
from ...engine.linear import linears
from .bench import Bench

#: (bench, captions, doses, first steps) -> edits by dose
Maker = Callable[[Bench, Sequence[str], Sequence[float], int], dict[float, Any]]


@dataclass(frozen=True)
class Method:
    """One way to find or take out memory; `chosen`: whether its first steps are chosen."""

    name: str
    title: str
    make: Maker
    doses: tuple[float, ...]
    chosen: bool = False


def _masks(variant: str, reference: str | None, layers: str | Sequence[str] = FEED_FORWARD, **options: Any) -> Maker:
    def make(bench: Bench, captions: Sequence[str], doses: Sequence[float], first: int) -> dict[float, Any]:
        published = variant == "published"
        mem = bench.stats(captions, published, layers)
        others = [c for c in bench.references[reference] if c not in captions] if reference else []
        ref = bench.stats(others, published, layers) if reference else None
        how = {"first": first, "variant": variant, **options}
        masks = {dose: locate(bench.pipeline, mem, ref, sparsity=dose, **how) for dose in doses}
        return {dose: mask for dose, mask in masks.items() if mask.count}

    return make


_published = _masks("published", "empty")


def _unmemorised(bench: Bench, captions: Sequence[str], doses: Sequence[float], first: int) -> dict[float, Any]:
    """As published, from captions of the same kind whose pictures were there once."""
    return _published(bench, bench.pairs.of("code-once").captions[: len(captions)], doses, first)


def _random(by: str) -> Maker:
    return lambda bench, captions, doses, first: {
        d: subspace.random_like(mask, 17 + bench.seed, by)
        for d, mask in _published(bench, captions, doses, first).items()
    }


def _magnitude(bench: Bench, captions: Sequence[str], doses: Sequence[float], first: int) -> dict[float, Any]:
    found = subspace.magnitude(bench.pipeline.unet, FEED_FORWARD)
    return {dose: found.mask(dose) for dose in doses}


def _kfac(bench: Bench, captions: Sequence[str], doses: Sequence[float], first: int) -> dict[float, Any]:
    return {dose: curvature.keep(bench.decomposition, 1 - dose, deficient="keep") for dose in doses}


def _eigen(bench: Bench, captions: Sequence[str], doses: Sequence[float], first: int) -> dict[float, Any]:
    found = bench.kept(
        ("eigen", tuple(captions)),
        lambda: subspace.generalised(bench.moments(captions), bench.moments(bench.references["same kind"]), eps=0.1),
    )
    return {dose: found.edit(bench.pipeline.unet, int(dose)) for dose in doses}


def _block(bench: Bench, captions: Sequence[str], doses: Sequence[float], first: int) -> dict[float, Any]:
    """Keys and values of one block turned down: its caption is heard less there, or not at all. Nothing where no block
    was chosen.
    """
    if bench.block is None:
        return {}
    old = {
        name: layer.weight.detach()
        for name, layer in linears(bench.pipeline.unet, ATTENTION).items()
        if name.startswith(bench.block + ".")
    }
    return {
        dose: subspace.Replacement(
            {name: (1 - dose) * weight for name, weight in old.items()},
            bench.pipeline.unet_hash,
            {"method": "block", "block": bench.block},
        )
        for dose in doses
    }


#: doses of masks of the feed-forward layers, and of the cross-attention
SHARES, ATTENDED = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32), (0.04, 0.08, 0.16, 0.25, 0.4, 0.6)
#: by name. A dose is a share of each row's weights; of magnitude one of a layer's weights, of K-FAC the curvature mass
#: that is taken out, of eigenvectors directions of each layer, of a block the share of its keys and values
METHODS: dict[str, Method] = {
    m.name: m
    for m in (
        Method("published", "contrast as published, against nothing", _published, SHARES, chosen=True),
        Method(
            "ordinary",
            "contrast as published, against ordinary captions",
            _masks("published", "ordinary"),
            SHARES,
            chosen=True,
        ),
        Method(
            "corrected",
            "contrast, corrected, against its own kind",
            _masks("corrected", "same kind", margin=1.0),
            SHARES,
            chosen=True,
        ),
        Method(
            "attention",
            "cross-attention, corrected",
            _masks("corrected", "same kind", ATTENTION, margin=1.0),
            ATTENDED,
            chosen=True,
        ),
        Method(
            "attention published",
            "cross-attention, as published",
            _masks("published", "empty", ATTENTION),
            ATTENDED,
            chosen=True,
        ),
        Method("wanda", "Wanda, top, no contrast", _masks("wanda", None), SHARES),
        Method("unmemorised", "as published, from pictures seen once", _unmemorised, SHARES),
        Method("random rows", "random weights of each row", _random("rows"), SHARES),
        Method("random columns", "the same pattern on random neurons", _random("columns"), SHARES),
        Method("magnitude", "magnitude, top", _magnitude, (0.003, 0.01, 0.02, 0.04, 0.08, 0.16)),
        Method("kfac", "K-FAC, low curvature out", _kfac, (0.01, 0.03, 0.1, 0.2, 0.3, 0.45)),
        Method("eigen", "generalised eigenvectors", _eigen, (1, 2, 4, 8, 16, 32)),
        Method("block", "cross-attention of one block turned down", _block, (0.25, 0.5, 0.75, 0.9, 1.0)),
    )
}
#: Methods that look at none of the reported sets: one edit serves all, and each set counts as their own and as another.
BLIND = ("magnitude", "kfac", "block")
