"""Memorised pictures of a diffusion model: watched, cut out, attacked."""

from widgets.diffusion_bench.view import DiffusionBench

__all__ = ["DiffusionBench"]
