"""Models that are not built as expected: blocks of an unknown kind, layers that are skipped or called twice."""

import pytest
import torch
from torch import nn
from transformers import LlamaModel

import lens
from lens.engine.errors import UnsupportedModel
from tests.models import speaking, tiny

PAIR = lens.Pair("w5 w17 w3 w88 w41", corrupted="w5 w17 w3 w21 w41", answer=" w11", foil=" w12")


class Unknown(nn.Module):
    """A block that adds to each token a mix of those before it, without attention or MLP by any known name."""

    def __init__(self, d=32):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(d, d, generator=torch.Generator().manual_seed(0)) * 0.2, False)

    def forward(self, hidden_states, *_, **__):
        count = torch.arange(1, hidden_states.shape[1] + 1)[:, None]
        return hidden_states + (hidden_states.cumsum(1) / count) @ self.weight


def with_unknown(model):
    model.model.layers[1] = Unknown()
    return model


def by_hand(make, layer, position):
    """The logit difference with a block's output at a position copied from the clean text, on a model of its own."""
    clean, corrupted = (torch.tensor([[int(w[1:]) for w in text.split()]]) for text in (PAIR.clean, PAIR.corrupted))
    model, seen = make(), []

    def first(output):
        return output[0] if isinstance(output, tuple) else output

    handle = model.model.layers[layer].register_forward_hook(lambda m, a, out: seen.append(first(out).clone()))
    model(clean)
    handle.remove()

    def write(m, args, out):
        x = first(out).clone()
        x[:, position] = seen[0][:, position]
        return (x, *out[1:]) if isinstance(out, tuple) else x

    handle = model.model.layers[layer].register_forward_hook(write)
    logits = model(corrupted).logits[0, -1]
    handle.remove()
    return float(logits[11] - logits[12])


def test_a_block_of_an_unknown_kind_is_run_as_it_is():
    model = with_unknown(speaking())
    with pytest.warns(UserWarning, match="every edited run is computed"):
        seen = lens.patch(model, PAIR, "resid_post", progress=False)
    for layer in range(3):
        for position in (3, 4):
            want = by_hand(lambda: with_unknown(tiny("llama")), layer, position)
            assert abs(float(seen.value.sel(layer=layer, position=position)) - want) < 1e-4
    assert lens.record(seen)["engine"]["name"] != "walk"


def test_what_the_unknown_block_does_not_have_is_said_with_the_layers_that_do():
    with pytest.raises(lens.SiteError, match=r"layer 1.*layers=\[0, 2\]"):
        lens.patch(with_unknown(speaking()), PAIR, "z", ("layer", "head"), layers=[0, 1], progress=False)
    table = lens.sites(with_unknown(speaking()))
    assert table.layers["z"] == "0, 2" and table.layers["resid_post"] == "0-2"


@pytest.mark.filterwarnings("ignore:.*every edited run is computed")
def test_where_all_layers_that_are_asked_for_have_the_site_it_is_served():
    seen = lens.patch(with_unknown(speaking()), PAIR, "mlp_out", layers=[0, 2], progress=False)
    assert seen.effect.shape == (2, 5) and bool(seen.effect.notnull().all())
    heads = lens.patch(with_unknown(speaking()), PAIR, "z", ("layer", "head"), progress=False)
    assert list(heads.layer) == [0, 2] and bool(heads.effect.notnull().all())


class Reordered(LlamaModel):
    """Calls its layers in an order of its own."""

    order = (0, 1, 2)

    def forward(self, *args, **kwargs):
        whole = self.layers
        self.layers = nn.ModuleList([whole[i] for i in self.order])
        try:
            return super().forward(*args, **kwargs)
        finally:
            self.layers = whole


@pytest.mark.parametrize("order", [(0, 1, 1, 2), (0, 2)], ids=["twice", "skipped"])
def test_layers_that_are_called_twice_or_skipped_are_refused_by_name(order):
    model = speaking()
    model.model.__class__ = Reordered
    model.model.order = order
    with pytest.raises((UnsupportedModel, lens.PatchError), match="layer 1 does not map"):
        lens.patch(model, PAIR, progress=False)
    model.model.order = (0, 1, 2)
    plain = lens.patch(speaking(), PAIR, progress=False)
    assert abs(lens.patch(model, PAIR, progress=False).value - plain.value).max() < 1e-4
