"""The record of a run, `reproduction.json`: what was run, on which weights and versions, its numbers, its cost."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import files, reading
from ..results.errors import ResultError
from ..results.record import _versions
from .errors import ReproduceError

RECORD = "reproduction.json"
#: of `reproduction.json`. 1: no number, no preset and no cost stood in it; it is read as well.
SCHEMA = 2


def write_record(
    folder: Path,
    name: str,
    fingerprint: str,
    config: Mapping[str, Any],
    numbers: Mapping[str, Any],
    provenance: Mapping[str, Any] | None = None,
    more: Mapping[str, Any] | None = None,
) -> None:
    """`reproduction.json`: what was run, on which weights (None: `config` says which), with which versions, the numbers
    of its table, and what else is given.
    """
    about = (
        {"versions": dict(_versions())}
        if provenance is None
        else {"model": provenance["model"], "versions": provenance["versions"]}
    )
    record = {
        "schema": SCHEMA,
        "reproduction": name,
        "fingerprint": fingerprint,
        "config": config,
        "numbers": finite(numbers),
        **about,
        **finite(more or {}),
    }
    files.write_json(folder / RECORD, record, default=float)


def finite(value: Any) -> Any:
    """A tree of numbers as JSON can hold it: what is no number or infinite becomes null."""
    if isinstance(value, Mapping):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [finite(v) for v in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return value


def read_record(folder: Path, name: str, model: Any = None, error: type[Exception] = ResultError) -> dict[str, Any]:
    """The record of a run that was written before; nothing in the folder is changed.

    Raises: `error`: the folder holds none, a damaged one, one of another study or of a later schema, or it was written
        with other weights than those of `model`.
    """
    if not (folder / RECORD).is_file():
        raise error(f"folder: {folder} holds no reproduction; run `python -m lens reproduce {name} --out {folder}`.")
    record = reading.json_file(folder / RECORD, lambda said: refused(error, folder, name, said))
    lacking = [key for key in ("reproduction", "fingerprint", "config", "numbers") if key not in record]
    if lacking:
        raise refused(error, folder, name, f"{folder / RECORD} lacks {', '.join(lacking)}")
    if wrong := [key for key in ("config", "numbers") if not isinstance(record[key], dict)]:
        raise refused(error, folder, name, f"{folder / RECORD} has {wrong[0]}={record[wrong[0]]!r}, expected an object")
    if record["reproduction"] != name:
        raise error(
            f"folder: {folder} holds a run of {record['reproduction']!r}, expected {name!r}; give the folder of that"
            " study."
        )
    schema = record.get("schema", 1)
    if schema not in range(1, SCHEMA + 1):
        raise error(
            f"folder: {folder / RECORD} has schema {schema!r}, this version reads 1 to {SCHEMA}; read it with the"
            " version that wrote it. Nothing was changed."
        )
    if model is not None and "model" in record:
        from ..models import same_weights

        if not same_weights(model, record["model"]["hash"]):
            raise error(
                f"folder: {folder} was made with {record['model']['name']} of other weights (hash"
                f" {record['model']['hash'][:12]}); run the reproduction again."
            )
    return record


def refused(error: type[Exception], folder: Path, name: str, said: str) -> Exception:
    """The error for a run that cannot be read, and what to do; whoever calls has changed nothing."""
    return error(
        f"folder: {said}; nothing was changed; run `python -m lens reproduce {name} --out {folder}` again: it reads"
        " what is whole and computes the rest."
    )


@dataclass(frozen=True)
class Cost:
    """What a run has taken, over all calls that took it up: seconds, the most memory of a process in MiB (None: the
    system does not tell), how many cores the machine has, and seconds of its processors, of every thread and of
    processes that have ended, which other work on the machine prolongs less (None: not counted, as of Ray's workers).
    """

    seconds: float = 0.0
    peak_mb: float | None = None
    cores: int | None = None
    processor: float | None = None

    @classmethod
    def read(cls, folder: Path) -> Cost:
        """The cost of a run's folder; nothing where none is written or it is damaged."""
        try:
            return cls.of({"cost": reading.json_file(folder / "cost.json", ReproduceError)})
        except (ReproduceError, OSError):
            return cls()

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Cost:
        """The cost that a run's record has, as `Cost.read`; what a later version counts beside it is passed over."""
        cost = record.get("cost") or {}
        try:
            return cls(float(cost["seconds"]), cost["peak_mb"], cost["cores"], cost.get("processor"))
        except (AttributeError, KeyError, TypeError, ValueError):
            return cls()

    def more(self, seconds: float, processor: float | None) -> Cost:
        """With the seconds of another call, and this process's memory; `processor`: None, where not all is counted."""
        peaks = [peak for peak in (self.peak_mb, _peak_mb()) if peak is not None]
        before = self.processor if self.seconds else 0.0
        return Cost(
            round(self.seconds + seconds, 1),
            max(peaks, default=None),
            os.cpu_count(),
            None if before is None or processor is None else round(before + processor, 1),
        )

    @property
    def text(self) -> str:
        """In words; nothing where nothing was measured."""
        if not self.seconds:
            return ""
        processor = f" ({self.processor / 60:.1f} of a processor)" if self.processor else ""
        memory = f", {self.peak_mb:.0f} MiB" if self.peak_mb else ""
        return f"{self.seconds / 60:.1f} min{processor}{memory} on {self.cores} cores"

    @staticmethod
    def processor_seconds() -> float:
        """Of this process, its threads and its children that have ended."""
        return sum(os.times()[:4])

    def write(self, folder: Path) -> None:
        """As `cost.json` in the folder."""
        files.write_json(folder / "cost.json", asdict(self))


def _peak_mb() -> float | None:
    try:
        import resource
    except ImportError:  # only where there is no POSIX
        return None
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10), 1)
