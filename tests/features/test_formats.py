"""Each library's files against ten lines of NumPy in float64, and the traps by which a good guess goes wrong."""

import json

import numpy as np
import pytest
import torch

import lens
from lens.engine.features import Tap
from lens.features import FeatureError
from lens.features.taps import tap_of

from .written import OUT, D, F, arrays, close, relu, rng, saelens, save, top

X = np.float32(rng(7).normal(size=(8, D)) * 2 + 0.3).astype(np.float64)


def both(sae, f, out, x=X):
    """Features and reconstruction against the reference's, the named features too."""
    inputs = torch.tensor(np.float32(x))
    ours = sae.values(inputs)
    close(ours, f)
    close(sae.reconstruct(ours, inputs), out)
    some = torch.tensor([3, 0, 7])
    close(sae.values(inputs, some), np.asarray(f)[:, [3, 0, 7]])
    # the directions and units are what the reconstruction is made of
    step = torch.zeros_like(ours)
    step[:, 3] = 1.0
    made = sae.reconstruct(ours + step, inputs) - sae.reconstruct(ours, inputs)
    close(made, (sae.unit(inputs) * sae.directions(torch.tensor([3]))).expand_as(made).numpy())


def test_standard_subtracts_the_decoders_bias(tmp_path):
    a = saelens(tmp_path, "standard")
    f = relu((X - a["b_dec"]) @ a["W_enc"] + a["b_enc"])
    both(lens.features.load(tmp_path), f, f @ a["W_dec"] + a["b_dec"])


def test_before_version_six_flat_keys_mean_what_they_meant(tmp_path):
    a = saelens(tmp_path, "standard")
    old = dict(d_in=D, d_sae=F, hook_point="blocks.1.hook_resid_pre", model_name="tiny", dtype="float32")
    (tmp_path / "cfg.json").write_text(json.dumps(old))
    sae = lens.features.load(tmp_path)
    f = relu((X - a["b_dec"]) @ a["W_enc"] + a["b_enc"])
    both(sae, f, f @ a["W_dec"] + a["b_dec"])
    assert sae.starts is True and sae.reads == Tap("resid_pre", 1)
    (tmp_path / "cfg.json").write_text(
        json.dumps(old | dict(activation_fn_str="topk", activation_fn_kwargs=dict(k=3), apply_b_dec_to_input=False))
    )
    f = top(X @ a["W_enc"] + a["b_enc"], 3)
    both(lens.features.load(tmp_path), f, f @ a["W_dec"] + a["b_dec"])


@pytest.mark.parametrize("kind", ["jumprelu", "matryoshka_batchtopk"])
def test_jumprelu_of_saelens_rectifies(kind, tmp_path):
    threshold = np.abs(rng(3).normal(size=F))
    threshold[2] = -5.0  # where what is below 0 shows
    a = saelens(tmp_path, kind, dict(architecture=kind), more=dict(threshold=threshold))
    h = (X - a["b_dec"]) @ a["W_enc"] + a["b_enc"]
    f = relu(h) * (h > a["threshold"])
    both(lens.features.load(tmp_path), f, f @ a["W_dec"] + a["b_dec"])


def test_gated(tmp_path):
    a = saelens(tmp_path, "gated")
    x = X - a["b_dec"]
    gate = x @ a["W_enc"] + a["b_gate"] > 0
    f = gate * relu(x @ (a["W_enc"] * np.exp(a["r_mag"])) + a["b_mag"])
    both(lens.features.load(tmp_path), f, f @ a["W_dec"] + a["b_dec"])


@pytest.mark.parametrize("rescale", [False, True])
def test_topk_ranks_by_the_decoders_norm_where_it_says_so(rescale, tmp_path):
    a = saelens(tmp_path, "topk", dict(k=4, rescale_acts_by_decoder_norm=rescale, apply_b_dec_to_input=False))
    h, norms = X @ a["W_enc"] + a["b_enc"], np.linalg.norm(a["W_dec"], axis=1)
    f = top(h * norms if rescale else h, 4)
    both(lens.features.load(tmp_path), f, f @ (a["W_dec"] / norms[:, None] if rescale else a["W_dec"]) + a["b_dec"])


def test_scales_are_undone_in_the_output(tmp_path):
    a = saelens(tmp_path, "standard", dict(normalize_activations="expected_average_only_in"))
    with pytest.raises(FeatureError, match="scale=None: .*list of releases"):
        lens.features.load(tmp_path)
    f = relu((X * 0.4 - a["b_dec"]) @ a["W_enc"] + a["b_enc"])
    both(lens.features.load(tmp_path, scale=0.4), f, (f @ a["W_dec"] + a["b_dec"]) / 0.4)


