"""How fast sweeps are on model types of SmolLM2's size, beside TransformerLens on the same cells and beside the earlier
build that `before.txt` names: `python -m benchmarks.models_speed [--quick] [--only TYPE ...]`.

Random weights, 30 layers, 576 wide, 9 heads that share 3 of keys and values, vocabulary of 49,152; the late and the
early pair of the patching benchmark, 16 tokens; mixtures of 8 experts of width 768, 2 a token. Whole is compared with
whole, from the prompts to the finished grid. Medians of interleaved rounds; numbers are compared cell by cell.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from .before import BeforeError, Seconds, commit_of, compared
from .tables import median, number, rounded, say, table

#: Beside TransformerLens: which pairs.
PEERS = {
    "gemma3": ("late", "early"),
    "phi3": ("late", "early"),
    "olmo3": ("late", "early"),
    "qwen3_moe": ("late",),
    "olmoe": ("late",),
    "gpt_oss": ("late",),
    "starcoder2": ("late",),
}
#: Beside the earlier build, whole sweeps: figure -> call. Heads: every head's output at the last token, late pair.
BEFORE = {
    "ratio_before_gemma3_late": "patch gemma3 late",
    "ratio_before_gemma3_heads": "patch gemma3 heads_last",
    "ratio_before_gemma3_heads_everywhere": "patch gemma3 heads",
    "ratio_before_qwen3_moe_late": "patch qwen3_moe late",
    "ratio_before_olmoe_late": "patch olmoe late",
}
#: Types whose blocks were written out then: their walks alone are compared.
WALKED = ("llama", "mistral", "qwen2", "qwen3", "olmo2", "gpt2", "gpt_neox")
WALKS = ("late", "early", "heads", "heads_late")
ROUNDS = 4


def run(quick: bool, only: Sequence[str] | None = None) -> dict[str, Any]:
    """The figures, and where they come from.

    Args:
        quick: models of four layers and one round: tests the benchmark, says nothing about speed. only: types to
            measure; None: all.

    Returns: ``ratio_tl_TYPE_PAIR``: TransformerLens' time over ours; ``ratio_before_*``: the earlier build's over this
        one's; ``walk_over_before_*``: this build's walks over the earlier one's, the geometric mean over the types;
        ``gemm_fraction`` of a Llama's four walks; ``max_rel_diff``, of the largest effect; ``peak_extra_mb``, the most
        that a sweep of any type adds. ``why``, where figures could not be taken. Ratios end in ``_processor`` where the
        processor's time is compared, which other programs disturb less.
    """
    known = dict.fromkeys([*PEERS, *WALKED])
    if unknown := [name for name in only or () if name not in known]:
        raise ValueError(f"only={unknown[0]!r} is not measured; expected some of {', '.join(known)}")

    def wanted(name: str) -> bool:
        return only is None or name in only

    found = _beside_peer([name for name in PEERS if wanted(name)], quick)
    if wanted("llama"):
        from ._speed_cases import at_the_wall

        found["gemm_fraction"], found["gemm_gflops"] = at_the_wall(quick, 1 if quick else 3)
    calls = [call for call in BEFORE.values() if wanted(call.split()[1])]
    calls += [f"walk {name} {sweep}" for name in WALKED if wanted(name) for sweep in WALKS]
    if quick:
        calls = [call for call in calls if call in (BEFORE["ratio_before_gemma3_heads"], "walk llama heads_late")]
    if calls:
        found |= _beside_before(calls, quick)
    return found


def _beside_peer(names: Sequence[str], quick: bool) -> dict[str, Any]:
    """Type by type, one after another in memory."""
    from . import machine
    from ._speed_cases import Case, of_type

    machine.set_threads()
    cases: list[Case] = []
    memory: dict[str, dict[str, float]] = {}
    for name in names:
        say(f"{name}: memory, then beside TransformerLens")
        made, memory[name] = of_type(name, PEERS[name], rounds=1 if quick else ROUNDS, quick=quick)
        cases += made
    if not cases:
        return {}
    ratios = {f"ratio_tl_{c.name}_{c.pair}{end}": c.ratio(i) for i, end in enumerate(("", "_processor")) for c in cases}
    return ratios | {
        "max_rel_diff": max(c.gap for c in cases),
        "peak_extra_mb": max(mb for each in memory.values() for mb in each.values()),
        "peak_extra_mb_each": memory,
        "speed_cases": [
            {
                "type": c.name,
                "pair": c.pair,
                "path": c.path,
                "ours_s": median([took[0] for taken in c.ours for took in taken]),
                "tl_cell_s": median([took[0] for took in c.cell]),
                "tl_cells": c.cells,
                "tl_clean_s": c.cache[0],
                "rel_diff": c.gap,
            }
            for c in cases
        ],
    }


def _beside_before(calls: Sequence[str], quick: bool) -> dict[str, Any]:
    """Both builds, call by call in turns."""
    try:
        commit = commit_of("models")
        seconds = compared(commit, calls, rounds=1 if quick else ROUNDS + 1, quick=quick)
    except BeforeError as error:
        return {"why": str(error)}
    figures: dict[str, Any] = {"before": commit, "before_seconds": seconds}
    for clock, end in enumerate(("", "_processor")):
        times = {call: _faster(seconds, call, clock) for call in calls}
        figures |= {f"{name}{end}": times[call] for name, call in BEFORE.items() if call in times}
        for sweep in WALKS:
            each = {
                call.split()[1]: 1 / t
                for call, t in times.items()
                if call.startswith("walk") and call.endswith(f" {sweep}")
            }
            if each:
                mean = math.exp(sum(map(math.log, each.values())) / len(each))
                figures |= {f"walk_over_before_{sweep}{end}": mean, f"walk_over_before_{sweep}{end}_each": each}
    return figures


def _faster(seconds: Seconds, call: str, clock: int) -> float:
    """The earlier build's time over this one's: the median over rounds that stand side by side."""
    of = seconds[call]
    return median([before[clock] / now[clock] for before, now in zip(of["before"], of["now"])])


def show(found: Mapping[str, Any]) -> str:
    """The readable table."""
    rows = [("figure", "by the clock", "by the processor")]
    for key, value in found.items():
        if isinstance(value, float) and not key.endswith("_processor"):
            rows.append((key, number(value), number(found.get(f"{key}_processor"))))
    cases = [("type", "pair", "path", "ours s", "TransformerLens s", "cells", "largest difference")]
    for c in found.get("speed_cases", ()):
        whole = c["tl_clean_s"] + c["tl_cells"] * c["tl_cell_s"]
        cases.append(
            (
                c["type"],
                c["pair"],
                c["path"],
                number(c["ours_s"]),
                number(whole),
                str(c["tl_cells"]),
                f"{c['rel_diff']:.1e}",
            )
        )
    return "\n".join([table(cases, 3), "", table(rows, 1)])


def main() -> int:
    """Measures, prints the tables and, last, one JSON line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models_speed", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="models of four layers: says nothing about speed")
    parser.add_argument("--only", nargs="+", metavar="TYPE", help=f"some of {', '.join([*PEERS, *WALKED])}")
    arguments = parser.parse_args()
    # read once, when OpenMP, torch and the hub client are imported
    os.environ.update(
        OMP_WAIT_POLICY="PASSIVE",
        OMP_NUM_THREADS="2",
        HF_HUB_OFFLINE="1",
        TQDM_DISABLE="1",
        TOKENIZERS_PARALLELISM="false",
        TRANSFORMERS_VERBOSITY="error",
        PIP_NO_INDEX="1",
    )
    from . import machine

    watch = machine.Watch()
    found = run(arguments.quick, arguments.only)
    found |= {"quick": arguments.quick, "machine": watch.end()}
    print(show(found))
    print(json.dumps(rounded(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
