"""Modules that write into the residual stream, found in low precision and beside a very large activation."""

import pytest
import torch
import transformers as T

import lens
from lens import Edit, Site
from lens.engine.anatomy import Anatomy

_SIZE = dict(
    vocab_size=97,
    hidden_size=32,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=48,
    max_position_embeddings=64,
    initializer_range=0.3,
    bos_token_id=0,
    eos_token_id=0,
    pad_token_id=0,
)
_POST = ("post_attention_layernorm", "post_feedforward_layernorm")
#: kind -> the model, and the modules whose outputs are added to the stream, from the modelling files
POST_NORM = {
    "olmo2": (lambda: T.Olmo2ForCausalLM(T.Olmo2Config(**_SIZE)), *_POST),
    "exaone4": (
        lambda: T.Exaone4ForCausalLM(T.Exaone4Config(**_SIZE, sliding_window=6, sliding_window_pattern=2)),
        *_POST,
    ),
    "gemma2": (
        lambda: T.Gemma2ForCausalLM(T.Gemma2Config(**_SIZE, head_dim=16, sliding_window=6, query_pre_attn_scalar=10)),
        *_POST,
    ),
    "gemma3": (
        lambda: T.Gemma3ForCausalLM(
            T.Gemma3TextConfig(**_SIZE, head_dim=16, sliding_window=6, query_pre_attn_scalar=10)
        ),
        *_POST,
    ),
    "glm4": (
        lambda: T.Glm4ForCausalLM(T.Glm4Config(**_SIZE, head_dim=8)),
        "post_self_attn_layernorm",
        "post_mlp_layernorm",
    ),
    "llama": (lambda: T.LlamaForCausalLM(T.LlamaConfig(**_SIZE)), "self_attn", "mlp"),
    "granite": (lambda: T.GraniteForCausalLM(T.GraniteConfig(**_SIZE, residual_multiplier=0.4)), "self_attn", "mlp"),
}
IDS = torch.tensor([[5, 17, 3, 88, 41, 9, 60]])


def make(kind, dtype, fresh_norms=False):
    torch.manual_seed(0)
    model = POST_NORM[kind][0]().eval().requires_grad_(False)
    if not fresh_norms:
        for p in model.parameters():
            if p.ndim == 1:
                p.add_(torch.randn_like(p) * 0.2)
    model.model.embed_tokens.weight[:, 3] += 20  # one large dimension, as trained models have
    return model.to(dtype)


@pytest.mark.parametrize("fresh_norms", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("kind", POST_NORM)
def test_what_a_block_adds_is_found_in_every_precision(kind, dtype, fresh_norms):
    model, anatomy = (m := make(kind, dtype, fresh_norms)), Anatomy.of(m)
    scale = 0.4 if kind == "granite" else 1.0
    for layer, block in enumerate(model.model.layers):
        for site, name in zip(("attn_out", "mlp_out"), POST_NORM[kind][1:]):
            place = anatomy.require(site, layer)
            assert place.module is block.get_submodule(name) and place.scale == scale, (layer, site)
        assert anatomy.has("z", layer) and anatomy.has("neuron", layer)


@pytest.mark.parametrize("kind", ["olmo2", "glm4"])
def test_an_edit_in_bfloat16_is_that_of_a_hook_behind_the_norm(kind):
    model, plain, push = make(kind, torch.bfloat16), make(kind, torch.bfloat16), torch.ones(32)
    with torch.no_grad():
        base = plain(IDS).logits.float()
        for layer in range(4):
            for site, name in (
                ("attn_out", POST_NORM[kind][1]),
                ("resid_mid", POST_NORM[kind][1]),
                ("mlp_out", POST_NORM[kind][2]),
            ):
                handle = (
                    plain.model.layers[layer]
                    .get_submodule(name)
                    .register_forward_hook(lambda m, args, out: out + push.to(out))
                )
                want = plain(IDS).logits.float()
                handle.remove()
                with lens.edited(model, Edit(Site(site, layer), "add", push)):
                    got = model(IDS).logits.float()
                assert (got - want).abs().max() <= 0.1 * (want - base).abs().max(), (layer, site)


class _Blind(torch.nn.Module):
    """A block that adds what its parts return to the tenth part: no two of them are what is added but by a factor of
    their own each.
    """

    def __init__(self, block):
        super().__init__()
        self.self_attn, self.mlp, self.input_layernorm, self.post_attention_layernorm = (
            block.self_attn,
            block.mlp,
            block.input_layernorm,
            block.post_attention_layernorm,
        )

    def forward(self, hidden_states, **kwargs):
        out = hidden_states + 1e-3 * self.self_attn(hidden_states=self.input_layernorm(hidden_states), **kwargs)[0]
        return out + 2e-3 * self.mlp(self.post_attention_layernorm(out))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_parts_too_small_to_be_seen_are_not_taken_for_what_is_added(dtype):
    model = make("llama", torch.float32)
    for l, block in enumerate(model.model.layers):
        model.model.layers[l] = _Blind(block)
    model.model.embed_tokens.weight.mul_(1000)
    anatomy = Anatomy.of(model.to(dtype))
    assert not any(anatomy.has(site, layer) for site in ("attn_out", "mlp_out") for layer in range(4))
    assert all(anatomy.has("resid_pre", layer) for layer in range(4))


@pytest.mark.parametrize("depth", [2, 4])
def test_the_blocks_of_a_model_that_sees_are_those_of_its_text_however_many_its_vision_has(depth):
    torch.manual_seed(0)
    vision = T.CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=depth,
        num_attention_heads=2,
        image_size=16,
        patch_size=4,
    )
    model = (
        T.LlavaForConditionalGeneration(
            T.LlavaConfig(vision_config=vision, text_config=T.LlamaConfig(**_SIZE), image_token_index=90)
        )
        .eval()
        .requires_grad_(False)
    )
    blocks, push = model.model.language_model.layers, torch.randn(32)
    assert Anatomy.of(model).layers == list(blocks)
    with torch.no_grad(), lens.edited(model, Edit(Site("attn_out", 1, position=2), "add", push)):
        got = model(IDS).logits
    handle = blocks[1].self_attn.register_forward_hook(
        lambda m, args, out: (out[0] + push * (torch.arange(7) == 2)[:, None], *out[1:])
    )
    want = model(IDS).logits
    handle.remove()
    assert (got - want).abs().max() <= 1e-4
