"""What is put in by ``lens.patch``: unequal pairs, other positions, layers and models, ablations; by plain hooks."""

import dataclasses
import warnings

import numpy as np
import pytest
import torch

import lens
from lens.engine.errors import UnsupportedModel
from lens.engine.layers import Layers
from lens.engine.runs import Runs
from lens.engine.walk.decoder import Decoder
from lens.models import weight_hash
from tests import naive
from tests.models import speaking

#: prompts of 8 and 6 tokens, whose spans are of 2 and 1, 1 and 1 tokens
PAIR = lens.Pair(
    "w1 w2 w3 w4 w5 w6 w7 w8",
    corrupted="w1 w9 w4 w6 w20 w8",
    answer=" w7",
    foil=" w8",
    spans={"subject": "w2 w3", "verb": "w6"},
    corrupted_spans={"subject": "w9"},
)
EQUAL = lens.Pair("w1 w2 w3 w4 w5 w6", corrupted="w1 w2 w9 w4 w8 w6", answer=" w7", foil=" w8", label="a")
OTHERS = [
    EQUAL,
    lens.Pair("w21 w22 w3 w14 w5 w26", corrupted="w21 w22 w9 w14 w8 w26", answer=" w17", foil=" w8", label="b"),
    lens.Pair("w31 w12 w33 w4 w35 w6", corrupted="w31 w12 w9 w4 w8 w6", answer=" w5", foil=" w12", label="c"),
]
CALLS = [
    dict(align="spans"),
    dict(align="end", site="z", over=("layer", "head")),
    dict(align="end", site="embed"),
    dict(source_position="last", source_layer=1, positions=[1, "last"]),
    dict(source="zero", site="mlp_out"),
    dict(source="resample", align="end", site="attn_out"),
    dict(source="mean", site="resid_mid"),
]


@pytest.fixture(scope="module", params=["llama", "gpt2", "olmo2"])
def model(request):
    made = speaking(request.param)
    made.set_attn_implementation("naive")
    return made


@pytest.fixture(scope="module")
def llama():
    made = speaking("llama")
    made.set_attn_implementation("naive")
    return made


def ids(text):
    return torch.tensor([int(w[1:]) for w in text.split()])


def edited(model, base, site, layer, put, pair, head=None):
    """The metric by plain hooks with ``put``, ``{position: activation}``, in place of what is there."""

    def change(x):
        x = x.clone()
        for p, value in put.items():
            if head is None:
                x[0, p] = value
            else:
                x[0, p, head] = value
        return x

    logits = naive.forward(model, base, [(site, layer, change)])[-1]
    return (logits[int(pair.answer[2:])] - logits[int(pair.foil[2:])]).item()


def unedited(model, base, pair):
    logits = naive.forward(model, base)[-1]
    return (logits[int(pair.answer[2:])] - logits[int(pair.foil[2:])]).item()


def copied(model, source, base, site, layer, where, pair, source_layer=None, other=None):
    seen = naive.activation(other or model, source, site, layer if source_layer is None else source_layer)
    return edited(model, base, site, layer, {p: seen[t] for p, t in where.items()}, pair)


# ---- pairs of unequal length


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_spans_are_copied_from_their_ends(model, direction):
    ds = lens.patch(model, PAIR, "resid_post", direction=direction, align="spans")
    assert ds.position.values.tolist() == ["subject", "verb"]
    assert ds.position_clean.values.tolist() == ["2", "5"] and ds.position_corrupted.values.tolist() == ["1", "3"]
    assert ds.token_clean.values.tolist() == ["w3", "w6"] and ds.token_corrupted.values.tolist() == ["w9", "w6"]
    clean, corrupted = ids(PAIR.clean), ids(PAIR.corrupted)
    source, base = (clean, corrupted) if direction == "denoise" else (corrupted, clean)
    where = [{1: 2}, {3: 5}] if direction == "denoise" else [{2: 1}, {5: 3}]
    for l in range(3):
        for g, positions in enumerate(where):
            want = copied(model, source, base, "resid_post", l, positions, PAIR)
            assert abs(ds.value.values[l, g] - want) <= 1e-4
    assert abs(ds.clean.item() - unedited(model, clean, PAIR)) <= 1e-4
    assert abs(ds.corrupted.item() - unedited(model, corrupted, PAIR)) <= 1e-4
    assert lens.record(ds)["call"]["align"] == "spans"


