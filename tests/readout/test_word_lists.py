"""Published scores of commitment against their own formulas on a second copy of the model."""

import itertools

import numpy as np
import pytest
import torch

import lens
from lens.patching import commitment
from lens.readout.word_lists import MARKERS, settled
from tests import naive
from tests.models import speaking, tiny

PAIRS = [
    lens.Pair(f"w1 w{a} w3 w4 w5", f"w1 w{a + 30} w3 w4 w5", " w7", " w8", label=f"word {a}") for a in (12, 14, 16, 18)
]
WORDS = [[["w12", "w3", "w60"], ["w42", "w61"]]] * 4


def streams(model, ids):
    ids = torch.tensor(ids)
    last = naive.activation(model, ids, "resid_post", 2)
    return torch.stack([*(naive.activation(model, ids, "resid_pre", l) for l in range(3)), last])


def cosine(a, b):
    return float(a @ b / a.norm() / b.norm())


@pytest.fixture(scope="module")
def scores():
    return lens.readout.alignment(speaking(), PAIRS, WORDS, draws=8)


def test_scores_are_those_of_their_formulas(scores):
    model = tiny()
    embedded, ids = model.model.embed_tokens.weight, [1, 14, 3, 4, 5]
    of, first, other = streams(model, ids), (12, 3, 60), (42, 61)
    for layer in range(4):
        h = of[layer, -1]
        cas = [sum(abs(cosine(h, embedded[w])) for w in words) for words in (first, other)]
        got = scores.value.sel(prompt=1, layer=layer)
        assert float(got.sel(score="CAS")) == pytest.approx(cas[0] / sum(cas), abs=1e-5)
        normed = model.model.norm(h)
        # what a word is written by is not what it is read with
        mean = [np.mean([cosine(normed, model.lm_head.weight[w]) for w in words]) for words in (first, other)]
        assert float(got.sel(score="contrast")) == pytest.approx(mean[0] - mean[1], abs=1e-5)
        # w3 stands in the prompt, the others are read by themselves
        state = {w: of[layer, 2] if w == 3 else streams(model, [w])[layer, 0] for w in (*first, *other)}
        paths = [
            sum(abs(np.corrcoef(state[a], state[b])[0, 1]) for a, b in itertools.pairwise(w)) for w in (first, other)
        ]
        assert float(got.sel(score="DSS")) == pytest.approx(paths[0] / sum(paths), abs=1e-5)
        assert float(got.sel(score="DSS as coded")) == pytest.approx(paths[0] / sum(paths), abs=1e-5)
    # the words of this tokenizer are what they are, with a space before them or not
    assert (scores.respelled == 0).all()
    np.testing.assert_allclose(scores.value.sel(score="CAS"), scores.value.sel(score="CAS as coded"))


def test_dss_as_coded_has_the_first_prompts_lists_for_all():
    """The authors' guide sets two pathways by hand for all of its prompts."""
    model, lists = speaking(), [[["w12", "w3", "w60"], ["w42", "w61"]], [["w14", "w20"], ["w44", "w25"]]]
    ds = lens.readout.alignment(model, PAIRS[:2], lists, draws=2)
    same = lens.readout.alignment(model, PAIRS[:2], lists[:1] * 2, draws=2)
    np.testing.assert_allclose(ds.value.sel(score="DSS as coded"), same.value.sel(score="DSS"))
    assert not np.allclose(ds.value.sel(score="DSS", prompt=1), same.value.sel(score="DSS", prompt=1))


def test_by_chance_cas_is_the_share_of_the_first_list_and_knows_no_sign():
    # absolute cosines of random lists: their share is that of the lists' lengths
    scores = lens.readout.alignment(speaking(), PAIRS[0], [["w12", "w3", "w60"], ["w42"]], draws=300)
    assert float(scores.share) == 0.75
    np.testing.assert_allclose(scores.random.sel(score="CAS"), 0.75, atol=0.05)
    np.testing.assert_allclose(scores.random.sel(score="contrast"), 0, atol=0.05)
    assert np.isfinite(scores.z.sel(score="CAS")).all() and np.isnan(scores.z.sel(score="DSS")).all()
    assert np.isnan(scores.value.sel(score="DSS")).all()  # of one word there is no pathway


