"""Vectors against plain forwards of the Hugging Face model: what a head writes, its bias left out; arithmetic;
files.
"""

import numpy as np
import pytest
import torch

import lens
from lens.engine.sites import Site
from lens.vectors import VectorError
from lens.vectors.extraction import extract, head_parts, layer_average
from lens.vectors.means import Means, mean_activations
from lens.vectors.prompts import build
from lens.vectors.tasks import Task
from lens.vectors.vector import (
    LayerVectors,
    Vector,
    load_vector,
    random_like,
    require_width,
)
from tests import naive
from tests.models import ABOVE, KINDS, speaking
from tests.variants import few

TASK = Task.from_pairs([(f"w{i}", f"w{i + 40}") for i in range(1, 31)], name="plus 40", seed=1, shares=(0.5, 0.2, 0.3))
HEADS = [(0, 3), (2, 0), (2, 1)]


def means_of(model, n=6):
    prompts = build(model, TASK, "icl", n=n, shots=3, split="valid", template="bare", seed=2)
    return prompts, mean_activations(model, prompts)


@pytest.mark.parametrize("kind", few(KINDS, ABOVE))
def test_a_vector_is_what_its_heads_write_without_the_bias(kind):
    model = speaking(kind)
    prompts, means = means_of(model)
    vector = extract(model, TASK, heads=HEADS, means=means)
    reference = []
    for layer, head in HEADS:
        z = torch.stack([naive.activation(model, p.ids, "z", layer)[-1] for p in prompts]).mean(0)
        alone = torch.zeros_like(z)
        alone[head] = z[head]
        o = naive.parts(model, layer)["o"]
        written = o(alone.flatten()[None])[0] - o(torch.zeros_like(z).flatten()[None])[0]
        if kind == "olmo2":  # its share of what the norm after attention makes of the whole
            end, whole = naive.parts(model, layer)["attn_end"], o(z.flatten()[None])[0]
            written = written * end.weight / (whole.square().mean() + end.variance_epsilon).sqrt()
        reference.append(written)
    assert torch.allclose(vector.parts, torch.stack(reference), atol=1e-5)
    assert torch.allclose(vector.direction, torch.stack(reference).sum(0), atol=1e-5)
    assert vector.heads == tuple(HEADS) and vector.d_model == 32 and vector.model == lens.models.weight_hash(model)


@pytest.mark.parametrize("kind", few(KINDS, ABOVE))
def test_the_parts_of_all_heads_and_one_bias_make_the_attention_output(kind):
    model = speaking(kind)
    z = torch.randn(3, 4, 8, generator=torch.Generator().manual_seed(0))
    p = naive.parts(model, 1)
    whole = p["o"](z[1].flatten()[None])
    if kind == "olmo2":
        whole = p["attn_end"](whole)
    bias = getattr(p["o"], "bias", None)
    parts = head_parts(model, z, [(1, h) for h in range(4)])
    assert torch.allclose(parts.sum(0) + (0 if bias is None else bias), whole[0], atol=1e-5)
    if kind in ("gpt2", "gpt_neox"):
        assert bias.norm() > 0.1, "otherwise this shows nothing"


def test_heads_wider_than_their_share_of_the_model():
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from tests.models import word_tokenizer

    torch.manual_seed(0)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=97,
            hidden_size=24,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=10,
            intermediate_size=20,
            max_position_embeddings=64,
            initializer_range=0.3,
            bos_token_id=0,
            eos_token_id=0,
            pad_token_id=0,
        )
    ).eval()
    model.tokenizer = word_tokenizer()
    prompts, means = means_of(model)
    assert means.z.shape == (2, 4, 10)
    z = torch.stack([naive.activation(model, p.ids, "z", 1)[-1] for p in prompts]).mean(0)
    want = z[2] @ model.model.layers[1].self_attn.o_proj.weight[:, 20:30].T
    assert torch.allclose(extract(model, TASK, heads=[(1, 2)], means=means).direction, want.detach(), atol=1e-5)


def test_layer_average_is_the_mean_stream():
    model = speaking("gpt2")
    prompts, means = means_of(model)
    average = layer_average(means)
    for layer in range(2):
        want = torch.stack(
            [model(p.ids[None], output_hidden_states=True).hidden_states[layer + 1][0, -1] for p in prompts]
        ).mean(0)
        assert torch.allclose(average.at_site(Site("resid_post", layer=layer)), want, atol=1e-5)
        assert torch.equal(average.at(layer).direction, average.vectors[layer])


