"""Metrics on results made by hand, and recovery against plain hooked forwards."""

import copy

import numpy as np
import pytest
import torch
import xarray as xr

from lens.forgetting import (ForgettingError, Probe, change, compare, compare_prompts, cosine, overlap, performance, recover, recovered, similarity, stability_gap, summary,
                             weight_drift)

from ..models import tiny
from .helpers import logits_of, prompts


def made(values):
    """A result from per-prompt truth values ``[stage, step, probe, prompt]``."""
    correct = np.array(values, dtype=np.float32)
    return xr.Dataset({"correct": (("stage", "step", "probe", "prompt"), correct), "accuracy": (("stage", "step", "probe"), np.nanmean(correct, -1)),
                       "n": ("probe", np.full(correct.shape[2], correct.shape[3])), "last_step": ("stage", [20, 20])},
                      coords={"stage": ["a", "b"], "step": [0, 10, 20], "probe": ["p", "q", "a", "b"], "kind": ("probe", ["instruction", "knowledge", "new", "new"])})


def share(*shares):
    """Each number of ten prompts right, the first ones."""
    return [[1.0] * s + [0.0] * (10 - s) for s in shares]


RESULT = made([[share(9, 8, 0, 0), share(3, 8, 5, 0), share(6, 8, 10, 0)], [share(6, 8, 10, 0), share(7, 7, 8, 5), share(4, 9, 6, 8)]])


def test_performance_and_forgetting_are_their_definitions():
    found = performance(RESULT)
    assert (found["AP"], found["FP"], found["forget"]) == pytest.approx(((1.0 + 0.8) / 2, (0.6 + 0.8) / 2, 0.2))
    with pytest.raises(ForgettingError, match="stage 'b' has no probe"):
        performance(RESULT.isel(probe=[0, 1, 2]))


def test_change_of_old_abilities_with_intervals():
    table = change(RESULT).set_index(["kind", "probe"])
    row = table.loc[("instruction", "p")]
    assert (row.before, row.after, row.change) == pytest.approx((0.9, 0.4, -0.5), abs=1e-6) and row.low < -0.5 < row.high <= 0 and row.n == 10
    assert table.loc[("knowledge", "all")].change == pytest.approx(0.1, abs=1e-6)
    assert summary(RESULT)["general change"] == pytest.approx((-0.5 + 0.1) / 2, abs=1e-6)


def test_the_stability_gap_is_a_dip_below_start_and_end():
    gaps = stability_gap(RESULT).set_index(["stage", "probe"])
    assert gaps.loc[("a", "p")].gap == pytest.approx(0.3) and gaps.loc[("a", "p")].at_step == 10
    assert gaps.loc[("b", "p")].gap == 0 and gaps.loc[("b", "q")].gap == pytest.approx(0.1)
    assert summary(RESULT)["stability gap"] == pytest.approx(0.3)


def test_methods_are_compared_over_seeds_in_pairs():
    runs = {"plain": [{"forget": 0.5}, {"forget": 0.3}, {"forget": 0.7}], "guided": [{"forget": 0.4}, {"forget": 0.1}, {"forget": 0.4}]}
    row = compare(runs).set_index("method").loc["guided"]
    assert row.difference == pytest.approx(-0.2) and row.differences == pytest.approx((-0.1, -0.2, -0.3)) and row.low >= -0.3 - 1e-9 and row.high <= -0.1 + 1e-9
    assert row.n == 3 and "only 3 seeds" in row.note
    assert set(compare({"plain": [RESULT, RESULT], "x": [RESULT, RESULT]}).metric) >= {"AP", "FP", "forget", "instruction change", "knowledge change"}
    with pytest.raises(ForgettingError, match="different numbers of seeds"):
        compare({"plain": [RESULT], "x": [RESULT, RESULT]})
    with pytest.raises(ForgettingError, match="baseline='plain'"):
        compare({"x": [RESULT]})


def test_methods_are_compared_over_prompts():
    other = made([[share(9, 8, 0, 0), share(3, 8, 5, 0), share(6, 8, 10, 0)], [share(6, 8, 10, 0), share(7, 7, 8, 5), share(8, 9, 6, 8)]])
    row = compare_prompts(other, RESULT).set_index("probe").loc["p"]
    assert row.difference == pytest.approx(0.4) and 0 < row.low < 0.4 < row.high and row.n == 10
    with pytest.raises(ForgettingError, match="different probes"):
        compare_prompts(RESULT, RESULT.isel(probe=[0, 1]))


def test_weight_drift_by_part_and_layer():
    before = tiny()
    after = copy.deepcopy(before)
    with torch.no_grad():
        after.model.layers[1].mlp.up_proj.weight.mul_(1.1)
        after.model.layers[2].self_attn.q_proj.weight.add_(0.5)
    table = weight_drift(before, after).set_index(["part", "layer"])
    norm = lambda *names: sum(float(dict(before.named_parameters())[n].double().square().sum()) for n in names)
    mlp = norm(*(n for n, _ in before.named_parameters() if ".layers.1.mlp." in n))
    up = norm("model.layers.1.mlp.up_proj.weight")
    assert table.loc[("mlp", 1)].drift == pytest.approx(0.1 * (up / mlp) ** 0.5, rel=1e-5)
    q = before.model.layers[2].self_attn.q_proj.weight
    assert table.loc[("attention", 2)].distance == pytest.approx(0.5 * q.numel() ** 0.5, rel=1e-5)
    assert table.loc[("attention", 0)].drift == table.loc[("norm", 1)].drift == 0
    whole = weight_drift(before, after)
    assert int(whole[whole.part == "all"].weights.iloc[0]) == sum(p.numel() for p in before.parameters())
    with pytest.raises(ForgettingError, match="they differ in"):
        weight_drift(before, tiny("gpt2"))


