"""The size of what is called exact or guaranteed: the small preset holds, and a p-value that is too small is seen."""

import json

import numpy as np
import pytest
from scipy import stats

from lens.reproduce import guarantees
from lens.reproduce.guarantees import NOMINAL, Null, figure, sizes
from lens.stats.samples import PValue, StatisticsError

DRAWS = 25


@pytest.fixture(scope="module")
def table():
    return sizes(DRAWS, seed=1)


def test_nothing_that_is_called_guaranteed_is_too_small(table):
    hits = (table["size"] * table.n).round().astype(int)
    most = stats.binom.ppf(1 - 1e-5, DRAWS, table.nominal)
    assert (hits <= most).all(), table[hits > most]
    assert table.groupby(["p", "null"]).ngroups > 50 and (table.n == DRAWS).all()
    assert set(table.null) == {null.text for null in guarantees.nulls()} and set(table.nominal) == set(NOMINAL)
    names = " ".join(table.p)
    for call in (
        "permutation_correlation",
        "key_test",
        "key_e_process",
        "rank_e_process",
        "one_of_many",
        "shuffle_retrain",
        "auc",
        "paired_trap_test",
        "sign_flip",
        "wilcoxon",
        "permutation,",
        "binomial_test",
        "fisher_exact",
        "e_process",
        "rank_correlation",
        "combine_p",
        "holm",
        "query",
        "partition",
        "adjusted for looks",
        "recognition_summary",
    ):
        assert call in names


def test_the_interval_is_clopper_and_pearsons(table):
    row = table.iloc[0]
    hits = round(row["size"] * row.n)
    assert row.low == pytest.approx(
        stats.beta.ppf(0.005, hits, row.n - hits + 1) if hits else 0.0
    ) and row.over == pytest.approx(row.low / row.nominal)


def test_a_p_that_is_too_small_is_seen_and_what_is_not_called_guaranteed_is_none(monkeypatch):
    def ask(rng, seed):
        p = rng.random()
        if p > 0.99:
            raise StatisticsError("refused: of no use")
        kind = "approximate" if p < 0.1 else "exact"
        return {"right": p, "half": p / 2, "doubted": PValue(p / 10, kind, 1, "x")}

    monkeypatch.setattr(guarantees, "nulls", lambda: [Null("made up", ask)])
    found = sizes(4000).set_index(["p", "nominal"])
    assert found.over["right", 0.05] < 1 < found.over["half", 0.05] and found["size"]["half", 0.05] == pytest.approx(
        0.1, abs=0.02
    )
    assert found["size"]["doubted", 0.01] == 0 and found["size"]["doubted", 0.05] == pytest.approx(0.4, abs=0.03)
    told = figure(found.reset_index())
    assert told["size_max_over_nominal"] > 1 and told["size_p_values"] == 3 and told["size_data_sets"] == 4000


def test_numbers_do_not_depend_on_the_other_nulls_and_the_command_prints_the_figure(table, capsys):
    one = sizes(DRAWS, seed=1, only="independent tests")
    np.testing.assert_array_equal(one["size"], table[table.null == "independent tests"]["size"])
    assert guarantees.main(["--draws", "20", "--only", "independent tests"]) == 0
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert set(json.loads(last)) == {"size_max_over_nominal", "size_worst", "size_p_values", "size_data_sets"}
