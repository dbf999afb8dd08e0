"""Edits of features on their way to a path: what each adds, computed from the activation as it is met."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .anatomy import Anatomy
from .edits import Edit, EditError
from .features import Key, Live, nothing
from .mlp_input import mlp_input, stream_site
from .sites import indices


def read_place(anatomy: Anatomy, features: Any) -> tuple[Key, Any]:
    """Where a dictionary reads in a model, and what is made of that activation on the way.

    Raises:
        SiteError: no such layer or site.
    """
    tap = features.reads
    indices(tap.layer, anatomy.n_layers, "layer")
    if tap.site == "mlp_in":
        key = anatomy.layer_of(stream_site(anatomy, tap.layer), tap.layer)
        return key, mlp_input(anatomy, tap.layer, tap.gain)
    key = anatomy.layer_of(tap.site, tap.layer)
    anatomy.require(*key)
    return key, nothing


def live_of(anatomy: Anatomy, edit: Edit) -> Live:
    """An edit of features as what is added where their dictionary writes; one that is so already as it is.

    Raises:
        EditError: a value that is a run. SiteError: see `read_place`. The dictionary's own error: another model.
    """
    if isinstance(edit.value, Live):
        return edit.value
    features: Any = edit.site.of
    if edit.value is not None and not isinstance(edit.value, Tensor):
        raise EditError(
            f"value of the edit at {edit.site} is a {type(edit.value).__name__}; here it must be a number or a tensor."
        )
    index = torch.tensor(indices(edit.site.index, features.n_features, "index"))
    value = None if edit.value is None else edit.value.float().reshape(-1, *edit.value.shape[-1:] or (1,))
    reads, through = read_place(anatomy, features)
    tied = reads == anatomy.layer_of(features.writes.site, features.writes.layer) and through is nothing
    return Live(
        features,
        index,
        edit.op,
        float(edit.scale),
        None if value is None else value.expand(len(value), len(index)),
        None if tied else reads,
        through,
    )