def test_positions_are_copied_from_the_end(model):
    ds = lens.patch(model, PAIR, "mlp_out", align="end")
    assert ds.position.values.tolist() == [-6, -5, -4, -3, -2, -1]
    assert ds.position_corrupted.values.tolist() == list("012345")
    for l in range(3):
        for p in range(6):
            want = copied(model, ids(PAIR.clean), ids(PAIR.corrupted), "mlp_out", l, {p: p + 2}, PAIR)
            assert abs(ds.value.values[l, p] - want) <= 1e-4
    heads = lens.patch(model, PAIR, "z", ("layer", "head"), align="end", heads=[1])
    where = {p: p + 2 for p in range(6)}
    for l in range(3):
        seen = naive.activation(model, ids(PAIR.clean), "z", l)
        put = {p: seen[t, 1] for p, t in where.items()}
        assert abs(heads.value.values[l, 0] - edited(model, ids(PAIR.corrupted), "z", l, put, PAIR, 1)) <= 1e-4


def test_pairs_of_several_lengths_share_an_axis(llama):
    last = dataclasses.replace(PAIR, spans={"subject": "w2 w3", "tail": "w8"}, corrupted_spans={"subject": "w9"})
    ds = lens.patch(llama, [PAIR, EQUAL], align="end", layers=[1])
    assert ds.position.values.tolist() == [-6, -5, -4, -3, -2, -1] and not ds.value.isnull().any()
    spans = lens.patch(llama, [PAIR, last], align="spans", layers=[1])
    assert spans.position.values.tolist() == ["subject", "verb", "tail"]
    assert spans.value.isnull().values[:, 0].tolist() == [[False, False, True], [False, True, False]]
    alone = lens.patch(llama, last, align="spans", layers=[1], positions=["tail", "last"])
    assert abs(alone.value.values[0, 0] - spans.value.values[1, 0, 2]) <= 1e-5
    want = copied(llama, ids(last.clean), ids(last.corrupted), "resid_pre", 1, {5: 7}, last)
    assert abs(alone.value.values[0, 1] - want) <= 1e-4


def test_answers_of_several_tokens(llama):
    pair = dataclasses.replace(PAIR, answer=" w7 w9", foil=" w8 w4")
    ds = lens.patch(llama, pair, metric="logprob", align="spans", positions=["verb"])

    def logprob(changes):
        logits = naive.forward(llama, ids(pair.corrupted + " w7"), changes).log_softmax(-1)
        return (logits[-2, 7] + logits[-1, 9]).item()

    for l in range(3):
        seen = naive.activation(llama, ids(pair.clean + " w7"), "resid_pre", l)

        def change(x, seen=seen):
            x = x.clone()
            x[0, 3] = seen[5]
            return x

        assert abs(ds.value.values[l, 0] - logprob([("resid_pre", l, change)])) <= 1e-4


# ---- other positions, layers and models


def test_one_position_and_layer_into_every_cell(model):
    ds = lens.patch(model, PAIR, "resid_post", source_position=6, source_layer=1, positions=[2, 4])
    assert ds.position_clean.values.tolist() == ["6", "6"] and ds.position_corrupted.values.tolist() == ["2", "4"]
    for l in range(3):
        for g, p in enumerate((2, 4)):
            want = copied(model, ids(PAIR.clean), ids(PAIR.corrupted), "resid_post", l, {p: 6}, PAIR, 1)
            assert abs(ds.value.values[l, g] - want) <= 1e-4


def test_a_position_and_a_layer_for_each(llama):
    ds = lens.patch(
        llama, EQUAL, "attn_out", positions=["last", 1], source_position=[0, "last"], layers=[2, 0], source_layer=[1, 2]
    )
    for i, (l, m) in enumerate(((2, 1), (0, 2))):
        for g, (p, t) in enumerate(((5, 0), (1, 5))):
            want = copied(llama, ids(EQUAL.clean), ids(EQUAL.corrupted), "attn_out", l, {p: t}, EQUAL, m)
            assert abs(ds.value.values[i, g] - want) <= 1e-4


