"""Controls of the curvature edit: the same amount removed from every layer, chosen by something else."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeGuard, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from ..arguments import Seed, door
from .edit import Edit, made, rebuilt
from .eigen import By, Decomposition, LayerCurvature
from .errors import CurvatureError

Match = Literal["norm", "count"]
MATCHES: tuple[str, ...] = get_args(Match)
Kind = Literal["random", "shuffled", "svd", "a", "g", "bottom", "magnitude"]


@dataclass(frozen=True, eq=False)
class _Choice:
    """A weight written as left C right^T, and the score by which its coefficients stay: one for each pair, row ([out,
    1]) or column ([1, in]).
    """

    left: Tensor
    coefficients: Tensor
    right: Tensor
    score: Tensor


@functools.lru_cache(maxsize=16)
def random_orthogonal(width: int, seed: int) -> Float[Tensor, "width width"]:
    """An orthogonal matrix drawn uniformly (Haar), float32 on the CPU. Source: Mezzadri 2007."""
    q, r = torch.linalg.qr(torch.randn(width, width, generator=torch.Generator().manual_seed(seed)))
    return q * r.diagonal().sign()


def _random(layer: LayerCurvature, seed: int, by: By) -> _Choice:
    def put(q):
        return q.to(layer.u_a.device)

    left, right = put(random_orthogonal(layer.shape[0], 2 * seed)), put(random_orthogonal(layer.shape[1], 2 * seed + 1))
    return _Choice(left, left.T @ layer.weight.float() @ right, right, layer.mass(by))


def _shuffled(layer: LayerCurvature, seed: int, by: By) -> _Choice:
    score = torch.rand(layer.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return _Choice(layer.u_g, layer.coefficients, layer.u_a, score.to(layer.u_a.device))


def _svd(layer: LayerCurvature, seed: int, by: By) -> _Choice:
    u, s, vh = layer.svd
    # all of a component is in one coefficient: a row of the diagonal
    return _Choice(u, s.diag(), vh.T, s[:, None])


def _own(score: Callable[[LayerCurvature, By], Tensor]) -> Callable[[LayerCurvature, int, By], _Choice]:
    return lambda layer, seed, by: _Choice(layer.u_g, layer.coefficients, layer.u_a, score(layer, by))


def _magnitude(layer: LayerCurvature, seed: int, by: By) -> _Choice:
    def eye(n):
        return torch.eye(n, device=layer.u_a.device)

    return _Choice(eye(layer.shape[0]), layer.weight.float(), eye(layer.shape[1]), layer.weight.float().abs())


_KINDS: dict[str, Callable[[LayerCurvature, int, By], _Choice]] = {
    "random": _random,
    "shuffled": _shuffled,
    "svd": _svd,
    "a": _own(lambda layer, by: layer.mu[None, :]),
    "g": _own(lambda layer, by: layer.lam[:, None]),
    "bottom": _own(lambda layer, by: -layer.mass(by)),
    "magnitude": _magnitude,
}
#: name -> whether it is drawn (and so differs by seed)
CONTROLS = {name: name in ("random", "shuffled") for name in _KINDS}


def is_control(name: str) -> TypeGuard[Kind]:
    """Whether it is the name of a control."""
    return name in CONTROLS


@door(CurvatureError)
def control(decomposition: Decomposition, kind: Kind, like: Edit, *, match: Match = "norm", seed: Seed = 0) -> Edit:
    """An edit that removes from every layer as much as `like` does, chosen by something else than curvature.

    Args:
        kind: "random": two random orthogonal bases (drawn by seed and width) in place of the eigenvectors, the same
            pattern of pairs; "shuffled": the eigenvectors, random pairs; "svd": the smallest singular values go; "a",
            "g": whole eigenvectors of the input's or the gradient's factor alone go, smallest first; "bottom": the
            eigenvectors, the largest masses go instead; "magnitude": the weight's smallest entries go.
        match: "norm": the same Frobenius norm is removed; "count": the same share of the coefficients goes. Both to the
            nearest coefficient ("svd", "a", "g": component).

    Raises: CurvatureError: an unknown kind or match; an edit of other layers.

    Source: Merullo et al. 2025 compare with SVD; the other controls: ours.
    """
    if set(like.new) != set(decomposition) or any(
        like.old[n] is not layer.weight and not torch.equal(like.old[n], layer.weight)
        for n, layer in decomposition.items()
    ):
        raise CurvatureError(
            f"like: the edit {like.name} is not of this decomposition's layers and weights; make it with"
            " keep(decomposition, rho)."
        )
    new, counts, mass = {}, {}, {}
    for name, layer in decomposition.items():
        choice = _KINDS[kind](layer, seed, like.by)
        stay = _staying(choice, like.counts[name] / like.sizes[name], like.removed_from(name), match)
        whole = layer.mass(like.by)
        new[name] = rebuilt(layer.weight, choice.left, choice.coefficients, choice.right, stay)
        counts[name] = round(int(stay.sum()) / stay.numel() * layer.weight.numel())
        mass[name] = float((whole * stay).sum() / whole.sum()) if choice.left is layer.u_g else float("nan")
    label = f"{kind} as {like.name}"
    return made(
        decomposition,
        label,
        new,
        counts,
        mass,
        like.by,
        {"edit": f"control {kind}", "match": match, "seed": seed, "like": like.record.get("call", {})},
    )


def _staying(choice: _Choice, share: float, norm: float, match: str) -> Tensor:
    """Which coefficients stay, [rows, columns]: units (pairs, rows or columns) of the largest scores, as many as match
    the share that stays or the norm that goes.
    """
    shape, score = choice.coefficients.shape, choice.score
    energy = choice.coefficients.double().square()
    # rows or columns go whole
    energy = (
        energy.sum(1, keepdim=True)
        if score.shape[1] == 1 != shape[1]
        else energy.sum(0, keepdim=True)
        if score.shape[0] == 1 != shape[0]
        else energy
    )
    order = score.flatten().argsort(descending=True, stable=True)
    if match == "count":
        n = round(share * len(order))
    else:
        # going[k]: what goes when k units do
        going = torch.cat([energy.new_zeros(1), energy.flatten()[order].flip(0).cumsum(0)])
        k = int(torch.searchsorted(going, norm**2).clamp(max=len(order)))
        if k and norm**2 - float(going[k - 1]) < float(going[k]) - norm**2:
            k -= 1
        n = len(order) - k
    stay = torch.zeros(len(order), dtype=torch.bool, device=score.device)
    stay[order[:n]] = True
    return stay.reshape(energy.shape).expand(shape)
