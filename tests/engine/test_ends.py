"""Modules that write into the residual stream, found in low precision and beside a very large activation; sites of
models that change their stream between blocks.
"""

import numpy as np
import pytest
import torch
import transformers as T

import lens
from lens import Edit, Pair, Site, SiteError
from lens.engine.anatomy import Anatomy
from tests.models import word_tokenizer

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


def rwkv():
    torch.manual_seed(0)
    model = (
        T.RwkvForCausalLM(
            T.RwkvConfig(
                vocab_size=97,
                context_length=64,
                hidden_size=32,
                num_hidden_layers=4,
                rescale_every=2,
                bos_token_id=0,
                eos_token_id=0,
            )
        )
        .eval()
        .requires_grad_(False)
    )
    for name, p in model.named_parameters():
        if p.ndim == 2 or name.endswith(("time_decay", "time_first")):
            p.copy_(torch.randn(p.shape) * 0.3)
    model.tokenizer = word_tokenizer()
    return model


#: site -> where it is in a block: path, and whether it is what goes in
RWKV = {
    "resid_pre": ("", True),
    "resid_post": ("", False),
    "attn_out": ("attention", False),
    "mlp_out": ("feed_forward", False),
    "resid_mid": ("ln2", True),
}


def put(model, site, layer, change):
    """A change at a site by a plain hook; of ``resid_mid`` by one on attention's output."""
    name, into = RWKV[site]
    block, seen = model.rwkv.blocks[layer], []
    if site == "resid_mid":
        first = block.register_forward_pre_hook(lambda m, args: seen.append(args[0]))
        second = block.attention.register_forward_hook(
            lambda m, args, out: (change(seen[-1] + out[0]) - seen[-1], *out[1:])
        )
        return [first, second]
    module = block.get_submodule(name)
    if into:
        return [module.register_forward_pre_hook(lambda m, args: (change(args[0]), *args[1:]))]
    return [module.register_forward_hook(lambda m, args, out: (change(out[0]), *out[1:]))]


@torch.no_grad()
def logits(model, ids, *hooks):
    handles = [h for site, layer, change in hooks for h in put(model, site, layer, change)]
    try:
        return model(ids, use_cache=False).logits[0]
    finally:
        for handle in handles:
            handle.remove()


def layers_with(site):
    """The first block norms its input and goes on from there: what it adds is not added to its input."""
    return range(4) if site in ("resid_pre", "resid_post") else range(1, 4)


@pytest.mark.parametrize("site", RWKV)
def test_a_stream_that_is_halved_between_blocks_is_edited_at_its_own_scale(site):
    model, plain, push = rwkv(), rwkv(), torch.randn(32, generator=torch.Generator().manual_seed(1))
    for layer in layers_with(site):
        with torch.no_grad(), lens.edited(model, Edit(Site(site, layer), "add", push)):
            got = model(IDS).logits[0]
        want = logits(plain, IDS, (site, layer, lambda x: x + push))
        assert (got - want).abs().max() <= 1e-4 and (want - logits(plain, IDS)).abs().max() > 0.05
    if 0 not in layers_with(site):
        with pytest.raises(SiteError, match="layer 0"), lens.edited(model, Edit(Site(site, 0), "add", push)):
            pass


@pytest.mark.parametrize("site", RWKV)
@pytest.mark.filterwarnings("ignore:every cell")
def test_patching_a_halved_stream_equals_plain_hooks(site):
    model, plain = rwkv(), rwkv()
    pair = Pair("w5 w17 w3 w88 w41 w9 w60", corrupted="w5 w17 w3 w21 w41 w50 w60", answer=" w11", foil=" w12")
    other = torch.tensor([[5, 17, 3, 21, 41, 50, 60]])
    layers = list(layers_with(site))
    got = lens.patch(model, pair, site, layers=layers, progress=False).effect

    def of(out):
        return float(out[-1, 11] - out[-1, 12])

    want = np.zeros((len(layers), 7))
    for i, layer in enumerate(layers):
        kept = []
        logits(plain, IDS, (site, layer, lambda x: (kept.append(x), x)[1]))
        for p in range(7):
            want[i, p] = of(
                logits(plain, other, (site, layer, lambda x: torch.where(torch.arange(7)[:, None] == p, kept[0], x)))
            ) - of(logits(plain, other))
    np.testing.assert_allclose(got.values, want, atol=1e-4)
    assert np.abs(want).max() > 0.05


def hybrid():
    """Layers 1 and 3 have attention, 0 and 2 a linear one whose output is not found."""
    torch.manual_seed(0)
    config = T.Qwen3NextConfig(
        **_SIZE,
        head_dim=16,
        linear_key_head_dim=8,
        linear_value_head_dim=8,
        linear_num_key_heads=2,
        linear_num_value_heads=4,
        moe_intermediate_size=24,
        shared_expert_intermediate_size=24,
        num_experts_per_tok=2,
        num_experts=4,
        layer_types=["linear_attention", "full_attention"] * 2,
    )
    model = T.Qwen3NextForCausalLM(config).eval().requires_grad_(False)
    model.tokenizer = word_tokenizer()
    return model


@pytest.mark.filterwarnings("ignore:every cell")
def test_layers_that_have_a_site_are_served_and_others_named():
    model, plain = hybrid(), hybrid()
    pair = Pair("w5 w9 w13 w17 w21 w25", corrupted="w5 w9 w30 w17 w21 w25", answer=" w11", foil=" w12")
    clean, corrupted = torch.tensor([[5, 9, 13, 17, 21, 25]]), torch.tensor([[5, 9, 30, 17, 21, 25]])

    def difference():
        return float(plain(corrupted, use_cache=False).logits[0, -1] @ (torch.eye(97)[11] - torch.eye(97)[12]))

    want = np.zeros((2, 6))
    with torch.no_grad():
        for i, layer in enumerate((1, 3)):
            module, kept = plain.model.layers[layer].self_attn, []
            handle = module.register_forward_hook(lambda m, args, out: kept.append(out[0]))
            plain(clean, use_cache=False)
            handle.remove()
            for p in range(6):
                handle = module.register_forward_hook(
                    lambda m, args, out: (torch.where(torch.arange(6)[:, None] == p, kept[0], out[0]), *out[1:])
                )
                want[i, p] = difference()
                handle.remove()
        want -= difference()
    np.testing.assert_allclose(
        lens.patch(model, pair, "attn_out", layers=[1, 3], progress=False).effect.values, want, atol=1e-4
    )
    np.testing.assert_allclose(
        lens.patch(model, pair, "attn_out", layers=[3], progress=False).effect.values, want[1:], atol=1e-4
    )
    assert lens.patch(model, pair, "resid_mid", layers=[1], progress=False).effect.shape == (1, 6)
    for options in (dict(layers=None), dict(layers=[0, 1]), dict(layers=[1], window=3)):
        with pytest.raises(
            SiteError, match=r"'attn_out' was not found in layer 0.*Layers that have it: layers=\[1, 3\]"
        ):
            lens.patch(model, pair, "attn_out", progress=False, **options)


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
