"""Recipes of the small models, and what their texts are made of."""

from __future__ import annotations

from lens.organisms import (
    archive,
    atlas,
    canaries,
    cards,
    induction,
    micro,
    palimpsest,
    senses,
    symbols,
    verdicts,
    wired,
)
from lens.organisms.symbols.suite import Suite

from . import Subject

#: No module has a subject for every function: trainings take minutes.
MODULES = ()


def subjects():
    for module in (archive, atlas, canaries, cards, induction, senses, symbols, verdicts, wired):
        yield Subject(f"{module.__name__.rpartition('.')[2]}.Recipe", module.Recipe, lambda: dict(seed=1))
    yield Subject("palimpsest.Recipe", palimpsest.Recipe, lambda: dict(text_seed=1))
    yield Subject("MicroPlan", micro.MicroPlan, lambda: dict(rows=10))
    yield Subject("BigramPlan", micro.BigramPlan, lambda: dict(rows=10))
    for module in (archive, atlas, canaries, cards, senses, symbols, verdicts):
        yield Subject(f"{module.__name__.rpartition('.')[2]}.folder_of", module.folder_of, lambda: dict(seed=1))
    yield Subject("atlas.Tuning", atlas.Tuning, lambda: dict(kind="rl", steps=100))
    yield Subject("Atlas.question", atlas.Atlas(atlas.Recipe.small()).question, lambda: dict(leaf=1))
    yield Subject("path_matching", atlas.path_matching, lambda: dict(named=["a", "b"], gold=["a"]))
    yield Subject("Archive", archive.Archive, lambda: dict(recipe=archive.Recipe.small()))
    small = archive.Archive(archive.Recipe.small())
    yield Subject("Archive.statement", small.statement, lambda: dict(fact=(0, 1), template=2))
    yield Subject("Archive.question", small.question, lambda: dict(fact=(0, 1)))
    yield Subject("wired.pairs", wired.pairs, lambda: dict(recipe=wired.Recipe(), count=2))
    yield Subject("recipe_of", palimpsest.recipe_of, lambda: dict(name="palimpsest"))
    yield Subject("rows_and_keys", palimpsest.rows_and_keys, lambda: dict(name="palimpsest"))
    yield Subject("paraphrase", cards.paraphrase, lambda: dict(caption="a red square"))
    yield Subject("senses.items", senses.Suite(senses.Recipe.small()).items, lambda: dict(count=2))
    yield Subject("Suite.ability", Suite(0).ability, lambda: dict(task="table_1"))
