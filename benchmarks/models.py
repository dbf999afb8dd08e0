"""What works on which model, exactly and how fast: the table of types and methods, speed beside TransformerLens and an
earlier build, and what hashing costs.

`python -m benchmarks models` prints, last, one JSON line with every figure; `--part NAME` runs one part. `--only` and
`--methods` fill some rows and columns of the table, to look at them: their figures are printed and not kept.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from .parts import Parts
from .tables import rounded

_BEFORE = ("walk_over_before_late", "walk_over_before_early", "walk_over_before_heads", "walk_over_before_heads_late")
_LATE = {
    "at least 100": ("gemma3", "phi3", "olmo3"),
    "at least 80": ("qwen3_moe", "olmoe", "gpt_oss"),
    "at least 65": ("starcoder2",),
}
#: Figures that a part gives, None where it could not be taken; what must hold is said in the table.
FIGURES = {
    "table": {
        "models_max_rel_diff": "at most 1e-4",
        "models_bf16_worst": "at most 2",
        "models_wrong": "0",
        "models_raw": "0",
        "models_failed": "0",
        "models_refused": "0",
        "models_exact": "",
        "models_parts": "",
        "models_weak": "0",
        "models_rows": "",
    },
    "speed": {f"ratio_tl_{name}_late": wanted for wanted, names in _LATE.items() for name in names}
    | {f"ratio_tl_{name}_early": "at least 22" for name in _LATE["at least 100"]}
    | {
        "ratio_before_gemma3_late": "at least 2.0",
        "ratio_before_gemma3_heads": "at least 1.8",
        "ratio_before_qwen3_moe_late": "at least 1.6",
        "ratio_before_olmoe_late": "at least 1.6",
        **dict.fromkeys(_BEFORE, "at most 1.03"),
        "gemm_fraction": "at least 0.7",
        "max_rel_diff": "at most 1e-3",
        "peak_extra_mb": "at most 500",
    },
    "hash": {"hash_fraction": "at most 0.02", "hash_fraction_before": ""},
}


def table(quick: bool) -> dict[str, Any]:
    """Every method on every type against plain hooks."""
    from ._models_table import run

    return run(quick=quick)


def speed(quick: bool) -> dict[str, Any]:
    """Sweeps beside TransformerLens and the earlier build."""
    return _elsewhere("models_speed", quick)


def hashing(quick: bool) -> dict[str, Any]:
    """What hashing takes of a loop of edits."""
    return _elsewhere("models_hash", quick)


def _elsewhere(name: str, quick: bool) -> dict[str, Any]:
    """The figures of a module of its own; `why` where it is not there."""
    try:
        module = import_module(f"benchmarks.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"benchmarks.{name}":
            raise
        return {"why": f"benchmarks/{name}.py is not there"}
    return module.run(quick=quick)


BENCH = Parts(
    "models",
    FIGURES,
    {"table": table, "speed": speed, "hash": hashing},
    more=("wrong", "failed", "weak"),
)


def look(*, quick: bool, only: Sequence[str] | None, methods: Sequence[str] | None) -> int:
    """Some rows and columns of the table, printed with their figures; nothing is kept of them."""
    from . import _models_table

    found = _models_table.run(quick=quick, only=only, methods=methods)
    print((_models_table.ROOT / "build" / "models" / "table.md").read_text(encoding="utf-8"))
    print(json.dumps(rounded(found)))
    return 0


def names() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The rows and the columns of the table."""
    from ._models_table import COLUMNS
    from ._models_zoo import ROWS

    return tuple(ROWS), tuple(COLUMNS)
