"""Head read-outs, patching from the explicit prompt and their prediction of an effect, against plain hooked forwards,
torch and SciPy.
"""

import itertools

import numpy as np
import pytest
import torch
import xarray as xr
from scipy import stats

import lens
from lens.injection import bridge, explicit, item_means, prediction
from lens.injection.items import InjectionError, Item
from lens.stats import halves
from tests import naive
from tests.models import ABOVE, KINDS, speaking
from tests.variants import few

ITEMS = [
    Item("w1 w2 w3 w4 w5", "w9 w4 w5", "w7 w8", " w11 w12", subject="w2 w3", label="a", group="g"),
    Item("w21 w22 w23 w24 w25 w26 w27", "w29 w24 w27", "w30", " w31", label="b", group="g"),
    Item("w41 w42 w43 w44", "w49 w50 w51 w52 w44", "w53 w53 w54", " w55 w56 w57", label="c", group="h"),
]


def ids_of(text):
    return torch.tensor([0] + [int(w[1:]) for w in text.split()])


@pytest.fixture(scope="module", params=few(KINDS, ABOVE))
def model(request):
    return speaking(request.param)


def final_norm(model):
    return (
        model.transformer.ln_f
        if hasattr(model, "transformer")
        else model.gpt_neox.final_layer_norm
        if hasattr(model, "gpt_neox")
        else model.model.norm
    )


def frozen(norm, part, whole):
    """What a norm makes of a part of its input when its scale is that of the whole, without bias."""
    if isinstance(norm, torch.nn.LayerNorm):
        part, whole = part - part.mean(-1, keepdim=True), whole - whole.mean(-1, keepdim=True)
        epsilon = norm.eps
    else:
        epsilon = norm.variance_epsilon
    return part / (whole.pow(2).mean(-1, keepdim=True) + epsilon).sqrt() * norm.weight


def head_logits(model, ids, layer, weight=None):
    """Every head's read-out at the last token, ``[head, vocab]``, from activations that hooks saw."""
    z = naive.activation(model, ids, "z", layer)[-1]
    projection = naive.parts(model, layer)["o"]
    w_o = projection.weight if type(projection).__name__ == "Conv1D" else projection.weight.T
    own = w_o.reshape(z.shape[0], z.shape[1], -1)
    out = torch.stack([z[h] @ (own if weight is None else weight)[h] for h in range(len(z))])
    if model.config.model_type == "olmo2":
        whole = sum(z[h] @ own[h] for h in range(len(z)))
        out = frozen(model.model.layers[layer].post_attention_layernorm, out, whole)
    final = naive.activation(model, ids, "resid_post", model.config.num_hidden_layers - 1)[-1]
    return frozen(final_norm(model), out, final) @ model.get_output_embeddings().weight.T


def centred(logits, tokens):
    return (logits - logits.mean(-1, keepdim=True))[..., list(tokens)].mean(-1)


MEMORIES = [(7, 8), (30,), (53, 54)]


def test_reading_equals_hooked_read_outs(model):
    ds = bridge.bridge_reading(model, ITEMS, k=5)
    assert ds.score.dims == ("item", "layer", "head", "prompt") and ds.kl.dims == ("item", "layer", "head")
    others = bridge.partners(ITEMS)
    for i, item in enumerate(ITEMS):
        for l in range(3):
            single, multi = (head_logits(model, ids_of(t), l) for t in (item.explicit, item.prompt))
            for p, x in enumerate((single, multi)):
                assert np.allclose(ds.score[i, l, :, p], centred(x, MEMORIES[i]), atol=2e-4)
                assert np.allclose(ds.score_other[i, l, :, p], centred(x, MEMORIES[others[i]]), atol=2e-4)
                best = [min((row > row[t]).sum().item() for t in MEMORIES[i]) for row in x]
                # a tie in float32 may fall either way
                assert np.abs(ds["rank"][i, l, :, p].values - best).max() <= 1
            assert np.allclose(ds.reading[i, l], centred(single, MEMORIES[i]) - centred(multi, MEMORIES[i]), atol=4e-4)
            want = torch.nn.functional.kl_div(
                multi.log_softmax(-1), single.log_softmax(-1), log_target=True, reduction="none"
            ).sum(-1)
            assert np.allclose(ds.kl[i, l], want, atol=1e-4, rtol=1e-4)
    assert ((ds["rank"] < 5) == ds.hit.astype(bool)).all()
    assert ds.kl.min() >= 0 and ds.kl.max() > 0


