"""What edges and circuits cost beside TransformerLens: scores of all edges, circuits run by themselves, exact effects
of single edges, the fit of a Jacobian lens; what scores cost beside the passes that they need, and dictionary features
beside the same rows at the stream.

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
    "scores": {"ratio_tl_edges": "at least 12", "edges_max_rel_diff": "at most 1e-4"},
    "faithfulness": {"ratio_tl_faithfulness": "at least 30", "faithfulness_max_rel_diff": "at most 1e-4"},
    "exact": {"ratio_tl_direct_paths": "at least 10", "direct_paths_max_rel_diff": "at most 1e-4"},
    "passes": {"edges_over_passes": "under 3"},
    "jacobian": {
        "ratio_tl_jacobian_lens": "at least 1.5",
        "ratio_tl_jacobian_lens_best": "at least 1.2",
        "jacobian_memory_over_tl": "at most 0.25",
        "chosen_tokens_speedup": "at least 12",
        "jacobian_max_rel_diff": "at most 1e-4",
    },
    "features": {"features_over_resid": "at most 1.3"},
}


def _part(name: str) -> Callable[[bool], dict[str, Any]]:
    """The part of a name, imported when it is run."""
    return lambda quick: import_module(f".edges_{name}", __package__).run(quick)


BENCH = Parts("edges", FIGURES, {name: _part(name) for name in FIGURES})
