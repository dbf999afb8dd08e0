"""Two checkpoints on one prompt: where they differ, and what one's state does in the other."""

from widgets.checkpoint_view.view import CheckpointView

__all__ = ["CheckpointView"]
