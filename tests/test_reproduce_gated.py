"""The study of gated steering: shares, areas and chains by hand; the tiny run whole, read back and judged again."""

import numpy as np
import pandas as pd
import pytest
import torch

import lens
from lens.organisms import porter, reasoner
from lens.reproduce import reproduction
from lens.reproduce.gated_steering import chains as chains_of
from lens.reproduce.gated_steering import steps, tables, verdicts
from lens.reproduce.gated_steering.arms import ALWAYS, ARMS, BIAS, GATED, PUBLISHED, Arms
from lens.reproduce.gated_steering.bench import Bench, Preset
from lens.reproduce.gated_steering.claims import CLAIMS
from lens.reproduce.gated_steering.study import PRESETS

STUDY = reproduction("gated-steering")
BASE = {"seed": 0, "split": "report", "kind": "task", "task": "translate", "sharp": 1, "unseen": False}


def lines(arm, size, refused, right, lost):
    """Over-refused lists, one a unit, and as many disguised requests, of one arm."""
    out = []
    for i, (no, ok) in enumerate(zip(refused, right)):
        own = {"arm": arm, "size": size, "item": i, "unit": f"w{i}", "before": True, "refused": no, "right": ok}
        out.append(BASE | own)
    for i, gone in enumerate(lost):
        own = {"arm": arm, "size": size, "item": 100 + i, "unit": f"w{i}", "before": True, "refused": not gone}
        out.append(BASE | own | {"kind": "disguised", "right": False})
    return out


def frame():
    no = [True] * 10
    out = lines("none", 0.0, no, [False] * 10, [False] * 10)
    out += lines(GATED, 1.0, [False] * 6 + [True] * 4, [True] * 5 + [False] * 5, [True] + [False] * 9)
    out += lines(GATED, 2.0, [False] * 10, [True] * 8 + [False] * 2, [True] * 5 + [False] * 5)
    out += lines(BIAS, 1.0, [False] * 4 + [True] * 6, [True] * 4 + [False] * 6, [False] * 10)
    return pd.DataFrame(out)


def test_shares_are_of_the_prompts_that_they_name():
    shares = tables.Shares(frame(), "report", resamples=200)
    assert shares.of(GATED, 1.0, "cured")[0] == 0.6 and shares.of(GATED, 1.0, "right")[0] == 0.5
    assert shares.of(GATED, 1.0, "disguised_lost")[0] == 0.1 and shares.n["cured"] == 10
    low, high = (tables.interval(shares.of(GATED, 1.0, "cured"), 10).__getattribute__(k) for k in ("low", "high"))
    # ten units at .6: a standard error of .155
    assert 0.2 <= low <= 0.4 and 0.8 <= high <= 1


def test_the_area_is_the_mean_of_what_each_price_buys():
    shares = tables.Shares(frame(), "report", resamples=50)
    choose = tables.Shares(frame().assign(split="choose"), "choose", resamples=5)
    prices = tables.PRICES
    # size 1: .5 right for .1; size 2 is worth less up to .3, since .8 right cost .5
    assert shares.area(GATED, choose)[0] == pytest.approx(np.minimum(0.5, 5 * prices).mean())
    assert shares.area(BIAS, choose)[0] == pytest.approx(0.4)
    assert tables.chosen(choose)[GATED] == 1.0


def test_the_part_that_chooses_says_which_size_an_area_is_of():
    # on "choose" size 2 costs too much; on "report" it costs nothing and answers .9 right
    choose = tables.Shares(frame().assign(split="choose"), "choose", resamples=5)
    no, few = [True] * 10, [False] * 10
    of = lines("none", 0.0, no, few, few) + lines(GATED, 1.0, few, [True] * 3 + [False] * 7, few)
    report = tables.Shares(pd.DataFrame(of + lines(GATED, 2.0, few, [True] * 9 + [False], few)), "report", resamples=50)
    assert choose.bought(GATED) == choose.bought(BIAS) == [1.0] * len(tables.PRICES)
    assert report.area(GATED, choose)[0] == pytest.approx(0.3)
    # what costs .2 on "report" is taken for a part of the prompts where the price is lower
    dear = pd.DataFrame(lines("none", 0.0, no, few, few) + lines(GATED, 1.0, few, no, [True] * 2 + [False] * 8))
    got = tables.Shares(dear, "report", resamples=50).area(GATED, choose)
    assert got[0] == pytest.approx(np.minimum(1, tables.PRICES / 0.2).mean())


