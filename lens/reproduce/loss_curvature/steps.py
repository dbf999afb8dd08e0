"""The steps of the loss-curvature experiment on one model, each a Dataset that a killed run finds again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ... import curvature, memorization
from ...engine.stopping import Stopped
from ...memorization import Sequences
from ...results import dataset as results
from ...training import Recipe, Rows
from ..common import step
from .bench import CANDIDATES, RISE, Bench, kind_of

SEARCHED = ("K-FAC", "SVD")
UNEDITED = "unedited"
#: names of the attacks that train
ITSELF, CLEAN = "the memory itself", "clean text"
AT = (0, 1, 2, 5, 10, 25)


def all_steps(methods: Sequence[str], attacked: Sequence[str]) -> dict[str, Callable[[Bench], xr.Dataset]]:
    """The steps of one model by name, in order."""
    return {
        "choice": choice,
        "spectrum": spectrum,
        "activation": activation,
        "matched": matched,
        **{f"curve {m}": partial(curve, method=m) for m in methods},
        "retention": retention,
        "duplicates": duplicates,
        "gone twin": partial(gone, method="twin"),
        **{f"gone {m}": partial(gone, method=m) for m in attacked if m in methods},
    }


def choice(bench: Bench) -> xr.Dataset:
    """The layers that are chosen for K-FAC and for SVD, which the bench goes on with."""
    ds = _choice(bench)
    bench.held["layers"] = {str(m): str(c) for m, c in zip(ds.search.values, ds.chosen.values)}
    return ds


@step("choice")
def _choice(bench: Bench) -> xr.Dataset:
    """For K-FAC and for SVD: the candidate layers, each at the strength that costs `RISE` on the choosing half, and
    what of the tune split is still recited; the least wins (ties: the farthest from the text).
    """
    names, tune = list(bench.plan.candidates), bench.sets["tune"]
    of: dict[str, list] = {name: [] for name in ("removed", "rise", "strict", "loose", "lev")}
    for search in SEARCHED:
        for name in names:
            edit = partial(bench.edit, search, layers=CANDIDATES[name])
            removed, rise = bench.matched(edit, "curvature")
            with edit(removed).applied(bench.model):
                found = memorization.extract(bench.model, tune, progress=False)
            read = {m: float(found[m].mean()) for m in ("strict", "loose", "lev")}
            for key, value in {"removed": removed, "rise": rise, **read}.items():
                of[key].append(value)
    shape = (len(SEARCHED), len(names))
    ds = xr.Dataset(
        {k: (("search", "layers"), np.reshape(v, shape)) for k, v in of.items()},
        coords={"search": list(SEARCHED), "layers": names},
    )
    best = [
        min(range(len(names)), key=list(zip(row.strict.values, -row.lev.values)).__getitem__)
        for row in (ds.sel(search=s) for s in SEARCHED)
    ]
    ds["chosen"] = ("search", np.array([names[i] for i in best]))
    return bench.stamped(ds, "choice of layers", found, rise=RISE, n=len(tune))


@step("spectrum", light=lambda ds: ds.drop_vars(["mu", "lam", "index"]))
def spectrum(bench: Bench) -> xr.Dataset:
    """How curvature mass and the weights' energy are spread over pairs."""
    return curvature.spectrum(bench.decomposition())


def _relative(ds: xr.Dataset) -> xr.Dataset:
    """Per sequence relative to the mean of clean ones, averaged over layers."""
    mean = ds.of_clean.mean("clean_sequence")
    relative = {
        f"relative_{kind}": (ds[f"of_{kind}"] / mean).mean("layer").transpose(f"{kind}_sequence", ...)
        for kind in ("memorised", "clean")
    }
    return ds.drop_vars(["of_memorised", "of_clean"]).assign(relative)


@step("activation", light=_relative)
def activation(bench: Bench) -> xr.Dataset:
    """How strongly recited (val) and clean sequences use each band."""
    val = bench.sets["val"]
    rows = (val.ids, bench.rows["report"][:, : val.length])
    return curvature.activation_ratio(bench.model, bench.decomposition(), *rows, seed=bench.draw, progress=False)


def _light(ds: xr.Dataset) -> xr.Dataset:
    """A trade-off without the texts, nDCG as its mean over texts."""
    ds = ds.drop_vars(
        [v for v in ("generated", "gold", "right", "nll", "rouge_l", "hits", "copy_loss", "exact_prefix") if v in ds]
        + [c for c in ("token",) if c in ds.coords]
    )
    return ds.assign(ndcg=ds.ndcg.mean("text"), nll_text=ds.nll_text.astype("float32"))


def _tradeoff(bench: Bench, edits: Mapping[Any, Any]) -> xr.Dataset:
    both, rows = {name: bench.sets[name] for name in ("val", "verse")}, bench.rows["report"]
    options: dict[str, Any] = {"copying": 0, "heads": False, "progress": False}
    if "before" not in bench.held:
        bench.held["before"] = memorization.performance(bench.model, rows, **options)
    return memorization.tradeoff(bench.model, edits, both, rows, before=bench.held["before"], **options)


@step("matched", light=_light)
def matched(bench: Bench) -> xr.Dataset:
    """Every method at the strength that costs `RISE` on the choosing half of clean text: recitation, loss and nDCG on
    the reporting half.
    """
    found = {m: bench.matched(partial(bench.edit, m), kind_of(m)) for m in bench.plan.methods}
    ds = _tradeoff(bench, {m: bench.edit(m, s) for m, (s, _) in found.items()})

    def at(i, start):
        return ("edit", np.array([start, *(found[m][i] for m in bench.plan.methods)]))

    return results.stamp(
        ds.assign(strength=at(0, 0.0), chosen_rise=at(1, 0.0)), results.provenance(ds) | {"kind": "matched"}
    )


