"""The vector bench's questions, and its answers as the browser wants them, as static HTML and as Python."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from lens.results.dataset import stamp
from lens.stats import bootstrap, proportion, sign_flip
from widgets.base.tables import read_record
from widgets.base.text import finite

OWN = "own pairs"
#: shares of a table that demonstrate, choose and test: a short one needs more than the published 9 % to choose on
SHARES = (0.5, 0.25, 0.25)
MOST_PAIRS = 5000
SIDES = ("before", "after")
CONTROL = "random vector of equal norm"


@dataclass(frozen=True)
class Ask:
    """The task, and how its heads are looked for."""

    task: str
    pairs: tuple[tuple[str, str], ...]
    template: str
    shots: int
    trials: int
    mean_prompts: int
    seed: int

    def of_task(self) -> tuple:
        """What makes two questions the same task."""
        return (self.task if self.task != OWN else "", self.pairs, self.seed)

    def name(self) -> str:
        return self.task if self.task != OWN else f"{len(self.pairs)} own pairs"


@dataclass(frozen=True)
class Setting:
    """Which heads make the vector, and where it is added."""

    ask: Ask
    k: int
    by_hand: bool
    heads: tuple[tuple[int, int], ...]
    layer: int
    strength: float
    queries: int

    def fields(self) -> dict[str, Any]:
        """What a page compares with its own controls."""
        return {
            "task": self.ask.task,
            "template": self.ask.template,
            "shots": self.ask.shots,
            "seed": self.ask.seed,
            "k": self.k,
            "by_hand": self.by_hand,
            "layer": self.layer,
            "strength": self.strength,
            "queries": self.queries,
        }


@dataclass
class HeadSearch:
    """The effect of every head in one model, or in two: the question, and the answer so far."""

    ask: Ask
    task: Any
    datasets: dict[str, xr.Dataset] = field(default_factory=dict)
    means: dict[str, Any] = field(default_factory=dict)
    summaries: dict[str, xr.Dataset] = field(default_factory=dict)
    sides: tuple[str, ...] = ("before",)
    dataset: xr.Dataset | None = None
    status: str = "running"
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    def layers_done(self) -> list[int]:
        """Layers that hold at least one number, in the model that is computed last."""
        if not self.datasets:
            return []
        last = self.datasets[[s for s in self.sides if s in self.datasets][-1]]["effect"]
        done = last.notnull().any([d for d in last.dims if d != "layer"])
        return [int(layer) for layer in last["layer"].values[done.values]]

    def complete(self) -> bool:
        """Whether nothing is missing in any model."""
        return all(s in self.datasets and read_record(self.datasets[s]).get("status") == "complete" for s in self.sides)

    def mean(self, side: str) -> np.ndarray:
        """A model's mean effect over prompts, (layer, head), layers ascending; NaN where nothing is computed."""
        effect = self.datasets[side]["effect"].sortby("layer").transpose("prompt", "layer", "head").values
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a layer without any number
            return np.nanmean(effect, axis=0)

    def top(self, k: int) -> tuple[tuple[int, int], ...]:
        """The k heads of largest mean effect in the first model."""
        if "before" not in self.datasets:
            return ()
        mean = self.mean("before")
        flat = np.where(np.isfinite(mean), mean, -np.inf).ravel()
        order = [int(i) for i in np.argsort(-flat, kind="stable")[:k] if np.isfinite(flat[i])]
        return tuple((i // mean.shape[1], i % mean.shape[1]) for i in order)

    def take(self, side: str, part: xr.Dataset) -> xr.Dataset:
        """Take in a model's effects, whole or in part; returns those of all models, along an axis `side` where there
        are two.
        """
        self.datasets[side] = part
        return joined([self.datasets[s] for s in self.sides if s in self.datasets], self.complete())


def joined(found: Sequence[xr.Dataset], complete: bool) -> xr.Dataset:
    """The results of one or two models as one; two along a new axis `side` (before, after), with both models in the
    record.
    """
    if len(found) == 1:
        return found[0]
    whole = xr.concat(
        [xr.Dataset(f.data_vars, f.coords) for f in found],
        xr.Variable("side", list(SIDES)),
        coords="minimal",
        compat="override",
        join="outer",
    )
    known = [read_record(f) for f in found]
    return stamp(
        whole, known[0] | {"status": "complete" if complete else "partial", "models": [k.get("model") for k in known]}
    )


# --- the table


def read_pairs(rows: Iterable[Any]) -> tuple[tuple[tuple[str, str], ...], list[dict[str, Any]]]:
    """The pairs of a table, and what is wrong with its rows: `[{"row": number, "text": message}]`."""
    pairs, wrong = [], []
    for number, row in enumerate(rows):
        if not isinstance(row, (list, tuple)) or len(row) != 2:
            wrong.append({"row": number, "text": f"row {number + 1}: expected an input and an output"})
            continue
        x, y = row
        if isinstance(y, (list, tuple)) or (isinstance(y, str) and is_list(y)):
            wrong.append(
                {
                    "row": number,
                    "text": (
                        f"row {number + 1}: the output {y if isinstance(y, str) else list(y)!r} is a list; give one"
                        " text"
                    ),
                }
            )
            continue
        x, y = str(x).strip(), str(y).strip()
        if not x and not y:
            continue
        if not x or not y:
            wrong.append({"row": number, "text": f"row {number + 1}: the {'input' if not x else 'output'} is empty"})
            continue
        pairs.append((x, y))
    return tuple(pairs), wrong


def is_list(text: str) -> bool:
    """Whether a cell holds a written-out list, as files of several answers have.

    >>> is_list('["a", "b"]'), is_list("[a]"), is_list("a, b")
    (True, False, False)
    """
    if not text.strip().startswith("["):
        return False
    try:
        return isinstance(ast.literal_eval(text.strip()), list)
    except (ValueError, SyntaxError):
        return False


def checked(
    rows: Sequence[Any],
    shots: int,
    make: Callable[[], tuple[Any, list[str]]],
    shared: Callable[[Any], Mapping[Any, list[str]]],
) -> dict[str, Any]:
    """The `table` trait: what is wrong with the table, said where it is typed; half-typed rows are the normal case.

    `make` gives the Task and says what was warned of; `shared` tells a Task's outputs that share a first token.
    """
    pairs, wrong = read_pairs(rows)
    data: dict[str, Any] = {
        "rows": len(rows),
        "pairs": len(pairs),
        "wrong": wrong,
        "notes": [],
        "error": "",
        "splits": "",
    }
    if not pairs:
        return data | {
            "error": (
                "" if wrong else "Type pairs of an input and its output, one a row, or paste them from a spreadsheet."
            )
        }
    try:
        task, data["notes"] = make()
        data["splits"] = (
            f"{count(len(task.pairs), 'pair')}: {len(task.train)} to demonstrate with, {len(task.valid)} to choose by,"
            f" {len(task.test)} to test"
        )
        if len(task.train) <= shots:
            data["error"] = (
                f"Too few pairs: prompts with {shots} demonstrations need {shots + 1} pairs to demonstrate with, here"
                f" are {len(task.train)}. Type more, or demonstrate with fewer."
            )
        elif alike := shared(task):
            example = next(iter(alike.values()))
            data["notes"] = [
                *data["notes"],
                (
                    f"{count(sum(len(v) for v in alike.values()), 'output')} share a first token with another one, such"
                    f" as “{example[0]}” and “{example[1]}”: the map reads the first token only, accuracies whole"
                    " answers."
                ),
            ]
    except BaseException as error:
        data["error"] = str(error) or type(error).__name__
    return data


def count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


# --- answers for the page


def vector_text(setting: Setting, heads: Sequence[tuple[int, int]], run: HeadSearch | None) -> str:
    """What the vector is and where it is added, in words; empty where there is none."""
    if run is None or not heads:
        return ""
    own = run.ask
    other = "" if own.of_task() == setting.ask.of_task() else f" of {own.name()}, on {setting.ask.name()}"
    kind = "" if own.template == setting.ask.template else f", in the template {setting.ask.template}"
    return (
        f"vector of {count(len(heads), 'head')}{' chosen by hand' if setting.by_hand else ''}{other} at layer"
        f" {setting.layer}, strength {setting.strength:g}{kind}"
    )


def share(correct: np.ndarray) -> dict[str, Any]:
    """An accuracy with its exact 95 % interval."""
    k, n = int(np.sum(correct)), len(correct)
    found = proportion(k, n)
    return {"k": k, "n": n, "low": finite(found.low), "high": finite(found.high)}


def payload(run: HeadSearch, names: Mapping[str, str]) -> dict[str, Any]:
    """The `map` trait: labels as JSON, mean effects as float32 buffers (layer, head), NaN where not computed."""
    first = run.datasets["before"]
    layers, heads = sorted(int(x) for x in first["layer"].values), [int(x) for x in first["head"].values]
    data: dict[str, Any] = {
        "shape": [len(layers), len(heads)],
        "rows": layers,
        "columns": heads,
        "n": int(first.sizes["prompt"]),
        "base": finite(first["base"].mean()),
        "task": run.ask.name(),
        "template": run.ask.template,
        "shots": run.ask.shots,
        "names": dict(names),
        "notes": list(run.notes),
        "complete": run.complete(),
        "sides": [s for s in run.sides if s in run.datasets],
        "bases": {s: finite(d["base"].mean()) for s, d in run.datasets.items()},
        "fields": {
            "task": run.ask.task,
            "template": run.ask.template,
            "shots": run.ask.shots,
            "trials": run.ask.trials,
            "seed": run.ask.seed,
        },
    }
    for side in data["sides"]:
        data[side] = np.ascontiguousarray(run.mean(side), dtype="<f4").tobytes()
        if (found := run.summaries.get(side)) is not None:
            ordered = found.sortby("layer").transpose("layer", "head", ...)
            data |= {
                f"{side}_{name}": np.ascontiguousarray(ordered[name].values, dtype="<f4").tobytes()
                for name in ("low", "high", "p_holm")
                if name in ordered
            }
    return data


def noted(caught: Sequence[Any]) -> list[str]:
    """The texts of caught warnings, each once."""
    return list(dict.fromkeys(str(w.message) for w in caught if issubclass(w.category, UserWarning)))


def listed(pairs: Sequence[tuple[str, float]]) -> list[list[Any]]:
    return [[str(token), finite(p) or 0.0] for token, p in pairs]


def reported(found: xr.Dataset) -> list[dict[str, Any]]:
    """Rows of the test report from one `lens.vectors.evaluate` at one layer and strength: accuracies with intervals,
    and against no vector and the control.

    Differences are paired over the test items; their interval is exact, their p a sign flip, whose kind is told with
    it.
    """
    flat = found.isel(layer=0, strength=0, condition=0)
    base = flat["base_correct"].values.astype(float)
    rows = [{"name": "no vector"} | share(base)]
    for name in [str(v) for v in found["vector"].values]:
        values = flat["correct"].sel(vector=name).values.astype(float)
        rows.append({"name": name} | share(values) | compared(values - base, ""))
    by_name = {r["name"]: flat["correct"].sel(vector=r["name"]).values.astype(float) for r in rows[1:]}
    if CONTROL in by_name and len(by_name) > 1:
        rows[1] |= compared(by_name[rows[1]["name"]] - by_name[CONTROL], "control_")
    return rows


def compared(differences: np.ndarray, prefix: str) -> dict[str, Any]:
    found, tested = bootstrap(differences, values="difference"), sign_flip(differences)
    return {
        f"{prefix}difference": finite(differences.mean()),
        f"{prefix}difference_low": finite(found.low),
        f"{prefix}difference_high": finite(found.high),
        f"{prefix}p": finite(tested.p),
        f"{prefix}p_kind": tested.kind,
    }


def kinds_of_p(rows: Sequence[Mapping[str, Any]]) -> str:
    """How the p-values of a report were found, for its note: by all sign flips, or by a sample of them."""
    kinds = dict.fromkeys(row[name] for row in rows for name in ("p_kind", "control_p_kind") if name in row)
    said = {"exact": "exact, by all sign flips", "monte carlo": "Monte Carlo, by a sample of sign flips"}
    return " or ".join(said.get(kind, f"{kind}, by sign flips") for kind in kinds)
