"""The benchmark `stress` itself works: each part runs on a little of its work, and each of its judges can fail."""

import json
import os
import random
import shutil
import signal
import sys
import threading

import pytest

import lens
from benchmarks import _damage, _killed, inputs, interruptions, kills, ray_workers, stress
from benchmarks.__main__ import PARTED
from lens.engine import changes
from tests.variants import few


@pytest.fixture(autouse=True)
def keyboard():
    """Ctrl-C as in a terminal: a suite that runs in the background may have been started with SIGINT ignored."""
    with interruptions.terminal():
        yield


@pytest.fixture(scope="module")
def subject():
    return interruptions.Subject("plain")


def test_the_command_line_knows_every_part():
    assert PARTED["stress"][1] == tuple(stress.FIGURES) and set(stress.BENCH.parts) <= set(stress.FIGURES)


# -- interruptions -----------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_little_of_the_interruptions_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(interruptions, "MODELS", {"plain": interruptions.MODELS["plain"]})
    found = stress.BENCH.measure("interruptions", tmp_path, quick=True)["figures"]
    assert found["edits_left"] == 0 == found["interruptions_wrong"], (
        found["edits_left_where"],
        found["interruptions_wrong_what"],
    )
    assert found["interruptions"] == sum(found["interruptions_by_way"].values()) > 20
    assert set(found["interruptions_by_way"]) == {
        "line",
        "two lines",
        "time",
        "two times",
        "threads",
        "lost",
        "deleted",
    }


def judged(subject, way, *arguments):
    rounds = interruptions.Rounds()
    way(rounds, subject, *arguments)
    return rounds.figures()


def test_an_undo_that_forgets_a_step_is_counted(monkeypatch):
    subject, whole = interruptions.Subject("plain"), changes.Undo._take_back

    def forgetful(self):
        weights = [step for step in self._back if "_WeightWrite" in getattr(step, "__qualname__", "")]
        if len(weights) > 3 and sys.gettrace() is not None:  # in the round itself
            self._back.remove(weights[-1])
        whole(self)

    monkeypatch.setattr(changes.Undo, "_take_back", forgetful)
    found = judged(subject, interruptions.at_lines, "mask", 2, random.Random(0))
    assert 0 < found["edits_left"] <= found["interruptions"] == 4 and all(
        "weights are edited" in where for where in found["edits_left_where"]
    )


@pytest.mark.long
def test_ctrl_c_that_is_not_held_back_is_counted(monkeypatch):
    subject = interruptions.Subject("plain")
    monkeypatch.setattr("lens.engine.interrupts._held_back", lambda frame: False)
    found = judged(subject, interruptions.at_lines, "mask", 20, random.Random(0))
    assert 0 < found["edits_left"] < found["interruptions"] == 40


@pytest.mark.long
def test_what_nobody_holds_any_more_is_counted_where_restore_does_nothing(monkeypatch):
    subject = interruptions.Subject("plain")
    monkeypatch.setattr(lens, "restore", lambda model: [])
    found = judged(subject, interruptions.lost)
    assert found["interruptions"] == 4 and found["edits_left"] == 3, "a generator that is gone leaves its block itself"


def test_hooks_that_stay_and_a_refused_sweep_are_seen(monkeypatch):
    subject = interruptions.Subject("plain")
    assert subject.left() is None
    handle = subject.model.model.layers[0].register_forward_hook(lambda module, inputs, output: None)
    assert subject.left() == "hooks are left"
    handle.remove()
    session = changes.Session(subject.model, "a computation")
    session.enter()
    assert "1 computations are held" in subject.left()
    session.leave()
    monkeypatch.setattr(lens, "patch", lambda *a, **k: (_ for _ in ()).throw(lens.Error("no")))
    assert subject.left() == "the next edit or sweep is refused: Error: no"


def test_a_swallowed_ctrl_c_is_seen(subject):
    signal.signal(signal.SIGINT, lambda number, frame: None)
    assert subject.left() == "Ctrl-C is swallowed"


def test_threads_that_do_not_end_and_raw_errors_come_out():
    stop = threading.Event()
    assert isinstance(interruptions.together(lambda: stop.wait(30), lambda: None, seconds=0.1), TimeoutError)
    stop.set()
    assert isinstance(interruptions.together(lambda: 1 / 0), ZeroDivisionError)

    def refused():
        raise lens.Error("another thread has it")

    assert interruptions.together(refused) is None


# -- kills -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", few(["sweep", "scoring", "training"], ["scoring"]))
def test_a_little_of_the_kills_ends_bit_equal(kind):
    found = kills.kill(quick=True, kinds=(kind,))
    assert (
        found["kills"] == found["kills_bit_equal"] == 2 and found["taken_for_whole"] == 0 and found["kills_wrong"] == {}
    )


class Counting:
    """Work that goes on with the steps that it finds in its folder, and tells what it lets be done to itself."""

    def __init__(self, small):
        pass

    def _steps(self, folder):
        return sorted(path.name for path in folder.glob("step-*"))

    def work(self, folder):
        for i in range(20):
            if not (folder / f"step-{i:02d}").exists():
                threading.Event().wait(0.05)
                (folder / f"step-{i:02d}").write_text("")
        return json.dumps(self._steps(folder))

    def look(self, folder):
        return json.dumps(self._steps(folder)) if len(self._steps(folder)) >= 20 else None


