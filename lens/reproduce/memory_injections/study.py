"""Memory Injections (Sakarvadia et al., BlackboxNLP 2023): the published grid with the controls that it lacks.

python -m lens reproduce memory-injections --data own --preset quick
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ... import files, injection
from ...arguments import FilePath, Positive
from ...injection.controls import WORD_CLASSES
from ...results import dataset as results
from ...results.opening import open_result
from ...results.saving import export
from ..study import Asked, Drawing, Study
from ..study import Reproduction as Judged
from . import steps
from .claims import CLAIMS
from .published import published_cells
from .verdicts import row_of, verdicts

_SOME = ("shuffled", "random_direction")
_ALL = ("shuffled", "random_tokens", "random_direction", *WORD_CLASSES)


@dataclass(frozen=True)
class Grid:
    """What one encoder is run on: strengths, each so-manieth layer, and the controls."""

    controls: tuple[str, ...]
    strengths: tuple[float, ...] = tuple(range(1, 16))
    every: int = 1


@dataclass(frozen=True)
class Preset:
    """The grids of one size by encoder, how many items at most, and of how many the damage is measured."""

    encoders: Mapping[str, Grid]
    limit: int | None = None
    damage_items: int = 20
    splits: int = 200


PRESETS = {
    "quick": Preset({e: Grid(_SOME, (1, 2, 4, 8), 5) for e in ("unembed", "activation")}, 16, 3, 50),
    "medium": Preset(
        {
            "unembed": Grid(
                ("shuffled", "random_tokens", "random_direction", "noun", "verb"), (0.5, 1, 2, 3, 4, 6, 8, 12), 2
            ),
            "activation": Grid(_SOME, (0.5, 1, 2, 4)),
        },
        120,
        10,
    ),
    "full": Preset({"unembed": Grid(_ALL), "activation": Grid(_SOME), "embed": Grid(_SOME)}),
}


@dataclass(kw_only=True)
class Reproduction(Judged):
    """What a run has: prompts without an injection, the grid of every encoder and its summary, the cells that were
    chosen on one half and judged on the other, the damage there.
    """

    prompts: xr.Dataset
    grids: dict[str, xr.Dataset]
    summaries: dict[str, xr.Dataset]
    chosen: pd.DataFrame
    damage: xr.Dataset


def measure(asked: Asked, *, start: Any = "auto", memory_mb: Positive | None = None) -> Reproduction:
    """The grid of every encoder, each kept in a store.

    Data: "own", "hand", "2wmh" or a file (see `lens.injection.load_items`); own items are those whose single-hop answer
    is the model's first choice.

    Raises: InjectionError, ResultError: see `lens.injection.sweep`.
    """
    model, data, plan, folder, seed = asked.model, asked.data, asked.plan, asked.folder, asked.seed
    own: dict[str, Any] = {"rank": 1} if data == "own" else {}
    items = injection.load_items(data, limit=asked.limit or plan.limit, **own)
    if folder:
        files.make_folder(folder)
    prompts = injection.score(model, items, start=start, seed=seed)
    grids, summaries = {}, {}
    n_layers = getattr(getattr(model, "cfg", None), "n_layers", None) or model.config.num_hidden_layers
    for encoder, grid in plan.encoders.items():
        layers = list(range(0, n_layers, grid.every))
        asked.say(
            f"{encoder}: {len(items)} items x {len(layers)} layers x {len(grid.strengths)} strengths x"
            f" {1 + len(grid.controls)} conditions"
        )
        grids[encoder] = injection.sweep(
            model,
            items,
            encoder=encoder,
            strengths=grid.strengths,
            layers=layers,
            controls=grid.controls,
            start=start,
            seed=seed,
            memory_mb=memory_mb,
            progress=asked.progress,
            store=None if folder is None else folder / f"{encoder}.zarr",
        )
        if results.provenance(grids[encoder])["status"] != "complete":
            raise KeyboardInterrupt(f"stopped in the grid of {encoder}; run the same command again to go on")
        summaries[encoder] = injection.summary(grids[encoder], of="logprob", seed=seed)
    chosen = steps.choices(grids, splits=plan.splits, seed=seed)
    at = chosen[(chosen.condition == "memory") & (chosen["by"] == "mean") & chosen.against.isna()].set_index("encoder")
    cost = steps.damage_at(model, items[: plan.damage_items], at, start=start, seed=seed)
    config = {
        "data": str(data),
        "preset": asdict(plan),
        "seed": seed,
        "start": start,
        "grids": {e: results.fingerprint(results.provenance(g)) for e, g in grids.items()},
    }
    made = _judged(prompts, grids, summaries, chosen, cost, str(data), seed)
    made.config, made.provenance = config, results.provenance(prompts)
    return made


def read(folder: Path, record: Mapping[str, Any], seed: int) -> Reproduction:
    """A stored run, its tables computed anew from the effects of every item."""
    grids = {
        path.stem.removeprefix("effects_"): open_result(path)
        for path in sorted(folder.glob("effects_*.nc"), key=lambda p: p.stem != "effects_unembed")
    }
    summaries = {e: injection.summary(g, seed=seed) for e, g in grids.items()}
    prompts, cost = open_result(folder / "prompts.nc"), open_result(folder / "damage.nc")
    chosen = steps.choices(grids, splits=record["config"]["preset"]["splits"], seed=seed)
    return _judged(prompts, grids, summaries, chosen, cost, record["config"]["data"], seed)


def _judged(
    prompts: xr.Dataset, grids: dict, summaries: dict, chosen: pd.DataFrame, cost: xr.Dataset, data: str, seed: int
) -> Reproduction:
    table, numbers = verdicts(prompts, grids, summaries, chosen, cost, by_outcome=data == "own", seed=seed)
    return Reproduction(
        prompts=prompts,
        grids=grids,
        summaries=summaries,
        chosen=chosen,
        damage=cost,
        table=table,
        numbers=numbers,
        title=f"{results.provenance(prompts)['model']['name']}, {data}, {prompts.sizes['item']} items",
    )


def figures(made: Reproduction) -> Mapping[str, Drawing]:
    """The figures of a run, and the published cells where they are at hand."""
    from ...figures import injection_map

    drawn: dict[str, Drawing] = {}
    for encoder, summary in made.summaries.items():
        title = f"{made.title}: {encoder}"
        for variable in ("mean", "trimmed_percent"):
            drawn[f"{encoder}_{variable}"] = partial(injection_map, summary, variable=variable, title=title)
        drawn[f"{encoder}_dose"] = partial(_dose, made, encoder)
        drawn[f"{encoder}_items"] = partial(_items, made, encoder)
    for kind, name in (("curated", "published_memories"), ("pos", "published_words")):
        try:
            cells = published_cells(kind=kind)
        except injection.InjectionError:
            continue
        title = f"published cells: GPT-2 small, hand-written, n = {cells.attrs['n']}"
        drawn[name] = partial(injection_map, cells, variable="trimmed_percent", title=title)
    return drawn


def _dose(made: Reproduction, encoder: str, path: Path | None) -> Any:
    from ...figures import dose_plot

    layer = int(row_of(made.chosen, encoder, "mean").layer)
    return dose_plot(made.summaries[encoder], layer, path, title=f"{made.title}: {encoder}, layer {layer}")


def _items(made: Reproduction, encoder: str, path: Path | None) -> Any:
    from ...figures import change_plot

    row, grid = row_of(made.chosen, encoder, "mean"), made.grids[encoder]
    at = injection.log_ratio(grid).sel(layer=row.layer, strength=row.strength)
    return change_plot(
        {str(c): at.sel(condition=c).values for c in grid.condition.values[:4]},
        path,
        title=f"{made.title}: {encoder}, layer {row.layer}, strength {row.strength:g}",
    )


def keep(made: Reproduction, folder: Path) -> None:
    """The effects of every item as NetCDF, without the texts of items that are somebody else's, and the choices."""
    assert made.config is not None
    kept = (lambda ds: ds) if made.config["data"] == "own" else without_texts
    for encoder, grid in made.grids.items():
        export(
            kept(grid[["logprob", "first", "exact", *(f"multi_{s}" for s in ("logprob", "first", "exact"))]]),
            folder / f"effects_{encoder}.nc",
            overwrite=True,
        )
    export(kept(made.prompts), folder / "prompts.nc", overwrite=True)
    export(kept(made.damage), folder / "damage.nc", overwrite=True)
    files.write(folder / "chosen.csv", made.chosen.to_csv(index=False))


