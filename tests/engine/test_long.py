"""Rows that continue many tokens, which a fused kernel reads, against plain hooks and against scores written out."""

import numpy as np
import pytest
import torch

import lens
from lens.engine.walk import forward, siblings
from tests import naive
from tests.kinds import MAKERS
from tests.models import speaking, word_tokenizer

WORDS = [3, 9, 27, 81, 50, 53, 62, 89, 73, 25, 75, 31, 93, 85, 61, 86, 64, 95, 91, 79, 43, 32, 96, 94, 88, 70, 16, 48]
CLEAN = " ".join(f"w{i}" for i in WORDS)
PAIR = lens.Pair(CLEAN, corrupted=CLEAN.replace("w9 ", "w10 "), answer=" w7", foil=" w8")
LAST = slice(-5, None)


@pytest.fixture
def calls(monkeypatch):
    """Rows count as long from eight tokens on; how often the kernel served them."""
    seen, plain = [], forward._attend_long
    monkeypatch.setattr(forward, "LONG", 8)
    monkeypatch.setattr(siblings, "LONG", 8)
    monkeypatch.setattr(forward, "MANY", 16)
    monkeypatch.setattr(forward, "_attend_long", lambda *a: (seen.append(a[1].shape), plain(*a))[1])
    return seen


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gpt_neox", "qwen3"])
def test_long_prefixes_are_read_as_plain_hooks_have_it(calls, kind):
    model = speaking(kind)
    ds = lens.patch(model, [PAIR, PAIR], "z", ("layer", "head", "position"), positions=LAST, layers=[0, 1])
    assert calls and max(shape[2] for shape in calls) == 5 and max(shape[1] for shape in calls) == 4
    reference = speaking(kind)
    reference.set_attn_implementation("naive")
    clean, corrupted = (torch.tensor([int(w[1:]) for w in t.split()]) for t in (PAIR.clean, PAIR.corrupted))
    for layer in (0, 1):
        act = naive.activation(reference, clean, "z", layer)
        for head, (i, p) in ((0, (0, 23)), (3, (2, 25)), (2, (4, 27))):

            def change(x, p=p, head=head, act=act):
                x = x.clone()
                x[0, p, head] = act[p, head]
                return x

            logits = naive.forward(reference, corrupted, [("z", layer, change)])[-1]
            assert np.abs(ds.value.values[:, layer, head, i] - (logits[7] - logits[8]).item()).max() <= 1e-4


def test_prompts_of_unlike_length_are_not_padded(calls):
    shorter = lens.Pair(
        CLEAN.removeprefix("w3 "), corrupted=PAIR.corrupted.removeprefix("w3 "), answer=" w7", foil=" w8"
    )
    call = dict(site="z", over=("layer", "head", "position"), positions=LAST, layers=[0, 1])
    model = speaking("llama")
    together = lens.patch(model, [PAIR, shorter], **call)
    assert calls
    alone = [lens.patch(model, p, **call).value.values for p in (PAIR, shorter)]
    np.testing.assert_allclose(together.value.values, alone, atol=1e-5)


@pytest.mark.parametrize("kind", ["mistral_window", "gemma2"])
def test_windows_and_caps_are_written_out(calls, kind):
    torch.manual_seed(0)
    model = MAKERS[kind]().eval()
    model.tokenizer = word_tokenizer()
    lens.patch(model, PAIR, "z", ("layer", "head", "position"), positions=LAST)
    assert not calls


def test_the_kernel_gives_what_written_out_scores_give():
    class Block:
        scaling, cap, sinks, window = 0.3, None, None, None

        @staticmethod
        def capped(scores):
            return scores

    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator) * 3

    for groups, rows, slots, n in ((2, 3, 4, 300), (1, 5, 9, 200), (1, 1, 8, 128)):
        q, k, v = draw(groups, rows, slots, 6, 8), draw(groups, rows, slots, 2, 8), draw(groups, rows, slots, 2, 8)
        before = draw(groups, n, 2, 8), draw(groups, n, 2, 8)
        want = forward.attend_after(Block, q, k, v, *before)  # gradients are on: written out
        with torch.no_grad():
            got = forward.attend_after(Block, q, k, v, *before)
        assert not torch.equal(got, want)
        torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)
