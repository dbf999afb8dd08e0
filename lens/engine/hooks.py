"""The third path: edited runs of one prompt as rows of a batch of full forwards with hooks. Slow, and right for any
model whose sites are found.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .anatomy import Anatomy
from .changes import temporary
from .continuation import Continuation, Prefix
from .edits import Edit
from .effective import mixing_layer
from .ending import Ending
from .errors import UnsupportedModel
from .memory import ERRORS, chunk_tokens, no_room, out_of_memory
from .sites import ORDER, SiteError
from .stopping import Stopped, says_stop
from .writes import Plain, Writes, writes_of

#: Tokens of one batch of full forwards.
CHUNK_TOKENS = 1024


def _noted(into: list[Tensor], at: Sequence[int], x: Tensor) -> Tensor:
    """Hands a stream on, and keeps what it is at some positions."""
    into.append(x[:, at].clone())
    return x


def first_difference(ids: Int[Tensor, " length"], others: Int[Tensor, " length"]) -> int:
    """The first position at which two texts differ, as far as both go; there where the shorter ends if at none."""
    n = min(len(ids), len(others))
    differs = (ids[:n] != others[:n]).nonzero()
    return int(differs[0]) if len(differs) else n


@dataclass
class PromptRun(Plain):
    """One prompt's unedited run.

    Attributes:
        activations: by site and layer, ``[position, (head,) width]``; patterns ``[query, head, key]``.
        resid: the residual stream before every block and as it goes on behind the last, ``[length, d_model]`` each.
        embedded: the token embeddings, ``[length, d_model]``. logits: the model's own after the last token,
            ``[d_vocab]``; after every token where runs carry logits.
    """

    ids: Int[Tensor, " length"]
    activations: dict[tuple[str, int], Tensor]
    resid: list[Tensor]
    embedded: Tensor
    logits: Tensor
    #: whether it began with other embeddings than the tokens' own
    noised: bool = False
    #: how its layers were called, and the caches that they filled until `continuation` takes them over: of the path on
    #: the model's own layers
    calls: list[tuple[int, dict[str, Any]]] | None = None
    caches: list[Prefix] | None = None
    continuation: Continuation | None = None

    def get(self, site: str, layer: int) -> Tensor:
        """A site's activation in a layer [n_tokens, ...]; raises `SiteError` where it was not kept."""
        if site == "embed":
            return self.embedded
        if (site, layer) in self.activations:
            return self.activations[site, layer]
        if site == "resid_mid":
            stream = self.activations.get(("start", layer), self.resid[layer]) + self.activations["attn_out", layer]
            return stream + self.activations["mixer", layer] if ("mixer", layer) in self.activations else stream
        if site in ("resid_pre", "resid_post"):
            return self.resid[layer + (site == "resid_post")]
        raise SiteError(f"site {site!r} was not kept by this run; record it with keep=({site!r},).")


