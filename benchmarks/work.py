"""How many operations an exact sweep of a Llama-type model needs when nothing is computed twice.

Nominal: two a multiply-add, of the linear layers and of the attention's two products (over the keys that the mask lets
through), for the tokens that differ from the corrupted run. Norms, rotations, softmax and the metric are left out. The
count comes from the token ids and the model's shape alone, so it does not grow when the engine does more than it must.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Shape:
    """Operations a token costs in each part of a block, from a Hugging Face configuration."""

    def __init__(self, config: Any):
        d, d_head = (
            config.hidden_size,
            getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
        )
        self.layers, self.heads = config.num_hidden_layers, config.num_attention_heads
        self.d_attn = self.heads * d_head
        self.q = self.out = 2 * d * self.d_attn
        self.kv = 2 * 2 * d * config.num_key_value_heads * d_head
        self.mlp = 2 * 3 * d * config.intermediate_size
        self.unembed = 2 * d * config.vocab_size

    def attend(self, position: int) -> int:
        """Scores and weighted values of one query over the keys up to its own position."""
        return 2 * 2 * (position + 1) * self.d_attn

    def row(self, start: int, length: int, layers: int, reads: int = 1) -> int:
        """An edited run through the last `layers` layers, tokens `start` on; in the last layer only the last `reads`
        tokens go past the keys.
        """
        n, full = length - start, self.q + self.kv + self.out + self.mlp
        scores = sum(self.attend(p) for p in range(start, length))
        whole = max(0, layers - 1) * (n * full + scores)
        last = (
            n * self.kv
            + reads * (self.q + self.out + self.mlp)
            + sum(self.attend(p) for p in range(length - reads, length))
        )
        return whole + (last if layers else 0)

    def full(self, length: int) -> int:
        """A whole forward pass with logits at the last token."""
        return (
            self.layers * (length * (self.q + self.kv + self.out + self.mlp) + sum(map(self.attend, range(length))))
            + self.unembed
        )


def sweep_flop(config: Any, kind: str, clean: Sequence[int], corrupted: Sequence[int]) -> int:
    """Operations of the sweep itself, recording of the two unedited runs left out.

    `kind`: "resid" (layer x position, a cell costs the positions from its own on) or "heads" (layer x head at all
    positions, a cell costs the positions from the first difference on and no attention in its own layer).
    """
    shape, length = Shape(config), len(clean)
    differs = [p for p in range(length) if clean[p] != corrupted[p]]
    first = differs[0]
    if kind == "resid":
        # before layer 0 only the differing tokens themselves can be patched to any effect
        starts = {layer: differs if layer == 0 else range(first, length) for layer in range(shape.layers)}
        return sum(shape.row(p, length, shape.layers - layer) for layer, at in starts.items() for p in at)
    own = (length - first) * (shape.out + shape.mlp)
    last = shape.out + shape.mlp
    return shape.heads * sum(
        (last if layer == shape.layers - 1 else own) + shape.row(first, length, shape.layers - 1 - layer)
        for layer in range(shape.layers)
    )


def minimum_passes(items: int, strengths: int, layers: int) -> float:
    """Full-pass equivalents of the grid layer x strength of injections at all positions, with prefixes reused.

    Two unedited passes an item, and of a run injected at a layer the layers behind it and two thirds of its own (its
    MLP).
    """
    return 2 * items + strengths * items * sum(layers - 1 - layer + 2 / 3 for layer in range(layers)) / layers


def published_passes(items: int, strengths: int, layers: int) -> int:
    """Passes of the published loop: a clean and an edited one a cell, and the explicit prompt once a strength."""
    return strengths * items * (2 * layers + 1)


def injection_flop(config: Any, lengths: Sequence[int], answers: Sequence[int], strengths: int) -> int:
    """Operations of the grid of injections at the attention output, the two unedited passes left out.

    Args:
        lengths: tokens of each prompt; answers: tokens of each answer, all but its last appended to the prompt, all of
            them read.
    """
    shape, total = Shape(config), 0
    for prompt, answer in zip(lengths, answers):
        n = prompt + answer - 1
        for layer in range(shape.layers):
            own = (answer if layer == shape.layers - 1 else n) * shape.mlp
            total += own + shape.row(0, n, shape.layers - 1 - layer, answer) + answer * shape.unembed
    return strengths * total


def layer_sweep_floor(config: Any, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]) -> float:
    """Operations of adding a vector after every layer, one layer a run, over those of one pass of the prompts, padded
    to one length, with all logits.

    Needed are: one unedited pass, in which tokens that follow the same tokens are computed once and the last layer ends
    in the tokens that are read; of each edited run the last prompt token and the answer's tokens but its last, through
    the layers behind its own; and the whole distribution at each token that is read.
    """
    shape, total, seen = Shape(config), 0, set()
    mixed = shape.q + shape.out + shape.mlp
    for prompt, answer in zip(prompts, answers):
        tokens, reads = [*prompt, *answer[:-1]], len(answer)
        n = len(tokens)
        for p in range(n):
            read = p >= n - reads
            if (key := (tuple(tokens[: p + 1]), read)) not in seen:
                seen.add(key)
                total += (
                    (shape.layers - 1) * (mixed + shape.kv + shape.attend(p))
                    + shape.kv
                    + read * (mixed + shape.attend(p) + shape.unembed)
                )
        total += sum(
            shape.row(n - reads, n, shape.layers - 1 - layer, reads) + reads * shape.unembed
            for layer in range(shape.layers)
        )
    longest = max(map(len, prompts))
    return total / (len(prompts) * (shape.full(longest) + (longest - 1) * shape.unembed))


def naive_flop(config: Any, kind: str, length: int) -> int:
    """Operations when every cell is a full forward pass with logits at every token (no use made of the mask)."""
    shape = Shape(config)
    token = shape.layers * (shape.q + shape.kv + shape.out + shape.mlp + shape.attend(length - 1)) + shape.unembed
    return shape.layers * (length if kind == "resid" else shape.heads) * length * token
