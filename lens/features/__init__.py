"""Features of dictionaries (sparse autoencoders and transcoders) as sites: read, edited and patched like any other
activation.

>>> sae = lens.features.load("sae-SmolLM2-135M-64x/layers.15.mlp")                    # doctest: +SKIP
>>> with lens.edited(model, lens.Edit(lens.Site("feature", sae, index=7), "zero")): ...  # doctest: +SKIP
"""

from .build import from_weights, random_like
from .checking import check
from .cross_layer import CrossLayer
from .dictionary import Dictionary
from .errors import FeatureError
from .formats.own import save
from .loading import load
from .reading import examples, read
from .shipping import shipped

__all__ = [
    "CrossLayer",
    "Dictionary",
    "FeatureError",
    "check",
    "examples",
    "from_weights",
    "load",
    "random_like",
    "read",
    "save",
    "shipped",
]
