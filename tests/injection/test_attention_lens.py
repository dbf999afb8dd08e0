"""The trained lens of a layer's heads: what it is before training, that training helps on texts it has not seen, files,
bad input.
"""

import json

import numpy as np
import pytest
import torch

import lens
from lens.injection.attention_lens import AttentionLens, lens_reading, train_lenses
from lens.injection.bridge import bridge_reading
from lens.injection.items import InjectionError
from lens.injection.lens_data import collect, lens_texts
from lens.injection.lens_fit import split_texts
from tests import naive
from tests.injection.test_bridge import ITEMS, final_norm, frozen, head_logits, ids_of
from tests.models import ABOVE, KINDS, speaking
from tests.variants import few


def texts_of(n=160, seed=0, words=96):
    rng = np.random.default_rng(seed)
    return [" ".join(f"w{i}" for i in rng.integers(1, words, size=rng.integers(2, 9))) for _ in range(n)]


QUICK = dict(steps=60, batch=16, lr=0.02)


@pytest.fixture(scope="module", params=few(KINDS, ABOVE))
def model(request):
    return speaking(request.param)


def test_untrained_it_is_the_logit_lens_of_the_head(model):
    made = AttentionLens(model, 1)
    ids = ids_of(ITEMS[0].prompt)
    z = naive.activation(model, ids, "z", 1)[-1:]
    final = naive.activation(model, ids, "resid_post", 2)[-1:]
    centre = isinstance(final_norm(model), torch.nn.LayerNorm)
    x = final - final.mean(-1, keepdim=True) if centre else final
    epsilon = final_norm(model).eps if centre else final_norm(model).variance_epsilon
    scale = (x.pow(2).mean(-1, keepdim=True) + epsilon).rsqrt()
    assert torch.allclose(made.read(z, scale)[0], head_logits(model, ids, 1), atol=2e-4)
    # without the run's own scale it is that of the training texts (1 before training): another length, the same
    # direction
    assert torch.allclose(made.read(z)[0] * scale, head_logits(model, ids, 1), atol=2e-4)
    a, b = bridge_reading(model, ITEMS, layers=[1]), lens_reading(model, ITEMS, made, full=True)
    for name in ("score", "reading", "score_other", "kl"):
        assert np.allclose(a[name], b[name], atol=1e-5), name


def summed_kl(model, texts, layer, weight, bias):
    """KL(model || softmax of the sum of read-outs and bias) at the last token of each text, from hooked forwards."""
    out = []
    for t in texts:
        ids = ids_of(t)
        final = naive.activation(model, ids, "resid_post", 2)[-1]
        constant = frozen(final_norm(model), bias, final) @ model.get_output_embeddings().weight.T
        guess = (head_logits(model, ids, layer, weight).sum(0) + constant).log_softmax(-1)
        target = naive.forward(model, ids)[-1].log_softmax(-1)
        out.append((target.exp() * (target - guess)).sum().item())
    return np.array(out)


@pytest.mark.parametrize("kind", few(["llama", "gpt2", "olmo2", "gpt_neox"], ["llama", "gpt2"]))
def test_training_lowers_held_out_kl_and_reports_it_truly(kind):
    model, texts = speaking(kind), texts_of()
    made = AttentionLens.train(model, texts, 1, **QUICK)
    report = made.report
    assert report["kl_after"][0] < report["kl_before"][0] and report["gain"][1] > 0
    assert (
        report["n_train"] + report["n_validation"] + report["n_held_out"] == len(set(texts))
        and report["unit"] == "text"
        and report["n_units"] == report["n_held_out"]
    )
    # the held-out texts, found again from the seed
    data = collect(model, texts, [1])
    parts = split_texts(data.groups, 0)
    unique = list(dict.fromkeys(texts))
    held, train = ([unique[i] for i in parts[p]] for p in (2, 0))
    own = data.decoder.blocks[1].output_weight()
    assert np.isclose(summed_kl(model, held, 1, own, torch.zeros(32)).mean(), report["kl_before"][0], atol=1e-4)
    assert np.isclose(summed_kl(model, held, 1, made.weight, made.bias).mean(), report["kl_after"][0], atol=1e-3)
    mean = torch.stack([naive.forward(model, ids_of(t))[-1].softmax(-1) for t in train]).mean(0)
    target = torch.stack([naive.forward(model, ids_of(t))[-1].log_softmax(-1) for t in held])
    assert np.isclose((target.exp() * (target - mean.log())).sum(-1).mean().item(), report["kl_mean"][0], atol=1e-4)
    assert np.isclose(report["gain"][0], report["kl_before"][0] - report["kl_after"][0], atol=1e-6)
    assert not set(held) & set(train)


