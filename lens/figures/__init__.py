"""Figures of results, in matplotlib; one function a figure. Each returns its ``Figure`` and saves it where a path is
given.

Those of a study lie in its folder: `lens.reproduce.<study>.figures`.
"""

from .calibration import order_matrix, qq_plot, size_bars
from .injection import change_plot, dose_plot, injection_map, reading_map
from .maps import head_map, logit_lens_map, patch_map
from .scatter import agreement_plot, control_plot
from .unlearning import unlearning_paths
from .vectors import accuracy_bars, effects_map, source_plot, sweep_plot

__all__ = [
    "accuracy_bars",
    "agreement_plot",
    "change_plot",
    "control_plot",
    "dose_plot",
    "effects_map",
    "head_map",
    "injection_map",
    "logit_lens_map",
    "order_matrix",
    "patch_map",
    "qq_plot",
    "reading_map",
    "size_bars",
    "source_plot",
    "sweep_plot",
    "unlearning_paths",
]
