"""The vector bench's state without a browser: what is computed, published, kept and reported; and its numbers over the
real engine.
"""

import contextlib
import io
import json
import threading
import time
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

import lens
import widgets
from lens import vectors
from lens.engine.stopping import Stopped
from lens.vectors import VectorError
from tests.widgets import fakes
from widgets.vector_bench import tools as vector_tools
from widgets.vector_bench import work as vector_work

SECONDS = 10
PAIRS = [[f"in{i}", f"out{i}"] for i in range(40)]
STRONG = ((2, 1), (3, 3), (1, 0))


# --- a model whose answers are known


def truth(layers=6, heads=4, weak=1.0):
    """Mean effect of every head: three strong ones, one harmful, the rest next to nothing."""
    effect = np.full((layers, heads), 0.001)
    for i, (layer, head) in enumerate(STRONG):
        effect[layer, head] = (0.4 - 0.1 * i) * weak
    effect[4, 2] = -0.2
    return effect


def quality(heads, layer, strength):
    """Share of prompts that the fake model answers with this vector: best at layer 2, strength 1, with the strong
    heads.
    """
    return np.exp(-((layer - 2) ** 2) / 4) * np.exp(-((strength - 1) ** 2)) * sum(h in STRONG for h in heads) / 3


class Vector(SimpleNamespace):
    norm = 2.5

    def cosine(self, other):
        return 1.0 if self.of is other.of else 0.625


class FakeTools:
    """Stands in for `lens.vectors`; `gate`, when given, is waited for before every layer of the effects."""

    def __init__(self, gate=None, error=None, weak=None):
        self.gate, self.error, self.weak, self.calls = gate, error, weak or {}, []

    def names(self):
        return ["upper", "plural"]

    def templates(self):
        return ["qa", "arrow"]

    def load(self, name, seed=0):
        return vectors.Task.from_pairs(
            [(f"{name}{i}", f"{name}-out{i}") for i in range(40)], name=name, seed=seed, shares=vector_work.SHARES
        )

    def own(self, pairs, seed):
        return vectors.Task.from_pairs(pairs, name="own", seed=seed, shares=vector_work.SHARES)

    def shared(self, model, task, ask):
        return {}

    def means(self, model, task, ask, stop):
        self.calls.append(("means", ask.mean_prompts, ask.shots))
        return SimpleNamespace(model=model, task=task)

    def effects(self, model, task, ask, means, stop, on_part):
        self.calls.append(("effects", ask.trials, ask.template, ask.shots, ask.seed))
        done, layers, heads = [], model.cfg.n_layers, model.cfg.n_heads
        effect = truth(layers, heads, self.weak.get(model.cfg.model_name, 1.0))

        def built(status):
            values = np.full((ask.trials, layers, heads), np.nan)
            values[:, done] = effect[done] + np.linspace(-0.01, 0.01, ask.trials)[:, None, None]
            attrs = {
                "mnemoscope": json.dumps(
                    {
                        "schema": 1,
                        "kind": "head effects",
                        "status": status,
                        "model": {"name": model.cfg.model_name},
                        "call": {},
                        "seed": ask.seed,
                        "seconds": 0.5,
                    }
                )
            }
            return xr.Dataset(
                {"effect": (("prompt", "layer", "head"), values), "base": ("prompt", np.full(ask.trials, 0.125))},
                {"layer": range(layers), "head": range(heads), "prompt": range(ask.trials)},
                attrs,
            )

        for layer in range(layers):
            while self.gate is not None and not self.gate.acquire(timeout=0.02):
                if stop():
                    return built("partial")
            if stop():
                return built("partial")
            if self.error is not None and len(done) == 2:
                raise self.error
            done.append(layer)
            on_part(built("partial"))
        return built("complete")

    def summary(self, effects):
        mean = effects["effect"].mean("prompt")
        return xr.Dataset({"mean": mean, "low": mean - 0.05, "high": mean + 0.05, "p_holm": mean * 0 + 0.0625})

    def vector(self, model, task, means, heads):
        self.calls.append(("vector", model.cfg.model_name, tuple(heads)))
        return Vector(of=model, heads=tuple(heads))

    def random(self, vector, seed):
        return Vector(of=None, heads=(), seed=seed)

    def average(self, means):
        return Vector(of=means.model, heads=STRONG[:1])

    def decode(self, model, vector, k=10):
        return [(fakes.SCRIPT, 0.5), ("\n", 0.25), *[(f" t{i}", 0.01) for i in range(k - 2)]]

    def prepare(self, model, task, ask, n):
        self.calls.append(("prepare", ask.template, n))
        words = task.words("valid")[:n]
        return SimpleNamespace(prompts=[SimpleNamespace(x=x, y=y, text=f"{ask.template}:{x}") for x, y in words])

    def read(self, model, prepared, vector=None, layer=0, strength=1.0):
        self.calls.append(("read", vector.heads if vector else None, layer, strength))
        n = len(prepared.prompts)
        right = round(n * quality(vector.heads, layer, strength)) if vector else 0
        return vector_tools.Reading(
            np.arange(n) < right,
            [p.y if i < right else fakes.SCRIPT for i, p in enumerate(prepared.prompts)],
            np.full(n, 0.25 if vector else 0.0625),
        )

    def complete(self, model, prompt, vector, layer, strength, count, stop):
        self.calls.append(("complete", prompt.x, vector is not None))
        return f" {prompt.y if vector else fakes.SCRIPT} and more"

    def test(self, model, task, named, layer, strength, ask):
        self.calls.append(("test", tuple(named), layer, strength))
        n = len(task.test)
        correct = np.stack(
            [np.arange(n) < round(n * quality(v.heads, layer, strength)) for v in named.values()], -1
        ).astype(float)[:, None, :, None, None]
        attrs = {
            "mnemoscope": json.dumps(
                {
                    "schema": 1,
                    "kind": "vector evaluation",
                    "status": "complete",
                    "model": {"name": model.cfg.model_name},
                }
            )
        }
        return xr.Dataset(
            {
                "correct": (("item", "condition", "vector", "layer", "strength"), correct),
                "base_correct": (("item", "condition"), np.zeros((n, 1))),
            },
            {
                "vector": list(named),
                "layer": [layer],
                "strength": [strength],
                "condition": ["zero_shot"],
                "item": range(n),
            },
            attrs,
        )


