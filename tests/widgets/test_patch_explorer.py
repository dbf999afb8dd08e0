"""The explorer's state without a browser: what is computed, published, kept and reported."""

import threading
import time

import numpy as np
import pytest

import widgets
from lens.prompts import Pair
from tests.widgets import fakes
from widgets.base.worker import Worker
from widgets.patch_explorer import copy as patch_copy

SECONDS = 10


def explorer(pair=fakes.PAIR, *, patch=None, layers=6, heads=4, explain=fakes.explain, **options):
    return widgets.PatchExplorer(
        fakes.FakeModel(layers, heads),
        pair,
        _patch=patch or fakes.FakePatch(),
        _explain=explain,
        _encode=fakes.encode,
        **options,
    )


def numbers(trait, name="value"):
    return np.frombuffer(trait[name], dtype="<f4").reshape(trait["shape"])


def until(condition):
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.005)


def test_starts_empty_and_says_how_the_pair_aligns():
    view = explorer()
    view.wait(SECONDS)
    assert (view.status, view.map, view.history) == ("idle", {}, [])
    assert view.alignment == {"ok": True, "text": "13 tokens each; they differ at position 8"}
    assert view.result is None and view.model_info["text"].startswith("tiny · 6 layers · 4 heads")


def test_without_a_pair_the_fields_are_empty_and_run_reports_the_first_missing_one():
    view = explorer(None)
    assert view.alignment["text"] == "Fill in both prompts and the answer."
    view.run(wait=True)
    assert view.status == "error" and "clean" in view.error["text"]


def test_a_run_publishes_labels_and_float32_numbers():
    view = explorer()
    view.run(wait=True)
    assert view.status == "complete" and view.error == {}
    assert view.map["shape"] == [6, 13] and view.map["rows"] == list(range(6))
    assert view.map["clean_tokens"][8] == " John" and view.map["corrupted_tokens"][8] == " Mary"
    assert (view.map["base"], view.map["base_name"]) == (-1.5, "corrupted")
    np.testing.assert_allclose(numbers(view.map, "effect"), fakes.truth(6, 13), rtol=1e-6)
    np.testing.assert_allclose(numbers(view.map, "value"), view.result["value"].values, rtol=1e-6)
    assert view.progress["done"] == view.progress["total"] == 6 and view.progress["text"].startswith("6 layers in ")


def test_fields_and_choices_reach_the_sweep():
    patch = fakes.FakePatch()
    view = explorer(patch=patch)
    view.set_trait("answer", " Anna")
    view.site, view.over, view.metric, view.direction, view.method = "z", "head", "prob", "noise", "attribution"
    view.run(wait=True)
    pair, *rest = patch.calls[0]
    assert pair.answer == " Anna" and pair.foil == " John"
    assert rest == ["z", ("layer", "head"), "prob", "noise", "attribution"]
    assert view.map["column_name"] == "head" and view.map["shape"] == [6, 4] and view.map["clean_tokens"] == []


def test_spans_that_an_edited_prompt_no_longer_has_do_not_stop_the_run():
    patch = fakes.FakePatch()
    pair = Pair(
        "John saw Mary and John",
        corrupted="John saw Mary and Mary",
        answer=" x",
        foil=" y",
        spans={"one": "Mary", "two": ("John", 2)},
    )
    view = explorer(pair, patch=patch)
    view.clean = "John saw Mary and Paul"
    view.run(wait=True)
    assert view.status == "complete" and view._shown.pair.spans == {"one": "Mary"}


def test_layers_are_shown_as_they_finish_and_stop_keeps_them(monkeypatch):
    monkeypatch.setattr("widgets.base.sweep.PART_SECONDS", 0)
    gate = threading.Semaphore(0)
    view = explorer(patch=fakes.FakePatch(gate))
    view.run()
    gate.release(2)
    until(lambda: view.map and np.isfinite(numbers(view.map)).any(1).sum() == 2)
    assert view.status == "running" and view.progress["text"].startswith("layers 4–5 of 6, ")
    assert np.isfinite(numbers(view.map)).any(1).tolist() == [False] * 4 + [True] * 2
    view.stop()
    assert view.wait(SECONDS) and view.status == "stopped"
    assert view.progress["text"].startswith("stopped: layers 4–5 of 6, ") and not view.map["complete"]
    assert view.history[0]["status"].startswith("stopped")
    assert int(view.result["value"].notnull().any("position").sum()) == 2


