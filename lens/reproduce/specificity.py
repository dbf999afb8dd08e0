"""Do masks of memorised sets overlap more than masks of any sets? What two studies of a memory subspace share: their
table over trained models, and the word of the verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..stats import Interval, holm
from .common import by_group, verdict
from .over_models import over_seeds

PAIRS = ("memorised", "other", "mixed")


def specificity(table: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """One line a group: IoU by model of memorised, other and mixed pairs; how much those of memorised ones are above
    chance, the other and the mixed, over models; the label permutation's p by model with Holm over them. `empty`: a
    model has no such masks.
    """

    def line(of: pd.DataFrame) -> dict[str, Any]:
        wide, first = of.pivot_table(index="seed", columns="pair", values="mean"), of[of.pair == "memorised"]
        if not {*PAIRS} <= set(wide.columns) or wide.memorised.isna().any():
            return {"empty": True}
        first = first.sort_values("seed").set_index("seed")
        p = {against: first[f"p_{against}"].astype(float) for against in PAIRS[1:]}
        return {
            "empty": False,
            "seeds": len(wide),
            **{size: int(first[size].iloc[0]) for size in ("sets", "prompts") if size in first},
            "chance": float(first.chance.mean()),
            "above": over_seeds(wide.memorised - first.chance),
            **{pair: tuple(map(float, wide[pair])) for pair in PAIRS},
            **{f"more_{against}": over_seeds(wide.memorised - wide[against]) for against in PAIRS[1:]},
            **{f"p_{against}": tuple(values) for against, values in p.items()},
            **{f"holm_{against}": tuple(map(float, holm(values.to_numpy()))) for against, values in p.items()},
            "p_kind": first.p_kind.iloc[0],
        }

    return by_group(table, by, line)


def word(gap: Interval, holm: Sequence[float]) -> str:
    """The word of a claim that memorised pairs overlap more: by the interval over models, and by p in each of them."""
    sure = max(holm) <= 0.05
    if not np.isfinite(gap.low):
        return "not judged: one model" + ("; p at most .05 in it" if sure else "")
    return verdict(gap.low > 0 and sure, gap.high < 0, part=gap.low > 0 or sure)
