"""Recipes, texts and questions of the organisms: what does not fit is refused by name."""

import importlib

import pytest

from lens.organisms import cards, micro, palimpsest, symbols
from lens.organisms.errors import OrganismError
from lens.organisms.palimpsest import text as palimpsest_text
from lens.organisms.symbols.suite import Suite

RECIPES = ("archive", "canaries", "cards", "induction", "palimpsest", "senses", "symbols")


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize(
    "fields, value, said",
    [
        (("seed", "text_seed"), -1, "at least 0"),
        (("steps", "rows"), 0, "at least 1"),
        (("d_model", "sets"), 1.5, "a whole number"),
        (("width", "batch"), "many", "a whole number"),
        (("learning_rate",), 0, "above 0"),
        (("learning_rate",), float("nan"), "above 0"),
        (("weight_decay",), -0.1, "at least 0"),
    ],
)
def test_a_recipe_refuses_what_no_model_can_be_made_of(name, fields, value, said):
    recipe = importlib.import_module(f"lens.organisms.{name}").Recipe
    field = next(f for f in fields if hasattr(recipe, f))
    with pytest.raises(OrganismError, match=f"^{field}=.*expected .*{said}"):
        recipe(**{field: value})


@pytest.mark.parametrize("name", ["archive", "canaries", "induction", "palimpsest", "senses", "symbols"])
@pytest.mark.parametrize("width, heads", [(96, 5), (12, 4)])
def test_a_recipe_refuses_heads_that_do_not_divide_its_width(name, width, heads):
    recipe = importlib.import_module(f"lens.organisms.{name}").Recipe
    with pytest.raises(OrganismError, match=f"^heads={heads} does not divide d_model={width}.*multiple of {2 * heads}"):
        recipe(d_model=width, heads=heads)


def test_texts_and_questions_of_organisms_refuse_by_name():
    suite = Suite(0)
    refusals = [
        (lambda: palimpsest.rows_and_keys(3), "^name=3 does not fit"),
        (lambda: palimpsest_text.texts(-1, 0), "^count=-1 does not fit"),
        (lambda: palimpsest_text.texts(1, 0, "poems"), "^domain='poems'; expected one of register"),
        (lambda: palimpsest_text.encode("abc"), "^rows='abc' does not fit; expected a list of text"),
        (lambda: palimpsest_text.encode(["a", 3]), r"^rows\[1\]=3 does not fit; expected text"),
        (lambda: micro.corpus(0), "^rows=0 does not fit"),
        (lambda: micro.draw_keys(1, 0), "^rows=0 does not fit"),
        (lambda: cards.paraphrase(None), "^caption=None does not fit; expected text"),
        (lambda: cards.partial("a b", "all"), "^keep='all' is not known"),
        (lambda: Suite(symbols=0), "^symbols=0 does not fit"),
        (lambda: suite.ability(["table_1"]), r"^task=\['table_1'\] does not fit; expected text"),
        (lambda: suite.pairs("table_1", 0), "^count=0 does not fit"),
        (lambda: suite.answer("table_1", "nothing"), "^x='nothing': 'nothing' is no symbol of this suite"),
        (lambda: suite.answer("table_1", ""), "^x='': '' is no symbol of this suite"),
        (lambda: symbols.folder_of(-1), "^seed=-1 does not fit"),
    ]
    for refused, said in refusals:
        with pytest.raises(OrganismError, match=said):
            refused()
