"""Masks, scores and curvature of fused experts, against sums over tokens by hand on a plain copy."""

import warnings

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import lens
from lens.engine.linear import linears
from lens.subspace import (
    Mask,
    SubspaceError,
    column_z,
    contrast,
    corrected,
    gradient_ascent,
    hard_concrete,
    inject,
    integrated_gradients,
    locate,
    magnitude,
    random_like,
    recall_at_k,
    slimming,
    statistics,
    subnet,
    wanda,
    zero_out,
)
from tests.curvature.naive import drawn_labels
from tests.mixtures import KINDS, TRANSPOSED, between, blocks, by_hand, mixture, routing

ROWS = torch.randint(1, 97, (6, 9), generator=torch.Generator().manual_seed(3))
#: Rows that end early: what stands behind them is padding, which experts are given too.
LENGTHS = (9, 4, 7, 9, 2, 5)


def close(told, want):
    """Equal up to float32 sums, as a share of the largest number."""
    assert float((told.double() - want.double()).abs().max()) <= 1e-4 * float(want.abs().max())


def ragged():
    return [ROWS[i, :n] for i, n in enumerate(LENGTHS)]


def by_item(kind, model, rows):
    """Per layer of an expert and item, the inputs [n, d_in] of the tokens that were sent to it, one text at a time."""
    out = {}
    for i, row in enumerate(rows):
        for name, (args, _) in routing(model, row[None]).items():
            for e, (_, into, hidden) in by_hand(kind, model.get_submodule(name), *args)[1].items():
                out.setdefault(f"{name}.{e}.gate_up_proj", {})[i] = into.double()
                out.setdefault(f"{name}.{e}.down_proj", {})[i] = hidden.double()
    return out


@pytest.mark.parametrize("kind", KINDS)
def test_statistics_are_sums_over_the_tokens_that_were_sent_to_an_expert(kind):
    plain, model = mixture(kind), mixture(kind)
    stats = statistics(
        model, "*experts.*", ragged(), batch=4, second_moment=True, each=True, absolute=True, progress=False
    )
    want = by_item(kind, plain, ragged())
    assert set(stats.names) == set(linears(model, "*.experts.*")) | {n for n in stats.names if ".experts." not in n}
    for name in linears(model, "*.experts.*"):
        items = want.get(name, {})
        assert stats.items_of(name) == len(items)
        assert stats.rows[name] == sum(map(len, items.values()))
        if not items:
            continue
        x = torch.cat(list(items.values()))  # of the padding behind short rows nothing
        close(stats.mean(name), x.square().mean(0))
        close(stats.mean(name, "absolute"), x.abs().mean(0))
        unit = torch.stack([F.normalize(part, dim=1).square().mean(0) for part in items.values()])
        close(stats.mean(name, "unit"), F.normalize(x, dim=1).square().mean(0))
        close(stats.second_moment(name), x.T @ x / len(x))
        if len(items) > 1:
            mean, variance = stats.item_moments(name)
            close(mean, unit.mean(0))
            close(variance, unit.var(0))
    part = stats.take([0, 3])
    two = by_item(kind, plain, [ragged()[0], ragged()[3]])
    for name in linears(model, "*.experts.*"):
        assert part.rows[name] == sum(map(len, two.get(name, {}).values())) and part.items_of(name) == len(
            two.get(name, {})
        )


def test_statistics_go_on_from_a_folder_and_add_up(tmp_path):
    model, seen = mixture("mixtral"), []

    def stop():
        seen.append(1)
        return len(seen) > 2

    with pytest.raises(lens.engine.stopping.Stopped):
        statistics(model, "mlp", ragged(), tmp_path, batch=2, stop=stop, progress=False)
    cut = statistics(model, "mlp", ragged(), tmp_path, batch=2, progress=False)
    whole = statistics(model, "mlp", ragged(), batch=2, progress=False)
    assert cut.rows == whole.rows and cut.reached == whole.reached
    assert all(torch.equal(cut.sums[name], whole.sums[name]) for name in whole.sums)
    parts = [statistics(model, "mlp", ragged()[a : a + 2], batch=2, progress=False) for a in (0, 2, 4)]
    added = parts[0] + parts[1] + parts[2]
    assert added.rows == whole.rows and added.reached == whole.reached


def no_third(module, args, out):
    logits = out[0].clone()
    logits[:, 3] = -1e4
    weight, index = logits.softmax(-1).topk(module.top_k, dim=-1)
    return logits, (weight / weight.sum(-1, keepdim=True)).to(out[1].dtype), index


