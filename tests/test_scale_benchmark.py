"""The parts of the benchmark `scale` work: each gives its figures."""

import subprocess
from pathlib import Path

import pytest

from benchmarks import scale
from benchmarks.before import ROOT, BeforeError, commit_of


@pytest.mark.long
def test_kfac_beside_an_earlier_build_gives_its_figures():
    from benchmarks import scale_kfac

    there = subprocess.run(["git", "cat-file", "-e", f"{commit_of('scale')}^{{commit}}"], cwd=ROOT, capture_output=True)
    if there.returncode:
        pytest.skip("a shallow clone: the earlier build is not in its history")
    figures = scale_kfac.run(True)
    assert "why" not in figures, figures["why"]
    assert set(scale.FIGURES["kfac"]) <= set(figures)
    assert figures["kfac_peak_over_before"] > 0 and figures["kfac_time_over_before"] > 0
    assert 0 <= figures["kfac_max_rel_diff"] < 1e-5
    assert figures["kfac"]["now"]["kept_mb"] == figures["kfac"]["before"]["kept_mb"] > 0


def test_kfac_without_an_earlier_build_says_why_and_keeps_its_own_figures(monkeypatch):
    from benchmarks import scale_kfac

    monkeypatch.setattr(scale_kfac, "commit_of", lambda name: (_ for _ in ()).throw(BeforeError("no line")))
    monkeypatch.setattr(scale_kfac, "_call", lambda root, call, quick, file=None: {"peak_mb": 1.0, "seconds": 2.0})
    assert scale_kfac.run(True) == {
        "curvature_peak_mb": 1.0,
        "subspace_peak_mb": 1.0,
        "kfac_now": {"peak_mb": 1.0, "seconds": 2.0},
        "why": "no line",
    }


@pytest.mark.long
@pytest.mark.slow
def test_workers_give_their_figures_and_the_stores_are_equal():
    from benchmarks import scale_ray, scale_workers

    pytest.importorskip("ray", reason="ray is an optional extra: pip install 'mnemoscope[ray]'")
    figures = scale_ray.run(True)
    assert set(scale.FIGURES["ray"]) <= set(figures)
    assert figures["store_bytes_equal"] is True and figures["ray_two_workers"] > 0 and figures["ray_pairs"] > 3
    if not Path("/proc/self/smaps_rollup").exists():
        pytest.skip("this system does not say what memory of a process is its own")
    shared = scale_workers.run(True)
    assert set(scale.FIGURES["workers"]) <= set(shared) and shared["shared_weights_over_size"] <= 0.2


def test_a_sweep_over_blocks_on_disk_gives_its_figures():
    from benchmarks import scale_offload

    figures = scale_offload.run(True)
    assert set(scale.FIGURES["offload"]) <= set(figures)
    assert figures["offload_reads"] == 2 and figures["offload_equal"] and figures["offload_over_resident"] > 0
    assert figures["larger_max_memory_mb"] < figures["larger_mb"] and figures["larger_on_disk"] > 0
    assert figures["larger_equal"]
