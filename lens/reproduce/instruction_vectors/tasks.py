"""What the forgetting experiment is run on: old tasks and how they are asked for, new tasks in their order, facts; one
course a seed.

Two kinds: the organisms `symbols`, each seed with a start model and stored tables of its own, all weights trained; and
    a language model that is given adapters.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from ... import vectors
from ...data.facts import RELATIONS
from ...forgetting import Probe, Stage, starting_from
from ...notices import warn
from ...organisms.symbols.suite import OLD, Suite
from ...prompts import continuation, start_token
from ...tokens import tokenize, tokenizer_of
from ...training import LoRA, Rows
from ...vectors import Task, TaskPrompt, VectorError

#: kinds of questions
INSTRUCTION: Final = "instruction"
IN_CONTEXT: Final = "in_context"
KNOWLEDGE: Final = "knowledge"
NEW: Final = "new"
SYMBOLS = "organism:symbols"
#: by old task, the knowledge probe of the same pairs: what the task looks up, asked for as a fact
PARTNERS: Mapping[str, str] = {
    **{a.name: f"facts R{a.table}" for a in OLD if a.table},
    "country_capital": "facts capitals",
}
#: name -> (method of lens.forgetting, its options): the package's methods, the loss taken apart, and a weight of the KL
#: that a small model feels
VARIANTS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "plain": ("plain", {}),
    "guided": ("guided", {}),
    "kl_vector": ("guided", {"a1": 0.0}),
    **{n: (n, {}) for n in ("kl_start", "kl_random", "heads_only")},
    "kl_vector_strong": ("guided", {"a1": 0.0, "a2": 1.0}),
    "kl_start_strong": ("kl_start", {"a2": 1.0}),
    "kl_random_strong": ("kl_random", {"a2": 1.0}),
    **{n: (n, {}) for n in ("progressive", "progressive_kl", "guided_released", "averaging", "replay", "ewc")},
    **{n: (n, {}) for n in ("l2sp", "freeze_bottom", "attention_only")},
}
#: "the stage's start" is the model that a stage begins with (M_{j-1} of the second paper); only the released code pulls
#: towards the sequence's first model
TITLES = {
    "plain": "plain",
    "guided": "guided (paper's loss)",
    "guided_released": "guided (released code)",
    "progressive": "progressive vector",
    "progressive_kl": "progressive vector + KL",
    "kl_start": "KL to the stage's start, no vector",
    "kl_random": "KL to the stage's start + random vector",
    "heads_only": "head outputs only",
    "l2sp": "L2-SP",
    "ewc": "EWC",
    "freeze_bottom": "bottom half frozen",
    "attention_only": "attention only",
    "averaging": "model averaging .2",
    "replay": "replay 2 %",
    "kl_vector": "KL to the stage's start + vector",
    "kl_vector_strong": "KL to the stage's start + vector, weight 1",
    "kl_start_strong": "KL to the stage's start, no vector, weight 1",
    "kl_random_strong": "KL to the stage's start + random vector, weight 1",
}


@dataclass(frozen=True)
class Preset:
    """How much of everything.

    `methods` are names of `VARIANTS`; `evaluate_at` steps within a stage; items are questions a task; `vector_prompts`
    those that a vector is read from at every evaluation, in the methods `watched`; `effects` the methods after which
    all heads' effects are measured anew, `recover` those after which vectors are put back; `once` those that only the
    first seed is trained by. `rank` 0 trains all weights. `every` thins the layers.
    """

    methods: tuple[str, ...]
    steps: int
    batch: int
    learning_rate: float
    seeds: int = 1
    evaluate_at: tuple[int, ...] = ()
    rank: int = 0
    old: tuple[str, ...] | None = None
    new: tuple[str, ...] | None = None
    instruction_items: int = 48
    icl_items: int = 8
    icl_shots: int = 5
    fact_items: int = 48
    new_items: int = 48
    training_rows: int = 300
    shots: int = 10
    vector_prompts: int = 8
    mean_prompts: int = 20
    trials: int = 8
    heads: int = 10
    every: int = 1
    strengths: tuple[float, ...] = (0.5, 1.0, 2.0)
    watched: tuple[str, ...] = ("plain", "guided", "kl_start")
    effects: tuple[str, ...] = ("plain", "guided")
    recover: tuple[str, ...] = ("plain", "guided")
    once: tuple[str, ...] = ()

    def of_seed(self, number: int) -> tuple[str, ...]:
        """The methods of a run's seed, counted from 0."""
        return tuple(m for m in self.methods if number == 0 or m not in self.once)


