"""The subspace benchmark itself works: a quick run prints what it promises, its explicit sums are those of single
tokens, and wrong numbers or work done twice are noticed.
"""

import json
import math
import sys

import numpy as np
import pytest
import torch

from benchmarks import subspace as benchmark
from benchmarks._subspace_peer import PlainPasses, counted
from lens import curvature
from lens.engine.weights import Undo, _WeightWrite
from lens.scoring.likelihood import plain
from lens.subspace import sums
from tests.curvature import naive

# the package's names of these mean their functions
curve, eigen, factors = (sys.modules[f"lens.curvature.{name}"] for name in ("curve", "eigen", "factors"))
KEYS = (
    "scores_over_forward",
    "kfac_over_backward",
    "peak_extra_mb",
    "sweep_point_seconds",
    "max_abs_diff",
    "scores_over_body",
    "kfac_over_activations",
    "memory_mb",
    "seconds",
    "mask",
    "machine",
    "data",
    "quick",
)


@pytest.fixture(scope="module")
def subject():
    return benchmark.tiny()


@pytest.mark.long
def test_quick_run_prints_tables_and_one_json_line_last(tmp_path, benchmark_command):
    code, printed = benchmark_command("subspace", "--quick", "--repeats", "1", "--json", str(tmp_path / "all.json"))
    assert code == 0, printed.err
    lines = printed.out.strip().splitlines()
    report = json.loads(lines[-1])
    assert all(key in report for key in KEYS) and report["quick"] is True
    assert report["scores_over_forward"] > 0 and report["kfac_over_backward"] > 0 and report["peak_extra_mb"] > 0
    assert (
        report["sweep_point_seconds"].keys() == {"mask", "curvature"}
        and min(report["sweep_point_seconds"].values()) > 0
    )
    assert (
        0 < report["max_abs_diff"] <= benchmark.TOLERANCE and all(report["same"].values()) and len(report["same"]) == 5
    )
    # two blocks of three matrices: gate and up share an input, so five factors a block
    assert report["runs"] == {
        "decompose": 10,
        "decompose_again": 0,
        "mask_sweep": 11,
        "mask_evaluations": 11,
        "curvature_sweep": 11,
        "curvature_evaluations": 11,
    }
    assert report["mask"]["bytes"] < report["mask"]["bytes_dense"] == 12 * 48 * 96
    assert any("forward + backward" in line for line in lines) and any("a further point" in line for line in lines)
    every = json.loads((tmp_path / "all.json").read_text())["runs_seconds"]
    assert (
        len(every["statistics"]) == len(every["backward"]) == 1 and len(every["mask"]) == len(every["curvature"]) == 10
    )


@pytest.mark.long
def test_plain_passes_stand_for_all_rows_and_ratios_are_ours_over_them(subject, monkeypatch):
    bench = benchmark.Benchmark(subject, 1, True)
    taken, passed = [], []
    monkeypatch.setattr(benchmark.machine, "timed", lambda call: (call(), (float(len(taken)), None))[1])
    for name in ("forward", "body"):
        monkeypatch.setattr(bench.peer, name, lambda ids, name=name: taken.append((name, len(ids))))
    batches = subject.inputs.split(5)
    bench.around("statistics", lambda: passed.append(len(taken)), batches, "forward", "body")
    # 40 rows, eight batches: one in two, one in four; ours in the middle
    assert [n for n, _ in taken] == ["forward"] * 2 + ["body"] + ["forward"] * 2 + ["body"] and passed == [3]
    # "seconds": passes so far, 2 and 5 for 20 rows, 3 and 6 for 10
    assert (
        bench.times.forward == [7 / 20 * 40] and bench.times.body == [9 / 10 * 40] and bench.times.statistics == [3.0]
    )


def test_what_the_plain_model_saw_is_that_of_every_token(tiny):
    ids = np.random.default_rng(0).integers(0, 97, (3, 7))
    names = ["model.layers.0.mlp.gate_proj", "model.layers.2.mlp.down_proj"]
    seen = PlainPasses(tiny("llama")).seen(torch.from_numpy(ids), names)
    x, g = naive.tokens_of(tiny("llama"), ids, ids[:, 1:], names)
    for name in names:
        for ours, theirs in zip(seen[name], (x[name], g[name])):
            assert ours.shape == theirs.shape == (18, ours.shape[1])
            torch.testing.assert_close(
                ours.T @ ours, theirs.T @ theirs, rtol=1e-4, atol=1e-5 * float((theirs.T @ theirs).abs().max())
            )


