"""The benchmark `gpu` works: each part gives its figure on a CPU with a tiny model, each can fail, and without a GPU it
says so.
"""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

import lens
from benchmarks import gpu

CPU = torch.device("cpu")


def last_line(printed):
    return json.loads(printed.strip().splitlines()[-1])


def test_every_part_gives_its_figure(capsys, tmp_path):
    assert gpu.run(device="cpu", quick=True, file=tmp_path / "gpu.json") == 0
    line = last_line(capsys.readouterr().out)
    assert json.loads((tmp_path / "gpu.json").read_text()) == line
    assert not [part["why"] for part in line["parts"].values() if "why" in part]
    assert line["gpu_max_rel_diff_fp32"] == line["gpu_max_rel_diff_bf16"] == 0, "the CPU beside itself"
    assert line["gpu_host_syncs"] == 0
    assert line["gpu_gemm_fraction"] > 0 and line["gpu_scoring_over_forward"] > 0


def test_without_a_gpu_it_says_so_and_ends_well(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.run() == 0
    out = capsys.readouterr()
    line = last_line(out.out)
    assert all(line[key] is None for key in gpu.FIGURES) and "no CUDA device" in line["why"]
    assert "nothing is measured" in out.err


def test_a_part_that_fails_says_why_and_the_others_are_kept(capsys, monkeypatch):
    monkeypatch.setattr(gpu, "matrix_rate", lambda *a: 1 / 0)
    assert gpu.run(device="cpu", quick=True) == 0
    line = last_line(capsys.readouterr().out)
    assert line["gpu_gemm_fraction"] is None and "ZeroDivisionError" in line["parts"]["sweep"]["why"]
    assert line["gpu_host_syncs"] == 0


def test_what_would_begin_too_late_is_left_out(capsys, monkeypatch):
    monkeypatch.setattr(gpu, "LIMIT", -1.0)
    assert gpu.run(device="cpu", quick=True) == 0
    line = last_line(capsys.readouterr().out)
    assert all(line[key] is None for key in gpu.FIGURES)
    assert all("left out" in part["why"] for part in line["parts"].values())


def test_other_numbers_and_waits_are_noticed(monkeypatch):
    patch, calls = lens.patch, []

    def differing(*args, **options):
        made = patch(*args, **options)
        calls.append(1)
        return made if len(calls) <= 2 else made * 1.01

    monkeypatch.setattr(lens, "patch", differing)
    assert 0.005 < gpu.difference(gpu.TINY, torch.float32, CPU) <= 0.011
    monkeypatch.undo()
    made = gpu.model(gpu.TINY, torch.float32, CPU)
    from lens.engine.walk.rows import _Walk

    load = _Walk._load
    monkeypatch.setattr(_Walk, "_load", lambda self, *a: (load(self, *a), self.h.sum().item()))
    with gpu.waits_of_walks(CPU) as found:
        lens.patch(made, gpu.pair(gpu.TINY, made), "resid_pre", progress=False)
    assert len(found) == gpu.TINY.layers


def test_operations_of_a_sweep_are_those_that_its_edited_runs_need():
    """Counted one by one: every edited run, from its position on, through its layer and those after it."""
    size = gpu.TINY
    total = 0
    for layer in range(size.layers):
        for position in range(1, size.tokens):
            for _ in range(layer, size.layers):
                for query in range(position, size.tokens):
                    total += 2 * size.block + 4 * size.hidden * (query + 1)
    assert size.sweep_operations == total
    made = gpu.model(size, torch.float32, CPU)
    shapes = [p.numel() for n, p in made.model.layers[0].named_parameters() if "norm" not in n]
    assert sum(shapes) == size.block
    assert np.isclose(
        sum(p.numel() for p in gpu.model(gpu.TINY, torch.float32, CPU).parameters()), made.num_parameters()
    )


@pytest.mark.long
@pytest.mark.parametrize("absent", ["transformer_lens netCDF4", "transformer_lens", "netCDF4"])
def test_it_runs_without_what_a_gpu_machine_may_lack(absent):
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({absent.split()!r}))\n"
        "from benchmarks import gpu; sys.exit(gpu.run(device='cpu', quick=True))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    line = last_line(done.stdout)
    assert not [part["why"] for part in line["parts"].values() if "why" in part]
