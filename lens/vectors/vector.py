"""Instruction vectors: the sum of what a few heads add at the last token, as something to add, compose, decode and
keep.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor

from .. import files, reading
from ..arguments import Count, FilePath, HFModel, Index, Number, Seed, door, shown
from ..engine.model import Model
from ..engine.sites import Site, indices
from ..results.record import plain
from ..tokens import token_strings, tokenizer_of
from .errors import VectorError

_SITES = ("attn_out", "mlp_out", "embed", "resid_pre", "resid_mid", "resid_post")
_FORMAT = "mnemoscope vector 1"


def _require_stream(site: Site) -> None:
    if site.name not in _SITES:
        raise VectorError(
            f"a vector lives in the residual stream; site {site.name!r} has another shape, use one of"
            f" {', '.join(_SITES)}."
        )


def _finite(value: Any, name: str, axes: int) -> Tensor:
    value = torch.as_tensor(value).detach().float().cpu()
    if value.ndim != axes or value.shape[-1] == 0:
        raise VectorError(
            f"{name} has shape {tuple(value.shape)}; expected {axes} ax{'i' if axes == 1 else 'e'}s, the last of them"
            " d_model."
        )
    if not torch.isfinite(value).all():
        raise VectorError(f"{name} holds NaN or infinity; check where it was computed.")
    return value


def _factor(value: Any) -> float:
    return Number().of(
        value, "factor", VectorError, "a vector is multiplied by a number; to add two vectors write a + b"
    )


@door(VectorError)
@dataclass(frozen=True, eq=False)
class Vector:
    """A direction of the residual stream, with the heads that it is the sum of.

    `direction` is `[d_model]`, float32 on the CPU; `parts` is `[k, d_model]`, what each of `heads` (layer, head) adds
    to it (none: `[0, d_model]`); `model` is the hash of the weights that it was read from; `source` says of what
    ("demonstrations", "instruction", "random", ...); `about` how the heads were chosen, on which split, of how many
    prompts. It can stand as the value of an edit: `Edit(Site("resid_post", layer=9, position=-1), "add", vector)`.

    Vectors add, subtract and scale (a composition of tasks is `a + b - c`); parts survive where both sides name the
    same heads.

    Raises: VectorError: shapes that do not fit together, NaN.

    Source: Todd et al. 2024 (vector arithmetic).
    """

    direction: Float[Tensor, "d_model"]
    parts: Float[Tensor, "k d_model"] | None = None
    heads: Sequence[tuple[int, int]] = ()
    name: str = "vector"
    model: str = ""
    source: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        direction = _finite(self.direction, "direction", 1)
        parts = direction.new_zeros(0, len(direction)) if self.parts is None else _finite(self.parts, "parts", 2)
        heads = tuple((int(l), int(h)) for l, h in self.heads)
        if parts.shape != (len(heads), len(direction)):
            raise VectorError(
                f"parts has shape {tuple(parts.shape)}; expected ({len(heads)}, {len(direction)}): one row for each"
                " head, as wide as direction."
            )
        for name, value in (("direction", direction), ("parts", parts), ("heads", heads), ("about", dict(self.about))):
            object.__setattr__(self, name, value)

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return len(self.direction)

    @property
    def by_head(self) -> Float[Tensor, "k d_model"]:
        """`parts` as a tensor, also where there are none."""
        return self.direction.new_zeros(0, self.d_model) if self.parts is None else self.parts

    @property
    def norm(self) -> float:
        """Its length, in units of the residual stream."""
        return float(self.direction.norm())

    @door(VectorError)
    def at_site(self, site: Site) -> Float[Tensor, "d_model"]:
        """The direction, for any site of the residual stream. Raises: VectorError: a site of another shape."""
        _require_stream(site)
        return self.direction

    @door(VectorError)
    def cosine(self, other: "Vector") -> float:
        """Cosine similarity to another vector; NaN where one of them is zero. Raises: VectorError: another width."""
        self._require_like(other)
        size = self.direction.norm() * other.direction.norm()
        return float(self.direction @ other.direction / size) if size > 0 else float("nan")

    @door(VectorError)
    @torch.no_grad()
    def decode(self, model: HFModel, k: Count = 10) -> list[tuple[str, float]]:
        """The k tokens that the vector alone promotes, `(token, probability)`: final norm and unembedding of it, as if
        it were the whole stream.

        It is a readout, not an effect: vectors that do the same may decode to different tokens (Todd et al. 2024).
        """
        decoder = Model.of(model)
        require_width(decoder, self)
        share = decoder.unembed(self.direction.to(decoder.device, decoder.dtype)[None]).float().softmax(-1)[0]
        value, token = share.topk(min(int(k), len(share)))
        return list(zip(token_strings(tokenizer_of(model), token.tolist()), value.tolist()))

    @door(VectorError)
    def save(self, path: FilePath) -> Path:
        """Writes it to a .safetensors file, see `load_vector`. Raises: VectorError: another ending; lens.FileError: it
        cannot be written.
        """
        return _write(
            path,
            {"direction": self.direction, "parts": self.by_head},
            {
                "heads": [list(h) for h in self.heads],
                "name": self.name,
                "model": self.model,
                "source": self.source,
                "about": plain(self.about),
            },
        )

    def _require_like(self, other: Any) -> None:
        if not isinstance(other, Vector):
            raise VectorError(f"other={shown(other)} is a {type(other).__name__}; expected a lens.vectors.Vector.")
        if other.d_model != self.d_model:
            raise VectorError(
                f"vector {other.name!r} has d_model {other.d_model}, {self.name!r} has {self.d_model}; only vectors of"
                " one model can be put together."
            )

    def _with(
        self, direction: Tensor, parts: Tensor | None, name: str, source: str | None = None, model: str | None = None
    ) -> "Vector":
        return Vector(
            direction,
            parts,
            () if parts is None else self.heads,
            name,
            self.model if model is None else model,
            self.source if source is None else source,
            {**self.about, "made_by": name},
        )

    def __mul__(self, factor: float) -> "Vector":
        f = _factor(factor)
        return self._with(self.direction * f, self.by_head * f, f"{f:g} * ({self.name})")

    __rmul__ = __mul__

    def __truediv__(self, factor: float) -> "Vector":
        if _factor(factor) == 0:
            raise VectorError("factor=0: a vector cannot be divided by zero.")
        return self * (1 / _factor(factor))

    def __neg__(self) -> "Vector":
        return self._with(-self.direction, -self.by_head, f"-({self.name})")

    def __add__(self, other: "Vector") -> "Vector":
        return self._together(other, 1, "+")

    def __sub__(self, other: "Vector") -> "Vector":
        return self._together(other, -1, "-")

    def _together(self, other: "Vector", sign: int, sign_text: str) -> "Vector":
        self._require_like(other)
        same = len(self.heads) > 0 and set(self.heads) == set(other.heads)
        order = [other.heads.index(h) for h in self.heads] if same else []

        def both(a, b):
            return a if a == b else "mixed"

        return self._with(
            self.direction + sign * other.direction,
            self.by_head + sign * other.by_head[order] if same else None,
            f"{self.name} {sign_text} {f'({other.name})' if ' ' in other.name else other.name}",
            both(self.source, other.source),
            both(self.model, other.model),
        )

    def __repr__(self) -> str:
        what = f", {len(self.heads)} heads" if self.heads else ""
        return (
            f"Vector({self.name!r}, norm {self.norm:.3g}, d_model"
            f" {self.d_model}{what}{f', {self.source}' if self.source else ''})"
        )


@door(VectorError)
@dataclass(frozen=True, eq=False)
class LayerVectors:
    """One direction for each layer; `at_site` gives a site that of its layer.

    `vectors` is `[n_layers, d_model]`, float32 on the CPU; `reliability`, where it was measured, `[n_layers]`: the
    cosine between the directions of two halves of the prompts.
    """

    vectors: Float[Tensor, "n_layers d_model"]
    name: str = "layer vectors"
    model: str = ""
    source: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)
    reliability: Float[Tensor, " n_layers"] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "vectors", _finite(self.vectors, "vectors", 2))
        object.__setattr__(self, "about", dict(self.about))
        if self.reliability is not None:
            object.__setattr__(self, "reliability", torch.as_tensor(self.reliability).float())

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return self.vectors.shape[1]

    @property
    def norm(self) -> Float[Tensor, " n_layers"]:
        """Each layer's length, in units of the residual stream."""
        return self.vectors.norm(dim=-1)

    @door(VectorError)
    def at(self, layer: Index) -> Vector:
        """One layer's direction as a Vector."""
        layer = indices(layer, len(self), "layer")[0]
        return Vector(
            self.vectors[layer],
            name=f"{self.name}, layer {layer}",
            model=self.model,
            source=self.source,
            about={**self.about, "layer": layer},
        )

    @door(VectorError)
    def at_site(self, site: Site) -> Float[Tensor, "d_model"]:
        """The direction of the site's layer. Raises: VectorError: a site of another shape; SiteError: no such layer."""
        _require_stream(site)
        return self.vectors[indices(site.layer or 0, len(self), "layer")[0]]

    @door(VectorError)
    def save(self, path: FilePath) -> Path:
        """Writes it to a .safetensors file, see `load_vector`. Raises: VectorError: another ending; lens.FileError: it
        cannot be written.
        """
        extra = {} if self.reliability is None else {"reliability": self.reliability}
        return _write(
            path,
            {"vectors": self.vectors, **extra},
            {"name": self.name, "model": self.model, "source": self.source, "about": plain(self.about)},
        )

    def __repr__(self) -> str:
        return f"LayerVectors({self.name!r}, {len(self)} layers, norm {self.norm.min():.3g} to {self.norm.max():.3g})"