@dataclass(frozen=True, eq=False)
class Reader:
    """A start model with its tokenizer, from which prompts are built and vectors read, and the form that it is asked
    in: `told` is the kind of prompt that tells a task in words, "instruction" or "text" (a sentence).
    """

    reader: Any
    template: str
    seed: int
    told: str

    def prompts(self, task: Task, kind: str, **more: Any) -> list[TaskPrompt]:
        """Prompts of a task in this form."""
        return vectors.build(self.reader, task, kind, **({"template": self.template, "seed": self.seed} | more))


@dataclass(frozen=True, eq=False)
class Course(Reader):
    """One seed: start model, tasks, stages and probes. `old_rows` are what EWC and replay draw on; `seen` names the
    probes whose own questions are among them, since there are no others.
    """

    make_model: Callable[[], Any]
    old: tuple[Task, ...]
    new: tuple[Task, ...]
    probes: tuple[Probe, ...]
    stages: tuple[Stage, ...]
    old_rows: Rows
    seen: tuple[str, ...] = ()
    lora: LoRA | None = None


def is_symbols(model: Any) -> bool:
    """Whether a model speaks the language of the suite `symbols`."""
    known = tokenizer_of(model).get_vocab()
    return all(w in known for w in ("TABLE", "PICK", "R1"))


def course_of(model: Any, plan: Preset, seed: int) -> Course:
    """The course of a seed, by what the model speaks.

    Raises: VectorError, LoadError: no such model, tasks that it cannot read.
    """
    return symbols_course(model, plan, seed) if is_symbols(model) else language_course(model, plan, seed)


def _start(model: Any, name: str | None = None) -> tuple[Callable[[], Any], Any]:
    """How to make the start model anew, and one of them with its tokenizer. A model of lens.load is read anew from its
    files, a plain one copied.
    """
    if hasattr(model, "original_model"):
        name = name or model.cfg.model_name
        read: Callable[[], Any] = starting_from(name)

        def make() -> Any:
            start = read()
            start.config._name_or_path = name  # records name the model as it was asked for, not this machine's folder
            return start

    else:
        plain = copy.deepcopy(model)

        def make() -> Any:
            return copy.deepcopy(plain)

    reader = make()
    reader.tokenizer = tokenizer_of(model)
    return make, reader


def symbols_course(model: Any, plan: Preset, seed: int) -> Course:
    """Organism `symbols`: every seed has a start model of its own. New bijections can only be learnt by heart, so that
    they are asked for with the inputs of the training.
    """
    name = None
    if hasattr(model, "original_model"):
        name = SYMBOLS if seed == 0 else f"{SYMBOLS}-{seed}"
    make, reader = _start(model, name)
    suite = Suite(seed, len(tokenizer_of(model)) - len(Suite(seed, 1).vocabulary) + 1)
    form = Reader(reader, "symbols", seed, INSTRUCTION)

    def task(n: str, count: int) -> Task:
        about = {"name": n, "instruction": suite.instruction(n), "seed": seed, "shares": (0.5, 0.2, 0.3)}
        return Task.from_pairs(suite.pairs(n, count), **about)

    # old tasks are those that demonstrations tell too: the others have no vector of demonstrations
    old = tuple(task(n, 100) for n in plan.old or [a.name for a in OLD if a.shown])
    new = tuple(task(n, plan.training_rows + plan.new_items) for n in plan.new or suite.new_tasks())
    facts: dict[str, list] = {}
    for question, y in suite.facts():
        ids = [suite.index[w] for w in ("<start>", *question.split())]
        facts.setdefault(f"facts {question.split()[0]}", []).append((ids, (suite.index[y],)))
    knowledge = [Probe(n, KNOWLEDGE, _some(p, plan.fact_items, seed)) for n, p in facts.items()]
    probes = (*_asked(form, old, plan), *knowledge)
    stages = []
    for t in new:
        every = form.prompts(t, INSTRUCTION, split="all")
        asked = every[: plan.new_items]
        stages.append(
            Stage.of(t.name, every if suite.ability(t.name).pick == "only" else every[plan.new_items :], asked)
        )
    questions = {
        t.name: [(p.ids.tolist(), p.answer_ids) for p in form.prompts(t, INSTRUCTION, split="all")] for t in old
    } | facts
    old_rows, seen = _unasked(probes, questions)
    return Course(
        **vars(form),
        make_model=make,
        old=old,
        new=new,
        probes=probes,
        stages=tuple(stages),
        old_rows=old_rows,
        seen=seen,
        lora=_lora(plan),
    )


