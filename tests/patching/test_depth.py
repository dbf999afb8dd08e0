"""``lens.depth`` against one plain hooked forward a cell, and models of which the depth is known."""

import numpy as np
import pytest
import torch

import lens
from lens.patching.depth import first_layers
from tests import naive
from tests.models import EACH, speaking

ITEM = lens.Pair("w1 w2 w3 w4 w5 w6", corrupted="w1 w2 w9 w4 w8 w6", answer=" w7", foil=" w8", label="first")
OTHER = lens.Pair("w11 w2 w3 w4", corrupted="w11 w20 w3 w4", answer=" w17", foil=" w18", label="second")
PARTNERS = [["w1 w2 w13 w4 w5 w6"], []]
SAME = [["w1 w2 w3 w14 w5 w6"], ["w12 w2 w3 w4"]]


def ids(text):
    return torch.tensor([int(w[1:]) for w in text.split()])


def logits(model, text, edits=()):
    return naive.forward(model, ids(text), edits)[-1]


def cell(model, pair, partner, measure, layer):
    """The log-odds under the words of the definition: the streams of all tokens but the last, at every layer from one
    on; or the last token's at that layer alone.
    """
    edits = []
    for l in range(layer, model.config.num_hidden_layers) if measure == "reading" else [layer]:
        theirs = naive.activation(model, ids(partner), "resid_pre", l)

        def change(x, theirs=theirs):
            x = x.clone()
            at = slice(0, -1) if measure == "reading" else slice(-1, None)
            x[0, at] = theirs[at]
            return x

        edits.append(("resid_pre", l, change))
    a, b = int(pair.answer[2:]), int(pair.foil[2:])
    out = logits(model, pair.clean, edits)
    return float(out[a] - out[b])


@pytest.mark.parametrize("kind", EACH)
def test_every_cell_is_one_hooked_forward(kind):
    model = speaking(kind)
    model.set_attn_implementation("naive")
    # of random models no partner need change much in the expected direction
    pairs = [flipped(model, p) for p in (ITEM, OTHER)]
    ds = lens.depth(model, pairs, PARTNERS, same=SAME, gap=1e-6, progress=False)
    for i, pair in enumerate(pairs):
        a, b = int(pair.answer[2:]), int(pair.foil[2:])

        def odds(text, a=a, b=b):
            out = logits(model, text)
            return float(out[a] - out[b])

        clean, others = odds(pair.clean), [pair.corrupted, *PARTNERS[i]]
        gap = np.mean([clean - odds(t) for t in others])
        np.testing.assert_allclose(ds.gap.values[i], gap, atol=1e-4)
        for measure in ("reading", "writing"):
            for layer in range(3):
                want = np.mean([clean - cell(model, pair, t, measure, layer) for t in others]) / gap
                got = float(ds.effect.sel(measure=measure, layer=layer)[i])
                assert abs(got - want) <= 2e-4 * max(1, 1 / abs(gap)), (i, measure, layer)
        assert ds.effect.values[i, 0, [0, -1]].tolist() == [1.0, 0.0]
        assert ds.effect.values[i, 1, [0, -1]].tolist() == [0.0, 1.0]
        null = [abs(clean - cell(model, pair, SAME[i][0], "reading", l)) / abs(gap) for l in range(3)]
        np.testing.assert_allclose(np.abs(ds.null.values[i, :3]), null, atol=2e-4 * max(1, 1 / abs(gap)))
    assert lens.record(ds)["kind"] == "depth" and lens.summary(ds, "effect", cluster=None).sizes["layer"] == 4


def flipped(model, pair):
    """The pair with answer and foil in the order in which its partner lowers their log-odds."""
    a, b = int(pair.answer[2:]), int(pair.foil[2:])
    first, second = logits(model, pair.clean), logits(model, pair.corrupted)
    down = (first[a] - first[b]) >= (second[a] - second[b])
    return pair if down else lens.Pair(pair.clean, pair.corrupted, pair.foil, pair.answer, label=pair.label)


def silent(model, layers):
    """The model with attention that adds nothing in some layers."""
    for layer in layers:
        model.model.layers[layer].self_attn.o_proj.weight.zero_()
    return model


