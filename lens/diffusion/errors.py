"""The one error of this family."""


class DiffusionError(ValueError):
    """A pipeline, captions, pictures or scores that cannot be used; the message names the argument, its value, what was expected and the next step."""
