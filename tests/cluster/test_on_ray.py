"""Sweeps on a real local Ray: workers that are killed, a driver that is killed, two drivers on one store. One cluster
of four processors serves all.
"""

import os
import signal

import pytest
import torch

pytest.importorskip("ray", reason="ray is an optional extra: pip install 'mnemoscope[ray]'")

import lens
from tests.cluster.test_sweeps import PAIRS, SMALL, same, same_files
from tests.models import speaking

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    import ray

    os.environ["MNEMOSCOPE_CACHE"] = str(tmp_path_factory.mktemp("cache"))  # the workers inherit it
    for last in (False, True):
        try:
            ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="error")
            break
        except Exception:  # a busy machine misses Ray's deadline
            if last:
                raise
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
