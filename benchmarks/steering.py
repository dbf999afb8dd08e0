"""What steering costs: the depth of reading and writing beside one hooked forward a cell, and gated batched generation
beside the published way, one prompt at a time with the hooks put on again for each token; a training that sees a subset
again and again beside the plain loop.

`python -m benchmarks steering` prints, last, one JSON line with every figure; `--part NAME` runs one part and keeps its
figures. Each part is the `run` of the module `steering_<part>`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from .parts import Parts

#: Figures that a part gives, None where it could not be taken; what must hold is said in the table.
FIGURES = {
    "depth": {"ratio_depth": "at least 50"},
    "gated": {"ratio_published_gated": "at least 5"},
    "repetition": {"repetition_over_plain": "at most 1.05"},
}


def _part(name: str) -> Callable[[bool], dict[str, Any]]:
    """The part of a name, imported when it is run."""
    return lambda quick: import_module(f".steering_{name}", __package__).run(quick)


BENCH = Parts("steering", FIGURES, {name: _part(name) for name in FIGURES})
