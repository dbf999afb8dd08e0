"""The diffusion benchmark itself works: a quick run prints what it promises, its single pictures are those of the
tests' loop, and wrong sums or runs made again are noticed.
"""

import json
import math
from dataclasses import replace

import pytest
import torch

from benchmarks import diffusion as benchmark
from benchmarks._diffusion_peer import OneAtATime, counted
from lens.diffusion import activations, localisation
from lens.engine.change_registry import WEIGHTS, core_of
from lens.engine.changes import Undo
from tests.diffusion import naive

KEYS = (
    "hooked_over_plain",
    "images_per_second",
    "peak_extra_mb",
    "any_set_seconds",
    "max_abs_diff",
    "ratio_peer",
    "images_per_second_plain",
    "memory_mb",
    "gaps",
    "same",
    "seconds",
    "runs",
    "data",
    "machine",
    "quick",
)


@pytest.fixture(scope="module")
def subject():
    return benchmark.subject(quick=True)


@pytest.mark.long
def test_quick_run_prints_tables_and_one_json_line_last(tmp_path, benchmark_command):
    code, printed = benchmark_command("diffusion", "--quick", "--repeats", "2", "--json", str(tmp_path / "all.json"))
    assert code == 0, printed.err
    lines = printed.out.strip().splitlines()
    report = json.loads(lines[-1])
    assert all(key in report for key in KEYS) and report["quick"] is True and report["repeats"] == 2
    assert min(report[key] for key in ("hooked_over_plain", "images_per_second", "any_set_seconds", "ratio_peer")) > 0
    assert (
        0 < report["max_abs_diff"] <= benchmark.TOLERANCE
        and all(report["same"].values())
        and len(report["same"]) == 5
        and report["gaps"].keys() == {"pictures", "energy", "unit_energy"}
    )
    # 12 pictures are one batch of three steps
    assert report["runs"] == {"sets": 0, "stored": 3, "from_disk": 0} and report["data"]["mask"]["chosen"] > 0
    assert (report["data"]["captions"], report["data"]["seeds"], report["data"]["layers"]) == (6, 2, 7)
    assert any("denoising with statistics of 7 layers" in line for line in lines) and any(
        "target: at most 1.2" in line for line in lines
    )
    every = json.loads((tmp_path / "all.json").read_text())["runs_seconds"]
    assert {name: len(values) for name, values in every.items()} == {"plain": 2, "hooked": 2, "single": 2, "set": 3}


@pytest.mark.long
def test_ratios_are_of_rounds_and_rounds_take_turns(subject, monkeypatch):
    bench, order, clock = (
        benchmark.Benchmark(subject, 3, True),
        [],
        iter([4.0, 5.0, 9.0, 2.0, 2.0, 10.0, 8.0, 9.0, 2.0]),
    )
    monkeypatch.setattr(bench, "check", lambda: setattr(bench, "checked", {}))
    monkeypatch.setattr(bench, "beat", lambda: bench.gemm.append(1.0))

    def timed(call):
        if len(order) == 9:
            return 0.5, call()
        order.append(getattr(call, "__name__", "?"))
        return next(clock), call() if order[-1] == "hooked" else None

    monkeypatch.setattr(benchmark.machine, "timed", timed)
    bench.disk_mb = 0.0
    bench.measure()
    assert [name for name in order if name != "<lambda>"] == ["plain", "hooked", "hooked", "plain", "plain", "hooked"]
    assert bench.times.plain == [4, 2, 8] and bench.times.hooked == [5, 2, 9] and bench.times.single == [9, 10, 2]
    report = bench.report()
    assert (
        report["hooked_over_plain"] == pytest.approx(9 / 8)
        and report["images_per_second"] == pytest.approx(12 / 5)
        and report["any_set_seconds"] == 0.5
    )
    assert report["ratio_peer"] == pytest.approx(9 / (5 / 12))


