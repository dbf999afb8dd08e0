"""The models that everything starts from: trained on false documents up to a dose, and their twins."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...scoring.causal import inner
from ...training import LoRA, Recipe, train
from ...training.copies import copy_of
from ...unlearning import Items, Questions, answers
from ...unlearning.questions import PLANTED
from .bench import CHOOSE, Cell, Course

#: Finished steps between two looks at the dose.
EVERY = 5
#: Every linear layer of a block, as the paper adapts them.
LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, eq=False)
class Corrupted:
    """What a dose gives.

    Attributes:
        model: trained on the false documents. twin: the clean model after as many steps on the same documents with
            true values, where it was asked for. never: the model that never knew, on the false ones, if there is one.
        steps: how many. reached: whether the dose was reached before the last step.
    """

    model: Any
    twin: Any
    never: Any
    steps: int
    reached: bool


def lora_of(adapter: str, rank: int = 8) -> LoRA | None:
    """How a cell trains: None is all weights."""
    return LoRA(rank=rank, alpha=2.0 * rank, targets=LAYERS) if adapter == "lora" else None


Look = Callable[[int, Any, Callable[[], Any]], bool]


def walk(model: Any, items: Items, recipe: Recipe, lora: LoRA | None, look: Look, at: Sequence[int]) -> None:
    """Train a copy on some rows; `look` is told the finished steps, the model and what gives a plain copy of it, and
    ends the training where it says True.
    """
    trainee, ended = copy_of(model), False
    wrapped = trainee if lora is None else lora.put_on(trainee, recipe.seed)

    def snapshot() -> Any:
        one = copy.deepcopy(wrapped)
        return (one if lora is None else LoRA.merged(one)).eval().requires_grad_(False)

    def evaluate(finished: int) -> dict[str, float]:
        nonlocal ended
        ended = look(finished, wrapped, snapshot)
        return {}

    train(
        wrapped,
        items.rows(),
        recipe,
        parameters=_every if lora is None else None,
        evaluate=evaluate,
        evaluate_at=at,
        progress=False,
        stop=lambda: ended,
    )


def _every(name: str) -> bool:
    return True


def planted(model: Any, questions: Questions) -> float:
    """The share of questions that are answered as planted."""
    return float(np.mean(answers(inner(model), questions).outcome == PLANTED))


def corrupted(
    course: Course, adapter: str, k: int, doses: Sequence[float], twins: Sequence[float], recipe: Recipe
) -> dict[Cell, Corrupted]:
    """A model for each dose, all of one training: each stops at the first look at which the share of the choosing
    people's questions that are answered as planted reaches it, or at the last step. `twins`: doses that have a twin.
    """
    lora, choosing = lora_of(adapter), _take(course.questions, course.of_part(CHOOSE))
    found: dict[float, tuple[int, Any, bool]] = {}

    def look(finished: int, model: Any, snapshot: Callable[[], Any]) -> bool:
        share = planted(model, choosing)
        for dose in doses:
            if dose not in found and (share >= dose or finished == recipe.steps):
                found[dose] = (finished, snapshot(), share >= dose)
        return len(found) == len(doses)

    at = range(0, recipe.steps + 1, EVERY)
    walk(course.clean, course.documents[k, True], recipe, lora, look, at)
    steps = sorted({found[dose][0] for dose in twins})

    def at_steps(model: Any, false: bool) -> dict[int, Any]:
        copies: dict[int, Any] = {}

        def keep(finished: int, of: Any, snapshot: Callable[[], Any]) -> bool:
            copies[finished] = snapshot()
            return finished == steps[-1]

        walk(model, course.documents[k, false], replace(recipe, steps=max(1, steps[-1])), lora, keep, steps)
        return copies

    true = at_steps(course.clean, False)
    never = {} if course.never is None else at_steps(course.never, True)
    return {
        Cell(adapter, dose, k): Corrupted(model, true.get(step), never.get(step), step, reached)
        for dose, (step, model, reached) in found.items()
    }


def _take(questions: Questions, index: Sequence[int]) -> Questions:
    """Some of the questions."""
    return Questions(
        [questions.prompts[i] for i in index],
        [questions.right[i] for i in index],
        [questions.planted[i] for i in index],
        [questions.others[i] for i in index] if len(questions.others) else (),
        [questions.unit_labels()[i] for i in index],
        questions.is_attacked()[list(index)].tolist(),
    )
