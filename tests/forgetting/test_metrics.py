"""Metrics on results made by hand, and recovery against plain hooked forwards."""

import copy

import numpy as np
import pytest
import torch
import xarray as xr
from scipy import stats

import lens
from lens.forgetting import (
    ForgettingError,
    Probe,
    change,
    compare,
    compare_prompts,
    cosine,
    over_seeds,
    overlap,
    performance,
    recover,
    recovered,
    similarity,
    stability_gap,
    summary,
    weight_drift,
)

from ..models import tiny
from .helpers import logits_of, prompts


def made(values):
    """A result from per-prompt truth values ``[stage, step, probe, prompt]``."""
    correct = np.array(values, dtype=np.float32)
    return xr.Dataset(
        {
            "correct": (("stage", "step", "probe", "prompt"), correct),
            "accuracy": (("stage", "step", "probe"), np.nanmean(correct, -1)),
            "n": ("probe", np.full(correct.shape[2], correct.shape[3])),
            "last_step": ("stage", [20, 20]),
        },
        coords={
            "stage": ["a", "b"],
            "step": [0, 10, 20],
            "probe": ["p", "q", "a", "b"],
            "kind": ("probe", ["instruction", "knowledge", "new", "new"]),
        },
    )


def share(*shares):
    """Each number of ten prompts right, the first ones."""
    return [[1.0] * s + [0.0] * (10 - s) for s in shares]


RESULT = made(
    [
        [share(9, 8, 0, 0), share(3, 8, 5, 0), share(6, 8, 10, 0)],
        [share(6, 8, 10, 0), share(7, 7, 8, 5), share(4, 9, 6, 8)],
    ]
)


def test_performance_and_forgetting_are_their_definitions():
    found = performance(RESULT)
    assert (found["AP"], found["FP"], found["forget"]) == pytest.approx(((1.0 + 0.8) / 2, (0.6 + 0.8) / 2, 0.2))
    with pytest.raises(ForgettingError, match="stage 'b' has no probe"):
        performance(RESULT.isel(probe=[0, 1, 2]))


def test_change_of_old_abilities_with_intervals():
    table = change(RESULT).set_index(["kind", "probe"])
    row = table.loc[("instruction", "p")]
    assert (row.before, row.after, row.change) == pytest.approx((0.9, 0.4, -0.5), abs=1e-6) and row.n == 10
    # five of ten lost and none gained: each count's own exact bounds; a bootstrap's end at 0 covered less than it said
    lost, gained = (stats.binomtest(k, 10).proportion_ci(0.95, "exact") for k in (5, 0))
    assert (row.low, row.high) == pytest.approx(
        (gained.low - lost.high, gained.high - lost.low)
    ) and "Clopper-Pearson" in row.interval
    assert table.loc[("knowledge", "all")].change == pytest.approx(0.1, abs=1e-6)
    every = summary(RESULT)
    found = every.sel(metric="general change")
    assert found["mean"] == pytest.approx((-0.5 + 0.1) / 2, abs=1e-6)
    moved = np.r_[np.repeat([-1.0, 0], 5), np.repeat([1.0, 0], [1, 9])]
    flips = stats.permutation_test((moved,), np.mean, permutation_type="samples", n_resamples=20_000, random_state=0)
    assert (
        found["n"] == 20
        and found["p"] == pytest.approx(flips.pvalue, abs=0.02)
        and found["low"] < -0.2 < found["high"]
        and found["p_kind"].item().startswith("monte carlo if ")
    )
    of = every.sel(metric="instruction change")
    assert of["mean"] == pytest.approx(row.change) and (of.low, of.high) == pytest.approx((row.low, row.high))
    assert of.n == 10 and of.p == pytest.approx(2 * 0.5**5)  # five lost, none gained: signs of five
    after = every.sel(metric="instruction after")
    assert after["mean"] == pytest.approx(0.4, abs=1e-6) and after.n == 10
    assert np.isnan([after.low, after.p]).all() and after.p_kind == "none: of changes only"