def test_heads_are_chosen_by_mean_effect_and_named_in_about():
    model = speaking("llama")
    effects = lens.vectors.head_effects(model, TASK, trials=3, shots=3, template="bare", mean_prompts=4, progress=False)
    mean = effects.effect.mean("prompt").values
    order = [divmod(int(i), 4) for i in np.argsort(-mean.ravel(), kind="stable")[:3]]
    vector = extract(model, TASK, top=3, effects=effects, shots=3, template="bare", mean_prompts=4)
    assert (
        list(vector.heads) == order
        and "3 of largest mean effect over 3 prompts of plus 40" in vector.about["heads"]
        and vector.about["means"]["split"] == "valid"
    )
    measured = extract(model, TASK, top=3, trials=3, shots=3, template="bare", mean_prompts=4, progress=False)
    assert len(measured.heads) == 3


def test_arithmetic():
    a = Vector(torch.tensor([3.0, 4.0]), torch.tensor([[1.0, 4.0], [2.0, 0.0]]), ((0, 1), (1, 0)), "a")
    b = Vector(torch.tensor([1.0, 2.0]), torch.tensor([[0.0, 2.0], [1.0, 0.0]]), ((1, 0), (0, 1)), "b")
    c = Vector(torch.tensor([0.0, 1.0]), name="c")
    assert (
        a.norm == 5
        and (2 * a).norm == 10
        and torch.equal((-a).direction, -a.direction)
        and torch.equal((a / 2).parts, a.parts / 2)
    )
    assert a.cosine(-a) == pytest.approx(-1) and a.cosine(c) == pytest.approx(0.8)
    both = a + b
    assert torch.equal(both.parts, torch.tensor([[2.0, 4.0], [2.0, 2.0]])) and both.heads == a.heads, (
        "parts are matched by head, not by place"
    )
    composed = a - b + c
    assert (
        torch.equal(composed.direction, torch.tensor([2.0, 3.0]))
        and composed.heads == ()
        and composed.parts.shape == (0, 2)
    )
    assert np.isnan((a * 0).cosine(b))


def test_decode_is_norm_and_unembedding():
    model = speaking("gpt2")
    vector = Vector(torch.randn(32, generator=torch.Generator().manual_seed(3)))
    want = model.lm_head(model.transformer.ln_f(vector.direction)).softmax(-1).topk(4)
    got = vector.decode(model, 4)
    assert [t for t, _ in got] == [f"w{i}" for i in want.indices.tolist()] and np.allclose(
        [p for _, p in got], want.values.detach(), atol=1e-5
    )


@pytest.mark.parametrize("k", [0, 3, 40])
def test_a_random_vector_keeps_norms_and_angles(k):
    parts = torch.randn(k, 32, generator=torch.Generator().manual_seed(1))
    vector = Vector(parts.sum(0) if k else torch.arange(32.0), parts, tuple((0, i) for i in range(k)))
    other = random_like(vector, 5)
    assert other.norm == pytest.approx(vector.norm, rel=1e-5) and torch.allclose(
        other.parts @ other.parts.T, parts @ parts.T, atol=1e-3
    )
    if k:
        assert torch.allclose(other.parts.sum(0), other.direction, atol=1e-4)
    assert torch.equal(random_like(vector, 5).direction, other.direction) and not torch.equal(
        random_like(vector, 6).direction, other.direction
    )
    cosines = [vector.cosine(random_like(vector, s)) for s in range(200)]
    assert abs(np.mean(cosines)) < 3 / np.sqrt(32 * 200) and np.std(cosines) == pytest.approx(32**-0.5, rel=0.2), (
        "as a direction drawn on the sphere"
    )


def test_random_vectors_of_different_tasks_are_different_draws():
    draw = torch.Generator().manual_seed(2)
    named = [
        Vector(
            torch.randn(256, generator=draw),
            torch.randn(3, 256, generator=draw),
            ((0, 0), (0, 1), (0, 2)),
            f"task {i}",
            source="demonstrations",
        )
        for i in range(40)
    ]
    drawn = [random_like(v, 0) for v in named]
    cosines = np.array([a.cosine(b) for i, a in enumerate(drawn) for b in drawn[:i]])
    assert np.abs(cosines).max() < 6 / 16 and np.std(cosines) == pytest.approx(256**-0.5, rel=0.2), (
        "one seed gives every task a direction of its own"
    )
    told = random_like(Vector(named[0].direction, name="task 0", source="instruction"), 0)
    assert abs(told.cosine(drawn[0])) < 0.4 and torch.equal(random_like(named[0], 0).direction, drawn[0].direction)
    layers = [random_like(LayerVectors(torch.ones(2, 256), f"task {i}"), 0).vectors[0] for i in range(2)]
    assert abs(float(torch.cosine_similarity(*layers, dim=0))) < 0.4


