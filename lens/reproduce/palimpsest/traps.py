"""Ways to get a wrong p-value, each shown on innocent suspects beside the right way: the reference shares the order,
the corpus was never shuffled, sources were shuffled one by one, single matches are permuted; and one right rejection
that is often misread, the sister model of the same order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ...organisms.micro import MicroPlan, draw_keys, train
from ...provenance import ProvenanceError, Transcript, query_scores
from ...stats.randomization import permutation_correlation
from ...stats.randomness import runs_test
from .micro_models import Scored
from .sizes import GUARANTEED, TRAP, Checked, two_sided_t

KEYS = "rows sorted by independent keys"


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
                reference = scored.nll[(2 * t + 1 + shift) % (2 * count)]
                ps.append(
                    unchecked(scored.nll[2 * t], reference, scored.keys[2 * t + 1], alternative, resamples, seed + t)
                )
            cells.append(Checked(f"query: permutation, {alternative}", kind, 2, text, np.array([float(p) for p in ps])))
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
    ps = []
    for j in range(count):
        transcript = Transcript(tokens=None, position=scored.keys[j], kind="key", shuffled_as=KEYS)
        ps.append(
            query_scores(
                made.nll[j],
                scored.nll[(j + 1) % scored.models],
                transcript,
                resamples=resamples,
                seed=seed + j,
                shares_order=False,
                ledger=False,
            ).p_permutation
        )
    return [
        Checked(
            "query: permutation, less",
            "rightly rejects",
            2,
            "sister of the order's model: same order, other initialisation",
            np.array([float(p) for p in ps]),
        )
    ]


def sorted_corpus(
    rows: np.ndarray, scored: Scored, plan: MicroPlan, resamples: int, seed: int
) -> tuple[list[Checked], dict[str, float]]:
    """A corpus that was trained from easy to hard, never shuffled; innocent suspects; the reference is a model that
    learned less (a tenth of the rate).

    Which rows are harder for the weaker model is known without any order, so the score follows the curriculum. Returns
    also the p of the runs test on that transcript, and the share of suspects whose query is refused or called
    approximate.
    """
    weak = Scored.of(
        train(
            rows,
            draw_keys(1, len(rows), seed=seed, first=20_000),
            replace(plan, learning_rate=plan.learning_rate / 10),
            seed=seed,
            members=[20_000],
        ),
        rows,
    )
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
            transcript = (
                replace(sorted_transcript, position=rng.permutation(sorted_transcript.position))
                if shuffled
                else sorted_transcript
            )
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
        step = rng.permutation(np.arange(float(documents)))
        wrong = permutation_correlation(
            parts.ravel(), np.repeat(step, slots), alternative="greater", resamples=resamples, seed=draw
        )
        single.append(wrong.p)
        published.append(two_sided_t(np.array(wrong.statistic), parts.size))
        whole.append(permutation_correlation(counts, step, alternative="greater", resamples=resamples, seed=draw).p)
        place = np.concatenate([10 * s + rng.permutation(10) for s in range(6)]).astype(float)
        over_all.append(permutation_correlation(levels, place, alternative="greater", resamples=resamples, seed=draw).p)
        by_source.append(
            permutation_correlation(
                levels, place, groups=sources, alternative="greater", resamples=resamples, seed=draw
            ).p
        )
    say(f"traps: matches and sources, {draws} draws")
    named = (
        ("permutation of single matches", TRAP, "documents were shuffled, 5 places of matches each", single),
        ("t of single matches, as published", TRAP, "documents were shuffled, 5 places of matches each", published),
        ("permutation of documents", GUARANTEED, "documents were shuffled, 5 places of matches each", whole),
        ("permutation over all rows", TRAP, "6 sources one after the other, each shuffled by itself", over_all),
        ("permutation within sources", GUARANTEED, "6 sources one after the other, each shuffled by itself", by_source),
    )
    return [Checked(name, kind, 1, text, np.array([float(p) for p in ps])) for name, kind, text, ps in named]