def test_markers_are_read_off_as_published():
    dss, cas = [0.7, 0.55, 0.4, 0.45, 0.6], [0.9, 0.49, 0.6, 0.4, 0.3]
    coded, contrast = [0.7, 0.45, 0.4, 0.3, 0.9], [0.2, -0.1, 0.1, -0.2, -0.3]
    found = dict(zip(MARKERS, settled(np.array([dss, dss[::-1], cas, coded, contrast]))))
    assert found["DSS as coded commitment"] == 2
    assert [found[f"DSS {name}"] for name in ("onset", "inversion", "commitment")] == [1, 2, 2]
    assert found["CAS inversion"] == 1 and np.isnan(found["CAS commitment"])
    assert found["CAS as coded inversion"] == 0 and found["CAS as coded commitment"] == 1
    assert found["contrast commitment"] == 3


def test_markers_beside_the_depth_are_judged_by_the_best_layer_of_other_items(scores):
    depths = lens.depth(speaking(), PAIRS, gap=1e-9, progress=False)
    there = np.array([1.0, 2.0, 2.0, 3.0])
    depths = depths.assign(depth=depths.depth.copy(data=np.stack([there, there], 1)))
    depths.attrs = lens.depth(speaking(), PAIRS, gap=1e-9, progress=False).attrs
    ds = commitment(depths, scores.assign(settled=scores.settled.copy(data=np.tile([2.0] * 8 + [np.nan], (4, 1)))))
    # medians of the other three: 2, 2, 2, 2
    assert ds.constant.values[:8].tolist() == [0.5] * 8 and ds.distance.values[:8].tolist() == [0.5] * 8
    assert (ds.gain[:8] == 0).all() and ds.n.values.tolist() == [4] * 8 + [0] and float(ds.never[-1]) == 1
    assert lens.record(ds)["kind"] == "commitment"
    for first, second, message in (
        (scores, scores, "depths is a result of kind 'alignment'"),
        (depths, depths, "scores is a result of kind 'depth'"),
        (depths, lens.readout.alignment(speaking(), PAIRS[:2], WORDS[:2]), "of 2 prompts and depths of 4"),
        (depths, lens.readout.alignment(speaking(), PAIRS[::-1], WORDS), "of other prompts than depths"),
    ):
        with pytest.raises(lens.PatchError, match=message):
            commitment(first, second)


@pytest.mark.parametrize(
    "words, message",
    [
        ([["w1"], []], "a list is empty"),
        ([["w1", "w2"], ["w2"]], "one list is inside the other"),
        ([["w1 w2"], ["w3"]], "'w1 w2' is 2 tokens"),
        ([["w1"], [3]], "holds what is no word"),
        ([["w1"]], "expected two lists of words"),
        ("w1", "expected two lists"),
    ],
)
def test_lists_that_do_not_fit_are_named(words, message):
    with pytest.raises(lens.ReadoutError, match=message):
        lens.readout.alignment(speaking(), PAIRS[0], words)
    if "2 tokens" in message:
        assert lens.readout.alignment(speaking(), PAIRS[0], words, pieces="mean").value.notnull().any()


def test_concepts_are_the_top_of_the_logit_lens_beside_words_near_in_the_vocabulary():
    model = tiny()
    ds = lens.readout.concepts(speaking(), PAIRS[:2], k=3, draws=5000)
    of = streams(model, [1, 14, 3, 4, 5])
    for layer in range(4):
        logits = model.lm_head(model.model.norm(of[layer, -1]))
        top = logits.topk(3)
        got = ds.isel(prompt=1, layer=layer)
        assert got.token_id.values.tolist() == top.indices.tolist()
        assert got.token.values.tolist() == [f"w{i}" for i in top.indices.tolist()]
        np.testing.assert_allclose(got.score, top.values.numpy(), atol=1e-4)
        # of so small a vocabulary all words are near
        want = (top.values - logits.mean()) / logits.std(correction=0)
        np.testing.assert_allclose(got.z, want.numpy(), rtol=0.1)
    assert lens.readout.concepts(speaking(), PAIRS[0], k=500).sizes == {"layer": 4, "rank": 97}
