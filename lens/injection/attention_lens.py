"""A trained lens for every attention head of a layer: what a head's output means to the model, in the model's own
vocabulary.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from .. import files, reading
from ..arguments import (
    Count,
    FilePath,
    Filled,
    HFModel,
    Index,
    Layers,
    Name,
    Positive,
    Seed,
    Token,
    Whole,
    door,
    shown,
    unfit,
)
from ..engine.model import Model
from ..engine.sessions import of_one_model
from ..engine.sites import indices
from ..models import same_weights, weight_hash
from ..models.hash import same_record
from ..progress import hidden
from ..readout.vocabulary import int_only
from ..stats.bounds import AT_LEAST_0, Bounds
from .bridge import head_vectors, read_heads
from .items import InjectionError, Item
from .lens_data import LensData, collect, lens_texts
from .lens_fit import LensFit, interval_over, split_texts

_KIND, _SCHEMA = "attention lens", 1


@door(InjectionError)
class AttentionLens:
    """A lens for each head of one layer: a linear map from the head's ``z`` to the residual stream, read by the model's
    own final norm and ``W_U``.

    It begins as the head's ``W_O``, so that untrained it is the logit lens of the head. Training fits the softmax of
    the *sum* of the layer's head read-outs (plus one bias that belongs to no head) to the model's next-token
    distribution, by KL, at the last token of each text. The final norm is frozen at the scale of the whole residual
    stream, so that read-outs add up. What is trained is small: n_heads x d_head x d_model numbers and a bias of
    d_model, not a vocabulary-wide map for each head. Heads are fitted together: the sum is what the fit vouches for, a
    single head's read-out less so.

    Attributes: ``layer``; ``weight`` ``[n_heads, d_head, d_model]``; ``bias`` ``[d_model]``; ``scale``, the norm's mean
        scale over the training texts; ``report``.

    Source: Sakarvadia et al. 2023, Attention Lens (arXiv 2310.16270), there d_model x d_vocab numbers a head; Belrose
        et al. 2023, Tuned Lens.

    >>> texts, groups = lens_texts()                                                       # doctest: +SKIP
    >>> lens = AttentionLens.train(model, texts, layer=20, groups=groups)                  # doctest: +SKIP
    >>> lens.report["kl_after"], lens.report["kl_before"]                                  # doctest: +SKIP
    """

    def __init__(
        self,
        model: Model | HFModel,
        layer: Index,
        weight: Float[Tensor, "n_heads d_head d_model"] | None = None,
        bias: Float[Tensor, " d_model"] | None = None,
        scale: Positive = 1.0,
        report: Mapping[str, Any] | None = None,
    ):
        self.decoder, self.model_hash = Model.of(model), None if isinstance(model, Model) else weight_hash(model)
        self.layer = indices(int_only(layer, "layer"), self.decoder.n_layers, "layer")[0]
        own = self.decoder.attention_parts()[self.layer].output_weight().detach().float()
        for name, value, shape in (("weight", weight, own.shape), ("bias", bias, own.shape[2:])):
            if value is not None and value.shape != shape:
                raise InjectionError(
                    f"{name} has shape {tuple(value.shape)}; layer {self.layer} of this model takes {tuple(shape)}. Was"
                    " it trained on another model?"
                )
        self.weight = own.clone() if weight is None else weight.to(own)
        self.bias = own.new_zeros(own.shape[-1]) if bias is None else bias.to(own)
        self.scale, self.report = float(scale), dict(report or {})

    def __repr__(self) -> str:
        fit = (
            f", held-out KL {self.report['kl_before'][0]:.3f} -> {self.report['kl_after'][0]:.3f}"
            if self.report
            else ", untrained"
        )
        return f"AttentionLens(layer={self.layer}, {len(self.weight)} heads{fit})"

    @door(InjectionError)
    @torch.no_grad()
    def read(
        self, z_last: Float[Tensor, "n n_heads d_head"], scale: Float[Tensor, "n 1"] | None = None
    ) -> Float[Tensor, "n n_heads d_vocab"]:
        """Logits of every head alone, biases left out.

        Args: ``scale``: the final norm's scale in each run (``lens.readout.norms.norm_scale``); None takes the
            training texts' mean.

        Raises: InjectionError for another shape. Memory: n x n_heads x d_vocab numbers; give a few rows at a time.
        """
        if z_last.shape[1:] != self.weight.shape[:2]:
            raise InjectionError(
                f"z_last has shape {tuple(z_last.shape)}; expected (n, {self.weight.shape[0]}, {self.weight.shape[1]}):"
                f" site 'z' of layer {self.layer} at some last tokens."
            )
        if scale is not None and scale.shape != (len(z_last), 1):
            raise InjectionError(
                unfit(
                    "scale", scale, f"the norm's scale of each of the {len(z_last)} runs, of shape ({len(z_last)}, 1)"
                )
            )
        z_last = z_last.to(self.weight)
        scale = z_last.new_full((len(z_last), 1), self.scale) if scale is None else scale
        return head_vectors(self.decoder, self.layer, z_last, scale, self.weight) @ self.decoder.unembedding().float().T

    # -- training
    # ---------------------------------------------------------------------------------------------------------

    @classmethod
    @door(InjectionError)
    def train(
        cls,
        model: HFModel,
        texts: LensData | Annotated[Sequence[str], Filled()],
        layer: Index,
        *,
        groups: Sequence[str] | None = None,
        steps: Annotated[int, Whole(0, 10**7)] = 250,
        lr: Positive = 0.2,
        batch: Count = 32,
        seed: Seed = 0,
        start: Token | None = "auto",
        memory_mb: Positive | None = None,
        progress: bool | None = None,
    ) -> "AttentionLens":
        """Fits the lens of one layer and measures it on texts that it has not seen.

        Texts (whole groups where given) are split 70/10/20 into training, validation (which step to keep) and held-out
        ones (reported). Cost: one run of every text, then ``steps`` times two products of ``batch`` rows with ``W_U``
        and their gradient.

        Args:
            texts: texts, or what ``collect`` made of them (for several layers).
            lr: step of Adam, relative to the root mean square of ``W_O`` (for the bias: of the layer's head outputs);
                falls linearly to 0.
            batch: texts of one step.

        Returns: the lens; ``report`` has ``kl_before``, ``kl_after`` (held-out KL to the model's distribution in nats,
            before and after training), ``kl_mean`` (of the training texts' mean distribution, the best guess that looks
            at nothing), ``gain`` = before - after and ``gain_over_mean`` = mean - after, each ``[estimate, low, high]``
            with a 95 % interval (None, None where all are alike) over ``n_units`` held-out units, each a ``unit`` (a
            text, or a group's mean); sizes and settings.

        Raises: InjectionError: too few texts or groups, settings that do not fit, a loss that is no longer finite.
        """
        began, lens = time.perf_counter(), cls(model, layer)
        data = (
            texts
            if isinstance(texts, LensData)
            else collect(model, texts, [lens.layer], groups=groups, start=start, memory_mb=memory_mb, progress=progress)
        )
        if not same_record(data.model_hash, lens.model_hash) or lens.layer not in data.z:
            raise InjectionError(
                f"texts were collected from another model or without layer {lens.layer}; collect(model, texts, layers)"
                " them anew."
            )
        train, validation, held_out = split_texts(data.groups, seed)
        fit = LensFit(data, lens.layer, lens.weight, lens.bias, lr, memory_mb)
        before, constant = fit.kl(held_out), fit.kl_of_mean(train, held_out)
        best_step, looks = fit.run(train, validation, steps, batch, seed, hidden(progress))
        after = fit.kl(held_out)
        lens.weight, lens.bias, lens.scale = fit.weight, fit.bias, float(fit.scale[train].mean())
        unit = data.groups[held_out] if data.grouped else np.arange(len(held_out))

        def over(x: np.ndarray, bounds: Bounds | None = None) -> list[float | None]:
            return interval_over(x, unit, seed, bounds)

        lens.report = {
            "layer": lens.layer,
            "kl_before": over(before, AT_LEAST_0),
            "kl_after": over(after, AT_LEAST_0),
            "kl_mean": over(constant, AT_LEAST_0),
            "gain": over(before - after),
            "gain_over_mean": over(constant - after),
            "unit": "group" if data.grouped else "text",
            "n_units": len(np.unique(unit)),
            "n_train": len(train),
            "n_validation": len(validation),
            "n_held_out": len(held_out),
            "parameters": lens.weight.numel() + lens.bias.numel(),
            "steps": steps,
            "kept_step": best_step,
            "validation": looks,
            "lr": lr,
            "batch": batch,
            "seed": seed,
            "start": data.start if isinstance(data.start, str | None) else int(data.start),
            "seconds": round(time.perf_counter() - began, 2),
        }
        return lens

    # -- files
    # ----------------------------------------------------------------------------------------------------------------

    @door(InjectionError)
    def save(self, path: FilePath) -> None:
        """Writes the lens to a ``.safetensors`` file, with its report and the hash of the model that it belongs to.
        Raises lens.FileError where it cannot.
        """
        _check_path(path)
        header = {
            "schema": _SCHEMA,
            "kind": _KIND,
            "layer": self.layer,
            "scale": self.scale,
            "model": self.model_hash,
            "report": self.report,
        }
        files.write_tensors(
            path, {"weight": self.weight, "bias": self.bias}, {"mnemoscope": json.dumps(header, allow_nan=False)}
        )

    @classmethod
    @door(InjectionError)
    def load(cls, path: FilePath, model: HFModel) -> "AttentionLens":
        """The lens in a file that ``save`` wrote, for the model that it was trained on.

        Raises: InjectionError: no such file, no lens in it, or a lens of another model.
        """
        from safetensors import SafetensorError, safe_open

        _check_path(path)
        try:
            with safe_open(os.fspath(path), "pt") as file:
                about, tensors = file.metadata() or {}, {n: file.get_tensor(n) for n in file.keys()}
            header = reading.value(about["mnemoscope"], dict)
            layer, scale, owner, report = (header[n] for n in ("layer", "scale", "model", "report"))
            weight, bias = tensors["weight"], tensors["bias"]
        except FileNotFoundError:
            raise InjectionError(f"path: there is no file {os.fspath(path)}.") from None
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            raise InjectionError(
                f"path={os.fspath(path)!r} holds no attention lens ({type(error).__name__}: {error}); write one with"
                " AttentionLens.save."
            ) from None
        if header.get("kind") != _KIND or header.get("schema") != _SCHEMA:
            raise InjectionError(
                f"path={os.fspath(path)!r} has kind {header.get('kind')!r}, schema {header.get('schema')!r}; expected"
                f" {_KIND!r}, {_SCHEMA}."
            )
        Model.of(model)  # a model that this package cannot take apart is refused as one
        if not same_weights(model, owner):
            raise InjectionError(
                f"path={os.fspath(path)!r} was trained on a model with other weights ({owner[:12]}); load that model,"
                " or train the lens anew."
            )
        return cls(model, layer, weight, bias, scale, report)


@door(InjectionError)
def train_lenses(
    model: HFModel,
    layers: Layers = None,
    texts: Annotated[Sequence[str], Filled()] | None = None,
    *,
    groups: Sequence[str] | None = None,
    **options: Any,
) -> dict[int, AttentionLens]:
    """Lenses of several layers on the same texts, which are run once; None for ``lens_texts()``. ``options`` as
    ``AttentionLens.train`` takes them.
    """
    if texts is None:
        texts, groups = lens_texts()
    shared = {n: options[n] for n in ("start", "memory_mb", "progress") if n in options}
    data = collect(model, texts, layers, groups=groups, **shared)
    bar = tqdm(data.z, desc="lenses", unit="layer", delay=2.0, leave=False, disable=hidden(options.get("progress")))
    return {layer: AttentionLens.train(model, data, layer, **options) for layer in bar}


@door(InjectionError)
@of_one_model(reads=False)
def lens_reading(
    model: HFModel,
    items: Item | Sequence[Item] | Name,
    lenses: AttentionLens | Mapping[int, AttentionLens] | Iterable[AttentionLens],
    *,
    start: Token | None = "auto",
    k: Count = 10,
    full: bool = False,
    seed: Seed = 0,
    memory_mb: Positive | None = None,
    progress: bool | None = None,
) -> xr.Dataset:
    """``bridge_reading`` through trained lenses: the same variables over the lenses' layers.

    Args: ``lenses``: one, several, or by layer. ``full``: also ``rank``, ``hit`` and ``kl`` (most of the time).

    Raises: InjectionError: no lens, two of one layer, a lens of another model.
    """
    chosen = []
    for one in (
        [lenses] if isinstance(lenses, AttentionLens) else lenses.values() if isinstance(lenses, Mapping) else lenses
    ):
        if not isinstance(one, AttentionLens):
            raise InjectionError(
                f"lenses holds {shown(one)}, which is no AttentionLens; train some with train_lenses(model, layers)."
            )
        chosen.append(one)
    if not chosen:
        raise InjectionError("lenses holds no AttentionLens; train some with train_lenses(model, layers).")
    of = sorted(x.layer for x in chosen)
    if len(set(of)) != len(of):
        raise InjectionError(f"lenses: layers {of} repeat; give one lens a layer.")
    if other := [x for x in chosen if not same_weights(model, x.model_hash)]:
        raise InjectionError(f"lenses: {other[0]} belongs to a model with other weights; train it on this one.")
    weights = {x.layer: lambda x=x: x.weight for x in sorted(chosen, key=lambda x: x.layer)}
    fits = {str(x.layer): {n: v for n, v in x.report.items() if n != "validation"} for x in chosen}
    return read_heads(
        model,
        items,
        weights,
        "lens reading",
        {"lenses": fits},
        start=start,
        k=k,
        full=full,
        seed=seed,
        memory_mb=memory_mb,
        progress=progress,
    )


def _check_path(path: Any) -> None:
    if not os.fspath(path).endswith(".safetensors"):
        raise InjectionError(f"path={shown(path)}: a lens is a .safetensors file; end the path so.")