def require_width(decoder: Any, *vectors: Vector | LayerVectors) -> None:
    """Refuses what is no vector, or one of another model's width or number of layers (VectorError)."""
    for v in vectors:
        if not isinstance(v, (Vector, LayerVectors)):
            raise VectorError(
                f"vector={shown(v)} is a {type(v).__name__}; expected what lens.vectors.extract, layer_average or"
                " contrast returns."
            )
        if v.d_model != decoder.d_model:
            raise VectorError(
                f"vector {v.name!r} has d_model {v.d_model}, this model {decoder.d_model}; extract one from this model."
            )
        if isinstance(v, LayerVectors) and len(v) != decoder.n_layers:
            raise VectorError(
                f"vector {v.name!r} has {len(v)} layers, this model {decoder.n_layers}; make one from this model."
            )


@door(VectorError)
def random_like(vector: Vector | LayerVectors, seed: Seed) -> Vector | LayerVectors:
    """The same vector turned at random, drawn from all rotations alike: equal norm; a Vector's parts keep their norms
    and the angles between them, LayerVectors those of each layer.

    The direction follows from `seed`, the vector's name and its source: the same seed gives vectors of other names
    directions that have nothing to do with one another, so that controls of several tasks are as many draws.
    """
    draw = torch.Generator().manual_seed(_own_seed(vector, seed))
    if isinstance(vector, LayerVectors):
        fresh = torch.randn(vector.vectors.shape, generator=draw)
        fresh = fresh / fresh.norm(dim=-1, keepdim=True) * vector.norm[:, None]
        return replace(
            vector,
            vectors=fresh,
            name=f"random like {vector.name}",
            source="random",
            about={"like": vector.name, "seed": int(seed)},
            reliability=None,
        )
    whole = torch.cat([vector.direction[None], vector.by_head]).double()
    # coordinates in an orthonormal basis of the span, put into a basis drawn at random
    basis, triangle = torch.linalg.qr(whole.T)
    turned, signs = torch.linalg.qr(torch.randn(basis.shape, generator=draw, dtype=torch.double))
    new = (triangle.T @ (turned * signs.diagonal().sign()).T).float()
    return Vector(
        new[0],
        new[1:],
        vector.heads,
        f"random like {vector.name}",
        vector.model,
        "random",
        {"like": vector.name, "seed": int(seed)},
    )


