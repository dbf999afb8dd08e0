"""Ray actors score the same pieces to the same bits, and a killed one loses and doubles nothing. One local cluster of
two workers serves all.
"""

import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("ray", reason="ray is an optional extra: pip install 'mnemoscope[ray]'")

from lens.cluster import connection, pool
from lens.scoring import on_ray as scoring_ray
from lens.scoring import pieces as scoring_pieces
from lens.scoring.causal import ScoringError
from lens.scoring.rows import score
from lens.scoring.store import Store
from tests import local_ray
from tests import models as tiny_models
from tests.scoring.test_rows import make_rows, the_store

pytestmark = pytest.mark.slow


class Mortal(scoring_ray.Worker):
    """A worker whose process ends in the middle of a piece: once, or each time (`always`)."""

    always = False

    def score(self, rows, batches, start, first):
        mark = os.environ["MNEMOSCOPE_TEST_DEATH"]
        if self.always or not os.path.exists(mark):
            open(mark, "w").close()
            os._exit(1)
        return super().score(rows, batches, start, first)


class Doomed(Mortal):
    always = True


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    import ray

    mark = str(tmp_path_factory.mktemp("ray") / "died")
    os.environ["MNEMOSCOPE_TEST_DEATH"] = mark  # the workers inherit it
    local_ray.start(num_cpus=2)
    yield mark
    ray.shutdown()
    del os.environ["MNEMOSCOPE_TEST_DEATH"]


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(scoring_pieces, "PART_TOKENS", 60)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*/*.parquet")}


def run(folder, rows=23, **more):
    return score(
        tiny_models.tiny("llama"), make_rows(rows), store=folder, batch_tokens=100, extra=("mean", "variance"), **more
    )


def test_both_backends_write_the_same_bytes(cluster, tmp_path, small_parts):
    local, ray = run(tmp_path / "local", threads=1), run(tmp_path / "ray", backend="ray")
    for name in ("row_id", "offsets", "logprob", "mean", "variance"):
        assert getattr(local, name).tobytes() == getattr(ray, name).tobytes(), name
    assert files(tmp_path / "local") == files(tmp_path / "ray") and len(files(tmp_path / "ray")) > 4
    assert ray.about["backend"] == "ray" and ray.about["threads"] == 1
    # a model by name is loaded by each worker
    rows = [np.arange(1, 2 + i) for i in range(1, 30)]
    one, two = (
        score("organism:induction", rows, batch_tokens=100, threads=1, backend=backend) for backend in ("local", "ray")
    )
    assert one.logprob.tobytes() == two.logprob.tobytes() and one.model == two.model


@pytest.mark.long
def test_a_worker_that_dies_in_the_middle_loses_and_doubles_nothing(cluster, tmp_path, small_parts, monkeypatch):
    monkeypatch.setattr(scoring_ray, "Worker", Mortal)
    written, write = [], Store.write
    monkeypatch.setattr(Store, "write", lambda self, part: written.append(part.key.tolist()) or write(self, part))
    died = run(tmp_path / "ray", backend="ray")
    assert os.path.exists(cluster)
    written_keys = sum(written, [])
    assert len(written_keys) == len(set(written_keys)) == len(make_rows())
    keys = the_store(tmp_path / "ray").rows()
    assert len(keys) == len(np.unique(keys)) == len(make_rows()) == len(died)
    local = run(tmp_path / "local", threads=1)
    assert files(tmp_path / "local") == files(tmp_path / "ray") and local.logprob.tobytes() == died.logprob.tobytes()


@pytest.mark.long
def test_a_piece_that_kills_every_worker_is_an_error(cluster, monkeypatch):
    monkeypatch.setattr(scoring_ray, "Worker", Doomed)
    monkeypatch.setattr(pool, "DEATHS", 2)
    with pytest.raises(ScoringError, match="the worker died 2 times"):
        score(tiny_models.tiny("llama"), make_rows(4), backend="ray", workers=1)


@pytest.mark.long
def test_a_cluster_that_another_job_uses_is_not_waited_for_without_end(cluster, monkeypatch):
    import ray

    monkeypatch.setattr(connection, "PLACE", 2.0)
    said = "workers=3: .*Asked: 3 workers of 1 CPU each; the cluster has 1 node with 2 CPUs"
    with pytest.raises(ScoringError, match=said):
        run(None, backend="ray", workers=3)
    other = ray.remote(num_cpus=1)(Mortal).remote(None, None, "", None, None, False, 1)
    ray.get(other.process.remote(), timeout=120)
    with pytest.raises(ScoringError, match="of which 1 CPU, 0 GPUs .* are free. .*wait until other jobs end"):
        run(None, backend="ray", workers=2)
    ray.kill(other)


LOST = """
import os, pathlib, signal, sys, time
from lens.scoring import pieces, on_ray as scoring_ray
from lens.scoring.causal import ScoringError
from lens.scoring.store import Store
from tests.scoring.test_on_ray import run

class Slow(scoring_ray.Worker):
    def score(self, *args):
        time.sleep(1.0)
        return super().score(*args)

def end(name):
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            program = (process / "cmdline").read_text().split(chr(0))[0]
        except OSError:
            continue
        if parent == os.getpid() and pathlib.Path(program).name == name:
            os.kill(int(process.name), signal.SIGKILL)
            return
    raise SystemExit("no process " + name)

scoring_ray.Worker, pieces.PART_TOKENS = Slow, 60
write, written = Store.write, []
def kept(self, part):
    write(self, part)
    written.append(part)
    if len(written) == 2:
        end(sys.argv[2])
Store.write = kept
try:
    run(sys.argv[1], backend="ray", rows=120)
except ScoringError as error:
    print("REFUSED", error)
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="finds Ray's processes in /proc, which this system lacks")
@pytest.mark.parametrize(
    "process, said",
    [("raylet", "the raylet of the driver's node died"), ("gcs_server", "its head process")],
)
@pytest.mark.long
def test_a_ray_that_dies_in_the_middle_is_an_error_and_the_same_call_goes_on(tmp_path, process, said):
    code = [sys.executable, "-c", LOST, str(tmp_path / "store"), process]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    told = subprocess.run(code, capture_output=True, text=True, timeout=400, env=environment)
    refused = [line for line in told.stdout.splitlines() if line.startswith("REFUSED")]
    assert told.returncode == 0 and len(refused) == 1, told.stdout + told.stderr
    assert f"the Ray cluster is gone: {said}" in refused[0] and "the same call goes on from them" in refused[0]
    again = run(tmp_path / "store", rows=120, threads=1)
    assert 0 < again.about["cached"] < len(again) == 120 and not again.about["corrupt"]
