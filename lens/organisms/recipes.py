"""What the recipes of all organisms have: a hash of everything that the weights depend on, and heads that fit."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from .errors import OrganismError


@dataclass(frozen=True)
class OrganismRecipe:
    """Everything that the weights of an organism depend on, as the fields of a dataclass; the hash is in its card."""

    def sha256(self) -> str:
        """A hash of all fields: two recipes with the same one train the same model."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def require_heads(d_model: int, heads: int) -> None:
    """Raises OrganismError: a width that is not so many heads of an even width, as rotary positions turn pairs."""
    if d_model % (2 * heads):
        raise OrganismError(
            f"heads={heads} does not divide d_model={d_model} into heads of an even width; expected d_model to be a"
            f" multiple of {2 * heads}."
        )
