"""Gemma Scope 2's cross-layer transcoders and Llama Scope's set for the distilled R1, against NumPy in float64; and
the dictionaries that ship.
"""

import json

import numpy as np
import pytest
import torch

import lens
from lens.engine.features import Tap
from lens.features import FeatureError, shipping

from .test_formats import X, both
from .tiny import dictionary
from .written import D, F, close, relu, rng, save

N = 3
HOOK = "model.layers.{}.pre_feedforward_layernorm.output"


def cross_layer(folder, hook=HOOK.format("{layer}"), layers=N):
    """A cross-layer transcoder in a file a layer; its arrays in float64, places before a layer's own filled with what
    must not be read.
    """
    parts = []
    for i in range(N):
        r = rng(i)
        a = {
            "w_enc": r.normal(size=(D, F)),
            "b_enc": r.normal(size=F),
            "w_dec": r.normal(size=(F, layers, D)),
            "b_dec": r.normal(size=D),
            "threshold": np.abs(r.normal(size=F)),
            "affine_skip_connection": r.normal(size=(D, D)),
        }
        a["w_dec"][:, :i] = 1e6
        save(folder / f"params_layer_{i}.safetensors", a)
        parts.append({k: np.float32(v).astype(np.float64) for k, v in a.items()})
    told = dict(architecture="jump_relu", model_name="gemma-3-1b-pt") | ({"hf_hook_point_in": hook} if hook else {})
    (folder / "config.json").write_text(json.dumps(told))
    return parts


def test_gemma_scope_2s_cross_layer_decoders_are_placed_by_the_layer_written_to(tmp_path):
    parts = cross_layer(tmp_path)
    clt = lens.features.load(tmp_path)
    assert [(d.reads, d.writes) for d in clt.layers] == [(Tap("mlp_in", i), Tap("mlp_out", i)) for i in range(N)]
    inputs = [np.float32(rng(20 + i).normal(size=(4, D))).astype(np.float64) for i in range(N)]
    h = [x @ p["w_enc"] + p["b_enc"] for x, p in zip(inputs, parts)]
    f = [relu(one) * (one > p["threshold"]) for one, p in zip(h, parts)]
    given = [torch.tensor(x).float() for x in inputs]
    ours = [d.values(x) for d, x in zip(clt.layers, given)]
    for target in range(N):
        own = parts[target]["b_dec"] + inputs[target] @ parts[target]["affine_skip_connection"]
        want = own + sum(f[i] @ parts[i]["w_dec"][:, target] for i in range(target + 1))
        close(clt.reconstruct(ours, given, target), want)


def test_a_cross_layer_transcoder_that_is_not_whole_or_says_no_place_is_refused(tmp_path):
    cross_layer(tmp_path, hook=None)
    with pytest.raises(FeatureError, match="does not say which activation"):
        lens.features.load(tmp_path)
    assert [d.reads for d in lens.features.load(tmp_path, tap="resid_mid").layers][2] == Tap("resid_mid", 2)
    (tmp_path / "params_layer_2.safetensors").unlink()
    with pytest.raises(FeatureError, match=r"expected \[10, 2, d\]"):
        lens.features.load(tmp_path, tap="resid_mid")
    (tmp_path / "params_layer_0.safetensors").unlink()
    with pytest.raises(FeatureError, match=r"layers \[1\]; expected 0"):
        lens.features.load(tmp_path, tap="resid_mid")


def distilled(folder, more=None, **config):
    r = rng(3)
    a = {
        "encoder.weight": r.normal(size=(F, D)),
        "encoder.bias": r.normal(size=F) * 0.3,
        "decoder.weight": r.normal(size=(D, F)),
        "decoder.bias": r.normal(size=D),
        "log_jumprelu_threshold": r.normal(size=F) * 0.5,
    }
    save(folder / "sae_weights.safetensors", a | (more or {}))
    hook = "blocks.1.hook_resid_post"
    told = dict(d_model=D, d_sae=F, hook_point_in=hook, hook_point_out=hook, act_fn="jumprelu")
    (folder / "config.json").write_text(json.dumps(told | dict(norm_activation="dataset-wise") | config))
    return {k: np.float32(v).astype(np.float64) for k, v in a.items()}


@pytest.mark.parametrize("where", ["tensors", "configuration", "caller"])
@pytest.mark.parametrize("by_norm", [False, True])
def test_the_distilled_sets_thresholds_are_exponentials(where, by_norm, tmp_path):
    name = "dataset_average_activation_norm"
    tensors = {f"{name}.blocks.1.hook_resid_post": np.array(5.0)} if where == "tensors" else {}
    config = {name: {"in": 5.0, "out": 5.0}} if where == "configuration" else {}
    a = distilled(tmp_path, tensors, sparsity_include_decoder_norm=by_norm, **config)
    s = np.sqrt(D) / 5
    sae = lens.features.load(tmp_path, **({"scale": s} if where == "caller" else {}))
    h = (X * s) @ a["encoder.weight"].T + a["encoder.bias"]
    norm = np.linalg.norm(a["decoder.weight"], axis=0) if by_norm else 1.0
    f = h * (h * norm > np.exp(a["log_jumprelu_threshold"]))
    both(sae, f, (f @ a["decoder.weight"].T + a["decoder.bias"]) / s)
    assert sae.reads == Tap("resid_post", 1)


def test_a_distilled_set_without_its_scale_or_configuration_is_refused(tmp_path):
    distilled(tmp_path)
    with pytest.raises(FeatureError, match=r"give scale=sqrt\(d_model\)"):
        lens.features.load(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(FeatureError, match="config.json"):
        lens.features.load(tmp_path, scale=1.0)


def test_a_dictionary_that_ships_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(shipping, "FOLDER", tmp_path)
    with pytest.raises(FeatureError, match="there are: none yet"):
        lens.features.load("features:tiny")
    sae = dictionary(Tap("resid_post", 1))
    lens.features.save(sae, tmp_path / "tiny", card={"labels": {"3": "three"}})
    assert lens.features.shipped() == ["tiny"]
    back = lens.features.load("features:tiny")
    assert back.n_features == sae.n_features and back.labels == {3: "three"}
    with pytest.raises(FeatureError, match=r"folder='features:\.\./tiny'.* there are: features:tiny"):
        lens.features.load("features:../tiny")
