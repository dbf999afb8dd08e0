"""Sweeps on a real local Ray: workers that are killed, a driver that is killed, two drivers on one store. One cluster
of four processors serves all.
"""

import os
import signal
import subprocess
import sys

import pytest
import torch

pytest.importorskip("ray", reason="ray is an optional extra: pip install 'mnemoscope[ray]'")

import lens
from lens.cluster.sweeps import SweepTasks
from lens.results.store import Store
from tests import local_ray
from tests.cluster.test_sweeps import PAIRS, SMALL, same, same_files
from tests.models import speaking

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    import ray

    os.environ["MNEMOSCOPE_CACHE"] = str(tmp_path_factory.mktemp("cache"))  # the workers inherit it
    local_ray.start(num_cpus=4, num_gpus=2)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield ray
    torch.set_num_threads(before)
    ray.shutdown()
    del os.environ["MNEMOSCOPE_CACHE"]


def run(**more):
    return lens.patch(speaking(), PAIRS, progress=False, memory_mb=SMALL, **more)


def test_workers_give_the_same_bits_and_one_that_is_killed_loses_nothing(cluster, tmp_path):
    here = run(store=tmp_path / "here.zarr")
    with lens.cluster.Ray(workers=2) as stays:
        assert same(here, run(store=tmp_path / "two.zarr", backend=stays))
        assert same_files(tmp_path / "here.zarr", tmp_path / "two.zarr")
        dead = []

        def kill(part):
            if not dead:
                dead.append(cluster.get(stays.pool.seats[0].actor.process.remote()))
                os.kill(dead[0], signal.SIGKILL)

        assert same(here, run(store=tmp_path / "killed.zarr", backend=stays, on_part=kill)) and dead
        assert same_files(tmp_path / "here.zarr", tmp_path / "killed.zarr")
        assert cluster.get(stays.pool.seats[0].actor.process.remote()) != dead[0]


DRIVER = """
import os, signal, sys
import torch
import lens
from lens.cluster.sweeps import SweepTasks
from lens.results.store import Store
from tests.cluster.test_sweeps import PAIRS, SMALL
from tests.models import speaking

torch.set_num_threads(1)
parts = []

def told(part):
    parts.append(part)
    if len(parts) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

print("BEGUN", flush=True)
lens.patch(speaking(), PAIRS, progress=False, memory_mb=SMALL, store=sys.argv[1], backend="ray", on_part=told)
print("WHOLE", flush=True)
"""


def driver(cluster, store, parts):
    """Another process with the same sweep on the same Ray, which kills itself after some parts."""
    environment = os.environ | {"RAY_ADDRESS": cluster.get_runtime_context().gcs_address}
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", DRIVER, str(store), str(parts)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.long
def test_a_driver_that_is_killed_and_started_again_has_the_same_bits(cluster, tmp_path, monkeypatch):
    killed = driver(cluster, tmp_path / "killed.zarr", 2)
    said, _ = killed.communicate(timeout=400)
    assert killed.returncode == -signal.SIGKILL and "WHOLE" not in said
    there = Store(tmp_path / "killed.zarr", lens.open(tmp_path / "killed.zarr")).done.values
    assert 0 < there.sum() < there.size
    computed, ended = [], SweepTasks.ended

    def noted(self, task, value, worker):
        for part in ended(self, task, value, worker):
            if part.span is not None and part.last:
                computed.append((part.batch, part.span))
            yield part

    monkeypatch.setattr(SweepTasks, "ended", noted)
    again = run(store=tmp_path / "killed.zarr", backend="ray")
    assert same(run(store=tmp_path / "here.zarr"), again)
    assert same_files(tmp_path / "here.zarr", tmp_path / "killed.zarr")
    # nothing that was there is computed again, and the rest once
    cells = [(i, l) for batch, span in computed for i in batch for l in range(*span)]
    assert len(cells) == len(set(cells)) == (~there).sum() and not any(there[cell] for cell in cells)


@pytest.mark.long
def test_two_drivers_on_one_store_write_one_whole_result(cluster, tmp_path):
    other = driver(cluster, tmp_path / "both.zarr", 10**6)
    assert other.stdout.readline() == "BEGUN\n"
    ours = run(store=tmp_path / "both.zarr", backend="ray")
    said, _ = other.communicate(timeout=400)
    assert other.returncode == 0 and said == "WHOLE\n"
    assert same(run(store=tmp_path / "here.zarr"), ours) and same_files(tmp_path / "here.zarr", tmp_path / "both.zarr")
    assert lens.record(lens.open(tmp_path / "both.zarr"))["status"] == "complete"


@pytest.mark.long
def test_each_worker_has_a_gpu_of_its_own_and_a_cluster_without_room_says_so(cluster, monkeypatch):
    with lens.cluster.Ray(workers=2, num_gpus=1) as stays:
        assert same(run(), run(backend=stays))
        assert sorted(stays.pool.each("devices")) == ["0", "1"]  # of two that the cluster only says it has
    monkeypatch.setattr("lens.cluster.connection.PLACE", 2.0)
    with pytest.raises(lens.Error, match="workers=3: .*3 workers of 1 CPU and 1 GPU each.*room for 2 of them"):
        run(backend=lens.cluster.Ray(workers=3, num_gpus=1))
