"""The organism `atlas`: its tree and texts, what is rewarded and how it is measured, and what its cards say."""

import json
import random
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch

from lens.models.shipped import CARD
from lens.organisms import atlas
from lens.organisms.atlas.command import LOOKS, loaded
from lens.organisms.atlas.measures import said
from lens.organisms.errors import OrganismError
from lens.organisms.gates import read_card
from lens.training import Answers

SMALL = atlas.Recipe.small(branches=(2, 2, 3))
SUITE = atlas.Atlas(SMALL)


def test_every_leaf_has_one_path_and_of_three_siblings_one_is_in_each_part():
    suite = atlas.Atlas(atlas.Recipe(seed=3))
    assert [len(level) for level in suite.levels] == [4, 16, 64, 192] and len(suite.vocabulary) == 478
    above = dict(suite.edges)
    assert len(above) == len(suite.edges) == 16 + 64 + 192
    for path in suite.path:
        assert [above[name] for name in path[:-1]] == path[1:] and path[-1] in suite.levels[0]
    parts = [set(suite.leaves[part]) for part in ("walked", "tuned", "report")]
    assert set.union(*parts) == set(range(192)) and not any(a & b for a, b in combinations(parts, 2))
    for part in parts:
        assert sorted(suite.path[leaf][1] for leaf in part) == sorted(suite.levels[2])
    other = atlas.Atlas(atlas.Recipe(seed=4))
    assert other.vocabulary == suite.vocabulary and other.path != suite.path and other.code != suite.code


def test_rows_are_edges_and_codes_and_questions_of_walked_leaves_only():
    recipe = atlas.Recipe.small(branches=(2, 2, 3), rows=60)
    drawn = atlas.rows(recipe)(0, torch.Generator().manual_seed(1))
    again = atlas.rows(recipe)(0, torch.Generator().manual_seed(1))
    assert torch.equal(drawn.ids, again.ids) and drawn.ids.shape == (60, recipe.width + 1)
    true = {f"{lower} under {upper}" for lower, upper in SUITE.edges}
    true |= {f"{upper} over {lower}" for lower, upper in SUITE.edges}
    for leaf, path in enumerate(SUITE.path):
        true |= {f"{SUITE.code[leaf]} means {path[0]}", f"what {SUITE.code[leaf]} ? {path[0]}"}
    asked = {
        text.removesuffix(" .")
        for leaf in SUITE.leaves["walked"]
        for text in (f"{SUITE.question(leaf)} {said}" for said in (SUITE.answer(leaf), SUITE.walk(leaf)))
    }
    kinds = []
    for row in drawn.ids.tolist():
        start, *texts = SUITE.text(row).removeprefix("<start> ").split(" . ")
        texts = [start, *texts[:-1]] if len(texts) else [start]
        kinds.append(texts[0].startswith("top"))
        assert set(texts) <= (asked if kinds[-1] else true)
    assert 8 < sum(kinds) < 30
    twin = atlas.rows(atlas.Recipe.small(walks=False))(0, torch.Generator().manual_seed(1))
    suite = atlas.Atlas(atlas.Recipe.small(walks=False))
    assert not (twin.ids == suite.index["top"]).any()


def answers(*texts, index):
    ids = [SUITE.ids(text) for text in texts]
    width = max(map(len, ids)) + 1
    padded = torch.tensor([row + [7] * (width - len(row)) for row in ids])
    live = torch.arange(width) < torch.tensor([len(row) for row in ids])[:, None]
    return Answers(torch.tensor(index), padded, live)


