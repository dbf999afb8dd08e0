"""The one error of this family."""

from __future__ import annotations

from ..errors import Error


class FeatureError(Error, ValueError):
    """A dictionary or an argument of this family that cannot be used; the message names it, its value and the next
    step.
    """
