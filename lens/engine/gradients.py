"""Gradients of a metric at every site, in one forward and one backward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .autograd import require_autograd
from .runs import Runs
from .sites import SiteError
from .walk.decoder import Decoder
from .walk.forward import Layout, all_blocks


def site_gradients(
    decoder: Decoder,
    sequences: Sequence[Runs],
    embedded: Sequence[Tensor],
    site: str,
    score: Callable[[Sequence[Tensor]], Tensor],
) -> list[list[Tensor]]:
    """The gradient of a summed score with respect to a site's activation at every layer.

    Args:
        sequences: for each sequence that the metric reads, the geometry of its prompts (the runs' activations are not
            used).
        embedded: their token embeddings, flat ``[n_tokens, d_model]``; gradients are taken of the forward pass from
            here.
        score: from each sequence's final residual stream, flat, to one number.

    Returns: per sequence and layer a tensor shaped like ``runs.get(site, layer)`` (``embed``: one layer).

    Raises: SiteError: torch.inference_mode is in force, a site that the model does not have, a metric that does not
        depend on it by a gradient.

    Cost: one forward and one backward pass with all activations kept: about 12 residual streams and 4 MLP widths a
        layer.
    """
    require_autograd(SiteError, "method='attribution'")
    for layer, block in enumerate(decoder.blocks):
        block.require(site, layer)
    with torch.enable_grad():
        kept, finals = [], []
        for runs, start in zip(sequences, embedded):
            seen: list[Tensor] = []
            finals.append(_forward(decoder, runs, start.detach().clone().requires_grad_(), site, seen))
            kept.append(seen)
        flat = [t for seen in kept for t in seen]
        total = score(finals)
        if not total.requires_grad:
            raise SiteError(f"site={site!r}: the metric does not depend on it by a gradient; use method='exact'.")
        grads = torch.autograd.grad(total, flat, allow_unused=True)
    grads = [torch.zeros_like(t) if g is None else g for g, t in zip(grads, flat)]
    sizes = [len(seen) for seen in kept]
    return [list(part) for part in _split(grads, sizes)]


def _split(items: Sequence, sizes: Sequence[int]):
    start = 0
    for size in sizes:
        yield items[start : start + size]
        start += size


def _forward(decoder: Decoder, runs: Runs, embedded: Tensor, site: str, seen: list[Tensor]) -> Tensor:
    """The whole forward pass of all prompts together; activations of ``site`` are appended to ``seen``."""
    if site == "embed":
        seen.append(embedded)
    longest = max(runs.lengths)
    lay = Layout(
        runs.prompt, runs.position, len(runs), longest, base=runs.table, dense=len(embedded) == len(runs) * longest
    )

    def tap(name, t):
        if name == site:
            if not t.requires_grad:
                t = t.detach().requires_grad_()
            seen.append(t)
        return t

    return all_blocks(decoder, decoder.place(embedded, runs.position), lay, tap, explicit=site == "pattern")
