"""Fitted lenses: their matrices, how sure these are, and the models that they fit."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from ... import files
from ...arguments import FilePath, Filled, HFModel, Index, Seed, Token, door
from ...engine.model import Model
from ..reading import one_token
from .errors import JacobianLensError
from .span import Span, span_of, turned

#: What a file of the house says that it is.
FORMAT = "mnemoscope jacobian lens 1"
#: What must be equal of lenses that are of one estimate.
_ONE_ESTIMATE = ("estimator", "length", "skip", "last_excluded", "start", "tokens", "model")


@dataclass(frozen=True, eq=False, repr=False)
class _Fitted:
    """What lenses share: an average over prompts, that over every second of them, and what it is of."""

    layers: tuple[int, ...]
    mean: Tensor
    half: Tensor | None
    about: Mapping[str, Any] = field(default_factory=dict)

    #: names of the tensors in a file
    _names = ("J", "J_half")

    @property
    def d_model(self) -> int:
        """Width of the stream."""
        return self.mean.shape[-1]

    @property
    def n(self) -> int:
        """Prompts that it is the average over."""
        return int(self.about.get("n_prompts", 0))

    def __repr__(self) -> str:
        of = self.about.get("model", {}).get("name", "")
        return (
            f"{type(self).__name__}({len(self.layers)} layers, d_model {self.d_model}, {self.n} prompts"
            f"{f', of {of}' if of else ''})"
        )

    def digest(self) -> str:
        """SHA-256 of its numbers."""
        return hashlib.sha256(self.mean.contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()

    def require(self, model: Any) -> Model:
        """The engine's view of a model that this is a lens of.

        Raises: JacobianLensError: another width, too few layers, other weights than it was fitted on.
        """
        view = Model.of(model)
        if view.d_model != self.d_model or self.layers[-1] >= view.n_layers - 1:
            raise JacobianLensError(
                f"lens is of a model of width {self.d_model} with more than {self.layers[-1] + 1} layers; this one has"
                f" width {view.d_model} and {view.n_layers} layers. Fit one with lens.jacobian_lens.fit."
            )
        told = self.about.get("model", {})
        if told.get("n_layers", view.n_layers) != view.n_layers:
            raise JacobianLensError(
                f"lens is of a model of {told['n_layers']} layers, this one has {view.n_layers}; fit one with"
                " lens.jacobian_lens.fit."
            )
        if told.get("hash") and told["hash"] != (hash_ := view.weights()):
            raise JacobianLensError(
                f"lens is of {told.get('name') or 'a model'} with weights {told['hash'][:12]}, this model's are"
                f" {hash_[:12]}: another model, revision or edit. Fit one with lens.jacobian_lens.fit."
            )
        return view

    def split_half(self) -> pd.DataFrame:
        """How sure the averages are, by layer, from those over even and odd prompts.

        Returns: ``relative_error``: half of the norm of their difference over the norm of the average (an estimate of
            the average's own standard error); ``cka``: centred kernel alignment of the two (Kornblith et al. 2019), 1
            for equal ones.

        Raises: JacobianLensError: fewer than two prompts, or a published lens that holds no half.
        """
        odd = int(self.about.get("n_odd", 0))
        if self.half is None or not 0 < odd < self.n:
            raise JacobianLensError(f"split_half: this lens has no two halves of its {self.n} prompts to compare.")
        even = (self.mean.double() * self.n - self.half.double() * odd) / (self.n - odd)
        rows = []
        for mean, a, b in zip(self.mean.double(), even, self.half.double()):
            error = (a - b).norm() / 2 / mean.norm()
            rows.append({"relative_error": error.item(), "cka": _cka(a, b)})
        return pd.DataFrame(rows, index=pd.Index(self.layers, name="layer"))

    @door(JacobianLensError)
    def save(self, path: FilePath) -> Path:
        """Writes it to a ``.safetensors`` file, with what it is of.

        Raises: JacobianLensError: another suffix. FileError: it cannot be written.
        """
        if files.expanded(path).suffix != ".safetensors":
            raise JacobianLensError(f"path={str(path)!r}: expected a name that ends in .safetensors.")
        tensors = {f"{self._names[0]}.{l}": x for l, x in zip(self.layers, self.mean)}
        if self.half is not None:
            tensors |= {f"{self._names[1]}.{l}": x for l, x in zip(self.layers, self.half)}
        header = {"format": FORMAT, "kind": type(self).__name__, "about": json.dumps(self.about)}
        return files.write_tensors(path, tensors, header)


def _cka(a: Tensor, b: Tensor) -> float:
    a, b = a - a.mean(0), b - b.mean(0)
    share = (b.T @ a).square().sum() / ((a.T @ a).norm() * (b.T @ b).norm())
    return float(share.item())


class JacobianLens(_Fitted):
    """The average Jacobian of the last stream by an earlier one, layer by layer.

    Attributes:
        layers: whose outputs it reads, ascending; the last layer's needs none. mean: ``[layer, d_model, d_model]``,
            rows are dimensions of the last stream. half: the same over odd prompts alone, or None. about: model, texts,
            estimator, positions.

    Source: Gurnee et al. 2026, Verbalizable Representations Form a Global Workspace in Language Models (Methods).
    """

    def of(self, layer: int) -> Float[Tensor, "d_model d_model"]:
        """The matrix of a layer's output. Raises: JacobianLensError: a layer that the lens does not have."""
        if layer not in self.layers:
            raise JacobianLensError(f"layer={layer!r} is not among the lens's layers {self.layers}.")
        return self.mean[self.layers.index(layer)]

    def transport(self, layer: int, x: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        """What a layer's output becomes in the last stream, by the average."""
        matrix = self.of(layer).to(x.device, x.dtype)
        return x @ matrix.T

    @door(JacobianLensError)
    def vectors(self, model: HFModel, tokens: Sequence[Token]) -> Float[Tensor, "layer token d_model"]:
        """The directions that raise tokens' logits, ``J^T W_U``, as published: without the final norm's weight.

        Raises: JacobianLensError: a lens of another model. PromptError: not one token.
        """
        view = self.require(model)
        ids = [one_token(model, view, token, "tokens") for token in tokens]
        return view.unembedding()[ids].float().cpu() @ self.mean.float()

    @door(JacobianLensError)
    def span(self, model: HFModel, layer: Index, tokens: Annotated[Sequence[Token], Filled()]) -> Span:
        """Tokens' directions at a layer's output (`vectors`), whose coordinates edits set, scale and exchange.

        Raises: JacobianLensError: a lens of another model, a layer that it does not have, tokens whose directions are
            nearly one. PromptError: not one token.

        >>> span = J.span(model, 9, [" Paris", " Rome"])                                # doctest: +SKIP
        >>> with lens.edited(model, span.edit("zero")): ...                             # doctest: +SKIP
        """
        view = self.require(model)
        ids = [one_token(model, view, token, "tokens") for token in tokens]
        vectors = view.unembedding()[ids].double().cpu() @ self.of(layer).double()
        return span_of(layer, ids, vectors, view.n_layers, {"sha256": self.digest(), "n_prompts": self.n})


class TokenLens(_Fitted):
    """The directions of a few tokens alone, ``J^T W_U`` with the final norm's weight folded in.

    A root-mean-square norm divides all of them by one positive number, so that they put the chosen tokens in the order
    in which the whole lens has them. A layer norm adds the same bias to each position's scores besides.

    Attributes: ``layers``; ``mean [layer, token, d_model]``; ``half``; ``about``, with ``tokens`` by their ids.
    """

    _names = ("vectors", "vectors_half")

    @property
    def tokens(self) -> tuple[int, ...]:
        """The ids of the chosen tokens."""
        return tuple(self.about["tokens"])

    def scores(self, layer: int, x: Float[Tensor, "... d_model"]) -> Float[Tensor, "... token"]:
        """The chosen tokens' logits at a layer's output, up to a positive factor of each position, and a bias where the
        last norm has one.
        """
        if layer not in self.layers:
            raise JacobianLensError(f"layer={layer!r} is not among the lens's layers {self.layers}.")
        return x @ self.mean[self.layers.index(layer)].to(x.device, x.dtype).T

    @door(JacobianLensError)
    def span(self, model: HFModel, layer: Index, tokens: Annotated[Sequence[Token], Filled()] | None = None) -> Span:
        """Its tokens' directions at a layer's output, whose coordinates edits set, scale and exchange.

        Args: tokens: some of its own; all by default.

        Raises: JacobianLensError: a lens of another model, a layer or a token that it does not have, tokens whose
            directions are nearly one. PromptError: not one token.
        """
        view = self.require(model)
        ids = list(self.tokens) if tokens is None else [one_token(model, view, token, "tokens") for token in tokens]
        if layer not in self.layers:
            raise JacobianLensError(f"layer={layer!r} is not among the lens's layers {self.layers}.")
        if missing := [token for token in ids if token not in self.tokens]:
            raise JacobianLensError(f"tokens: {missing!r} are not among the lens's, whose ids are {self.tokens}.")
        vectors = self.mean[self.layers.index(layer)][[self.tokens.index(token) for token in ids]]
        return span_of(layer, ids, vectors, view.n_layers, {"sha256": self.digest(), "n_prompts": self.n})


@door(JacobianLensError)
def merge(lenses: Annotated[Sequence[JacobianLens | TokenLens], Filled()]) -> JacobianLens | TokenLens:
    """One lens of several that were fitted on shares of the texts: the average over all of their prompts.

    Raises:
        JacobianLensError: lenses of other models, positions, lengths or tokens, or with a prompt in common.
    """
    first = lenses[0]
    for i, one in enumerate(lenses[1:], 1):
        different = [key for key in _ONE_ESTIMATE if one.about.get(key) != first.about.get(key)]
        if type(one) is not type(first) or one.layers != first.layers or different:
            raise JacobianLensError(
                f"lenses[{i}] is of another estimate than lenses[0] ({', '.join(different) or 'its layers'}); merge"
                " shares of one fit."
            )
    prompts = [p for one in lenses for p in one.about.get("prompts", ())]
    if len(set(prompts)) != len(prompts) or any(not one.about.get("prompts") for one in lenses):
        raise JacobianLensError("lenses have prompts in common, or do not say theirs; merge shares of one fit.")
    n, odd = (sum(int(one.about[key]) for one in lenses) for key in ("n_prompts", "n_odd"))
    mean = sum(one.mean.double() * one.n for one in lenses) / n
    halves = [(one.half, int(one.about["n_odd"])) for one in lenses]
    half = sum(h.double() * m for h, m in halves if h is not None and m) / odd if odd else None
    about = {**first.about, "n_prompts": n, "n_odd": odd, "prompts": prompts}
    about |= {"skipped": sum(int(one.about["skipped"]) for one in lenses), "share": None, "status": "complete"}
    as_first = first.mean.dtype
    return type(first)(
        first.layers,
        torch.as_tensor(mean).to(as_first),
        None if half is None else torch.as_tensor(half).to(as_first),
        about,
    )


@door(JacobianLensError)
def random_like(lens: JacobianLens | TokenLens | Span, seed: Seed = 0) -> JacobianLens | TokenLens | Span:
    """A control: matrices of the same singular values in random directions, a random rotation on either side; of chosen
    tokens and of spans, directions of the same lengths at the same angles to each other.

    Costs two decompositions of ``d_model`` by ``d_model`` a layer of a whole lens.
    """
    draw = np.random.default_rng(seed)
    if isinstance(lens, Span):
        about = lens.about | {"random": int(seed)}
        return span_of(lens.layer, lens.tokens, turned(lens.vectors, draw), lens.n_layers, about)

    def turn() -> Tensor:
        q, r = np.linalg.qr(draw.standard_normal((lens.d_model, lens.d_model)))
        return torch.from_numpy(q * np.sign(np.diag(r))).float()

    if isinstance(lens, TokenLens):
        mean = torch.stack([turned(x, draw) for x in lens.mean])
    else:
        mean = torch.stack([turn() @ x.float() @ turn() for x in lens.mean])
    return dataclasses.replace(lens, mean=mean, half=None, about={**lens.about, "random": int(seed), "n_odd": 0})
