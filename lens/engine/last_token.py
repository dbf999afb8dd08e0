"""The last token of a prompt as rows of its own, with gradients: what estimates of heads' effects differentiate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from .forwards import ForwardRuns
from .gradients import forward_with
from .runs import Runs
from .walk.forward import Layout, attention, feed_forward, no_tap

#: ``(layer, site, tensor [row, ...]) -> tensor``
Tap = Callable[[int, str, Tensor], Tensor]


class LastToken(Protocol):
    """Rows of one token that all continue the prompt's other tokens."""

    def whole(self, rows: int, tap: Tap) -> Float[Tensor, "rows width"]:
        """What so many rows end in, from the first layer on; ``tap`` is called at ``z``, ``attn_out``, ``mixer`` (what
        is added beside attention) and ``mlp_out`` of every layer that has them, and returns what to go on with.
        """
        ...

    def joining(self, z: Mapping[int, Float[Tensor, "rows n_heads d_head"]]) -> Float[Tensor, "all_rows width"]:
        """What rows end in that leave the unedited run at a layer, with its heads' outputs given: layer after layer."""
        ...


def last_token(runs: Runs, prompt: int) -> LastToken:
    """The rows of a prompt's last token, by the path that made its runs."""
    return _Own(runs, prompt) if isinstance(runs, ForwardRuns) else _Walked(runs, prompt)


class _Walked:
    """By the written-out blocks, on the keys and values of the unedited run. Cost: one token a row and layer."""

    def __init__(self, runs: Runs, prompt: int):
        self.decoder = runs.decoder
        self.runs: Any = runs  # a walk's, with keys and values
        self.start, self.n = runs.starts[prompt], runs.lengths[prompt] - 1
        self.at = self.start + self.n
        #: what `_attention` was last asked for, and its indexes and tables: the same for layer after layer
        self._laid: tuple[Any, tuple[Layout, Any]] | None = None

    def _layout(self, n: int, device: torch.device) -> Layout:
        """So many rows of this token, all after the prompt's other tokens."""
        rows = torch.arange(n, device=device)
        after = [(rows[None, :, None], slice(self.start, self.at), None)]
        return Layout(rows, torch.full_like(rows, self.n), n, self.n + 1, after=after)

    def _attention(self, layer: int, x: Tensor, tap: Callable[[str, Tensor], Tensor] = no_tap) -> Tensor:
        key = len(x), x.device
        if self._laid is None or self._laid[0] != key:
            self._laid = key, (self._layout(*key), self.decoder.rope(self.n + 1, x.device))
        lay, rope = self._laid[1]
        return attention(self.decoder.blocks[layer], x, lay, rope, (self.runs.k[layer], self.runs.v[layer]), tap)

    def whole(self, rows: int, tap: Tap) -> Tensor:
        x: Tensor = self.runs.resid[0][self.at].expand(rows, -1).clone()
        for l, block in enumerate(self.decoder.blocks):

            def of_layer(site: str, t: Tensor, l: int = l) -> Tensor:
                return tap(l, site, t)

            x = x.to(block.device)
            with block.resident():
                x = feed_forward(block, x, self._attention(l, x, of_layer), of_layer)
        return x.to(self.decoder.device)

    def joining(self, z: Mapping[int, Tensor]) -> Tensor:
        x: Tensor = self.runs.resid[0][:0]
        for l in range(min(z), self.decoder.n_layers):
            block = self.decoder.blocks[l]
            x = x.to(block.device)
            before = [x] if len(x) else []
            with block.resident():
                out = [self._attention(l, x)] if before else []
                if l in z:
                    before.append(self.runs.resid[l][self.at].expand(len(z[l]), -1))
                    out.append(block.out(z[l].to(block.device)))
                x = feed_forward(block, torch.cat(before), torch.cat(out))
        return x.to(self.decoder.device)


class _Own:
    """By full forwards of the model's own. Cost: the whole prompt a row."""

    def __init__(self, runs: ForwardRuns, prompt: int):
        self.model, self.ids = runs.decoder, runs.ids[prompt]

    def whole(self, rows: int, tap: Tap) -> Tensor:
        changes = {}
        for l in range(self.model.n_layers):
            for site in ("z", "attn_out", "mixer", "mlp_out"):
                if self.model.has(site, l):
                    changes[site, l] = self._at_last(l, site, tap)
        return forward_with(self.model, self.ids, changes, rows)[:, -1]

    @staticmethod
    def _at_last(layer: int, site: str, tap: Tap) -> Callable[[Tensor], Tensor]:
        def change(x: Tensor) -> Tensor:
            new = tap(layer, site, x[:, -1])
            return torch.cat([x[:, :-1], new[:, None]], 1)

        return change

    def joining(self, z: Mapping[int, Tensor]) -> Tensor:
        ends = []
        for l, value in z.items():

            def change(x: Tensor, value: Tensor = value) -> Tensor:
                return torch.cat([x[:, :-1], value[:, None].to(x)], 1)

            ends.append(forward_with(self.model, self.ids, {("z", l): change}, len(value))[:, -1])
        return torch.cat(ends)
