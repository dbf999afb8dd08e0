"""The eigenvectors of the factors of every layer, found once and kept on disk by the hash of the matrix, and the
layer's weight written in them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..arguments import AllFinite, Count, FilePath, Filled, HFModel, door, unfit
from ..engine.feedforward import FEED_FORWARD, in_block, said
from ..engine.linear import linears, near
from ..notices import warn
from .errors import CurvatureError
from .factors import Factors, require_model
from .passes import write

#: How the pairs of eigenvectors of one layer are weighed.
By = Literal["kfac", "ekfac", "a", "g"]
BY: tuple[str, ...] = get_args(By)


@door(CurvatureError)
@dataclass(frozen=True, eq=False)
class LayerCurvature:
    """One layer: its weight W, the eigenvectors of A (`u_a`, columns) and G (`u_g`), and their eigenvalues `mu` and
    `lam`, descending and never negative (float64).

    `tokens`: how many are in the factors; a factor over fewer tokens than it has dimensions has a null space that says
    nothing of the model, where eigenvalues are exactly 0. `moments`: E[(u_g,i . g)^2 (u_a,j . x)^2] over tokens, see
    `second_moments`; None where they were not taken.
    """

    name: str
    weight: Float[Tensor, "out in"]
    u_a: Float[Tensor, "in in"]
    mu: Float[Tensor, "in"]
    u_g: Float[Tensor, "out out"]
    lam: Float[Tensor, " out"]
    tokens: Count
    moments: Float[Tensor, "out in"] | None = None

    def __post_init__(self):
        out, d_in = self.weight.shape
        for field_, wanted in (
            ("u_a", (d_in, d_in)),
            ("mu", (d_in,)),
            ("u_g", (out, out)),
            ("lam", (out,)),
            ("moments", (out, d_in)),
        ):
            value = getattr(self, field_)
            if value is not None and tuple(value.shape) != wanted:
                raise CurvatureError(unfit(field_, value, f"shape {wanted}, as weight [{out}, {d_in}] asks for"))

    @property
    def shape(self) -> tuple[int, int]:
        """Of the layer's weight, (d_out, d_in)."""
        d_out, d_in = self.weight.shape
        return d_out, d_in

    @cached_property
    def coefficients(self) -> Float[Tensor, "out in"]:
        """C = U_Gt W U_A: the weight in the two eigenbases, float32."""
        return self.u_g.T @ self.weight.float() @ self.u_a

    @cached_property
    def svd(self) -> tuple[Float[Tensor, "out rank"], Float[Tensor, "rank"], Float[Tensor, "rank in"]]:
        """The singular value decomposition of W, float32."""
        return torch.linalg.svd(self.weight.float(), full_matrices=False)

    @door(CurvatureError)
    def mass(self, by: By = "kfac") -> Float[Tensor, "out in"]:
        """Curvature mass of every pair (i, j), float64: lam_i mu_j ("kfac"), its second moment ("ekfac"), or of one
        side alone: mu_j ("a"), lam_i ("g").

        Raises: CurvatureError: "ekfac" without second moments; an unknown `by`.
        """
        if by == "ekfac":
            if self.moments is None:
                raise CurvatureError(
                    f"by='ekfac': {self.name} has no second moments; take them with second_moments(model,"
                    " decomposition, batches)."
                )
            return self.moments.double()
        if by == "kfac":
            return self.lam[:, None] * self.mu[None, :]
        return self.mu[None, :].expand(self.shape) if by == "a" else self.lam[:, None].expand(self.shape)

    @door(CurvatureError)
    def rank(self, side: Literal["a", "g"]) -> int:
        """How many eigenvalues of A ("a") or G ("g") stand above the rounding of a float32 sum: more than width *
        1.2e-7 of the largest.
        """
        values = self.mu if side == "a" else self.lam
        return int((values > len(values) * torch.finfo(torch.float32).eps * values[0]).sum())

    @property
    def deficient(self) -> list[str]:
        """The sides whose factor was taken over fewer tokens than it has dimensions."""
        return [side for side, values in (("a", self.mu), ("g", self.lam)) if self.tokens < len(values)]


@door(CurvatureError)
@dataclass(frozen=True, eq=False)
class Decomposition(Mapping):
    """Layer name -> `LayerCurvature`, in the model's order; `model`: the hash of the weights; `record`: how the factors
    were made.
    """

    layers: Annotated[Mapping[str, LayerCurvature], Filled()]
    fisher: str
    model: str
    record: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> LayerCurvature:
        if name not in self.layers:
            raise CurvatureError(f"layer {name!r} is not in the decomposition; {near(str(name), self.layers)}.")
        return self.layers[name]

    def __contains__(self, name: object) -> bool:
        return name in self.layers

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __repr__(self) -> str:
        covered = sum(layer.weight.numel() for name, layer in self.items() if in_block(name) is not None)
        return (
            f"Decomposition of {len(self)} layers, {self.fisher} Fisher:"
            f" {', '.join(list(self)[:3])}{', ...' if len(self) > 3 else ''}"
            f"{said(covered, int(self.record.get(FEED_FORWARD, 0)))}"
        )

    @door(CurvatureError)
    def select(self, which: str | Sequence[str]) -> "Decomposition":
        """The layers whose names match a glob pattern or one of several. Raises: CurvatureError: a pattern that matches
        none (near names are listed).
        """
        patterns = (which,) if isinstance(which, str) else tuple(which)
        if not patterns:
            raise CurvatureError(unfit("which", which, "a glob pattern, or at least one in a list"))
        matches = [{n for n in self if fnmatchcase(n, p)} for p in patterns]
        for pattern, names in zip(patterns, matches):
            if not names:
                raise CurvatureError(
                    f"which: {pattern!r} matches none of the decomposition's {len(self)} layers; {near(pattern, self)}."
                )
        return replace(self, layers={n: layer for n, layer in self.items() if any(n in names for names in matches)})


