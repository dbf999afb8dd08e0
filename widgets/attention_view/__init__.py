"""Attention patterns of every head."""

from widgets.attention_view.view import AttentionView

__all__ = ["AttentionView"]
