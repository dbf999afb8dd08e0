"""Is what a mask has in common with another mask about memory? Masks of disjoint prompt sets, memorised and not, all
against one reference.

A large IoU between masks of memorised sets says nothing by itself: columns that are large on any text give any two sets
a large one. So the same is done with sets of prompts that are not memorised, and between the kinds, and the labels of
the sets are permuted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Annotated, Any, Literal

import numpy as np
import xarray as xr

from ..arguments import Count, FilePath, HFModel, Numbers, Portion, Seed, Share, TokenRows, Whole, door
from ..engine.linear import Linear
from ..engine.sessions import of_one_model
from ..results import dataset as results
from ..stats import bootstrap
from ..stats.bounds import SHARE
from ..stats.samples import PValue
from .activations import statistics
from .data import Tokens, fitting, module_to_run, refuse_overlap, tokens_of
from .errors import SubspaceError
from .masks import Mask, chance_iou
from .scores import contrast, corrected, wanda

#: Permutations that a p-value is of: fewer than 19 never reach one twentieth.
Permutations = Annotated[int, Whole(19, 10**6)]
PAIRS = ("memorised", "other", "mixed")
#: Sums of the same numbers in another order differ by less.
TIE = 1e-12


@door(SubspaceError)
@of_one_model(reads=False)
def specificity(
    model: HFModel,
    memorised: TokenRows,
    other: TokenRows,
    reference: TokenRows,
    *,
    sets: Annotated[int, Whole(2)] = 5,
    method: Literal["contrast", "corrected", "wanda"] = "contrast",
    sparsity: Portion = 0.01,
    layers: str | Sequence[str] | Mapping[str, Linear] = "mlp",
    families: tuple[Sequence, Sequence] | None = None,
    prefix: Count | None = None,
    batch: Count = 16,
    part: Literal["all", "prefix", "suffix"] = "all",
    folder: FilePath | None = None,
    overlap: Count | None = None,
    seed: Seed = 0,
    resamples: Permutations = 10_000,
    level: Share = 0.95,
    progress: bool | None = None,
    **options: Any,
) -> xr.Dataset:
    """IoU between the masks of disjoint sets of memorised prompts, of prompts that are not memorised, and of one of
    each kind.

    Args:
        memorised, other, reference: token sets that do not overlap; the masks of both kinds are taken against the one
            reference (method "wanda" does without).
        sets: sets of each kind, drawn by `seed`; all have the same number of prompts. families: a template's name for
            each row of memorised and of other: a family stays in one set.
        resamples: permutations of the sets' labels; where all can be listed within them, the p-values are exact.
            options: of the method (margin).

    Returns: over `pair` ("memorised", "other", "mixed"): ``mean`` IoU with a bootstrap interval ``low``, ``high`` over
        sets, ``n`` pairs; over `set, other_set`: ``iou``; over `pair, layer`: ``by_layer``; ``chance``, the IoU of
        random masks of the mean density, ``density`` [set]; over `test`: ``difference`` and ``p`` (one-sided, by
        permuted labels) of "memorised - other" and "memorised - mixed".

    Raises: SubspaceError: overlapping sets (they are listed), fewer prompts than sets need.

    Source: the control that Chavhan et al. 2024 lack.
    """
    kinds = [tokens_of(memorised, "memorised", prefix), tokens_of(other, "other", prefix)]
    ref = tokens_of(reference, "reference", prefix)
    for tokens, name in zip((*kinds, ref), ("memorised", "other", "reference")):
        fitting(module_to_run(model), tokens, name)
    refuse_overlap(kinds[0], kinds[1], ("memorised", "other"), run=overlap)
    for tokens, name in zip(kinds, ("memorised", "other")):
        refuse_overlap(tokens, ref, (name, "reference"), run=overlap)
    rng = np.random.default_rng(seed)
    groups = [
        _sets(tokens, sets, None if families is None else families[k], rng, PAIRS[k]) for k, tokens in enumerate(kinds)
    ]
    size = min(len(g) for group in groups for g in group)

    def count(tokens, each):
        return statistics(model, layers, tokens, folder, batch=batch, part=part, each=each, progress=progress)

    base = count(ref, False) if method != "wanda" else None
    masks: list[Mask] = []
    for tokens, group in zip(kinds, groups):
        stats = count(tokens, True)
        for items in group:
            some = stats.take(items[:size])
            scores = (
                wanda(model, some, **options)
                if base is None
                else (contrast if method == "contrast" else corrected)(model, some, base, **options)
            )
            masks.append(scores.mask(sparsity))
    if empty := [i for i, mask in enumerate(masks) if not mask.count]:
        raise SubspaceError(
            f"the masks of {len(empty)} of {len(masks)} sets are empty, so their IoU means nothing; raise sparsity,"
            " lower margin, or take fewer sets of more prompts."
        )
    return _report(
        masks,
        sets,
        size,
        dict(
            method=method,
            sparsity=sparsity,
            sets=sets,
            part=part,
            resamples=resamples,
            level=level,
            families=families is not None,
            **options,
        ),
        seed,
    )


def _sets(
    tokens: Tokens, sets: int, families: Sequence | None, rng: np.random.Generator, kind: str
) -> list[np.ndarray]:
    """Disjoint lists of rows: families, in random order, each into the set that is smallest so far."""
    names = np.arange(len(tokens)) if families is None else np.unique(np.asarray(families), return_inverse=True)[1]
    if len(names) != len(tokens):
        raise SubspaceError(
            f"families names {len(names)} rows of {kind}, which has {len(tokens)}; give one name a row."
        )
    if len(np.unique(names)) < sets:
        raise SubspaceError(
            f"{kind} has {len(np.unique(names))} {'rows' if families is None else 'families'} for sets={sets}; give"
            " more, or fewer sets."
        )
    out: list[list[int]] = [[] for _ in range(sets)]
    for family in rng.permutation(np.unique(names)):
        min(out, key=len).extend(np.flatnonzero(names == family).tolist())
    return [rng.permutation(rows) for rows in out]


def _report(masks: list[Mask], sets: int, size: int, call: dict[str, Any], seed: int) -> xr.Dataset:
    n, layers = 2 * sets, list(masks[0].shapes)
    iou, by_layer = np.full((n, n), np.nan), np.full((n, n, len(layers)), np.nan)
    for i, j in combinations(range(n), 2):
        iou[i, j] = iou[j, i] = masks[i].iou(masks[j])
        by_layer[i, j] = by_layer[j, i] = list(masks[i].iou_by_layer(masks[j]).values())
    first = np.arange(n) < sets
    blocks = {"memorised": (first, first), "other": (~first, ~first), "mixed": (first, ~first)}
    mean, low, high, kinds, pairs, layered = [], [], [], [], [], []
    for pair, (rows, columns) in blocks.items():
        cells = iou[np.ix_(rows, columns)]
        # each set's mean with its partners: the sets are the sample, not the pairs that share them
        of_sets = np.nanmean(cells, axis=1)
        interval = bootstrap(of_sets, level=call["level"], resamples=2000, seed=seed, bounds=SHARE)
        mean.append(of_sets.mean())
        low.append(interval.low)
        high.append(interval.high)
        kinds.append(str(interval.kind))
        pairs.append(int(np.isfinite(cells).sum()) // (1 if pair == "mixed" else 2))
        with np.errstate(invalid="ignore"):
            some = by_layer[np.ix_(rows, columns)].reshape(-1, len(layers))
            layered.append(np.nansum(some, 0) / np.maximum(np.isfinite(some).sum(0), 1))
    tests = {
        f"memorised - {against}": label_permutation(iou, first, against=against, resamples=call["resamples"], seed=seed)
        for against in ("other", "mixed")
    }
    density = np.array([mask.density for mask in masks])
    ds = xr.Dataset(
        {
            "mean": ("pair", mean),
            "low": ("pair", low),
            "high": ("pair", high),
            "interval_kind": ("pair", kinds),
            "n": ("pair", pairs),
            "by_layer": (("pair", "layer"), np.array(layered)),
            "iou": (("set", "other_set"), iou),
            "density": ("set", density),
            "chance": chance_iou(float(density.mean())),
            "difference": ("test", [t.statistic for t in tests.values()]),
            "p": ("test", [t.p for t in tests.values()], {"kind": next(iter(tests.values())).kind}),
        },
        coords={
            "pair": list(PAIRS),
            "layer": layers,
            "test": list(tests),
            "kind": ("set", np.where(first, "memorised", "other")),
        },
    )
    call = call | {"prompts_a_set": size, "tests": {name: str(test) for name, test in tests.items()}}
    return results.stamp(ds, {"kind": "specificity", "seed": seed, "call": call, "model": {"hash": masks[0].model}})


@door(SubspaceError)
def label_permutation(
    similarity: Annotated[Any, Numbers(2)],
    first: Annotated[Any, Numbers(1, truth=True)],
    *,
    against: Literal["other", "mixed"] = "other",
    resamples: Permutations = 10_000,
    seed: Seed = 0,
) -> PValue:
    """One-sided permutation test that sets of the first kind are more alike than those of the other kind
    (`against="other"`), or than sets of two kinds (`against="mixed"`).

    The statistic is the difference of mean similarities over pairs; the labels move, the similarities stay. All
    labellings are listed where there are at most `resamples` of them (the p-value is then exact), else (1 + b) / (1 +
    m) over m random ones.

    Args:
        similarity: symmetric; the diagonal is not read. first: which sets are of the first kind; at least two of each.

    Raises: SubspaceError: no square table, missing numbers, fewer than two of a kind.

    Sources: Mantel 1967, Clarke 1993 (ANOSIM) for permuted labels on pairs; Phipson & Smyth 2010.
    """
    table, first = np.array(similarity, float), np.asarray(first, bool)
    n, k = len(first), int(first.sum())
    if table.shape != (n, n) or k < 2 or n - k < 2:
        raise SubspaceError(
            f"similarity has shape {table.shape} for {n} labels of first, {k} of the first kind; expected a square"
            " table and at least two sets of each kind."
        )
    np.fill_diagonal(table, 0.0)
    if not np.isfinite(table).all() or not np.allclose(table, table.T):
        raise SubspaceError(
            "similarity has missing numbers or is not symmetric; give a similarity of every pair of sets."
        )
    count = math.comb(n, k)
    exact = count <= resamples
    if exact:
        labels = np.zeros((count, n))
        labels[np.arange(count)[:, None], np.array(list(combinations(range(n), k)))] = 1
    else:
        labels = np.random.default_rng(seed).permuted(np.tile(np.arange(n) < k, (resamples, 1)), axis=1).astype(float)

    def value(z: np.ndarray) -> np.ndarray:
        within = np.einsum("ri,ri->r", z @ table, z) / (k * (k - 1))
        if against == "mixed":
            return within - np.einsum("ri,ri->r", z @ table, 1 - z) / (k * (n - k))
        return within - np.einsum("ri,ri->r", (1 - z) @ table, 1 - z) / ((n - k) * (n - k - 1))

    observed = float(value(first[None].astype(float))[0])
    reached = int((value(labels) >= observed - TIE * max(1.0, np.abs(table).max())).sum())
    p = reached / count if exact else (1 + reached) / (1 + resamples)
    how = f"{'all ' if exact else ''}{len(labels)} labellings of {n} sets"
    return PValue(
        p, "exact" if exact else "monte carlo", n, how, observed, "greater", 1 / count if exact else 1 / (1 + resamples)
    )
