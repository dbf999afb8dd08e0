"""Exposure of planted sequences among foils that could have been planted instead, and membership scores by number of
duplicates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from ..arguments import Filled, HFModel, Portion, Seed, Share, Whole, door
from ..engine.lengths import require_readable
from ..engine.sessions import of_one_model
from ..scoring import membership
from ..scoring.likelihood import plain
from ..scoring.rows import score
from ..scoring.scores import Scores
from ..stats import PValue, auc, holm, permutation
from ..stats.labels import MEMBER
from ..stats.units import unit_means
from .errors import Holds, MemorizationError, stamp
from .errors import counts as counts_of
from .sequences import Sequences
from .tables import group_means, of_groups, units_of, with_tests

Part = Literal["suffix", "whole"]
Exposure = Annotated[
    Any,
    Holds("exposure", ("exposure", "null", "largest", "loss", "foil_loss", "kind", "foil_kind"), ("sequence", "foil")),
]


@door(MemorizationError)
@of_one_model(reads=False)
def exposure(
    model: HFModel, canaries: Sequences, foils: Sequences, *, part: Part = "suffix", within_kind: bool = True
) -> xr.Dataset:
    """How far up each planted sequence ranks by loss among foils that were not planted but could have been: log2 |R| -
    log2 rank.

    R is the canary and its foils; equal losses rank against the canary. Where foils and canaries were drawn alike and a
    coin chose which were planted, `p` = rank / |R| is an exact p-value of each canary.

    Args:
        part: the loss of the "suffix" after its prefix, or of the "whole" sequence from its second token on.
        within_kind: each canary among the foils of its own kind; False: among all.

    Returns: over `sequence` (the canaries): `loss` (nats a token), `rank`, `exposure` (bits), `largest` (log2 |R|, the
        most that so many foils can show), `p`; over `foil`: `foil_loss`; `null`, what `exposure` would be on average
        were the canary one of the foils.

    Raises: MemorizationError: sets that overlap, foils of another length or prefix, a kind without foils.

    Source: Carlini et al. 2019, The Secret Sharer, section 4 (exposure, estimated by sampling).
    """
    _alike(canaries, foils)
    own, other = losses(model, canaries, part, "canaries"), losses(model, foils, part, "foils")
    rank, size = np.zeros(len(own)), np.zeros(len(own))
    for i, kind in enumerate(canaries.kind):
        among = other[foils.kind == kind] if within_kind else other
        if not len(among):
            raise MemorizationError(
                f"foils has none of kind {str(kind)!r}, which canary {canaries.names[i]!r} is of; add some, or set"
                " within_kind=False."
            )
        rank[i], size[i] = 1 + (among <= own[i]).sum(), 1 + len(among)
    ds = xr.Dataset(
        {
            "loss": ("sequence", own, {"units": "nats per token"}),
            "rank": ("sequence", rank.astype(np.int64)),
            "exposure": ("sequence", np.log2(size / rank), {"units": "bits"}),
            "largest": ("sequence", np.log2(size)),
            "p": (
                "sequence",
                rank / size,
                {"guaranteed_if": "canaries and foils were drawn alike and a coin chose which were planted"},
            ),
            "null": ("sequence", [np.log2(s / np.arange(1, s + 1)).mean() for s in size]),
            "foil_loss": ("foil", other, {"units": "nats per token"}),
        },
        {
            "sequence": np.arange(len(own)),
            **canaries.coords(),
            "foil_name": ("foil", np.array(foils.names, dtype=str)),
            "foil_kind": ("foil", foils.kind),
        },
    )
    call = {"canaries": canaries.about(), "foils": foils.about(), "part": part, "within_kind": within_kind}
    return stamp(ds, model, plain(model), "exposure", call)


@door(MemorizationError)
def exposure_summary(
    result: Exposure | Annotated[Sequence[Exposure], Filled()],
    by: Any = "duplicates",
    *,
    level: Share = 0.95,
    seed: Seed = 0,
    cluster: str | Sequence[Any] | None = "auto",
) -> xr.Dataset:
    """Mean exposure by group with its interval (also as `mean`, `low`, `high`, `interval_kind`), beside `null` (what no
    memory gives) and `largest`. See `summary`, also for `cluster`.

    `p` is, for one result, that the group's canaries have no lower losses than the foils (rank sum, labels permuted
    within each kind, one-sided): guaranteed if canaries and foils were drawn alike, so that a canary that was never in
    the data is one more foil. Where canaries share a unit p is approximate: the units' mean losses (each kind's own
    mean taken away) against the foils', permuted, by Welch's statistic, since a mean of several varies less than one
    foil. For several results p is `summary`'s.
    """
    table, axes, ds = group_means(result, by, ("exposure", "null", "largest", "loss"), level, seed, cluster)
    if isinstance(result, xr.Dataset) and (by is None or isinstance(by, str)):
        table = with_tests(table, _beside_foils(table, result, by, level, seed, cluster))
    return of_groups(table, axes, ds, "exposure", level=level, seed=seed)


def _beside_foils(
    table: pd.DataFrame, result: xr.Dataset, by: str | None, level: float, seed: int, cluster: Any
) -> list[PValue]:
    """For each group of a table, whether its canaries' losses are lower than the foils'."""
    labels = np.full(result.sizes["sequence"], "all") if by is None or by not in result.coords else result[by].values
    units = units_of(result, cluster, {"sequence": "sequences"})[0]["sequence"]
    tests = []
    for label in table[by] if by in table else ["all"]:
        at = labels == label
        score = -np.concatenate([result.loss.values[at], result.foil_loss.values])
        kinds = np.concatenate([result.kind.values[at], result.foil_kind.values])
        alike = bool(np.isin(result.kind.values[at], result.foil_kind.values).all())
        if units is None or len(np.unique(units[at])) == at.sum():
            tests.append(
                auc(score, np.arange(len(score)) < at.sum(), groups=kinds if alike else None, seed=seed, level=level).p
            )
            continue
        if alike:
            score = score - pd.Series(score).groupby(kinds).transform("mean").to_numpy()
        own = unit_means(score[: at.sum()], units[at])[0]
        tests.append(
            permutation(own, score[at.sum() :], alternative="greater", statistic="welch", seed=seed).doubted(
                "canaries that share a unit are averaged, foils are not"
            )
        )
    return tests


@door(MemorizationError)
@of_one_model(reads=False)
def by_duplicates(
    model: HFModel,
    sequences: Sequences,
    duplicates: Any = None,
    *,
    part: Part = "suffix",
    texts: Sequence[str] | None = None,
    reference: HFModel | None = None,
    k: Portion = 0.2,
    resamples: Annotated[int, Whole(1, 10**6)] = 20_000,
    seed: Seed = 0,
    level: Share = 0.95,
) -> xr.Dataset:
    """How well membership scores tell the sequences of each number of duplicates from those that were never in the
    data.

    Args:
        sequences: members and others together. duplicates: how often each was in the training data (default: what
            `sequences` says); those with 0 are the others.
        part: score the "suffix" after its prefix, or the "whole" sequence.
        texts: the scored text of each, for zlib; by default decoded where the model has a tokenizer. reference: a model
            for the ratio of likelihoods.
        k: share of tokens of Min-K% and Min-K%++. resamples: permutations; where all can be listed p is exact.

    Returns: over `duplicates, score`: `auc`, `low`, `high` (DeLong), `tpr`, `tpr_low`, `tpr_high` (at 1 % FPR), `p`
        (labels permuted within each kind; guaranteed where duplicates were drawn at random), `holm` (over the whole
        table), `p_kind`, `n`; over `score, sequence`: `value`, higher for a likelier member; coordinates of the
        sequences.

    Raises: MemorizationError: no counts, or none of 0 or none above 0.

    Source: Wei et al. 2025, Hubble (counts drawn at random, so that those of 0 are exchangeable non-members); for the
        scores see lens.scoring.membership.
    """
    counts = sequences.duplicates if duplicates is None else counts_of(duplicates, len(sequences), "duplicates")
    if counts is None:
        raise MemorizationError(
            "duplicates is None and sequences does not have them; give how often each was in the training data."
        )
    if not (counts == 0).any() or not (counts > 0).any():
        raise MemorizationError(
            f"duplicates has the values {np.unique(counts).tolist()}; expected some 0 (never in the data) and some"
            " above it."
        )
    values = membership_scores(model, sequences, part=part, texts=texts, reference=reference, k=k)
    dups = np.unique(counts[counts > 0])
    cells = [
        [_cell(value, counts, d, sequences.kind, resamples, seed, level) for value in values.values()] for d in dups
    ]

    def column(name):
        return (("duplicates", "score"), [[c[name] for c in line] for line in cells])

    ds = xr.Dataset(
        {
            **{name: column(name) for name in cells[0][0]},
            "value": (("score", "sequence"), np.stack(list(values.values()))),
        },
        {
            "duplicates": dups,
            "score": list(values),
            "sequence": np.arange(len(sequences)),
            "of": ("sequence", counts),
            "name": ("sequence", np.array(sequences.names, dtype=str)),
            "kind": ("sequence", sequences.kind),
        },
    )
    ds["holm"] = (("duplicates", "score"), holm(ds.p.values))
    ds["p"].attrs["guaranteed_if"] = f"{MEMBER} (its kind)"
    call = {
        "sequences": sequences.about(),
        "part": part,
        "k": k,
        "resamples": resamples,
        "level": level,
        "reference": reference is not None,
    }
    return stamp(ds, model, plain(model), "membership by duplicates", call, seed)


@door(MemorizationError)
@of_one_model(reads=False)
def membership_scores(
    model: HFModel,
    sequences: Sequences,
    *,
    part: Part = "suffix",
    texts: Sequence[str] | None = None,
    reference: HFModel | None = None,
    k: Portion = 0.2,
) -> dict[str, np.ndarray]:
    """Loss, Min-K%, Min-K%++ and, where there are texts or a reference model, zlib and reference ratios: one value a
    sequence, higher for a likelier member.
    """
    scores = _scores(model, sequences, part, ("mean", "variance"))
    values = {
        "loss": membership.loss(scores),
        f"min-{100 * k:g}%": membership.min_k(scores, k),
        f"min-{100 * k:g}%++": membership.min_k_plus(scores, k),
    }
    tokenizer = getattr(model, "tokenizer", None)
    if texts is None and tokenizer is not None:
        texts = [tokenizer.decode(row.tolist()) for row in (sequences.suffixes if part == "suffix" else sequences.ids)]
    if texts is not None and len(texts) != len(sequences):
        raise MemorizationError(f"texts has {len(texts)} entries; expected one for each of {len(sequences)} sequences.")
    if texts is not None:
        values["zlib"] = membership.zlib_ratio(scores, texts)
    if reference is not None:
        values["ratio"] = membership.reference_ratio(scores, _scores(reference, sequences, part))
    return values


def _cell(
    value: np.ndarray, counts: np.ndarray, count: int, kind: np.ndarray, resamples: int, seed: int, level: float
) -> dict[str, Any]:
    at = (counts == 0) | (counts == count)
    area = auc(value[at], counts[at] > 0, groups=kind[at], resamples=resamples, seed=seed, level=level)
    rate = area.tpr_at[0.01]
    return {
        "auc": area.auc,
        "low": area.interval.low,
        "high": area.interval.high,
        "tpr": rate.estimate,
        "tpr_low": rate.low,
        "tpr_high": rate.high,
        "p": float(area.p),
        "p_kind": area.p.kind,
        "members": area.members,
        "n": area.n,
    }


def _scores(model: Any, sequences: Sequences, part: str, extra: Sequence[str] = (), name: str = "sequences") -> Scores:
    require_readable(plain(model), int(sequences.ids.max()), sequences.length, MemorizationError, name)
    return score(model, sequences.ids, prefix=sequences.prefix if part == "suffix" else 0, start=None, extra=extra)


@door(MemorizationError)
def losses(model: HFModel, sequences: Sequences, part: Part = "suffix", name: str = "sequences") -> np.ndarray:
    """The loss of each sequence, nats a token: of the "suffix" after its prefix, or of the "whole" from its second
    token on.
    """
    return _scores(model, sequences, part, name=name).nll()


def _alike(canaries: Sequences, foils: Sequences) -> None:
    """Refuse foils that could not have been planted in the canaries' place."""
    if (canaries.length, canaries.prefix) != (foils.length, foils.prefix):
        raise MemorizationError(
            f"foils have (length, prefix) {(foils.length, foils.prefix)} and canaries"
            f" {(canaries.length, canaries.prefix)}; expected foils drawn as the canaries were."
        )
    same = [f"{o.first!r} and {o.second!r}" for o in canaries.overlap(foils) if o.shared == "identical"]
    if same:
        raise MemorizationError(
            f"canaries and foils overlap: {', '.join(same[:8])}; a foil must not be in the training data."
        )
