"""Runs that go on from a recorded one where some of what is written lies between it and another run.

Of `EAP-IG` by activations each such run has one place where it departs: the input, a layer's heads or its MLP. What is
put in there is a constant: no gradient flows back into what would have written it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..engine.walk.forward import Layout, attention, feed_forward
from ..engine.walk.runs import WalkRuns
from .writes import Stream, Writes


@dataclass(frozen=True)
class Branch:
    """Runs of all points of one place, point by point the prompts of the base run.

    Attributes:
        runs: from ``layer`` on; below it they are the base run. mlp_alone: in that layer attention is a constant, so
            that of its readers the MLP alone is reached. after_mlp: they leave the base run behind the MLP of the layer
            before, which is a constant.
    """

    runs: WalkRuns
    layer: int
    mlp_alone: bool = False
    after_mlp: bool = False


@dataclass(frozen=True)
class Branching:
    """What branches leave, and what for.

    Attributes: base: the recorded run, with its writes. source: the writes that it is led to. shares: how far, one run
        each. start: what comes before this position is the base run's. keep: sites to keep.
    """

    base: Any  # WalkRuns: Writes are of written-out blocks alone
    own: Writes
    source: Writes
    shares: Sequence[float]
    start: int
    keep: tuple[str, ...] = ()

    @property
    def places(self) -> int:
        """How many there are."""
        return 1 + 2 * self.base.decoder.n_layers

    @torch.no_grad()
    def branches(self) -> Iterator[Branch]:
        """One place after another, the input first."""
        own, source, base = self.own, self.source, self.base
        yield Branch(self._onward(0, self._between(own.resid[0], source.resid[0])), 0)
        for layer, block in enumerate(base.decoder.blocks):
            z = self._between(own.z[layer], source.z[layer])
            with block.resident():
                attn = block.out(z)
            stream = self._between(own.resid[layer], own.resid[layer])
            yield Branch(self._onward(layer, stream, attn, z), layer, mlp_alone=True)
            after = base.resid[layer + 1]
            stream = self._between(after, after - own.mlp[layer] + source.mlp[layer])
            yield Branch(self._onward(layer + 1, stream), layer + 1, after_mlp=True)

    def _tokens(self) -> tuple[WalkRuns, Tensor]:
        """Empty runs of all points, and which of their tokens may differ from the base run's."""
        runs = WalkRuns(self.base.decoder, list(self.base.ids) * len(self.shares), self.keep)
        runs.of_ids = False
        return runs, (runs.position >= self.start).nonzero()[:, 0]

    def _between(self, own: Tensor, source: Tensor) -> Float[Tensor, " points*tokens *width"]:
        """What lies so far on the way, of the tokens that may differ, one point after another."""
        late = self.base.position >= self.start
        first, way = own[late], (source - own)[late]
        return torch.cat([first + share * way for share in self.shares])

    def _onward(self, layer: int, x: Stream, attn: Stream | None = None, z: Tensor | None = None) -> WalkRuns:
        """The runs from a layer's input on, where attention adds what is given."""
        runs, tokens = self._tokens()
        base, decoder = self.base, runs.decoder
        points = len(self.shares)
        longest = max(runs.lengths)
        lay = Layout(runs.prompt[tokens], runs.position[tokens], len(runs), longest, base=base.table.repeat(points, 1))

        def whole(part: Tensor, of_base: Tensor) -> Tensor:
            return of_base.repeat(points, *[1] * (of_base.ndim - 1)).index_copy_(0, tokens, part)

        for below in range(layer):
            # the base run's own there, and never asked for
            runs.resid.append(base.resid[below][:0])
            runs.attn.append(base.attn[below][:0])
            for site in self.keep:
                runs.activations[site].append(base.activations[site][below][:0])
        for number in range(layer, decoder.n_layers):
            block, seen = decoder.blocks[number], {"z": z}

            def tap(site: str, t: Tensor, seen: dict[str, Tensor | None] = seen) -> Tensor:
                if site in seen:
                    seen[site] = t
                return t

            with block.resident():
                if attn is None:
                    rope = decoder.rope(longest, block.device)
                    attn = attention(block, x, lay, rope, (base.k[number], base.v[number]), tap)
                runs.resid.append(whole(x, base.resid[number]))
                runs.attn.append(whole(attn, base.attn[number]))
                for site in self.keep:
                    there = seen[site]
                    assert there is not None
                    runs.activations[site].append(whole(there, base.activations[site][number]))
                x, attn, z = feed_forward(block, x, attn), None, None
        runs.resid.append(whole(x, base.resid[-1]))
        return runs
