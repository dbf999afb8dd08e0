"""The study of gated steering: shares, areas and chains by hand; the tiny run whole, read back and judged again."""

import numpy as np
import pandas as pd
import pytest

from lens.reproduce import reproduction
from lens.reproduce.gated_steering import tables, verdicts
from lens.reproduce.gated_steering.arms import ALWAYS, ARMS, BIAS, GATED
from lens.reproduce.gated_steering.claims import CLAIMS

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
    prices = tables.PRICES
    assert shares.area(GATED)[0] == pytest.approx(np.where(prices >= 0.1 - 1e-9, 0.5, 0).mean())
    assert shares.area(BIAS)[0] == pytest.approx(0.4)
    assert tables.chosen(tables.Shares(frame().assign(split="choose"), "choose", resamples=5))[GATED] == 1.0


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
    assert chains.mean("vector", "tokens", 1.0)[0] == 15 and chains.chosen() == 1.0
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


@pytest.mark.slow
def test_a_run_judges_its_claims_and_is_read_back(tmp_path):
    made = STUDY.run(preset="tiny", out=tmp_path, progress=False)
    keys = {row[0] for row in made.table.attrs["claims"]}
    assert keys == set(CLAIMS)
    assert set(made.tables["answers"].arm) == {"none", *ARMS} and made.tables["alike"].same.all()
    again = STUDY.load(tmp_path)
    assert again.table.equals(made.table) and again.fingerprint == made.fingerprint
    assert {path.stem for path in made.figures} == {"frontiers", "lengths"}
    answers = made.tables["answers"]
    # what was refused before is what is refused without an edit; an edit that always acts changes something
    none = answers[answers.arm == "none"]
    assert (none.before == none.refused).all()
    assert (answers[answers.arm == ALWAYS].refused != answers[answers.arm == ALWAYS].before).any()