def test_from_another_model_and_back(llama):
    other = speaking("llama", 1)
    other.set_attn_implementation("naive")
    same = dataclasses.replace(EQUAL, corrupted=EQUAL.clean)
    for ours, theirs in ((llama, other), (other, llama)):
        ds = lens.patch(ours, same, "resid_pre", source_model=theirs)
        for l in range(3):
            for p in range(6):
                want = copied(ours, ids(same.clean), ids(same.clean), "resid_pre", l, {p: p}, same, other=theirs)
                assert abs(ds.value.values[l, p] - want) <= 1e-4
        # the two unedited runs are of the two models, each read with its own head
        assert abs(ds.corrupted.item() - unedited(ours, ids(same.clean), same)) <= 1e-4
        assert abs(ds.clean.item() - unedited(theirs, ids(same.clean), same)) <= 1e-4
    record = lens.record(ds)
    assert record["call"]["source_model"]["hash"] == weight_hash(llama) != record["model"]["hash"]


def test_a_store_is_of_one_source_model(llama, tmp_path):
    other, third = speaking("llama", 1), speaking("llama", 2)
    store = tmp_path / "cross.zarr"
    first = lens.patch(llama, [EQUAL], source_model=other, store=store)
    again = lens.patch(llama, [EQUAL], source_model=other, store=store)
    assert np.array_equal(first.value.values, again.value.values)
    with pytest.raises(lens.ResultError, match="source_model"):
        lens.patch(llama, [EQUAL], source_model=third, store=store)


# ---- ablations


@pytest.mark.parametrize("site", ["resid_pre", "z", "neuron"])
def test_zero(model, site):
    ds = lens.patch(model, EQUAL, site, source="zero")
    for l in range(3):
        for p in range(6):
            want = edited(model, ids(EQUAL.clean), site, l, {p: 0.0}, EQUAL)
            assert abs(ds.value.values[l, p] - want) <= 1e-4
    assert lens.record(ds)["call"]["direction"] == "noise"
    assert np.allclose(ds.effect.values, ds.value.values - ds.clean.item(), atol=1e-5)


@pytest.mark.parametrize("direction", ["noise", "denoise"])
@pytest.mark.parametrize("over", ["tokens", "position"])
def test_the_mean_of_the_other_prompts(llama, over, direction):
    texts = [p.clean if direction == "noise" else p.corrupted for p in OTHERS]
    ds = lens.patch(llama, OTHERS, "attn_out", source="mean", mean_over=over, direction=direction)
    for i, (pair, text) in enumerate(zip(OTHERS, texts)):
        for l in range(3):
            rest = [naive.activation(llama, ids(t), "attn_out", l) for k, t in enumerate(texts) if k != i]
            for p in (0, 3, 5):
                mean = torch.cat(rest).mean(0) if over == "tokens" else torch.stack(rest).mean(0)[p]
                want = edited(llama, ids(text), "attn_out", l, {p: mean}, pair)
                assert abs(ds.value.values[i, l, p] - want) <= 1e-4
    assert lens.record(ds)["call"]["mean"] == {"of": "the other pairs", "over": over, "prompts": 2}


def test_a_mean_of_a_head_and_of_given_runs_and_tensors(llama):
    runs = Runs.record(llama, [ids(p.corrupted) for p in OTHERS[1:]], keep=("z",))
    ds = lens.patch(llama, EQUAL, "z", ("layer", "head"), source=runs)
    means = torch.stack([runs.get("z", l).mean(0) for l in range(3)])
    given = lens.patch(llama, EQUAL, "z", ("layer", "head"), source=means)
    one = lens.patch(llama, EQUAL, "z", ("layer", "head"), source=means[1])
    by_position = lens.patch(llama, EQUAL, "z", ("layer", "head"), source=runs, mean_over="position")
    for l in range(3):
        seen = [naive.activation(llama, ids(p.corrupted), "z", l) for p in OTHERS[1:]]
        for h in range(4):
            mean = torch.cat(seen).mean(0)[h]
            want = edited(llama, ids(EQUAL.clean), "z", l, {p: mean for p in range(6)}, EQUAL, h)
            assert abs(ds.value.values[l, h] - want) <= 1e-4 and abs(given.value.values[l, h] - want) <= 1e-4
            each = torch.stack(seen).mean(0)[:, h]
            want = edited(llama, ids(EQUAL.clean), "z", l, {p: each[p] for p in range(6)}, EQUAL, h)
            assert abs(by_position.value.values[l, h] - want) <= 1e-4
    assert np.allclose(one.value.values[1], given.value.values[1], atol=1e-5)
    assert lens.record(given)["call"]["mean"]["digest"] != lens.record(one)["call"]["mean"]["digest"]


