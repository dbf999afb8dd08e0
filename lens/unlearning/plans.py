"""What a method adds to a training on the forget set: terms on its batches and on batches of the retain set."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..engine.changes import temporary
from ..training import Batch, Recipe, Rows, Sampler, Term, order_of
from ..training.divergence import divergence
from ..training.wrapped import anatomy
from . import terms
from .errors import UnlearningError
from .labels import random_labels
from .reference import Reference


@dataclass
class Setup:
    """What a method is told before its training.

    Attributes:
        model: as it is before any step, without adapters of this training. reference: the frozen model, as a rule the
            same. forget, retain: token rows. items: the forget set as (prompt ids, answer ids).
        recipe: with the seed that decides both orders. memory_mb: what may be kept of the reference.
    """

    model: Any
    reference: Any
    forget: Rows
    retain: Rows
    items: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
    recipe: Recipe
    seed: int
    memory_mb: float = 2000


@dataclass
class Plan:
    """What the loop runs: `base_weight` is of the cross-entropy on `rows`; `terms` and `around` as in
    `lens.training.train`. `notes`: of a reference's memory.
    """

    rows: Rows | Sampler
    base_weight: float = 0.0
    terms: dict[str, Term] = field(default_factory=dict)
    around: Callable[[Any], Callable[[Batch], contextlib.AbstractContextManager]] | None = None
    notes: dict[str, Any] = field(default_factory=dict)


def counted(logits: Tensor, ids: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of the tokens that count: the logits that predict them [m, d_vocab], themselves [m], and their rows [m]."""
    where = targets[:, 1:]
    row = torch.arange(len(ids), device=ids.device)[:, None].expand_as(where)[where]
    return logits[:, :-1][where], ids[:, 1:][where], row


def token_log_probs(logits: Tensor, ids: Tensor) -> Tensor:
    """Log-probability of each token, nats."""
    return -F.cross_entropy(terms.precise(logits), ids, reduction="none")


class _Retained:
    """The retain set's batch of each step, in an order that the seed decides, of as many rows as the forget batch."""

    def __init__(self, setup: Setup):
        self.rows = setup.retain
        self.order = order_of(replace(setup.recipe, seed=setup.recipe.seed + 1), len(setup.retain))

    def batch(self, batch: Batch) -> tuple[Tensor, Rows]:
        index = self.order[batch.step]
        part = self.rows.take(index)
        there = batch.ids.device
        return index, Rows(part.ids.to(there), part.targets.to(there), part.lengths.to(there))


def retain_terms(setup: Setup, o: Mapping[str, Any]) -> dict[str, Term]:
    """The retain term, `o["retain"]` times the loss on a batch of the retain set: "nll" its cross-entropy, "kl"
    KL(reference || model) there, as in TOFU.
    """
    weight, kind = float(o.get("retain", 0.0)), o.get("retain_loss", "nll")
    if kind not in ("nll", "kl"):
        raise UnlearningError(f"retain_loss={kind!r} is not known; expected 'nll' or 'kl'.")
    if not weight:
        return {}
    retained = _Retained(setup)
    frozen = Reference(setup.reference, setup.retain, whole=True, memory_mb=setup.memory_mb) if kind == "kl" else None

    def term(model: Any, batch: Batch, outputs: Any) -> Tensor:
        index, part = retained.batch(batch)
        logits, ids, _ = counted(model(input_ids=part.ids, use_cache=False).logits, part.ids, part.targets)
        if frozen is None:
            return -weight * token_log_probs(logits, ids).mean()
        return weight * divergence(logits, frozen.distributions(index), direction="forward").mean()

    return {"retain": term}


def _forgetting(setup: Setup, o: Mapping[str, Any], term: Term, **more: Any) -> Plan:
    return Plan(setup.forget, terms={"forget": term, **retain_terms(setup, o)}, **more)


def retain_only(setup: Setup, o: Mapping[str, Any]) -> Plan:
    """Training on the retain set alone, with no term of forgetting: the control of all."""
    return Plan(setup.retain, base_weight=1.0)


def ascent(setup: Setup, o: Mapping[str, Any]) -> Plan:
    """Gradient ascent; with a retain term gradient difference."""

    def term(model: Any, batch: Batch, outputs: Any) -> Tensor:
        logits, ids, _ = counted(outputs.logits, batch.ids, batch.targets)
        return terms.gradient_ascent(token_log_probs(logits, ids))

    return _forgetting(setup, o, term)


def preference(setup: Setup, o: Mapping[str, Any]) -> Plan:
    """NPO over its unit."""
    frozen = Reference(setup.reference, setup.forget)

    def term(model: Any, batch: Batch, outputs: Any) -> Tensor:
        logits, ids, row = counted(outputs.logits, batch.ids, batch.targets)
        theirs = frozen.tokens(batch.index).to(ids.device)
        return terms.negative_preference(token_log_probs(logits, ids), theirs, row, beta=o["beta"], over=o["over"])

    return _forgetting(setup, o, term, notes={"reference_bytes": frozen.nbytes})


def simple_preference(setup: Setup, o: Mapping[str, Any]) -> Plan:
    """SimNPO."""

    def term(model: Any, batch: Batch, outputs: Any) -> Tensor:
        logits, ids, row = counted(outputs.logits, batch.ids, batch.targets)
        return terms.simple_negative_preference(token_log_probs(logits, ids), row, beta=o["beta"], gamma=o["gamma"])

    return _forgetting(setup, o, term)


