"""Head effects against plain hooked passes, estimates against plain autograd, head sets against closed forms."""

import warnings

import numpy as np
import pytest
import torch
import xarray as xr

import lens
from lens import vectors
from lens.engine.stopping import Stopped
from lens.vectors import (
    Task,
    VectorError,
    agreement,
    build,
    head_effects,
    mean_activations,
    overlap,
    summary,
    task_means,
    top_heads,
    universal,
)
from lens.vectors.mediation import TRIALS_SEED
from tests.models import ABOVE, KINDS, speaking
from tests.naive import parts
from tests.variants import few

PAIRS = [(f"w{i}", f"w{i + 40}") for i in range(1, 31)]
TASK = Task.from_pairs(PAIRS, name="shift", instruction="w90 w91", shares=(0.6, 0.2, 0.2))
OPTIONS = dict(trials=3, shots=3, template="bare", mean_prompts=6, known=False, progress=False)


@pytest.fixture(scope="module", params=few(KINDS, ABOVE))
def any_model(request):
    return speaking(request.param)


@pytest.fixture(scope="module")
def model():
    return speaking("llama")


def trials(model, n=3):
    return build(model, TASK, "shuffled", n=n, shots=3, split="valid", template="bare", seed=TRIALS_SEED)


def heads_of(model):
    c = model.config
    heads = c.num_attention_heads
    return c.num_hidden_layers, heads, getattr(c, "head_dim", None) or c.hidden_size // heads


def hooked(model, ids, layer=None, head=None, value=None):
    """Probabilities of the next token, with one head's slice of the output projection's input replaced at the last
    token; the input of every layer's projection too.
    """
    seen, hooks = [], []
    n_layers, _, width = heads_of(model)

    def read(l):
        def hook(_, args):
            z = args[0]
            if l == layer:
                z = z.clone()
                z[:, -1, head * width : (head + 1) * width] = value
            seen.append(z[0, -1].view(-1, width).detach())
            return (z, *args[1:])

        return hook

    for l in range(n_layers):
        hooks.append(parts(model, l)["o"].register_forward_pre_hook(read(l)))
    try:
        with torch.no_grad():
            return model(ids[None]).logits[0, -1].softmax(-1), torch.stack(seen)
    finally:
        for h in hooks:
            h.remove()