def test_memory_budget_and_subset_of_layers_change_nothing():
    model = speaking("llama")
    whole, small = bridge.bridge_reading(model, ITEMS), bridge.bridge_reading(model, ITEMS, memory_mb=1e-3)
    for name in whole.data_vars:
        assert np.allclose(whole[name], small[name], atol=1e-5), name
    some = bridge.bridge_reading(model, ITEMS, layers=[2, 0], full=False)
    assert list(some.layer.values) == [2, 0] and "kl" not in some
    assert np.allclose(some.reading, whole.reading.sel(layer=[2, 0]), atol=1e-5)


def test_better_of_two_spellings(monkeypatch):
    model = speaking("gpt2")
    monkeypatch.setattr(bridge, "memory_tokens", lambda model, memory: [(3, 4), (5,)])
    ds = bridge.bridge_reading(model, ITEMS[:1])
    x = head_logits(model, ids_of(ITEMS[0].explicit), 1)
    assert np.allclose(ds.score[0, 1, :, 0], torch.maximum(centred(x, (3, 4)), centred(x, (5,))), atol=2e-4)
    assert ds.score_other.isnull().all()  # one item has no control


def test_spellings_of_a_real_tokenizer(smollm2):
    plain, spaced = bridge.memory_tokens(smollm2, " George Washington")
    decode = smollm2.tokenizer.decode
    assert decode(list(plain)) == "George Washington" and decode(list(spaced)) == " George Washington"


def test_partners():
    items = [Item(f"w1 w2 w{i}", "w3", f"w{i + 50}", " w40", label=str(i), group="gh"[i % 2]) for i in range(10)]
    found = bridge.partners(items, seed=3)
    assert found == bridge.partners(items, seed=3)
    assert all(j != i and items[j].group == items[i].group for i, j in enumerate(found))
    assert len({tuple(bridge.partners(items, seed=s)) for s in range(5)}) > 1
    same = [Item("w1", "w2", "w7", " w8"), Item("w3", "w4", "w7", " w9")]
    assert bridge.partners(same) == [None, None]
    # an entity that the item's own prompt or answer names is no control
    named = [
        Item("w1 w20", "w2", "w7", " w21"),
        Item("w1", "w2", "w20", " w9"),
        Item("w1", "w2", "w21", " w9"),
        Item("w1", "w3", "w33", " w9"),
    ]
    assert {bridge.partners(named, seed=s)[0] for s in range(8)} == {3}


# -- patching
# -----------------------------------------------------------------------------------------------------------


def answer_logprob(model, prompt, answer, changes=()):
    first, ids = ids_of(prompt), [int(w[1:]) for w in answer.split()]
    logits = naive.forward(model, torch.cat([first, torch.tensor(ids[:-1], dtype=torch.long)]), changes)
    return sum(logits[len(first) - 1 + t].log_softmax(-1)[token].item() for t, token in enumerate(ids))


@pytest.mark.parametrize(
    ("kind", "site"),
    few(
        itertools.product(("llama", "gpt2", "gpt_neox", "olmo2"), explicit.PATCHED),
        lambda case: case[0] == "llama" or case[1] == "z",
    ),
)
def test_patching_equals_hooked_forwards(kind, site):
    model = speaking(kind)
    ds = explicit.from_explicit(model, ITEMS, site=site)
    assert ds.effect.dims == (("item", "layer", "head") if site == "z" else ("item", "layer"))
    others = bridge.partners(ITEMS)
    for i, item in enumerate(ITEMS):
        last, clean = len(ids_of(item.prompt)) - 1, answer_logprob(model, item.prompt, item.answer)
        assert abs(ds.multi_logprob[i] - clean) < 1e-4
        assert abs(ds.single_logprob[i] - answer_logprob(model, item.explicit, item.answer)) < 1e-4
        for end, source in (("", item), ("_other", ITEMS[others[i]])):
            for l in range(3):
                value = naive.activation(model, ids_of(source.explicit), site, l)[-1]
                for h in range(4) if site == "z" else [None]:

                    def change(x):
                        x = x.clone()
                        if h is None:
                            x[0, last] = value
                        else:
                            x[0, last, h] = value[h]
                        return x

                    want = answer_logprob(model, item.prompt, item.answer, [(site, l, change)])
                    cell = ds.isel(item=i, layer=l, **({} if h is None else {"head": h}))
                    assert abs(cell[f"value{end}"] - want) < 2e-4 and abs(cell[f"effect{end}"] - (want - clean)) < 2e-4


