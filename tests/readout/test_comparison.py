"""``lens.compare`` against plain forwards of both models, whose states are stored and set side by side in float64."""

import copy
import re

import numpy as np
import pytest
import torch
from scipy.special import rel_entr, softmax

import lens
from lens.engine.runs import Runs
from lens.readout import comparison, states
from lens.stats.similarity import MEASURES, halves, shifts
from tests.models import _SIZE, speaking, word_tokenizer

RNG = np.random.default_rng(0)
#: prompts of four to six tokens; the first two read the same up to their third
PROMPTS = ["w1 w2 w3 w4", "w1 w2 w3 w5 w6"] + [
    " ".join(f"w{i}" for i in RNG.integers(1, 97, RNG.integers(4, 7))) for _ in range(22)
]


def of(**other):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    made = LlamaForCausalLM(LlamaConfig(**{**_SIZE, "num_key_value_heads": 2, **other})).eval()
    made.tokenizer = word_tokenizer()
    return made


@pytest.fixture(scope="module")
def models():
    return [speaking("llama", seed) for seed in range(3)]


@torch.no_grad()
def stored(model, prompts, at=-1):
    """Of every prompt the stream behind each layer at one token, and the logits there, by the model's own forward."""
    streams, logits = [], []
    seen = []
    handles = [
        layer.register_forward_hook(lambda module, args, out: seen.append(out[0] if isinstance(out, tuple) else out))
        for layer in model.model.layers
    ]
    for prompt in prompts:
        seen.clear()
        out = model(torch.tensor([[int(w[1:]) for w in prompt.split()]]))
        streams.append(torch.stack([x[0, at] for x in seen]).double().numpy())
        logits.append(out.logits[0, at].double().numpy())
    for handle in handles:
        handle.remove()
    return np.array(streams), np.array(logits)


def test_every_measure_is_that_of_stored_states(models):
    a, b, _ = models
    ds = lens.compare(a, b, PROMPTS, metrics=comparison.ALL, seed=4)
    (x, p), (y, q) = stored(a, PROMPTS), stored(b, PROMPTS)
    for layer in range(3):
        for measure in MEASURES:
            want = lens.stats.likeness(x[:, layer], y[:, layer], measure, seed=4)
            seen = ds.sel(metric=measure, layer=layer)
            assert float(seen["mean"]) == pytest.approx(float(want.estimate), abs=1e-5), (layer, measure)
            assert (float(seen.low), float(seen.high)) == pytest.approx((want.low, want.high), abs=1e-4)
            assert int(seen.n) == len(PROMPTS) and str(seen.interval_kind.values) == want.kind
    divergence = rel_entr(softmax(p, 1), softmax(q, 1)).sum(1)
    assert float(ds["mean"].sel(metric="kl", layer=2)) == pytest.approx(divergence.mean(), rel=1e-4)
    assert np.isnan(ds["mean"].sel(metric="kl", layer=[0, 1])).all()
    assert "last layer" in str(ds.interval_kind.sel(metric="kl", layer=0).values)
    with torch.no_grad():
        heads = [m.lm_head(m.model.norm(torch.tensor(s[:, 1]).float())).double().numpy() for m, s in ((a, x), (b, y))]
    between = rel_entr(softmax(heads[0], 1), softmax(heads[1], 1)).sum(1).mean()
    assert float(ds["mean"].sel(metric="lens_kl", layer=1)) == pytest.approx(between, rel=1e-4)
    assert float(ds["mean"].sel(metric="lens_kl", layer=2)) == pytest.approx(divergence.mean(), rel=1e-4)