def divergent(setup: Setup, o: Mapping[str, Any]) -> Plan:
    """The KL from the reference driven up, as stated or as published."""
    frozen = Reference(setup.reference, setup.forget, whole=True, memory_mb=setup.memory_mb)

    def term(model: Any, batch: Batch, outputs: Any) -> Tensor:
        logits, _, _ = counted(outputs.logits, batch.ids, batch.targets)
        theirs = frozen.distributions(batch.index)
        if o["as_published"]:
            return terms.divergence_as_published(logits, theirs)
        return terms.divergence_as_stated(logits, theirs, o["direction"])

    return _forgetting(setup, o, term, notes={"reference_bytes": frozen.nbytes})


class States:
    """The residual stream behind one layer in the last forward that was listened to, with its gradients."""

    def __init__(self, layer: int):
        self.layer = layer
        self.last: Tensor | None = None

    @contextlib.contextmanager
    def listening(self, model: Any) -> Iterator[None]:
        """Forwards inside are heard."""
        with temporary(model, "listening to the stream") as here:
            here.put(
                lambda: anatomy(model, UnlearningError).attach("resid_post", self.layer, self._hear, everywhere=True)
            )
            yield

    def _hear(self, x: Tensor) -> Tensor:
        self.last = x
        return x

    def at(self, where: Tensor) -> Tensor:
        """States [m, d_model] where a mask [n, length] is True. Raises UnlearningError: no forward was heard."""
        if self.last is None:
            raise UnlearningError("no forward was listened to; run the model inside listening().")
        return self.last[where]


def real(ids: Tensor, lengths: Tensor) -> Tensor:
    """Where a token is one of the row's own, not padding: [n, length]."""
    return torch.arange(ids.shape[1], device=ids.device) < lengths.to(ids.device)[:, None]


def misdirection(setup: Setup, o: Mapping[str, Any]) -> Plan:
    """RMU: states of the forget set towards one fixed random direction, states of the retain set kept."""
    a, layer = anatomy(setup.model, UnlearningError), int(o["layer"])
    layer = layer if layer >= 0 else a.n_layers + layer
    if not 0 <= layer < a.n_layers:
        raise UnlearningError(
            f"layer={o['layer']}: this model has layers 0 to {a.n_layers - 1} (or -1 to -{a.n_layers})."
        )
    u = torch.rand(a.d_model, generator=torch.Generator().manual_seed(setup.seed))
    u, heard, kept = (u / u.norm()).to(a.device), States(layer), States(layer)
    retained, weight = _Retained(setup), float(o["retain"])
    frozen = _states_of(setup.reference, setup.retain, layer) if weight else []

    def forget(model: Any, batch: Batch, outputs: Any) -> Tensor:
        where = real(batch.ids, batch.lengths)
        row = where.nonzero()[:, 0]
        return terms.steer_away(heard.at(where), u, row, coefficient=o["coefficient"])

    def retain(model: Any, batch: Batch, outputs: Any) -> Tensor:
        index, part = retained.batch(batch)
        with kept.listening(model):
            model(input_ids=part.ids, use_cache=False)
        where = real(part.ids, part.lengths)
        theirs = torch.cat([frozen[i] for i in index.tolist()]).to(part.ids.device)
        return weight * terms.stay_near(kept.at(where), theirs, where.nonzero()[:, 0])

    plan = Plan(setup.forget, terms={"forget": forget, **({"retain": retain} if weight else {})})
    plan.around = lambda model: lambda batch: heard.listening(model)
    plan.notes = {"reference_bytes": sum(s.numel() * s.element_size() for s in frozen)}
    return plan


@torch.no_grad()
def _states_of(model: Any, rows: Rows, layer: int) -> list[Tensor]:
    """The frozen model's states of each row, [tokens, d_model]."""
    heard, device, out = States(layer), anatomy(model, UnlearningError).device, []
    with heard.listening(model):
        for i in range(len(rows)):
            ids = rows.ids[i : i + 1, : int(rows.lengths[i])].to(device)
            model(input_ids=ids, use_cache=False)
            out.append(heard.at(torch.ones_like(ids, dtype=torch.bool)).cpu())
    return out


def tuned_further(setup: Setup, o: Mapping[str, Any]) -> Plan:
    """The first half of a task vector: plain training on the forget set."""
    return Plan(setup.forget, base_weight=1.0)


def scrambled(setup: Setup, o: Mapping[str, Any]) -> Plan:
    """Training on answers that are drawn at random."""
    labels = random_labels(setup.items, o["labels"], setup.seed, setup.recipe.batch)
    if labels.uniform is None:
        return Plan(labels.rows, base_weight=1.0, terms=retain_terms(setup, o))
    answers = torch.tensor(labels.uniform)

    def term(model: Any, batch: Batch, outputs: Any) -> Tensor:
        last = batch.targets.int().argmax(1) - 1
        at = outputs.logits[torch.arange(len(last), device=last.device), last]
        return terms.uniform_label(terms.precise(at).log_softmax(-1), answers.to(at.device))

    return _forgetting(setup, o, term)
