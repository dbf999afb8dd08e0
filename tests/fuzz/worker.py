"""Calls functions with bad values, one after another, and writes a line of JSON for each.

Called as `python -m tests.fuzz.worker family seed values part start`.
"""

from __future__ import annotations

import gc
import inspect
import json
import os
import random
import resource
import sys
import tempfile
import warnings

#: Memory that the calls may take beyond what is there when they begin.
MEMORY = 6 << 30


def tasks(family: str, seed: int, values: int | None, part: tuple[int, int]):
    """Every input of a family: subject, argument, label of the value, and what makes it."""
    from .subjects import subjects
    from .values import bad_values

    number = 0
    for subject in subjects(family):
        given = subject.arguments()
        for p in subject.parameters():
            example = given.get(p.name, None if p.default is inspect.Parameter.empty else p.default)
            for label, make in bad_values(
                p.name, p.annotation, example, random.Random(f"{seed} {family} {subject.name} {p.name}"), values
            ):
                number += 1
                if number % part[1] == part[0] % part[1]:
                    yield subject, p, label, make


def main(family: str, seed: str, values: str, part: str, start: str) -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)

    def say(**what):
        return answers.write(json.dumps(what) + "\n")

    sys.path.insert(0, os.getcwd())
    here = tempfile.TemporaryDirectory(prefix="fuzz-")
    os.environ["MNEMOSCOPE_CACHE"] = os.path.join(here.name, "cache")
    warnings.simplefilter("ignore")

    import torch

    from .judge import outcome
    from .subjects import subjects

    torch.set_num_threads(1)
    os.chdir(here.name)
    todo = list(tasks(family, int(seed), int(values) or None, tuple(map(int, part.split("/")))))
    if int(start) == 0:
        for subject in subjects(family):
            try:
                subject.call()
            except BaseException as error:
                say(broken=subject.name, error=f"{type(error).__name__}: {error}")
    say(total=len(todo))
    in_use = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + MEMORY, in_use + MEMORY))
    for number, (subject, p, label, make) in enumerate(todo):
        if number < int(start):
            continue
        say(begin=number, function=subject.name, argument=p.name, value=label)
        error = None
        try:
            subject.call(p, make())
        except BaseException as raised:
            error = raised
        try:
            text = "" if error is None else f"{type(error).__name__}: {error}"
        except Exception:
            text = type(error).__name__
        say(end=number, outcome=outcome(error, p.name), error=text[:400])
        error = None
        if number % 200 == 0:
            gc.collect()
    say(finished=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