def bench(task=PAIRS, *, tools=None, model=None, after=None, wait=True, **options):
    view = widgets.VectorBench(
        model or fakes.FakeModel(6, 4),
        task,
        after=after,
        _tools=tools or FakeTools(),
        **({"trials": 5, "k": 3, "layer": 2} | options),
    )
    if wait:
        assert view.wait(SECONDS)
    return view


def numbers(trait, side="before"):
    return np.frombuffer(trait[side], dtype="<f4").reshape(trait["shape"])


def until(condition):
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.005)


def move(view, **fields):
    view._on_message(view, {"type": "move", "fields": fields}, [])


def ran(**options):
    view = bench(**options)
    view.run(wait=True)
    return view


# --- the task


def test_starts_with_the_table_its_splits_and_what_the_model_says_without_a_vector():
    view = bench()
    assert (view.task, view.pairs, view.status, view.map) == (vector_work.OWN, PAIRS, "idle", {})
    assert (
        view.table["splits"] == "40 pairs: 20 to demonstrate with, 10 to choose by, 10 to test"
        and view.table["error"] == ""
        and view.table["wrong"] == []
    )
    side = view.live["sides"][0]
    assert (
        side["base"] == {"k": 0, "n": 10, "low": 0.0, "high": pytest.approx(0.308, abs=1e-3)} and side["with"] is None
    )
    assert len(view.live["items"]) == 6 and view.live["items"][0]["sides"][0]["base"] == [fakes.SCRIPT, False]
    assert "Find heads" in view.live["text"] and len(view.samples["rows"]) == 3
    json.dumps({name: getattr(view, name) for name in ("live", "samples", "table", "report")}, allow_nan=False)


def test_a_named_task_fills_the_table_and_an_edited_cell_makes_it_ones_own():
    view = bench("plural")
    assert (view.task, view.pairs[0]) == ("plural", ["plural0", "plural-out0"])
    move(view, pairs=[["plural0", "changed"], *view.pairs[1:]])
    assert view.wait(SECONDS) and view.task == vector_work.OWN and view.table["splits"].startswith("40 pairs")
    view._on_message(view, {"type": "task", "name": "upper"}, [])
    assert view.wait(SECONDS) and (view.task, view.pairs[0]) == ("upper", ["upper0", "upper-out0"])
    for name in ("nonsense", None, 3):
        view._on_message(view, {"type": "task", "name": name}, [])
    assert view.task == "upper"
    view._on_message(view, {"type": "task", "name": vector_work.OWN}, [])
    assert (
        view.wait(SECONDS)
        and (view.task, view.pairs) == (vector_work.OWN, [])
        and view.live["status"] == "empty"
        and "Type pairs" in view.table["error"]
    )


