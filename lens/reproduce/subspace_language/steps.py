"""The steps of the memory-subspace study: each makes one table for one model of the organism `canaries`.

Everything is located on sequences that the unedited model recites, chosen on the tune split of the first seed, and
reported on the val split of every seed and on the second family. `rise` is the rise of the clean loss over the unedited
model, nats a token.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ... import memorization as mem
from ... import subspace
from ...subspace.errors import SubspaceError
from .bench import METHODS, SECOND, Bench

#: Methods are compared at this rise of the clean loss (5 % of perplexity), and edits that are looked into cost at most
#: so much.
RISE = 0.05
#: ... and at this one, which the curves of the methods that learn weights reach too: they end where nothing is recited
#: any more, at little cost.
LEAST_RISE = 0.01
#: Share of each row's weights at which specificity is asked, as published; sets of each kind.
SPARSITY, SETS = 0.01, 5
SPECIFIC: Mapping[str, Mapping[str, Any]] = {"contrast": {}, "corrected": {"margin": 1.0}}


# -- the choice of settings, and curves --------------------------------------------------------------------------------


def chosen(bench: Bench, names: Sequence[str], most: int = 9) -> pd.DataFrame:
    """Every setting (`most` of a method) on the tune split: strict recitation at the rise that methods are compared at.
    `chosen` marks the least, earlier ones first.
    """
    lines = []
    for name in names:
        method = METHODS[name]
        settings = method.settings[:most]
        about = {"n": len(bench.tune), "settings": len(settings)}
        for at, setting in enumerate(settings):
            value = np.nan  # of one setting there is no choice to make
            if len(settings) > 1:
                frame = sweep(bench, name, method.make(bench, bench.tune, setting, method.doses), {"tune": bench.tune})
                if frame.dose.nunique() > 1:
                    value = float(mem.matched({name: curve_of(frame)}, RISE, among="tune").strict.iloc[0])
            line = {"method": name, "setting": json.dumps(dict(setting)), "order": at, "strict": value}
            lines.append(line | about)
    table = pd.DataFrame(lines)
    best = table.sort_values(["strict", "order"]).groupby("method").head(1).index
    return table.assign(chosen=table.index.isin(best))


def settings_of(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The setting that was chosen for each method."""
    return {line.method: json.loads(line.setting) for line in table[table.chosen].itertuples()}


def sweep(
    bench: Bench, name: str, edits: Mapping[float, Any], sets: Mapping[str, mem.Sequences], **about: Any
) -> pd.DataFrame:
    """Recitation of each sequence under each edit, with what the edit costs; dose 0 is the unedited model."""
    if not edits:
        return pd.DataFrame({"dose": [], "strict": []})
    ds = mem.tradeoff(
        bench.model, edits, sets, bench.held[0], before=bench.before, copying=0, heads=False, progress=False
    )
    doses, density = [0.0, *edits], [0.0, *(getattr(e, "density", np.nan) for e in edits.values())]
    n, e = ds.sizes["sequence"], ds.sizes["edit"]

    def column(values):
        return np.repeat(np.asarray(values), n)

    frame = pd.DataFrame(
        {
            **about,
            "method": name,
            "dose": column(doses),
            "set": np.tile(ds.set.values, e),
            "kind": np.tile(ds.kind.values, e),
            "name": np.tile(ds.name.values, e),
            **{m: ds[m].values.reshape(-1) for m in ("strict", "loose", "lev", "nll")},
            "clean_loss": column(ds.clean_loss.values),
            "rise": column(ds.clean_loss.values - ds.clean_loss.values[0]),
            "density": column(density),
            "ndcg": column(ds.ndcg.mean("text").values),
        }
    )
    return frame.assign(strict=frame.strict.astype(bool), loose=frame.loose.astype(bool))


def curves(bench: Bench, name: str, setting: Mapping[str, Any]) -> pd.DataFrame:
    """One method located on the val split, from weak to strong: recitation of val (what was to go) and of verse
    (another family, not looked at).
    """
    edits = METHODS[name].make(bench, bench.val, setting, METHODS[name].doses)
    return sweep(bench, name, edits, {"val": bench.val, "verse": bench.verse}, seed=bench.seed)


def curve_of(frame: pd.DataFrame) -> xr.Dataset:
    """One method's lines of one seed as `lens.memorization.matched` reads them."""
    how = {"index": "dose", "columns": ["set", "name"], "aggfunc": "first", "observed": True}
    wide = {m: frame.pivot_table(values=m, **how).astype(float) for m in ("strict", "loose", "lev")}
    cost = frame.groupby("dose").clean_loss.first()
    return xr.Dataset(
        {m: (("edit", "sequence"), v.to_numpy()) for m, v in wide.items()} | {"clean_loss": ("edit", cost.to_numpy())},
        {"set": ("sequence", [s for s, _ in wide["strict"].columns])},
    )


