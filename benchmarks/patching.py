"""Exact activation patching against TransformerLens, nnsight and pyvene, on one model, in one run.

Every measurement of a peer stands between measurements of ours on the same pair and of the machine's matrix-multiply
rate;
medians are compared. Headline ratios are whole against whole: from two encoded (ours: two plain) prompts to the
    finished grid.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import numpy as np
import torch

import lens
from lens.engine import model as engine

from . import machine
from .frame import Frame, worst
from .peers import PEERS, Task, installed
from .subjects import Subject, smollm2, tiny
from .tables import finish, median, number, say, spread, table
from .work import naive_flop, sweep_flop

TOLERANCE = 1e-3
#: Runs of ours before each run of a peer, and after it.
AROUND = 2
OURS = {
    "resid": dict(site="resid_pre", over=("layer", "position"), progress=False),
    "heads": dict(site="z", over=("layer", "head"), progress=False),
}


@dataclass
class Case:
    """One sweep of one pair: which peers run it, and what was measured (seconds, run after run)."""

    name: str
    pair: str
    kind: str
    peers: tuple[str, ...]
    whole: list[float] = field(default_factory=list)
    walk: list[float] = field(default_factory=list)
    first_call: float = math.nan
    value: np.ndarray | None = None
    flop: int = 0
    naive: int = 0
    cache: dict[str, list[float]] = field(default_factory=dict)
    sweep: dict[str, list[float]] = field(default_factory=dict)
    diff: dict[str, float] = field(default_factory=dict)

    def peer_whole(self, peer: str) -> float | None:
        return median([a + b for a, b in zip(self.cache[peer], self.sweep[peer])]) if self.sweep.get(peer) else None

    def ratio(self, peer: str) -> float | None:
        """Peer's time over ours, from the prompts to the finished grid: recording of the unedited runs included on both
        sides.
        """
        theirs = self.peer_whole(peer)
        return None if theirs is None else theirs / median(self.whole)

    def sweep_ratio(self, peer: str) -> float | None:
        """Peer's sweep, its clean run given, over our walk, both unedited runs given."""
        return median(self.sweep[peer]) / median(self.walk) if self.sweep.get(peer) else None

    def rate(self) -> float:
        """GFLOP/s of the walk, nominal operations."""
        return self.flop / median(self.walk) / 1e9


def _cases() -> list[Case]:
    return [
        Case("late", "late", "resid", ("tl", "nnsight", "pyvene")),
        Case("early", "early", "resid", ("tl",)),
        Case("heads_late", "late", "heads", ("tl", "nnsight")),
        Case("heads", "early", "heads", ("tl", "nnsight")),
    ]


@contextmanager
def _walks() -> Iterator[list[float]]:
    """Collects the seconds of every walk that a call of ours makes."""
    seconds, walk = [], engine.walk

    def measured(*args, **kwargs):
        began = time.perf_counter()
        try:
            return walk(*args, **kwargs)
        finally:
            seconds.append(time.perf_counter() - began)

    with mock.patch.object(engine, "walk", measured):
        yield seconds