@pytest.mark.parametrize("kind", ["constant_norm_rescale", "layer_norm"])
def test_normalisations_of_a_token_are_undone_token_by_token(kind, tmp_path):
    a = saelens(tmp_path, "jumprelu", dict(normalize_activations=kind))
    if kind == "layer_norm":
        mean, std = X.mean(1, keepdims=True), X.std(1, keepdims=True, ddof=1)
        n, back = (X - mean) / (std + 1e-5), lambda y: y * std + mean
    else:
        size = np.linalg.norm(X, axis=1, keepdims=True) / np.sqrt(D)
        n, back = X / size, lambda y: y * size
    h = (n - a["b_dec"]) @ a["W_enc"] + a["b_enc"]
    f = relu(h) * (h > a["threshold"])
    both(lens.features.load(tmp_path), f, back(f @ a["W_dec"] + a["b_dec"]))


@pytest.mark.parametrize("kind", ["transcoder", "skip_transcoder", "jumprelu_transcoder", "jumprelu_skip_transcoder"])
def test_transcoders_add_the_skip_turned_as_their_library_does(kind, tmp_path):
    a = saelens(tmp_path, kind, out=OUT)
    sae = lens.features.load(tmp_path)
    h = X @ a["W_enc"] + a["b_enc"]
    f = relu(h) * (h > a["threshold"] if "threshold" in a else True)
    both(sae, f, f @ a["W_dec"] + a["b_dec"] + (X @ a["W_skip"].T if "W_skip" in a else 0))
    assert sae.reads == Tap("mlp_in", 1) and sae.writes == Tap("mlp_out", 1)


def test_weights_that_were_centred_read_the_centred_stream(tmp_path):
    more = dict(hook_name="blocks.1.hook_resid_pre", sae_lens_version="6.0.0")
    more["model_from_pretrained_kwargs"] = dict(center_writing_weights=True)
    a = saelens(tmp_path, "standard", dict(metadata=more))
    mean = X.mean(1, keepdims=True)
    f = relu((X - mean - a["b_dec"]) @ a["W_enc"] + a["b_enc"])
    both(lens.features.load(tmp_path), f, f @ a["W_dec"] + a["b_dec"] + mean)


def gemma(folder, seed=0, d=D, out=D):
    a = {k: np.float32(v) for k, v in arrays(seed, d, F, out).items()}
    folder.mkdir(parents=True)
    np.savez(folder / "params.npz", **a)
    return {k: v.astype(np.float64) for k, v in a.items()}


@pytest.mark.parametrize(
    "of, reads, writes",
    [
        ("res", Tap("resid_post", 3), Tap("resid_post", 3)),
        ("att", Tap("z", 3), Tap("z", 3)),
        # before the norm's gain
        ("transcoders", Tap("mlp_in", 3, gain=False), Tap("mlp_out", 3)),
    ],
)
def test_gemma_scope_does_not_subtract_the_decoders_bias(of, reads, writes, tmp_path):
    folder = tmp_path / f"gemma-scope-2b-pt-{of}" / "layer_3" / "width_16k" / "average_l0_71"
    a = gemma(folder)
    sae = lens.features.load(folder)
    h = X @ a["W_enc"] + a["b_enc"]
    f = relu(h) * (h > a["threshold"])
    both(sae, f, f @ a["W_dec"] + a["b_dec"])
    assert (sae.reads, sae.writes, sae.skip_tokens) == (reads, writes, 1)


def test_gemma_scope_by_itself_has_to_be_told_where_it_lies(tmp_path):
    gemma(tmp_path / "a")
    with pytest.raises(FeatureError, match="tap='resid_post'"):
        lens.features.load(tmp_path / "a")
    assert lens.features.load(tmp_path / "a", tap="mlp_out", layer=2).reads == Tap("mlp_out", 2)
    assert lens.features.load(tmp_path / "a", tap="mlp_in_without_gain", layer=2).writes == Tap("mlp_out", 2)
    with pytest.raises(FeatureError, match="scale=None of"):
        lens.features.load(tmp_path / "a", tap="embed", layer=0)


def gemma_second(
    folder, hooks=("model.layers.2.pre_feedforward_layernorm.output",) * 2, model="gemma-3-1b-it", skip=True
):
    a = arrays(4)
    a = {k.lower(): v for k, v in a.items()} | (dict(affine_skip_connection=rng(5).normal(size=(D, D))) if skip else {})
    save(folder / "params.safetensors", a)
    config = dict(architecture="jump_relu", model_name=model, hf_hook_point_in=hooks[0], hf_hook_point_out=hooks[1])
    (folder / "config.json").write_text(json.dumps(config))
    return {k: np.float32(v).astype(np.float64) for k, v in a.items()}


