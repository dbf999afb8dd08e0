"""Figures of results, in matplotlib; one function a figure. Each returns its ``Figure`` and saves it where a path is given."""

from .injection import change_plot, dose_plot, injection_map, reading_map
from .maps import head_map, logit_lens_map, patch_map
from .scatter import agreement_plot, control_plot

__all__ = ["patch_map", "head_map", "logit_lens_map", "agreement_plot", "control_plot", "injection_map", "dose_plot", "change_plot", "reading_map"]
