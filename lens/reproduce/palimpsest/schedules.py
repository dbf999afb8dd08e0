"""Claims about how the trace depends on the schedule that Alice was trained by: the end of her learning rate, and
epochs.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..claims import Rows
from ..common import EVERY, verdict
from ..over_models import by_seed, holm_over_models
from .alices import said
from .tables import LEVEL, arm_means, p_text


def schedules(rows: Rows, arms: pd.DataFrame) -> None:
    """What the end of the learning rate does to the trace."""
    means = arm_means(arms[~arms.group.str.startswith("two")]).set_index("arm")
    rows.numbers |= {"arms": {a: [float(r.rho), float(r.low), float(r.high)] for a, r in means.iterrows()}}
    text = "; ".join(f"{a} {said(pd.Series(r.seeds))}" for a, r in means.iterrows())
    own = arms[arms.group == "constant"].set_index("seed").rho
    gaps = {a: (arms[arms.group == a].set_index("seed").rho - own).dropna() for a in means.index if a != "constant"}
    shared = {a: by_seed(values) for a, values in gaps.items()}
    adjusted = holm_over_models([values.to_numpy(float) for values in gaps.values()])
    text += "; rho minus constant's " + ", ".join(
        f"{a} {g[0]:+.3f} [{g[1]:+.3f}, {g[2]:+.3f}]" + (f" (Holm's p {p:.2g})" if np.isfinite(p) else "")
        for (a, g), p in zip(shared.items(), adjusted)
    )
    rows.numbers["arm_gaps"] = {a: list(g) for a, g in shared.items()}
    if not shared:  # nothing to compare with
        return
    rows.add(
        "end_rate",
        text
        + "; spread of suspect minus reference over rows, nats a byte: "
        + ", ".join(f"{a} {r.spread:.3f}" for a, r in means.iterrows()),
        f"{len(means.seeds.iloc[0])} Alices an arm",
        verdict(
            all(g[1] > 0 for g in shared.values()),
            any(g[2] < 0 and p <= 0.05 for g, p in zip(shared.values(), adjusted)),
            (
                "all arms are weaker in the mean"
                if all(g[0] > 0 for g in shared.values())
                else "not every arm is weaker in the mean"
            ),
            part=any(g[1] > 0 and p <= 0.05 for g, p in zip(shared.values(), adjusted)),
        ).replace("the interval holds 0", "p above .05 by Holm"),
        f"Holm over {len(shared)} arms",
        effects="arm_gaps/*",
    )
    last_rows = arms.set_index(["group", "seed"]).last_tenth
    depths = {a: (last_rows[a] - last_rows["constant"]).dropna() for a in shared}
    weaker = {a: by_seed(values) for a, values in depths.items()}
    paid = holm_over_models([values.to_numpy(float) for values in depths.values()])
    rows.numbers["last_tenth"] = {a: [float(v) for v in last_rows[a]] for a in means.index}
    rows.add(
        "end_depth",
        "loss of the last tenth of rows against all, suspect minus reference, nats a byte: "
        + "; ".join(f"{a} {said(last_rows[a], 4)}" for a in means.index)
        + "; minus constant's "
        + ", ".join(f"{a} {g[0]:+.4f} [{g[1]:+.4f}, {g[2]:+.4f}]" for a, g in weaker.items()),
        f"{len(means.seeds.iloc[0])} Alices an arm",
        verdict(
            bool(weaker) and all(g[1] > 0 for g in weaker.values()),
            any(g[2] < 0 for g in weaker.values()),
            (
                "all arms are shallower in the mean"
                if all(g[0] > 0 for g in weaker.values())
                else "not every arm is shallower"
            ),
            part=any(g[1] > 0 and p <= 0.05 for g, p in zip(weaker.values(), paid)),
        ),
        EVERY,
    )


def epochs(rows: Rows, arms: pd.DataFrame) -> None:
    """Which of two epochs' orders is seen."""
    two = arms[arms.group.str.startswith("two")]
    if len(two):
        by = {group.removeprefix("two epochs: "): of for group, of in two.groupby("group", sort=False)}
        rows.numbers |= {"epochs": {k: [float(v) for v in of.rho] for k, of in by.items()}}
        last = by.get("epoch 2", two)
        apart = (last.set_index("seed").rho - by["epoch 1"].set_index("seed").rho).dropna()
        gap = by_seed(apart)
        rows.add(
            "epochs",
            "; ".join(f"{k} rho {of.rho.mean():+.3f}, largest p {p_text(of.p.max())}" for k, of in by.items())
            + f"; epoch 2 minus epoch 1 {said(apart)}",
            f"{len(last)} Alices x {int(last.n.iloc[0]):,} rows",
            verdict(bool((last.p <= LEVEL).all()) and gap[2] < 0, gap[1] > 0),
            EVERY,
        )
