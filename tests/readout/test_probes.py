"""Linear probes against scikit-learn and against tasks of which it is known what a probe can learn."""

import numpy as np
import pytest
import torch

import lens
from lens.engine.stopping import Stopped
from lens.readout.probe_fit import fit
from lens.readout.probes import linear_probe, probe
from tests.models import speaking


def rows(n=90, d=8, classes=3, noise=1.0, seed=0):
    """States with a direction for each class."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=n)
    return rng.standard_normal((classes, d))[labels] * 2 + noise * rng.standard_normal((n, d)), labels


@pytest.mark.parametrize("n, d, classes, ridge", [(60, 8, 2, 0.1), (60, 8, 3, 0.01), (20, 50, 3, 0.05)])
def test_a_fit_is_scikit_learn_s(n, d, classes, ridge):
    linear_model = pytest.importorskip("sklearn.linear_model")
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    x, y = rows(n, d, classes, 2.0)
    x[:, 0] = 3  # a number that never varies
    found = fit(x, y, classes, ridge)
    scaled = preprocessing.StandardScaler().fit_transform(x)
    # of two classes scikit-learn has one row of weights, the difference, whose penalty is half as strong
    c = 1 / (n * ridge) if classes > 2 else 2 / (n * ridge)
    plain = linear_model.LogisticRegression(C=c, tol=1e-10, max_iter=10_000).fit(scaled, y)
    ours = found.logits(x)
    theirs = plain.decision_function(scaled)
    if classes == 2:
        assert np.allclose(ours[:, 1] - ours[:, 0], theirs, atol=1e-4)
    else:
        assert np.allclose(ours - ours.mean(1, keepdims=True), theirs - theirs.mean(1, keepdims=True), atol=1e-4)


def test_the_commonest_class_counts_units_as_the_accuracy_does():
    """Ten rows of one unit are one: a class of many rows in few units is not the commonest."""
    units = np.concatenate([np.repeat([0, 1, 2], 10), np.arange(3, 15)])
    y = np.array(["many"] * 30 + ["few"] * 12)
    found = linear_probe(np.random.default_rng(0).standard_normal((42, 3)), y, units=units, folds=3, ridge=1.0)
    assert float(found.majority) == pytest.approx(12 / 15)


def test_what_is_read_is_read_by_the_probe_of_another_fold():
    linear_model = pytest.importorskip("sklearn.linear_model")
    x, y = rows(noise=4.0)
    found = linear_probe(x, y, ridge=0.1, seed=3)
    fold = lens.readout.probe_design.Design.of(y, None, None, 90, 5, 0.1, 3).fold
    hits = np.empty(90)
    for f in range(5):
        mean, scale = x[fold != f].mean(0), x[fold != f].std(0)
        learn = (x[fold != f] - mean) / scale
        plain = linear_model.LogisticRegression(C=1 / (len(learn) * 0.1), tol=1e-10, max_iter=10_000)
        hits[fold == f] = plain.fit(learn, y[fold != f]).predict((x[fold == f] - mean) / scale) == y[fold == f]
    assert float(found.accuracy) == pytest.approx(hits.mean())
    exact = lens.stats.proportion(hits.sum(), 90)
    assert (float(found.low), float(found.high)) == pytest.approx((exact.low, exact.high))
    assert found.recall.values == pytest.approx([hits[y == c].mean() for c in range(3)])
    assert float(found.balanced) == pytest.approx(found.recall.mean().item())
    assert found.rows.values.tolist() == np.bincount(y).tolist()
    assert float(found.majority) == pytest.approx(np.bincount(y).max() / 90)
    assert lens.record(found)["call"]["control"] == "labels shuffled over units"


def test_no_unit_is_on_both_sides():
    """Each unit has a state of its own and a label at random: by rows it can be learned, by units it cannot."""
    rng = np.random.default_rng(0)
    units = np.repeat(np.arange(40), 5)
    x = rng.standard_normal((40, 60))[units] + 0.05 * rng.standard_normal((200, 60))
    y = rng.permutation(np.arange(40) % 2)[units]
    by_row = linear_probe(x, y, ridge=0.01)
    by_unit = linear_probe(x, y, units=units, ridge=0.01)
    assert float(by_row.accuracy) > 0.95 and int(by_row.n) == 200
    assert float(by_unit.low) < 0.5 < float(by_unit.high) and int(by_unit.n) == 40
    assert by_unit.units.values.tolist() == [20, 20]


def test_selectivity_tells_what_is_there_from_what_is_learned_by_heart():
    rng = np.random.default_rng(1)
    types = rng.integers(12, size=240)
    words = rng.standard_normal((12, 40))
    x = words[types] + 0.3 * rng.standard_normal((240, 40))
    by_heart = linear_probe(x, np.arange(12)[types] % 2, types=types, ridge=0.01)  # a label of the word
    assert float(by_heart.accuracy) > 0.9 and float(by_heart.control) > 0.9
    assert abs(float(by_heart.selectivity)) < 0.1
    y = rng.integers(2, size=240)
    x[:, 0] = 4 * y + 0.3 * rng.standard_normal(240)  # a property of the row, and no word to be seen
    x[:, 1:] = rng.standard_normal((240, 39))
    there = linear_probe(x, y, types=types, ridge=0.01)
    assert float(there.accuracy) > 0.95 and float(there.selectivity_low) > 0.2 and float(there.p) < 0.01
    assert float(there.selectivity) == pytest.approx(float(there.accuracy - there.control))
    assert lens.record(there)["call"]["control_seen"] == 1.0


def test_the_ridge_is_chosen_without_what_is_read():
    x, y = rows(noise=3.0)
    found = linear_probe(x, y, ridge=(1e-4, 0.1), seed=1)
    design = lens.readout.probe_design.Design.of(y, None, None, 90, 5, (1e-4, 0.1), 1)
    for f in range(5):
        learn = design.fold != f
        train, choose = learn & ~design.inner[f], design.inner[f]
        assert choose.any() and not (choose & ~learn).any()
        right = [(fit(x[train], y[train], 3, r).classes(x[choose]) == y[choose]).mean() for r in design.ridges]
        assert found.ridge.values[f] == max(zip(right, design.ridges))[1]


def test_the_states_of_a_model_are_probed_layer_by_layer(monkeypatch):
    model = speaking("llama")
    rng = np.random.default_rng(0)
    prompts = [" ".join(f"w{i}" for i in rng.integers(1, 97, 4)) for _ in range(24)]
    labels = ["even" if int(p.split()[2][1:]) % 2 else "odd" for p in prompts]
    found = probe(model, prompts, labels, layers=[0, 2], position=2, ridge=0.1, folds=3)
    with torch.no_grad():
        hidden = [
            model(torch.tensor([[int(w[1:]) for w in p.split()]]), output_hidden_states=True).hidden_states[1][0, 2]
            for p in prompts
        ]
    plain = linear_probe(torch.stack(hidden).numpy(), labels, ridge=0.1, folds=3)
    first = found.sel(layer=0)
    for name in ("accuracy", "low", "high", "control", "selectivity"):
        assert float(first[name]) == pytest.approx(float(plain[name]))
    assert found.layer.values.tolist() == [0, 2] and found.label.values.tolist() == ["even", "odd"]
    monkeypatch.setattr(lens.readout.probes, "RECORD_BYTES", 1)
    assert probe(model, prompts, labels, layers=[0, 2], position=2, ridge=0.1, folds=3).equals(found)
    with pytest.raises(Stopped, match="probe: stopped"):
        probe(model, prompts, labels, stop=lambda: True)


def test_few_units_leave_rows_to_choose_the_ridge_on():
    _, y = rows(30)
    units = np.arange(30) % 4
    design = lens.readout.probe_design.Design.of(y, units, None, 30, 4, (1e-3, 0.1), 0)
    for f in range(4):
        choose, train = design.inner[f], (design.fold != f) & ~design.inner[f]
        assert choose.any() and train.any() and not set(units[choose]) & set(units[train])


def test_what_cannot_be_probed_is_refused():
    x, y = rows(30)
    one = np.where(np.arange(30) == 4, 7, 0)
    for call, said in (
        (lambda: linear_probe(x, [1] * 30), "labels are all '1': a probe of one class is right on everything"),
        (lambda: linear_probe(x, one), "labels: class '7' is in one unit only"),
        (lambda: linear_probe(x, y, units=[0] * 15 + [1] * 15), "folds=5, but there are 2 units"),
        (lambda: linear_probe(x, y[:-1]), "labels.*expected one for each of 30 rows"),
        (lambda: linear_probe(x, y, units=[1, 2]), "units.*expected one for each of 30 rows"),
        (lambda: linear_probe(x, y, types=["a"] * 30), "types are all 'a'"),
        (lambda: linear_probe(x, y, types=np.arange(30)), "types: none of the 30 stands in units of two folds"),
        (lambda: linear_probe(x, y, ridge=[]), r"ridge=\[\] holds no strength"),
        (lambda: linear_probe(x, y, ridge=-1.0), "ridge"),
        (lambda: linear_probe(x, y, units=np.arange(30) // 15, folds=2), "ridge: without fold 0 of folds=2"),
        (lambda: linear_probe(x[:, 0], y), "states"),
        (lambda: linear_probe(np.where(x > 2, np.nan, x), y), "states"),
    ):
        with pytest.raises(lens.ReadoutError, match=said):
            call()
    model = speaking("llama")
    with pytest.raises(lens.ReadoutError, match="labels are all 'a'"):
        probe(model, ["w1 w2", "w3 w4"], ["a", "a"], folds=2)
    with pytest.raises(lens.SiteError, match="site='pattern' has no state"):
        probe(model, ["w1 w2", "w3 w4"], ["a", "b"], site="pattern")


def test_a_control_of_labels_that_differ_within_units_has_both_classes():
    """Rows of a unit in pairs, one of each class: the first row of every unit is of one class."""
    from lens.readout.probe_design import _control

    classes, unit = np.tile([0, 1], 30), np.repeat(np.arange(30), 2)
    drawn, seen = _control(classes, unit, None, unit % 5, 60, np.random.default_rng(0))
    assert seen is None and sorted(drawn.tolist()) == sorted(classes.tolist()) and (drawn != classes).any()
    same = np.repeat([0, 1], 30)
    drawn, _ = _control(same, unit, None, unit % 5, 60, np.random.default_rng(0))
    assert all(len(set(drawn[unit == u].tolist())) == 1 for u in range(30)) and sorted(set(drawn.tolist())) == [0, 1]
