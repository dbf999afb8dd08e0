"""Are the numbers right, the guarantees kept, and what does it cost to be sure? Types of models, coverage, sizes of
tests, and times beside an earlier build.

`python -m benchmarks truth` prints, last, one JSON line with every figure; `--part NAME` runs one part. Each part's
figures are kept in a file with a digest of the code that they belong to, and a whole run takes those of this very code
as they are.
"""

from __future__ import annotations

import json
import os
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest import mock

from . import _types, machine
from .before import ROOT, ROUNDS, BeforeError, Build, beside, commit_of, work_tree
from .parts import Parts
from .tables import median, say

#: Samples of a cell of the coverage, and null data sets of a p-value.
NULLS = 4_000
#: Figures that a part gives, None where it could not be taken; what must hold is said in the table.
FIGURES = {
    "types": {
        "types_exact": "at least types_exact_before",
        "types_exact_before": "",
        "types_total": "",
        "types_wrong": "0",
    },
    "coverage": {"coverage_min": "at least .93", "coverage_cells_available": "all"},
    "size": {"size_max_over_nominal": "at most 1"},
    "cost": {
        "check_fraction": "at most .03",
        "check_fraction_late": "at most .10",
        "check_fraction_first_sight": "",
        "check_fraction_late_first_sight": "",
    },
    "before": {
        "sweep_over_before": "at most 1.05",
        "injection_over_before": "at most 1.05",
        "scoring_over_before": "at most 1.05",
        "edit_loop_over_before": "at most 1.05",
    },
}


# -- types -------------------------------------------------------------------------------------------------------------


def types(quick: bool) -> dict[str, Any]:
    """Types on which patching equals naive hooks in every cell, plain and behind a bridge, in this build and in the
    earlier one.

    A refusal by the project's own error is neither exact nor wrong.
    """
    file = _types.kinds_file()
    if file is None:
        return {"why": f"no file of types: {_types.FILE} is not set and ../shared/cases/kinds.py is not there"}
    served, refused = _types.names(file)
    if quick:
        served, refused = served[:1], refused[:1]
    with Build(ROOT, quick) as now:
        mine = _answers(now, file, [*served, *refused])
    found = _counts(mine, served) | {"types_detail": {n: a for n, a in mine.items() if set(a.values()) != {"exact"}}}
    try:
        commit = commit_of("truth")
        with work_tree(commit) as tree, Build(tree, quick) as then:
            earlier = _answers(then, file, served)
        lost = [
            f"{name}, {form}"
            for name in served
            for form in ("plain", "bridge")
            if earlier[name][form] == "exact" != mine[name][form]
        ]
        return found | {
            "types_exact_before": _counts(earlier, served)["types_exact"],
            "types_no_longer_exact": lost,
            "before": commit,
        }
    except BeforeError as error:
        return found | {"types_exact_before": None, "why": str(error)}


def _answers(build: Build, file: Path, names: list[str]) -> dict[str, dict[str, str]]:
    out = {}
    for i, name in enumerate(names):
        say(f"type {i + 1} of {len(names)}: {name}")
        out[name] = build.ask("types", call="types", file=str(file), name=name)
    return out


def _counts(answers: dict[str, dict[str, str]], served: list[str]) -> dict[str, Any]:
    """Counts over the types that should be exact, plain and bridge apart; what is wrong also over those that should be
    refused.
    """
    exact = {form: sum(answers[name][form] == "exact" for name in served) for form in ("plain", "bridge")}
    wrong = [
        f"{name}, {form}: {said}"
        for name, forms in answers.items()
        for form, said in forms.items()
        if said.startswith("wrong")
    ]
    failed = [
        f"{name}, {form}: {said}"
        for name, forms in answers.items()
        for form, said in forms.items()
        if said.startswith("failed")
    ]
    return {
        "types_exact": sum(exact.values()),
        "types_total": 2 * len(served),
        "types_wrong": len(wrong),
        "types_exact_each": exact,
        "types_wrong_names": wrong,
        "types_failed": failed,
    }


# -- statistics --------------------------------------------------------------------------------------------------------


