"""The injection grid against plain forward hooks, one edited forward a cell."""

import warnings

import numpy as np
import pytest
import torch

import lens
from lens.injection import InjectionError, Item
from lens.results.errors import ResultError
from tests import naive
from tests.models import ABOVE, KINDS, speaking
from tests.variants import few

ITEMS = [
    Item("w1 w2 w3 w4 w5", "w6 w4 w5", "w6", " w7", subject="w2 w3", label="a"),
    Item("w9 w8 w5", "w10 w11 w5", "w10 w11 w10", " w12 w13 w14", subject="w9", label="b"),
    Item("w20 w21 w22 w5", "w23 w5", "w23 w24", " w25 w26", subject="w21", label="c"),
]


def by_hooks(model, ids, answer, vector, layers, strength, positions):
    """(ln p of the answer, of its first token, rank, exact, top) from whole forwards with a hook on the attention's
    end.
    """

    def change(x):
        x = x.clone()
        x[:, list(positions)] += strength * vector
        return x

    whole = torch.cat([ids, torch.tensor(answer[:-1], dtype=torch.long)])
    hooks = (
        [naive._on_output(naive.parts(model, layer)["attn_end"], change) for layer in layers]
        if vector is not None
        else []
    )
    try:
        logits = model(whole[None]).logits[0, len(ids) - 1 :]
    finally:
        for hook in hooks:
            hook.remove()
    logp = logits.log_softmax(-1)
    each = [logp[t, a].item() for t, a in enumerate(answer)]
    return [
        sum(each),
        each[0],
        int((logits[0] > logits[0, answer[0]]).sum()),
        float(all(logits[t].argmax() == a for t, a in enumerate(answer))),
        int(logits[0].argmax()),
    ]


@pytest.mark.parametrize("kind", few(KINDS, ABOVE))
@pytest.mark.parametrize("positions", lens.injection.POSITIONS)
def test_every_cell_equals_a_hooked_forward(kind, positions):
    model, rng = speaking(kind), np.random.default_rng(1)
    encoder = "activation" if positions == "all" else "unembed"
    ds = lens.injection.sweep(
        model,
        ITEMS,
        encoder=encoder,
        strengths=(-1.5, 0.5, 4),
        positions=positions,
        controls=("shuffled", "random_direction"),
        progress=False,
    )
    assert dict(ds.sizes) == {"item": 3, "layer": 3, "strength": 3, "condition": 3}
    encoded = lens.injection.encode_items(model, ITEMS)
    own = [lens.injection.encode(model, i.memory, encoder) for i in ITEMS]
    for i, layer, s in [(int(rng.integers(3)), int(rng.integers(3)), int(rng.integers(3))) for _ in range(6)]:
        want = by_hooks(
            model,
            encoded[i].ids,
            encoded[i].answer_ids,
            own[i].vectors[layer],
            [layer],
            (-1.5, 0.5, 4)[s],
            encoded[i].positions[positions],
        )
        got = [ds[name].values[i, layer, s, 0] for name in lens.injection.SCORES]
        assert np.allclose(got[:2], want[:2], atol=2e-4) and list(map(float, got[2:])) == list(map(float, want[2:])), (
            i,
            layer,
            s,
        )
    for i in range(len(ITEMS)):
        clean = by_hooks(model, encoded[i].ids, encoded[i].answer_ids, None, [], 0, ())
        single = by_hooks(model, encoded[i].explicit_ids, encoded[i].answer_ids, None, [], 0, ())
        for k, name in enumerate(lens.injection.SCORES):
            assert ds[f"multi_{name}"].values[i] == pytest.approx(clean[k], abs=2e-4) and ds[f"single_{name}"].values[
                i
            ] == pytest.approx(single[k], abs=2e-4)


def test_controls_use_the_same_cell_and_norm():
    model = speaking("llama")
    ds = lens.injection.sweep(
        model,
        ITEMS,
        encoder="activation",
        strengths=(2,),
        controls=("shuffled", "random_direction", "random_tokens"),
        seed=3,
        progress=False,
    )
    assert np.allclose(ds.norm.sel(condition="random_direction"), ds.norm.sel(condition="memory"), rtol=1e-5)
    encoded, others = lens.injection.encode_items(model, ITEMS), lens.injection.scoring.other_memories(ITEMS, 3)
    assert all(o != i.memory for o, i in zip(others, ITEMS)) and sorted(others) == sorted(i.memory for i in ITEMS)
    vector = lens.injection.encode(model, others[1], "activation").vectors[2]
    want = by_hooks(model, encoded[1].ids, encoded[1].answer_ids, vector, [2], 2, encoded[1].positions["all"])
    assert ds.logprob.values[1, 2, 0, 1] == pytest.approx(want[0], abs=2e-4)


