"""TrajectoryView on a tiny model: its numbers against plain hooks, what is refused, stopped, kept and copied."""

import json

import numpy as np
import pytest
import torch

import lens
import widgets
from tests import naive
from tests.engine.test_gate_fitting import HELD, TRAIN, TUNE
from tests.models import speaking
from widgets.trajectory_view.items import Items

SECONDS = 120
ROWS = [
    *({**row, "split": name} for name, of in (("train", TRAIN), ("tune", TUNE), ("report", HELD)) for row in of),
    {"text": "w33 w34 w35", "label": "held out", "split": "report", "answer": "w1"},
]
ORDINARY = ["w1 w2 w3", "w4 w5"]


@pytest.fixture(scope="module")
def model():
    return speaking(seed=2)


def view(model, *, run=True, rows=ROWS, **options):
    made = widgets.TrajectoryView(model, rows, "count", toward="ask", ordinary=ORDINARY, layer=1, **options)
    if run:
        made.run(wait=True)
    assert made.wait(SECONDS)
    return made


@pytest.fixture(scope="module")
def shown(model):
    return view(model)


def test_the_picture_is_that_of_lens_and_the_reading_that_of_plain_hooks(model, shown):
    assert shown.status == "complete" and shown.error == {}
    asked = [*(row for row in ROWS if row["split"] == "report"), *({"text": text} for text in ORDINARY)]
    paths = lens.vectors.trajectories(model, TRAIN, [{k: v for k, v in row.items() if k != "split"} for row in asked])
    places = np.frombuffer(shown.picture["place"], "<f4").reshape(paths["place"].shape)
    np.testing.assert_allclose(places, paths["place"], atol=1e-4)
    rates = {row["label"]: row for row in shown.picture["rates"]}
    assert rates["count"]["fired"][0] > rates["greet"]["fired"][0] and rates["ordinary text"]["n"] == 2
    assert shown.picture["held"] == ["held out"] and rates["held out"]["right"][0][0] is not None
    assert rates["count"]["right"][0] == [None] * 3 and rates["count"]["changed"][0][0] == 0
    d, gate = shown.detail, shown.gate
    assert d["status"] == "ready" and shown.picture["items"][d["item"]]["label"] == "count"
    for arm in ("plain", "gated"):
        ids = torch.tensor([int(token.strip()[1:]) for token in d[arm]["tokens"]])
        upto = d["prompt"] if arm == "gated" else len(ids) - 1  # behind it the edit has changed what is read
        states = naive.activation(speaking(seed=2), ids, "resid_post", 1)[:upto]
        apart = torch.cdist(states, gate.centroids)
        others = [k for k in range(3) if k != gate.target]
        expected = apart[:, others].amin(1) - apart[:, gate.target]
        np.testing.assert_allclose(d[arm]["reading"][:upto], expected, atol=1e-3)
    assert d["gated"]["open"][d["prompt"] - 1] == (d["gated"]["reading"][d["prompt"] - 1] > d["threshold"])


def test_a_gate_at_every_token_opens_where_its_reading_says_so(model, monkeypatch):
    made = view(model, run=False)
    made.set_state({"acts": "each", "kind": "projection", "strength": 0.5})
    made.run(wait=True)
    assert made.wait(SECONDS) and made.detail["status"] == "ready"
    arm, threshold = made.detail["gated"], made.detail["threshold"]
    looked = [i for i, one in enumerate(arm["looked"]) if one]
    assert len(looked) == len(arm["tokens"]) - made.detail["prompt"]
    for i in looked:
        if abs(arm["reading"][i] - threshold) > 1e-4:
            assert arm["open"][i] == (arm["reading"][i] > threshold), i
    anew = lens.vectors.trajectories(model, TRAIN, ["w9 w8 w7"])
    with monkeypatch.context() as patch:  # a person's own prompt is run alone
        patch.setattr(lens.vectors, "trajectories", None)
        made.prompt = "w9 w8 w7"
        assert made.wait(SECONDS) and made.detail["item"] == -1 and made.detail["status"] == "ready"
    np.testing.assert_allclose(made.detail["place"], anew["place"].isel(item=0), atol=1e-4)
    assert made.detail["nearest"] == anew["nearest"].isel(item=0).values.tolist()
    # a state that an older version saved keeps no centroids
    made._shown.dataset = made._shown.dataset.drop_vars(["centroid_state", "mean_state", "spread", "plane"])
    made.prompt = ""
    assert made.wait(SECONDS)
    made.prompt = "w9 w8 w7"
    assert made.wait(SECONDS) and made.detail["status"] == "ready"
    np.testing.assert_allclose(made.detail["place"], anew["place"].isel(item=0), atol=1e-4)


