"""The benchmark itself works: a quick run prints what it promises, and its counts and meters can be trusted."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import lens
from benchmarks import machine, patching, subjects, work
from benchmarks.peers import Task

ROOT = Path(__file__).parents[1]
RATIOS = ("ratio_tl_late", "ratio_tl_early", "ratio_tl_heads", "ratio_tl_heads_late")
OTHERS = ("gemm_fraction", "peak_extra_mb", "max_abs_diff")


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", "patching", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )


@pytest.fixture(scope="module")
def subject():
    return subjects.tiny()


def test_quick_run_prints_tables_and_one_json_line_last(tmp_path, benchmark_command):
    words = ("--quick", "--peers", "tl", "--repeats", "1", "--json", str(tmp_path / "all.json"))
    code, printed = benchmark_command("patching", *words)
    assert code == 0, printed.err
    lines = printed.out.strip().splitlines()
    report = json.loads(lines[-1])
    assert all(report[key] > 0 for key in (*RATIOS, *OTHERS)), report
    assert report["max_abs_diff"] <= 1e-3
    assert report["ratio_nnsight_late"] is None and report["ratio_pyvene_late"] is None
    assert report["quick"] is True and report["machine"]["threads"] <= 2 and report["failed"] == {}
    assert sum("TransformerLens" in line for line in lines) == 4, "one row of the table for each of the four sweeps"
    every = json.loads((tmp_path / "all.json").read_text())
    assert set(every["runs"]) == {"late", "early", "heads_late", "heads"}
    assert all(
        len(case["whole"]) == 2 * patching.AROUND and len(case["sweep"]["tl"]) == 1 for case in every["runs"].values()
    )


def test_unknown_peer_and_bad_count_are_named():
    assert "'captum' is not known" in run("--peers", "captum").stderr
    assert "'0' is not a number of runs" in run("--repeats", "0").stderr


def test_missing_package_is_skipped_and_a_failing_peer_fails_the_run(subject, monkeypatch, capsys):
    class Broken:
        title = "Broken"

        def __init__(self, hf, tokenizer):
            raise KeyError("weights")

    monkeypatch.setattr(patching, "installed", lambda name: name != "pyvene")
    monkeypatch.setitem(patching.PEERS, "nnsight", Broken)
    bench = patching.Benchmark(subject, ("nnsight", "pyvene"), 1, True)
    assert bench.absent == ["pyvene"] and list(bench.failed) == ["nnsight"] and "weights" in bench.failed["nnsight"]
    said = capsys.readouterr().err
    assert "pyvene is not installed" in said and "Broken failed" in said


@pytest.mark.parametrize("wrong", [1.0, pytest.param(float("nan"), marks=pytest.mark.long)])
def test_other_numbers_are_noticed(subject, wrong):
    """A peer whose numbers differ, or are no numbers, never passes as equal."""

    class Other:
        def cache(self, task, kind):
            return None

        def sweep(self, task, kind, cache):
            return torch.full((4, 16), wrong)

    bench = patching.Benchmark(subject, (), 1, True)
    case = bench.cases[0]
    bench.ours(case)
    bench.peers["tl"] = Other()
    bench.peer(case, "tl")
    assert not case.diff["tl"] <= patching.TOLERANCE


@pytest.mark.parametrize("pair", ["late", "early"])
@pytest.mark.parametrize("kind", ["resid", "heads"])
def test_nominal_operations_match_those_counted(subject, pair, kind):
    """The formula equals what torch counts in the walk's matrix products, attention left out of both."""
    e = lens.encode(subject.tokenizer, subject.pairs[pair])
    no_attention = work.Shape.attend
    try:
        work.Shape.attend = lambda self, position: 0
        nominal = work.sweep_flop(subject.config, kind, e.clean_ids.tolist(), e.corrupted_ids.tolist())
    finally:
        work.Shape.attend = no_attention
    counted = 0
    from lens.engine import model

    walk = model.walk

    def counting(*args, **kwargs):
        nonlocal counted
        with FlopCounterMode(display=False) as counter:
            result = walk(*args, **kwargs)
        counted += counter.get_total_flops()
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "walk", counting)
        patch.setattr("lens.engine.walk.forward.FEW", 0)  # written-out attention would be counted
        lens.patch(subject.bridge, subject.pairs[pair], **patching.OURS[kind])
    assert nominal == pytest.approx(counted, rel=0.02)
    assert nominal < work.naive_flop(subject.config, kind, len(e))


def test_attention_count_equals_a_sum_over_the_mask(subject):
    shape = work.Shape(subject.config)
    seen = np.tril(np.ones((5, 5))).sum(1)
    assert [shape.attend(p) for p in range(5)] == (4 * seen * shape.d_attn).tolist()


@pytest.mark.long
def test_peak_memory_sees_what_is_freed_inside():
    with machine.peak_memory() as peak:
        torch.ones(16 << 20).max()
    assert 60 <= peak.extra_mb <= 90
    with machine.peak_memory() as nothing:
        pass
    assert nothing.extra_mb < 20


def test_peak_memory_without_the_kernels_mark():
    """In a process of its own: what other tests left behind is given back to the system, or taken again, at times of
    its own choosing.
    """
    code = """
import torch
from benchmarks import machine
machine._reset_high_water = lambda: False
with machine.peak_memory() as peak:
    for _ in range(20):
        torch.ones(16 << 20).max()
print(peak.extra_mb, "2 ms" in peak.how)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    extra, named = done.stdout.split()
    assert 50 <= float(extra) <= 140 and named == "True"


def test_what_programs_use_that_the_benchmark_started_is_not_others(monkeypatch):
    """Of a minute of two cores others had 30 s: 120 in use, of them 50 by this process and 40 by its children."""
    clock = iter([0.0, 60.0])
    monkeypatch.setattr(machine, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    monkeypatch.setattr(machine.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(machine, "_busy_seconds", lambda used=iter([1000.0, 1120.0]): next(used))
    used = iter([(10, 10, 1, 1, 0), (50, 20, 31, 11, 60)])
    monkeypatch.setattr(machine.os, "times", lambda: os.times_result(next(used)))
    assert machine.Bystanders().share() == pytest.approx(30 / 120)


def test_task_scores_the_last_token():
    logits = torch.arange(24.0).view(1, 3, 8)
    assert Task(None, None, answer=5, foil=2).score(logits).tolist() == [3.0]
