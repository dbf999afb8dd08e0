"""What cannot be used is refused: what the message names, and that nothing is changed."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import lens
from lens.engine.features import Tap
from lens.features import FeatureError
from tests.models import tiny

from .test_formats import gemma, gemma_second, llama_scope, sparse, tracer
from .tiny import dictionary
from .written import D, F, arrays, rng, saelens, save

IDS = torch.tensor([[5, 17, 3]])


@pytest.fixture(scope="module")
def llama():
    return tiny("llama")


@pytest.mark.parametrize(
    "sae, says",
    [
        (
            lambda: dictionary(Tap("resid_post", 1), d_in=16),
            r"16 wide at resid_post .* there 32",
        ),
        (lambda: dictionary(Tap("resid_post", 3)), r"layers 0 to 2"),
        (lambda: dictionary(Tap("z", 1), d_in=40), r"40 wide at z of layer 1, and the model there 32"),
        (lambda: dictionary(Tap("z", 1, head=4), d_in=8), r"head=4.*heads 0 to 3"),
    ],
)
def test_a_dictionary_of_another_model_is_refused_before_anything_runs(sae, says, llama):
    edit = lens.Edit(lens.Site("feature", sae(), index=1), "zero")
    with pytest.raises(FeatureError, match=says), lens.edited(llama, edit):
        pass
    view = lens.Model.of(llama)
    with pytest.raises(FeatureError, match=says):
        view.run(view.record([IDS[0]], ("z",)), [(0, [edit])], [[2]])
    assert not llama.model.layers[1]._forward_hooks


def test_a_dictionary_that_names_another_model_is_refused_by_both_names(llama, monkeypatch):
    monkeypatch.setattr(llama.config, "name_or_path", "org/Pythia-70m")
    view = lens.Model.of(llama)
    sae = dictionary(Tap("resid_post", 1))
    for name in (None, "EleutherAI/pythia-70m", "pythia-70m-deduped", "LlamaForCausalLM", "/some/folder"):
        replace(sae, model=name).require(view)
    with pytest.raises(FeatureError, match="'google/gemma-2-2b', and this one is 'org/Pythia-70m'"):
        replace(sae, model="google/gemma-2-2b").require(view)
    monkeypatch.setattr(llama.config, "name_or_path", "")
    replace(sae, model="google/gemma-2-2b").require(view)


def test_a_dictionary_without_its_threshold_is_refused(tmp_path):
    saelens(tmp_path / "a", "standard")
    config = json.loads((tmp_path / "a" / "cfg.json").read_text())
    (tmp_path / "a" / "cfg.json").write_text(json.dumps(config | dict(architecture="jumprelu")))
    with pytest.raises(FeatureError, match="'threshold', which architecture='jumprelu'"):
        lens.features.load(tmp_path / "a")
    llama_scope(tmp_path / "b", jump_relu_threshold=None)
    with pytest.raises(FeatureError, match="jump_relu_threshold=None"):
        lens.features.load(tmp_path / "b")
    tracer(tmp_path / "c", layers=(0,), threshold=False)
    with (tmp_path / "c" / "config.yaml").open("a") as file:
        file.write("activation: jump_relu\n")
    with pytest.raises(FeatureError, match="activation_function.threshold"):
        lens.features.load(tmp_path / "c")
    a = arrays(4)
    a.pop("threshold")
    (tmp_path / "d" / "layer_1").mkdir(parents=True)
    np.savez(tmp_path / "d" / "layer_1" / "params.npz", **a)
    with pytest.raises(FeatureError, match="'threshold' is None"):
        lens.features.load(tmp_path / "d" / "layer_1", tap="resid_post")


def test_a_scale_outside_of_the_file_has_to_be_given_and_no_other_may_be(tmp_path):
    saelens(tmp_path / "a", "standard", dict(normalize_activations="expected_average_only_in"))
    with pytest.raises(FeatureError, match="scale=None"):
        lens.features.load(tmp_path / "a")
    saelens(tmp_path / "b", "standard")
    sparse(tmp_path / "layers.1")
    llama_scope(tmp_path / "c")
    for folder in ("b", "layers.1", "c"):
        with pytest.raises(FeatureError, match=r"scale=2\.0"):
            lens.features.load(tmp_path / folder, scale=2.0)


def test_a_row_that_is_no_number_is_named_where_it_is_used(tmp_path, llama):
    bad = rng(0).normal(size=(F, 32))
    bad[7, 3] = np.nan
    saelens(tmp_path, "standard", d=32, more=dict(W_dec=bad))
    sae = lens.features.load(tmp_path)
    with lens.edited(llama, lens.Edit(lens.Site("feature", sae, index=3), "replace", 1.0)):
        assert torch.isfinite(llama(IDS).logits).all()
    with (
        pytest.raises(FeatureError, match=r"feature 7: its row of 'W_dec' holds NaN"),
        lens.edited(llama, lens.Edit(lens.Site("feature", sae, index=7), "replace", 1.0)),
    ):
        llama(IDS)
    with pytest.raises(FeatureError, match="feature 7"):
        lens.features.random_like(sae)
    saelens(tmp_path, "standard", more=dict(b_enc=np.full(F, np.inf)))
    with pytest.raises(FeatureError, match="'b_enc' holds NaN or infinity"):
        lens.features.load(tmp_path)


@pytest.mark.parametrize("k", [0, F + 1, "4", True, None])
def test_a_k_that_the_dictionary_has_no_features_for_is_refused(k, tmp_path):
    saelens(tmp_path / "a", "topk", dict(k=k))
    sparse(tmp_path / "layers.1", k=k)
    for folder in ("a", "layers.1"):
        with pytest.raises(FeatureError, match=f"k={k!r}.*1 to its 10 features"):
            lens.features.load(tmp_path / folder)


@pytest.mark.parametrize("name", ["ae.pt", "layer3.sae.pt", "model.pth"])
def test_a_pickle_is_refused_unread(name, tmp_path):
    (tmp_path / name).write_bytes(b"\x80\x04N.")
    with pytest.raises(FeatureError, match=f"{name}, a pickle.*safetensors"):
        lens.features.load(tmp_path)


def test_arrays_of_objects_are_refused(tmp_path):
    np.savez(tmp_path / "params.npz", threshold=np.array([{}], dtype=object))
    with pytest.raises(FeatureError, match=r"params.npz"):
        lens.features.load(tmp_path, tap="resid_post", layer=0)


def test_a_folder_that_fits_two_formats_or_none_is_refused(tmp_path):
    with pytest.raises(FeatureError, match="holds no dictionary that is known"):
        lens.features.load(tmp_path)
    with pytest.raises(FeatureError, match="is no folder"):
        lens.features.load(tmp_path / "absent")
    saelens(tmp_path, "standard")
    sparse(tmp_path)
    with pytest.raises(FeatureError, match="SAELens, sparsify"):
        lens.features.load(tmp_path)


def test_weights_that_are_turned_or_of_other_sizes_are_refused(tmp_path):
    saelens(tmp_path / "a", "standard", more=dict(W_enc=rng(0).normal(size=(F, D))))
    with pytest.raises(FeatureError, match="'W_enc' is .10, 6.*turned round"):
        lens.features.load(tmp_path / "a")
    saelens(tmp_path / "b", "standard", dict(d_sae=F + 1))
    with pytest.raises(FeatureError, match="11 features"):
        lens.features.load(tmp_path / "b")
    save(tmp_path / "c" / "sae_weights.safetensors", arrays(), torch.int32)
    (tmp_path / "c" / "cfg.json").write_text("{}")
    with pytest.raises(FeatureError, match="d_in=None|holds I32"):
        lens.features.load(tmp_path / "c")


@pytest.mark.parametrize(
    "config, says",
    [
        (dict(architecture="matching_pursuit"), "architecture='matching_pursuit'"),
        (dict(normalize_activations="whitening"), "normalize_activations='whitening'"),
        (dict(metadata=dict(hook_name="blocks.1.hook_odd", sae_lens_version="6.0.0")), "'blocks.1.hook_odd'"),
        (dict(metadata=dict(sae_lens_version="6.0.0")), "tap='resid_post'"),
        (dict(d_in="6"), "d_in='6'"),
    ],
)
def test_what_a_configuration_says_that_is_not_known_is_named(config, says, tmp_path):
    saelens(tmp_path, "standard", config)
    with pytest.raises(FeatureError, match=says):
        lens.features.load(tmp_path)


def test_factors_of_a_fine_tuning_are_refused_and_ones_are_not(tmp_path):
    saelens(tmp_path, "standard", more=dict(scaling_factor=np.ones(F)))
    assert lens.features.load(tmp_path).n_features == F
    saelens(tmp_path, "standard", more=dict(scaling_factor=np.full(F, 1.1)))
    with pytest.raises(FeatureError, match="scaling_factor"):
        lens.features.load(tmp_path)


def test_several_layers_in_one_file_are_refused_by_name(tmp_path):
    gemma_second(tmp_path)
    (tmp_path / "params.safetensors").rename(tmp_path / "params_layer_3.safetensors")
    with pytest.raises(FeatureError, match="of a crosscoder"):
        lens.features.load(tmp_path)


def test_a_site_of_features_says_what_it_lacks(llama):
    sae = dictionary(Tap("resid_post", 1))
    for make, says in [
        (lambda: lens.Site("feature", 3), "needs one"),
        (lambda: lens.Site("resid_post", sae), "only 'feature' has one"),
        (lambda: lens.Site("feature", sae, index=24), "index=24"),
        (lambda: lens.Site("resid_post", 1, index=3), "index belongs to feature"),
        (lambda: lens.Site("feature", sae, head=1), "no head axis"),
    ]:
        with pytest.raises(lens.SiteError, match=says):
            make()
    site = lens.Site("feature", sae, index=(1, 2), position=0)
    for make, says in [
        (lambda: lens.Edit(site, "replace", torch.ones(3)), "each of the 2 features"),
        (lambda: lens.Edit(site, "add"), "needs a value"),
        (lambda: lens.Edit(site, "replace", float("nan")), "NaN"),
    ]:
        with pytest.raises(lens.EditError, match=says):
            make()
    view = lens.Model.of(llama)
    base = view.record([IDS[0]], ())
    with pytest.raises(lens.EditError, match="1 are named"):
        view.run(base, [(0, [lens.Edit(site, "replace", torch.ones(2, 2))])], [[2]])


def test_gemma_scope_that_is_told_half_says_what_is_missing(tmp_path):
    gemma(tmp_path / "a")
    with pytest.raises(FeatureError, match="does not say the other"):
        lens.features.load(tmp_path / "a", tap="resid_post")


@pytest.mark.parametrize(
    "more, says",
    [
        (dict(k=25), "k=25"),
        (dict(k=3, threshold=torch.ones(24)), "two rules"),
        (dict(threshold=torch.ones(3)), r"threshold is \(3,\)"),
        (dict(b_dec=torch.full((32,), float("nan"))), "b_dec"),
        (dict(W_dec=torch.ones(3, 32)), "its decoder"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(more, says):
    given = dict(W_enc=torch.ones(32, 24), b_enc=torch.ones(24), W_dec=torch.ones(24, 32), b_dec=torch.ones(32))
    with pytest.raises(FeatureError, match=says):
        lens.features.from_weights(**given | dict(tap="mlp_out", layer=0) | more)