class Benchmark(Frame):
    """The cases, ours around each peer's."""

    def __init__(self, subject: Subject, peers: Sequence[str], repeats: int, quick: bool):
        super().__init__(subject, repeats, quick)
        self.cases = _cases()
        self.absent, self.failed, self.peers = [], {}, {}
        for name in peers:
            if installed(name):
                self._try(name, lambda: self.peers.__setitem__(name, PEERS[name](subject.copy(), subject.tokenizer)))
            else:
                self.absent.append(name)
                say(f"{PEERS[name].title} is not installed and is left out; `pip install '.[bench]'` brings it")
        self.tasks = {}
        for name, pair in subject.pairs.items():
            e = lens.encode(subject.tokenizer, pair)
            self.tasks[name] = Task(e.clean_ids[None], e.corrupted_ids[None], e.answer_ids[0], e.foil_ids[0])
        for case in self.cases:
            task = self.tasks[case.pair]
            case.flop = sweep_flop(subject.config, case.kind, task.clean[0].tolist(), task.corrupted[0].tolist())
            case.naive = naive_flop(subject.config, case.kind, task.clean.shape[1])

    def _try(self, peer: str, call):
        """A peer that fails is left out from then on, and the run fails at its end."""
        try:
            return call()
        except Exception as error:
            self.failed[peer] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            self.peers.pop(peer, None)
            say(f"{PEERS[peer].title} failed and is left out: {self.failed[peer]}")
            return None

    def ours(self, case: Case) -> None:
        pair = self.subject.pairs[case.pair]
        with _walks() as walks:
            seconds, ds = machine.timed(lambda: lens.patch(self.subject.bridge, pair, **OURS[case.kind]))
        if case.value is None:
            case.value, case.first_call = (
                ds.value.values,
                seconds,
            )  # the first call warms up and is not among the timings
            return
        case.whole.append(seconds), case.walk.append(sum(walks))

    def peer(self, case: Case, name: str) -> None:
        peer, task = self.peers[name], self.tasks[case.pair]
        with torch.no_grad():
            cache_seconds, cache = machine.timed(lambda: peer.cache(task, case.kind))
            seconds, value = machine.timed(lambda: peer.sweep(task, case.kind, cache))
        case.cache.setdefault(name, []).append(cache_seconds)
        case.sweep.setdefault(name, []).append(seconds)
        difference = np.abs(np.asarray(value.detach(), dtype=np.float64) - case.value)
        case.diff[name] = worst(case.diff.get(name, 0.0), float(difference.max()))

    def measure(self) -> None:
        for case in self.cases:
            self.ours(case)
        for name in list(self.peers):
            # one clean run, so that lazy set-up of a library is not counted
            with torch.no_grad():
                self._try(name, lambda: self.peers[name].cache(self.tasks["late"], "resid"))
        for round_ in range(self.repeats):
            for case in self.cases:
                for name in [p for p in case.peers if p in self.peers] or [None]:
                    self._around(case)
                    if name is not None:
                        say(f"round {round_ + 1} of {self.repeats}: {case.name}, {PEERS[name].title}")
                        self._try(name, lambda: self.peer(case, name))
                    self._around(case)

    def _around(self, case: Case) -> None:
        self.beat()
        for _ in range(AROUND):
            self.ours(case)

    def first_rows(self) -> float:
        """Seconds until a watched sweep of the early pair shows its first rows."""
        began, seen = time.perf_counter(), []
        lens.patch(
            self.subject.bridge,
            self.subject.pairs["early"],
            on_part=lambda ds: seen.append(time.perf_counter() - began),
            stop=lambda: bool(seen),
        )
        return seen[0]

    def report(self, memory: dict[str, float], first_rows: float) -> dict:
        """The JSON line: headline numbers first, then details."""
        by_name = {case.name: case for case in self.cases}
        gemm = median(self.gemm)
        fraction = sum(c.flop for c in self.cases) / sum(median(c.walk) for c in self.cases) / 1e9 / gemm
        diffs = [d for case in self.cases for d in case.diff.values()]

        def ratio(case, peer):
            return by_name[case].ratio(peer)

        return {
            "ratio_tl_late": ratio("late", "tl"),
            "ratio_tl_early": ratio("early", "tl"),
            "ratio_tl_heads": ratio("heads", "tl"),
            "ratio_tl_heads_late": ratio("heads_late", "tl"),
            "ratio_nnsight_late": ratio("late", "nnsight"),
            "ratio_pyvene_late": ratio("late", "pyvene"),
            "gemm_fraction": fraction,
            "peak_extra_mb": max(memory.values()),
            "max_abs_diff": max(diffs) if diffs else None,
            "ratio_nnsight_heads": ratio("heads", "nnsight"),
            "ratio_nnsight_heads_late": ratio("heads_late", "nnsight"),
            "sweep_ratios": {f"{p}_{c.name}": c.sweep_ratio(p) for c in self.cases for p in c.peers},
            "gemm_fractions": {c.name: c.rate() / gemm for c in self.cases},
            "gemm_gflops": gemm,
            "first_rows_s": first_rows,
            "seconds": {c.name: median(c.whole) for c in self.cases},
            "peak_extra_mb_each": memory,
        }


def memory_of(subject: Subject) -> tuple[dict[str, float], str]:
    """MiB that each sweep adds at its highest, `memory_mb` left at its default; and how that was read."""
    bridge, early, many = subject.bridge, subject.pairs["early"], subject.many
    calls = {"resid": (early, "resid"), "heads": (early, "heads"), f"resid_{len(many)}_pairs": (many, "resid")}
    lens.patch(
        bridge, subject.pairs["late"], layers=[-1]
    )  # weights read from disk and the check of the model are not the sweep's
    out = {}
    for name, (pairs, kind) in calls.items():
        say(f"memory: {name}")
        with machine.peak_memory() as peak:
            lens.patch(bridge, pairs, **OURS[kind])
        out[name] = peak.extra_mb
    return out, peak.how