def test_means_are_those_of_plain_passes(any_model):
    prompts = build(any_model, TASK, "icl", n=7, shots=3, split="valid", template="bare")
    means = mean_activations(any_model, prompts, task="shift")
    want = torch.stack([hooked(any_model, p.ids)[1] for p in prompts]).mean(0)
    torch.testing.assert_close(means.z, want, atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        streams = torch.stack(
            [
                torch.stack([h[0, -1] for h in any_model(p.ids[None], output_hidden_states=True).hidden_states[1:-1]])
                for p in prompts
            ]
        ).mean(0)
    torch.testing.assert_close(
        means.resid[:-1], streams, atol=1e-5, rtol=1e-4
    )  # the last hidden state of Hugging Face is normed
    assert means.n == means.asked == 7 and means.source == "demonstrations" and not means.filtered


def test_every_head_equals_a_hooked_pass(any_model):
    means = task_means(any_model, TASK, n=6, shots=3, template="bare", known=False)
    ds = head_effects(any_model, TASK, means=means, **OPTIONS)
    layers, heads, _ = heads_of(any_model)
    assert ds.effect.dims == ("prompt", "layer", "head") and ds.effect.shape == (3, layers, heads)
    for i, p in enumerate(trials(any_model)):
        assert ds.x.values[i] == p.x and ds.fixed_points.values[i] == p.fixed_points
        base = hooked(any_model, p.ids)[0][p.answer_ids[0]].item()
        assert abs(ds.base.values[i] - base) < 1e-5
        for l in range(layers):
            for h in range(heads):
                got = hooked(any_model, p.ids, l, h, means.z[l, h])[0][p.answer_ids[0]].item()
                assert (
                    abs(ds.edited.values[i, l, h] - got) < 1e-5 and abs(ds.effect.values[i, l, h] - (got - base)) < 2e-5
                )
    assert float(abs(ds.effect).max()) > 1e-4, "something must have been changed for this to mean anything"


def test_log_metric_and_small_memory_agree(model):
    means = task_means(model, TASK, n=6, shots=3, template="bare", known=False)
    prob, log = (head_effects(model, TASK, means=means, metric=m, **OPTIONS) for m in ("prob", "logprob"))
    np.testing.assert_allclose(np.exp(log.edited), prob.edited, rtol=1e-5)
    np.testing.assert_allclose(log.effect, np.log(prob.edited) - np.log(prob.base), atol=1e-4)
    np.testing.assert_allclose(
        head_effects(model, TASK, means=means, memory_mb=0.01, **OPTIONS).edited, prob.edited, rtol=1e-5
    )
    parts_ = []
    watched = head_effects(model, TASK, means=means, on_part=parts_.append, **OPTIONS)
    np.testing.assert_allclose(watched.edited, prob.edited, rtol=1e-5)
    assert parts_ and lens.record(watched)["status"] == "complete" and lens.record(watched)["kind"] == "head effects"


def test_store_is_taken_up_where_it_was_cut(model, tmp_path):
    whole = head_effects(model, TASK, seed=2, **OPTIONS)
    asked = iter([False, False, True] + [True] * 99)
    cut = head_effects(model, TASK, seed=2, store=tmp_path / "e.zarr", stop=lambda: next(asked), **OPTIONS)
    assert lens.record(cut)["status"] == "partial" and not np.isfinite(cut.effect).all()
    done = head_effects(model, TASK, seed=2, store=tmp_path / "e.zarr", **OPTIONS)
    assert lens.record(done)["status"] == "complete"
    np.testing.assert_allclose(done.effect, whole.effect, atol=1e-6)
    np.testing.assert_allclose(
        head_effects(model, TASK, seed=2, store=tmp_path / "e.zarr", **OPTIONS).base, whole.base, atol=1e-6
    )
    with pytest.raises(lens.ResultError, match="seed"):
        head_effects(model, TASK, seed=3, store=tmp_path / "e.zarr", **OPTIONS)


def autograd_gradients(model, ids, target, metric, moved=None, dropped=None):
    """Gradients of the metric at every layer's z of the last token by plain Hugging Face and autograd; `moved`: (layer,
    z) to evaluate there; `dropped`: no gradient through this layer's attention and MLP output at the last token.
    """
    seen, hooks = [], []
    n_layers, _, width = heads_of(model)

    def z_hook(l):
        def hook(_, args):
            z = args[0].detach() if not args[0].requires_grad else args[0]
            last = z[:, -1] if moved is None or l != moved[0] else moved[1].reshape(1, -1)
            last = last if last.requires_grad else last.clone().requires_grad_()
            seen.append(last)
            return (torch.cat([z[:, :-1].detach(), last[:, None]], 1), *args[1:])

        return hook

    def cut(_, args, output):
        return (output[0].detach(), *output[1:]) if isinstance(output, tuple) else output.detach()

    for l in range(n_layers):
        hooks.append(parts(model, l)["o"].register_forward_pre_hook(z_hook(l)))
        if l == dropped:
            hooks += [parts(model, l)[end].register_forward_hook(cut) for end in ("attn_end", "mlp_end")]
    try:
        with torch.enable_grad():
            score = model(ids[None]).logits[0, -1].log_softmax(-1)[target]
            found = torch.autograd.grad(score.exp() if metric == "prob" else score, seen, allow_unused=True)
    finally:
        for h in hooks:
            h.remove()
    return torch.stack([torch.zeros_like(s) if g is None else g for g, s in zip(found, seen)]).view(n_layers, -1, width)


@pytest.mark.parametrize("metric", ["prob", "logprob"])
def test_estimates_are_those_of_plain_autograd(any_model, metric):
    means = task_means(any_model, TASK, n=6, shots=3, template="bare", known=False)
    options = OPTIONS | dict(trials=2, means=means, metric=metric)
    atp, star, ig = (head_effects(any_model, TASK, method=m, steps=3, **options) for m in ("atp", "atp*", "ig"))
    layers, _, _width = heads_of(any_model)
    for i, p in enumerate(trials(any_model, 2)):
        _, z = hooked(any_model, p.ids)
        delta, target = means.z - z, p.answer_ids[0]
        want = (delta * autograd_gradients(any_model, p.ids, target, metric)).sum(-1)
        scale = want.abs().max().item()
        np.testing.assert_allclose(atp.effect[i], want, atol=1e-4 * scale + 1e-7)
        each = torch.stack(
            [
                (delta * autograd_gradients(any_model, p.ids, target, metric, dropped=d)).sum(-1).abs()
                for d in range(layers)
            ]
        )
        np.testing.assert_allclose(star.effect[i], each.sum(0) / (layers - 1), atol=1e-4 * scale + 1e-7)
        for l in range(layers):
            along = [
                autograd_gradients(any_model, p.ids, target, metric, moved=(l, z[l] + (s + 0.5) / 3 * delta[l]))[l]
                for s in range(3)
            ]
            np.testing.assert_allclose(
                ig.effect[i, l], (delta[l] * torch.stack(along).mean(0)).sum(-1), atol=1e-4 * scale + 1e-7
            )
    assert (star.effect >= 0).all()


def test_integrated_gradients_add_up_to_the_effect_of_a_whole_layer(model):
    means = task_means(model, TASK, n=6, shots=3, template="bare", known=False)
    ig = head_effects(model, TASK, means=means, method="ig", steps=64, **OPTIONS)
    layers, _heads, _width = heads_of(model)
    for i, p in enumerate(trials(model)):
        for l in range(layers):
            hook = parts(model, l)["o"].register_forward_pre_hook(
                lambda _, a, l=l: (torch.cat([a[0][:, :-1], means.z[l].reshape(1, 1, -1)], 1),)
            )
            with torch.no_grad():
                whole = model(p.ids[None]).logits[0, -1].softmax(-1)[p.answer_ids[0]].item()
            hook.remove()
            assert abs(float(ig.effect[i, l].sum()) - (whole - float(ig.base[i]))) < 1e-4


def test_integrated_gradients_are_the_same_in_parts(model, monkeypatch):
    means = task_means(model, TASK, n=6, shots=3, template="bare", known=False)
    whole = head_effects(model, TASK, means=means, method="ig", **OPTIONS)
    for logits in (1, 2 * 8 * 97):  # a layer at a time, two at a time
        monkeypatch.setattr("lens.vectors.approximations._LOGITS", logits)
        np.testing.assert_allclose(
            head_effects(model, TASK, means=means, method="ig", **OPTIONS).effect, whole.effect, atol=1e-7
        )


@pytest.mark.long
def test_outputs_that_share_their_first_token_are_told(smollm2):
    pairs = [(f"number {i}", y) for i, y in enumerate(("Lazy", "Lucky", "red", "blue", "green", "cold"))]
    options = dict(
        trials=1,
        shots=2,
        split="train",
        progress=False,
        means=mean_activations(smollm2, build(smollm2, Task.from_pairs(pairs), "zero_shot", n=1)),
    )
    with pytest.warns(
        UserWarning,
        match=(
            r"task 'two words': 2 of 6 outputs share their first token with another \(Lazy, Lucky\).*do not tell these"
            r" apart"
        ),
    ):
        ds = head_effects(smollm2, Task.from_pairs(pairs, name="two words"), method="atp", **options)
    assert lens.results.dataset.provenance(ds)["shared_first_tokens"] == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ds = head_effects(smollm2, Task.from_pairs(pairs[1:], name="one word"), method="atp", **options)
    assert lens.results.dataset.provenance(ds)["shared_first_tokens"] == 0


def result(effect, **call):
    ds = xr.Dataset(
        {"effect": (("prompt", "layer", "head"), np.asarray(effect, float))},
        {"layer": np.arange(2), "head": np.arange(3)},
    )
    from lens.results import dataset as results

    return results.stamp(
        ds,
        {
            "kind": "head effects",
            "status": "complete",
            "call": {"task": "t", "metric": "prob", "source": "demonstrations", "method": "exact", **call},
        },
    )


def test_agreement_of_results():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, 2, 3))
    exact = result(x)
    same = agreement(exact, result(2 * x, method="atp"), k=3)
    assert (
        same.pearson == pytest.approx(1)
        and same.slope == pytest.approx(2)
        and same.top == 1
        and same.sign == 1
        and same.n_prompts == 5
    )
    assert agreement(exact, result(-x, method="atp")).pearson == pytest.approx(-1)
    assert agreement(exact, result(abs(x), method="atp*")).pearson == pytest.approx(1), (
        "magnitudes are compared with magnitudes"
    )
    with pytest.raises(VectorError, match="metric='logprob'"):
        agreement(exact, result(x, metric="logprob"))
    with pytest.raises(VectorError, match="estimate=<DataArray.*expected xarray.Dataset"):
        agreement(exact, exact.effect)


