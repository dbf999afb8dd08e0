"""Attention heads of models of which not every layer has some: methods that go over heads, against plain hooks."""

import numpy as np
import pytest
import torch

import lens
from lens import vectors
from lens.engine.sites import SiteError
from tests import hybrids
from tests.hybrids import N_LAYERS, WHERE, gradient, logits, put, read

IDS = torch.tensor([5, 17, 3, 88, 41, 9, 60])
OTHER = torch.tensor([5, 17, 3, 21, 41, 50, 60])
PAIR = lens.Pair("w5 w17 w3 w88 w41 w9 w60", corrupted="w5 w17 w3 w21 w41 w50 w60", answer=" w11", foil=" w12")
KIND, HEADS = "qwen3_next", (1, 3)
NONE = r"layer 0 .*no attention heads.*Layers that have it: layers=\[1, 3\]"
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*every edited run is"),
    pytest.mark.filterwarnings("ignore:.*answers none"),
]


@pytest.fixture(scope="module")
def model():
    """What the package gets."""
    return hybrids.qwen3_next()


@pytest.fixture(scope="module")
def plain():
    """What plain hooks are put on."""
    return hybrids.qwen3_next()


def difference(out):
    """The logit difference at the last token."""
    return out[-1, 11] - out[-1, 12]


def at_head(head, value):
    """Replaces one head at every token."""

    def change(x):
        new = x.clone()
        new[:, :, head] = value[:, head]
        return new

    return change


# -- sites -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["qwen3_next", "falcon_h1"])
@pytest.mark.parametrize("site", ["q", "k", "v", "z"])
def test_patching_a_head_equals_plain_hooks_in_the_layers_that_have_some(kind, site):
    model, plain, layers = hybrids.MAKERS[kind](), hybrids.MAKERS[kind](), WHERE[kind].with_heads
    found = lens.patch(model, PAIR, site, over=("layer", "head"), progress=False)
    assert found.layer.values.tolist() == list(layers)
    kept = dict(zip(layers, read(kind, plain, IDS, [(site, l) for l in layers]), strict=True))
    n = 2 if site in "kv" else 4
    want = np.array([
        [float(difference(logits(kind, plain, OTHER, (site, l, at_head(h, kept[l]))))) for h in range(n)]
        for l in layers
    ])  # fmt: skip
    scale = np.abs(want - float(difference(logits(kind, plain, OTHER)))).max()
    np.testing.assert_allclose(found.value.values, want, atol=1e-4 * scale)
    assert scale > 0.05


def test_a_layer_that_is_asked_for_by_name_says_that_it_has_no_heads(model):
    for call in (
        lambda: lens.patch(model, PAIR, "z", over=("layer", "head"), layers=[0, 1], progress=False),
        lambda: lens.path_patch(model, PAIR, lens.Site("resid_post", 3), senders=[(0, 1)], progress=False),
        lambda: lens.head_vocabulary(model, 0, 1, text=PAIR),
        lambda: lens.copying_scores(model, layers=[0]),
        lambda: vectors.extract(model, TASK, heads=[(0, 1)], means=vectors.mean_activations(model, prompts(model))),
        lambda: lens.injection.bridge_reading(model, ITEM, layers=[0], start=1, progress=False),
        lambda: lens.injection.from_explicit(model, ITEM, site="z", layers=[0], start=1, progress=False),
        lambda: lens.injection.AttentionLens(model, 0),
    ):
        with pytest.raises(SiteError, match="layer 0 .*no attention heads"):
            call()
    with pytest.raises(SiteError, match=r"'pattern' was not found in layer 0.*Layers that have it: layers=\[1, 3\]"):
        lens.attention(model, PAIR, layers=[0])
    with pytest.raises(SiteError, match=NONE):
        lens.patch(model, PAIR, "z", over=("layer", "head"), layers=[0], progress=False)


def test_what_a_gate_multiplies_is_not_read_off_the_weights(model):
    for call in (lambda: lens.head_vocabulary(model, 1, 0, tokens=[5]), lambda: lens.copying_scores(model)):
        with pytest.raises(lens.Error, match="multiplied by a gate"):
            call()


# -- readouts ----------------------------------------------------------------------------------------------------------


def test_attention_is_of_the_layers_that_have_it(model):
    assert lens.attention(model, PAIR).layer.values.tolist() == [1, 3]
    scores = lens.induction_scores(model, length=6, sequences=5, start=None)
    assert np.isnan(scores["mean"].sel(layer=[0, 2])).all() and np.isfinite(scores["mean"].sel(layer=[1, 3])).all()
    assert np.isnan(scores["low"].sel(layer=[0, 2])).all() and np.isfinite(scores["low"].sel(layer=[1, 3])).all()


