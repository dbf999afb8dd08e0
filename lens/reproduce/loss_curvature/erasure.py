"""Is it gone? What attacks bring back of what an edit took away, in each training run and over them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ... import memorization
from .pooling import Parts, inside, over_runs, pooled
from .steps import ITSELF

#: attacks that ask by another prefix: how the names of their variants begin
PREFIXES = {"stretched prefixes": ("longer", "shift", "shorter", "left"), "worn prefixes": ("noise",)}


def arms(ds: xr.Dataset) -> dict[str, str]:
    """What was trained on, as it is called over seeds (all others are not equally many in each) -> as it is called in
    this one.
    """
    names = list(map(str, ds.on.values))
    several = [n for n in names if n.endswith(" others")]
    most = max(several, key=lambda n: int(n.split()[0]), default="")
    return {("all others" if n == most else n): n for n in names}


def attacked(parts: Parts) -> list[str]:
    """Methods that were attacked, without the twin."""
    return [n.removeprefix("gone ") for n in next(iter(parts.values())) if n.startswith("gone ") and n != "gone twin"]


def relearning(parts: Parts, seed: int) -> pd.DataFrame:
    """Strict recitation of val by step of training, by method and what was trained on; the twin beside them."""
    lines = []
    for method in (*attacked(parts), "twin"):
        of = [p[f"gone {method}"] for p in parts.values()]
        for name in arms(of[0]):
            for i, step in enumerate(of[0].step.values):
                found = pooled([ds.strict.sel(on=arms(ds)[name]).values[i] for ds in of], seed=seed)
                lines.append({"method": method, "on": name, "step": int(step), **found})
    return pd.DataFrame(lines)


def asked(parts: Parts, seed: int) -> pd.DataFrame:
    """Longest exact match in tokens: with the original prefix, and the largest over all variants."""
    lines = []
    for method in (*attacked(parts), "twin"):
        of = [p[f"gone {method}"].asked_exact_prefix for p in parts.values()]
        for name, values in {
            "original prefix": [v.sel(variant="original").values for v in of],
            "most of all variants": [v.max("variant").values for v in of],
        }.items():
            lines.append({"method": method, "asked": name, **pooled(values, seed=seed)})
    return pd.DataFrame(lines)


def judged(parts: Parts, method: str, seed: int) -> dict[int, memorization.Verdict]:
    """Hides or erases, by run: its attacks, each against its twin, on the sequences that the edit took away. The level
    is .05 over the runs (Bonferroni), Holm over attacks within.
    """
    out = {}
    for s, p in parts.items():
        after = p["matched"].strict.sel(edit=method).values[inside(p["matched"], "val")]
        sides = (p[f"gone {method}"], p["gone twin"])
        attacks = {}
        for name, starts in PREFIXES.items():
            some = [v for v in sides[0].variant.values if str(v).startswith(starts)]
            attacks[name] = memorization.Attack(*(ds.asked_strict.sel(variant=some).values.max(0) > 0 for ds in sides))
        for name in arms(sides[0]):
            if name != ITSELF:
                back = (ds.strict.sel(on=arms(ds)[name]).values.max(0) > 0 for ds in sides)
                attacks[f"training on {name}"] = memorization.Attack(*back)
        out[s] = memorization.verdict(
            np.ones(len(after), bool), after.astype(bool), attacks, alpha=0.05 / len(parts), seed=seed
        )
    return out


def attacks_over_runs(found: Mapping[int, memorization.Verdict]) -> pd.DataFrame:
    """One line an attack: what it brings back of what was taken and of what the twin says, means over runs; their
    difference with Student's t over runs (of one run its own bounds), and in how many runs the attack counts.
    """
    lines = []
    tables = [v.table.set_index("attack") for v in found.values() if len(v.table)]
    for attack in dict.fromkeys(name for t in tables for name in t.index):
        of = pd.DataFrame([t.loc[attack] for t in tables if attack in t.index])
        lines.append(
            {
                "attack": attack,
                "recovered": float(of.recovered.mean()),
                "control": float(of.control.mean()),
                **_bounded(of, of.recovered - of.control),
                "holm": [float(v) for v in of.holm],
                "counts in": sum(attack in v.by for v in found.values()),
                "runs": len(of),
                "n": int(of.n.sum()),
                "p_kind": ", ".join(dict.fromkeys(map(str, of.p_kind))),
            }
        )
    return pd.DataFrame(lines)


def _bounded(of: pd.DataFrame, values: pd.Series) -> dict[str, Any]:
    """Bounds of a mean over runs (of one run those that its line has), and each run's value."""
    each = [float(v) for v in values]
    low, high = (float(of.low.iloc[0]), float(of.high.iloc[0])) if len(of) == 1 else over_runs(each)[:2]
    return {"low": low, "high": high, "each": each}


def savings(parts: Parts, method: str, seed: int) -> pd.DataFrame:
    """Steps that the edited model needs less than the twin until half of val is recited, by what is trained on: means
    over runs, Student's t over them (`low`, `high`), `each` run's; see `lens.memorization.savings`. `censored` names
    the models that are not there at the end in some run.
    """
    runs = []
    for p in parts.values():
        pair = [
            ds.strict.sel(on=list(arms(ds).values())).assign_coords(on=list(arms(ds)))
            for ds in (p[f"gone {method}"], p["gone twin"])
        ]
        pair = [v.drop_vars([c for c in v.coords if c not in ("on", "step")]) for v in pair]
        both = xr.concat(pair, "model").assign_coords(model=["edited", "twin"]).to_dataset(name="strict")
        both = both.assign_coords(set=("sequence", np.full(both.sizes["sequence"], "target")))
        runs.append(memorization.savings(both, seed=seed).set_index("on"))
    lines = []
    for name in runs[0].index:
        of = pd.DataFrame([r.loc[name] for r in runs])
        late = dict.fromkeys(model for said in of.censored for model in str(said).split(", ") if model)
        lines.append(
            {
                "on": name,
                **{c: float(of[c].astype(float).mean()) for c in ("start", "edited", "twin", "savings")},
                **_bounded(of, of.savings),
                "censored": ", ".join(late),
                "n": int(of.n.sum()),
            }
        )
    return pd.DataFrame(lines)