def test_without_a_task_the_first_shipped_one_is_taken_and_a_task_keeps_its_own_splits():
    assert bench(None).task == "upper"
    given = vectors.Task(
        "mine", tuple(tuple(p) for p in PAIRS[:20]), train=tuple(range(14)), valid=(14, 15), test=(16, 17)
    )
    view = bench(given)
    assert (
        view.table["splits"] == "20 pairs: 14 to demonstrate with, 2 to choose by, 2 to test"
        and view.live["sides"][0]["base"]["n"] == 2
    )
    assert "vectors.Task(" in view.code and "valid=(14, 15)" in view.code
    compile(view.code, "view", "exec")


@pytest.mark.parametrize(
    ("pairs", "part"),
    [
        (PAIRS[:8], "Too few pairs: prompts with 10 demonstrations need 11 pairs to demonstrate with, here are 4"),
        ([["a", "b"], ["a", "c"]], "the input 'a' has two outputs"),
    ],
)
def test_a_table_that_cannot_be_used_is_explained_beside_it(pairs, part):
    view = bench(pairs)
    assert part in view.table["error"]
    move(view, pairs=PAIRS)
    assert view.wait(SECONDS) and view.table["error"] == ""


def test_labels_that_are_all_equal_are_pointed_out():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        view = bench([[x, "same"] for x, _ in PAIRS])
    assert any("shuffling them changes nothing" in note for note in view.table["notes"])


@pytest.mark.parametrize(
    ("row", "part"),
    [
        (["x", '["a", "b"]'], """row 41: the output '["a", "b"]' is a list; give one text"""),
        (["x", ["a", "b"]], "is a list"),
        (["x", " "], "row 41: the output is empty"),
        (["", "y"], "row 41: the input is empty"),
        (["x"], "row 41: expected an input and an output"),
        ("xy", "expected an input"),
    ],
)
def test_a_faulty_row_is_named_and_stops_the_search(row, part):
    view = bench()
    move(view, pairs=[*PAIRS, row])
    assert view.wait(SECONDS) and view.table["wrong"][0]["row"] == 40 and part in view.table["wrong"][0]["text"]
    view.run(wait=True)
    assert view.status == "error" and part in view.error["text"] and view.map == {}


def test_empty_rows_between_pairs_are_left_out():
    view = bench([["", ""], *PAIRS, [" ", ""]])
    assert view.table["wrong"] == [] and view.table["pairs"] == 40


def test_outputs_that_share_a_first_token_are_pointed_out():
    class Sharing(FakeTools):
        def shared(self, model, task, ask):
            return {7: ["out1", "out11", "out12"], 8: ["out2", "out20"]}

    assert (
        "5 outputs share a first token with another one, such as “out1” and “out11”"
        in bench(tools=Sharing()).table["notes"][0]
    )


# --- the heads


def test_a_search_publishes_the_map_and_its_strongest_heads_make_the_vector():
    view = ran(template="arrow", mean_prompts=30, seed=4)
    assert view.status == "complete" and view.error == {}
    np.testing.assert_allclose(numbers(view.map), truth(), atol=1e-6)
    assert view.map["shape"] == [6, 4] and view.map["n"] == 5 and view.map["base"] == 0.125 and view.map["complete"]
    np.testing.assert_allclose(numbers(view.map, "before_low"), truth() - 0.05, atol=1e-6)
    assert ("means", 30, 10) in view._tools.calls and ("effects", 5, "arrow", 10, 4) in view._tools.calls
    assert view.live["heads"] == [list(h) for h in STRONG] and view.vector.heads == STRONG
    side = view.live["sides"][0]
    assert (side["base"]["k"], side["with"]["k"], side["with"]["n"]) == (0, 10, 10)
    assert view.live["what"] == "vector of 3 heads at layer 2, strength 1" and view.live["norm"] == 2.5
    assert (view.live["decoded"][0] == [fakes.SCRIPT, 0.5] and "cosine" not in view.live) or view.live["cosine"] is None
    assert view.samples["rows"][0]["sides"][0]["with"].endswith("and more") and view.progress["text"].startswith(
        "6 layers in "
    )


