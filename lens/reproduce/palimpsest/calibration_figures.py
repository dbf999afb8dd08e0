"""Figures of the calibration: quantiles of p-values under true nulls, sizes, all suspects against all orders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ...figures.calibration import order_matrix, qq_plot, size_bars
from . import micro_models as models
from . import redrawn, sizes


def draw(found: Any, folder: Path | None = None) -> dict[str, Figure]:
    """QQ plots of guaranteed p-values beside the published formulas, bars of sizes, and all suspects against all
    orders.

    ``found``: a `calibration.Calibrated`; folder: for PNG files, None writes none.
    """

    def path(name):
        return None if folder is None else folder / f"{name}.png"

    level1, level2, level3, trapped = (found.summaries[name] for name in ("redrawn", "trained", "retrained", "traps"))
    shuffles = sorted(
        {str(c).rsplit(" ", 1)[-1] for c in level3.condition.values if "m = 2" not in str(c)[-5:]}, key=int
    )

    def at(m):
        return f"innocent text, fresh shuffles each time, m = {m}"

    retrained = [
        ("guaranteed: rank", [(redrawn.RANK, at(m)) for m in shuffles]),
        ("approximate: t with m - 1 df", [(redrawn.PREDICTION, at(m)) for m in shuffles]),
        ("published: plug-in normal", [(redrawn.PLUG_IN, at(m)) for m in shuffles] + [(redrawn.THREE, at(2))]),
    ]
    query = "difference of two micro-models, n = 64"
    codes = [
        (
            "guaranteed",
            [
                (redrawn.SHUFFLES, query),
                (redrawn.CYCLIC, query),
                (redrawn.KEY, query),
                (f"{redrawn.RANK_E}, any stop", query),
                (redrawn.SHUFFLES, "sparse counts"),
                (redrawn.CYCLIC, "heavy tails"),
            ],
        ),
        (
            "published and approximate",
            [
                (redrawn.T_TWO, query),
                (redrawn.NORMAL, "sparse counts"),
                (redrawn.NORMAL, "heavy tails"),
                (redrawn.T, "n = 20"),
                (redrawn.PLUG_IN, "normal shuffles, m = 9"),
                (redrawn.THREE, "normal shuffles, m = 2"),
            ],
        ),
    ]

    def trap(kind):
        cells = zip(trapped.name.values, trapped.condition.values, trapped.kind.values)
        return [(str(name), str(condition)) for name, condition, k in cells if k == kind]

    wrong = [("in use", trap(sizes.TRAP)), ("the right way", trap(sizes.GUARANTEED))]
    trained = [
        (
            "guaranteed",
            [
                (models.MATRIX_PERMUTATION, "all innocent cells, minus"),
                (redrawn.KEY, "all innocent cells, minus"),
                (models.MATRIX_PERMUTATION, "all innocent cells, no"),
                ("query: permutation", "disjoint triples, minus"),
            ],
        ),
        (
            "published and approximate",
            [
                (redrawn.T_TWO, "all innocent cells, minus"),
                (redrawn.NORMAL, "all innocent cells, minus"),
                (redrawn.T_TWO, "all innocent cells, no"),
            ],
        ),
    ]
    quantiles = {
        "qq_redrawn": (level1, codes, "Level 1: fixed scores, positions drawn anew"),
        "qq_trained": (level2, trained, "Level 2: trained micro-models against orders that they never saw"),
        "qq_retrained": (level3, retrained, "Level 3: an innocent text, retrained last legs"),
        "qq_traps": (trapped, wrong, "Innocent suspects, wrong use"),
    }
    title = f"{level2.sizes['suspect']} micro-models against each other's orders, minus a reference"
    return {
        **{name: qq_plot(ds, path(name), panels=of, title=said) for name, (ds, of, said) in quantiles.items()},
        "sizes": size_bars(found.long, path("sizes"), title="Share of true nulls rejected at 0.05"),
        "orders": order_matrix(level2["z_difference"], path("orders"), title=title),
    }
