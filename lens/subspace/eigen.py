"""A linear subspace of a layer's inputs that memorised text uses more than reference text: generalised eigenvectors,
and the edit that takes it out.

A_mem v = lambda (A_ref + eps I) v, with A = E[x x^T] over rows of a layer's input: lambda is how many times more energy
memorised inputs have along the filter v.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from scipy.linalg import subspace_angles
from torch import Tensor

from ..arguments import Count, HFModel, NonNegative, Real, Seed, Whole, door, unfit
from ..models import same_weights, weight_hash
from ..results import dataset as results
from .activations import Stats, same_layers
from .data import linear_layers
from .errors import SubspaceError
from .replacement import Replacement


@door(SubspaceError)
@dataclass(frozen=True, eq=False)
class Subspace:
    """Filters by layer, largest ratio first.

    `values` [k]: energy of memorised over reference inputs along each; `vectors` [d_in, k], float64, with v^T (A_ref +
    eps I) v = 1; `patterns` [d_in, k] = (A_ref + eps I) v: what an input has in it when only this filter answers.
    `sources`: layer -> the layer that the same input was counted under.
    """

    values: Mapping[str, Float[Tensor, " k"]]
    vectors: Mapping[str, Float[Tensor, "d_in k"]]
    patterns: Mapping[str, Float[Tensor, "d_in k"]]
    sources: Mapping[str, str]
    model: str
    about: Mapping[str, Any] = field(default_factory=dict)

    @door(SubspaceError)
    def basis(self, name: str, k: Count) -> Float[Tensor, "d_in k"]:
        """Orthonormal basis of the span of a layer's first `k` filters."""
        return torch.linalg.qr(self._first(name, k)[0]).Q

    @door(SubspaceError)
    def projector(
        self, name: str, k: Count, projection: Literal["oblique", "orthogonal"] = "oblique"
    ) -> Float[Tensor, "d_in d_in"]:
        """What is applied to a layer's inputs so that its first `k` filters answer 0.

        "oblique" takes the filters' patterns out of the inputs, and of all maps that do, it changes reference inputs
        least (in mean squared length); "orthogonal" projects onto what is perpendicular to the filters, and of all maps
        that silence them it changes every input least, but leaves part of the patterns.
        """
        vectors, patterns = self._first(name, k)
        eye = torch.eye(len(vectors), dtype=torch.float64)
        if projection == "orthogonal":
            q = self.basis(name, k)
            return eye - q @ q.T
        return eye - patterns @ vectors.T

    @door(SubspaceError)
    def edit(
        self,
        model: HFModel,
        k: Count | None = None,
        *,
        above: Real | None = None,
        projection: Literal["oblique", "orthogonal"] = "oblique",
    ) -> Replacement:
        """New weights W P of every layer: its first `k` filters, or those of a ratio above `above`, silenced.

        Raises: SubspaceError: another model, neither or both of k and above, or no filter at all that is above.
        """
        if (k is None) == (above is None):
            raise SubspaceError(f"k={k!r} and above={above!r}; give one of them.")
        if not same_weights(model, self.model):
            raise SubspaceError(
                f"model: the subspace is of weights {self.model[:8]}, this model's are {weight_hash(model)[:8]};"
                " compute it with this model."
            )
        new, counts = {}, {}
        least = -math.inf if above is None else above
        for name, linear in linear_layers(model, tuple(self.sources)).items():
            counts[name] = int((self.values[self.sources[name]] > least).sum()) if k is None else k
            if counts[name]:
                weight = linear.weight.detach()
                new[name] = (weight.double().cpu() @ self.projector(name, counts[name], projection)).to(weight)
        if not new:
            raise SubspaceError(
                f"above={above}: no filter of any layer has so large a ratio (the largest is"
                f" {max(float(v[0]) for v in self.values.values()):.3g}); lower it."
            )
        return Replacement(
            new,
            self.model,
            {
                "method": "generalised eigenvectors",
                "projection": projection,
                "k": k,
                "above": above,
                "taken": counts,
                **self.about,
            },
        )

    def _first(self, name: str, k: int) -> tuple[Tensor, Tensor]:
        if name not in self.sources:
            raise SubspaceError(
                unfit(
                    "name", name, f"a layer of the subspace, such as {', '.join(list(self.sources)[:4])}", choice=True
                )
            )
        vectors, patterns = (x[self.sources[name]] for x in (self.vectors, self.patterns))
        if not 1 <= k <= vectors.shape[1]:
            raise SubspaceError(
                unfit("k", k, f"a whole number from 1 to the {vectors.shape[1]} filters that were kept")
            )
        return vectors[:, :k], patterns[:, :k]


