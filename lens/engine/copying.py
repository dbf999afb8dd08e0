"""What an edit copies of a run: which of its positions and of its layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from .edits import Edit, EditError
from .runs import Runs, Source
from .sites import EXPERTS, HEADED, indices


def source_of(edit: Edit, prompt: int, n_prompts: int) -> Any:
    """The value of an edit of one prompt: of several runs its own, or the only one.

    Raises:
        EditError: runs of neither one prompt nor as many as there are.
    """
    value = edit.value
    if not isinstance(value, Runs):
        return value
    if len(value) not in (1, n_prompts):
        raise EditError(
            f"value: a run of {len(value)} prompts does not match the base run's {n_prompts}; pick one with run[i]."
        )
    return value[prompt if len(value) > 1 else 0]


def positions_of(edit: Edit, source: Source, position: Sequence[int]) -> list[int]:
    """The source's position for each position edited.

    Raises:
        EditError: one that lies beyond the source's tokens; a number of them that is neither one nor as many as are
            edited.
    """
    if edit.source_position is None:
        if max(position, default=0) >= source.length:
            raise EditError(
                f"position={max(position)} lies beyond the source prompt's {source.length} tokens; align the two"
                " prompts, or name source_position."
            )
        return list(position)
    if edit.site.name == "pattern":
        raise EditError(
            "source_position: a pattern's keys are positions of its own prompt, so that another query's pattern has no"
            " meaning here; copy the pattern of the same position, or another site."
        )
    taken = indices(edit.source_position, source.length, "source_position")
    if len(taken) not in (1, len(position)):
        raise EditError(
            f"source_position={edit.source_position!r} names {len(taken)} positions, but position="
            f"{edit.site.position!r} {len(position)}; name one, or one for each."
        )
    return taken if len(taken) == len(position) else taken * len(position)


def layer_of(edit: Edit, source: Source, layer: int) -> int:
    """The source's layer for the layer edited.

    Raises:
        SiteError: the source has no such layer. EditError: a layer of the embedding.
    """
    if edit.source_layer is None:
        return layer
    if edit.site.name == "embed":
        raise EditError(f"source_layer={edit.source_layer!r}: site 'embed' has no layer; leave it out.")
    return indices(edit.source_layer, source.runs.decoder.n_layers, "source_layer")[0]


def same_prefix(base: Runs, prompt: int, source: Source) -> int:
    """Tokens with which a base run and a source begin alike, and of which their activations are therefore the same."""
    runs, ids = source.runs, base.ids[prompt]
    if runs.decoder is not base.decoder or not (base.of_ids and runs.of_ids):
        return 0
    n = min(len(ids), source.length)
    differs = (ids[:n] != runs.ids[source.prompt][:n]).nonzero()
    return int(differs[0]) if len(differs) else n


def as_tensor(edit: Edit, n_layers: int | None = None) -> Edit:
    """An edit that names the position of a run that it copies, with the activations there as its value.

    Args: n_layers: of the model that is edited, from whose end a negative layer counts; None: as many as the source's.

    Raises:
        EditError: runs of several prompts; see `positions_of`. SiteError: see `layer_of`; a site that was not kept.
    """
    site, source = edit.site, source_of(edit, 0, 1)
    if site.of is not None:
        raise EditError(
            f"source_position={edit.source_position!r} of the edit at {site}: features are copied from another position"
            " in sweeps alone (lens.patch); read them by lens.features.read, and give them as a tensor."
        )
    taken = indices(edit.source_position, source.length, "source_position")
    if len(taken) > 1 or site.name == "pattern":
        named = [] if site.position is None or isinstance(site.position, slice) else list(site.position)
        positions_of(edit, source, named)  # says where there are not as many, or no such patterns
    depth = n_layers or source.runs.decoder.n_layers
    layer = layer_of(edit, source, 0 if site.name == "embed" else indices(site.layer, depth, "layer")[0])
    at = torch.tensor(taken, device=source.runs.decoder.device) + source.start
    value = part_of(source.runs.get(site.name, layer)[at], edit)
    value = value if len(taken) > 1 else value[0]
    return replace(edit, value=value, source_position=None, source_layer=None)


def part_of(value: Tensor, edit: Edit) -> Tensor:
    """Of activations ``[position, ...]`` the heads, neurons or experts that an edit names."""
    site = edit.site
    sub = site.head if site.name in HEADED else site.neuron if site.name == "neuron" else None
    sub = site.expert if site.name in EXPERTS else sub
    if sub is None:
        return value
    axis = "head" if site.name in HEADED else "neuron" if site.name == "neuron" else "expert"
    return value[:, indices(sub, value.shape[1], axis)]