@door(CurvatureError)
def decompose(model: HFModel, factors: Factors, *, folder: FilePath | None = None) -> Decomposition:
    """The eigendecomposition of both factors of every layer; a factor that layers share is taken apart once.

    Args:
        folder: where eigenvectors are kept by the hash of their matrix, and found again by any later call.

    Raises: CurvatureError: factors of other weights than the model's, or with NaN, or all zero. Warns: UserWarning:
        fewer tokens than dimensions.

    Source: Merullo et al. 2025, section 2. Cost: about 10 d^3 multiplications a matrix, in float64 where the device has
        it; memory: one [d, d] a distinct matrix.
    """
    require_model(model, factors.model, "factors")
    own = linears(model, factors.layers)
    cache: dict[int, tuple[Tensor, Tensor]] = {}

    def once(matrix: Tensor, name: str, side: str, tokens: int) -> tuple[Tensor, Tensor]:
        if id(matrix) not in cache:
            if not torch.isfinite(matrix).all():
                raise CurvatureError(
                    f"factors: {side} of {name} holds NaN or infinity; look for a token on which the model overflows."
                )
            if not matrix.any():
                what = "nothing goes into" if side == "A" else "no gradient comes back to"
                raise CurvatureError(
                    f"factors: {side} of {name} is zero throughout: {what} this layer on these tokens; take other"
                    " tokens, or leave it out."
                )
            values, vectors = eigen(matrix, folder)
            # what is left there is rounding: tokens span no more directions than there are tokens
            cache[id(matrix)] = values.where(torch.arange(len(values), device=values.device) < tokens, 0.0), vectors
        return cache[id(matrix)]

    layers = {}
    for name, linear in own.items():
        n = factors.tokens[name]
        mu, u_a = once(factors.a[name], name, "A", n)
        lam, u_g = once(factors.g[name], name, "G", n)
        layers[name] = LayerCurvature(name, linear.weight.detach().clone(), u_a, mu, u_g, lam, n)
    if short := [layer for layer in layers.values() if layer.deficient]:
        warn("factors: " + deficiency(short) + " Edits refuse such factors unless deficient= says what to do.")
    return Decomposition(layers, factors.fisher, factors.model, factors.record)


def deficiency(short: Sequence[LayerCurvature]) -> str:
    """What is to be said of layers whose factors have fewer tokens than dimensions."""
    first, wanted = short[0], max(max(layer.shape) for layer in short)
    more = f" (and of {len(short) - 1} other layers)" if len(short) > 1 else ""
    sides = " and ".join(
        f"{side.upper()} [{d}, {d}]"
        for side, d in (("a", first.shape[1]), ("g", first.shape[0]))
        if side in first.deficient
    )
    return (
        f"{sides} of {first.name}{more} has rank {first.tokens} at most, being a mean over {first.tokens} tokens:"
        f" directions that no token reached have curvature mass 0 for want of data. Take factors over at least {wanted}"
        " tokens, better ten times as many."
    )


@door(CurvatureError)
def eigen(
    matrix: Annotated[Float[Tensor, "d d"], Filled(), AllFinite()], folder: FilePath | None = None
) -> tuple[Float[Tensor, " d"], Float[Tensor, "d d"]]:
    """Eigenvalues (float64, descending, negative ones of rounding set to 0) and eigenvectors (float32 columns, each
    one's largest entry positive) of a symmetric matrix.
    """
    if matrix.shape[0] != matrix.shape[1]:
        raise CurvatureError(unfit("matrix", matrix, "a square matrix"))
    path = None
    if folder is not None:
        digest = hashlib.sha256(f"eigen 1 {tuple(matrix.shape)}".encode())
        digest.update(matrix.detach().cpu().contiguous().numpy().data)
        path = Path(folder) / f"eigen-{digest.hexdigest()[:32]}.safetensors"
        if path.is_file():
            try:
                tensors = load_file(str(path), device=str(matrix.device))
                return tensors["values"], tensors["vectors"]
            except (SafetensorError, OSError, KeyError) as error:
                warn(f"{path} cannot be read ({error}); the eigenvectors are computed anew.")
    exact = torch.float32 if matrix.device.type == "mps" else torch.float64
    values, vectors = torch.linalg.eigh(matrix.cpu() if matrix.device.type == "mps" else matrix.to(exact))
    values, vectors = values.flip(0).clamp_(min=0.0).double(), vectors.flip(1).float()
    vectors *= vectors.gather(0, vectors.abs().argmax(0)[None]).sign()
    values, vectors = values.to(matrix.device, exact), vectors.to(matrix.device).contiguous()
    if path is not None:
        write(path, {"values": values, "vectors": vectors})
    return values, vectors