def _unasked(probes: Sequence[Probe], every: Mapping[str, Sequence[Any]]) -> tuple[Rows, tuple[str, ...]]:
    """By name of probe all of its questions: those that are not asked as rows to train on, and the names of probes that
    ask all there are, whose rows are then the questions.
    """
    rows: list[Any] = []
    seen = []
    for probe in probes:
        asked = {tuple(ids) for ids, _ in probe.prompts}
        free = [pair for pair in every.get(probe.name, ()) if tuple(pair[0]) not in asked]
        if probe.name in every and not free:
            seen.append(probe.name)
        rows += free or (probe.prompts if probe.name in every else ())
    return Rows.of(rows), tuple(seen)


#: of the language course: old tasks are asked for by instruction or demonstrations, new ones are trained on as plain
#: questions and answers
OLD_TASKS = ("present_past", "singular_plural", "capitalize", "country_capital")
NEW_TASKS = ("next_item", "choose_last_of_3", "word_length")
_FACTS = {
    "capitals": ("country-capital", "The capital of {s} is"),
    "languages": ("country-language", "The official language of {s} is"),
}


def language_course(model: Any, plan: Preset, seed: int) -> Course:
    """A language model with the package's own tasks; facts as sentences to be continued. Seeds draw questions, splits,
    adapters and the order of rows.

    Old tasks are told by natural sentences ("Here is one leaf, and over there are two"): SmolLM2-135M answers hardly
    any question behind an instruction in words, so that there would be nothing to lose.
    """
    make, reader = _start(model)
    form = Reader(reader, "qa", seed, "text")

    def load(name: str) -> Task:
        task = vectors.load_task(name, seed=seed)  # the first sentence is how the fact is asked for
        return replace(task, texts=task.texts[1:]) if name in PARTNERS else task

    old, new = tuple(map(load, plan.old or OLD_TASKS)), tuple(map(load, plan.new or NEW_TASKS))
    knowledge = [
        Probe(f"facts {n}", KNOWLEDGE, _some(_sentences(reader, relation, text), plan.fact_items, seed))
        for n, (relation, text) in _FACTS.items()
    ]
    stages = [
        Stage.of(
            t.name,
            form.prompts(t, "zero_shot", split="train", n=min(plan.training_rows, len(t.train))),
            form.prompts(t, "zero_shot", split="test", n=min(plan.new_items, len(t.test))),
        )
        for t in new
    ]
    rows = [(p.ids.tolist(), p.answer_ids) for t in old for p in form.prompts(t, form.told, split="train", n=40)]
    probes = (*_asked(form, old, plan), *knowledge)
    return Course(
        **vars(form),
        make_model=make,
        old=old,
        new=new,
        probes=probes,
        stages=tuple(stages),
        old_rows=Rows.of(rows),
        lora=_lora(plan),
    )


def _lora(plan: Preset) -> LoRA | None:
    return LoRA(rank=plan.rank) if plan.rank else None


def _asked(form: Reader, old: Sequence[Task], plan: Preset) -> list[Probe]:
    """Every old task told by its instruction, and shown by demonstrations."""
    split = "all" if form.template == "symbols" else "test"
    how = {"split": "test", "n": plan.icl_items, "shots": plan.icl_shots}

    def n(t: Task) -> int:
        return min(plan.instruction_items, len(t.numbers(split)) * (len(t.texts) if form.told == "text" else 1))

    by_text = [Probe(t.name, INSTRUCTION, form.prompts(t, form.told, split=split, n=n(t))) for t in old]
    return by_text + [Probe(f"{t.name}, shown", IN_CONTEXT, form.prompts(t, "icl", **how)) for t in old]


def _some(prompts: Sequence[Any], n: int, seed: int) -> list[Any]:
    return [prompts[i] for i in sorted(np.random.default_rng(seed).permutation(len(prompts))[:n])]


def _sentences(model: Any, relation: str, text: str) -> list[tuple[list[int], tuple[int, ...]]]:
    """Facts of the package as prompts with answers; those that the tokenizer cannot cut between are left out with a
    warning.
    """
    tokenizer, first = tokenizer_of(model), start_token(model, "auto")
    facts, left, lead = [], [], [] if first is None else [first]
    for fact in RELATIONS[relation][1].split(";"):
        s, y = (part.strip() for part in fact.split(":"))
        prompt = text.replace("{s}", s)
        ids = tokenize(tokenizer, prompt)
        try:
            facts.append(([*lead, *ids], tuple(continuation(tokenizer, prompt, ids, f" {y}", "answer", "prompt"))))
        except ValueError:
            left.append(s)
    if left:
        warn(
            f"facts {relation!r}: {len(left)} of {len(left) + len(facts)} are left out, since their answers merge with"
            " the prompt in this vocabulary."
        )
    if not facts:
        raise VectorError(
            f"facts {relation!r}: this model's vocabulary reads none of them; give a model of the organisms `symbols`,"
            " or one that speaks English."
        )
    return facts