def test_positions_are_read_where_they_are_and_texts_count_once(models):
    a, b, _ = models
    ds = lens.compare(a, b, PROMPTS, positions=[0, 2, -1], metrics=("cosine", "cka"), layers=[1])
    # the first two prompts are one text up to the third token
    assert ds.n.sel(metric="cosine").values.ravel().tolist() == [len({p.split()[0] for p in PROMPTS}), 23, 24]
    kept = [PROMPTS[0], *PROMPTS[2:]]
    (x, _), (y, _) = (stored(m, kept, 2) for m in (a, b))
    want = lens.stats.likeness(x[:, 1], y[:, 1], "cka")
    assert ds["mean"].sel(metric="cka").isel(position=1).item() == pytest.approx(float(want.estimate), abs=1e-5)
    every = lens.compare(a, b, PROMPTS, positions=slice(None), metrics=("cosine",), layers=[1])
    assert every.n.values.ravel().tolist()[2:] == [
        23,
        24,
        sum(len(p.split()) > 4 for p in PROMPTS),
        sum(len(p.split()) > 5 for p in PROMPTS),
    ]
    alike = lens.compare(a, b, [f"w7 {p}" for p in PROMPTS], positions=[0, -1], metrics=("cka",), layers=[1])
    assert np.isnan(alike["mean"].values[0, 0, 0]) and "fewer than 10" in str(alike.interval_kind.values[0, 0, 0])


def test_a_model_with_its_copy_and_with_one_that_differs_above_a_layer(models):
    a = models[0]
    ds = lens.compare(a, copy.deepcopy(a), PROMPTS)
    there = ds["mean"].notnull()
    assert np.allclose(ds["mean"].where(there, 0), ds.same.where(there, 0), atol=1e-6)
    other = copy.deepcopy(a)
    with torch.no_grad():
        other.model.layers[2].mlp.down_proj.weight.add_(0.5)
    ds = lens.compare(a, other, PROMPTS, metrics=("cosine", "cka", "kl"))
    below = ds["mean"].sel(metric=["cosine", "cka"], layer=[0, 1])
    assert np.allclose(below, 1, atol=1e-6)
    assert (ds["mean"].sel(metric=["cosine", "cka"], layer=2) < 0.99).all() and ds["mean"].sel(metric="kl", layer=2) > 0


def test_units_in_another_order_are_seen_through_by_cka_and_procrustes(models):
    a, b = models[0], copy.deepcopy(models[0])
    order = torch.tensor(np.random.default_rng(1).permutation(32))
    with torch.no_grad():
        b.model.embed_tokens.weight.set_(b.model.embed_tokens.weight[:, order].clone())
        b.lm_head.weight.set_(b.lm_head.weight[:, order].clone())
        b.model.norm.weight.set_(b.model.norm.weight[order].clone())
        for layer in b.model.layers:
            for norm in (layer.input_layernorm, layer.post_attention_layernorm):
                norm.weight.set_(norm.weight[order].clone())
            for read in ("q_proj", "k_proj", "v_proj"):
                w = getattr(layer.self_attn, read).weight
                w.set_(w[:, order].clone())
            for read in (layer.mlp.gate_proj, layer.mlp.up_proj):
                read.weight.set_(read.weight[:, order].clone())
            for write in (layer.self_attn.o_proj, layer.mlp.down_proj):
                write.weight.set_(write.weight[order].clone())
    ds = lens.compare(a, b, PROMPTS)
    of_cell = ds["mean"].isel(layer=-1)
    assert float(of_cell.sel(metric="kl")) == pytest.approx(0, abs=1e-5)
    assert float(of_cell.sel(metric="cka")) == pytest.approx(1, abs=1e-5)
    assert float(of_cell.sel(metric="procrustes")) == pytest.approx(0, abs=1e-5)
    assert float(of_cell.sel(metric="cosine")) < 0.5


