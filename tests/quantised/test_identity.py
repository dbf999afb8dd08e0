"""The hash of quantised weights is of codes and scales, a record says how they are quantised, and scales are finite."""

import json

import bitsandbytes
import pytest
import torch

import lens
from lens.cache import LoadError
from lens.models import weight_hash
from lens.models.folder import require_finite
from lens.models.quantised_layers import is_unsettled
from lens.models.state import identity

from .making import CLEAN, METHODS, PAIR, layers, plain, quantised, quiet, wrapped

LAYER = "model.layers.1.self_attn.q_proj"


def codes_and_scales(layer):
    """By hand, of each library, where a layer keeps its codes and scales."""
    w = layer.weight
    if hasattr(w, "qdata"):
        return w.qdata, w.scale
    if hasattr(w, "SCB"):
        return w.data, w.SCB if w.SCB is not None else layer.state.SCB
    if hasattr(w, "quant_state"):
        return w.data, w.quant_state.absmax
    codes = w._data
    return getattr(codes, "_data", codes), w._scale


@pytest.mark.parametrize("method", METHODS)
def test_the_hash_is_of_what_is_applied_and_stays_over_forwards(method):
    fresh, other = quantised(method), quantised(method, seed=1)
    before = weight_hash(fresh)
    packs = method.startswith("nf4") and bitsandbytes.functional.has_avx512bf16()
    unsettled = packs or method == "compressed"
    assert is_unsettled(fresh) == unsettled
    with quiet():
        state = identity(fresh).digest
        fresh(CLEAN[None])
        assert not is_unsettled(fresh)
        assert weight_hash(fresh) == before == weight_hash(fresh, anew=True)
        assert identity(fresh).digest == state
    assert weight_hash(other) != before and weight_hash(plain()) != before
    assert weight_hash(quantised(method)) == before
    assert weight_hash(wrapped(method)) == before


@pytest.mark.parametrize("settled", [False, True])
@pytest.mark.parametrize("method", [m for m in METHODS if m != "compressed"])
def test_a_code_and_a_scale_are_each_in_the_hash(method, settled):
    model = quantised(method)
    with quiet():
        if settled:
            model(CLEAN[None])
        before = weight_hash(model)
        codes, scale = codes_and_scales(layers(model)[LAYER])
        own = scale.clone()
        scale.copy_(2 * scale.float())
        doubled = weight_hash(model)
        scale.copy_(own)
        assert weight_hash(model) == before != doubled
        bytes_of = codes.view(torch.uint8)
        bytes_of[0, 0] ^= 1
        assert weight_hash(model, anew=True) not in (before, doubled)


def test_a_scale_of_compressed_tensors_is_in_the_hash_before_and_after_it_is_decompressed():
    model = quantised("compressed")
    layer, before = layers(model)[LAYER], weight_hash(model)
    layer.weight_scale.mul_(2)
    doubled = weight_hash(model)
    with quiet():
        model(CLEAN[None])
    assert weight_hash(model) == doubled != before


@pytest.mark.parametrize("method", METHODS)
def test_a_record_says_by_what_method_how_many_layers_are_quantised(method):
    with quiet():
        trace = lens.patch(wrapped(method), PAIR, "resid_pre", layers=[1], progress=False)
    model = json.loads(trace.attrs["mnemoscope"])["model"]
    assert model["quantised"] == {METHODS[method]: 21}


def test_the_state_tells_methods_apart_whose_codes_are_the_same():
    states = {method: identity(quantised(method)).digest for method in METHODS}
    # nested scales are rounded once more, which the hash tells: all else of the layer is the same
    assert len(set(states.values())) == len(METHODS) - (states["nf4"] == states["nf4_nested"])
    assert weight_hash(quantised("nf4")) != weight_hash(quantised("nf4_nested"))
    same = {weight_hash(quantised(method)) for method in ("torchao_int8", "torchao_int8_dynamic")}
    assert len(same) == 1 and states["torchao_int8"] != states["torchao_int8_dynamic"]


def test_a_plain_model_says_nothing_of_quantisation():
    assert "quantised" not in identity(plain()).record()


@pytest.mark.parametrize("method", METHODS)
def test_a_scale_that_is_not_finite_is_found_and_named(method):
    model = quantised(method)
    require_finite("m", model)
    layer = layers(model)[LAYER]
    scale = layer.weight_scale.data if method == "compressed" else codes_and_scales(layer)[1]
    if not scale.is_floating_point():  # nested scales are codes too
        scale = layer.weight.quant_state.state2.absmax
    scale.reshape(-1)[0] = float("nan")
    with pytest.raises(LoadError, match=rf"parameter '{LAYER}\.weight[^']*' has 1 of \d+ values NaN or infinite"):
        require_finite("m", model)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite_are_counted_in_any_precision(dtype, bad):
    model = plain().to(dtype)
    require_finite("m", model)
    model.lm_head.weight[3, 5] = bad
    model.lm_head.weight[4, 5] = bad
    with pytest.raises(LoadError, match=r"parameter 'lm_head.weight' has 2 of 6208 values NaN or infinite"):
        require_finite("m", model)
