"""Processes that write results and may be killed, forked from one that has imported what they need."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["lens.results.opening", "lens.results.saving", "lens.results.store"])


def _run(folder: Path, source: Path | None, body: str, says: Connection, names: dict[str, Any]) -> None:
    import signal
    import sys

    from lens import files
    from lens.results import opening, saving
    from lens.results.store import Store

    os.chdir(folder)
    seen = {
        "files": files,
        "opening": opening,
        "os": os,
        "saving": saving,
        "signal": signal,
        "Store": Store,
        "sys": sys,
    }
    ds = opening.open_result(source) if source else None
    exec(body, seen | {"Path": Path, "ds": ds, "say": says.send} | names)


class Child:
    """A process in ``folder`` that runs ``body`` with the result in ``source`` at hand as ``ds``; what it hands to
    ``say`` is what ``heard`` returns.
    """

    def __init__(self, folder: Path, source: Path | None, body: str, **names: Any):
        self._hears, says = _CONTEXT.Pipe(duplex=False)
        self._process = _CONTEXT.Process(target=_run, args=(folder, source, body, says, names))
        self._process.start()
        says.close()

    def heard(self) -> Any:
        """What it says next; EOFError where it ended without."""
        return self._hears.recv()

    def kill(self) -> None:
        """Ends it at once."""
        self._process.kill()

    def ended(self, timeout: float = 60) -> int | None:
        """Its exit code, negative for a signal; None while it runs on."""
        self._process.join(timeout)
        return self._process.exitcode
