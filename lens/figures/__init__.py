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
    "accuracy_bars",
    "agreement_plot",
    "arm_plot",
    "change_plot",
    "control_plot",
    "curve_plot",
    "dose_plot",
    "drift_plot",
    "effects_map",
    "forgetting_scatter",
    "head_map",
    "injection_map",
    "logit_lens_map",
    "method_plot",
    "null_plot",
    "order_matrix",
    "patch_map",
    "position_plot",
    "power_plot",
    "qq_plot",
    "reading_map",
    "recovery_bars",
    "retrain_plot",
    "set_plot",
    "size_bars",
    "source_plot",
    "survival_bars",
    "sweep_plot",
    "tradeoff_plot",
]
