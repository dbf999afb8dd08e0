"""Stored runs judged again: their tables of claims and numbers, made from what is stored by today's rules.

    python -m lens.reproduce.again notebooks/results

Nothing is run. Configuration, fingerprint, weights and versions in a run's record stay those of the run.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from .. import files, reading
from ..results.errors import ResultError
from . import REPRODUCTIONS, reproduction, stored
from .records import RECORD, finite


def again(folder: Path, say: Callable[[str], None] = lambda line: None) -> list[Path]:
    """Every run below a folder: `table.csv` and the numbers of `reproduction.json` written anew. Runs of which these
    two alone are stored stay as they are.

    Returns the runs' folders.
    """
    folders = []
    for file in sorted(folder.rglob(RECORD)):
        record = reading.json_file(file, ResultError)
        if record.get("reproduction") not in REPRODUCTIONS or record.get(stored.ALONE):
            continue
        result = reproduction(record["reproduction"]).load(file.parent)
        tables = {"table": result.table}
        for name in ("chosen", "survival"):
            if (file.parent / f"{name}.csv").is_file() and getattr(result, name, None) is not None:
                tables[name] = getattr(result, name)
        files.write_all({file.parent / f"{name}.csv": table.to_csv(index=False) for name, table in tables.items()})
        files.write_json(file, record | {"numbers": finite(result.numbers)}, default=float)
        say(f"{file.parent}: {len(result.table)} rows")
        folders.append(file.parent)
    return folders


def main(arguments: list[str] | None = None) -> None:
    """Judges stored runs again, from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m lens.reproduce.again",
        description="Judge stored runs again, by today's rules, from what they stored.",
    )
    parser.add_argument("folder", type=Path, help="where runs lie, each in a folder with its reproduction.json")
    again(parser.parse_args(arguments).folder, print)


if __name__ == "__main__":
    main()
