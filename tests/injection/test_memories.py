"""Encoders against their definitions, computed another way."""

import pytest
import torch

import lens
from lens.injection import InjectionError, encode
from tests import hybrids, naive
from tests.models import ABOVE, KINDS, speaking
from tests.variants import few


def folded(model):
    """W_U of TransformerLens's processing, from the Hugging Face weights: the norm's weight in, centred over the model
    (LayerNorm) and the vocabulary.
    """
    kind = model.config.model_type
    norm = {"gpt2": lambda: model.transformer.ln_f, "gpt_neox": lambda: model.gpt_neox.final_layer_norm}.get(
        kind, lambda: model.model.norm
    )()
    w = model.get_output_embeddings().weight.T * norm.weight[:, None]  # [d_model, d_vocab]
    if isinstance(norm, torch.nn.LayerNorm):
        w = w - w.mean(0, keepdim=True)
    return w - w.mean(1, keepdim=True)


@pytest.mark.parametrize("kind", few(KINDS, ABOVE))
def test_unembed_is_the_published_sum_of_distinct_columns(kind):
    model = speaking(kind)
    memory = encode(model, "w5 w9 w5", "unembed")
    present = torch.zeros(97)
    present[[5, 9]] = 1
    assert torch.allclose(memory.vectors, (folded(model) @ present).expand(3, -1), atol=1e-5)
    assert memory.ids == (5, 9, 5)


@pytest.mark.parametrize("kind", few(KINDS, ABOVE))
def test_embed_is_the_sum_of_distinct_rows(kind):
    model = speaking(kind)
    rows = model.get_input_embeddings().weight[[5, 9]]
    if kind in ("gpt2", "gpt_neox", "gpt_neox_sequential"):
        rows = rows - rows.mean(-1, keepdim=True)
    assert torch.allclose(encode(model, "w9 w5 w5", "embed").vectors[1], rows.sum(0), atol=1e-5)


@pytest.mark.parametrize("kind", few(KINDS, ABOVE))
def test_activation_is_the_attention_output_of_the_bare_entity(kind):
    model, seen = speaking(kind), []
    hooks = [
        naive._on_output(naive.parts(model, layer)["attn_end"], lambda x: seen.append(x[0, -1]) or x)
        for layer in range(3)
    ]
    model(torch.tensor([[0, 5, 9]]))
    for hook in hooks:
        hook.remove()
    assert torch.allclose(encode(model, "w5 w9", "activation").vectors, torch.stack(seen), atol=1e-5)


@pytest.mark.parametrize("kind", few([k for k in KINDS if k != "olmo2"], [k for k in ABOVE if k != "olmo2"]))
def test_head_encoders_of_all_heads_sum_to_the_attention_output_without_its_bias(kind):
    model = speaking(kind)
    whole, each = (
        encode(model, "w5 w9", "activation").vectors,
        sum(encode(model, "w5 w9", "head", heads=h).vectors for h in range(4)),
    )
    bias = torch.stack(
        [
            b if (b := getattr(naive.parts(model, layer)["o"], "bias", None)) is not None else torch.zeros(32)
            for layer in range(3)
        ]
    )
    assert torch.allclose(whole, each + bias, atol=1e-4)


def test_heads_of_another_encoder_keep_what_they_can_write():
    model = speaking("llama")
    whole, part = (encode(model, "w5", "unembed", heads=h).vectors for h in (None, (1,)))
    o = naive.parts(model, 2)["o"].weight[:, 8:16]  # what head 1 writes: [d_model, d_head]
    best = o @ torch.linalg.lstsq(o, whole[2][:, None]).solution  # least squares
    assert torch.allclose(part[2], best[:, 0], atol=1e-4)
    assert torch.allclose(encode(model, "w5", "unembed", heads=range(4)).vectors, whole, atol=1e-4), (
        "all heads together write anything here"
    )


def test_embeddings_that_are_narrower_than_the_stream_are_refused():
    model = hybrids.opt(do_layer_norm_before=False, word_embed_proj_dim=16)
    with pytest.raises(InjectionError, match="16 wide and its residual stream 32.*use encoder='activation'"):
        encode(model, "w5 w9", "embed", start=None)
    assert encode(model, "w5 w9", "activation", start=None).vectors.shape == (4, 32)


def test_a_memory_is_the_value_of_an_edit():
    model = speaking("gpt2")
    memory, ids = encode(model, "w5", "embed"), torch.tensor([[1, 2, 3]])
    with lens.edited(model, lens.Edit(lens.Site("attn_out", layer=1), "add", memory, scale=3)):
        inside = model(ids).logits
    hook = naive._on_output(naive.parts(model, 1)["attn_end"], lambda x: x + 3 * memory.vectors[1])
    assert torch.allclose(inside, model(ids).logits, atol=1e-4)
    hook.remove()
    with pytest.raises(InjectionError, match="'z'"):
        lens.Edit(lens.Site("z", layer=1), "add", memory)


@pytest.mark.parametrize(
    "memory, words", [("", "tokenises to nothing"), ("  ", "tokenises to nothing"), ("mystery", "mystery")]
)
def test_a_memory_without_tokens_is_refused(memory, words):
    with pytest.raises(InjectionError, match=words):
        encode(speaking("llama"), memory)