def test_vectors_and_heads():
    assert cosine([1, 1], torch.tensor([1.0, 0.0])) == pytest.approx(0.5 ** 0.5)
    with pytest.raises(ForgettingError, match="widths 2 and 3"):
        cosine([1, 1], [1, 1, 1])
    watched = np.array([[[1.0, 0.0], [0.0, 2.0]], [[np.nan, np.nan], [3.0, 3.0]]])
    assert similarity(watched).ravel() == pytest.approx([1, 0, np.nan, 0.5 ** 0.5], nan_ok=True)
    found = overlap([(0, 0), (0, 1)], [(0, 1), (1, 0)], total=4)
    # of the 6 pairs of heads, 5 share at least one with a given pair
    assert found == pytest.approx({"shared": 1, "jaccard": 1 / 3, "by_chance": 1.0, "p": 5 / 6})
    with pytest.raises(ForgettingError, match="expected two sets"):
        overlap([], [(0, 0)], 4)


@pytest.fixture(scope="module")
def recovery():
    """A probe whose even prompts are answered only with the old vector at layer 1, strength 2; a model, and the vectors."""
    model, draw = tiny(), torch.Generator().manual_seed(3)
    old, new = (torch.randn(32, generator=draw) * 2 for _ in range(2))
    some = []
    for i, (ids, _) in enumerate(prompts(16, 12)):
        first = int(logits_of(model, ids, 1, 2 * old, len(ids) - 1)[-1].argmax()) if i % 2 == 0 else int(logits_of(model, ids)[-1].argmax())
        second = int(logits_of(model, [*ids, first], 1, 2 * old, len(ids) - 1)[-1].argmax())
        some.append((ids, [first, second] if i % 4 == 0 else [first]))
    probe = Probe("p", "instruction", some)
    return model, probe, old, new, recover(model, probe, old, new, strengths=(1.0, 2.0))


def test_recovery_is_what_hooked_forwards_give(recovery):
    model, probe, old, new, found = recovery
    assert found.condition.values.tolist() == ["old", "new", "random", "random of new"] and found.layer.values.tolist() == [0, 1, 2]
    for c, vector in (("old", old), ("new", -new)):
        for layer in range(3):
            for strength in (1.0, 2.0):
                for i, (ids, answer) in enumerate(probe.prompts):
                    best = logits_of(model, [*ids, *answer][:-1], layer, strength * vector, len(ids) - 1)[len(ids) - 1:].argmax(-1).tolist()
                    assert bool(found.correct.sel(condition=c, layer=layer, strength=strength)[i]) == (best == list(answer)), (c, layer, strength, i)
    assert bool(found.correct.sel(condition="old", layer=1, strength=2.0)[::2].all()) and found.base.values[1::2].all()
    norms = found.norm.values
    assert np.allclose(norms[0], norms[2]) and np.allclose(norms[1], norms[3])


def test_recovery_chooses_on_one_half_and_reports_the_other(recovery):
    found = recovery[-1]
    table = recovered(found, before=np.ones(16, bool), seed=4).set_index("condition")
    from lens.measure.statistics import halves
    half = halves(16, 4)
    old = table.loc["old"]
    means = found.correct.sel(condition="old")[..., half.select].mean("prompt")
    assert float(means.sel(layer=old.layer, strength=old.strength)) == float(means.max()) == old.selected
    there = found.correct.sel(condition="old", layer=old.layer, strength=old.strength)[half.report]
    assert old.accuracy == pytest.approx(float(there.mean())) and old.base == pytest.approx(found.base.values[half.report].mean()) and old.n == 8
    assert old.low <= old.difference <= old.high and old.share == pytest.approx(old.difference / (1 - old.base))
    assert old.over_random == pytest.approx(old.accuracy - table.loc["random"].accuracy)
    with pytest.raises(ForgettingError, match="at least 4"):
        recovered(found.isel(prompt=slice(3)))


def test_recovery_refuses_what_does_not_fit(recovery):
    model, probe, old, *_ = recovery
    with pytest.raises(ForgettingError, match="this model d_model 32"):
        recover(model, probe, torch.ones(64))
    with pytest.raises(ForgettingError, match="zero or not finite"):
        recover(model, probe, torch.zeros(32))
    with pytest.raises(ForgettingError, match="strengths=\\[\\]"):
        recover(model, probe, old, strengths=())


def test_recovery_without_the_fast_walk_is_the_same(recovery, monkeypatch):
    from lens.engine.decoder import Decoder, UnsupportedModel
    model, probe, old, new, found = recovery
    def refuse(*_):
        raise UnsupportedModel("unknown blocks")
    monkeypatch.setattr(Decoder, "of", refuse)
    with pytest.warns(UserWarning, match="which is slow"):
        slow = recover(model, probe, old, new, strengths=(1.0, 2.0))
    assert slow.correct.equals(found.correct)