def test_a_floor_is_set_against_the_same_prompts(models):
    a, b, c = models
    ds = lens.compare(a, b, PROMPTS, floor=c, metrics=("cosine", "identification", "cka", "kl"), seed=2)
    other = lens.compare(a, c, PROMPTS, metrics=("cosine", "identification", "cka", "kl"), seed=2)
    for mine, theirs in (("floor", "mean"), ("floor_low", "low"), ("floor_high", "high")):
        assert np.allclose(ds[mine], other[theirs], atol=1e-6, equal_nan=True)
    assert np.allclose(ds.beyond, ds["mean"] - ds.floor, atol=1e-6, equal_nan=True)
    (x, _), (y, _), (z, _) = (stored(m, PROMPTS) for m in (a, b, c))

    def cosine(u, v):
        return (u * v).sum(-1) / np.linalg.norm(u, axis=-1) / np.linalg.norm(v, axis=-1)

    paired = lens.stats.bootstrap(cosine(x, y)[:, 1] - cosine(x, z)[:, 1], seed=2)
    seen = ds.sel(metric="cosine", layer=1)
    assert (float(seen.beyond_low), float(seen.beyond_high)) == pytest.approx((paired.low, paired.high), abs=1e-4)
    assert 0 < float(seen.p) <= 1 and lens.record(ds)["call"]["floor"]["hash"]


