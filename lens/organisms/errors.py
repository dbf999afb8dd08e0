"""The error of the organisms."""

from __future__ import annotations

from ..errors import Error


class OrganismError(Error, ValueError):
    """A recipe, a corpus or a question to one that cannot be; the message names the argument and the next step."""


def require_heads(d_model: int, heads: int) -> None:
    """Raises OrganismError: a width that is not so many heads of an even width, as rotary positions turn pairs."""
    if d_model % (2 * heads):
        raise OrganismError(
            f"heads={heads} does not divide d_model={d_model} into heads of an even width; expected d_model to be a"
            f" multiple of {2 * heads}."
        )
