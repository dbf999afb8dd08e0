"""What a model of the organism `reasoner` does: the numbers of its card, and its gates."""

from __future__ import annotations

import random
from typing import Any

import torch

from ..gates import Gate, of_card
from .chains import read
from .recipe import Recipe
from .suite import BAR, ELSE, GIVES, HMM, START, WAIT, Reasoner

#: By gate the least value, or the most. `finished`, `right_of_finished` and what is about rates: of chains that the
#: model draws at temperature 1; `best_sum`: the most likely number behind a step's `>` is the right one.
LEAST = {"finished": 0.97, "best_sum": 0.98}
MOST = {"rates_off_plan": 0.1}
#: Tokens of a chain at most.
LONGEST = 150


@torch.no_grad()
def measure(model: torch.nn.Module, recipe: Recipe, count: int = 300) -> dict[str, Any]:
    """Chains that the model draws for problems of the split "report": finished, right, how often which thought follows
    which step; and gates. On given chains of the same problems: the most likely sum, and the probability of a thought
    behind right and wrong steps.
    """
    from ...engine.writing.call import generate

    suite, place = Reasoner(recipe), next(model.parameters()).device
    problems = suite.problems("report", count)
    given = [torch.tensor(suite.ids(suite.prompt(numbers))) for numbers in problems]
    texts = generate(model, given, temperature=1.0, max_new_tokens=LONGEST, seed=recipe.seed, progress=False)
    ended = [text.reason == "end" for text in texts]
    chains = [
        read([suite.vocabulary[i] for i in text.ids if suite.vocabulary[i] != START], recipe.modulus) for text in texts
    ]
    right = [ended[i] and chains[i].said == suite.answer(numbers) for i, numbers in enumerate(problems)]
    seen = _behind(model, suite, problems, place)
    plan = {"right": recipe.reflection, "wrong": recipe.repair} if recipe.useful else {"right": recipe.reflection}
    off = [abs(seen["reflection"][kind] - rate) for kind, rate in plan.items()]
    off.append(abs(seen["transition"]["right"] - recipe.transition))
    values = {
        "finished": sum(ended) / count,
        "best_sum": seen["best_sum"],
        "rates_off_plan": max(off),
    }
    return {
        "chains": count,
        "right": round(sum(right) / count, 4),
        "tokens": round(sum(len(text.ids) for text in texts) / count, 2),
        "segments": {
            kind: round(sum(chain.count(kind) for chain in chains) / count, 3)
            for kind in ("execution", "reflection", "transition", "none")
        },
        "wrong_steps": round(sum(chain.wrong for chain in chains) / count, 3),
        "repairs": round(sum(chain.repairs for chain in chains) / count, 3),
        "idle": round(sum(chain.idle for chain in chains) / count, 3),
        "probability_behind_steps": {k: v for k, v in seen.items() if k != "best_sum"},
        "gates": of_card([Gate(name, value, LEAST.get(name), MOST.get(name), count) for name, value in values.items()]),
    }


def _behind(model: torch.nn.Module, suite: Reasoner, problems: list, place: torch.device) -> dict[str, Any]:
    """On planted chains: how often the most likely sum is right, and the mean probability of a reflection or a
    transition behind right and wrong steps before which there was no transition.
    """
    draw, of = random.Random(f"behind {suite.recipe.seed}"), suite.index
    best: list[bool] = []
    shares: dict[tuple[str, str], list[float]] = {}
    for numbers in problems:
        words = [*suite.prompt(numbers), *suite.chain(numbers, draw)]
        logits = model(torch.tensor([suite.ids(words)], device=place)).logits[0].float().cpu()
        soft = logits.softmax(-1)
        for i in range(len(suite.prompt(numbers)) + 2, len(words) - 1):
            if words[i] == GIVES:
                sum_ = (int(words[i - 2]) + int(words[i - 1])) % suite.recipe.modulus
                best.append(int(logits[i].argmax()) == of[str(sum_)])
            if words[i] == BAR and words[i - 5] not in (WAIT, HMM) and ELSE not in words[:i]:
                sum_ = (int(words[i - 4]) + int(words[i - 3])) % suite.recipe.modulus
                kind = "right" if words[i - 1] == str(sum_) else "wrong"
                shares.setdefault(("reflection", kind), []).append(float(soft[i, of[WAIT]] + soft[i, of[HMM]]))
                shares.setdefault(("transition", kind), []).append(float(soft[i, of[ELSE]]))
    out: dict[str, Any] = {"best_sum": sum(best) / max(1, len(best)), "reflection": {}, "transition": {}}
    for (thought, kind), each in shares.items():
        out[thought][kind] = round(sum(each) / len(each), 4)
    return out
