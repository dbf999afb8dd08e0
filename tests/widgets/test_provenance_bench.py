"""The provenance bench's state without a browser: what is asked, published, refused, stopped, compared and kept; its
numbers beside those of `query`.
"""

import math
import threading
from functools import partial

import numpy as np
import pytest
from scipy import stats

import widgets
from lens import provenance
from lens.provenance import Reference
from lens.provenance.scores import Running
from lens.stats import holm
from tests.provenance.simulated import losses, shuffled
from tests.variants import few
from widgets.provenance_bench import work as provenance_work

SECONDS = 60
N = 600


class Hosted:
    """A suspect behind an interface: NLL known by the row's tokens; `gate`, when given, is waited for before every
    batch.
    """

    def __init__(self, transcript, nll, gate=None, error=None):
        self.known, self.gate, self.error, self.calls = (
            {row.tobytes(): v for row, v in zip(np.asarray(transcript.tokens), nll)},
            gate,
            error,
            0,
        )

    def prompt_logprobs(self, rows):
        self.calls += 1
        if self.gate is not None:
            assert self.gate.acquire(timeout=SECONDS)
        if self.error is not None and self.calls == 3:
            raise self.error
        return [np.full(len(row) - 1, -self.known[np.asarray(row).tobytes()]) for row in rows]


def world(n=N, kind="key", seed=0, effect=0.06):
    """A transcript, a suspect that remembers it, one that does not, and references."""
    transcript, times = shuffled(n, kind, seed)
    return (
        transcript,
        {"alice": losses(times, effect, 1), "bob": losses(times, 0, 2)},
        {
            "other order": Reference(losses(times, 0, 3), False),
            "unknown": losses(times, 0, 4),
            "same order": Reference(losses(times, effect, 5), True),
        },
    )


def bench(n=N, kind="key", suspects=None, transcripts=None, **options):
    transcript, known, references = world(n, kind)
    view = widgets.ProvenanceBench(
        known if suspects is None else suspects(transcript, known),
        transcripts or {"order": transcript},
        references,
        **({"resamples": 999} | options),
    )
    assert view.wait(SECONDS)
    return view


def ask(view, **fields):
    view._on_message(view, {"type": "run", "fields": fields}, [])
    assert view.wait(SECONDS)
    return view


def array(view, name):
    return np.frombuffer(view.found[name], "<f4")


def p_of(view, key):
    return next(row for row in view.found["ps"] if row["key"] == key)


def numbers_of(result):
    ps = [
        p["p"] for p in result.p_values() if p["name"] != "adjusted for looks"
    ]  # the view counts its questions by itself
    return [result.rho, result.z, result.interval.low, result.interval.high, result.e, result.n, *ps]


# --- the numbers


@pytest.mark.parametrize("kind", ["key", "rank"])
@pytest.mark.parametrize(
    ("rule", "statistic", "reference"),
    [
        ("n", "difference", "other order"),
        ("n", "linear", "other order"),
        ("e", "difference", "other order"),
        ("n", "none", ""),
    ],
)
def test_numbers_are_those_of_query(kind, rule, statistic, reference):
    view = ask(bench(kind=kind), rule=rule, statistic=statistic, reference=reference, rows=500, alpha=0.001, seed=3)
    assert view.status == "complete", view.error
    transcript, known, references = world(kind=kind)
    expected = provenance.query(
        known["alice"],
        transcript,
        reference=references.get(reference),
        rows=500,
        statistic=statistic,
        level=0.999,
        resamples=999,
        seed=3,
        stop_at=1000 if rule == "e" else None,
        batch=16,
    )
    assert numbers_of(view.result) == numbers_of(expected)
    found = view.found
    assert (found["rho"], found["z"], found["n"], found["level"]) == (expected.rho, expected.z, expected.n, 0.999) and (
        found["low"],
        found["high"],
    ) == (
        expected.interval.low,
        expected.interval.high,
    )
    assert (
        found["log10_e"] == pytest.approx(math.log10(expected.e))
        and p_of(view, "permutation")["p"] == float(expected.p_permutation)
        and p_of(view, "t")["p"] == float(expected.p_t)
    )
    assert array(view, "path_n")[-1] == expected.n and array(view, "path_e")[-1] == pytest.approx(
        expected.log_e[-1] / math.log(10), rel=1e-5
    )
    table = expected.table()
    for name, column in (("q_n", "n"), ("q_mean", "score"), ("q_low", "score_low"), ("q_high", "score_high")):
        np.testing.assert_allclose(array(view, name), table[column], rtol=1e-4, atol=1e-6)
    assert array(view, "null_counts").sum() == len(expected.null) == 999 and found["observed"] == expected.rho


