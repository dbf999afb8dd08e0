"""Statistics that every family uses: intervals, tests, randomised labels and keys, many tests, e-values, power,
calibration, splits.

NumPy in and out (lists, torch tensors and xarray arrays are taken too). NaN means missing. A seed is an argument and
the same seed gives the same numbers. Results are small records with a one-line text:

>>> print(bootstrap([0.2, 0.5, 0.4, 0.7, 0.1, 0.6]))
mean 0.417 [0.00221, 0.741], n = 6, 95 % Student's t and studentized bootstrap, the wider of both
>>> print(sign_flip([0.2, 0.5, 0.4, 0.7, 0.1, 0.6]))
p = 0.031, the smallest it can be (exact, all 64 sign flips, n = 6)
"""

from lens.measure.association import Correlation, rank_correlation
from lens.measure.evidence import EProcess, combine_e, e_process, e_to_p, p_to_e
from lens.measure.intervals import bootstrap, bootstrap_comparison, proportion
from lens.measure.keys import KeyTest, key_e_process, key_test, rank_e_process
from lens.measure.labels import AUC, TrapTest, auc, paired_trap_test
from lens.measure.means import mean_interval
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
from lens.measure.planning_rows import detectable_rho, power_of, reachable_level, rows_needed
from lens.measure.randomization import Randomization, grouped_moments, permutation_correlation
from lens.measure.randomness import runs_test
from lens.measure.retrain import RetrainTest, one_of_many, pool_checkpoints, published_size
from lens.measure.samples import Interval, PValue, StatisticsError
from lens.measure.significance import binomial_test, fisher_exact, permutation, sign_flip, sign_flip_max, wilcoxon

__all__ = [
    "AUC",
    "Calibration",
    "Correlation",
    "EProcess",
    "Halves",
    "Interval",
    "KeyTest",
    "PValue",
    "Randomization",
    "RetrainTest",
    "SelectionBias",
    "StatisticsError",
    "TrapTest",
    "auc",
    "benjamini_hochberg",
    "binomial_test",
    "bootstrap",
    "bootstrap_comparison",
    "calibration",
    "combine_e",
    "combine_p",
    "detectable_rho",
    "e_process",
    "e_to_p",
    "fisher_exact",
    "grouped_moments",
    "halves",
    "holm",
    "key_e_process",
    "key_test",
    "mean_interval",
    "minimum_detectable_effect",
    "one_of_many",
    "p_to_e",
    "paired_trap_test",
    "permutation",
    "permutation_correlation",
    "pool_checkpoints",
    "power",
    "power_of",
    "proportion",
    "published_size",
    "rank_correlation",
    "rank_e_process",
    "reachable_level",
    "rows_needed",
    "runs_test",
    "selection_bias",
    "sign_flip",
    "sign_flip_max",
    "wilcoxon",
]