def test_an_interrupt_in_a_waiting_run_stops_the_sweep(monkeypatch):
    gate = threading.Semaphore(2)
    view = explorer(patch=fakes.FakePatch(gate))
    wait, interrupts = view._worker.wait, [KeyboardInterrupt]

    def interrupted(timeout=None):
        if interrupts:
            until(lambda: view.result is not None)
            raise interrupts.pop()
        return wait(timeout)

    monkeypatch.setattr(view._worker, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        view.run(wait=True)
    assert view.status == "stopped" and view.result is not None


def test_a_new_run_replaces_the_one_under_way():
    gate = threading.Semaphore(0)
    patch = fakes.FakePatch(gate)
    view = explorer(patch=patch)
    view.run()
    until(lambda: patch.calls)
    view.site = "mlp_out"
    view.run()
    gate.release(100)
    assert view.wait(SECONDS)
    assert (
        view.status == "complete"
        and view.map["site"] == "mlp_out"
        and [c[1] for c in patch.calls] == ["resid_pre", "mlp_out"]
    )


def test_a_cell_is_explained_while_the_sweep_runs():
    gate = threading.Semaphore(0)
    view = explorer(patch=fakes.FakePatch(gate))
    view.run()
    gate.release(1)
    until(lambda: view.map)
    view.set_state({"cell": {"run": 1, "layer": 5, "column": 9}})
    until(lambda: view.detail.get("status") == "ready")
    assert view.status == "running"
    assert view.detail["edited"][0] == [" edit5.9", 0.5] and len(view.detail["clean"]) == 10
    assert view.detail["clean_token"] == " gave" and view.detail["effect"] == pytest.approx(fakes.truth(6, 13)[5, 9])
    view.stop()
    assert view.wait(SECONDS)


def test_everything_that_touches_the_model_runs_in_one_thread():
    threads = set()

    def explain(*args, **kwargs):
        threads.add(threading.current_thread())
        return fakes.explain(*args, **kwargs)

    class Patch(fakes.FakePatch):
        def __call__(self, *args, **kwargs):
            threads.add(threading.current_thread())
            return super().__call__(*args, **kwargs)

    gate = threading.Semaphore(0)
    view = explorer(patch=Patch(gate), explain=explain)
    view.run()
    gate.release(1)
    until(lambda: view.map)
    for column in range(6):
        view.cell = {"run": 1, "layer": 5, "column": column}
    view._pin({"run": 1, "layer": 5, "column": 3})
    gate.release(100)
    assert view.wait(SECONDS)
    assert len(threads) == 1 and threading.main_thread() not in threads


def test_cells_that_do_not_exist_are_ignored():
    view = explorer()
    view.run(wait=True)
    for cell in (
        {"run": 7, "layer": 0, "column": 0},
        {"run": 1, "layer": 99, "column": 0},
        {"run": 1, "layer": 0, "column": 99},
        {},
    ):
        view.cell = cell
        view._pin(cell)
    view.wait(SECONDS)
    assert view.detail == {} and view.pins == []


def test_an_error_in_the_sweep_is_shown_and_what_was_finished_stays(monkeypatch):
    monkeypatch.setattr("widgets.base.sweep.PART_SECONDS", 0)
    view = explorer(patch=fakes.FakePatch(error=RuntimeError("the metric returned text")))
    view.run(wait=True)
    assert view.status == "error" and view.error == {
        "title": "The sweep failed (RuntimeError)",
        "text": "the metric returned text",
    }
    assert np.isfinite(numbers(view.map)).any(1).sum() == 2
    view._patch = fakes.FakePatch()
    view.run(wait=True)
    assert view.status == "complete" and view.error == {}


def test_a_pair_that_does_not_align_shows_both_tokenisations():
    view = explorer(Pair("The cat sat", corrupted="The big cat sat", answer=" down", foil=" up"))
    view.run(wait=True)
    assert view.error["title"] == "The prompts do not fit together"
    assert (
        "clean      ['The', ' cat', ' sat']" in view.error["text"]
        and "corrupted  ['The', ' big', ' cat', ' sat']" in view.error["text"]
    )
    assert view.alignment["ok"] is False


def test_an_error_in_explaining_a_cell_is_shown_beside_the_cell():
    def broken(*args, **kwargs):
        raise ValueError("layer 3 holds NaN")

    view = explorer(explain=broken)
    view.run(wait=True)
    view.cell = {"run": 1, "layer": 3, "column": 2}
    view.wait(SECONDS)
    assert view.detail["status"] == "error" and view.detail["text"] == "layer 3 holds NaN" and view.status == "complete"


def test_pins_keep_numbers_and_predictions_and_are_unique():
    view = explorer()
    view.run(wait=True)
    for _ in range(2):
        view._on_message(view, {"type": "pin", "run": 1, "layer": 4, "column": 9}, [])
    view._on_message(view, {"type": "pin", "run": 1, "layer": 2, "column": 2}, [])
    view.wait(SECONDS)
    assert [(p["layer"], p["column"]) for p in view.pins] == [(4, 9), (2, 2)]
    assert view.pins[0]["edited"][0][0] == " edit4.9" and view.pins[1]["effect"] == pytest.approx(-0.5)
    view._on_message(view, {"type": "unpin", "id": view.pins[0]["id"]}, [])
    assert [(p["layer"], p["column"]) for p in view.pins] == [(2, 2)]


def test_runs_are_named_shown_compared_and_forgotten():
    view = explorer()
    view.run(wait=True)
    view.direction = "noise"
    view.run(wait=True)
    view._on_message(view, {"type": "rename", "run": 1, "name": "denoise"}, [])
    view._on_message(view, {"type": "rename", "run": 2, "name": "denoise"}, [])
    assert [r["name"] for r in view.history] == ["denoise", "denoise (2)"] and list(view.results) == [
        "denoise",
        "denoise (2)",
    ]
    view.compare = {"mode": "difference", "run": 1}
    assert view.other["run"] == 1 and view.map["run"] == 2
    view._on_message(view, {"type": "show", "run": 1}, [])
    assert view.map["run"] == 1 and view.direction == "denoise"
    view._on_message(view, {"type": "forget", "run": 1}, [])
    assert view.map["run"] == 2 and view.other == {} and view.compare["mode"] == "off"
    view._on_message(view, {"type": "forget", "run": 2}, [])
    assert view.map == {} and view.history == [] and view.status == "idle"


def test_a_run_takes_the_fields_that_the_person_sees_also_when_their_own_messages_are_late():
    patch = fakes.FakePatch()
    view = explorer(patch=patch)
    fields = {
        "clean": "a b c",
        "corrupted": "a d c",
        "answer": " x",
        "foil": "",
        "site": "z",
        "metric": "no such metric",
        "status": "complete",
        "model_info": {},
    }
    view._on_message(view, {"type": "run", "fields": fields}, [])
    view.wait(SECONDS)
    pair = view._shown.pair
    assert (pair.clean, pair.corrupted, pair.answer, pair.foil, view._shown.site) == ("a b c", "a d c", " x", None, "z")
    assert view.metric == "logit_diff" and view.model_info["text"].startswith("tiny"), (
        "what a trait refuses and what is no field stays"
    )


def test_unknown_messages_are_ignored():
    view = explorer()
    for content in ({"type": "format_disk"}, {}, "run", None, {"type": 3}, {"type": ["run"]}):
        view._on_message(view, content, [])
    assert view.status == "idle"


def test_a_stored_result_is_shown_at_once_and_brings_its_question():
    stored = fakes.dataset(
        fakes.FakeModel(), fakes.PAIR, "attn_out", ("layer", "position"), metric="prob", direction="noise"
    )
    view = explorer(None, result=stored)
    assert (view.clean, view.answer, view.site, view.metric, view.direction) == (
        fakes.PAIR.clean,
        " Mary",
        "attn_out",
        "prob",
        "noise",
    )
    assert view.map["complete"] and view.result.identical(stored)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda ds: ds.expand_dims(prompt=2), "isel"),
        (lambda ds: ds.rename(position="place"), "layer, position"),
        (lambda ds: ds.drop_attrs(), "give pair="),
    ],
)
def test_a_result_that_cannot_be_shown_is_refused(change, word):
    stored = fakes.dataset(
        fakes.FakeModel(), fakes.PAIR, "attn_out", ("layer", "position"), metric="prob", direction="noise"
    )
    with pytest.raises(ValueError, match=f"result: .*{word}"):
        explorer(None, result=change(stored))


