"""Readouts against the Hugging Face models' own outputs and against matrices written out here."""

import functools
import json

import numpy as np
import pytest
import torch

import lens.models
from lens.engine.errors import RunError
from lens.engine.sites import SiteError
from lens.prompts import Pair, PromptError, start_token
from lens.readout.heads import attention, copying_scores, induction_scores, pattern_scores
from lens.readout.logit_attribution import direct_logit_attribution
from lens.readout.reading import ReadoutError
from lens.readout.vocabulary import head_vocabulary, logit_lens
from lens.results.dataset import describe, provenance
from tests import naive
from tests.models import EACH, KINDS, speaking, tiny
from tests.variants import few

TEXT = "w3 w17 w5 w3 w80 w41 w2"
PAIR = Pair(
    TEXT,
    corrupted="w3 w17 w9 w3 w80 w41 w2",
    answer=" w11",
    foil=" w23",
    spans={"subject": "w5", "both": "w3 w80"},
    label="one",
)
SHORT = Pair("w8 w9 w10 w1", corrupted="w8 w7 w10 w1", answer=" w30", foil=" w31", label="two")
IDS = torch.tensor([3, 17, 5, 3, 80, 41, 2])
LAYERS, HEADS, D, V = 3, 4, 32, 97


@functools.cache
def model(kind):
    return speaking(kind, seed=3)


@functools.cache
def reference(kind):
    """The same weights in another object, with attention that naive hooks can read."""
    hf = tiny(kind, seed=3)
    hf.set_attn_implementation("naive")
    return hf


def final_norm(hf):
    return {"gpt2": lambda: hf.transformer.ln_f, "gpt_neox": lambda: hf.gpt_neox.final_layer_norm}.get(
        hf.config.model_type, lambda: hf.model.norm
    )()


def unembedding(hf):
    return hf.get_output_embeddings().weight.double()


def norm_matrix(norm, whole):
    """A norm at the scale of ``whole``, as a matrix: rows x matrix, bias left out."""
    centre = torch.eye(D).double()
    if isinstance(norm, torch.nn.LayerNorm):
        centre = centre - 1 / D
    epsilon = getattr(norm, "eps", None) or norm.variance_epsilon
    scale = ((whole.double() @ centre).square().mean() + epsilon).rsqrt()
    return centre @ torch.diag(norm.weight.double()) * scale


def w_o(hf, layer):
    weight = naive.parts(hf, layer)["o"].weight.double()
    return (weight if hf.config.model_type == "gpt2" else weight.T).unflatten(0, (HEADS, -1))


def post_norm(hf, layer):
    return hf.model.layers[layer].post_attention_layernorm if hf.config.model_type == "olmo2" else None


# -- logit lens -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", few(KINDS, EACH))
def test_logit_lens_is_the_final_norm_and_head_on_every_hidden_state(kind):
    hf = reference(kind)
    ds = logit_lens(model(kind), PAIR, k=4)
    assert ds.prob.dims == ("layer", "position") and ds.layer.values.tolist() == [-1, 0, 1, 2]
    with torch.no_grad():
        out = hf(IDS[None], output_hidden_states=True)
        logits = torch.stack(
            [hf.get_output_embeddings()(final_norm(hf)(h[0])) for h in out.hidden_states[:-1]] + [out.logits[0]]
        ).double()
    share = logits.softmax(-1)
    final = logits[-1].log_softmax(-1)
    expected = dict(
        prob=share[..., 11],
        logit=logits[..., 11],
        logit_diff=logits[..., 11] - logits[..., 23],
        rank=(logits > logits[..., 11:12]).sum(-1),
        kl=(final.exp() * (final - logits.log_softmax(-1))).sum(-1),
    )
    for name, value in expected.items():
        np.testing.assert_allclose(ds[name].values, value.numpy(), atol=2e-4, rtol=1e-3, err_msg=name)
    order = logits.argsort(-1, descending=True)[..., :4]
    np.testing.assert_array_equal(ds.top_id.values, order.numpy())
    np.testing.assert_allclose(ds.top_prob.values, share.gather(-1, order).numpy(), atol=1e-5)
    assert ds.top_token.values[1, 2, 0] == f"w{order[1, 2, 0]}"
    assert ds.token.values.tolist() == TEXT.split() and str(ds.answer_token.values) == "w11"


