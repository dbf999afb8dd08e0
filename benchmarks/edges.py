"""What gradients of many read-outs cost beside TransformerLens: the fit of a Jacobian lens.

`python -m benchmarks edges` prints, last, one JSON line with every figure; `--part NAME` runs one part and keeps its
figures. Each part is the `run` of the module `edges_<part>`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from .parts import Parts

#: Figures that a part gives, None where it could not be taken; what must hold is said in the table.
FIGURES = {
    "jacobian": {
        "ratio_tl_jacobian_lens": "at least 1.5",
        "ratio_tl_jacobian_lens_best": "at least 1.2",
        "jacobian_memory_over_tl": "at most 0.25",
        "chosen_tokens_speedup": "at least 12",
        "jacobian_max_rel_diff": "at most 1e-4",
    },
}


def _part(name: str) -> Callable[[bool], dict[str, Any]]:
    """The part of a name, imported when it is run."""
    return lambda quick: import_module(f".edges_{name}", __package__).run(quick)


BENCH = Parts("edges", FIGURES, {name: _part(name) for name in FIGURES})