def test_unrelated_prompts_and_clusters(models):
    a, b, _ = models
    labels = [i // 2 for i in range(len(PROMPTS))]
    ds = lens.compare(a, b, PROMPTS, cluster=labels)
    assert (ds.n.sel(metric="cosine") == 12).all()
    assert np.allclose(ds.unrelated.sel(metric="identification"), 1 / len(PROMPTS))
    one = lens.compare(a, b, PROMPTS, cluster=[0] * len(PROMPTS), metrics=("cosine", "procrustes"), layers=[0])
    assert np.isnan(one["mean"].sel(metric="procrustes").item()) and one.n.sel(metric="cosine").item() == 1
    assert "in a half" in str(one.interval_kind.sel(metric="procrustes").values)
    assert (ds.unrelated.sel(metric="cka") == 0).all() and (abs(ds.unrelated.sel(metric="centred_cosine")) < 0.3).all()
    (x, _), (y, _) = stored(a, PROMPTS), stored(b, PROMPTS)
    half = halves(len(PROMPTS), np.array(labels), 0)
    shift = shifts(half, 0, np.array(labels))
    assert (np.array(labels)[shift] != np.array(labels)).all()
    # where a unit is more than half of a half nobody else is left for some of its rows
    assert (
        shifts(np.zeros(5, int), 0, np.array([0, 0, 0, 1, 2])) is None
        and np.isnan(one.unrelated.sel(metric="cosine")).all()
    )
    assert sorted(shift) == list(range(len(PROMPTS))) and (shift != np.arange(len(PROMPTS))).all()
    assert (half[shift] == half).all()
    for measure in ("cosine", "procrustes"):
        want = lens.stats.similarity.rows_of(measure, x[:, 1], y[shift][:, 1], half).mean()
        assert float(ds.unrelated.sel(metric=measure, layer=1)) == pytest.approx(want, abs=1e-5)


def test_batches_and_the_disk_change_nothing(models, monkeypatch):
    a, b, _ = models
    whole = lens.compare(a, b, PROMPTS, positions=[1, -1])
    monkeypatch.setattr(comparison, "RECORD_BYTES", 1)
    monkeypatch.setattr(states, "IN_MEMORY", 1)
    parts = lens.compare(a, b, PROMPTS, positions=[1, -1])
    for name in ("mean", "low", "high", "unrelated"):
        assert np.allclose(whole[name], parts[name], atol=1e-5, equal_nan=True)
    asked = []
    some = lens.compare(a, b, PROMPTS, stop=lambda: len(asked) >= 12 or asked.append(0))
    assert lens.record(some)["status"] == "partial" and (some.n.sel(metric="cosine") == 12).all()
    first = lens.compare(a, b, PROMPTS[:12])
    assert np.allclose(some["mean"], first["mean"], atol=1e-5, equal_nan=True)
    with pytest.raises(lens.engine.stopping.Stopped, match="stopped after 0 of 24 prompts"):
        lens.compare(a, b, PROMPTS, stop=lambda: True)


def test_one_prompt_has_all_its_tokens_and_no_interval(models):
    a, b, _ = models
    ds = lens.compare(a, b, "w1 w2 w3", metrics=("cosine", "lens_kl"))
    assert ds["mean"].shape == (2, 3, 3) and ds.token.values.tolist() == ["w1", "w2", "w3"]
    (x, _), (y, _) = (stored(m, ["w1 w2 w3"], 1) for m in (a, b))
    want = lens.stats.similarity.cosines(x[0], y[0])
    assert np.allclose(ds["mean"].sel(metric="cosine", position=1), want, atol=1e-5)
    assert np.isnan(ds.low).all() and "one prompt" in str(ds.interval_kind.values[0, 0, 0])
    plain = lens.compare(a, b, "w1 w2 w3")
    assert plain.metric.values.tolist() == ["cosine", "kl"]
    assert "it needs at least 10 prompts, and there are 1" in lens.record(plain)["call"]["left_out"]["cka"]


def test_states_of_one_prompt_are_told_about_the_mean_of_others(models):
    a, b, other = models
    about = [p for p in PROMPTS[2:] if len(p.split()) == 4][:4]
    ds = lens.compare(a, b, "w1 w2 w3", metrics=("cosine", "lens_kl"), floor=other, centre=about)
    means = [np.mean([stored(m, about, at)[0].mean(0) for at in (1, 2, 3)], 0) for m in models]
    x, y, z = (stored(m, ["w1 w2 w3"], 1)[0][0] - mean for m, mean in zip(models, means))
    cosines = lens.stats.similarity.cosines
    assert np.allclose(ds["mean"].sel(metric="cosine", position=1), cosines(x, y), atol=1e-5)
    assert np.allclose(ds.floor.sel(metric="cosine", position=1), cosines(x, z), atol=1e-5)
    plain = lens.compare(a, b, "w1 w2 w3", metrics=("cosine", "lens_kl"), floor=other)
    assert np.array_equal(ds["mean"].sel(metric="lens_kl"), plain["mean"].sel(metric="lens_kl"))
    assert (abs(ds["mean"] - plain["mean"]).sel(metric="cosine") > 1e-3).any()
    assert lens.record(ds)["call"]["centre"] | {"sha256": ""} == {"prompts": 4, "tokens": 12, "sha256": ""}
    whole = lens.compare(a, b, PROMPTS, metrics=("cka",)), lens.compare(a, b, PROMPTS, metrics=("cka",), centre=about)
    assert np.allclose(whole[0]["mean"], whole[1]["mean"], atol=1e-5)


def test_models_of_unlike_width_and_depth(models):
    a, wide = models[0], of(hidden_size=48, num_hidden_layers=6)
    ds = lens.compare(a, wide, PROMPTS)
    assert ds.metric.values.tolist() == ["cka", "procrustes", "kl"] and ds.layer_b.values.tolist() == [1, 3, 5]
    (x, _), (y, _) = stored(a, PROMPTS), stored(wide, PROMPTS)
    want = lens.stats.likeness(x[:, 1], y[:, 3], "cka").estimate
    assert float(ds["mean"].sel(metric="cka", layer=1)) == pytest.approx(float(want), abs=1e-5)
    with pytest.raises(lens.ReadoutError, match="metrics: 'cosine' cannot be told here: the states are 32 and 48 wide"):
        lens.compare(a, wide, PROMPTS, metrics=("cosine",))


def test_heads_and_an_adapter_on_and_off(models):
    from peft import LoraConfig, get_peft_model

    a = models[0]
    tuned = get_peft_model(
        copy.deepcopy(a), LoraConfig(r=2, target_modules=["q_proj"], layers_to_transform=[1], init_lora_weights=False)
    ).eval()
    tuned.tokenizer = a.tokenizer
    ds = lens.compare(a, tuned, PROMPTS, site="z", metrics=("cosine",))
    assert float(ds["mean"].sel(layer=0).item()) == pytest.approx(1, abs=1e-6)
    assert float(ds["mean"].sel(layer=1).item()) < 1 - 1e-6


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda a, b: lens.compare(a, a, PROMPTS), "b: it is the very model `a`"),
        (lambda a, b: lens.compare(a, b, []), "prompts is empty"),
        (lambda a, b: lens.compare(a, b, PROMPTS, metrics=()), r"metrics=\[\]; expected some of cosine"),
        (lambda a, b: lens.compare(a, b, PROMPTS, metrics=("cca",)), "metrics"),
        (
            lambda a, b: lens.compare(a, b, PROMPTS[:9], metrics=("cka",)),
            "it needs at least 10 prompts, and there are 9",
        ),
        (lambda a, b: lens.compare(a, b, PROMPTS, layers=[0], metrics=("kl",)), "it stands at the last layer, 2"),
        (lambda a, b: lens.compare(a, b, PROMPTS, site="attn_out", metrics=("lens_kl",)), "no stream that could be"),
        (lambda a, b: lens.compare(a, b, PROMPTS, floor=a), "floor: it has the weights of `a`"),
        (lambda a, b: lens.compare(a, b, PROMPTS, floor=copy.deepcopy(b)), "floor: it has the weights of `b`"),
        (
            lambda a, b: lens.compare(a, b, PROMPTS, floor=of(num_hidden_layers=2)),
            "floor: its n_layers is 2, that of `a` 3",
        ),
        (lambda a, b: lens.compare(a, b, PROMPTS, centre=["w1 w2 w3"]), "centre: holds 2 tokens behind the first"),
        (lambda a, b: lens.compare(a, b, PROMPTS, centre=[]), "centre: holds 0 tokens"),
        (lambda a, b: lens.compare(a, of(vocab_size=99), PROMPTS, metrics=("kl",)), "the vocabularies have 97 and 99"),
    ],
)
def test_what_cannot_be_compared_is_refused(models, call, said):
    with pytest.raises(lens.ReadoutError, match=said):
        call(*models[:2])


