"""Which share of a model's feed-forward weights "mlp" stands for is said wherever it is not all of them; routers are in
only where asked for.
"""

import re
import warnings

import pytest
import torch
import transformers as T

import lens
from lens.engine import experts
from lens.engine.linear import LinearError, linears
from lens.subspace import Mask, locate, output_layers
from tests import models as tiny_models

V = 97
G = dict(
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
FEW = dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=24, shared_expert_intermediate_size=24)
#: Mixtures with some linear layers: configuration, and what its routers are called.
PARTLY = {
    "qwen2_moe": (lambda: T.Qwen2MoeConfig(**G, **FEW), ("gate", "shared_expert_gate")),
    "deepseek_v3": (
        lambda: T.DeepseekV3Config(
            **{**G, "num_key_value_heads": 4},
            q_lora_rank=16,
            kv_lora_rank=12,
            qk_nope_head_dim=8,
            qk_rope_head_dim=4,
            v_head_dim=6,
            n_routed_experts=4,
            num_experts_per_tok=2,
            moe_intermediate_size=24,
            n_group=1,
            topk_group=1,
            first_k_dense_replace=1,
            n_shared_experts=1,
        ),
        ("gate",),
    ),
    "llama4": (
        lambda: T.Llama4TextConfig(**G, intermediate_size_mlp=48, num_local_experts=4, head_dim=8, moe_layers=[0, 1]),
        ("router",),
    ),
}
#: Mixtures whose feed-forward weights are all in fused experts.
WHOLLY = {
    "mixtral": lambda: T.MixtralConfig(**G, num_local_experts=4, num_experts_per_tok=2),
    "qwen3_moe": lambda: T.Qwen3MoeConfig(
        **G, head_dim=8, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=24
    ),
    "granitemoe": lambda: T.GraniteMoeConfig(**G, num_local_experts=4, num_experts_per_tok=2),
}


def make(config):
    torch.manual_seed(0)
    return T.AutoModelForCausalLM.from_config(config()).eval().requires_grad_(False)


def draw(rows, seed=0, length=20):
    return torch.randint(1, V, (rows, length), generator=torch.Generator().manual_seed(seed))


def share_by_hand(model, names):
    """Covered and all weights of the feed-forward blocks by their parameters, routers aside."""
    inside = {
        n: p.numel()
        for n, p in model.named_parameters()
        if re.search(r"\.(mlp|feed_forward)\.", n)
        and p.ndim > 1
        and not re.search(r"\.(gate|router|shared_expert_gate)\.", n)
    }
    return sum(size for n, size in inside.items() if n.removesuffix(".weight") in names) / sum(inside.values())


@pytest.fixture
def untold(monkeypatch):
    """Fused experts whose forward is not the one that is tried out."""
    monkeypatch.setattr(experts, "_differs", lambda *_: "its output is 0.3 off")


