"""Memories added to the residual stream, live."""

from widgets.injection_bench.view import InjectionBench

__all__ = ["InjectionBench"]
