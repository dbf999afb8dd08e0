"""``lens.patch`` against plain hooked forwards, cell by cell."""

import numpy as np
import pytest
import torch

import lens
from lens.engine.sites import HEADED
from tests import naive
from tests.models import speaking

PAIR = lens.Pair("w1 w2 w3 w4 w5 w6", corrupted="w1 w2 w9 w4 w8 w6", answer=" w7", foil=" w8", spans={"subject": "w3"})
OTHER = lens.Pair("w11 w2 w3 w4", corrupted="w11 w20 w3 w4", answer=" w17", foil=" w8", spans={"subject": "w2"})


@pytest.fixture(scope="module", params=["llama", "gpt2", "gpt_neox", "olmo2"])
def model(request):
    made = speaking(request.param)
    made.set_attn_implementation("naive")
    return made


def naive_value(model, pair, site, layer, positions, head, direction, metric=lambda x: x[-1, 7] - x[-1, 8]):
    ids = [torch.tensor([int(w[1:]) for w in text.split()]) for text in (pair.clean, pair.corrupted)]
    source, base = ids if direction == "denoise" else ids[::-1]
    act = naive.activation(model, source, site, layer)

    def change(x):
        x = x.clone()
        if site == "pattern":
            for p in positions:
                x[0, slice(None) if head is None else head, p] = act[slice(None) if head is None else head, p]
        else:
            for p in positions:
                if head is None:
                    x[0, p] = act[p]
                else:
                    x[0, p, head] = act[p, head]
        return x

    return metric(naive.forward(model, base, [(site, layer, change)])).item()


