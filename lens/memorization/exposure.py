"""Exposure of planted sequences among foils that could have been planted instead, and membership scores by number of duplicates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ..measure import membership
from ..measure.likelihood import plain
from ..measure.scoring import Scores, score
from ..measure.statistics import auc, holm
from .errors import MemorizationError, labels, stamped
from .sequences import Sequences
from .tables import summary

PARTS = ("suffix", "whole")


def exposure(model: Any, canaries: Sequences, foils: Sequences, *, part: str = "suffix", within_kind: bool = True) -> xr.Dataset:
    """How far up each planted sequence ranks by loss among foils that were not planted but could have been: log2 |R| - log2 rank.

    R is the canary and its foils; equal losses rank against the canary. Where foils and canaries were drawn alike and a coin chose which were planted, `p` = rank / |R|
    is
    an exact p-value of each canary.

    Args:
        part: the loss of the "suffix" after its prefix, or of the "whole" sequence from its second token on.
        within_kind: each canary among the foils of its own kind; False: among all.

    Returns: over `sequence` (the canaries): `loss` (nats a token), `rank`, `exposure` (bits), `largest` (log2 |R|, the most that so many foils can show), `p`; over
        `foil`: `foil_loss`;
        `null`, what `exposure` would be on average were the canary one of the foils.

    Raises: MemorizationError: sets that overlap, foils of another length or prefix, a kind without foils.

    Source: Carlini et al. 2019, The Secret Sharer, section 4 (exposure, estimated by sampling).
    """
    _alike(canaries, foils)
    own, other = losses(model, canaries, part), losses(model, foils, part)
    rank, size = np.zeros(len(own)), np.zeros(len(own))
    for i, kind in enumerate(canaries.kind):
        among = other[foils.kind == kind] if within_kind else other
        if not len(among):
            raise MemorizationError(f"foils has none of kind {str(kind)!r}, which canary {canaries.names[i]!r} is of; add some, or set within_kind=False.")
        rank[i], size[i] = 1 + (among <= own[i]).sum(), 1 + len(among)
    ds = xr.Dataset({"loss": ("sequence", own, {"units": "nats per token"}), "rank": ("sequence", rank.astype(np.int64)),
                     "exposure": ("sequence", np.log2(size / rank), {"units": "bits"}), "largest": ("sequence", np.log2(size)), "p": ("sequence", rank / size),
                     "null": ("sequence", [np.log2(s / np.arange(1, s + 1)).mean() for s in size]),
                     "foil_loss": ("foil", other, {"units": "nats per token"})},
                    {"sequence": np.arange(len(own)), **canaries.coords(), "foil_name": ("foil", np.array(foils.names, dtype=str)), "foil_kind": ("foil", foils.kind)})
    call = {"canaries": canaries.about(), "foils": foils.about(), "part": part, "within_kind": within_kind}
    return stamped(ds, model, plain(model), "exposure", call)


def exposure_summary(result: xr.Dataset | Sequence[xr.Dataset], by: Any = "duplicates", *, level: float = 0.95, seed: int = 0) -> pd.DataFrame:
    """Mean exposure by group with its bootstrap interval, beside `null` (what no memory gives) and `largest`. See `summary`."""
    return summary(result, by, variables=("exposure", "null", "largest", "loss"), level=level, seed=seed)


def by_duplicates(model: Any, sequences: Sequences, duplicates: Any = None, *, part: str = "suffix", texts: Sequence[str] | None = None, reference: Any = None, k: float = 0.2,
                  resamples: int = 20_000, seed: int = 0, level: float = 0.95) -> xr.Dataset:  # fmt: skip
    """How well membership scores tell the sequences of each number of duplicates from those that were never in the data.

    Args:
        sequences: members and others together. duplicates: how often each was in the training data (default: what `sequences` says); those with 0 are the others.
        part: score the "suffix" after its prefix, or the "whole" sequence.
        texts: the scored text of each, for zlib; by default decoded where the model has a tokenizer. reference: a model for the ratio of likelihoods.
        k: share of tokens of Min-K% and Min-K%++. resamples: permutations; where all can be listed p is exact.

    Returns: over `duplicates, score`: `auc`, `low`, `high` (DeLong), `tpr`, `tpr_low`, `tpr_high` (at 1 % FPR), `p` (labels permuted within each kind; guaranteed where
        duplicates were drawn at
        random), `holm` (over the whole table), `p_kind`, `n`; over `score, sequence`: `value`, higher for a likelier member; coordinates of the sequences.

    Raises: MemorizationError: no counts, or none of 0 or none above 0.

    Source: Wei et al. 2025, Hubble (counts drawn at random, so that those of 0 are exchangeable non-members); for the scores see lens.measure.membership.
    """
    counts = sequences.duplicates if duplicates is None else labels(duplicates, len(sequences), "duplicates").astype(np.int64)
    if counts is None:
        raise MemorizationError("duplicates is None and sequences does not have them; give how often each was in the training data.")
    if not (counts == 0).any() or not (counts > 0).any():
        raise MemorizationError(f"duplicates has the values {np.unique(counts).tolist()}; expected some 0 (never in the data) and some above it.")
    values = membership_scores(model, sequences, part=part, texts=texts, reference=reference, k=k)
    dups = np.unique(counts[counts > 0])
    cells = [[_cell(value, counts, d, sequences.kind, resamples, seed, level) for value in values.values()] for d in dups]
    column = lambda name: (("duplicates", "score"), [[c[name] for c in line] for line in cells])
    ds = xr.Dataset({**{name: column(name) for name in cells[0][0]}, "value": (("score", "sequence"), np.stack(list(values.values())))},
                    {"duplicates": dups, "score": list(values), "sequence": np.arange(len(sequences)), "of": ("sequence", counts),
                     "name": ("sequence", np.array(sequences.names, dtype=str)), "kind": ("sequence", sequences.kind)})
    ds["holm"] = (("duplicates", "score"), holm(ds.p.values))
    call = {"sequences": sequences.about(), "part": part, "k": k, "resamples": resamples, "level": level, "reference": reference is not None}
    return stamped(ds, model, plain(model), "membership by duplicates", call, seed)


def membership_scores(model: Any, sequences: Sequences, *, part: str = "suffix", texts: Sequence[str] | None = None, reference: Any = None,
                      k: float = 0.2) -> dict[str, np.ndarray]:  # fmt: skip
    """Loss, Min-K%, Min-K%++ and, where there are texts or a reference model, zlib and reference ratios: one value a sequence, higher for a likelier member."""
    scores = _scores(model, sequences, part, ("mean", "variance"))
    values = {"loss": membership.loss(scores), f"min-{100 * k:g}%": membership.min_k(scores, k), f"min-{100 * k:g}%++": membership.min_k_plus(scores, k)}
    tokenizer = getattr(model, "tokenizer", None)
    if texts is None and tokenizer is not None:
        texts = [tokenizer.decode(row.tolist()) for row in (sequences.suffixes if part == "suffix" else sequences.ids)]
    if texts is not None:
        values["zlib"] = membership.zlib_ratio(scores, texts)
    if reference is not None:
        values["ratio"] = membership.reference_ratio(scores, _scores(reference, sequences, part))
    return values


def _cell(value: np.ndarray, counts: np.ndarray, count: int, kind: np.ndarray, resamples: int, seed: int, level: float) -> dict[str, Any]:
    at = (counts == 0) | (counts == count)
    found = auc(value[at], counts[at] > 0, groups=kind[at], resamples=resamples, seed=seed, level=level)
    rate = found.tpr_at[0.01]
    return {"auc": found.auc, "low": found.interval.low, "high": found.interval.high, "tpr": rate.estimate, "tpr_low": rate.low, "tpr_high": rate.high, "p": float(found.p),
            "p_kind": found.p.kind, "members": found.members, "n": found.n}  # fmt: skip


def _scores(model: Any, sequences: Sequences, part: str, extra: Sequence[str] = ()) -> Scores:
    if part not in PARTS:
        raise MemorizationError(f"part={part!r} is not known; expected one of {', '.join(map(repr, PARTS))}.")
    return score(model, sequences.ids, prefix=sequences.prefix if part == "suffix" else 0, start=None, extra=extra)


def losses(model: Any, sequences: Sequences, part: str = "suffix") -> np.ndarray:
    """The loss of each sequence, nats a token: of the "suffix" after its prefix, or of the "whole" from its second token on."""
    return _scores(model, sequences, part).nll()


def _alike(canaries: Sequences, foils: Sequences) -> None:
    """Refuse foils that could not have been planted in the canaries' place."""
    if (canaries.length, canaries.prefix) != (foils.length, foils.prefix):
        raise MemorizationError(f"foils have (length, prefix) {(foils.length, foils.prefix)} and canaries {(canaries.length, canaries.prefix)}; "
                                "expected foils drawn as the canaries were.")
    same = [f"{o.first!r} and {o.second!r}" for o in canaries.overlap(foils) if o.shared == "identical"]
    if same:
        raise MemorizationError(f"canaries and foils overlap: {', '.join(same[:8])}; a foil must not be in the training data.")
