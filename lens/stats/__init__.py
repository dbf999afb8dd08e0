"""Statistics that every family uses: intervals, tests, randomised labels and keys, many tests, e-values, power,
calibration, splits. No torch and no model.

NumPy in and out (lists, torch tensors and xarray arrays are taken too). NaN means missing. A seed is an argument and
the same seed gives the same numbers. Results are small records with a one-line text:

>>> from lens import stats
>>> print(stats.bootstrap([0.2, 0.5, 0.4, 0.7, 0.1, 0.6]))
mean 0.417 [0.00221, 0.741], n = 6, 95 % Student's t and studentized bootstrap, the wider of both
>>> print(stats.sign_flip([0.2, 0.5, 0.4, 0.7, 0.1, 0.6]))
p = 0.031, the smallest it can be (exact, all 64 sign flips, n = 6)
"""

from __future__ import annotations

from ..lazy import attributes

#: public name -> module, resolved on first use
_PUBLIC = {
    **dict.fromkeys(
        (
            "Correlation",
            "rank_correlation",
        ),
        "association",
    ),
    "at_equal_cost": "equal_cost",
    **dict.fromkeys(
        (
            "EProcess",
            "combine_e",
            "e_process",
            "e_to_p",
            "p_to_e",
        ),
        "evidence",
    ),
    **dict.fromkeys(
        (
            "bootstrap",
            "bootstrap_comparison",
            "proportion",
        ),
        "intervals",
    ),
    **dict.fromkeys(
        (
            "KeyTest",
            "key_e_process",
            "key_test",
            "rank_e_process",
        ),
        "keys",
    ),
    **dict.fromkeys(
        (
            "AUC",
            "TrapTest",
            "auc",
            "paired_trap_test",
        ),
        "labels",
    ),
    **dict.fromkeys(("effective_size",), "ladder"),
    **dict.fromkeys(("likeness",), "similarity"),
    **dict.fromkeys(("mean_interval",), "means"),
    **dict.fromkeys(
        (
            "benjamini_hochberg",
            "combine_p",
            "holm",
        ),
        "multiplicity",
    ),
    **dict.fromkeys(
        (
            "Calibration",
            "Halves",
            "SelectionBias",
            "calibration",
            "halves",
            "minimum_detectable_effect",
            "power",
            "selection_bias",
        ),
        "planning",
    ),
    **dict.fromkeys(
        (
            "detectable_rho",
            "power_of",
            "reachable_level",
            "rows_needed",
        ),
        "planning_rows",
    ),
    **dict.fromkeys(
        (
            "Randomization",
            "grouped_moments",
            "permutation_correlation",
        ),
        "randomization",
    ),
    **dict.fromkeys(("runs_test",), "randomness"),
    **dict.fromkeys(
        (
            "RetrainTest",
            "one_of_many",
            "pool_checkpoints",
            "published_size",
        ),
        "retrain",
    ),
    **dict.fromkeys(
        (
            "Interval",
            "PValue",
            "StatisticsError",
        ),
        "samples",
    ),
    **dict.fromkeys(
        (
            "binomial_test",
            "fisher_exact",
            "permutation",
            "sign_flip",
            "sign_flip_max",
            "wilcoxon",
        ),
        "significance",
    ),
}

__all__ = [*_PUBLIC]

__getattr__, __dir__ = attributes(__name__, _PUBLIC, __all__)