def test_paths_from_every_head_equal_plain_hooks(model, plain):
    found = lens.path_patch(model, PAIR, lens.Site("resid_post", 3), progress=False)
    assert found.layer.values.tolist() == [1, 3]
    still = [("attn_out", l) for l in range(N_LAYERS)]
    kept = dict(zip(still, read(KIND, plain, IDS, still), strict=True))
    z = {l: [read(KIND, plain, ids, [("z", l)])[0] for ids in (OTHER, IDS)] for l in HEADS}
    for l in HEADS:
        for h in range(4):
            changes = [(s, at, lambda x, v=v: v[None]) for (s, at), v in kept.items() if at != l]
            sent = z[l][1].clone()
            sent[:, h] = z[l][0][:, h]
            want = difference(logits(KIND, plain, IDS, *changes, ("z", l, lambda x, v=sent: v[None])))
            assert float(found.value.sel(layer=l, head=h)) == pytest.approx(float(want), abs=1e-4)


# -- vectors -----------------------------------------------------------------------------------------------------------

TASK = vectors.Task.from_pairs([(f"w{i}", f"w{i + 40}") for i in range(1, 31)], name="shift", shares=(0.6, 0.2, 0.2))
OPTIONS = dict(trials=3, shots=3, template="bare", progress=False, metric="logprob", start=None)


def prompts(model):
    """Prompts with demonstrations."""
    return vectors.build(model, TASK, "icl", n=4, shots=3, split="valid", template="bare", start=None)


def texts(ds):
    """The tokens and the answer of every prompt of a result."""
    return [
        (torch.tensor([int(w[1:]) for w in text.split()]), int(str(y)[1:]))
        for text, y in zip(lens.record(ds)["texts"], ds.y.values, strict=True)
    ]


def last_head(head, value):
    """Replaces one head at the last token."""

    def change(x):
        new = x.clone()
        new[:, -1, head] = value
        return new

    return change