@pytest.mark.parametrize("kind", PARTLY)
@pytest.mark.parametrize("where", ["plain", "bridge"])
def test_the_share_is_said_and_routers_are_left_out(kind, where, untold):
    config, routers = PARTLY[kind]
    plain, model = make(config), make(config)
    if where == "bridge":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = lens.models.wrap(model, tiny_models.word_tokenizer(), kind)
    with pytest.warns(UserWarning, match=r"linear layers hold .* % of the feed-forward weights.*experts.*0.3 off"):
        found = linears(model, "mlp")
    assert found and not {name.rpartition(".")[2] for name in found} & set(routers)
    share = share_by_hand(plain, found)
    assert 0.05 < share < 0.7
    with pytest.warns(UserWarning) as told:
        mask = locate(model, draw(6), draw(8, 1), sparsity=0.06, per="layer", progress=False)
    assert any(f"{100 * share:.1f} %" in str(w.message) for w in told)
    assert mask.coverage == pytest.approx(share) and f"covers {100 * share:.1f} % of the feed-forward weights" in repr(
        mask
    )
    with pytest.warns(UserWarning):
        factors = lens.curvature.factors(model, "mlp", draw(2), progress=False)
    assert (
        f"covers {100 * share:.1f} %" in repr(factors)
        and factors.record["feed_forward_weights"] == mask.about["feed_forward_weights"]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        decomposition = lens.curvature.decompose(model, factors)
    assert f"covers {100 * share:.1f} %" in repr(decomposition)


def test_masks_made_of_masks_say_it_too(untold):
    model = make(PARTLY["deepseek_v3"][0])
    with pytest.warns(UserWarning):
        a, b = (locate(model, draw(6, s), draw(8, s + 1), sparsity=0.06, per="layer", progress=False) for s in (0, 5))
    assert (a | b).coverage == (a & b).coverage == a.coverage
    one = next(iter(a.shapes))
    assert a.only([one]).coverage == pytest.approx(
        a.coverage * (a.shapes[one][0] * a.shapes[one][1]) / sum(x * y for x, y in a.shapes.values())
    )
    assert Mask.of({"a.mlp.b": torch.ones(2, 2, dtype=torch.bool)}).coverage is None


@pytest.mark.parametrize("kind", WHOLLY)
def test_a_model_of_experts_alone_is_refused_by_their_name(kind, untold):
    for call in (
        lambda m: linears(m, "mlp"),
        lambda m: lens.curvature.factors(m, "mlp", draw(2), progress=False),
        lambda m: locate(m, draw(6), draw(8, 1), progress=False),
    ):
        with pytest.raises(LinearError, match=r"experts \(model\.layers\.\*\..*experts\.gate_up_proj.*0.3 off.*attn"):
            call(make(WHOLLY[kind]))
    with pytest.raises(LinearError, match=r"Experts that are none of them: model\.layers\.\*\..*experts: .*0.3 off"):
        linears(make(WHOLLY[kind]), "*.experts.1.down_proj")


@pytest.mark.parametrize("kind", (*PARTLY, *WHOLLY))
def test_experts_that_can_be_told_are_covered_whole_and_without_a_warning(kind):
    config = PARTLY[kind][0] if kind in PARTLY else WHOLLY[kind]
    model = make(config)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = linears(model, "mlp")
    weights = {
        n: p.numel()
        for n, p in model.named_parameters()
        if re.search(r"\.(mlp|feed_forward|block_sparse_moe)\.", n)
        and p.ndim > 1
        and not re.search(r"\.(gate|router|shared_expert_gate)\.", n)
    }
    assert sum(linear.weight.numel() for linear in found.values()) == sum(weights.values())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # experts that few tokens reach
        mask = locate(model, draw(30), draw(40, 1), sparsity=0.06, per="layer", progress=False)
    assert mask.coverage is None and "covers" not in repr(mask)


def test_what_is_asked_for_by_name_is_given_without_a_warning_and_recorded():
    model = make(PARTLY["qwen2_moe"][0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(linears(model, "*.0.mlp.shared_expert_gate")) == ["model.layers.0.mlp.shared_expert_gate"]
        mask = locate(
            model, draw(6), draw(8, 1), sparsity=0.06, per="layer", layers="*.1.mlp.shared_expert.*", progress=False
        )
    assert mask.coverage == pytest.approx(share_by_hand(model, [n for n in linears(model, "*.1.mlp.shared_expert.*")]))


def test_hidden_neurons_are_those_of_every_expert_and_of_the_shared_one(monkeypatch):
    shared = {f"model.layers.{i}.mlp.shared_expert.down_proj" for i in range(2)}
    assert set(output_layers(make(PARTLY["qwen2_moe"][0]))) == shared | {
        f"model.layers.{i}.mlp.experts.{e}.down_proj" for i in range(2) for e in range(4)
    }
    monkeypatch.setattr(experts, "_differs", lambda *_: "its output is 0.3 off")
    with pytest.warns(UserWarning):
        assert set(output_layers(make(PARTLY["qwen2_moe"][0]))) == shared


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gpt_neox"])
def test_dense_models_are_as_before(kind):
    from peft import LoraConfig, get_peft_model

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = linears(tiny_models.tiny(kind), "mlp")
        assert all(linear.feed_forward == 0 for linear in found.values())
        mask = locate(tiny_models.tiny(kind), draw(6), draw(8, 1), sparsity=0.06, per="layer", progress=False)
    assert mask.coverage is None and "feed-forward" not in repr(mask)
    if kind == "llama":
        adapted = get_peft_model(tiny_models.tiny(kind), LoraConfig(r=2, target_modules=["down_proj"]))
        with adapted.disable_adapter():
            assert all(linear.feed_forward == 0 for linear in linears(adapted.base_model.model, "mlp").values())


def test_a_router_whose_output_is_no_tensor_is_refused_by_name():
    model = make(PARTLY["llama4"][0])
    with pytest.raises(LinearError, match="feed_forward.router: this Llama4Router gives a tuple"):
        lens.curvature.factors(model, "*.router", draw(2), fisher="empirical", progress=False)