def test_several_layers_and_relative_strength():
    model = speaking("gpt2")
    encoded, vectors = lens.injection.encode_items(model, ITEMS)[0], lens.injection.encode(model, "w6", "embed").vectors
    ds = lens.injection.sweep(model, ITEMS[:2], encoder="embed", strengths=(1,), window=3, controls=(), progress=False)
    want = by_hooks(model, encoded.ids, encoded.answer_ids, vectors[0], [0, 1, 2], 1, encoded.positions["all"])
    assert ds.logprob.values[0, 1, 0, 0] == pytest.approx(want[0], abs=2e-4)
    relative = lens.injection.sweep(
        model, ITEMS[:2], encoder="embed", strengths=(1,), relative=True, controls=(), progress=False
    )
    stream = model(encoded.ids[None], output_hidden_states=True).hidden_states[1][0]  # the input of layer 1
    rms = stream.square().mean(-1).sqrt().median()
    scaled = vectors[1] / vectors[1].square().mean().sqrt() * rms
    want = by_hooks(model, encoded.ids, encoded.answer_ids, scaled, [1], 1, encoded.positions["all"])
    assert relative.logprob.values[0, 1, 0, 0] == pytest.approx(want[0], abs=2e-4)
    assert relative.norm.values[0, 1, 0] == pytest.approx(float(scaled.norm()), rel=1e-4)


def test_same_seed_same_numbers_and_a_control_does_not_move_another():
    model = speaking("llama")

    def run(controls, seed):
        return lens.injection.sweep(model, ITEMS, strengths=(1,), controls=controls, seed=seed, progress=False)

    a, b, c = run(("random_direction",), 0), run(("shuffled", "random_direction"), 0), run(("random_direction",), 1)
    assert np.array_equal(a.logprob.sel(condition="random_direction"), b.logprob.sel(condition="random_direction"))
    assert not np.array_equal(a.logprob.sel(condition="random_direction"), c.logprob.sel(condition="random_direction"))


def test_a_small_budget_gives_the_same_numbers():
    model = speaking("llama")
    whole, tight = (
        lens.injection.sweep(model, ITEMS, strengths=(1, 2), controls=(), memory_mb=mb, progress=False)
        for mb in (500, 0.2)
    )
    assert np.allclose(whole.logprob, tight.logprob, atol=1e-5)


def test_a_stopped_sweep_is_taken_up_again_and_another_grid_is_refused(tmp_path):
    model, asked = speaking("llama"), []

    def stop():
        asked.append(1)
        return len(asked) > 4

    options = dict(strengths=(1, 2), controls=("shuffled",), progress=False, store=tmp_path / "grid.zarr")
    items = ITEMS * 4
    items = [
        Item(**{**{f: getattr(i, f) for f in ("prompt", "explicit", "memory", "answer", "subject")}, "label": str(n)})
        for n, i in enumerate(items)
    ]
    part = lens.injection.sweep(model, items, stop=stop, memory_mb=0.2, **options)
    assert lens.record(part)["status"] == "partial" and np.isnan(part.logprob).any()
    parts = []
    whole = lens.injection.sweep(model, items, on_part=parts.append, **options)
    assert lens.record(whole)["status"] == "complete" and not np.isnan(whole.logprob).any()
    plain = lens.injection.sweep(model, items, strengths=(1, 2), controls=("shuffled",), progress=False)
    assert np.allclose(whole.logprob, plain.logprob, atol=1e-5) and np.array_equal(whole.exact, plain.exact)
    assert np.allclose(lens.open(tmp_path / "grid.zarr").logprob, plain.logprob, atol=1e-5)
    again = []
    lens.injection.sweep(model, items, on_part=again.append, **options)
    assert not again, "nothing is computed twice"
    with pytest.raises(ResultError, match="strength"):
        lens.injection.sweep(model, items, **options | {"strengths": (1, 3)})
    with pytest.raises(ResultError, match="encoder"):
        lens.injection.sweep(model, items, encoder="embed", **options)


def test_half_precision_warns_where_it_overflows():
    model = speaking("llama").to(torch.bfloat16).to(torch.float16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lens.injection.sweep(model, ITEMS[:1], strengths=(1,), controls=(), layers=[1], progress=False)
    with pytest.warns(UserWarning, match=r"strength=1e\+06 overflows float16 at layer 1"):
        lens.injection.sweep(model, ITEMS[:1], strengths=(1, 1_000_000), controls=(), layers=[1, 2], progress=False)


@pytest.mark.parametrize(
    "change, word",
    [
        (dict(strengths=()), "strengths"),
        (dict(strengths=(1, float("nan"))), "strength"),
        (dict(strengths=(1, 1)), "strengths"),
        (dict(encoder="guess"), "encoder"),
        (dict(positions="middle"), "positions"),
        (dict(controls=("nobody",)), "controls"),
        (dict(layers=[7]), "layer"),
        (dict(layers=()), "layers=.*at least one"),
        (dict(window=0), "window"),
        (dict(encoder="head"), "heads"),
        (dict(items=[]), "items"),
    ],
)
def test_bad_arguments_are_named(change, word):
    arguments = dict(items=ITEMS, strengths=(1,), controls=(), progress=False) | change
    with pytest.raises(ValueError, match=word):
        lens.injection.sweep(speaking("llama"), arguments.pop("items"), **arguments)


def test_an_item_without_subject_cannot_be_injected_there():
    with pytest.raises(InjectionError, match=r"items\[0\].*subject"):
        lens.injection.sweep(
            speaking("llama"), [Item("w1 w2", "w3 w2", "w3", " w4")], positions="subject", controls=(), strengths=(1,)
        )
