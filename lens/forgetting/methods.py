"""Ways of fine-tuning that may forget less: each is a few extra loss terms, a choice of weights, of rows, or an act
after a stage.

>>> METHODS["guided"].does                                                # doctest: +SKIP
>>> method("guided", a2=0.25)                                             # the same with another weight; doctest: +SKIP
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from ..arguments import Check, Number, Text, Whole, door, shown
from ..arguments.hints import Flag
from ..training import Batch, Recipe, Rows, Term, order_of
from .data import ForgettingError, Stage
from .guide import Guide, HeadOutputs, inserted
from .penalties import Trains, attention_weights, averaged, copied, fisher, squared_change, upper_layers
from .teachers import Teacher


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


@door(ForgettingError)
@dataclass(frozen=True)
class Method:
    """A way of fine-tuning.

    Attributes:
        does: in one sentence. source: where it is from. options: its numbers, with their defaults; change them with
            `method`.
        needs: "guide" and/or "old_rows", where it cannot do without.
    """

    name: str
    title: str
    does: str
    source: str
    prepare: Callable[[Setup, Mapping[str, Any]], Plan]
    options: Mapping[str, Any] = field(default_factory=dict)
    needs: Sequence[Literal["guide", "old_rows"]] = ()


@door(ForgettingError)
def method(name: str | Method, **options: Any) -> Method:
    """A method of `METHODS` with some of its options changed.

    Raises: ForgettingError: an unknown method, or an option that it does not have.
    """
    if isinstance(name, Method):
        found = name
    elif name in METHODS:
        found = METHODS[name]
    else:
        raise ForgettingError(f"method={shown(name)} is not known; expected the name of one: {', '.join(METHODS)}.")
    if unknown := [o for o in options if o not in found.options]:
        raise ForgettingError(
            f"method {found.name!r} has no option {unknown[0]!r}; it has {', '.join(found.options) or 'none'}."
        )
    for option, value in options.items():
        _like(found.options[option]).of(
            value, option, ForgettingError, f"method {found.name!r} has {found.options[option]!r}"
        )
    return replace(found, options={**found.options, **options})


def _like(default: Any) -> Check:
    """What an option with this default may be."""
    return (
        Flag()
        if isinstance(default, bool)
        else Text()
        if isinstance(default, str)
        else Whole(0)
        if isinstance(default, int)
        else Number()
    )


# -- losses ---------------------------------------------------------------------------------------------------------


def divergence(student: Tensor, teacher: Tensor, *, temperature: float = 1.0, direction: str = "reverse") -> Tensor:
    """KL of each row in nats, ``[n]``: ``reverse`` is KL(student || teacher), ``forward`` KL(teacher || student).

    Args:
        student: logits ``[n, d_vocab]``. teacher: log-probabilities, already at this temperature.
    """
    ours = (student.float() / temperature).log_softmax(-1)
    if direction == "reverse":
        return (ours.exp() * (ours - teacher)).sum(-1)
    if direction == "forward":
        return (teacher.exp() * (teacher - ours)).sum(-1)
    raise ForgettingError(
        f"direction={direction!r} is not known; expected 'reverse' (student first, as published) or 'forward'."
    )


def head_distance(student: Tensor, teacher: Tensor, distance: str = "l2") -> Tensor:
    """How far head outputs ``[batch, k, d_head]`` are apart, per head ``[k]``: mean over the batch of "l2" (Euclidean
    length), "squared" (its square) or "mse" (per number).
    """
    apart = student.float() - teacher
    if distance == "l2":
        return torch.linalg.vector_norm(apart, dim=-1).mean(0)
    if distance in ("squared", "mse"):
        return apart.square().sum(-1).mean(0) if distance == "squared" else apart.square().mean(-1).mean(0)
    raise ForgettingError(f"distance={distance!r} is not known; expected 'l2', 'squared' or 'mse'.")


def gated(loss: Tensor, gate: float) -> Tensor:
    """The loss where it is above the gate, else 0 (without gradient)."""
    return loss * (loss.detach() > gate)


def _at_last(outputs: Any, last: Tensor) -> Tensor:
    return outputs.logits[torch.arange(len(last), device=last.device), last]


def _last_of(teacher: Teacher, batch: Batch) -> Tensor:
    return teacher.last[batch.index.cpu()].to(batch.ids.device)


# -- preparations ----------------------------------------------------------------------------------------------------


def _plain(setup: Setup, o: Mapping[str, Any]) -> Plan:
    return Plan(setup.stage.rows)


def _guided(setup: Setup, o: Mapping[str, Any]) -> Plan:
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
        guide if a2 else None,
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


def _vector(setup: Setup, o: Mapping[str, Any]) -> Guide | None:
    which = o["vector"]
    if which not in ("own", "random", "none"):
        raise ForgettingError(f"vector={which!r} is not known; expected 'own', 'random' or 'none'.")
    if which == "none":
        return None
    if which == "own":
        return setup.guide
    return setup.require_guide().random_like(1_000_003 * setup.seed + o["vector_seed"])


def _released(setup: Setup, o: Mapping[str, Any]) -> Plan:
    guide = replace(setup.require_guide(), at=o["at"])
    if not guide.heads:
        raise ForgettingError(f"guides[{setup.stage.name!r}] names no heads; give the heads that the vector came from.")
    frozen = setup.model if setup.number == 0 else setup.first()
    teacher = Teacher.of(
        frozen,
        setup.stage.rows,
        guide,
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


def _progressive(setup: Setup, o: Mapping[str, Any]) -> Plan:
    plan = _guided(setup, {**o, "vector": "own"}) if o.get("a2") else Plan(setup.stage.rows)
    until = float(o["until"])
    if not 0 < until <= 1:
        raise ForgettingError(f"until={until}: expected a share of the steps, above 0 and at most 1.")
    from .data import last_input

    guide, last = setup.require_guide(), last_input(setup.stage.rows)

    def around(model: Any) -> Callable[[Batch], contextlib.AbstractContextManager]:
        def of_batch(batch: Batch) -> contextlib.AbstractContextManager:
            scale = 1 - batch.step / (until * batch.steps)
            return inserted(model, guide, last[batch.index.cpu()], scale) if scale > 0 else contextlib.nullcontext()

        return of_batch

    plan.around = around
    return plan


def _l2sp(setup: Setup, o: Mapping[str, Any]) -> Plan:
    anchor = copied(setup.model, setup.touched)
    return Plan(
        setup.stage.rows, {"penalty": lambda model, batch, outputs: o["alpha"] / 2 * squared_change(model, anchor)}
    )


def _ewc(setup: Setup, o: Mapping[str, Any]) -> Plan:
    anchor, old_rows = copied(setup.model, setup.touched), setup.require_old_rows()
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


def _freeze_bottom(setup: Setup, o: Mapping[str, Any]) -> Plan:
    if not 0 < o["share"] < 1:
        raise ForgettingError(f"share={o['share']}: expected a share of the layers, between 0 and 1.")
    return Plan(setup.stage.rows, trains=upper_layers(setup.model, o["share"])[0])


def _attention_only(setup: Setup, o: Mapping[str, Any]) -> Plan:
    return Plan(setup.stage.rows, trains=attention_weights(setup.model))


def _averaging(setup: Setup, o: Mapping[str, Any]) -> Plan:
    if o["to"] not in ("first", "stage") or not 0 <= o["ratio"] <= 1:
        raise ForgettingError(
            f"to={o['to']!r}, ratio={o['ratio']}: expected 'first' or 'stage', and a ratio from 0 to 1."
        )
    towards = copied(setup.model if o["to"] == "stage" or setup.number == 0 else setup.first(), setup.touched)
    return Plan(setup.stage.rows, finish=lambda model: averaged(model, towards, o["ratio"]))


def _replay(setup: Setup, o: Mapping[str, Any]) -> Plan:
    own, share = setup.stage.rows, float(o["share"])
    if not 0 < share < 1:
        raise ForgettingError(f"share={share}: expected the share of old rows among all, between 0 and 1.")
    pool = joined([setup.require_old_rows(), *(s.rows for s in setup.earlier if o["earlier"])])
    count = max(1, round(share / (1 - share) * len(own.ids)))
    generator, size = torch.Generator().manual_seed(setup.seed), len(pool.ids)
    pick = (
        torch.randperm(size, generator=generator)[:count]
        if count <= size
        else torch.randint(size, (count,), generator=generator)
    )
    return Plan(joined([own, pool.take(pick)]), notes={"replayed_rows": count, "replay_pool": size})


def joined(parts: list[Rows]) -> Rows:
    """Rows under each other, padded to the longest."""
    width = max(p.ids.shape[1] for p in parts)

    def wider(t, fill):
        return torch.nn.functional.pad(t, (0, width - t.shape[1]), value=fill)

    return Rows(
        ids=torch.cat([wider(p.ids, 0) for p in parts]),
        targets=torch.cat([wider(p.targets, False) for p in parts]),
        lengths=torch.cat([p.lengths for p in parts]),
    )


def _notes(teacher: Teacher) -> dict[str, Any]:
    return {"teacher_mb": round(teacher.nbytes / 2**20, 3), "teacher_seconds": round(teacher.seconds, 3)}


# -- the registry ----------------------------------------------------------------------------------------------------

_FVG = "Jiang et al. 2025 (ICLR), Unlocking the Power of Function Vectors"
_HERE = "a control of this package; not in the papers"
_KL = {"a2": 0.08, "direction": "reverse"}

#: Every method by name.
METHODS: dict[str, Method] = {
    m.name: m
    for m in (
        Method(
            "plain",
            "plain fine-tuning",
            "minimises the language-model loss of the new task and nothing else.",
            "the baseline of all",
            _plain,
        ),
        Method(
            "guided",
            "vector-guided training (paper)",
            "adds the distance of the guide's head outputs to the stage's start model and KL(student || that model with"
            " the vector) at the last input token; a1=0 leaves only the KL.",
            f"{_FVG} (a1 = 1, a2 = 0.08)",
            _guided,
            {"a1": 1.0, **_KL, "distance": "l2", "vector": "own"},
            ("guide",),
        ),
        Method(
            "guided_released",
            "vector-guided training (released code)",
            "pulls towards the sequence's first model with the vector added after attention: a gated KL at the last"
            " input token, a gated KL over all real tokens, and a gated squared error of the guide's head outputs.",
            f"{_FVG}, released code src/tuning/trainer/base.py; sequence G1's weights (C1: kl_all=0.5; M1: kl_last=1)."
            " It also counts padding tokens, which is left out here",
            _released,
            {
                "kl_last": 20.0,
                "kl_all": 0.1,
                "heads": 1.0,
                "temperature": 2.0,
                "gate_kl": 0.1,
                "gate_heads": 0.01,
                "at": "attn_out",
            },
            ("guide",),
        ),
        Method(
            "progressive",
            "progressive vector intervention",
            "trains with the vector added to the stream, its strength falling linearly from 1 to 0 over the first half"
            " of the steps.",
            "Jiang et al. 2024, Interpretable Catastrophic Forgetting via Instruction Vector; the schedule's shape and"
            " length are ours",
            _progressive,
            {"until": 0.5},
            ("guide",),
        ),
        Method(
            "progressive_kl",
            "progressive vector intervention with KL",
            "trains with the fading vector too, and adds KL(student as it is trained || the stage's start model with"
            " the vector) at the last input token.",
            "Jiang et al. 2024; weight and direction from their 2025 paper",
            _progressive,
            {"until": 0.5, **_KL},
            ("guide",),
        ),
        Method(
            "kl_start",
            "KL to the stage's start, no vector",
            "adds KL(student || the stage's start model) at the last input token: the guided loss without any vector"
            " (a1=1 adds the guide's head term).",
            _HERE,
            _guided,
            {"a1": 0.0, **_KL, "distance": "l2", "vector": "none"},
        ),
        Method(
            "kl_random",
            "KL to the stage's start with a random vector",
            "adds KL(student || the stage's start model with a random vector of the guide's norm) at the last input"
            " token (a1=1 adds the head term).",
            f"{_HERE} (an option of the released code, never reported)",
            _guided,
            {"a1": 0.0, **_KL, "distance": "l2", "vector": "random", "vector_seed": 0},
            ("guide",),
        ),
        Method(
            "heads_only",
            "head outputs only",
            "adds only the distance of the guide's head outputs to the stage's start model.",
            _HERE,
            _guided,
            {"a1": 1.0, "distance": "l2", "vector": "none"},
            ("guide",),
        ),
        Method(
            "l2sp",
            "L2-SP",
            "adds alpha / 2 times the squared distance of the trained weights from the stage's start.",
            "Li, Grandvalet & Davoine 2018, Explicit Inductive Bias for Transfer Learning; alpha is ours",
            _l2sp,
            {"alpha": 0.1},
        ),
        Method(
            "ewc",
            "elastic weight consolidation",
            "adds strength / 2 times the squared distance from the stage's start, each weight's share scaled by its"
            " Fisher information on old rows.",
            f"Kirkpatrick et al. 2017; factor 4000 from {_FVG}; Fisher anew at each stage, by default with labels drawn"
            " from the model (true, not empirical)",
            _ewc,
            {"strength": 4000.0, "fisher": "true", "examples": 200},
            ("old_rows",),
        ),
        Method(
            "freeze_bottom",
            "bottom layers frozen",
            "trains only the upper blocks and what follows them; embeddings, and an output layer tied to them, stay.",
            "a common baseline; the share is ours",
            _freeze_bottom,
            {"share": 0.5},
        ),
        Method(
            "attention_only",
            "attention only",
            "trains only the attention's projections.",
            "a common baseline",
            _attention_only,
        ),
        Method(
            "averaging",
            "model averaging",
            "after each stage moves the trained weights by the ratio towards those of the sequence's first model"
            " (to='stage': of the stage's start).",
            f"{_FVG}, table 8 (ratio 0.2)",
            _averaging,
            {"ratio": 0.2, "to": "first"},
        ),
        Method(
            "replay",
            "replay",
            "mixes old rows into the new ones, 2 % of all by default (earlier=True: rows of earlier stages too).",
            "a ceiling: the others see no old data",
            _replay,
            {"share": 0.02, "earlier": False},
            ("old_rows",),
        ),
    )
}
