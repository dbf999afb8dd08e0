"""Scores of all edges at once: how a writer's change meets the gradient at a reader, summed over tokens.

``score(u -> r) = sum over tokens of (source write - base write of u) . d metric / d (input of r)``, the input being the
stream before the reader's norm. The gradients come from the engine's reverse walk, layer by layer: no layer's are kept.

Cost: the runs, one reverse walk a point, and a product of ``2 tokens d_model`` operations an edge: under a tenth of the
passes of a small model. In memory are the writers' differences of a batch of prompts and one layer's gradients; where
tokens are told apart, the same operations, and as many times the scores as there are tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..engine.memory import budget
from ..engine.pieces import batch_by_batch, run_bytes
from ..engine.reverse import GIM, Reverse, Rules
from ..engine.reverse.norms import NormBack
from ..engine.runs import Runs
from ..engine.sweep import Values
from .branches import Branch, Branching
from .graph import Graph
from .task import Task
from .writes import KEEP, Ablated, Writes, before_norm, of_heads, recorded_pair

Method = Literal["inputs", "activations", "clean-corrupted", "gim"]
Sums = Literal["midpoint", "left"]
#: Sites whose cotangents are the readers'.
_SITES = ("q", "k", "v", "mlp_in")


def points(method: str, steps: int, sums: str) -> list[float]:
    """Where the gradient is taken, as shares of the way from the base run's embeddings to the source's.

    One step is the base run itself. Midpoints: of `steps` parts. Left: the published sum, which begins at the source
    run and leaves the base run out, of activations the other way round (Hanna et al. 2024, and its library). Both ends:
    the mean of base and source.

    >>> points("inputs", 2, "midpoint"), points("inputs", 2, "left"), points("clean-corrupted", 1, "midpoint")
    ([0.25, 0.75], [1.0, 0.5], [0.0, 1.0])
    >>> points("activations", 2, "left")
    [0.5, 0.0]
    """
    if method == "clean-corrupted":
        return [0.0, 1.0]
    if method == "activations" and sums == "left":
        return [1 - k / steps for k in range(1, steps + 1)]
    if steps == 1 and method != "activations":
        return [0.0]
    return [(k + 0.5) / steps if sums == "midpoint" else 1 - k / steps for k in range(steps)]


@dataclass
class Scores:
    """The scores of all edges in some pairs.

    Attributes: shares: see `points`. rules: of the reverse walk. noise: whether the clean run is the base. activations:
        whether it is what each layer writes, and not the input alone, that lies between the two runs. positions:
        whether the tokens are told apart.
    """

    task: Task
    ablated: Ablated
    shares: Sequence[float]
    rules: Rules
    noise: bool = True
    activations: bool = False
    positions: bool = False

    @property
    def apart(self) -> bool:
        """Whether query heads that share keys and values have readers of their own."""
        walked: Any = self.task.view.walked
        return bool(self.task.graph.n_kv_heads != walked.n_kv_heads)

    @torch.no_grad()
    def effects(
        self, memory_mb: float | None, progress: bool | None, stop: Callable[[], bool] | None
    ) -> tuple[np.ndarray, Values]:
        """Estimates of every edge's effect, ``[prompt, (position,) reader, writer]`` and NaN where there is none, and
        the metric of the unedited runs.
        """
        task, graph = self.task, self.task.graph
        tokens = (max(task.lengths),) if self.positions else ()
        effect = np.full((len(task.encoded), *tokens, *graph.exists.shape), np.nan, np.float32)
        values = Values.empty(len(task.encoded), ())
        room = budget(task.view, memory_mb)
        runs = 2 + self.activations * len(self.shares)
        sizes = [runs * run_bytes(task.view, n, KEEP) + self._bytes(n) for n in task.lengths]

        def one(batch: list[int]) -> None:
            found = np.where(graph.exists, self._batch(batch, values).cpu().numpy(), np.nan)
            for of_prompt, i in zip(found, batch):
                own = (slice(task.lengths[i]),) if self.positions else ()
                effect[(i, *own)] = of_prompt[own]

        free = room.bytes - (effect.nbytes if self.positions else 0)
        values.status = batch_by_batch(sizes, free * 0.8, one, label="edges", progress=progress, stop=stop)
        return effect, values

    def _bytes(self, length: int) -> int:
        """The differences of all writers, and the gradients of one layer's readers with what makes them; the scores
        of every token, on the device and as they are brought back.
        """
        graph = self.task.graph
        size: int = self.task.view.dtype.itemsize
        apart = 12 * length * graph.exists.size if self.positions else 0
        return length * graph.d_model * size * (graph.n_writers + 4 * graph.per_layer) + apart

    def _batch(self, batch: Sequence[int], values: Values) -> Float[Tensor, "prompt *position reader writer"]:
        task, graph = self.task, self.task.graph
        with torch.no_grad():
            base, other = recorded_pair(task.view, *task.ids(batch, self.noise))
            of_base, of_other = Writes.of(base), Writes.of(other)
            source = self.ablated.writes(of_base, of_other)
            own, others = task.last(base.final, base), task.last(other.final, other)
            clean = own if self.noise else others
            values.base[batch] = task.score(own, batch, clean).cpu()
            values.source[batch] = task.score(others, batch, clean).cpu()
        unlike = (base.flat_ids != other.flat_ids) if self.ablated.kind == "counterfactual" else None
        # causal: what comes before the first difference is alike
        start = 0 if unlike is None else int(base.position[unlike].min())
        tokens = (max(base.lengths),) if self.positions else ()
        total = torch.zeros(len(batch), *tokens, graph.n_readers, graph.n_writers, device=base.resid[0].device)
        post = any(b.post_attn is not None for b in of_base.decoder.blocks)
        if self.activations:
            branching = Branching(base, of_base, source, self.shares, start, ("z",) if post else ())
            return self._branched(branching, batch, clean, total)
        delta: Any = None
        for share in self.shares:
            runs = self._runs(base, other, share, ("z",) if post else ())
            reverse = Reverse(runs, rules=self.rules, start=start, apart=self.apart)
            if delta is None or post:
                delta = self._differences(
                    of_base, source, reverse.table, lambda layer: self._sums(runs, reverse, layer)
                )

            def score(final: Tensor) -> Tensor:
                return task.score(task.last(final, base), batch, clean).sum()

            self._add(total, self._gradients(reverse, score), delta)
        return total.div_(len(self.shares))

    @staticmethod
    @torch.no_grad()
    def _add(total: Tensor, gradients: Iterator[tuple[slice, int, Tensor]], delta: Tensor) -> None:
        """Adds up what readers' gradients make of the writers' changes; rows of several points, one after another.
        Of the tokens, where they are told apart, those that the changes are of are the last.
        """
        tokens = delta.shape[2]
        for readers, upto, gradient in gradients:
            if len(gradient) > len(delta):
                gradient = gradient.unflatten(0, (-1, len(delta))).sum(0)
            if total.ndim == 4:
                part = gradient.transpose(1, 2) @ delta[:, :upto].permute(0, 2, 3, 1)
                total[:, -tokens:, readers, :upto] += part.float()
            else:
                part = gradient.flatten(2) @ delta[:, :upto].flatten(2).transpose(1, 2)
                total[:, readers, :upto] += part.float()

    def _branched(
        self, branching: Branching, batch: Sequence[int], clean: Tensor, total: Tensor
    ) -> Float[Tensor, "prompt *position reader writer"]:
        """Gradients averaged over the runs that depart at each of the places. Below the layer where it departs a run is
        the base run, and what comes down to it is added up: one walk carries it on for all of them.
        """
        task, base, source = self.task, branching.base, branching.source
        down: dict[tuple[str, int], Tensor] = {}
        below = Reverse(base, rules=self.rules, start=branching.start, apart=self.apart)
        delta = self._differences(branching.own, source, below.table, lambda layer: self._sums(base, below, layer))
        post = bool(branching.keep)
        # a norm after attention makes of changes what it does at each point of its own
        each = [replace(branching, shares=[share]) for share in branching.shares] if post else [branching]
        for branch in (branch for one in each for branch in one.branches()):
            points = len(branch.runs) // len(batch)
            reverse = Reverse(branch.runs, rules=self.rules, start=branching.start, apart=self.apart)

            def score(final: Tensor, runs: Any = branch.runs, points: int = points) -> Tensor:
                return task.score(task.last(final, runs), list(batch) * points, clean.repeat(points, 1)).sum()

            here = delta
            if post:

                def sums(layer: int, branch: Branch = branch, reverse: Reverse = reverse) -> Tensor:
                    whole = branch.runs if layer >= branch.layer else base
                    return self._sums(whole, reverse, layer)

                here = self._differences(branching.own, source, below.table, sums)
            self._add(total, self._of_branch(reverse, score, branch, down, len(batch)), here)
        zero = torch.zeros(1, *below.table.shape, task.graph.d_model, device=total.device, dtype=base.resid[0].dtype)
        self._add(total, self._layers(below, zero, joins=down), delta)
        return total.div_(len(branching.shares) * branching.places)

    @torch.no_grad()
    def _of_branch(
        self, reverse: Reverse, score: Callable[[Tensor], Tensor], branch: Branch, down: Any, prompts: int
    ) -> Iterator[tuple[slice, int, Tensor]]:
        """The readers that a branch reaches on its own; what comes down to the base run is put into ``down``."""
        graph, last = self.task.graph, branch.layer
        cotangents = reverse.cotangents(score)
        yield slice(graph.n_readers - 1, graph.n_readers), graph.n_writers, cotangents[0][:, None].clone()
        arrives = cotangents
        own = last + branch.mlp_alone
        if own < graph.n_layers:
            yield from self._layers(reverse, cotangents, last=own)
        if branch.mlp_alone:
            for step in reverse.layers(cotangents, ("resid_post", "mlp_in"), last=last, first=last):
                into = step.into("mlp")
                mlp = graph.mlp_reader(last)
                yield slice(mlp, mlp + 1), graph.before_mlp(last), into[0][:, None]
                arrives = step.at["resid_post"] + into
        place = ("resid_mid" if branch.after_mlp else "resid_post", last - 1)
        if place[1] >= 0:
            summed = arrives.unflatten(1, (-1, prompts)).sum(1)
            down[place] = down[place] + summed if place in down else summed

    def _runs(self, base: Runs, other: Runs, share: float, keep: tuple[str, ...]) -> Runs:
        if share in (0.0, 1.0):
            return other if share else base
        with torch.no_grad():
            return base.fork(embed=base.embedded + share * (other.embedded - base.embedded), keep=keep)

    @torch.no_grad()
    def _differences(
        self, base: Writes, source: Writes, table: Tensor, sums: Callable[[int], Tensor]
    ) -> Float[Tensor, "prompt writer position d_model"]:
        """How the source's writes differ, of heads before a norm what that norm's Jacobian makes of it.

        Args: table: the tokens. sums: of a layer what attention adds up there, before that norm.
        """
        graph = self.task.graph
        made = base.resid[0].new_empty(len(table), graph.n_writers, table.shape[1], graph.d_model)
        made[:, 0] = (source.resid[0] - base.resid[0])[table]
        for layer, block in enumerate(base.decoder.blocks):
            heads = of_heads(block, (source.z[layer] - base.z[layer])[table].flatten(0, 1))
            heads = heads.unflatten(1, table.shape)
            if block.post_attn is not None:
                heads = NormBack(block.post_attn, sums(layer), self.rules.freeze_norms).forward(heads)
            made[:, graph.heads_of(layer)] = heads.transpose(0, 1)
            made[:, graph.mlp_of(layer)] = (source.mlp[layer] - base.mlp[layer])[table]
        return made

    @staticmethod
    @torch.no_grad()
    def _sums(runs: Any, reverse: Reverse, layer: int) -> Float[Tensor, "prompt position d_model"]:
        """What attention adds up in some runs, before a norm after it."""
        table = reverse.table
        z = runs.activations["z"][layer][table]
        return before_norm(runs.decoder.blocks[layer], z.flatten(0, 1)).unflatten(0, table.shape)

    def _gradients(
        self, reverse: Reverse, score: Callable[[Tensor], Tensor]
    ) -> Iterator[tuple[slice, int, Float[Tensor, "prompt reader position d_model"]]]:
        """Readers from the last to the first: which they are, how many write before them, and the metric's gradient at
        their inputs.
        """
        graph: Graph = self.task.graph
        cotangents = reverse.cotangents(score)
        yield slice(graph.n_readers - 1, graph.n_readers), graph.n_writers, cotangents[0][:, None]
        yield from self._layers(reverse, cotangents)

    @torch.no_grad()
    def _layers(
        self, reverse: Reverse, cotangents: Tensor, *, last: int = 0, joins: Any = None
    ) -> Iterator[tuple[slice, int, Float[Tensor, "prompt reader position d_model"]]]:
        """The readers of the layers down to ``last``, whose input's cotangents are then in ``cotangents``."""
        graph: Graph = self.task.graph
        for step in reverse.layers(cotangents, sites=_SITES, last=last, joins=joins):
            mlp, first = graph.mlp_reader(step.layer), graph.attention_readers(step.layer).start
            yield slice(mlp, mlp + 1), graph.before_mlp(step.layer), step.into("mlp")[0][:, None]
            for reader in "qkv":
                gradient = step.into(reader)[0].permute(0, 2, 1, 3)
                count = gradient.shape[1]
                upto = graph.first_writer(step.layer)
                yield slice(first, first + count), upto, gradient
                first += count


def rules_of(method: str, freeze_norms: bool) -> Rules:
    """Of the reverse walk: GIM's, or the gradient's with the scales of norms held where that is asked for."""
    return GIM if method == "gim" else Rules(freeze_norms=freeze_norms)
