"""A recorded run, run back: many cotangents at once, with one layer's derivatives in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..autograd import require_autograd
from ..forwards import ForwardRuns
from ..memory import chunk_tokens
from ..runs import Runs
from .blocks import WrittenOut
from .formed import carry, pays
from .norms import NormBack, held
from .own import OwnLayer, own_path
from .rules import ReverseError, Rules

#: Tokens of cotangents that a layer is given at once on a CPU.
CHUNK_TOKENS = 1024
#: Sites whose cotangents can be asked for; ``mlp_in`` is what an MLP reads, behind its norm.
SITES = ("resid_post", "mlp_out", "neuron", "mlp_in", "resid_mid", "attn_out", "z", "q", "k", "v")
#: What is the state itself, or goes on in its place, is written over.
WRITTEN_OVER = ("resid_post", "mlp_out", "neuron", "resid_mid", "attn_out")
#: By reader, the site at which its cotangent is told.
READERS = {"q": "q", "k": "k", "v": "v", "mlp": "mlp_in"}


class Step:
    """What a layer was told on the way back.

    Attributes:
        layer: which one.
        at: the cotangents at the sites asked for, ``[cotangent, prompt, position, (heads,) width]``: raw ``q``, ``k``
            and ``v``; ``mlp_in`` behind the MLP's norm. There is no ``q`` and ``k`` where patterns are held.
        resid_pre: the cotangents at the layer's input; the next step writes over them.
    """

    def __init__(self, layer: int, block: Any, at: dict[str, Tensor], resid_pre: Tensor):
        self.layer, self.block, self.at, self.resid_pre = layer, block, at, resid_pre

    def into(
        self, reader: str, heads: slice | None = None
    ) -> Float[Tensor, "cotangent prompt position *heads d_model"]:
        """The cotangents at the stream before the reader's norm, through that reader alone.

        Args:
            reader: ``q`` (by query head), ``k`` or ``v`` (by key/value head), or ``mlp``; its site must have been asked
                for. heads: some of the heads alone.

        Raises: ReverseError: another reader, or one that was not asked for.
        """
        if reader not in READERS:
            raise ReverseError(f"reader={reader!r} is not known; expected one of {', '.join(READERS)}.")
        if READERS[reader] not in self.at:
            raise ReverseError(
                f"reader={reader!r} was not kept on the way back; name {READERS[reader]!r} in sites= (there is none for"
                " q and k where patterns are held)."
            )
        into: Tensor = self.block.into(reader, self.at[READERS[reader]], heads)
        return into

    def post_norm(self, site: str, delta: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        """What a small change before a post-norm adds to the stream: ``delta [..., prompt, position, d_model]`` itself
        where the block has none at ``attn_out`` or ``mlp_out``.
        """
        norm: NormBack = self.block.post_norm(site)
        return norm.forward(delta)


class Reverse:
    """A recorded run of some prompts, ready to be run back.

    Args:
        runs: of any model whose layers are driven one by one; shorter prompts are padded, and padding has no cotangent.
            Where blocks are not written out, autograd takes the place of their transposes, a backward pass a prompt and
            cotangent, the rules must be none, and readers are not told apart.
        rules: what is held on the way, see `Rules`.
        start, stop: positions ``start`` to ``stop`` (the longest prompt's end) are variables; earlier ones are
            constants, later ones are left out. What comes back has these positions alone.
        apart: cotangents of keys and values are those of every query head's own, where several share one.

    Attributes: ``table [prompt, position]``: the flat token of each variable position.

    Raises:
        ReverseError: positions that are not there; runs of a model that is run by whole forwards only.

    Cost: a layer is linearised once (about a forward of it) and run back once a cotangent; in memory are the
    cotangents, one layer's derivatives and what one chunk of cotangents needs.
    """

    def __init__(
        self, runs: Runs, *, rules: Rules | None = None, start: int = 0, stop: int | None = None, apart: bool = False
    ):
        longest = max(runs.lengths)
        stop = longest if stop is None else stop
        if not 0 <= start < stop <= longest:
            raise ReverseError(f"start={start}, stop={stop} are no positions of prompts of {longest} tokens.")
        #: what drives a model's own layers, where its blocks are not written out
        self._own = own_path(runs, rules or Rules()) if isinstance(runs, ForwardRuns) else None
        require_autograd(ReverseError, "a reverse walk", runs.decoder.hf)
        # runs of either path
        self.runs: Any = runs
        self.rules, self.start, self.stop, self.apart = rules or Rules(), start, stop, apart
        self.decoder, self.n_layers = runs.decoder, runs.decoder.n_layers
        self._whole = runs.table[:, :stop]
        self.table = self._whole[:, start:]
        lengths = torch.tensor(runs.lengths, device=self.table.device)
        at = torch.arange(start, stop, device=self.table.device)
        #: whether a position is one of its prompt's own
        self.there = at[None] < lengths[:, None]

    def cotangents(self, score: Callable[[Tensor], Tensor]) -> Float[Tensor, "cotangent prompt position d_model"]:
        """The gradients of read-outs at the last stream, before the final norm, whose scale the rules may hold.

        Args:
            score: from the streams after the last block, ``[n_tokens, d_model]`` flat as ``runs.final``, to a number or
                to several, ``[cotangent]``.

        Raises: ReverseError: a score that does not depend on the streams by a gradient.
        """
        final = self.runs.final
        with torch.enable_grad(), held(self.decoder, self.rules.freeze_norms):
            leaf = final.detach().requires_grad_()
            values = score(leaf).reshape(-1)
            if not values.requires_grad:
                raise ReverseError("score does not depend on the last streams by a gradient.")
            grads = [
                torch.autograd.grad(value, leaf, retain_graph=i + 1 < len(values), allow_unused=True)[0]
                for i, value in enumerate(values)
            ]
        zero = torch.zeros_like(final)
        flat = torch.stack([zero if g is None else g for g in grads])
        return flat[:, self.table] * self.there[..., None]

    @torch.no_grad()
    def layers(
        self,
        cotangents: Float[Tensor, "cotangent prompt position d_model"],
        sites: Collection[str] = (),
        *,
        last: int = 0,
        first: int | None = None,
        chunk: int | None = None,
        joins: Mapping[tuple[str, int], Tensor] | None = None,
    ) -> Iterator[Step]:
        """Carries cotangents of the last stream up the layers, from the last layer to layer ``last``.

        Args:
            cotangents: at the variable positions; they are written over, layer by layer.
            sites: whose cotangents each step keeps, of ``SITES``. last: the layer to end with. first: that to begin
                with, whose output's the cotangents then are; None: the last one. chunk: cotangents run
                back at once; by default so many that a layer is given about a thousand tokens on a CPU.
            joins: further cotangents of the same shape that enter on the way, where blocks are written out: by
                ``("resid_post", layer)`` at a layer's end, by ``("resid_mid", layer)`` there too but past its MLP.

        Raises: ReverseError: an unknown site, cotangents of another shape.
        """
        if unknown := [site for site in sites if site not in SITES]:
            raise ReverseError(
                f"sites={unknown!r} are not sites of a reverse walk; expected some of {', '.join(SITES)}."
            )
        shape = (*self.table.shape, self.decoder.d_model)
        if cotangents.ndim != 4 or tuple(cotangents.shape[1:]) != shape:
            raise ReverseError(
                f"cotangents of shape {tuple(cotangents.shape)} are none of this run; expected [cotangent,"
                f" {', '.join(map(str, shape))}]."
            )
        state = cotangents
        joins = joins or {}
        if joins and self._own is not None:
            raise ReverseError("joins: cotangents enter where blocks are written out, and this model's are not.")
        size = chunk or max(1, chunk_tokens(self.decoder, CHUNK_TOKENS) // self.table.numel())
        for layer in reversed(range(last, self.n_layers if first is None else first + 1)):
            with self._resident(layer):
                back: Any = self._linear(layer, sites)
                kept: dict[str, list[Tensor]] = {site: [] for site in sites}
                state = state.to(self._device(layer))
                if ("resid_post", layer) in joins:
                    state += joins["resid_post", layer]
                further = joins.get(("resid_mid", layer))
                run, at_once = back, size
                if isinstance(back, WrittenOut) and pays(back, len(state), sites):
                    carry(back, state)
                    # beside so many cotangents even a chunk's own numbers count, and it has no neurons to read
                    run, at_once = back.from_middle, max(1, size // 2)
                for begin in range(0, len(state), at_once):

                    def told(site: str, c: Tensor) -> None:
                        if site in kept:
                            kept[site].append(c.clone() if site in WRITTEN_OVER else c)

                    part = slice(begin, begin + at_once)
                    state[part] = run(state[part], told) if further is None else run(state[part], told, further[part])
                at = {site: parts[0] if len(parts) == 1 else torch.cat(parts) for site, parts in kept.items() if parts}
                yield Step(layer, back, at, state)

    def _resident(self, layer: int) -> AbstractContextManager[Any]:
        """Where a layer's offloaded weights are where it computes."""
        return self.decoder.blocks[layer].resident() if self._own is None else nullcontext()

    def _device(self, layer: int) -> torch.device:
        """Where a layer computes."""
        device: torch.device = self.runs.resid[layer].device if self._own else self.decoder.blocks[layer].device
        return device

    def _linear(self, layer: int, sites: Collection[str]) -> WrittenOut | OwnLayer:
        """A layer's derivatives at the run."""
        runs, block = self.runs, self.decoder.blocks[layer]
        if self._own is not None:
            return OwnLayer(runs, self._own, layer, self.start, self.stop, sites)
        table = self._whole.to(block.device)
        x, attn = runs.resid[layer][table], runs.attn[layer][table]
        rope = self.decoder.rope(self.stop, block.device)[block.table] if block.rotary else (None, None)
        return WrittenOut(block, x, attn, rope, self.start, self.rules, self.apart)
