"""What unlearning and two checkpoints side by side cost: one's states in the other beside hooked forwards, a comparison
beside the forwards of both, a step with a frozen reference beside the passes that it makes.

`python -m benchmarks unlearning` prints, last, one JSON line with every figure; `--part NAME` runs one part and keeps
its figures. Each part is the `run` of the module `unlearning_<part>`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from .parts import Parts

#: Figures that a part gives, None where it could not be taken; what must hold is said in the table.
FIGURES = {
    "between": {"ratio_between": "at least 20", "max_rel_diff": "at most 1e-5"},
    "compare": {"compare_over_forwards": "at most 1.1"},
    "step": {"step_over_passes": "at most 1.15"},
}


def _part(name: str) -> Callable[[bool], dict[str, Any]]:
    """The part of a name, imported when it is run."""
    return lambda quick: import_module(f".unlearning_{name}", __package__).run(quick)


BENCH = Parts("unlearning", FIGURES, {name: _part(name) for name in FIGURES})
