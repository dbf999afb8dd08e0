"""Odd arguments, by the fuzzer, and damaged files: what is refused by an error of the library that names it, what ends
raw, and what never answers.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from . import _damage
from .tables import say

#: Seconds in which a file must be answered; and in which a process must have made the whole ones.
LIMIT, START = 60.0, 300.0
QUICK_KINDS, QUICK_FAMILIES = ("mask", "task", "CSV"), ["models"]
_context = get_context("forkserver")


@dataclass
class Files:
    """What became of the damaged files of a kind.

    `faults`: in words, each that is raw, unnamed or hung; `broken`: a whole file that was refused.
    """

    counts: Counter = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


def damaged(kind: str, limit: float = LIMIT) -> Files:
    """Reads every damaged file of a kind in a process of its own.

    Where it does not answer it is ended, and another begins at the next file.
    """
    found, begin = Files(), 0
    while begin is not None:
        with tempfile.TemporaryDirectory(prefix="mnemoscope-damaged-") as base:
            answers, there = _context.Pipe(duplex=False)
            process = _context.Process(
                target=_damage.run, args=(kind, str(Path(base) / kind), begin, there), daemon=True
            )
            process.start()
            there.close()
            begin = _followed(answers, found, limit, begin)
            process.kill()
            process.join()
    return found


def _followed(answers: Any, found: Files, limit: float, begin: int) -> int | None:
    """Takes the answers of a process; the number of the file to go on with, or None at the end."""
    at, what = None, ""
    while True:
        try:
            said, number, told, error = (
                answers.recv() if answers.poll(limit if at is not None else START) else ("hang", at, what, "")
            )
        except EOFError:
            said, number, told, error = "raw", at, what, "the process died"
        if said == "begin":
            at, what = number, told
            continue
        if said == "done":
            return None
        if number is None:
            found.broken.append(f"from file {begin} on: the process did not begin")
            return None
        if number == 0:
            if said != "accepted":
                found.broken.append(f"{told}: {said} {error}")
        else:
            found.counts[said] += 1
            if said not in ("accepted", "own_named"):
                found.faults.append(f"{said}: {told}: {error}")
        if said == "hang" or error == "the process died":
            return number + 1
        at = None


def feed(quick: bool = False, kinds: Iterable[str] | None = None) -> dict[str, Any]:
    """The figures of the part `inputs`, over arguments and files together, with each apart and the faults in words."""
    from tests.fuzz.running import QUICK as VALUES
    from tests.fuzz.running import figures
    from tests.fuzz.running import run as fuzz

    asked = list(kinds or (QUICK_KINDS if quick else _damage.kinds()))
    _context.set_forkserver_preload(["tests.fuzz.imports", "benchmarks._damage"])
    with ThreadPoolExecutor(2) as pool:
        files = dict(zip(asked, pool.map(damaged, asked)))
        say(f"inputs: {sum(sum(f.counts.values()) for f in files.values())} files are read; arguments")
        halves, values, families = (["1/4"], VALUES, QUICK_FAMILIES) if quick else (["1/2", "2/2"], None, None)
        made = list(pool.map(lambda part: fuzz(families=families, values=values, part=part), halves))
    counts: dict[Any, Counter] = {
        (half, *key): value for half, m in zip(halves, made) for key, value in m["by_function"].items()
    }
    arguments, of_files = figures(counts), figures({kind: f.counts for kind, f in files.items()})
    both = figures(counts | {("file", kind): f.counts for kind, f in files.items()})
    return {key: both[key] for key in ("bad_inputs", "raw_error_fraction", "own_and_named_fraction", "hangs")} | {
        "inputs_arguments": arguments,
        "inputs_files": of_files,
        "inputs_faults": [fault for m in made for fault in m["faults"]],
        "inputs_file_faults": [fault for f in files.values() for fault in f.faults],
        "inputs_broken": (
            [text for m in made for text in m["broken"]] + [text for f in files.values() for text in f.broken]
        ),
    }
