"""What an injection costs elsewhere, against hooked forwards."""

import numpy as np
import pytest
import torch

from lens.injection import InjectionError, Item, damage, encode, score
from tests import naive
from tests.injection.test_grid import ITEMS
from tests.models import speaking

PROMPTS, TEXTS = ["w30 w31 w32", "w33 w34"], ["w40 w41 w42 w43", "w44 w45"]


@pytest.mark.parametrize("kind", ["llama", "gpt2", "olmo2"])
def test_kl_and_text_loss_equal_hooked_forwards(kind):
    model = speaking(kind)
    ds = damage(
        model,
        ITEMS[:2],
        PROMPTS,
        layers=[0, 2],
        strengths=(2, -1),
        texts=TEXTS,
        controls=("shuffled",),
        encoder="activation",
    )
    assert dict(ds.sizes) == {"layer": 2, "strength": 2, "condition": 2, "item": 2}
    vector = encode(model, ITEMS[1].memory, "activation").vectors[2]
    kl, changed, nll, tokens, plain = [], [], 0.0, 0, 0.0
    for group in (PROMPTS, TEXTS):
        for text in group:
            ids = torch.tensor([[0, *(int(w[1:]) for w in text.split())]])
            clean = model(ids).logits[0].log_softmax(-1)
            hook = naive._on_output(naive.parts(model, 2)["attn_end"], lambda x: x - vector)
            after = model(ids).logits[0].log_softmax(-1)
            hook.remove()
            if group is PROMPTS:
                kl.append((clean[-1].exp() * (clean[-1] - after[-1])).sum().item())
                changed.append(float(clean[-1].argmax() != after[-1].argmax()))
            else:
                tokens += ids.shape[1] - 1
                nll -= after[:-1].gather(-1, ids[0, 1:, None]).sum().item()
                plain -= clean[:-1].gather(-1, ids[0, 1:, None]).sum().item()
    at = ds.sel(layer=2, strength=-1, condition="memory", item=1)
    assert (
        at.kl == pytest.approx(np.mean(kl), abs=1e-3)
        and at.top_changed == np.mean(changed)
        and at.nll == pytest.approx(nll / tokens, abs=1e-4)
    )
    assert ds.nll.attrs["nll_clean"] == pytest.approx(plain / tokens, abs=1e-4) and ds.nll.attrs[
        "perplexity_clean"
    ] == pytest.approx(np.exp(plain / tokens), rel=1e-3)


def test_without_texts_there_is_no_text_loss():
    assert damage(speaking("llama"), ITEMS[:1], PROMPTS, layers=0, strengths=(1,), controls=()).nll.isnull().all()


@pytest.mark.parametrize(
    "change, word",
    [
        (dict(prompts=[]), "prompts"),
        (dict(positions="subject"), "positions"),
        (dict(texts=[""]), "texts"),
        (dict(strengths=[0] * 100_000), "strengths=.*different"),
        (dict(strengths=()), "strengths"),
        (dict(layers=()), "layers=.*at least one"),
    ],
)
def test_bad_arguments_are_named(change, word):
    arguments = dict(prompts=PROMPTS, layers=0, strengths=(1,), controls=()) | change
    with pytest.raises(InjectionError, match=word):
        damage(speaking("llama"), ITEMS[:1], arguments.pop("prompts"), **arguments)


def test_prompts_are_scored_as_plain_forwards_would(smollm2):
    items = [
        Item("The capital of the country of the Eiffel Tower is", "The capital of France is", "France", " Paris"),
        Item("The capital of the country of the Colosseum is", "The capital of Italy is", "Italy", " Rome"),
    ]
    ds = score(smollm2, items)

    def encode(text):
        return smollm2.tokenizer(text, add_special_tokens=False)["input_ids"]

    texts = {
        "multi": items[0].prompt,
        "single": items[0].explicit,
        "prompted": "France. " + items[0].prompt,
        "prompted_other": "Italy. " + items[0].prompt,
    }
    for name, text in texts.items():
        logp = smollm2(torch.tensor([[*encode("<|endoftext|>"), *encode(text)]]))[0, -1].log_softmax(-1)
        assert ds.logprob.sel(item=0, prompt=name) == pytest.approx(logp[encode(" Paris")[0]].item(), abs=1e-3)
        assert ds.top.sel(item=0, prompt=name) == logp.argmax().item()


def test_a_vocabulary_of_whole_words_has_its_memory_without_a_full_stop():
    model = speaking("llama")
    items = [Item("w1 w2 w5", "w3 w5", "w25", " w45"), Item("w1 w2 w6", "w3 w6", "w26", " w46")]
    ds = score(model, items, start=None)
    ids = model.tokenizer("w25 w1 w2 w5", add_special_tokens=False, return_tensors="pt")["input_ids"]
    logp = model(ids).logits[0, -1].log_softmax(-1)
    assert ds.logprob.sel(item=0, prompt="prompted") == pytest.approx(logp[45].item(), abs=1e-4)
