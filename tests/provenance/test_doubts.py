"""Wrong uses on innocent suspects: refused, or p only approximate with the reason; and honest data keep their
guarantee.
"""

import numpy as np
import pytest
from scipy import stats

from lens.provenance import ProvenanceError, Reference, Transcript, query_scores

from ..variants import few
from .simulated import losses, shuffled

FEW = dict(resamples=99, ledger=False)


def worth(call):
    """What a wrong use comes to: the refusal's text, or why p is approximate; "" where p is still guaranteed."""
    try:
        found = call()
    except ProvenanceError as error:
        assert str(error).startswith("refused: ")
        return str(error)
    assert not found.p.guaranteed or not found.p.worth.startswith("an approximation")
    return "" if found.p.guaranteed else found.p.reason


def smallest(call, runs=40):
    """How often p is guaranteed and at most .05, and how often it is at most .05 at all (refused counts as small: it
    would have been said).
    """
    kept = told = 0
    for seed in range(runs):
        try:
            found = call(seed)
        except ProvenanceError:
            told += 1
            continue
        told += float(found.p_permutation) <= 0.05
        kept += found.p.guaranteed and float(found.p) <= 0.05
    assert kept <= stats.binom.ppf(0.9999, runs, 0.05)
    return told / runs


@pytest.mark.parametrize("trials", few([100, 200], [100]))
def test_honest_data_keep_their_guarantee(trials):
    """Of honest transcripts of every kind, with documents' worth of tokens, groups, copies, missing rows, guilty
    and innocent suspects.
    """
    lost = 0
    for seed in range(trials):
        rng = np.random.default_rng([seed, 1])
        kind = ("key", "step", "rank")[seed % 3]
        t, times = shuffled(120, kind, seed, tokens=seed % 2 == 0, epochs=1 + (seed % 5 == 0))
        if t.tokens is not None:
            t.tokens[10] = t.tokens[90]
        suspect, reference = losses(times, 0.3 * (seed % 4 == 0), 2 * seed), losses(times, 0, 2 * seed + 1)
        suspect[rng.choice(120, 5, replace=False)] = np.nan
        found = query_scores(suspect, Reference(reference, False), t, seed=seed, **FEW)
        lost += not found.p.guaranteed or not found.p_permutation.guaranteed
    assert lost <= stats.binom.ppf(0.9999, trials, 0.012)  # missing scores at .01, four or five checks at .001 each


def test_a_reference_whose_own_loss_goes_with_the_order_is_refused_though_declared():
    """A curriculum called shuffled, rows of equal length; and a file that went through a small shuffle buffer, rows
    handed over mixed.
    """
    for buffered in (False, True):
        rng = np.random.default_rng(buffered)
        difficulty = np.sort(rng.normal(3, 0.5, 400))[::-1]
        position = np.argsort(np.argsort(np.arange(400) + rng.uniform(0, 40 * buffered, 400)))
        mixed = rng.permutation(400)
        difficulty, position = difficulty[mixed], position[mixed]
        t = Transcript(None, position, "rank", shuffled_as="said so")
        suspect, reference = difficulty * 1.1 + 0.05 * rng.normal(size=400), difficulty + 0.05 * rng.normal(size=400)
        text = worth(lambda: query_scores(suspect, Reference(reference, False, "R"), t, **FEW))
        assert (
            "the loss of the reference 'R' by itself falls with the order" in text
            and "declared to have been trained in another" in text
        )
        alone = query_scores(suspect, None, t, **FEW)
        assert (
            "the trainer shuffled the whole file at once (no buffer, no shards one after another)" in alone.p.worth
            or not alone.p.guaranteed
        )


