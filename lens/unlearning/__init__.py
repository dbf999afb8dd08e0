"""Unlearning: is it forgotten, and is the state back that was there before?

>>> forget, retain = (lens.unlearning.read(name, model) for name in ("forget.jsonl", "retain.jsonl"))  # doctest: +SKIP
>>> result = lens.unlearning.unlearn(model, forget, retain, ["gradient_ascent", "npo"])  # doctest: +SKIP
>>> lens.unlearning.measures(result)  # doctest: +SKIP

Every arm is a path that is looked at by dose, beside training on the retain set alone and models that never knew.
Sources: Rezaei et al. 2024, RESTOR; Maini et al. 2024, TOFU; Zhang et al. 2024, Negative Preference Optimization.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import attributes

if TYPE_CHECKING:
    from .arms import Arm
    from .attacks import quantise, relearn
    from .errors import UnlearningError
    from .experiment import unlearn
    from .items import Items, read
    from .methods import METHODS, Method, method
    from .openunlearning import measures
    from .outcome import predictors, stopping, summary
    from .overlaps import overlap
    from .questions import CLASSES, Answers, Questions, answers
    from .reporting import report

#: public name -> module, resolved on first use
_PUBLIC = {
    **dict.fromkeys(("Arm",), "arms"),
    **dict.fromkeys(("quantise", "relearn"), "attacks"),
    **dict.fromkeys(("UnlearningError",), "errors"),
    **dict.fromkeys(("unlearn",), "experiment"),
    **dict.fromkeys(("Items", "read"), "items"),
    **dict.fromkeys(("measures",), "openunlearning"),
    **dict.fromkeys(("METHODS", "Method", "method"), "methods"),
    **dict.fromkeys(("predictors", "stopping", "summary"), "outcome"),
    **dict.fromkeys(("overlap",), "overlaps"),
    **dict.fromkeys(("CLASSES", "Answers", "Questions", "answers"), "questions"),
    **dict.fromkeys(("report",), "reporting"),
}

__all__ = [*_PUBLIC]

__getattr__, __dir__ = attributes(__name__, _PUBLIC, __all__)
