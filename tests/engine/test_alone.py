"""Hooks of a computation act on the forwards of its own thread alone."""

import threading
import time

import numpy as np
import pytest
import torch
import transformers

import lens
from lens.engine.anatomy import Anatomy
from lens.engine.linear import inputs_of, linears
from lens.prompts import Pair
from tests import models as tiny_models
from tests.models import word_tokenizer

IDS = torch.arange(1, 7)[None]
SITES = ("resid_pre", "resid_mid", "attn_out", "mlp_out", "z", "pattern", "neuron")

_SIZE = dict(vocab_size=97, hidden_size=32, num_hidden_layers=3, initializer_range=0.3)
OTHERS = {
    "gemma2": lambda: transformers.Gemma2ForCausalLM(
        transformers.Gemma2Config(
            **_SIZE, num_attention_heads=4, num_key_value_heads=2, head_dim=8, intermediate_size=48
        )
    ),
    "mamba": lambda: transformers.MambaForCausalLM(transformers.MambaConfig(**_SIZE)),
}


def elsewhere(work):
    """What a function returns in another thread."""
    found = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


@torch.no_grad()
def logits(model):
    return model(IDS, use_cache=False).logits


@pytest.mark.parametrize("site", SITES)
def test_a_change_is_of_its_own_thread_or_of_every_one(site):
    model = tiny_models.tiny("llama")
    # under a change of the pattern every thread runs the model's eager attention
    model.set_attn_implementation("eager")
    plain, met = logits(model), []

    def double(x):
        met.append(threading.get_ident())
        return 2 * x

    found = Anatomy.of(model)
    off = found.attach(site, 1, double)
    mine, theirs = logits(model), elsewhere(lambda: logits(model))
    off()
    assert (
        torch.equal(theirs, plain)
        and not torch.allclose(mine, plain, atol=1e-4)
        and set(met) == {threading.get_ident()}
    )

    off = found.attach(site, 1, double, everywhere=True)
    assert torch.equal(elsewhere(lambda: logits(model)), mine) and len(set(met)) == 2
    off()
    assert torch.equal(logits(model), plain)


def test_inputs_are_those_of_the_own_thread():
    model, rows = tiny_models.tiny("llama"), []
    with inputs_of(model, linears(model, "mlp"), lambda name, x: rows.append(len(x))):
        elsewhere(lambda: logits(model))
        assert rows == []
        logits(model)
    assert rows and set(rows) == {IDS.shape[1]}


@pytest.mark.parametrize("kind", OTHERS)
def test_plain_forwards_beside_a_sweep(kind):
    """On the layers path and on the path of whole forwards: neither sees the other."""
    torch.manual_seed(0)
    core = OTHERS[kind]().eval()
    model = lens.models.wrap(core, word_tokenizer(), "tiny")
    pair = Pair("w3 w5 w6 w9", corrupted="w4 w5 w6 w9", answer=" w7", foil=" w8")
    ask = lambda: lens.patch(model, pair, "resid_pre", progress=False)  # noqa: E731
    alone, plain, over, wrong, asked = ask(), logits(core), threading.Event(), [], [0]

    def forwards():
        while not over.is_set():
            asked[0] += 1
            if not torch.equal(logits(core), plain):
                wrong.append(asked[0])

    thread = threading.Thread(target=forwards)
    thread.start()
    try:
        sweeps, until = 0, time.monotonic() + 60
        while sweeps < 5 or (asked[0] <= 5 and time.monotonic() < until):
            np.testing.assert_array_equal(ask()["value"], alone["value"])
            sweeps += 1
    finally:
        over.set()
        thread.join()
    assert asked[0] > 5 and wrong == [], f"{len(wrong)} of {asked[0]}"
