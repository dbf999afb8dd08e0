"""Mixtures of experts in the walk: routing, experts that no token reaches, mixed layers, adapters, what is refused."""

import peft
import pytest
import torch
import transformers
from torch import nn

import lens
from lens.engine.edits import Edit
from lens.engine.errors import RunError, UnsupportedModel
from lens.engine.gradients import site_gradients
from lens.engine.runs import Runs
from lens.engine.sites import Site, SiteError
from lens.engine.walk.decoder import Decoder
from lens.engine.walk.rows import walk
from tests import kinds, naive
from tests.kinds import MIXTURES
from tests.models import word_tokenizer

IDS = torch.tensor([3, 17, 5, 60, 80, 41, 9, 33, 2, 71, 28, 54])
TOLERANCE = 1e-5


def sparse(decoder):
    """The first block with a mixture of experts."""
    return next((l, block) for l, block in enumerate(decoder.blocks) if block.experts is not None)


def logits_of(model, ids=IDS):
    run = Runs.record(model, [ids])
    return run.decoder.unembed(run.resid[-1])


def close(ours, theirs):
    assert (ours - theirs).abs().max() <= TOLERANCE * theirs.abs().max().clamp(min=1)


@pytest.mark.parametrize("name", MIXTURES)
def test_router_weights_and_what_each_expert_adds_are_the_models(name):
    """Expert by expert against the model's own module with all other weights at zero: some tokens reach an expert, and
    of one token some experts are not reached.
    """
    model = kinds.make(name)
    decoder = Decoder.of(model)
    layer, block = sparse(decoder)
    x, module = torch.randn(12, 32, generator=torch.Generator().manual_seed(4)), model.model.layers[layer].mlp
    router = getattr(module, "router", None) or module.gate
    _, scores, chosen = router(x)
    seen = {}
    out = block.experts(x, lambda site, t: seen.setdefault(site, t))
    whole = module(x[None])
    close(out, (whole[0] if isinstance(whole, tuple) else whole)[0])
    weights = seen.pop("router")
    assert not seen and weights.shape == (12, block.experts.n_experts)
    assert torch.equal(weights.gather(1, chosen), scores) and torch.equal(
        (weights != 0).sum(1), torch.full((12,), block.experts.top_k)
    )
    reached = set()
    for expert, tokens, added in block.experts.parts(x, weights):
        reached.add(expert)
        assert torch.equal(tokens, (chosen == expert).any(1).nonzero()[:, 0])
        alone = torch.where(chosen[tokens] == expert, scores[tokens], 0.0)
        close(added, module.experts(x[tokens], chosen[tokens], alone))
    assert reached == set(range(block.experts.n_experts))
    few = {expert for expert, *_ in block.experts.parts(x[:1], weights[:1])}
    assert few == set(chosen[0].tolist()) and len(few) < block.experts.n_experts


@pytest.mark.parametrize("name", MIXTURES)
def test_experts_that_no_token_reaches_and_routers_that_tie(name):
    model = kinds.make(name)
    layer, block = sparse(Decoder.of(model))
    router = getattr(model.model.layers[layer].mlp, "router", None) or model.model.layers[layer].mlp.gate
    router.weight.zero_()
    if getattr(router, "bias", None) is not None:
        router.bias.zero_()
    close(logits_of(model), model(IDS[None]).logits[0])
    weights = block.experts.route(torch.randn(5, 32))
    assert ((weights != 0).sum(0) > 0).sum() == block.experts.top_k, "all tokens go the same way"


@pytest.mark.parametrize("name", MIXTURES)
def test_nan_in_one_expert_is_named_though_no_token_of_the_probe_reaches_it(name):
    model = kinds.make(name)
    layer, block = sparse(Decoder.of(model))
    mlp, reached = model.model.layers[layer].mlp, []
    handle = mlp.experts.register_forward_pre_hook(lambda m, args: reached.append(args[1]))
    probe = torch.randint(0, 97, (9,), generator=torch.Generator().manual_seed(0))
    model(probe[None])
    handle.remove()
    spared = set(range(block.experts.n_experts)) - set(reached[0].flatten().tolist()) or {0}
    mlp.experts.down_proj[min(spared), 0, 0] = float("nan")
    del model.__dict__["_mnemoscope_decoder"]
    with pytest.raises(RunError, match="not finite.*parameter .*experts.down_proj' holds NaN"):
        Decoder.of(model)


@pytest.mark.parametrize("name", MIXTURES)
def test_a_mixture_has_no_neurons_and_says_so(name):
    model = kinds.make(name)
    decoder = Decoder.of(model)
    layer, block = sparse(decoder)
    run = Runs.record(model, [IDS], keep=("neuron", "mlp_out"))
    said = f"site 'neuron' does not exist in layer {layer}: its MLP is a mixture of experts"
    with pytest.raises(SiteError, match=said):
        walk(run, [(0, [Edit(Site("neuron", layer), "zero")])], [[-1 % len(IDS)]])
    with pytest.raises(SiteError, match=said):
        run.get("neuron", layer)
    if any(b.d_mlp for b in decoder.blocks):
        found = site_gradients(decoder, [run], [run.embedded], "neuron", lambda finals: finals[0].sum())[0]
        assert [len(g) > 0 for g in found] == [b.d_mlp is not None for b in decoder.blocks]
    else:
        with pytest.raises(SiteError, match=said):
            site_gradients(decoder, [run], [run.embedded], "neuron", lambda finals: finals[0].sum())
    with pytest.raises(SiteError, match=said), torch.no_grad():
        model.tokenizer = word_tokenizer()
        lens.patch(model, lens.Pair("w3 w4 w5", corrupted="w3 w6 w5", answer=" w7", foil=" w8"), "neuron")
    assert decoder.d_mlp >= block.experts.top_k * block.experts.d_expert