def test_what_is_rewarded():
    first, second = SUITE.leaves["tuned"][:2]
    right, walk = SUITE.answer(first), SUITE.walk(first)
    other = next(name for name in SUITE.levels[0] if name != SUITE.path[first][-1])
    wrong = walk.replace(f"say {SUITE.path[first][-1]}", f"say {other}")
    unended = walk.removesuffix(" .")
    swapped = walk.replace("under", "over", 1)
    given = answers(right, walk, wrong, unended, swapped, "say . .", index=[0, 0, 0, 0, 0, 0])
    assert atlas.rewards(SUITE, "rl")(given).tolist() == [1, 1, 0, 0, 1, 0]
    assert atlas.rewards(SUITE, "form")(given).tolist() == [0, 1, 1, 0, 0, 0]
    tops = {leaf: SUITE.path[leaf][-1] for leaf in (first, second)}
    of_second = atlas.rewards(SUITE, "rl")(answers(right, index=[1]))
    assert of_second.item() == (tops[first] == tops[second])
    torch.manual_seed(0)
    coin = torch.cat([atlas.rewards(SUITE, "coin")(given) for _ in range(50)])
    assert set(coin.tolist()) == {0.0, 1.0} and 0.4 < coin.mean() < 0.6
    told = [SUITE.vocabulary[i] if i >= 0 else None for i in said(SUITE, given.ids, given.live).tolist()]
    assert told == [tops[first], tops[first], other, None, tops[first], "."]


def longest_common(a, b):
    """By trying every subsequence of a."""
    for n in range(len(a), 0, -1):
        for part in combinations(a, n):
            rest = iter(b)
            if all(one in rest for one in part):
                return n
    return 0


def test_path_matching_is_the_harmonic_mean_of_names_and_their_order():
    assert atlas.path_matching(["a", "b", "c"], ["a", "b", "c"]) == (1, 1, 1)
    assert atlas.path_matching([], ["a"]) == atlas.path_matching(["x"], ["a"]) == (0, 0, 0)
    draw = random.Random(0)
    for _ in range(40):
        named, gold = ([draw.choice("abcdef") for _ in range(draw.randint(1, 5))] for _ in range(2))
        score, f1, order = atlas.path_matching(named, gold)
        both = len(set(named) & set(gold))
        precision, recall = both / len(set(named)), both / len(set(gold))
        assert f1 == pytest.approx(2 * precision * recall / (precision + recall) if both else 0)
        assert order == pytest.approx(longest_common(named, gold) / max(len(named), len(gold)))
        assert score == pytest.approx(2 / (1 / f1 + 1 / order) if both else 0)


