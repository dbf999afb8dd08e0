"""A study is one published experiment as an object: which models it asks, how much by each preset, what it measures,
how that is judged and drawn. Running, resuming, writing, reading back and refusing are the same for all.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import pandas as pd

from .. import files
from ..arguments import Choice, Count, FilePath, HFModel, Name, Seed, door
from ..cluster import Workers, by_default
from ..results import dataset as results
from ..results.errors import ResultError
from .claims import Claims
from .common import Steps as Steps  # one address with the study
from .common import Tables as Tables
from .common import read_tables as read_tables
from .errors import ReproduceError
from .records import Cost, read_record, refused, write_record

#: a figure of a run: called with the path of a PNG file, or None
Drawing = Callable[[Any], Any]


@dataclass(kw_only=True)
class Reproduction:
    """What a run of a study has: `table` is *claim | paper | here | n | multiplicity | verdict*, `tables` by name what
    it was computed from, `numbers` everything in it as numbers.

    `config` is what the run depends on (None: of a run that cannot be read back), `provenance` the record of one of its
    results, for weights and versions; `more` stands in the record beside them. `figures`: files that were drawn.
    """

    table: pd.DataFrame
    numbers: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    fingerprint: str = ""
    figures: list[Path] = field(default_factory=list)
    config: Mapping[str, Any] | None = None
    provenance: Mapping[str, Any] | None = None
    more: Mapping[str, Any] = field(default_factory=dict)
    title: str = ""


@dataclass(frozen=True)
class Asked:
    """What a run is asked for: `plan` is the preset; `folder` None keeps everything in memory; `models` is a folder
    with trained models, or None.
    """

    model: Any
    data: Any
    plan: Any
    preset: str | None
    folder: Path | None
    models: Path | None
    seed: int
    limit: int | None
    progress: bool | None
    say: Callable[[str], None]


def _quiet(line: str) -> None:
    pass


class Study:
    """One published experiment.

    Args:
        name: on the command line. paper: author, year, where. question: what is asked, in one sentence. models: which
            models are asked, in words.
        presets: by name how much is asked, an object of class `plan`; `quick` is the default.
        measure: of an `Asked` (and options by keyword), the `Reproduction`; finds again what a killed run has done.
        read: of a folder, its record and a seed, the `Reproduction` that was written there.
        figures: of a `Reproduction`, its figures by name, each a function of a path.
        claims: what is judged, as data. controls: what it is compared with, in a sentence.
        error: what bad arguments raise. model: the model that is asked by default, where one is given; empty: the study
            brings its own.
        trains: whether `models` may name a folder of models, into which missing ones are trained.
        data: the annotation of that argument where there is other than the study's own. items: what `limit` counts;
            empty where nothing can be left out. keep: writes what else is stored, of a run and its folder.
        version: of what the tables hold, as `config` has it; 0: none is stored.
    """

    def __init__(
        self,
        name: str,
        *,
        paper: str,
        question: str,
        models: str,
        presets: Mapping[str, Any],
        plan: Any,
        measure: Callable[..., Reproduction],
        read: Callable[[Path, Mapping[str, Any], int], Reproduction],
        figures: Callable[[Any], Mapping[str, Drawing]],
        claims: Claims,
        controls: str,
        error: type[Exception] = ReproduceError,
        model: str = "",
        trains: bool = False,
        data: Any = None,
        items: str = "",
        keep: Callable[[Any, Path], None] | None = None,
        version: int = 0,
    ):
        self.name, self.paper, self.question, self.models = name, paper, question, models
        self.presets, self.claims, self.error, self.version = presets, claims, error, version
        self.controls, self.model, self.needs_model = controls, model, bool(model)
        self.trains, self.items = trains, items
        self.own_data = data is None
        self.measure, self._read, self._figures, self._keep = door(error)(measure), read, figures, keep
        self.options = [p for p in inspect.signature(measure).parameters if p != "asked"]
        #: what `load` raises where nothing is stored: a family's own error, else that of results
        self._unread = ResultError if error is ReproduceError else error
        self.run = self._door(
            self._run,
            model=HFModel if model else Any,
            data=Name if data is None else data,
            preset=Annotated[str, Choice(tuple(presets))] | plan,
        )
        self.load, self.figure = self._door(self._load), self._door(self._figure)

    def __repr__(self) -> str:
        return f"Study({self.name!r}: {self.paper}; presets {', '.join(self.presets)})"

    def _door(self, method: Callable[..., Any], **kinds: Any) -> Callable[..., Any]:
        """A method with the checks of its annotations, those that depend on the study among them."""

        def checked(*args: Any, **kwargs: Any) -> Any:
            return method(*args, **kwargs)

        checked.__doc__, checked.__name__ = method.__doc__, method.__name__.removeprefix("_")
        signature = inspect.signature(method)
        checked.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[p.replace(annotation=kinds.get(p.name, p.annotation)) for p in signature.parameters.values()]
        )
        return door(self.error)(checked)

    def _run(
        self,
        model: Any = None,
        *,
        data: Any = "own",
        preset: Any = "quick",
        out: FilePath | None = None,
        models: FilePath | None = None,
        seed: Seed = 0,
        limit: Count | None = None,
        progress: bool | None = None,
        say: Callable[[str], None] = _quiet,
        backend: Any = "local",
        workers: Workers = 2,
        **options: Any,
    ) -> Any:
        """Runs the study, or takes it up where it was cut: what a killed run has finished is read back.

        Args:
            model: of lens.load, where the study is of a given model. data: "own", or what the study's module says.
            preset: a name in `presets`, or an object like those.
            out: folder for steps, tables, figures and record; None keeps everything in memory.
            models: folder with trained models, into which those that are missing are trained.
            seed: of controls, splits and resampling. limit: so many items (tasks) at most, instead of the preset's.
            say: is told what is done. backend, workers: where the sweeps of its steps are computed, as `lens.patch`.
            options: of the study's `measure`.

        Raises: the study's error: an argument that does not fit, models that are nowhere. ResultError: `out` holds a
            run of another configuration, or a damaged one.
        """
        if self.needs_model and model is None:
            raise self.error(f"model is missing: {self.name} asks a given model; give one of lens.load.")
        if self.own_data and data != "own":
            raise self.error(f"data={data!r}: {self.name} has its own data only; leave it out, or give 'own'.")
        if limit is not None and not self.items:
            raise self.error(
                f"limit={limit}: {self.name} has no items to leave out; leave it out, or choose the preset"
                f" {next(iter(self.presets))}."
            )
        if models is not None and not self.trains:
            raise self.error(f"models={str(models)!r}: {self.name} takes no folder of models; leave it out.")
        if unknown := [name for name in options if name not in self.options]:
            raise self.error(
                f"{unknown[0]}={options[unknown[0]]!r}: {self.name} has no such argument; expected one of"
                f" {', '.join(self.options) or 'those of every study'}."
            )
        named = preset if isinstance(preset, str) else None
        folder = None if out is None else Path(out)
        asked = Asked(
            None if not self.needs_model else model,
            data,
            preset if named is None else self.presets[named],
            named,
            folder,
            None if models is None else Path(models),
            seed,
            limit,
            progress,
            say,
        )
        with _measured(folder, alone=backend == "local"), by_default(backend, workers):
            result = self.measure(asked, **options)
            if result.config is not None and not result.fingerprint:
                result.fingerprint = results.fingerprint({"kind": "reproduction", **result.config})
            if folder is not None:
                result.figures = self.draw(result, folder / "figures")
        if folder is not None:
            self._write(result, folder, named)
        return result

    def _write(self, result: Any, folder: Path, preset: str | None) -> None:
        if self._keep is not None:
            self._keep(result, folder)
        files.write(folder / "table.csv", result.table.to_csv(index=False), parents=True)
        if result.config is not None:
            more = {"preset": preset, "cost": asdict(Cost.read(folder)), **result.more}
            write_record(folder, self.name, result.fingerprint, result.config, result.numbers, result.provenance, more)

    def _load(self, folder: FilePath, *, model: HFModel | None = None, seed: Seed | None = None) -> Any:
        """A run that was written before, its tables and verdicts computed anew from what is stored.

        Args:
            model: whose weights the run must have asked; None asks nothing. seed: of resampling; None: that of the run.

        Raises: ResultError, or the error of the study's family: the folder holds no run of this study, one of other
            weights, of another version, or a damaged one. Nothing in the folder is changed.
        """
        folder = Path(folder)
        record = read_record(folder, self.name, model, self._unread)
        config = record["config"]
        if self.version and config.get("version", self.version) != self.version:
            raise self._unread(
                f"folder: {folder} was written by version {config['version']} of this study's tables, this is version"
                f" {self.version}; nothing was changed there. Run `python -m lens reproduce {self.name} --out` another"
                " folder."
            )
        try:
            result = self._read(folder, record, config.get("seed", 0) if seed is None else seed)
        except (KeyError, FileNotFoundError) as error:
            what = error.filename if isinstance(error, FileNotFoundError) else error
            raise refused(self._unread, folder, self.name, f"what is stored does not fit its record: {what}") from error
        result.fingerprint, result.config = record["fingerprint"], config
        result.figures = result.figures or sorted((folder / "figures").glob("*.png"))
        return result

    def figures(self, result: Any) -> Mapping[str, Drawing]:
        """The figures that a run has tables for, by name: each a function of the path of a PNG file, or None."""
        return self._figures(result)

    def _figure(self, result: Any, name: Name, path: FilePath | None = None) -> Any:
        """One figure of a run by its name, and its file where a path is given.

        Raises: the study's error: an unknown name, or a figure whose tables the run does not have.
        """
        there = self.figures(result)
        if name not in there:
            raise self.error(
                f"figure: {name!r} is not one of those that this run has tables for: {', '.join(there) or 'none'}."
            )
        return there[name](path)

    def draw(self, result: Any, folder: Path) -> list[Path]:
        """Every figure of a run, as `<name>.png` in a folder."""
        files.make_folder(folder)
        drawn = []
        for name, drawing in self.figures(result).items():
            drawing(folder / f"{name}.png")
            drawn.append(folder / f"{name}.png")
        return drawn


def figures_of(package: str) -> Callable[[Any], Mapping[str, Drawing]]:
    """Those that the module `figures` of a study's folder names in its FIGURES, see `of_tables`; it is imported when
    they are asked for, and matplotlib with it.
    """

    def figures(made: Any) -> Mapping[str, Drawing]:
        return of_tables(importlib.import_module(".figures", package).FIGURES, made.tables)

    return figures


def of_tables(
    drawings: Mapping[str, tuple[tuple[str, ...], Callable[..., Any]]], tables: Mapping[str, pd.DataFrame]
) -> dict[str, Drawing]:
    """Figures that are functions of tables and a path, by name (tables, function), where these tables have rows."""

    def bound(needed: tuple[str, ...], plot: Callable[..., Any]) -> Drawing:
        return lambda path: plot(*(tables[t] for t in needed), path)

    return {
        name: bound(needed, plot)
        for name, (needed, plot) in drawings.items()
        if all(len(tables.get(t, ())) for t in needed)
    }


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Computes with one thread, so that sums do not depend on how many there are."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def _measured(folder: Path | None, *, alone: bool) -> Iterator[None]:
    """Adds what runs to the cost of a folder, also where it is stopped; `alone`: no other process does a part of it,
    whose processor seconds nobody would count.
    """
    began, processor = time.monotonic(), Cost.processor_seconds()
    try:
        yield
    finally:
        if folder is not None and folder.is_dir():
            spent = Cost.processor_seconds() - processor if alone else None
            Cost.read(folder).more(time.monotonic() - began, spent).write(folder)
