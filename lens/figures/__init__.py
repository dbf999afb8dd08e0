"""Figures of results, in matplotlib; one function a figure. Each returns its ``Figure`` and saves it where a path is
given.

Those of one study each, whose names recur, are called by their module and load when they are drawn:
`lens.figures.subspace`, `lens.figures.curvature`, `lens.figures.diffusion`.
"""

from .calibration import order_matrix, qq_plot, size_bars
from .forgetting import curve_plot, drift_plot, forgetting_scatter, method_plot, recovery_bars, set_plot, tradeoff_plot
from .injection import change_plot, dose_plot, injection_map, reading_map
from .maps import head_map, logit_lens_map, patch_map
from .provenance import arm_plot, null_plot, position_plot, power_plot, retrain_plot, survival_bars
from .scatter import agreement_plot, control_plot
from .vectors import accuracy_bars, effects_map, source_plot, sweep_plot

__all__ = [
    "patch_map",
    "head_map",
    "logit_lens_map",
    "agreement_plot",
    "control_plot",
    "injection_map",
    "dose_plot",
    "change_plot",
    "reading_map",
    "effects_map",
    "sweep_plot",
    "accuracy_bars",
    "source_plot",
    "forgetting_scatter",
    "recovery_bars",
    "method_plot",
    "curve_plot",
    "set_plot",
    "drift_plot",
    "tradeoff_plot",
    "position_plot",
    "null_plot",
    "power_plot",
    "survival_bars",
    "arm_plot",
    "retrain_plot",
    "qq_plot",
    "size_bars",
    "order_matrix",
]
