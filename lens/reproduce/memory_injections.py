"""Memory Injections (Sakarvadia et al., BlackboxNLP 2023): the published grid with the controls that it lacks.

    python -m lens reproduce memory-injections --data own --preset quick

Published numbers quoted here were computed from the authors' own result files (their repository, MIT), not read from
the paper's tables.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import xarray as xr

from .. import files, injection
from ..arguments import Choice, Count, FilePath, HFModel, Positive, Seed, door
from ..data.texts import TEXTS
from ..injection.controls import WORD_CLASSES
from ..injection.items import FOLDER
from ..measure import statistics
from ..prompts import load_pairs
from ..results import dataset as results
from ..results.opening import open_result
from ..results.saving import export
from .common import ALONE, EVERY, mean_interval, read_record, shown, table_of, verdict, write_record

CELLS = "peer_derived_cells.csv.gz"
_SOME = ("shuffled", "random_direction")
#: as what another encoder is compared with
RIVAL = "encoder unembed"
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


@dataclass
class Reproduction:
    """What a run produced; `table` is *claim | paper | here | n | multiplicity | verdict*, `numbers` everything in it
    as numbers.
    """

    prompts: xr.Dataset
    grids: dict[str, xr.Dataset]
    summaries: dict[str, xr.Dataset]
    chosen: pd.DataFrame
    damage: xr.Dataset
    table: pd.DataFrame
    numbers: dict[str, Any] = field(default_factory=dict)
    fingerprint: str = ""
    figures: list[Path] = field(default_factory=list)


@door(injection.InjectionError)
def run(
    model: HFModel,
    *,
    data: FilePath = "own",
    preset: Annotated[str, Choice(tuple(PRESETS))] | Preset = "quick",
    out: FilePath | None = None,
    start: Any = "auto",
    seed: Seed = 0,
    memory_mb: Positive = 500,
    progress: bool | None = None,
    say: Callable[[str], None] = lambda line: None,
    limit: Count | None = None,
) -> Reproduction:
    """Runs the experiment, or takes it up where it was cut.

    Args:
        data: "own", "hand", "2wmh" or a file (see `lens.injection.load_items`); own items are those whose single-hop
            answer is the model's first choice.
        preset: quick, medium, full or a `Preset`.
        out: a folder for the store of every grid, the exported effects, figures and table; None keeps everything in
            memory.
        limit: fewer items than the preset's.

    Raises: InjectionError, ResultError: see `lens.injection.sweep`.
    """
    plan = PRESETS[preset] if isinstance(preset, str) else preset
    own: dict[str, Any] = {"rank": 1} if data == "own" else {}
    items = injection.load_items(data, limit=limit or plan.limit, **own)
    folder = Path(out) if out is not None else None
    if folder:
        files.make_folder(folder)
    prompts = injection.score(model, items, start=start, seed=seed)
    grids, summaries = {}, {}
    n_layers = getattr(getattr(model, "cfg", None), "n_layers", None) or model.config.num_hidden_layers
    for encoder, grid in plan.encoders.items():
        layers = list(range(0, n_layers, grid.every))
        say(
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
            progress=progress,
            store=None if folder is None else folder / f"{encoder}.zarr",
        )
        if results.provenance(grids[encoder])["status"] != "complete":
            raise KeyboardInterrupt(f"stopped in the grid of {encoder}; run the same command again to go on")
        summaries[encoder] = injection.summary(grids[encoder], of="logprob", seed=seed)
    chosen = choices(grids, splits=plan.splits, seed=seed)
    at = chosen[(chosen.condition == "memory") & (chosen["by"] == "mean") & chosen.against.isna()].set_index("encoder")
    cost = damage_at(model, items[: plan.damage_items], at, start=start, seed=seed)
    table, numbers = verdicts(prompts, grids, summaries, chosen, cost, by_outcome=data == "own", seed=seed)
    config = {
        "data": str(data),
        "preset": asdict(plan),
        "seed": seed,
        "start": start,
        "grids": {e: results.fingerprint(results.provenance(g)) for e, g in grids.items()},
    }
    made = Reproduction(
        prompts, grids, summaries, chosen, cost, table, numbers, results.fingerprint({"kind": "reproduction", **config})
    )
    if folder:
        _write(
            made, folder, config, title=f"{results.provenance(prompts)['model']['name']}, {data}, {len(items)} items"
        )
    return made


def choices(grids: Mapping[str, xr.Dataset], *, splits: int = 200, seed: int = 0) -> pd.DataFrame:
    """Held-out choice of a cell for every encoder: by the mean log-ratio and by the published measure, for the memory
    and for each control chosen in the same way.

    ``against`` names the control that the memory is compared with in the memory's chosen cell, or the encoder (its own
    best cell, chosen on the same half). ``held_out``: the median over splits of what the other half shows, ``low``,
    ``high`` and ``p``: over all splits; ``layer`` and ``strength``: of the first split, ``commonest`` of most.
    """
    rows = []
    for encoder, grid in grids.items():
        for by in ("mean", "trimmed_percent"):
            for condition in map(str, grid.condition.values):
                rows.append(
                    {"encoder": encoder, "by": by}
                    | injection.held_out(grid, condition=condition, measure=by, splits=splits, seed=seed)
                )
            for control in map(str, grid.condition.values[1:]):
                rows.append(
                    {"encoder": encoder, "by": by}
                    | injection.held_out(grid, against=control, measure=by, splits=splits, seed=seed)
                )
        if encoder != "unembed" and "unembed" in grids:
            rows.append(
                {"encoder": encoder, "by": "mean"}
                | injection.held_out(grid, rival=grids["unembed"], splits=splits, seed=seed)
                | {"against": RIVAL}
            )
    frame = pd.DataFrame(rows)
    frame["low"], frame["high"], frame["held_out"] = (
        [getattr(i, k) for i in frame.over_splits] for k in ("low", "high", "estimate")
    )
    frame["n_held_out"] = [int(i.n) for i in frame.over_splits]
    return frame.drop(columns=["interval", "over_splits"])


def damage_at(model: Any, items: Any, at: pd.DataFrame, *, start: Any = "auto", seed: int = 0) -> xr.Dataset:
    """Damage of every encoder at its chosen cell (coordinates ``layer`` and ``strength``), stacked over ``encoder``:
    unrelated factual prompts and the package's own everyday texts.
    """
    prompts = [p.clean for p in load_pairs("facts", split="report", limit=12)]
    parts = [
        injection.damage(
            model,
            items,
            prompts,
            layers=int(row.layer),
            strengths=(row.strength,),
            encoder=encoder,
            texts=TEXTS,
            controls=("random_direction",),
            start=start,
            seed=seed,
        ).isel(layer=0, strength=0)
        for encoder, row in at.iterrows()
    ]
    return results.stamp(
        xr.concat(
            [p.assign_coords(encoder=e) for e, p in zip(at.index, parts)],
            "encoder",
            coords=["layer", "strength"],
            combine_attrs="drop_conflicts",
        ),
        results.provenance(parts[0]),
    )


def verdicts(
    prompts: xr.Dataset,
    grids: Mapping[str, xr.Dataset],
    summaries: Mapping[str, xr.Dataset],
    chosen: pd.DataFrame,
    cost: xr.Dataset,
    *,
    by_outcome: bool = False,
    seed: int = 0,
) -> tuple[pd.DataFrame, dict]:
    """Each claim of the paper against what was measured; the verdict follows from the interval by the rule in the row.
    The unit is the memory.

    ``by_outcome``: whether the items are those whose single-hop prompt the model answers first: that single-hop prompts
        are answered better was put in by the choice then.
    """
    n = int(prompts.sizes["item"])
    rows: list[tuple[Any, ...]] = []
    numbers: dict[str, Any] = {}

    def over(values):
        return over_memories(prompts, values, seed)

    probability = np.exp(prompts["first"])
    interval = over((prompts.logprob.sel(prompt="single") - prompts.logprob.sel(prompt="multi")).values)
    units = f"{int(interval.n)} memories, {n} items"
    mean = {p: float(probability.sel(prompt=p).mean()) for p in prompts.prompt.values}
    numbers |= {
        "p_multi": mean["multi"],
        "p_single": mean["single"],
        "gap": float(interval.estimate),
        "gap_low": float(interval.low),
        "gap_high": float(interval.high),
        "n": n,
    }
    rows.append(
        (
            "Multi-hop prompts are answered worse than single-hop ones",
            "p(first token) .087 against .158 (GPT-2 small, hand-written), .157 against .284 (large)",
            f"{mean['multi']:.3f} against {mean['single']:.3f}; log-ratio {shown(interval)} nats",
            units,
            (
                "not judged: the items were chosen by their single-hop answer"
                if by_outcome
                else verdict(interval.low > 0, interval.high < 0)
            ),
        )
    )

    for by, claim, paper in (
        (
            "trimmed_percent",
            "Injecting the memory (unembed, cell by the published measure) raises the answer's probability",
            "+45 % (GPT-2 small, hand-written), trimmed mean of the same items that chose the cell",
        ),
        (
            "mean",
            "... in the cell with the best mean log-ratio",
            "not reported; from their files +28 % geometric mean at strength 2, layer 6 of 12",
        ),
    ):
        row = _row(chosen, "unembed", by)
        trimmed = (
            f"; trimmed mean {row.trimmed_selected:+.0f} % where chosen, {row.trimmed_reported:+.0f} % held out"
            if by == "trimmed_percent"
            else ""
        )
        numbers |= {
            f"unembed_{by}_{k}": float(row[k])
            for k in (
                "layer",
                "strength",
                "held_out",
                "low",
                "high",
                "selected",
                "reported",
                "bias",
                "trimmed_selected",
                "trimmed_reported",
            )
        }
        rows.append(
            (
                claim,
                paper,
                (
                    f"{_cell(row)}: held-out log-ratio {_over_splits(row)} nats, mean over splits {row.reported:+.2f};"
                    f" selection bias {row.bias:.2f}{trimmed}"
                ),
                _held_out(row, n),
                verdict(
                    row.low > 0,
                    row.high < 0,
                    (
                        "the percentage rises, the log-probability falls"
                        if by == "trimmed_percent" and row.trimmed_reported > 0 and row.high < 0
                        else ""
                    ),
                ),
            )
        )

    row, control = _row(chosen, "unembed", "mean", "random_direction"), _row(chosen, "unembed", "mean", "shuffled")
    numbers |= {f"unembed_vs_{r.against}_{k}": float(r[k]) for r in (row, control) for k in ("held_out", "low", "high")}
    rows.append(
        (
            "It is the memory that helps, not any injection",
            (
                "random words of each part of speech: -17.1 to +17.6 % (both models, both sets), one layer deeper than"
                " the memory"
            ),
            (
                f"same cell, memory minus another item's: {_over_splits(control)}; minus a random direction of equal"
                f" norm: {_over_splits(row)} nats"
            ),
            _held_out(row, n),
            verdict(min(row.low, control.low) > 0, max(row.high, control.high) < 0),
            EVERY,
        )
    )

    encoders = [e for e in grids if e != "unembed"]
    if encoders:
        text, found = [], []
        for e in encoders:
            own, other, apart = (_row(chosen, e, "mean", against) for against in (None, "shuffled", RIVAL))
            numbers |= {
                f"{e}_{k}": float(own[k]) for k in ("layer", "strength", "held_out", "low", "high", "bias", "p")
            }
            numbers |= {
                f"{e}_vs_{name}_{k}": float(r[k])
                for name, r in (("shuffled", other), ("unembed", apart))
                for k in ("held_out", "low", "high", "p")
            }
            text.append(
                f"{e} minus unembed {_over_splits(apart)} nats; {e} itself ({_cell(own)}) {_over_splits(own)}, minus"
                f" shuffled {_over_splits(other)}"
            )
            found.append((apart, other))
        adjusted = statistics.holm([apart.p for apart, _ in found])
        better = [
            bool(apart.held_out > 0 and q <= 0.05 and other.low > 0) for (apart, other), q in zip(found, adjusted)
        ]
        rows.append(
            (
                (
                    "Another encoder does better than unembed (not in the paper; its code has `layer`, here"
                    " activation). Rule: its gain over unembed on the same memories, each at its own best cell, and"
                    " over another item's memory"
                ),
                "from their files: +52 % geometric mean (GPT-2 small, hand-written) against +28 %",
                "; ".join(text),
                _held_out(found[0][0], n),
                verdict(any(better), all(apart.high < 0 for apart, _ in found)),
                f"Holm over {len(found)}" if len(found) > 1 else ALONE,
            )
        )

    plain = over((prompts.logprob.sel(prompt="prompted") - prompts.logprob.sel(prompt="multi")).values)
    paired = over((prompts.logprob.sel(prompt="prompted") - prompts.logprob.sel(prompt="prompted_other")).values)
    numbers |= {
        "prompted": float(plain.estimate),
        "prompted_low": float(plain.low),
        "prompted_high": float(plain.high),
        "prompted_vs_other": float(paired.estimate),
    }
    rows.append(
        (
            "Putting the memory in the prompt instead (baseline that the paper lacks)",
            "not measured",
            f"{shown(plain)} nats; minus another item's memory there {shown(paired)}",
            units,
            "helps" if plain.low > 0 and paired.low > 0 else "harms" if plain.high < 0 else "no effect shown",
            EVERY,
        )
    )

    for e in cost.encoder.values:
        kl, nll = (
            mean_interval(
                cost[v].sel(encoder=e, condition="memory").values - (0 if v == "kl" else cost.nll.attrs["nll_clean"]),
                seed,
            )
            for v in ("kl", "nll")
        )
        row = cost.sel(encoder=e)
        numbers |= {f"{e}_damage_kl": float(kl.estimate), f"{e}_damage_nll": float(nll.estimate)}
        rows.append(
            (
                f"Damage of {e} at the cell of the first split (not measured in the paper)",
                "perplexity is never measured",
                (
                    f"layer {int(row.layer)}, strength {float(row.strength):g}: KL on unrelated prompts {shown(kl)}"
                    f" nats; everyday text {shown(nll)} nats a token (perplexity"
                    f" {np.exp(cost.nll.attrs['nll_clean']):.1f} to"
                    f" {np.exp(cost.nll.attrs['nll_clean'] + nll.estimate):.1f})"
                ),
                int(kl.n),
                "damages" if nll.low > 0 else "no damage shown",
            )
        )

    top, row = injection.best(summaries["unembed"], "trimmed_percent"), _row(chosen, "unembed", "trimmed_percent")
    numbers |= {
        f"headline_{k}": float(top[k])
        for k in ("layer", "strength", "trimmed_percent", "mean_percent", "mean", "median", "improved")
    }
    rows.append(
        (
            (
                "The headline: up to 424 % (trimmed mean percentage, best cell, same items). Judged by the log-ratio in"
                " cells chosen so on the other half"
            ),
            (
                "+424 % at strength 5, layer 5 of GPT-2 small on 2WikiMultiHop (n = 1000); in that cell the median is"
                " -24 % and the mean log-ratio -0.54 nats (geometric mean -42 %)"
            ),
            (
                f"best cell by that measure (layer {top['layer']}, strength {top['strength']:g}):"
                f" {top['trimmed_percent']:+.0f} % trimmed, {100 * np.expm1(top['median']):+.0f} % median, mean"
                f" log-ratio {top['mean']:.2f} nats, {100 * top['improved']:.0f} % of items improved, all on the items"
                f" that chose it; held out {_over_splits(row)} nats"
            ),
            _held_out(row, n),
            verdict(
                row.low > 0,
                row.high < 0,
                (
                    "the measure rises while the answers get less likely"
                    if row.trimmed_reported > 0 and row.high < 0
                    else ""
                ),
            ),
        )
    )
    return table_of(rows), numbers


def over_memories(prompts: xr.Dataset, values: np.ndarray, seed: int = 0) -> statistics.Interval:
    """The mean of one value an item, with an interval over memories: items that share one are no independent units."""
    of = (
        pd.Series(values).groupby(prompts["memory"].values.astype(str)).mean().to_numpy()
        if "memory" in prompts.coords
        else values
    )
    return mean_interval(of, seed)


def _cell(row: pd.Series) -> str:
    at = row.commonest if isinstance(row.commonest, dict) else {"layer": row.layer, "strength": row.strength}
    return (
        f"most often layer {at['layer']}, strength {at['strength']:g} ({100 * row.stability:.0f} % of {row.splits}"
        " splits)"
    )


def _over_splits(row: pd.Series) -> str:
    return f"{row.held_out:+.2f} [{row.low:+.2f}, {row.high:+.2f}]"


def _held_out(row: pd.Series, items: int) -> str:
    return f"{row.n_held_out} of {row.n} memories held out, {row.splits} splits; {items} items"


def _row(chosen: pd.DataFrame, encoder: str, by: str, against: str | None = None) -> pd.Series:
    frame = chosen[(chosen.encoder == encoder) & (chosen["by"] == by) & (chosen.condition == "memory")]
    return frame[frame.against.isna() if against is None else frame.against == against].iloc[0]


def published_cells(
    data: str = "hand", model: str = "gpt2-small", kind: str = "curated", path: str | os.PathLike | None = None
) -> xr.Dataset:
    """The paper's own cells in the form of a summary, so that the same figure draws them: per layer, strength and
    condition (encoder, or word class).

    ``path``: the file ``peer_derived_cells.csv.gz``; None looks in the folder that MNEMOSCOPE_MEMORY_INJECTIONS names.
    ``kind``: "curated" (the memories) or "pos" (random words by part of speech).

    Raises: InjectionError: no such file, or nothing in it for the model and data.
    """
    file = Path(path) if path else Path(os.environ.get(FOLDER, "")) / CELLS
    if not file.is_file():
        raise injection.InjectionError(
            f"path: there is no {file.name} at {file.parent}; give path=, or set {FOLDER} to the folder that holds it."
        )
    cells = pd.read_csv(file)
    mine = cells[(cells["kind"] == kind) & (cells["ds"] == data) & (cells["model"] == model)]
    if mine.empty:
        have = cells[["kind", "ds", "model"]].drop_duplicates().agg("/".join, axis=1).tolist()
        raise injection.InjectionError(
            f"model={model!r} with data={data!r}, kind={kind!r} is not in {file.name}; it has {', '.join(have)}."
        )
    ds = mine.set_index(["layer0", "tau", "hook"])[
        ["mean_pct_2sd", "mean_pct", "geomean_pct", "median_pct", "frac_up"]
    ].to_xarray()
    ds = ds.rename(
        layer0="layer",
        tau="strength",
        hook="condition",
        mean_pct_2sd="trimmed_percent",
        mean_pct="mean_percent",
        geomean_pct="geometric",
        median_pct="median_percent",
        frac_up="improved",
    )
    with np.errstate(divide="ignore"):  # -100 %, as it was rounded
        ds["mean"] = np.log1p(ds.geometric / 100)
    ds.attrs["n"] = int(mine.n.iloc[0])
    return ds


def _write(made: Reproduction, folder: Path, config: Mapping[str, Any], title: str) -> None:
    """Figures, table, numbers and the effects of every item as NetCDF."""
    from ..figures import change_plot, dose_plot, injection_map

    kept = (lambda ds: ds) if config["data"] == "own" else without_texts
    for encoder, grid in made.grids.items():
        export(
            kept(grid[["logprob", "first", "exact", *(f"multi_{s}" for s in ("logprob", "first", "exact"))]]),
            folder / f"effects_{encoder}.nc",
            overwrite=True,
        )
        summary = made.summaries[encoder]
        for variable in ("mean", "trimmed_percent"):
            made.figures.append(folder / f"{encoder}_{variable}.png")
            injection_map(summary, made.figures[-1], variable=variable, title=f"{title}: {encoder}")
        row = _row(made.chosen, encoder, "mean")
        made.figures.append(folder / f"{encoder}_dose.png")
        dose_plot(summary, int(row.layer), made.figures[-1], title=f"{title}: {encoder}, layer {row.layer}")
        made.figures.append(folder / f"{encoder}_items.png")
        at = injection.log_ratio(grid).sel(layer=row.layer, strength=row.strength)
        change_plot(
            {str(c): at.sel(condition=c).values for c in grid.condition.values[:4]},
            made.figures[-1],
            title=f"{title}: {encoder}, layer {row.layer}, strength {row.strength:g}",
        )
    for kind, name in (("curated", "published_memories"), ("pos", "published_words")):
        try:
            cells = published_cells(kind=kind)
        except injection.InjectionError:
            continue
        made.figures.append(folder / f"{name}.png")
        injection_map(
            cells,
            made.figures[-1],
            variable="trimmed_percent",
            title=f"published cells: GPT-2 small, hand-written, n = {cells.attrs['n']}",
        )
    export(kept(made.prompts), folder / "prompts.nc", overwrite=True)
    export(kept(made.damage), folder / "damage.nc", overwrite=True)
    files.write_all(
        {folder / "chosen.csv": made.chosen.to_csv(index=False), folder / "table.csv": made.table.to_csv(index=False)}
    )
    write_record(folder, "memory-injections", made.fingerprint, config, made.numbers, results.provenance(made.prompts))


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


@door(injection.InjectionError)
def load(folder: FilePath, *, model: HFModel | None = None, seed: Seed = 0) -> Reproduction:
    """A run that was written before, its tables computed anew from the stored effects of every item.

    Raises: InjectionError: the folder holds none, or it was made with another model's weights.
    """
    folder = Path(folder)
    record = read_record(folder, "memory-injections", model, injection.InjectionError)
    grids = {
        path.stem.removeprefix("effects_"): open_result(path)
        for path in sorted(folder.glob("effects_*.nc"), key=lambda p: p.stem != "effects_unembed")
    }
    summaries = {e: injection.summary(g, seed=seed) for e, g in grids.items()}
    prompts, cost = open_result(folder / "prompts.nc"), open_result(folder / "damage.nc")
    chosen = choices(grids, splits=record["config"]["preset"]["splits"], seed=seed)
    table, numbers = verdicts(
        prompts, grids, summaries, chosen, cost, by_outcome=record["config"]["data"] == "own", seed=seed
    )
    return Reproduction(prompts, grids, summaries, chosen, cost, table, numbers, record["fingerprint"])