def test_moves_change_heads_layer_and_strength():
    view = ran()
    move(view, k=1, layer=3, strength=0.5)
    assert view.wait(SECONDS)
    expected = round(10 * quality(STRONG[:1], 3, 0.5))
    assert (
        view.live["sides"][0]["with"]["k"] == expected
        and view.live["heads"] == [[2, 1]]
        and view.live["fields"]["strength"] == 0.5
    )
    move(view, by_hand=True, heads=[[2, 1], [3, 3], [4, 2]], layer=2, strength=1.0)
    assert view.wait(SECONDS)
    assert (
        view.live["heads"] == [[2, 1], [3, 3], [4, 2]]
        and view.live["sides"][0]["with"]["k"] == round(10 * 2 / 3)
        and "3 heads chosen by hand" in view.live["what"]
    )
    move(view, by_hand=True, heads=[])
    assert (
        view.wait(SECONDS) and view.live["sides"][0]["with"] is None and "Choose at least one head" in view.live["text"]
    )
    move(view, by_hand=False, k=2)
    assert view.wait(SECONDS) and view.live["heads"] == [[2, 1], [3, 3]]


def test_only_the_newest_move_is_computed_and_runs_and_vectors_are_kept():
    view = ran()
    view._tools.calls.clear()
    gate = threading.Event()
    read = view._tools.read
    view._tools.read = lambda *a, **k: (gate.wait(SECONDS), read(*a, **k))[1]
    for i in range(40):
        move(view, layer=i % 6, strength=i / 8)
    gate.set()
    assert view.wait(SECONDS)
    reads = [c for c in view._tools.calls if c[0] == "read"]
    assert len(reads) <= 2 and reads[-1][2:] == (39 % 6, 39 / 8) and view.live["fields"]["layer"] == 39 % 6
    assert not [c for c in view._tools.calls if c[0] in ("prepare", "vector", "means")], (
        "what a move does not change is not made again"
    )
    assert not [c for c in view._tools.calls if c[0] == "complete" and not c[2]], (
        "texts without the vector are written once"
    )


def test_a_vector_of_another_task_says_so_and_the_map_stays():
    view = ran(task="plural")
    view._on_message(view, {"type": "task", "name": "upper"}, [])
    assert view.wait(SECONDS)
    assert (
        "vector of 3 heads of plural, on upper at layer 2" in view.live["what"]
        and view.map["fields"]["task"] == "plural"
        and view.live["items"][0]["x"].startswith("upper")
    )
    move(view, template="arrow")
    assert view.wait(SECONDS) and view.live["what"].endswith("in the template arrow")


def test_stop_reaches_the_means():
    view, asked = bench(), threading.Event()

    def means(model, task, ask, stop):
        asked.set()
        while not stop():
            pass
        raise Stopped("means: stopped after 0 of 30 prompts")

    view._tools.means = means
    view.run()
    assert asked.wait(SECONDS)
    view.stop()
    assert (
        view.wait(SECONDS)
        and view.status == "stopped"
        and view.error == {}
        and view.progress["text"].startswith("stopped: no layer of 6")
    )
    assert view.result is None and not [c for c in view._tools.calls if c[0] == "effects"]


def test_layers_are_shown_as_they_finish_and_stop_keeps_them(monkeypatch):
    monkeypatch.setattr("widgets.base.sweep.PART_SECONDS", 0)
    gate = threading.Semaphore(0)
    view = bench(tools=FakeTools(gate))
    view.run()
    gate.release(3)
    until(lambda: view.map and np.isfinite(numbers(view.map)).any(1).sum() == 3)
    until(lambda: view.progress["text"].startswith("layers 0–2 of 6, "))
    assert view.status == "running"
    move(view, strength=0.75)
    until(lambda: (view.live.get("fields") or {}).get("strength") == 0.75 and view.live["sides"][0]["with"])
    assert view.status == "running", "a move is answered while the map fills"
    view.stop()
    assert view.wait(SECONDS) and view.status == "stopped" and not view.map["complete"]
    assert view.live["heads"][0] == [2, 1], "the heads that are known can be used"


def test_an_error_in_the_search_is_shown_and_what_was_finished_stays(monkeypatch):
    monkeypatch.setattr("widgets.base.sweep.PART_SECONDS", 0)
    view = ran(tools=FakeTools(error=RuntimeError("not enough memory")))
    assert view.status == "error" and view.error == {
        "title": "The search failed (RuntimeError)",
        "text": "not enough memory",
    }
    assert np.isfinite(numbers(view.map)).any(1).sum() == 2
    view = ran(tools=FakeTools(error=VectorError("task 'x': outputs differ")))
    assert view.error["title"] == "This task cannot be used so"


