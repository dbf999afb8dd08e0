"""What counts as one along each axis of a result, by the coordinates that it has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lens.errors import Error
from lens.stats.effects import UNITS, clusters
from lens.stats.samples import StatisticsError


def fields(ds: Any, axis: str) -> dict[str, list[Any]]:
    """What the units along an axis are known by: its coordinates, of which one that ends in the axis's name
    (`duplicate_text`) goes by what comes before.
    """
    return {
        str(c).removesuffix(f"_{axis}"): ds[c].values.tolist() for c in ds.coords if ds[c].dims == (axis,) and c != axis
    }


def units_of(
    ds: Any, cluster: Any, axes: Mapping[str, str], error: type[Error] = StatisticsError
) -> tuple[dict[str, np.ndarray | None], dict[str, str]]:
    """What counts as one along each of several axes of a result, and in words.

    Args:
        cluster: "auto" or None for all axes; the name of a coordinate, for the axes that have it (the others as under
            "auto"); labels, where there is one axis; or a mapping of axes to any of these (axes that it does not name
            as under "auto").
        axes: axis -> what its units are called, such as {"text": "texts"}.

    Raises: `error`: an axis that is not there, labels for several axes, a coordinate that none has.
        StatisticsError: labels that do not fit.
    """
    fields_by_axis = {axis: fields(ds, axis) for axis in axes}
    if isinstance(cluster, Mapping):
        if unknown := [a for a in cluster if a not in axes]:
            raise error(f"cluster has the axis {unknown[0]!r}; this result has {', '.join(axes)}.")
        cluster_by_axis = {axis: cluster.get(axis, "auto") for axis in axes}
    elif cluster is None or isinstance(cluster, str):
        if cluster not in (None, "auto") and not any(cluster in of for of in fields_by_axis.values()):
            there = "; ".join(f"{what}: {', '.join(fields_by_axis[axis]) or 'none'}" for axis, what in axes.items())
            raise error(
                f"cluster={cluster!r} is no coordinate of this result ({there}). Give one of them, labels by axis, or"
                " None."
            )
        cluster_by_axis = {
            axis: cluster if cluster is None or cluster in fields_by_axis[axis] else "auto" for axis in axes
        }
    elif len(axes) == 1:
        cluster_by_axis = dict.fromkeys(axes, cluster)
    else:
        raise error(
            f"cluster is a {type(cluster).__name__} of labels, and this result has several axes; say of which, as in"
            f" {{{next(iter(axes))!r}: labels}}."
        )
    clustered = {
        axis: clusters(cluster_by_axis[axis], ds.sizes[axis], fields_by_axis[axis], UNITS, what)
        for axis, what in axes.items()
    }
    return {axis: units for axis, (units, _) in clustered.items()}, {
        axis: note for axis, (_, note) in clustered.items()
    }
