"""Gradients of a metric at every site, in one forward and one backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .autograd import require_autograd, watched
from .changes import temporary
from .effective import LayerError
from .forwards import ForwardRuns
from .model import Model
from .reverse import Reverse, ReverseError
from .reverse.run import SITES as REVERSED
from .runs import Runs
from .sites import ORDER, SiteError
from .walk.forward import Asking, Layout, all_blocks
from .walk.runs import WalkRuns


def site_gradients(
    model: Model,
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
        score: from what each sequence's runs end in, flat, to one number.

    Returns: per sequence and layer a tensor shaped like ``runs.get(site, layer)`` (``embed``: one layer); of no
        elements where a layer has no such site.

    Raises: SiteError: torch.inference_mode is in force, a site that the model does not have, a metric that does not
        depend on it by a gradient.

    Cost: one forward and one backward pass with all activations kept: about 12 residual streams and 4 MLP widths a
        layer. Where blocks are not written out the prompts run one by one, but their activations are kept together.
    """
    require_autograd(SiteError, "method='attribution'", model.hf)
    if site != "embed" and not any(model.has(site, l) for l in range(model.n_layers)):
        model.require(site, 0)
    with torch.enable_grad():
        sites_of, finals = [], []
        for runs, start in zip(sequences, embedded):
            seen: list[Tensor] = []
            leaf = start.detach().clone().requires_grad_()
            own = isinstance(runs, ForwardRuns)
            finals.append(_own(runs, leaf, site, seen) if own else _forward(runs, leaf, site, seen))
            sites_of.append(seen)
        flat = [t for seen in sites_of for t in seen]
        total = score(finals)
        if not total.requires_grad:
            raise SiteError(f"site={site!r}: the metric does not depend on it by a gradient; use method='exact'.")
        gradients = torch.autograd.grad(total, flat, allow_unused=True)
    grads = [torch.zeros_like(t) if g is None else g for g, t in zip(gradients, flat)]
    parts = list(_split(grads, [len(seen) for seen in sites_of]))
    parts = [[grad.to(runs.decoder.device) for grad in part] for runs, part in zip(sequences, parts)]
    return [
        _joined(runs, part, site) if isinstance(runs, ForwardRuns) else _by_layer(runs.decoder, part, site)
        for runs, part in zip(sequences, parts)
    ]


def recorded_gradients(
    model: Model, sequences: Sequence[Runs], site: str, score: Callable[[Sequence[Tensor]], Tensor]
) -> list[list[Tensor]]:
    """`site_gradients` at runs that are recorded, without another forward pass where their blocks are written out: one
    layer's derivatives are in memory at a time. Arguments, what is returned and what is raised as there.
    """
    served = site in ("embed", "resid_pre", *REVERSED) and all(isinstance(runs, WalkRuns) for runs in sequences)
    if served and (site == "embed" or any(model.has(site, l) for l in range(model.n_layers))):
        require_autograd(SiteError, "method='attribution'", model.hf)
        try:
            return [_reversed(j, sequences, site, score) for j in range(len(sequences))]
        except LayerError:  # an adapter that applies no fixed weight
            pass
        except ReverseError:
            raise SiteError(
                f"site={site!r}: the metric does not depend on it by a gradient; use method='exact'."
            ) from None
    return site_gradients(model, sequences, [runs.embedded for runs in sequences], site, score)


def _reversed(
    j: int, sequences: Sequence[Runs], site: str, score: Callable[[Sequence[Tensor]], Tensor]
) -> list[Tensor]:
    """The gradients at one of the sequences, the others' streams being constants."""
    reverse, finals = Reverse(sequences[j]), [runs.final for runs in sequences]
    cotangents = reverse.cotangents(lambda final: score([*finals[:j], final, *finals[j + 1 :]]))
    decoder, there = reverse.decoder, reverse.there
    out = [cotangents.new_zeros(0)] * decoder.n_layers
    for step in reverse.layers(cotangents, (site,) if site in REVERSED else ()):
        if site in step.at and decoder.has(site, step.layer):
            out[step.layer] = step.at[site][0].to(there.device)[there]
        elif site in ("embed", "resid_pre"):
            out[step.layer] = step.resid_pre[0].to(there.device)[there]
    return out[:1] if site == "embed" else out


