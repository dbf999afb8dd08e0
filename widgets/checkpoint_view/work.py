"""Two checkpoints on one prompt as numbers: distances by layer and position, and what copied states do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

import lens
from lens.errors import Error
from lens.results.dataset import provenance
from widgets.base.text import finite

#: Which model's states go into which.
DIRECTIONS = {"b into a": ("a", "b"), "a into b": ("b", "a")}
SITE = "resid_post"
#: What can be shown, in the order of the menu: words, unit, what it can be set against.
QUANTITIES = {
    "distance": ("distance of the states", "1 − cosine"),
    "centred": ("distance of the centred states", "1 − cosine, each model’s mean state taken off"),
    "lens_kl": ("divergence of the logit lenses", "KL(A ‖ B) of what the state says, in nats"),
    "effect": ("effect of the copied state", "change of the log-odds of answer and foil, in logits"),
}
#: What a quantity is set against.
AGAINST = ("nothing", "floor", "random", "twin")


@dataclass
class Comparison:
    """A run: what is asked, and its numbers so far.

    Attributes: pair: answer and foil, with the copy. notes: what is left out, and why.
    """

    number: int
    prompt: str
    answer: str
    foil: str
    direction: str
    dataset: xr.Dataset | None = None
    status: str = "running"
    seconds: float = 0.0
    pair: Any = None
    notes: list[str] = field(default_factory=list)

    def layers_done(self) -> list[int]:
        """Nothing comes layer by layer."""
        return []

    def complete(self) -> bool:
        """Whether the copies, which come last, are all there."""
        return self.dataset is not None and "effect" in self.dataset and bool(self.dataset["effect"].notnull().all())

    def asked(self) -> Any:
        """The prompt, or the pair where a person named the answer and the foil."""
        if not self.answer and not self.foil:
            return self.prompt
        return lens.Pair(self.prompt, self.prompt, self.answer, self.foil or None)


@dataclass
class Tools:
    """What computes; tests give others."""

    compare: Callable[..., xr.Dataset]
    between: Callable[..., xr.Dataset]
    explain: Callable[..., Any]


def computed(
    run: Comparison,
    sides: Mapping[str, Any],
    about: Sequence[str],
    tools: Tools,
    stop: Callable[[], bool],
    on_part: Callable[[xr.Dataset], None],
) -> xr.Dataset | None:
    """All numbers of a run, part by part; None where it was stopped before the first.

    Raises: what `lens.compare` and `lens.patch_between` raise.
    """
    if stop():
        return None
    floor = sides["floor"]
    asked = run.asked()
    raw = tools.compare(sides["a"], sides["b"], asked, metrics=("cosine", "lens_kl"), floor=floor, progress=False)
    ds = _distances(raw, {"cosine": "distance", "lens_kl": "lens_kl"})
    on_part(ds)
    if stop():
        return ds
    try:
        centred = tools.compare(
            sides["a"], sides["b"], asked, metrics=("cosine",), floor=floor, centre=list(about), progress=False
        )
        ds = ds.merge(_distances(centred, {"cosine": "centred"}), compat="no_conflicts", combine_attrs="override")
    except Error as error:
        run.notes.append(f"The centred distance is left out: {error}")
    on_part(ds)
    if stop():
        return ds
    into, source = (sides[name] for name in DIRECTIONS[run.direction])
    # a twin is another run of the recipe of the model that is run
    twin = floor if run.direction == "b into a" else None
    copied = tools.between(into, source, asked, SITE, twin=twin, controls=("random",), progress=False, stop=stop)
    record = provenance(copied)
    run.pair = pair_of(record)
    copied = copied[["effect", "control_effect", "into", "source"]]
    for name in copied:
        copied[name].attrs["units"] = record["call"]["unit"]
    return ds.merge(copied, compat="no_conflicts", combine_attrs="override").assign_attrs(copied.attrs)


def pair_of(record: Mapping[str, Any]) -> Any:
    """The pair that was copied for, of a record."""
    known = record["pairs"][0]
    return lens.Pair(known["clean"], known["corrupted"], known["answer"], known["foil"])


def _distances(found: xr.Dataset, names: Mapping[str, str]) -> xr.Dataset:
    """Of each measure its distance, 0 for equal states, and that of two runs of one recipe."""
    made = {}
    for metric, name in names.items():
        at = found.sel(metric=metric, drop=True)
        for variable, end in (("mean", ""), ("floor", "_floor")):
            if variable in at:
                values = at[variable] if metric == "lens_kl" else 1 - at[variable]
                made[name + end] = values.astype(float).drop_vars(["same", "layer_b"], errors="ignore")
                made[name + end].attrs["units"] = "nats" if metric == "lens_kl" else "1"
    return xr.Dataset(made, attrs=found.attrs)


def against(ds: xr.Dataset, quantity: str) -> list[str]:
    """What a quantity can be set against."""
    if quantity != "effect":
        return ["nothing", *(["floor"] if f"{quantity}_floor" in ds else [])]
    return ["nothing", *map(str, ds["control"].values)]


def values_of(ds: xr.Dataset, quantity: str, other: str) -> np.ndarray:
    """A quantity by layer and position, or how far it is beyond what it is set against."""
    values = ds[quantity].transpose("layer", "position").values.astype(float)
    if other == "floor":
        return np.asarray(values - ds[f"{quantity}_floor"].transpose("layer", "position").values)
    if other in ("random", "twin"):
        control = ds["control_effect"].sel(control=other).transpose("layer", "position").values
        return np.asarray(values - control)
    return values


def payload(run: Comparison, names: Mapping[str, str]) -> dict[str, Any]:
    """The `map` trait: labels as JSON, numbers as float32 buffers (layer, position), row-major."""
    ds = run.dataset
    assert ds is not None
    there = [name for name in QUANTITIES if name in ds]
    tables = {}
    for name in there:
        kinds = against(ds, name)
        tables[name] = {
            "label": QUANTITIES[name][0],
            "unit": QUANTITIES[name][1].replace("KL(A ‖ B)", f"KL({names['a']} ‖ {names['b']})"),
            "against": kinds,
            "value": _bytes(values_of(ds, name, "nothing")),
            "means": {"nothing": finite(values_of(ds, name, "nothing").mean())}
            | {kind: finite((values_of(ds, name, "nothing") - values_of(ds, name, kind)).mean()) for kind in kinds[1:]},
            **{kind: _bytes(values_of(ds, name, kind)) for kind in kinds[1:]},
        }
    into, source = DIRECTIONS[run.direction]
    return {
        "run": run.number,
        "shape": [ds.sizes["layer"], ds.sizes["position"]],
        "rows": [int(layer) for layer in ds["layer"].values],
        "columns": [int(p) for p in ds["position"].values],
        "tokens": [str(token) for token in ds["token"].values],
        "tables": tables,
        "into": names[into],
        "source": names[source],
        "direction": run.direction,
        "into_value": finite(ds["into"]) if "into" in ds else None,
        "source_value": finite(ds["source"]) if "source" in ds else None,
        "answer": "" if run.pair is None else str(run.pair.answer),
        "foil": "" if run.pair is None else str(run.pair.foil or ""),
        "notes": list(run.notes),
        "complete": run.complete(),
    }


def _bytes(values: np.ndarray) -> bytes:
    return np.ascontiguousarray(values, "<f4").tobytes()


def strongest(ds: xr.Dataset) -> tuple[int, int]:
    """Layer and position of the copy that does most beyond the random move as far; below the last layer, where the last
    token's state is all that is read.
    """
    values = np.nan_to_num(np.abs(values_of(ds, "effect", "random")))[: max(1, ds.sizes["layer"] - 1)]
    row, column = np.unravel_index(int(values.argmax()), values.shape)
    return int(ds["layer"].values[row]), int(ds["position"].values[column])


def cell_facts(run: Comparison, layer: int, position: int) -> dict[str, Any]:
    """The numbers of one cell.

    Raises: KeyError: the run has no such cell.
    """
    assert run.dataset is not None
    here = run.dataset.sel(layer=layer, position=position)
    names = [n for q in QUANTITIES for n in (q, f"{q}_floor") if n in here]
    facts: dict[str, Any] = {name: finite(here[name]) for name in names}
    if "control_effect" in here:
        facts["controls"] = {str(c): finite(here["control_effect"].sel(control=c)) for c in here["control"].values}
    return facts | {"run": run.number, "layer": layer, "position": position, "token": str(here["token"].values)}