def test_the_stability_gap_is_a_dip_below_start_and_end():
    gaps = stability_gap(RESULT).set_index(["stage", "probe"])
    assert gaps.loc[("a", "p")].gap == pytest.approx(0.3) and gaps.loc[("a", "p")].at_step == 10
    assert gaps.loc[("b", "p")].gap == 0 and gaps.loc[("b", "q")].gap == pytest.approx(0.1)
    assert summary(RESULT)["mean"].sel(metric="stability gap") == pytest.approx(0.3)


def test_without_an_evaluation_within_a_stage_there_is_no_stability_gap():
    ends = RESULT.sel(step=[0, 20])
    gaps = stability_gap(ends)
    assert (
        len(gaps) == 4
        and gaps.gap.isna().all()
        and gaps.end.notna().all()
        and "stability gap" not in summary(ends).metric
    )
    half = RESULT.where(~((RESULT.stage == "a") & (RESULT.step == 10)))  # looked into in the second stage only
    half = RESULT.assign(accuracy=half.accuracy)
    assert stability_gap(half).set_index(["stage", "probe"]).gap.to_dict() == pytest.approx(
        {("a", "p"): np.nan, ("a", "q"): np.nan, ("b", "p"): 0.0, ("b", "q"): 0.1}, nan_ok=True
    )


def test_methods_are_compared_over_seeds_in_pairs():
    runs = {
        "plain": [{"forget": 0.5}, {"forget": 0.3}, {"forget": 0.7}],
        "guided": [{"forget": 0.4}, {"forget": 0.1}, {"forget": 0.4}],
    }
    row = compare(runs).set_index("method").loc["guided"]
    half = stats.ttest_1samp([-0.1, -0.2, -0.3], 0).confidence_interval()
    assert (
        row.difference == pytest.approx(-0.2)
        and row.differences == pytest.approx((-0.1, -0.2, -0.3))
        and (row.low, row.high) == pytest.approx((half.low, half.high))
    )
    assert row.n == 3 and "same sign in 3 of 3 seeds" in row.note and "p = 0.25" in row.note
    alone = compare({"plain": [{"forget": 0.5}], "guided": [{"forget": 0.4}]}).set_index("method").loc["guided"]
    assert (
        alone.difference == pytest.approx(-0.1)
        and np.isnan(alone.low)
        and alone.n == 1
        and alone.interval.startswith("none")
    )
    assert set(compare({"plain": [RESULT, RESULT], "x": [RESULT, RESULT]}).metric) >= {
        "AP",
        "FP",
        "forget",
        "instruction change",
        "knowledge change",
    }
    assert not {"p", "low", "p_kind"} & set(compare({"plain": [RESULT], "x": [RESULT]}).metric)
    told = compare({"plain": [summary(RESULT)], "x": [summary(RESULT)]})  # a summary stands for its result
    assert told.equals(compare({"plain": [RESULT], "x": [RESULT]}))
    tied = over_seeds([0.25, 0.25, 0.25])
    assert (
        np.isnan([tied.low, tied.high]).all() and "equal" in tied.kind
    )  # three runs that tie say nothing of the spread
    with pytest.raises(ForgettingError, match="different numbers of seeds"):
        compare({"plain": [RESULT], "x": [RESULT, RESULT]})
    with pytest.raises(ForgettingError, match="baseline='plain'"):
        compare({"x": [RESULT]})


def test_an_interval_over_seeds_holds_a_null_at_its_level():
    """Seeds that differ as much as tasks do: intervals over pooled tasks exclude 0 in half of the cases; those over
    seeds in one of twenty.
    """
    draw, outside = np.random.default_rng(0), 0
    for _ in range(2000):
        found = over_seeds((draw.normal(size=(3, 1)) + draw.normal(size=(3, 12))).mean(1))
        outside += found.low > 0 or found.high < 0
    assert 0.03 < outside / 2000 < 0.07


def test_methods_are_compared_over_prompts():
    other = made(
        [
            [share(9, 8, 0, 0), share(3, 8, 5, 0), share(6, 8, 10, 0)],
            [share(6, 8, 10, 0), share(7, 7, 8, 5), share(8, 9, 6, 8)],
        ]
    )
    row = compare_prompts(other, RESULT).set_index("probe").loc["p"]
    assert row.difference == pytest.approx(0.4) and row.low < 0 < 0.4 < row.high and row.n == 10
    with pytest.raises(ForgettingError, match="different probes"):
        compare_prompts(RESULT, RESULT.isel(probe=[0, 1]))


