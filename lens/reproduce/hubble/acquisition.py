"""How facts are acquired and lost (Chang et al. 2024): documents about people of whose facts the twin of `archive` was
told nothing are put into its further training, and statements and questions about them are looked at as that goes on.

In each of four trainings the people are in four groups: their document is read many times as it is, as often in other
words each time, once, or never. Over the four trainings everyone is in every group, so that groups are compared within
people; "never" is the drift of the same person at the same step.
"""

from __future__ import annotations

import random
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import xarray as xr

from ... import models, training
from ...models import weight_hash
from ...organisms import archive as organism
from ...organisms.archive import TEMPLATES, Archive
from ...results import dataset as results
from ...training.copies import copy_of
from ..errors import ReproduceError

GROUPS = ("duplicated", "paraphrased", "once", "never")
#: What is looked at: the statement in the words of the document that is read as it is, in those of the other two
#: templates, and the question, which no document has.
PROBES = ("same words", "other words", "question")
BATCH, RATE = 16, 1e-3
#: Of the organism, the groups and the rows.
SEED = 0


class Arm(NamedTuple):
    """A training: how many times the batch it has, in as many times fewer steps, and how its learning rate goes."""

    name: str
    batch: int
    schedule: Literal["constant", "linear"]


ARMS = (Arm("constant", 1, "constant"), Arm("falling", 1, "linear"), Arm("larger batch", 4, "constant"))


class Course(NamedTuple):
    """Steps from one reading to the next, readings, and steps after the last; of the smallest batch."""

    every: int
    readings: int
    after: int

    def looks(self, arm: Arm) -> list[int]:
        """At which steps of an arm facts are looked at: before each reading and within the steps after it, and after
        the last one further and further away.
        """
        every, last = self.every // arm.batch, self.every * self.readings // arm.batch
        own = {k * every + near for k in range(self.readings) for near in (0, *_near(every))}
        return sorted(own | {last + n for n in _near(self.after // arm.batch)} | {last})


def _near(steps: int) -> list[int]:
    """1, 2, 4, ... up to all of some steps."""
    return [*(2**i for i in range(steps.bit_length()) if 2**i < steps), steps]


def acquired(course: Course, arm: Arm, number: int) -> xr.Dataset:
    """One training: `log_p`, nats, over `look, probe, person`, the mean over a person's facts of the log-probability of
    the true value among all words; `group` of each person, `step` of each look. `number`: of the training, 0 to 3.

    Raises: ReproduceError: the course does not divide by the batch; the training did not end.
    """
    if course.every % arm.batch or course.after % arm.batch:
        raise ReproduceError(f"course={tuple(course)}; expected numbers of steps that {arm.batch} divides.")
    recipe = organism.Recipe(knew=False, seed=SEED, batch=BATCH * arm.batch, question_rows=BATCH * arm.batch // 2)
    archive = Archive(recipe)
    model = copy_of(models.load("organism:archive-twin"))
    people = archive.attacked
    order = random.Random(f"acquisition {SEED}").sample(range(len(people)), len(people))
    group = np.empty(len(people), int)
    group[order] = (np.arange(len(people)) + number) % len(GROUPS)
    steps = (course.every * course.readings + course.after) // arm.batch
    every, ordinary = course.every // arm.batch, organism.rows(recipe)

    def rows(step: int, generator: torch.Generator) -> training.Rows:
        drawn = ordinary(step, generator)
        reading, rest = divmod(step, every)
        if rest or reading >= course.readings:
            return drawn
        read = _documents(archive, people, group, reading)
        left = torch.randperm(len(drawn), generator=generator)[: len(drawn) - len(read)]
        return training.Rows.joined([drawn.take(left), read])

    probes, found = _Probes(archive, people), {}

    def look(step: int) -> dict[str, float]:
        found[step] = probes.of(model)
        return {}

    made = training.train(
        model,
        rows,
        training.Recipe(
            steps=steps, batch=recipe.batch, learning_rate=RATE, schedule=arm.schedule, seed=SEED, weight_decay=0.0
        ),
        parameters=lambda name: True,
        evaluate=look,
        evaluate_at=course.looks(arm),
        progress=False,
    )
    if made.status != "complete":
        raise ReproduceError(f"{arm.name}, training {number}: {made.status} after step {made.step}.")
    ds = xr.Dataset(
        {
            "log_p": (("look", "probe", "person"), np.stack([found[step] for step in sorted(found)])),
            "group": ("person", np.array(GROUPS)[group]),
        },
        {"step": ("look", sorted(found)), "probe": list(PROBES), "person": [archive.people[p] for p in people]},
    )
    record = {"kind": "acquisition", "arm": arm.name, "number": number, "seed": SEED}
    return results.stamp(ds, record | {"weights": weight_hash(model)[:16]})


def _documents(archive: Archive, people: list[int], group: np.ndarray, reading: int) -> training.Rows:
    """The documents of one reading, two to a row."""
    texts = []
    for at, person in enumerate(people):
        name = GROUPS[group[at]]
        if name == "never" or (name == "once" and reading):
            continue
        again = reading if name == "paraphrased" else 0
        facts = [(person, r) for r in range(archive.recipe.attacked_relations)]
        draw = random.Random(f"{SEED} {person} {again}")
        template = (at + again) % len(TEMPLATES)
        texts.append([i for fact in draw.sample(facts, len(facts)) for i in archive.stated(fact, template)])
    start = archive.ids(["<start>"])
    return training.Rows.of([(start, [i for text in texts[k : k + 2] for i in text]) for k in range(0, len(texts), 2)])


class _Probes:
    """What is asked about every fact, in groups of one length."""

    def __init__(self, archive: Archive, people: list[int]):
        start = archive.ids(["<start>"])
        self.shape = len(TEMPLATES) + 1, len(people), archive.recipe.attacked_relations
        by_length: dict[int, list[tuple[int, list[int], int]]] = {}
        number = 0
        for form in range(self.shape[0]):
            for at, person in enumerate(people):
                for relation in range(self.shape[2]):
                    fact = person, relation
                    # the first form is that of the document which is read as it is
                    words = (
                        archive.statement(fact, (at + form) % len(TEMPLATES))
                        if form < len(TEMPLATES)
                        else archive.question(fact)
                    )
                    ids = [*start, *words]
                    by_length.setdefault(len(ids), []).append((number, ids, archive.value(fact)))
                    number += 1
        self.count, self.batches = number, []
        for of in by_length.values():
            numbers, prompts, values = zip(*of)
            self.batches.append((list(numbers), torch.tensor(prompts), torch.tensor(values)))

    def of(self, model: Any) -> np.ndarray:
        """Log-probabilities [probe, person], means over facts (and over the templates of "other words")."""
        out = torch.empty(self.count)
        for numbers, prompts, values in self.batches:
            logits = model(input_ids=prompts, use_cache=False).logits[:, -1].float()
            out[numbers] = logits.log_softmax(-1).gather(1, values[:, None])[:, 0]
        by_form = out.view(self.shape).mean(-1).numpy()
        return np.stack([by_form[0], by_form[1:-1].mean(0), by_form[-1]])