def test_errors_of_a_move_are_shown_in_its_place_and_do_not_last():
    view = ran()
    read, view._tools.read = (
        view._tools.read,
        lambda *a, **k: (_ for _ in ()).throw(VectorError("vector has d_model 576, this model 64")),
    )
    move(view, strength=3.0)
    assert view.wait(SECONDS) and view.live["status"] == "error" and "d_model 576" in view.live["text"]
    view._tools.read = read
    move(view, strength=2.0)
    assert view.wait(SECONDS) and view.live["status"] == "ready"


def test_fields_that_a_page_may_not_send_are_ignored():
    view = ran()
    move(
        view,
        layer="x",
        k=None,
        status="idle",
        code="import os",
        names={"before": "x"},
        task="upper",
        holds="everything",
    )
    assert view.wait(SECONDS)
    assert (view.layer, view.k, view.status, view.names["before"], view.task, view.holds) == (
        2,
        3,
        "complete",
        "tiny",
        vector_work.OWN,
        "heads",
    ) and "import os" not in view.code
    move(view, heads=[["a", "b"], 3, [1, 2, 3], [2, 1], [2, 1], [99, 0]], by_hand=True)
    assert view.wait(SECONDS) and view.live["heads"] == [[2, 1]], "only heads that the model has, each once"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"template": "x"}, "template: 'x' is not one of qa, arrow"),
        ({"layer": 6}, "layer: 6 is out of range for tiny, which has 6"),
        ({"layer": -1}, "layer: -1"),
        ({"after": fakes.FakeModel(5, 4)}, "after: has 5 layers of 4 heads, model has 6 of 4"),
    ],
)
def test_arguments_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        bench(**options)


# --- two models


def test_two_models_share_heads_and_vector_and_show_their_cosine():
    view = ran(after=fakes.FakeModel(6, 4, "tuned"), tools=FakeTools(weak={"tuned": 0.25}))
    assert view.map["sides"] == ["before", "after"] and view.names == {"before": "tiny", "after": "tuned"}
    np.testing.assert_allclose(numbers(view.map, "after"), truth(weak=0.25), atol=1e-6)
    assert (
        view.live["cosine"] == 0.625
        and [s["side"] for s in view.live["sides"]] == ["before", "after"]
        and len(view.live["items"][0]["sides"]) == 2
    )
    assert ("vector", "tuned", STRONG) in view._tools.calls
    assert view.result.sizes["side"] == 2 and json.loads(view.result.attrs["mnemoscope"])["models"] == [
        {"name": "tiny"},
        {"name": "tuned"},
    ]
    view.test(wait=True)
    assert [(r["side"], r["name"]) for r in view.report["rows"]][4:] == [
        ("after", "no vector"),
        ("after", "vector"),
        ("after", "its own vector"),
        ("after", vector_work.CONTROL),
        ("after", "layer average"),
    ]
    assert view.tested.sizes["side"] == 2
    again = bench(after=fakes.FakeModel(6, 4))
    assert again.names == {"before": "tiny (before)", "after": "tiny (after)"}


# --- the test split, export, copies


def test_the_test_split_is_read_when_asked_with_intervals_and_a_random_vector():
    view = bench()
    view.test(wait=True)
    assert view.report["status"] == "error" and "no vector yet" in view.report["text"] and view.tested is None
    view.run(wait=True)
    assert not [c for c in view._tools.calls if c[0] == "test"], "nothing reads the test split by itself"
    view._on_message(view, {"type": "test", "fields": {"layer": 3}}, [])
    assert view.wait(SECONDS) and view.report["status"] == "ready"
    rows = {r["name"]: r for r in view.report["rows"]}
    right = round(10 * quality(STRONG, 3, 1.0))
    assert (rows["no vector"]["k"], rows["vector"]["k"], rows[vector_work.CONTROL]["k"], rows["vector"]["n"]) == (
        0,
        right,
        0,
        10,
    )
    assert (
        rows["vector"]["difference"] == right / 10
        and rows["vector"]["difference_low"] < right / 10 < rows["vector"]["difference_high"]
        and rows["vector"]["low"] < right / 10 < rows["vector"]["high"]
    )
    assert rows["vector"]["control_difference"] == right / 10 and rows["vector"]["p"] == pytest.approx(
        2 / 2**right, rel=0.2
    )
    assert rows["vector"]["p_kind"] == "exact" and view.report["p_kinds"] == "exact, by all sign flips"
    assert view.report["times"] == 1 and "random_like(vector, seed=0)" in view.code
    view.test(wait=True)
    assert view.report["times"] == 2
    move(view, layer=2)
    assert view.wait(SECONDS) and "random_like" not in view.code, "the code is of what is shown"
    json.dumps(view.report, allow_nan=False)