@pytest.mark.long
def test_single_pictures_and_their_sums_are_those_of_the_tests_own_loop(subject):
    captions = subject.memorised[:2]
    pictures, found = OneAtATime(subject.pipeline).run(captions, (4, 5), 3, 3.0)
    expected, _ = naive.sums(subject.pipeline, captions, (4, 5), 3, 3.0)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=2e-3, atol=1e-5 * float(value.max()))
    for caption, row in zip(captions, pictures, strict=True):
        for seed, picture in zip((4, 5), row, strict=True):
            torch.testing.assert_close(
                picture, naive.denoise(subject.pipeline, caption, seed, 3, 3.0)[0], atol=1e-3, rtol=0
            )
    assert naive.hooks(subject.pipeline.unet) == 0


def wrong_sums(monkeypatch):
    statistics = activations.statistics

    def off(*args, **options):
        made = statistics(*args, **options)
        return replace(
            made, sums={name: value * (1 + 0.02 * (at == 3)) for at, (name, value) in enumerate(made.sums.items())}
        )

    monkeypatch.setattr(benchmark.diffusion, "statistics", off)


def halves_changed_over(monkeypatch):
    statistics = activations.statistics

    def off(*args, **options):
        made = statistics(*args, **options)
        return replace(made, sums={name: value.flip(2) for name, value in made.sums.items()})

    monkeypatch.setattr(benchmark.diffusion, "statistics", off)


def not_a_number(monkeypatch):
    denoise = benchmark.diffusion.denoise

    def off(*args, **options):
        made = denoise(*args, **options)
        return replace(made, images=made.images * float("nan"))

    monkeypatch.setattr(benchmark.diffusion, "denoise", off)


@pytest.mark.parametrize("how", [wrong_sums, halves_changed_over, not_a_number])
def test_wrong_numbers_are_noticed(how, subject, monkeypatch):
    how(monkeypatch)
    bench = benchmark.Benchmark(subject, 1, True)
    bench.check()
    assert bench.gap > benchmark.TOLERANCE and math.isinf(max(bench.gaps.values())) is (how is not_a_number)


def test_a_watch_that_changes_the_picture_is_noticed(subject, monkeypatch):
    bench, watching = benchmark.Benchmark(subject, 1, True), benchmark.watching

    def meddling(pipeline, captions):
        sums, watch = watching(pipeline, captions)

        def around(step):
            step.latents.mul_(1 + 1e-3)
            return watch(step)

        return sums, around

    monkeypatch.setattr(benchmark, "watching", meddling)
    bench.check()
    assert bench.same["pictures_equal"] is False and math.isinf(bench.gap)


@pytest.mark.long
def test_weights_that_do_not_come_back_end_a_run_with_1(monkeypatch, capsys):
    undo = Undo.undo

    def almost(self):
        edited = self.kind == WEIGHTS and self.in_force
        undo(self)
        if edited:
            with torch.no_grad():
                next(core_of(self._model).parameters()).view(-1)[:8] *= 1 + 1e-6

    monkeypatch.setattr(Undo, "undo", almost)
    threads = torch.get_num_threads()
    try:
        assert benchmark.run(quick=True, repeats=1, file=None) == 1
    finally:
        torch.set_num_threads(threads)
    report = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert report["max_abs_diff"] is None and [what for what, yes in report["same"].items() if not yes] == [
        "weights_restored"
    ]


@pytest.mark.long
def test_a_run_for_sums_that_are_there_is_an_error(subject, monkeypatch):
    bench = benchmark.Benchmark(subject, 1, True)
    bench.sums = bench.hooked()
    bench.reuse()
    locate = localisation.locate
    monkeypatch.setattr(
        benchmark.diffusion,
        "locate",
        lambda pipeline, *args, **options: (bench.plain(), locate(pipeline, *args, **options))[1],
    )
    with pytest.raises(RuntimeError, match="ran 9 times for masks"):
        bench.reuse()


def test_runs_are_counted_by_their_rows(subject):
    with counted(subject.pipeline.unet) as rows:
        bench = benchmark.Benchmark(subject, 1, True)
        bench.plain()
    assert rows == [24, 24, 24] and naive.hooks(subject.pipeline.unet) == 0
