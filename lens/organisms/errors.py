"""The error of the organisms."""

from __future__ import annotations

from ..errors import Error


class OrganismError(Error, ValueError):
    """A recipe, a corpus or a question to one that cannot be; the message names the argument and the next step."""
