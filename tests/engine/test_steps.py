"""Text written step by step is the text of whole forwards, whatever the type calls its cache and however it counts
positions.
"""

import pytest
import torch
import transformers as T

import lens
from lens.engine import generation, steps
from lens.engine.edits import EditError
from lens.engine.generation import write
from lens.engine.steps import Steps, newest
from lens.memorization.reading import Reader
from tests import models as tiny_models

G = dict(
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
MINIMAX = dict(head_dim=8, block_size=8, num_local_experts=4, num_experts_per_tok=2)
SSM = dict(vocab_size=97, hidden_size=32, num_hidden_layers=2, state_size=4, initializer_range=0.3, eos_token_id=0)
LONG = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "original_max_position_embeddings": 12,
    "short_factor": [1.0] * 4,
    "long_factor": [3.0, 5.0, 7.0, 9.0],
}
KINDS = {
    "llama": lambda: T.LlamaConfig(**G),
    "bamba": lambda: T.BambaConfig(
        **G,
        attn_layer_indices=[1, 3],
        mamba_n_heads=4,
        mamba_d_head=16,
        mamba_d_state=8,
        mamba_n_groups=1,
        mamba_chunk_size=8,
    ),
    "minimax, linear first": lambda: T.MiniMaxConfig(
        **G, **MINIMAX, layer_types=["linear_attention", "full_attention"] * 2
    ),
    "minimax, attention first": lambda: T.MiniMaxConfig(
        **G, **MINIMAX, layer_types=["full_attention", "linear_attention"] * 2
    ),
    "mamba": lambda: T.MambaConfig(**SSM),
    "falcon_mamba": lambda: T.FalconMambaConfig(**SSM),
    "recurrent_gemma": lambda: T.RecurrentGemmaConfig(
        **{**G, "intermediate_size": 96}, lru_width=32, attention_window_size=6, block_types=["recurrent", "attention"]
    ),
    "longrope across its border": lambda: T.LlamaConfig(**G, rope_parameters=LONG),
    "dynamic beyond its length": lambda: T.LlamaConfig(
        **{**G, "max_position_embeddings": 12},
        rope_parameters={"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0},
    ),
}
PROMPT = torch.arange(20, 29)


def make(kind):
    torch.manual_seed(0)
    model = T.AutoModelForCausalLM.from_config(KINDS[kind]()).eval().requires_grad_(False)
    model.generation_config.eos_token_id = model.config.eos_token_id = None
    return model


@torch.no_grad()
def by_whole_forwards(kind, count=8):
    ids = PROMPT.tolist()
    for _ in range(count):
        ids.append(int(make(kind)(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
    return ids[len(PROMPT) :]


@pytest.mark.parametrize("kind", KINDS)
def test_written_and_recited_text_is_that_of_whole_forwards(kind):
    want = by_whole_forwards(kind)
    assert list(write(make(kind), PROMPT, max_new_tokens=8).ids) == want
    assert Reader(make(kind)).write(PROMPT[None].numpy(), 8)[0].tolist() == want


def test_a_model_is_tried_once_and_most_keep_a_cache(monkeypatch):
    model, tries, own = make("llama"), [], steps._try
    monkeypatch.setattr(steps, "_try", lambda *given: (tries.append(1), own(*given))[1])
    assert Steps(model).cached and Steps(model).cached and len(tries) == 1
    assert not Steps(make("recurrent_gemma")).cached


def test_a_model_that_changes_is_tried_again():
    def centred(module, args, out):
        return out - out.mean(1, keepdim=True)  # reads how much text there is: no cache can follow it

    model, fresh = make("llama"), make("llama")
    before = write(model, PROMPT, max_new_tokens=8).ids
    for each in (model, fresh):
        each.model.layers[1].register_forward_hook(centred)
    ids = PROMPT.tolist()
    with torch.no_grad():
        for _ in range(8):
            ids.append(int(fresh(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
    assert not Steps(model).cached and list(write(model, PROMPT, max_new_tokens=8).ids) == ids[9:] != list(before)


def test_a_model_whose_cache_cannot_be_tried_reads_its_whole_text():
    model = make("llama")
    forward = model.forward

    def without(input_ids, use_cache=False, **given):
        assert not use_cache, "this one keeps nothing"
        return forward(input_ids=input_ids, use_cache=False, **given)

    model.forward = without
    assert not Steps(model).cached and list(write(model, PROMPT, max_new_tokens=8).ids) == by_whole_forwards("llama")


def test_what_was_read_before_by_another_text_changes_nothing():
    model = make("dynamic beyond its length")
    model(torch.randint(1, 97, (1, 50)))
    assert list(write(model, PROMPT, max_new_tokens=8).ids) == by_whole_forwards("dynamic beyond its length")


def schedules():
    vector = torch.randn(32, generator=torch.Generator().manual_seed(3)) * 4

    def add(position, scale=1.0):
        return lens.Edit(lens.Site("resid_post", layer=1, position=position), "add", vector, scale=scale)

    return {
        "every token": lambda step: (add(None),),
        "the newest token": lambda step: (add(-1),),
        "the prompt's last token": lambda step: (add((8,)),) if step == 0 else (),
        "decaying": lambda step: (add(None, 1 / (1 + step)),),
        "from the third on": lambda step: (add(None),) if step > 1 else (),
        "a slice": lambda step: (add(slice(2, 5)),) if step == 0 else (),
    }


@pytest.mark.parametrize("name", schedules())
def test_edits_act_alike_with_and_without_a_cache(name, monkeypatch):
    want = write(make("llama"), PROMPT, schedules()[name], max_new_tokens=6).ids
    assert want != write(make("llama"), PROMPT, max_new_tokens=6).ids
    monkeypatch.setattr(steps, "_tried", lambda module, hf: (False, False))
    assert write(make("llama"), PROMPT, schedules()[name], max_new_tokens=6).ids == want


def test_a_value_for_each_position_is_refused_without_a_cache(monkeypatch):
    edit = lens.Edit(lens.Site("resid_post", layer=1, position=(2, 3)), "add", torch.ones(2, 32))
    monkeypatch.setattr(steps, "_tried", lambda module, hf: (False, False))
    with pytest.raises(EditError, match="reads its whole text at every step"):
        write(make("llama"), PROMPT, lambda step: (edit,) if step == 0 else (), max_new_tokens=3)


def test_steps_give_the_numbers_of_one_forward_in_batches():
    model, ids = tiny_models.tiny("qwen3"), torch.randint(1, 97, (3, 12), generator=torch.Generator().manual_seed(0))
    read = Steps(model)
    for part in (ids[:, :9], ids[:, 9:10], ids[:, 10:11]):
        out = read(part)
    assert read.text.shape == (3, 11) and generation.Steps is Steps
    torch.testing.assert_close(newest(out), model(ids[:, :11]).logits[:, -1], atol=1e-4, rtol=1e-4)
