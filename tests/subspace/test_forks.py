"""Scores of neurons where runs cannot fork at the layer: a layer that sees all tokens in one row, an expert that sees
some of them, a model that builds something for the batch beforehand.
"""

import copy
import re
import warnings

import pytest
import torch
import transformers as T
from torch.nn import functional as F

from lens.subspace import SubspaceError, attribution, integrated_gradients, zero_out
from tests import models as tiny_models
from tests.engine.test_feedforward import PARTLY, draw, make

MODELS = {
    "experts": lambda: make(PARTLY["qwen2_moe"][0]),
    "experts of Llama 4": lambda: make(PARTLY["llama4"][0]),
    "alibi built beforehand": lambda: make(
        lambda: T.BloomConfig(vocab_size=97, hidden_size=32, n_layer=2, n_head=4, initializer_range=0.3)
    ),
    "forks": lambda: tiny_models.tiny("llama"),
}
IDS = draw(2, 3)


def losses(model):
    logits = model(IDS).logits[:, :-1]
    return F.cross_entropy(logits.flatten(0, 1).double(), IDS[:, 1:].flatten(), reduction="none").view(2, -1).mean(1)


@pytest.fixture(autouse=True)
def no_words():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def silenced(model, name, neurons=slice(None)):
    """A copy in which these inputs of a layer meet a weight of 0: the same as inputs of 0.

    But for the names of experts, it is a module of the model's.
    """
    model = copy.deepcopy(model)
    if (expert := re.fullmatch(r"(.*)\.(\d+)\.down_proj", name)) and expert[1].endswith("experts"):
        # [in, out] in Llama 4, [out, in] in the others
        matrix = model.get_submodule(expert[1]).down_proj[int(expert[2])]
        (matrix if "feed_forward" in name else matrix.T)[neurons] = 0
    else:
        model.get_submodule(name).weight[:, neurons] = 0
    return model


@pytest.mark.parametrize("kind", MODELS)
def test_zero_out_is_the_rise_by_hand(kind):
    plain, neurons = MODELS[kind](), (0, 7, 19)
    scores = zero_out(MODELS[kind](), IDS, candidates={name: neurons for name in zero_out_names(kind)}, progress=False)
    assert any(".experts." in name for name in scores.values) == ("experts" in kind)
    base = losses(plain).mean()
    for name, values in scores.values.items():
        for neuron in neurons:
            risen = losses(silenced(plain, name, neuron)).mean() - base
            if name in scores.about.get("unreached", ()):
                assert float(risen) == 0 and values.isnan().all()
            else:
                assert float(values[neuron]) == pytest.approx(float(risen), abs=2e-5)


def zero_out_names(kind):
    from lens.subspace import output_layers

    return list(output_layers(MODELS[kind]()))


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("kind", MODELS)
def test_integrated_gradients_are_complete_by_hand(kind, together):
    scores = integrated_gradients(MODELS[kind](), IDS, steps=40, rows=16, together=together, progress=False)
    plain, names = MODELS[kind](), list(scores.known())
    for path in [names] if together else [[name] for name in names]:
        without = plain
        for name in path:
            without = silenced(without, name)
        bottom = losses(without).mean()
        assert sum(float(scores.values[name].sum()) for name in path) == pytest.approx(
            float(bottom - losses(plain).mean()), abs=0.02 * abs(float(bottom))
        )


def test_which_models_fork(monkeypatch):
    seen, copied = [], attribution._Masked._copied

    def noted(self, one, masks):
        seen.append(max(map(len, masks.values())))
        return copied(self, one, masks)

    monkeypatch.setattr(attribution._Masked, "_copied", noted)
    zero_out(MODELS["forks"](), IDS[:1], progress=False)
    assert set(seen) == {2}, "only the trial may run copies"
    seen.clear()
    zero_out(MODELS["alibi built beforehand"](), IDS[:1], progress=False)
    assert max(seen) == 64


def test_a_layer_that_sees_some_tokens_only_is_refused():
    class Half(torch.nn.Module):
        def __init__(self, mlp):
            super().__init__()
            self.mlp = mlp

        def forward(self, x):
            flat = x.reshape(-1, x.shape[-1])
            out = torch.zeros_like(flat)
            out[::2] = self.mlp(flat[::2])
            return out.view_as(x)

    model = tiny_models.tiny("llama")
    model.model.layers[1].mlp = Half(model.model.layers[1].mlp)
    with pytest.raises(SubspaceError, match=r"sees 480 of 48 x 20 tokens \(a routed expert\)"):
        zero_out(model, IDS[:1], "model.layers.1.mlp.mlp.down_proj", progress=False)
