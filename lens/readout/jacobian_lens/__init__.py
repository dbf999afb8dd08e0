"""The Jacobian lens: what a direction of the stream does, on average, to everything that the model says later.

>>> J = lens.jacobian_lens.fit(model, texts, n=100, store="fit")              # doctest: +SKIP
>>> lens.logit_lens(model, pair, positions="last", lens=J)                    # doctest: +SKIP
"""

from __future__ import annotations

from ...lazy import attributes

#: public name -> module, resolved on first use
_PUBLIC = {
    "fit": "fitting",
    "merge": "fitted",
    "open": "opening",
    "random_like": "fitted",
    "compare": "controls",
    "JacobianLens": "fitted",
    "TokenLens": "fitted",
    "Span": "span",
    "JacobianLensError": "errors",
}

__all__ = [*_PUBLIC]

__getattr__, __dir__ = attributes(__name__, _PUBLIC, __all__)
