"""A sweep on workers has the numbers of the same sweep here, to the bit, whatever dies on the way: on a stand-in for
Ray whose actors run in this process.
"""

import filecmp
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

pytest.importorskip("ray", reason="ray is an optional extra: pip install 'mnemoscope[ray]'")

import lens
from lens.cluster import connection, pool
from lens.cluster import worker as workers
from lens.reproduce.claims import Claims
from lens.reproduce.study import Reproduction, Study
from tests.models import speaking
from tests.ray_standin import Standin

PAIRS = [
    lens.Pair(f"w{i} w2 w3 w{i + 5} w1", corrupted=f"w{i} w{i + 9} w3 w{i + 6} w1", answer=" w7", foil=" w8")
    for i in range(4)
]
#: So little that there are several batches, and several pieces of each.
SMALL = 0.03


@pytest.fixture
def ray(monkeypatch, tmp_path):
    standin = Standin()
    monkeypatch.setattr(connection, "engine", lambda *_: standin)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("MNEMOSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("lens.engine.sweep.WATCHED_LAYERS", 1)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield standin
    torch.set_num_threads(before)


@pytest.fixture
def computed(monkeypatch):
    """The pieces that workers computed, each time."""
    seen = []
    compute = workers.Worker.compute

    def noted(self, key, content, batch, memory_mb, span, number):
        value = compute(self, key, content, batch, memory_mb, span, number)
        seen.append((tuple(batch), span, number))
        return value

    monkeypatch.setattr(workers.Worker, "compute", noted)
    return seen


def run(model=None, **more):
    return lens.patch(model or speaking(), PAIRS, progress=False, memory_mb=SMALL, **more)


def same(one, other):
    return all(one[name].values.tobytes() == other[name].values.tobytes() for name in one.data_vars)


def files(store):
    """Every file of a store but the record of the run, which has its duration."""
    return sorted(str(p.relative_to(store)) for p in Path(store).rglob("*") if p.is_file() and p.parent != Path(store))


def same_files(one, other):
    return files(one) == files(other) and not filecmp.cmpfiles(one, other, files(one), shallow=False)[1]


def test_workers_give_the_numbers_of_this_process_to_the_bit(ray, computed, tmp_path):
    here, there = run(), run(backend="ray")
    assert same(here, there) and len({batch for batch, _, _ in computed}) > 1
    assert len(computed) == len(set(computed)) > 4
    assert len(ray.actors) == 2 and all(a.held.view is not None for a in ray.actors)
    assert not list((tmp_path / "cache" / "workers").iterdir())  # the weights' file is gone with the workers
    assert lens.record(there)["engine"] == lens.record(here)["engine"]


@pytest.mark.long
def test_features_of_a_dictionary_are_swept_by_workers_too(ray, computed):
    draw = torch.Generator().manual_seed(0)
    weights = torch.randn(32, 24, generator=draw), torch.ones(24), torch.randn(24, 32, generator=draw), torch.zeros(32)
    site = lens.Site("feature", lens.features.from_weights(*weights, tap="mlp_out", layer=1, k=6))
    here, there = (run(site=site, over="feature", source="mean", **more) for more in ({}, dict(backend="ray")))
    assert same(here, there) and len(computed) > 1


def test_a_default_holds_within_its_block_and_keeps_its_workers(ray, computed):
    model = speaking()
    here = run(model)
    with lens.cluster.by_default("ray", 2):
        first, actors = run(model), len(ray.actors)
        second = run(model)
        assert len(ray.actors) == actors == 2
    pieces = len(computed)
    assert same(here, first) and same(here, second) and pieces > 8
    assert same(here, run()) and len(computed) == pieces
    with lens.cluster.by_default("local"):
        run()
    assert len(computed) == pieces


def test_a_study_hands_its_backend_to_what_its_steps_sweep(ray, computed):
    study = Study(
        "toy",
        paper="none",
        question="none",
        models="none",
        presets={"quick": None},
        plan=Any,
        measure=lambda asked: Reproduction(table=pd.DataFrame(), tables={"effects": run().effect.to_dataframe()}),
        read=lambda folder, record, seed: Reproduction(table=pd.DataFrame()),
        figures=lambda made: {},
        claims=Claims("none", "none", "none"),
        controls="none",
    )
    here = study.run().tables["effects"]
    assert not computed
    assert study.run(backend="ray", workers=2).tables["effects"].equals(here) and computed


def test_a_store_is_the_same_files_whoever_computed_it(ray, computed, tmp_path):
    here, there = run(store=tmp_path / "here.zarr"), run(store=tmp_path / "there.zarr", backend="ray")
    assert same(here, there) and same_files(tmp_path / "here.zarr", tmp_path / "there.zarr")
    assert lens.record(lens.open(tmp_path / "there.zarr"))["status"] == "complete"
    before = len(computed)
    assert same(here, run(store=tmp_path / "here.zarr", backend="ray")) and len(computed) == before


def test_a_worker_that_dies_in_the_middle_loses_nothing_and_nothing_is_computed_twice(ray, computed, tmp_path):
    ray.die = lambda actor, method, number: number == 9
    there = run(store=tmp_path / "there.zarr", backend="ray")
    assert len(ray.actors) == 3 and same(run(store=tmp_path / "here.zarr"), there)
    assert len(computed) == len(set(computed))


def test_a_driver_that_was_stopped_goes_on_where_it_was(ray, computed, tmp_path):
    parts = []
    partial = run(store=tmp_path / "one.zarr", backend="ray", on_part=parts.append, stop=lambda: len(parts) > 3)
    assert lens.record(partial)["status"] == "partial"
    first = set(computed)
    again = run(store=tmp_path / "one.zarr", backend="ray", on_part=parts.append)
    whole = run(store=tmp_path / "two.zarr")
    assert same(whole, again) and same_files(tmp_path / "one.zarr", tmp_path / "two.zarr")
    # what was computed twice are pieces of parts that were not whole when the first was stopped
    parts_of = {(batch, span) for batch, span, _ in first}
    assert len(computed) - len(set(computed)) < len(first) and len(parts_of) > 3


def test_a_piece_that_kills_every_worker_is_an_error_that_names_it(ray, tmp_path):
    ray.die = lambda actor, method, number: method == "compute" and number > 12
    with pytest.raises(lens.Error, match=r"the worker died 3 times while it computed layers \d to \d of .*prompt") as e:
        run(store=tmp_path / "one.zarr", backend="ray")
    assert "the same call goes on from them" in str(e.value) and len(ray.actors) <= 2 + pool.DEATHS * 2
    ray.die = lambda *_: False
    assert same(run(store=tmp_path / "two.zarr"), run(store=tmp_path / "one.zarr", backend="ray"))


def test_a_batch_without_room_is_halved_as_here(ray, monkeypatch):
    from lens.engine import sweep_parts

    made, asked = sweep_parts.Batch, []

    def limited(decoder, batch, *rest):
        asked.append(len(batch))
        return made(decoder, batch, *rest) if len(batch) < 2 else torch.empty(2**50)

    whole = lens.patch(speaking(), PAIRS, progress=False)
    monkeypatch.setattr(sweep_parts, "Batch", limited)
    less = lens.patch(speaking(), PAIRS, progress=False, backend="ray")
    assert asked[0] == 4 and set(asked) == {4, 2, 1} and np.allclose(whole.value, less.value, atol=1e-5)


def test_a_worker_out_of_memory_says_so(ray, monkeypatch):
    def full(*_):
        raise MemoryError

    monkeypatch.setattr("lens.engine.sweep_parts.Batch.walk", full)
    with pytest.raises(lens.Error, match="memory_mb=0.03: the memory of cpu ran out.*smaller memory_mb"):
        run(backend="ray")


def test_a_model_that_is_not_the_drivers_is_refused(ray, monkeypatch):
    monkeypatch.setattr(workers.Worker, "expected", "t0", raising=False)
    init = workers.Worker.__init__

    def other(self, *args):
        init(self, *args)
        self.expected = "t" + "0" * 64

    monkeypatch.setattr(workers.Worker, "__init__", other)
    with pytest.raises(lens.Error, match="a worker's model has the hash t.*the driver's t0000"):
        run(backend="ray")


def test_edits_of_weights_in_force_are_the_workers_too(ray):
    model = speaking()
    plain = run(model)
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight.mul_(0.5)
    here, there = run(model), run(model, backend="ray")
    assert same(here, there) and not same(plain, there)


def test_workers_stay_within_a_block_and_take_on_a_changed_model(ray):
    model = speaking()
    with lens.cluster.Ray(workers=2) as stays:
        first, second = run(model, backend=stays), run(model, backend=stays)
        assert len(ray.actors) == 2 and same(first, second) and same(first, run(model))
        with torch.no_grad():
            model.model.layers[1].mlp.down_proj.weight.mul_(0.5)
        assert same(run(model), run(model, backend=stays)) and len(ray.actors) == 4
        other = speaking("gpt2")
        assert same(run(other), run(other, backend=stays))
    assert ray.log[-1] == ("shutdown",)


def test_backends_that_are_none(ray, monkeypatch):
    with pytest.raises(lens.Error, match="backend='dask' is not known; expected 'local' or 'ray'"):
        run(backend="dask")
    with pytest.raises(lens.Error, match="workers=0"):
        run(backend="ray", workers=0)
    with pytest.raises(lens.Error, match="backend='ray' goes with method='exact'"):
        run(backend="ray", method="attribution")
    monkeypatch.undo()
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(lens.Error, match=r"pip install 'mnemoscope\[ray\]'"):
        run(backend="ray")


@pytest.mark.long
def test_what_a_killed_driver_left_in_the_cache_is_removed_by_the_next(ray, tmp_path):
    import subprocess
    import sys

    folder = tmp_path / "cache" / "workers"
    code = (
        "import os, torch; from lens.cluster.weights import SharedWeights; SharedWeights([torch.zeros(8)]); os._exit(1)"
    )
    subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"MNEMOSCOPE_CACHE": str(tmp_path / "cache")}, timeout=200
    )
    assert len(list(folder.iterdir())) == 1
    run(backend="ray")
    assert not list(folder.iterdir())
