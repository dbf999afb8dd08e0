"""What the machine does: its matrix-multiply rate, who else uses it, how much memory a call adds."""

from __future__ import annotations

import gc
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from lens.engine.memory import give_back

from .tables import say

GEMM_SIZE = 2048
#: Threads that every benchmark computes with, where there are as many cores.
THREADS = 2
#: Share of the cores used by others above which timings are not to be trusted.
BUSY = 0.10
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


def set_threads() -> None:
    torch.set_num_threads(min(THREADS, os.cpu_count() or 1))


@contextmanager
def settled() -> Iterator[None]:
    """What is there already is left out of Python's search for garbage in the block, so that the one before each timing
    takes milliseconds.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def timed(call: Callable):
    """`(seconds, result)` of one call."""
    gc.collect()
    began = time.perf_counter()
    result = call()
    return time.perf_counter() - began, result


def gemm_rate(size: int = GEMM_SIZE, repeats: int = 3) -> float:
    """GFLOP/s of a square float32 matrix product, `2 * size**3` operations each; the median of some."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    out, seconds = torch.empty(size, size), []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        torch.mm(a, b, out=out)
        seconds.append(time.perf_counter() - began)
    return 2 * size**3 / sorted(seconds[1:])[repeats // 2] / 1e9


class Bystanders:
    """The share of the machine's cores that other programs used since this was made; NaN where the system does not
    say.
    """

    def __init__(self):
        self.began, self.busy, self.own = time.perf_counter(), _busy_seconds(), _own_seconds()

    def share(self) -> float:
        wall = time.perf_counter() - self.began
        others = (_busy_seconds() - self.busy) - (_own_seconds() - self.own)
        return max(0.0, others) / (wall * (os.cpu_count() or 1))


def _busy_seconds() -> float:
    """Processor time that anybody used, stolen time included."""
    try:
        fields = [int(x) for x in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    except (OSError, ValueError):
        return float("nan")
    return (sum(fields) - fields[3] - fields[4]) / _TICKS


def _own_seconds() -> float:
    """Of this process and of those that it started and that have ended."""
    of = os.times()
    return of.user + of.system + of.children_user + of.children_system


def busy_share(seconds: float = 2.0) -> float:
    """The share of the cores that is in use while this process sleeps."""
    others = Bystanders()
    time.sleep(seconds)
    return others.share()


class Watch:
    """A run under watch: warns before it and at its end when other programs use more than `BUSY` of the cores."""

    def __init__(self):
        self.before = busy_share()
        if self.before > BUSY:
            say(
                f"warning: other programs use {self.before:.0%} of the cores (load {os.getloadavg()[0]:.1f}); these"
                " timings are not to be trusted"
            )
        self.others = Bystanders()

    def end(self) -> dict:
        """What the machine is, and the shares that others used."""
        during = self.others.share()
        if during > BUSY:
            say(
                f"warning: other programs used {during:.0%} of the cores during the run; these timings are not to be"
                " trusted"
            )
        return {**describe(), "others_before": self.before, "others_during": during}


def describe() -> dict:
    """The machine and the software that the numbers belong to."""
    import importlib.metadata as metadata

    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    versions = {}
    for name in ("torch", "transformers", "transformer-lens", "nnsight", "pyvene"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "simd": torch.backends.cpu.get_cpu_capability(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": versions,
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def _status_mb(field: str) -> float:
    for line in _lines("/proc/self/status"):
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    return float("nan")


class Peak:
    """Filled by `peak_memory`: `extra_mb`, the highest resident memory less that at the start, and `how` it was
    read.
    """

    extra_mb: float = float("nan")
    how: str = ""


@contextmanager
def peak_memory() -> Iterator[Peak]:
    """Measures how far a block raises this process's resident memory at its highest.

    The kernel's high-water mark is reset and read where that is allowed; elsewhere a thread reads the resident memory
    every 2 ms. Freed memory is given back to the system first, so that a call cannot hide in what an earlier one left.
    """
    peak = Peak()
    gc.collect()
    give_back()
    before = _status_mb("VmRSS")
    if _reset_high_water():
        peak.how = "high-water mark"
        yield peak
        peak.extra_mb = _status_mb("VmHWM") - before
        return
    peak.how = "sampled every 2 ms"
    highest, done = [before], threading.Event()

    def sample():
        while not done.wait(0.002):
            highest[0] = max(highest[0], _status_mb("VmRSS"))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()
        peak.extra_mb = max(highest[0], _status_mb("VmRSS")) - before


def _reset_high_water() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True
