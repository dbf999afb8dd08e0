"""Ways to get a wrong p-value, each shown on innocent suspects beside the right way: the reference shares the order,
the corpus was never shuffled, sources were shuffled one by one, single matches are permuted; and one right rejection
that is often misread, the sister model of the same order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ...organisms.micro import MicroPlan, draw_keys, train
from ...provenance import ProvenanceError, Transcript, query_scores
from ...stats.randomization import permutation_correlation
from ...stats.randomness import runs_test
from .micro_models import Scored
from .redrawn import keyed
from .sizes import GUARANTEED, TRAP, Checked, two_sided_t


def same_order_reference(scored: Scored, resamples: int, seed: int) -> list[Checked]:
    """Innocent suspect 2t, order and reference of model 2t + 1 (declared as unknown): disjoint pairs. Beside it the
    same pairs with reference 2t + 3, which is right. The p-values are those of the bare test: `query_scores` refuses a
    rising score where there is a reference, or calls p approximate.
    """
    cells = []
    count = scored.models // 2
    for text, kind, shift in (
        ("the reference was trained in the order that is tested", TRAP, 0),
        ("the same suspects and orders, another reference", GUARANTEED, 2),
    ):
        for alternative in ("two-sided", "greater", "less"):
            ps = []
            for t in range(count):
                scores = scored.nll[2 * t], scored.nll[(2 * t + 1 + shift) % (2 * count)]
                ps.append(unchecked(*scores, scored.keys[2 * t + 1], alternative, resamples, seed + t))
            cells.append(Checked.of(f"query: permutation, {alternative}", kind, 2, text, ps))
    return cells


def unchecked(
    suspect: np.ndarray, reference: np.ndarray, position: np.ndarray, alternative: str, resamples: int, seed: int
):
    """The permutation p of suspect minus reference as anyone may compute it, without a look at its assumptions."""
    return permutation_correlation(
        suspect - reference, position, alternative=alternative, resamples=resamples, seed=seed
    ).p


def sisters(rows: np.ndarray, scored: Scored, count: int, plan: MicroPlan, resamples: int, seed: int) -> list[Checked]:
    """Models of other initialisation trained in the order of model j, against that order: rejected, and rightly so. It
    is this order, not these weights.
    """
    made = Scored.of(train(rows, scored.keys[:count], plan, seed=seed, members=range(10_000, 10_000 + count)), rows)
    ps, how = [], {"resamples": resamples, "shares_order": False, "ledger": False}
    for j in range(count):
        reference = scored.nll[(j + 1) % scored.models]
        ps.append(query_scores(made.nll[j], reference, keyed(scored.keys[j]), seed=seed + j, **how).p_permutation)
    text = "sister of the order's model: same order, other initialisation"
    return [Checked.of("query: permutation, less", "rightly rejects", 2, text, ps)]


def sorted_corpus(
    rows: np.ndarray, scored: Scored, plan: MicroPlan, resamples: int, seed: int
) -> tuple[list[Checked], dict[str, float]]:
    """A corpus that was trained from easy to hard, never shuffled; innocent suspects; the reference is a model that
    learned less (a tenth of the rate).

    Which rows are harder for the weaker model is known without any order, so the score follows the curriculum. Returns
    also the p of the runs test on that transcript, and the share of suspects whose query is refused or called
    approximate.
    """
    keys, slow = draw_keys(1, len(rows), seed=seed, first=20_000), replace(plan, learning_rate=plan.learning_rate / 10)
    weak = Scored.of(train(rows, keys, slow, seed=seed, members=[20_000]), rows)
    order = np.argsort(scored.nll.mean(0), kind="stable")  # the file, from easy to hard
    sorted_transcript = Transcript(
        tokens=None, position=np.arange(float(len(rows))), kind="rank", shuffled_as="shuffled, or so it was said"
    )
    rng = np.random.default_rng([seed, 4])
    cells, warned = [], 0
    for text, kind, shuffled in (
        ("corpus sorted from easy to hard, taken for shuffled", TRAP, False),
        ("the same rows and scores, truly shuffled", GUARANTEED, True),
    ):
        ps = []
        for i in range(scored.models):
            transcript = sorted_transcript
            if shuffled:
                transcript = replace(transcript, position=rng.permutation(transcript.position))
            suspect, reference = scored.nll[i][order], weak.nll[0][order]
            ps.append(float(unchecked(suspect, reference, transcript.position, "two-sided", resamples, seed + i)))
            if not shuffled:
                warned += noticed(suspect, reference, transcript, resamples, seed + i)
        cells.append(Checked("query: permutation, two-sided", kind, 2, text, np.array(ps)))
    return cells, {"runs test p": float(runs_test(sorted_transcript.position)), "share warned": warned / scored.models}


def noticed(suspect: np.ndarray, reference: np.ndarray, transcript: Transcript, resamples: int, seed: int) -> bool:
    """Whether the query refuses these scores, or calls their p approximate."""
    try:
        return not query_scores(
            suspect, reference, transcript, resamples=resamples, seed=seed, shares_order=False, ledger=False
        ).p.guaranteed
    except ProvenanceError as error:
        if "refused" not in str(error):
            raise
        return True


def matches_and_sources(
    draws: int, resamples: int, seed: int, say: Callable[[str], None] = lambda line: None
) -> list[Checked]:
    """Redrawn positions: n-gram matches permuted one by one although whole documents were shuffled, and rows permuted
    over all although each source was shuffled by itself.
    """
    rng = np.random.default_rng([seed, 5])
    documents, slots = 60, 5
    counts = np.where(
        rng.random(documents) < 0.4, np.ceil(10 * rng.pareto(1.2, documents)), 0
    )  # a document that the text draws on matches in many places
    parts = np.stack([rng.multinomial(int(c), np.full(slots, 1 / slots)) for c in counts]).astype(float)
    sources = np.repeat(np.arange(6), 10)
    levels = sources + rng.normal(size=60)
    single, whole, over_all, by_source, published = [], [], [], [], []
    for draw in range(draws):
        how: dict[str, Any] = {"alternative": "greater", "resamples": resamples, "seed": draw}
        step = rng.permutation(np.arange(float(documents)))
        wrong = permutation_correlation(parts.ravel(), np.repeat(step, slots), **how)
        single.append(wrong.p)
        published.append(two_sided_t(np.array(wrong.statistic), parts.size))
        whole.append(permutation_correlation(counts, step, **how).p)
        place = np.concatenate([10 * s + rng.permutation(10) for s in range(6)]).astype(float)
        over_all.append(permutation_correlation(levels, place, **how).p)
        by_source.append(permutation_correlation(levels, place, groups=sources, **how).p)
    say(f"traps: matches and sources, {draws} draws")
    shuffled = "documents were shuffled, 5 places of matches each"
    sorted_by = "6 sources one after the other, each shuffled by itself"
    named = (
        ("permutation of single matches", TRAP, shuffled, single),
        ("t of single matches, as published", TRAP, shuffled, published),
        ("permutation of documents", GUARANTEED, shuffled, whole),
        ("permutation over all rows", TRAP, sorted_by, over_all),
        ("permutation within sources", GUARANTEED, sorted_by, by_source),
    )
    return [Checked.of(name, kind, 1, text, ps) for name, kind, text, ps in named]