SILENT = [f"model.layers.1.mlp.experts.3.{matrix}" for matrix in ("gate_up_proj", "down_proj")]
METHODS = {
    "contrast": lambda m, a, b: contrast(m, statistics(m, "mlp", a), statistics(m, "mlp", b)),
    "corrected": lambda m, a, b: corrected(m, statistics(m, "mlp", a), statistics(m, "mlp", b)),
    "wanda": lambda m, a, b: wanda(m, statistics(m, "mlp", a)),
    "activation": lambda m, a, b: lens.subspace.score(m, a, method="activation", progress=False),
    "subnet": lambda m, a, b: subnet(m, a, steps=2, ratio=0.05, progress=False),
    "balanced subnet": lambda m, a, b: subnet(m, a, b, steps=2, ratio=0.05, progress=False),
    "integrated gradients": lambda m, a, b: integrated_gradients(m, a[:2], steps=3, together=True, progress=False),
    "zero-out": lambda m, a, b: zero_out(m, a[:1], progress=False),
    "slimming": lambda m, a, b: slimming(m, a, steps=2, progress=False),
    "hard concrete": lambda m, a, b: hard_concrete(m, a, steps=2, progress=False),
}
MEM, REF = ROWS[:3], torch.randint(1, 97, (5, 9), generator=torch.Generator().manual_seed(4))


@pytest.fixture
def silent(monkeypatch):
    """Layer 1 of the tiny mixture with a router, of the library's own kind, that never takes expert 3."""
    model = mixture("qwen3_moe")
    monkeypatch.setattr(no_third, "__module__", "transformers")  # not a hook of the person's
    model.model.layers[1].mlp.gate.register_forward_hook(no_third)
    return model


@pytest.mark.parametrize("method", METHODS)
def test_an_expert_that_no_token_reaches_has_no_score_and_no_mask_takes_it(method, silent):
    with pytest.warns(UserWarning, match=r"too few tokens were sent to \d+ of .*their scores are NaN"):
        scores = METHODS[method](silent, MEM, REF)
    named = [name for name in SILENT if name in scores.values]
    assert named and set(named) <= set(scores.about["unreached"])
    for name, values in scores.values.items():
        assert bool(values.isnan().all()) == bool(values.isnan().any()) == (name in scores.about["unreached"])
    for per in ("layer", "model"):
        mask = scores.mask(0.1, per=per)
        assert not any(len(mask.layers[name]) for name in mask.about["unreached"])
        assert f"too few tokens reached {len(mask.unreached)} of them" in repr(mask)
        assert random_like(mask, 0).unreached == mask.unreached == (mask | mask).unreached


