"""Ways of calling a model in which some give other numbers than for the text by itself: tried on the probe, once each.

Some models count padding as text, some count positions from 0 at each step when none are given, some take several
tokens after a cache for something else. Their numbers are wrong without any edit; an edit there is refused, with the
way that is right; so is one in a way that cannot be tried.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .memory import out_of_memory
from .steps import allowed, gap, read, takes_positions
from .walk.decoder import FAMILIES

if TYPE_CHECKING:
    from .anatomy import Anatomy

#: Tokens of padding on the probe.
_PADS = 3


@dataclass(frozen=True)
class Way:
    """How a forward is called.

    Attributes:
        padded: some row has padding in front. position_ids, mask: whether they are given.
        step: 0 for a whole text, 1 for one token after a cache, 2 for several.
        static: the cache has a fixed size.
        packed: several texts in one row, told by position ids. kept: the forward keeps keys and values.
    """

    padded: bool
    position_ids: bool
    mask: bool
    step: int
    static: bool
    packed: bool = False
    kept: bool = True


def refusal(anatomy: "Anatomy", way: Way, rows: Sequence[int], columns: int, first: int | None = None) -> str | None:
    """Why edits cannot be served in a forward of this kind, or None.

    Args:
        rows: how long each row's text is so far. columns: the same with padding.
        first: tokens of the forward that the cache began with, None where that is not known.
    """
    kind, lengths = anatomy.model_type, anatomy.lengths
    if lengths is not None and len(groups := lengths.groups(rows)) > 1:
        return (
            f"model type {kind!r} chooses its rotary frequencies by the longest row of a batch: rows of "
            f"{rows[groups[0][0]]} and of {rows[groups[1][0]]} tokens give other numbers than alone. "
            "Run the rows one at a time."
        )
    if not way.padded and not way.step and not way.packed:
        return None
    if way.step and lengths is not None and lengths.key(first or 1) != lengths.key(max(rows)):
        return (
            f"model type {kind!r} has other rotary frequencies for {max(rows)} tokens than its cache began with, "
            "and the keys in there stay as they were: decoding is then not the text by itself. Leave the cache "
            "out (use_cache=False)."
        )
    floor = getattr(anatomy.config, "floor_scale", None) or 0
    if way.padded and getattr(anatomy.config, "attn_temperature_tuning", None) and columns > floor:
        return (
            f"model type {kind!r} scales its attention by a token's column, padding included, from {floor} on: "
            "left-padded rows give other numbers than alone. Run the rows one at a time."
        )
    if kind in FAMILIES and not way.padded and not way.static and not way.packed:
        return None
    if lengths is not None and not way.padded and not way.packed:
        return None  # the probe would cross the limit of a small model where the text at hand does not
    if not way.packed:
        way = replace(way, kept=True)
    key = (way, anatomy.config._attn_implementation)
    if key not in anatomy.ways:
        try:
            anatomy.ways[key] = _gap(anatomy, way)
        except Exception as error:  # whatever a model's own code meets; not remembered, it may be of the moment
            if out_of_memory(error):
                raise  # says nothing of the way
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            return (
                f"model type {kind!r}: whether it gives the same numbers for {_said(way)} as for the text by "
                f"itself could not be tried on the probe ({reason}), and edits there might be of another text. "
                f"{_advice(way)}"
            )
    off = anatomy.ways[key]
    if off <= allowed(anatomy.dtype):
        return None
    return (
        f"model type {kind!r} gives other numbers for {_said(way)} than for the text by itself (off by {off:.2g} "
        "of its largest logit on the probe, without any edit); edits there would be of another text. "
        f"{_advice(way)}"
    )


def _said(way: Way) -> str:
    if way.packed:
        return "several texts in one row"
    steps = ("left-padded rows", "one token after a cache", "several tokens after a cache")
    what = steps[0 if way.padded else way.step]
    return what + ("" if way.position_ids else " without position_ids") + (" in a static cache" if way.static else "")


def _advice(way: Way) -> str:
    if way.packed:
        apart = ", or call with use_cache=False and no attention_mask." if way.kept or way.mask else "."
        return f"Give each text a row{apart}"
    if way.padded and not way.position_ids:
        return "Hand in position_ids that count each row's own tokens, or run the rows one at a time."
    if way.padded:
        return "Run the rows one at a time."
    if way.step == 2:
        return "Hand in the tokens one at a time, or the whole text without a cache."
    return "Leave the cache out (use_cache=False)." if way.position_ids else "Hand in position_ids."


@torch.no_grad()
def _gap(anatomy: "Anatomy", way: Way) -> float:
    """The largest difference to the whole text by itself, of its largest logit. Raises whatever a call in this way
    raises.
    """
    from .places import evaluating

    hf, ids = anatomy.hf, anatomy.probe_ids()
    with evaluating(hf):
        want = hf(ids, use_cache=False).logits[0]
        got = _called(anatomy, ids, way)
    return gap(got, want[-len(got) :])


def _called(anatomy: "Anatomy", ids: Tensor, way: Way) -> Tensor:
    """Logits of the last tokens of the probe, called in this way."""
    hf, length = anatomy.hf, ids.shape[1]
    if way.packed:
        twice = torch.cat([ids[:, :4], ids], 1)
        at = torch.cat([torch.arange(4), torch.arange(length)])[None].to(ids.device)
        masked = {"attention_mask": torch.ones_like(twice)} if way.mask else {}
        logits: Tensor = hf(twice, position_ids=at, use_cache=way.kept, **masked).logits[0, 4:]
        return logits
    pads = _PADS if way.padded else 0
    row = torch.cat([ids.new_zeros(1, pads), ids], 1)
    mask = torch.cat([ids.new_zeros(1, pads), torch.ones_like(ids)], 1)
    at = (mask.cumsum(1) - 1).clamp(min=0)
    placed, last = way.position_ids and takes_positions(hf), length + pads
    cuts = {0: [0, last], 1: [0, last - 2, last - 1, last], 2: [0, last - 4, last]}[way.step]
    cache, parts = None, []
    if way.static:
        from transformers import StaticCache

        cache = "past_key_values", StaticCache(config=hf.config, max_cache_len=last + 8)
    for begin, end in itertools.pairwise(cuts):
        options: dict[str, Any] = {"position_ids": at[:, begin:end]} if placed else {}
        # a recurrent state after the first tokens takes no mask of what it has read
        if (way.mask or way.padded) and (cache is None or cache[0] == "past_key_values"):
            options["attention_mask"] = mask[:, :end]
        out, cache = read(hf, row[:, begin:end], cache, way.step > 0, **options)
        if way.step and cache is None:
            raise LookupError("it hands over no cache to go on from")
        parts.append(out.logits[0])
    return torch.cat(parts[1:]) if way.step else parts[0][pads:]
