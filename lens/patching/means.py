"""Means of a site's activations, to put in the place of one prompt's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..engine.memory import budget
from ..engine.model import Model
from ..engine.pieces import batches_of, run_bytes
from ..engine.runs import Runs
from ..models.identity import digest
from .grid import PatchError

#: Over which tokens a mean is taken: all of every prompt, or those at one position.
OVER = ("tokens", "position")


@dataclass(frozen=True)
class Reading:
    """What means are taken of: of each token, by layer, a site's activation.

    Attributes: site: what runs must keep. skip: leading tokens of a prompt that count in no mean over tokens.
    """

    site: str
    skip: int = 0

    def __call__(self, runs: Runs, layer: int) -> Tensor:
        """``[n_tokens, *width]``. Raises: SiteError: the runs did not keep the site."""
        return runs.get(self.site, layer)


@dataclass
class Means:
    """Sums of what is read of a model by layer, and of how many tokens.

    Attributes:
        reading, by_position: what of, and whether each position has its own. sums: by layer, ``[(position,) *width]``,
            float64. count: tokens (or prompts, by position) in each. leaves_out: whether a prompt's own tokens are
            in them, to be taken out. said: what a record says of them.
    """

    reading: Reading
    by_position: bool
    sums: dict[int, Tensor]
    count: int
    leaves_out: bool
    said: dict[str, Any]

    @classmethod
    def of_prompts(
        cls,
        model: Model,
        ids: Sequence[Tensor],
        reading: Reading,
        layers: Sequence[int],
        over: str,
        memory_mb: float | None,
        own: dict[int, list[Tensor]] | None = None,
    ) -> Means:
        """Those of the prompts of a call, each of which then has the mean of the others; ``own`` takes up what each
        prompt adds to a layer's sums.

        Raises:
            PatchError: a single prompt; prompts of unlike length where each position has its own mean.
        """
        if len(ids) < 2:
            raise PatchError(
                "source='mean' is the mean over the other pairs of the call, and there is one pair; give several, or"
                " the means as a tensor, or the Runs of reference prompts."
            )
        by_position, lengths = over == "position", [len(i) for i in ids]
        if by_position and len(set(lengths)) > 1:
            raise PatchError(
                f"mean_over='position' needs prompts of one length, and they have from {min(lengths)} to"
                f" {max(lengths)} tokens; use mean_over='tokens'."
            )
        sums: dict[int, Tensor] = {}
        keep = (reading.site,)
        with torch.no_grad():
            for batch in batches_of([run_bytes(model, n, keep) for n in lengths], budget(model, memory_mb).runs):
                _add(sums, model.record([ids[i] for i in batch], keep), reading, layers, by_position, own)
        said = {"of": "the other pairs", "over": over, "prompts": len(ids) - 1}
        count = len(ids) if by_position else sum(max(0, n - reading.skip) for n in lengths)
        return cls(reading, by_position, sums, count, True, said)

    @classmethod
    def of_runs(cls, runs: Runs, reading: Reading, layers: Sequence[int], over: str, lengths: Sequence[int]) -> Means:
        """Those of runs that are given.

        Raises:
            PatchError: runs of other lengths than the prompts where each position has its own mean. SiteError: a site
                that the runs did not keep.
        """
        by_position = over == "position"
        unlike = sorted({*runs.lengths, *lengths})
        if by_position and len(unlike) > 1:
            raise PatchError(
                f"mean_over='position': the runs and the prompts have {unlike} tokens, and each position's mean needs"
                " one length; use mean_over='tokens'."
            )
        sums: dict[int, Tensor] = {}
        _add(sums, runs, reading, layers, by_position)
        count = len(runs) if by_position else sum(max(0, n - reading.skip) for n in runs.lengths)
        content = digest([sums[layer].cpu() for layer in layers])
        said = {"of": "runs", "over": over, "prompts": len(runs), "digest": content}
        return cls(reading, by_position, sums, count, False, said)

    @classmethod
    def of_tensor(
        cls, values: Tensor, site: str, layers: Sequence[int], n_layers: int, width: tuple[int, ...]
    ) -> Means:
        """Those of a tensor, ``[*width]`` for every layer or ``[layer, *width]``.

        Raises:
            PatchError: another shape.
        """
        shape = tuple(values.shape)
        if shape not in (width, (n_layers, *width)):
            raise PatchError(
                f"source: a tensor of shape {shape}; site {site!r} takes {width}, or {(n_layers, *width)} with one for"
                " each layer."
            )
        sums = {l: (values if shape == width else values[l]).double() for l in layers}
        return cls(Reading(site), False, sums, 1, False, {"of": "a tensor", "digest": digest(values.detach().cpu())})

    def of_all(self, layer: int) -> Tensor:
        """The mean of a layer, ``[(position,) *width]``."""
        return (self.sums[layer] / self.count).float()

    def without(self, base: Runs | None, k: int, length: int) -> Callable[[int], Tensor]:
        """The mean of a layer without the tokens of prompt ``k`` of some runs."""
        own: dict[int, Tensor] = {}

        def mean(layer: int) -> Tensor:
            if layer not in own:
                assert base is not None  # made before its cells
                start = int(base.starts[k])
                x = self.reading(base, layer)[start : start + length].double()
                own[layer] = self.rest(layer, x if self.by_position else x[self.reading.skip :].sum(0), length)
            return own[layer]

        return mean

    def rest(self, layer: int, own: Tensor, length: int) -> Tensor:
        """The mean of a layer without what a prompt of some tokens adds to its sums."""
        left = self.count - (1 if self.by_position else max(0, length - self.reading.skip))
        return ((self.sums[layer].to(own.device) - own) / left).float()

    def record(self) -> dict[str, Any]:
        """What a record says of them."""
        return self.said


def _add(
    sums: dict[int, Tensor],
    runs: Runs,
    reading: Reading,
    layers: Sequence[int],
    by_position: bool,
    own: dict[int, list[Tensor]] | None = None,
) -> None:
    for layer in layers:
        x = reading(runs, layer).double()
        if own is not None:
            parts = x.split(list(runs.lengths))
            own.setdefault(layer, []).extend(p if by_position else p[reading.skip :].sum(0) for p in parts)
        if by_position:
            x = x.unflatten(0, (len(runs), -1))
        elif reading.skip:
            x = x[runs.position >= reading.skip]
        total = x.sum(0)
        sums[layer] = sums[layer] + total if layer in sums else total
