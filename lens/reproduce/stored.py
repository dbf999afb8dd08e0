"""Runs that are stored: where they lie, what they cost, and which numbers of another run leave their intervals.

    python -m lens.reproduce.stored build/reproduce/quick notebooks/results/quick

stores of each run its record and its table of claims, without what they were made from: enough to compare another run
of the same configuration with.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from .. import files, reading
from .claims import effect
from .errors import ReproduceError
from .records import RECORD

#: names a folder of stored runs
RESULTS = "MNEMOSCOPE_RESULTS"
#: an entry of a record that was stored without what its numbers were made from
ALONE = "record_alone"


@dataclass(frozen=True)
class Stored:
    """A run that lies in a folder, with its record."""

    folder: Path
    record: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"Stored({self.record.get('reproduction')!r}, preset {self.preset}, in {self.folder})"

    @property
    def preset(self) -> str:
        """Of the run; records of the first schema do not name it."""
        return str(self.record.get("preset") or "not noted")


def places() -> list[Path]:
    """Where stored runs are looked for: the folder that the environment names, and those of a clone."""
    named = [Path(os.environ[RESULTS])] if os.environ.get(RESULTS) else []
    clone = Path(__file__).parents[2] / "notebooks" / "results"
    return [place for place in dict.fromkeys([*named, clone]) if place.is_dir()]


def runs(name: str, folders: Sequence[Path] | None = None) -> Iterator[Stored]:
    """The runs of a study below some folders (None: `places`); a record that cannot be read is passed over."""
    for place in places() if folders is None else folders:
        for file in sorted(place.rglob(RECORD)):
            try:
                record = reading.json_file(file, ReproduceError)
            except ReproduceError:
                continue
            if record.get("reproduction") == name:
                yield Stored(file.parent, record)


def same(name: str, record: Mapping[str, Any], folders: Sequence[Path] | None = None) -> Stored | None:
    """The stored run of the same configuration as a record's: same preset, data, seed and weights."""
    return next((one for one in runs(name, folders) if one.record.get("fingerprint") == record["fingerprint"]), None)


def store_records(home: Path, into: Path) -> list[Path]:
    """Stores the record and the table of every run below a folder in one of the same name each.

    Returns the folders. Raises: ReproduceError: there is no run, or a damaged one.
    """
    done = []
    for file in sorted(home.rglob(RECORD)):
        record = reading.json_file(file, ReproduceError)
        folder, table = into / file.parent.relative_to(home), file.parent / "table.csv"
        if not table.is_file():
            raise ReproduceError(f"home: {file.parent} has no table.csv; run `lens reproduce` to its end first.")
        files.make_folder(folder)
        files.write_all({folder / "table.csv": table.read_text(encoding="utf-8")})
        files.write_json(folder / RECORD, record | {ALONE: True})
        done.append(folder)
    if not done:
        raise ReproduceError(
            f"home: {home} holds no run; expected folders with a {RECORD}, as `lens reproduce all` writes."
        )
    return done


def outside(numbers: Mapping[str, Any], stored: Mapping[str, Any], effects: Iterable[str] = ()) -> pd.DataFrame:
    """The numbers of a run that lie outside the interval that a stored run has for them: number, here, stored, low,
    high. Compared are the effects that are named, and whatever stands with its bounds; a number that the stored run has
    no interval for is not.
    """
    bounded = [
        name
        for name, value in stored.items()
        if f"{name}_low" in stored or (isinstance(value, Mapping) and {"estimate", "low", "high"} <= set(value))
    ]
    lines = []
    for name in dict.fromkeys([*effects, *bounded]):
        here = {each.name: each.estimate for each in effect(numbers, name)}
        for there in effect(stored, name):
            value = here.get(there.name)
            if value is not None and not there.low - 1e-12 <= value <= there.high + 1e-12:
                full = name if there.name == name else f"{name.partition('/')[0]}/{there.name}"
                lines.append((full, value, there.estimate, there.low, there.high))
    return pd.DataFrame(lines, columns=["number", "here", "stored", "low", "high"])


def main(arguments: list[str] | None = None) -> None:
    """Stores the records of runs, from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m lens.reproduce.stored",
        description="Store of each run below a folder its record and its table of claims.",
    )
    parser.add_argument("home", type=Path, help="where `lens reproduce all` wrote")
    parser.add_argument("into", type=Path, help="the folder for the records, a folder each")
    asked = parser.parse_args(arguments)
    for folder in store_records(asked.home, asked.into):
        print(folder)


if __name__ == "__main__":
    main()
