"""Thought types: pieces of written texts, the direction between them, the edit between pieces, arms at equal length."""

import numpy as np
import pytest
import torch

import lens
from lens.engine.model import Model
from lens.vectors import ThoughtTypes, VectorError, thoughts
from tests import naive
from tests.models import speaking

TYPES = ThoughtTypes("w19", {"reflection": ["w5", "w50 w51"], "transition": ["w6"]})
LAYER = 1


@pytest.fixture(scope="module")
def model():
    return speaking(seed=3)


def chains(n=8, seed=0):
    """Prompts of three tokens, and texts of pieces of each type between separators."""
    draw = np.random.default_rng(seed)
    prompts, texts = [], []
    for _ in range(n):
        words = []
        for opening in draw.permutation([5, 6, 20, 21, 22]):
            words += [int(opening), *map(int, draw.integers(30, 60, 2)), 19]
        prompts.append([0, *map(int, draw.integers(60, 90, 2))])
        texts.append(words[:-1])
    return prompts, texts


def test_pieces_are_cut_at_separators_and_called_by_their_words(model):
    table = lens.vectors.thought_segments(model, [[0, 9]], [[20, 21, 19, 5, 22, 19, 19, 6, 19, 50, 51, 19]], TYPES)
    assert table["type"].tolist() == ["execution", "reflection", "transition", "reflection"]
    assert table[["begin", "end", "before"]].to_numpy().tolist() == [[2, 4, 1], [5, 7, 4], [9, 10, 8], [11, 13, 10]]
    assert table.words.tolist() == ["w20 w21", "w5 w22", "w6", "w50 w51"]


def test_words_open_a_piece_or_stand_in_it_or_are_a_part_of_one():
    piece = "Let's correctly do it, and wait."
    words = {"check": ["correct"], "stop": ["wait"]}
    assert [ThoughtTypes("\n\n", words, where=w).of(piece) for w in ("start", "anywhere", "substring")] == [
        "execution",
        "stop",
        "check",
    ]
    assert ThoughtTypes().of("Wait, that is wrong") == "reflection"
    assert ThoughtTypes().of("Waiting for it") == "execution"
    assert ThoughtTypes().of("Alternatively: begin anew") == "transition"


@pytest.mark.parametrize("away", [None, ["transition"]])
def test_the_vector_is_a_difference_of_means_at_the_separators(model, away):
    prompts, texts = chains()
    vector = lens.vectors.thought_vector(model, prompts, texts, TYPES, away=away, layer=LAYER)
    plain, sides = speaking(seed=3), {True: [], False: []}
    for prompt, text in zip(prompts, texts):
        states = naive.activation(plain, torch.tensor(prompt + text), "resid_post", LAYER)
        for i, token in enumerate(text[:-1]):
            kind = {5: "reflection", 6: "transition"}.get(text[i + 1], "execution")
            if token == 19 and (away is None or kind in ("execution", *away)):
                sides[kind == "execution"].append(states[len(prompt) + i])
    expected = torch.stack(sides[True]).mean(0) - torch.stack(sides[False]).mean(0)
    torch.testing.assert_close(vector.direction, expected, atol=1e-4, rtol=1e-4)
    assert vector.about["separators"]["execution"] == len(sides[True]) and vector.about["texts"] == 8


def test_states_leave_the_device_once_for_each_side_of_a_text(model, monkeypatch):
    """Not once for each layer: of two layers that would be twice as many."""
    prompts, texts = chains()
    whole = [(len(p), torch.tensor(p + t)) for p, t in zip(prompts, texts)]
    table = lens.vectors.thought_segments(model, prompts, texts, TYPES).query("segment > 0")
    moved, cpu = [], torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda self, *args: moved.append(self.shape) or cpu(self, *args))
    decoder = Model.of(model)
    sums, sizes = thoughts._sums(model, decoder, whole, table, "execution")
    shape = (decoder.n_layers, decoder.d_model)
    assert decoder.n_layers > 1 and moved.count(shape) == int((sizes > 0).sum()) == 16
    assert not [one for one in moved if one == shape[1:]] and sums.abs().sum() > 0


def test_labels_of_a_judge_take_the_place_of_words(model):
    prompts, texts = chains()
    table = lens.vectors.thought_segments(model, prompts, texts, TYPES)
    same = lens.vectors.thought_vector(model, prompts, texts, TYPES, labels=table["type"].tolist())
    words = lens.vectors.thought_vector(model, prompts, texts, TYPES)
    assert torch.equal(same.vectors, words.vectors) and torch.equal(same.reliability, words.reliability)
    mixed = np.random.default_rng(0).permutation(table["type"]).tolist()
    other = lens.vectors.thought_vector(model, prompts, texts, TYPES, labels=mixed)
    assert torch.cosine_similarity(other.vectors, words.vectors).max() < 0.9


def test_the_edit_acts_at_new_separators_alone(model):
    prompts, texts = chains()
    vector = lens.vectors.thought_vector(model, prompts, texts, TYPES)
    edit = lens.vectors.thought_edit(model, vector, LAYER, TYPES, strength=3.0)
    bias = {19: 6.0}  # separators come often
    got = lens.generate(model, prompts, [edit], bias=bias, max_new_tokens=12)
    plain, added = speaking(seed=3), 3.0 * vector.vectors[LAYER]
    assert any(19 in text.ids for text in got)
    for prompt, text in zip(prompts, got):
        ids = list(prompt)
        for token in text.ids:
            at = [i for i, one in enumerate(ids) if one == 19 and i >= len(prompt) - 1]
            assert token == _next(plain, ids, at, added, bias)
            ids.append(token)


