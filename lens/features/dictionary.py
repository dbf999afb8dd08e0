"""One canonical form of every dictionary: sparse autoencoders and per-layer transcoders."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..engine.features import Features, Tap
from ..models import name_of
from .activations import Rule
from .errors import FeatureError
from .weights import Matrix

Normalisation = Literal["none", "scale", "token", "layer_norm"]
#: What SAELens adds to the standard deviation.
_EPSILON = 1e-5


@dataclass(eq=False)
class Dictionary(Features):
    """Features of one activation: how they are read and what they write; all arithmetic is in float32.

    ``f = rule(n(x) W_enc + b_enc)`` and ``x_hat = n^-1(f W_dec + b_dec) + skip(x)``, features in the file's own units.

    Attributes:
        name: of the file. reads, writes: where; one place for an autoencoder.
        encoder: ``[n_features, d_in]``. encoder_bias: ``[n_features]``. rule: which features are active.
        decoder: ``[n_features, d_out]``. decoder_bias: ``[d_out]``.
        centre: what is taken from the normalised input, ``[d_in]``, or None. skip: ``[d_out, d_in]``, or None.
        normalisation: of the input, undone in the output: none; ``scale``, by one number; ``token``, to the length
            sqrt(d_in); ``layer_norm``.
        scale_in, scale_out: of ``scale``; what the dictionary writes is divided by ``scale_out``.
        divides: whether directions are divided by their length, by which the rule multiplied.
        without_mean: whether the mean over the width is taken from the input (weights that were centred in training).
        skip_tokens: how many leading tokens it was not trained on. starts: whether its texts began with a start token.
        model: of the file, or None. source: the file's format. about: what else the file says.
    """

    name: str
    reads: Tap
    writes: Tap
    encoder: Matrix
    encoder_bias: Float[Tensor, " n_features"]
    rule: Rule
    decoder: Matrix
    decoder_bias: Float[Tensor, " d_out"]
    centre: Float[Tensor, " d_in"] | None = None
    skip: Matrix | None = None
    normalisation: Normalisation = "none"
    scale_in: float = 1.0
    scale_out: float = 1.0
    divides: bool = False
    without_mean: bool = False
    skip_tokens: int = 0
    starts: bool | None = None
    model: str | None = None
    source: str = "memory"
    about: dict[str, Any] = field(default_factory=dict)

    instead = "give it as lens.Site('feature', sae)"

    def __post_init__(self) -> None:
        (self.n_features, self.d_in), (rows, self.d_out) = self.encoder.shape, self.decoder.shape
        skip = None if self.skip is None else self.skip.shape
        fits = (
            rows == self.n_features and self.encoder_bias.shape == (rows,) and skip in (None, (self.d_out, self.d_in))
        )
        fits = fits and self.decoder_bias.shape == (self.d_out,)
        if not fits or (self.centre is not None and self.centre.shape != (self.d_in,)):
            raise FeatureError(
                f"{self.name}: its encoder is {self.encoder.shape}, its decoder {self.decoder.shape}, its biases"
                f" {tuple(self.encoder_bias.shape)} and {tuple(self.decoder_bias.shape)}, its skip {skip}; expected"
                " [n_features, d_in], [n_features, d_out], [n_features], [d_out] and [d_out, d_in]."
            )
        if not self.transcodes and self.d_in != self.d_out:
            raise FeatureError(f"{self.name}: it reads {self.d_in} numbers and writes {self.d_out} at one place.")

    def __repr__(self) -> str:
        return f"<{self.name}: {self.n_features} features, {self.writes}>"

    @property
    def transcodes(self) -> bool:
        """Whether it writes elsewhere than it reads."""
        return self.reads != self.writes

    @property
    def labels(self) -> dict[int, str]:
        """What its makers say that features are about, by number, where its files or card say it (``labels``)."""
        card = self.about.get("card")
        given = self.about.get("labels", card.get("labels") if isinstance(card, dict) else None)
        if not isinstance(given, dict):
            return {}
        return {int(i): str(text) for i, text in given.items() if str(i).isdecimal() and int(i) < self.n_features}

    # -- reading ---------------------------------------------------------------------------------------------------

    def _entered(self, x: Float[Tensor, "n d_in"]) -> Float[Tensor, "n d_in"]:
        """The input as the encoder takes it."""
        if x.ndim != 2 or x.shape[1] != self.d_in:
            raise FeatureError(f"x={tuple(x.shape)}: {self.name} reads [n, {self.d_in}], at {self.reads}.")
        x = self._centred(x)
        if self.normalisation == "layer_norm":
            x = (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + _EPSILON)
        elif self.normalisation == "token":
            x = x / self.unit(x)
        elif self.scale_in != 1.0:
            x = x * self.scale_in
        return x if self.centre is None else x - self.centre.to(x.device)

    def _centred(self, x: Float[Tensor, "n d_in"]) -> Float[Tensor, "n d_in"]:
        x = x.float()
        return x - x.mean(-1, keepdim=True) if self.without_mean else x

    def unit(self, x: Float[Tensor, "n d_in"]) -> Float[Tensor, "n 1"]:
        """By what a feature times its direction is multiplied on its way to the stream, token by token."""
        x = self._centred(x)
        if self.normalisation == "token":
            return x.norm(dim=-1, keepdim=True) / self.d_in**0.5
        if self.normalisation == "layer_norm":
            return x.std(-1, keepdim=True)
        return torch.full((1, 1), 1 / self.scale_out, device=x.device)

    def pre(self, x: Float[Tensor, "n d_in"], index: Int[Tensor, " k"] | None = None) -> Float[Tensor, "n k"]:
        """What the encoder gives before the rule, of the features named or all; the encoder is read in blocks."""
        into = self._entered(x)
        bias = self.encoder_bias.to(into.device)
        if index is not None:
            return into @ self.encoder.rows(index, into.device).T + bias[index.to(into.device)]
        h = into.new_empty(len(into), self.n_features)
        for part, rows in self.encoder.blocks(into.device):
            torch.mm(into, rows.T, out=h[:, part]) if part == slice(0, self.n_features) else h[:, part].copy_(
                into @ rows.T
            )
        return h.add_(bias)

    def values(self, x: Float[Tensor, "n d_in"], index: Int[Tensor, " k"] | None = None) -> Float[Tensor, "n k"]:
        """How strong features are, those named in their order or all, of activations at `reads`.

        Cost: 2 d_in n_features a token; 2 d_in a feature named, where the rule tells each alone.

        Raises:
            FeatureError: another width; weights that hold NaN.
        """
        if index is not None and self.rule.alone:
            return self.rule(self.pre(x, index), index)
        f = self.rule(self.pre(x))
        return f if index is None else f[:, index.to(f.device)]

    # -- writing ---------------------------------------------------------------------------------------------------

    def directions(self, index: Int[Tensor, " k"]) -> Float[Tensor, "k d_out"]:
        """What one unit of each feature named writes, in float32, before `unit`."""
        rows = self.decoder.rows(index)
        return rows / self.decoder.norms[index.to("cpu")][:, None].to(rows) if self.divides else rows

    def reconstruct(self, f: Float[Tensor, "n n_features"], x: Float[Tensor, "n d_in"]) -> Float[Tensor, "n d_out"]:
        """What the dictionary makes of activations ``x`` whose features are ``f``.

        Raises:
            FeatureError: weights that hold NaN.
        """
        out = self.decoder_bias.to(f.device).expand(len(f), -1).clone()
        active = f.any(0).nonzero()[:, 0]
        for part in active.split(8192):
            out += f[:, part] @ self.directions(part).to(f.device)
        out = out * self.unit(x)
        x = x.float()
        if self.normalisation == "layer_norm":
            out = out + x.mean(-1, keepdim=True)
        elif self.without_mean and not self.transcodes:
            out = out + x.mean(-1, keepdim=True)
        if self.skip is not None:
            out = out + x @ self.skip.whole.float().to(x.device).T
        return out

    # -- what it is of -----------------------------------------------------------------------------------------------

    def require(self, model: Any) -> None:
        """Refuses a model without the layer, of another width than the dictionary's, or of another name than its file
        has, where both are names of a hub: of one name that goes on in the other it is taken for a version.

        Args:
            model: the engine's view of a model, or its anatomy.

        Raises:
            FeatureError: the message has both sizes, or both names.
        """
        own, named = hub_name(self.model), hub_name(name_of(getattr(model, "hf", None), ""))
        if own and named and not (own.startswith(named) or named.startswith(own)):
            raise FeatureError(
                f"{self.name} is of the model {self.model!r}, and this one is {name_of(model.hf)!r}; load the"
                " dictionary of this model, or, where the two have the same weights, give"
                " dataclasses.replace(sae, model=None)."
            )
        for tap, width in ((self.reads, self.d_in), (self.writes, self.d_out)):
            if not 0 <= tap.layer < model.n_layers:
                raise FeatureError(
                    f"{self.name} is of {tap}, and the model has layers 0 to {model.n_layers - 1}; load the dictionary"
                    " of this model, or give layer= where its file names another."
                )
            wide = _width(model, tap)
            if wide is not None and wide != width:
                raise FeatureError(
                    f"{self.name} is {width} wide at {tap}, and the model there {wide}; load the dictionary of this"
                    " model."
                )

    def digest(self) -> dict[str, Any]:
        """What a record says of it: name, format, places, sizes, and a SHA-256 of its biases and of some rows."""
        content = hashlib.sha256()
        some = torch.linspace(0, self.n_features - 1, min(64, self.n_features)).long()
        for tensor in (self.encoder_bias, self.decoder_bias, self.encoder.rows(some), self.decoder.rows(some)):
            content.update(tensor.cpu().contiguous().numpy().tobytes())
        return {
            "name": self.name,
            "format": self.source,
            "reads": str(self.reads),
            "writes": str(self.writes),
            "n_features": self.n_features,
            "rule": self.rule.name,
            "normalisation": self.normalisation,
            "sha256": content.hexdigest(),
            "model": self.model,
        }

    def at(self, reads: Tap, writes: Tap | None = None, **changes: Any) -> Dictionary:
        """The same weights read (and written) elsewhere, or otherwise normalised; for trials of what a file means."""
        return replace(self, reads=reads, writes=writes or (self.writes if self.transcodes else reads), **changes)


def hub_name(name: str | None) -> str | None:
    """A model's name on a hub without its owner, as it is compared; None of folders, classes and nothing."""
    if not name or not re.fullmatch(r"(?:[A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]*", name) or Path(name).exists():
        return None
    # classes of transformers are written together, and SAELens says gpt2-small
    short = name.rsplit("/", 1)[-1].lower()
    return None if re.search(r"[a-z](?:model|lm)$", short) else short.removesuffix("-small") or None


def _width(model: Any, tap: Tap) -> int | None:
    """How many numbers a token has at a tap; None where that is not known before it is read."""
    if tap.site in ("z", "q", "k", "v"):
        n_heads = model.heads(tap.site)
        if tap.head is not None:
            if not -n_heads <= tap.head < n_heads:
                raise FeatureError(f"head={tap.head}: the model has heads 0 to {n_heads - 1} at site {tap.site!r}.")
            return int(model.d_head)
        return int(n_heads * model.d_head)
    return None if tap.site == "neuron" else int(model.d_model)