@pytest.mark.parametrize("reads", [0, 1, 2])
def test_the_depth_of_a_model_of_which_one_layer_reads(reads):
    model = silent(speaking(), [l for l in range(3) if l != reads])
    ds = lens.depth(model, [flipped(model, ITEM), flipped(model, OTHER)], gap=1e-6, progress=False)
    assert (ds.depth.values == reads + 1).all() and (ds.status == "determined").all()
    assert ds["mean"].values.tolist() == [reads + 1] * 2 and int(ds.n) == 2
    assert ds.at_end.values.tolist() == [float(reads == 2)] * 2
    # what reads nothing more is a plateau, to the bit where no row differs from its run
    assert (ds.effect.sel(measure="reading").values[:, : reads + 1] > 0.99).all()


def test_first_layers_of_curves():
    reading = [1, 0.05, 0.3, 0.08, 0.0]  # small for good from 3 on
    writing = [0, 0.92, 0.5, 0.95, 1.0]  # large first at 1
    assert first_layers(np.array([reading, writing]), 0.1).tolist() == [3, 1]
    assert np.isnan(first_layers(np.array([[np.nan] * 3, [0, np.nan, 0.2]]), 0.1)).all()


def test_items_without_a_gap_and_with_a_null_that_moves_are_left_out_and_counted():
    model = speaking()
    pairs = [flipped(model, ITEM), flipped(model, OTHER)]
    wide = lens.depth(model, pairs, gap=1e6, progress=False)
    assert (wide.status == "no gap").all() and wide.depth.isnull().all() and int(wide.n) == 0
    assert np.isnan(wide["mean"].values).all() and "not available" in str(wide.interval_kind.values[0])
    moved = lens.depth(model, pairs, same=[[p.corrupted] for p in pairs], gap=1e-6, near=0.01, progress=False)
    assert (moved.status == "null outside").all() and moved.depth.isnull().all()


def test_the_interval_counts_units_and_a_stopped_call_keeps_what_it_has():
    model = speaking()
    words = [(n, n + 20) for n in range(30, 38)]
    pairs = [
        flipped(model, lens.Pair(f"w1 w{a} w3 w4", f"w1 w{b} w3 w4", " w7", " w8", label=str(a % 4))) for a, b in words
    ]
    assert int(lens.depth(model, [*pairs, pairs[0]], gap=1e-6, cluster="label", progress=False).n) == 4
    ds = lens.depth(model, pairs, gap=1e-6, cluster="label", progress=False)
    each = ds.depth.values.reshape(2, 4, 2).mean(0)
    assert int(ds.n) == 4 and np.allclose(ds["mean"], each.mean(0))
    # units count once in all that stands beside n
    assert np.allclose(ds[["q25", "median", "q75"]].to_array(), np.quantile(each, [0.25, 0.5, 0.75], axis=0))
    ends = (ds.depth.values == 3).reshape(2, 4, 2).mean((0, 1))
    assert np.allclose(ds.at_end, ends)
    asked = iter([False, False, True])
    part = lens.depth(model, pairs, gap=1e-6, memory_mb=0.05, progress=False, stop=lambda: next(asked, True))
    assert lens.record(part)["status"] == "partial" and (part.status == "not computed").any()


@pytest.mark.parametrize(
    "change, error, message",
    [
        (dict(partners=[["w1 w2 w3 w4 w5"]]), lens.PromptError, "`clean` has 6 tokens and `corrupted` 5"),
        (dict(partners=[["w1 w2 w3 w4 w5 w7"]]), lens.PatchError, "give prompts that end alike"),
        (dict(partners=[[ITEM.clean]]), lens.PromptError, "nothing to patch"),
        (dict(partners=[[3]]), lens.PatchError, r"partners\[0\]\[0\]=3 is no prompt like"),
        (dict(partners=["w1"]), lens.PatchError, r"partners\[0\]='w1' is no list"),
        (dict(partners=[[], []]), lens.PatchError, "2 entries for 1 items"),
        (dict(partners=[[ITEM]]), lens.PatchError, "expected another than the item's"),
        (dict(same=[[lens.Pair("w1 w2 w3 w4 w9 w6", "w1", " w8", " w7")]]), lens.PatchError, "expected the item's own"),
        (dict(near=2.0), lens.PatchError, "near=2.0"),
        (dict(gap=0.0), lens.PatchError, "gap=0.0"),
        (dict(items=[lens.Pair(ITEM.clean, ITEM.corrupted, " w7")]), lens.MetricError, "needs a foil"),
        (dict(items=[lens.Pair(ITEM.clean, ITEM.corrupted, " w7 w9", " w8")]), lens.MetricError, "of one token"),
    ],
)
def test_what_does_not_fit_is_named(change, error, message):
    with pytest.raises(error, match=message):
        lens.depth(**(dict(model=speaking(), items=[ITEM]) | change))
