"""Whose numbers a score is: the plain model's with its buffers, a row's own whatever is beside it, and none of a model
that has read what it is asked for.
"""

import copy

import numpy as np
import pytest
import torch
import transformers as T

import lens
from lens import models
from lens.engine.lengths import Lengths
from lens.memorization import Sequences, exposure, extract, recognition
from lens.scoring import causal, look_ahead
from lens.scoring.causal import ScoringError, plain
from lens.scoring.rows import score
from tests import models as tiny_models

V = 97
SIZE = dict(
    vocab_size=V,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=48,
    max_position_embeddings=64,
    initializer_range=0.3,
    bos_token_id=0,
    eos_token_id=0,
    pad_token_id=0,
)
LONG = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "original_max_position_embeddings": 8,
    "short_factor": [1.0] * 4,
    "long_factor": [3.0, 5.0, 7.0, 9.0],
}


def of(config, **more):
    """A random model of a configuration, the same at every call."""
    torch.manual_seed(0)
    return T.AutoModelForCausalLM.from_config(config(**{**SIZE, **more})).eval().requires_grad_(False)


def deepseek():
    model = of(
        T.DeepseekV3Config,
        num_key_value_heads=4,
        q_lora_rank=16,
        kv_lora_rank=12,
        qk_nope_head_dim=8,
        qk_rope_head_dim=4,
        v_head_dim=6,
        n_routed_experts=8,
        num_experts_per_tok=2,
        moe_intermediate_size=24,
        n_group=1,
        topk_group=1,
        first_k_dense_replace=1,
        n_shared_experts=1,
    )
    for name, value in model.named_buffers():
        if name.endswith("e_score_correction_bias"):
            value.copy_(torch.randn(value.shape, generator=torch.Generator().manual_seed(1)))
    return model


def rwkv():
    torch.manual_seed(0)
    model = T.RwkvForCausalLM(
        T.RwkvConfig(
            vocab_size=V,
            context_length=64,
            hidden_size=32,
            num_hidden_layers=4,
            rescale_every=2,
            bos_token_id=0,
            eos_token_id=0,
        )
    )
    return model.eval().requires_grad_(False)


def draw(*sizes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(1, V, n) for n in sizes]


@torch.no_grad()
def by_plain_forward(model, row):
    """Log-probability of each token of a row but its first, by one forward of the row alone."""
    ids = torch.from_numpy(row)
    return (
        model(ids[None], use_cache=False).logits[0].double().log_softmax(-1)[:-1].gather(1, ids[1:, None])[:, 0].numpy()
    )


def assert_each_as_alone(model, fresh, rows, tolerance=1e-4, **options):
    scores = score(model, rows, start=None, **options)
    for i, row in enumerate(rows):
        np.testing.assert_allclose(
            scores.logprob[slice(*scores.offsets[i : i + 2])], by_plain_forward(fresh(), row), atol=tolerance
        )


def bridged(model):
    return models.wrap(model, tiny_models.word_tokenizer(), "tiny")


# -- the second object behind a bridge --------------------------------------------------------------------------------


def test_a_routers_bias_in_a_buffer_counts_behind_a_bridge():
    rows, bridge = draw(30, 12, 21), bridged(deepseek())
    assert_each_as_alone(bridge, deepseek, rows)
    without = deepseek()
    for name, value in without.named_buffers():
        if name.endswith("e_score_correction_bias"):
            value.zero_()
    assert (
        max(np.abs(by_plain_forward(without, row) - by_plain_forward(deepseek(), row)).max() for row in rows) > 0.1
    ), "the bias changes nothing here"


def test_a_buffer_that_was_changed_since_the_bridge_was_made_counts_too():
    def changed(model):
        for name, value in getattr(model, "original_model", model).named_buffers():
            if name.endswith("e_score_correction_bias"):
                value.mul_(-3.0)
        return model

    assert_each_as_alone(changed(bridged(deepseek())), lambda: changed(deepseek()), draw(30, 12))


class Writing(T.LlamaForCausalLM):
    """Another model after every forward."""

    def forward(self, *args, **kwargs):
        out = super().forward(*args, **kwargs)
        self.lm_head.weight.data.mul_(0.9)
        return out


