"""What a method adds to the training of one stage: loss terms, a choice of weights or of rows, an act at the end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ..arguments import door
from ..training import Batch, Recipe, Rows, Teacher, Term, order_of
from ..training.divergence import divergence
from ..training.head_outputs import HeadOutputs
from .data import ForgettingError, Stage
from .guide import Guide, inserted
from .losses import gated, head_distance
from .penalties import Trains, attention_weights, fisher, move_towards, squared_change, upper_layers, weights_now


@dataclass
class Setup:
    """What a method is told before a stage.

    Attributes:
        model: the plain model as the stage finds it, before any adapter. first: gives the model that the whole sequence
            started from.
        number: the stage's place in the sequence, from 0. earlier: the stages before it. touched: names of the weights
            that training would change.
        recipe: of the stage, with the seed that decides its order; None where that is not settled.
    """

    model: Any
    first: Callable[[], Any]
    number: int
    stage: Stage
    earlier: tuple[Stage, ...]
    guide: Guide | None
    old_rows: Rows | None
    touched: tuple[str, ...]
    seed: int
    recipe: Recipe | None = None
    memory_mb: float = 2000

    def require_guide(self) -> Guide:
        """The stage's guide. Raises: ForgettingError: it has none."""
        if self.guide is None:
            raise ForgettingError(
                f"guides lacks {self.stage.name!r}; this method needs a lens.forgetting.Guide for every stage."
            )
        return self.guide

    def require_old_rows(self) -> Rows:
        """Rows of what the model could do before. Raises: ForgettingError: there are none."""
        if self.old_rows is None:
            raise ForgettingError("old_rows is None; this method draws on rows of what the model could do before.")
        return self.old_rows

    def needed(self) -> Tensor | None:
        """Numbers of the stage's rows that the training will see; None where all may be."""
        return None if self.recipe is None else order_of(self.recipe, len(self.stage.rows)).unique()


@door(ForgettingError)
@dataclass
class Plan:
    """What a method adds to the training of one stage.

    Attributes:
        terms: extra losses by name. around: from the model in training to a context for each batch's forward. trains:
            filter of weights by name.
        finish: done to the plain model after the stage. notes: what to say in the result (memory of a teacher,
            seconds).
    """

    rows: Rows
    terms: dict[str, Term] = field(default_factory=dict)
    around: Callable[[Any], Callable[[Batch], contextlib.AbstractContextManager]] | None = None
    trains: Trains | None = None
    finish: Callable[[Any], None] | None = None
    notes: dict[str, Any] = field(default_factory=dict)


def trained_parameters(wrapped: Any, touched: Sequence[str], plan: Plan) -> dict[str, torch.nn.Parameter]:
    """What is trained, by name: all touched weights, or the adapters on them, that the plan's filter lets through.

    Raises: ForgettingError: nothing is left to train.
    """

    def allowed(name):
        return name in set_of and (plan.trains is None or plan.trains(name))

    set_of = set(touched)
    if hasattr(wrapped, "get_base_model"):
        # "model.layers.0.self_attn.q_proj.lora_A.default.weight" belongs to "model.layers.0.self_attn.q_proj.weight"
        base = {id(p) for p in wrapped.get_base_model().parameters()}
        out = {
            n: p
            for n, p in wrapped.get_base_model().named_parameters()
            if id(p) in base and ".lora_" in n and allowed(n.split(".lora_")[0] + ".weight")
        }
    else:
        out = {n: p for n, p in wrapped.named_parameters() if allowed(n)}
    if not out:
        raise ForgettingError(
            "method: with these adapters nothing is left to train; name other lora.targets, or train without lora."
        )
    return out


def _at_last(outputs: Any, last: Tensor) -> Tensor:
    return outputs.logits[torch.arange(len(last), device=last.device), last]


def _last_of(teacher: Teacher, batch: Batch) -> Tensor:
    return teacher.last[batch.index.cpu()].to(batch.ids.device)


def plain(setup: Setup, o: Mapping[str, Any]) -> Plan:
    """The rows of the stage and nothing else."""
    return Plan(setup.stage.rows)


