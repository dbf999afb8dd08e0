"""Readers of weights under adapters: against the adapted model's own forward, against what each layer does, and against
matrices that peft merged.
"""

import copy
import functools

import numpy as np
import peft
import pytest
import torch
from torch import nn

import lens
from lens.engine.effective import LayerError, linear_bias, linear_map, norm_map, table
from lens.engine.errors import UnsupportedModel
from lens.engine.linear import LinearError, every_linear, linears
from lens.engine.walk.decoder import Decoder
from lens.engine.weights import WeightError, apply_weights
from lens.injection import bridge_reading
from lens.injection.memories import encode
from lens.models import wrap
from lens.readout.heads import copying_scores
from lens.readout.logit_attribution import direct_logit_attribution
from lens.readout.vocabulary import head_vocabulary
from lens.vectors.extraction import head_parts
from tests.models import tiny, word_tokenizer

IDS = torch.tensor([[3, 17, 5, 3, 80]])
PAIR = lens.Pair("w3 w17 w5 w3 w80", corrupted="w3 w17 w9 w3 w80", answer=" w11", foil=" w23")
TARGETS = {
    "llama": ["o_proj", "v_proj"],
    "qwen3": ["o_proj", "v_proj"],
    "olmo2": ["o_proj", "v_proj"],
    "gpt2": ["attn.c_proj", "c_attn"],
    "gpt_neox": ["dense", "query_key_value"],
}


def lora(kind, **options):
    return peft.LoraConfig(
        r=4, task_type="CAUSAL_LM", **{"target_modules": TARGETS[kind], "fan_in_fan_out": kind == "gpt2", **options}
    )


MANY = {
    "lora": lambda k: lora(k),
    "rslora": lambda k: lora(k, use_rslora=True, lora_alpha=3),
    "dora": lambda k: lora(k, use_dora=True),
    "lora_bias": lambda k: lora(k, lora_bias=True),
    "ia3": lambda k: peft.IA3Config(
        target_modules=TARGETS[k], feedforward_modules=TARGETS[k][:1], fan_in_fan_out=k == "gpt2", task_type="CAUSAL_LM"
    ),
    "vera": lambda k: peft.VeraConfig(
        r=4, target_modules=TARGETS[k], fan_in_fan_out=k == "gpt2", task_type="CAUSAL_LM"
    ),
}
LINEAR_ONLY = {
    "oft": lambda k: peft.OFTConfig(oft_block_size=8, target_modules=TARGETS[k]),
    # BOFT is one more such kind, but peft compiles an extension into the home folder for it
    "hra": lambda k: peft.HRAConfig(r=4, target_modules=TARGETS[k]),
    "miss": lambda k: peft.MissConfig(r=4, target_modules=TARGETS[k]),
    "loha": lambda k: peft.LoHaConfig(r=4, target_modules=TARGETS[k]),
    "lokr": lambda k: peft.LoKrConfig(r=4, target_modules=TARGETS[k]),
}
CASES = [(k, n) for k in ("llama", "gpt2", "gpt_neox", "olmo2") for n in MANY] + [("llama", n) for n in LINEAR_ONLY]