def test_a_p_value_says_whether_all_sign_flips_were_counted_or_some_drawn():
    few, many = (
        vector_work.compared(np.array([1.0, 0, 1, 1, 0, 1]), ""),
        vector_work.compared(np.random.default_rng(0).choice([-1.0, 0, 1.0], 400, p=[0.2, 0.3, 0.5]), "control_"),
    )
    assert few["p_kind"] == "exact" and many["control_p_kind"] == "monte carlo"
    assert vector_work.kinds_of_p(
        [{"name": "no vector"}, few | many]
    ) == "exact, by all sign flips or Monte Carlo, by a sample of sign flips" and vector_work.kinds_of_p(
        [many]
    ).startswith("Monte Carlo")


def test_saving_is_explained_and_writes_what_is_chosen(tmp_path):
    view = bench()
    view._on_message(view, {"type": "save", "path": "x.zarr"}, [])
    assert view.saved["ok"] is False and "no run to save" in view.saved["text"]
    view._on_message(view, {"type": "save", "path": "x.csv", "fields": {"holds": "test"}}, [])
    assert "not been read yet" in view.saved["text"]
    view.run(wait=True)
    view.test(wait=True)
    for holds, name, variable in (
        ("heads", "heads.nc", "effect"),
        ("test", "test.csv", "correct"),
        ("heads", "heads.zarr", "effect"),
    ):
        view._on_message(view, {"type": "save", "path": str(tmp_path / name), "fields": {"holds": holds}}, [])
        assert view.saved["ok"], view.saved
        assert variable in (
            lens.open(tmp_path / name) if not name.endswith("csv") else (tmp_path / name).read_text().splitlines()[0]
        )


def test_the_python_is_valid_whatever_the_pairs_hold():
    view = ran(task=[['it\'s "quoted"', "back\\slash"], *PAIRS])
    compile(view.code, "view", "exec")
    view = ran(task="plural", after=fakes.FakeModel(6, 4))
    compile(view.code, "view", "exec")
    assert "vectors.load_task('plural', seed=0" in view.code and "name where its weights are" in view.code


def test_the_static_copy_holds_map_accuracies_and_answers_escaped():
    view = bench(task=[])
    assert "No heads had been looked for" in view._static()
    view = ran(task=[[fakes.SCRIPT, "y"], *PAIRS])
    view.test(wait=True)
    page = view._static()
    assert (
        fakes.SCRIPT not in page
        and "&lt;script&gt;" in page
        and page.count("<table") == 4
        and "10 of 10" in page
        and vector_work.CONTROL in page
    )


def test_everything_that_touches_the_model_runs_in_one_thread():
    threads = set()

    class Watched(FakeTools):
        def __getattribute__(self, name):
            if name in ("means", "effects", "vector", "read", "complete", "test", "prepare"):
                threads.add(threading.current_thread())
            return super().__getattribute__(name)

    view = bench(tools=Watched())
    view.run()
    for i in range(5):
        move(view, strength=float(i))
    view.test()
    assert view.wait(SECONDS)
    assert threading.main_thread() not in threads and all(t.name == "mnemoscope-VectorBench" for t in threads)


def test_the_module_stays_small():
    assert len(widgets.VectorBench._esm.encode()) < 60_000


# --- over the real engine

WORDS = [(f"w{i}", f"w{i + 40}") for i in range(1, 25)]


@pytest.fixture
def bridge(tiny_bridge):
    return tiny_bridge("llama")[0]


def real(bridge, after=None, **options):
    view = widgets.VectorBench(
        bridge,
        WORDS,
        after=after,
        **({"template": "bare", "shots": 3, "trials": 4, "mean_prompts": 6, "layer": 1, "k": 3, "seed": 2} | options),
    )
    assert view.wait(60)
    return view


def executed(view, models, monkeypatch):
    """The names and the output of the Python that the view shows; `lens.load` gives the models in turn."""
    order = iter(models)
    monkeypatch.setattr(lens, "load", lambda name, **_: next(order))
    names, printed = {}, io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(view.code, "view", "exec"), names)
    return names, printed.getvalue()