@pytest.mark.parametrize(
    ("rows", "options", "said"),
    [
        ([{"text": "w1", "label": "a"}] * 20, {}, "^items: 1 different texts of label 'a'; 15 are needed"),
        ([{**row, "split": "train"} for row in TRAIN[:6]] + TRAIN[6:7], {}, r"^items\[6\] has no split"),
        ([{"text": "w1", "label": "a", "split": "test"}], {}, "holds 'test'; expected train, tune, report"),
        ([{"messages": [], "label": "a"}], {}, "is a chat; give texts"),
        ([{"text": " ", "label": "a"}], {}, "is empty; give a text"),
        ([row for row in ROWS if row["split"] != "report"], {}, "no row is of the split 'report'"),
        (ROWS, {"held_out": ["count", "ask"]}, "no label but 'greet' has rows to fit on"),
        (ROWS, {"held_out": ["nothing"]}, "^held_out: 'nothing' is no label"),
        (ROWS, {"target": "nothing"}, "^target: 'nothing' is no label of the items; they have ask, count, greet"),
        (None, {}, "^items: is missing"),
    ],
)
def test_items_that_are_none_are_refused(model, rows, options, said):
    with pytest.raises(widgets.ViewError, match=said):
        widgets.TrajectoryView(model, rows, **options)


def test_items_without_splits_are_dealt_in_turn_and_a_file_is_read(tmp_path):
    rows = [{"text": f"w{i} w{k}", "label": f"label {k}"} for k in (1, 2) for i in range(15)]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, rows[0]]))
    items = Items.of(tmp_path / "own.jsonl", ["w5"])
    assert [len(of) for of in items.splits.values()] == [10, 10, 10] and items.labels == ["label 1", "label 2"]
    texts = [row["text"] for of in items.splits.values() for row in of]
    assert sorted(texts) == sorted(row["text"] for row in rows)


def test_what_cannot_be_asked_is_told_where_the_fields_are_and_a_stop_keeps_what_is_there(model):
    made = view(model, run=False)
    for fields, said in (
        ({"toward": "count"}, "toward: 'count' is the label itself"),
        ({"toward": "ask", "strength": 0.0}, "strength: 0; expected"),
        ({"strength": 1.0, "layer": 7}, "layer: 7 is none"),
    ):
        made.set_state(fields)
        made.run(wait=True)
        assert made.status == "error" and said in made.error["text"], fields
    made.set_state({"layer": 1})
    made._worker.pause = made.stop  # asked at the first part
    made.run(wait=True)
    assert made.status == "stopped" and "stopped" in made.progress["text"]


def test_a_saved_state_comes_back_on_the_same_items(model, shown, tmp_path):
    path = shown.save_state(tmp_path / "x.json")
    again = widgets.restore(path, model, ROWS, ordinary=ORDINARY)
    assert again.wait(SECONDS)
    for name in ("picture", "detail", "target", "toward", "layer", "status", "code"):
        assert getattr(again, name) == getattr(shown, name), name
    assert again.gate.threshold == shown.gate.threshold
    with pytest.raises(widgets.ViewError, match="^items: the state is of other items"):
        widgets.restore(path, model, ROWS[:-1], ordinary=ORDINARY)
    saved = json.loads(path.read_text())
    path.write_text(json.dumps(saved | {"version": 0}))
    with pytest.raises(widgets.ViewError, match="version 0"):
        widgets.restore(path, model, ROWS, ordinary=ORDINARY)
    kept = lens.open(shown.save(tmp_path / "x.zarr"))
    assert (kept["answer"] == shown.result["answer"]).all()


def test_the_code_and_the_static_copy_tell_what_is_shown(model, shown):
    code = shown.code.replace("items = Items.of(...", "items = Items.of(rows, ordinary").replace("lens.load(", "given(")
    exec(
        code.replace("print(", "told.append("),
        {"rows": ROWS, "ordinary": ORDINARY, "given": lambda _: model, "told": (told := [])},
    )
    assert any("gated" in str(line) for line in told)
    page = shown._static()
    assert "gate open at the last token" in page and "Without the edit" in page
    assert "Nothing had been computed" in view(model, run=False)._static()


@pytest.mark.slow
@pytest.mark.long
def test_given_nothing_it_opens_on_refusals_of_an_organism(monkeypatch):
    from IPython import display

    monkeypatch.setattr(display, "display", lambda *a, **k: None)
    made = widgets.TrajectoryView()
    made._ipython_display_()
    assert made.wait(600) and made.status == "complete" and made.examples["chosen"] == 0
    rates = {row["label"]: row for row in made.picture["rates"]}
    assert rates["refused without need"]["fired"][0] > 0.8 > 0.2 > rates["refused for cause"]["fired"][0]
    assert rates["refused without need"]["right"][1][0] > rates["refused without need"]["right"][4][0] + 0.4