class Hooks:
    """Full forwards with hooks, for any model whose sites are found."""

    name = "hooks"

    def __init__(self, anatomy: Anatomy, ending: Ending):
        if mixed := mixing_layer(anatomy.hf):
            raise UnsupportedModel(mixed)
        self.anatomy, self.ending = anatomy, ending
        self._short = "logits_to_keep" in inspect.signature(anatomy.hf.forward).parameters

    @torch.no_grad()
    def record(
        self,
        ids: Int[Tensor, " length"],
        keep: Sequence[tuple[str, int]] = (),
        embedded: Float[Tensor, "length d_model"] | None = None,
    ) -> PromptRun:
        """One plain forward, with the stream at every layer and the activations named.

        Args:
            embedded: token embeddings to begin with, in place of the tokens' own.

        Raises:
            SiteError: a site that was not found.
        """
        a, whole = self.anatomy, self.ending.kind == "logits"
        activations: dict[tuple[str, int], Tensor] = {}

        def look(key: tuple[str, int]) -> Callable[[Tensor], Tensor]:
            def seen(x: Tensor) -> Tensor:
                activations[key] = x[0].clone()
                return x

            return seen

        with temporary(a.hf) as here:
            if embedded is not None:
                here.put(lambda: a.attach("embed", 0, lambda x: embedded[None].to(x)))
            streams = [("embed", 0), *(("resid_pre", l) for l in range(a.n_layers))]
            streams += [("resid_post", l) for l in range(a.n_layers) if l not in a.handed_on]
            for key in dict.fromkeys([*streams, *keep]):
                here.put(lambda: a.attach(*key, look(key)))
            # the embedding itself is seen before it is replaced: both changes are in force, the replacement first
            options = {"logits_to_keep": 1} if self._short and not whole else {}
            logits = a.forward(ids[None], **options)[0]
        # each where its layer computes; what a run ends in where it began
        resid = [activations.pop(("resid_pre", l)).to(a.devices[l]) for l in range(a.n_layers)]
        resid.append(self.ending.entering(activations[("resid_post", a.n_layers - 1)]).to(a.device))
        return PromptRun(
            ids,
            activations,
            resid,
            activations.pop(("embed", 0)),
            logits if whole else logits[-1],
            embedded is not None,
        )

    @torch.no_grad()
    def run(
        self,
        base: PromptRun,
        rows: Sequence[Sequence[Edit]],
        reads: Sequence[int],
        *,
        freeze: Sequence[str] = (),
        record: Sequence[tuple[str, int]] = (),
        stop: Callable[[], bool] | None = None,
    ) -> tuple[Float[Tensor, "rows reads width"], dict[tuple[str, int], dict[int, Tensor]], int]:
        """What every edited run ends in at the positions read, ascending; what was recorded, by row, and the position
        at which it begins.

        Args:
            freeze: sites held at the unedited run's (``attention``, ``mlp``). record: sites to return too.

        Raises:
            Stopped: ``stop`` said so.
        """
        a, length, out = self.anatomy, len(base.ids), []
        size = max(1, chunk_tokens(a.hf, CHUNK_TOKENS) // length)
        seen: dict[tuple[str, int], dict[int, Tensor]] = {key: {} for key in record}
        writes = writes_of(a, rows, length, base=base, freeze=freeze, look=seen)
        whole, last = self.ending.kind == "logits", ("resid_post", a.n_layers - 1)
        keep = length - min(reads) if whole else 1
        options = {"logits_to_keep": keep} if self._short else {}
        begin = 0
        while begin < len(rows):
            if says_stop(stop):
                raise Stopped(f"stopped before run {begin} of {len(rows)}")
            part = range(begin, min(begin + size, len(rows)))
            final: list[Tensor] = []
            try:
                with temporary(a.hf) as here:
                    if base.noised:
                        here.put(lambda: a.attach("embed", 0, lambda x: base.embedded.to(x).expand_as(x).clone()))
                    for (site, layer), of_site in sorted(writes.items(), key=_computed):
                        here.put(lambda: a.attach(site, layer, of_site.on_rows(part)))
                    if not whole:
                        here.put(lambda: a.attach(*last, partial(_noted, final, reads)))
                    logits = a.forward(base.ids[None].expand(len(part), -1), **options)
            except ERRORS as error:
                if not out_of_memory(error):
                    raise
                if size == 1:
                    raise no_room(a.device, length) from error
                size //= 2
                continue
            out.append(
                logits[:, [r - length for r in reads]] if whole else self.ending.entering(final[-1]).to(a.device)
            )
            begin = part.stop
        width = self.ending.width
        return (torch.cat(out) if out else torch.zeros(0, len(reads), width, device=a.device)), seen, 0


def _computed(entry: tuple[tuple[str, int], Writes]) -> tuple[int, float]:
    (site, layer), _ = entry
    return layer, ORDER[site]
