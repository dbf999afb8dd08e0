"""A view's worker: whatever a task raises, nothing is left running, and the next task begins; an edit that a lost view
has in force can be taken off.
"""

import asyncio
import gc
import threading

import pytest
import torch

import lens
import widgets
from lens.models import weight_hash
from widgets.base.worker import Worker

RAISED = [RuntimeError("down"), asyncio.CancelledError(), SystemExit(1), KeyboardInterrupt()]
PAIR = lens.Pair("w4 w5 w6", corrupted="w4 w7 w6", answer=" w8", foil=" w9")


@pytest.mark.parametrize("error", RAISED, ids=lambda e: type(e).__name__)
def test_a_worker_goes_on_after_whatever_a_task_raises(error, monkeypatch):
    told, failed, done = [], [], []
    monkeypatch.setattr(threading, "excepthook", told.append)
    worker = Worker("tested", failed.append)

    def breaks():
        raise error

    worker.long(breaks)
    assert worker.wait(10)
    worker.quick("next", lambda: done.append(1))
    assert worker.wait(10) and done == [1] and failed == [error] and told[0].exc_value is error


@pytest.mark.parametrize("error", RAISED, ids=lambda e: type(e).__name__)
def test_a_sweep_that_is_broken_off_by_any_error_ends_and_runs_again(error, tiny):
    from tests.models import speaking

    model, broken = speaking(), [True]

    def patch(*args, **options):
        if broken:
            raise error
        return lens.patch(*args, **options)

    view = widgets.PatchExplorer(model, PAIR, _patch=patch)
    view.run()
    assert view.wait(30) and view.status == "error" and type(error).__name__ in view.error["title"]
    broken.clear()
    view.run()
    assert view.wait(60) and view.status == "complete"
    view.close()


@pytest.mark.parametrize("error", RAISED[1:], ids=lambda e: type(e).__name__)
def test_a_cell_that_cannot_be_explained_says_so(error):
    from tests.models import speaking

    def explain(*args, **options):
        raise error

    view = widgets.PatchExplorer(speaking(), PAIR, _explain=explain)
    view.run(wait=True)
    view.cell = {"run": 1, "layer": 1, "column": 1}
    assert view.wait(30) and view.detail["status"] == "error"
    view.close()


def bench_of(model):
    ids = torch.randint(1, 200, (12, 16), generator=torch.Generator().manual_seed(0))
    bench = widgets.SubspaceBench(
        model, ids[:4], ids[4:8], clean=ids[8:12], sparsities=(0.02,), method="wanda", prefix=10
    )
    bench.run(wait=True)
    bench.at = 1
    return bench


@pytest.mark.long
def test_a_new_bench_takes_back_what_a_lost_one_has_in_force():
    model = lens.load("organism:canaries")
    before = weight_hash(model)
    lost = bench_of(model)
    lost.put(wait=True)
    assert weight_hash(model) != before
    del lost
    gc.collect()
    new = bench_of(model)
    assert new.status == "complete" and weight_hash(model) == before
    new.put(wait=True)
    assert weight_hash(model) != before and new.force["state"] == "in force"
    new.undo(wait=True)
    assert weight_hash(model) == before and new.force["same"]
    new.put(wait=True)
    told = lens.restore(model)
    assert len(told) == 1 and weight_hash(model) == before
    new.run(wait=True)
    assert new.status == "complete" and new.force["state"] == "undone"
    new.close()


def test_put_says_by_a_truth_value_whether_the_edit_is_in_force_and_returns_when_it_is():
    model = lens.load("organism:canaries")
    before, view = weight_hash(model), bench_of(model)
    view.put()
    assert weight_hash(model) != before
    view.put(False)
    assert weight_hash(model) == before and view.force["state"] == "undone" and view.force["same"]
    view.put(True)
    assert weight_hash(model) != before and view.force["state"] == "in force"
    view.undo()
    assert weight_hash(model) == before
    with pytest.raises(widgets.ViewError, match="^on=0 does not fit; expected True or False"):
        view.put(0)
    with pytest.raises(TypeError):
        view.put(True, False)
    view.close()