@torch.no_grad()
def _next(model, ids, at, added, bias):
    def push(module, args, out):
        hidden = out[0] if isinstance(out, tuple) else out
        hidden[:, at] += added

    handle = model.model.layers[LAYER].register_forward_hook(push)
    try:
        logits = model(torch.tensor([ids])).logits[0, -1].clone()
    finally:
        handle.remove()
    for token, more in bias.items():
        logits[token] += more
    return int(logits.argmax())


def test_arms_have_length_end_accuracy_and_thoughts(model):
    prompts, texts = chains()
    vector = lens.vectors.thought_vector(model, prompts, texts, TYPES)
    edit = lens.vectors.thought_edit(model, vector, LAYER, TYPES)
    arms = lens.vectors.thought_rivals(model, edit, TYPES, penalty=1.5)
    assert list(arms) == ["none", "vector", "everywhere", "random direction", "keyword ban", "length penalty"]
    assert set(arms["length penalty"]["bias"].values()) == {-1.5} and {5, 6, 50} == set(arms["keyword ban"]["bias"])
    turned = arms["random direction"]["edits"][0].value
    assert float(turned.norm()) == pytest.approx(float(edit.value.norm()), rel=1e-5)

    def right(number, text):
        return (text.ids[0] + number) % 2 == 0

    arms = {**arms, "first words": {"max_new_tokens": 2}}
    with pytest.warns(UserWarning, match="meet the cap"):
        ds = lens.vectors.thought_lengths(
            model, prompts, right, arms, TYPES, max_new_tokens=6, temperature=2.0, seed=4, progress=False
        )
    for name in ("none", "keyword ban", "first words"):
        texts = lens.generate(model, prompts, temperature=2.0, seed=4, **{"max_new_tokens": 6} | arms[name])
        row = ds.sel(arm=name)
        assert row.tokens.values.tolist() == [len(text.ids) for text in texts]
        assert row.right.values.tolist() == [float(right(i, text)) for i, text in enumerate(texts)]
        assert row.finished.values.tolist() == [float(text.reason != "length") for text in texts]
        assert float(row.accuracy) == pytest.approx(row.right.values.mean())
        assert float(row.accuracy_low) <= float(row.accuracy) <= float(row.accuracy_high)
    assert ds.tokens.sel(arm="first words").max() == 2
    banned = lens.generate(model, prompts, temperature=2.0, seed=4, max_new_tokens=6, **arms["keyword ban"])
    assert not any({5, 6, 50} & set(text.ids) for text in banned)
    assert not ds.thoughts.sel(arm="keyword ban", type=["reflection", "transition"]).any()


@pytest.mark.filterwarnings("ignore:arm")
def test_a_stopped_call_keeps_the_arms_that_are_whole(model):
    prompts, _ = chains(2)
    calls = []
    ds = lens.vectors.thought_lengths(
        model,
        prompts,
        lambda number, text: True,
        {"none": {}, "again": {}},
        TYPES,
        max_new_tokens=2,
        stop=lambda: calls.append(1) or len(calls) > 3,
        progress=False,
    )
    assert ds.arm.values.tolist() == ["none"] and lens.results.provenance(ds)["status"] == "partial"


def test_an_arm_is_compared_at_equal_length(model):
    import xarray as xr

    tokens = np.array([[10.0, 14], [8, 8], [16, 16]])
    right = np.array([[1.0, 1], [0, 1], [1, 1]])
    ds = xr.Dataset(
        {"tokens": (("arm", "item"), tokens), "right": (("arm", "item"), right), "finished": (("arm", "item"), right)},
        {"arm": ["vector", "penalty 4", "none"]},
    )
    # at 12 tokens the rival is half way from .5 to 1
    assert lens.vectors.equal_length(ds, "vector", ["penalty 4", "none"]).estimate == pytest.approx(0.25)
    assert lens.vectors.equal_length(ds, "none", ["penalty 4", "none"]).estimate == 0
    with pytest.raises(VectorError, match="arm='more' is not in lengths"):
        lens.vectors.equal_length(ds, "vector", ["more", "none"])


def test_what_does_not_fit_is_refused(model):
    prompts, texts = chains()
    with pytest.raises(VectorError, match="holds 1 for 8 prompts"):
        lens.vectors.thought_segments(model, prompts, texts[:1], TYPES)
    with pytest.raises(VectorError, match="is in no token"):
        ThoughtTypes("\n\n").separators(model)
    with pytest.raises(VectorError, match="another name for the rest"):
        ThoughtTypes("w19", {"execution": ["w5"]})
    with pytest.raises(VectorError, match="expected a list of text"):
        ThoughtTypes("w19", {"reflection": "w5"})
    with pytest.raises(VectorError, match="stand before pieces of type 'doubt'"):
        lens.vectors.thought_vector(model, prompts, texts, TYPES, toward="doubt")
    with pytest.raises(VectorError, match="a mean needs at least 5"):
        lens.vectors.thought_vector(model, prompts[:2], texts[:2], TYPES, away=["reflection"])
    with pytest.raises(VectorError, match="labels holds 1"):
        lens.vectors.thought_vector(model, prompts, texts, TYPES, labels=["execution"])
    with pytest.raises(VectorError, match="all arms decode alike"):
        lens.vectors.thought_lengths(model, prompts, lambda i, t: True, {"hot": {"temperature": 1.0}}, TYPES)
    with pytest.raises(VectorError, match=r"arms\['ends'\] has stop texts, and stop= is a function"):
        lens.vectors.thought_lengths(
            model, prompts, lambda i, t: True, {"ends": {"stop": ["w3"]}}, TYPES, stop=lambda: False
        )
    zero = lens.Edit(lens.Site("resid_post", 1), "zero")
    with pytest.raises(VectorError, match="value is no vector"):
        lens.vectors.thought_rivals(model, zero, TYPES)
