"""What goes wrong with a result."""

from __future__ import annotations

from ..errors import Error


class ResultError(Error, OSError):
    """A result that cannot be stamped, saved or opened; the message names the path or argument and the next step."""
