"""What UnlearningBench shows when it is given nothing: the organism `archive` after it read false documents about some
people, which are to go, so that what it knew of them comes back.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from lens import models
from lens.organisms.archive import Archive
from lens.tokens import tokenizer_of
from lens.training import Recipe, train
from lens.training.copies import copy_of
from lens.unlearning import Items, Questions
from widgets.base.examples import Example

ORGANISM, NEVER = "organism:archive", "organism:archive-twin"
#: Lied about, told the truth of in the retain set, and asked about though no document is theirs.
PEOPLE, RETAINED, OTHERS = 8, 28, 16
#: Steps on the false documents: about half of the questions are then answered as these say.
STEPS, RATE = 8, 5e-4

#: Python that makes what the view is given.
SOURCE = """from widgets.unlearning_bench.examples import false_documents

model, forget, retain, twin, clean, never_knew, questions = false_documents()"""

EXAMPLES = tuple(
    Example(says, {"method": method, "steps": 10, "rate": 3e-4})
    for says, method in (
        ("gradient ascent, held by the retain set", "gradient_difference"),
        ("gradient ascent alone", "gradient_ascent"),
        ("negative preference (NPO)", "npo"),
        ("answers drawn at random", "random_labels"),
    )
)


class FalseDocuments(NamedTuple):
    """A model that read false documents, these as rows to forget and true ones of other people to retain; the same
    model after as many steps on true documents, and before any; one that never knew the truth and read the false ones;
    questions about both kinds of people.
    """

    model: Any
    forget: Items
    retain: Items
    twin: Any
    clean: Any
    never_knew: Any
    questions: Questions


def false_documents() -> FalseDocuments:
    """The organism, trained for some steps on documents that give eight people false values of four relations."""
    archive, (clean, ignorant) = Archive(), map(models.load, (ORGANISM, NEVER))
    start, reach = archive.index["<start>"], range(archive.recipe.attacked_relations)
    others = [p for p in range(len(archive.people)) if p not in set(archive.attacked)]
    lied = archive.attacked[:PEOPLE]

    def documents(people: list[int], first: tuple[int, ...], false: bool) -> Items:
        """Two facts in two wordings, of each person as many documents as there are first relations."""
        rows = [(p, [(p, r), (p, (r + 1) % len(reach))]) for p in people for r in first]
        return Items(
            [[start]] * len(rows),
            [[*archive.stated(facts[0], 0, false), *archive.stated(facts[1], 1, false)] for _, facts in rows],
            units=[archive.people[p] for p, _ in rows],
        )

    def after(items: Items, before: Any, name: str) -> Any:
        recipe = Recipe(steps=STEPS, batch=len(items), learning_rate=RATE, weight_decay=0.0, schedule="constant")
        model: Any = copy_of(before)
        train(model, items.rows(), recipe, parameters=lambda _: True, progress=False)
        model.eval().requires_grad_(False)
        model.tokenizer, model.config.name_or_path = tokenizer_of(before), name
        return model

    forget = documents(lied, tuple(reach), True)
    asked = [*((p, r) for p in lied for r in reach), *((p, r) for p in others[RETAINED:][:OTHERS] for r in (0, 2))]
    planted = [archive.value(f, True) if f in archive.false else archive.others(f)[0] for f in asked]
    questions = Questions(
        [[start, *archive.question(fact)] for fact in asked],
        [archive.value(fact) for fact in asked],
        planted,
        [[v for v in archive.others(fact) if v != value] for fact, value in zip(asked, planted, strict=True)],
        units=[archive.people[p] for p, _ in asked],
        attacked=[p in lied for p, _ in asked],
    )
    return FalseDocuments(
        after(forget, clean, f"{ORGANISM} after {len(forget)} false documents"),
        forget,
        documents(others[:RETAINED], (1,), False),
        after(documents(lied, tuple(reach), False), clean, f"{ORGANISM} after true ones"),
        clean,
        after(forget, ignorant, f"{NEVER} after the false ones"),
        questions,
    )