def _by_layer(decoder: Any, grads: Sequence[Tensor], site: str) -> list[Tensor]:
    """One gradient a layer, of no elements where it has no such site."""
    if site == "embed":
        return list(grads)
    left = iter(grads)
    return [next(left) if decoder.has(site, l) else grads[0].new_zeros(0) for l in range(decoder.n_layers)]


def _split(items: Sequence[Tensor], sizes: Sequence[int]) -> Iterator[Sequence[Tensor]]:
    start = 0
    for size in sizes:
        yield items[start : start + size]
        start += size


def _forward(runs: Runs, embedded: Tensor, site: str, seen: list[Tensor]) -> Tensor:
    """The whole forward pass of all prompts together; activations of ``site`` are appended to ``seen``."""
    decoder = runs.decoder
    if site == "embed":
        seen.append(embedded)
    longest = max(runs.lengths)
    lay = Layout(
        runs.prompt, runs.position, len(runs), longest, base=runs.table, dense=len(embedded) == len(runs) * longest
    )

    def tap(name: str, t: Tensor) -> Tensor:
        if name == site:
            if not t.requires_grad:
                t = t.detach().requires_grad_()
            seen.append(t)
        return t

    return all_blocks(decoder, decoder.place(embedded, runs.position), lay, Asking(tap, (site,)), site == "pattern")


def forward_with(
    model: Model,
    ids: Int[Tensor, " length"],
    changes: Mapping[tuple[str, int], Callable[[Tensor], Tensor]],
    rows: int = 1,
) -> Float[Tensor, "rows length width"]:
    """What copies of a prompt end in under changes of some sites, gradients and all, by the model's own modules.

    Args:
        changes: by site and layer, from ``[row, position, (head,) width]`` to the same; a site that is to be
            differentiated is returned as a tensor that the rest depends on.
    """
    a = model.anatomy
    final: list[Tensor] = []

    def last(x: Tensor) -> Tensor:
        final.append(x)
        return x

    with temporary(a.hf) as here:
        for (site, layer), change in sorted(changes.items(), key=lambda c: (c[0][1], ORDER[c[0][0]])):
            here.put(lambda: a.attach(site, layer, change))
        here.put(lambda: a.attach("resid_post", a.n_layers - 1, last))
        logits = a.forward(ids[None].expand(rows, -1))
    return logits if model.ending.kind == "logits" else model.ending.entering(final[-1]).to(a.device)


def _replaced(start: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda x: start[None].to(x)


def _own(runs: Runs, embedded: Tensor, site: str, seen: list[Tensor]) -> Tensor:
    """The same by the model's own modules, prompt by prompt."""
    model, finals = runs.decoder, []
    layers = [l for l in range(model.n_layers) if site != "embed" and model.has(site, l)]
    for i, ids in enumerate(runs.ids):
        start = embedded[runs.starts[i] : runs.starts[i] + len(ids)]
        if site == "embed":
            seen.append(start)
        into: dict[int, list[Tensor]] = {l: [] for l in layers}
        changes: dict[tuple[str, int], Callable[[Tensor], Tensor]] = {("embed", 0): _replaced(start)}
        for l in layers:
            key = model.anatomy.layer_of(site, l)
            changes[key] = watched(into[l])
        finals.append(forward_with(model, ids, changes)[0])
        seen += [into[l][0] for l in layers]
    return torch.cat(finals)


def _joined(runs: ForwardRuns, grads: Sequence[Tensor], site: str) -> list[Tensor]:
    """Gradients of prompts one by one as flat tensors by layer."""
    model = runs.decoder
    if site == "embed":
        return [torch.cat(list(grads))]
    layers = [l for l in range(model.n_layers) if model.has(site, l)]
    by_prompt = [grads[i : i + len(layers)] for i in range(0, len(grads), len(layers))]
    out = [grads[0].new_zeros(0)] * model.n_layers
    longest = max(runs.lengths)
    for k, l in enumerate(layers):
        parts = [of_prompt[k][0] for of_prompt in by_prompt]
        if site != "pattern":
            out[l] = torch.cat(parts)
            continue
        out[l] = parts[0].new_zeros(len(runs), parts[0].shape[1], longest, longest)
        for i, part in enumerate(parts):
            out[l][i, :, : len(part), : len(part)] = part.transpose(0, 1)
    return out
