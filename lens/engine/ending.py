"""How a final residual stream becomes logits, in a model whose blocks are not written out.

By the model's final norm and head where these were found; else by the model's own forward with its blocks stood in for;
where neither gives the model's logits (something acts on them that depends on more than one token's stream), runs carry
the logits themselves.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ..models.placement import hooks_of
from .anatomy import Anatomy
from .changes import temporary
from .errors import UnsupportedModel
from .memory import logit_bytes
from .parts import ProbePass, Tail
from .places import alone, evaluating
from .sites import SiteError


class Ending:
    """The way from the last residual stream to logits; found on the probe.

    Attributes:
        kind: "parts" (final norm and head), "stand-in" (the model's forward around stood-in blocks) or "logits" (runs
            carry logits; ``width`` is then the vocabulary).
        tail: the final norm, head, factor and cap, for who takes them apart.
        before: what a model multiplies the last block's output by before its final norm; runs end in what enters that.
        width: of what a run ends in: ``d_model``, or ``d_vocab``.
    """

    def __init__(self, anatomy: Anatomy, tail: Tail, trace: ProbePass):
        self.anatomy, self.tail, self.d_vocab = anatomy, tail, anatomy.d_vocab
        self._returned = [trace.returned.get(layer, 0) for layer in anatomy.layers]
        self.kind: Literal["parts", "stand-in", "logits"] = "logits"
        blocks = {m for layer in anatomy.layers for m in layer.modules()}
        names = {name for name, m in anatomy.hf.named_modules() if m in blocks}
        # what a person put behind the blocks may act on some tokens only: then no row stands for itself
        if all(item.module in names for item in anatomy.state.foreign) if anatomy.state.foreign else True:
            if tail.why is None:
                self.kind = "parts"
            elif self._stands_in(trace):
                self.kind = "stand-in"
        if self.kind == "logits" and anatomy.d_vocab == anatomy.d_model:
            raise UnsupportedModel(
                f"model type {anatomy.model_type!r}: its logits are made of more than its last residual stream, and"
                " the two are as wide, so that they cannot be told apart."
            )
        self.before = tail.before if self.kind == "parts" else 1.0
        self.width = self.d_vocab if self.kind == "logits" else anatomy.d_model

    def _stands_in(self, trace: ProbePass) -> bool:
        last = trace.outputs.get(self.anatomy.layers[-1])
        if last is None or last.ndim != 3:
            return False
        try:
            with evaluating(self.anatomy.hf), torch.no_grad():
                own = self._around(last[0][:, None])
        except Exception:
            return False
        allowed = {torch.float32: 1e-5, torch.float64: 1e-9}.get(last.dtype, 2e-2)
        theirs = trace.logits[0]
        return own.shape == theirs.shape and bool(
            (own - theirs).abs().max() <= allowed * theirs.abs().max().clamp(min=1.0)
        )

    def entering(self, resid: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        """What runs end in, of what leaves the last block; not where they carry logits."""
        return resid if self.before == 1.0 else resid * self.before

    def unembed(self, resid: Float[Tensor, "... width"], columns: Tensor | None = None) -> Tensor:
        """Logits of what runs end in, of the whole vocabulary or of the ``columns`` named: ``[..., n_columns]``.

        Raises: SiteError: a residual stream that is asked for where runs carry logits.
        """
        if self.kind == "logits":
            if resid.shape[-1] != self.d_vocab:
                raise SiteError(
                    f"model type {self.anatomy.model_type!r}: its logits are made of more than its last residual"
                    " stream, so that no stream in the middle can be unembedded; use lens.patch, which reads the"
                    " model's own logits."
                )
            return resid if columns is None else resid[..., columns]
        if self.kind == "parts":
            return self.tail.unembed(resid, columns)
        flat = resid.reshape(-1, 1, resid.shape[-1])
        size = len(flat) if columns is None else max(1, logit_bytes(resid.device) // (4 * self.d_vocab))
        parts = []
        for part in flat.split(size) if len(flat) else ():
            logits = self._around(part)
            parts.append(logits if columns is None else logits[..., columns])
        width = self.d_vocab if columns is None else len(columns)
        logits = torch.cat(parts) if parts else resid.new_zeros(0, width)
        return logits.reshape(*resid.shape[:-1], width)

    def _around(self, x: Float[Tensor, "n 1 d_model"]) -> Float[Tensor, "n d_vocab"]:
        """The model's forward on rows of one token, its blocks stood in for by ``x``."""
        layers: list[Any] = self.anatomy.layers
        own = [layer.__dict__.get("forward") for layer in layers]
        if any(forward is not None and not hooks_of(layer) for layer, forward in zip(layers, own)):
            raise UnsupportedModel(f"{type(layers[0]).__name__} has had its forward replaced; it is left alone.")

        def put_back() -> None:
            for layer, forward in zip(layers, own):
                layer.__dict__.pop("forward", None)
                if forward is not None:
                    layer.__dict__["forward"] = forward

        with temporary(self.anatomy.hf) as here:
            here.back(put_back)
            for layer, size in zip(layers, self._returned):

                def stand_in(*_: Any, size: int = size, **__: Any) -> Any:
                    return (x, *[None] * (size - 1)) if size else x

                layer.__dict__["forward"] = alone(stand_in, layer.forward)
            ids = torch.zeros(x.shape[:2], dtype=torch.long, device=x.device)
            return self.anatomy.forward(ids)[:, 0]
