"""What is computed from the grids: held-out choices of a cell for every encoder, and the damage that it does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import xarray as xr

from ... import injection
from ...data.texts import TEXTS
from ...prompts import load_pairs
from ...results import dataset as results

#: as what another encoder is compared with
RIVAL = "encoder unembed"


def choices(grids: Mapping[str, xr.Dataset], *, splits: int = 200, seed: int = 0) -> pd.DataFrame:
    """Held-out choice of a cell for every encoder: by the mean log-ratio and by the published measure, for the memory
    and for each control chosen in the same way.

    ``against`` names the control that the memory is compared with in the memory's chosen cell, or the encoder (its own
    best cell, chosen on the same half). ``held_out``: the median over splits of what the other half shows, ``low``,
    ``high`` and ``p``: over all splits; ``layer`` and ``strength``: of the first split, ``commonest`` of most.
    """
    rows = []
    for encoder, grid in grids.items():

        def add(by: Any, about: Mapping[str, Any] = {}, **how: Any) -> None:
            found = injection.held_out(grid, measure=by, splits=splits, seed=seed, **how)
            rows.append({"encoder": encoder, "by": by, **found, **about})

        for by in ("mean", "trimmed_percent"):
            for condition in map(str, grid.condition.values):
                add(by, condition=condition)
            for control in map(str, grid.condition.values[1:]):
                add(by, against=control)
        if encoder != "unembed" and "unembed" in grids:
            add("mean", {"against": RIVAL}, rival=grids["unembed"])
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