def test_resampling_names_its_partners(llama):
    ds = lens.patch(llama, OTHERS, "mlp_out", source="resample", seed=3)
    record = lens.record(ds)
    partners = record["call"]["partners"]
    assert record["seed"] == 3 and all(i != j for i, j in enumerate(partners))
    for i, (pair, j) in enumerate(zip(OTHERS, partners)):
        for l in range(3):
            for p in (1, 5):
                want = copied(llama, ids(OTHERS[j].clean), ids(pair.clean), "mlp_out", l, {p: p}, pair)
                assert abs(ds.value.values[i, l, p] - want) <= 1e-4
    again = lens.patch(llama, OTHERS, "mlp_out", source="resample", seed=3)
    assert np.array_equal(ds.value.values, again.value.values)
    drawn = {
        tuple(lens.record(lens.patch(llama, OTHERS, source="resample", seed=s, layers=[0]))["call"]["partners"])
        for s in range(6)
    }
    assert len(drawn) > 1


def test_resampling_among_prompts_of_several_lengths(llama):
    pairs = [PAIR, EQUAL]
    ds = lens.patch(llama, pairs, "resid_mid", source="resample", align="end")
    assert ds.position.values.tolist() == [-6, -5, -4, -3, -2, -1]
    want = copied(llama, ids(EQUAL.clean), ids(PAIR.clean), "resid_mid", 1, {4: 2}, PAIR)
    assert abs(ds.value.values[0, 1, 2] - want) <= 1e-4
    want = copied(llama, ids(PAIR.clean), ids(EQUAL.clean), "resid_mid", 2, {5: 7}, EQUAL)
    assert abs(ds.value.values[1, 2, 5] - want) <= 1e-4
    assert ds.position_partner.values[0].tolist() == list("012345")


def test_ablations_of_unequal_pairs_name_the_prompt_that_is_edited(llama):
    ds = lens.patch(llama, PAIR, source="zero")
    assert ds.sizes["position"] == 8 and ds.token_clean.values[-1] == "w8" and ds.token_corrupted.values[-1] == ""
    ds = lens.patch(llama, PAIR, source="zero", direction="denoise", positions=["subject"])
    want = edited(llama, ids(PAIR.corrupted), "resid_pre", 1, {1: 0.0}, PAIR)
    assert abs(ds.value.values[1, 0] - want) <= 1e-4


# ---- on every path, in stores, in shares, and what does not go together


@pytest.mark.parametrize("path", ["layers", "hooks"])
def test_the_slower_paths_give_the_same(monkeypatch, path):
    pairs, fast = [PAIR, dataclasses.replace(PAIR, clean="w3 w2 w3 w4 w5 w6 w17 w8")], speaking("llama")
    want = [lens.patch(fast, pairs, **call) for call in CALLS]

    def no(*_, **__):
        raise UnsupportedModel("refused by the test.")

    for owner in {"layers": (Decoder,), "hooks": (Decoder, Layers)}[path]:
        monkeypatch.setattr(owner, "of" if owner is Decoder else "__init__", no)
    slow = speaking("llama")
    for call, ds in zip(CALLS, want):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            got = lens.patch(slow, pairs, **call)
        assert lens.record(got)["engine"]["name"] in (path, "hooks")
        for name in ("value", "clean", "corrupted"):
            np.testing.assert_allclose(got[name].values, ds[name].values, atol=1e-4)
        assert all((got[c].values == ds[c].values).all() for c in ds.coords)


