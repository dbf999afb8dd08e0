"""What generation under edits and a chat's sweep cost: a batch beside one-by-one writing of an earlier build and beside
TransformerLens' batched generation, an edit beside none, a gate beside an edit, and a chat pair beside the operations
that it needs.

`python -m benchmarks generation` prints, last, one JSON line with every figure; `--part NAME` runs one part and keeps
its figures. Each part is the `run` of the module `generation_<part>`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from .parts import Parts

#: Figures that a part gives, None where it could not be taken; what must hold is said in the table.
FIGURES = {
    "one_by_one": {"ratio_one_by_one_generation": "at least 6"},
    "peer": {"ratio_tl_generation": "at least 1.5"},
    "edits": {"edit_over_plain": "at most 1.05", "gated_over_plain": "at most 1.1"},
    "chat": {"chat_over_nominal": "at most 1.4", "chat_extra_mb": "at most 500"},
}


def _part(name: str) -> Callable[[bool], dict[str, Any]]:
    """The part of a name, imported when it is run."""
    return lambda quick: import_module(f".generation_{name}", __package__).run(quick)


BENCH = Parts("generation", FIGURES, {name: _part(name) for name in FIGURES})