class Boasting(Counting):
    """Work that calls whatever is there complete."""

    def look(self, folder):
        return json.dumps(self._steps(folder))


@pytest.mark.parametrize(
    "kind, spoil, equal, taken", [(Counting, None, 3, False), (Counting, "more", 0, False), (Boasting, None, 3, True)]
)
def test_the_judge_of_kills_sees_other_bits_and_what_is_taken_for_whole(monkeypatch, kind, spoil, equal, taken):
    monkeypatch.setattr(kills, "_context", kills.get_context("fork"))
    monkeypatch.setitem(_killed.KINDS, "counting", kind)
    found = kills.killed(
        "counting", 3, True, 0, None if spoil is None else lambda folder: (folder / "step-99").write_text("")
    )
    assert found.kills == 3 and found.equal == equal and (found.taken > 0) == taken and bool(found.wrong) == (equal < 3)


def test_an_altered_store_has_another_digest(tmp_path):
    job = _killed.Scoring(True)
    job.rows = job.rows[:50]
    whole = job.work(tmp_path)
    assert job.look(tmp_path) == whole and job.work(tmp_path) == whole
    shutil.rmtree(tmp_path / "scores")
    assert job.look(tmp_path) is None, "nothing is there, so nothing is called complete"
    job.rows = job.rows.copy()
    job.rows[3, 4] += 1
    assert job.work(tmp_path) != whole


# -- two workers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("each, ratio", [(2, 2.0), (1, 1.0)])
def test_what_a_second_worker_gives_is_without_the_start(monkeypatch, each, ratio):
    monkeypatch.setattr(ray_workers, "rate", lambda *a: 100.0)
    monkeypatch.setattr(
        ray_workers, "seconds", lambda m, rows, workers: 50.0 + len(rows) / (100 if workers == 1 else 100 * each)
    )
    found = ray_workers.speed_up(quick=True)
    assert found["ray_two_workers_scoring"] == pytest.approx(ratio) and found["ray_two_workers_whole"] < max(
        ratio, 1.001
    )


def test_a_scoring_that_lacks_rows_is_no_speed(monkeypatch):
    model, vocabulary = ray_workers.subject(True)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(lens.Error):
        ray_workers.seconds(model, ray_workers.rows_of(4, vocabulary, 8), 2)
    cut = lens.scoring.rows.score(
        model, ray_workers.rows_of(4, vocabulary, 8), start=None, stop=lambda: True, progress=False
    )
    monkeypatch.setattr(ray_workers.scoring, "score", lambda *a, **k: cut)
    with pytest.raises(RuntimeError, match="0 of 4 rows"):
        ray_workers.seconds(model, ray_workers.rows_of(4, vocabulary, 8), 2)


def test_rows_a_second_are_measured():
    model, vocabulary = ray_workers.subject(True)
    assert ray_workers.rate(model, vocabulary, 40, least=0.1) > 0


# -- bad inputs --------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_little_of_the_inputs():
    found = inputs.feed(quick=True, kinds=("mask", "task"))
    assert found["inputs_files"]["bad_inputs"] > 20 and found["inputs_arguments"]["bad_inputs"] > 0
    assert found["bad_inputs"] == found["inputs_files"]["bad_inputs"] + found["inputs_arguments"]["bad_inputs"]
    assert found["inputs_file_faults"] == [] and found["inputs_broken"] == [] and found["hangs"] == 0


def test_the_judge_of_files_knows_own_named_unnamed_and_raw(tmp_path):
    path = tmp_path / "held.json"
    said = {None: "accepted", lens.Error(f"{path} is cut"): "own_named", lens.Error("it is cut"): "own_unnamed"}
    said |= {ValueError(f"{path} is cut"): "raw", RecursionError(): "raw"}
    assert {error: _damage.judged(error, path) for error in said} == said


def _read(answer):
    def read(folder):
        content = (folder / "file").read_bytes()
        if content != b"whole and long enough":
            answer(folder)

    return read


def _hang(folder):
    threading.Event().wait(60)


def _die(folder):
    os._exit(9)


def _raw(folder):
    raise KeyError("file")


@pytest.mark.parametrize("answer, outcome", [(_hang, "hang"), (_die, "raw"), (_raw, "raw")])
def test_files_that_hang_die_or_end_raw_are_counted(monkeypatch, answer, outcome):
    monkeypatch.setattr(inputs, "_context", inputs.get_context("fork"))
    kind = _damage.Kind(lambda folder: (folder / "file").write_bytes(b"whole and long enough"), _read(answer))
    monkeypatch.setattr(_damage, "kinds", lambda: {"kind": kind})
    monkeypatch.setattr(
        _damage, "damages", lambda content, seed: iter([("cut", b"who"), ("as it was", content), ("gone", b"")])
    )
    found = inputs.damaged("kind", limit=0.5)
    assert found.counts == {outcome: 2, "accepted": 1} and len(found.faults) == 2 and found.broken == []


def test_a_whole_file_that_is_refused_is_said(monkeypatch):
    monkeypatch.setattr(inputs, "_context", inputs.get_context("fork"))
    kind = _damage.Kind(lambda folder: (folder / "file").write_bytes(b"another"), _read(_raw))
    monkeypatch.setattr(_damage, "kinds", lambda: {"kind": kind})
    assert inputs.damaged("kind").broken[0].startswith("kind: whole: raw KeyError")
