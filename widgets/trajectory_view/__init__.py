"""Labelled prompts over the layers, a gate fitted on them, and what an edit behind it does."""

from widgets.trajectory_view.view import TrajectoryView

__all__ = ["TrajectoryView"]
