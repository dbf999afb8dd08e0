"""The edit: of a weight written in the eigenbases of its factors, the coefficients that carry most of the curvature
mass stay, the others go.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
import xarray as xr
from jaxtyping import Bool, Float
from torch import Tensor

from ..arguments import HFModel, Portion, Size, door, unfit
from ..engine.changes import Undo
from ..engine.feedforward import FEED_FORWARD, in_block, said
from ..engine.in_force import InForce
from ..engine.linear import linears, near
from ..engine.weights import edit_in_force, prepared_weights
from ..results import dataset as results
from .eigen import By, Decomposition, LayerCurvature, deficiency
from .errors import CurvatureError

#: Masses closer than this (relative) count as equal and stay or go together, so that eigenvectors of one eigenvalue may
#: be turned freely.
TIE = 1e-9
Deficient = Literal["refuse", "drop", "keep"]


@door(CurvatureError)
@dataclass(frozen=True, eq=False)
class Edit:
    """New weights of some layers: `new` and, as they were, `old` ([out, in] each); per layer `counts`, how many
    coefficients stay, and `sizes`, how many there are.

    `mass`: the share of each layer's curvature mass that stays, mass being weighed `by` (see `keep`; NaN in bases that
    are not its eigenvectors); `name`: what it is; `record`: how it was made.
    """

    name: str
    new: Mapping[str, Tensor]
    old: Mapping[str, Tensor]
    counts: Mapping[str, Size]
    sizes: Mapping[str, Size]
    mass: Mapping[str, Any]
    by: By = "kfac"
    record: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        for field_ in ("old", "counts", "sizes", "mass"):
            if (mapping := getattr(self, field_)).keys() != self.new.keys():
                raise CurvatureError(
                    unfit(field_, mapping, f"a value for each of the layers of new: {', '.join(list(self.new)[:4])}")
                )

    @property
    def kept(self) -> float:
        """The share of all coefficients that stay."""
        return sum(self.counts.values()) / sum(self.sizes.values())

    @property
    def removed(self) -> float:
        """The Frobenius norm of what was removed, over all layers."""
        return math.sqrt(sum(self.removed_from(name) ** 2 for name in self.new))

    @door(CurvatureError)
    def removed_from(self, name: str) -> float:
        """The Frobenius norm of what was removed from one layer."""
        if name not in self.new:
            raise CurvatureError(f"name={name!r}: layer {name!r} is not in the edit; {near(str(name), self.new)}.")
        return self._removed[name]

    @cached_property
    def _removed(self) -> dict[str, float]:
        return {name: float((self.old[name].double() - new.double()).norm()) for name, new in self.new.items()}

    def __repr__(self) -> str:
        covered = sum(new.numel() for name, new in self.new.items() if in_block(name) is not None)
        return (
            f"Edit {self.name} of {len(self.new)} layers: {self.kept:.1%} of the coefficients stay, removed norm"
            f" {self.removed:.4g}{said(covered, int(self.record.get(FEED_FORWARD, 0)))}"
        )

    def summary(self) -> results.Result:
        """A result over `layer`: ``kept`` (share of the coefficients), ``mass`` (share of the curvature mass that
        stays), ``removed`` and ``norm`` (Frobenius).
        """
        names = list(self.new)
        of = {
            "kept": [self.counts[n] / self.sizes[n] for n in names],
            "mass": [self.mass[n] for n in names],
            "removed": [self.removed_from(n) for n in names],
            "norm": [float(self.old[n].double().norm()) for n in names],
        }
        return results.stamp(
            xr.Dataset({k: ("layer", np.array(v)) for k, v in of.items()}, coords={"layer": names}),
            dict(self.record) | {"kind": "curvature edit"},
        )

    @door(CurvatureError)
    def applied(self, model: HFModel) -> InForce:
        """The model with the new weights inside the with block; afterwards, also after an exception, the old ones,
        bit-equal. Yields the model.

        Raises, on entering: CurvatureError: the model's weights are not those that the edit was made from. WeightError:
            an edit is in force on one of the layers already.
        """
        return InForce(model, lambda: self._prepared(model), model)

    def _prepared(self, model: Any) -> Undo:
        for name, linear in linears(model, list(self.new)).items():
            # a layer that is being edited is refused below, with its own reason
            if not edit_in_force(linear) and not _same(linear.weight, self.old[name]):
                raise CurvatureError(
                    f"model: the weight of {name} is not the one that the edit {self.name} was made from; make the edit"
                    " anew for this model."
                )
        return prepared_weights(model, self.new, f"the edit {self.name}")


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.equal(a.detach().to(b.device), b)


@door(CurvatureError)
def keep(decomposition: Decomposition, rho: Portion, *, by: By = "kfac", deficient: Deficient = "refuse") -> Edit:
    """Keep the coefficients of largest curvature mass that together carry `rho` of it, in every layer: W' = U_G (C * S)
    U_At.

    Args:
        rho: the share of the mass that stays, in (0, 1]; 1 gives the weights back, bit-equal.
        by: "kfac": mass lam_i mu_j; "ekfac": the second moment of the pair; "a" or "g": the eigenvalue of the input's
            or the gradient's side alone (a principal component cut).
        deficient: what to do where a factor has fewer tokens than dimensions, so that some pairs have mass 0 for want
            of data: "refuse", "drop" them, or "keep" them.

    Raises: CurvatureError: `rho` outside (0, 1], an unknown `by`, second moments that were not taken, rank-deficient
        factors.

    Source: Merullo et al. 2025, section 2. Cost: two products with the eigenvectors a layer; the decomposition is used
        as it is.
    """
    short = [
        layer for layer in decomposition.values() if layer.deficient and (by not in ("a", "g") or by in layer.deficient)
    ]
    if short and deficient == "refuse" and rho < 1:
        raise CurvatureError(
            "decomposition: "
            + deficiency(short)
            + " Or choose: deficient='drop' removes what lies there, deficient='keep' leaves it as it is."
        )
    new, counts, mass = {}, {}, {}
    for name, layer in decomposition.items():
        stay = keep_set(layer, float(rho), by)
        if deficient == "keep":
            stay = stay | unreached(layer, by)
        whole = layer.mass(by)
        new[name], counts[name] = rebuilt(layer.weight, layer.u_g, layer.coefficients, layer.u_a, stay), int(stay.sum())
        mass[name] = float((whole * stay).sum() / whole.sum())
    call = {"edit": f"keep by {by}", "rho": float(rho), "deficient": deficient}
    return made(decomposition, f"{by} {rho:g}", new, counts, mass, by, call)


@door(CurvatureError)
def keep_set(layer: LayerCurvature, rho: Portion, by: By = "kfac") -> Bool[Tensor, "out in"]:
    """Which pairs stay: the largest by mass until `rho` of all is reached, and those that tie with the last. Sets for
    smaller `rho` lie inside those for larger.
    """
    if rho >= 1:
        return torch.ones(layer.shape, dtype=torch.bool, device=layer.u_a.device)
    if by == "kfac":
        least = _least_product(layer.lam, layer.mu, rho)
    else:
        values = {"a": layer.mu, "g": layer.lam}[by] if by in ("a", "g") else layer.mass(by).flatten()
        values = values.sort(descending=True).values.double()
        total = values.cumsum(0)
        least = float(values[min(int(torch.searchsorted(total, rho * total[-1])), len(values) - 1)])
    return layer.mass(by) >= least * (1 - TIE)


def _least_product(lam: Float[Tensor, " out"], mu: Float[Tensor, "in"], rho: float) -> float:
    """The product lam_i mu_j at which the products above it carry `rho` of all, by bisection over its logarithm: no
    table of products is sorted.
    """
    lam, mu = lam[lam > 0].double().cpu(), mu[mu > 0].double().cpu()
    rising, sums = mu.flip(0).contiguous(), torch.cat([mu.new_zeros(1), mu.cumsum(0)])
    target = rho * float(lam.sum() * mu.sum())
    # a little below the smallest and above the largest product
    low, high = math.log(float(lam[-1] * mu[-1])) - 1, math.log(float(lam[0] * mu[0])) + 1
    for _ in range(80):
        middle = (low + high) / 2
        # per row, how many products reach the level
        n = len(rising) - torch.searchsorted(rising, math.exp(middle) / lam)
        low, high = (middle, high) if float((lam * sums[n]).sum()) >= target else (low, middle)
    return math.exp(low)


def unreached(layer: LayerCurvature, by: str = "kfac") -> Bool[Tensor, "out in"]:
    """The pairs that have no mass because a factor has fewer tokens than dimensions."""
    none = torch.zeros(layer.shape, dtype=torch.bool, device=layer.u_a.device)
    if "a" in layer.deficient and by != "g":
        none = none | (layer.mu == 0)[None, :]
    return none | (layer.lam == 0)[:, None] if "g" in layer.deficient and by != "a" else none


def rebuilt(
    weight: Tensor, left: Tensor, coefficients: Tensor, right: Tensor, stay: Bool[Tensor, "out in"]
) -> Float[Tensor, "out in"]:
    """Left (coefficients * stay) right^T in the weight's dtype, as the weight less what goes: the closer to it the less
    goes, and bit-equal where everything stays.
    """
    if bool(stay.all()):
        return weight.clone()
    return (weight.float() - left @ (coefficients * ~stay) @ right.T).to(weight.dtype)


def made(
    decomposition: Decomposition,
    name: str,
    new: Mapping[str, Tensor],
    counts: Mapping[str, int],
    mass: Mapping[str, float],
    by: By,
    call: Mapping[str, Any],
) -> Edit:
    """The edit with its record."""
    record = dict(decomposition.record)
    record["call"] = {"factors": record.get("call", {}), **call}
    return Edit(
        name,
        new,
        {n: layer.weight for n, layer in decomposition.items()},
        counts,
        {n: layer.weight.numel() for n, layer in decomposition.items()},
        mass,
        by,
        record,
    )
