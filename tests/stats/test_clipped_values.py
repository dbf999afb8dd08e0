"""Readouts through the weights of models that clip their values (OLMoE, MPT), against the modules called one by one."""

import numpy as np
import pytest
import torch
import transformers as T

import lens
from tests import kinds
from tests.models import word_tokenizer

HEADS = 4


def olmoe(clip):
    model = kinds.make("olmoe_clipped")
    model.config.clip_qkv = clip
    return model


def mpt(clip):
    torch.manual_seed(0)
    config = T.MptConfig(
        d_model=32, n_heads=HEADS, n_layers=2, vocab_size=97, max_seq_len=64, attn_config=dict(clip_qkv=clip)
    )
    model = T.MptForCausalLM(config).eval().requires_grad_(False)
    for p in model.parameters():
        p.normal_(std=0.3)
    return model


def attention_of(model, layer):
    """A block's norm and values, its output projection and the final norm, by the modules themselves."""
    if model.config.model_type == "mpt":
        block = model.transformer.blocks[layer]
        return lambda x: block.attn.Wqkv(block.norm_1(x))[:, 64:], block.attn.out_proj, model.transformer.norm_f
    block = model.model.layers[layer]
    return lambda x: block.self_attn.v_proj(block.input_layernorm(x)), block.self_attn.o_proj, model.model.norm


def clipped(make):
    """A model that clips half of the values that its embeddings would give, ready to be asked."""
    model = make(1e9)
    values = attention_of(model, 1)[0](model.get_input_embeddings().weight)
    model = make(float(values.abs().median()))
    model.tokenizer = word_tokenizer()
    return model


def logits_of(model, layer, head, tokens):
    """What one head writes of bare embeddings, through the final norm and the unembedding."""
    values, o_proj, norm = attention_of(model, layer)
    bound = model.config.clip_qkv if model.config.model_type == "olmoe" else model.config.attn_config.clip_qkv
    v = values(model.get_input_embeddings().weight[tokens]).clamp(-bound, bound).unflatten(-1, (-1, 32 // HEADS))
    z = torch.zeros(len(tokens), HEADS, 32 // HEADS)
    z[:, head] = v[:, head * v.shape[1] // HEADS]
    return model.get_output_embeddings()(norm(o_proj(z.flatten(1))))


@pytest.mark.parametrize("make", [olmoe, mpt])
def test_head_vocabulary_reads_values_as_they_are_clipped(make):
    model, tokens = clipped(make), torch.tensor([5, 60])
    want = logits_of(model, 1, 2, tokens).numpy()
    found = lens.head_vocabulary(model, 1, 2, tokens=tokens.tolist(), k=97)
    np.testing.assert_allclose(found.promoted, -np.sort(-want), atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize("make", [olmoe, mpt])
def test_copying_is_of_values_as_they_are_clipped(make):
    """Heads of block 0 read the embedding itself."""
    model, tokens = clipped(make), torch.arange(5, 60)
    found = lens.copying_scores(model, method="top_k", tokens=tokens.tolist(), k=20, start=None, layers=[0])
    for head in range(HEADS):
        hits = (logits_of(model, 0, head, tokens).topk(20).indices == tokens[:, None]).any(-1).float().mean()
        assert abs(float(found.hit_rate.sel(layer=0, head=head)) - float(hits)) < 1e-6
