"""What hashing the weights takes of a loop of edits and measurements: a mask on, three results, the mask off, twenty
times, in this build and beside it in the earlier one.
"""

from __future__ import annotations

from .before import ROOT, BeforeError, Build, builds, commit_of
from .tables import median, say

ROUNDS = 3


def run(quick: bool) -> dict[str, float]:
    """`hash_fraction`: seconds in functions that hash, over those of the loop, the median of some rounds;
    `hash_fraction_before`: in the build that `before.txt` names. `..._ms`: a turn of the loop, and the hashing in it,
    in this build. Where there is no earlier build `why` says so.
    """
    rounds = 1 if quick else ROUNDS
    try:
        with builds(commit_of("models"), quick) as both:
            taken = _taken(both, rounds)
    except BeforeError as error:
        with Build(ROOT, quick) as now:
            return _figures(_taken({"now": now}, rounds), quick) | {"why": str(error)}
    return _figures(taken, quick)


def _taken(of: dict[str, Build], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Round after round, the builds taking turns at going first: the seconds in hashing, and of the loop."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in of}
    for round_ in range(rounds):
        say(f"edit_loop, round {round_ + 1} of {rounds}")
        for name in sorted(of, reverse=bool(round_ % 2)):
            taken[name].append(tuple(of[name].ask("hashing", call="hashing", of="edit_loop")))
    return taken


def _figures(taken: dict[str, list[tuple[float, float]]], quick: bool) -> dict[str, float]:
    turns, suffixes = 2 if quick else 20, {"now": "", "before": "_before"}
    fractions = {
        f"hash_fraction{suffixes[name]}": median([spent / whole for spent, whole in rounds])
        for name, rounds in taken.items()
    }
    spent, whole = (1000 * median(column) / turns for column in zip(*taken["now"]))
    return fractions | {"hash_ms": spent, "turn_ms": whole}
