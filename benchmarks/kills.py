"""Work that is killed at random times and started again: is it, in the end, bit-equal to what was never disturbed, and
is nothing unfinished taken for whole?

A run of a kind (`_killed.py`) gets SIGKILL after a random part of the time that the whole takes, up to `CHAIN` times
in the same folder, and is then left to finish. After each kill its folder is looked at: what calls itself complete
there must be the whole, bit by bit.
"""

from __future__ import annotations

import random
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from . import _killed
from .tables import say

#: Kills of one run, at most, before it is left to finish.
CHAIN = 3
#: Kills of a kind.
KILLS = 15
#: Seconds after which a process that does not answer is given up.
LONGEST = 600
_context = get_context("forkserver")


class Job:
    """A process that does a kind of work (or looks at it); it is forked from one that has loaded the package."""

    def __init__(self, kind: str, what: str, folder: Path, small: bool):
        self.answers, there = _context.Pipe(duplex=False)
        self.process = _context.Process(target=_killed.run, args=(kind, what, str(folder), small, there), daemon=True)
        self.process.start()
        there.close()

    def answer(self, seconds: float = LONGEST) -> tuple[str, Any]:
        """The next thing that it says; ("nothing", None) where the time passed, ("gone", None) where it was killed."""
        try:
            return self.answers.recv() if self.answers.poll(seconds) else ("nothing", None)
        except EOFError:
            return "gone", None

    def kill(self) -> None:
        self.process.kill()
        self.process.join()


def whole(kind: str, what: str, folder: Path, small: bool) -> tuple[str | None, float]:
    """The digest of work that nobody disturbs, and its seconds once it was ready. Raises RuntimeError where it
    fails.
    """
    job = Job(kind, what, folder, small)
    said, about = job.answer()
    began = time.perf_counter()
    if said == "ready":
        said, about = job.answer()
    took = time.perf_counter() - began
    job.kill()
    if said != "done":
        raise RuntimeError(f"{kind}, {what}: {said}{f': {about}' if about else ''}")
    return about, took


@dataclass
class Tally:
    """Of one kind: kills, those whose run ended bit-equal, looks that took an unfinished folder for whole, and what
    went wrong in words.
    """

    kills: int = 0
    equal: int = 0
    taken: int = 0
    wrong: list[str] = field(default_factory=list)


def killed(kind: str, kills: int, small: bool, seed: int, spoil: Callable[[Path], None] | None = None) -> Tally:
    """Kills a kind of work so often. `spoil`: called with a run's folder before its last start, to see that the judge
    sees.
    """
    draw, tally = random.Random(f"{seed} {kind}"), Tally()
    with tempfile.TemporaryDirectory(prefix="mnemoscope-kills-") as base:
        first = Path(base) / "whole"
        first.mkdir()
        digest, took = whole(kind, "work", first, small)
        if digest is None:
            raise RuntimeError(f"{kind}: work that nobody disturbed did not end complete")
        run = misses = 0
        while tally.kills < kills and misses < 20:
            run += 1
            folder = Path(base) / f"run-{run}"
            folder.mkdir()
            here = _chain(kind, folder, small, min(CHAIN, kills - tally.kills), took, digest, draw, tally)
            misses = 0 if here else misses + 1
            tally.kills += here
            if spoil is not None:
                spoil(folder)
            try:
                again, _ = whole(kind, "work", folder, small)
                tally.equal += here * (again == digest)
                if again != digest:
                    tally.wrong.append(
                        f"run {run}, killed {here} times, ended {'unfinished' if again is None else 'with other bits'}"
                    )
            except RuntimeError as error:
                tally.wrong.append(f"run {run}, killed {here} times: {error}")
            shutil.rmtree(folder, ignore_errors=True)
            say(f"kills of a {kind}: {tally.kills} of {kills}, {tally.equal} bit-equal")
    return tally


def _chain(
    kind: str, folder: Path, small: bool, most: int, took: float, digest: str, draw: random.Random, tally: Tally
) -> int:
    """Kills one run up to `most` times, and looks at its folder after each; how many kills met it at work."""
    for done in range(most):
        job = Job(kind, "work", folder, small)
        if job.answer()[0] != "ready":
            job.kill()
            tally.wrong.append("a process did not become ready")
            return done
        if job.answer(draw.random() * took * 1.5 / CHAIN)[0] != "nothing":
            job.kill()
            return done  # it was quicker
        job.kill()
        with tempfile.TemporaryDirectory(prefix="mnemoscope-kills-look-") as copied:
            shutil.copytree(folder, copied, dirs_exist_ok=True)
            try:
                seen, _ = whole(kind, "look", Path(copied), small)
            except RuntimeError as error:
                tally.wrong.append(f"looking after kill {done + 1}: {error}")
                seen = None
        tally.taken += seen is not None and seen != digest
    return most


def kill(quick: bool = False, seed: int = 0, kinds: tuple[str, ...] = tuple(_killed.KINDS)) -> dict[str, Any]:
    """The figures `kills_bit_equal` (of `kills`) and `taken_for_whole`; two kinds at once, each process with one
    thread.
    """
    _context.set_forkserver_preload(["benchmarks._killed"])
    tallies: dict[str, Tally] = {}
    lock = threading.Lock()

    def one(kind: str) -> None:
        tally = killed(kind, KILLS if not quick else 1 if kind == "reproduction" else 2, quick, seed)
        with lock:
            tallies[kind] = tally

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, sorted(kinds, key=lambda kind: kind != "reproduction")))  # the longest first
    return {
        "kills": sum(t.kills for t in tallies.values()),
        "kills_bit_equal": sum(t.equal for t in tallies.values()),
        "taken_for_whole": sum(t.taken for t in tallies.values()),
        "kills_by_kind": {kind: [t.equal, t.kills] for kind, t in tallies.items()},
        "kills_wrong": {kind: t.wrong for kind, t in tallies.items() if t.wrong},
    }
