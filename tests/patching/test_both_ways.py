"""Models whose tokens read later ones too: every cell is run, also before the first difference of the prompts, against
plain hooks on a second copy.
"""

import numpy as np
import pytest
import torch
import transformers as T

import lens
from lens import Pair, PatchError
from lens.engine.anatomy import Anatomy
from lens.engine.errors import UnsupportedModel
from lens.engine.model import Model
from lens.engine.walk.decoder import Decoder
from tests.models import tiny, word_tokenizer

pytestmark = pytest.mark.filterwarnings("ignore:every cell")
_SIZE = dict(
    vocab_size=97,
    hidden_size=32,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=48,
    max_position_embeddings=64,
    initializer_range=0.3,
    bos_token_id=0,
    eos_token_id=0,
    pad_token_id=0,
)
_GEMMA = dict(_SIZE, num_key_value_heads=2, head_dim=16, sliding_window=16, query_pre_attn_scalar=10)
#: kind -> the model, the path of its blocks, of attention's output projection in one
MAKERS = {
    "bert": (lambda: T.BertForMaskedLM(T.BertConfig(**_SIZE)), "bert.encoder.layer", None),
    "gemma3": (
        lambda: T.Gemma3ForCausalLM(T.Gemma3TextConfig(**_GEMMA, use_bidirectional_attention=True)),
        "model.layers",
        "self_attn.o_proj",
    ),
    "llama": (
        lambda: T.LlamaForCausalLM(T.LlamaConfig(**_SIZE, num_key_value_heads=2, is_causal=False)),
        "model.layers",
        "self_attn.o_proj",
    ),
}
PAIR = Pair("w5 w17 w3 w88 w41 w9 w60", corrupted="w5 w17 w3 w21 w41 w50 w60", answer=" w11", foil=" w12")
CLEAN, CORRUPTED = torch.tensor([[5, 17, 3, 88, 41, 9, 60]]), torch.tensor([[5, 17, 3, 21, 41, 50, 60]])


def make(kind, dtype=torch.float32):
    torch.manual_seed(0)
    model = MAKERS[kind][0]().eval().requires_grad_(False).to(dtype)
    model.tokenizer = word_tokenizer()
    return model


@torch.no_grad()
def by_hand(kind, base, source, place="block"):
    """Effects ``[layer, position]`` of copying the input of each block, or of its output projection, from one run into
    another.
    """
    model, effects = make(kind), np.zeros((3, 7))

    def difference():
        return float(model(base).logits[0, -1] @ (torch.eye(97)[11] - torch.eye(97)[12]))

    for layer, block in enumerate(model.get_submodule(MAKERS[kind][1])):
        module, kept = block if place == "block" else block.get_submodule(MAKERS[kind][2]), []
        handle = module.register_forward_pre_hook(lambda m, args: kept.append(args[0].clone()))
        model(source)
        handle.remove()
        for position in range(7):
            handle = module.register_forward_pre_hook(
                lambda m, args: (torch.where(torch.arange(7)[:, None] == position, kept[0], args[0]), *args[1:])
            )
            effects[layer, position] = difference()
            handle.remove()
    return effects - difference()


@pytest.mark.parametrize("direction", ["denoise", "noise"])
@pytest.mark.parametrize("kind", MAKERS)
def test_cells_before_the_first_difference_are_run(kind, direction):
    base, source = (CORRUPTED, CLEAN) if direction == "denoise" else (CLEAN, CORRUPTED)
    want = by_hand(kind, base, source)
    assert np.abs(want[:, :3]).max() > 0.05, "positions before the first difference matter here"
    got = lens.patch(make(kind), PAIR, "resid_pre", direction=direction, progress=False)
    np.testing.assert_allclose(got.effect.values, want, atol=1e-4)
    assert lens.record(got)["engine"]["name"] == "hooks"


@pytest.mark.parametrize("kind", ["gemma3", "llama"])
def test_sites_inside_a_block_too(kind):
    got = lens.patch(make(kind), PAIR, "z", progress=False).effect.values
    np.testing.assert_allclose(got, by_hand(kind, CORRUPTED, CLEAN, "projection"), atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", MAKERS)
def test_paths_that_keep_a_prefix_refuse(kind, dtype):
    model = make(kind, dtype)
    assert not Anatomy.of(model).causal
    for path in (Decoder.of, lambda m: Model.of(m)._layers(9)):
        with pytest.raises(UnsupportedModel):
            path(model)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gpt_neox", "olmo2"])
def test_decoders_are_found_causal(kind):
    for dtype in (torch.float32, torch.bfloat16):
        assert Anatomy.of(tiny(kind).to(dtype)).causal


def test_a_decoder_made_to_look_ahead_by_its_configuration_alone_is_not_taken_for_the_one_it_was():
    model = tiny("llama")
    model.tokenizer = word_tokenizer()
    before = lens.patch(model, PAIR, "resid_pre", progress=False).effect
    assert np.abs(before.values[:, :3]).max() < 1e-5  # of the metric's rounding, which a batch decides
    model.config.is_causal = False
    after = lens.patch(model, PAIR, "resid_pre", progress=False).effect
    assert np.abs(after.values[:, :3]).max() > 1e-3


def test_answers_of_several_tokens_are_refused():
    longer = Pair("w5 w17 w3 w88", corrupted="w5 w17 w3 w21", answer=" w11 w13", foil=" w12 w14")
    for kind in MAKERS:
        with pytest.raises(PatchError, match="answers of several tokens.*read later ones too.*one token"):
            lens.patch(make(kind), longer, metric="logprob_diff", progress=False)


def test_readouts_and_live_injection_are_the_models_own():
    model = make("llama")
    want = model(CLEAN).logits[0].log_softmax(-1)
    seen = lens.logit_lens(model, PAIR, k=97).sel(layer=2)
    order = np.argsort(seen.top_id.values, -1)
    np.testing.assert_allclose(np.take_along_axis(seen.top_prob.values, order, -1), want.exp().numpy(), atol=1e-5)
    told = lens.injection.next_tokens(model, PAIR.clean, start=None)
    np.testing.assert_allclose(told.logprobs_before.numpy(), want[-1].numpy(), atol=1e-4)
