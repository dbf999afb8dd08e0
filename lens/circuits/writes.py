"""What the writers of a decoder add to the stream: in a run, on the mean of several, or nothing at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ..engine.memory import budget
from ..engine.model import Model
from ..engine.pieces import batches_of, run_bytes
from ..engine.runs import Runs
from ..engine.walk.blocks import Block
from ..engine.walk.decoder import Decoder
from ..prompts import EncodedPair
from .errors import CircuitError

#: What runs keep of it beside the stream.
KEEP = ("z", "mlp_out")
Ablation = Literal["counterfactual", "mean", "zero"]
Stream = Float[Tensor, "tokens d_model"]


@dataclass
class Writes:
    """What is written, and the stream that comes of it, flat over tokens.

    Attributes:
        z: by layer, the heads' mixed values ``[tokens, n_heads, d_head]``. mlp: what the MLPs add. resid: the stream
            before every layer, and after the last; its first is the input's write. attn: what attention adds, the bias
            of its output and a norm after it included.
    """

    decoder: Decoder
    z: Sequence[Tensor]
    mlp: Sequence[Tensor]
    resid: Sequence[Tensor]
    attn: Sequence[Tensor]

    @classmethod
    def of(cls, runs: Any) -> Writes:
        """Those of runs that kept `KEEP`."""
        kept = runs.activations
        return cls(runs.decoder, kept["z"], kept["mlp_out"], runs.resid, runs.attn)

    @classmethod
    def made(cls, decoder: Decoder, first: Stream, z: Sequence[Tensor], mlp: Sequence[Tensor]) -> Writes:
        """The stream where the input, the heads and the MLPs write what is given."""
        resid, attn = [first], []
        for block, of_heads, of_mlp in zip(decoder.blocks, z, mlp):
            attn.append(block.out(of_heads))
            resid.append(resid[-1] + attn[-1] + of_mlp)
        return cls(decoder, z, mlp, resid, attn)

    def part(self, tokens: slice | Tensor) -> Writes:
        """Those of some tokens: a slice, or truth values."""
        z, mlp, resid, attn = ([t[tokens] for t in of] for of in (self.z, self.mlp, self.resid, self.attn))
        return Writes(self.decoder, z, mlp, resid, attn)

    def before_mlp(self, layer: int) -> Stream:
        """The stream that a layer's MLP reads, before its norm."""
        parallel = self.decoder.blocks[layer].parallel
        return self.resid[layer] if parallel else self.resid[layer] + self.attn[layer]


def of_heads(block: Block, z: Float[Tensor, "tokens n_heads d_head"]) -> Float[Tensor, "n_heads tokens d_model"]:
    """What each head adds to attention's output, before a norm after it and without the bias, which no head writes."""
    return torch.bmm(z.transpose(0, 1), block.output_weight())


def before_norm(block: Block, z: Float[Tensor, "tokens n_heads d_head"]) -> Stream:
    """Attention's output before a norm after it, the bias included."""
    y: Tensor = block.o_proj(z.reshape(len(z), -1))
    return y


def differences(base: Writes, source: Writes, layer: int) -> Float[Tensor, "n_heads tokens d_model"]:
    """How what attention adds changes where one head writes as in the source: its share of the product, or, under a
    norm after attention, ``norm(sum + difference) - norm(sum)``.
    """
    block = base.decoder.blocks[layer]
    raw = of_heads(block, source.z[layer] - base.z[layer])
    if block.post_attn is None:
        return raw
    total = before_norm(block, base.z[layer])
    return block.post_attn(raw + total) - block.post_attn(total)


@dataclass
class Ablated:
    """What is written where an edge is cut: by the pair's other run, by the mean over the tokens of the pairs'
    corrupted prompts, or nothing.

    Attributes: mean: the input's, the heads' and the MLPs' means, of a mean.
    """

    kind: Ablation
    mean: tuple[Tensor, list[Tensor], list[Tensor]] | None = None

    @classmethod
    def of(cls, kind: Ablation, model: Model, encoded: Sequence[EncodedPair], memory_mb: float | None) -> Ablated:
        """Takes the means, where there are some to take."""
        if kind != "mean":
            return cls(kind)
        ids = [e.corrupted_ids for e in encoded]
        sums: list[Tensor] = []
        with torch.no_grad():
            for batch in batches_of([run_bytes(model, len(i), KEEP) for i in ids], budget(model, memory_mb).runs):
                own = Writes.of(recorded(model, [ids[i] for i in batch]))
                here = [t.double().sum(0) for t in (own.resid[0], *own.z, *own.mlp)]
                sums = [a + b for a, b in zip(sums, here)] if sums else here
        dtype, n = own.resid[0].dtype, own.decoder.n_layers
        means = [(t / sum(map(len, ids))).to(dtype) for t in sums]
        return cls(kind, (means[0], means[1 : n + 1], means[n + 1 :]))

    def writes(self, base: Writes, other: Writes) -> Writes:
        """Beside the writes of some runs, and those of the pairs' other runs."""
        if self.kind == "counterfactual":
            return other
        if self.mean is None:
            first, z, mlp = base.resid[0], base.z, base.mlp
            return Writes.made(
                base.decoder,
                torch.zeros_like(first),
                [torch.zeros_like(t) for t in z],
                list(map(torch.zeros_like, mlp)),
            )
        n = len(base.resid[0])
        first, z, mlp = self.mean
        return Writes.made(
            base.decoder, first.expand(n, -1), [t.expand(n, -1, -1) for t in z], [t.expand(n, -1) for t in mlp]
        )


def recorded(model: Model, ids: Sequence[Tensor]) -> Runs:
    """The runs of some prompts with all that is written in them, by the written-out blocks.

    Raises:
        CircuitError: on these prompts the model is served otherwise.
    """
    runs = model.record(ids, KEEP)
    return _walked(model, runs)


def recorded_pair(model: Model, ids: Sequence[Tensor], others: Sequence[Tensor]) -> tuple[Runs, Runs]:
    """The same of prompts and their others. Raises: as `recorded`."""
    base, source = model.record_pair(ids, others, KEEP)
    return _walked(model, base), source


def _walked(model: Model, runs: Runs) -> Runs:
    if not hasattr(runs, "activations"):
        raise CircuitError(
            f"model: on these prompts its written-out blocks do not serve, of which edges are taken ({model.why}); give"
            " other prompts, or use lens.patch."
        )
    return runs