def test_a_reference_of_the_same_order_makes_no_guaranteed_p():
    def call(seed):
        t, times = shuffled(300, "rank", seed, tokens=False)
        pair = losses(times, 0, 2 * seed), Reference(losses(times, 0.06, 2 * seed + 1), False if seed % 2 else None)
        return query_scores(*pair, t, alternative="two-sided", seed=seed, **FEW)

    assert smallest(call) > 0.5
    with pytest.raises(ProvenanceError, match="refused: suspect minus reference rises with the order"):
        t, times = shuffled(600, "rank", 1, tokens=False)
        query_scores(losses(times, 0, 1), Reference(losses(times, 0.3, 2), False), t, alternative="greater", **FEW)


def test_lengths_that_betray_a_curriculum_leave_p_approximate():
    rng = np.random.default_rng(3)
    length = np.sort(rng.integers(4, 40, 300))
    mixed = rng.permutation(300)
    rows = [rng.integers(0, 50, length[i]) for i in mixed]
    t = Transcript(rows, mixed.astype(float), "rank", shuffled_as="said so")
    text = worth(lambda: query_scores(5 - 0.05 * length[mixed] + rng.normal(0, 0.2, 300), None, t, **FEW))
    assert "the length of rows follows the training order" in text


@pytest.mark.parametrize("told", ["tokens", "a reference", "scores alone"])
def test_chunks_of_documents_that_were_shuffled_are_seen(told):
    """50 documents of six rows each, placed one document after the other; rows handed over mixed."""

    def call(seed):
        rng = np.random.default_rng([seed, 2])
        document = np.repeat(np.arange(50), 6)
        place = np.argsort(np.argsort(rng.permutation(50)[document] * 6 + np.tile(np.arange(6), 50)))
        mixed = rng.permutation(300)
        document, place = document[mixed], place[mixed]
        level = rng.normal(0, 0.3, 50)[document]
        own = rng.normal(0, 0.25, 50)[document]  # what a suspect knows of a document beyond the reference
        reference = Reference(3 + level + rng.normal(0, 0.1, 300), False) if told == "a reference" else None
        words = rng.integers(0, 400, (50, 12))
        rows = np.array([rng.choice(words[d], 10) for d in document]) if told == "tokens" else None
        t = Transcript(rows, place, "rank", shuffled_as="documents in random order")
        return query_scores(
            3 + level + own + rng.normal(0, 0.1, 300), reference, t, alternative="two-sided", seed=seed, **FEW
        )

    assert smallest(call, 30) > 0.15
    text = worth(lambda: call(100))
    assert {"tokens": "neighbouring rows share tokens", "a reference": "like losses", "scores alone": "like losses"}[
        told
    ] in text


@pytest.mark.parametrize("tokens", [True, False])
def test_copies_that_were_shuffled_together_are_seen(tokens):
    rng = np.random.default_rng(4)
    content = np.repeat(np.arange(100), 3)
    place = np.argsort(np.argsort(rng.permutation(100)[content] * 3 + np.tile(np.arange(3), 100)))
    mixed = rng.permutation(300)
    content, place = content[mixed], place[mixed]
    rows = rng.integers(0, 90, (100, 8))[content] if tokens else None
    t = Transcript(rows, place, "rank", shuffled_as="x")
    score = rng.normal(size=100)[content]
    found = query_scores(score, None, t, **FEW)
    assert not found.p.guaranteed and "copies were shuffled together" in found.p.reason and not found.p_e.guaranteed
    if tokens:
        assert query_scores(score[[int(i) for i in t.one_copy().row_id]], None, t.one_copy(), **FEW).p.guaranteed


def test_scores_that_are_missing_where_rows_are_late_and_high_are_seen():
    def call(seed):
        t, times = shuffled(300, "rank", seed, tokens=False)
        suspect = losses(times, 0, seed)
        suspect[(times > 0.5) & (suspect > np.quantile(suspect, 0.7))] = np.nan
        return query_scores(suspect, None, t, seed=seed, **FEW)

    assert smallest(call, 30) > 0.2
    found = call(50)
    assert "scores are missing by position" in found.p.reason and any("left out" in w for w in found.warnings)