def coverage(quick: bool) -> dict[str, Any]:
    """The least coverage of the intervals that summaries give, over the cells in which one must be available; simulated
    by `tests.calibration`.
    """
    try:
        from tests.calibration import coverage as simulated
        from tests.calibration import figures, required
    except ImportError as error:
        return {"why": f"the simulation is not there: {error}"}
    found = simulated(200, cells=("normal",), sizes=(5,)) if quick else simulated(NULLS)
    worst = required(found).sort_values("coverage").iloc[0]
    return figures(found) | {
        "coverage_worst": {
            key: getattr(worst[key], "item", lambda: worst[key])() for key in ("kind", "n", "coverage", "low", "high")
        }
    }


def size(quick: bool) -> dict[str, Any]:
    """The largest ratio of a test's size to its nominal level, over every p-value that is called exact or guaranteed;
    simulated by `lens.reproduce.guarantees`.
    """
    import pandas as pd

    from lens.reproduce import guarantees

    draws, texts = 40 if quick else NULLS, [null.text for null in guarantees.nulls()]
    texts = texts[7:8] if quick else texts
    tables = []
    with ProcessPoolExecutor(min(machine.THREADS, os.cpu_count() or 1, len(texts)), get_context("spawn")) as pool:
        for text, part in zip(texts, pool.map(_sizes, texts, [draws] * len(texts))):
            say(f"null {len(tables) + 1} of {len(texts)}: {text}")
            tables.append(part)
    found = pd.concat(tables, ignore_index=True)
    return guarantees.figure(found) | {"size_above": json.loads(found[found.over > 1].to_json(orient="records"))}


def _sizes(text: str, draws: int) -> Any:
    """The sizes under one null; in a process of its own."""
    from lens.reproduce import guarantees

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = guarantees.sizes(draws, only=text)
    return found[found.null == text]


# -- times -------------------------------------------------------------------------------------------------------------


def cost(quick: bool) -> dict[str, Any]:
    """What it costs a sweep to compare the model with what it was, over one that does not.

    As in the patching benchmark the pair was swept before. `..._first_sight`: where it was not, so that its unedited
    runs are compared with the model's own too.
    """
    import lens
    from lens.engine.walk import decoder
    from lens.models import state

    from .subjects import smollm2, tiny

    machine.set_threads()
    subject, found = tiny() if quick else smollm2(), {}

    def sweep(pair: Any) -> tuple[float, float]:
        """Seconds by the clock, and of the processor."""
        used = time.process_time()
        seconds, _ = machine.timed(
            lambda: lens.patch(subject.bridge, pair, site="resid_pre", over=("layer", "position"), progress=False)
        )
        return seconds, time.process_time() - used

    def first(pair: Any) -> tuple[float, float]:
        state.State.of(subject.bridge).verified.clear()
        return sweep(pair)

    def without(pair: Any) -> tuple[float, float]:
        held = state.State.of(subject.bridge)
        with (
            mock.patch.object(state.State, "of", lambda model: held),
            mock.patch.object(decoder.Decoder, "verify", lambda *a, **k: None),
        ):
            return sweep(pair)

    ways = {"with": sweep, "first_sight": first, "without": without}
    for name, pair in (("check_fraction", subject.pairs["early"]), ("check_fraction_late", subject.pairs["late"])):
        sweep(pair)
        taken: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
        for round_ in range(1 if quick else ROUNDS):
            say(f"{name}, round {round_ + 1}")
            for way in sorted(ways, reverse=bool(round_ % 2)):
                taken[way].append(ways[way](pair))
        of = {way: [median(each) for each in zip(*times)] for way, times in taken.items()}
        for i, suffix in enumerate(("", "_processor")):
            found |= {
                f"{name}{more}{suffix}": of[way][i] / of["without"][i] - 1
                for way, more in (("with", ""), ("first_sight", "_first_sight"))
            }
        found[f"{name}_seconds"] = taken
    return found


def before(quick: bool) -> dict[str, Any]:
    """Times of the same calls over those of the earlier build, in the same run."""
    return beside("truth", ("sweep", "injection", "scoring", "edit_loop"), quick=quick)


BENCH = Parts(
    "truth",
    FIGURES,
    {"types": types, "coverage": coverage, "size": size, "cost": cost, "before": before},
    code=("tests/calibration/*.py",),
    more=("types_no_longer_exact",),
)