def test_a_bin_has_the_mean_of_its_rows_by_hand():
    view = ask(bench(), rule="n", rows=N)
    transcript, known, references = world()
    difference = known["alice"] - references["other order"].model
    tenth = difference[np.argsort(transcript.position)][:60]
    assert array(view, "q_mean")[0] == pytest.approx(tenth.mean(), abs=1e-6) and array(view, "q_low")[
        0
    ] == pytest.approx(stats.t.interval(0.99, 59, tenth.mean(), stats.sem(tenth))[0], abs=1e-6)
    assert array(view, "q_at")[0] == pytest.approx(np.sort(transcript.position)[[0, 59]].mean(), abs=1e-6)


def test_what_every_number_is_worth_at_a_fixed_number_of_rows():
    view = ask(bench(), rule="n")
    assert [(row["key"], row["worth"]) for row in view.found["ps"]] == [
        ("permutation", "guaranteed"),
        ("key", "guaranteed"),
        ("e", "guaranteed"),
        ("t", "approximate"),
    ]
    assert (
        view.found["verdict"]["kind"] == "shown"
        and "alice depends on this order" in view.found["verdict"]["lead"]
        and "no proof of descent" in view.found["meaning"]
    )
    assert [row["key"] for row in ask(bench(kind="step"), rule="n").found["ps"]] == ["permutation", "e", "t"]


def test_the_e_rule_stops_at_its_line_and_voids_what_it_voids():
    view = ask(bench(), rule="e", alpha=0.01)
    found = view.found
    assert (
        view.status == "complete"
        and found["status"] == "stopped"
        and found["asked"] < N
        and found["log10_e"] >= 2
        and found["stop"] == pytest.approx(2)
    )
    assert "e reached 100 after" in view.progress["text"] and [row["worth"] for row in found["ps"]] == [
        "void",
        "void",
        "guaranteed",
        "approximate",
    ]
    assert (array(view, "path_e")[: -provenance_work.LEAST_BATCH] < 2).all() or found[
        "asked"
    ] <= 2 * provenance_work.LEAST_BATCH
    innocent = ask(view, suspect="bob")
    assert (
        innocent.found["status"] == "complete"
        and innocent.found["asked"] == N
        and innocent.found["verdict"]["kind"] == "open"
        and "does not show that there is none" in innocent.found["verdict"]["text"]
    )


@pytest.mark.long
def test_no_p_is_ever_zero_in_words():
    transcript, times = shuffled(300, tokens=False)
    view = widgets.ProvenanceBench(
        {"loud": 3 - times},
        transcript,
        {"flat": Reference(np.full(300, 3.0) + 1e-9 * np.random.default_rng(0).random(300), False)},
        rule="n",
        resamples=199,
    )
    view.run(wait=True)
    assert p_of(view, "t")["p"] == 0.0 or p_of(view, "t")["p"] < 1e-300, "else this test shows nothing"
    assert "&lt; 1e-300" in view._static() and "p = 0 " not in view._static() and "p = 0<" not in view._static()
    assert [provenance_work.written(p) for p in (0.0, 1e-310, 0.04)] == [
        "p < 1e-300",
        "p < 1e-300",
        "p = 0.04",
    ] and p_of(view, "permutation")["at_floor"]


# --- rows that stream, and the stop


def gated(error=None):
    gate = threading.Semaphore(0)
    return gate, bench(
        suspects=lambda t, known: {"alice": Hosted(t, known["alice"], gate, error), "bob": known["bob"]}, rule="n"
    )


def wait_for(view, name, condition):
    met = threading.Event()
    view.observe(lambda change: met.set() if condition(change["new"]) else None, name)
    return met if not condition(getattr(view, name)) else (met.set() or met)