def test_groups_named_after_positions_and_scores_are_refused_and_sources_are_not():
    rng = np.random.default_rng(5)
    position, score = rng.permutation(300), rng.random(300)
    named = (5 * (score + position / 300)).astype(int)
    t = Transcript(None, position, "rank", group=named, shuffled_as="x")
    with pytest.raises(ProvenanceError, match="refused: groups go with the order and, within it, with the scores"):
        query_scores(score, None, t, **FEW)
    kept = 0
    for seed in range(60):
        rng = np.random.default_rng([seed, 7])
        source = rng.integers(0, 4, 300)  # sources of other difficulty, mixed evenly, or read one after the other
        place = rng.permutation(300) if seed % 2 else np.argsort(np.argsort(source + rng.random(300)))
        if not seed % 2:
            place = place.astype(float)
        t = Transcript(None, place, "rank", group=source, shuffled_as="each source by itself")
        found = query_scores(
            source + rng.normal(size=300), Reference(source + rng.normal(size=300), False), t, seed=seed, **FEW
        )
        kept += (
            found.p_permutation.guaranteed
            and "the groups were there before the training" in found.p_permutation.condition
        )
    assert kept >= 57


def test_keys_must_be_keys():
    rng = np.random.default_rng(6)
    n, score, other = 300, rng.normal(size=300), Reference(rng.normal(size=300), False)

    def ask(keys):
        return query_scores(score, other, Transcript(None, keys, "key", shuffled_as="drawn"), **FEW)

    with pytest.raises(ProvenanceError, match="one key ordered them all.*epoch\\(0\\)"):
        ask(np.repeat(rng.random((n, 1)), 5, axis=1))
    with pytest.raises(ProvenanceError, match="one key ordered them all"):
        one = rng.random(n)
        ask(np.stack([one, one**2], axis=1))
    first = rng.random(n)
    for keys, word in (
        (rng.beta(0.2, 0.2, n).clip(1e-9, 1 - 1e-9), "keys are not uniform"),
        (
            np.stack([first, (first + 0.3 * rng.random(n)) % 1], axis=1).clip(1e-9, 1 - 1e-9),
            "keys of different epochs go together",
        ),
        ((rng.choice(5000, n, replace=False) + 0.5) / 5000, "keys lie on a grid"),
    ):
        found = ask(keys)
        assert (
            not found.p_key.guaranteed
            and not found.p_e.guaranteed
            and word in found.p_key.reason
            and word in found.p_e.reason
        )
        assert (
            found.p_permutation.guaranteed
            and found.p is found.p_permutation
            and found.warnings
            and "approximate" in found.e_worth
        )
    fine = ask(rng.random((n, 3)))
    assert fine.p.guaranteed and fine.p_key.guaranteed and fine.p_e.guaranteed


def test_what_only_a_person_can_know_is_said_with_every_p():
    t, times = shuffled(100, "step", 1)
    found = query_scores(losses(times, 0, 1), Reference(losses(times, 0, 2), None, "R"), t, **FEW)
    for text in (
        (
            "shuffled the whole file at once (no buffer, no shards one after another), each row placed on its own and"
            " not with its document or its copies"
        ),
        "R was not trained in this order",
        "nobody else, on whose model the suspect may rest, trained on a part of this file in this order",
        "rows, groups, statistic, weights and seed were chosen before any score was seen, and this is the only look",
    ):
        assert text in found.p.worth and text in str(found) and text in found._repr_html_()
        assert all(text in line["condition"] for line in found.p_values() if line["guaranteed"])
    assert (
        "any stop" not in str(found)
        and "past scores and ranks only" in found.e_worth
        and "(declared)" not in found.p.worth
    )


def test_the_peak_of_e_of_ranks_stays_a_p_whatever_ends_the_run():
    from lens.stats.keys import rank_e_process

    rng = np.random.default_rng(8)
    runs = 2000
    peak = sum(
        rank_e_process(rng.normal(size=10), rng.permutation(10), bets=[1.0, 2.0]).log_e.max() >= np.log(20)
        for _ in range(runs)
    )
    assert peak <= stats.binom.ppf(0.9999, runs, 0.05)
