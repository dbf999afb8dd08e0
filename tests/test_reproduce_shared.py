"""What studies share: a step that runs once, one line a group, an estimate as columns, the specificity of masks."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from lens.reproduce import common, specificity
from lens.stats import Interval


class Bench:
    """Keeps what steps make, as those of the studies do, and the options that it was given."""

    def __init__(self):
        self.held, self.options = {}, {}

    def kept(self, name, make, **options):
        self.options[name] = options
        return self.held[name] if name in self.held else self.held.setdefault(name, make())


def test_a_step_runs_once_under_its_name_or_the_one_that_its_arguments_give():
    ran = []

    @common.step("plain", light="light")
    def plain(bench):
        """What it makes."""
        ran.append("plain")
        return 1

    @common.step(lambda method, other=0: f"curve {method}")
    def curve(bench, method, other=0):
        ran.append(method)
        return method, other

    bench = Bench()
    assert plain(bench) == plain(bench) == 1 and plain.__doc__ == "What it makes."
    assert curve(bench, "a", other=2) == curve(bench, method="a", other=3) == ("a", 2)
    assert curve(bench, "b") == ("b", 0)
    assert ran == ["plain", "a", "b"] and list(bench.held) == ["plain", "curve a", "curve b"]
    assert bench.options["plain"] == {"light": "light"} and bench.options["curve a"] == {}


def test_a_group_is_a_line_and_an_estimate_three_columns():
    table = pd.DataFrame({"a": ["y", "x", "y"], "b": [1, 1, 1], "v": [1.0, 2.0, 4.0]})
    lines = common.by_group(table, ("a", "b"), lambda of: {"n": len(of), "v": of.v.sum()})
    assert lines.to_dict("records") == [{"a": "y", "b": 1, "n": 2, "v": 5.0}, {"a": "x", "b": 1, "n": 1, "v": 2.0}]
    some = common.by_group(table, ("a",), lambda of: {"n": 1} if len(of) == 1 else None)
    assert some.to_dict("records") == [{"a": "x", "n": 1}] and common.by_group(table.iloc[:0], ("a",), dict).empty
    interval = Interval(0.5, 0.25, np.float32(0.75), 0.95, 3, "by hand")
    assert common.columns("share", interval) == {"share": 0.5, "low": 0.25, "high": 0.75}
    assert list(common.columns("share", interval, "share_")) == ["share", "share_low", "share_high"]


def pairs(memorised, other, mixed, p=(0.01, 0.02, 0.03)):
    """IoU by model and pair, as steps write it."""
    values = {"memorised": memorised, "other": other, "mixed": mixed}
    lines = [
        {"kind": "code", "seed": seed, "pair": pair, "mean": of[seed], "chance": 0.1, "sets": 4, "p_kind": "exact"}
        | {"p_other": p[seed], "p_mixed": p[seed]}
        for pair, of in values.items()
        for seed in range(len(of))
    ]
    return pd.DataFrame(lines)


def test_specificity_is_the_difference_over_models_and_the_largest_p_after_holm():
    apart, other = np.array([0.5, 0.6, 0.8]), np.array([0.3, 0.3, 0.4])
    line = specificity.specificity(pairs(apart, other, other + 0.1), ("kind",)).iloc[0]
    bounds = scipy_stats.ttest_1samp(apart - other, 0).confidence_interval()
    assert (line.more_other.low, line.more_other.high) == pytest.approx(tuple(bounds))
    assert line.more_mixed.estimate == pytest.approx(np.mean(apart - other - 0.1))
    assert line.above.estimate == pytest.approx(np.mean(apart) - 0.1)
    assert line.holm_other == pytest.approx((0.03, 0.04, 0.04)) and line.memorised == pytest.approx(tuple(apart))
    assert (line.seeds, line.sets, line.chance, line["empty"]) == (3, 4, pytest.approx(0.1), False)
    assert specificity.word(line.more_other, line.holm_other) == "holds"
    assert specificity.word(line.more_other, (0.2, 0.04)) == "holds in part"
    none = pairs(apart, other, other).query("pair != 'memorised'")
    assert specificity.specificity(none, ("kind",)).to_dict("records") == [{"kind": "code", "empty": True}]


@pytest.mark.parametrize(
    "p, word", [(0.01, "not judged: one model; p at most .05 in it"), (0.2, "not judged: one model")]
)
def test_one_model_is_not_judged(p, word):
    line = specificity.specificity(pairs([0.5], [0.3], [0.3], (p,)), ("kind",)).iloc[0]
    assert specificity.word(line.more_other, line.holm_other) == word
