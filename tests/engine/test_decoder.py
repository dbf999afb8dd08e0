"""The engine's own view of a model is checked against the model before it is trusted."""

import pytest
import torch
from transformers import MistralConfig, MistralForCausalLM

from lens.engine.errors import RunError, UnsupportedModel
from lens.engine.runs import Runs
from lens.engine.walk.decoder import Decoder
from tests.models import EACH, KINDS, tiny
from tests.variants import few


@pytest.mark.parametrize("kind", few(KINDS, EACH))
def test_a_bridge_and_a_plain_model_are_walked_alike(kind, tiny_bridge):
    bridge, plain = tiny_bridge(kind)
    ids = torch.tensor([3, 1, 4, 1, 5, 9, 2, 6])
    reference = plain(ids[None]).logits[0]
    for model in (bridge, plain):
        decoder = Decoder.of(model)
        assert (decoder.unembed(Runs.record(model, [ids]).resid[-1]) - reference).abs().max() <= 1e-4
    assert (bridge(ids[None])[0] - reference).abs().max() <= 1e-4, "recording leaves the bridge as it was"


def test_sizes_are_the_models(tiny_bridge):
    decoder = Decoder.of(tiny("llama"))
    assert (
        decoder.n_layers,
        decoder.n_heads,
        decoder.n_kv_heads,
        decoder.d_model,
        decoder.d_head,
        decoder.d_mlp,
        decoder.d_vocab,
    ) == (3, 4, 2, 32, 8, 48, 97)


def test_the_check_runs_once_and_again_after_the_model_moved(monkeypatch):
    model, calls = tiny("llama"), []
    real = Decoder.check
    monkeypatch.setattr(Decoder, "check", lambda self, reference, **k: calls.append(1) or real(self, reference, **k))
    assert Decoder.of(model) is Decoder.of(model) and len(calls) == 1
    model.double()
    assert Decoder.of(model).dtype == torch.float64 and len(calls) == 2


def test_blocks_that_compute_something_else_are_not_trusted():
    model = tiny("llama")
    inner = model.model.layers[1].mlp
    plain = type(inner).forward
    inner.forward = lambda x: 1.5 * plain(inner, x)
    with pytest.raises(UnsupportedModel, match="the replaced forward .* of model.layers.1.mlp"):
        Decoder.of(model)
    del inner.forward
    Decoder.of(model)

    class Other(type(inner)):
        def forward(self, x):
            return 1.5 * super().forward(x)

    inner.__class__ = Other
    with pytest.raises(UnsupportedModel, match="differ from the model"):
        Decoder.of(model)


def test_an_unknown_type_is_named():
    model = tiny("llama")
    model.config.model_type = "novel"
    with pytest.raises(UnsupportedModel, match="model type 'novel' is not one of"):
        Decoder.of(model)


def test_rotary_embeddings_that_depend_on_the_length_are_refused():
    model = tiny("llama")
    model.config.rope_parameters = {**model.config.rope_parameters, "rope_type": "dynamic"}
    with pytest.raises(UnsupportedModel, match="rope_type='dynamic'"):
        Decoder.of(model)


def test_a_prompt_beyond_the_sliding_window_is_exact_and_one_beyond_the_positions_is_refused():
    torch.manual_seed(0)
    size = dict(
        vocab_size=97,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=48,
        max_position_embeddings=40,
    )
    model = (
        MistralForCausalLM(MistralConfig(**size, sliding_window=12, initializer_range=0.3)).eval().requires_grad_(False)
    )
    for n in (12, 13, 40):
        ids = torch.arange(n)
        own = Decoder.of(model).unembed(Runs.record(model, [ids]).resid[-1])
        assert (own - model(ids[None]).logits[0]).abs().max() <= 1e-4
    with pytest.raises(RunError, match="41 tokens is longer than the model's 40 positions"):
        Runs.record(model, [torch.arange(41)])


def test_an_empty_prompt_and_no_prompt_are_refused():
    model = tiny("llama")
    with pytest.raises(ValueError, match="prompt 1 is empty"):
        Runs.record(model, [torch.tensor([1]), torch.tensor([], dtype=torch.long)])
    with pytest.raises(ValueError, match="no prompt"):
        Runs.record(model, [])


def test_prompts_of_other_lengths_do_not_fork():
    run = Runs.record(tiny("llama"), [torch.tensor([1, 2, 3])])
    with pytest.raises(ValueError, match="align token by token"):
        run.fork([torch.tensor([1, 2])])


def test_a_site_that_was_not_kept_says_how_to_keep_it():
    run = Runs.record(tiny("llama"), [torch.tensor([1, 2, 3])], keep=())
    with pytest.raises(ValueError, match=r"keep=\('z',\)"):
        run.get("z", 0)


def test_the_mean_over_a_data_set_is_the_mean():
    from lens.engine.runs import mean_activation
    from tests import naive

    model = tiny("gpt2")
    model.set_attn_implementation("naive")
    prompts = [torch.tensor([1, 2, 3]), torch.tensor([4, 5])]
    acts = [naive.activation(model, p, "mlp_out", 1) for p in prompts]
    assert torch.allclose(mean_activation(model, prompts, "mlp_out", 1), torch.cat(acts).mean(0), atol=1e-5)
    assert torch.allclose(
        mean_activation(model, prompts, "mlp_out", 1, position=-1), (acts[0][-1] + acts[1][-1]) / 2, atol=1e-5
    )
    with pytest.raises(ValueError, match="position=2 is out of range; the shortest prompt has 2 tokens"):
        mean_activation(model, prompts, "mlp_out", 1, position=2)
