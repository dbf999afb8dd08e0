"""What goes wrong with a Ray cluster is the library's own error in limited time: on a stand-in for the little of Ray
that scoring uses, whose actors run in this process when they are waited for.
"""

import signal
import socket
import sys

import numpy as np
import pytest

import lens
from lens.cluster import connection, pool
from lens.cluster.connection import Cluster
from lens.scoring import on_ray as scoring_ray
from lens.scoring import pieces as scoring_pieces
from lens.scoring.causal import ScoringError
from lens.scoring.rows import score
from lens.scoring.store import Store
from tests import models as tiny_models
from tests.ray_standin import Standin
from tests.scoring.test_rows import make_rows


@pytest.fixture
def ray(monkeypatch):
    standin = Standin()
    monkeypatch.setattr(connection, "engine", lambda *_: standin)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(scoring_pieces, "PART_TOKENS", 60)
    return standin


def run(rows=23, **more):
    return score(tiny_models.tiny("llama"), make_rows(rows), batch_tokens=60, **{"backend": "ray", "threads": 1} | more)


def ended(ray):
    return {id(a) for a in ray.actors} == {id(a) for a in ray.killed} and ray.log[-1] == ("shutdown",)


def test_one_part_is_dealt_to_all_workers_and_equals_a_local_scoring(ray, monkeypatch, tmp_path):
    monkeypatch.setattr(scoring_pieces, "PART_TOKENS", 1 << 16)
    pieces, seen = [], []
    monkeypatch.setattr(Store, "write", lambda self, part: pieces.append(part))
    score_piece = scoring_ray.score_piece
    monkeypatch.setattr(scoring_ray, "score_piece", lambda *a: seen.append(a[0]) or score_piece(*a))
    one = run(store=tmp_path / "a")
    assert len(pieces) == 1 and len({id(likelihood) for likelihood in seen}) == 2 and len(seen) > 4
    assert run(backend="local").logprob.tobytes() == one.logprob.tobytes()
    assert ray.log[0][1]["num_cpus"] == 2 and ended(ray)


def test_portions_keep_the_batches_of_their_piece():
    rows = make_rows(23)
    piece = scoring_pieces.Piece(np.arange(23), np.arange(23), np.zeros(23, np.uint64), rows, [3, 1, 7, 7, 5])
    for tokens in (0, 100, 10**6):
        portions = scoring_ray.portions_of(piece, tokens, 1)
        assert [b for r in portions for b in r.batches] == piece.batches
        assert all(a is b for a, b in zip([row for r in portions for row in r.rows], rows, strict=True))
        assert all(sum(len(row) - 1 for row in r.rows) >= tokens for r in portions[:-1])
    assert len(portions) == 1 and len(scoring_ray.portions_of(piece, 0, 1)) == 5


def test_workers_are_at_least_one_and_at_most_one_a_row(ray):
    for bad in (0, -1, 1.5, True, 10**30):
        with pytest.raises(ScoringError, match="workers="):
            run(40 if bad != 10**30 else 10**3, workers=bad)
    assert not ray.actors
    run(2, workers=5)
    assert len(ray.actors) == 2
    with pytest.raises(ScoringError, match=r"workers=10, threads=1000.*on this machine, which has \d+ processor"):
        run(10, workers=50, threads=1000)


@pytest.mark.parametrize("joined", [False, True])
def test_a_cluster_without_room_says_what_it_has_and_what_was_asked(ray, monkeypatch, joined):
    monkeypatch.setattr(connection, "PLACE", 0.1)
    ray.connected, ray.fits, ray.free = joined, False, {"CPU": 1.0, "memory": 2.0**30}
    with pytest.raises(ScoringError) as raised:
        run(workers=2)
    text = str(raised.value)
    assert isinstance(raised.value, lens.Error)
    assert "workers=2: the Ray cluster cannot place them within 0.1 s" in text
    assert "Asked: 2 workers of 1 CPU each" in text
    assert "1 node with 2 CPUs, 0 GPUs and 2.0 GiB of memory in all, of which 1 CPU, 0 GPUs and 1.0 GiB" in text
    assert "wait until other jobs end" in text and not ray.actors
    # what was begun is ended, what was there stays
    assert ray.log[-1] == (("removed",) if joined else ("shutdown",)) and ray.connected == joined


def test_a_local_ray_without_the_gpus_is_not_waited_for(ray):
    cluster = Cluster(2, 1, 1, ScoringError)
    cluster.open()
    with pytest.raises(ScoringError, match="2 workers of 1 CPU and 1 GPU each.*2 CPUs, 0 GPUs"):
        cluster.place()
    assert [entry[0] for entry in ray.log] == ["init"]


