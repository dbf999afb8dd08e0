"""Statistics that every family uses: intervals, tests, many tests, e-values, power, calibration, splits.

NumPy in and out (lists, torch tensors and xarray arrays are taken too). NaN means missing. A seed is an argument and the same seed gives the
same numbers. Results are small records with a one-line text:

>>> print(bootstrap([0.2, 0.5, 0.4, 0.7, 0.1, 0.6]))
mean 0.417 [0.25, 0.583], n = 6, 95 % percentile bootstrap
>>> print(sign_flip([0.2, 0.5, 0.4, 0.7, 0.1, 0.6]))
p = 0.031, the smallest it can be (exact, all 64 sign flips, n = 6)
"""

from lens.measure.association import Correlation, rank_correlation
from lens.measure.evidence import EProcess, combine_e, e_process, e_to_p, p_to_e
from lens.measure.intervals import bootstrap, bootstrap_comparison, proportion
from lens.measure.multiplicity import benjamini_hochberg, combine_p, holm
from lens.measure.planning import (
    Calibration,
    Halves,
    SelectionBias,
    calibration,
    halves,
    minimum_detectable_effect,
    power,
    selection_bias,
)
from lens.measure.samples import Interval, PValue, StatisticsError
from lens.measure.significance import binomial_test, fisher_exact, permutation, sign_flip, sign_flip_max, wilcoxon

__all__ = [
    "Calibration",
    "Correlation",
    "EProcess",
    "Halves",
    "Interval",
    "PValue",
    "SelectionBias",
    "StatisticsError",
    "benjamini_hochberg",
    "binomial_test",
    "bootstrap",
    "bootstrap_comparison",
    "calibration",
    "combine_e",
    "combine_p",
    "e_process",
    "e_to_p",
    "fisher_exact",
    "halves",
    "holm",
    "minimum_detectable_effect",
    "p_to_e",
    "permutation",
    "power",
    "proportion",
    "rank_correlation",
    "selection_bias",
    "sign_flip",
    "sign_flip_max",
    "wilcoxon",
]
