"""Loss curvature: which parts of a weight carry what all text shares and which carry recitation, read from K-FAC
factors, and the edit that cuts the latter out.

>>> factors = lens.curvature.factors(model, "model.layers.3[01].mlp.*", ids, folder="statistics")  # doctest: +SKIP
>>> decomposition = lens.curvature.decompose(model, factors, folder="statistics")  # doctest: +SKIP
>>> with lens.edited(model, lens.curvature.keep(decomposition, 0.6)): ...  # doctest: +SKIP
>>> lens.curvature.curve(model, decomposition, (0.9, 0.8, 0.7), evaluate, controls=("random", "svd"))  # doctest: +SKIP

Source: Merullo, Vatsavaya, Bushnaq & Lewis 2025, From Memorization to Reasoning in the Spectrum of Loss Curvature. What
    is added: the second moments of EKFAC, and controls at the same amount removed.
"""

# some of these bear the name of their module: imported now, the name means the function from here on
from .controls import CONTROLS, control
from .curve import curve
from .edit import Edit, keep, keep_set
from .eigen import Decomposition, LayerCurvature, decompose, eigen
from .errors import CurvatureError
from .factors import Factors, factors
from .moments import second_moments
from .spectrum import BANDS, activation_ratio, spectrum

__all__ = [
    "BANDS",
    "CONTROLS",
    "CurvatureError",
    "Decomposition",
    "Edit",
    "Factors",
    "LayerCurvature",
    "activation_ratio",
    "control",
    "curve",
    "decompose",
    "eigen",
    "factors",
    "keep",
    "keep_set",
    "second_moments",
    "spectrum",
]
