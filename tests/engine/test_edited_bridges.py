"""Under `lens.edited` a bridge shows what is in force: its cache and its hooks have the edited value at the edited
site, whichever it is.
"""

import pytest
import torch
import transformers

import lens
from lens import models
from lens.engine.anatomy import Anatomy
from lens.engine.sites import HEADED
from tests.models import KINDS, tiny, word_tokenizer
from tests.variants import few

SIZE = dict(
    vocab_size=97,
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
OTHERS = {
    "gemma2": lambda: transformers.Gemma2ForCausalLM(
        transformers.Gemma2Config(**SIZE, head_dim=8, sliding_window=6, query_pre_attn_scalar=10)
    ),
    "opt": lambda: transformers.OPTForCausalLM(
        transformers.OPTConfig(
            vocab_size=97,
            hidden_size=32,
            num_hidden_layers=2,
            ffn_dim=48,
            num_attention_heads=4,
            max_position_embeddings=64,
            word_embed_proj_dim=32,
            init_std=0.3,
            pad_token_id=1,
        )
    ),
    "mixtral": lambda: transformers.MixtralForCausalLM(
        transformers.MixtralConfig(**SIZE, num_local_experts=4, num_experts_per_tok=2)
    ),
    "phi3": lambda: transformers.Phi3ForCausalLM(transformers.Phi3Config(**SIZE)),
    "llama, deep": lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**dict(SIZE, num_hidden_layers=4))),
}
IDS = torch.randint(1, 97, (1, 8), generator=torch.Generator().manual_seed(0))
SITES = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "q", "k", "v", "z", "pattern")


def bridge_of(kind):
    torch.manual_seed(0)
    hf = OTHERS[kind]().eval().requires_grad_(False) if kind in OTHERS else tiny(kind)
    return models.wrap(hf, word_tokenizer(), "tiny")


def key(site, layer):
    return "hook_embed" if site == "embed" else f"blocks.{layer}.{'attn.' * (site in HEADED)}hook_{site}"


@pytest.mark.parametrize("kind", few([*KINDS, *OTHERS], ["gpt2", "gpt_neox", "olmo2", "mixtral", "phi3"]))
def test_the_cache_shows_the_edited_value_at_every_site(kind):
    model = bridge_of(kind)
    _, base = model.run_with_cache(IDS)
    anatomy, checked, random = Anatomy.of(model), 0, torch.Generator().manual_seed(1)
    for site in ("embed", *SITES):
        for layer in range(1 if site == "embed" else anatomy.n_layers):
            if not anatomy.has(site, layer) or key(site, layer) not in base:
                continue
            want = base[key(site, layer)].clone()
            headed = site in HEADED
            if headed and site != "pattern":
                want = want.reshape(1, 8, -1, anatomy.d_head)
            part = want[:, 0] if site == "pattern" else want[:, :, 0] if headed else want
            value = torch.tensor(0.1) if site == "pattern" else torch.randn(part.shape[-1], generator=random)
            part.add_(value)
            edit = lens.Edit(
                lens.Site(site, None if site == "embed" else layer, head=0 if headed else None), "add", value
            )
            with lens.edited(model, edit):
                logits, cache = model.run_with_cache(IDS)
                seen = {}
                hooked = model.run_with_hooks(
                    IDS, fwd_hooks=[(key(site, layer), lambda x, hook: seen.__setitem__("x", x.clone()))]
                )
                alone = model(IDS)
            got = cache[key(site, layer)].reshape(want.shape)
            gap = (got - want).abs()
            assert float((gap.tril() if site == "pattern" else gap).max()) <= 1e-4, (site, layer)
            assert torch.equal(seen["x"].reshape(want.shape), got), (site, layer)
            assert torch.equal(logits, alone) and torch.equal(hooked, alone), (site, layer)
            checked += 1
    assert checked >= 10
    _, after = model.run_with_cache(IDS)
    assert all(torch.equal(after[name], value) for name, value in base.items() if isinstance(value, torch.Tensor))


@pytest.mark.parametrize("kind", ["llama", "gpt2", "olmo2", "opt"])
def test_what_an_edit_does_behind_a_bridge_is_what_it_does_in_the_plain_model(kind):
    model = bridge_of(kind)
    torch.manual_seed(0)
    plain = OTHERS[kind]().eval().requires_grad_(False) if kind in OTHERS else tiny(kind)
    anatomy, theirs = Anatomy.of(model), Anatomy.of(plain)
    for site in ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "q", "z"):
        for layer in range(anatomy.n_layers):
            if anatomy.has(site, layer) and theirs.has(site, layer):
                edit = lens.Edit(lens.Site(site, layer), "scale", scale=0.5)
                with lens.edited(model, edit), lens.edited(plain, edit):
                    assert (model(IDS) - plain(IDS).logits).abs().max() <= 1e-4, (site, layer)


def test_a_hook_of_the_persons_inside_the_block_has_the_last_word():
    model = bridge_of("llama")
    with lens.edited(model, lens.Edit(lens.Site("attn_out", 1), "add", torch.ones(32))):
        logits = model.run_with_hooks(IDS, fwd_hooks=[("blocks.1.hook_attn_out", lambda x, hook: x - 1)])
    assert (logits - model(IDS)).abs().max() <= 1e-4