def test_summary_and_head_sets():
    x = np.random.default_rng(1).normal(size=(12, 2, 3)) * 0.1
    x[:, 1, 2] += 1
    x[:, 0, 1] += 0.5
    ds = result(x)
    made = summary(ds, resamples=500)
    np.testing.assert_allclose(made["mean"], x.mean(0))
    assert (
        (made["low"] < made["mean"]).all()
        and (made["mean"] < made["high"]).all()
        and (made["p"] <= made["p_holm"]).all()
        and (made["n"] == 12).all()
    )
    # all sign patterns but the two extreme ones give a smaller mean: 2 / 2^12, six heads tested
    assert float(made["p"][1, 2]) < 2e-3 and float(made["p_holm"][1, 2]) < 0.01 and int(made["rank"][1, 2]) == 0
    stats = lens.results.dataset.provenance(made)["statistics"]
    assert (stats["p_kind"], stats["p_floor"]) == (
        "monte carlo" if 2**12 > stats["flips"] else "exact",
        pytest.approx(2 / 2**12),
    )
    few = lens.results.dataset.provenance(summary(ds, resamples=500, flips=99))["statistics"]
    assert (few["p_kind"], few["p_floor"]) == ("monte carlo", pytest.approx(0.01))
    assert top_heads(ds, 2) == [(1, 2), (0, 1)]
    other = result(np.zeros((3, 2, 3)) + np.array([[0, 0, 9.0], [0, 0, 0]]))
    assert universal({"a": ds, "b": other}, 1) == [(0, 2)] and universal(
        {"a": ds, "b": other}, 1, above={"a": True}
    ) == [(1, 2)]
    assert universal({"a": ds, "b": other}, 1, above=5.0) == [(0, 2)] == top_heads({"b": other}, 1)
    for call, said in (
        (lambda: top_heads(ds, 7), "k=7"),
        (lambda: universal({}, 2), "expected a mapping"),
        (lambda: universal({"a": ds}, 1, above=99.0), "leaves none"),
        (lambda: summary(ds.isel(prompt=[0])), "at least two"),
    ):
        with pytest.raises(VectorError, match=said):
            call()


