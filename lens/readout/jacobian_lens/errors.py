"""The error of Jacobian lenses."""

from ..reading import ReadoutError


class JacobianLensError(ReadoutError):
    """A lens that cannot be fitted, read or applied; the message names the argument, its value and what fits."""
