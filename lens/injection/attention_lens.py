"""A trained lens for every attention head of a layer: what a head's output means to the model, in the model's own
vocabulary.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from .. import files, reading, stats
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
from ..engine.autograd import require_autograd
from ..engine.model import Model
from ..engine.pieces import run_bytes
from ..engine.runs import Runs
from ..engine.sessions import of_one_model
from ..engine.sites import indices
from ..models import same_weights, weight_hash
from ..models.hash import same_record
from ..progress import hidden
from ..prompts import load_pairs
from ..readout.norms import norm_scale, post_norm_scale, through_norm
from ..readout.reading import layers_with, start_token
from ..readout.vocabulary import int_only
from ..tokens import tokenize, tokenizer_of
from .bridge import head_vectors, last_tokens, read_heads
from .items import InjectionError, Item, load_items

_KIND, _SCHEMA = "attention lens", 1
#: Rows whose logits are held at once outside of training.
_ROWS = 64
#: Times that the fit on validation texts is looked at while training.
_LOOKS = 10


@door(InjectionError)
def lens_texts(
    n: Annotated[int, Whole(3)] = 800,
    seed: Seed = 0,
    *,
    data: Annotated[Sequence[Literal["facts", "ioi", "multihop"]], Filled()] = ("facts", "ioi", "multihop"),
) -> tuple[list[str], list[str]]:
    """Short texts to train a lens on, and the relation or template of each: prompts of the shipped data and random
    beginnings of them.

    Half of the texts are whole prompts, half end after a random word. No text is there twice.

    Args:
        n: how many; all there are where that is fewer.
        data: of "facts", "ioi", "multihop" (both prompts of the shipped multi-hop items).

    Raises: InjectionError for unknown data or too small an ``n``.
    """
    rng = np.random.default_rng(seed)
    found: dict[str, str] = {}
    for name in data:
        if name == "multihop":
            for item in load_items("own"):
                found |= {text: f"multihop {item.group}" for text in (item.prompt, item.explicit)}
        else:
            # a label is set, group, number of the template and subject: facts-country-capital-0-Greece
            found |= {pair.clean: re.split(r"-\d+", pair.label)[0].replace("-", " ", 1) for pair in load_pairs(name)}
    sources = list(found)
    texts: dict[str, str] = {}
    for i in rng.permutation(len(sources)):
        words = sources[i].split(" ")
        cut = len(words) if rng.random() < 0.5 or len(words) < 3 else int(rng.integers(2, len(words)))
        texts.setdefault(" ".join(words[:cut]), found[sources[i]])
        if len(texts) == n:
            break
    return list(texts), list(texts.values())


@dataclasses.dataclass(frozen=True, eq=False)
class Collected:
    """What lenses are trained on, of every text's last token: head outputs by layer, the final residual stream, and the
    text's group.

    ``z``: ``{layer: [n, n_heads, d_head]}``; ``final``: ``[n, d_model]``; ``groups``: numbers, ``[n]``; ``grouped``:
        whether the caller gave them.
    """

    decoder: Model
    model_hash: str
    z: Mapping[int, Tensor]
    final: Float[Tensor, "n d_model"]
    groups: np.ndarray
    grouped: bool
    start: Any


@door(InjectionError)
@of_one_model(reads=False)
@torch.no_grad()
def collect(
    model: HFModel,
    texts: Annotated[Sequence[str], Filled()],
    layers: Layers = None,
    *,
    groups: Sequence[str] | None = None,
    start: Token | None = "auto",
    memory_mb: Positive = 500,
    progress: bool | None = None,
) -> Collected:
    """Runs every text once and keeps what lenses of these layers need. Memory kept: n x (layers x n_heads x d_head +
    d_model) numbers.

    Args: ``groups``: one label a text; texts of one group lie on one side of the train/held-out split. Texts that
        repeat are taken once.

    Raises: InjectionError: no text, text that is empty or has no token, groups of another number.
    """
    decoder, tokenizer = Model.of(model), tokenizer_of(model)
    if blank := [t for t in texts if not t.strip()]:
        raise InjectionError(
            f"texts holds {shown(blank[0])}; expected a list of texts that are not empty (lens_texts() gives one)."
        )
    if groups is not None and len(groups) != len(texts):
        raise InjectionError(f"groups has {len(groups)} entries for {len(texts)} texts; give one a text, or None.")
    labels = dict(zip(texts, texts if groups is None else groups))
    lead = start_token(model, decoder, start)
    ids = [torch.tensor(([] if lead is None else [lead]) + tokenize(tokenizer, t), dtype=torch.long) for t in labels]
    if empty := [t for t, i in zip(labels, ids) if len(i) == 0]:
        raise InjectionError(f"texts holds {empty[0]!r}, which has no token; leave it out.")
    chosen = layers_with(decoder, layers)
    z: dict[int, list[Tensor]] = {l: [] for l in chosen}
    final: list[Tensor] = []
    with tqdm(total=len(ids), desc="texts", delay=2.0, leave=False, disable=hidden(progress)) as bar:
        first = 0
        while first < len(ids):
            last, used = first, 0.0
            while last < len(ids) and (
                last == first or used + run_bytes(decoder, len(ids[last]), ("z",)) < memory_mb * 2**20 / 2
            ):
                used += run_bytes(decoder, len(ids[last]), ("z",))
                last += 1
            runs = Runs.record(decoder, ids[first:last], ("z",))
            at = last_tokens(runs)
            for l in chosen:
                z[l].append(runs.get("z", l)[at].float())
            final.append(runs.final[at])
            bar.update(last - first)
            first = last
    return Collected(
        decoder,
        weight_hash(model),
        {l: torch.cat(v) for l, v in z.items()},
        torch.cat(final),
        np.unique(list(labels.values()), return_inverse=True)[1],
        groups is not None,
        start,
    )


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
        texts: Collected | Annotated[Sequence[str], Filled()],
        layer: Index,
        *,
        groups: Sequence[str] | None = None,
        steps: Annotated[int, Whole(0, 10**7)] = 250,
        lr: Positive = 0.2,
        batch: Count = 32,
        seed: Seed = 0,
        start: Token | None = "auto",
        memory_mb: Positive = 500,
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
        began, made = time.perf_counter(), cls(model, layer)
        data = (
            texts
            if isinstance(texts, Collected)
            else collect(model, texts, [made.layer], groups=groups, start=start, memory_mb=memory_mb, progress=progress)
        )
        if not same_record(data.model_hash, made.model_hash) or made.layer not in data.z:
            raise InjectionError(
                f"texts were collected from another model or without layer {made.layer}; collect(model, texts, layers)"
                " them anew."
            )
        parts = _split(data.groups, seed)
        fit = _Fit(made, data, lr, memory_mb)
        made.scale = float(fit.scale[parts[0]].mean())
        before, constant = fit.kl(parts[2]), fit.kl_of_mean(parts[0], parts[2])
        kept, looks = fit.run(parts[0], parts[1], steps, batch, seed, hidden(progress))
        after = fit.kl(parts[2])
        unit = data.groups[parts[2]] if data.grouped else np.arange(len(parts[2]))

        def over(x):
            return _interval(x, unit, seed)

        made.report = {
            "layer": made.layer,
            "kl_before": over(before),
            "kl_after": over(after),
            "kl_mean": over(constant),
            "gain": over(before - after),
            "gain_over_mean": over(constant - after),
            "unit": "group" if data.grouped else "text",
            "n_units": len(np.unique(unit)),
            "n_train": len(parts[0]),
            "n_validation": len(parts[1]),
            "n_held_out": len(parts[2]),
            "parameters": made.weight.numel() + made.bias.numel(),
            "steps": steps,
            "kept_step": kept,
            "validation": looks,
            "lr": lr,
            "batch": batch,
            "seed": seed,
            "start": data.start if isinstance(data.start, str | None) else int(data.start),
            "seconds": round(time.perf_counter() - began, 2),
        }
        return made

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
    known = {n: options[n] for n in ("start", "memory_mb", "progress") if n in options}
    data = collect(model, texts, layers, groups=groups, **known)
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
    memory_mb: Positive = 500,
    progress: bool | None = None,
) -> xr.Dataset:
    """``bridge_reading`` through trained lenses: the same variables over the lenses' layers.

    Args: ``lenses``: one, several, or by layer. ``full``: also ``rank``, ``hit`` and ``kl`` (most of the time).

    Raises: InjectionError: no lens, two of one layer, a lens of another model.
    """
    given = []
    for one in (
        [lenses] if isinstance(lenses, AttentionLens) else lenses.values() if isinstance(lenses, Mapping) else lenses
    ):
        if not isinstance(one, AttentionLens):
            raise InjectionError(
                f"lenses holds {shown(one)}, which is no AttentionLens; train some with train_lenses(model, layers)."
            )
        given.append(one)
    if not given:
        raise InjectionError("lenses holds no AttentionLens; train some with train_lenses(model, layers).")
    of = sorted(x.layer for x in given)
    if len(set(of)) != len(of):
        raise InjectionError(f"lenses: layers {of} repeat; give one lens a layer.")
    if other := [x for x in given if not same_weights(model, x.model_hash)]:
        raise InjectionError(f"lenses: {other[0]} belongs to a model with other weights; train it on this one.")
    weights = {x.layer: lambda x=x: x.weight for x in sorted(given, key=lambda x: x.layer)}
    fits = {str(x.layer): {n: v for n, v in x.report.items() if n != "validation"} for x in given}
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


class _Fit:
    """Training of one lens: its parameters, relative to the size of what they begin as, and the texts."""

    def __init__(self, made: AttentionLens, data: Collected, lr: float, memory_mb: float):
        self.made, self.decoder, self.lr = made, data.decoder, lr
        self.block, self.table = data.decoder.blocks[made.layer], data.decoder.unembedding().detach().float()
        self.z, self.final = data.z[made.layer], data.final
        self.scale = norm_scale(self.decoder.norm, self.final)
        self.inner = post_norm_scale(self.block, self.z)
        self.rows = max(1, min(_ROWS, int(memory_mb * 2**20 / 2 / (16 * len(self.table)))))

    def logprobs(self, weight: Tensor, bias: Tensor, rows: Any) -> Float[Tensor, "rows d_vocab"]:
        """Log-probabilities of the sum of all heads' read-outs and the bias."""
        # the sum first: it is what is read, and one row a text goes through W_U
        total = self.z[rows].flatten(1) @ weight.flatten(0, 1)
        total = through_norm(self.block.post_attn, total, self.inner[rows])
        return (through_norm(self.decoder.norm, total + bias, self.scale[rows]) @ self.table.T).log_softmax(-1)

    def target(self, rows: Any) -> Float[Tensor, "rows d_vocab"]:
        """The model's own next-token log-probabilities, computed anew from the final residual stream."""
        return self.decoder.unembed(self.final[rows]).detach().float().log_softmax(-1)

    @torch.no_grad()
    def kl(self, rows: np.ndarray) -> np.ndarray:
        """KL(model || lens) of each text, in nats."""
        return self._kl(rows, lambda part: self.logprobs(self.made.weight, self.made.bias, part))

    @torch.no_grad()
    def kl_of_mean(self, train: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """KL(model || mean distribution of the training texts) of each text: the least that one distribution for all
        reaches on those.
        """
        mean = self.table.new_zeros(len(self.table))
        for part in self._parts(train):
            mean += self.target(part).exp().sum(0)
        mean /= len(train)
        return self._kl(rows, lambda part: mean.clamp_min(torch.finfo(mean.dtype).tiny).log())

    def _kl(self, rows, guess) -> np.ndarray:
        out = []
        for part in self._parts(rows):
            target = self.target(part)
            out.append((target.exp() * (target - guess(part))).sum(-1).clamp(min=0))
        return torch.cat(out).double().cpu().numpy()

    def _parts(self, rows: np.ndarray):
        return torch.as_tensor(rows, device=self.z.device).split(self.rows)

    def run(
        self, train: np.ndarray, validation: np.ndarray, steps: int, batch: int, seed: int, quiet: bool
    ) -> tuple[int, list[list[float]]]:
        """Trains in place and keeps the step with the best fit to the validation texts: that step, and every look as
        ``[step, KL]``.
        """
        made = self.made
        begin = made.weight, made.bias
        written = (self.z.flatten(1) @ begin[0].flatten(0, 1)).square().mean().sqrt()
        sizes = begin[0].square().mean().sqrt(), _size(self.block, written)
        require_autograd(InjectionError, "training a lens")
        moved = [torch.zeros_like(x, requires_grad=True) for x in begin]
        optimiser = torch.optim.Adam(moved, lr=self.lr)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / max(1, steps))
        order, queue = np.random.default_rng(seed), np.zeros(0, np.int64)
        best, looks = (0, float(self.kl(validation).mean()), begin), []
        looks.append([0, best[1]])
        bar = tqdm(
            range(1, steps + 1), desc=f"lens of layer {made.layer}", unit="step", delay=2.0, leave=False, disable=quiet
        )
        for step in bar:
            if len(queue) < batch:
                queue = np.concatenate([queue, order.permutation(train)])
            now, queue = torch.as_tensor(queue[:batch], device=self.z.device), queue[batch:]
            target = self.target(now)
            with torch.enable_grad():
                weight, bias = (b + s * m for b, s, m in zip(begin, sizes, moved))
                # the model's entropy does not depend on the lens: the cross entropy has the gradient of the KL
                loss = -(target.exp() * self.logprobs(weight, bias, now)).sum(-1).mean()
            if not torch.isfinite(loss):
                raise InjectionError(
                    f"layer {made.layer}: the loss is {loss.item()} at step {step}; lower lr={self.lr!r}, or check the"
                    " model's weights."
                )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            if step % max(1, steps // _LOOKS) == 0 or step == steps:
                made.weight, made.bias = (b + s * m.detach() for b, s, m in zip(begin, sizes, moved))
                looks.append([step, float(self.kl(validation).mean())])
                if looks[-1][1] < best[1]:
                    best = (step, looks[-1][1], (made.weight, made.bias))
        made.weight, made.bias = best[2]
        return best[0], looks


def _size(block: Any, written: Tensor) -> Tensor:
    """The root mean square of the layer's attention output, given that of what the heads write: a post-norm brings it
    to about 1.
    """
    return written if block.post_attn is None else torch.ones_like(written)


def _split(groups: np.ndarray, seed: int) -> list[np.ndarray]:
    """Text numbers for training, validation and reporting, about 70/10/20; a group is whole.

    Raises: InjectionError where a part would be empty or the held-out one has fewer than two groups.
    """
    order = np.random.default_rng(seed).permutation(np.unique(groups))
    parts: tuple[list[int], list[int], list[int]] = ([], [], [])
    for place, group in enumerate(order):
        # held-out texts first: two groups at least, so that there is an interval
        which = 2 if len(parts[2]) < 0.2 * len(groups) or place < 2 else 1 if len(parts[1]) < 0.1 * len(groups) else 0
        parts[which].extend(np.flatnonzero(groups == group))
    if not all(parts):
        raise InjectionError(
            f"texts: {len(groups)} different ones in {len(order)} groups are too few to train on, choose a step by "
            "and report on; give more texts or groups."
        )
    return [np.sort(np.array(p)) for p in parts]


def _interval(values: np.ndarray, unit: np.ndarray, seed: int) -> list[float | None]:
    """The mean over units (each a mean over its texts) with its 95 % interval; its ends are None where there is none
    (all units alike).
    """
    means = np.array([values[unit == u].mean() for u in np.unique(unit)])
    found = stats.bootstrap(means, seed=seed, values="number")
    return [float(found.estimate), *(float(end) if np.isfinite(end) else None for end in (found.low, found.high))]


def _check_path(path: Any) -> None:
    if not os.fspath(path).endswith(".safetensors"):
        raise InjectionError(f"path={shown(path)}: a lens is a .safetensors file; end the path so.")
