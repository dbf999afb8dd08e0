"""Edges between heads, MLPs, input and logits: scores, exact effects, circuits."""

from widgets.circuit_view.view import CircuitView

__all__ = ["CircuitView"]
