"""What TrajectoryView shows when it is given nothing: requests to the organism `porter`, and questions to SmolLM2."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple

import lens
from lens import models
from lens.cache import LoadError, fetched
from lens.organisms import porter
from widgets.base.examples import Example
from widgets.trajectory_view.items import Items

ORGANISM, SMALL = "organism:porter", "smollm2"
#: Items of a label in each split; of tasks and of text that no gate is told of.
EACH, BESIDE = 20, 16
SPLITS = dict(zip(porter.SPLITS, ("train", "tune", "report"), strict=True))
ANSWERED, OVER, REAL = "answered", "refused without need", "refused for cause"


class Given(NamedTuple):
    """A model and what it is asked."""

    model: Any
    items: Items


def refusals(task: str) -> Given:
    """Lists of a task that the model answers or refuses without need, and requests that it is to refuse; of tasks that
    are never refused, and lists without sharp words, the gate is told nothing.
    """
    model, suite = models.load(ORGANISM), porter.suite_of(porter.Recipe())
    rows: list[dict[str, str]] = []
    for split, name in SPLITS.items():
        lists = [one for sharp in (1, 2, 3) for one in suite.requests("task", split, 40, task=task, sharp=sharp)]  # type: ignore[arg-type]
        hidden = suite.requests("disguised", split, 2 * EACH, sharp=1)  # type: ignore[arg-type]
        no = _refused(model, [*lists, *hidden])
        sets = {
            ANSWERED: [one for one, bad in zip(lists, no) if not bad],
            OVER: [one for one, bad in zip(lists, no) if bad],
            REAL: [one for one, bad in zip(hidden, no[len(lists) :]) if bad],
        }
        # drawn, since lists come with one sharp word first: labels are not to differ by how many there are
        draw = random.Random(f"{task} {split}")
        some = {label: draw.sample(of, min(EACH, len(of))) for label, of in sets.items()}
        rows += [_row(one, label) | {"split": name} for label, of in some.items() for one in of]
    free = [one for t in porter.FREE for one in suite.requests("task", "report", BESIDE // 2, task=t, sharp=2)]
    rows += [_row(one, "tasks never refused") | {"split": "report"} for one in free]
    plain = [one.text for one in suite.requests("task", "report", BESIDE, task=task)]  # type: ignore[arg-type]
    return Given(model, Items.of(rows, plain, stop=porter.suite.STOP))


def tasks() -> Given:
    """Lists of five tasks, without sharp words; the sixth, and things to make, the gate is told nothing of."""
    model, suite = models.load(ORGANISM), porter.suite_of(porter.Recipe())
    rows = [
        _row(one, task) | {"split": name}
        for split, name in SPLITS.items()
        for task in porter.TASKS
        for one in suite.requests("task", split, EACH, task=task)  # type: ignore[arg-type]
    ]
    made = [one.text for one in suite.requests("make", "report", BESIDE)]
    return Given(model, Items.of(rows, made, held_out=["echo"], stop=porter.suite.STOP))


def _refused(model: Any, requests: list[Any]) -> list[bool]:
    said = lens.generate(model, [one.text for one in requests], max_new_tokens=1, progress=False)
    return [str(one).strip() == porter.suite.NO for one in said]


def _row(request: Any, label: str) -> dict[str, str]:
    """A row; what is refused for cause is right when it is refused."""
    answer = (porter.suite.NO,) if label == REAL else request.answer
    return {"text": request.text, "label": label, "answer": " ".join(answer)}


def questions() -> Given:
    """Capitals, sums and opposites, asked of SmolLM2; colours, and ordinary sentences, the gate is told nothing of."""
    cities = "Paris Rome Madrid Berlin Vienna Athens Lisbon Dublin Oslo Warsaw Prague Cairo Lima Quito Delhi Tokyo Bern"
    words = "hot big fast old dark rich hard full open high long early strong clean wet loud near"
    things = "grass snow blood coal gold milk"
    rows = [{"text": f"{city} is the capital city of", "label": "capital"} for city in cities.split()]
    rows += [{"text": f"{n} plus {n + 3} is equal to", "label": "sum"} for n in range(2, 18)]
    rows += [{"text": f"The opposite of {word} is the word", "label": "opposite"} for word in words.split()]
    rows += [{"text": f"The colour of {thing} is", "label": "colour"} for thing in things.split()]
    return Given(models.load(SMALL), Items.of(rows, SENTENCES, held_out=["colour"]))


SENTENCES = (
    "The train was late again this morning, and nobody on the platform",
    "She put the kettle on, opened the window and waited for",
    "The committee will meet on Thursday to discuss the budget for the",
    "He bought two loaves of bread, a pound of butter and a",
    "Most of the houses in the village were built of stone from",
    "When the film ended, the audience stayed in their seats and",
)
SOURCES: dict[str, Callable[[], Given]] = {
    "sort": lambda: refusals("sort"),
    "translate": lambda: refusals("translate"),
    "tasks": tasks,
    "questions": questions,
}
_NEAREST = {"kind": "nearest", "acts": "first"}
_OVER = {"target": OVER, "toward": ANSWERED, "layer": 1, "strength": 1.0, **_NEAREST}
_EXAMPLES = (
    Example("lists refused without need, pushed to answered ones (sort)", {"source": "sort", **_OVER}),
    Example("the same for lists to translate", {"source": "translate", **_OVER}),
    Example(
        "five tasks: sorting pushed to counting",
        {"source": "tasks", "target": "sort", "toward": "count", "layer": 1, "strength": 1.0, **_NEAREST},
    ),
    Example(
        "SmolLM2: capitals, sums, opposites",
        {"source": "questions", "target": "capital", "toward": "opposite", "layer": 15, "strength": 1.0, **_NEAREST},
    ),
)


def offered() -> list[Example]:
    """The examples whose model is at hand."""
    try:
        fetched(SMALL)
    except LoadError:
        return [one for one in _EXAMPLES if one.fields["source"] != "questions"]
    return list(_EXAMPLES)


def program(source: str) -> str:
    """Python that makes what the view is given."""
    return f"from widgets.trajectory_view.examples import SOURCES\n\nmodel, items = SOURCES[{source!r}]()"
