"""What goes wrong with edges and circuits."""

from ..errors import Error


class CircuitError(Error, ValueError):
    """An edge that a model does not have, a circuit of another model, or an argument that does not fit."""
