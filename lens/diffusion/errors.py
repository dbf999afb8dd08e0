"""The one error of this family."""

from ..errors import Error


class DiffusionError(Error, ValueError):
    """A pipeline, captions, pictures or scores that cannot be used; the message names the argument, its value, what was
    expected and the next step.
    """
