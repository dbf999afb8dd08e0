"""One type's sweeps beside TransformerLens' on the same cells: what `models_speed` measures of each.

TransformerLens runs one full forward a cell, whichever the cell; its cells are dealt over the rounds, so that each is
run once, and every share of them stands between runs of ours.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch

import lens
from lens.engine.memory import ERRORS

from . import _speed_subjects as random_models
from . import machine, subjects
from .frame import worst
from .patching import OURS, _walks
from .peers import Task, TransformerLens
from .subjects import Subject
from .tables import median, say
from .work import sweep_flop

#: Runs of ours before and after each share of TransformerLens' cells.
AROUND = 2
#: Pairs of one call when memory is measured.
MANY = 12
#: Seconds by the clock, and of the processor.
Took = tuple[float, float]


def timed(call: Callable[[], Any]) -> tuple[Took, Any]:
    """What a call took, and its result."""
    used = time.process_time()
    seconds, result = machine.timed(call)
    return (seconds, time.process_time() - used), result


class CellByCell(TransformerLens):
    """Its own `patching`, on some of the cells at a time."""

    def cells(self, task: Task, cache: Any, cells: pd.DataFrame) -> torch.Tensor:
        from transformer_lens import patching

        return patching.generic_activation_patch(
            self.model,
            task.corrupted,
            cache,
            lambda logits: task.score(logits)[0],
            patching.layer_pos_patch_setter,
            "resid_pre",
            index_df=cells,
        )


def subject_of(name: str, quick: bool) -> Subject:
    """A random model of a type, plain as transformers makes it, with the pairs of the patching benchmark."""
    known = subjects.tiny() if quick else subjects.smollm2()
    tokenizer, many = known.tokenizer, known.many[:MANY]
    del known

    def copy() -> Any:
        return random_models.make(name, len(tokenizer) if quick else None)

    model = copy()
    model.tokenizer = tokenizer
    pairs = {"late": subjects.LATE, "early": subjects.EARLY}
    return Subject(f"random {name}", model, tokenizer, copy, pairs, many)


@dataclass
class Case:
    """A type's sweep of one pair, layer by position: ours and TransformerLens' times, and how far their numbers differ.

    Attributes:
        ours: round after round, a run of ours. cell: round after round, what a cell of TransformerLens' takes. cache:
            its clean run. gap: the largest difference over all cells, as a share of the largest effect.
    """

    name: str
    pair: str
    ours: list[list[Took]] = field(default_factory=list)
    cell: list[Took] = field(default_factory=list)
    cache: Took = (0.0, 0.0)
    cells: int = 0
    gap: float = 0.0
    path: str = ""

    def ratio(self, clock: int = 0) -> float:
        """Whole against whole, by the clock or (1) by the processor's time: the median over the rounds."""
        whole = [self.cache[clock] + self.cells * cell[clock] for cell in self.cell]
        return median([w / median([o[clock] for o in ours]) for w, ours in zip(whole, self.ours)])


def measured(case: Case, subject: Subject, peer: CellByCell, rounds: int) -> None:
    """Fills a case."""
    pair = subject.pairs[case.pair]
    encoded = lens.encode(subject.tokenizer, pair)
    task = Task(encoded.clean_ids[None], encoded.corrupted_ids[None], encoded.answer_ids[0], encoded.foil_ids[0])

    def ours() -> Any:
        return lens.patch(subject.bridge, pair, **OURS["resid"])

    with torch.no_grad():
        first = ours()  # warms up, and gives the numbers
        value, corrupted = first.value.values.astype(np.float64), float(first.corrupted)
        case.path, case.cells = lens.record(first)["engine"]["name"], value.size
        largest = np.abs(value - corrupted).max()
        peer.cache(task, "resid")
        case.cache, cache = timed(lambda: peer.cache(task, "resid"))
        order = np.random.default_rng(0).permutation(value.size)
        for share in np.array_split(order, rounds):
            layer, position = np.unravel_index(share, value.shape)
            cells = pd.DataFrame({"layer": layer, "pos": position})
            taken = [timed(ours)[0] for _ in range(AROUND)]
            took, theirs = timed(lambda cells=cells: peer.cells(task, cache, cells))
            taken += [timed(ours)[0] for _ in range(AROUND)]
            case.ours.append(taken), case.cell.append((took[0] / len(share), took[1] / len(share)))
            difference = np.abs(np.asarray(theirs, dtype=np.float64) - value[layer, position]).max()
            case.gap = worst(case.gap, float(difference / largest))
            say(f"{case.name}, {case.pair}: {len(case.cell)} of {rounds} shares, ratio so far {case.ratio():.0f}")


def memory_of(subject: Subject) -> dict[str, float]:
    """MiB that each sweep adds at its highest, `memory_mb` left at its default; before any peer is there."""
    calls = {"late": ("late", "resid"), "early": ("early", "resid"), "heads": ("early", "heads")}
    # the check of the model, and weights that are read for the first time, are not the sweep's
    lens.patch(subject.bridge, subject.pairs["late"], layers=[-1], progress=False)
    out = {}
    for name, (pair, grid) in [*calls.items(), ("many", ("many", "resid"))]:
        with machine.peak_memory() as peak:
            lens.patch(subject.bridge, subject.many if pair == "many" else subject.pairs[pair], **OURS[grid])
        out[name] = peak.extra_mb
    return out


def at_the_wall(quick: bool, runs: int) -> tuple[float, float]:
    """Of a Llama's four walks: operations that they need over the time that they take, as a fraction of the rate of a
    matrix product in between; and that rate, in GFLOP/s.
    """
    subject, gemm, flop, seconds = subject_of("llama", quick), [], 0, 0.0
    size = 256 if quick else machine.GEMM_SIZE
    for pair in ("late", "early"):
        encoded = lens.encode(subject.tokenizer, subject.pairs[pair])
        for grid in ("resid", "heads"):
            taken = []
            for run in range(runs + 1):
                gemm.append(machine.gemm_rate(size))
                with _walks() as walks:
                    lens.patch(subject.bridge, subject.pairs[pair], **OURS[grid])
                taken += [sum(walks)] if run else []  # the first warms up
            flop += sweep_flop(subject.bridge.config, grid, encoded.clean_ids.tolist(), encoded.corrupted_ids.tolist())
            seconds += median(taken)
    return flop / seconds / 1e9 / median(gemm), median(gemm)


def of_type(name: str, pairs: tuple[str, ...], *, rounds: int, quick: bool) -> tuple[list[Case], dict[str, float]]:
    """A type's cases, one a pair, and the memory of its sweeps.

    Raises: what a sweep raises that has no room: a machine without memory for two copies of the model.
    """
    subject = subject_of(name, quick)
    memory = memory_of(subject)
    cases = [Case(name, pair) for pair in pairs]
    try:
        peer = CellByCell(subject.copy(), subject.tokenizer)
    except ERRORS:
        say(f"{name}: no room for TransformerLens' copy of the model")
        raise
    for case in cases:
        measured(case, subject, peer, rounds)
    return cases, memory
