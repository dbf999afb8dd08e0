"""A model's own layer at the points of a run, transposed by autograd: where blocks are not written out."""

from __future__ import annotations

from collections.abc import Collection

import torch
from jaxtyping import Float
from torch import Tensor

from ..autograd import watched
from ..changes import temporary
from ..continuation import Prefix
from ..forwards import ForwardRuns
from ..layers import Layers
from .blocks import Told
from .norms import NormBack
from .rules import ReverseError, Rules

#: Sites whose cotangents are told here, where a layer has them.
SITES = ("resid_post", "mlp_out", "neuron", "resid_mid", "attn_out", "z", "q", "k", "v")


def own_path(runs: ForwardRuns, rules: Rules) -> Layers:
    """The path that drives a model's own layers.

    Raises: ReverseError: a model that is run by whole forwards only, rules that a layer of its own cannot be held to.
    """
    path = runs.decoder.path_for((), max(runs.lengths))
    if not isinstance(path, Layers):
        raise ReverseError(
            f"runs: cotangents are carried over layers, and those of this model are not driven one by one:"
            f" {runs.decoder.served()['why']}"
        )
    if not rules.plain:
        raise ReverseError(
            f"rules={rules!r}: norms and patterns are held where blocks are written out, and this model's are not:"
            f" {runs.decoder.why}"
        )
    return path


class OwnLayer:
    """One layer of a model's own modules at its run, prompt by prompt.

    Args:
        first, stop: the positions that are variables. sites: whose cotangents will be wanted.
    """

    def __init__(self, runs: ForwardRuns, path: Layers, layer: int, first: int, stop: int, sites: Collection[str]):
        model, self.graphs = runs.decoder, []
        if missing := [site for site in sites if site not in SITES]:
            raise ReverseError(f"sites={missing!r} are told where blocks are written out, and this model's are not.")
        there = [site for site in sites if site not in ("resid_post",) and model.has(site, layer)]
        for i, length in enumerate(runs.lengths):
            run, last = model.run_of(runs, i, path), min(stop, length)
            whole, x = path.prepare(run), run.resid[layer].detach()
            seen: dict[str, list[Tensor]] = {site: [] for site in there}
            with torch.enable_grad(), temporary(model.hf) as here:
                leaf = x[first:last].clone().requires_grad_()
                for site in there:
                    name, at = model.anatomy.layer_of(site, layer)
                    here.put(lambda: model.anatomy.attach(name, at, watched(seen[site])))
                out = path._layer(layer, torch.cat((x[:first], leaf, x[last:]))[None], whole, 0, Prefix())
                out = out[0, first:last]
            self.graphs.append((out, leaf, {site: parts[0] for site, parts in seen.items()}))
        self.first = first

    def __call__(
        self, c: Float[Tensor, "cotangent prompt some d_model"], told: Told
    ) -> Float[Tensor, "cotangent prompt some d_model"]:
        """The cotangents of the layer's input; tells of each site's."""
        told("resid_post", c)
        before, at = torch.zeros_like(c), {}
        for p, (out, leaf, seen) in enumerate(self.graphs):
            n = len(leaf)
            for row in range(len(c)):
                grads = torch.autograd.grad(
                    out, [leaf, *seen.values()], c[row, p, :n].to(out), retain_graph=True, allow_unused=True
                )
                if grads[0] is not None:
                    before[row, p, :n] = grads[0]
                for (site, x), g in zip(seen.items(), grads[1:]):
                    if site not in at:
                        at[site] = c.new_zeros(*c.shape[:3], *x.shape[2:])
                    if g is not None:
                        at[site][row, p, :n] = g[0, self.first : self.first + n]
        for site, x in at.items():
            told(site, x)
        return before

    def into(self, reader: str, c: Tensor, heads: slice | None = None) -> Tensor:
        """Raises: ReverseError: readers are told apart where blocks are written out."""
        raise ReverseError(
            f"reader={reader!r}: readers are told apart where blocks are written out; this model's are not."
        )

    def post_norm(self, site: str) -> NormBack:
        """Raises: ReverseError: as `into`."""
        raise ReverseError(f"site={site!r}: post-norms are known where blocks are written out; this model's are not.")
