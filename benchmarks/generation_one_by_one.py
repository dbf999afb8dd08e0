"""A batch of texts under an edit beside the same texts written one by one by an earlier build, the builds taking turns.

The earlier build writes a share of the texts, which stands for all.
"""

from __future__ import annotations

import statistics
from typing import Any

from ._generation_subject import PROMPTS, QUICK, SHARE
from .before import BeforeError, builds, commit_of
from .tables import say

ROUNDS = {True: 1, False: 3}


def run(quick: bool) -> dict[str, Any]:
    """The figures; `quick`: of a random model of four layers."""
    taken: dict[str, list[float]] = {"now": [], "before": []}
    try:
        commit = commit_of("generation")
        with builds(commit, quick) as both:
            both["now"].ask("seconds", call="generate")  # the first looks at the model
            for number in range(ROUNDS[quick]):
                say(f"one_by_one, round {number + 1} of {ROUNDS[quick]}")
                taken["before"].append(both["before"].ask("seconds", call="write")[0])
                taken["now"].append(both["now"].ask("seconds", call="generate")[0])
    except BeforeError as error:
        return {"why": str(error)}
    count = QUICK[0] if quick else PROMPTS
    share = count / len(range(0, count, SHARE))
    seconds = {name: statistics.median(of) for name, of in taken.items()}
    return {
        "ratio_one_by_one_generation": share * seconds["before"] / seconds["now"],
        "one_by_one_rounds": [share * b / n for b, n in zip(taken["before"], taken["now"])],
        "one_by_one_seconds": {"now": seconds["now"], "before": share * seconds["before"]},
        "before": commit,
    }
