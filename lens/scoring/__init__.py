"""Token log-likelihoods of rows of token ids under any causal language model: on this machine, on Ray or behind a
server, kept in a store that resumes.

>>> scores = lens.scoring.score(model, rows)  # doctest: +SKIP
"""

from __future__ import annotations

from ..lazy import attributes

#: public name -> module, resolved on first use
_PUBLIC = {
    **dict.fromkeys(("score",), "rows"),
    **dict.fromkeys(("Rows", "from_records"), "texts"),
    **dict.fromkeys(("Scores",), "scores"),
    **dict.fromkeys(("ScoringError",), "causal"),
    **dict.fromkeys(("Served", "ServedError"), "served"),
}

__all__ = [*_PUBLIC]

__getattr__, __dir__ = attributes(__name__, _PUBLIC, __all__)