def test_patching_in_small_parts_and_stopped():
    model = speaking("llama")
    whole, small = (
        explicit.from_explicit(model, ITEMS, site="z"),
        explicit.from_explicit(model, ITEMS, site="z", memory_mb=1e-3),
    )
    assert np.allclose(whole.effect, small.effect, atol=1e-5) and np.allclose(
        whole.effect_other, small.effect_other, atol=1e-5
    )
    some = explicit.from_explicit(model, ITEMS, site="z", layers=[2, 0], control=False)
    assert (
        "effect_other" not in some
        and list(some.layer.values) == [2, 0]
        and np.allclose(some.effect, whole.effect.sel(layer=[2, 0]), atol=1e-5)
    )
    partial = explicit.from_explicit(model, ITEMS, stop=lambda: True)
    assert lens.record(partial)["status"] == "partial" and partial.effect.isnull().all()


def test_the_last_layer_hands_over_the_whole_prediction():
    """All of the last layer's output copied: the first answer token is predicted exactly as after the explicit
    prompt.
    """
    model = speaking("qwen2")
    items = [
        Item(i.prompt, i.explicit, i.memory, i.answer.split(" w")[0] + " w" + i.answer.split(" w")[1], label=i.label)
        for i in ITEMS
    ]
    ds = explicit.from_explicit(model, items, site="resid_post")
    assert np.allclose(ds.value[:, -1], ds.single_logprob, atol=1e-4)


# -- over items
# -----------------------------------------------------------------------------------------------------------


def test_over_items_finds_what_is_there():
    rng, n = np.random.default_rng(0), 40
    own, other = rng.normal(size=(n, 3, 2)), rng.normal(size=(n, 3, 2))
    own[:, 1, 0] += 2
    ds = lens.results.dataset.stamp(
        xr.Dataset({"reading": (("item", "layer", "head"), own), "reading_other": (("item", "layer", "head"), other)}),
        {"kind": "test"},
    )
    found = item_means.over_items(ds)
    assert (
        np.allclose(found["mean"], own.mean(0))
        and np.allclose(found.excess, (own - other).mean(0))
        and (found.n == n).all()
    )
    assert found.p_holm[1, 0] < 0.01 and found.excess_p_holm[1, 0] < 0.01
    assert (found.p_holm.values.ravel()[[0, 1, 3, 4, 5]] > 0.05).all()
    assert (found.low < found["mean"]).all() and (found["mean"] < found.high).all()
    reference = stats.ttest_1samp(own[:, 0, 0], 0).pvalue
    assert abs(found.p[0, 0] - reference) < 0.03
    with pytest.raises(InjectionError, match="two"):
        item_means.over_items(ds.isel(item=[0]))
    with pytest.raises(InjectionError, match="variable='kl'"):
        item_means.over_items(ds, "kl")


# -- prediction
# -------------------------------------------------------------------------------------------------------------


def table(values, name="m", **coords):
    dims = ("item", "layer", "head")[: np.ndim(values)]
    return xr.DataArray(values, dims=dims, name=name, coords={"layer": np.arange(values.shape[1]), **coords})