def test_random_layer_vectors_keep_each_norm():
    layers = LayerVectors(torch.randn(3, 32) * torch.tensor([[1.0], [5.0], [0.1]]), reliability=torch.ones(3))
    other = random_like(layers, 0)
    assert torch.allclose(other.norm, layers.norm, rtol=1e-5) and other.reliability is None and other.source == "random"


def test_a_saved_vector_comes_back(tmp_path):
    model = speaking("llama")
    vector = extract(model, TASK, heads=HEADS, means=means_of(model)[1], name="mine")
    back = load_vector(vector.save(tmp_path / "v.safetensors"))
    assert torch.equal(back.direction, vector.direction) and torch.equal(back.parts, vector.parts)
    assert (back.heads, back.name, back.model, back.source, back.about) == (
        vector.heads,
        "mine",
        vector.model,
        "demonstrations",
        vector.about,
    )
    layers = LayerVectors(torch.randn(3, 4), "l", "m", "s", {"n": 2}, torch.tensor([1.0, float("nan"), 0.5]))
    again = load_vector(layers.save(tmp_path / "l.safetensors"))
    assert (
        torch.equal(again.vectors, layers.vectors)
        and torch.allclose(again.reliability, layers.reliability, equal_nan=True)
        and again.about == {"n": 2}
    )
    (tmp_path / "x.safetensors").write_bytes(b"nothing")
    other = tmp_path / "other.safetensors"
    from safetensors.torch import save_file

    save_file({"direction": torch.ones(3)}, other)
    for path in (tmp_path / "x.safetensors", tmp_path / "none.safetensors", other):
        with pytest.raises(VectorError, match="path"):
            load_vector(path)
    with pytest.raises(VectorError, match="safetensors"):
        vector.save(tmp_path / "v.pt")
    with pytest.raises(lens.FileError, match="the folder .* is not there"):
        vector.save(tmp_path / "no" / "v.safetensors")


def test_a_vector_of_another_model_is_refused():
    model = speaking("llama")
    decoder = lens.engine.walk.decoder.Decoder.of(model)
    with pytest.raises(VectorError, match="d_model 576, this model 32"):
        require_width(decoder, Vector(torch.ones(576)))
    with pytest.raises(VectorError, match="5 layers, this model 3"):
        require_width(decoder, LayerVectors(torch.ones(5, 32)))
    with pytest.raises(VectorError, match="d_model 576"):
        Vector(torch.ones(576)).decode(model)
    wrong = Means(torch.zeros(3, 4, 9), torch.zeros(3, 32), 1, "demonstrations", "t")
    with pytest.raises(VectorError, match="3, 4, 9"):
        extract(model, TASK, heads=HEADS, means=wrong)


@pytest.mark.parametrize(
    "make, word",
    [
        (lambda m, e: extract(m, TASK, heads=[(3, 0)], means=e), "layer"),
        (lambda m, e: extract(m, TASK, heads=[(0, 0), (0, 0)], means=e), "different"),
        (lambda m, e: extract(m, TASK, heads=[3], means=e), r"heads\[0\]=3 does not fit; expected 2 values"),
        (lambda m, e: extract(m, TASK, top=13, means=e), "top"),
        (lambda m, e: extract(m, TASK, top=0), "top"),
        (lambda m, e: extract(m, TASK, source="dreams"), "source"),
        (lambda m, e: Vector(torch.ones(3), torch.ones(1, 3)), "parts"),
        (lambda m, e: Vector(torch.tensor([1.0, float("nan")])), "NaN"),
        (lambda m, e: Vector(torch.ones(2, 2)), "direction"),
        (lambda m, e: Vector(torch.ones(3)) * "x", "factor"),
        (lambda m, e: Vector(torch.ones(3)) / 0, "zero"),
        (lambda m, e: Vector(torch.ones(3)) + 1, "other"),
        (lambda m, e: Vector(torch.ones(3)) + Vector(torch.ones(4)), "d_model 4"),
        (lambda m, e: Vector(torch.ones(3)).at_site(Site("z", layer=0)), "'z'"),
    ],
)
def test_bad_arguments_are_named(make, word):
    model = speaking("llama")
    with pytest.raises(VectorError, match=word):
        make(model, means_of(model, 2)[1])
