"""Gates fitted on labelled items, kept on disk, and what is said of them on texts that had no part in it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import lens
from lens import Edit, Gate, Site
from lens.vectors import VectorError, fire_rates, gate_rivals
from tests import naive
from tests.models import speaking

SITE = Site("resid_pre", layer=2)
#: Labels are told by the last word but one.
WORDS = {"greet": (5, 6), "count": (40, 41), "ask": (70, 71)}


def items(label, seed, n=6):
    draw = torch.Generator().manual_seed(seed)
    first = torch.randint(1, 30, (n, 2), generator=draw).tolist()
    return [{"text": f"w{a} w{b} w{WORDS[label][i % 2]} w90", "label": label} for i, (a, b) in enumerate(first)]


def split(seed):
    return [one for k, label in enumerate(WORDS) for one in items(label, 10 * seed + k)]


TRAIN, TUNE, HELD = split(1), split(2), split(3)


@pytest.fixture(scope="module")
def model():
    return speaking(seed=2)


def last(model, rows, layer=2):
    ids = [torch.tensor([int(w[1:]) for w in row["text"].split()]) for row in rows]
    return torch.stack([naive.activation(model, one, "resid_pre", layer)[-1] for one in ids])


@pytest.mark.parametrize("kind", ["nearest", "cosine", "projection"])
def test_centroids_are_means_and_the_threshold_is_the_best_on_tune(model, kind):
    gate = Gate.fit(model, TRAIN, TUNE, SITE, "count", kind=kind, start=None)
    plain = speaking(seed=2)
    states, labels = last(plain, TRAIN), [row["label"] for row in TRAIN]
    names = sorted(WORDS)
    centroids = torch.stack([states[[i for i, one in enumerate(labels) if one == name]].mean(0) for name in names])
    at = last(plain, TUNE)
    if kind == "nearest":
        torch.testing.assert_close(gate.centroids, centroids, atol=1e-4, rtol=1e-4)
        apart = torch.cdist(at, centroids)
        values = apart[:, [0, 2]].amin(1) - apart[:, names.index("count")]
    else:
        way = centroids[1] - centroids[[0, 2]].mean(0)
        torch.testing.assert_close(gate.direction, way / way.norm(), atol=1e-4, rtol=1e-4)
        values = at @ (way / way.norm()) / (at.norm(dim=1) if kind == "cosine" else 1)
    mine = torch.tensor([row["label"] == "count" for row in TUNE])

    def told(threshold):
        return float((values[mine] > threshold).float().mean() - (values[~mine] > threshold).float().mean())

    assert told(gate.threshold) == pytest.approx(max(told(float(v) - 1e-5) for v in values))
    assert gate.about["youden"] == pytest.approx(told(gate.threshold), abs=1e-6)
    assert gate.about["train"] == {"greet": 6, "count": 6, "ask": 6}


def test_of_several_sites_the_best_on_tune_is_taken_and_a_file_of_rows_is_read(model, tmp_path):
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in TRAIN))
    # before the first block the last token is the same in every item
    gate = Gate.fit(model, tmp_path / "train.jsonl", TUNE, [Site("embed"), SITE], "count", start=None)
    assert gate.site == SITE and len(gate.about["tried"]) == 1
    with pytest.raises(lens.GateError, match="every item of tune reads the same"):
        Gate.fit(model, TRAIN, TUNE, Site("embed"), "count", start=None)


def test_a_file_gives_the_gate_back_to_the_bit(model, tmp_path):
    fitted = Gate.fit(model, TRAIN, TUNE, SITE, "count", kind="cosine", start=None)
    nearest = Gate.fit(model, TRAIN, TUNE, SITE, "ask", start=None)
    way = torch.randn(32, generator=torch.Generator().manual_seed(0))
    for i, gate in enumerate(
        [fitted, nearest, Gate.projection(Site("z", 1, head=2), way, float("-inf")), Gate.token([3, 4])]
    ):
        again = Gate.open(gate.save(tmp_path / f"{i}.safetensors"))
        for name in ("kind", "site", "threshold", "tokens", "target", "about"):
            assert getattr(again, name) == getattr(gate, name), name
        for name in ("direction", "centroids"):
            a, b = getattr(gate, name), getattr(again, name)
            assert a is b is None or torch.equal(a, b)
    with pytest.raises(lens.GateError, match=r"ends in \.safetensors"):
        fitted.save(tmp_path / "gate.bin")
    with pytest.raises(lens.GateError, match="code is not kept"):
        Gate.function(SITE, len).save(tmp_path / "f.safetensors")
    lens.files.write_tensors(tmp_path / "other.safetensors", {"x": way})
    with pytest.raises(lens.GateError, match="says it is None"):
        Gate.open(tmp_path / "other.safetensors")
    broken = {"format": "mnemoscope gate 1", "gate": json.dumps({"kind": "guess", "site": None})}
    lens.files.write_tensors(tmp_path / "broken.safetensors", {"x": way}, broken)
    with pytest.raises(lens.GateError, match="holds no gate|does not fit|is not known"):
        Gate.open(tmp_path / "broken.safetensors")


def test_fire_rates_are_shares_of_held_out_texts_with_exact_intervals(model):
    gate = Gate.fit(model, TRAIN, TUNE, SITE, "count", start=None)
    ordinary = [f"w{a} w{a + 1} w{a + 2}" for a in range(20, 32)]
    ds = fire_rates(model, gate, [*HELD, *({"text": text} for text in ordinary)], start=None)
    plain = speaking(seed=2)
    apart = torch.cdist(last(plain, HELD), gate.centroids)
    opened = (apart[:, [0, 2]].amin(1) - apart[:, 1] > gate.threshold).numpy()
    assert (ds.open.values[: len(HELD)] == opened).all()
    assert ds.label.values.tolist() == ["greet", "count", "ask", "ordinary text"]
    for k, label in enumerate(WORDS):
        assert float(ds["mean"].sel(label=label)) == opened[6 * k : 6 * k + 6].mean()
    want = lens.stats.proportion(int(ds.open.values[-12:].sum()), 12)
    got = ds.sel(label="ordinary text")
    assert (float(got.low), float(got.high), int(got.n)) == (want.low, want.high, 12)
    assert ((ds.low <= ds["mean"]) & (ds["mean"] <= ds.high)).all() and (ds.tokens <= 1).all()
    assert lens.record(ds)["kind"] == "fire rates"
    bare = fire_rates(model, gate, ordinary, start=None)
    assert bare.label.values.tolist() == ["ordinary text"]


def test_rivals_have_the_edits_size_and_the_gates_rate(model):
    gate = Gate.fit(model, TRAIN, TUNE, SITE, "count", start=None)
    value = torch.arange(32.0)
    edit = Edit(Site("mlp_out", layer=2), "add", value, when=gate)
    rivals = gate_rivals(model, edit, HELD, directions=[value, -2 * value.flip(0)], start=None)
    assert set(rivals) == {"gated", "always", "random gate", "random direction", "global direction"}
    assert rivals["gated"] is edit and rivals["always"].when is None
    for name in ("random direction", "global direction"):
        assert rivals[name].value.norm() == pytest.approx(float(value.norm()), rel=1e-5) and rivals[name].when is gate
        assert not torch.equal(rivals[name].value, value)
    plain = speaking(seed=2)
    ids = [torch.tensor([int(w[1:]) for w in row["text"].split()]) for row in HELD]
    states = torch.cat([naive.activation(plain, one, "resid_pre", 2) for one in ids])
    apart = torch.cdist(states, gate.centroids)
    count = int((apart[:, [0, 2]].amin(1) - apart[:, 1] > gate.threshold).sum())
    other = rivals["random gate"].when
    assert int((states @ other.direction > other.threshold).sum()) == count > 0
    ends = last(plain, HELD)
    apart = torch.cdist(ends, gate.centroids)
    count = int((apart[:, [0, 2]].amin(1) - apart[:, 1] > gate.threshold).sum())
    other = gate_rivals(model, edit, HELD, at="last", start=None)["random gate"].when
    assert int((ends @ other.direction > other.threshold).sum()) == count > 0


def test_rates_and_rivals_are_of_where_a_gate_acts_and_for_as_long_as_it_holds(model):
    gate = Gate.fit(model, TRAIN, TUNE, SITE, "count", hold="prompt", start=None)
    assert gate.hold == "prompt" and gate.threshold == Gate.fit(model, TRAIN, TUNE, SITE, "count", start=None).threshold
    plain = speaking(seed=2)
    ids = [torch.tensor([int(w[1:]) for w in row["text"].split()]) for row in HELD]
    states = [naive.activation(plain, one, "resid_pre", 2) for one in ids]

    def said(x, of=gate):
        if of.kind == "projection":
            return x @ of.direction > of.threshold
        apart = torch.cdist(x, of.centroids)
        return apart[:, [0, 2]].amin(1) - apart[:, 1] > of.threshold

    ends = torch.stack([said(x)[-1] for x in states])
    steps = torch.stack([said(x).float().mean() for x in states])
    once = torch.stack([(said(x).long().cumsum(0) > 0).float().mean() for x in states])
    assert 0 < int(ends.sum()) < len(HELD) and not torch.equal(steps, once)
    for hold, want in (("step", steps), ("prompt", ends.float()), ("once", once)):
        ds = fire_rates(model, replace(gate, hold=hold), HELD, start=None)
        of = [want[[row["label"] == label for row in HELD]].mean() for label in ds.label.values]
        np.testing.assert_allclose(ds.tokens, of, atol=1e-6)

    def rival(hold, position=None, **how):
        edit = Edit(Site("mlp_out", 2, position=position), "add", torch.ones(32), when=replace(gate, hold=hold))
        return gate_rivals(model, edit, HELD, start=None, **how)["random gate"].when

    last_states, every = torch.stack([x[-1] for x in states]), torch.cat(states)
    # where the edit or the gate is of the prompts' ends, so is the rate
    for other in (rival("prompt"), rival("step", -1), rival("step", (-1,)), rival("step", slice(-1, None))):
        assert int(said(last_states, other).sum()) == int(ends.sum())
    assert rival("prompt").hold == "prompt" and rival("step", -1, at="all").threshold == rival("step").threshold
    assert int(said(every, rival("step")).sum()) == int(said(every).sum())
    held = lambda of: sum(int((said(x, of).long().cumsum(0) > 0).sum()) for x in states)  # noqa: E731
    assert abs(held(rival("once")) - held(gate)) <= max(map(len, ids)) and rival("once").hold == "once"


def test_a_bias_changes_the_choice_and_nothing_else(model):
    plain = lens.generate(model, "w1 w2 w3", max_new_tokens=3, start=None)
    banned = lens.generate(model, "w1 w2 w3", max_new_tokens=3, start=None, bias={plain.ids[0]: -1e9})
    logits = naive.forward(speaking(seed=2), torch.tensor([1, 2, 3]))[-1]
    assert banned.ids[0] == int(logits.index_fill(0, torch.tensor(plain.ids[:1]), -1e9).argmax())
    assert lens.generate(model, "w1 w2 w3", max_new_tokens=3, start=None, bias={"w4": 0.0}).ids == plain.ids
    with pytest.raises(lens.GenerationError, match=r"bias\[500\]"):
        lens.generate(model, "w1 w2 w3", bias={500: 1.0})
    [number] = model.tokenizer("w4", add_special_tokens=False).input_ids
    with pytest.raises(lens.GenerationError, match=f"token {number} is there already"):
        lens.generate(model, "w1 w2 w3", bias={"w4": 1.0, number: 2.0})


FEW = [one for label in WORDS for one in items(label, 7)][:-2]


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(train=FEW), r"train: 4 items of label 'ask'; .* at least 5 of each"),
        (dict(tune=FEW), r"tune: 4 items of label 'ask'"),
        (dict(tune=[*TUNE, TRAIN[3]]), r"tune\[18\]='w.*' is in train too, and 0 more"),
        (dict(target="sing"), "target='sing' is no label of train; it has 'ask', 'count', 'greet'"),
        (dict(train=items("count", 1)), "train: all items are 'count'"),
        (dict(tune=[*TUNE, *[{"text": f"w3 w{i}", "label": "sing"} for i in range(5)]]), "'sing' is not in train"),
        (dict(train=[{"text": "w1"}]), "train: .*lacks 'label'"),
        (dict(train=[]), "train: holds no item"),
        (dict(sites=Site("pattern", layer=1)), "reads one vector a token"),
        (dict(sites=[]), r"sites=\[\]"),
        (dict(kind="guess"), "kind='guess'"),
    ],
)
def test_items_that_make_no_gate_are_named(model, change, message):
    with pytest.raises(lens.GateError, match=message):
        Gate.fit(**(dict(model=model, train=TRAIN, tune=TUNE, sites=SITE, target="count", start=None) | change))


def test_what_fire_rates_and_rivals_refuse(model):
    gate = Gate.fit(model, TRAIN, TUNE, SITE, "count", start=None)
    for rows, split_ in ((TRAIN, "train"), (TUNE, "tune")):
        with pytest.raises(VectorError, match=rf"is in {split_}, on which the gate was fitted, too"):
            fire_rates(model, gate, [*HELD, rows[0]], start=None)
    with pytest.raises(VectorError, match="was fitted on weights"):
        fire_rates(speaking(seed=5), gate, HELD, start=None)
    with pytest.raises(VectorError, match="reads no activation"):
        fire_rates(model, Gate.token(3), HELD, start=None)
    bare = Edit(Site("mlp_out", layer=2), "add", torch.ones(32))
    with pytest.raises(VectorError, match="has no gate"):
        gate_rivals(model, bare, HELD, start=None)
    zero = Edit(Site("mlp_out", layer=2), "zero", when=gate)
    with pytest.raises(VectorError, match="no vector"):
        gate_rivals(model, zero, HELD, start=None)
    edit = Edit(bare.site, "add", torch.ones(32), when=gate)
    with pytest.raises(VectorError, match="directions: their mean"):
        gate_rivals(model, edit, HELD, directions=[np.ones(3)], start=None)


def test_rivals_of_a_gate_that_is_a_function():
    model = speaking()
    site = lens.Site("resid_post", layer=0)
    gate = lens.Gate.function(site, lambda x: x[:, 0] > 0)
    width = model.config.hidden_size
    edit = lens.Edit(lens.Site("resid_post", layer=1), "add", torch.ones(width), when=gate)
    rivals = lens.vectors.gate_rivals(model, edit, ["w5 w6 w7", "w8 w9"])
    assert {"gated", "always", "random gate", "random direction"} <= set(rivals)
