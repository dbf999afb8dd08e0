"""Features of dictionaries (sparse autoencoders and transcoders) as sites: read, edited and patched like any other
activation.

>>> sae = lens.features.load("sae-SmolLM2-135M-64x/layers.15.mlp")                    # doctest: +SKIP
>>> with lens.edited(model, lens.Edit(lens.Site("feature", sae, index=7), "zero")): ...  # doctest: +SKIP
"""

from .build import from_weights, random_like
from .cross_layer import CrossLayer
from .dictionary import Dictionary
from .errors import FeatureError
from .loading import load

__all__ = ["CrossLayer", "Dictionary", "FeatureError", "from_weights", "load", "random_like"]
