"""The error of the reproductions."""

from __future__ import annotations

from ..errors import Error


class ReproduceError(Error, ValueError):
    """A published experiment that cannot be run or read again as asked; the message names what is wrong and the next
    step.
    """