def test_rows_stream_in_and_a_stop_by_hand_keeps_only_e(monkeypatch):
    monkeypatch.setattr("widgets.base.sweep.PART_SECONDS", 0)
    gate, view = gated()
    view.run()
    for batches in (4, 4):
        met = wait_for(view, "found", lambda f, want=view.found.get("n", 0) + 4 * 16: f.get("n", 0) >= want)
        gate.release(batches)
        assert met.wait(SECONDS)
    found = view.found
    assert (
        found["n"] == 128
        and found["verdict"]["lead"] == provenance_work.LIVE_ONLY
        and "8" in view.progress["text"]
        and [row["worth"] for row in found["ps"]] == ["waiting", "waiting", "guaranteed", "approximate"]
    )
    assert not found["q_at"] and len(found["q_mean"]) == 40, (
        "while rows come the bins bear no positions: the e-value of ranks allows stopping by ranks only"
    )
    with pytest.raises(ValueError, match="still coming"):
        view.save("x.csv")
    view._on_message(view, {"type": "stop"}, [])
    gate.release(1)
    assert view.wait(SECONDS) and view.status == "stopped" and view.result.status == "interrupted"
    found, asked = view.found, view.found["asked"]
    assert asked in (128, 144) and f"stopped by hand after {asked} of 600 rows" in view.progress["text"]
    assert [row["worth"] for row in found["ps"]] == [
        "void",
        "void",
        "guaranteed",
        "approximate",
    ] and "fixed beforehand" in p_of(view, "permutation")["note"]
    assert found["verdict"]["lead"].startswith("Stopped by hand") and "e-value stays valid" in found["verdict"]["text"]
    assert (
        view.lines[0]["p"] == pytest.approx(min(1, 2 * float(view.result.p_e))) and view.lines[0]["status"] == "stopped"
    )

    names = {"suspects": {"alice": world()[1]["alice"]}, "transcripts": {"order": world()[0]}, "references": world()[2]}
    exec(compile(view.code, "view", "exec"), names)
    assert numbers_of(names["result"]) == numbers_of(view.result) and names["result"].status == "interrupted"

    gate.release(100)
    ask(view)
    assert view.status == "complete" and len(view.lines) == 1, "the same question asked to its end is no second look"
    assert view.lines[0]["p"] == pytest.approx(
        min(1, 2 * min(float(view.result.p_permutation), float(view.result.p_e)))
    )


def test_a_new_question_replaces_a_run_and_both_are_looks(monkeypatch):
    monkeypatch.setattr("widgets.base.sweep.PART_SECONDS", 0)
    gate, view = gated()
    view.run()
    met = wait_for(view, "found", lambda f: f.get("n", 0) >= 32)
    gate.release(2)
    assert met.wait(SECONDS)
    view._on_message(view, {"type": "run", "fields": {"suspect": "bob"}}, [])
    gate.release(2)
    assert view.wait(SECONDS) and view.found["fields"]["suspect"] == "bob" and view.status == "complete"
    assert [(line["suspect"], line["status"]) for line in view.lines] == [("alice", "stopped"), ("bob", "complete")]


def test_an_error_on_the_way_is_shown_and_counted(monkeypatch):
    gate, view = gated(RuntimeError("the host is gone"))
    gate.release(100)
    ask(view)
    assert (
        view.status == "error"
        and "the host is gone" in view.error["text"]
        and view.lines[0]["note"] == "the host is gone"
        and view.found["verdict"]["lead"].startswith("Stopped by an error after 32 of 600")
    )


@pytest.mark.long
@pytest.mark.parametrize("worlds", few([70, 200], [70]))
def test_the_p_of_a_line_keeps_its_level_for_whoever_stops_when_it_helps(worlds):
    """Null worlds: the smallest p that any moment of stopping could have given is at most alpha no more often than
    alpha allows, for both rules.
    """
    n, alpha = 64, 0.1
    question = partial(provenance_work.Question, "s", "t", "", n, "none", alpha=alpha, seed=0)
    hits = {"e": 0, "n": 0}
    for world_ in range(worlds):
        transcript, _ = shuffled(n, "rank" if world_ % 2 else "key", world_, tokens=False)
        running, least = Running(transcript, [], statistic="none", resamples=199, seed=0), {"e": 1.0, "n": 1.0}
        score = np.random.default_rng([world_, 3]).standard_normal(n)
        for index in running.batches(16):
            running.add(index, score[index], np.empty((0, len(index))))
            last = running.done == n
            result = running.result("complete" if last else "interrupted", draws=199 if last else 19)
            for rule in hits:
                run = provenance_work.Inquiry(question(rule=rule), None, dataset=result)
                least[rule] = min(least[rule], provenance_work.line_p(run)[0])
        for rule in hits:
            hits[rule] += least[rule] <= alpha
    assert max(hits.values()) <= stats.binom.isf(1e-3, worlds, alpha), hits
    assert hits["n"] > 0, "the p is not so careful that it never speaks"