def test_without_a_vector_the_numbers_are_those_of_plain_forwards(bridge, tiny_bridge):
    import torch

    view, plain = real(bridge), tiny_bridge("llama")[1]
    task, _ = view._task_of(view._ask())
    prompts = vectors.build(bridge, task, "zero_shot", n=6, split="valid", template="bare", seed=2)
    with torch.no_grad():
        logits = torch.stack([plain(p.ids[None]).logits[0, -1] for p in prompts])
    right = [int(row.argmax()) == p.answer_ids[0] for row, p in zip(logits, prompts, strict=True)]
    probability = torch.stack([row.softmax(-1)[p.answer_ids[0]] for row, p in zip(logits, prompts, strict=True)]).mean()
    assert view.live["sides"][0]["base"]["k"] == sum(right) and view.live["sides"][0]["prob"][0] == pytest.approx(
        float(probability), abs=1e-6
    )
    assert [item["sides"][0]["base"][0].strip() for item in view.live["items"]] == [
        f"w{int(row.argmax())}" for row in logits
    ]


@pytest.mark.parametrize(("layer", "strength"), [(0, 1.0), (1, 12.0), (2, -3.0)])
def test_with_a_vector_the_numbers_are_those_of_evaluate_and_of_a_hooked_forward(bridge, tiny_bridge, layer, strength):
    import torch

    view, plain = real(bridge), tiny_bridge("llama")[1]
    view.run(wait=True)
    assert view.status == "complete", view.error
    move(view, layer=layer, strength=strength)
    assert view.wait(30) and view.live["status"] == "ready", view.live
    task, _ = view._task_of(view._ask())
    found = vectors.evaluate(
        bridge,
        task,
        {"v": view.vector},
        layers=[layer],
        strengths=[strength],
        split="valid",
        n=6,
        template="bare",
        seed=2,
        progress=False,
    )
    side = view.live["sides"][0]
    assert (side["base"]["k"], side["with"]["k"]) == (int(found["base_correct"].sum()), int(found["correct"].sum()))
    assert side["prob"][1] == pytest.approx(float(np.exp(found["first_logprob"]).mean()), abs=1e-6)

    def hook(_module, _inputs, output):
        stream = (output[0] if isinstance(output, tuple) else output).clone()
        stream[:, -1] += strength * view.vector.direction
        return (stream, *output[1:]) if isinstance(output, tuple) else stream

    prompts, handle = (
        vectors.build(bridge, task, "zero_shot", n=6, split="valid", template="bare", seed=2),
        plain.model.layers[layer].register_forward_hook(hook),
    )
    with torch.no_grad():
        p = [float(plain(q.ids[None]).logits[0, -1].softmax(-1)[q.answer_ids[0]]) for q in prompts]
    handle.remove()
    assert side["prob"][1] == pytest.approx(np.mean(p), abs=1e-6)
    shown = view.samples["rows"][0]["sides"][0]["with"]
    assert shown == str(
        vectors.generate(bridge, prompts[0], view.vector, layer=layer, strength=strength, max_new_tokens=6)
    )


