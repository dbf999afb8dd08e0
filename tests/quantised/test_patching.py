"""Patching a quantised model is exact: its own forward with plain hooks gives the same."""

import numpy as np
import pytest
import torch
from transformers import DynamicCache

import lens
from lens.models import weight_hash

from .. import naive
from ..models import word_tokenizer
from ..variants import few
from .making import CLEAN, CORRUPTED, METHODS, PAIR, SOME, quantised, quiet, wrapped

#: Rounding of float32, as a share of the largest effect.
TOLERANCE = 1e-4


def step(model):
    """How far a model that rounds the input of each layer, to codes or to bfloat16, is from itself: the largest
    difference of logits between its whole forward and one that goes on from its own cache, where attention rounds
    otherwise and an input may fall on the next code.
    """
    off = 0.0
    for ids in (CLEAN, CORRUPTED):
        whole = model(ids[None]).logits
        for at in range(1, len(ids)):
            cache = DynamicCache()
            model(ids[None, :at], past_key_values=cache, use_cache=True)
            rest = model(ids[None, at:], past_key_values=cache, use_cache=True).logits
            off = max(off, float((rest - whole[:, at:]).abs().max()))
    return off


def effects(model, site):
    """By plain hooks on the quantised model itself, an effect a layer and position."""

    def diff(changes):
        row = naive.forward(model, CORRUPTED, changes)[-1]
        return row[11] - row[12]

    def copied(source, position):
        def change(x):
            x = x.clone()
            x[0, position] = source[position]
            return x

        return change

    start, found = diff([]), []
    for layer in range(3):
        source = naive.activation(model, CLEAN, site, layer)
        found.append([diff([(site, layer, copied(source, p))]) - start for p in range(len(CLEAN))])
    return torch.tensor(found)


@pytest.mark.parametrize("method", few(METHODS, SOME))
def test_patching_is_what_the_models_own_hooked_forward_gives(method):
    with quiet():
        model, own = wrapped(method), quantised(method)
        own(CLEAN[None])
        off = step(own)
        for site in ("resid_pre", "z", "mlp_out"):
            got = torch.tensor(lens.patch(model, PAIR, site, progress=False).effect.values)
            want = effects(own, site)
            largest = float(want.abs().max())
            assert largest > 0.3 and float((got - want).abs().max()) <= max(TOLERANCE * largest, 2 * off), site
            assert float((got - want).norm()) <= 0.1 * float(want.norm()), site


def test_codes_that_the_first_forward_unpacks_are_unpacked_before_a_sweep_begins():
    with quiet():
        model, used = quantised("compressed"), quantised("compressed")
        model.tokenizer = used.tokenizer = word_tokenizer()
        used(CLEAN[None])
        before = weight_hash(model)
        first, want = (lens.patch(m, PAIR, progress=False) for m in (model, used))
    np.testing.assert_array_equal(first.value, want.value)
    assert lens.record(first)["model"]["hash"] == before == weight_hash(model)
