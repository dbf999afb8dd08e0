"""Fused projections behind a bridge: an edit of the model's matrix or of one of the copies that the bridge runs reaches
both, and is undone bit for bit.
"""

import pytest
import torch
import transformers

import lens
from lens import models
from lens.engine.linear import linears
from lens.engine.weights import WeightError, apply_weights, edited_weights
from lens.models import fused as fused_module
from tests.models import tiny, word_tokenizer

SIZE = dict(
    vocab_size=97,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=48,
    max_position_embeddings=64,
    initializer_range=0.3,
    bos_token_id=0,
    eos_token_id=0,
    pad_token_id=0,
)
IDS = torch.tensor([[5, 9, 13, 17, 21]])
PAIR = lens.Pair("w5 w9 w13 w17 w21", corrupted="w5 w9 w30 w17 w21", answer=" w11", foil=" w23")


def phi3():
    torch.manual_seed(0)
    return (
        transformers.Phi3ForCausalLM(transformers.Phi3Config(**SIZE, num_key_value_heads=2))
        .eval()
        .requires_grad_(False)
    )


def bloom():
    torch.manual_seed(0)
    return (
        transformers.BloomForCausalLM(
            transformers.BloomConfig(
                vocab_size=97,
                hidden_size=32,
                n_layer=2,
                n_head=4,
                initializer_range=0.3,
                bos_token_id=0,
                eos_token_id=0,
            )
        )
        .eval()
        .requires_grad_(False)
    )


#: how to make it; the fused layer; its weight as [out, in]; parts: name -> the rows of the fused weight that it holds,
#: by the modelling files
PER_HEAD = torch.arange(96).view(4, 3, 8)
CASES = {
    "gpt_neox": (
        lambda: tiny("gpt_neox"),
        "gpt_neox.layers.1.attention.query_key_value",
        {p: PER_HEAD[:, i].flatten() for i, p in enumerate("qkv")},
    ),
    "bloom": (
        bloom,
        "transformer.h.1.self_attention.query_key_value",
        {p: PER_HEAD[:, i].flatten() for i, p in enumerate("qkv")},
    ),
    "gpt2": (
        lambda: tiny("gpt2"),
        "transformer.h.1.attn.c_attn",
        {p: torch.arange(32 * i, 32 * i + 32) for i, p in enumerate("qkv")},
    ),
    "phi3": (
        phi3,
        "model.layers.1.self_attn.qkv_proj",
        {"q": torch.arange(32), "k": torch.arange(32, 48), "v": torch.arange(48, 64)},
    ),
    "phi3 mlp": (phi3, "model.layers.1.mlp.gate_up_proj", {"gate": torch.arange(48), "in": torch.arange(48, 96)}),
}


def made(kind):
    make, name, parts = CASES[kind]
    return models.wrap(make(), word_tokenizer(), "tiny"), make(), name, parts


def difference(model):
    with torch.no_grad():
        out = model(IDS)
    last = getattr(out, "logits", out)[0, -1]
    return float(last[11] - last[23])


@pytest.mark.parametrize("swept", [False, True])
@pytest.mark.parametrize("kind", CASES)
def test_an_edit_of_the_fused_layer_or_of_a_part_reaches_everything(kind, swept):
    bridge, plain, name, parts = made(kind)
    if swept:
        lens.patch(bridge, PAIR, "resid_pre", progress=False)
    before = {key: value.clone() for key, value in bridge.original_model.named_parameters()}
    clean_hash, random = models.weight_hash(bridge), torch.Generator().manual_seed(1)
    stem = name.rsplit(".", 1)[0]
    for layer, rows in {
        name: torch.arange(sum(map(len, parts.values()))),
        **{f"{stem}.{part}": rows for part, rows in parts.items()},
    }.items():
        new = torch.randn(len(rows), 32, generator=random) * 0.3
        reference = linears(plain, name)[name]
        kept = reference.weight.clone()
        reference.weight[rows] = new
        want, want_hash = difference(plain), models.weight_hash(plain)
        with edited_weights(bridge, {layer: new}):
            assert difference(bridge) == pytest.approx(want, abs=1e-4), layer
            assert float(lens.patch(bridge, PAIR, "resid_pre", progress=False).clean) == pytest.approx(
                want, abs=1e-4
            ), layer
            assert models.weight_hash(bridge) == want_hash, layer
        reference.weight.copy_(kept)
        assert abs(want - difference(plain)) > 1e-2  # the edit does something
        assert all(torch.equal(value, before[key]) for key, value in bridge.original_model.named_parameters()), layer
        assert models.weight_hash(bridge) == clean_hash == models.weight_hash(plain)
    assert difference(bridge) == pytest.approx(difference(plain), abs=1e-4)


@pytest.mark.parametrize("kind", ["gpt_neox", "gpt2"])
def test_two_parts_may_be_edited_at_once_and_undone_in_any_order(kind):
    bridge, plain, name, parts = made(kind)
    stem, before = (
        name.rsplit(".", 1)[0],
        {key: value.clone() for key, value in bridge.original_model.named_parameters()},
    )
    first, second = (apply_weights(bridge, {f"{stem}.{part}": torch.zeros(32, 32)}) for part in "qv")
    for part in "qv":
        linears(plain, name)[name].weight[parts[part]] = 0
    assert difference(bridge) == pytest.approx(difference(plain), abs=1e-4)
    assert torch.equal(linears(bridge, name)[name].weight, linears(plain, name)[name].weight)
    first.undo()
    second.undo()
    assert all(torch.equal(value, before[key]) for key, value in bridge.original_model.named_parameters())


def test_a_layer_and_its_part_are_not_edited_twice():
    bridge, _, name, _ = made("gpt_neox")
    part = name.rsplit(".", 1)[0] + ".q"
    whole, some = {name: torch.zeros(96, 32)}, {part: torch.zeros(32, 32)}
    with pytest.raises(WeightError, match="one is a part of the other"):
        apply_weights(bridge, whole | some)
    for first, second in ((whole, some), (some, whole)):
        with edited_weights(bridge, first), pytest.raises(WeightError, match="in force on this layer already"):
            apply_weights(bridge, second)


def test_a_split_that_cannot_be_followed_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(fused_module, "_followed", lambda *args: None)
    bridge, _, name, _ = made("gpt_neox")
    for layer in (name, name.rsplit(".", 1)[0] + ".q"):
        with pytest.raises(WeightError, match=f"{layer}: the bridge runs copies.*edit the plain"):
            apply_weights(bridge, {layer: torch.zeros_like(linears(bridge, layer)[layer].weight)})
    # what is not fused is edited as ever
    with edited_weights(bridge, {"gpt_neox.layers.1.attention.dense": torch.zeros(32, 32)}):
        pass


def test_a_bridges_layers_have_the_plain_models_names():
    for kind in CASES:
        bridge, plain, name, _ = made(kind)
        assert set(linears(plain, "*")) <= set(linears(bridge, "*")), kind
        assert torch.equal(linears(bridge, name)[name].weight, linears(plain, name)[name].weight)


def test_a_part_changed_by_hand_is_another_model_to_the_hash():
    bridge, plain, name, _ = made("gpt_neox")
    part = linears(bridge, name.rsplit(".", 1)[0] + ".q")[name.rsplit(".", 1)[0] + ".q"]
    part.module.weight.add_(1.0)
    assert models.weight_hash(bridge) != models.weight_hash(plain)
    part.module.weight.copy_(linears(plain, name)[name].weight[PER_HEAD[:, 0].flatten()])
    assert models.weight_hash(bridge) == models.weight_hash(plain)
