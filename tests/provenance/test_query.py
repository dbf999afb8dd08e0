"""The query test: its size when nothing is to be found, its power when something is, and every way in which its p-value
could be wrong.
"""

import itertools

import numpy as np
import pytest
from scipy import stats

from lens.provenance import ProvenanceError, Reference, Transcript, compare, query, query_scores
from lens.provenance.scores import Running, order_blind, predicted_deviation

from ..variants import few
from .simulated import losses, shuffled

FEW = dict(resamples=199, ledger=False)  # looks are counted in test_ledger.py


def most(trials, p, tail=1e-4):
    """The largest count that a true rate of at most p explains."""
    return stats.binom.ppf(1 - tail, trials, p)


NULLS = [("key", 1), ("step", 1), ("rank", 1), ("key", 2), ("rank", 3)]
SOME = [("key", 1, 120), ("step", 1, 120), ("rank", 3, 120)]


@pytest.mark.parametrize(("kind", "epochs", "trials"), few([*SOME, *((*null, 200) for null in NULLS)], SOME))
def test_size_of_every_guaranteed_p_under_the_null(kind, epochs, trials):
    found = []
    for seed in range(trials):
        t, times = shuffled(60, kind, seed, tokens=False, epochs=epochs)
        result = query_scores(
            losses(times, 0, 2 * seed), Reference(losses(times, 0, 2 * seed + 1), False), t, seed=seed, **FEW
        )
        found.append(
            [float(p) for p in (result.p, result.p_permutation, result.p_e, *([result.p_key] if kind == "key" else []))]
        )
    found = np.array(found)
    for level in (0.2, 0.05, 0.01):
        assert ((found <= level).sum(axis=0) <= most(trials, level)).all()
    assert (found[:, 1] <= 0.5).mean() > 0.35  # and it is not so by never being small


@pytest.mark.long
@pytest.mark.parametrize("trials", few([80, 150], [80]))
def test_size_with_groups_whose_difficulty_follows_the_order(trials):
    plain, grouped = 0, 0
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        group = np.repeat(np.arange(6), 10)
        position = 10 * group + np.concatenate(
            [rng.permutation(10) for _ in range(6)]
        )  # six parts in sequence, each shuffled
        score = -0.3 * group + rng.standard_normal(60)  # later parts are easier
        told, untold = (
            Transcript(None, position, "rank", group=g, shuffled_as="parts in sequence") for g in (group, None)
        )
        result = query_scores(score, None, told, seed=seed, **FEW)
        grouped += float(result.p_permutation) <= 0.05
        assert float(result.p_e) > 0
        plain += float(query_scores(score, None, untold, seed=seed, **FEW).p_permutation) <= 0.05
    assert grouped <= most(trials, 0.05) and plain > trials / 2


@pytest.mark.parametrize("trials", few([60, 150], [60]))
def test_e_value_holds_in_groups(trials):
    high = 0
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        group = np.repeat(np.arange(3), 30)
        position = 30 * group + np.concatenate([rng.permutation(30) for _ in range(3)])
        t = Transcript(None, position, "rank", group=group, shuffled_as="x")
        high += float(query_scores(-0.5 * group + rng.standard_normal(90), None, t, seed=seed, **FEW).p_e) <= 0.1
    assert high <= most(trials, 0.1)


@pytest.mark.parametrize("trials", few([60, 150], [60]))
def test_groups_break_their_ties_by_lots_of_their_own(trials):
    """One row of ten came a step later, in each of eight groups; scores rise as rows are asked. With the same lots in
    all groups the e-values of all rise together.
    """
    group, low = np.repeat(np.arange(8), 10), np.zeros(3)
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        position = np.concatenate([rng.permutation(np.r_[np.zeros(9), 1.0]) for _ in range(8)])
        t = Transcript(None, position, "step", group=group, shuffled_as="each source by itself")
        score = np.argsort(t.arrival(seed)).astype(float)  # when each row is asked: blind to positions
        low += float(query_scores(score, None, t, seed=seed, resamples=99, level=0.9).p_e) <= np.array(
            [0.05, 0.01, 0.001]
        )
    assert (low <= [most(trials, 0.05), most(trials, 0.01), most(trials, 0.001)]).all()


