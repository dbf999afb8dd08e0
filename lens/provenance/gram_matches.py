"""What an n-gram join found: how often each document matches each row of the corpus."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from lens.arguments import Count, door
from lens.provenance.errors import ProvenanceError
from lens.provenance.gram_scan import Grams, Occurrences, joined

__all__ = ["Matches", "assemble"]


@dataclass(frozen=True, eq=False)
class Matches:
    """How often the documents of a text match each row of the corpus: one entry for every (document, row) with a match,
    in that order.

    `query`, `row`: int64. `count`: int64, matching pairs of a place of the text and an occurrence. `weight`: float64,
    each pair weighted by 1 / (occurrences of its n-gram), or 1. `length`: int16 for every place of the joined
    documents, of the longest n-gram that occurs (0: none). `occurrences`: int64, how often it does; places with more
    than `about["max_count"]` count for no row. `about`: the options, rows read, rows lost with the reason, and the
    status.
    """

    query: np.ndarray
    row: np.ndarray
    count: np.ndarray
    weight: np.ndarray
    length: np.ndarray
    occurrences: np.ndarray
    about: dict

    @door(ProvenanceError)
    def per_row(self, *, counts: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """`(rows, sums)` over all documents: int64 rows in rising order, and their summed weight (or `count`)."""
        return self.per_step(1, counts=counts)

    @door(ProvenanceError)
    def per_step(self, rows_per_step: Count, *, counts: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """`(steps, sums)` over all documents, for training steps of that many rows; steps without a match are left
        out.
        """
        steps, where = np.unique(self.row // rows_per_step, return_inverse=True)
        return steps, np.bincount(where, self.count if counts else self.weight, len(steps)).astype(
            np.int64 if counts else np.float64
        )

    @door(ProvenanceError)
    def dense(self, rows_per_step: Count = 1, *, counts: bool = False) -> np.ndarray:
        """Sums over all documents for every step of the corpus, zeros included: [steps]. NaN where every row of the
        step was lost.
        """
        size = rows_per_step
        out = np.zeros(-(-self.about["rows"] // size))
        steps, sums = self.per_step(size, counts=counts)
        out[steps] = sums
        for first, last in self.about["lost_rows"]:
            out[-(-first // size) : last // size if last < self.about["rows"] else len(out)] = np.nan
        return out

    def __str__(self) -> str:
        used, lost = int(((self.length > 0) & (self.occurrences <= self.about["max_count"])).sum()), self.about["lost"]
        return (
            f"{len(self.row)} (document, row) matches from {used} of {len(self.length)} places, n-grams of"
            f" {self.about['k'][0]} to {self.about['k'][1]} tokens, {self.about['rows']} rows"
            + (f", {sum(e['rows'] for e in lost)} of them lost" if lost else "")
            + ("" if self.about["status"] == "complete" else f" ({self.about['status']})")
        )


def assemble(grams: Grams, joined_hits: Occurrences, about: dict) -> Matches:
    """The matches of the longest n-gram at every place, from the counts of all of them and the rows of those that are
    kept.
    """
    joined_hits.prune()
    length = grams.longest(joined_hits.count)
    occurrences = np.zeros(len(length), np.int64)
    weights, counts, row_of = (
        None,
        None,
        {k: (joined(joined_hits.gram[k], np.int32), joined(joined_hits.row[k], np.int64)) for k in joined_hits.count},
    )
    rows = np.unique(np.concatenate([r for _, r in row_of.values()]))
    for k, count in joined_hits.count.items():
        at = np.flatnonzero(length == k)
        gram = grams.ids[k][at]
        occurrences[at] = count[gram]
        # [documents, grams] times [grams, rows]; only rows that have a match are columns
        places = sparse.csr_array((np.ones(len(at)), (grams.document[at], gram)), (grams.documents, len(count)))
        number, row = row_of[k]
        where = sparse.csr_array((np.ones(len(row)), (number, np.searchsorted(rows, row))), (len(count), len(rows)))
        scale = sparse.diags_array(1.0 / np.maximum(count, 1)) if about["weight"] == "inverse" else None
        add = places @ where, (places @ scale if scale is not None else places) @ where
        counts, weights = (add[0], add[1]) if counts is None else (counts + add[0], weights + add[1])
    counts, weights = sparse.csr_array(counts), sparse.csr_array(weights)
    for m in (counts, weights):
        m.sum_duplicates()
    both = counts.tocoo()
    return Matches(
        both.coords[0].astype(np.int64),
        rows[both.coords[1]],
        np.rint(both.data).astype(np.int64),
        weights.tocoo().data,
        length,
        occurrences,
        about,
    )
