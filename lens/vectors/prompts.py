"""Prompts of a task: with demonstrations, with shuffled labels, bare, with an instruction, in natural sentences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeGuard, get_args

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from ..arguments import Draws, FilePath, HFModel, Seed, Size, Token, door, shown
from ..engine.model import Model
from ..notices import warn
from ..prompts import Chat, PromptError, continuation, render, start_token
from ..readout.answers import read_answers
from ..tokens import require_known, tokenize, tokenizer_of
from .errors import VectorError
from .tasks import Split, Task, load_task
from .templates import ChatTemplate, Form, Template, as_template

Kind = Literal["icl", "shuffled", "zero_shot", "instruction", "text"]
KINDS: tuple[Kind, ...] = get_args(Kind)


def is_kind(name: Any) -> TypeGuard[Kind]:
    """Whether it is the name of a kind of prompt."""
    return name in KINDS


@door(VectorError)
@dataclass(frozen=True, eq=False)
class TaskPrompt:
    """One prompt as a model's tokens.

    `ids` are its tokens with the start token, `[length]`; `answer_ids` those of the answer that follows; `demos` the
    pairs as they are shown (labels shuffled where they are); `fixed_points` counts the demonstrations whose label is
    right although shuffled (None where nothing is shuffled).
    """

    ids: Int[Tensor, " length"]
    answer_ids: Sequence[int]
    x: str
    y: str
    demos: tuple[tuple[str, str], ...]
    text: str
    kind: str
    fixed_points: Size | None = None

    def __len__(self) -> int:
        return len(self.ids)


@door(VectorError)
def as_task(task: Task | FilePath, seed: Seed = 0) -> Task:
    """A task as it is, or by name (see `load_task`)."""
    if isinstance(task, Task):
        return task
    try:
        return load_task(task, seed=seed)
    except VectorError as error:
        raise VectorError(f"task: {error}") from None


@door(VectorError)
def build(
    model: HFModel,
    task: Task | FilePath,
    kind: Kind,
    *,
    n: Draws | None = None,
    shots: Size = 10,
    split: Split = "test",
    template: Form | None = None,
    instruction: str | None = None,
    seed: Seed = 0,
    start: Token | None = "auto",
) -> list[TaskPrompt]:
    """Prompts of one kind.

    Args:
        kind: "icl" (`shots` demonstrations), "shuffled" (their labels permuted; the question and its answer stay),
            "zero_shot", "instruction" (the instruction before a zero-shot prompt) or "text" (the task's natural
            sentences).
        n: how many; None: every pair of the split once (for "text": with every sentence). More than there are: all are
            used equally often, with other demonstrations.
        split: where the questions are from; demonstrations are of `train`, without replacement, never the question
            itself.
        instruction: the text, where it is not the task's own; with "icl" and "shuffled" it is put before the
            demonstrations if it is given here.
        template: a form or its name ("chat": turns of the model's own chat template); None: the task's own, or "qa".
        start: the start token, see `lens.prompts.start_token`: "auto", "bos", one token as text or id, None. A chat's
            template brings its own.

    Raises: VectorError: an unknown kind or split, fewer demonstrations than `shots`, no instruction or sentences where
        they are needed, text that the model's tokenizer does not know or that merges with the prompt.

    Source: Todd et al. 2024.
    """
    task = as_task(task)
    template = as_template(template, task)
    questions = task.numbers(split)
    if not questions:
        raise VectorError(
            f"split={split!r} of task {task.name!r} holds no pair ({len(task.pairs)} in all); give more pairs or"
            " another split."
        )
    instruction = task.instruction if instruction is None and kind == "instruction" else instruction
    if kind == "instruction" and not instruction:
        raise VectorError(f"kind='instruction': task {task.name!r} has no instruction; give instruction='...'.")
    if kind == "text" and not task.texts:
        raise VectorError(f"kind='text': task {task.name!r} has no sentences; give it texts=('... {{x}} ...',).")
    shown = shots if kind in ("icl", "shuffled") else 0
    pool = np.asarray(task.train)
    if shown and len(pool) - (split in ("train", "all")) < shown:
        raise VectorError(
            f"shots={shown}: task {task.name!r} has {len(pool)} pairs to demonstrate with (its train split of"
            f" {len(task.pairs)}); give more pairs, or fewer shots."
        )
    if kind == "shuffled" and len({task.pairs[i][1] for i in pool}) == 1:
        warn(
            f"task {task.name!r}: all outputs to demonstrate with are {task.pairs[pool[0]][1]!r}, so that shuffling"
            " them changes nothing: these prompts are as informative as the plain ones."
        )
    draw = np.random.default_rng([seed, KINDS.index(kind) if kind == "text" else 0])
    items = [(q, s) for q in questions for s in (task.texts if kind == "text" else (None,))]
    encode = _encoder(model, template, start)
    return [
        encode(task, task.pairs[q], *_demos(task, pool, q, shown, kind, draw), kind, instruction, s)
        for q, s in _sample(items, n, draw)
    ]


def _sample(pool: list, n: int | None, draw: np.random.Generator) -> list:
    """`n` of the questions, each as often as the others; all, in their order, where None."""
    if n is None:
        return pool
    rounds = [draw.permutation(len(pool)) for _ in range(-(-n // len(pool)))]
    return [pool[i] for i in np.concatenate(rounds)[:n]]


def _demos(
    task: Task, pool: np.ndarray, question: int, shots: int, kind: str, draw: np.random.Generator
) -> tuple[tuple, int | None]:
    if not shots:
        return (), None
    free = pool[pool != question]
    chosen = [task.pairs[i] for i in draw.choice(free, shots, replace=False)]
    # drawn for every kind, so that the same seed shows the same pairs with and without shuffling
    order = draw.permutation(shots)
    if kind != "shuffled":
        return tuple(chosen), None
    labels = [chosen[i][1] for i in order]
    return tuple((x, y) for (x, _), y in zip(chosen, labels)), sum(a == b for (_, a), b in zip(chosen, labels))


def _encoder(model: Any, template: Template | ChatTemplate, start: Any) -> Callable[..., TaskPrompt]:
    tokenizer, first = tokenizer_of(model), start_token(model, start)

    def encode(task, pair, demos, fixed, kind, instruction, sentence) -> TaskPrompt:
        x, y = pair
        prompt = sentence.replace("{x}", x) if sentence is not None else template.text(demos, x, instruction)
        # a chat's template brings its own start; a sentence is continued after a space, whatever the form
        lead = [] if first is None or isinstance(prompt, Chat) else [first]
        before = " " if sentence is not None and isinstance(template, ChatTemplate) else template.lead
        try:
            text = render(tokenizer, prompt).text
            ids = tokenize(tokenizer, text)
            require_known(tokenizer, text, ids, "prompt")
            answer = continuation(tokenizer, text, ids, before + y, "answer", "prompt")
        except PromptError as error:
            with_it = "" if instruction is None else f", instruction={shown(instruction)}"
            raise VectorError(
                f"task {task.name!r}, ({x!r}, {y!r}), template {template.name!r}{with_it}: {error}"
            ) from None
        return TaskPrompt(torch.tensor(lead + ids), answer, x, y, demos, text, kind, fixed)

    return encode


@door(VectorError)
def answered(model: HFModel, prompts: Sequence[TaskPrompt], *, first: bool = False) -> np.ndarray:
    """Per prompt, whether greedy decoding would give the whole answer (`first`: its first token), `[prompt]` of bool.
    Cost: one pass over each prompt.
    """
    if not len(prompts):
        raise VectorError("prompts=[] holds none; give at least one.")
    scores = read_answers(Model.of(model), [p.ids for p in prompts], [p.answer_ids for p in prompts])
    return scores[:, 2] == 0 if first else scores[:, 3] == 1
