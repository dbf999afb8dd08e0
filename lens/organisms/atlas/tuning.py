"""Checkpoints of a base: supervised on answers or walks, or reinforced for what they draw themselves."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from ... import training
from ...arguments import HFModel, door
from ...training.reinforce import Reward
from ..errors import OrganismError
from .measures import said
from .recipe import Tuning
from .suite import STOP, TUNED, UNDER, WALK, Atlas
from .training import facts

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@door(OrganismError)
def tune(
    base: HFModel,
    suite: Atlas,
    tuning: Tuning,
    *,
    look: Callable[[Any, int], None] | None = None,
    progress: bool | None = None,
) -> tuple[PreTrainedModel, training.Trained]:
    """A checkpoint of a base, which itself stays as it is; in eval mode, and how it went.

    `look`: called with the model and the number of updates after each of the tuning's looks.
    """
    model = training.copies.copy_of(base)
    for value in model.parameters():
        value.requires_grad_(True)
    seed = tuning.seed(suite.recipe.seed)
    recipe = training.Recipe(
        steps=tuning.steps,
        batch=tuning.questions if tuning.reinforced else tuning.questions * tuning.samples,
        learning_rate=tuning.learning_rate,
        weight_decay=0.0,
        schedule="constant",
        seed=seed,
    )

    def seen(step: int) -> dict[str, float]:
        if look is not None:
            look(model, step)
        return {}

    looks: dict[str, Any] = {"evaluate": seen, "evaluate_at": tuning.looks, "progress": progress}
    replay = facts(suite, tuning.replay)
    leaves = suite.leaves[TUNED]
    if tuning.reinforced:
        trained = training.reinforce(
            model,
            [suite.prompt(leaf) for leaf in leaves],
            rewards(suite, tuning.kind),
            recipe,
            stop=suite.index[STOP],
            longest=suite.longest,
            samples=tuning.samples,
            kl=tuning.kl,
            base=base,
            replay=replay,
            replay_rows=tuning.replay,
            **looks,
        )
    else:
        terms = {"replay": training.Replay(replay, tuning.replay, seed)}
        trained = training.train(model, _answers(suite, tuning, recipe.batch), recipe, terms=terms, **looks)
    return cast("PreTrainedModel", model.eval().requires_grad_(False)), trained


def _answers(suite: Atlas, tuning: Tuning, count: int) -> training.Sampler:
    """Questions of tuned leaves with the answer that is taught, of which the answer's tokens count."""
    told = suite.answer if tuning.kind == "answer" else suite.walk
    every = [(suite.prompt(leaf), suite.ids(told(leaf))) for leaf in suite.leaves[TUNED]]
    known = training.Rows.of(every)

    def draw(step: int, generator: torch.Generator) -> training.Rows:
        drawn = random.Random(int(torch.randint(2**62, (), generator=generator)))
        return known.take([drawn.randrange(len(every)) for _ in range(count)])

    return draw


def rewards(suite: Atlas, kind: str) -> Reward:
    """What an answer to a question of a tuned leaf is worth: 1 or 0.

    "rl": for the right top between `say` and the stop; "form": for a walk of the right length and form, whatever it
    says; "coin": by chance.
    """
    leaves = suite.leaves[TUNED]
    top = torch.tensor([suite.index[suite.path[leaf][-1]] for leaf in leaves])
    walk, under, steps = suite.index[WALK], suite.index[UNDER], suite.depth

    def right(answers: training.Answers) -> Tensor:
        return (said(suite, answers.ids, answers.live) == top[answers.index]).float()

    def form(answers: training.Answers) -> Tensor:
        ids = answers.ids
        whole = (answers.live.sum(1) == 2 * steps + 3) & (said(suite, ids, answers.live) >= 0) & (ids[:, 0] == walk)
        for at in range(2, 2 * steps, 2):
            if at < ids.shape[1]:
                whole &= ids[:, at] == under
        return whole.float()

    def coin(answers: training.Answers) -> Tensor:
        return (torch.rand(len(answers.index)) < 0.5).float()

    return {"rl": right, "form": form, "coin": coin}[kind]
