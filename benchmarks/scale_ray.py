"""How much faster two Ray workers of one thread compute a sweep than one, the actors there and warm; and whether they
write the same store.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import lens

from . import machine
from .subjects import EARLY
from .tables import say

#: Seconds that one worker should take at least, and with `quick`.
SECONDS, QUICK = 60.0, 2.0


def subject(quick: bool) -> tuple[Any, list[lens.Pair]]:
    """A model, and pairs as they are swept, one after the other as often as is wanted."""
    if quick:
        from .subjects import tiny

        own = tiny()
        return own.bridge, list(own.pairs.values())
    return lens.load("smollm2", device="cpu"), [EARLY]


def same_store(one: Path, other: Path) -> bool:
    """Whether two stores hold the same files to the byte; but for the record of the run, which has its duration."""

    def content(store: Path) -> dict[str, bytes]:
        return {
            str(path.relative_to(store)): path.read_bytes()
            for path in store.rglob("*")
            if path.is_file() and path.parent != store
        }

    return content(one) == content(other)


def run(quick: bool) -> dict[str, Any]:
    """The figures `ray_two_workers` and `store_bytes_equal`, and the seconds that they are made of."""
    from lens.cluster import ClusterError, Ray

    model, pairs = subject(quick)
    folder = Path(tempfile.mkdtemp(prefix="scale_ray"))
    try:
        with Ray(workers=1) as one:
            # one pair for the rate; it also makes the actors and gives them the model
            lens.patch(model, pairs[:1], backend=one, progress=False)
            rate, _ = machine.timed(lambda: lens.patch(model, pairs[:1] * 2, backend=one, progress=False))
            many = [pairs[i % len(pairs)] for i in range(max(4, round(2.3 * (QUICK if quick else SECONDS) / rate)))]
            say(f"ray: one worker, {len(many)} pairs")
            alone, _ = machine.timed(
                lambda: lens.patch(model, many, backend=one, progress=False, store=folder / "one.zarr")
            )
        with Ray(workers=2) as two:
            lens.patch(model, many[: max(2, len(many) // 20)], backend=two, progress=False)
            say(f"ray: two workers, {len(many)} pairs")
            both, _ = machine.timed(
                lambda: lens.patch(model, many, backend=two, progress=False, store=folder / "two.zarr")
            )
        return {
            "ray_two_workers": alone / both,
            "store_bytes_equal": same_store(folder / "one.zarr", folder / "two.zarr"),
            "ray_pairs": len(many),
            "ray_seconds": {"one": alone, "two": both},
        }
    except ClusterError as error:
        return {"why": str(error)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
