"""How much faster two workers of one thread score than one, through Ray: the driver and the start-up apart.

Each number of workers scores much and little. What is between the two times is scoring alone: connecting, starting
processes, handing over the model and hashing it cost the same in both.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

import lens
from lens import scoring

from . import machine
from .tables import median, say

#: Seconds that one worker's much should take beyond its little, and with `quick`.
SECONDS, QUICK = 600.0, 20.0
#: The share of the rows that is little.
LITTLE = 0.05
LENGTH = 200


def subject(quick: bool) -> tuple[Any, int]:
    """A model and the size of its vocabulary: the fetched default, or a small random one."""
    if quick:
        from .subjects import tiny

        model = tiny().bridge
        return model, int(model.original_model.config.vocab_size)
    return "smollm2", int(lens.load("smollm2", device="cpu").original_model.config.vocab_size)


def rows_of(n: int, vocabulary: int, length: int) -> np.ndarray:
    return np.random.default_rng(0).integers(1, vocabulary, (n, length))


def rate(model: Any, vocabulary: int, length: int, least: float = 4.0) -> float:
    """Rows a second in this process, with one thread; the last and longest call takes at least so many seconds."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        taken, n = [], 8
        while not taken or taken[-1][1] < least:
            began = time.perf_counter()
            scoring.score(model, rows_of(n, vocabulary, length), start=None, threads=1, progress=False)
            taken.append((n, time.perf_counter() - began))
            n *= 2
        # loading, and whatever else comes once, is in both of the last two
        (few, short), (many, long) = taken[-2:] if len(taken) > 1 else ((0, 0.0), taken[-1])
        return (many - few) / max(1e-9, long - short)
    finally:
        torch.set_num_threads(before)


def seconds(model: Any, rows: np.ndarray, workers: int) -> float:
    """Of one whole call. Raises RuntimeError where not every row was scored."""
    took, scores = machine.timed(
        lambda: scoring.score(model, rows, start=None, backend="ray", workers=workers, threads=1, progress=False)
    )
    if len(scores) != len(rows) or scores.about["status"] != "complete":
        raise RuntimeError(f"{len(scores)} of {len(rows)} rows were scored ({scores.about['status']})")
    return took


def speed_up(quick: bool = False, rounds: int = 1) -> dict[str, Any]:
    """The figure `ray_two_workers_scoring`, the seconds that it is made of, and the ratio of the whole calls."""
    model, vocabulary = subject(quick)
    length = 40 if quick else LENGTH
    per_second = rate(model, vocabulary, length, 0.2 if quick else 4.0)
    much = max(64, int((QUICK if quick else SECONDS) * per_second / (1 - LITTLE)))
    little = max(8, int(much * LITTLE))
    taken: dict[str, list[float]] = {}
    for round_ in range(rounds):
        for workers in (1, 2) if round_ % 2 == 0 else (2, 1):
            for name, n in (("little", little), ("much", much)):
                say(f"ray: {workers} workers, {n} rows")
                taken.setdefault(f"{name}_{workers}", []).append(
                    seconds(model, rows_of(n, vocabulary, length), workers)
                )
    of = {name: median(values) for name, values in taken.items()}
    scored = {workers: of[f"much_{workers}"] - of[f"little_{workers}"] for workers in (1, 2)}
    return {
        "ray_two_workers_scoring": scored[1] / scored[2] if scored[2] > 0 else None,
        "ray_two_workers_whole": of["much_1"] / of["much_2"],
        "ray_rows": {"much": much, "little": little, "tokens": length},
        "ray_seconds": taken,
    }
