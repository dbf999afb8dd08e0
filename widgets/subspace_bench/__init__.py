"""Weights that hold memorised text, and what taking them out costs."""

from widgets.subspace_bench.view import SubspaceBench

__all__ = ["SubspaceBench"]
