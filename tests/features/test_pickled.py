"""Tensors taken out of torch's files against NumPy, and files that ask for more."""

import json

import numpy as np
import pytest
import torch

import lens
from lens.engine.features import Tap
from lens.features import FeatureError

from .test_formats import X, both
from .written import D, F, relu, rng, top


def kept(path, tensors):
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({k: torch.tensor(np.asarray(v)).float() for k, v in tensors.items()}, path)
    return {k: np.float32(v).astype(np.float64) for k, v in tensors.items()}


def linear(decoder_bias, seed=0):
    r = rng(seed)
    return {
        "encoder.weight": r.normal(size=(F, D)),
        "encoder.bias": r.normal(size=F) * 0.3,
        "decoder.weight": r.normal(size=(D, F)),
        decoder_bias: r.normal(size=D),
    }


def load(folder, **more):
    return lens.features.load(folder, allow_tensors_from_pickle=True, **more)


@pytest.mark.parametrize("kind", ["AutoEncoder", "AutoEncoderTopK", "BatchTopKSAE"])
def test_dictionary_learnings_classes(kind, tmp_path):
    bias = "bias" if kind == "AutoEncoder" else "b_dec"
    more = {"BatchTopKSAE": {"threshold": 0.7}}.get(kind, {})
    a = kept(tmp_path / "ae.pt", linear(bias) | more)
    trainer = dict(dict_class=kind, k=3, layer=2, submodule_name="resid_post_layer_2", lm_name="tiny")
    (tmp_path / "config.json").write_text(json.dumps(dict(trainer=trainer)))
    h = (X - a[bias]) @ a["encoder.weight"].T + a["encoder.bias"]
    f = {"AutoEncoder": relu(h), "AutoEncoderTopK": top(h, 3)}.get(kind, relu(h) * (h > 0.7))
    sae = load(tmp_path)
    both(sae, f, f @ a["decoder.weight"].T + a[bias])
    assert sae.reads == Tap("resid_post", 2)
    with pytest.raises(FeatureError, match="allow_tensors_from_pickle=True"):
        lens.features.load(tmp_path)


def test_qwen_scopes_k_is_in_its_folders_name(tmp_path):
    r = rng(1)
    tensors = dict(
        W_enc=r.normal(size=(F, D)), W_dec=r.normal(size=(D, F)), b_enc=r.normal(size=F), b_dec=r.normal(size=D)
    )
    folder = tmp_path / "SAE-Res-Qwen3-1.7B-W32K-L0_4"
    a = kept(folder / "layer5.sae.pt", tensors)
    f = top(X @ a["W_enc"].T + a["b_enc"], 4)
    sae = load(folder)
    both(sae, f, f @ a["W_dec"].T + a["b_dec"])
    assert sae.reads == Tap("resid_post", 5)
    kept(tmp_path / "other" / "layer5.sae.pt", tensors)
    with pytest.raises(FeatureError, match="its k is in the name"):
        load(tmp_path / "other")


def test_goodfire_has_to_be_told_its_place(tmp_path):
    names = {"encoder.weight": "encoder_linear.weight", "encoder.bias": "encoder_linear.bias"}
    names |= {"decoder.weight": "decoder_linear.weight", "b": "decoder_linear.bias"}
    a = kept(tmp_path / "sae.pth", {names[k]: v for k, v in linear("b").items()})
    with pytest.raises(FeatureError, match="tap='resid_post'"):
        load(tmp_path)
    f = relu(X @ a["encoder_linear.weight"].T + a["encoder_linear.bias"])
    both(load(tmp_path, tap="resid_post", layer=1), f, f @ a["decoder_linear.weight"].T + a["decoder_linear.bias"])


def test_a_file_that_asks_for_more_than_tensors_is_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "ae.pt")
    with pytest.raises(FeatureError, match=r"ae\.pt"):
        load(tmp_path)
    torch.save([torch.ones(2)], tmp_path / "ae.pt")
    with pytest.raises(FeatureError, match="ae.pt"):
        load(tmp_path)
    kept(tmp_path / "ae.pt", {"weight": np.ones((2, 2))})
    with pytest.raises(FeatureError, match="expected the keys of"):
        load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(dict(trainer=dict(dict_class="GatedAutoEncoder"))))
    with pytest.raises(FeatureError, match="dict_class='GatedAutoEncoder'"):
        load(tmp_path)