def test_weight_drift_by_part_and_layer():
    before = tiny()
    after = copy.deepcopy(before)
    with torch.no_grad():
        after.model.layers[1].mlp.up_proj.weight.mul_(1.1)
        after.model.layers[2].self_attn.q_proj.weight.add_(0.5)
    table = weight_drift(before, after).set_index(["part", "layer"])

    def norm(*names):
        return sum(float(dict(before.named_parameters())[n].double().square().sum()) for n in names)

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
    assert cosine([1, 1], torch.tensor([1.0, 0.0])) == pytest.approx(0.5**0.5)
    with pytest.raises(ForgettingError, match="widths 2 and 3"):
        cosine([1, 1], [1, 1, 1])
    watched = np.array([[[1.0, 0.0], [0.0, 2.0]], [[np.nan, np.nan], [3.0, 3.0]]])
    assert similarity(watched).ravel() == pytest.approx([1, 0, np.nan, 0.5**0.5], nan_ok=True)
    found = overlap([(0, 0), (0, 1)], [(0, 1), (1, 0)], total=4)
    # of the 6 pairs of heads, 5 share at least one with a given pair
    assert found == pytest.approx({"shared": 1, "jaccard": 1 / 3, "by_chance": 1.0, "p": 5 / 6})
    with pytest.raises(ForgettingError, match="expected two sets"):
        overlap([], [(0, 0)], 4)


@pytest.fixture(scope="module")
def recovery():
    """A probe whose even prompts are answered only with the old vector at layer 1, strength 2; a model, and the
    vectors.
    """
    model, draw = tiny(), torch.Generator().manual_seed(3)
    old, new = (torch.randn(32, generator=draw) * 2 for _ in range(2))
    some = []
    for i, (ids, _) in enumerate(prompts(16, 12)):
        first = (
            int(logits_of(model, ids, 1, 2 * old, len(ids) - 1)[-1].argmax())
            if i % 2 == 0
            else int(logits_of(model, ids)[-1].argmax())
        )
        second = int(logits_of(model, [*ids, first], 1, 2 * old, len(ids) - 1)[-1].argmax())
        some.append((ids, [first, second] if i % 4 == 0 else [first]))
    probe = Probe("p", "instruction", some)
    return model, probe, old, new, recover(model, probe, old, new, strengths=(1.0, 2.0), randoms=1)


def test_recovery_is_what_hooked_forwards_give(recovery):
    model, probe, old, new, found = recovery
    assert found.condition.values.tolist() == [
        "old",
        "new",
        "random",
        "random of new",
    ] and found.layer.values.tolist() == [0, 1, 2]
    for c, vector in (("old", old), ("new", -new)):
        for layer in range(3):
            for strength in (1.0, 2.0):
                for i, (ids, answer) in enumerate(probe.prompts):
                    best = (
                        logits_of(model, [*ids, *answer][:-1], layer, strength * vector, len(ids) - 1)[len(ids) - 1 :]
                        .argmax(-1)
                        .tolist()
                    )
                    assert bool(found.correct.sel(condition=c, layer=layer, strength=strength)[i]) == (
                        best == list(answer)
                    ), (c, layer, strength, i)
    assert bool(found.correct.sel(condition="old", layer=1, strength=2.0)[::2].all()) and found.base.values[1::2].all()
    norms = found.norm.values
    assert np.allclose(norms[0], norms[2]) and np.allclose(norms[1], norms[3])


