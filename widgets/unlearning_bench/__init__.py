"""Unlearning asked, watched, attacked and put back."""

from widgets.unlearning_bench.view import UnlearningBench

__all__ = ["UnlearningBench"]