@pytest.mark.parametrize("call", CALLS, ids=lambda c: c.get("align") or c.get("source") or "position")
def test_stores_and_shares_give_the_same(llama, tmp_path, call):
    pairs = [PAIR, dataclasses.replace(PAIR, clean="w3 w2 w3 w4 w5 w6 w17 w8")]
    whole = lens.patch(llama, pairs, **call)
    for number in (0, 1):
        shared = lens.patch(llama, pairs, **call, store=tmp_path / "s.zarr", share=(number, 2))
    for name in ("value", "effect", "clean", "corrupted"):
        np.testing.assert_allclose(shared[name].values, whole[name].values, atol=1e-5)
    with pytest.raises(lens.ResultError, match="differ|another"):
        lens.patch(llama, pairs, "resid_pre", store=tmp_path / "s.zarr", source="zero", positions=[0])


@pytest.mark.parametrize(
    "change, error, message",
    [
        (dict(), lens.PromptError, r"(?s)`clean` has 8 tokens and `corrupted` 6.*align='end'"),
        (dict(source_layer=1), lens.PromptError, "`clean` has 8 tokens and `corrupted` 6"),
        (dict(align="middle"), lens.PatchError, "align='middle'"),
        (dict(align="spans", positions=[2]), lens.PromptError, "positions: 2 is not a name"),
        (dict(align="spans", positions=["tail"]), lens.PromptError, "'tail' is not a named position"),
        (dict(align="end", positions=[1]), lens.PromptError, "1 lies 7 tokens from the end .* the other has 6"),
        (dict(align="end", source_position=1), lens.PatchError, "both say which positions"),
        (dict(align="end", source="zero"), lens.PatchError, "source='zero' copies no prompt"),
        (dict(align="end", method="attribution"), lens.PatchError, "align='end' goes with method='exact'"),
        (dict(source="zero", method="attribution"), lens.PatchError, "source='zero' goes with method='exact'"),
        (dict(source="nothing"), lens.PatchError, "source='nothing' is not known"),
        (dict(source="zero", source_layer=1), lens.PatchError, "source_layer=1 says what is copied of a pair's other"),
        (dict(source="mean"), lens.PatchError, "there is one pair"),
        (dict(source="mean", site="pattern"), lens.PatchError, "patterns of prompts have unlike keys"),
        (dict(source="resample"), lens.PatchError, r"pairs\[0\] \(8 tokens\) has no partner among the 1 pairs"),
        (dict(source=torch.zeros(7)), lens.PatchError, r"shape \(7,\); site 'resid_pre' takes \(32,\), or \(3, 32\)"),
        (dict(mean_over="position"), lens.PatchError, "mean_over='position' goes with source='mean'"),
        (dict(source_position=8), lens.PromptError, "8 is out of range for 8 tokens"),
        (dict(source_position=[1, 2, 3], positions=[0, 1]), lens.PatchError, "names 3 positions .* 2"),
        (dict(align="end", source_layer=3), lens.SiteError, "source_layer=3 is out of range"),
        (dict(align="end", source_layer=[0, 1]), lens.PatchError, "names 2 layers, and the grid has 3"),
        (dict(align="end", source_layer=1, window=2), lens.PatchError, "one layer at a time"),
        (dict(align="end", source_layer=1, site="embed"), lens.PatchError, "site='embed'"),
    ],
)
def test_what_does_not_go_together_is_named(llama, change, error, message):
    with pytest.raises(error, match=message):
        lens.patch(llama, PAIR, **change)


def test_spans_that_do_not_match_are_named(llama):
    lost = dataclasses.replace(PAIR, corrupted_spans={}, corrupted="w1 w9 w4 w6 w20 w8")
    with pytest.raises(
        lens.PromptError, match=r"spans\['subject'\]: it has no counterpart .*name it in corrupted_spans"
    ):
        lens.patch(llama, lost, align="spans")
    with pytest.raises(lens.PromptError, match="spans: the pair has none"):
        lens.patch(llama, EQUAL, align="spans")
    with pytest.raises(lens.PatchError, match="with the same spans"):
        lens.patch(llama, [PAIR, EQUAL], source="resample", align="spans")
    with pytest.raises(lens.PatchError, match="mean_over='position' needs prompts of one length.*from 6 to 8"):
        lens.patch(llama, [PAIR, EQUAL], source="mean", mean_over="position")


