"""Controls have the form they promise."""

import pytest

import lens
from lens.patching import random_prompts, shuffled_pairs
from lens.prompts import encode_all


def test_shuffled_pairs_take_another_pairs_clean_prompt_of_the_same_form(smollm2):
    pairs = lens.load_pairs("ioi", split="report", group="shops-abba")
    made = shuffled_pairs(smollm2, pairs, seed=3)
    cleans = [p.clean for p in pairs]
    for old, new, a, b in zip(pairs, made, encode_all(smollm2, pairs), encode_all(smollm2, made)):
        assert new.corrupted == old.corrupted and new.answer == old.answer and new.foil == old.foil
        assert new.clean in cleans and new.clean != old.clean and pairs[cleans.index(new.clean)].answer != old.answer
        assert all(a.positions[k] == b.positions[k] for k in ("io", "s1", "s2", "last"))
    assert [p.clean for p in made] == [p.clean for p in shuffled_pairs(smollm2, pairs, seed=3)]
    assert [p.clean for p in made] != [p.clean for p in shuffled_pairs(smollm2, pairs, seed=4)]
    with pytest.raises(lens.PatchError, match=r"pairs\[0\].*no partner"):
        shuffled_pairs(smollm2, pairs[:1])


def test_random_prompts_have_the_same_length_and_positions(smollm2):
    pairs = lens.load_pairs("ioi", split="report", limit=4)
    made = random_prompts(smollm2, pairs, seed=1)
    for a, b in zip(encode_all(smollm2, pairs), encode_all(smollm2, made)):
        assert len(a) == len(b) and all(a.positions[k] == b.positions[k] for k in ("io", "s1", "s2", "last"))
        assert b.pair.clean not in a.pair.clean and b.pair.corrupted == a.pair.corrupted
    assert [p.clean for p in made] == [p.clean for p in random_prompts(smollm2, pairs, seed=1)]
