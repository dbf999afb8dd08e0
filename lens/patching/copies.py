"""Which positions of one run are copied to which of another, for prompts that do not align token by token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..engine.sites import indices
from ..prompts import Align, EncodedPair, Side, matches, resolve_positions
from .grid import PatchError, Places, named_alike

#: Positions of a pair under a name: where they are edited, and what is taken for them.
_Group = tuple[str, tuple[int, ...], tuple[int, ...]]


def aligned(encoded: Sequence[EncodedPair], edited: str, align: Align, positions: Any) -> Places:
    """Positions of pairs aligned by their spans or from their ends.

    Raises:
        PromptError: see `lens.prompts.matches`.
    """
    found: list[list[_Group]] = [
        [(m.name, *((m.clean, m.corrupted) if edited == "clean" else (m.corrupted, m.clean))) for m in of_pair]
        for of_pair in (matches(e, align, positions) for e in encoded)
    ]
    return _joined(edited, "corrupted" if edited == "clean" else "clean", found)


def of_partners(
    encoded: Sequence[EncodedPair], edited: str, partners: Sequence[int], align: Align, positions: Any
) -> Places:
    """Positions of the prompts that are edited, aligned with those of each one's partner.

    Raises:
        PromptError: see `lens.prompts.matches`.
    """
    found = []
    for e, j in zip(encoded, partners):
        mine, other = (Side.of(x, edited) for x in (e, encoded[j]))
        found.append([(m.name, m.clean, m.corrupted) for m in matches(e, align, positions, sides=(mine, other))])
    return _joined(edited, "partner", found)


def of_one_prompt(encoded: Sequence[EncodedPair], edited: str, positions: Any) -> Places | None:
    """Positions of the prompts that are edited, where nothing is copied from another of the same pair; None where both
    prompts of every pair have as many tokens.
    """
    if all(len(e.clean_ids) == len(e.corrupted_ids) for e in encoded):
        return None
    resolved = [resolve_positions(Side.of(e, edited), positions) for e in encoded]
    return Places(edited, [[g for _, g in found] for found in resolved], None, named_alike(resolved, positions))


def from_positions(encoded: Sequence[EncodedPair], edited: str, positions: Any, source_position: Any) -> Places:
    """Positions that are named in both prompts: one of the source for every one that is edited, or one for each.

    Raises:
        PromptError: no such position. PatchError: numbers of positions that do not go together.
    """
    other = "corrupted" if edited == "clean" else "clean"
    resolved = [resolve_positions(Side.of(e, edited), positions) for e in encoded]
    taken = []
    for i, (e, mine) in enumerate(zip(encoded, resolved)):
        groups = [g for _, g in resolve_positions(Side.of(e, other), source_position)]
        if len(groups) not in (1, len(mine)):
            raise PatchError(
                f"source_position={source_position!r} names {len(groups)} positions of pairs[{i}], and"
                f" positions={positions!r} {len(mine)}; name one, or one for each."
            )
        groups = groups if len(groups) == len(mine) else groups * len(mine)
        for (name, group), of_source in zip(mine, groups):
            if len(of_source) not in (1, len(group)):
                raise PatchError(
                    f"source_position={source_position!r}: {len(of_source)} tokens of pairs[{i}] are to be copied to"
                    f" the {len(group)} of {name!r}; name a single token, or as many."
                )
        taken.append(groups)
    groups_of = [[g for _, g in found] for found in resolved]
    return Places(edited, groups_of, taken, named_alike(resolved, positions), other)


def source_layers(spec: Any, layers: Sequence[int], n_layers: int) -> list[int] | None:
    """For each layer of a grid the one of the source that is copied; None: the same.

    Raises:
        SiteError: no such layer. PatchError: neither one nor one for each.
    """
    if spec is None:
        return None
    chosen = indices(spec, n_layers, "source_layer")
    if len(chosen) not in (1, len(layers)):
        raise PatchError(
            f"source_layer={spec!r} names {len(chosen)} layers, and the grid has {len(layers)}; name one, or one for"
            " each."
        )
    return chosen if len(chosen) == len(layers) else chosen * len(layers)


def _joined(edited: str, other: str, found: Sequence[Sequence[_Group]]) -> Places:
    """Groups of several pairs on one axis: every name that a pair has, numbers from the end in their order."""
    names = list(dict.fromkeys(name for of_pair in found for name, _, _ in of_pair))
    numbers = all(name.lstrip("-").isdigit() for name in names)
    names = sorted(names, key=int) if numbers else names
    known = [{name: (mine, taken) for name, mine, taken in of_pair} for of_pair in found]
    nothing: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    groups = [[of_pair.get(name, nothing)[0] for name in names] for of_pair in known]
    taken = [[of_pair.get(name, nothing)[1] for name in names] for of_pair in known]
    return Places(edited, groups, taken, [int(name) for name in names] if numbers else names, other)