def test_a_model_that_does_not_fit_is_refused_with_numbers(llama):
    from transformers import LlamaConfig, LlamaForCausalLM

    from tests.models import _SIZE, word_tokenizer

    def of(**other):
        made = LlamaForCausalLM(LlamaConfig(**{**_SIZE, "num_key_value_heads": 2, **other})).eval()
        made.tokenizer = word_tokenizer()
        return made

    with pytest.raises(lens.PatchError, match="source_model: its d_model is 48, this model's 32"):
        lens.patch(llama, EQUAL, source_model=of(hidden_size=48))
    with pytest.raises(lens.PatchError, match="its n_heads is 8, this model's 4, so that site 'z'"):
        lens.patch(llama, EQUAL, "z", source_model=of(num_attention_heads=8))
    with pytest.raises(lens.PatchError, match="it has 2 layers, so none to copy into layer 2"):
        lens.patch(llama, EQUAL, source_model=of(num_hidden_layers=2))
    deeper = lens.patch(llama, EQUAL, source_model=of(num_hidden_layers=2), source_layer=1, layers=[2])
    assert np.isfinite(deeper.value.values).all()
    other = of()
    other.tokenizer = word_tokenizer(97)
    other.tokenizer.add_tokens(["w1 w2"])
    with pytest.raises(
        lens.PatchError, match=r"its tokenizer reads pairs\[0\].clean as \[97, .*this model's as \[1, 2,"
    ):
        lens.patch(llama, EQUAL, source_model=other)
    with pytest.raises(lens.PatchError, match="metric='kl' compares with the clean run by one model's head"):
        lens.patch(llama, EQUAL, source_model=of(), metric="kl")
    with pytest.raises(lens.PatchError, match="source_model= goes with backend='local'"):
        lens.patch(llama, EQUAL, source_model=of(), backend="ray")
    with pytest.raises(lens.PromptError, match="nothing to patch"):
        lens.patch(llama, dataclasses.replace(EQUAL, corrupted=EQUAL.clean))


@pytest.mark.parametrize(
    "options, cell, position",
    [
        (dict(align="spans"), dict(layer=1, position="subject"), "subject"),
        (dict(align="spans", direction="noise"), dict(layer=1, position="verb"), "verb"),
        (dict(align="end"), dict(layer=0, position=-2), -2),
        (dict(source_position="last", source_layer=0), dict(layer=2, position=1), 1),
        (dict(source="zero"), dict(layer=1, position=3), 3),
    ],
)
def test_a_cell_looked_at_has_the_value_that_patch_gives_it(llama, options, cell, position):
    ds = lens.patch(llama, PAIR, "resid_pre", positions=[position], layers=[cell["layer"]], **options)
    view = lens.explain_cell(llama, PAIR, "resid_pre", **cell, **options)
    assert view.edited_value == pytest.approx(ds.value.item(), abs=1e-5)
    assert (view.clean_value, view.corrupted_value) == pytest.approx((ds.clean.item(), ds.corrupted.item()), abs=1e-5)


def test_a_cell_from_another_model_is_looked_at_with_each_ones_own_head(llama):
    other = speaking("llama", seed=1)
    options = dict(source_model=other)
    ds = lens.patch(llama, EQUAL, "resid_pre", positions=[2], layers=[1], **options)
    view = lens.explain_cell(llama, EQUAL, "resid_pre", 1, 2, **options)
    assert view.edited_value == pytest.approx(ds.value.item(), abs=1e-5)
    assert (view.clean_value, view.corrupted_value) == pytest.approx((ds.clean.item(), ds.corrupted.item()), abs=1e-5)


def test_a_cell_from_another_model_has_no_distance_between_two_heads(llama):
    with pytest.raises(lens.PatchError, match="metric='kl' compares"):
        lens.explain_cell(llama, EQUAL, "resid_pre", 1, 2, source_model=speaking("llama", seed=1), metric="kl")


def test_one_cell_has_no_partner_to_be_resampled_from(llama):
    with pytest.raises(lens.PatchError, match="source='resample'"):
        lens.explain_cell(llama, EQUAL, "resid_pre", 1, 2, source="resample")