def test_the_plain_backwards_differ_in_the_weights_gradients(tiny):
    model, ids = tiny("llama"), torch.randint(0, 97, (2, 6))
    peer, weight = PlainPasses(model), model.model.layers[0].mlp.up_proj.weight
    seen = []
    handle = weight.requires_grad_(True).register_post_accumulate_grad_hook(
        lambda p: seen.append(float(p.grad.abs().sum()))
    )
    weight.requires_grad_(False)
    peer.activations(ids)
    assert not seen
    peer.backward(ids)
    handle.remove()
    assert len(seen) == 1 and seen[0] > 0
    assert not any(p.requires_grad or p.grad is not None for p in model.parameters()), "the model is left as it was"


def broken_statistics(monkeypatch):
    lines_of = sums.lines_of
    monkeypatch.setattr(sums, "lines_of", lambda each, rows: lines_of(each, rows) * 1.001)


def broken_factors(monkeypatch):
    # the last block is left out
    add = factors.add_gram
    monkeypatch.setattr(factors, "add_gram", lambda total, x, *first: (add(total, x, *first), total[-9:].zero_()))


def broken_gradients(monkeypatch):
    add = factors.add_gram
    broken = lambda total, x, *first: add(total, x * float("nan") if x.shape[1] == 96 else x, *first)  # noqa: E731
    monkeypatch.setattr(factors, "add_gram", broken)


@pytest.mark.parametrize("how", [broken_statistics, broken_factors, broken_gradients])
def test_wrong_sums_are_noticed(how, subject, monkeypatch):
    how(monkeypatch)
    bench = benchmark.Benchmark(subject, 1, True)
    bench.check()
    assert bench.gap > benchmark.TOLERANCE
    assert math.isinf(bench.gap) is (how is broken_gradients)


@pytest.mark.long
def test_weights_that_do_not_come_back_end_a_run_with_1(monkeypatch, capsys):
    undo, undone = Undo.undo, []

    def almost(self):
        written = [step.__self__ for step in self._back if isinstance(getattr(step, "__self__", None), _WeightWrite)]
        kept = [one.parameter for one in written]
        undo(self)
        if kept:
            undone.append(len(kept))
        # after the last of ten masks and ten edits: any earlier, and the next edit would refuse the weights
        if kept and len(undone) == 20:
            with torch.no_grad():
                kept[0].view(-1)[:8] *= 1 + 1e-6

    monkeypatch.setattr(Undo, "undo", almost)
    threads = torch.get_num_threads()
    try:
        assert benchmark.run(quick=True, repeats=1, file=None) == 1
    finally:
        torch.set_num_threads(threads)
    out = capsys.readouterr().out
    report = json.loads(out.strip().splitlines()[-1])
    assert undone == [12] * 10 + [6] * 10 and report["max_abs_diff"] is None and "weights differ by inf" in out
    assert [what for what, yes in report["same"].items() if not yes] == ["weights_restored"]


def test_statistics_computed_again_in_a_sweep_are_an_error(subject, monkeypatch):
    bench = benchmark.Benchmark(subject, 1, True)
    made = bench.factors(subject.rows)
    bench.decomposition = curvature.decompose(bench.core, made)
    keep = curve.keep
    monkeypatch.setattr(
        curve, "keep", lambda *args, **options: (bench.core(subject.rows[:1]), keep(*args, **options))[1]
    )
    with pytest.raises(RuntimeError, match="21 times for 11 evaluations"):
        bench.curve()
    with pytest.raises(RuntimeError, match="1 eigendecompositions"), bench.reused("mask"):
        eigen.eigen(torch.eye(3))
    assert (
        torch.linalg.eigh(torch.eye(2)).eigenvalues.tolist() == [1, 1]
        and not bench.core.get_input_embeddings()._forward_pre_hooks
    )


def test_runs_are_counted_whole_and_without_a_head(subject):
    core = plain(subject.model.bridge)
    with counted(core) as count:
        core(subject.rows[:1])
        core.base_model(subject.rows[:1])
        torch.linalg.eigh(torch.eye(2))
    core(subject.rows[:1])
    assert count == {"model": 2, "eigh": 1}


def test_rows_are_cut_from_the_texts_in_order(subject):
    tokenizer = subject.model.tokenizer
    rows = benchmark.rows_of(tokenizer, ["The capital of", "is"], 2, 2)
    ids = tokenizer("The capital of is", add_special_tokens=False)["input_ids"]
    assert rows.flatten().tolist() == [*ids[:3], tokenizer.eos_token_id]
    with pytest.raises(ValueError, match="have 6 tokens"):
        benchmark.rows_of(tokenizer, ["The capital of", "is"], 2, 4)
    texts = benchmark.texts()
    assert (
        texts == benchmark.texts()
        and len(texts) == len(set(texts))
        and len(subject.rows) == 40
        and len(subject.others) == 8
    )