def shaken(model, seed=0, size=0.2):
    """The adapters moved away from where they change nothing."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in model.parameters():
            if value.requires_grad and value.is_floating_point():
                value.add_(torch.randn(value.shape, generator=generator) * size)
    return model


def adapted(kind, config, seed=0):
    model = shaken(peft.get_peft_model(tiny(kind), config)).eval()
    model.tokenizer = word_tokenizer()
    return model


@functools.cache
def made(kind, name):
    return adapted(kind, {**MANY, **LINEAR_ONLY}[name](kind))


def merged(model):
    plain = copy.deepcopy(model).merge_and_unload().eval()
    plain.tokenizer = word_tokenizer()
    return plain


@torch.no_grad()
def difference(model):
    logits = model(IDS).logits[0, -1]
    return float(logits[11] - logits[23])


def attentions(model):
    plain = model.get_base_model() if hasattr(model, "get_base_model") else model
    if hasattr(plain, "transformer"):
        return [block.attn.c_proj for block in plain.transformer.h]
    if hasattr(plain, "gpt_neox"):
        return [block.attention.dense for block in plain.gpt_neox.layers]
    return [block.self_attn.o_proj for block in plain.model.layers]


@torch.no_grad()
def by_head(model):
    """What every head adds at the last token, [layer, head, d_model]: its share of the projection's input through the
    projection itself.
    """
    inputs, out = {}, []
    hooks = [
        m.register_forward_pre_hook(lambda m, args, n=n: inputs.__setitem__(n, args[0][0, -1].clone()))
        for n, m in enumerate(attentions(model))
    ]
    model(IDS)
    for hook in hooks:
        hook.remove()
    for n, module in enumerate(attentions(model)):
        z = inputs[n].view(4, -1)
        alone = torch.zeros(5, *z.shape)
        alone[range(4), range(4)] = z
        y = module(alone.flatten(1))
        out.append(y[:4] - y[4:])
    return inputs, torch.stack(out)


def sums(found):
    return float(found.contribution.sum() + found.embed + found.bias)


@pytest.mark.parametrize("kind, name", CASES)
def test_parts_of_the_logit_difference_sum_to_the_adapted_models(kind, name):
    model = made(kind, name)
    moved = difference(model) - difference(tiny(kind))
    found = direct_logit_attribution(model, PAIR)
    assert (
        abs(moved) > 1e-2
        and sums(found) == pytest.approx(difference(model), abs=1e-4)
        and float(found.total) == pytest.approx(difference(model), abs=1e-4)
    )


@pytest.mark.parametrize("kind, name", [c for c in CASES if c[0] != "olmo2"])
def test_what_a_head_writes_is_what_its_projection_makes_of_it(kind, name):
    model = made(kind, name)
    inputs, written = by_head(model)
    z = torch.stack([inputs[n].view(4, -1) for n in range(3)])
    every = [(l, h) for l in range(3) for h in range(4)]
    torch.testing.assert_close(head_parts(model, z, every).view(3, 4, -1), written, atol=2e-5, rtol=1e-4)


#: peft merges a bias only where the layer has one.
MERGED = [(k, n) for k, n in CASES if n != "lora_bias" or k in ("gpt2", "gpt_neox")]


@pytest.mark.parametrize("kind, name", MERGED)
def test_circuits_are_those_of_the_merged_model(kind, name):
    model, plain = made(kind, name), merged(made(kind, name))
    torch.testing.assert_close(plain(IDS).logits, model(IDS).logits, atol=1e-4, rtol=1e-4)
    np.testing.assert_allclose(
        copying_scores(model).eigenvalue_score, copying_scores(plain).eigenvalue_score, atol=1e-4
    )
    np.testing.assert_allclose(
        copying_scores(model, method="top_k", tokens=["w5", "w30"]).hit_rate,
        copying_scores(plain, method="top_k", tokens=["w5", "w30"]).hit_rate,
    )
    for given in ({"text": "w5 w6 w7"}, {"tokens": [20, 30]}):
        ours, theirs = (head_vocabulary(m, 1, 2, **given) for m in (model, plain))
        np.testing.assert_allclose(ours.promoted, theirs.promoted, atol=1e-3)
        assert (ours.promoted_token.values == theirs.promoted_token.values).all()


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gpt_neox"])
def test_a_sweep_sees_an_adapter_that_was_trained_after_the_first(kind):
    model = peft.get_peft_model(tiny(kind), lora(kind)).eval()
    model.tokenizer = word_tokenizer()
    assert float(lens.patch(model, PAIR, "resid_pre", progress=False).clean) == pytest.approx(
        difference(model), abs=1e-4
    )
    before = difference(model)
    shaken(model)
    assert abs(difference(model) - before) > 1e-2
    found = lens.patch(model, PAIR, "resid_pre", progress=False)
    assert (
        float(found.clean) == pytest.approx(difference(model), abs=1e-4)
        and lens.record(found)["engine"]["name"] == "walk"
    )
    assert sums(direct_logit_attribution(model, PAIR)) == pytest.approx(difference(model), abs=1e-4)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_what_is_switched_or_scaled_is_read_as_it_is_now(kind):
    model = adapted(kind, lora(kind))
    model.add_adapter("second", lora(kind, use_rslora=True))
    model.set_adapter("second")
    shaken(model, seed=5)
    seen = set()

    def right():
        assert sums(direct_logit_attribution(model, PAIR)) == pytest.approx(difference(model), abs=1e-4)
        assert float(lens.patch(model, PAIR, "resid_pre", layers=[1], progress=False).clean) == pytest.approx(
            difference(model), abs=1e-4
        )
        seen.add(round(difference(model), 3))

    right()
    model.base_model.set_adapter(["default", "second"])
    right()
    for module in model.modules():
        if isinstance(module, peft.tuners.lora.LoraLayer):
            module.scaling["second"] *= 0.25
    right()
    with model.disable_adapter():
        right()
        assert difference(model) == pytest.approx(difference(tiny(kind)), abs=1e-5)
    model.base_model.set_adapter(["default"])
    right()
    model.merge_adapter()
    right()
    assert len(seen) == 5


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_adapters_in_place_and_behind_a_bridge(kind):
    plain = shaken(peft.inject_adapter_in_model(lora(kind, target_modules=TARGETS[kind][:1]), tiny(kind))).eval()
    plain.tokenizer = word_tokenizer()
    twin = copy.deepcopy(plain)
    bridge = wrap(copy.deepcopy(plain), word_tokenizer(), "adapted")
    for model in (plain, bridge):
        assert sums(direct_logit_attribution(model, PAIR)) == pytest.approx(difference(twin), abs=1e-4)
        np.testing.assert_allclose(
            copying_scores(model).eigenvalue_score, copying_scores(twin).eigenvalue_score, atol=1e-5
        )


@pytest.mark.parametrize(
    "kind, ends", [("llama", ["lm_head", "embed_tokens"]), ("gpt_neox", ["embed_out", "embed_in"])]
)
def test_an_adapted_unembedding_and_embedding(kind, ends):
    model = adapted(kind, lora(kind, target_modules=ends))
    plain = merged(model)
    torch.testing.assert_close(plain(IDS).logits, model(IDS).logits, atol=1e-4, rtol=1e-4)
    assert abs(difference(model) - difference(tiny(kind))) > 1e-2
    assert sums(direct_logit_attribution(model, PAIR)) == pytest.approx(difference(model), abs=1e-4)
    for metric in ("logit_diff", "logprob", "rank", "kl"):
        ours, theirs = (lens.patch(m, PAIR, "resid_pre", metric=metric, progress=False).value for m in (model, plain))
        np.testing.assert_allclose(ours, theirs, atol=2e-4)
    for encoder in ("unembed", "embed"):
        torch.testing.assert_close(
            encode(model, "w20 w21", encoder).vectors, encode(plain, "w20 w21", encoder).vectors, atol=1e-4, rtol=1e-4
        )
    np.testing.assert_allclose(
        copying_scores(model).eigenvalue_score, copying_scores(plain).eigenvalue_score, atol=1e-4
    )
    item = lens.injection.Item("w3 w4 w5 w6", answer=" w7", memory="w20", explicit="w20 w5 w6")
    ours, theirs = (bridge_reading(m, [item], progress=False) for m in (model, plain))
    np.testing.assert_allclose(ours.score, theirs.score, atol=1e-3)
    head, rows = Decoder.of(model), Decoder.of(plain)
    from lens.engine.metrics import next_token
    from lens.vectors.mediation import first_logprob

    x = torch.randn(6, 32, generator=torch.Generator().manual_seed(0))
    for ours, theirs in zip(next_token(head, x, torch.arange(6)), next_token(rows, x, torch.arange(6))):
        torch.testing.assert_close(ours.float(), theirs.float(), atol=1e-4, rtol=1e-4)

    class Asked:
        answer_ids = (11,)

    torch.testing.assert_close(
        first_logprob(head, [x[:, None]], Asked), first_logprob(rows, [x[:, None]], Asked), atol=1e-4, rtol=1e-4
    )


def test_an_adapter_on_an_unembedding_that_shares_the_embeddings_weight():
    model = adapted("gpt2", lora("gpt2", target_modules=["lm_head"], fan_in_fan_out=False))
    assert abs(difference(model) - difference(tiny("gpt2"))) > 1e-2
    assert sums(direct_logit_attribution(model, PAIR)) == pytest.approx(difference(model), abs=1e-4)
    assert float(lens.patch(model, PAIR, "resid_pre", progress=False).clean) == pytest.approx(
        difference(model), abs=1e-4
    )


def test_a_head_and_a_norm_that_were_trained_whole():
    model = adapted("llama", lora("llama", modules_to_save=["lm_head", "norm", "input_layernorm"]))
    plain = merged(model)
    assert sums(direct_logit_attribution(model, PAIR)) == pytest.approx(difference(model), abs=1e-4)
    np.testing.assert_allclose(
        copying_scores(model).eigenvalue_score, copying_scores(plain).eigenvalue_score, atol=1e-4
    )
    tuned = adapted("gpt2", peft.LNTuningConfig(target_modules=["ln_1", "ln_f"], task_type="CAUSAL_LM"))
    assert (
        sums(direct_logit_attribution(tuned, PAIR))
        == pytest.approx(difference(tuned), abs=1e-4)
        != pytest.approx(difference(tiny("gpt2")), abs=1e-2)
    )
    torch.testing.assert_close(encode(tuned, "w20", "unembed").vectors, encode(merged(tuned), "w20", "unembed").vectors)


def test_half_precision_reads_the_map_of_the_parameters():
    double = adapted("llama", lora("llama", use_dora=True)).to(torch.bfloat16)
    exact = copy.deepcopy(double).to(torch.float64)
    module = attentions(double)[1]
    weight, bias = linear_map(module)
    want = attentions(exact)[1](torch.eye(32, dtype=torch.float64)).T
    assert weight.dtype == torch.float32 and bias is None
    torch.testing.assert_close(weight.double(), want, atol=1e-5, rtol=1e-4)


def test_plain_layers_hand_out_their_own_parameters():
    model = tiny("llama")
    module = model.model.layers[0].self_attn.o_proj
    assert (
        linear_map(module)[0] is module.weight
        and linear_bias(module) is None
        and table(model.model.embed_tokens) is model.model.embed_tokens.weight
    )
    conv = tiny("gpt2").transformer.h[0].attn.c_attn
    assert linear_map(conv)[0].data_ptr() == conv.weight.data_ptr() and linear_map(conv)[0].shape == (96, 32)


class Bent(nn.Linear):
    def forward(self, x):
        return super().forward(x).relu()


def test_a_layer_without_a_fixed_weight_is_refused():
    with pytest.raises(LayerError, match="my layer.*Bent applies no fixed weight"):
        linear_map(Bent(6, 4), "my layer")
    norm = nn.Sequential(nn.LayerNorm(6))
    norm.base_layer = norm[0]
    assert norm_map(norm)[0]
    norm.append(nn.Tanh())
    with pytest.raises(LayerError, match="applies no fixed weight"):
        norm_map(norm)
    changed = nn.Linear(6, 4)
    changed.forward = lambda x: nn.functional.linear(x, changed.weight * 2, changed.bias)
    torch.testing.assert_close(linear_map(changed)[0], changed.weight.detach() * 2)


def test_wrappers_that_do_more_than_their_layers_are_not_walked():
    begins = adapted("llama", lora("llama", alora_invocation_tokens=[5]))
    with pytest.warns(UserWarning, match="full forward"):
        found = lens.patch(begins, PAIR, "resid_pre", progress=False)
    assert (
        float(found.clean) == pytest.approx(difference(begins), abs=1e-5)
        and lens.record(found)["engine"]["name"] == "hooks"
    )
    for kind in ("llama", "gpt2"):
        virtual = adapted(kind, peft.PromptTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM"))
        with pytest.raises(UnsupportedModel, match="PROMPT_TUNING"):
            direct_logit_attribution(virtual, PAIR)
    mixing = adapted("llama", peft.LilyConfig(r=4, target_modules=TARGETS["llama"]))
    with pytest.raises(UnsupportedModel, match="Lily.*depends on what else is in the batch"):
        lens.patch(mixing, PAIR, "resid_pre", progress=False)


def test_edits_of_weights_stay_off_layers_with_an_adapter_in_force():
    model = peft.inject_adapter_in_model(lora("llama", target_modules=["up_proj"]), tiny("llama")).eval()
    every = every_linear(model)
    assert (
        set(every) == set(every_linear(tiny("llama"))) and every["model.layers.0.mlp.up_proj"].adapter == "lora.Linear"
    )
    assert not every["model.layers.0.mlp.down_proj"].adapter and set(linears(model, "*.down_proj"))
    with pytest.raises(LinearError, match=r"model.layers.0.mlp.up_proj: an adapter \(lora.Linear\) is in force"):
        linears(model, "mlp")
    new = {"model.layers.0.mlp.up_proj": torch.zeros(48, 32)}
    with pytest.raises(WeightError, match="an adapter .* is in force on this layer"):
        apply_weights(model, new)
    other = {"model.layers.0.mlp.down_proj": torch.zeros(32, 48)}
    apply_weights(model, other).undo()
    for quiet in ("merge", "disable"):
        for module in model.modules():
            if isinstance(module, peft.tuners.lora.LoraLayer):
                module.merge() if quiet == "merge" else (module.unmerge(), module.enable_adapters(False))
        base = model.model.layers[0].mlp.up_proj.base_layer.weight
        undo = apply_weights(model, new)
        assert not base.any() and not model.model.layers[0].mlp.up_proj(torch.ones(1, 32)).any()
        undo.undo()
    plain, whole = (
        tiny("llama"),
        peft.get_peft_model(
            tiny("llama"), peft.VeraConfig(r=4, target_modules=["up_proj"], modules_to_save=["down_proj"])
        ),
    )
    assert set(every_linear(whole)) == set(every_linear(plain))
    assert (
        every_linear(whole)["model.layers.1.mlp.down_proj"].module
        is whole.get_base_model().model.layers[1].mlp.down_proj.modules_to_save["default"]
    )
