"""Figures of results, in matplotlib; one function a figure. Each returns its ``Figure`` and saves it where a path is given."""

from .forgetting import curve_plot, drift_plot, forgetting_scatter, method_plot, recovery_bars, set_plot, tradeoff_plot
from .injection import change_plot, dose_plot, injection_map, reading_map
from .maps import head_map, logit_lens_map, patch_map
from .scatter import agreement_plot, control_plot
from .vectors import accuracy_bars, effects_map, source_plot, sweep_plot

__all__ = ["patch_map", "head_map", "logit_lens_map", "agreement_plot", "control_plot", "injection_map", "dose_plot", "change_plot", "reading_map", "effects_map", "sweep_plot", "accuracy_bars", "source_plot", "forgetting_scatter",
           "recovery_bars", "method_plot", "curve_plot", "set_plot", "drift_plot", "tradeoff_plot"]