def _own_seed(vector: Any, seed: int) -> int:
    """A generator's seed out of `seed` and what the vector is called."""
    text = json.dumps([int(seed), getattr(vector, "name", ""), getattr(vector, "source", "")])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")


def _write(path: str | os.PathLike, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> Path:
    path = files.expanded(path)
    if path.suffix != ".safetensors":
        raise VectorError(f"path={str(path)!r}: expected a name that ends in .safetensors.")
    return files.write_tensors(path, tensors, {"format": _FORMAT, "record": json.dumps(record)})


@door(VectorError)
def load_vector(path: FilePath) -> Vector | LayerVectors:
    """A vector from the file that `Vector.save` or `LayerVectors.save` wrote.

    Raises: VectorError: no such file, or not one of these.
    """
    path = files.expanded(path)
    try:
        with safe_open(path, framework="pt") as file:
            about, tensors = file.metadata() or {}, {k: file.get_tensor(k) for k in file.keys()}
        if about.get("format") != _FORMAT:
            raise VectorError(f"path={str(path)!r} holds tensors, but not a vector of Vector.save.")
        record = reading.value(about["record"], dict)
        if "vectors" in tensors:
            return LayerVectors(
                tensors["vectors"],
                record["name"],
                record["model"],
                record["source"],
                record["about"],
                tensors.get("reliability"),
            )
        return Vector(
            tensors["direction"],
            tensors["parts"],
            tuple(map(tuple, record["heads"])),
            record["name"],
            record["model"],
            record["source"],
            record["about"],
        )
    except VectorError:
        raise
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise VectorError(f"path={str(path)!r} cannot be read as a vector ({type(error).__name__}: {error}).") from None
