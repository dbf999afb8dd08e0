"""A small top-k dictionary trained on texts that the model itself writes, in parts from which a cut run goes on.

``python -m lens.features.training --help``
"""

from .fitting import fit
from .recipe import Recipe
from .sampling import sample

__all__ = ["Recipe", "fit", "sample"]
