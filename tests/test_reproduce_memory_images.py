"""How many pictures bring back what an edit took away: the claim on tables whose answer is known, and which pictures
are trained on.
"""

import numpy as np
import pandas as pd
import pytest

from lens.reproduce.claims import Rows
from lens.reproduce.memory_subspace import images
from lens.reproduce.memory_subspace.claims import CLAIMS


def tables(savings=(10.0, 11.0, 12.0), censored="", back=(0.75, 0.5), bounds=(5.0, 15.0)):
    """One method, own pictures and unrelated ones at the count that is judged, a model for each of the savings."""
    lines, ends = [], []
    for seed, saved in enumerate(savings):
        for source, share in (("own", back[0]), ("unrelated", back[1])):
            about = {"method": "attention", "source": source, "k": images.JUDGED, "seed": seed, "steps": 30}
            crossed = {"edited": 30 - saved, "twin": 30.0, "savings": saved, "censored": censored, "n": 4}
            lines.append(about | crossed | {"low": bounds[0], "high": bounds[1], "interval_kind": "inversion"})
            ends += [about | {"caption": str(i), "edited": share, "twin": 0.25} for i in range(4)]
    return pd.DataFrame(lines), pd.DataFrame(ends)


def row(*args, **options):
    rows = Rows(CLAIMS)
    images.judge(rows, *tables(*args, **options))
    assert [r.key for r in rows] == ["images"], "a row a source, none of unrelated pictures"
    return rows[0], rows.numbers


def test_steps_that_every_model_saves_bear_it_out():
    found, numbers = row()
    name = "images_attention_own"
    assert found.verdict == "holds" and found.effects[0] == name and "3 pictures" in found.claim
    # Student's t over three models by hand: 11 and 4.303 * 1 / sqrt(3)
    assert numbers[name] == 11 and numbers[f"{name}_low"] == pytest.approx(11 - 4.30265 / np.sqrt(3), abs=1e-4)
    assert numbers[f"{name}_over_twin"] == pytest.approx(0.5)
    assert numbers[f"{name}_over_unrelated"] == pytest.approx(0.25)
    assert "back after 30 steps 0.75, in the twin 0.25" in found.here and "12 captions" in found.n


def test_models_that_disagree_or_take_longer_do_not():
    assert row((-10.0, 1.0, 12.0))[0].verdict == "not shown: the interval holds 0"
    assert row((-10.0, -11.0, -12.0))[0].verdict == "does not hold"


def test_what_neither_model_reaches_leaves_erased():
    found, _ = row((0.0, 0.0, 0.0), "edited, twin")
    assert "'erased' stays" in found.verdict and "after more than 30, more than 30, more than 30 steps" in found.here
    some = tables((10.0, 11.0, 12.0))
    some[0].loc[some[0].seed == 1, ["savings", "censored"]] = [0.0, "edited, twin"]
    rows = Rows(CLAIMS)
    images.judge(rows, *some)
    assert rows[0].verdict.endswith("unknown in 1 of 3 models, counted as 0")


def test_one_model_is_judged_over_its_captions():
    found, numbers = row((10.0,))
    assert found.verdict == "holds (over captions of one model)"
    assert (numbers["images_attention_own_low"], numbers["images_attention_own_high"]) == (5.0, 15.0)
    assert row((10.0,), bounds=(-1.0, 15.0))[0].verdict.startswith("not shown")
    assert row((10.0,), bounds=(np.nan, np.nan))[0].verdict == "not judged: no interval"


def test_few_interpolated_pictures_are_of_every_pair_and_far_from_its_ends():
    order = images.apart(3, 11)
    assert sorted(order) == list(range(33)), "each once"
    assert [(at // 11, at % 11) for at in order[:3]] == [(0, 5), (1, 5), (2, 5)]
    assert {at % 11 for at in order[-6:]} == {0, 10}