@pytest.mark.parametrize("name", ["qwen3_moe", "qwen3_moe_sparse"])
def test_the_plain_layers_of_a_mixed_model_have_neurons(name):
    model, copy = kinds.make(name), kinds.make(name, "naive")
    run = Runs.record(model, [IDS], keep=("neuron",))
    for layer, block in enumerate(run.decoder.blocks):
        if block.experts is None:
            assert block.d_mlp == 48
            close(run.get("neuron", layer), naive.activation(copy, IDS, "neuron", layer))
            edit = Edit(Site("neuron", layer, position=7, neuron=[3, 40]), "scale", scale=-2.0)
            want = naive.forward(copy, IDS, [("neuron", layer, naive.changed(edit, None))])
            close(run.decoder.unembed(walk(run, [(0, [edit])], [[11]]).resid[0]), want[11])


@pytest.mark.parametrize("name", ["phi3", "gemma2", "gemma3", "olmo3", *MIXTURES])
def test_adapters_on_linear_layers_are_walked(name):
    plain = kinds.make(name)
    targets = [n for n, m in plain.named_modules() if isinstance(m, nn.Linear) and ".layers." in n]
    config = peft.LoraConfig(r=4, task_type="CAUSAL_LM", target_modules=targets, init_lora_weights=False)
    adapted = peft.get_peft_model(plain, config).eval()
    want = adapted(IDS[None]).logits[0]
    close(logits_of(adapted), want)
    assert (want - kinds.make(name)(IDS[None]).logits[0]).abs().max() > 1e-2
    with adapted.disable_adapter():
        close(logits_of(adapted), kinds.make(name)(IDS[None]).logits[0])


@pytest.mark.parametrize("name", ["qwen3_moe", "mixtral", "gpt_oss"])
def test_adapters_on_experts_and_router_are_applied(name):
    plain = kinds.make(name)
    layer, _ = sparse(Decoder.of(plain))
    router = "router" if name == "gpt_oss" else "gate"
    config = peft.LoraConfig(
        r=4,
        task_type="CAUSAL_LM",
        target_modules=["q_proj"],
        target_parameters=[
            f"{layer}.mlp.experts.gate_up_proj",
            f"{layer}.mlp.experts.down_proj",
            f"{layer}.mlp.{router}.weight",
        ],
        init_lora_weights=False,
    )
    adapted = peft.get_peft_model(plain, config).eval()
    want = adapted(IDS[None]).logits[0]
    assert type(adapted.get_base_model().model.layers[layer].mlp.experts).__module__.startswith("peft.")
    close(logits_of(adapted), want)
    assert (want - kinds.make(name)(IDS[None]).logits[0]).abs().max() > 1e-2


@pytest.mark.parametrize("name", ["gemma2", "phi3", *MIXTURES])
def test_weights_changed_in_place_are_what_is_walked(name):
    model = kinds.make(name)
    before = logits_of(model)
    for parameter in model.parameters():
        parameter.mul_(1.3)
    want = model(IDS[None]).logits[0]
    close(logits_of(model), want)
    assert (want - before).abs().max() > 1e-2


def test_a_block_of_an_unknown_kind_among_the_others_is_refused():
    model = kinds.make("mixtral")

    class Other(type(model.model.layers[1].mlp)):
        def forward(self, x):
            return 0.5 * super().forward(x)

    model.model.layers[1].mlp.__class__ = Other
    with pytest.raises(UnsupportedModel, match="differ from the model"):
        Decoder.of(model)
    model = kinds.make("gemma3")
    model.model.layers[2].mlp = nn.Identity()
    with pytest.raises(UnsupportedModel, match="not built as expected"):
        Decoder.of(model)
    model = kinds.make("gemma2")
    model.config.layer_types = ["sliding_attention", "chunked_attention", "full_attention"]
    with pytest.raises(UnsupportedModel, match="chunked_attention"):
        Decoder.of(model)


def test_an_expert_that_computes_something_else_is_found_though_no_token_of_the_probe_reaches_it():
    model = kinds.make("olmoe")
    module = model.model.layers[1].mlp.experts

    class Other(type(module)):
        def forward(self, x, chosen, weights):
            return super().forward(x, chosen, torch.where(chosen == 5, 2 * weights, weights))

    module.__class__ = Other
    model.model.layers[1].mlp.gate.weight[5] = (
        0  # with a softmax over 6 experts of which 2 are taken, never the largest
    )
    model.model.layers[1].mlp.gate.weight[:5] = torch.eye(5, 32) * 10
    with pytest.raises(UnsupportedModel, match="differ from the model"):
        Decoder.of(model)


@pytest.mark.parametrize("kind", ["longrope", "dynamic"])
def test_rotary_tables_that_depend_on_the_length_are_refused_in_any_layer_type(kind):
    model = kinds.make("gemma3")
    model.config.rope_parameters = {
        **kinds.ROPES,
        "full_attention": {**kinds.ROPES["full_attention"], "rope_type": kind},
    }
    with pytest.raises(UnsupportedModel, match=f"rope_type='{kind}' depends on the length"):
        Decoder.of(model)
    long = transformers.Phi3Config(
        **kinds.SIZE,
        original_max_position_embeddings=8,
        rope_parameters={
            "rope_type": "longrope",
            "rope_theta": 10000.0,
            "original_max_position_embeddings": 8,
            "short_factor": [1.0] * 4,
            "long_factor": [3.0, 5.0, 7.0, 9.0],
        },
    )
    with pytest.raises(UnsupportedModel, match="longrope"):
        Decoder.of(transformers.Phi3ForCausalLM(long).eval())