def strength(bench: Bench, method: str) -> float:
    """The strength of a method at the clean loss at which methods are compared."""
    return float(matched(bench).strength.sel(edit=method))


@step(lambda method: f"curve {method}", light=_light)
def curve(bench: Bench, method: str) -> xr.Dataset:
    """The trade-off curve of a method on val and verse."""
    points = list(bench.points(method, strength(bench, method)))
    ds = _tradeoff(bench, {f"{s:g}": _lazily(build) for s, build in points})
    return results.stamp(
        ds.assign(strength=("edit", np.array([0.0, *(s for s, _ in points)]))),
        results.provenance(ds) | {"method": method},
    )


def _lazily(build: Callable[[], Any]) -> Callable[[Any], Any]:
    return lambda model: build().applied(model)


@step("retention")
def retention(bench: Bench) -> xr.Dataset:
    """Tasks, ranking, copying and prefix matching under the matched edits; over `edit`."""
    asked = (bench.rows["report"], dict(bench.corpus.tasks(bench.plan.tasks)))
    options: dict[str, Any] = {"progress": False, "repeats": 3}
    before = memorization.performance(bench.model, *asked, **options)
    names = [m for m in bench.plan.kept if m in bench.plan.methods]
    edits = (bench.edit(m, strength(bench, m)) for m in names)
    parts = [memorization.damage(bench.model, edit, *asked, before=before, **options) for edit in edits]
    parts = [p.drop_vars(["answer_nll_before", "answer_nll_after"]) for p in parts]
    own = [v for v in parts[0] if str(v).endswith("_after") or v == "ndcg"]
    ds = xr.concat(
        parts, "edit", data_vars=own, coords="minimal", compat="override", join="override", combine_attrs="drop"
    ).assign_coords(edit=names)
    return results.stamp(ds, results.provenance(before) | {"kind": "retention"})


@step("duplicates")
def duplicates(bench: Bench) -> xr.Dataset:
    """Extraction and membership scores of every planted sequence, before and after the matched edits; over `state,
    sequence`.
    """
    names = [UNEDITED, *(m for m in bench.plan.kept if m in bench.plan.methods)]
    parts = []
    for family, of in bench.families.items():
        number = pd.DataFrame({"kind": of.kind, "count": of.duplicates}).groupby(["kind", "count"]).cumcount()
        of = of.subset(number.to_numpy() < bench.plan.planted)
        columns: dict[str, list] = {"strict": [], "loose": [], "value": []}
        for name in names:
            edit = None if name == UNEDITED else bench.edit(name, strength(bench, name))
            with memorization.edited(bench.model, edit) as now:
                found = memorization.extract(now, of, progress=False)
                scores = memorization.membership_scores(now, of, reference=bench.twin)
            columns["strict"].append(found.strict.values)
            columns["loose"].append(found.loose.values)
            columns["value"].append(np.stack(list(scores.values())))
        variables: dict[str, Any] = {k: (("state", "sequence"), np.stack(columns[k])) for k in ("strict", "loose")}
        variables["value"] = (("state", "score", "sequence"), np.stack(columns["value"]))
        coords = {"state": names, "score": list(scores), **of.coords()}
        parts.append(xr.Dataset(variables, coords | {"family": ("sequence", np.full(len(of), family))}))
    ds = xr.concat(parts, "sequence").reset_coords(drop=False)
    return bench.stamped(ds.set_coords(["name", "kind", "duplicates", "family"]), "duplicates", found)


def others(bench: Bench) -> dict[str, Sequences]:
    """Memorised sequences that are trained on while the val split is probed: k of the tune split, drawn by the seed."""
    tune = bench.sets["tune"]
    order = np.random.default_rng(bench.draw).permutation(len(tune))
    return {f"{k} others": tune.subset(order[:k]) for k in sorted({min(k, len(tune)) for k in bench.plan.others})}


@step(lambda method: f"gone {method}")
def gone(bench: Bench, method: str) -> xr.Dataset:
    """Attacks on the val split under the matched edit of a method, or on the "twin" that never had it: training on
    other memorised ones, on clean text and on the memory itself; stretched and worn prefixes.
    """
    plan, val = bench.plan, bench.sets["val"]
    model, edit = bench.twin, None
    if method != "twin":
        model, edit = bench.model, bench.edit(method, strength(bench, method))
    steps, rate = plan.relearn_steps, plan.relearn_rate
    recipe = Recipe(steps, 8, rate, weight_decay=0.0, schedule="constant", seed=bench.draw)
    clean = bench.rows["training"][160:]
    arms: dict[str, Sequences | np.ndarray | Rows] = {**others(bench), CLEAN: clean, ITSELF: val}
    trained = memorization.relearning(
        model, val, arms, edit=edit, recipe=recipe, at=[a for a in AT if a <= plan.relearn_steps], progress=False
    )
    if set(trained.status.values.ravel()) != {"complete"}:
        raise Stopped(f"relearning after {method} was stopped")
    trained = trained.isel(model=0, drop=True)[["strict", "loose", "nll"]].drop_vars(["set"])
    with memorization.edited(model, edit) as now:
        asked = memorization.stretch(now, val, shifts=plan.shifts, seed=bench.draw, progress=False)
    for name in ("strict", "loose", "exact_prefix"):
        trained[f"asked_{name}"] = (("variant", "sequence"), asked[name].values)
    trained = trained.assign_coords(variant=asked.variant.values).assign(nll=trained.nll.astype("float32"))
    call = {"method": method, "recipe": recipe.sha256(), "arms": {k: len(v) for k, v in arms.items()}}
    return bench.stamped(trained, "is it gone", asked, **call)