def test_gemma_scope_2_multiplies_its_affine_part_from_the_left(tmp_path):
    hooks = "model.layers.2.pre_feedforward_layernorm.output", "model.layers.2.post_feedforward_layernorm.output"
    a = gemma_second(tmp_path, hooks)
    sae = lens.features.load(tmp_path)
    h = X @ a["w_enc"] + a["b_enc"]
    f = relu(h) * (h > a["threshold"])
    both(sae, f, f @ a["w_dec"] + a["b_dec"] + X @ a["affine_skip_connection"])
    # a square matrix turned round has no other shape, and other numbers
    turned = f @ a["w_dec"] + a["b_dec"] + X @ a["affine_skip_connection"].T
    assert np.abs(turned - sae.reconstruct(sae.values(t := torch.tensor(X).float()), t).numpy()).max() > 0.5
    assert (sae.reads, sae.writes, sae.skip_tokens) == (Tap("mlp_in", 2), Tap("mlp_out", 2), 4)


def test_gemma_scope_2_reads_heads_side_by_side(tmp_path):
    gemma_second(tmp_path, ("model.layers.2.self_attn.o_proj.input",) * 2, "gemma-3-1b-pt", skip=False)
    sae = lens.features.load(tmp_path)
    assert sae.reads == sae.writes == Tap("z", 2) and sae.skip_tokens == 1


def llama_scope(folder, seed=0, **config):
    r = rng(seed)
    a = {
        "encoder.weight": r.normal(size=(F, D)),
        "encoder.bias": r.normal(size=F) * 0.3,
        "decoder.weight": r.normal(size=(D, F)),
        "decoder.bias": r.normal(size=D),
    }
    save(folder / "checkpoints" / "final.safetensors", a, torch.bfloat16)
    told = dict(
        d_model=D,
        d_sae=F,
        hook_point_in="blocks.1.hook_resid_post",
        hook_point_out="blocks.1.hook_resid_post",
        act_fn="jumprelu",
        jump_relu_threshold=0.8,
        norm_activation="dataset-wise",
        dataset_average_activation_norm={"in": 5.0, "out": 9.0},
        sparsity_include_decoder_norm=True,
        apply_decoder_bias_to_pre_encoder=False,
        top_k=50,
    )
    (folder / "hyperparams.json").write_text(json.dumps(told | config))
    return {k: torch.tensor(v).bfloat16().double().numpy() for k, v in a.items()}


@pytest.mark.parametrize("norm", ["dataset-wise", "token-wise", "inference"])
def test_llama_scope_compares_with_the_decoders_norm_and_has_two_scales(norm, tmp_path):
    a = llama_scope(tmp_path, norm_activation=norm)
    length = np.linalg.norm(X, axis=1, keepdims=True)
    s_in, s_out = {"dataset-wise": (np.sqrt(D) / 5, np.sqrt(D) / 9), "inference": (1, 1)}.get(
        norm, (np.sqrt(D) / length, np.sqrt(D) / length)
    )
    h = (X * s_in) @ a["encoder.weight"].T + a["encoder.bias"]
    f = h * (h * np.linalg.norm(a["decoder.weight"], axis=0) > 0.8)
    both(lens.features.load(tmp_path), f, (f @ a["decoder.weight"].T + a["decoder.bias"]) / s_out)


def sparse(folder, transcode=False, **config):
    r = rng(2)
    a = {
        "encoder.weight": r.normal(size=(F, D)),
        "encoder.bias": r.normal(size=F) * 0.3,
        "W_dec": r.normal(size=(F, D)),
        "b_dec": r.normal(size=D),
    } | (dict(W_skip=r.normal(size=(D, D))) if transcode else {})
    save(folder / "sae.safetensors", a)
    told = dict(d_in=D, expansion_factor=32, num_latents=F, k=3, activation="topk", normalize_decoder=True)
    (folder / "cfg.json").write_text(json.dumps(told | dict(transcode=transcode) | config))
    return {k: np.float32(v).astype(np.float64) for k, v in a.items()}


def test_sparsify_reads_the_modules_output_and_a_transcoder_its_input(tmp_path):
    a = sparse(tmp_path / "layers.1.mlp")
    sae = lens.features.load(tmp_path / "layers.1.mlp")
    f = top((X - a["b_dec"]) @ a["encoder.weight"].T + a["encoder.bias"], 3)
    both(sae, f, f @ a["W_dec"] + a["b_dec"])
    assert sae.reads == sae.writes == Tap("mlp_out", 1)
    a = sparse(tmp_path / "b" / "model.layers.1.mlp", transcode=True)
    sae = lens.features.load(tmp_path / "b" / "model.layers.1.mlp")
    f = top(X @ a["encoder.weight"].T + a["encoder.bias"], 3)
    both(sae, f, f @ a["W_dec"] + a["b_dec"] + X @ a["W_skip"].T)
    assert (sae.reads, sae.writes) == (Tap("mlp_in", 1), Tap("mlp_out", 1))