def test_a_forward_that_writes_into_the_weights_is_stopped_before_it_does():
    model = tiny_models.tiny("llama")
    model.__class__ = Writing
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(ScoringError, match=r"writes into its own weights .*run it once"):
        score(model, draw(9), start=None)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters()))


@pytest.mark.parametrize("where", ["plain", "bridge"])
def test_a_model_that_divides_its_weights_at_its_first_forward_is_divided_first(where):
    model, ran = rwkv() if where == "plain" else bridged(rwkv()), rwkv()
    ran(torch.tensor([[1, 2, 3]]))
    assert_each_as_alone(model, rwkv, draw(9, 14))
    hf = getattr(model, "original_model", model)
    assert hf.rwkv.layers_are_rescaled
    fresh = rwkv()
    assert not torch.equal(fresh.rwkv.blocks[3].attention.output.weight, ran.rwkv.blocks[3].attention.output.weight)
    for (name, a), b in zip(ran.named_parameters(), hf.parameters(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize("where", ["plain", "bridge"])
def test_a_model_that_has_divided_its_weights_is_scored_and_they_stay(where):
    def run(model):
        model(torch.tensor([[1, 2, 3]]))
        return model

    model = run(rwkv() if where == "plain" else bridged(rwkv()))
    before = [p.clone() for p in model.parameters()]
    assert_each_as_alone(model, rwkv, draw(9, 14))
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters()))


def test_a_bridge_that_computes_something_else_is_refused(monkeypatch):
    bridge, other = bridged(tiny_models.tiny("llama")), tiny_models.tiny("llama", seed=1)
    monkeypatch.setattr(causal, "_second", lambda hf, state: other)
    with pytest.raises(ScoringError, match="other logits than the plain model .* give the plain"):
        score(bridge, draw(9), start=None)


def test_a_method_replaced_behind_a_bridge_is_not_left_out():
    def halved(model):
        mlp = models_mlp(model)
        forward = mlp.forward
        mlp.forward = lambda x: 0.5 * forward(x)
        return model

    def models_mlp(model):
        mlp = getattr(model, "original_model", model).model.layers[0].mlp
        return getattr(mlp, "original_component", mlp)

    assert_each_as_alone(
        halved(bridged(tiny_models.tiny("llama"))), lambda: halved(tiny_models.tiny("llama")), draw(9, 20)
    )


# -- rows whose numbers depend on how long they are
# ----------------------------------------------------------------------


def longrope():
    return of(T.LlamaConfig, rope_parameters=LONG)