@pytest.mark.parametrize("direction", ["denoise", "noise"])
@pytest.mark.parametrize(
    "site", ["embed", "resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "z", "k", "neuron"]
)
def test_layer_by_position(model, site, direction):
    if site == "resid_mid" and model.config.model_type == "gpt_neox":
        with pytest.raises(lens.SiteError, match="side by side"):
            lens.patch(model, PAIR, site, direction=direction)
        return
    ds = lens.patch(model, PAIR, site, direction=direction)
    assert ds.value.dims == ("layer", "position") and ds.sizes["position"] == 6
    for i, layer in enumerate(ds.layer.values):
        for p in range(6):
            want = naive_value(model, PAIR, site, None if site == "embed" else int(layer), [p], None, direction)
            assert abs(ds.value.values[i, p] - want) <= 1e-4, (layer, p)


@pytest.mark.parametrize("site", ["z", "q", "k", "v", "pattern"])
def test_layer_by_head_at_all_positions(model, site):
    ds = lens.patch(model, PAIR, site, over=("layer", "head"))
    kv = getattr(model.config, "num_key_value_heads", None) or model.config.num_attention_heads
    assert ds.sizes["head"] == (model.config.num_attention_heads if HEADED[site] == "query" else kv)
    for l in range(3):
        for h in range(ds.sizes["head"]):
            assert abs(ds.value.values[l, h] - naive_value(model, PAIR, site, l, range(6), h, "denoise")) <= 1e-4


def test_layer_by_head_by_position_and_at_one(model):
    whole = lens.patch(model, PAIR, "z", over=("layer", "head", "position"))
    last = lens.patch(model, PAIR, "z", over=("layer", "head"), positions="last")
    assert np.allclose(whole.value.values[..., -1], last.value.values, atol=1e-5)
    assert abs(whole.value.values[1, 2, 4] - naive_value(model, PAIR, "z", 1, [4], 2, "denoise")) <= 1e-4


def test_windows_patch_neighbouring_layers_together(model):
    ds = lens.patch(model, PAIR, "mlp_out", window=2)
    ids = [torch.tensor([int(w[1:]) for w in t.split()]) for t in (PAIR.corrupted, PAIR.clean)]
    changes = []
    for l in (1, 2):  # window 2 around layer 2: layers 1 and 2
        act = naive.activation(model, ids[1], "mlp_out", l)
        changes.append(("mlp_out", l, lambda x, act=act: torch.cat([x[:, :4], act[None, 4:5], x[:, 5:]], 1)))
    logits = naive.forward(model, ids[0], changes)[-1]
    assert abs(ds.value.values[2, 4] - (logits[7] - logits[8]).item()) <= 1e-4


def test_several_pairs_of_different_lengths(model):
    pairs = [PAIR, OTHER, PAIR]
    ds = lens.patch(model, pairs, "resid_pre")
    assert ds.sizes == {"prompt": 3, "layer": 3, "position": 6}
    assert np.isnan(ds.value.values[1, :, 4:]).all() and np.isfinite(ds.value.values[1, :, :4]).all()
    assert (ds.token_clean.values[1, 4:] == "").all() and ds.token_clean.values[0].tolist() == [
        f"w{i}" for i in range(1, 7)
    ]
    one = lens.patch(model, PAIR, "resid_pre")
    assert np.allclose(ds.value.values[0], one.value.values, atol=1e-5) and np.allclose(
        ds.value.values[2], one.value.values, atol=1e-5
    )

    def metric(x):
        return x[-1, 17] - x[-1, 8]

    for l in range(3):
        assert (
            abs(ds.value.values[1, l, 1] - naive_value(model, OTHER, "resid_pre", l, [1], None, "denoise", metric))
            <= 1e-4
        )


def test_named_positions_are_one_group_each():
    model = speaking()
    wide = lens.Pair("w1 w2 w3 w4 w5", corrupted="w1 w8 w9 w4 w5", answer=" w7", foil=" w8", spans={"subject": "w2 w3"})
    ds = lens.patch(model, [wide, OTHER], "resid_post", positions=["subject", "last"])
    assert ds.position.values.tolist() == ["subject", "last"]
    model.set_attn_implementation("naive")
    assert abs(ds.value.values[0, 1, 0] - naive_value(model, wide, "resid_post", 1, [1, 2], None, "denoise")) <= 1e-4
    # with every differing token restored before attention mixes anything, the clean run is back
    assert np.isclose(lens.patch(model, wide, "resid_pre", positions=["subject"]).normalized.values[0, 0], 1, atol=1e-5)


def test_effect_and_normalized_follow_from_value():
    ds = lens.patch(speaking(), PAIR, "resid_pre")
    assert np.allclose(ds.effect, ds.value - ds.corrupted, atol=1e-5)
    assert np.allclose(ds.normalized, (ds.value - ds.corrupted) / (ds.clean - ds.corrupted), atol=1e-4)
    noise = lens.patch(speaking(), PAIR, "resid_pre", direction="noise")
    assert np.allclose(noise.effect, noise.value - noise.clean, atol=1e-5)
    assert np.isclose(noise.clean, ds.clean, atol=1e-5) and np.isclose(noise.corrupted, ds.corrupted, atol=1e-5)


def test_answers_of_several_tokens_are_read_by_teacher_forcing():
    model = speaking()
    model.set_attn_implementation("naive")
    pair = lens.Pair("w1 w2 w3", corrupted="w1 w9 w3", answer=" w7 w8", foil=" w5")
    clean, corrupted = (torch.tensor([int(w[1:]) for w in t.split()]) for t in (pair.clean, pair.corrupted))
    answers = dict(answer=[7, 8], foil=[5])

    def logprob(tail, layer=None, position=None):
        ids = torch.cat([corrupted, torch.tensor(tail[:-1], dtype=torch.long)])
        changes = []
        if layer is not None:
            act = naive.activation(model, torch.cat([clean, ids[3:]]), "resid_pre", layer)
            changes = [
                (
                    "resid_pre",
                    layer,
                    lambda x: torch.cat([x[:, :position], act[None, position : position + 1], x[:, position + 1 :]], 1),
                )
            ]
        logits = naive.forward(model, ids, changes).log_softmax(-1)
        return sum(logits[2 + i, t] for i, t in enumerate(tail)).item()

    ds = lens.patch(model, pair, "resid_pre", metric="logprob_diff")
    assert abs(ds.corrupted.item() - (logprob(answers["answer"]) - logprob(answers["foil"]))) <= 1e-4
    for l in range(3):
        for p in range(3):
            assert (
                abs(ds.value.values[l, p] - (logprob(answers["answer"], l, p) - logprob(answers["foil"], l, p))) <= 1e-4
            )
    prob = lens.patch(model, pair, "resid_pre", metric="prob")
    assert abs(prob.value.values[1, 1] - np.exp(logprob(answers["answer"], 1, 1))) <= 1e-4


@pytest.mark.parametrize("metric", ["rank", "kl", "logit", "logprob"])
def test_metrics_that_read_the_whole_distribution(metric):
    model = speaking()
    model.set_attn_implementation("naive")
    clean, _corrupted = (torch.tensor([int(w[1:]) for w in t.split()]) for t in (PAIR.clean, PAIR.corrupted))
    target = naive.forward(model, clean)[-1].log_softmax(-1)

    def measure(logits):
        logits = logits[-1]
        return {
            "rank": lambda: (logits > logits[7]).sum().float(),
            "logit": lambda: logits[7],
            "logprob": lambda: logits.log_softmax(-1)[7],
            "kl": lambda: (target.exp() * (target - logits.log_softmax(-1))).sum(),
        }[metric]()

    ds = lens.patch(model, PAIR, "resid_pre", metric=metric)
    for l, p in ((0, 2), (1, 4), (2, 5)):
        assert (
            abs(ds.value.values[l, p] - naive_value(model, PAIR, "resid_pre", l, [p], None, "denoise", measure)) <= 1e-4
        )


def test_a_users_metric_sees_the_logits_and_the_pair():
    model = speaking()

    def margin(logits, encoded):
        return logits[:, encoded.answer_ids[0]] - logits.max(-1).values

    assert np.allclose(
        lens.patch(model, PAIR, metric="logit").value
        - lens.patch(model, PAIR, metric=lambda x, e: x.max(-1).values).value,
        lens.patch(model, PAIR, metric=margin).value,
        atol=1e-5,
    )


def test_streamed_parts_come_from_the_last_layer_and_add_up():
    model, seen = speaking(), []
    import lens.engine.sweep as sweeps

    whole = lens.patch(model, [PAIR, OTHER])
    old, sweeps.WATCHED_LAYERS = sweeps.WATCHED_LAYERS, 1
    try:
        streamed = lens.patch(model, [PAIR, OTHER], on_part=lambda ds: seen.append(ds))
    finally:
        sweeps.WATCHED_LAYERS = old
    assert [int(np.isfinite(s.value.values[0]).all(-1).sum()) for s in seen] == [1, 2, 3]
    assert np.isfinite(seen[0].value.values[0, 2]).all() and lens.record(seen[0])["status"] == "partial"
    assert (
        np.allclose(streamed.value, whole.value, atol=1e-5, equal_nan=True)
        and lens.record(streamed)["status"] == "complete"
    )


def test_memory_limits_batches_not_numbers():
    model = speaking()
    pairs = [PAIR, OTHER] * 3
    assert np.allclose(
        lens.patch(model, pairs, memory_mb=0.05).value, lens.patch(model, pairs).value, atol=1e-5, equal_nan=True
    )


def test_the_model_is_left_as_it_was(model):
    before = {n: (len(m._forward_hooks), len(m._forward_pre_hooks)) for n, m in model.named_modules()}
    ids = torch.tensor([[1, 2, 3]])
    logits = model(ids).logits
    lens.patch(model, PAIR, "z", over=("layer", "head"))
    assert before == {n: (len(m._forward_hooks), len(m._forward_pre_hooks)) for n, m in model.named_modules()}
    assert torch.equal(logits, model(ids).logits)
