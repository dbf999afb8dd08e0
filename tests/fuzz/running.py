"""A run: a worker a family, forked from a process that has loaded the package, started again after a call that does
not end, and the figures of all that it answered.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from multiprocessing import get_context
from typing import Any

from . import worker
from .judge import OUTCOMES

#: A call without an answer after so many seconds is a hang.
LIMIT_SECONDS = 20
#: For imports, models and the calls that work.
START_SECONDS = 600
#: Values an argument in the preset of the tests.
QUICK = 3
_context = get_context("forkserver")


def run(
    *,
    families: list[str] | None = None,
    seed: int = 0,
    values: int | None = None,
    part: str = "1/1",
    limit: float = LIMIT_SECONDS,
    beside: str | None = None,
    say: Any = None,
) -> dict[str, Any]:
    """Calls every subject of the families with bad values.

    Args:
        families: modules of `tests.fuzz.subjects`; None for all.
        values: of each argument; None for all that there are.
        part: "2/4": the second quarter of the inputs.
        beside: a folder with modules of further families.
        say: called with a line of text now and then.

    Returns: `bad_inputs`, `raw_error_fraction` (neither the package's error nor a TypeError or ValueError that
    names the argument; of all inputs), `own_and_named_fraction` (of the
        refusals), `hangs`, `accepted`, `seed`; `by_function`: (family, function) -> outcomes; `faults`: what
        was raw, unnamed or hung; `broken`: calls that should work and do not.
    """
    from .subjects import families as known

    say = say or (lambda text: None)
    counts: dict[tuple[str, str], Counter] = {}
    faults: list[dict[str, Any]] = []
    broken: list[str] = []
    for family in families or known():
        for answer in _answers(limit, beside, family, seed, values, part):
            if "broken" in answer:
                broken.append(f"{family}.{answer['broken']}: {answer['error']}")
                continue
            counts.setdefault((family, answer["function"]), Counter())[answer["outcome"]] += 1
            if answer["outcome"] in ("raw", "hang", "own_unnamed", "builtin_named"):
                faults.append({"family": family, **answer})
        mine = sum((c for (f, _), c in counts.items() if f == family), Counter())
        say(f"{family}: {sum(mine.values())} inputs, " + ", ".join(f"{mine[o]} {o}" for o in OUTCOMES if mine[o]))
    return figures(counts) | {"seed": seed, "by_function": counts, "faults": faults, "broken": broken}


def figures(counts: dict[Any, Counter]) -> dict[str, Any]:
    whole = sum(counts.values(), Counter())
    n, refused = sum(whole.values()), sum(whole.values()) - whole["accepted"] - whole["hang"]
    return {
        "bad_inputs": n,
        "raw_error_fraction": round((whole["raw"] + whole["hang"]) / max(1, n), 5),
        "own_and_named_fraction": round(whole["own_named"] / max(1, refused), 5),
        "hangs": whole["hang"],
        "accepted": whole["accepted"],
    }


def _answers(limit: float, beside: str | None, family: str, *asked_of: Any):
    """What the workers of a family answered, call by call."""
    start, total = 0, None
    while total is None or start < total:
        worker = _Worker(beside, family, *asked_of, start)
        try:
            asked = None
            while True:
                line = worker.next(limit if asked else START_SECONDS)
                if line is None:
                    if asked is None:
                        raise RuntimeError(f"the worker of {family} did not begin: {worker.last}")
                    # it hung, or it died: of memory, or of a crash beneath
                    yield {
                        **asked,
                        "outcome": "hang" if worker.alive else "raw",
                        "error": "no answer" if worker.alive else "the process died",
                    }
                    start = asked["begin"] + 1
                    break
                if "broken" in line:
                    yield line
                elif "total" in line:
                    total = line["total"]
                elif "begin" in line:
                    asked = line
                elif "end" in line:
                    yield {**asked, **line}
                    start = line["end"] + 1
                elif "finished" in line:
                    return
        finally:
            worker.close()


class _Worker:
    def __init__(self, *asked: Any):
        # what it leaves when it is killed goes with the folder
        self.folder = tempfile.TemporaryDirectory(prefix="fuzz-", ignore_cleanup_errors=True)
        _context.set_forkserver_preload([f"{__package__}.imports"])
        self.answers, there = _context.Pipe(duplex=False)
        self.process = _context.Process(target=worker.main, args=(self.folder.name, there, *asked))
        self.process.start()
        there.close()
        self.last: Any = None

    @property
    def alive(self) -> bool:
        return self.process.is_alive()

    def next(self, seconds: float) -> dict[str, Any] | None:
        """What it says next; None where it says nothing, or has ended."""
        try:
            if not self.answers.poll(seconds):
                return None
            self.last = self.answers.recv()
        except EOFError:
            self.process.join()
            return None
        return self.last

    def close(self) -> None:
        self.process.kill()
        self.process.join()
        self.answers.close()
        self.folder.cleanup()
