"""What more machines and less memory cost: the same sweep on two Ray workers, weights that workers share, blocks on
disk, and the memory of K-FAC statistics beside an earlier build.

`python -m benchmarks scale` prints, last, one JSON line with every figure; `--part NAME` runs one part and keeps its
figures. Each part is the `run` of the module `scale_<part>`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from .parts import Parts

#: Figures that a part gives, None where it could not be taken; what must hold is said in the table.
FIGURES = {
    "ray": {"ray_two_workers": "at least 1.7", "store_bytes_equal": "True"},
    "workers": {"shared_weights_over_size": "at most .2"},
    "kfac": {"kfac_peak_over_before": "at most .5", "kfac_time_over_before": "at most 1.05"},
    "offload": {"offload_reads": "2", "offload_equal": "True", "offload_over_resident": "at most 1.5"},
}


def _part(name: str) -> Callable[[bool], dict[str, Any]]:
    """The part of a name, imported when it is run."""
    return lambda quick: import_module(f".scale_{name}", __package__).run(quick)


BENCH = Parts("scale", FIGURES, {name: _part(name) for name in FIGURES})