@pytest.mark.parametrize(
    "bad", [{"site": "residual"}, {"metric": "accuracy"}, {"direction": "both"}, {"over": "layer"}, {"method": "magic"}]
)
def test_an_unknown_choice_names_the_argument(bad):
    ((name, value),) = bad.items()
    with pytest.raises(ValueError, match=f"{name}: '{value}' is not one of"):
        explorer(**bad)


def test_numbers_that_json_cannot_carry_become_none():
    effects = np.full((6, 13), np.nan)
    view = explorer(patch=fakes.FakePatch(effects=effects))
    view.run(wait=True)
    view.cell = {"run": 1, "layer": 0, "column": 0}
    view.wait(SECONDS)
    assert view.detail["value"] is None and np.isnan(numbers(view.map)).all() and view.status == "complete"
    assert "–</td>" in view._static()


def test_the_static_copy_holds_numbers_and_no_markup_from_tokens():
    pair = Pair(f"a {fakes.SCRIPT} <b>x</b>", corrupted=f"b {fakes.SCRIPT} <b>x</b>", answer=" y", foil=" z")
    view = explorer(pair)
    assert "No sweep had been run" in view._static()
    view.run(wait=True)
    page = view._static_bundle()["text/html"]
    assert fakes.SCRIPT not in page and "<b>" not in page and "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert page.count("<td") == 6 * 3 and f"mnemoscope-static-{view.static_key}" in page


