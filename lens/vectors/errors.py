"""The one error of this family."""

from __future__ import annotations


class VectorError(ValueError):
    """A task, template, vector or argument of this family that cannot be used; the message names it, its value and the next step."""