def test_two_organisms_are_the_outer_unit():
    one = frame()
    other = one.assign(seed=1, refused=True)
    both = tables.Shares(pd.concat([one, other]), "report", resamples=400)
    cured = both.of(GATED, 1.0, "cured")
    # resamples of one organism alone are a quarter each: the share is spread from 0 to that of the first
    assert cured[0] == pytest.approx(0.3) and np.mean(cured[1:] == 0) == pytest.approx(0.25, abs=0.1)


def chains_frame():
    out = []
    for arm, size, tokens, right in (
        ("none", 0.0, 20, 0.8),
        ("vector", 1.0, 15, 0.7),
        ("shuffled types", 1.0, 20, 0.8),
        ("words", 1.0, 15, 0.7),
        ("everywhere", 1.0, 14, 0.5),
        ("random direction", 1.0, 20, 0.8),
        ("keyword ban", 0.0, 14, 0.6),
        ("ban of all words", 0.0, 12, 0.5),
        ("length penalty", 1.0, 16, 0.6),
        ("length penalty", 4.0, 12, 0.5),
        ("none, capped", 0.0, 15, 0.4),
        ("vector, capped", 1.0, 14, 0.6),
    ):
        for i in range(40):
            jitter = (i % 5) - 2
            out.append(
                dict(
                    model="useful", seed=0, split="report", arm=arm, size=size, layer=1, item=i, tokens=tokens + jitter
                )
                | dict(right=i < 40 * right, finished=True, reflections=2, wrong=1, steps=5)
                | dict(repairs=1 if arm == "none" or i % 2 else 0, idle=1 if arm == "none" else 0)
            )
    return pd.DataFrame(out)


def test_chains_are_judged_by_hand():
    chains = tables.Chains(chains_frame(), "useful", resamples=200)
    assert chains.mean("vector", "tokens", 1.0)[0] == 15 and chains.chosen() == {0: 1.0}
    rows = verdicts.Rows(CLAIMS)
    verdicts._thoughts(rows, chains, "useful", 0)
    by_key = {row.key: row for row in rows}
    numbers = rows.numbers
    assert numbers["S1 useful"] == pytest.approx(0.25) and by_key["S1"].verdict == "holds"
    assert numbers["S2 useful"] == pytest.approx(-0.1) and by_key["S2"].verdict == "does not hold"
    # penalties at 15 tokens: three quarters of the way from 12 to 16
    assert numbers["S3 useful"] == pytest.approx(0.7 - 0.575)
    # half of the repairs are gone, and all that was idle
    assert numbers["S4 useful"] == pytest.approx(0.5) and by_key["S4"].verdict == "holds"
    assert numbers["S5 useful"] == pytest.approx(0.25) and by_key["S5"].verdict == "holds"
    assert numbers["S2 capped useful"] == pytest.approx(0.2)


def test_claims_about_an_organism_that_fails_its_gates_are_not_judged():
    gates = pd.DataFrame(
        [("porter", 0, "rates_off_plan", 0.2, False), ("reasoner", 0, "finished", 1.0, True)],
        columns=["organism", "seed", "gate", "value", "holds"],
    )
    rows = verdicts.Rows(CLAIMS)
    for key in ("G0", "G6", "S2"):
        rows.add(key, "here", 1, "holds", model="Useful")
    verdicts._not_tested(rows, gates)
    assert [row.verdict.split(":")[0] for row in rows] == ["holds", "not measured", "holds"]
    assert "rates_off_plan" in rows[1].verdict


def test_each_organism_has_the_size_that_was_chosen_for_it():
    one, two = chains_frame(), chains_frame().assign(seed=1)
    # of the second, size 2 was chosen: its vector writes 10 tokens
    own = two.arm.isin(["vector", "shuffled types", "words", "everywhere", "random direction"])
    two.loc[own, "size"] = 2.0
    two.loc[two.arm == "vector", "tokens"] -= 5
    both = tables.Chains(pd.concat([one, two], ignore_index=True), "useful", resamples=50)
    assert both.chosen() == {0: 1.0, 1: 2.0} and both.n == 80
    assert both.mean("vector", "tokens", both.chosen())[0] == 12.5
    assert both.mean("none", "tokens")[0] == 20


