"""Every method that takes `backend=` gives the same bits on workers: on a stand-in for Ray."""

import numpy as np
import pytest
import torch

pytest.importorskip("ray", reason="ray is an optional extra: pip install 'mnemoscope[ray]'")

import lens
from lens import forgetting, injection, vectors
from tests.cluster.test_sweeps import ray, same  # noqa: F401
from tests.models import speaking

PAIRS = [(f"w{i}", f"w{i + 40}") for i in range(1, 31)]
TASK = vectors.Task.from_pairs(PAIRS, name="shift", instruction="w90 w91", shares=(0.6, 0.2, 0.2))
ITEMS = [
    injection.Item("w1 w2 w3 w4 w5", "w6 w4 w5", "w6", " w7", subject="w2 w3", label="a"),
    injection.Item("w9 w8 w5", "w10 w11 w5", "w10 w11 w10", " w12 w13 w14", subject="w9", label="b"),
    injection.Item("w20 w21 w22 w5", "w23 w5", "w23 w24", " w25 w26", subject="w21", label="c"),
]
PAIR = lens.Pair("w4 w2 w3 w9", corrupted="w5 w2 w3 w9", answer=" w7", foil=" w8", spans={"subject": "w4 w2"})


def head_effects(model, **more):
    options = dict(trials=3, shots=3, template="bare", mean_prompts=6, known=False, progress=False, memory_mb=0.5)
    return vectors.head_effects(model, TASK, **options, **more)


def evaluate(model, **more):
    vector = vectors.LayerVectors(torch.randn(3, 32, generator=torch.Generator().manual_seed(3)), "each")
    return vectors.evaluate(model, TASK, vector, template="bare", shots=3, progress=False, memory_mb=0.5, **more)


def inject(model, **more):
    return injection.sweep(model, ITEMS, strengths=(1, 4), memory_mb=0.5, progress=False, **more)


def explicit(model, **more):
    return injection.from_explicit(model, ITEMS, site="z", memory_mb=0.2, progress=False, **more)


def trace(model, **more):
    return lens.causal_trace(model, [PAIR] * 2, samples=3, memory_mb=0.05, progress=False, **more)


def answers(model, **more):
    """Answers of several tokens, read through a person's own metric."""
    pairs = [lens.Pair("w4 w2 w3", corrupted="w5 w2 w3", answer=" w7 w9", foil=" w8 w3")] * 2
    return lens.patch(model, pairs, "z", ("layer", "head"), metric="logprob_diff", progress=False, **more)


def own_metric(model, **more):
    scale = 2.0
    return lens.patch(
        model, PAIR, "neuron", metric=lambda x, e: scale * x[:, 7] - x.max(-1).values, progress=False, **more
    )


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("method", [head_effects, evaluate, inject, explicit, trace, answers, own_metric])
def test_workers_give_the_same_bits(ray, method, kind):  # noqa: F811
    model = speaking(kind)
    here, there = method(model), method(model, backend="ray")
    assert same(here, there) and len(ray.actors) == 2
    assert all(np.isfinite(v.values).any() for v in here.data_vars.values() if v.dtype.kind == "f")


@pytest.mark.parametrize("method", [head_effects, evaluate, inject])
def test_a_store_goes_on_with_another_backend(ray, tmp_path, method):  # noqa: F811
    model, parts = speaking(), []
    cut = method(model, store=tmp_path / "s.zarr", on_part=parts.append, stop=lambda: bool(parts))
    assert lens.record(cut)["status"] == "partial" and not ray.actors
    whole = method(model, store=tmp_path / "s.zarr", backend="ray")
    assert lens.record(whole)["status"] == "complete" and ray.actors
    assert same(whole, method(model, store=tmp_path / "other.zarr"))


def test_recovery_on_workers(ray):  # noqa: F811
    model = speaking()
    probe = forgetting.Probe("words", "instruction", tuple(((i, i + 1, 5), (i + 7,)) for i in range(1, 7)))
    vector = torch.randn(32, generator=torch.Generator().manual_seed(3)) * 4
    here, there = (
        forgetting.recover(model, probe, vector, strengths=(1.0, 8.0), randoms=2, backend=b) for b in ("local", "ray")
    )
    assert same(here, there) and ray.actors


def test_what_is_one_pass_is_refused_by_name(ray):  # noqa: F811
    with pytest.raises(lens.Error, match="backend='ray': method='atp' is one pass"):
        head_effects(speaking(), method="atp", backend="ray")