def test_same_seed_same_weights_and_collected_once_is_the_same():
    model, texts = speaking("llama"), texts_of(80)
    a, b, c = (AttentionLens.train(model, texts, 2, seed=s, steps=20) for s in (0, 0, 1))
    assert torch.equal(a.weight, b.weight) and torch.equal(a.bias, b.bias) and not torch.equal(a.weight, c.weight)
    several = train_lenses(model, [0, 2], texts, steps=20, memory_mb=0.05)
    assert list(several) == [0, 2] and torch.allclose(several[2].weight, a.weight, atol=1e-5)


def test_the_step_with_the_best_validation_is_kept():
    model, texts = speaking("llama"), texts_of(60)
    made, data = AttentionLens.train(model, texts, 1, steps=60, lr=0.05), collect(model, texts, [1])
    looks = dict(map(tuple, made.report["validation"]))
    assert list(looks) == [0, *range(6, 61, 6)] and made.report["kept_step"] == min(looks, key=looks.get)
    assert 0 < made.report["kept_step"] < 60
    parts = split_texts(data.groups, 0)
    unique = list(dict.fromkeys(texts))
    assert np.isclose(
        summed_kl(model, [unique[i] for i in parts[1]], 1, made.weight, made.bias).mean(),
        min(looks.values()),
        atol=1e-3,
    )
    # both parts of it are trained
    assert made.bias.abs().max() > 0 and not torch.equal(made.weight, AttentionLens(model, 1).weight)


def test_no_step_is_no_change():
    model = speaking("llama")
    made = AttentionLens.train(model, texts_of(60), 0, steps=0)
    assert (
        torch.equal(made.weight, AttentionLens(model, 0).weight)
        and made.report["gain"] == [0, None, None]
        and made.report["kept_step"] == 0
    )


def test_groups_stay_together_and_are_the_unit():
    model, texts = speaking("llama"), texts_of(120)
    groups = [f"g{i % 30}" for i in range(len(texts))]
    report = AttentionLens.train(model, texts, 1, groups=groups, steps=5).report
    assert report["unit"] == "group" and report["n_units"] == report["n_held_out"] / 4
    assert report["kl_before"][1] <= report["kl_before"][0] <= report["kl_before"][2]


def test_training_leaves_the_model_alone():
    model = speaking("gpt2")
    before = {n: p.clone() for n, p in model.named_parameters()}
    AttentionLens.train(model, texts_of(60), 1, steps=5)
    assert all(
        torch.equal(p, before[n]) and p.grad is None and not p.requires_grad for n, p in model.named_parameters()
    )


def test_a_trained_lens_reads_items():
    model = speaking("llama")
    made = AttentionLens.train(model, texts_of(), 1, **QUICK)
    ds = lens_reading(model, ITEMS, {1: made}, full=True)
    assert list(ds.layer.values) == [1] and ds.score.dims == ("item", "layer", "head", "prompt")
    x = head_logits(model, ids_of(ITEMS[0].explicit), 1, made.weight)
    want = (x - x.mean(-1, keepdim=True))[:, [7, 8]].mean(-1)
    assert np.allclose(ds.score[0, 0, :, 0], want, atol=5e-4)


def test_round_trip(tmp_path):
    model = speaking("qwen3")
    made = AttentionLens.train(model, texts_of(60), 1, steps=5)
    path = tmp_path / "lens.safetensors"
    made.save(path)
    back = AttentionLens.load(path, model)
    assert (
        torch.equal(back.weight, made.weight)
        and torch.equal(back.bias, made.bias)
        and back.scale == made.scale
        and back.layer == 1
    )
    assert back.report == json.loads(json.dumps(made.report)) and "held-out KL" in repr(back)
    z = torch.randn(2, *made.weight.shape[:2])
    # the weights are equal to the bit; where they lie in memory may change the order in which a product is summed
    torch.testing.assert_close(back.read(z), made.read(z), rtol=1e-5, atol=1e-6)
    with pytest.raises(InjectionError, match="other weights"):
        AttentionLens.load(path, speaking("qwen3", seed=1))