def test_statistics_of_an_expert_that_no_token_reaches_say_so(silent):
    stats = statistics(silent, "mlp", ROWS, second_moment=True, progress=False)
    assert set(SILENT) <= set(stats.unreached) and all(stats.rows[n] == 0 == stats.items_of(n) for n in SILENT)
    for ask in (stats.mean, stats.norm, stats.second_moment):
        with pytest.raises(
            SubspaceError, match=r"experts\.3\.down_proj: no token of the 6 items was sent to this expert"
        ):
            ask(SILENT[1])
    with pytest.raises(SubspaceError, match=r"over 0 item of which a row was sent to .*experts\.3\.down_proj have no"):
        stats.item_moments(SILENT[1])
    z = column_z(stats, statistics(silent, "mlp", REF, progress=False))
    assert z[SILENT[1]].isnan().all() and not z["model.layers.1.mlp.experts.0.down_proj"].isnan().any()
    with (
        pytest.raises(SubspaceError, match="no token was sent to any of the 2 experts' layers"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        wanda(silent, statistics(silent, SILENT, ROWS, progress=False)).mask(0.1)


def test_curvature_of_an_expert_that_no_token_reaches_is_left_out_by_name(silent):
    ids = ROWS.numpy()
    with pytest.warns(UserWarning, match="no token was sent to .* of .* layers"):
        factors = lens.curvature.factors(silent, "*.1.mlp.*", ids, progress=False)
    assert set(SILENT) <= set(factors.unreached) and not set(SILENT) & set(factors.layers)
    assert f"without {len(factors.unreached)} that no token was sent to" in repr(factors)
    assert min(factors.tokens.values()) > 0
    one = [name.replace("experts.3", "experts.0") for name in SILENT]
    wide = lens.curvature.factors(silent, one, ids, rows=1, progress=False)  # some texts send it no token
    assert wide.tokens == {name: factors.tokens[name] for name in one}
    with pytest.raises(lens.Error, match="no token was sent to any of the 2 experts' layers"):
        lens.curvature.factors(silent, SILENT, ids, progress=False)
    plain = mixture("qwen3_moe")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        own = lens.curvature.decompose(plain, lens.curvature.factors(plain, "*.1.mlp.experts.*", ids, progress=False))
    few = ids[:1, :3]
    with pytest.raises(lens.Error, match=r"batches: no token was sent to model\.layers\.1\.mlp\.experts\.\d"):
        lens.curvature.second_moments(plain, own, few, progress=False)


@pytest.mark.parametrize("method", ["magnitude", "wanda"])
def test_nan_in_one_expert_is_refused_by_name(method):
    model = mixture("mixtral")
    model.model.layers[1].mlp.experts.down_proj[2, 3, 4] = torch.nan
    if method == "magnitude":
        scores, bad = magnitude(model), "1 scores of model.layers.1.mlp.experts.2.down_proj are NaN"
    else:
        scores, bad = (
            wanda(model, statistics(model, "mlp", ROWS, progress=False)),
            r"scores of model\.layers\..* are NaN",
        )
    for per in ("row", "layer", "model"):
        with pytest.raises(SubspaceError, match=bad):
            scores.mask(0.1, per=per)
    with pytest.raises(lens.Error, match="NaN"):
        factors = lens.curvature.factors(model, "*.1.mlp.*", ROWS.numpy(), progress=False)
        lens.curvature.decompose(model, factors)


@pytest.mark.parametrize("kind", KINDS)
def test_wanda_scores_are_weights_times_norms_by_hand(kind):
    plain, model = mixture(kind), mixture(kind)
    want = by_item(kind, plain, ROWS)
    scores = wanda(model, statistics(model, "*.experts.*", ROWS, progress=False))
    for name in scores.known():
        stem, e, matrix = name.rsplit(".", 2)
        weight = plain.get_parameter(f"{stem}.{matrix}")[int(e)]
        weight = weight.T if kind in TRANSPOSED else weight
        norm = torch.cat(list(want[name].values())).square().mean(0).sqrt()
        close(scores.values[name].double(), weight.abs() * norm)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fisher", ["true", "empirical"])
def test_kfac_factors_are_moments_over_the_tokens_of_an_expert(kind, fisher):
    """The input by hand; the gradient by adding a zero that asks for one to an expert's product for one token."""
    plain, model, ids = mixture(kind), mixture(kind), ROWS[:3]
    names = list(linears(model, "*.experts.*"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        factors = lens.curvature.factors(model, "*.experts.*", ids.numpy(), fisher=fisher, progress=False)
    x, g = {}, {}
    labels = drawn_labels(plain, ids.numpy(), 0) if fisher == "true" else ids[:, 1:].numpy()
    for row, label in zip(ids, labels):
        for name, value, gradient in gradients_by_hand(kind, plain, row[:-1], label):
            x.setdefault(name, []).append(value.double())
            g.setdefault(name, []).append(gradient.double())
    assert set(factors.layers) == set(x) and set(factors.unreached) == set(names) - set(x)
    for name in factors.layers:
        a, b = torch.cat(x[name]), torch.cat(g[name])
        assert factors.tokens[name] == len(a)
        close(factors.a[name], a.T @ a / len(a))
        close(factors.g[name], b.T @ b / len(b))


def gradients_by_hand(kind, model, row, label):
    """Per expert's matrix its inputs and the gradients at its outputs for one text: the module's forward replaced by a
    loop whose products are leaves.
    """
    kept, replaced = [], []
    for name, module in blocks(model).items():

        def forward(x, index=None, weight=None, module=module, name=name):
            tokens = len(x) // 4 if index is None else len(x)
            out = torch.zeros_like(x)
            for e in range(4):
                first, second = module.gate_up_proj[e], module.down_proj[e]
                if kind not in TRANSPOSED:
                    first, second = first.T, second.T
                for t in range(tokens):
                    slots = [0] if index is None else [k for k in range(index.shape[1]) if int(index[t, k]) == e]
                    at = e * tokens + t if index is None else t
                    if index is None and not x[at].any():
                        continue
                    for k in slots:
                        one = x[at][None]
                        product = one @ first + (module.gate_up_proj_bias[e] if kind == "gpt_oss" else 0)
                        leaf = torch.zeros_like(product, requires_grad=True)
                        hidden = between(kind, module, product + leaf)
                        made = hidden @ second + (module.down_proj_bias[e] if kind == "gpt_oss" else 0)
                        other = torch.zeros_like(made, requires_grad=True)
                        out = out.index_add(
                            0, torch.tensor([at]), (made + other) * (1 if index is None else weight[t, k])
                        )
                        kept.append((f"{name}.{e}.gate_up_proj", one.detach(), leaf))
                        kept.append((f"{name}.{e}.down_proj", hidden.detach(), other))
            return out

        module.forward = forward
        replaced.append(module)
    try:
        with torch.enable_grad():
            logits = model(row[None]).logits[0]
            loss = F.cross_entropy(logits, torch.as_tensor(np.asarray(label)), reduction="sum")
            grads = torch.autograd.grad(loss, [leaf for *_, leaf in kept])
    finally:
        for module in replaced:
            del module.forward
    return [(name, value, grad) for (name, value, _), grad in zip(kept, grads)]


@pytest.mark.parametrize("kind", ["mixtral", "gpt_oss", "llama4_text"])
def test_a_curvature_edit_of_experts_is_their_weights_rebuilt_and_undone(kind):
    model = mixture(kind)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rows = torch.randint(1, 97, (40, 12), generator=torch.Generator().manual_seed(8))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        own = lens.curvature.decompose(model, lens.curvature.factors(model, "*.experts.*", rows, progress=False))
    edit = lens.curvature.keep(own, 0.6, deficient="keep")
    with edit.applied(model):
        for name, new in edit.new.items():
            stem, e, matrix = name.rsplit(".", 2)
            held = model.get_parameter(f"{stem}.{matrix}")[int(e)]
            assert torch.equal(held.T if kind in TRANSPOSED else held, new)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not torch.equal(next(iter(edit.new.values())), next(iter(edit.old.values())))
    with pytest.raises(lens.Error, match=r"experts\.\d+\..* is an expert's, which sees only the tokens"):
        lens.curvature.activation_ratio(model, own, rows[:2], rows[2:4], progress=False)


@pytest.mark.parametrize("kind", ["mixtral", "llama4_text"])
def test_new_weights_are_learned_for_some_experts_and_the_model_stays(kind):
    model = mixture(kind)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    stem = next(iter(blocks(model)))
    layers = [f"{stem}.{e}.down_proj" for e in (0, 1)]
    edit = gradient_ascent(model, MEM, None, layers, steps=3, rate=1e-2, progress=False)
    assert set(edit.new) == set(layers)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())

    def loss(m):
        logits = m(MEM).logits[:, :-1]
        return float(F.cross_entropy(logits.flatten(0, 1), MEM[:, 1:].flatten()))

    plain, clean = mixture(kind), loss(model)
    for name, new in edit.new.items():
        held = plain.get_parameter(f"{stem}.down_proj")[int(name.split(".")[-2])]
        (held.T if kind in TRANSPOSED else held).copy_(new)
    with edit.applied(model):
        assert loss(model) == pytest.approx(loss(plain), rel=1e-5) and loss(plain) > clean
    assert edit.about["path"][0][0] == pytest.approx(clean, rel=1e-5)


def test_a_planted_sequence_lies_in_experts_that_run_and_is_found_there():
    model = mixture("mixtral")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        planted = inject(model, ROWS[0], share=0.2, rate=0.03, threshold=0.5, progress=False)
        scores = integrated_gradients(planted.model, ROWS[:1], steps=10, together=True, progress=False)
    assert any(".experts." in name for name in planted.neurons)
    found = recall_at_k(scores, planted, 0.2)
    assert int(found.n) == planted.count and 0 <= float(found.recall[0]) <= 1
    for name, neurons in planted.neurons.items():
        stem, e, _ = name.rsplit(".", 2)
        changed = (
            (
                planted.model.get_parameter(f"{stem}.down_proj")[int(e)]
                != model.get_parameter(f"{stem}.down_proj")[int(e)]
            )
            .any(0)
            .nonzero()[:, 0]
        )
        assert set(changed.tolist()) <= set(neurons.tolist())


def test_a_mask_over_experts_is_found_saved_and_taken_over(tmp_path):
    model = mixture("mixtral")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mask = locate(model, MEM, REF, method="wanda", sparsity=0.05, progress=False)
    assert mask.count and all(".experts." in name for name in mask.shapes)
    mask.save(tmp_path / "m.npz")
    again = Mask.load(tmp_path / "m.npz")
    assert again.unreached == mask.unreached and again.iou(mask) == 1
    clean = model(ROWS).logits
    with again.applied(model):
        assert not torch.equal(model(ROWS).logits, clean)
    assert torch.equal(model(ROWS).logits, clean)