def test_overlap_is_hypergeometric():
    from scipy.stats import fisher_exact

    a, b = [(0, h) for h in range(10)], [(0, h) for h in range(6, 16)]
    got = overlap(a, b, heads=270)
    assert got["shared"] == 4 and got["jaccard"] == 4 / 16 and got["expected"] == pytest.approx(100 / 270)
    assert got["p"] == pytest.approx(fisher_exact([[4, 6], [6, 254]], alternative="greater").pvalue)
    assert overlap(a, a)["p"] is None
    with pytest.raises(VectorError, match="holds no head"):
        overlap([], b)
    with pytest.raises(VectorError, match="16 different heads"):
        overlap(a, b, heads=12)


@pytest.mark.parametrize(
    "options, said",
    [
        (dict(method="lrp"), "method='lrp'"),
        (dict(metric="rank"), "metric='rank'"),
        (dict(source="text"), "source='text'"),
        (dict(shots=40), "shots=40"),
        (dict(method="ig", steps=0), "steps=0"),
        (dict(method="atp", store="x.zarr"), "leave `store` out"),
    ],
)
def test_arguments_that_are_refused(model, options, said):
    with pytest.raises(VectorError, match=said):
        head_effects(model, TASK, **(OPTIONS | options))


def test_means_of_another_model_are_refused(model):
    means = task_means(model, TASK, n=4, shots=3, template="bare", known=False)
    wrong = vectors.Means(means.z[:2], means.resid, 4, "demonstrations", "shift")
    with pytest.raises(VectorError, match=r"shape \(2, 4, 8\), this model's heads \(3, 4, 8\)"):
        head_effects(model, TASK, means=wrong, **OPTIONS)
    with pytest.raises(VectorError, match="NaN"):
        vectors.Means(means.z * float("nan"), means.resid, 4, "demonstrations", "shift")


