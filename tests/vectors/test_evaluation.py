"""The evaluation grid against one hooked forward a cell and against the library's own greedy generation; the choice and
the report against closed forms.
"""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

import lens
from lens.results.dataset import provenance, stamp
from lens.results.errors import ResultError
from lens.vectors import VectorError
from lens.vectors.evaluation import evaluate
from lens.vectors.extraction import extract
from lens.vectors.prompts import answered, build
from lens.vectors.selection import choose, report
from lens.vectors.tasks import Task
from lens.vectors.vector import LayerVectors, Vector, random_like
from tests import naive
from tests.models import ABOVE, KINDS, speaking
from tests.variants import few

DRAW = torch.Generator().manual_seed(7)
PARTS = torch.randn(3, 32, generator=DRAW)
VECTOR = Vector(PARTS.sum(0), PARTS, ((0, 1), (2, 3), (0, 2)), "v")
LAYERS = LayerVectors(torch.randn(3, 32, generator=DRAW) * 2, "each")
NAMED = {"one": VECTOR, "each": LAYERS}
OPTIONS = dict(template="bare", shots=3, progress=False)


def changes_of(vector, layer, strength, at):
    direction = vector.vectors[layer] if isinstance(vector, LayerVectors) else vector.direction

    def change(x):
        x = x.clone()
        x[:, list(at)] += strength * direction
        return x

    return [("resid_post", layer, change)]


def greedy(model, ids, n, changes=()):
    """The library's greedy text with the changes made where the prompt is read, and nowhere after."""
    undo = [
        naive.hook(model, site, layer, lambda x, c=c: c(x) if x.shape[1] == len(ids) else x)
        for site, layer, c in changes
    ]
    try:
        return tuple(
            model.generate(
                ids[None], max_new_tokens=n, do_sample=False, attention_mask=torch.ones_like(ids)[None], pad_token_id=0
            )[0, len(ids) :].tolist()
        )
    finally:
        for u in undo:
            u()


def scores(model, prompt, changes):
    whole = torch.cat([prompt.ids, torch.tensor(prompt.answer_ids[:-1], dtype=torch.long)])
    logits = naive.forward(model, whole, changes)[len(prompt) - 1 :]
    logp = logits.log_softmax(-1)
    each = [logp[t, a].item() for t, a in enumerate(prompt.answer_ids)]
    rank = int((logits[0] > logits[0, prompt.answer_ids[0]]).sum())
    return {
        "logprob": sum(each),
        "first_logprob": each[0],
        "rank": rank,
        "first": float(rank == 0),
        "top": int(logits[0].argmax()),
    }


