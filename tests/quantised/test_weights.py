"""Readers of weights read what a quantised layer applies; writers and gradients are right or refused by name."""

from pathlib import Path

import bitsandbytes
import numpy as np
import pytest
import torch

import lens
from lens.engine.effective import shape, weight_of
from lens.engine.linear import LinearError, every_linear, linears
from lens.engine.weights import WeightError, apply_weights
from lens.forgetting.drift import weight_drift
from lens.models import weight_hash
from lens.models.quantised_layers import gradient_refusal
from lens.scoring.causal import cast

from ..variants import few
from .making import (
    CLEAN,
    CORRUPTED,
    METHODS,
    PAIR,
    SOME,
    dequantised,
    layers,
    plain,
    quantised,
    quiet,
    unpacked,
    wrapped,
)

EXACT = ("torchao_int8", "torchao_float8", "quanto_int8", "quanto_int4", "compressed")
PACKS = bool(bitsandbytes.functional.has_avx512bf16())


@pytest.mark.parametrize("settled", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_a_weight_is_read_as_its_library_makes_it(method, settled):
    model, want = quantised(method), layers(dequantised(method))
    with quiet():
        if settled:
            model(CLEAN[None])
        before = weight_hash(model)
        for name, layer in layers(model).items():
            expected = want[name].weight
            assert shape(layer) == tuple(expected.shape)
            got = weight_of(layer, name)
            assert torch.allclose(got, expected, rtol=0, atol=1e-6 * float(expected.abs().max())), name
    assert weight_hash(model) == before


@pytest.mark.parametrize("method", ["bitsandbytes_int8", "nf4", "torchao_int8"])
def test_a_weight_is_what_the_layer_does_with_unit_vectors(method):
    model = quantised(method)
    with quiet():
        model(CLEAN[None])
        layer = layers(model)["model.layers.0.mlp.up_proj"]
        assert torch.allclose(
            layer(torch.eye(64)).T, weight_of(layer), rtol=0, atol=4e-3 * float(weight_of(layer).max())
        )


SUBJECT = lens.Pair(
    "w5 w6 w7 w8 w3", corrupted="w5 w9 w7 w8 w3", answer=" w11", foil=" w12", spans={"subject": "w6 w7"}
)
SHIFTS = lens.vectors.Task.from_pairs([(f"w{i}", f"w{i + 40}") for i in range(1, 30)], name="shift")
READ = {
    "causal trace": lambda m: lens.causal_trace(m, SUBJECT, samples=2, seed=3, progress=False).value.values,
    "path patching": lambda m: lens.path_patch(m, PAIR, lens.Site("q", 2, head=1), progress=False).value.values,
    "effects of heads": lambda m: (
        lens.vectors.head_effects(
            m, SHIFTS, trials=2, shots=2, mean_prompts=3, template="bare", known=False, progress=False
        ).edited.values
    ),
    "direct logit attribution": lambda m: lens.direct_logit_attribution(m, PAIR).contribution.values,
    "head vocabulary": lambda m: lens.head_vocabulary(m, 1, 2, tokens=[" w5", " w6"]).promoted.values,
    "copying scores": lambda m: lens.copying_scores(m).eigenvalue_score.values,
    "logit lens": lambda m: lens.logit_lens(m, PAIR, k=97).logit_diff.values,
    "attention": lambda m: lens.attention(m, PAIR).pattern.values,
    "log-likelihoods": lambda m: lens.scoring.score(m, [np.arange(3, 20), np.arange(5, 30)], progress=False).logprob,
    "an injected memory": lambda m: np.asarray(
        lens.injection.next_tokens(
            m, "w5 w6 w7", lens.injection.encode(m, "w8 w9"), layers=[1], strength=2.0, k=97
        ).logprobs_after
    ),
}


def chosen(read, method):
    """All that is read of one method, what reads weights alone of all, and a forward of two that round."""
    return (
        method == "torchao_int8"
        or (read == "head vocabulary" and method in SOME)
        or (read == "log-likelihoods" and method in ("bitsandbytes_int8", "nf4"))
    )


@pytest.mark.parametrize(
    "read, method",
    [
        pytest.param(read, method, marks=() if chosen(read, method) else pytest.mark.long)
        for read in READ
        for method in METHODS
    ],
)
def test_methods_read_the_same_of_a_quantised_model_as_of_floats_of_its_weights(read, method):
    with quiet():
        model = wrapped(method)
        floats = lens.models.wrap(dequantised(method), model.tokenizer, "floats")
        got, want = np.asarray(READ[read](model)), np.asarray(READ[read](floats))
        off = 2e-5 if method in EXACT else float((logits(model) - logits(floats)).abs().max())
    # what rounds its input differs by that, which weights alone do not know of
    assert np.nanmax(np.abs(got - want)) <= max(1e-4 * np.nanmax(np.abs(want)), 2 * off * (method not in EXACT))


def logits(model):
    out = model(torch.stack([CLEAN, CORRUPTED]))
    return getattr(out, "logits", out)


@pytest.mark.parametrize("method", METHODS)
def test_weights_that_are_quantised_are_not_written_to(method):
    model = quantised(method)
    name = "model.layers.1.mlp.down_proj"
    with quiet():
        model(CLEAN[None])
        before, was = weight_hash(model), model(CLEAN[None]).logits
        with pytest.raises(
            WeightError, match=rf"new: {name}: the weight of this layer is quantised \({METHODS[method]}\)"
        ):
            apply_weights(model, {name: torch.zeros(64, 128)})
        mask = lens.subspace.Mask({name: np.arange(4)}, {name: (64, 128)})
        with pytest.raises(lens.Error, match=r"is quantised \(.*dequantize=True"):
            mask.apply(model, strict=False)
        with pytest.raises(LinearError, match=r"is quantised \(.*dequantize=True"):
            every_linear(model)[name].parameter
        assert weight_hash(model) == before and torch.equal(model(CLEAN[None]).logits, was)
        # the head is in floats, and is edited as ever
        new = torch.zeros_like(model.lm_head.weight)
        undo = apply_weights(model, {"lm_head": new})
        assert float(model(CLEAN[None]).logits.abs().max()) == 0
        undo.undo()
        assert weight_hash(model) == before and torch.equal(model(CLEAN[None]).logits, was)


def refuses(method):
    return method == "torchao_int8_dynamic" or (method.startswith("nf4") and PACKS)


@pytest.mark.parametrize("method", few(METHODS, ("torchao_int8", "torchao_int8_dynamic", "nf4", "quanto_int4")))
def test_attribution_is_right_or_refused(method):
    with quiet():
        model = wrapped(method)
        if refuses(method):
            with pytest.raises(
                lens.Error,
                match=rf"method='attribution' takes gradients, and the layer .* \({METHODS[method]}\) .*dequantize",
            ):
                lens.patch(model, PAIR, "resid_pre", method="attribution", progress=False)
            return
        got = lens.patch(model, PAIR, "resid_pre", method="attribution", progress=False).effect.values
        floats = lens.models.wrap(dequantised(method), model.tokenizer, "floats")
        want = lens.patch(floats, PAIR, "resid_pre", method="attribution", progress=False).effect.values
    # bitsandbytes rounds the inputs to int8 on the way forward
    close = 1e-4 if method in EXACT else 0.15
    assert np.abs(got - want).max() <= close * np.abs(want).max()
    assert np.corrcoef(got.ravel(), want.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("method", ["torchao_int8_dynamic", "torchao_int8"])
def test_curvature_is_of_the_floats_or_refused(method):
    rows = [torch.arange(3, 20)[None], torch.arange(5, 30)[None]]
    with quiet():
        model = quantised(method)
        chosen = ["model.layers.1.mlp.down_proj"]
        if method != "torchao_int8":
            with pytest.raises(lens.Error, match=rf"takes gradients, and the layer .* \({METHODS[method]}\)"):
                lens.curvature.factors(model, chosen, rows, fisher="empirical", progress=False)
            return
        got = lens.curvature.factors(model, chosen, rows, fisher="empirical", progress=False)
        want = lens.curvature.factors(dequantised(method), chosen, rows, fisher="empirical", progress=False)
    for side in ("a", "g"):
        own, floats = getattr(got, side)[chosen[0]], getattr(want, side)[chosen[0]]
        assert torch.allclose(own, floats, rtol=0, atol=1e-4 * float(floats.abs().max())), side


def test_bitsandbytes_int8_in_training_mode_is_another_function_and_is_not_trained():
    with quiet():
        model = quantised("bitsandbytes_int8")
        own = model(CLEAN[None]).logits
        assert float((model.train()(CLEAN[None]).logits - own).abs().max()) > 0.05
        why = gradient_refusal(model)
        assert "multiplies floats in train() and codes in eval()" in why and gradient_refusal(model.eval()) is None
        recipe = lens.training.Recipe(steps=1, batch=1, learning_rate=1e-3)
        ids = torch.arange(3, 20)[None]
        rows = lens.training.Rows(ids, ids > 3, torch.tensor([17]))
        with pytest.raises(lens.Error, match=r"multiplies floats in train\(\).*dequantize=True"):
            lens.training.train(model, rows, recipe, parameters=["lm_head.weight"])
        with pytest.raises(
            lens.Error, match=r"parameters has 'model.layers.0.self_attn.q_proj.weight', whose numbers are"
        ):
            lens.training.train(quantised("torchao_int8"), rows, recipe, parameters=lambda name: True)
        # packed into plain integers before the first forward, and floats that it unpacked after it
        packed, used = quantised("compressed"), quantised("compressed")
        used(CLEAN[None])
        for model in (packed, used):
            with pytest.raises(lens.training.TrainingError, match="codes or scales .*dequantize=True"):
                lens.training.train(model, rows, recipe, parameters=lambda name: "layers.0.mlp" in name)


@pytest.mark.skipif(not PACKS, reason="this processor has no bfloat16 products, for which the codes are packed")
def test_a_product_of_packed_codes_has_no_gradient_so_that_it_is_refused():
    with quiet():
        model, floats = quantised("nf4"), dequantised("nf4")
        before = gradient(model)
        model(CLEAN[None])
        assert torch.cosine_similarity(before, gradient(floats), dim=0) > 0.99
        assert torch.cosine_similarity(gradient(model), gradient(floats), dim=0) < 0.3
    assert "packs its codes for this processor" in gradient_refusal(model)
    assert gradient_refusal(quantised("nf4")) == gradient_refusal(model)


def gradient(model):
    embedded = model.get_input_embeddings()(CLEAN[None]).detach().requires_grad_()
    last = model(inputs_embeds=embedded).logits[0, -1]
    return torch.autograd.grad(last[11] - last[12], embedded)[0].flatten()


def test_a_quantised_model_is_not_cast_for_scoring():
    with (
        quiet(),
        pytest.raises(lens.scoring.ScoringError, match=r"dtype='bfloat16': .* are quantised .*dequantize=True"),
    ):
        cast(quantised("torchao_int8"), torch.bfloat16, None)


def test_reading_a_plain_layer_copies_nothing():
    layer = plain().lm_head
    assert weight_of(layer) is layer.weight
    assert linears(plain(), "lm_head")["lm_head"].d_out == 97


@pytest.mark.long
def test_quantos_compiled_function_unpacks_as_the_tests_do():
    from optimum.quanto.library.extensions import cpp

    compiled = cpp.Extension(cpp.ext.name, str(Path(cpp.__file__).parent), [], cpp.ext.extra_cflags)
    compiled.sources = cpp.ext.sources
    codes = torch.arange(256, dtype=torch.uint8).reshape(16, 16)
    for bits in (2, 4):
        assert torch.equal(compiled.lib.unpack(codes, bits), unpacked(codes, bits))


def test_a_distance_of_codes_is_refused():
    model = quantised("nf4")
    with pytest.raises(lens.Error, match=r"q_proj.weight' is quantised, and a distance of codes.*dequantize=True"):
        weight_drift(model, model)


def test_a_sweep_that_is_not_finite_names_the_scale_that_is_not():
    with quiet():
        model = wrapped("torchao_int8")
        own = getattr(model, "original_model", model)
        next(p for p in own.parameters() if hasattr(p, "qdata")).scale[0] = float("nan")
        with pytest.raises(lens.Error, match=r"\.scale' holds NaN or infinity"):
            lens.patch(model, PAIR, "resid_pre", progress=False)


def test_a_threshold_for_outliers_is_named_where_it_makes_places_depend_on_later_ones():
    with quiet():
        model = quantised("bitsandbytes_int8_outliers")
        large = torch.randn(64, generator=torch.Generator().manual_seed(0)) * 4
        for layer in model.model.layers:
            layer.input_layernorm.weight.copy_(large)
            layer.post_attention_layernorm.weight.copy_(large)
        with pytest.raises(lens.Error, match="q_proj' .bitsandbytes int8 with a threshold for outliers.*threshold=0.0"):
            lens.scoring.score(model, [[5, 6, 7, 8, 3]])
        assert len(lens.scoring.score(quantised("bitsandbytes_int8"), [[5, 6, 7, 8, 3]], start=None).logprob) == 4