def test_recovery_chooses_on_one_half_and_reports_the_other(recovery):
    found = recovery[-1]
    table = recovered(found, before=np.ones(16, bool), seed=4).set_index("condition")
    from lens.stats import halves

    half = halves(16, 4)
    old = table.loc["old"]
    means = found.correct.sel(condition="old")[..., half.select].mean("prompt")
    assert float(means.sel(layer=old.layer, strength=old.strength)) == float(means.max()) == old.selected
    there = found.correct.sel(condition="old", layer=old.layer, strength=old.strength)[half.report]
    assert (
        old.accuracy == pytest.approx(float(there.mean()))
        and old.base == pytest.approx(found.base.values[half.report].mean())
        and old.n == 8
    )
    assert old.low <= old.difference <= old.high and old.share == pytest.approx(old.difference / (1 - old.base))
    assert old.over_random == pytest.approx(old.accuracy - table.loc["random"].accuracy)
    with pytest.raises(ForgettingError, match="at least 4"):
        recovered(found.isel(prompt=slice(3)))


def test_random_vectors_are_drawn_for_each_task_and_seed_and_their_mean_is_one_row(recovery, monkeypatch):
    """Directions are read from the edits that are walked."""
    from lens.forgetting import recovery as module

    model, probe, old, new, _ = recovery
    drawn, walked = {}, module._right

    def watched(view, of, shape, edit_of, *more):
        drawn[key] = {c: edit_of((c, 0, 0), 1).value.cpu() for c in range(2, 12)}
        return walked(view, of, shape, edit_of, *more)

    monkeypatch.setattr(module, "_right", watched)
    found = {}
    for key in ((0, "p"), (0, "other"), (1, "p"), (0, "p again")):
        found[key] = recover(
            model, Probe(key[1].removesuffix(" again"), "instruction", probe.prompts), old, new, layers=[1], seed=key[0]
        )
    assert all(torch.equal(drawn[0, "p"][c], drawn[0, "p again"][c]) for c in drawn[0, "p"]), (
        "the same seed and task draw the same"
    )
    every = torch.stack([v / v.norm() for key, of in drawn.items() if key[1] != "p again" for v in of.values()])
    apart = (every @ every.T - torch.eye(len(every))).abs()
    assert len(every) == 30 and float(apart.max()) < 0.75, "no direction is used twice"
    for source, own in (("random", old), ("random of new", new)):
        names = [
            c
            for c in found[0, "p"].condition.values
            if c.startswith(f"{source} ") and c.removeprefix(f"{source} ").isdigit()
        ]
        assert len(names) == 5 and np.allclose(found[0, "p"].norm.sel(condition=names), own.norm())
    table = recovered(found[0, "p"], seed=4).set_index("condition")
    assert (
        list(table.index) == ["old", "new", "random", "random of new"]
        and table.draws.tolist() == [1, 1, 5, 5]
        and np.isnan(table.loc["random"].layer)
    )
    each = [
        recovered(found[0, "p"].sel(condition=["old", f"random {r}"]), seed=4)
        .set_index("condition")
        .loc["random"]
        .accuracy
        for r in range(1, 6)
    ]
    assert table.loc["random"].accuracy == pytest.approx(np.mean(each)) and table.loc[
        "old"
    ].over_random == pytest.approx(table.loc["old"].accuracy - np.mean(each))


def test_recovery_refuses_what_does_not_fit(recovery):
    model, probe, old, *_ = recovery
    with pytest.raises(ForgettingError, match="this model d_model 32"):
        recover(model, probe, torch.ones(64))
    with pytest.raises(ForgettingError, match="zero or not finite"):
        recover(model, probe, torch.zeros(32))
    with pytest.raises(ForgettingError, match="strengths=\\[\\]"):
        recover(model, probe, old, strengths=())


def test_recovery_without_the_fast_walk_is_the_same(recovery, monkeypatch):
    from lens.engine.errors import UnsupportedModel
    from lens.engine.walk.decoder import Decoder

    model, probe, old, new, found = recovery

    def refuse(*_):
        raise UnsupportedModel("unknown blocks")

    monkeypatch.setattr(Decoder, "of", refuse)
    monkeypatch.delitem(model.__dict__, "_mnemoscope_model", raising=False)
    with pytest.warns(UserWarning, match="own layers.*unknown blocks"):
        slow = recover(model, probe, old, new, strengths=(1.0, 2.0), randoms=1)
    assert slow.correct.equals(found.correct) and lens.record(slow)["engine"]["name"] == "layers"