def guided(setup: Setup, o: Mapping[str, Any]) -> Plan:
    """The family of the paper's loss: a head term and a divergence term, either of which may be off."""
    a1, a2 = float(o.get("a1", 0.0)), float(o.get("a2", 0.0))
    guide = _vector(setup, o)
    heads = setup.guide.heads if a1 and setup.guide is not None else ()
    if a1 and not heads:
        raise ForgettingError(
            f"guides[{setup.stage.name!r}]: a1={a1:g} weighs the outputs of the guide's heads, and none are given; "
            "name the heads that the vector came from, or set a1=0."
        )
    teacher = Teacher.of(
        setup.model,
        setup.stage.rows,
        around=_guided_by(setup.model, guide if a2 else None),
        heads=heads,
        logits=bool(a2),
        only=setup.needed(),
        memory_mb=setup.memory_mb,
    )
    listen = HeadOutputs(heads)
    plan = Plan(setup.stage.rows, notes=_notes(teacher))
    if a1:

        def head_term(model, batch, outputs):
            theirs = teacher.heads(batch.index).to(batch.ids.device)
            return a1 * head_distance(listen.at(_last_of(teacher, batch)), theirs, o.get("distance", "l2")).sum()

        plan.terms["heads"] = head_term
        plan.around = lambda model: lambda batch: listen.listening(model)
    if a2:

        def kl_term(model, batch, outputs):
            theirs = teacher.log_probs(batch.index)
            return (
                a2
                * divergence(
                    _at_last(outputs, _last_of(teacher, batch)), theirs, direction=o.get("direction", "reverse")
                ).mean()
            )

        plan.terms["kl"] = kl_term
    return plan


def _guided_by(model: Any, guide: Guide | None) -> Callable[[Tensor], contextlib.AbstractContextManager] | None:
    """The guide's vector at last input tokens, for a teacher."""
    if guide is None:
        return None
    guide.check(model)
    return lambda last: inserted(model, guide, last)


def _vector(setup: Setup, o: Mapping[str, Any]) -> Guide | None:
    which = o["vector"]
    if which not in ("own", "random", "none"):
        raise ForgettingError(f"vector={which!r} is not known; expected 'own', 'random' or 'none'.")
    if which == "none":
        return None
    if which == "own":
        return setup.guide
    return setup.require_guide().random_like(1_000_003 * setup.seed + o["vector_seed"])


def released(setup: Setup, o: Mapping[str, Any]) -> Plan:
    """The loss of the released code: gated divergences and head errors against the sequence's first model."""
    guide = replace(setup.require_guide(), at=o["at"])
    if not guide.heads:
        raise ForgettingError(f"guides[{setup.stage.name!r}] names no heads; give the heads that the vector came from.")
    frozen = setup.model if setup.number == 0 else setup.first()
    teacher = Teacher.of(
        frozen,
        setup.stage.rows,
        around=_guided_by(frozen, guide),
        heads=guide.heads,
        everywhere=True,
        only=setup.needed(),
        memory_mb=setup.memory_mb,
    )
    listen, warm = HeadOutputs(guide.heads), float(o["temperature"])

    def last_term(model, batch, outputs):
        loss = divergence(
            _at_last(outputs, _last_of(teacher, batch)), teacher.last_log_probs(batch.index, warm), temperature=warm
        ).mean()
        return o["kl_last"] * gated(loss, o["gate_kl"])

    def all_term(model, batch, outputs):
        real = (
            torch.arange(outputs.logits.shape[1], device=batch.ids.device) < batch.lengths.to(batch.ids.device)[:, None]
        )
        loss = divergence(outputs.logits[real], teacher.log_probs(batch.index, warm), temperature=warm).sum() / len(
            batch.index
        )
        return o["kl_all"] * gated(loss, o["gate_kl"])

    def head_term(model, batch, outputs):
        theirs = teacher.heads(batch.index).to(batch.ids.device)
        return (
            o["heads"] * gated(head_distance(listen.at(_last_of(teacher, batch)), theirs, "mse"), o["gate_heads"]).sum()
        )

    return Plan(
        setup.stage.rows,
        {"kl_last": last_term, "kl_all": all_term, "heads": head_term},
        lambda model: lambda batch: listen.listening(model),
        notes=_notes(teacher),
    )


