"""The training loop."""

from __future__ import annotations

import contextlib
import copy
import functools

import torch

from lens import training

from . import Subject
from .common import ids
from .common import model as shared

MODULES = ("lens.training",)
#: How a run went, which only a run makes; and names for the functions that it takes.
RESULTS = ("Trained", "Term", "Sampler", "Answers")
NORM = "model.norm.weight"
HEADS = ((0, 1), (1, 0))


def rows():
    return training.Rows.of([([1, 2, 3], [4]), ([5, 6], [7, 8]), ([9], [10])])


def recipe():
    return training.Recipe(2, 2, 1e-6)


def model():
    # the rate is so small that it stays what it is for the calls after it
    return shared(11)


@functools.cache
def teacher() -> training.Teacher:
    return training.Teacher.of(shared(), rows(), heads=HEADS, everywhere=True)


def fresh():
    return copy.deepcopy(shared())


def adapted():
    return training.LoRA(rank=2).put_on(fresh(), 0)


def subjects():
    lora = training.LoRA(rank=2)
    fields = ("ids", "targets", "lengths")
    yield Subject("Rows", training.Rows, lambda: {name: getattr(rows(), name) for name in fields})
    yield Subject("Rows.of", training.Rows.of, lambda: dict(sequences=[([1, 2], [3]), ([4], [5])]))
    yield Subject("Rows.full", training.Rows.full, lambda: dict(ids=torch.tensor([[1, 2, 3], [4, 5, 6]])))
    yield Subject("Rows.take", rows().take, lambda: dict(index=[0, 2]))
    yield Subject("Rows.sha256", rows().sha256, dict)
    yield Subject("Recipe", training.Recipe, lambda: dict(steps=2, batch=2, learning_rate=0.1))
    yield Subject("Recipe.sha256", recipe().sha256, dict)
    yield Subject("Recipe.rate", recipe().rate, lambda: dict(step=1))
    yield Subject("Rows.joined", training.Rows.joined, lambda: dict(parts=[rows(), rows().take([0])]))
    yield Subject("Rows.last_input", rows().last_input, dict)
    yield Subject("order_of", training.order_of, lambda: dict(recipe=recipe(), count=3))
    yield Subject("Repetition", training.Repetition, lambda: dict(budget=8, repeats=2, order="last"))
    yield Subject("Repetition.alone", training.Repetition(8, 2).alone, dict)
    yield Subject("Repetition.numbers", training.Repetition(8, 2).numbers, dict)
    yield Subject(
        "Repetition.sampler",
        training.Repetition(2, 1, 0.5).sampler,
        lambda: dict(pool=rows(), batch=1, held=rows().take([2])),
    )
    yield Subject(
        "repetition_grid",
        training.repetition_grid,
        lambda: dict(budget=8, repeats=[1, 2], sizes=[16, 32], seeds=[0], order="mixed"),
    )
    yield Subject(
        "Batch",
        training.Batch,
        lambda: dict(
            index=torch.arange(2), ids=ids(2), targets=ids(2) > 0, lengths=torch.full((2,), 8), step=0, steps=1
        ),
    )
    yield Subject(
        "train",
        training.train,
        lambda: dict(
            model=model(),
            rows=rows(),
            recipe=recipe(),
            terms={"none": lambda model, batch, outputs: None},
            parameters=[NORM],
            around=lambda batch: contextlib.nullcontext(),
            after_step=lambda batch: None,
            evaluate=lambda step: {"loss": 1.0},
            evaluate_at=[0, 2],
            progress=False,
        ),
    )
    yield Subject(
        "train of an objective",
        training.train,
        lambda: dict(
            model=model(),
            rows=lambda step, generator: rows().take([0, 1]),
            recipe=recipe(),
            parameters=lambda name: name == NORM,
            objective=lambda model, batch: model(input_ids=batch.ids).logits.square().mean(),
            progress=False,
        ),
    )
    yield Subject(
        "reinforce",
        training.reinforce,
        lambda: dict(
            model=model(),
            prompts=[[1, 2], [3, 4, 5]],
            reward=lambda answers: answers.index.float(),
            recipe=recipe(),
            stop=6,
            longest=3,
            samples=2,
            temperature=0.9,
            kl=0.1,
            base=shared(),
            replay=rows(),
            replay_rows=2,
            parameters=[NORM],
            evaluate=lambda step: {"loss": 1.0},
            evaluate_at=[0, 2],
            progress=False,
        ),
    )
    yield Subject("sample", training.sample, lambda: dict(model=shared(), prompts=ids(2), stop=6, longest=3))
    yield Subject("Replay", training.Replay, lambda: dict(rows=rows(), count=2, seed=1))
    teacher_of_two = dict(
        last=torch.tensor([1, 1]),
        lengths=torch.tensor([3, 3]),
        states=torch.ones(2, 4),
        output=None,
        z=None,
        everywhere=False,
        seconds=0.0,
        slot=torch.arange(2),
    )
    yield Subject("LoRA", training.LoRA, lambda: dict(rank=2, alpha=4.0, targets=("q_proj",)))
    yield Subject("LoRA.touched", lora.touched, lambda: dict(model=shared()))
    yield Subject("LoRA.put_on", lora.put_on, lambda: dict(model=fresh(), seed=0))
    yield Subject("LoRA.merged", lora.merged, lambda: dict(wrapped=adapted()))
    yield Subject("Teacher", training.Teacher, lambda: dict(teacher_of_two))
    yield Subject(
        "Teacher.of",
        training.Teacher.of,
        lambda: dict(model=shared(), rows=rows(), around=lambda last: contextlib.nullcontext(), heads=HEADS),
    )
    yield Subject("Teacher.log_probs", teacher().log_probs, lambda: dict(index=torch.tensor([0, 1])))
    yield Subject("Teacher.last_log_probs", teacher().last_log_probs, lambda: dict(index=torch.tensor([0, 1])))
    yield Subject("Teacher.heads", teacher().heads, lambda: dict(index=torch.tensor([0, 1])))