@pytest.mark.parametrize("kind", ["llama", "gpt2", "olmo2"])
@pytest.mark.parametrize("site", ["resid_pre", "resid_mid"])
def test_logit_lens_of_other_streams(kind, site):
    hf = reference(kind)
    ds = logit_lens(model(kind), PAIR, site=site, which="corrupted")
    ids = IDS.clone()
    ids[2] = 9
    for layer in range(LAYERS):
        with torch.no_grad():
            logits = hf.get_output_embeddings()(final_norm(hf)(naive.activation(hf, ids, site, layer)))
        np.testing.assert_allclose(ds.logit.sel(layer=layer).values, logits[:, 11].numpy(), atol=2e-4, rtol=1e-4)
    assert ds.sizes["layer"] == LAYERS


def test_logit_lens_of_several_prompts_equals_each_alone():
    both = logit_lens(model("llama"), [PAIR, SHORT], positions=slice(None))
    assert both.prob.dims == ("prompt", "layer", "position") and both.top_token.dims == (
        "prompt",
        "layer",
        "position",
        "top",
    )
    for i, pair in enumerate((PAIR, SHORT)):
        alone = logit_lens(model("llama"), pair)
        n = alone.sizes["position"]
        for name in ("prob", "logit_diff", "kl", "rank", "top_prob"):
            np.testing.assert_allclose(both[name].values[i, :, :n], alone[name].values, atol=1e-5)
        assert (both.top_token.values[i, :, :n] == alone.top_token.values).all()
    assert (
        np.isnan(both.kl.values[1, :, 4:]).all()
        and (both.top_token.values[1, :, 4:] == "").all()
        and (both.token_index.values[1, 4:] == -1).all()
    )
    last = logit_lens(model("llama"), [PAIR, SHORT])
    assert (
        last.prob.dims == ("prompt", "layer") and last.position == "last" and last.token.values.tolist() == ["w2", "w1"]
    )
    np.testing.assert_allclose(
        last.prob.values, np.stack([both.prob.values[0, :, 6], both.prob.values[1, :, 3]]), atol=1e-6
    )
    assert last.answer_token.values.tolist() == ["w11", "w30"]


@pytest.mark.parametrize(
    "positions, at, labels",
    [
        (None, range(7), list(range(7))),
        (-2, [5], 5),
        ("subject", [2], "subject"),
        (["subject", "last"], [2, 6], ["subject", "last"]),
        ("both", [3, 4], ["both[0]", "both[1]"]),
        ([1, -1], [1, 6], [1, 6]),
        (slice(4, None), [4, 5, 6], [4, 5, 6]),
    ],
)
def test_logit_lens_positions(positions, at, labels):
    ds, whole = logit_lens(model("llama"), PAIR, positions=positions), logit_lens(model("llama"), PAIR)
    assert ds.position.values.tolist() == labels and np.ravel(ds.token_index).tolist() == list(at)
    np.testing.assert_allclose(ds.prob.values.reshape(LAYERS + 1, -1), whole.prob.values[:, list(at)], atol=1e-6)
    assert ("position" in ds.dims) == isinstance(labels, list)


def test_logit_lens_takes_answers_by_hand():
    plain = logit_lens(model("llama"), TEXT)
    assert "prob" not in plain and "logit_diff" not in plain and plain.kl.shape == (4, 7)
    given = logit_lens(model("llama"), TEXT, answer="w11", foil=23)
    np.testing.assert_array_equal(given.logit_diff.values, logit_lens(model("llama"), PAIR).logit_diff.values)
    assert "logit_diff" not in logit_lens(model("llama"), PAIR, answer="w23")
    each = logit_lens(model("llama"), [TEXT, "w5 w6"], answer=["w11", "w40"])
    np.testing.assert_allclose(each.prob.values[0], given.prob.values[:, -1], atol=1e-6)


