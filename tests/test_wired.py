"""The organism `wired`: what its card says is what its weights do, and only the edges of its list carry anything."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import lens
from lens import cache, models
from lens.organisms import wired
from lens.organisms.errors import OrganismError

CARD = json.loads((wired.FOLDER / "card.json").read_text())
RECIPE = wired.Recipe()


@pytest.fixture(scope="module")
def model():
    return lens.load("organism:wired", device="cpu")


def test_the_folder_is_the_one_that_the_recipe_in_the_code_made():
    assert "wired" in models.organisms() and CARD["edges"] == wired.edges(RECIPE)
    assert CARD["recipe_sha256"] == RECIPE.sha256()
    assert CARD["weights_sha256"] == cache.sha256_file(wired.FOLDER / "model.safetensors")
    assert (wired.FOLDER / "model.safetensors").stat().st_size < 2_000_000


def test_the_weights_are_those_that_the_code_writes_down():
    written, stored = wired.build(RECIPE).state_dict(), load_file(wired.FOLDER / "model.safetensors")
    assert written.keys() == stored.keys() and all(torch.equal(written[name], stored[name]) for name in written)


@pytest.mark.long
def test_it_answers_what_stood_behind_the_word_before(model):
    found = wired.measure(model.original_model, RECIPE, CARD["measured"]["pairs"])
    assert found == pytest.approx(CARD["measured"], abs=2e-3)
    assert found["accuracy"] == 1 and found["clean_gap"] > 4 and found["corrupted_gap"] < -4


def test_the_prompts_of_a_pair_differ_where_their_kind_says():
    for pair in wired.pairs(RECIPE, 60, seed=3):
        clean, corrupted = str(pair.clean).split(), str(pair.corrupted).split()
        differs = [i for i, (a, b) in enumerate(zip(clean, corrupted, strict=True)) if a != b]
        at, other = clean.index(clean[-1]), corrupted.index(corrupted[-1])
        if pair.label == "query":
            assert differs == [len(clean) - 1]
        else:
            assert clean[-1] == corrupted[-1] and len(differs) == 2
            assert all(clean[i] == corrupted[j] for i, j in (differs, differs[::-1]))
        assert clean[at + 1] == pair.answer.strip() and corrupted[other + 1] == pair.foil.strip()
        assert len(set(clean[:-1])) == len(clean) - 1


def test_three_heads_carry_the_difference_and_nothing_else_does(model):
    pairs = wired.pairs(RECIPE, 6, seed=5)
    effect = lens.patch(model, pairs, "z", over=("layer", "head")).effect
    mean = np.abs(effect.values).max(0)
    circuit = {(0, 0), (0, 1), (1, 0)}
    inside = [mean[l, h] for l in range(2) for h in range(RECIPE.heads) if (l, h) in circuit]
    outside = [mean[l, h] for l in range(2) for h in range(RECIPE.heads) if (l, h) not in circuit]
    assert min(inside) > 10 * max(outside) > 0


def test_noise_changes_norms_and_nothing_else():
    silent = wired.build(replace(RECIPE, noise=0.0))
    found = wired.measure(silent, RECIPE, 30)
    assert found["clean_gap"] == pytest.approx(-found["corrupted_gap"], abs=1e-3)
    assert found["clean_gap"] > RECIPE.logit * 0.9


@pytest.mark.parametrize(
    "fields, said",
    [
        (dict(heads=3), "heads=3"),
        (dict(d_head=31), "d_head=31"),
        (dict(heads=4, d_head=33), "heads=4"),
        (dict(sharpness=0.0), "sharpness"),
        (dict(noise=-0.1), "noise"),
    ],
)
def test_a_recipe_that_cannot_be_wired_is_refused(fields, said):
    with pytest.raises(OrganismError, match=said):
        wired.Recipe(**fields)


def test_pairs_that_cannot_be_are_refused():
    with pytest.raises(OrganismError, match="kinds=\\['values'\\]"):
        wired.pairs(RECIPE, 3, kinds=["values"])
    with pytest.raises(OrganismError, match="vocab=8"):
        wired.pairs(replace(RECIPE, vocab=8), 3)


def test_the_map_of_its_edges_has_layers_for_names_and_nothing_where_no_edge_can_be(model):
    from matplotlib.figure import Figure

    found = lens.edges(model, wired.pairs(RECIPE, 3), steps=1, check=0)
    axes = Figure().subplots()
    mesh = found.plot(n=20, ax=axes)
    assert [t.get_text() for t in axes.get_xticklabels()] == ["input", "0", "1"]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["0", "1", "logits"]
    there = ~np.ma.getmaskarray(mesh.get_array()).reshape(3, 3)
    assert there.tolist() == [[True, True, False], [True, True, True], [True, True, True]]
    assert mesh.colorbar.ax.get_ylabel() == "sum of |effect| [logits]"


def test_the_largest_edges_are_those_of_its_list(model):
    found = lens.edges(model, wired.pairs(RECIPE, 6), steps=3, check=0)
    listed = CARD["edges"]["tokens"]
    assert set(found.top(len(listed)).edge) == set(listed)
