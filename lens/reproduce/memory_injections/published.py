"""The cells of the authors' own result files, in the form of a summary."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from ... import injection
from ...injection.items import FOLDER

CELLS = "peer_derived_cells.csv.gz"


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