@door(SubspaceError)
def generalised(mem: Stats, ref: Stats, *, eps: NonNegative = 1e-3, keep: Count | None = None) -> Subspace:
    """The generalised eigenvectors of memorised against reference second moments, layer by layer (gate and up have one
    input and one solution).

    Args:
        mem, ref: statistics with `second_moment=True`. eps: ridge, as a share of the mean diagonal of A_ref. keep:
            filters kept, None: all.

    Raises: SubspaceError: no second moments, different layers or models, or a reference that is rank-deficient where
        eps is too small for it.
    """
    same_layers(mem, ref)
    values, vectors, patterns = {}, {}, {}
    for name in dict.fromkeys(mem.source.values()):
        a, b = mem.second_moment(name), ref.second_moment(name)
        b = b + eps * float(b.diagonal().mean()) * torch.eye(len(b), dtype=torch.float64)
        factor, fault = torch.linalg.cholesky_ex(b)
        diagonal = factor.diagonal()
        if int(fault) or not float(diagonal.min()) > 1e-9 * float(diagonal.max()):
            raise SubspaceError(
                f"{name}: the reference's second moment is rank-deficient ({ref.rows[name]} rows for {len(b)} columns);"
                f" give more reference text, or eps above {eps}."
            )
        half = torch.linalg.solve_triangular(factor, a, upper=False)
        whitened = torch.linalg.solve_triangular(factor, half.T, upper=False)
        value, u = torch.linalg.eigh((whitened + whitened.T) / 2)
        count = len(b) if keep is None else min(keep, len(b))
        values[name] = value.flip(0)[:count].contiguous()
        vectors[name] = torch.linalg.solve_triangular(factor.T, u.flip(1)[:, :count], upper=True)
        patterns[name] = b @ vectors[name]
    return Subspace(
        values, vectors, patterns, dict(mem.source), mem.model, {"eps": eps, "items": [mem.items, ref.items]}
    )


@door(SubspaceError)
def principal_angles(
    a: Subspace, b: Subspace, k: Count, *, draws: Annotated[int, Whole(1, 10**5)] = 20, seed: Seed = 0
) -> xr.Dataset:
    """Principal angles (degrees) between the spans of the first `k` filters of two subspaces, smallest first, with
    random spans as control.

    Returns: over `layer, angle`: ``angle`` and, against spans of `k` random directions in as many dimensions,
        ``chance`` (mean over `draws`) with its 95 % range ``chance_low``, ``chance_high``; over `layer`: ``shared``,
        the mean squared cosine (1: equal spans), and ``shared_chance`` = k / d_in.

    Raises: SubspaceError: different layers, or more filters than were kept.
    """
    names = list(dict.fromkeys(a.sources.values()))
    if names != list(dict.fromkeys(b.sources.values())):
        raise SubspaceError("the two subspaces are of different layers; compute both over the same layers.")
    rng, rows = np.random.default_rng(seed), []
    for name in names:
        p, q = (x.basis(name, k).numpy() for x in (a, b))
        if len(p) != len(q):
            raise SubspaceError(
                f"{name}: inputs of {len(p)} and {len(q)} columns; compare subspaces of one architecture."
            )
        angle = np.sort(subspace_angles(p, q))
        null = np.sort([subspace_angles(p, rng.standard_normal(p.shape)) for _ in range(draws)], axis=1)
        rows.append([angle, null.mean(0), *np.quantile(null, [0.025, 0.975], axis=0)])
    table = np.degrees(np.array(rows))
    ds = xr.Dataset(
        {v: (("layer", "index"), table[:, i]) for i, v in enumerate(("angle", "chance", "chance_low", "chance_high"))},
        coords={"layer": names, "index": np.arange(k)},
    )
    ds["shared"] = ("layer", (np.cos(np.radians(table[:, 0])) ** 2).mean(1))
    ds["shared_chance"] = ("layer", [k / len(a.vectors[name]) for name in names])
    return results.stamp(
        ds, {"kind": "principal angles", "seed": seed, "call": {"k": k, "draws": draws}, "model": {"hash": a.model}}
    )