def test_files_that_are_no_lens(tmp_path):
    from safetensors.torch import save_file

    model = speaking("llama")
    with pytest.raises(InjectionError, match="no file"):
        AttentionLens.load(tmp_path / "absent.safetensors", model)
    with pytest.raises(InjectionError, match="end the path so"):
        AttentionLens(model, 0).save(tmp_path / "lens.pt")
    (junk := tmp_path / "junk.safetensors").write_bytes(b"not a lens")
    save_file({"weight": torch.zeros(2)}, bare := tmp_path / "bare.safetensors")
    save_file(
        {"weight": torch.zeros(2), "bias": torch.zeros(2)},
        other := tmp_path / "other.safetensors",
        {"mnemoscope": json.dumps({"layer": 0, "scale": 1, "model": "x", "report": {}, "kind": "mask", "schema": 1})},
    )
    for path, message in ((junk, "no attention lens"), (bare, "no attention lens"), (other, "kind 'mask'")):
        with pytest.raises(InjectionError, match=message):
            AttentionLens.load(path, model)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda m: AttentionLens.train(m, "w1 w2", 0), "texts='w1 w2' does not fit; expected .*a list of text"),
        (lambda m: AttentionLens.train(m, ["w1 w2", " "], 0), "not empty"),
        (lambda m: AttentionLens.train(m, ["w1 w2", "w3"], 0), "too few"),
        (lambda m: AttentionLens.train(m, texts_of(40), 5), "layer=5"),
        (lambda m: AttentionLens.train(m, texts_of(40), 0, lr=0), "lr=0"),
        (lambda m: AttentionLens.train(m, texts_of(40), 0, lr=1e37), "loss is"),
        (lambda m: AttentionLens.train(m, texts_of(40), 0, steps=-1), "steps=-1"),
        (lambda m: AttentionLens.train(m, texts_of(40), 0, groups=["a"]), "1 entries for 40"),
        (lambda m: AttentionLens.train(m, collect(m, texts_of(40), [0]), 1), "without layer 1"),
        (lambda m: AttentionLens.train(m, collect(speaking("llama", 1), texts_of(40), [1]), 1), "another model"),
        (lambda m: AttentionLens(m, 0, weight=torch.zeros(2, 3, 4)), "another model"),
        (
            lambda m: AttentionLens(m, 0).read(torch.zeros(3, 32)),
            r"z_last=<Tensor of float32, shape \(3, 32\)> does not fit",
        ),
        (lambda m: lens_reading(m, ITEMS, []), "holds no AttentionLens"),
        (lambda m: lens_reading(m, ITEMS, [AttentionLens(m, 0), AttentionLens(m, 0)]), "repeat"),
        (lambda m: lens_reading(m, ITEMS, AttentionLens(speaking("llama", 1), 0)), "other weights"),
        (lambda m: lens_texts(50, data=("poems",)), "poems"),
        (lambda m: lens_texts(2), "n=2"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call(speaking("llama"))


def test_shipped_texts():
    texts, groups = lens_texts(300, seed=1, data=("facts", "ioi"))
    assert len(texts) == len(groups) == len(set(texts)) == 300 and lens_texts(300, seed=1, data=("facts", "ioi")) == (
        texts,
        groups,
    )
    assert len(set(groups)) > 20 and all(g.startswith(("facts ", "ioi ")) for g in groups)
    assert lens_texts(300, seed=2, data=("facts", "ioi"))[0] != texts
    # half of them end somewhere inside a prompt
    whole = {p.clean for name in ("facts", "ioi") for p in lens.load_pairs(name)}
    assert 0.3 < np.mean([t in whole for t in texts]) < 0.7 and all(any(w.startswith(t) for w in whole) for t in texts)
    assert any(g.startswith("multihop ") for g in lens_texts(800)[1])
