"""Claims about how the trace depends on the schedule that Alice was trained by: the end of her learning rate, and
epochs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ...stats import Interval
from ..claims import Rows
from ..common import EVERY, shown, verdict
from ..over_models import holm_over_models, over_seeds
from .alices import numbers_of, said
from .tables import LEVEL, arm_means, p_text


def schedules(rows: Rows, arms: pd.DataFrame) -> None:
    """What the end of the learning rate does to the trace."""
    means = arm_means(arms[~arms.group.str.startswith("two")]).set_index("arm")
    rows.numbers |= {"arms": {a: [float(r.rho), float(r.low), float(r.high)] for a, r in means.iterrows()}}
    others = [a for a in means.index if a != "constant"]
    gaps, adjusted = _above_constant(arms, others, "rho")
    rows.numbers["arm_gaps"] = {a: numbers_of(g) for a, g in gaps.items()}
    if not gaps:  # nothing to compare with
        return
    n = f"{len(means.seeds.iloc[0])} Alices an arm"
    weaker = all(g.estimate > 0 for g in gaps.values())
    rows.add(
        "end_rate",
        "; ".join(f"{a} {said(pd.Series(r.seeds))}" for a, r in means.iterrows())
        + "; rho minus constant's "
        + ", ".join(
            f"{a} {shown(g, 3, sign=True)}" + (f" (Holm's p {p:.2g})" if np.isfinite(p) else "")
            for (a, g), p in zip(gaps.items(), adjusted)
        )
        + "; spread of suspect minus reference over rows, nats a byte: "
        + ", ".join(f"{a} {r.spread:.3f}" for a, r in means.iterrows()),
        n,
        verdict(
            all(g.low > 0 for g in gaps.values()),
            any(g.high < 0 and p <= 0.05 for g, p in zip(gaps.values(), adjusted)),
            "all arms are weaker in the mean" if weaker else "not every arm is weaker in the mean",
            part=any(g.low > 0 and p <= 0.05 for g, p in zip(gaps.values(), adjusted)),
        ).replace("the interval holds 0", "p above .05 by Holm"),
        f"Holm over {len(gaps)} arms",
        effects="arm_gaps/*",
    )
    depths, paid = _above_constant(arms, others, "last_tenth")
    last_rows = arms.set_index(["group", "seed"]).last_tenth
    rows.numbers["last_tenth"] = {a: [float(v) for v in last_rows[a]] for a in means.index}
    shallower = all(g.estimate > 0 for g in depths.values())
    rows.add(
        "end_depth",
        "loss of the last tenth of rows against all, suspect minus reference, nats a byte: "
        + "; ".join(f"{a} {said(last_rows[a], 4)}" for a in means.index)
        + "; minus constant's "
        + ", ".join(f"{a} {shown(g, 4, sign=True)}" for a, g in depths.items()),
        n,
        verdict(
            all(g.low > 0 for g in depths.values()),
            any(g.high < 0 for g in depths.values()),
            "all arms are shallower in the mean" if shallower else "not every arm is shallower",
            part=any(g.low > 0 and p <= 0.05 for g, p in zip(depths.values(), paid)),
        ),
        EVERY,
    )


def _above_constant(arms: pd.DataFrame, others: Sequence[str], column: str) -> tuple[dict[str, Interval], np.ndarray]:
    """By arm, how far a column is above that of the constant rate over Alices; and the p-values of these, Holm over the
    arms.
    """
    of = arms.set_index(["group", "seed"])[column]
    apart = {a: (of[a] - of["constant"]).dropna() for a in others}
    adjusted = holm_over_models([values.to_numpy(float) for values in apart.values()])
    return {a: over_seeds(values) for a, values in apart.items()}, adjusted


def epochs(rows: Rows, arms: pd.DataFrame) -> None:
    """Which of two epochs' orders is seen."""
    two = arms[arms.group.str.startswith("two")]
    if len(two):
        by = {group.removeprefix("two epochs: "): of for group, of in two.groupby("group", sort=False)}
        rows.numbers |= {"epochs": {k: [float(v) for v in of.rho] for k, of in by.items()}}
        last = by.get("epoch 2", two)
        apart = (last.set_index("seed").rho - by["epoch 1"].set_index("seed").rho).dropna()
        gap = over_seeds(apart)
        rows.add(
            "epochs",
            "; ".join(f"{k} rho {of.rho.mean():+.3f}, largest p {p_text(of.p.max())}" for k, of in by.items())
            + f"; epoch 2 minus epoch 1 {said(apart)}",
            f"{len(last)} Alices x {int(last.n.iloc[0]):,} rows",
            verdict(bool((last.p <= LEVEL).all()) and gap.high < 0, gap.low > 0),
            EVERY,
        )
