"""Unlearning: sets, arms, paths and what is read of them."""

from __future__ import annotations

import copy
import functools
import tempfile
import warnings

from lens import unlearning
from lens.training import LoRA, Recipe
from tests.unlearning.helpers import items, questions

from . import Subject
from .common import model

MODULES = ("lens.unlearning",)
#: what only functions make
RESULTS = ("Answers",)

RECIPE = Recipe(steps=1, batch=2, learning_rate=1e-4, seed=0)
ROWS = [{"prompt": "a b", "answer": "c", "unit": "x"}]


def other():
    return copy.deepcopy(model())


def experiment(**more):
    return (
        dict(
            model=model(),
            forget=items(4, 1),
            retain=items(4, 2),
            arms=["gradient_ascent"],
            recipe=RECIPE,
            looks=[0, 1],
            progress=False,
        )
        | more
    )


@functools.cache
def result():
    """With an arm that answers some questions right and some not, whatever the model."""
    found = unlearning.unlearn(
        **experiment(),
        questions=questions(6),
        never_knew=other(),
        clean=other(),
        twin=other(),
        heldout=items(3, 4),
        holdout=items(3, 5),
    )
    found.outcome[:, 0, :3] = 0
    found.outcome[:, 0, 3:] = 3
    return found


def subjects():
    warnings.simplefilter("ignore")
    sets, asked = items(3), questions(2)
    yield Subject("Items", unlearning.Items, lambda: dict(prompts=[[1, 2], [3]], answers=[[4], [5]]))
    yield Subject("Items.place", sets.place, lambda: dict(i=0))
    yield Subject("Items.unit_labels", sets.unit_labels, dict)
    yield Subject("Items.rows", sets.rows, dict)
    yield Subject("Items.pairs", sets.pairs, dict)
    yield Subject("Items.take", sets.take, lambda: dict(index=[0, 1]))
    yield Subject("Items.sample", sets.sample, lambda: dict(most=2))
    yield Subject("read", unlearning.read, lambda: dict(source=ROWS, model=model()), leave=("model",))
    yield Subject("overlap", unlearning.overlap, lambda: dict(forget=items(3), retain=items(3, 1)))
    yield Subject("Method", unlearning.Method, _method)
    yield Subject("method", unlearning.method, lambda: dict(name="npo"))
    yield Subject("Arm", unlearning.Arm, lambda: dict(name="arm", method=unlearning.METHODS["npo"], lora=LoRA(rank=2)))
    yield Subject("Arm.of", unlearning.Arm.of, lambda: dict(method="npo", name="mine", recipe=RECIPE))
    yield Subject("Arm.of_edits", unlearning.Arm.of_edits, lambda: dict(name="mine", edits={0.5: []}))
    yield Subject("Questions", unlearning.Questions, lambda: dict(prompts=[[1]], right=[2], planted=[3]))
    yield Subject("Questions.unit_labels", asked.unit_labels, dict)
    yield Subject("Questions.is_attacked", asked.is_attacked, dict)
    yield Subject("Questions.rows", asked.rows, dict)
    yield Subject("answers", unlearning.answers, lambda: dict(model=model(), questions=questions(2)))
    yield Subject("relearn", unlearning.relearn, lambda: dict(items=items(2), recipe=RECIPE))
    yield Subject("quantise", unlearning.quantise, lambda: dict(bits=8))
    yield Subject("unlearn", unlearning.unlearn, experiment)
    yield Subject("summary", unlearning.summary, lambda: dict(result=result()))
    yield Subject("stopping", unlearning.stopping, lambda: dict(result=result()))
    yield Subject("predictors", unlearning.predictors, lambda: dict(result=result(), arm="gradient_ascent", look=0))
    yield Subject("measures", unlearning.measures, lambda: dict(result=result()))
    yield Subject("report", unlearning.report, lambda: dict(result=result(), folder=tempfile.mkdtemp()))


def _method():
    npo = unlearning.METHODS["npo"]
    return dict(name="m", title="t", does="d", source="s", prepare=npo.prepare, options={"beta": 1.0})
