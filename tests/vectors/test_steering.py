"""Contrast directions against means of hidden states from plain forwards."""

import numpy as np
import pytest
import torch

from lens.vectors import VectorError
from lens.vectors.steering import contrast
from tests.models import ABOVE, KINDS, speaking
from tests.variants import few

POSITIVE, NEGATIVE = ["w1 w2 w3", "w4 w5", "w6 w7 w8 w9"], ["w20 w21", "w22 w23 w24"]


def states(model, text):
    ids = [0] + [int(w[1:]) for w in text.split()]
    # the last of hidden_states has the final norm applied: the last block's own output is read by a hook
    seen = []
    from tests import naive

    hook = naive._on_output(naive.parts(model, 2)["block"], lambda x: (seen.append(x), x)[1])
    hidden = model(torch.tensor([ids]), output_hidden_states=True).hidden_states
    hook.remove()
    return torch.stack([hidden[1][0], hidden[2][0], seen[0][0]])


@pytest.mark.parametrize("kind", few(KINDS, ABOVE))
@pytest.mark.parametrize("position", ["last", "mean"])
def test_the_difference_of_means(kind, position):
    model = speaking(kind)

    def read(text):
        return states(model, text)[:, -1] if position == "last" else states(model, text)[:, 1:].mean(1)

    want = torch.stack([read(t) for t in POSITIVE]).mean(0) - torch.stack([read(t) for t in NEGATIVE]).mean(0)
    made = contrast(model, POSITIVE, NEGATIVE, position=position)
    assert torch.allclose(made.vectors, want, atol=1e-4) and made.about["positive"] == 3
    one = contrast(model, POSITIVE, NEGATIVE, position=position, layer=-1)
    assert torch.equal(one.direction, made.vectors[2]) and one.about["reliability"] == pytest.approx(
        float(made.reliability[2])
    )


def test_reliability_tells_a_direction_from_noise():
    model, draw = speaking("llama"), np.random.default_rng(0)

    def text(last):
        return f"w{draw.integers(1, 97)} " + last

    told = contrast(model, [text("w5 w6 w7") for _ in range(60)], [text("w60 w61 w62") for _ in range(60)], seed=1)
    noise = contrast(model, [text("w5 w6 w7") for _ in range(60)], [text("w5 w6 w7") for _ in range(60)], seed=1)
    assert (
        (told.reliability > 0.9).all()
        and (noise.reliability < 0.5).all()
        and (noise.reliability.abs() < told.reliability).all()
    )
    again = contrast(model, POSITIVE, NEGATIVE, seed=3)
    assert torch.equal(again.reliability, contrast(model, POSITIVE, NEGATIVE, seed=3).reliability)
    assert torch.isnan(contrast(model, POSITIVE, NEGATIVE[:1]).reliability).all(), "one text has no halves"
    assert contrast(model, POSITIVE, NEGATIVE[:1], layer=0).about["reliability"] is None


def test_two_texts_each_have_one_split_up_to_order():
    model = speaking("llama")
    a, b = ([states(model, t)[:, -1] for t in texts] for texts in (POSITIVE[:2], NEGATIVE))

    def cosine(i, j):
        return torch.cosine_similarity(a[i] - b[j], a[1 - i] - b[1 - j], dim=-1)

    got = contrast(model, POSITIVE[:2], NEGATIVE, splits=1, seed=0).reliability
    assert torch.allclose(got, cosine(0, 0), atol=1e-4) or torch.allclose(got, cosine(0, 1), atol=1e-4)


@pytest.mark.parametrize(
    "change, word",
    [
        (dict(positive=[]), "positive"),
        (dict(negative="w1"), "negative"),
        (dict(position="first"), "position"),
        (dict(splits=0), "splits"),
        (dict(positive=[" "]), r"positive\[0\]"),
        (dict(positive=["hello"]), "hello"),
        (dict(layer=3), "layer"),
    ],
)
def test_bad_arguments_are_named(change, word):
    arguments = dict(positive=POSITIVE, negative=NEGATIVE) | change
    with pytest.raises(ValueError, match=word):
        contrast(speaking("llama"), arguments.pop("positive"), arguments.pop("negative"), **arguments)
    assert issubclass(VectorError, ValueError)
