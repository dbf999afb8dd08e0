"""How long a slider waits for its answer: `python -m benchmarks latency`.

From the message of a move to the published answer, in the kernel (the browser's part is not in it): the injection view
with a prompt of 16 tokens and an answer of three, the vector view with 16 bare prompts, moves over layers and
strengths.
"""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from lens import files

from . import machine
from .subjects import embedded
from .tables import number, rounded, say, table

PROMPT = "The capital of the country in which the river Seine meets the sea is"
#: Seconds that the 95th percentile of a move should stay below.
TARGETS = {"injection_move_p95": 0.4, "vector_move_p95": 0.3}
#: Seconds after which a move counts as not answered.
LONGEST = 60


def moved(view: Any, moves: int) -> list[float]:
    """Seconds from each of some moves to its answer.

    Raises: TimeoutError: a move without an answer, or with the answer of another one.
    """
    seconds, published, layers = [], threading.Event(), view.model.cfg.n_layers
    view.observe(lambda _: published.set(), "live")
    try:
        for k in range(moves):
            published.clear()
            layer, strength = (7 * k) % layers, (k - 8) / 4 + 0.1
            began = time.perf_counter()
            view._on_message(view, {"type": "move", "fields": {"layer": layer, "strength": strength}}, [])
            if not published.wait(LONGEST):
                raise TimeoutError(f"move {k} of {type(view).__name__} had no answer within {LONGEST} s.")
            seconds.append(time.perf_counter() - began)
            if view.live["fields"]["layer"] != layer or not view.wait(LONGEST):
                raise TimeoutError(
                    f"move {k} of {type(view).__name__} to layer {layer} was answered by layer"
                    f" {view.live['fields']['layer']}."
                )
    finally:
        view.unobserve_all("live")
    return seconds


def views(model: Any) -> dict[str, Any]:
    """Both views, ready to be moved."""
    import widgets

    injection = widgets.InjectionBench(model, PROMPT, "France", " Le Havre")
    vector = widgets.VectorBench(model, "present_past", shots=3, mean_prompts=4, trials=2)
    for view in (injection, vector):
        if not view.wait(300):
            raise TimeoutError(f"{type(view).__name__} did not become ready.")
    vector.run(wait=True)
    if vector.status != "complete":
        raise RuntimeError(f"VectorBench ended as {vector.status}: {vector.error}")
    return {"injection": injection, "vector": vector}


def run(*, quick: bool, repeats: int, file: Path | None) -> int:
    """Prints the table and, last, one JSON line of the medians over rounds; 0 always: the figures are looked at, not
    asserted.
    """
    machine.set_threads()
    watch, rounds = machine.Watch(), {}
    ready = views(embedded().bridge)
    for round_ in range(repeats):
        for name, view in ready.items():
            say(f"round {round_ + 1} of {repeats}: {name}")
            rounds.setdefault(name, []).append(moved(view, 5 if quick else 40))
    line: dict[str, Any] = {}
    for name, times in rounds.items():
        for p in (50, 95):
            line[f"{name}_move_p{p}"] = float(np.median([np.percentile(each, p) for each in times]))
    rows = [
        ("figure", "seconds", "should be"),
        *((key, number(value), f"below {TARGETS[key]:g}" if key in TARGETS else "") for key, value in line.items()),
    ]
    print(table(rows, left=1))
    if file is not None:
        files.write_json(file, rounded({"seconds": rounds}))
    print(
        json.dumps(
            rounded(
                line | {"moves": sum(map(len, next(iter(rounds.values())))), "quick": quick, "machine": watch.end()}
            )
        )
    )
    return 0