def test_effects_of_heads_equal_plain_hooks_and_are_nan_where_there_are_none(model, plain):
    means = vectors.mean_activations(model, prompts(model))
    want = {
        l: torch.stack([read(KIND, plain, p.ids, [("z", l)])[0][-1] for p in prompts(model)]).mean(0) for l in HEADS
    }
    for l in HEADS:
        torch.testing.assert_close(means.z[l], want[l], atol=1e-5, rtol=1e-5)
    assert not means.z[[0, 2]].any()
    ds = vectors.head_effects(model, TASK, means=means, **OPTIONS)
    assert np.isnan(ds.effect.sel(layer=[0, 2])).all() and lens.record(ds)["without_heads"] == [0, 2]
    effect, base = np.full((3, 2, 4), np.nan), []
    for i, (ids, answer) in enumerate(texts(ds)):
        base.append(float(logits(KIND, plain, ids)[-1].log_softmax(-1)[answer]))
        for j, l in enumerate(HEADS):
            for h in range(4):
                out = logits(KIND, plain, ids, ("z", l, last_head(h, want[l][h])))
                effect[i, j, h] = float(out[-1].log_softmax(-1)[answer]) - base[-1]
    np.testing.assert_allclose(ds.effect.sel(layer=[1, 3]), effect, atol=1e-4 * np.abs(effect).max())
    # what goes on from there knows of no head but those that exist
    best = vectors.top_heads(ds, 8)
    order = np.argsort(-effect.mean(0).ravel(), kind="stable")
    assert best == [(HEADS[i // 4], i % 4) for i in order]
    with pytest.raises(vectors.VectorError, match="from 1 to 8, the number of heads"):
        vectors.top_heads(ds, 9)
    with pytest.raises(vectors.VectorError, match="a number of heads from 1 to 8"):
        vectors.extract(model, TASK, top=9, effects=ds, means=means)
    vector = vectors.extract(model, TASK, top=2, effects=ds, means=means)
    parts = sum(
        plain.model.layers[l].self_attn.o_proj.weight[:, 16 * h : 16 * h + 16] @ want[l][h] for l, h in vector.heads
    )
    torch.testing.assert_close(vector.direction, parts, atol=1e-4, rtol=1e-4)
    summary = vectors.summary(ds)
    assert np.isnan(summary["mean"].sel(layer=[0, 2])).all()
    np.testing.assert_allclose(summary["mean"].sel(layer=[1, 3]), effect.mean(0), atol=1e-4)


def test_random_heads_of_a_curve_are_heads_that_exist(model):
    means = vectors.mean_activations(model, prompts(model))
    ds = vectors.head_effects(model, TASK, means=means, **OPTIONS)
    found = vectors.head_count_curve(
        model, TASK, ds, counts=(1, 8), means=means, layers=[2], n=2, template="bare", start=None, progress=False
    )
    assert found.sizes["heads"] == 2 and found.sizes["choice"] == 2
    with pytest.raises(vectors.VectorError, match="from 1 to 8"):
        vectors.head_count_curve(model, TASK, ds, counts=(9,), means=means)


@pytest.mark.parametrize("kind", ["qwen3_next", "falcon_h1"])
def test_estimates_from_gradients_equal_plain_gradients(kind):
    model, plain, layers = hybrids.MAKERS[kind](), hybrids.MAKERS[kind](), WHERE[kind].with_heads
    means = vectors.mean_activations(model, prompts(model))
    made = {
        m: vectors.head_effects(model, TASK, means=means, method=m, steps=3, **OPTIONS) for m in ("atp", "atp*", "ig")
    }
    rest = [l for l in range(N_LAYERS) if l not in layers]
    for ds in made.values():
        assert np.isnan(ds.effect.sel(layer=rest)).all() and np.isfinite(ds.effect.sel(layer=list(layers))).all()
    drops = [
        [(site, d) for site in ("attn_out", "mlp_out", *(f"mixer:{n}" for n in WHERE[kind].mixers(d)))]
        for d in range(N_LAYERS)
    ]
    for i, (ids, answer) in enumerate(texts(made["atp"])):

        def score(out, answer=answer):
            return out[-1].log_softmax(-1)[answer]

        for l in layers:
            gap = means.z[l] - read(kind, plain, ids, [("z", l)])[0][-1]
            whole = (gap * gradient(kind, plain, ids, "z", l, score)[-1]).sum(-1)
            np.testing.assert_allclose(made["atp"].effect.values[i, l], whole, atol=1e-4 * float(whole.abs().max()))
            dropped = []
            for d in range(N_LAYERS):
                if d == l:
                    continue  # nothing flows from a layer whose output is dropped
                hooks = [h for site, at in drops[d] for h in put(kind, plain, site, at, detached)]
                dropped.append((gap * gradient(kind, plain, ids, "z", l, score)[-1]).sum(-1).abs())
                for hook in hooks:
                    hook.remove()
            want = sum(dropped) / (N_LAYERS - 1)
            np.testing.assert_allclose(made["atp*"].effect.values[i, l], want, atol=1e-4 * float(want.abs().max()))


def detached(x):
    """The last token's part with no way back through it."""
    return torch.cat([x[:, :-1], x[:, -1:].detach()], 1)


# -- injection ---------------------------------------------------------------------------------------------------------

ITEM = lens.injection.Item("w5 w17 w3", "w5 w17 w8 w3", "w61 w62", " w11")


def test_a_memory_of_heads_is_nothing_where_there_are_none(model, plain):
    alone = torch.tensor([1, 61, 62])
    encoded = lens.injection.encode(model, "w61 w62", "head", heads=(1, 2), start=1)
    whole = lens.injection.encode(model, "w61 w62", "activation", start=1)
    kept = lens.injection.encode(model, "w61 w62", "activation", heads=(1, 2), start=1)
    assert not encoded.vectors[[0, 2]].any() and not kept.vectors[[0, 2]].any()
    for l in range(N_LAYERS):
        added = read(KIND, plain, alone, [("attn_out", l)])[0][-1]
        torch.testing.assert_close(whole.vectors[l], added, atol=1e-5, rtol=1e-5)
    for l in HEADS:
        weight = plain.model.layers[l].self_attn.o_proj.weight[:, 16:48]
        spoken = weight @ read(KIND, plain, alone, [("z", l)])[0][-1, 1:3].flatten()
        torch.testing.assert_close(encoded.vectors[l], spoken, atol=1e-5, rtol=1e-5)
        # 32 rows of two heads span the whole stream
        torch.testing.assert_close(kept.vectors[l], whole.vectors[l], atol=1e-4, rtol=1e-4)


def test_heads_are_read_and_patched_where_they_are(model):
    reading = lens.injection.bridge_reading(model, ITEM, start=1, progress=False)
    assert reading.layer.values.tolist() == [1, 3] and np.isfinite(reading.score).all()
    found = lens.injection.from_explicit(model, ITEM, site="z", start=1, control=False, progress=False)
    assert found.layer.values.tolist() == [1, 3]
    assert np.isfinite(found.effect).all()