def operating(frame: pd.DataFrame, method: str, seed: int) -> float | None:
    """The largest dose whose clean loss rises by at most `RISE`: chosen without a look at recitation. None where
    already the least costs more.
    """
    of = frame[(frame.method == method) & (frame.seed == seed) & (frame.dose > 0) & (frame.rise <= RISE)]
    return None if of.empty else float(of.dose.max())


def edit_at(bench: Bench, of: mem.Sequences, name: str, setting: Mapping[str, Any], dose: float) -> Any:
    """One edit of a method, located on `of`; None where its mask is empty."""
    return METHODS[name].make(bench, of, setting, (dose,)).get(dose)


# -- specificity -------------------------------------------------------------------------------------------------------


def specific(bench: Bench, sets: int = SETS) -> pd.DataFrame:
    """IoU of masks of disjoint sets by kind of sequence, score and reference: lines of pairs with their IoU by layer,
    and the label permutation's p on each.
    """
    lines: list[dict[str, Any]] = []
    for kind in ("code", "plausible"):
        every, strict, _ = bench.main
        memorised = bench._some(every.subset(strict & (every.kind == kind)))
        other = bench.unseen(kind, len(memorised), "specificity")
        references = {
            "unseen, same kind": bench.reference.subset(bench.reference.kind == kind),
            "clean text": mem.Sequences(bench.clean, 1),
        }
        for (reference, rows), (method, options) in itertools.product(references.items(), SPECIFIC.items()):
            line = {"kind": kind, "reference": reference, "method": method}
            how = {"method": method, "sparsity": SPARSITY, "layers": SECOND, "overlap": 20, "progress": False}
            try:
                ds = subspace.specificity(
                    bench.model, memorised, other, rows, sets=sets, seed=bench.seed, **how, **options
                )
            except SubspaceError as error:
                if "empty" not in str(error):
                    raise
                lines.append({**line, "pair": "memorised", "mean": np.nan, "n": 0})
                continue
            p = dict(zip(map(str, ds.test.values), ds.p.values))
            tests = {f"p_{against}": float(p[f"memorised - {against}"]) for against in ("other", "mixed")}
            about = {"sets": sets, "chance": float(ds.chance), "density": float(ds.density.mean()), **tests}
            for at, pair in enumerate(map(str, ds.pair.values)):
                read = {name: float(ds[name][at]) for name in ("mean", "low", "high")} | {"n": int(ds.n[at])}
                layers = {"p_kind": str(ds.p.attrs["kind"]), "layers": [float(v) for v in ds.by_layer[at].values]}
                lines.append({**line, "pair": pair, **read, **about, **layers})
    return pd.DataFrame(lines).assign(seed=bench.seed)


# -- transfer ----------------------------------------------------------------------------------------------------------


def transfer(
    bench: Bench,
    settings: Mapping[str, Mapping[str, Any]],
    doses: Mapping[str, float | None],
    sets: int = 4,
    names: Sequence[str] = ("contrast", "corrected", "wanda", "eigen"),
) -> pd.DataFrame:
    """Masks of one set of memorised canaries on the others and on the second family; beside them masks of unseen
    sequences and random ones of equal density.
    """
    every = mem.Sequences.concat([bench.tune, bench.val])
    rng = np.random.default_rng([bench.seed, 5])
    order = np.concatenate(
        [rng.permutation(np.flatnonzero(every.kind == kind)) for kind in dict.fromkeys(every.kind.tolist())]
    )
    parts = []
    for i in range(sets):
        own = np.sort(order[i::sets])
        rest = np.setdiff1d(np.arange(len(every)), own)
        parted = {"own": every.subset(own), "others": every.subset(rest), "verse": bench.verse}
        counts = {kind: max(1, int((every.kind[own] == kind).sum())) for kind in ("code", "plausible")}
        unseen = mem.Sequences.concat([bench.unseen(kind, n, f"transfer {i}") for kind, n in counts.items()])
        for name in names:
            if (dose := doses.get(name)) is None or (
                mask := edit_at(bench, parted["own"], name, settings[name], dose)
            ) is None:
                continue
            edits = {"memorised": mask, "unseen": edit_at(bench, unseen, name, settings[name], dose)}
            if isinstance(mask, subspace.Mask):
                edits |= {f"random {by}": subspace.random_like(mask, bench.seed + i, by) for by in ("rows", "columns")}
            for source, edit in edits.items():
                if edit is not None:
                    swept = sweep(bench, name, {dose: edit}, parted)
                    parts.append(swept[swept.dose > 0].assign(source=source, of=i))
    return pd.concat(parts, ignore_index=True).assign(seed=bench.seed) if parts else pd.DataFrame()