def test_sparsify_takes_the_largest_of_each_group(tmp_path):
    a = sparse(tmp_path / "layers.1", activation="groupmax", k=5)
    h = ((X - a["b_dec"]) @ a["encoder.weight"].T + a["encoder.bias"]).reshape(len(X), 5, 2)
    f = (relu(h) * (h == h.max(-1, keepdims=True))).reshape(len(X), F)
    both(lens.features.load(tmp_path / "layers.1"), f, f @ a["W_dec"] + a["b_dec"])


CONFIG = "model_name: tiny\nfeature_input_hook: {}\nfeature_output_hook: hook_mlp_out\n"


def tracer(folder, hook="mlp.hook_in", layers=(0, 1), threshold=True):
    made = {}
    for layer in layers:
        r = rng(layer)
        a = dict(
            W_enc=r.normal(size=(F, D)),
            W_dec=r.normal(size=(F, D)),
            b_enc=r.normal(size=F),
            b_dec=r.normal(size=D),
            W_skip=r.normal(size=(D, D)),
        )
        a |= {"activation_function.threshold": r.normal(size=F)} if threshold else {}
        save(folder / f"layer_{layer}.safetensors", a)
        made[layer] = {k: np.float32(v).astype(np.float64) for k, v in a.items()}
    (folder / "config.yaml").write_text(CONFIG.format(hook))
    return made


def test_circuit_tracers_jumprelu_does_not_rectify(tmp_path):
    a = tracer(tmp_path)[1]
    with pytest.raises(FeatureError, match=r"layer=None: .*\[0, 1\]"):
        lens.features.load(tmp_path)
    sae = lens.features.load(tmp_path, layer=1)
    h = X @ a["W_enc"].T + a["b_enc"]
    f = h * (h > a["activation_function.threshold"])
    assert (f < 0).any()
    both(sae, f, f @ a["W_dec"] + a["b_dec"] + X @ a["W_skip"].T)


@pytest.mark.parametrize("hook, reads", [("mlp.hook_in", Tap("mlp_in", 0)), ("hook_resid_mid", Tap("resid_mid", 0))])
def test_circuit_tracers_input_is_what_its_configuration_names(hook, reads, tmp_path):
    tracer(tmp_path, hook, layers=(0,))
    assert lens.features.load(tmp_path).reads == reads


def test_cross_layer_transcoders_add_a_written_layers_bias_once(tmp_path):
    parts = []
    for i in range(3):
        r = rng(i)
        enc = {f"W_enc_{i}": r.normal(size=(F, D)), f"b_enc_{i}": r.normal(size=F), f"b_dec_{i}": r.normal(size=D)}
        dec = {f"W_dec_{i}": r.normal(size=(F, 3 - i, D))}
        save(tmp_path / f"W_enc_{i}.safetensors", enc)
        save(tmp_path / f"W_dec_{i}.safetensors", dec)
        parts.append({k[:5]: np.float32(v).astype(np.float64) for k, v in (enc | dec).items()})
    (tmp_path / "config.yaml").write_text(CONFIG.format("hook_resid_mid"))
    clt = lens.features.load(tmp_path)
    inputs = [np.float32(rng(20 + i).normal(size=(4, D))).astype(np.float64) for i in range(3)]
    f = [relu(x @ p["W_enc"].T + p["b_enc"]) for x, p in zip(inputs, parts)]
    given = [torch.tensor(x).float() for x in inputs]
    ours = [d.values(x) for d, x in zip(clt.layers, given)]
    for target in range(3):
        want = parts[target]["b_dec"] + sum(f[i] @ parts[i]["W_dec"][:, target - i] for i in range(target + 1))
        close(clt.reconstruct(ours, given, target), want)
    with pytest.raises(FeatureError, match="source=2, target=1"):
        clt.writes(2, 1)
    (tmp_path / "W_enc_2.safetensors").unlink()
    with pytest.raises(FeatureError, match="expected"):
        lens.features.load(tmp_path)


@pytest.mark.parametrize(
    "name, side, tap",
    [
        ("model.layers.4.output", "out", Tap("resid_post", 4)),
        ("transformer.h.4", "out", Tap("resid_post", 4)),
        ("blocks.4.ln2.hook_normalized", "in", Tap("mlp_in", 4, gain=False)),
        ("model.layers.4.post_feedforward_layernorm.output", "out", Tap("mlp_out", 4)),
        ("blocks.4.mlp.hook_post", "out", Tap("neuron", 4)),
        ("blocks.4.hook_mlp_in", "in", Tap("resid_mid", 4)),
    ],
)
def test_names_of_both_libraries_are_places(name, side, tap):
    assert tap_of(name, side) == tap
