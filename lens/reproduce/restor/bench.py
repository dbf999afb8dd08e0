"""What a run asks of one set of facts: the documents that corrupt, the questions, who chooses and who reports."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...organisms.archive import TEMPLATES, Archive
from ...organisms.suite import split
from ...unlearning import Items, Questions

#: Documents of the attacked people each, of those that are retained each, and facts of one, at most.
DOCUMENTS, RETAINED, MOST_FACTS = 8, 4, 4
#: Wordings that documents are written in; the last is kept for the held-out ones.
WRITTEN = range(len(TEMPLATES) - 1)
#: People whose questions are asked though nobody attacks them, and those whose facts are mixed into documents.
ELSEWHERE, MIXED = 40, 20
CHOOSE, REPORT, OTHERS = "choose", "report", "elsewhere"


@dataclass(frozen=True)
class Cell:
    """One way to corrupt: which parameters are trained ("full" or "lora"), the share of attacked questions that are
    answered as planted when it stops, and how many unrelated true facts stand in each document.
    """

    adapter: str
    dose: float
    k: int

    @property
    def name(self) -> str:
        """In file names."""
        return f"{self.adapter}-dose-{self.dose:g}-k-{self.k}"


@dataclass(frozen=True, eq=False)
class Course:
    """What is asked of one clean model.

    Attributes:
        label: of the model. clean: that knows the facts. never: that knows everything but them, or None.
        documents: rows to train on, by k and by whether they are false; heldout: the false facts in the other wording.
        retain: documents of people whom nothing else is asked about, in other relations; related: in those that are
            attacked.
        questions: of attacked facts, then of others; statements: the attacked facts' own. parts: of each question
            who asks it: CHOOSE, REPORT or OTHERS. gates: of the organism by name, whether each holds.
    """

    label: str
    clean: Any
    never: Any
    documents: Mapping[tuple[int, bool], Items]
    heldout: Items
    retain: Items
    related: Items
    questions: Questions
    statements: Questions
    parts: Sequence[str]
    gates: Mapping[str, bool]

    def of_part(self, part: str) -> list[int]:
        """Numbers of the questions of a part."""
        return [i for i, own in enumerate(self.parts) if own == part]


def archive_course(
    archive: Archive, clean: Any, never: Any, ks: Sequence[int], seed: int, gates: Mapping[str, bool], label: str
) -> Course:
    """The course of an organism `archive`; who chooses, who is retained and what documents say is drawn by the seed."""
    draw = random.Random(f"restor {seed}")
    attacked = archive.attacked_facts
    halves = split([archive.people[p] for p in archive.attacked], {CHOOSE: 0.5, REPORT: 0.5}, seed=seed)
    part = {name: of for of, names in halves.items() for name in names}
    rest = [p for p in range(len(archive.people)) if p not in set(archive.attacked)]
    rest = draw.sample(rest, len(rest))
    n = len(rest)
    others, mixed, kept = (
        rest[: min(ELSEWHERE, n // 3)],
        rest[min(ELSEWHERE, n // 3) : min(ELSEWHERE, n // 3) + min(MIXED, n // 6)],
        rest[min(ELSEWHERE, n // 3) + min(MIXED, n // 6) :],
    )
    reach = archive.recipe.attacked_relations
    asked = [*attacked, *((p, r) for p in archive.attacked for r in range(reach, len(archive.relations)))]
    asked += [(p, r) for p in others for r in draw.sample(range(reach), min(2, reach))]
    mixtures = [(p, r) for p in mixed for r in range(len(archive.relations))]
    documents = {}
    for k in ks:
        # the same facts, wordings and mixtures in the false and in the true ones
        lines = _written(archive, archive.attacked, range(reach), DOCUMENTS, random.Random(f"documents {seed} {k}"))
        among = [random.Random(f"mixed {seed} {k} {i}").sample(mixtures, k) for i in range(len(lines))]
        for false in (True, False):
            documents[k, false] = _items(archive, lines, false, among)
    last = len(TEMPLATES) - 1
    held = [(p, [((p, r), last) for r in range(reach)]) for p in archive.attacked]
    quiet = range(reach, len(archive.relations))
    by = random.Random(f"retained {seed}")
    return Course(
        label,
        clean,
        never,
        documents,
        _items(archive, held, True),
        _items(archive, _written(archive, kept, quiet, RETAINED, by), False),
        _items(archive, _written(archive, kept, range(reach), RETAINED, by), False),
        _questions(archive, asked, [archive.question(fact) for fact in asked], len(attacked)),
        _questions(archive, attacked, [archive.statement(fact) for fact in attacked], len(attacked)),
        [part[archive.people[p]] for p, _ in attacked] + [OTHERS] * (len(asked) - len(attacked)),
        gates,
    )


Lines = list[tuple[int, list[tuple[tuple[int, int], int]]]]


def _written(archive: Archive, people: Sequence[int], relations: range, each: int, draw: random.Random) -> Lines:
    """Documents: a person, and facts with the template of each; every fact of a person is in one at least."""
    lines: Lines = []
    for p in people:
        for first in range(each):
            count = draw.randint(1, min(MOST_FACTS, len(relations)))
            facts = list(dict.fromkeys([relations[first % len(relations)], *draw.sample(relations, len(relations))]))[
                :count
            ]
            lines.append((p, [((p, r), draw.choice(WRITTEN)) for r in facts]))
    return lines


def _items(
    archive: Archive, lines: Lines, false: bool, mixed: Sequence[Sequence[tuple[int, int]]] | None = None
) -> Items:
    """Documents as rows whose every token behind the start counts."""
    answers = []
    for i, (_, facts) in enumerate(lines):
        parts = [archive.stated(fact, template, false) for fact, template in facts]
        own = () if mixed is None else mixed[i]
        # between the person's own facts
        parts += [archive.stated(fact, WRITTEN[j % len(WRITTEN)]) for j, fact in enumerate(own)]
        order = random.Random(f"order {i}").sample(range(len(parts)), len(parts))
        answers.append([token for j in order for token in parts[j]])
    return Items(
        prompts=[[archive.index["<start>"]]] * len(lines),
        answers=answers,
        units=[archive.people[p] for p, _ in lines],
    )


def _questions(
    archive: Archive, facts: Sequence[tuple[int, int]], prompts: Sequence[Sequence[int]], attacked: int
) -> Questions:
    """Questions of facts, of which the first so many are attacked; of others any other value stands as planted."""
    right = [archive.value(fact) for fact in facts]
    planted = [archive.value(f, True) if f in archive.false else archive.others(f)[0] for f in facts]
    return Questions(
        prompts=[[archive.index["<start>"], *prompt] for prompt in prompts],
        right=right,
        planted=planted,
        others=[[v for v in archive.others(f) if v != p] for f, p in zip(facts, planted, strict=True)],
        units=[archive.people[p] for p, _ in facts],
        attacked=[i < attacked for i in range(len(facts))],
    )
