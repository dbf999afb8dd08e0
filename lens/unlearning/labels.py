"""Random labels: the forget set with other answers than its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from ..training import Rows, Sampler
from .errors import UnlearningError

Item = tuple[Sequence[int], Sequence[int]]
Kind = Literal["fixed", "redrawn", "wrong", "uniform", "right"]
KINDS: tuple[str, ...] = get_args(Kind)


@dataclass(frozen=True)
class Labels:
    """`rows`: what is trained on, or a function that draws each step's rows anew. `uniform`: the first tokens of all
    answers, where each is as right as the other; else None. `given`: the one answer that was drawn for each item; None
    where there is none.
    """

    rows: Rows | Sampler
    uniform: tuple[int, ...] | None = None
    given: tuple[tuple[int, ...], ...] | None = None


def random_labels(items: Sequence[Item], kind: str = "fixed", seed: int = 0, batch: int = 1) -> Labels:
    """The items' prompts with answers drawn from all answers of the set.

    Args:
        kind: "fixed": one draw for each item, its own answer among the choices. "redrawn": items and answers drawn anew
            at every step. "wrong": one draw among the others. "uniform": no draw; the target is the uniform
            distribution over the answers' first tokens. "right": the items as they are, the control.
        batch: rows of a step, where they are redrawn.

    Raises: UnlearningError: an unknown kind, fewer than two different answers, answers that share their first token
        where that stands for them.

    Source: Zhang, Choshen & Andreas 2024, Unforgettable Generalization in Language Models, whose abstract leaves open
        which of the draws is meant.
    """
    if kind not in KINDS:
        raise UnlearningError(f"labels={kind!r} is not known; expected one of {', '.join(KINDS)}.")
    every = sorted({tuple(answer) for _, answer in items})
    if kind == "right":
        return Labels(Rows.of(list(items)))
    if len(every) < 2:
        raise UnlearningError(
            f"labels={kind!r}: all {len(items)} items have one answer; random labels need at least two different ones."
        )
    if kind == "uniform":
        first = [answer[0] for answer in every]
        if len(set(first)) < len(first):
            twice = next(token for token in first if first.count(token) > 1)
            raise UnlearningError(
                f"labels='uniform': {first.count(twice)} answers begin with token {twice}, so that their first tokens"
                " do not stand for them; use 'fixed' or 'redrawn'."
            )
        return Labels(Rows.of(list(items)), tuple(first))
    generator = torch.Generator().manual_seed(seed)

    def drawn(own: Sequence[int], with_own: bool, by: torch.Generator) -> tuple[int, ...]:
        choices = [answer for answer in every if with_own or answer != tuple(own)]
        return choices[int(torch.randint(len(choices), (1,), generator=by))]

    if kind in ("fixed", "wrong"):
        given = tuple(drawn(answer, kind == "fixed", generator) for _, answer in items)
        return Labels(
            Rows.of([(prompt, answer) for (prompt, _), answer in zip(items, given, strict=True)]), given=given
        )

    def anew(step: int, by: torch.Generator) -> Rows:
        picked = torch.randint(len(items), (batch,), generator=by).tolist()
        return Rows.of([(items[i][0], drawn(items[i][1], True, by)) for i in picked])

    return Labels(anew)