def setting(kind, seed=0):
    """A model, and a task whose answers of one and two tokens are partly what it says with or without a vector."""
    model = speaking(kind, seed)
    model.generation_config.eos_token_id = None

    def read(x, changes=()):
        return greedy(model, torch.tensor([0, x]), 2, changes)

    ys = {}
    for x in range(1, 41):
        of = [
            read(x),
            read(x, changes_of(VECTOR, 1, 2.0, [1])),
            read(x, changes_of(LAYERS, 0, -1.5, [1])),
            (x + 40, x + 20),
        ][x % 4]
        ys[x] = of[: 1 + (x // 4) % 2]
    pairs = [(f"w{x}", " ".join(f"w{t}" for t in y)) for x, y in ys.items() if 0 not in y]
    return model, Task.from_pairs(pairs, name="t", seed=2, shares=(0.4, 0.2, 0.4))


@pytest.mark.parametrize("kind", few(KINDS, ABOVE))
def test_every_cell_equals_a_hooked_forward_and_greedy_generation(kind):
    model, task = setting(kind)
    ds = evaluate(model, task, NAMED, strengths=(-1.5, 2.0), conditions=("zero_shot", "shuffled"), seed=3, **OPTIONS)
    assert ds.correct.dims == ("item", "condition", "vector", "layer", "strength") and ds.correct.shape[1:] == (
        2,
        2,
        3,
        2,
    )
    prompts = {c: build(model, task, c, seed=3, template="bare", shots=3) for c in ("zero_shot", "shuffled")}
    assert list(ds.x.values) == [p.x for p in prompts["zero_shot"]] and {
        len(p.answer_ids) for p in prompts["shuffled"]
    } == {1, 2}
    rng, said = np.random.default_rng(0), []
    for i in rng.permutation(len(prompts["zero_shot"]))[:8]:
        for c, condition in enumerate(prompts):
            prompt = prompts[condition][i]
            want = scores(model, prompt, [])
            assert all(ds[f"base_{k}"].values[i, c] == pytest.approx(v, abs=2e-4) for k, v in want.items())
            assert ds.base_correct.values[i, c] == (
                greedy(model, prompt.ids, len(prompt.answer_ids)) == prompt.answer_ids
            )
            # the two cells whose own words are answers, and one at the last layer
            places = [(0, 1, 1), (1, 0, 0), (int(rng.integers(2)), 2, int(rng.integers(2)))]
            for v, l, s in places:
                changes = changes_of((VECTOR, LAYERS)[v], l, (-1.5, 2.0)[s], [len(prompt) - 1])
                want = scores(model, prompt, changes)
                assert all(
                    ds[k].values[i, c, v, l, s] == pytest.approx(value, abs=2e-4) for k, value in want.items()
                ), (i, condition, v, l, s)
                spoken = greedy(model, prompt.ids, len(prompt.answer_ids), changes) == prompt.answer_ids
                assert ds.correct.values[i, c, v, l, s] == spoken
                said.append(spoken)
    assert 1 < sum(said) < len(said) - 1 and 0 < ds.base_correct.mean() < 1, "both outcomes are met"
    assert ds.norm.sel(vector="each").values == pytest.approx(LAYERS.norm.numpy()) and ds.norm.sel(
        vector="one"
    ).values == pytest.approx([VECTOR.norm] * 3)


@pytest.mark.parametrize("position", ["all_new", "all"])
def test_answer_tokens_are_edited_where_asked(position):
    model, task = setting("llama")
    ds = evaluate(model, task, NAMED, layers=[1], position=position, **OPTIONS)
    last = evaluate(model, task, NAMED, layers=[1], **OPTIONS)
    for i, p in enumerate(build(model, task, "zero_shot", template="bare")):
        n = len(p) + len(p.answer_ids) - 1
        at = range(n) if position == "all" else range(len(p) - 1, n)
        for v, vector in enumerate(NAMED.values()):
            want = scores(model, p, changes_of(vector, 1, 1.0, at))
            assert ds.logprob.values[i, 0, v, 0, 0] == pytest.approx(want["logprob"], abs=2e-4)
            if position == "all_new" and len(p.answer_ids) == 1:
                assert ds.logprob.values[i, 0, v, 0, 0] == pytest.approx(float(last.logprob[i, 0, v, 0, 0]), abs=1e-5)
    assert np.abs(ds.logprob - last.logprob).max() > 0.1
    if position == "all_new":
        assert ds.identical(evaluate(model, task, NAMED, layers=[1], position="new", **OPTIONS).assign_attrs(ds.attrs))


@pytest.mark.long
@pytest.mark.parametrize("kind", few(KINDS, ABOVE))
def test_distributed_parts_enter_at_their_own_layers(kind):
    model, task = setting(kind)
    ds = evaluate(model, task, VECTOR, strengths=(1.0, -2.0), distributed=True, seed=4, **OPTIONS)
    assert (
        ds.layer.values.tolist() == [-1]
        and ds.insertion.values.tolist() == ["each head's own"]
        and ds.vector.values.tolist() == ["v", "random"]
    )
    other = random_like(VECTOR, 4)
    for i, p in enumerate(build(model, task, "zero_shot", template="bare", seed=4)):
        for v, vector in enumerate((VECTOR, other)):
            for s, strength in enumerate((1.0, -2.0)):

                def add(which):
                    def change(x):
                        x = x.clone()
                        x[:, len(p) - 1] += strength * vector.parts[which].sum(0)
                        return x

                    return change

                want = scores(model, p, [("attn_out", 0, add([0, 2])), ("attn_out", 2, add([1]))])
                assert all(ds[k].values[i, 0, v, 0, s] == pytest.approx(value, abs=5e-4) for k, value in want.items())


def test_a_single_vector_meets_a_random_one_of_its_norm():
    model, task = setting("llama")
    ds = evaluate(model, task, VECTOR, layers=[1], seed=9, **OPTIONS)
    by_hand = evaluate(model, task, {"v": VECTOR, "random": random_like(VECTOR, 9)}, layers=[1], seed=9, **OPTIONS)
    assert np.array_equal(ds.logprob, by_hand.logprob) and float(ds.norm[1, 0]) == pytest.approx(VECTOR.norm, rel=1e-5)


def test_only_known_keeps_the_items_that_demonstrations_answer():
    model, task = setting("llama")
    # every second question gets the answer that the model gives after the demonstrations, which are of other pairs
    pairs = list(task.pairs)
    for i, p in list(zip(task.test, build(model, task, "icl", template="bare", shots=3)))[::2]:
        pairs[i] = (p.x, f"w{greedy(model, p.ids, 1)[0]}")
    task = replace(task, pairs=tuple(pairs))
    whole = evaluate(model, task, VECTOR, layers=[0], conditions=("zero_shot", "icl"), **OPTIONS)
    kept = evaluate(model, task, VECTOR, layers=[0], only_known=True, **OPTIONS)
    known = answered(model, build(model, task, "icl", template="bare", shots=3))
    assert 0 < known.sum() < len(known), "otherwise this shows nothing"
    assert kept.x.values.tolist() == whole.x.values[known].tolist() and np.array_equal(
        whole.base_correct.sel(condition="icl").values.astype(bool), known
    )
    assert np.allclose(kept.logprob[:, 0], whole.logprob[:, 0][known], atol=1e-5)


@pytest.mark.long
def test_a_stopped_evaluation_is_taken_up_again_and_another_is_refused(tmp_path):
    model, task = setting("llama")
    asked, parts = [], []
    options = OPTIONS | dict(conditions=("zero_shot", "shuffled"), strengths=(1.0, 2.0), split="all", memory_mb=0.5)
    part = evaluate(
        model, task, NAMED, stop=lambda: len(asked) > 7 or asked.append(1), store=tmp_path / "v.zarr", **options
    )
    assert (
        provenance(part)["status"] == "partial"
        and np.isnan(part.correct).any()
        and not np.isnan(part.correct).all()
        and np.isnan(part["first"]).any()
    )
    plain = evaluate(model, task, NAMED, **options)
    whole = evaluate(model, task, NAMED, store=tmp_path / "v.zarr", on_part=parts.append, **options)
    assert provenance(whole)["status"] == "complete" and parts
    for name in plain.data_vars:
        assert np.allclose(whole[name], plain[name], atol=1e-4) and np.allclose(
            lens.open(tmp_path / "v.zarr")[name], plain[name], atol=1e-4
        ), name
    again = []
    evaluate(model, task, NAMED, store=tmp_path / "v.zarr", on_part=again.append, **options)
    assert not again, "nothing is computed twice"
    for change in (dict(strengths=(1.0, 3.0)), dict(seed=1), dict(position="all")):
        with pytest.raises(ResultError):
            evaluate(model, task, NAMED, store=tmp_path / "v.zarr", **options | change)
    with pytest.raises(ResultError, match="sha256"):
        evaluate(model, task, {"one": VECTOR * 1.001, "each": LAYERS}, store=tmp_path / "v.zarr", **options)


def made(accuracies, layers=(0, 1, 2), strengths=(1.0,), base=None, split="valid", names=("a", "random")):
    """A result as `evaluate` gives it, with these right answers [item, vector, layer, strength]."""
    import xarray as xr

    values = np.asarray(accuracies, np.float32)[:, None]
    n = len(values)
    axes = ("item", "condition", "vector", "layer", "strength")
    base = np.zeros((n, 1), np.float32) if base is None else np.asarray(base, np.float32)[:, None]
    ds = xr.Dataset(
        {
            "correct": (axes, values),
            "first": (axes, values),
            "logprob": (axes, values * 0 - np.arange(len(layers))[:, None].astype(np.float32)),
            "base_correct": (("item", "condition"), base),
            "base_first": (("item", "condition"), base),
        },
        {"condition": ["zero_shot"], "vector": list(names), "layer": list(layers), "strength": list(strengths)},
    )
    return stamp(ds, {"kind": "vector evaluation", "status": "complete", "call": {"split": split}})


def test_choose_takes_the_best_cell_and_settles_ties_by_logprob():
    right = np.zeros((10, 2, 3, 2))
    right[:7, 0, 2, 1], right[:4, 0, 1, 0], right[:3, 1, 1], right[:3, 1, 2] = 1, 1, 1, 1
    found = choose(made(right, strengths=(1.0, 2.0)))
    assert found["a"] == {
        "layer": 2,
        "strength": 2.0,
        "accuracy": pytest.approx(0.7),
        "n": 10,
        "cells": 6,
        "split": "valid",
        "metric": "correct",
    }
    assert (found["random"]["layer"], found["random"]["accuracy"]) == (
        1,
        pytest.approx(0.3),
    ), "layers 1 and 2 are equal; at 1 the answer is more probable"
    one = made(right[..., :1])
    assert choose(one, over="layer") == choose(one)
    for bad, word in (
        (lambda: choose(made(right, strengths=(1, 2)), over=("layer",)), "strength"),
        (lambda: choose(one, over=("item",)), "over"),
        (lambda: choose(made(right[..., :1] * np.nan)), "no value"),
        (lambda: choose(one.drop_vars("base_correct")), "evaluate"),
        (lambda: choose(one, metric="rank"), "metric"),
    ):
        with pytest.raises(VectorError, match=word):
            bad()


def test_report_is_paired_and_exact():
    draw = np.random.default_rng(0)
    right, base = draw.random((30, 2, 3, 1)) < np.array([0.8, 0.3])[:, None, None], draw.random(30) < 0.4
    ds = made(right, base=base, split="test")
    table = report(
        ds, {"a": {"layer": 1, "strength": 1.0, "split": "valid", "cells": 3}, "random": {"layer": 1, "strength": 1.0}}
    )
    a, control = right[:, 0, 1, 0].astype(float), right[:, 1, 1, 0].astype(float)
    row = table.iloc[0]
    exact = stats.binomtest(int(a.sum()), 30).proportion_ci(0.95, "exact")

    def mcnemar(x, y):
        return stats.binomtest(int((x > y).sum()), int((x != y).sum())).pvalue

    assert (row.n, row.accuracy, row.base) == (30, pytest.approx(a.mean()), pytest.approx(base.mean()))
    assert (row.low, row.high) == (pytest.approx(exact.low), pytest.approx(exact.high))
    assert row.difference == pytest.approx(a.mean() - base.mean()) and row.p == pytest.approx(mcnemar(a, base))
    assert row.difference_low < row.difference < row.difference_high
    assert (
        row.over_control == pytest.approx(a.mean() - control.mean())
        and row.p_control == pytest.approx(mcnemar(a, control))
        and row.control == pytest.approx(control.mean())
    )
    assert set(table.p_kind) == {"exact"} and list(table.columns).index("p_kind") == list(table.columns).index("p") + 1
    p = sorted(table.p)
    assert sorted(table.p_holm) == pytest.approx([min(1, 2 * p[0]), max(min(1, 2 * p[0]), p[1])])
    assert np.isnan(table.iloc[1].over_control)
    assert "control" not in report(ds, {"a": {"layer": 1, "strength": 1.0}}, control=None)


def test_report_warns_where_the_choice_saw_the_same_items_and_refuses_holes():
    right = np.ones((6, 2, 3, 1))
    chosen = choose(made(right))
    with pytest.warns(UserWarning, match="split 'valid'"):
        report(made(right), chosen)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = report(made(right, split="test"), chosen)
    assert (table.p_control[table.vector == "a"] == 1).all() and table.p.iloc[0] == pytest.approx(2 * 0.5**6)
    right[2, 0, 0] = np.nan
    with pytest.raises(VectorError, match="partial"):
        report(made(right, split="test"), {"a": {"layer": 0, "strength": 1.0}})
    with pytest.raises(VectorError, match="not in the result"):
        report(made(right), {"a": {"layer": 8, "strength": 1.0}})


def test_heads_curve_and_portability_are_evaluations():
    from lens.vectors.curves import head_count_curve, portability
    from lens.vectors.heads import top_heads
    from lens.vectors.means import mean_activations

    model, task = setting("llama")
    means = mean_activations(model, build(model, task, "icl", template="bare", shots=3, split="valid"))
    effects = lens.vectors.head_effects(model, task, means=means, trials=3, shots=3, template="bare", progress=False)
    parts = []
    curve = head_count_curve(
        model,
        task,
        effects,
        counts=(1, 4),
        means=means,
        strengths=(2.0,),
        split="test",
        seed=5,
        on_part=parts.append,
        **OPTIONS,
    )
    assert (
        curve.heads.values.tolist() == [1, 4]
        and curve.choice.values.tolist() == ["top", "random"]
        and parts[-1].sizes["heads"] == 2
    )
    order = np.random.default_rng(5).permutation(12)[:4]
    for choice, heads in (("top", top_heads(effects, 4)), ("random", [divmod(int(i), 4) for i in order])):
        own = evaluate(
            model, task, {"v": extract(model, task, heads=heads, means=means)}, strengths=(2.0,), seed=5, **OPTIONS
        )
        got = curve.logprob.sel(choice=choice, heads=4).transpose("item", "condition", "layer", "strength")
        assert np.allclose(
            got, own.logprob.sel(vector="v").transpose("item", "condition", "layer", "strength"), atol=1e-4
        )
    assert curve.base_correct.dims == ("item", "condition") and provenance(curve)["kind"] == "head count curve"
    forms = [lens.vectors.Template("w9{x} w8", name="a"), "bare"]
    ported = portability(model, task, VECTOR, forms, 1, strength=2.0, seed=5, shots=3, progress=False)
    assert (
        ported.template.values.tolist() == ["a", "bare"]
        and ported.vector.values.tolist() == ["v", "random"]
        and provenance(ported)["status"] == "complete"
    )
    own = evaluate(model, task, VECTOR, layers=[1], strengths=(2.0,), seed=5, **OPTIONS)
    assert np.allclose(ported.logprob.sel(template="bare").transpose(*own.logprob.dims), own.logprob, atol=1e-5)
    assert not np.allclose(ported.base_logprob.sel(template="a"), own.base_logprob)
    cut = portability(model, task, VECTOR, forms, 1, stop=lambda: True, shots=3, progress=False)
    assert cut.template.values.tolist() == ["a"] and provenance(cut)["status"] == "partial"
    for bad, word in (
        (lambda: head_count_curve(model, task, effects, counts=(0,), means=means), "counts"),
        (lambda: head_count_curve(model, task, effects, counts=(13,)), "1 to 12"),
        (lambda: portability(model, task, VECTOR, ["bare", "bare"], 1), "templates"),
        (lambda: portability(model, task, VECTOR, "bare", 1, store="x.zarr"), "store"),
    ):
        with pytest.raises(VectorError, match=word):
            bad()


@pytest.mark.parametrize(
    "change, word",
    [
        (dict(vectors=Vector(torch.ones(576))), "d_model 576, this model 32"),
        (dict(vectors={}), "vectors"),
        (dict(vectors=[VECTOR]), "vectors"),
        (dict(vectors={"a": 1}), r"vectors\['a'\]=1 does not fit; expected .*LayerVectors"),
        (dict(strengths=()), "strengths"),
        (dict(strengths=(1, 1)), "strengths"),
        (dict(strengths=(float("nan"),)), "strength"),
        (dict(layers=[3]), "layer"),
        (dict(layers=[0, 0]), "layers"),
        (dict(layers=[]), "layers"),
        (dict(conditions=("zero",)), "conditions"),
        (dict(conditions=()), "conditions"),
        (dict(conditions=("text", "icl")), "text"),
        (dict(position="first"), "position"),
        (dict(distributed=True, vectors=LAYERS), "parts by head"),
        (dict(distributed=True, vectors=Vector(torch.ones(32))), "parts by head"),
        (dict(distributed=True, vectors=Vector(torch.ones(32), torch.ones(1, 32), ((7, 0),))), "layer 7"),
        (dict(split="exam"), "split"),
        (dict(template="no"), "template"),
    ],
)
def test_bad_arguments_are_named(change, word):
    model = speaking("llama")
    task = Task.from_pairs([(f"w{i}", f"w{i + 40}") for i in range(1, 31)], name="plus 40")
    arguments = dict(vectors=VECTOR, **OPTIONS) | change
    with pytest.raises(ValueError, match=word):
        evaluate(model, task, arguments.pop("vectors"), **arguments)