def test_the_map_is_what_lens_measures(bridge):
    view = real(bridge)
    view.run(wait=True)
    task, ask = view._task_of(view._ask())[0], view._ask()
    prompts = vectors.build(bridge, task, "icl", n=6, shots=3, split="train", template="bare", seed=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        means = vectors.mean_activations(bridge, prompts, known=True)
    effects = vectors.head_effects(
        bridge, task, means=means, trials=ask.trials, shots=3, split="train", template="bare", seed=2, progress=False
    )
    np.testing.assert_allclose(numbers(view.map), effects["effect"].mean("prompt").values, atol=1e-7)
    assert [tuple(h) for h in view.live["heads"]] == [tuple(h) for h in vectors.top_heads(effects, 3)]
    assert view.live["decoded"] == [[t, pytest.approx(p)] for t, p in view.vector.decode(bridge)]


@pytest.mark.parametrize("hand", [False, True])
def test_the_python_shown_reproduces_the_view(bridge, monkeypatch, hand):
    view = real(bridge)
    view.run(wait=True)
    move(view, strength=6.0, layer=0, **({"by_hand": True, "heads": [[0, 1], [2, 3]]} if hand else {}))
    view.test(wait=True)
    assert view.report["status"] == "ready", view.report
    names, printed = executed(view, [bridge], monkeypatch)
    np.testing.assert_allclose(names["effects"]["effect"].mean("prompt").values, numbers(view.map), atol=1e-7)
    assert names["vector"].cosine(view.vector) == pytest.approx(1) and names["vector"].norm == pytest.approx(
        view.live["norm"]
    )
    side = view.live["sides"][0]
    assert (
        int(names["valid"]["base_correct"].sum()),
        int(names["valid"]["correct"].sum()),
        names["valid"].sizes["item"],
    ) == (side["base"]["k"], side["with"]["k"], side["with"]["n"])
    assert [int(names["test"]["correct"].sel(vector=r["name"]).sum()) for r in view.report["rows"][1:]] == [
        r["k"] for r in view.report["rows"][1:]
    ]
    assert repr(view.live["decoded"][0][0]) in printed
    if not hand:
        assert [tuple(h) for h in names["heads"]] == [tuple(h) for h in vectors.top_heads(names["effects"], 3)], (
            "the comment beside the heads is true"
        )


def test_the_python_shown_before_any_search_runs(bridge, monkeypatch):
    view = real(bridge)
    names, _ = executed(view, [bridge], monkeypatch)
    assert (
        int(names["correct"].sum()) == view.live["sides"][0]["base"]["k"]
        and len(names["correct"]) == view.live["sides"][0]["base"]["n"]
    )


@pytest.mark.long
def test_two_real_models_are_measured_compared_saved_and_reproduced(bridge, tiny_bridge, tmp_path, monkeypatch):
    after = tiny_bridge("llama", 1)[0]
    view = real(bridge, after)
    view.run(wait=True)
    view.test(wait=True)
    assert view.status == "complete" and view.report["status"] == "ready", (view.error, view.report)
    own = view._vectors.of(view._shown, "after", tuple(tuple(h) for h in view.live["heads"]))
    assert view.live["cosine"] == pytest.approx(view.vector.cosine(own)) and not np.allclose(
        numbers(view.map), numbers(view.map, "after")
    )
    for holds, name in (("heads", "heads.zarr"), ("test", "test.nc"), ("heads", "heads.csv")):
        view._on_message(view, {"type": "save", "path": str(tmp_path / name), "fields": {"holds": holds}}, [])
        assert view.saved["ok"], view.saved
    assert lens.open(tmp_path / "heads.zarr").sizes["side"] == 2 and "correct" in lens.open(tmp_path / "test.nc")
    names, printed = executed(view, [bridge, after], monkeypatch)
    np.testing.assert_allclose(
        names["effects_after"]["effect"].mean("prompt").values, numbers(view.map, "after"), atol=1e-7
    )
    assert f"{view.live['cosine']:.6f}"[:6] in printed
    for tail, side in (("", "before"), ("_after", "after")):
        assert [
            int(names[f"test{tail}"]["correct"].sel(vector=r["name"]).sum())
            for r in view.report["rows"]
            if r["side"] == side and r["name"] != "no vector"
        ] == [r["k"] for r in view.report["rows"] if r["side"] == side and r["name"] != "no vector"]


def test_words_that_the_model_does_not_know_are_an_error_beside_the_prompts(bridge):
    view = real(bridge)
    move(view, pairs=[*([list(w) for w in WORDS]), ["nonsense", "w3"]], queries=30)
    assert view.wait(30)
    view._on_message(view, {"type": "run", "fields": {"template": "qa"}}, [])
    assert view.wait(30) and view.status == "error" and view.error["title"] == "This task cannot be used so"
    assert view.live["status"] == "error" and "own" in view.live["text"]


def test_shipped_tasks_are_offered(bridge):
    view = real(bridge)
    assert "country_capital" in view.tasks and "qa" in view.templates


@pytest.mark.slow
def test_every_slider_move_on_the_default_model_is_answered_by_its_own_setting(smollm2):
    """Bare prompts of two halves; how long a move takes is `python -m benchmarks latency`."""
    view = widgets.VectorBench(smollm2, "present_past", shots=3, mean_prompts=4, trials=2)
    assert view.wait(300)
    view.run(wait=True)
    assert view.status == "complete", view.error
    for layer, strength in ((7, -1.5), (29, 0.25), (0, 3.0)):
        move(view, layer=layer, strength=strength)
        assert view.wait(300) and view.live["status"] == "ready"
        assert (view.live["fields"]["layer"], view.live["fields"]["strength"]) == (layer, strength)
