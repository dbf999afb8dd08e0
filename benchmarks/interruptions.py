"""Changes of a model that are interrupted, and what is left of them: Ctrl-C once and twice, at lines and at random
times; threads; a view, a handle or a thread that is gone.

A round puts something in force on a model, or computes with it, and is interrupted. After it the round is judged
(`Subject.left`): every weight bit-equal, every module with the hooks that it had, the next edit and the next sweep
accepted and their numbers the old ones, a further Ctrl-C handed on. Where a person lost what would undo the change
(a deleted view, a block that nobody leaves), `lens.restore` comes first.
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
import signal
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

import lens

from ._edited import EDITS, MODELS, ROWS, Subject
from .tables import say

PACKAGE = os.path.dirname(lens.__file__)
#: By what is done in a round: lines, and random times, at which it is interrupted (each once and twice), a model.
FULL = {"mask": (60, 15), "curvature edit": (60, 15), "lens.edited": (60, 15), "tradeoff": (15, 8), "sweep": (20, 8)}
QUICK = {"mask": (1, 1), "lens.edited": (1, 1)}


# -- ways to interrupt -------------------------------------------------------------------------------------------------


class Traced:
    """Runs a function with Ctrl-C at the given lines (counted from 1) of those that it runs in the package; `lines`:
    how many it ran.
    """

    def __init__(self, presses: set[int]):
        self.presses, self.lines, self.where = presses, 0, ""

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            self.lines += 1
            if self.lines in self.presses:
                self.where = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
                signal.raise_signal(signal.SIGINT)
        return self._line

    def run(self, use: Callable[[], Any]) -> BaseException | None:
        """What came out of it."""
        before = sys.gettrace()
        sys.settrace(
            lambda frame, event, argument: self._line if frame.f_code.co_filename.startswith(PACKAGE) else None
        )
        try:
            use()
        except BaseException as error:
            return error
        finally:
            sys.settrace(before)
        return None


class Keyboard:
    """A person who presses Ctrl-C at given seconds while `run` runs a function again and again; outside of it a press
    is nothing.
    """

    def __init__(self, delays: list[float]):
        self.delays, self.out = delays, Counter()

    def _handler(self, number: int, frame: FrameType | None) -> None:
        at = sys._getframe()
        while at is not None and at.f_code is not Keyboard._once.__code__:
            at = at.f_back
        if at is not None:
            raise KeyboardInterrupt

    def _once(self, use: Callable[[], Any]) -> None:
        use()

    def _press(self) -> None:
        for delay in self.delays:
            time.sleep(delay)
            os.kill(os.getpid(), signal.SIGINT)

    def run(self, use: Callable[[], Any]) -> BaseException | None:
        before = signal.signal(signal.SIGINT, self._handler)
        finger = threading.Thread(target=self._press)
        finger.start()
        wrong = None
        try:
            while finger.is_alive():
                try:
                    self._once(use)
                except KeyboardInterrupt:
                    self.out["interrupted"] += 1
                except BaseException as error:
                    wrong = error
            finger.join()
        finally:
            signal.signal(signal.SIGINT, before)
        return wrong


def together(*uses: Callable[[], Any], seconds: float = 60) -> BaseException | None:
    """Runs functions in threads of their own that take turns after microseconds; what one of them raised that is no
    refusal of the library's own.
    """
    wrong: list[BaseException] = []

    def run(use: Callable[[], Any]) -> None:
        try:
            use()
        except lens.Error:
            pass
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=run, args=(use,), daemon=True) for use in uses]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(seconds)
    finally:
        sys.setswitchinterval(interval)
    if any(thread.is_alive() for thread in threads):
        return TimeoutError(f"a thread had not ended after {seconds} s")
    return wrong[0] if wrong else None


# -- rounds ------------------------------------------------------------------------------------------------------------


@dataclass
class Rounds:
    """Counts of rounds by way; `left` by what was left, `wrong` by what came out that is neither KeyboardInterrupt nor
    the library's own.
    """

    done: Counter = field(default_factory=Counter)
    left: Counter = field(default_factory=Counter)
    wrong: Counter = field(default_factory=Counter)

    def judge(self, subject: Subject, way: str, what: str, error: BaseException | None, restore: bool = False) -> None:
        """Counts one round; a subject of which something is left is made anew."""
        self.done[way] += 1
        if error is not None and not isinstance(error, (KeyboardInterrupt, lens.Error)):
            self.wrong[f"{subject.name}, {what}, {way}: {type(error).__name__}: {str(error)[:160]}"] += 1
        try:
            if restore:
                lens.restore(subject.model)
            left = subject.left()
        except BaseException as failed:
            left = f"looking at it failed: {type(failed).__name__}: {failed}"
        if left is not None:
            self.left[f"{subject.name}, {what}, {way}: {left[:160]}"] += 1
            signal.signal(signal.SIGINT, signal.default_int_handler)
            subject.__post_init__()

    def figures(self) -> dict[str, Any]:
        return {
            "interruptions": sum(self.done.values()),
            "edits_left": sum(self.left.values()),
            "interruptions_by_way": dict(self.done),
            "edits_left_where": dict(self.left),
            "interruptions_wrong": sum(self.wrong.values()),
            "interruptions_wrong_what": dict(self.wrong),
        }


@contextlib.contextmanager
def terminal() -> Iterator[None]:
    """Ctrl-C as in a terminal: what is started in the background may have it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def at_lines(rounds: Rounds, subject: Subject, what: str, some: int, draw: random.Random) -> None:
    """Ctrl-C at lines spread over all that a use runs, once; and twice, the second some lines later: within what the
    first one set going.
    """

    def use():
        return subject.uses[what]()  # a subject of which something was left is made anew

    counted = Traced(set())
    counted.run(use)  # the first run of a use may prepare more
    counted = Traced(set())
    counted.run(use)
    for i in range(some):
        at = 1 + int((i + draw.random()) * counted.lines / some)
        for way, presses in (("line", {at}), ("two lines", {at, at + draw.randint(1, 60)})):
            rounds.judge(subject, way, what, Traced(presses).run(use))


