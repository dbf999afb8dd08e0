"""What K-FAC factors of all MLP matrices cost beside an earlier build: peak memory, the factors included, and time.

Each call runs in a fresh process, and the builds take turns. The peaks of the other two calls over the same matrices,
the decomposition of the last blocks' factors and the statistics behind masks, are printed beside.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ._kfac_calls import MARK
from .before import ROOT, BeforeError, commit_of, work_tree
from .tables import median, say

#: Rows of 128 tokens and a label, and rounds; in the quick run, which says nothing about either build.
ROWS, ROUNDS = 64, 3
QUICK_ROWS = 8
#: What else is measured once in this build: the part of the package, and the call.
BESIDE = {"curvature": "decompose", "subspace": "statistics"}


def run(quick: bool) -> dict[str, Any]:
    """The figures of the part, and the seconds and peaks behind them; `why` where there is no earlier build."""
    peaks = {part: _call(ROOT, call, quick) for part, call in BESIDE.items()}
    found: dict[str, Any] = {f"{part}_peak_mb": each["peak_mb"] for part, each in peaks.items()}
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / f"{name}.safetensors" for name in ("now", "before")}
        try:
            with work_tree(commit_of("scale")) as tree:
                return found | _beside({"now": ROOT, "before": tree}, files, quick)
        except BeforeError as error:
            return found | {"kfac_now": _call(ROOT, "factors", quick, files["now"]), "why": str(error)}


def _beside(roots: dict[str, Path], files: dict[str, Path], quick: bool) -> dict[str, Any]:
    """Both builds, in turns: ratios of the medians, and how far their factors differ."""
    taken: dict[str, list[dict[str, Any]]] = {name: [] for name in roots}
    rounds = 1 if quick else ROUNDS
    for number in range(rounds):
        for name in sorted(roots, reverse=bool(number % 2)):
            say(f"kfac, round {number + 1} of {rounds}: factors of the build {name}")
            taken[name].append(_call(roots[name], "factors", quick, files[name]))
    of = {
        name: {key: median([each[key] for each in every]) for key in ("seconds", "processor", "peak_mb", "kept_mb")}
        for name, every in taken.items()
    }
    now, before = of["now"], of["before"]
    return {
        "kfac_peak_over_before": now["peak_mb"] / before["peak_mb"],
        "kfac_time_over_before": now["seconds"] / before["seconds"],
        "kfac_processor_over_before": now["processor"] / before["processor"],
        "kfac_max_rel_diff": _gap(files["now"], files["before"]),
        "kfac": of,
        "kfac_rounds": taken,
    }


def _call(root: Path, call: str, quick: bool, file: Path | None = None) -> dict[str, Any]:
    """One call in a fresh process of a build.

    Raises: BeforeError: the process failed.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": str(root),
        "OMP_WAIT_POLICY": "PASSIVE",
        "OMP_NUM_THREADS": "2",
        "HF_HUB_OFFLINE": "1",
        "TQDM_DISABLE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONWARNINGS": "ignore",
    }
    program = [sys.executable, "-P", str(Path(__file__).with_name("_kfac_calls.py")), call]
    done = subprocess.run(
        [*program, str(QUICK_ROWS if quick else ROWS), str(file or os.devnull), *(["--quick"] if quick else [])],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
    )
    answers = [line for line in done.stdout.split("\n") if line.startswith(MARK)]
    if done.returncode or not answers:
        raise BeforeError(f"{call} in the build of {root} failed: {' '.join(done.stderr.split()[-40:])}")
    return json.loads(answers[-1].removeprefix(MARK))


def _gap(one: Path, other: Path) -> float:
    """The largest difference of two files' tensors, as a share of the largest number of its tensor."""
    from safetensors.torch import load_file

    a, b = load_file(str(one)), load_file(str(other))
    if a.keys() != b.keys():
        return float("inf")
    return max(float((a[name] - b[name]).abs().max() / b[name].abs().max()) for name in a)