def test_rho_is_spearmans_between_halves():
    rng = np.random.default_rng(1)
    made, effect = rng.normal(size=(21, 7, 4)), rng.normal(size=(21, 7))
    for how, reduce in (("mean", lambda x: x.mean(-1)), ("max", lambda x: x.max(-1))):
        found = prediction.predicts(
            table(made), table(effect), over_heads=how, splits=3, resamples=200, permutations=200, seed=5
        )
        want, own, depth = [], [], []
        for s in range(3):
            h = halves(21, seed=5 + s)
            a, b = reduce(made[h.select].mean(0)), effect[h.report].mean(0)
            want.append(stats.spearmanr(a, b)[0]), depth.append(stats.spearmanr(np.arange(7), b)[0])
            own.append(stats.spearmanr(effect[h.select].mean(0), b)[0])
        assert (
            abs(found.rho.item() - np.mean(want)) < 1e-9
            and abs(found.depth.item() - np.mean(depth)) < 1e-9
            and abs(found.reliability.item() - np.mean(own)) < 1e-9
        )
        assert found.n_items == 21 and found.n_cells == 7


def test_heads_of_both():
    rng = np.random.default_rng(2)
    made, effect = rng.normal(size=(12, 3, 4)), rng.normal(size=(12, 3, 4))
    found = prediction.predicts(table(made), table(effect), splits=1, resamples=200, permutations=200)
    h = halves(12, seed=0)
    assert (
        found.n_cells == 12
        and abs(found.rho.item() - stats.spearmanr(made[h.select].mean(0).ravel(), effect[h.report].mean(0).ravel())[0])
        < 1e-9
    )


def test_a_planted_relation_is_found_and_noise_is_not():
    rng, truth = np.random.default_rng(3), np.random.default_rng(4).permutation(12).astype(float)
    maps = {"good": table(truth + rng.normal(size=(30, 12))), "noise": table(rng.normal(size=(30, 12)))}
    found = prediction.predicts(maps, table(truth + rng.normal(size=(30, 12))))
    assert list(found["map"].values) == ["good", "noise"]
    good, noise = found.isel(map=0), found.isel(map=1)
    assert (
        good.rho > 0.9
        and good.p < 0.01
        and good.p_holm < 0.01
        and good.low > 0.8
        and good.p_shift <= 1 / 12 + 1e-9
        and good.partial > 0.8
    )
    assert abs(noise.rho) < 0.6 and noise.p > 0.05 and noise.low < noise.rho < noise.high
    assert good.low <= good.rho <= good.high and good.reliability > 0.9


@pytest.mark.parametrize("trials", few([80, 200], [80]))
def test_false_alarms_are_rare(trials):
    rng = np.random.default_rng(6)
    p = [
        prediction.predicts(
            table(rng.normal(size=(10, 8))),
            table(rng.normal(size=(10, 8))),
            splits=4,
            resamples=100,
            permutations=99,
            seed=s,
        ).p.item()
        for s in range(trials)
    ]
    hits = int((np.array(p) <= 0.05).sum())
    assert stats.binomtest(hits, trials, 0.05, "greater").pvalue > 1e-3 and 0.35 < np.mean(p) < 0.65


@pytest.mark.parametrize(("fresh", "trials"), few([(40, 50), (100, 150)], [(40, 50)]))
def test_interval_covers(fresh, trials):
    """The interval covers the correlation that the same number of fresh items would show, about as often as it says."""
    rng, truth = np.random.default_rng(8), np.random.default_rng(9).permutation(10).astype(float)

    def draw():
        return (table(truth + 6 * rng.normal(size=(24, 10))), table(truth + 6 * rng.normal(size=(24, 10))))

    expected = np.mean(
        [prediction.predicts(*draw(), splits=8, resamples=100, permutations=99).rho.item() for _ in range(fresh)]
    )
    inside = 0
    for _ in range(trials):
        found = prediction.predicts(*draw(), splits=8, resamples=200, permutations=99)
        inside += bool(found.low <= expected <= found.high)
    # normal quantiles of the plain bootstrap error have 129 of 150
    assert 0.3 < expected < 0.9 and stats.binomtest(inside, trials, 0.95, "less").pvalue > 1e-3
    assert str(found.interval_kind.item()).startswith("Student's t and bootstrap over items") and str(
        found.p_kind.item()
    ).startswith("monte carlo if layers")


