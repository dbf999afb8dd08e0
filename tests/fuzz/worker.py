"""Calls functions with bad values, one after another, and says of each what became of it."""

from __future__ import annotations

import gc
import inspect
import os
import random
import resource
import tempfile
import warnings
from typing import Any

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


def main(
    folder: str, answers: Any, beside: str | None, family: str, seed: int, values: int | None, part: str, start: int
) -> None:
    """The whole of a process, whose own folder is `folder`: what becomes of each call is sent as it comes."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)

    def say(**what):
        answers.send(what)

    os.environ["MNEMOSCOPE_CACHE"] = os.path.join(folder, "cache")
    tempfile.tempdir = folder
    warnings.simplefilter("ignore")

    import torch

    from . import subjects as known
    from .judge import outcome
    from .subjects import subjects

    if beside is not None:
        known.__path__.append(beside)
    torch.set_num_threads(1)
    os.chdir(folder)
    todo = list(tasks(family, seed, values, tuple(map(int, part.split("/")))))
    if start == 0:
        for subject in subjects(family):
            try:
                subject.call()
            except BaseException as error:
                say(broken=subject.name, error=f"{type(error).__name__}: {error}")
    say(total=len(todo))
    in_use = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + MEMORY, in_use + MEMORY))
    for number, (subject, p, label, make) in enumerate(todo):
        if number < start:
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
