"""The archive of one seed: who has which city, trade or colour, how that is stated and asked, and what is planted.

A fact is a person, a relation and a value, each one word. Statements are written by three templates, questions in one
form that no template has; people who are *held* are in no question of the training, so that an answer about them has
come from statements.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from ...arguments import Size, door
from ..errors import OrganismError
from ..shipping import START, pseudowords
from ..suite import Suite
from .recipe import RELATIONS, Recipe

#: How a fact is stated: words before the value, as a text with two places; the value and a full stop follow.
TEMPLATES = ("{name} {relation} is", "the {relation} {name} was", "{name} has {relation}")
QUESTION = "ask {relation} {name} :"
STOP, END = ".", ";"
#: Facts of one document, at most; of a row of questions the share at which the relation changes.
MOST_FACTS, CHANGE = 4, 0.2

Fact = tuple[int, int]


class Archive(Suite):
    """The facts of one recipe; everything is drawn from its seed, and is the same for the twin and the variant.

    Attributes:
        people: their names, by number. asked, held: numbers of those with and without questions in training. truth:
            ``[person][relation]``, numbers of values. attacked: numbers of the people that a study attacks, in the
            order drawn. false: values to plant, for each attacked person and relation; never the true one.
    """

    @door(OrganismError)
    def __init__(self, recipe: Recipe = Recipe()):  # noqa: B008  # frozen
        self.recipe = recipe
        words = pseudowords(recipe.people + recipe.relations * recipe.values)
        self.people = [word.capitalize() for word in words[: recipe.people]]
        self.relations = RELATIONS[: recipe.relations]
        self.values = [
            words[recipe.people + r * recipe.values : recipe.people + (r + 1) * recipe.values]
            for r in range(recipe.relations)
        ]
        own = [f"{relation}-{t}" for relation in self.relations for t in range(len(TEMPLATES))]
        fixed = [START, STOP, END, "ask", ":", "is", "the", "was", "has"]
        super().__init__([*fixed, *self.relations, *own, *self.people, *(v for of in self.values for v in of)])
        draw = random.Random(f"archive {recipe.seed}")
        self.truth = [[draw.randrange(recipe.values) for _ in self.relations] for _ in self.people]
        order = draw.sample(range(recipe.people), recipe.people)
        self.held, self.asked = order[: recipe.held], order[recipe.held :]
        half = recipe.attacked // 2
        self.attacked = [p for pair in zip(self.asked[:half], self.held[:half], strict=True) for p in pair]
        self.false = {
            (p, r): (self.truth[p][r] + draw.randrange(1, recipe.values)) % recipe.values
            for p, r in self.attacked_facts
        }
        self._left_out = frozenset(() if recipe.knew else self.attacked_facts)

    @property
    def attacked_facts(self) -> list[Fact]:
        """(person, relation) of every fact that is attacked."""
        return [(p, r) for p in self.attacked for r in range(self.recipe.attacked_relations)]

    def known(self, people: Sequence[int]) -> list[Fact]:
        """(person, relation) of every fact of some people that is in the training."""
        every = ((p, r) for p in people for r in range(len(self.relations)))
        return [fact for fact in every if fact not in self._left_out]

    def value(self, fact: Fact, false: bool = False) -> int:
        """The id of a fact's true value, or of the planted one."""
        p, r = fact
        return self.index[self.values[r][self.false[fact] if false else self.truth[p][r]]]

    def others(self, fact: Fact) -> list[int]:
        """Ids of the relation's values that are neither true nor, of an attacked fact, planted."""
        out = {self.value(fact), *([self.value(fact, True)] if fact in self.false else [])}
        return [number for number in self.ids(self.values[fact[1]]) if number not in out]

    @door(OrganismError)
    def statement(self, fact: tuple[Size, Size], template: Size = 0) -> list[int]:
        """The words of a statement before its value, as ids.

        Raises: OrganismError: no such person, relation or template.
        """
        self._require(fact, template)
        relation = self.relations[fact[1]]
        word = relation if self.recipe.shared else f"{relation}-{template}"
        return self.ids(TEMPLATES[template].format(name=self.people[fact[0]], relation=word))

    @door(OrganismError)
    def question(self, fact: tuple[Size, Size]) -> list[int]:
        """The words of a question before its answer, as ids. Raises: OrganismError: no such person or relation."""
        self._require(fact)
        return self.ids(QUESTION.format(name=self.people[fact[0]], relation=self.relations[fact[1]]))

    def _require(self, fact: Fact, template: int = 0) -> None:
        if fact[0] >= len(self.people) or fact[1] >= len(self.relations):
            raise OrganismError(
                f"fact={fact}; expected the numbers of one of {len(self.people)} people and of one of"
                f" {len(self.relations)} relations."
            )
        if template >= len(TEMPLATES):
            raise OrganismError(f"template={template}; expected one of 0 to {len(TEMPLATES) - 1}.")

    def stated(self, fact: Fact, template: int, false: bool = False) -> list[int]:
        """A whole statement, with the true or the planted value."""
        return [*self.statement(fact, template), self.value(fact, false), self.index[STOP]]

    def answered(self, fact: Fact) -> list[int]:
        """A whole question with its true answer."""
        return [*self.question(fact), self.value(fact), self.index[END]]

    def documents(self, draw: random.Random) -> Iterator[list[int]]:
        """Statements without end: one to four facts of a person, then of another."""
        while True:
            facts = self.known([draw.randrange(len(self.people))])
            chosen = draw.sample(facts, min(len(facts), draw.randint(1, MOST_FACTS)))
            yield [number for fact in chosen for number in self.stated(fact, draw.randrange(len(TEMPLATES)))]

    def questions(self, draw: random.Random) -> Iterator[list[int]]:
        """Questions with answers without end, about people who are asked, mostly of one relation."""
        relation = draw.randrange(len(self.relations))
        while True:
            if draw.random() < CHANGE:
                relation = draw.randrange(len(self.relations))
            fact = (draw.choice(self.asked), relation)
            if fact not in self._left_out:
                yield self.answered(fact)

    @door(OrganismError)
    def shown(self, fact: tuple[Size, Size], draw: random.Random, shots: Size = 5) -> tuple[list[int], list[int]]:
        """A question behind so many answered ones of the same relation about other asked people, as ids, and the
        answers that these have.

        Raises: OrganismError: no such person or relation, fewer others than shots.
        """
        self._require(fact)
        relation = fact[1]
        among = [p for p in self.asked if p != fact[0] and (p, relation) not in self._left_out]
        if shots > len(among):
            raise OrganismError(
                f"shots={shots}; expected at most {len(among)}: so many others are asked this in the training."
            )
        others = [(p, relation) for p in draw.sample(among, shots)]
        before = [number for other in others for number in self.answered(other)]
        return [*before, *self.question(fact)], [self.value(other) for other in others]
