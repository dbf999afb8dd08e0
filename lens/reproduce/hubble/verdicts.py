"""The claims against what was measured. The unit is the seed: weights, corpus, items and the places of insertions; of
acquisition it is the person.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..claims import Rows
from ..common import bounds, clear_of, several, shown, student, table_of, verdict
from . import retention, traps
from .claims import CLAIMS
from .standin import Plan
from .steps import jobs
from .tables import beyond, by_seed

WEIGHTS = "not tested: the weights of Hubble are not here"
REAL = ("H0", "H1", "H2", "H3", "H4", "H5")


def verdicts(tables: Mapping[str, pd.DataFrame], plan: Plan) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table *claim | paper | here | n | multiplicity | verdict* and its numbers."""
    rows, gains = Rows(CLAIMS), tables["gains"]
    for key in REAL:
        rows.add(key, "nothing was scored", "0 models", WEIGHTS)
    n = f"{several(len(plan.seeds), 'seed')}, {sum(plan.items)} items each"
    base, longer = (beyond(gains, name, 4) for name in ("perturbed", "perturbed, longer"))
    less = rows.put("dilution", student(base - longer))
    raw = [by_seed(gains, name, 4).mean() for name in ("perturbed", "perturbed, longer")]
    rows.add(
        "dilution",
        f"gain beyond items never put in {shown(student(base), 3)} against {shown(student(longer), 3)} nats a token:"
        f" {shown(less, 3, sign=True)} (with what those gain {raw[0]:.3f} and {raw[1]:.3f})",
        n,
        clear_of(less),
        effects="dilution",
        longer=plan.longer,
    )
    windows = [one.name for one in plan.trainings if one.window not in (None, (0.0, 1.0))]
    each = pd.concat([beyond(gains, name, 1) for name in windows], axis=1, keys=windows)
    at = np.arange(len(windows)) - (len(windows) - 1) / 2
    slope = rows.put("windows", student(each.to_numpy() @ at / (at**2).sum()))
    rows.add(
        "windows",
        ", ".join(f"{name}: {each[name].mean():.3f}" for name in windows) + f"; slope {shown(slope, 3, sign=True)}",
        n,
        clear_of(slope),
        effects="windows",
    )
    first = rows.put("first", student(each[windows[0]]))
    rows.add("first", f"{shown(first, 3, sign=True)} nats a token", n, clear_of(first), effects="first")
    _never(rows, gains, n)
    _by_count(rows, tables["counts"], n)
    _traps(rows, tables.get("areas", pd.DataFrame()), plan)
    retention.verdicts(rows, tables.get("acquisition_people", pd.DataFrame()), plan.acquisition)
    rows.numbers["trainings"] = len(jobs(plan))
    return table_of(rows), rows.numbers


def _never(rows: Rows, gains: pd.DataFrame, n: str) -> None:
    of = gains[(gains.training == "perturbed") & (gains.duplicates == 0)]
    nothing = rows.put("never", student(of.groupby("seed").gain.mean()))
    low, high = CLAIMS["never"].margin or (np.nan, np.nan)
    rows.add(
        "never",
        f"{shown(nothing, 3, sign=True)} nats a token",
        n,
        verdict(
            CLAIMS["never"].within(nothing.low, nothing.high),
            nothing.high < low or nothing.low > high,
            otherwise="the interval reaches beyond the bounds",
        ),
        effects="never",
    )


def _by_count(rows: Rows, counts: pd.DataFrame, n: str) -> None:
    of = counts[(counts.training == "perturbed") & (counts.duplicates > 0)]
    for row in of.itertuples():
        rows.numbers |= {f"auc {row.duplicates}": row.auc, f"auc {row.duplicates}_low": row.auc_low}
        rows.numbers[f"auc {row.duplicates}_high"] = row.auc_high
    rows.add(
        "membership",
        "; ".join(f"{r.duplicates}: {r.auc:.2f} {bounds(r.auc_low, r.auc_high)}" for r in of.itertuples()),
        n,
        "reported",
        effects=tuple(f"auc {r.duplicates}" for r in of.itertuples()),
    )
    rows.add("recited", "; ".join(f"{r.duplicates}: {r.strict:.2f}" for r in of.itertuples()), n, "reported")


def _traps(rows: Rows, areas: pd.DataFrame, plan: Plan) -> None:
    """Traps by count, length and reference: within a seed areas are averaged over what is not compared."""
    few = len(plan.traps) < 2 or sum(count > 0 for count in plan.trap_counts) < 2
    if areas.empty or few:
        missing = "not tested: traps of two lengths and two counts are not trained by this preset"
        for key in ("trap_count", "trap_length", "trap_once"):
            rows.add(key, "nothing was trained for it", "0 seeds", missing)
        for reference in (traps.TWIN, traps.OTHER):
            rows.add("trap_reference", "nothing was trained for it", "0 seeds", missing, reference=reference)
        return
    n = f"{several(len(plan.seeds), 'seed')}, {len(plan.traps) * sum(plan.trap_items)} traps each"
    counts, lengths = sorted(set(areas.duplicates)), sorted(set(areas.length))
    for key, column, values in (("trap_count", "duplicates", counts), ("trap_length", "length", lengths)):
        each = [traps.by_seed(areas, traps.TWIN, **{column: (value,)}) for value in values]
        more = rows.put(key, student(each[-1] - each[0]))
        listed = ", ".join(f"{value}: {of.mean():.2f}" for value, of in zip(values, each))
        rows.add(key, f"AUC {listed}; {shown(more, sign=True)}", n, clear_of(more), effects=key)
    alone = traps.by_seed(areas, traps.NONE)
    for reference in (traps.TWIN, traps.OTHER):
        beside = traps.by_seed(areas, reference)
        gain = rows.put(f"trap_reference {reference}", student(beside - alone))
        here = f"AUC {beside.mean():.2f}, by the loss alone {alone.mean():.2f}: {shown(gain, sign=True)}"
        name = f"trap_reference {reference}"
        rows.add("trap_reference", here, n, clear_of(gain), effects=name, reference=reference)
    once = rows.put("trap_once", student(traps.by_seed(areas, traps.TWIN, duplicates=counts[:1])))
    here = f"AUC {shown(once)} at {counts[0]}"
    rows.add("trap_once", here, n, clear_of(once, 0.5), effects="trap_once")