def at_times(rounds: Rounds, subject: Subject, what: str, some: int, draw: random.Random) -> None:
    """Ctrl-C at random times of a use that is run again and again, once and twice."""

    def use():
        return subject.uses[what]()  # a subject of which something was left is made anew

    began = time.perf_counter()
    use()
    took = time.perf_counter() - began
    for _ in range(some):
        for way, delays in (
            ("time", [draw.random() * 2 * took]),
            ("two times", [draw.random() * 2 * took, draw.random() * took / 4]),
        ):
            rounds.judge(subject, way, what, Keyboard(delays).run(use))


def in_threads(rounds: Rounds, subject: Subject, some: int, draw: random.Random) -> None:
    """Two threads with one model, each with a change or a computation of its own; and one of them interrupted while
    the other computes.
    """

    def again(what: str, times: int = 5) -> Callable[[], None]:
        def use() -> None:
            for _ in range(times):
                with contextlib.suppress(lens.Error):  # refused: the other one has it
                    subject.uses[what]()

        return use

    def swept() -> None:
        for _ in range(5):
            with contextlib.suppress(lens.Error):
                got = subject.sweep()
                # a sweep that begins and ends while the edit is in force is of the edited model
                if (gap := min(np.abs(got - wanted).max() for wanted in subject.wanted.values())) > 1e-4:
                    raise ArithmeticError(f"a sweep's numbers are off by {gap:.2g}: they are of no one model")

    for _ in range(some):
        for one, other in (
            ("mask", "mask"),
            ("mask", "curvature edit"),
            ("mask", "lens.edited"),
            ("lens.edited", "lens.edited"),
        ):
            rounds.judge(subject, "threads", f"{one} and {other}", together(again(one), again(other)))
        for one in ("mask", "lens.edited", "curvature edit"):
            rounds.judge(subject, "threads", f"{one} and sweep", together(again(one), swept))
        worker = threading.Thread(target=again("sweep", 8), daemon=True)
        worker.start()
        error = Keyboard([draw.random() * 0.05, draw.random() * 0.02]).run(again("mask", 2))
        worker.join(60)
        rounds.judge(subject, "threads", "mask, interrupted, and sweep", error)


def lost(rounds: Rounds, subject: Subject) -> None:
    """What would undo a change is gone: its handle, its block, its generator, its thread. `lens.restore` is what a
    person then has.
    """

    def entered() -> None:
        lens.edited(subject.model, *EDITS).__enter__()

    def suspended() -> Iterator[None]:
        with subject.mask.applied(subject.model):
            yield

    def generator() -> None:
        next(suspended())

    def thread() -> None:
        if (error := together(lambda: subject.mask.apply(subject.model))) is not None:
            raise error

    for what, lose in {
        "handle of a mask": lambda: subject.mask.apply(subject.model),
        "block of lens.edited": entered,
        "generator": generator,
        "thread with a mask": thread,
    }.items():
        error = None
        try:
            lose()
        except BaseException as raised:
            error = raised
        gc.collect()
        rounds.judge(subject, "lost", what, error, restore=True)


def deleted(rounds: Rounds, subject: Subject) -> None:
    """A view of which an edit is in force is deleted: its cell is run again, or the person restores the model."""
    import widgets

    def cell() -> Any:
        bench = widgets.SubspaceBench(
            subject.model,
            ROWS[:4],
            ROWS[4:8],
            clean=ROWS[8:12],
            sparsities=(0.05, 0.1),
            method="magnitude",
            prefix=8,
            layers=subject.layers,
        )
        bench.run(wait=True)
        bench.at = 1
        bench.put(wait=True)
        if bench.force.get("state") != "in force":
            raise RuntimeError(f"the view did not put its edit in force: {bench.force}, {bench.error}")
        return bench

    for again in (False, True):
        error = None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                bench = cell()
                del bench
                gc.collect()
                if again:
                    cell().undo(wait=True)
        except BaseException as raised:
            error = raised
        rounds.judge(
            subject, "deleted", "a view whose cell is run again" if again else "a view", error, restore=not again
        )


def interrupt(quick: bool = False, seed: int = 0) -> dict[str, Any]:
    """The figures `interruptions` and `edits_left`, with what was left and what came out that should not, in words."""
    rounds, draw = Rounds(), random.Random(seed)
    times = QUICK if quick else FULL
    with terminal(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in MODELS:
            subject = Subject(name)
            for what, (lines, at) in times.items():
                say(f"interruptions: {name}, {what}")
                at_lines(rounds, subject, what, lines, draw)
                at_times(rounds, subject, what, at, draw)
            say(f"interruptions: {name}, threads")
            in_threads(rounds, subject, 1 if quick else 3, draw)
            for _ in range(1 if quick else 5):
                lost(rounds, subject)
            for _ in range(1 if quick else 3):
                deleted(rounds, subject)
    return rounds.figures()
