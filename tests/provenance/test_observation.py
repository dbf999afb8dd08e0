"""Tests on text alone: partition by n-grams, and the true order among shuffles."""

import numpy as np
import pytest
from scipy import stats

from lens.provenance import ProvenanceError, Transcript, match, partition, shuffle_retrain

from ..models import word_tokenizer
from .simulated import shuffled

FEW = dict(resamples=199)


def counted(text, rows, low, high):
    """By brute force: for each place of the text its longest n-gram that occurs in a row; each occurrence counts 1 /
    occurrences for its row.
    """
    values = np.zeros(len(rows))
    for at in range(len(text)):
        for k in range(min(high, len(text) - at), low - 1, -1):
            hits = [
                i
                for i, row in enumerate(rows)
                for j in range(len(row) - k + 1)
                if list(row[j : j + k]) == list(text[at : at + k])
            ]
            if hits:
                for i in hits:
                    values[i] += 1 / len(hits)
                break
    return values


@pytest.mark.parametrize("ragged", [False, True])
def test_matches_are_those_of_brute_force(ragged):
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 4, (30, 9))
    rows = [row[: rng.integers(3, 10)] for row in rows] if ragged else rows
    text = rng.integers(0, 4, 80)
    t = Transcript(rows, rng.permutation(30), "rank", shuffled_as="x")
    result = partition(match(text, t, k=(2, 5)), t, **FEW)
    expected = counted(text, rows, 2, 5)
    assert result.frame.sort_values("row_id").suspect.to_numpy() == pytest.approx(expected)
    assert (
        result.rho == pytest.approx(stats.spearmanr(expected, t.position).statistic)
        and result.p_permutation.alternative == "greater"
    )
    by_row = partition({int(i): v for i, v in enumerate(expected) if v}, t, **FEW)
    assert float(by_row.p_permutation) == float(result.p_permutation)


def test_text_is_tokenised_by_the_transcripts_tokenizer():
    rng = np.random.default_rng(1)
    t = Transcript(
        rng.integers(1, 97, (200, 12)), rng.permutation(200), "rank", tokenizer=word_tokenizer(), shuffled_as="x"
    )
    words = [" ".join(f"w{i}" for i in t.tokens[row, 2:10]) for row in (3, 50, 51)]
    result = partition(match(words, t, k=4), t, **FEW)
    assert (
        set(result.frame.row_id[result.frame.suspect > 0]) == {3, 50, 51} and result.record["rows"]["with a match"] == 3
    )
    for bad, message in (
        ("", "text is empty"),
        ("w1 w2", "shorter than 4 tokens"),
        ([], "text is empty"),
        (["  ", "\n"], "text is empty"),
    ):
        with pytest.raises(ProvenanceError, match=message):
            match(bad, t, k=4)
    with pytest.raises(ProvenanceError, match="names no tokenizer"):
        match("w1 w2 w3 w4 w5", Transcript(t.tokens, t.position, "rank"), k=4)
    with pytest.raises(ProvenanceError, match="holds texts"):
        match("a", Transcript(["a", "b"], [0, 1], "rank"))


def copied(t, times, rng, share=0.5, documents=400):
    """Text that repeats pieces of rows, late ones more often; `share` 0: all alike."""
    weight = 1 + 6 * share * times
    rows = rng.choice(len(t), documents, p=weight / weight.sum())
    return [t.tokens[row, 2:10] for row in rows]


def test_text_that_repeats_late_rows_is_found_and_other_text_is_not():
    t, times = shuffled(600, "step", 2, length=14)
    rng = np.random.default_rng(0)
    found = partition(match(copied(t, times, rng), t, k=5), t, resamples=9999)
    assert found.rho > 0.1 and float(found.p) < 1e-2 and float(found.p_permutation) < 1e-3 and found.warnings == ()
    plain = partition(match(copied(t, times, rng, share=0), t, k=5), t, resamples=999)
    assert float(plain.p_permutation) > 0.01


def test_size_with_sparse_counts():
    small = np.zeros(3)
    for seed in range(200):
        t, _ = shuffled(80, "step", seed, tokens=False)
        rng = np.random.default_rng(seed)
        y = np.where(rng.random(80) < 0.1, rng.pareto(1, 80), 0)
        y[0] += 1
        p = partition(y, t, seed=seed, **FEW)
        small += [float(v) <= 0.05 for v in (p.p_permutation, p.p_e, p.p)]
    assert (small <= stats.binom.ppf(0.9999, 200, 0.05)).all()


def test_permuting_single_matches_would_break_the_null():
    """Matches of one row come together: tests that take each for itself reject far too often."""
    wrong = right = 0
    for seed in range(100):
        t, times = shuffled(60, "rank", seed, tokens=False)
        rng = np.random.default_rng(seed)
        y = np.zeros(60)
        y[rng.choice(60, 3, replace=False)] = 40
        single = np.repeat(times, y.astype(int))
        wrong += stats.ttest_1samp(single, times.mean()).pvalue <= 0.05
        right += float(partition(y, t, alternative="two-sided", seed=seed, **FEW).p_permutation) <= 0.05
    assert wrong > 60 and right <= stats.binom.ppf(0.9999, 100, 0.05)