def test_tokenizers_sites_and_states_that_do_not_fit_are_refused(models, monkeypatch):
    a, b, _ = models
    other = of()
    other.tokenizer.add_tokens(["w5 w6"])
    said = (
        "b: its tokenizer reads prompts[1] otherwise than that of `a`: token 3 is 'w5 w6' (id 97), of `a` 'w5' (id 5)"
    )
    with pytest.raises(lens.ReadoutError, match=re.escape(said)):
        lens.compare(a, other, PROMPTS)
    for site in ("pattern", "resid", "embed"):
        with pytest.raises(lens.SiteError, match=f"site='{site}' has no state of each token and layer"):
            lens.compare(a, b, PROMPTS, site=site)
    with pytest.raises(lens.Error, match="cluster has shape"):
        lens.compare(a, b, PROMPTS, cluster=[0] * 25)
    record = Runs.record

    def broken(view, ids, keep=()):
        runs = record(view, ids, keep)
        if view.hf is b and len(ids) > 1:
            runs.resid[2][8, 0] = torch.nan  # the last token of the second prompt
        return runs

    monkeypatch.setattr(Runs, "record", broken)
    said = "b: its states of prompts[1] at 'resid_post' of layer 1 hold NaN or infinity"
    with pytest.raises(lens.ReadoutError, match=re.escape(said)):
        lens.compare(a, b, PROMPTS)


def test_cells_that_no_prompt_has_a_value_of_are_missing_and_not_0():
    from lens.readout.likeness_tables import _intervals

    rows = np.full((1, 3, 2, 1), np.nan)
    rows[0, 0, 1, 0] = 0.25
    out = _intervals(rows, ["cka"], None, 0.95, 20, 0)
    assert np.isnan(out["mean"][0, 0, 0]) and out["mean"][0, 1, 0] == 0.25