def progressive(setup: Setup, o: Mapping[str, Any]) -> Plan:
    """The guide's vector in the stream, fading; with `a2` the divergence of `guided` too."""
    plan = guided(setup, {**o, "vector": "own"}) if o.get("a2") else Plan(setup.stage.rows)
    until = float(o["until"])
    if not 0 < until <= 1:
        raise ForgettingError(f"until={until}: expected a share of the steps, above 0 and at most 1.")
    guide, last = setup.require_guide(), setup.stage.rows.last_input()

    def around(model: Any) -> Callable[[Batch], contextlib.AbstractContextManager]:
        def of_batch(batch: Batch) -> contextlib.AbstractContextManager:
            scale = 1 - batch.step / (until * batch.steps)
            return inserted(model, guide, last[batch.index.cpu()], scale) if scale > 0 else contextlib.nullcontext()

        return of_batch

    plan.around = around
    return plan


def l2sp(setup: Setup, o: Mapping[str, Any]) -> Plan:
    """The squared distance from the stage's start as a penalty."""
    anchor = weights_now(setup.model, setup.touched)
    return Plan(
        setup.stage.rows, {"penalty": lambda model, batch, outputs: o["alpha"] / 2 * squared_change(model, anchor)}
    )


def ewc(setup: Setup, o: Mapping[str, Any]) -> Plan:
    """The same, each weight's share scaled by its Fisher information on old rows."""
    anchor, old_rows = weights_now(setup.model, setup.touched), setup.require_old_rows()
    weights = fisher(setup.model, old_rows, setup.touched, kind=o["fisher"], examples=o["examples"], seed=setup.seed)
    largest = max(float(w.max()) for w in weights.values())
    return Plan(
        setup.stage.rows,
        {"penalty": lambda model, batch, outputs: o["strength"] / 2 * squared_change(model, anchor, weights)},
        notes={
            "fisher": o["fisher"],
            "fisher_examples": min(o["examples"], len(old_rows.ids)),
            "fisher_largest": largest,
        },
    )


def freeze_bottom(setup: Setup, o: Mapping[str, Any]) -> Plan:
    """Of the blocks the upper ones alone."""
    if not 0 < o["share"] < 1:
        raise ForgettingError(f"share={o['share']}: expected a share of the layers, between 0 and 1.")
    return Plan(setup.stage.rows, trains=upper_layers(setup.model, o["share"])[0])


def attention_only(setup: Setup, o: Mapping[str, Any]) -> Plan:
    """The projections of attention alone."""
    return Plan(setup.stage.rows, trains=attention_weights(setup.model))


def averaging(setup: Setup, o: Mapping[str, Any]) -> Plan:
    """Weights moved back towards an earlier model once the stage has ended."""
    if o["to"] not in ("first", "stage") or not 0 <= o["ratio"] <= 1:
        raise ForgettingError(
            f"to={o['to']!r}, ratio={o['ratio']}: expected 'first' or 'stage', and a ratio from 0 to 1."
        )
    towards = weights_now(setup.model if o["to"] == "stage" or setup.number == 0 else setup.first(), setup.touched)
    return Plan(setup.stage.rows, finish=lambda model: move_towards(model, towards, o["ratio"]))


def replay(setup: Setup, o: Mapping[str, Any]) -> Plan:
    """Old rows among the new ones."""
    own, share = setup.stage.rows, float(o["share"])
    if not 0 < share < 1:
        raise ForgettingError(f"share={share}: expected the share of old rows among all, between 0 and 1.")
    pool = Rows.joined([setup.require_old_rows(), *(s.rows for s in setup.earlier if o["earlier"])])
    count = max(1, round(share / (1 - share) * len(own.ids)))
    generator, size = torch.Generator().manual_seed(setup.seed), len(pool.ids)
    pick = (
        torch.randperm(size, generator=generator)[:count]
        if count <= size
        else torch.randint(size, (count,), generator=generator)
    )
    return Plan(Rows.joined([own, pool.take(pick)]), notes={"replayed_rows": count, "replay_pool": size})


def _notes(teacher: Teacher) -> dict[str, Any]:
    return {"teacher_mb": round(teacher.nbytes / 2**20, 3), "teacher_seconds": round(teacher.seconds, 3)}
