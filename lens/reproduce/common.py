"""What every study shares: words of verdicts, how an interval is printed, steps and tables that a killed run finds
again, in a folder with the hash of its configuration.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats as scipy_stats

from .. import files, locks, stats
from ..cluster import run_jobs
from ..models.hash import older
from ..results import dataset as results
from ..results.errors import ResultError
from ..results.opening import open_result
from ..results.saving import export

#: a function of a bench, and of more
Make = TypeVar("Make", bound=Callable[..., Any])
COLUMNS = ["claim", "paper", "here", "n", "multiplicity", "verdict"]
#: of a row that is judged by its own interval or p alone; of one of whose parts every one has to hold (no correction is
#: needed); of one that claims nothing
ALONE, EVERY, NOT_JUDGED = "alone", "alone (every part must hold)", "not judged"
NO_CLAIM = ("descriptive", "reported", "no claim", "not judged", "not measured", "not tested", "a demonstration")


def verdict(
    holds: bool, fails: bool, instead: str = "", part: bool = False, otherwise: str = "the interval holds 0"
) -> str:
    """The word of a verdict; `instead` is what was seen in place of a claim that does not hold, `otherwise` why nothing
    is shown.
    """
    word = "holds in part" if part else "does not hold" if fails else f"not shown: {otherwise}"
    return "holds" if holds else f"{word}; {instead}" if instead else word


def digest_of(given: Any, length: int = 32) -> str:
    """A hash of what a run was given, as its configuration has it: texts, questions, pairs as JSON."""
    return hashlib.sha256(json.dumps(given).encode()).hexdigest()[:length]


def clear_of(interval: Any, null: float = 0.0, *, more: bool = True) -> str:
    """The word of a claim that a value is more (or less) than ``null``, by its interval; where there is none, why."""
    low, high = float(interval.low), float(interval.high)
    if not np.isfinite([low, high]).all():
        return f"not shown: {interval.method}"
    above, below = low > null, high < null
    return verdict(above if more else below, below if more else above, otherwise=f"the interval holds {null:g}")


def every(words: Sequence[str]) -> str:
    """The word of a claim of which every part must hold, by the words of its parts."""
    if all(word == "holds" for word in words):
        return "holds"
    if any(word.startswith("does not") for word in words):
        return next(word for word in words if word.startswith("does not"))
    return "holds in part" if "holds" in words else words[0]


def several(count: int, unit: str) -> str:
    """So many of a unit, in words."""
    return f"{count} {unit}{'' if count == 1 else 's'}"


def shown(interval: Any, digits: int = 2, sign: bool = False) -> str:
    """An interval as `estimate [low, high]`, or without bounds where it has none; `sign` writes a plus before what is
    not negative.
    """
    form = f"{'+' if sign else ''}.{digits}f"
    return f"{float(interval.estimate):{form}} {bounds(interval.low, interval.high, form)}"


def bounds(low: float, high: float, form: str = ".2f") -> str:
    """Bounds as `[low, high]`, each in a format; that there is no interval where both are NaN."""
    if math.isnan(low) and math.isnan(high):
        return "(no interval)"
    return f"[{float(low):{form}}, {float(high):{form}}]"


def columns(name: str, interval: Any, prefix: str = "") -> dict[str, float]:
    """An estimate and its bounds as columns of a table: of that name, `low` and `high`."""
    bounds = {f"{prefix}low": float(interval.low), f"{prefix}high": float(interval.high)}
    return {name: float(interval.estimate)} | bounds


def mean_interval(values: Any, seed: int = 0) -> stats.Interval:
    """The mean over independent units with the interval that claims follow (`lens.stats.means`); NaN is left out, and
    too few values have no bounds.
    """
    x = np.asarray(values, float)
    x = x[np.isfinite(x)]
    if len(x) < 2:
        return stats.Interval(float(x[0]) if len(x) else np.nan, np.nan, np.nan, 0.95, len(x), "no interval")
    return stats.mean_interval(x, values="number", seed=seed)


def student(values: Any) -> stats.Interval:
    """The mean over few units with Student's t: of six tasks or four repeats, whose differences are nearly normal, it
    covers what it says (accuracies .95, skewed values .90), and resamples of so few say nothing. NaN is left out; fewer
    than two values, or values that are all equal, have no bounds.
    """
    x = np.asarray(values, float)
    x = x[np.isfinite(x)]
    mean = float(x.mean()) if len(x) else np.nan
    if len(x) < 2 or not np.ptp(x) > 0:
        return stats.Interval(mean, np.nan, np.nan, 0.95, len(x), "no interval")
    half = float(scipy_stats.t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / len(x) ** 0.5)
    return stats.Interval(mean, mean - half, mean + half, 0.95, len(x), "Student's t")


def matching(frame: pd.DataFrame, **where: Any) -> pd.DataFrame:
    """The rows of a table whose columns have these values."""
    for column, value in where.items():
        frame = frame[frame[column] == value]
    return frame


def by_group(
    table: pd.DataFrame, by: Sequence[str], line: Callable[[pd.DataFrame], Mapping[str, Any] | None]
) -> pd.DataFrame:
    """One line a group of rows, in their order: the columns that they are grouped by, and those that `line` makes; none
    of a group of which it makes None.
    """
    made = ((key, line(of)) for key, of in table.groupby(list(by), sort=False))
    return pd.DataFrame([dict(zip(by, key)) | dict(of) for key, of in made if of is not None])


def table_of(rows: Sequence[tuple]) -> pd.DataFrame:
    """Rows (claim, paper, here, n, verdict) as the table *claim | paper | here | n | multiplicity | verdict*.

    A sixth cell says what a row was corrected for, such as "Holm over 16"; without one it is judged alone, or not at
    all. `multiplicity` says it of the whole table. Rows of `claims.Claims.row` have three cells more, the claim's key,
    the names of its effects and their value without the claim, which stand in `attrs["claims"]`.
    """
    table = pd.DataFrame([(*row[:4], _looks(*row[4:6]), row[4]) for row in rows], columns=COLUMNS)
    table.attrs["claims"] = [list(row[6:9]) for row in rows]
    return table


def _looks(word: str, told: str = ALONE) -> str:
    return NOT_JUDGED if str(word).startswith(NO_CLAIM) else told


def multiplicity(table: pd.DataFrame) -> str:
    """What a table of claims says of its many looks: how many rows are judged, which are corrected together, and how
    many are judged alone.
    """
    of = table.multiplicity.value_counts(sort=False)
    alone = int(sum(count for name, count in of.items() if name.startswith(ALONE)))
    kinds = [
        f"{name} ({several(count, 'row')})"
        for name, count in of.items()
        if not name.startswith(ALONE) and name != NOT_JUDGED
    ]
    judged = int(of.sum() - of.get(NOT_JUDGED, 0))
    return (
        f"Multiplicity: {judged} of {len(table)} rows are judged. Corrected together: {'; '.join(kinds) or 'none'}."
        f" Judged alone, each at 5 %: {alone} (of so many true nulls {0.05 * alone:.1f} would be called by chance)."
    )


class Steps:
    """The steps of a run: each is a Dataset, kept under its name; a killed run finds those that were done.

    Args:
        folder: where `<name>.nc` files go (a name may hold slashes); None keeps everything in memory.
        config: what the steps depend on; its hash stands in `config.json`.
        classic: whether files are NetCDF 3: for hundreds of small ones, see `lens.export`.

    Raises: ResultError: the folder holds the steps of another configuration (the message lists what differs).
    """

    def __init__(self, folder: Path | None, config: Mapping[str, Any], *, classic: bool = False):
        self.classic, self.folder = classic, folder
        self.config = json.loads(json.dumps(results._plain(dict(config), "config")))
        self.fingerprint = results.fingerprint({"kind": "reproduction", **self.config})
        self.held: dict[str, xr.Dataset] = {}
        if folder is None:
            return
        file = folder / "config.json"
        # empty: what a full disk once left
        locks.in_turn(file, lambda: file.stat().st_size == 0 and files.write_json(file, self.config))
        with contextlib.suppress(FileExistsError):  # of an earlier run, or of one that began meanwhile
            if not file.is_file():
                files.write_json(file, self.config, parents=True, new=True)
        other = _read_config(file)
        if other != self.config and other == older(self.config):
            self.config = other
            self.fingerprint = results.fingerprint({"kind": "reproduction", **other})
        if other != self.config:
            keys = sorted(k for k in {*other, *self.config} if other.get(k) != self.config.get(k))
            differ = "; ".join(f"{k}: {_short(other.get(k))} there, {_short(self.config.get(k))} asked" for k in keys)
            raise ResultError(
                f"out: {folder} holds a run of another configuration ({differ}); choose another folder, or remove that"
                " one."
            )

    def kept(
        self, name: str, make: Callable[[], xr.Dataset], light: Callable[[xr.Dataset], xr.Dataset] = lambda ds: ds
    ) -> xr.Dataset:
        """The step `name`: read where it was done before, else made, passed through `light` (what need not be stored
        goes) and written.

        Raises: KeyboardInterrupt: the step was stopped on the way; what is whole stays.
        """
        if name in self.held:
            return self.held[name]
        path = None if self.folder is None else self.folder / f"{name}.nc"
        if path is not None and path.is_file():
            ds = open_result(path)
        else:
            whole = make()
            record = results.provenance(whole)
            if record["status"] != "complete":
                raise KeyboardInterrupt(f"stopped in {name}; run the same command again to go on")
            ds = results.stamp(light(whole), record)
            if path is not None:
                # a second process that runs the same in this folder writes equal steps; whoever is later replaces them
                # by equal ones
                export(_compact(ds), path, overwrite=True, classic=self.classic)
                ds = open_result(path)  # what a later run will read is what this one goes on with
        self.held[name] = ds
        return ds

    def all(
        self, makers: Mapping[str, Callable[[], xr.Dataset]], *, backend: Any = "local", workers: int = 2
    ) -> list[xr.Dataset]:
        """Steps that do not need each other, in their order, each kept as it is made; on Ray several at once, see
        `lens.patch`.

        Raises: ClusterError: a step that cannot be sent to a worker, or of which workers die.
        """
        missing = [name for name in makers if name not in self.held and not self._file(name)]
        jobs = [(f"it made the step {name}", makers[name]) for name in missing]
        for number, ds in run_jobs(jobs, backend, workers):
            self.kept(missing[number], functools.partial(_same, ds))
        return [self.kept(name, make) for name, make in makers.items()]

    def _file(self, name: str) -> bool:
        return self.folder is not None and (self.folder / f"{name}.nc").is_file()


def _same(ds: xr.Dataset) -> xr.Dataset:
    return ds


def step(name: str | Callable[..., str], **kept: Any) -> Callable[[Make], Make]:
    """Makes a function of a bench a step: it runs once, and `bench.kept` keeps what it makes under the name, or under
    the name that its other arguments give; `kept`: options of that.
    """

    def of(make: Make) -> Make:
        @functools.wraps(make)
        def once(bench: Any, *args: Any, **kwargs: Any) -> Any:
            called = name if isinstance(name, str) else name(*args, **kwargs)
            return bench.kept(called, functools.partial(make, bench, *args, **kwargs), **kept)

        return cast("Make", once)

    return of


class Tables:
    """The tables of a run in parts ("seed-0", "seed-0-contrast"), each kept as Parquet under its name; a killed run
    finds those that were done.

    Args:
        folder: where `tables/<name>.<part>.parquet` go; None keeps everything in memory. names: of all tables. say:
            told of each part that was made.
    """

    def __init__(self, folder: Path | None, names: Sequence[str], say: Callable[[str], None] = lambda line: None):
        self.folder, self.say = folder, say
        self.parts: dict[str, list[pd.DataFrame]] = {name: [] for name in names}

    def kept(self, names: tuple[str, ...], part: str, make: Callable[[], Any]) -> list[pd.DataFrame]:
        """A part of some tables: read where it was done before, else made (one table, or one for each name) and
        written.
        """
        places = None if self.folder is None else [self.folder / "tables" / f"{name}.{part}.parquet" for name in names]
        if places is not None and all(file.is_file() for file in places):
            found = list(map(read_parquet, places))
        else:
            made = make()
            found = [made] if isinstance(made, pd.DataFrame) else list(made)
            if places is not None:
                # a second process that runs the same in this folder writes equal parts under names of its own meanwhile
                files.write_all({file: parquet(small(table)) for file, table in zip(places, found)}, parents=True)
                found = list(map(read_parquet, places))  # what a later run will read is what this one goes on with
            self.say(f"{' and '.join(names)}, {part}: {len(found[0])} lines")
        for name, table in zip(names, found):
            self.parts[name].append(table)
        return found

    def joined(self) -> dict[str, pd.DataFrame]:
        """Every table, its parts one after another."""
        return {name: pd.concat(of, ignore_index=True) if of else pd.DataFrame() for name, of in self.parts.items()}


def read_tables(folder: Path, names: Sequence[str], methods: Sequence[str]) -> dict[str, pd.DataFrame]:
    """The tables that `Tables` wrote, each with its parts by model and then in the order of the methods; empty where
    there are none.
    """

    def place(file: Path) -> tuple[tuple[int, str], int]:
        model, _, method = file.name.removesuffix(".parquet").partition(".seed-")[2].partition("-")
        return (int(model) if model.isdigit() else -1, model), list(methods).index(method) if method in methods else -1

    places = {name: sorted((folder / "tables").glob(f"{name}.*.parquet"), key=place) for name in names}
    return {
        name: pd.concat([read_parquet(file) for file in of], ignore_index=True) if of else pd.DataFrame()
        for name, of in places.items()
    }


def parquet(table: pd.DataFrame) -> bytes:
    """A table as the bytes of a Parquet file, without its index."""
    return table.to_parquet(index=False)


def small(table: pd.DataFrame) -> pd.DataFrame:
    """Floats as float32 but for doses and p-values: what is stored stays small."""
    exact = {"dose", "k", "p", "holm", "p_other", "p_mixed"}
    return table.astype({c: "float32" for c in table.select_dtypes("float64") if c not in exact})


def _compact(ds: xr.Dataset) -> xr.Dataset:
    """Truth values as bytes (NetCDF has none) and float64 effects as float32: what is stored stays small."""
    kinds = {np.dtype(bool): "int8", np.dtype(np.float64): "float32"}
    return ds.assign({n: v.astype(kinds[v.dtype]) for n, v in ds.data_vars.items() if v.dtype in kinds})


def read_parquet(file: Path) -> pd.DataFrame:
    """A part of a table. Raises ResultError: it is damaged."""
    try:
        return pd.read_parquet(file)
    except (OSError, ValueError) as error:  # pyarrow's errors are among them
        raise ResultError(
            f"out: {file} cannot be read ({type(error).__name__}: {str(error)[:200]}); remove it, and the same command"
            " makes it again."
        ) from None


def _read_config(file: Path) -> dict[str, Any]:
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResultError(
            f"out: {file} cannot be read ({type(error).__name__}: {error}); choose another folder, or remove that one."
        ) from None
    if not isinstance(config, dict):
        raise ResultError(
            f"out: {file} holds {_short(config)}, not a configuration; choose another folder, or remove that one."
        )
    return config


def _short(value: Any, limit: int = 60) -> str:
    text = json.dumps(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