def test_ray_that_is_absent_unreachable_or_does_not_start(ray, monkeypatch):
    with socket.socket() as closed:  # bound, but nobody listens
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(ScoringError, match="nothing answers at RAY_ADDRESS='127.0.0.1:.*ray start"):
            run()
    assert not ray.log
    monkeypatch.delenv("RAY_ADDRESS")

    def broken(**_):
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", broken)
    with pytest.raises(ScoringError, match="could not be started .*timed out during startup.*backend='local'"):
        run()
    assert ray.log == [("shutdown",)] * 2  # it is tried twice
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ScoringError, match="pip install 'mnemoscope\\[ray\\]'"):
        run()


def test_a_worker_that_dies_once_is_replaced(ray, tmp_path):
    ray.die = lambda actor, method, number: number == 6
    died = run(store=tmp_path)
    assert len(ray.actors) == 3 and ended(ray)
    assert died.logprob.tobytes() == run(backend="local").logprob.tobytes()


def test_deaths_without_end_are_an_error_and_the_same_call_goes_on(ray, tmp_path):
    ray.die = lambda actor, method, number: method == "score" and number > 8
    said = r"the worker died 3 times while it scored the rows from \d+ on \(The actor died.\)"
    with pytest.raises(ScoringError, match=said) as raised:
        run(store=tmp_path)
    assert f"store={str(tmp_path)!r}, and the same call goes on" in str(raised.value) and ended(ray)
    ray.die = lambda actor, method, number: False
    again = run(store=tmp_path)
    assert 0 < again.about["cached"] < len(again) == 23 and not again.about["corrupt"]
    assert again.logprob.tobytes() == run(backend="local").logprob.tobytes()
    ray.die = lambda actor, method, number: method == "score"
    with pytest.raises(ScoringError, match="Nothing is kept without store="):
        run()


def test_a_cluster_that_is_lost_is_an_error_and_is_not_asked_for_anything_more(ray, monkeypatch, tmp_path):
    def dies(actor, method, number):
        ray.alive = number < 8
        return number >= 8

    ray.die = dies
    with pytest.raises(ScoringError, match="cluster is gone: the raylet of the driver's node died. The parts"):
        run(store=tmp_path)
    assert not [a for a in ray.killed if not a.dead] and ray.log[-1] == ("shutdown",)
    # the head is gone, and nothing that was asked is ever answered
    ray.alive, ray.die = True, lambda *a: False
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        ray.head, ray.never = f"127.0.0.1:{closed.getsockname()[1]}", True
        monkeypatch.setattr(pool, "CHECK", 0.0)
        with pytest.raises(ScoringError, match="its head process .* no longer answers"):
            run(store=tmp_path)


def test_workers_that_do_not_start_are_an_error(ray, monkeypatch):
    ray.die = lambda actor, method, number: method == "process"
    with pytest.raises(ScoringError, match="a worker could not be started in 3 tries"):
        run()
    ray.die, ray.never = lambda *a: False, True
    monkeypatch.setattr(pool, "CHECK", 0.0)
    monkeypatch.setattr(pool, "START", 0.0)
    with pytest.raises(ScoringError, match="no worker has started within 0 s"):
        run()
    assert ended(ray)


def test_an_error_in_a_worker_is_the_error_of_the_call(ray, monkeypatch):
    def broken(*_):
        raise ScoringError("model: it has other weights.")

    monkeypatch.setattr(scoring_ray.Worker, "load", broken)
    with pytest.raises(ScoringError, match="it has other weights"):
        run()
    assert ended(ray) and len(ray.actors) == 2


@pytest.mark.parametrize("during", ["init", "wait"])
def test_ctrl_c_ends_what_was_started_and_leaves_whole_parts(ray, monkeypatch, tmp_path, during):
    own = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        waits = iter(range(100))
        if during == "init":
            init = ray.init
            monkeypatch.setattr(ray, "init", lambda **o: (signal.raise_signal(signal.SIGINT), init(**o)))
        else:
            ray.waits = lambda: next(waits) == 9 and signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            run(store=tmp_path)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, own)
    assert ended(ray)
    ray.waits = lambda: None
    monkeypatch.undo()
    monkeypatch.setattr(scoring_pieces, "PART_TOKENS", 60)
    again = run(store=tmp_path, backend="local")
    assert (again.about["cached"] > 0) == (during == "wait") and not again.about["corrupt"] and len(again) == 23