def without_texts(ds: xr.Dataset) -> xr.Dataset:
    """A result without the texts of items that are somebody else's: memories become numbers, answers go, the record
    keeps a hash of the items.
    """
    record = results.provenance(ds)
    call = {k: v for k, v in record["call"].items() if k not in ("items", "memories")}
    call["items_sha256"] = hashlib.sha256(
        json.dumps([record["call"].get(k) for k in ("items", "memories")], sort_keys=True).encode()
    ).hexdigest()
    codes = np.unique(ds["memory"].values, return_inverse=True)[1]
    plain = ds.drop_vars("answer", errors="ignore").assign_coords(memory=("item", [f"memory {c}" for c in codes]))
    return results.stamp(plain, record | {"call": call})


STUDY = Study(
    "memory-injections",
    paper="Sakarvadia et al., BlackboxNLP 2023",
    question="Does a missing memory that is put back at a layer make a multi-hop prompt answered?",
    models="a language model that is given (smollm2 by default)",
    presets=PRESETS,
    plan=Preset,
    measure=measure,
    read=read,
    figures=figures,
    claims=CLAIMS,
    controls=(
        "other items' memories, random tokens, random directions of equal norm, words of each class, each chosen in "
        "the same way; the memory in the prompt; damage to other text"
    ),
    error=injection.InjectionError,
    model="smollm2",
    data=FilePath,
    items="items",
    keep=keep,
)
run, load, figure = STUDY.run, STUDY.load, STUDY.figure