@pytest.mark.long
def test_depth_alone_leaves_no_partial_correlation():
    rng, depth = np.random.default_rng(7), np.arange(20.0)

    def noisy():
        return table(depth + 10 * rng.normal(size=(40, 20)))

    found = prediction.predicts({n: noisy() for n in "abcde"}, noisy())
    assert (found.rho > 0.6).all() and (found.depth > 0.6).all() and abs(found.partial.mean()) < 0.3
    assert ((found.partial_low < 0) & (found.partial_high > 0)).sum() >= 4
    # turning a trend in a circle keeps most of it, so that the test by shifts is the harder one to pass
    assert (found.p < found.p_shift).all()
    # where the depth is all there is to both, nothing can be said
    alone = prediction.predicts(table(np.tile(depth, (40, 1))), table(np.tile(depth, (40, 1))))
    assert abs(alone.rho - 1) < 1e-9 and np.isnan(alone.partial) and alone.high > 0.99


def test_items_are_matched_by_label_and_missing_cells_left_out():
    rng = np.random.default_rng(5)
    labels, truth = [f"i{n}" for n in range(16)], rng.normal(size=9)
    made, effect = (
        table(truth + rng.normal(size=(16, 9)), label=("item", labels)),
        table(truth + rng.normal(size=(16, 9)), label=("item", labels)),
    )
    options = dict(splits=5, resamples=100, permutations=99)
    want = prediction.predicts(made, effect, **options)
    assert prediction.predicts(made, effect.isel(item=rng.permutation(16)), **options).rho == want.rho
    gaps = effect.copy(deep=True)
    gaps[:, 8] = np.nan  # a layer that was not computed
    gaps[3, 2] = np.nan  # an item that misses a cell
    found = prediction.predicts(made, gaps, **options)
    assert found.n_layers == 8 and found.n_items == 15
    left = dict(item=[i for i in range(16) if i != 3], layer=slice(8))
    same = prediction.predicts(made.isel(left), effect.isel(left), **options)
    assert found.rho == same.rho and found.low == same.low


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda a, b: prediction.predicts(a, b.isel(item=slice(5))), "20 items and effect 5"),
        (lambda a, b: prediction.predicts(a.isel(item=slice(6)), b.isel(item=slice(6))), "at least 8 items"),
        (lambda a, b: prediction.predicts(a.isel(layer=[0]), b.isel(layer=[0])), "4 cells"),
        (lambda a, b: prediction.predicts(a * 0, b), "same in every cell"),
        (lambda a, b: prediction.predicts(a, b.expand_dims("strength")), "select one strength"),
        (lambda a, b: prediction.predicts(a, b.expand_dims(head=2)), "no head axis"),
        (lambda a, b: prediction.predicts(a, b, over_heads="median"), "over_heads='median'"),
        (lambda a, b: prediction.predicts(xr.Dataset({"x": ("item", np.zeros(20))}), b), "without a map"),
        (lambda a, b: prediction.predicts(a, b, level=95), "level=95"),
        (lambda a, b: prediction.predicts(a, b, splits=0), "splits=0"),
    ],
)
def test_prediction_refuses(call, message):
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=message):
        call(table(rng.normal(size=(20, 6))), table(rng.normal(size=(20, 6))))


# -- bad input
# --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda m: bridge.bridge_reading(m, []), "items=\\[\\]"),
        (lambda m: bridge.bridge_reading(m, ITEMS, k=0), "k=0"),
        (lambda m: bridge.bridge_reading(m, ITEMS, layers=[7]), "layer=7"),
        (lambda m: bridge.bridge_reading(m, ITEMS, layers=[]), "select nothing"),
        (lambda m: bridge.bridge_reading(m, ITEMS, memory_mb=0), "memory_mb=0"),
        (lambda m: bridge.bridge_reading(m, [Item("w1 w2", "w3 w2", "Atlantis", " w4")]), "Atlantis"),
        (lambda m: explicit.from_explicit(m, ITEMS, site="pattern"), "site='pattern'"),
        (lambda m: explicit.from_explicit(m, ITEMS, memory_mb=-1), "memory_mb=-1"),
        (lambda m: explicit.from_explicit(m, []), "items=\\[\\]"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call(speaking("llama"))