def show(bench: Benchmark, report: dict, how: str) -> str:
    """The readable tables; `how` the memory was read."""
    titles = {
        "late": "resid_pre, late pair",
        "early": "resid_pre, early pair",
        "heads_late": "z heads, late pair",
        "heads": "z heads, early pair",
    }
    rows = [("sweep", "by", "clean run s", "sweep s", "whole s", "min-max s", "ratio whole", "ratio sweep", "max diff")]
    gemm = report["gemm_gflops"]
    for case in bench.cases:
        rows.append(
            (
                titles[case.name],
                "Mnemoscope",
                number(median(case.whole) - median(case.walk)),
                number(median(case.walk)),
                number(median(case.whole)),
                spread(case.whole),
                "1",
                "1",
                "",
            )
        )
        for name in case.peers:
            if case.sweep.get(name):
                cached = PEERS[name].caches
                rows.append(
                    (
                        "",
                        PEERS[name].title,
                        number(median(case.cache[name])) if cached else "(in sweep)",
                        number(median(case.sweep[name])),
                        number(case.peer_whole(name)),
                        spread(case.sweep[name]),
                        number(case.ratio(name)),
                        number(case.sweep_ratio(name)),
                        f"{case.diff[name]:.1e}",
                    )
                )
    work = [("walk", "", "GFLOP needed", "GFLOP of full passes", "GFLOP/s", "of GEMM", "first call s", "runs")]
    for case in bench.cases:
        work.append(
            (
                titles[case.name],
                "",
                number(case.flop / 1e9),
                number(case.naive / 1e9),
                number(case.rate()),
                number(case.rate() / gemm),
                number(case.first_call),
                str(len(case.whole)),
            )
        )
    memory = "  ".join(f"{name} {mb:.0f}" for name, mb in report["peak_extra_mb_each"].items())
    return "\n".join(
        [
            (
                f"exact activation patching, {bench.subject.name}, 16 tokens, float32, {torch.get_num_threads()}"
                " threads; medians"
            ),
            "",
            table(rows),
            "",
            (
                "whole: from the prompts to the finished grid. Ours encodes, records both runs, walks and labels"
                " ('clean run' is all but the walk);"
            ),
            "       theirs records the clean run and sweeps. The headline ratios are whole against whole.",
            "sweep: the edited runs alone, unedited runs given (pyvene makes the clean run again in every call).",
            "",
            table(work),
            "",
            (
                f"GEMM {bench.gemm_size}^3: median {gemm:.0f} GFLOP/s (min-max {spread(bench.gemm)}); all walks"
                f" together attain {report['gemm_fraction']:.2f} of it"
            ),
            f"peak extra memory, MiB ({how}): {memory}",
            f"first rows of a watched sweep of the early pair after {report['first_rows_s']:.2f} s",
        ]
    )


def run(*, quick: bool, peers: Sequence[str], repeats: int, file: Path | None) -> int:
    """Measures, prints the tables and, last, one JSON line; returns 1 where numbers differ or a peer failed, else 0.
    Raises LoadError where the model is missing.
    """
    machine.set_threads()
    watch = machine.Watch()
    subject = tiny() if quick else smollm2()
    # memory first: peers leave freed and cached memory behind, in which ours could hide
    memory, how = memory_of(subject)
    bench = Benchmark(subject, peers, repeats, quick)
    with machine.settled():
        bench.measure()
    report = bench.report(memory, bench.first_rows())
    report["machine"] = watch.end()
    report |= {"quick": quick, "model": subject.name, "left_out": bench.absent, "failed": bench.failed}
    runs = {
        c.name: {
            "whole": c.whole,
            "walk": c.walk,
            "cache": c.cache,
            "sweep": c.sweep,
            "max_abs_diff": c.diff,
            "first_call": c.first_call,
            "gflop": c.flop / 1e9,
        }
        for c in bench.cases
    }
    agree = finish(
        report,
        lambda made: show(bench, made, how),
        speeds=[bench.gemm],
        tolerance=TOLERANCE,
        what="numbers",
        more={"runs": runs, "gemm_runs": bench.gemm},
        file=file,
    )
    return 0 if agree and not bench.failed else 1