# --- refusals, doubts, faults


def test_a_reference_that_shares_the_order_is_refused_and_nothing_is_run():
    view = bench(suspects=lambda t, known: {"alice": Hosted(t, known["alice"])})
    assert view.reference == "other order"
    view._on_message(view, {"type": "move", "fields": {"reference": "same order"}}, [])
    assert (
        view.wait(SECONDS)
        and "shares_order=True" in view.doubts["refused"]
        and ["same order", "shares the order: refused"] in view.references
    )
    ask(view)
    assert (
        view.status == "error"
        and view.error["title"].startswith("Refused")
        and "innocent suspect is flagged" in view.error["text"]
    )
    assert view._given["suspects"]["alice"].calls == 0 and view.lines == [] and view.result is None


def test_an_approximate_p_is_called_so_and_counts_as_one():
    transcript = world()[0]
    unshuffled = provenance.Transcript(transcript.tokens, np.arange(N), "rank", name="file", shuffled_as="said so")
    view = ask(bench(transcripts={"file": unshuffled}), rule="n")
    worths = [row["worth"] for row in view.found["ps"]]
    assert (
        worths == ["approximate"] * 3
        and view.found["e_kind"] == "approximate"
        and view.found["verdict"]["kind"] == "open"
    )
    assert (
        "Only an approximation" in view.found["verdict"]["text"]
        and "does not look shuffled" in view.found["verdict"]["text"]
    )
    (line,) = view.lines
    assert (
        line["holm"] is None
        and "does not look shuffled" in line["reason"]
        and "approximate: the order does not look shuffled" in view._static()
    )


def test_conditions_are_said_and_ranks_hold_at_no_any_stop():
    by_key, by_rank = (ask(bench(kind=kind), rule="n") for kind in ("key", "rank"))
    assert (
        "drew an independent uniform key" in by_key.found["conditions"][0]
        and "shuffled the whole file at once" in by_rank.found["conditions"][0]
    )
    assert (
        "at any stop" in by_key.found["e_worth"]
        and "any stop" not in by_rank._static()
        and "past scores and ranks" in by_rank.found["e_under"]
    )
    assert "Guaranteed if</p><ul><li>the trainer shuffled the whole file" in by_rank._static()


def test_doubts_are_there_before_and_after_the_run():
    transcript = world()[0]
    unshuffled = provenance.Transcript(transcript.tokens, np.arange(N), "rank", name="file")
    view = bench(transcripts={"order": transcript, "file": unshuffled})
    assert view.doubts["texts"] == []
    ask(view, reference="unknown")
    assert (
        any("nobody declared whether it shares" in t for t in view.doubts["texts"])
        and any("nobody declared whether it shares" in t for t in view.found["warnings"])
        and view.lines[0]["warnings"] == 1
    )
    assert "Read the warning first" in view.found["verdict"]["text"]
    ask(view, transcript="file", reference="other order", rule="n")
    assert any("does not look shuffled" in t for t in view.doubts["texts"]) and any(
        "does not look shuffled" in t for t in view.found["warnings"]
    )


def test_rows_without_a_score_are_left_out_and_said():
    view = bench(suspects=lambda t, known: {"holes": np.where(np.arange(N) % 20 == 0, np.nan, known["alice"])})
    ask(view, rule="n", suspect="holes")
    assert (view.found["n"], view.found["left_out"], view.found["asked"]) == (570, 30, 600) and any(
        "30 of 600 rows have a NaN" in t for t in view.found["warnings"]
    )


