"""What goes wrong when a model is to unlearn."""

from ..errors import Error


class UnlearningError(Error, ValueError):
    """Sets, a method, an arm or a model that cannot be unlearned with; the message names it and the next step."""