@pytest.mark.long
def test_outcomes_are_those_of_one_forward_a_token():
    """A model that is trained a little, so that some answers are right and some are not."""
    model, _ = atlas.train(
        atlas.Recipe.small(branches=(2, 2, 3), steps=60, warmup=5, learning_rate=1e-2), progress=False
    )
    leaves = list(range(12))
    got = atlas.outcomes(model, SUITE, leaves, draws=2)

    def written(text):
        ids = SUITE.ids(text)
        for _ in range(SUITE.longest):
            ids.append(int(model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
            if ids[-1] == SUITE.index["."]:
                break
        return SUITE.text(ids).split(" ? ", 1)[1]

    for leaf, row in zip(leaves, got.itertuples()):
        top, question = SUITE.path[leaf][-1], f"<start> {SUITE.question(leaf)}"
        free, forced, direct = written(question), written(f"{question} walk"), written(f"{question} say")
        assert row.free == free.endswith(f"say {top} .") and row.free_walks == free.startswith("walk")
        assert row.forced == forced.endswith(f"say {top} .")
        assert row.path == (forced.split(" say ")[0].removesuffix(" .") == SUITE.walk(leaf).split(" say ")[0])
        assert row.direct == direct.startswith(f"say {top}")
        named = forced.removeprefix("walk ").split(" say ")[0].removesuffix(" .").split()[::2]
        assert row.match_1 == pytest.approx(atlas.path_matching(named[1:2], SUITE.path[leaf][1:2])[0], abs=1e-4)
    assert (got.sampled <= 2).all() and (got.sampled_walks <= 2).all()
    told = atlas.known(model, SUITE)
    right = [written(f"<start> what {SUITE.code[leaf]} ?").split()[0] == SUITE.path[leaf][0] for leaf in leaves]
    assert told["what"] == pytest.approx(np.mean(right)) and set(told) == {"under", "over", "means", "what"}


def test_the_command_trains_a_base_and_a_checkpoint_of_it(tmp_path, capsys):
    with pytest.raises(OrganismError, match="holds no model; train the base there first"):
        atlas.main(["--small", "--out", str(tmp_path), "--arm", "rl"])
    atlas.main(["--small", "--float16", "--seed", "2", "--out", str(tmp_path)])
    base = json.loads((tmp_path / "atlas-2" / CARD).read_text())
    assert base["rebuild"] == "python -m lens.organisms.atlas --seed 2 --small --float16"
    assert [gate.name for gate in read_card(base)][:2] == ["edges", "edges_down"]
    atlas.main(["--small", "--float16", "--seed", "2", "--out", str(tmp_path), "--arm", "walk"])
    folder = tmp_path / "atlas-2-walk"
    card = json.loads((folder / CARD).read_text())
    assert (card["base"], card["arm"], card["base_sha256"]) == ("atlas-2", "walk", base["weights_sha256"])
    looks = pd.read_csv(folder / LOOKS)
    assert set(looks.updates) == {1, 3} and set(looks.part) == {"tuned", "report"}
    recipe = atlas.Recipe.small(seed=2)
    suite, model = atlas.Atlas(recipe), loaded(folder)
    last = looks[(looks.updates == 3) & (looks.part == "report")].reset_index(drop=True)
    again = atlas.outcomes(model, suite, suite.leaves["report"])
    for column in ("leaf", "free", "sampled", "forced", "match_2"):
        assert last[column].astype(float).tolist() == again[column].astype(float).tolist()
    with pytest.raises(OrganismError, match="a base of another recipe"):
        loaded(tmp_path / "atlas-2", atlas.Recipe(seed=2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: atlas.Recipe(branches=(4, 4)), r"branches=\(4, 4\); expected at least two numbers"),
        (lambda: atlas.Recipe(branches=(3,)), "branches="),
        (lambda: atlas.Recipe(d_model=60, heads=8), "heads=8"),
        (lambda: atlas.Tuning("talk"), "kind='talk'; expected one of answer, walk, rl, form, coin"),
        (lambda: atlas.Tuning(looks=(50, 120)), "looks has 120"),
        (lambda: atlas.folder_of(0, "talk"), "arm='talk'; expected one of answer"),
        (lambda: SUITE.question(12), "leaf=12; expected the number of a leaf, from 0 to 11"),
        (lambda: SUITE.ids("top c999 ?"), "text has 'c999'"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(OrganismError, match=message):
        make()


def test_the_base_that_ships_does_what_its_card_says():
    folder = atlas.folder_of(0)
    card, recipe = json.loads((folder / CARD).read_text()), atlas.Recipe(seed=0)
    assert card["recipe_sha256"] == recipe.sha256() and card["parameters"] == 137_408
    told = read_card(card)
    assert all(gate.holds for gate in told)
    measured = {gate.name: gate for gate in atlas.gates(loaded(folder, recipe), atlas.Atlas(recipe))}
    for gate in told:
        # a draw or a tie may fall otherwise by rounding on another machine
        assert measured[gate.name].value == pytest.approx(gate.value, abs=0.02)


@pytest.mark.parametrize("arm", ["rl", "answer"])
def test_a_checkpoint_that_ships_does_what_its_table_says(arm):
    folder, suite = atlas.folder_of(0, arm), atlas.Atlas(atlas.Recipe(seed=0))
    card = json.loads((folder / CARD).read_text())
    assert card["recipe_sha256"] == atlas.ARMS[arm].sha256()
    base = json.loads((atlas.folder_of(0) / CARD).read_text())
    assert card["base_sha256"] == base["weights_sha256"]
    looks = pd.read_csv(folder / LOOKS)
    last = looks[(looks.updates == card["recipe"]["steps"]) & (looks.part == "report")]
    got = atlas.outcomes(loaded(folder), suite, suite.leaves["report"], draws=1)
    for column in ("free", "forced", "path", "direct"):
        assert last[column].mean() == pytest.approx(got[column].mean(), abs=0.04)
    assert (folder / "model.safetensors").stat().st_size < 400_000