def test_at_equal_length_organisms_are_the_outer_unit():
    one, two = chains_frame(), chains_frame().assign(seed=1)
    # nothing but the organism differs: in the second the vector is never right
    two.loc[two.arm == "vector", "right"] = False
    rows = verdicts.Rows(CLAIMS)
    both = tables.Chains(pd.concat([one, two], ignore_index=True), "useful", resamples=50)
    verdicts._equal(rows, both, both.chosen(), "Useful", 0)
    low, high = rows.numbers["S3 useful_low"], rows.numbers["S3 useful_high"]
    # one organism alone, drawn twice, is half of the draws: about .7 - .575 and -.575
    assert low < -0.5 and high > 0.05 and rows[0].verdict.startswith("not shown")


def test_steering_and_its_rival_have_as_many_sizes():
    for name, preset in PRESETS.items():
        assert len(preset.strengths) == len(preset.biases), name


@pytest.fixture(scope="module")
def arms():
    small = Preset((0,), lists=8, unseen=2, disguised=16, free=3, strengths=(1.0,), biases=(8.0,), chains=0)
    recipe = porter.Recipe()
    return Arms(Bench(lens.load("organism:porter", device="cpu"), porter.suite_of(recipe), small, 0))


def test_what_names_no_planted_task_is_pushed_unless_a_gate_spares_it(arms):
    asked = arms.bench.parts["report"]
    free = [i for i, one in enumerate(asked) if one.kind == "task" and one.task in porter.FREE]
    always, gated = (arms.of(name)(1.0, "report")["edits"] for name in (ALWAYS, GATED))
    assert len(free) == 9 and all(len(always[i]) == 1 and always[i][0].when is None for i in free)
    assert all(gated[i][0].when is arms.gates["translate", "over-refusal"] for i in free)
    # the published gate: by hand
    states = arms.bench.states("report")[:, arms.layer]
    centroid = arms.bench.states("fit")[arms.bench.done("fit", "translate"), arms.layer].mean(0)
    near = torch.cosine_similarity(states, centroid[None]) >= 0.85
    published = arms.of(PUBLISHED)(1.0, "report")["edits"]
    other = [i for i, one in enumerate(asked) if one.kind == "make" or i in free]
    assert [bool(published[i]) for i in other] == near[other].tolist()
    assert all(published[i] for i in range(len(asked)) if i not in other)


def test_gates_are_fitted_once(arms, monkeypatch):
    gates, push = arms.gates, arms.push
    monkeypatch.setattr(lens.Gate, "fit", None)
    assert arms.gates is gates and arms.push is push
    assert set(steps.rates(arms).gate) == {"refusal", "over-refusal"}
    assert steps.alike(arms, 4).same.all()


def test_shuffled_types_push_as_far_as_true_ones():
    of = Preset(chains=24, sizes=(1.0,), penalties=(2.0,), layers=(2,))
    model, recipe = lens.load("organism:reasoner", device="cpu"), reasoner.Recipe()
    thinker = chains_of.Thinker(model, recipe, of, 0)
    made, named = chains_of.arms_of(thinker, 2, 0.5, 9)
    true, shuffled = (made[name]["edits"][0] for name in ("vector", "shuffled types"))
    assert (shuffled.scale * shuffled.value.norm()).item() == pytest.approx(0.5 * true.value.norm().item(), rel=1e-5)
    assert named["shuffled types"] == ("shuffled types", 0.5, 2) and made["none, capped"] == {"max_new_tokens": 9}


@pytest.mark.slow
def test_a_run_judges_its_claims_and_is_read_back(tmp_path):
    made = STUDY.run(preset="tiny", out=tmp_path, progress=False)
    keys = {row[0] for row in made.table.attrs["claims"]}
    assert keys == set(CLAIMS)
    assert set(made.tables["answers"].arm) == {"none", *ARMS} and made.tables["alike"].same.all()
    again = STUDY.load(tmp_path)
    assert again.table.equals(made.table) and again.fingerprint == made.fingerprint
    assert {path.stem for path in made.figures} == {"frontiers", "gates", "lengths"}
    answers = made.tables["answers"]
    # what was refused before is what is refused without an edit; an edit that always acts changes something
    none = answers[answers.arm == "none"]
    assert (none.before == none.refused).all()
    assert (answers[answers.arm == ALWAYS].refused != answers[answers.arm == ALWAYS].before).any()
