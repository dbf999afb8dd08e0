"""Hubble's items with their counts, and their gain over the twin, against losses by a plain forward."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

import lens
from lens.memorization import MemorizationError, Sequences, gain_over_twin, hubble_items
from tests.models import speaking, tiny


def rows(n=6, size=8):
    return [
        {"item": i, "tokens": [1 + (i + j) % 60 for j in range(size)], "duplicates": (0, 1, 4)[i % 3]} for i in range(n)
    ]


def test_items_are_read_from_rows_files_and_frames_alike(tmp_path):
    file = tmp_path / "items.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows()))
    for source in (rows(), file, pd.DataFrame(rows())):
        got = hubble_items(source, prefix=2, suffix=5)
        assert got.ids.tolist() == [row["tokens"][:7] for row in rows()]
        assert got.duplicates.tolist() == [0, 1, 4, 0, 1, 4] and got.prefix == 2


def test_texts_are_read_by_the_models_tokenizer_and_short_ones_are_left_out():
    model = speaking("llama")
    made = [
        {"text": "w1 w2 w3 w4", "duplicates": 1, "file": "a"},
        {"text": "w5", "duplicates": 0, "file": "b"},
        {"text": "w6 w7 w8 w9 w1", "duplicates": 0, "file": "b"},
    ]
    got = hubble_items(made, model, prefix=2, suffix=2, start=0, kind="file")
    assert got.ids.tolist() == [[0, 1, 2, 3], [0, 6, 7, 8]] and got.kind.tolist() == ["a", "b"]


def test_so_many_of_each_count_are_drawn():
    got = hubble_items(rows(30), prefix=2, suffix=5, each=3, seed=1)
    assert np.unique(got.duplicates, return_counts=True)[1].tolist() == [3, 3, 3]
    assert got.names == hubble_items(rows(30), prefix=2, suffix=5, each=3, seed=1).names


def test_items_that_are_cut_to_the_same_tokens_are_no_copies_of_each_other():
    """Of the first two training read [1, 2, 3] five times, which is the count of neither; listed twice is one item."""
    ends = [([1, 2, 3, 4], 1), ([1, 2, 3, 5], 4), ([6, 2, 3, 4], 16), ([6, 2, 3, 4], 16), ([7, 7, 7], 0)]
    source = [{"tokens": tokens, "duplicates": count} for tokens, count in ends]
    with pytest.warns(UserWarning, match="2 of 4 items begin with the same 3 tokens as another and are left out"):
        got = hubble_items(source, prefix=1, suffix=2)
    assert got.ids.tolist() == [[6, 2, 3], [7, 7, 7]] and got.duplicates.tolist() == [16, 0]
    assert hubble_items(source, prefix=1, suffix=3).duplicates.tolist() == [1, 4, 16]
    with pytest.raises(MemorizationError, match="2 of 2 items begin .*; expected some that do not"):
        hubble_items(source[:2], prefix=1, suffix=2)


@pytest.mark.parametrize(
    ("source", "options", "said"),
    (
        ([], {}, "no row"),
        ([{"tokens": [1, 2, 3]}], {}, "duplicates"),
        ([{"duplicates": 1}], {}, "neither 'text' nor 'tokens'"),
        ([{"text": "a b c", "duplicates": 1}], {}, "model is None, and source has texts"),
        ([{"tokens": [1, 2, 3], "duplicates": 1.5}], {}, "duplicates=1.5; expected how often"),
        ([{"tokens": [1, 2, 3], "duplicates": -1}], {}, "duplicates=-1"),
        ([{"tokens": ["a"], "duplicates": 1}], {}, "expected token ids"),
        ([{"tokens": [1, 2], "duplicates": 1}], {}, "none of 1 items has prefix"),
        ([{"tokens": [1, 2, 3], "duplicates": n} for n in (0, 4)], {}, "duplicates 0 and 4; .*one form"),
    ),
)
def test_sets_that_are_none_are_refused(source, options, said):
    with pytest.raises(MemorizationError, match=said):
        hubble_items(source, prefix=1, suffix=2, **options)


def test_the_gain_is_the_twins_loss_less_the_models():
    model, twin = tiny("llama", seed=0), tiny("llama", seed=1)
    asked = hubble_items(rows(), prefix=3, suffix=5)
    got = gain_over_twin(model, twin, asked)
    for name, one in (("nll", model), ("nll_twin", twin)):
        with torch.no_grad():
            logits = one(torch.from_numpy(asked.ids)).logits.log_softmax(-1)
        want = -logits[:, 2:-1].gather(2, torch.from_numpy(asked.ids)[:, 3:, None]).mean((1, 2))
        assert got[name].values == pytest.approx(want.numpy(), abs=1e-5)
    assert got.gain.values == pytest.approx((got.nll_twin - got.nll).values)
    table = lens.memorization.summary(got)
    assert table.duplicates.values.tolist() == [0, 1, 4]
    nothing = gain_over_twin(model, model, asked)
    assert (nothing.gain == 0).all()


def test_a_twin_of_another_vocabulary_or_a_text_beyond_the_context_is_refused():
    model, twin = tiny("llama"), tiny("llama")
    twin.config.vocab_size += 1
    with pytest.raises(MemorizationError, match="expected the standard model of the same tokenizer"):
        gain_over_twin(model, twin, hubble_items(rows(), prefix=3, suffix=5))
    long = Sequences(np.ones((2, 5000), int), prefix=3)
    with pytest.raises(MemorizationError):
        gain_over_twin(model, model, long)
