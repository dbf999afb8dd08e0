"""The spectrum of every layer: how curvature mass is spread over pairs of eigenvectors, and how strongly memorised and
clean text use each band of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from ..arguments import Count, HFModel, Portion, Seed, Share, Size, door
from ..engine.lengths import Lengths
from ..engine.linear import inputs_of, linears
from ..engine.memory import budget
from ..engine.sessions import of_one_model
from ..engine.stopping import Stopped, says_stop
from ..models.placement import device_of
from ..progress import hidden
from ..results import dataset as results
from ..results.record import plain as as_json
from ..scoring.likelihood import plain
from ..stats import bootstrap_comparison
from ..stats.bounds import AT_LEAST_0
from .controls import random_orthogonal
from .eigen import By, Decomposition, LayerCurvature
from .errors import CurvatureError
from .factors import require_model
from .passes import fitting, token_batches

#: Upper ends of the bands, as shares of all pairs in descending order of mass: top 10 %, 10-25 %, 25-50 %, bottom 50 %.
BANDS = (0.1, 0.25, 0.5, 1.0)
Basis = Literal["kfac", "svd", "random"]
BASES: tuple[Basis, ...] = ("kfac", "svd", "random")
SIDES = ("output", "input")


@door(CurvatureError)
def spectrum(
    decomposition: Decomposition,
    *,
    by: By = "kfac",
    bands: Sequence[Portion] = BANDS,
    shares: Sequence[Portion] = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99),
) -> results.Result:
    """Eigenvalues and mass of every layer: how much each band carries, and what share of the pairs carries a given
    share of the mass.

    Returns: a result over `layer`: ``band_mass`` (by `band`), ``pairs`` (by `mass_share`: the least share of pairs that
        carries it), ``mu`` and ``lam`` (by `index`, NaN after the last), ``rank_a``, ``rank_g``, ``tokens``, ``d_in``,
        ``d_out``, and ``coefficient_energy`` (by `band`: the share of the squared weight that lies there).

    Raises: CurvatureError: bands that do not rise to 1; `by` as in `LayerCurvature.mass`.

    Source: Merullo et al. 2025, sections 2 and 3.
    """
    ends = _bands(bands)
    of: dict[str, list] = {
        name: []
        for name in (
            "band_mass",
            "coefficient_energy",
            "pairs",
            "mu",
            "lam",
            "rank_a",
            "rank_g",
            "tokens",
            "d_in",
            "d_out",
        )
    }
    longest = max(max(layer.shape) for layer in decomposition.values())

    def padded(v):
        return np.pad(v.cpu().numpy(), (0, longest - len(v)), constant_values=np.nan)

    for layer in decomposition.values():
        mass, order = layer.mass(by).flatten().sort(descending=True, stable=True)
        cuts = [0, *(round(e * len(mass)) for e in ends)]
        energy = layer.coefficients.double().square().flatten()[order]
        rising = mass.cumsum(0) / mass.sum()
        for name, values in (("band_mass", mass), ("coefficient_energy", energy)):
            of[name].append([float(values[a:b].sum() / values.sum()) for a, b in itertools.pairwise(cuts)])
        of["pairs"].append([min(int(torch.searchsorted(rising, float(s))) + 1, len(mass)) / len(mass) for s in shares])
        for name, value in (
            ("mu", padded(layer.mu)),
            ("lam", padded(layer.lam)),
            ("rank_a", layer.rank("a")),
            ("rank_g", layer.rank("g")),
            ("tokens", layer.tokens),
            ("d_in", layer.shape[1]),
            ("d_out", layer.shape[0]),
        ):
            of[name].append(value)
    dims = {
        "band_mass": ("layer", "band"),
        "coefficient_energy": ("layer", "band"),
        "pairs": ("layer", "mass_share"),
        "mu": ("layer", "index"),
        "lam": ("layer", "index"),
    }
    ds = xr.Dataset(
        {name: (dims.get(name, ("layer",)), np.array(values)) for name, values in of.items()},
        coords={
            "layer": list(decomposition),
            "band": _names(ends),
            "mass_share": list(map(float, shares)),
            "index": np.arange(longest),
        },
    )
    return results.stamp(ds, _record(decomposition, "curvature spectrum", {"by": by, "bands": list(ends)}))


@door(CurvatureError)
@of_one_model(reads=False)
@torch.no_grad()
def activation_ratio(
    model: HFModel,
    decomposition: Decomposition,
    memorised: Any,
    clean: Any,
    *,
    by: By = "kfac",
    bands: Sequence[Portion] = BANDS,
    bases: Sequence[Basis] = BASES,
    first: Size = 0,
    seed: Seed = 0,
    level: Share = 0.95,
    rows: Count | None = None,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
) -> results.Result:
    """How strongly memorised and clean sequences use each band of the spectrum: the mean norm over tokens of what the
    band carries, memorised over clean.

    Args:
        memorised, clean: token ids [rows, length] each; the last token of a row is left out, as in the factors, and
            those before position `first` are not counted.
        by: how pairs of eigenvectors are ordered in the basis "kfac": see `LayerCurvature.mass`.
        bases: "kfac"; its controls "svd" (bands of singular components, largest first) and "random" (two random
            orthogonal bases, bands of the same size).
        seed: of the random bases and of the bootstrap over sequences.

    Returns: a result over `basis, layer, side, band`. `side`: "output", the part of the layer's output that the band's
        coefficients make, ||(C * S_band) U_At x||; "input", the part of x along the eigenvectors of A whose rank lies
        in the band. ``ratio`` with ``low``, ``high`` and ``interval_kind`` (over sequences); ``ordering``: the last
        band over the first, memorised over clean (above 1: recitation leans on low curvature), with ``ordering_low``
        and ``ordering_high``; ``of_memorised`` and ``of_clean`` by `sequence` of each.

    Raises: CurvatureError: arguments that do not fit; weights other than the decomposition's. Stopped: `stop` said so.

    Source: Merullo et al. 2025, section 3 (bands of a layer's input); the controls, the output side and the intervals:
        ours.
    """
    require_model(model, decomposition.model, "decomposition")
    ends = _bands(bands)
    if not len(bases) or len(set(bases)) < len(bases):
        raise CurvatureError(f"bases={list(bases)!r}: expected different ones of {', '.join(BASES)}.")
    hf = plain(model)
    tokens = budget(hf).batch_tokens
    parts = {
        name: token_batches(given, rows, tokens, name) for name, given in (("memorised", memorised), ("clean", clean))
    }
    for name, part in parts.items():
        if (short := min(p.shape[1] for p in part)) - 1 <= first or first < 0:
            raise CurvatureError(
                f"first={first!r}: {name} has rows of {short} tokens, of which the last is left out; expected 0 <="
                f" first < {short - 1}."
            )
        if sum(map(len, part)) < 2:
            raise CurvatureError(f"{name} holds one sequence; an interval over sequences takes at least two.")
    for name, part in parts.items():
        fitting(hf, part, name)
    chosen = linears(hf, list(decomposition))
    if experts := [name for name, linear in chosen.items() if linear.expert is not None]:
        raise CurvatureError(
            f"decomposition: {experts[0]} is an expert's, which sees only the tokens that are sent to it, other ones of"
            " each sequence, so that no mean over a sequence's tokens compares; take select(...) of the other layers."
        )
    readers = {
        name: [[_Reader(basis, side, layer, ends, by, seed) for side in SIDES] for basis in bases]
        for name, layer in decomposition.items()
    }
    lengths, of = Lengths.of(hf), {}
    bar = tqdm(
        total=sum(map(len, parts.values())),
        desc="activation by band",
        unit="batch",
        delay=2.0,
        leave=False,
        disable=hidden(progress),
    )
    with bar:
        for kind, part in parts.items():
            means = []
            for ids in part:
                if says_stop(stop):
                    raise Stopped("activation by band: stopped; nothing of it is kept.")
                here = np.full((len(ids), len(bases), len(chosen), len(SIDES), len(ends)), np.nan)
                last = ids.shape[1] - 1
                # the last token predicts nothing; it is read where the others have other frequencies without it
                text = ids if lengths is not None and lengths.needs_last(ids.shape[1]) else ids[:, :-1]

                def sink(name: str, x: Tensor) -> None:
                    x = x.float().reshape(*text.shape, -1)[:, first:last]
                    for b, sides in enumerate(readers[name]):
                        for s, reader in enumerate(sides):
                            here[:, b, order[name], s] = reader(x).mean(1).double().cpu().numpy()

                order = {name: i for i, name in enumerate(chosen)}
                if lengths is not None:
                    lengths.forget()
                with inputs_of(hf, chosen, sink):
                    hf.base_model(input_ids=torch.from_numpy(text).to(device_of(hf)), use_cache=False)
                means.append(here)
                bar.update()
            of[kind] = np.concatenate(means)
    ratio = bootstrap_comparison(of["memorised"], of["clean"], paired=False, level=level, seed=seed, bounds=AT_LEAST_0)
    widths = {k: of[k][..., -1] / of[k][..., 0] for k in ("memorised", "clean")}
    last = bootstrap_comparison(
        widths["memorised"], widths["clean"], paired=False, level=level, seed=seed, bounds=AT_LEAST_0
    )
    dims = ("basis", "layer", "side", "band")
    ds = xr.Dataset(
        {
            "ratio": (dims, ratio.estimate),
            "low": (dims, ratio.low),
            "high": (dims, ratio.high),
            "interval_kind": (dims, ratio.kind),
            "ordering": (dims[:3], last.estimate),
            "ordering_low": (dims[:3], last.low),
            "ordering_high": (dims[:3], last.high),
            "ordering_interval_kind": (dims[:3], last.kind),
            "of_memorised": (("memorised_sequence", *dims), of["memorised"]),
            "of_clean": (("clean_sequence", *dims), of["clean"]),
        },
        coords={"basis": list(bases), "layer": list(chosen), "side": list(SIDES), "band": _names(ends)},
    )
    call = {
        "by": by,
        "bands": list(ends),
        "bases": list(bases),
        "first": first,
        "level": level,
        "n": {k: len(v) for k, v in of.items()},
        "interval": ratio.method,
    }
    return results.stamp(ds, _record(decomposition, "activation ratio", call) | {"seed": seed})


class _Reader:
    """The norm of what each band carries of an input: [..., in] -> [..., bands]."""

    def __init__(self, basis: str, side: str, layer: LayerCurvature, ends: Sequence[float], by: By, seed: int):
        #: what is read of the output, and which band each pair of it is in; None where a scale says it
        self.pairs: tuple[Tensor, Tensor] | None = None
        if basis == "svd":
            _u, s, vh = layer.svd
            # directions of no singular value come last: what x has there is what the others leave
            self.turn, self.scale, width = (
                vh.T,
                s if side == "output" else torch.ones_like(s),
                len(s) if side == "output" else layer.shape[1],
            )
        else:
            self.turn = (
                layer.u_a if basis == "kfac" else random_orthogonal(layer.shape[1], 2 * seed + 1).to(layer.u_a.device)
            )
            self.scale, width = torch.ones(1, device=layer.u_a.device), layer.shape[1]
            if side == "output":
                left = (
                    layer.u_g if basis == "kfac" else random_orthogonal(layer.shape[0], 2 * seed).to(layer.u_a.device)
                )
                c = layer.coefficients if basis == "kfac" else left.T @ layer.weight.float() @ self.turn
                order = layer.mass(by).flatten().argsort(descending=True, stable=True)
                # a byte a pair says which band it is in; the bands' maps are made as they are used
                band = torch.empty(len(order), dtype=torch.uint8, device=order.device)
                for k, (a, b) in enumerate(zip(cuts := [0, *(round(e * len(order)) for e in ends)], cuts[1:])):
                    band[order[a:b]] = k
                self.pairs = c, band.reshape(c.shape)
        self.cuts = [0, *(round(e * width) for e in ends)]

    def __call__(self, x: Float[Tensor, "rows tokens in"]) -> Float[Tensor, "rows tokens bands"]:
        z = x @ self.turn
        if self.pairs is not None:
            coefficients, band = self.pairs
            return torch.stack(
                [(z @ (coefficients * (band == k)).T).norm(dim=-1) for k in range(len(self.cuts) - 1)], -1
            )
        square = (z * self.scale).square()
        if self.cuts[-1] > square.shape[-1]:
            # the rest of the input space counts for the bands below in proportion to their width there
            rest = (x.square().sum(-1) - square.sum(-1)).clamp(min=0.0) / (self.cuts[-1] - square.shape[-1])
            square = torch.cat([square, rest[..., None].expand(*rest.shape, self.cuts[-1] - square.shape[-1])], -1)
        return torch.stack([square[..., a:b].sum(-1).sqrt() for a, b in zip(self.cuts, self.cuts[1:])], -1)


def _bands(bands: Sequence[float]) -> tuple[float, ...]:
    ends = tuple(float(b) for b in bands)
    if not ends or len(ends) > 255 or ends[-1] != 1.0 or any(b <= a for a, b in zip((0.0, *ends), ends)):
        raise CurvatureError(
            f"bands={list(bands)!r}: expected rising upper ends that finish at 1, such as {list(BANDS)}."
        )
    return ends


def _names(ends: Sequence[float]) -> list[str]:
    return [f"{a * 100:g}-{b * 100:g} %" for a, b in zip((0.0, *ends), ends)]


def _record(decomposition: Decomposition, kind: str, call: dict[str, Any]) -> dict[str, Any]:
    record = dict(decomposition.record)
    return record | {
        "kind": kind,
        "call": {"factors": record.get("call", {}), **{k: as_json(v) for k, v in call.items()}},
    }
