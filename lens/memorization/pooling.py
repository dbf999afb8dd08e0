"""Results of several runs put together, along their sequences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import xarray as xr

from ..arguments import door
from ..results import dataset as results
from .errors import Holds, MemorizationError

#: Results with values of sequences.
Of = Annotated[Any, Holds("this family", ())]


@door(MemorizationError)
def pool(runs: Sequence[Of] | Mapping[Any, Of]) -> xr.Dataset:
    """Results of several runs (training seeds, say) as one, along `sequence`, with the coordinate `run`.

    The sequences of all runs count as independent units then; where runs share sequences, group by `run` and compare.
    """
    by_run = dict(runs) if isinstance(runs, Mapping) else dict(enumerate(runs))
    if not by_run:
        raise MemorizationError("runs is empty; give at least one result.")
    parts = [
        ds.assign_coords(run=("sequence", np.full(ds.sizes["sequence"], label))).drop_vars("sequence", errors="ignore")
        for label, ds in by_run.items()
    ]
    parts = with_duplicates(parts)
    shared = set.intersection(*(set(map(str, p.coords)) for p in parts))
    joined = xr.concat(
        [p.drop_vars([c for c in p.coords if c not in shared]) for p in parts],
        "sequence",
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="outer",
        combine_attrs="drop",
    )
    records = [results.provenance(ds) for ds in by_run.values()]
    return results.stamp(joined, {"kind": records[0]["kind"], "status": "complete", "runs": records})


def with_duplicates(parts: Sequence[xr.Dataset]) -> list[xr.Dataset]:
    """Results along `sequence` that all have the coordinate `duplicate` where one has it, so that it is not lost where
    they are put together.
    """
    if not any("duplicate" in p.coords for p in parts):
        return list(parts)
    own = [("sequence", [f"{i}.{k}" for k in range(p.sizes["sequence"])]) for i, p in enumerate(parts)]
    return [p if "duplicate" in p.coords else p.assign_coords(duplicate=of) for p, of in zip(parts, own)]
