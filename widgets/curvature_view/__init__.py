"""The spectrum of the loss's curvature, and what a band of it carries."""

from widgets.curvature_view.view import CurvatureView

__all__ = ["CurvatureView"]