def test_steps_are_units_only_where_they_hold_as_many_rows():
    t, _ = shuffled(160, "step", 1, tokens=False)
    y = np.random.default_rng(0).random(160)
    by_step = partition(y, t, unit="step", **FEW)
    sums = np.bincount(t.position.astype(int), y)
    assert by_step.n == 20 and by_step.rho == pytest.approx(stats.spearmanr(sums, np.arange(20)).statistic)
    with pytest.raises(ProvenanceError, match="different numbers of rows"):
        partition(y[:150], t.take(np.arange(150)), unit="step", **FEW)
    with pytest.raises(ProvenanceError, match="positions by key"):
        partition(y, shuffled(160, "key", 1, tokens=False)[0], unit="step")
    with pytest.raises(ProvenanceError, match="unit='token'"):
        partition(y, t, unit="token")


def test_matches_that_cannot_be_used():
    t, _ = shuffled(40, "rank", 0, tokens=False)
    with pytest.raises(ProvenanceError, match="0 in all 40 rows"):
        partition(np.zeros(40), t)
    with pytest.raises(ProvenanceError, match="row id 77"):
        partition({77: 1.0}, t)
    with pytest.raises(ProvenanceError, match="shape \\(39,\\)"):
        partition(np.ones(39), t)
    y = np.arange(40.0)
    y[5] = np.nan  # a row of a shard that could not be read
    result = partition(y, t, **FEW)
    assert result.n == 39 and any("1 of 40 rows" in w for w in result.warnings)


# ---- shuffle-retrain
# ------------------------------------------------------------------------------------------------------


def test_the_rank_of_the_true_order():
    rng = np.random.default_rng(0)
    shuffles = rng.standard_normal((9, 50))
    result = shuffle_retrain(shuffles.max(axis=0) + 1, shuffles)
    assert float(result.p) == pytest.approx(0.1) and result.p.guaranteed and result.n == 50
    assert any("cannot fall below 0.1" in w and "19 shuffles would do" in w for w in result.warnings)
    T = shuffles.mean(axis=1)
    gap = (shuffles.max(axis=0) + 1).mean() - T.mean()
    half = stats.t.ppf(0.975, 8) * T.std(ddof=1) * np.sqrt(1 + 1 / 9)
    assert (result.intervals[0].estimate, result.intervals[0].low, result.intervals[0].high) == pytest.approx(
        (gap, gap - half, gap + half)
    )
    assert not result.tests[0].t.guaranteed and "not a p-value" in str(result)


def test_size_over_several_checkpoints():
    """One run looked at four times (max-T), and retrained anew at each (Bonferroni); in the null all models are
    alike.
    """
    small = np.zeros((2, 2))
    for seed in range(400):
        rng = np.random.default_rng(seed)
        run = np.cumsum(rng.standard_normal((4, 20, 3)), axis=0)  # checkpoints of a run go together
        pooled = float(shuffle_retrain(run[:, 0], run[:, 1:], same_runs=True).p)
        anew = rng.standard_normal((4, 20, 3))
        anew[:, 0] += (
            np.random.default_rng(seed + 10**6).standard_normal(3) * 0
        )  # the true run's checkpoints stand by themselves
        apart = float(shuffle_retrain(anew[:, 0], anew[:, 1:], same_runs=False).p)
        small += [[pooled <= level, apart <= level] for level in (0.05, 0.2)]
    assert (small <= stats.binom.ppf(0.9999, 400, [[0.05], [0.2]])).all() and small[0, 0] > 5


def test_one_retraining_handed_in_many_times_is_refused():
    rng = np.random.default_rng(5)
    small = sum(
        float(shuffle_retrain(rng.standard_normal(8), rng.standard_normal((19, 8))).p) <= 0.05 for _ in range(100)
    )
    assert small <= stats.binom.ppf(0.9999, 100, 0.05)
    one = rng.standard_normal(8)
    with pytest.raises(
        ProvenanceError,
        match="shuffled 0, shuffled 1, .* have the same values for all 8 texts.*handed in several times",
    ):
        shuffle_retrain(rng.standard_normal(8), np.tile(one, (19, 1)))
    several = rng.standard_normal((19, 8))
    several[7] = several[3]
    with pytest.raises(ProvenanceError, match="shuffled 3, shuffled 7 have the same values"):
        shuffle_retrain(rng.standard_normal(8), several)
    with pytest.raises(ProvenanceError, match="the true order's, shuffled 4 have the same values"):
        shuffle_retrain(several[4], several)
    run = rng.standard_normal((2, 20, 8))
    told = shuffle_retrain(run[:, 0], run[:, 1:], same_runs=True)
    assert (
        "guaranteed if every retraining drew its own order" in str(told)
        and "model j of every checkpoint comes from one run (declared" in told.p.worth
    )


def test_shuffle_retrain_input():
    rng = np.random.default_rng(0)
    with pytest.raises(ProvenanceError, match="at least 2"):
        shuffle_retrain(rng.random(5), rng.random((1, 5)))
    with pytest.raises(ProvenanceError, match="expected \\[texts\\]"):
        shuffle_retrain(rng.random(5), rng.random((3, 4)))
    with pytest.raises(ProvenanceError, match="say same_runs"):
        shuffle_retrain(rng.random((2, 5)), rng.random((2, 3, 5)))
    with pytest.raises(ProvenanceError, match="no text has a finite"):
        shuffle_retrain(np.full(5, np.nan), rng.random((3, 5)))
    values = rng.random(5)
    values[2] = -np.inf
    result = shuffle_retrain(values, rng.random((3, 5)))
    assert result.n == 4 and any("1 of 5 texts" in w for w in result.warnings)
