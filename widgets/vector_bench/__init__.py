"""Heads that carry a task, and their vector."""

from widgets.vector_bench.view import VectorBench

__all__ = ["VectorBench"]
