"""What a state of the model says when it is read: logits of each layer, attention, heads, answers; and how alike two
models' states are.

>>> lens.logit_lens(model, "The capital of France is")  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import Any

from ..lazy import attributes

#: public name -> module, resolved on first use
_PUBLIC = {
    **dict.fromkeys(
        (
            "logit_lens",
            "head_vocabulary",
        ),
        "vocabulary",
    ),
    **dict.fromkeys(("direct_logit_attribution",), "logit_attribution"),
    **dict.fromkeys(("compare",), "comparison"),
    **dict.fromkeys(("alignment",), "word_lists"),
    **dict.fromkeys(("linear_probe", "probe"), "probes"),
    **dict.fromkeys(("concepts",), "concept_table"),
    **dict.fromkeys(("ReadoutError",), "reading"),
    **dict.fromkeys(
        (
            "attention",
            "induction_scores",
            "copying_scores",
        ),
        "heads",
    ),
}

__all__ = [*_PUBLIC]

_named, __dir__ = attributes(__name__, _PUBLIC, __all__)


def __getattr__(name: str) -> Any:
    # called by the module's name: lens.readout.probes.probe
    return importlib.import_module(".probes", __name__) if name == "probes" else _named(name)
