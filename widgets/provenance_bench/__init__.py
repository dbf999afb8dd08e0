"""Evidence that a model, or a text, comes from a training run."""

from widgets.provenance_bench.view import ProvenanceBench

__all__ = ["ProvenanceBench"]