def test_means_from_the_instruction_and_the_filter(model):
    said = task_means(model, TASK, source="instruction", n=50, template="bare", known=False)
    assert said.n == len(TASK.train) and said.source == "instruction"
    with pytest.warns(UserWarning, match="answers none of the 4 prompts"):
        kept = task_means(model, TASK, n=4, shots=3, template="bare")
    assert kept.n == 4 and kept.known == 0 and not kept.filtered
    prompts = build(model, TASK, "zero_shot", split="all", template="bare")
    told = []
    with torch.no_grad():
        for k, p in enumerate(prompts):
            told.append((p.x, f"w{model(p.ids[None]).logits[0, -1].argmax().item()}" if k < 5 else p.y))
    some = build(model, Task.from_pairs(told), "zero_shot", split="all", template="bare")
    right = vectors.answered(model, some)
    assert 5 <= right.sum() < len(some)
    filtered = mean_activations(model, some, known=True)
    assert filtered.n == filtered.known == right.sum() and filtered.filtered
    torch.testing.assert_close(filtered.z, mean_activations(model, [p for p, r in zip(some, right) if r]).z)


def test_means_stop_between_batches_when_told_to(model, monkeypatch):
    prompts = build(model, TASK, "icl", n=6, template="bare", shots=3, split="valid")
    monkeypatch.setattr("lens.readout.reading.RECORD_BYTES", 1)
    asked = []
    with pytest.raises(Stopped, match="means: stopped after 2 of 6 prompts"):
        mean_activations(model, prompts, stop=lambda: len(asked) == 2 or asked.append(1), progress=False)
    torch.testing.assert_close(
        mean_activations(model, prompts, stop=lambda: False).z, mean_activations(model, prompts).z
    )


@pytest.mark.slow
def test_smollm2_equals_hooked_passes(smollm2):
    means = task_means(smollm2, "present_past", n=4, shots=4)
    ds = head_effects(smollm2, "present_past", means=means, trials=1, shots=4)
    prompt = build(smollm2, "present_past", "shuffled", n=1, shots=4, split="valid", seed=TRIALS_SEED)[0]
    hf = smollm2.original_model
    from lens.engine.walk.blocks import unwrapped

    for l, h in ((0, 0), (5, 3), (14, 1), (20, 5), (29, 8)):

        def replace(_, args):
            z = args[0].clone()
            z[:, -1, h * 64 : (h + 1) * 64] = means.z[l, h]
            return (z,)

        hook = unwrapped(unwrapped(hf.model.layers[l]).self_attn).o_proj.register_forward_pre_hook(replace)
        try:
            with torch.no_grad():
                got = hf(prompt.ids[None]).logits[0, -1].softmax(-1)[prompt.answer_ids[0]].item()
        finally:
            hook.remove()
        assert abs(float(ds.edited[0, l, h]) - got) < 1e-5