def test_another_tokenizer_is_said():
    from tests.models import word_tokenizer

    transcript, known, references = world()
    other = provenance.Transcript(
        transcript.tokens % 90, transcript.position, "key", tokenizer=word_tokenizer(97), shuffled_as="drawn"
    )
    suspect = Hosted(other, known["alice"])
    suspect.tokenizer = word_tokenizer(120)
    suspect.prompt_logprobs = lambda rows: [np.full(len(row) - 1, -float(np.mean(row))) for row in rows]
    view = widgets.ProvenanceBench({"alice": suspect}, other, {"r": references["other order"]}, resamples=199)
    view.run(wait=True)
    assert any("tokenised anew" in t for t in view.found["warnings"]), (view.error, view.found.get("warnings"))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"rows": 3}, "from 4 to 600"),
        ({"rows": 601}, "from 4 to 600"),
        ({"alpha": 1.5}, "between 0 and 1"),
        ({"suspect": "carol"}, "is not one of alice, bob"),
        ({"transcript": "?"}, "is not one of order"),
    ],
)
def test_a_question_that_cannot_be_asked_says_why(fields, words):
    view = ask(bench(), **fields)
    assert (
        view.status == "error"
        and view.error["title"] == "This cannot be asked yet"
        and words in view.error["text"]
        and view.lines == []
    )


def test_a_level_that_cannot_be_reached_is_said():
    view = ask(bench(kind="rank"), rule="n", rows=4, alpha=0.001)
    assert (
        view.status == "error" and view.error["title"] == "This test cannot be made" and "0.999" in view.error["text"]
    )


def test_a_suspect_that_cannot_be_loaded_counts_as_one():
    view = bench(suspects=lambda t, known: {"alice": known["alice"], "gone": "organism:there-is-none"})
    ask(view, rule="n")
    alone = view.lines[0]["holm"]
    ask(view, suspect="gone")
    assert (
        view.status == "error"
        and "there-is-none" in view.error["text"]
        and view.lines[1]["p"] is None
        and view.lines[0]["holm"] == pytest.approx(min(1, 2 * alone))
    )
    assert "could not be tested, counts as p = 1" in view._static()


def test_wrong_arguments_are_refused():
    transcript, known, _references = world()
    for given, words in (
        (({}, transcript), "at least one"),
        (([1, 2], transcript), "expected a dict from text"),
        (({"": known["bob"]}, transcript), "not empty"),
        ((known, {"t": [1, 2]}), "expected a lens.provenance.Transcript"),
        ((known, transcript, [known["bob"]]), "expected a dict from text"),
    ):
        with pytest.raises(ValueError, match=words):
            widgets.ProvenanceBench(*given)


def test_what_a_page_sends_that_no_trait_takes_is_not_taken():
    view = bench()
    view._on_message(
        view, {"type": "move", "fields": {"rule": "whenever", "rows": "many", "suspects": [], "alpha": 0.05}}, []
    )
    assert (view.rule, view.rows, view.alpha) == ("e", N, 0.05) and len(view.suspects) == 2


def test_a_shorter_transcript_takes_rows_with_it():
    view = bench(transcripts={"order": world()[0], "short": shuffled(50)[0]})
    view._on_message(view, {"type": "move", "fields": {"transcript": "short"}}, [])
    assert view.rows == 50


# --- suspects compared


def test_holm_is_over_every_question_asked():
    view = bench()
    for fields in (
        {"suspect": "alice", "rule": "n"},
        {"suspect": "bob"},
        {"suspect": "alice", "rule": "e"},
        {"suspect": "bob", "rule": "n", "seed": 1},
    ):
        ask(view, **fields)
    lines = view.lines
    assert len(lines) == 4 and [line["holm"] for line in lines] == pytest.approx(
        list(holm([line["p"] for line in lines]))
    )
    assert [line["p"] for line in lines if line["rule"] == "e"] == [float(view.results[2].p_e)]
    before = [line["p"] for line in lines]
    ask(view, suspect="bob", seed=1, rule="n")
    ask(view, alpha=0.05)
    assert len(view.lines) == 4 and [line["p"] for line in view.lines] == before, (
        "the same question, also at another level, is one look"
    )


def test_for_ranks_the_p_of_a_line_is_the_result_s():
    view = ask(bench(kind="rank"), rule="n")
    assert view.lines[0]["p"] == pytest.approx(float(view.result.p)) and view.lines[0]["p"] <= 0.01


def test_an_earlier_question_is_shown_again():
    view = bench()
    ask(view, suspect="alice")
    first = view.found
    ask(view, suspect="bob")
    view._on_message(view, {"type": "show", "number": 1}, [])
    assert view.found == first and view.result is view.results[0] and "suspects['alice']" in view.code
    view._on_message(view, {"type": "show", "number": 99}, [])
    assert view.found == first