# -- attention --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", few(KINDS, EACH))
def test_attention_is_that_of_the_eager_model(kind):
    hf = tiny(kind, seed=3)
    hf.set_attn_implementation("eager")
    with torch.no_grad():
        expected = torch.stack(hf(IDS[None], output_attentions=True).attentions)[:, 0]
    ds = attention(model(kind), TEXT)
    assert ds.pattern.dims == ("layer", "head", "query", "key") and ds.pattern.dtype == np.float32
    np.testing.assert_allclose(ds.pattern.values, expected.numpy(), atol=1e-5)
    assert ds.token_query.values.tolist() == ds.token_key.values.tolist() == TEXT.split()
    kv = getattr(hf.config, "num_key_value_heads", HEADS)
    assert ds.kv_head.values.tolist() == [h * kv // HEADS for h in range(HEADS)]


def test_attention_of_some_heads_and_of_either_prompt():
    whole, some = attention(model("llama"), PAIR), attention(model("llama"), PAIR, layers=[2, 0], heads=slice(1, 3))
    np.testing.assert_array_equal(some.pattern.values, whole.pattern.sel(layer=[2, 0], head=[1, 2]).values)
    other = attention(model("llama"), PAIR, which="corrupted")
    assert other.token_key.values.tolist()[2] == "w9"
    np.testing.assert_allclose(other.pattern.values[:, :, :2], whole.pattern.values[:, :, :2], atol=1e-6)
    assert np.abs(other.pattern.values - whole.pattern.values).max() > 0.01


# -- heads in the vocabulary ------------------------------------------------------------------------------------------


def written(hf, layer, head, position):
    """What a head adds to the residual stream, from naive activations and the weights."""
    z = naive.activation(hf, IDS, "z", layer)[position].double()
    out = z[head] @ w_o(hf, layer)[head]
    if post_norm(hf, layer) is not None:
        out = out @ norm_matrix(post_norm(hf, layer), torch.einsum("hd,hdm->m", z, w_o(hf, layer)))
    return out


@pytest.mark.parametrize("kind", few(KINDS, EACH))
def test_head_vocabulary_of_a_run(kind):
    hf = reference(kind)
    for layer, head, position in ((0, 1, -1), (2, 3, 4)):
        ds = head_vocabulary(model(kind), layer, head, text=PAIR, position=position, k=6)
        whole = norm_matrix(final_norm(hf), naive.activation(hf, IDS, "resid_post", LAYERS - 1)[position])
        logits = written(hf, layer, head, position) @ whole @ unembedding(hf).T
        order = logits.argsort(descending=True)
        np.testing.assert_allclose(ds.promoted.values, logits[order[:6]].numpy(), atol=1e-4, rtol=1e-4)
        np.testing.assert_allclose(ds.suppressed.values, logits[order.flip(0)[:6]].numpy(), atol=1e-4, rtol=1e-4)
        assert (
            ds.promoted_token.values.tolist() == [f"w{i}" for i in order[:6]]
            and ds.suppressed_token.values[0] == f"w{order[-1]}"
        )
        assert [int(ds[n]) for n in ("layer", "head", "position")] == [
            layer,
            head,
            position % 7,
        ] and ds.token == TEXT.split()[position]


@pytest.mark.parametrize("kind", ["llama", "gpt2", "olmo2"])
def test_head_vocabulary_of_the_weights(kind):
    hf, layer, head = reference(kind), 1, 2
    block = naive.parts(hf, layer)["block"]
    embedding = hf.get_input_embeddings().weight.double()[[5, 60]]
    if kind == "gpt2":
        w_v = block.attn.c_attn.weight.double()[:, 2 * D :].unflatten(1, (HEADS, -1))[:, head]
        before = torch.stack([x @ norm_matrix(block.ln_1, x) for x in embedding])
    else:
        kv = hf.config.num_key_value_heads
        w_v = block.self_attn.v_proj.weight.double().T.unflatten(1, (kv, -1))[:, head * kv // HEADS]
        before = (
            embedding
            if kind == "olmo2"
            else torch.stack([x @ norm_matrix(block.input_layernorm, x) for x in embedding])
        )
    out = before @ w_v @ w_o(hf, layer)[head]
    if kind == "olmo2":
        out = torch.stack([x @ norm_matrix(block.post_attention_layernorm, x) for x in out])
    logits = torch.stack([x @ norm_matrix(final_norm(hf), x) for x in out]) @ unembedding(hf).T
    ds = head_vocabulary(model(kind), layer, head, tokens=["w5", 60], k=V)
    expected = logits.sort(-1, descending=True)
    np.testing.assert_allclose(ds.promoted.values, expected.values.numpy(), atol=1e-4, rtol=1e-4)
    assert ds.source_token.values.tolist() == ["w5", "w60"] and ds.promoted.dims == ("source", "top")
    np.testing.assert_array_equal(
        ds.own_rank.values, [(expected.indices[i] == t).nonzero()[0, 0] for i, t in enumerate((5, 60))]
    )
    np.testing.assert_array_equal(ds.own_rank + ds.own_rank_low, V - 1)
    alone = head_vocabulary(model(kind), layer, head, tokens="w5", k=3)
    assert (
        alone.promoted.dims == ("top",)
        and alone.promoted_token.values.tolist() == ds.promoted_token.values[0, :3].tolist()
    )


@pytest.mark.parametrize("kind", few(KINDS, EACH))
def test_attribution_adds_up_and_its_parts_are_what_was_written(kind):
    hf = reference(kind)
    ds = direct_logit_attribution(model(kind), PAIR)
    with torch.no_grad():
        logits = hf(IDS[None]).logits[0, -1].double()
    np.testing.assert_allclose(float(ds.total), float(logits[11] - logits[23]), atol=1e-4)
    np.testing.assert_allclose(float(ds.contribution.sum() + ds.embed + ds.bias), float(ds.total), atol=1e-4)
    direction = norm_matrix(final_norm(hf), naive.activation(hf, IDS, "resid_post", LAYERS - 1)[-1]) @ (
        unembedding(hf)[11] - unembedding(hf)[23]
    )
    for layer in range(LAYERS):
        for head in range(HEADS):
            np.testing.assert_allclose(
                float(ds.contribution.sel(layer=layer, component=f"head {head}")),
                float(written(hf, layer, head, -1) @ direction),
                atol=1e-4,
                rtol=1e-4,
            )
        mlp = naive.activation(hf, IDS, "mlp_out", layer)[-1].double() @ direction
        np.testing.assert_allclose(
            float(ds.contribution.sel(layer=layer, component="mlp")), float(mlp), atol=1e-4, rtol=1e-4
        )
    np.testing.assert_allclose(
        float(ds.embed), float(naive.activation(hf, IDS, "resid_pre", 0)[-1].double() @ direction), atol=1e-4, rtol=1e-4
    )
    assert (ds.contribution.sel(component="attn_bias") != 0).all() == (kind.startswith("gpt")) and (
        float(ds.bias) != 0
    ) == kind.startswith("gpt")


def test_attribution_of_many_prompts_positions_and_single_logits():
    ds = direct_logit_attribution(model("gpt2"), [PAIR, SHORT], which="corrupted")
    assert ds.contribution.dims == ("prompt", "layer", "component") and ds.label.values.tolist() == ["one", "two"]
    np.testing.assert_allclose(
        (ds.contribution.sum(["layer", "component"]) + ds.embed + ds.bias).values, ds.total.values, atol=1e-4
    )
    alone = direct_logit_attribution(model("gpt2"), SHORT, which="corrupted")
    np.testing.assert_allclose(ds.contribution.values[1], alone.contribution.values, atol=1e-5)
    only = direct_logit_attribution(model("gpt2"), TEXT, answer="w11", position=3)
    with torch.no_grad():
        np.testing.assert_allclose(float(only.total), float(reference("gpt2")(IDS[None]).logits[0, 3, 11]), atol=1e-4)
    np.testing.assert_allclose(float(only.contribution.sum() + only.embed + only.bias), float(only.total), atol=1e-4)


# -- scores of heads --------------------------------------------------------------------------------------------------


def test_scores_of_patterns_made_by_hand():
    length, size = 5, 11  # a start token and two copies of five
    perfect = torch.zeros(3, size, size)
    for query in range(size):
        for n, key in enumerate((query - 4, query - 1, query - 5)):
            perfect[n, query, max(key, 0)] = 1
    np.testing.assert_allclose(pattern_scores(perfect, length).numpy(), np.eye(3))
    uniform = torch.ones(size, size).tril() / torch.arange(1, size + 1)[:, None]
    np.testing.assert_allclose(
        pattern_scores(uniform, length).numpy(), np.mean([1 / n for n in range(7, 12)]), rtol=1e-6
    )


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gpt_neox"])
def test_induction_scores_follow_the_eager_models_attention(kind):
    ds = induction_scores(model(kind), length=9, sequences=3, seed=4)
    ids = torch.tensor(ds.token_id.values)
    assert (
        ids.shape == (3, 19)
        and (ids[:, 0] == 0).all()
        and (ids[:, 1:10] == ids[:, 10:]).all()
        and all(len(set(row.tolist())) == 10 for row in ids)
    )
    hf = tiny(kind, seed=3)
    hf.set_attn_implementation("eager")
    with torch.no_grad():
        patterns = torch.stack(hf(ids, output_attentions=True).attentions, 1).numpy()
    expected = np.zeros((3, 3, LAYERS, HEADS))
    for i, row in enumerate(ids.tolist()):
        for query in range(10, 19):
            earlier = row.index(row[query])
            for n, key in enumerate((earlier + 1, query - 1, earlier)):
                expected[n, i] += patterns[i, :, :, query, key] / 9
    np.testing.assert_allclose(ds.samples.values, expected, atol=1e-5)
    np.testing.assert_allclose(ds["mean"].values, expected.mean(1), atol=1e-5)
    assert ds.score.values.tolist() == ["induction", "previous_token", "duplicate_token"]
    assert (
        ds.low.isnull().all()
        and set(ds.interval_kind.values.ravel()) == {"not available: fewer than 5 values"}
        and int(ds.n) == 3
    )
    assert not np.array_equal(ds.token_id, induction_scores(model(kind), length=9, sequences=3, seed=5).token_id)


def test_a_model_that_attends_evenly_scores_chance():
    even = tiny("llama", seed=1)
    for layer in even.model.layers:
        layer.self_attn.q_proj.weight.zero_()
    ds = induction_scores(even, length=12, sequences=4, start=None, tokens=range(20, 60))
    np.testing.assert_allclose(ds.samples.values, float(ds.chance), rtol=1e-5)
    np.testing.assert_allclose(float(ds.chance), np.mean([1 / (q + 1) for q in range(12, 24)]), rtol=1e-6)
    assert ds.token_id.shape == (4, 24) and ds.token_id.values.min() >= 20 and ds.token_id.values.max() < 60


def test_the_induction_organism_has_an_induction_head_above_its_previous_token_heads():
    ds = induction_scores(lens.load("organism:induction"), length=20, sequences=30)
    best, previous = (ds["mean"].sel(score=s) for s in ("induction", "previous_token"))
    head, feeder = ({d: int(v) for d, v in x.argmax(["layer", "head"]).items()} for x in (best, previous))
    assert float(best.max()) > 0.5 and head["layer"] > feeder["layer"] == 0
    for score, where in (("induction", head), ("previous_token", feeder)):
        assert float(ds.low.sel(score=score).isel(where)) > 5 * float(ds.chance)


@pytest.mark.parametrize("kind", few(KINDS, EACH))
def test_eigenvalue_scores_are_those_of_the_whole_vocabulary_matrix(kind):
    hf = tiny(kind, seed=3)
    ds = copying_scores(model(kind), layers=[1])
    block, final = naive.parts(hf, 1)["block"], final_norm(hf)

    def fold(norm):
        return (torch.eye(D).double() - (1 / D if isinstance(norm, torch.nn.LayerNorm) else 0)) @ torch.diag(
            norm.weight.double()
        )

    if kind == "gpt2":
        v, before = block.attn.c_attn.weight.double()[:, 2 * D :].unflatten(1, (HEADS, -1)), fold(block.ln_1)
    elif kind.startswith("gpt_neox"):
        v = block.attention.query_key_value.weight.double().T.unflatten(1, (HEADS, 3, -1))[:, :, 2]
        before = fold(block.input_layernorm)
    else:
        kv = hf.config.num_key_value_heads
        v = block.self_attn.v_proj.weight.double().T.unflatten(1, (kv, -1)).repeat_interleave(HEADS // kv, 1)
        before = torch.eye(D).double() if kind == "olmo2" else fold(block.input_layernorm)
    after = fold(post_norm(hf, 1)) if kind == "olmo2" else torch.eye(D).double()
    for head in range(HEADS):
        full = (
            hf.get_input_embeddings().weight.double()
            @ before
            @ v[:, head]
            @ w_o(hf, 1)[head]
            @ after
            @ fold(final)
            @ unembedding(hf).T
        )
        values = np.linalg.eigvals(full.numpy())
        np.testing.assert_allclose(
            float(ds.eigenvalue_score[0, head]), values.real.sum() / np.abs(values).sum(), atol=1e-4
        )
    assert ds.eigenvalue_score.dims == ("layer", "head")


def copier(sign):
    """A model whose heads of layer 1 write back what they read (or its opposite), in the embedding's own basis."""
    hf = tiny("llama", seed=2)
    hf.lm_head.weight.copy_(hf.model.embed_tokens.weight)
    for norm in (hf.model.norm, hf.model.layers[1].input_layernorm):
        norm.weight.fill_(1.0)
    layer = hf.model.layers[1].self_attn
    values = layer.v_proj.weight.unflatten(0, (2, 8)).repeat_interleave(2, 0)
    layer.o_proj.weight.copy_(sign * values.flatten(0, 1).T)
    return hf


def test_a_head_that_copies_scores_one_and_its_opposite_minus_one():
    for sign in (1, -1):
        np.testing.assert_allclose(copying_scores(copier(sign), layers=1).eigenvalue_score.values, sign, atol=1e-5)
    assert (np.abs(copying_scores(copier(1), layers=[0, 2]).eigenvalue_score) < 0.99).all()


@pytest.mark.parametrize("kind", ["llama", "gpt2", "olmo2"])
def test_copying_hits_against_a_head_run_by_hooks(kind):
    hf, tokens, k = reference(kind), [4, 33, 61, 90], 20
    ds = copying_scores(model(kind), method="top_k", tokens=tokens, k=k, start="w7")
    up, down = np.zeros((LAYERS, HEADS)), np.zeros((LAYERS, HEADS))
    for layer in range(LAYERS):
        for token in tokens:
            ids = torch.tensor([7, token])
            x = naive.activation(hf, ids, "resid_pre" if layer == 0 else "resid_post", 0)
            seen = []
            naive.forward(
                hf,
                ids,
                [("resid_pre", layer, lambda _: x[None]), ("v", layer, lambda v: (seen.append(v.clone()), v)[1])],
            )
            v = seen[0][0, 1].repeat_interleave(HEADS // seen[0].shape[2], 0)
            for head in range(HEADS):
                outs = []
                for scale in (1.0, 0.0):  # the second run leaves only the output's bias
                    z = torch.zeros(1, 2, HEADS, v.shape[-1])
                    z[0, 1, head] = v[head] * scale
                    naive.forward(
                        hf,
                        ids,
                        [("z", layer, lambda _: z), ("attn_out", layer, lambda o: (outs.append(o.clone()), o)[1])],
                    )
                out = (outs[0] - outs[1])[0, 1].double()
                logits = out @ norm_matrix(final_norm(hf), out) @ unembedding(hf).T
                up[layer, head] += token in logits.topk(k).indices
                down[layer, head] += token in (-logits).topk(k).indices
    assert 0 < up.mean() < len(tokens)
    np.testing.assert_allclose(ds.hit_rate.values, up / len(tokens))
    np.testing.assert_allclose(ds.suppressed_rate.values, down / len(tokens))
    assert (
        int(ds.n) == 4
        and float(ds.chance) == k / V
        and (ds.low <= ds.hit_rate).all()
        and (ds.high >= ds.hit_rate).all()
    )


def test_copying_hits_on_random_tokens_repeat_with_the_seed():
    first, again = (copying_scores(model("llama"), method="top_k", samples=10, layers=[1], seed=s) for s in (2, 2))
    assert first.identical(again.assign_attrs(first.attrs)) and len(provenance(first)["call"]["tokens"]) == 10
    assert (
        provenance(copying_scores(model("llama"), method="top_k", samples=10, layers=[1], seed=3))["call"]["tokens"]
        != provenance(first)["call"]["tokens"]
    )


# -- what all of them share -------------------------------------------------------------------------------------------

CALLS = {
    "logit_lens": lambda m: logit_lens(m, [PAIR, SHORT], positions=[0, "last"]),
    "attention": lambda m: attention(m, PAIR),
    "head_vocabulary": lambda m: head_vocabulary(m, 1, 2, text=PAIR),
    "head_vocabulary of tokens": lambda m: head_vocabulary(m, 1, 2, tokens=["w4", "w5"]),
    "direct_logit_attribution": lambda m: direct_logit_attribution(m, [PAIR]),
    "induction_scores": lambda m: induction_scores(m, length=6, sequences=2),
    "copying_scores": lambda m: copying_scores(m, method="top_k", samples=4),
}


@pytest.mark.parametrize("name", CALLS)
def test_results_are_stamped_described_and_survive_a_file(name, tmp_path):
    ds = CALLS[name](model("gpt2"))
    made = provenance(ds)
    assert (
        made["kind"] == name.split()[0]
        and made["status"] == "complete"
        and made["model"]["hash"] == lens.models.weight_hash(model("gpt2"))
        and made["versions"]["torch"]
    )
    json.dumps(made, allow_nan=False)
    assert describe(ds)
    lens.save(ds, tmp_path / "result.zarr")
    assert lens.open(tmp_path / "result.zarr").drop_encoding().identical(ds)


def test_a_bridge_reads_the_same_and_keeps_no_hook(tiny_bridge):
    bridge, plain = tiny_bridge("llama", 3)

    def hooks():
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in bridge.modules())

    with torch.no_grad():
        logits, before = bridge(IDS[None], return_type="logits"), hooks()
        for name, call in CALLS.items():
            mine, theirs = call(bridge), call(model("llama"))
            for variable in theirs.data_vars:
                if theirs[variable].dtype.kind == "f":
                    np.testing.assert_allclose(
                        mine[variable].values, theirs[variable].values, atol=1e-5, err_msg=f"{name} {variable}"
                    )
        assert hooks() == before and torch.equal(bridge(IDS[None], return_type="logits"), logits)
        assert torch.allclose(logits, plain(IDS[None]).logits, atol=1e-4)


def test_the_real_model_reads_its_own_prediction_last(smollm2):
    pair = Pair(
        "Then, when John and Mary went to the shops, John gave the bottle to",
        corrupted="Then, when John and Mary went to the shops, Mary gave the bottle to",
        answer=" Mary",
        foil=" John",
        start="<|endoftext|>",
    )
    seen = logit_lens(smollm2, pair, positions="last")
    ids = torch.tensor([smollm2.tokenizer(pair.start + pair.clean, add_special_tokens=False)["input_ids"]])
    with torch.no_grad():
        share = smollm2.original_model(ids).logits[0, -1].softmax(-1)
    assert str(seen.top_token.sel(layer=29, top=0).values) == smollm2.tokenizer.decode([int(share.argmax())])
    np.testing.assert_allclose(seen.top_prob.sel(layer=29).values, share.topk(5).values.numpy(), atol=1e-4)
    parts = direct_logit_attribution(smollm2, pair)
    np.testing.assert_allclose(
        float(parts.contribution.sum() + parts.embed + parts.bias), float(parts.total), atol=1e-3
    )
    assert parts.kv_head.values.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, -1, -1]


def test_reduced_precision_is_read_in_float32():
    half = speaking("llama", seed=3).to(torch.bfloat16)
    with torch.no_grad():
        logits = half(IDS[None]).logits[0].float()
    np.testing.assert_allclose(
        logit_lens(half, PAIR).logit.sel(layer=LAYERS - 1).values,
        logits[:, 11].numpy(),
        atol=0.05 * float(logits.abs().max()),
    )
    for call in CALLS.values():
        ds = call(half)
        assert all(ds[n].dtype == np.float32 for n in ("kl", "pattern", "promoted", "contribution", "mean") if n in ds)
        assert all(
            np.isfinite(v).all()
            for v in ds.data_vars.values()
            if v.dtype.kind == "f" and "position" not in v.dims and v.name not in ("low", "high")
        )


BAD = [
    (lambda m: logit_lens(m, ""), ReadoutError, "prompts"),
    (lambda m: logit_lens(m, []), ReadoutError, "prompts"),
    (lambda m: logit_lens(m, 3), ReadoutError, "prompts"),
    (lambda m: logit_lens(m, [TEXT, 3]), ReadoutError, r"prompts\[1\]"),
    (lambda m: logit_lens(m, TEXT, site="z"), SiteError, "site"),
    (lambda m: logit_lens(m, TEXT, k=0), ReadoutError, "k=0"),
    (lambda m: logit_lens(m, TEXT, positions=7), PromptError, "positions"),
    (lambda m: logit_lens(m, TEXT, positions="subject"), PromptError, "positions"),
    (lambda m: logit_lens(m, TEXT, answer="w1 w2"), PromptError, "answer"),
    (lambda m: logit_lens(m, TEXT, answer=97), PromptError, "answer"),
    (lambda m: logit_lens(m, TEXT, foil="w1"), ReadoutError, "foil"),
    (lambda m: logit_lens(m, PAIR, answer="w1", foil="w1"), ReadoutError, "foil"),
    (lambda m: logit_lens(m, [PAIR, SHORT], answer=["w1"]), ReadoutError, "answer"),
    (lambda m: logit_lens(m, TEXT, which="corrupted"), ReadoutError, "which"),
    (lambda m: logit_lens(m, PAIR, which="other"), ReadoutError, "which"),
    (lambda m: logit_lens(m, [PAIR, SHORT], positions="all", site="resid"), SiteError, "site"),
    (lambda m: attention(m, " "), ReadoutError, "prompt"),
    (lambda m: attention(m, TEXT, layers=3), SiteError, "layer"),
    (lambda m: attention(m, TEXT, heads=[0, 4]), SiteError, "head"),
    (lambda m: attention(m, TEXT, heads=[]), ReadoutError, "heads"),
    (lambda m: attention(m, "w1 " * 70), RunError, "70 tokens"),
    (lambda m: head_vocabulary(m, 3, 0, text=TEXT), SiteError, "layer"),
    (lambda m: head_vocabulary(m, 0, -5, text=TEXT), SiteError, "head"),
    (lambda m: head_vocabulary(m, 0, [1, 2], text=TEXT), ReadoutError, r"head=\[1, 2\]"),
    (lambda m: head_vocabulary(m, 0, 0), ReadoutError, "text"),
    (lambda m: head_vocabulary(m, 0, 0, text=TEXT, tokens=[1]), ReadoutError, "tokens"),
    (lambda m: head_vocabulary(m, 0, 0, text=TEXT, position=9), PromptError, "position"),
    (lambda m: head_vocabulary(m, 0, 0, text=PAIR, position="both"), ReadoutError, "position"),
    (lambda m: head_vocabulary(m, 0, 0, tokens=["w1 w2"]), PromptError, "tokens"),
    (lambda m: head_vocabulary(m, 0, 0, tokens=[97]), ReadoutError, "tokens"),
    (lambda m: head_vocabulary(m, 0, 0, tokens=[]), ReadoutError, "tokens"),
    (lambda m: direct_logit_attribution(m, TEXT), ReadoutError, "answer"),
    (lambda m: direct_logit_attribution(m, PAIR, position=-8), PromptError, "position"),
    (lambda m: induction_scores(m, length=1), ReadoutError, "length"),
    (lambda m: induction_scores(m, sequences=1), ReadoutError, "sequences"),
    (lambda m: induction_scores(m, length=10, tokens=range(9)), ReadoutError, "length"),
    (lambda m: induction_scores(m, length=5, start="w1 w2"), PromptError, "start"),
    (lambda m: induction_scores(m, length=40), RunError, "tokens"),
    (lambda m: copying_scores(m, method="guess"), ReadoutError, "method"),
    (lambda m: copying_scores(m, tokens=["w1"]), ReadoutError, "tokens"),
    (lambda m: copying_scores(m, method="top_k", k=60), ReadoutError, "k=60"),
    (lambda m: copying_scores(m, method="top_k", tokens=[]), ReadoutError, "tokens"),
    (lambda m: copying_scores(m, layers=-4), SiteError, "layer"),
]


@pytest.mark.parametrize("call, error, words", BAD)
def test_bad_arguments_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call(model("llama"))


def test_no_resid_mid_where_attention_and_mlp_run_side_by_side():
    with pytest.raises(SiteError, match="resid_mid"):
        logit_lens(model("gpt_neox"), TEXT, site="resid_mid")


def test_answers_that_begin_alike_are_refused():
    pair = Pair(TEXT, corrupted=PAIR.corrupted, answer=" w11 w12", foil=" w11 w13")
    with pytest.raises(ReadoutError, match="first token"):
        direct_logit_attribution(model("llama"), pair)


def test_a_model_without_a_tokenizer_is_told_so_and_still_scored():
    bare = tiny("llama", seed=3)
    with pytest.raises(PromptError, match="tokenizer"):
        attention(bare, TEXT)
    assert head_vocabulary(bare, 0, 0, tokens=5, k=2).promoted_token.values[0].startswith("[id ")


@pytest.mark.parametrize(
    ("words", "unknown", "bos", "expected"),
    [
        ({"<unk>": 0, "a": 1, "<|endoftext|>": 2}, "<unk>", "a", 2),
        ({"<unk>": 0, "a": 1}, "<unk>", "a", 1),
        ({"a": 0, "<unk>": 1}, "<unk>", None, 0),
        ({"b": 0, "a": 1}, None, "a", 1),
        ({"a": 0, "<|endoftext|>": 1}, "<|endoftext|>", "a", 1),
    ],
)
def test_a_start_token_is_found_where_the_vocabulary_has_it_and_never_the_unknown_one(words, unknown, bos, expected):
    """`bos` None: the model's own, which is 0."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    named = tiny("llama")
    named.tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token=unknown or "b")), unk_token=unknown, bos_token=bos
    )
    assert start_token(named, "auto") == expected
