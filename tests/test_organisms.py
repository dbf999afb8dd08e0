"""The organism `induction`: what its card says is what its weights do."""

import json

import pytest
import torch

import lens
from lens import cache, models
from lens.organisms import induction

CARD = json.loads((induction.FOLDER / "card.json").read_text())


@pytest.fixture(scope="module")
def bridge():
    return lens.load("organism:induction", device="cpu")


def repeated(period, copies, seed):
    fresh = 1 + torch.randperm(255, generator=torch.Generator().manual_seed(seed))[:period]
    return torch.cat([torch.zeros(1, dtype=torch.long), fresh.repeat(copies)])[None]


def test_the_folder_is_the_one_that_the_recipe_in_the_code_made():
    assert "induction" in models.organisms()
    assert CARD["recipe_sha256"] == induction.Recipe().sha256()
    assert CARD["weights_sha256"] == cache.sha256_file(induction.FOLDER / "model.safetensors")
    assert (induction.FOLDER / "model.safetensors").stat().st_size < 4_000_000


def test_the_measured_loss_is_that_of_the_shipped_weights(bridge):
    measured = induction.measure(bridge.original_model, induction.Recipe(), CARD["measured"]["rows"])
    assert measured == pytest.approx(CARD["measured"], abs=2e-4)


def test_it_continues_a_sequence_of_a_length_that_it_repeats(bridge):
    for period in (8, 15, 24):
        ids = repeated(period, 2, seed=period)
        with torch.no_grad():
            guesses = bridge(ids)[0, period + 1 : -1].argmax(-1)
        assert (guesses == ids[0, period + 2 :]).float().mean() >= 0.9


def test_a_head_of_the_second_layer_looks_at_what_followed_the_earlier_copy(bridge):
    """Induction: from the second copy of a word the attention goes to the position after its first copy."""
    period = 20
    ids = repeated(period, 2, seed=1)
    _, kept = bridge.run_with_cache(ids, names_filter=lambda name: name.endswith("hook_pattern"))
    rows = torch.arange(period + 1, 2 * period + 1)
    scores = torch.stack(
        [kept[f"blocks.{layer}.attn.hook_pattern"][0][:, rows, rows - period + 1].mean(-1) for layer in (0, 1)]
    )
    assert scores[1].max() > 0.5 and scores[0].max() < 0.2


def test_its_words_are_tokens(bridge):
    vocabulary = induction.words(256)
    assert len(set(vocabulary)) == 256
    text = " ".join(vocabulary[5:9])
    assert bridge.tokenizer(text).input_ids == [5, 6, 7, 8]
    assert bridge.tokenizer.decode([5, 6, 7, 8]) == text


@pytest.mark.slow
def test_training_by_a_shorter_recipe_learns_and_is_repeatable():
    recipe = induction.Recipe(vocab=24, d_model=32, context=24, shortest=4, longest=8, steps=120, batch=16)
    first, second = (induction.train(recipe, say=lambda line: None) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    torch.manual_seed(recipe.seed)
    untrained = induction.measure(induction.build(recipe).eval(), recipe, 64)
    assert induction.measure(first, recipe, 64)["in_context_loss"] < untrained["in_context_loss"] - 0.2
