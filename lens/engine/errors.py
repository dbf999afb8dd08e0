"""What goes wrong where a model is to be run."""

from __future__ import annotations

from ..errors import Error


class UnsupportedModel(Error, RuntimeError):
    """A model, or a site of it, that a path cannot serve exactly; the message says what stands in the way."""


class RunError(Error, ValueError):
    """What no run can be made of: a model in no state to be read, or tokens and activations that do not fit it."""


class TooLong(UnsupportedModel):
    """A text longer than a path covers; the next path takes it."""