def test_ties_are_broken_alike_whatever_the_batches():
    rng = np.random.default_rng(4)
    group = np.repeat(np.arange(4), 50)
    t = Transcript(
        None,
        np.concatenate([rng.permutation(np.arange(50) // 10) for _ in range(4)]),
        "step",
        group=group,
        shuffled_as="each source by itself",
    )
    parts = []
    whole = query_scores(rng.standard_normal(200), None, t, batch=20, on_part=parts.append, **FEW)
    assert len(parts) == 10 and all(whole.log_e[: part.n] == pytest.approx(part.log_e, abs=1e-9) for part in parts[1:])
    twins = Transcript(None, np.tile(t.position[:50], 2), "step", group=np.repeat([0, 1], 50), shuffled_as="x")
    run = Running(twins, [])
    run.add(np.arange(100), np.tile(rng.standard_normal(50), 2), np.empty((0, 100)))
    assert not np.allclose(np.diff(run.log_e)[3:49], np.diff(run.log_e)[53:99])  # equal rows in two groups, other lots


@pytest.mark.long
@pytest.mark.parametrize("trials", few([60, 120], [60]))
def test_size_with_optional_stopping(trials):
    stopped, naive = 0, 0
    for seed in range(trials):
        t, times = shuffled(128, "rank", seed, tokens=False)
        looks = []
        result = query_scores(
            losses(times, 0, 2 * seed),
            Reference(losses(times, 0, 2 * seed + 1), False),
            t,
            seed=seed,
            stop_at=10,
            batch=16,
            on_part=lambda part: looks.append(part),
            **FEW,
        )
        stopped += result.status == "stopped" or result.e >= 10
        naive += any(float(part.p_permutation) <= 0.1 for part in looks[1:])
        assert not result.p_permutation.guaranteed and result.p.kind == "e-value"
    # who stops at a permutation p is wrong far more often than 0.1
    assert stopped <= most(trials, 0.1) and naive > most(trials, 0.1, tail=0.01)


@pytest.mark.parametrize(
    "statistic, weights",
    [("difference", None), ("linear", None), ("poly4", None), ("difference", "noise"), ("linear", "noise")],
)
def test_power_with_a_reference_and_little_without(statistic, weights):
    t, times = shuffled(1500, "key", 3)
    suspect, reference = losses(times, 0.05, 1), Reference(losses(times, 0, 2), False, "R")
    result = query_scores(suspect, reference, t, statistic=statistic, weights=weights, resamples=999, ledger=False)
    alone = query_scores(suspect, None, t, resamples=999)
    assert (
        result.rho < -0.12 and float(result.p) < 1e-6 and result.interval.high < 0 < -result.z and result.warnings == ()
    )
    assert float(alone.p) > 1e-3 and any("no reference" in w for w in alone.warnings)


def test_numbers_against_scipy():
    t, times = shuffled(300, "key", 5)
    suspect, reference = losses(times, 0.1, 1), losses(times, 0, 2)
    result = query_scores(suspect, Reference(reference, False), t, resamples=999)
    expected = stats.spearmanr(suspect - reference, t.position)
    assert result.rho == pytest.approx(expected.statistic) and float(result.p_t) == pytest.approx(expected.pvalue)
    assert result.z == pytest.approx(expected.statistic * np.sqrt(299))
    ranks = stats.rankdata(suspect - reference) - 150.5
    z = (ranks @ (t.position - 0.5)) / np.sqrt((ranks**2).sum() / 12)
    assert float(result.p_key) == pytest.approx(np.exp(-(z**2) / 2))
    assert float(result.p) == pytest.approx(min(1, 2 * min(float(result.p_permutation), float(result.p_key))))
    half = stats.norm.ppf(0.975) * np.sqrt((1 + expected.statistic**2 / 2) / 297)
    assert (result.interval.low, result.interval.high) == pytest.approx(
        tuple(np.tanh(np.arctanh(expected.statistic) + np.array([-half, half])))
    )
    assert (
        result.p_permutation.guaranteed
        and result.p_key.guaranteed
        and result.p_e.guaranteed
        and not result.p_t.guaranteed
    )
    again = query_scores(suspect, Reference(reference, False), t, resamples=999)
    assert float(again.p_permutation) == float(result.p_permutation) and again.e == result.e


@pytest.mark.parametrize("trials", few([80, 200], [80]))
def test_interval_of_rho_covers(trials):
    covered = 0
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal(80)
        y = -0.4 * x + np.sqrt(1 - 0.16) * rng.standard_normal(80)
        t = Transcript(None, y.argsort().argsort(), "rank", shuffled_as="x")
        interval = query_scores(x, None, t, resamples=19).interval
        covered += interval.low < 6 / np.pi * np.arcsin(-0.4 / 2) < interval.high  # Spearman's rho of a normal pair
    assert covered >= stats.binom.ppf(1e-3, trials, 0.95)


def test_statistics_against_plain_least_squares():
    rng = np.random.default_rng(0)
    refs = rng.normal(3, 0.5, (2, 200))
    suspect = 0.3 + 0.5 * refs[0] + 0.4 * refs[1] + 0.02 * rng.standard_normal(200)
    assert order_blind(suspect, refs) == pytest.approx(suspect - refs.mean(axis=0))
    design = np.stack([np.ones(200), *refs], axis=1)
    assert order_blind(suspect, refs, "linear") == pytest.approx(
        suspect - design @ np.linalg.solve(design.T @ design, design.T @ suspect), abs=1e-9
    )
    poly = np.polynomial.Polynomial.fit(refs[0], suspect, 4)
    assert order_blind(suspect, refs[:1], "poly4") == pytest.approx(suspect - poly(refs[0]), abs=1e-9)
    x = rng.normal(3, 1, 20_000)
    true = np.exp(-1 + 0.4 * (x - 3))
    ratio = predicted_deviation(true * rng.standard_normal(20_000), x) / true
    assert np.std(np.log(ratio[np.abs(x - 3) < 2.5])) < 0.05  # up to one factor, which no rank sees


def test_noise_weights_help_where_noise_differs():
    better = 0
    for seed in range(20):
        t, times = shuffled(800, "rank", seed, tokens=False)
        rng = np.random.default_rng(seed)
        reference = rng.normal(3, 1, 800)
        suspect = reference + np.exp(1.2 * (reference - 3)) * 0.1 * rng.standard_normal(800) - 0.03 * times
        plain, weighted = (
            query_scores(suspect, Reference(reference, False), t, weights=w, **FEW).z for w in (None, "noise")
        )
        better += weighted < plain
    assert better >= 15


def test_two_references_are_better_than_one():
    t, times = shuffled(1500, "rank", 9, tokens=False)
    suspect, refs = losses(times, 0.03, 1), [losses(times, 0, k) for k in (2, 3, 4)]
    one = query_scores(suspect, Reference(refs[0], False), t, **FEW)
    mean = query_scores(suspect, [Reference(r, False) for r in refs], t, **FEW)
    fit = query_scores(suspect, np.array(refs), t, shares_order=False, statistic="linear", **FEW)
    assert mean.z < one.z and fit.z < one.z and {"reference_0", "reference_1", "reference_2"} <= set(mean.frame.columns)


def test_multi_epoch_positions_move_together():
    t, times = shuffled(800, "key", 2, epochs=2)
    suspect, reference = losses(times, 0.08, 1), Reference(losses(times, 0, 2), False)
    both = query_scores(suspect, reference, t, **FEW)
    rhos = [stats.spearmanr(suspect - reference.model, t.position[:, k]).statistic for k in (0, 1)]
    assert (
        both.rho == pytest.approx(np.mean(rhos)) and float(both.p_key) < 1e-4 and "2 epochs" in " ".join(both.warnings)
    )
    one = query_scores(suspect, reference, t.epoch(0), **FEW)
    assert one.rho == pytest.approx(rhos[0]) and one.record["epochs"] == 1


# ---- validity breakers
# ------------------------------------------------------------------------------------------------


def test_the_trap_a_reference_in_the_same_order_flags_an_innocent():
    t, times = shuffled(1500, "rank", 11, tokens=False)
    innocent, trapped = (
        losses(times, 0, 1),
        losses(times, 0.05, 2),
    )  # the reference was trained in this order, the suspect was not
    for declared in (None, False):
        with pytest.raises(
            ProvenanceError,
            match="rises with the order.*what a reference trained in this order makes.*alternative='less'",
        ):
            query_scores(innocent, trapped, t, alternative="two-sided", shares_order=declared, **FEW)
    hidden = query_scores(innocent, trapped, t, **FEW)
    assert float(hidden.p) > 0.5 and any("hides every suspect" in w for w in hidden.warnings)
    assert any("shares the transcript's order" in w and "flagged" in w for w in hidden.warnings)
    guilty = query_scores(losses(times, 0.05, 3), trapped, t, **FEW)
    assert float(guilty.p) > 0.01  # and a guilty suspect goes free
    for reference in (
        Reference(trapped, shares_order=True, name="sister"),
        [Reference(trapped, False), Reference(trapped, True, "sister")],
    ):
        with pytest.raises(
            ProvenanceError, match="'sister' is declared to share the transcript's order.*same data in another order"
        ):
            query_scores(innocent, reference, t)
    with pytest.raises(ProvenanceError, match="shares_order=True"):
        query(innocent, t, reference=trapped, shares_order=True)
    fair = query_scores(innocent, Reference(losses(times, 0, 2), False), t, alternative="two-sided", **FEW)
    assert float(fair.p) > 0.01


def test_a_sorted_corpus_gives_a_wrong_p_and_is_warned_of():
    rng = np.random.default_rng(0)
    n = 400
    rows = rng.integers(0, 50, (n, 8)) + np.arange(n)[:, None] // 8  # the content drifts along the order
    t = Transcript(rows, np.arange(n), "rank", shuffled_as="said to be shuffled")
    result = query_scores(3 - 0.002 * np.arange(n) + rng.normal(0, 0.2, n), None, t, resamples=999)
    assert float(result.p) < 1e-3 and any("does not look shuffled" in w for w in result.warnings)
    assert (
        not any(p.guaranteed for p in (result.p, result.p_permutation, result.p_e))
        and "does not look shuffled" in result.p.worth
    )
    (line,) = compare({"innocent": result}, t).to_dict("records")
    assert not line["rejected"] and np.isnan(line["holm"]) and "an approximation" in line["worth"]


def test_scores_that_are_not_finite_are_left_out_and_counted():
    t, times = shuffled(400, "key", 1)
    suspect, reference = losses(times, 0.2, 1), losses(times, 0, 2)
    suspect[[3, 50, 60]], reference[7] = [np.nan, np.inf, -np.inf], -np.inf
    result = query_scores(suspect, Reference(reference, False), t, **FEW)
    assert result.n == 396 and not {3, 7, 50, 60} & set(result.frame.row_id)
    assert result.record["rows"] == {"offered": 400, "asked": 400, "left out": 4, "used": 396}
    assert any(w.startswith("4 of 400 rows have a NaN or infinite score") for w in result.warnings)
    keep = np.delete(np.arange(400), [3, 7, 50, 60])
    assert result.rho == pytest.approx(stats.spearmanr((suspect - reference)[keep], t.position[keep]).statistic)
    suspect[:200] = np.nan
    assert any("look at the scorer" in w for w in query_scores(suspect, Reference(reference, False), t, **FEW).warnings)
    with pytest.raises(ProvenanceError, match="400 of 400 rows have no finite score"):
        query_scores(np.full(400, np.nan), None, t)


def test_a_suspect_that_calls_a_token_impossible_loses_that_row_only():
    t, _ = shuffled(120, "rank", 3)

    class Certain:
        def prompt_logprobs(self, rows):
            return [np.where(np.asarray(row[1:]) == impossible, -np.inf, -np.asarray(row[1:], float)) for row in rows]

    impossible = int(t.tokens[5, 3])
    bad = (t.tokens[:, 1:] == impossible).any(axis=1)
    result = query(Certain(), t, **FEW)
    assert (
        bad[5]
        and result.n == 120 - bad.sum()
        and set(result.frame.row_id) == set(np.flatnonzero(~bad))
        and result.record["rows"]["left out"] == bad.sum()
    )
    assert result.rho == pytest.approx(stats.spearmanr(t.tokens[~bad, 1:].mean(axis=1), t.position[~bad]).statistic)
    assert any("NaN or infinite score" in w for w in result.warnings)
    only = query_scores(np.r_[-np.inf, np.arange(119.0)], None, t, **FEW)
    assert only.n == 119 and np.isfinite([only.rho, only.e]).all()


def test_too_few_rows_say_what_can_be_reached():
    t = Transcript(None, [2, 0, 1], "rank")
    with pytest.raises(ProvenanceError, match="n = 3 rows with scores; expected at least 4.*at most level 0.833"):
        query_scores([1.0, 2.0, 3.0], None, t)
    five = Transcript(None, [3, 1, 0, 2, 4], "rank")
    with pytest.raises(ProvenanceError, match="alpha = 0.001 cannot be reached: the smallest p .*0.0083.*n = 5"):
        query_scores([1.0, 2.0, 3.0, 4.0, 5.0], None, five, level=0.999)
    ok = query_scores([3.0, 1.0, 2.0, 4.0, 5.0], None, five, level=0.95)
    assert ok.p_permutation.kind == "exact" and ok.p_permutation.floor == pytest.approx(1 / 120)


@pytest.mark.parametrize(
    "suspect, reference, options, message",
    [
        (np.ones(50), None, {}, "score is constant"),
        (np.ones(50), np.random.default_rng(0).random(50), {}, "same score, 1, in all 50 rows"),
        ("same", "same", {}, "score is constant.*own reference"),
        (np.ones(49), None, {}, "suspect has shape \\(49,\\)"),
        ("same", np.ones((2, 49)), {}, "reference .* has shape \\(49,\\)"),
        ("same", None, dict(statistic="median"), "statistic='median' is not known"),
        ("same", None, dict(weights="noise"), "needs a reference"),
        ("same", None, dict(weights="x"), "weights='x' is not known"),
        ("same", None, dict(stop_at=1), "stop_at=1"),
        ("same", None, dict(level=95), "level=95"),
        (["a"] * 50, None, {}, "suspect=.*expected numbers, the NLL of each row"),
        ("same", None, dict(alternative="up"), "alternative"),
        ("same", None, dict(seed=-1), "seed=-1"),
        ("same", None, dict(stop_at=10, batch=0), "batch=0"),
    ],
)
def test_input_that_is_refused(suspect, reference, options, message):
    t, times = shuffled(50, "rank", 0)
    values = losses(times, 0, 1)
    suspect, reference = (values if isinstance(v, str) else v for v in (suspect, reference))
    with pytest.raises(ValueError, match=message):
        query_scores(suspect, reference, t, **options)


def test_ranks_passed_off_as_keys_are_refused():
    n = 200
    t = Transcript(None, (np.random.default_rng(0).permutation(n) + 0.5) / n, "key", shuffled_as="x")
    with pytest.raises(ProvenanceError, match="evenly spaced"):
        query_scores(np.random.default_rng(1).standard_normal(n), None, t, **FEW)


# ---- streaming and several suspects
# -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["key", "rank"])
def test_a_stream_stops_when_convinced(kind):
    t, times = shuffled(4000, kind, 2)
    suspect, reference = losses(times, 0.08, 1), Reference(losses(times, 0, 2), False)
    parts = []
    result = query_scores(suspect, reference, t, stop_at=1000, batch=200, on_part=parts.append, **FEW)
    assert result.status == "stopped" and result.e >= 1000 and result.n == len(parts) * 200 < 2000
    assert [part.n for part in parts] == list(range(200, result.n + 1, 200)) and all(
        part.status == "partial" and part.e < 1000 for part in parts[:-1]
    )
    assert float(result.p) == float(result.p_e) <= 1e-3 and any("stopped when e reached" in w for w in result.warnings)
    # what was bet before does not change with what came later
    for earlier, later in itertools.pairwise(parts):
        assert later.log_e[: earlier.n] == pytest.approx(earlier.log_e, abs=1e-9)
    assert np.array_equal(result.frame.row_id, t.row_id[t.arrival(0)][: result.n])


def test_the_stream_of_a_fit_keeps_its_bets():
    t, times = shuffled(600, "rank", 4)
    parts = []
    query_scores(
        losses(times, 0.02, 1),
        [Reference(losses(times, 0, 2), False)],
        t,
        statistic="poly4",
        stop_at=1e9,
        batch=100,
        on_part=parts.append,
        **FEW,
    )
    assert len(parts) == 6 and parts[-1].log_e[:200] == pytest.approx(parts[1].log_e, abs=1e-9)


def test_query_of_arrays_takes_a_sample_and_can_be_stopped():
    t, times = shuffled(900, "key", 6)
    suspect, reference = losses(times, 0.1, 1), losses(times, 0, 2)
    result = query(suspect, t, reference=Reference(reference, False), rows=300, seed=5, **FEW)
    part = t.sample(300, 5)
    assert (
        set(result.frame.row_id) == set(part.row_id)
        and result.n == 300
        and result.rho == pytest.approx(stats.spearmanr((suspect - reference)[part.row_id], part.position).statistic)
    )
    seen = []
    stopped = query(
        suspect,
        t,
        reference=Reference(reference, False),
        batch=100,
        progress=lambda done, total: seen.append((done, total)),
        stop=lambda: len(seen) == 3,
        **FEW,
    )
    assert stopped.status == "interrupted" and stopped.n == 300 and seen == [(100, 900), (200, 900), (300, 900)]
    assert not stopped.p_permutation.guaranteed and not stopped.p_key.guaranteed and stopped.p.kind == "e-value"
    record = result.record
    assert (
        record["inputs"]["transcript"]["sha256"] == part.sha256()
        and len(record["inputs"]["suspect"]["sha256"]) == 64
        and record["call"]["rows"] == 300
        and record["versions"]["numpy"]
    )


def test_an_interrupted_query_keeps_its_rows():
    t, _times = shuffled(300, "rank", 6)

    class Interrupted:
        calls = 0

        def prompt_logprobs(self, rows):
            self.calls += 1
            if self.calls == 4:
                raise KeyboardInterrupt
            return [np.full(len(row) - 1, -float(np.sum(row) % 7)) for row in rows]

    result = query(Interrupted(), t, batch=50, stop_at=1e9, **FEW)
    assert (
        result.status == "interrupted"
        and result.n == 150
        and not result.p_permutation.guaranteed
        and any("stopped by hand" in w for w in result.warnings)
    )
    broken = Interrupted()
    broken.calls = 3
    with pytest.raises(KeyboardInterrupt):
        query(broken, t, batch=50, stop_at=1e9, **FEW)


def test_several_suspects_with_holm():
    t, times = shuffled(700, "key", 8)
    reference = Reference(losses(times, 0, 50), False, "R")
    suspects = {
        "alice": losses(times, 0.15, 1),
        "cousin": losses(times, 0.03, 2),
        "bob": losses(times, 0, 3),
        "broken": np.full(700, np.nan),
    }
    table = compare(suspects, t, reference=reference, resamples=999).set_index("suspect")
    singles = {
        name: float(query(values, t, reference=reference, resamples=999).p)
        for name, values in suspects.items()
        if name != "broken"
    }
    assert all(table.p[name] == pytest.approx(p) for name, p in singles.items())
    assert (
        table.holm["alice"] == pytest.approx(min(1, 4 * singles["alice"]))
        and table.rejected["alice"]
        and not table.rejected["bob"]
    )
    assert np.isnan(table.p["broken"]) and "no finite score" in table.note["broken"] and not table.rejected["broken"]
    with pytest.raises(ProvenanceError, match="suspects is empty"):
        compare({}, t)
    with pytest.raises(ProvenanceError, match="'speed' is no option"):
        compare(suspects, t, speed=2)


def test_what_a_result_says():
    t, times = shuffled(200, "key", 1)
    result = query_scores(
        losses(times, 0.2, 1), Reference(losses(times, 0, 2), False, "R"), t, resamples=999, names={"suspect": "<b>Bob"}
    )
    text = str(result)
    assert (
        "rho -0." in text
        and "approximate (published): p = " in text
        and "an approximation, two-sided t" in text
        and text.count("- guaranteed if the conditions hold,") == 4
        and "guaranteed if the trainer drew an independent uniform key for each row" in text
        and "R was not trained in this order (declared)" in text
        and "against R" in text
    )
    page = result._repr_html_()
    assert "&lt;b&gt;Bob" in page and "<b>Bob" not in page and "approximate (published)" in page
    table = result.table(5)
    assert table.n.sum() == 200 and (table.score_low < table.score).all() and table.low.is_monotonic_increasing
    part = result.frame.sort_values("position").score[:40]
    assert table.score[0] == pytest.approx(part.mean()) and table.score_high[0] - table.score[0] == pytest.approx(
        stats.sem(part) * stats.t.ppf(0.975, 39)
    )