def test_the_static_copy_of_a_long_prompt_stays_small():
    text = " ".join(["word"] * 1000)
    view = explorer(Pair("a " + text, corrupted="b " + text, answer=" y", foil=" z"), layers=12)
    view.run(wait=True)
    assert view._static().count("<td") == 12 * patch_copy.STATIC_COLUMNS and len(view._static()) < 200_000


def test_display_gives_the_live_view_and_a_copy_that_follows_the_runs(monkeypatch):
    shown = []

    class Handle:
        def update(self, data, raw):
            shown.append(data)

    def display(data, *, raw, metadata=None, display_id=None):
        shown.append(data)
        return Handle() if display_id else None

    monkeypatch.setattr("IPython.display.display", display)
    view = explorer()
    view._ipython_display_()
    assert "application/vnd.jupyter.widget-view+json" in shown[0] and "text/html" not in shown[0]
    assert "No sweep had been run" in shown[1]["text/html"]
    view.run(wait=True)
    assert shown[-1]["text/html"].count("<td") == 6 * 13


def test_the_module_is_small_and_loads_nothing():
    for view in (widgets.PatchExplorer, widgets.AttentionView):
        source = str(view._esm)
        assert len(source.encode()) < 52_000
        for forbidden in (
            "http://",
            "https://",
            "import ",
            "innerHTML",
            "eval(",
            "document.write",
            "insertAdjacentHTML",
        ):
            assert forbidden not in source.replace("http://www.w3.org/2000/svg", ""), forbidden
        assert "url(" not in str(view._css) and "@import" not in str(view._css)


def test_the_worker_drops_outdated_quick_tasks_and_ends_its_thread():
    worker, inside, gate, seen = Worker("test"), threading.Event(), threading.Event(), []
    worker.long(lambda: (inside.set(), gate.wait(SECONDS)))
    assert inside.wait(SECONDS)
    for i in range(5):
        worker.quick("cell", lambda i=i: seen.append(i))
    gate.set()
    assert worker.wait(SECONDS) and seen == [4]
    until(lambda: not any(t.name == "test" and t.is_alive() for t in threading.enumerate()))


def test_a_change_from_the_worker_waits_for_one_from_the_browser(monkeypatch):
    view = explorer()
    view.wait(SECONDS)
    inside, go, heard = threading.Event(), threading.Event(), []
    set_trait = view.set_trait

    def slow(name, value):
        inside.set()
        go.wait(SECONDS)
        set_trait(name, value)

    monkeypatch.setattr(view, "set_trait", slow)
    view.observe(lambda change: heard.append((change["name"], change["new"])), ["show", "progress"])
    browser = threading.Thread(target=view.set_state, args=({"show": "effect"},))
    browser.start()
    assert inside.wait(SECONDS)
    worker = threading.Thread(target=view.publish, kwargs={"progress": {"done": 1}})
    worker.start()
    worker.join(0.2)
    assert worker.is_alive() and view.progress == {}, "traits are held back while the browser's change is applied"
    go.set()
    browser.join(SECONDS)
    worker.join(SECONDS)
    assert heard == [("show", "effect"), ("progress", {"done": 1})]
