"""Rows whose last token decides which rotary frequencies hold: factors, moments and activations of its other tokens are
those of the row read whole, by plain forwards and gradients of each row alone.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import transformers as T

import lens.curvature as curvature
from lens.curvature import CurvatureError, passes
from lens.engine.linear import linears
from tests.curvature import naive

BORDER = 10
SIZE = dict(
    vocab_size=97,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=48,
    initializer_range=0.3,
    bos_token_id=0,
    eos_token_id=0,
    pad_token_id=0,
)
LAYERS = ["model.layers.1.mlp.gate_up_proj", "model.layers.1.mlp.down_proj", "model.layers.1.self_attn.o_proj"]


def phi3():
    rope = {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "original_max_position_embeddings": BORDER,
        "short_factor": [1.0] * 4,
        "long_factor": [3.0, 5.0, 7.0, 9.0],
    }
    config = T.Phi3Config(
        **SIZE, max_position_embeddings=64, original_max_position_embeddings=BORDER, rope_parameters=rope
    )
    return of(config)


def dynamic():
    rope = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0}
    return of(T.LlamaConfig(**SIZE, max_position_embeddings=BORDER, rope_parameters=rope))


def of(config):
    torch.manual_seed(0)
    return T.AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)


def rows(length, n=4):
    return np.random.default_rng(length).integers(1, 97, (n, length))


def layers_of(make):
    return LAYERS if make is phi3 else [LAYERS[1], LAYERS[2], "model.layers.1.mlp.up_proj"]


def by_rows(make, ids, labels, names, cut=0):
    """Inputs and gradients of every place that predicts, each row alone in a fresh model, its last `cut` tokens off."""
    inputs, gradients = {n: [] for n in names}, {n: [] for n in names}
    for row, label in zip(ids, labels):
        model = make()
        seen = {}
        for name, linear in linears(model, names).items():

            def hook(module, args, out, name=name):
                zero = torch.zeros_like(out, requires_grad=True)
                seen[name] = args[0][0], zero
                return out + zero

            linear.module.register_forward_hook(hook)
        with torch.enable_grad():
            logits = model(torch.as_tensor(row[None, : len(row) - cut]), use_cache=False).logits[0, : len(label)]
            loss = F.cross_entropy(logits, torch.as_tensor(label), reduction="sum")
            found = torch.autograd.grad(loss, [seen[n][1] for n in names])
        for name, g in zip(names, found):
            inputs[name].append(seen[name][0][: len(label)].detach().double())
            gradients[name].append(g[0, : len(label)].double())
    return {n: torch.cat(v) for n, v in inputs.items()}, {n: torch.cat(v) for n, v in gradients.items()}


def drawn(make, ids, seed):
    labels = []
    for r, row in enumerate(ids):
        p = make()(torch.as_tensor(row[None]), use_cache=False).logits[0, :-1].double().softmax(-1).numpy()
        u = np.random.default_rng([seed, r]).random(len(row) - 1, dtype=np.float32)
        labels.append([int(np.argmax(np.cumsum(one) > x)) for one, x in zip(p, u)])
    return np.array(labels)


def close(ours, want):
    return torch.allclose(ours.double(), want, rtol=1e-3, atol=1e-5 * float(want.abs().max()))


@pytest.mark.parametrize("make", [phi3, dynamic])
@pytest.mark.parametrize("fisher", ["empirical", "true"])
@pytest.mark.parametrize("length", [BORDER, BORDER + 1, BORDER + 6])
def test_factors_are_of_rows_read_whole(make, fisher, length):
    ids, names, model = rows(length), layers_of(make), make()
    model(torch.as_tensor(rows(40)))  # what was read before changes nothing
    made = curvature.factors(model, names, ids, fisher=fisher, seed=5, rows=3)
    x, g = by_rows(make, ids, ids[:, 1:] if fisher == "empirical" else drawn(make, ids, 5), names)
    for name in names:
        assert made.tokens[name] == len(x[name]) == len(ids) * (length - 1)
        assert close(made.a[name], naive.sum_of_outer(x[name])) and close(made.g[name], naive.sum_of_outer(g[name]))
    if fisher == "empirical" and length == BORDER + 1:  # cut before the last token they are of another text
        x, g = by_rows(make, ids, ids[:, 1:], names, cut=1)
        assert not close(made.g[names[1]], naive.sum_of_outer(g[names[1]]))


def test_moments_and_activations_are_of_rows_read_whole():
    ids, clean, model = rows(BORDER + 1, 8), rows(BORDER + 1, 8)[::-1, ::-1].copy(), phi3()
    name = LAYERS[1]
    decomposition = curvature.decompose(model, curvature.factors(model, [name], ids, fisher="empirical"))
    made = curvature.second_moments(model, decomposition, ids, fisher="empirical", rows=2)[name]
    x, g = by_rows(phi3, ids, ids[:, 1:], [name])
    basis = made.u_a.double(), made.u_g.double()
    assert close(made.moments, (g[name] @ basis[1]).square().T @ (x[name] @ basis[0]).square() / len(x[name]))
    ratio = curvature.activation_ratio(model, decomposition, ids, clean, bands=(0.5, 1.0), bases=["kfac"], rows=3)
    for kind, part in (("of_memorised", ids), ("of_clean", clean)):
        x, _ = by_rows(phi3, part, part[:, 1:], [name])
        squares = (x[name].view(len(part), -1, 48) @ basis[0]).square()
        want = torch.stack([squares[..., :24].sum(-1).sqrt().mean(1), squares[..., 24:].sum(-1).sqrt().mean(1)], -1)
        got = ratio[kind].sel(basis="kfac", side="input", layer=name).values
        np.testing.assert_allclose(got, want, rtol=1e-4)


def test_layers_that_see_some_of_the_tokens_are_refused_where_the_last_counts():
    step = passes.NextToken(phi3(), "empirical", 0)
    with torch.enable_grad():
        with passes._frozen(step.model, linears(step.model, [LAYERS[1]])):
            step(rows(BORDER + 1), 0)
    assert step.counted("gate", torch.zeros(44, 3)).shape == (40, 3)
    with pytest.raises(CurvatureError, match="'gate' sees 30 of the batch's 44 tokens.*11 tokens are others than"):
        step.counted("gate", torch.zeros(30, 3))
    with passes._frozen(step.model, linears(step.model, [LAYERS[1]])):
        step(rows(BORDER), 0)
    assert step.counted("gate", torch.zeros(30, 3)).shape == (30, 3)


def test_sums_of_cut_rows_are_not_taken_up(tmp_path):
    names = {}
    for length in (BORDER, BORDER + 1):
        made = curvature.factors(phi3(), [LAYERS[1]], rows(length), folder=tmp_path)
        names[length] = made.record["call"]
    assert names[BORDER + 1]["read"] == "whole rows" and "read" not in names[BORDER]
