"""Odd arguments for public functions: each is refused by the package's own error that names it, or taken for it fits.

    python -m tests.fuzz                                # every family, every value
    python -m tests.fuzz --family patching --values 20  # twenty values an argument, drawn by the seed
    python -m tests.fuzz --quick                        # the preset of the tests
    python -m tests.fuzz --part 1/4                     # a quarter of the inputs

A family's functions are in `tests/fuzz/subjects/<family>.py`: a small call of each that works. One argument at a time
is replaced by a bad value (`values.py`); a worker
(`worker.py`) calls, at most 20 s a call; the outcome is judged (`judge.py`). The last line is the figures as JSON.

A new subject:

    # tests/fuzz/subjects/patching.py
    def subjects():
        yield Subject("patch", lens.patch, lambda: dict(model=model(), pairs=pairs(), progress=False))
        yield Subject("edited", lens.edited, lambda: {"model": model(), "*edits": [edit()]}, use=enter)

`use` is what is done with what comes back (a with block entered, an iterator run through); `leave` names arguments
that are not replaced, with the reason beside it.
"""

from .running import run

__all__ = ["run"]