def dynamic():
    return of(
        T.LlamaConfig,
        max_position_embeddings=16,
        rope_parameters={"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0},
    )


@pytest.mark.parametrize("where", ["plain", "bridge"])
@pytest.mark.parametrize("order", [(6, 20, 8, 9, 7, 33), (33, 9, 20, 8, 6)])
def test_longrope_rows_are_scored_as_alone(where, order):
    rows = draw(*order)
    model = longrope() if where == "plain" else bridged(longrope())
    assert_each_as_alone(model, longrope, rows)
    assert_each_as_alone(model, longrope, rows, batch_tokens=10_000)
    # without the care the short rows would have the long factors
    together = longrope()(torch.from_numpy(np.concatenate([rows[0], rows[1]])[None])).logits[0, :5]
    assert (
        float((together - longrope()(torch.from_numpy(rows[0][None])).logits[0, :5]).abs().max()) > 0.1 or order[0] > 8
    )


def test_dynamic_frequencies_do_not_remember_what_was_read_before():
    rows = draw(16, 12, 17)
    model = dynamic()
    model(torch.randint(1, V, (1, 60)))  # a long prompt of the person's
    changed = model(torch.from_numpy(rows[0][None])).logits
    assert float((changed - dynamic()(torch.from_numpy(rows[0][None])).logits).abs().max()) > 1e-3, (
        "transformers no longer remembers"
    )
    assert_each_as_alone(model, dynamic, rows)


def test_kinds_of_length():
    assert Lengths.of(tiny_models.tiny("llama")) is None
    lengths = Lengths.of(longrope())
    assert lengths.groups([3, 9, 8, 40]) == [[0, 2], [1, 3]]
    lengths = Lengths.of(dynamic())
    assert lengths.groups([3, 17, 16, 18, 17]) == [[0, 2], [1, 4], [3]]


def test_recitation_of_a_longrope_model_is_the_greedy_text_across_the_border():
    rows = np.stack(draw(14, 14))
    made = extract(longrope(), Sequences(rows, prefix=5), progress=False).generated.values
    for row, text in zip(rows, made):
        ids = row[:5].tolist()
        for _ in range(9):
            ids.append(int(longrope()(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
        assert text.tolist() == ids[5:]


# -- wrappers
# -------------------------------------------------------------------------------------------------------------


def adapted(name, **settings):
    import peft

    torch.manual_seed(0)
    return peft.get_peft_model(tiny_models.tiny("llama"), getattr(peft, name)(task_type="CAUSAL_LM", **settings)).eval()


TUNED = {
    "PromptTuningConfig": dict(num_virtual_tokens=4),
    "PrefixTuningConfig": dict(num_virtual_tokens=4),
    "PromptEncoderConfig": dict(num_virtual_tokens=4),
}


@pytest.mark.parametrize("name", TUNED)
def test_virtual_tokens_are_refused_by_every_caller(name):
    model, rows = adapted(name, **TUNED[name]), np.stack(draw(12, 12))
    sequences, others = Sequences(rows, prefix=4), Sequences(np.stack(draw(12, 12, seed=1)), prefix=4)
    calls = [
        lambda: score(model, rows, start=None),
        lambda: extract(model, sequences),
        lambda: recognition(model, sequences, others),
        lambda: exposure(model, sequences, others),
        lambda: lens.curvature.factors(model, "mlp", rows),
        lambda: lens.subspace.locate(model, rows, others.ids),
    ]
    for call in calls:
        with pytest.raises(ScoringError, match="virtual tokens"):
            call()


def test_the_model_inside_a_prompt_tuned_one_is_scored_by_itself():
    model = adapted("PromptTuningConfig", num_virtual_tokens=4)
    assert_each_as_alone(model.get_base_model(), lambda: tiny_models.tiny("llama"), draw(9))


def test_somebodys_own_wrapper_counts():
    class Louder(torch.nn.Module):
        def __init__(self, inner, by):
            super().__init__()
            self.original_model, self.by = inner, by

        def forward(self, input_ids, **options):
            out = self.original_model(input_ids, **options)
            out.logits = out.logits * self.by
            return out

    rows = draw(9, 12)
    with pytest.raises(ScoringError, match="Louder .*other logits than the model inside"):
        score(Louder(tiny_models.tiny("llama"), 2.0), rows, start=None)
    assert_each_as_alone(Louder(tiny_models.tiny("llama"), 1.0), lambda: tiny_models.tiny("llama"), rows)


# -- models that look ahead
# ---------------------------------------------------------------------------------------------

AHEAD = {
    "bert": (
        lambda: T.BertForMaskedLM(T.BertConfig(**{k: v for k, v in SIZE.items() if k != "num_key_value_heads"})),
        "looks ahead",
    ),
    "llama, is_causal=False": (lambda: of(T.LlamaConfig, is_causal=False), "looks ahead"),
    "gemma3, both ways": (
        lambda: of(
            T.Gemma3TextConfig,
            head_dim=8,
            sliding_window=6,
            layer_types=["sliding_attention", "full_attention"],
            use_bidirectional_attention=True,
        ),
        "looks ahead",
    ),
    "t5": (
        lambda: T.T5ForConditionalGeneration(
            T.T5Config(vocab_size=V, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, decoder_start_token_id=0)
        ),
        "encoder with a decoder",
    ),
    "classifier": (
        lambda: T.LlamaForSequenceClassification(T.LlamaConfig(**SIZE)),
        r"output for 9 tokens has shape \(1, 2\)",
    ),
    "token classifier": (
        lambda: T.LlamaForTokenClassification(T.LlamaConfig(**SIZE)),
        r"output for 9 tokens has shape \(1, 9, 2\)",
    ),
    "no head": (lambda: T.LlamaModel(T.LlamaConfig(**SIZE)), "no next-token logits"),
}


@pytest.mark.parametrize("name", AHEAD)
def test_what_gives_no_log_likelihoods_is_refused(name):
    make, message = AHEAD[name]
    torch.manual_seed(0)
    model, rows = make().eval().requires_grad_(False), np.stack(draw(12, 12))
    for call in (lambda: score(model, rows, start=None), lambda: extract(model, Sequences(rows, prefix=4))):
        with pytest.raises(ScoringError, match=message):
            call()


def test_an_encoder_made_a_decoder_is_scored():
    def bert():
        torch.manual_seed(0)
        return T.BertLMHeadModel(
            T.BertConfig(**{k: v for k, v in SIZE.items() if k != "num_key_value_heads"}, is_decoder=True)
        ).eval()

    assert_each_as_alone(bert(), bert, draw(9, 14))


# -- whose hooks
# ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "do",
    [
        lambda m: m.run_with_cache(torch.tensor([[1, 2, 3]])),
        lambda m: m.original_model(torch.tensor([[1, 2, 3]]), output_hidden_states=True),
        lambda m: m.original_model(torch.tensor([[1, 2, 3]]), output_attentions=True),
    ],
    ids=["run_with_cache", "hidden states", "attentions"],
)
def test_hooks_that_transformers_leaves_are_not_the_persons(do):
    bridge = bridged(tiny_models.tiny("llama"))
    do(bridge)
    assert_each_as_alone(bridge, lambda: tiny_models.tiny("llama"), draw(9, 12))


def opt():
    torch.manual_seed(0)
    config = T.OPTConfig(
        vocab_size=V,
        hidden_size=32,
        num_hidden_layers=2,
        ffn_dim=48,
        num_attention_heads=4,
        max_position_embeddings=64,
        word_embed_proj_dim=32,
        init_std=0.3,
    )
    return T.OPTForCausalLM(config).eval().requires_grad_(False)


def test_hooks_of_a_bridge_are_not_the_persons_and_the_persons_still_are():
    bridge = bridged(opt())
    assert_each_as_alone(bridge, opt, draw(9, 12))
    hf = getattr(bridge, "original_model", bridge)
    handle = hf.model.decoder.layers[0].register_forward_hook(lambda *_: None)
    with pytest.raises(ScoringError, match="have hooks"):
        score(bridge, draw(9), start=None)
    handle.remove()
    if bridge is not hf:
        bridge.add_hook("blocks.0.hook_resid_pre", lambda x, hook: x * 0)
        with pytest.raises(ScoringError, match="have hooks"):
            score(bridge, draw(9), start=None)
        bridge.reset_hooks()
        assert_each_as_alone(bridge, opt, draw(9, 12))


def test_a_plain_copy_shares_its_weights_and_saved_buffers():
    bridge = bridged(deepseek())
    inner = plain(bridge)
    if inner is getattr(bridge, "original_model", bridge):
        return
    name = next(n for n, _ in inner.named_buffers() if n.endswith("e_score_correction_bias"))
    theirs = {causal.plain_name(n): b for n, b in bridge.original_model.named_buffers()}
    assert inner.get_buffer(name) is theirs[name]
    assert copy.deepcopy(inner).get_buffer(name) is not theirs[name]


# -- other callers
# -------------------------------------------------------------------------------------------------------


def test_losses_of_the_subspace_family_refuse_what_looks_ahead():
    from lens.subspace import SubspaceError, zero_out

    rows = np.stack(draw(12, 12))
    with pytest.raises(ScoringError, match="looks ahead"):
        zero_out(of(T.LlamaConfig, is_causal=False), rows, progress=False)
    with pytest.raises(SubspaceError, match="rows of 6 and of 20 tokens in one batch,.*longrope"):
        lens.subspace.slimming(longrope(), draw(6, 20), steps=1, progress=False)


def test_forgetting_counts_greedy_answers_of_each_prompt_as_alone():
    from lens.forgetting import ForgettingError, Probe
    from lens.forgetting.data import accuracy

    prompts = []
    for row in draw(4, 5, 20, 12, 6):
        ids = row.tolist()
        answer = int(longrope()(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())
        prompts.append((ids, [answer]))
    assert accuracy(longrope(), Probe("greedy", "new", prompts)).all()
    with pytest.raises(ForgettingError, match="rotary frequencies change"):
        accuracy(longrope(), Probe("across", "new", [(prompts[0][0], [1] * 6)]))
    with pytest.raises(ForgettingError, match="peft wrapper"):
        accuracy(adapted("PromptTuningConfig", num_virtual_tokens=4), Probe("tuned", "new", prompts))
    with pytest.raises(ScoringError, match="looks ahead"):
        accuracy(of(T.LlamaConfig, is_causal=False), Probe("ahead", "new", prompts))


def test_a_local_suspect_is_the_model_itself():
    from lens.provenance.suspects import LocalSuspect

    rows = draw(9, 12, 9)
    for got, row in zip(LocalSuspect(longrope()).prompt_logprobs(rows), rows):
        np.testing.assert_allclose(got, by_plain_forward(longrope(), row), atol=1e-4)
    with pytest.raises(ScoringError, match="virtual tokens"):
        LocalSuspect(adapted("PromptTuningConfig", num_virtual_tokens=4))


def test_a_model_that_is_made_to_look_ahead_after_a_first_look_is_refused():
    model = of(T.LlamaConfig)
    look_ahead.require_causal(model)
    for layer in model.model.layers:
        layer.self_attn.is_causal = False
    model.config.is_causal = False
    with pytest.raises(ScoringError, match="looks ahead"):
        look_ahead.require_causal(model)


def test_what_is_no_model_is_refused_by_name_before_anything_runs():
    model, logits = tiny_models.speaking(), torch.ones(1, 9, 4)
    refusals = [
        (lambda: causal.core("gpt2"), "^model='gpt2' does not fit; expected a Hugging Face causal"),
        (
            lambda: look_ahead.require_causal(torch.nn.Linear(1, 1)),
            "^model=.*expected a Hugging Face causal language model",
        ),
        (lambda: causal.settle(torch.nn.Linear(1, 1)), "^model=.*expected a Hugging Face causal language model"),
        (
            lambda: causal.probe(model, 10),
            "^change=10 does not fit; expected a whole number of at least 0 and at most 9",
        ),
        (lambda: causal.same(logits, [[1.0]], 0.1), "^b=.*expected a torch tensor of float values"),
        (lambda: causal.same(logits, logits, -1.0), "^close=-1.0 does not fit"),
        (lambda: look_ahead.refuse_ahead(model, logits[0], logits, 0.1), r"^before=.*axes \[batch token vocab\]"),
    ]
    for refused, said in refusals:
        with pytest.raises(ScoringError, match=said):
            refused()


def test_rounding_that_a_type_enlarges_is_no_look_ahead_and_a_small_look_is(monkeypatch):
    from tests.engine.test_steps import make

    model = make("minimax, linear first")
    before, after = (model(input_ids=causal.probe(model, n), use_cache=False).logits for n in (0, causal.CHANGED))
    gap = (before - after)[:, : -causal.CHANGED].abs().max() / before.abs().max()
    limit = look_ahead._ROUNDINGS * look_ahead._sensitivity(model)
    assert gap < limit < 1e-3
    look_ahead.refuse_ahead(model, before, after, 0.0)
    peeking = after.clone()
    peeking[:, 0, 0] += 2 * limit * float(before.abs().max())
    with pytest.raises(causal.ScoringError, match="looks ahead"):
        look_ahead.refuse_ahead(model, before, peeking, 1e-5)


def test_a_model_of_nan_is_refused_in_words_where_later_tokens_are_looked_at():
    from tests.engine.test_steps import make

    model = make("llama")
    model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(causal.ScoringError, match="gives NaN for token ids"):
        look_ahead.require_causal(model)
