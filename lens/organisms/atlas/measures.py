"""What a model does with questions for the top of a leaf, leaf by leaf; what it knows of single edges; its gates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ...arguments import Count, HFModel, Seed, door
from ...training import sample
from ..errors import OrganismError
from ..gates import Gate
from .suite import ASK, MEANS, OVER, REPORT, SAY, START, STOP, UNDER, WALK, WHAT, Atlas

#: Columns of `outcomes`.
OUTCOMES = ("free", "free_walks", "sampled", "sampled_walks", "direct", "filler", "forced", "path")


@torch.no_grad()
def said(suite: Atlas, ids: Tensor, live: Tensor) -> Tensor:
    """Of each answer the word between `say` and the stop, else -1."""
    last, rows = live.sum(1) - 1, torch.arange(len(ids))
    ends = (ids[rows, last] == suite.index[STOP]) & (last >= 2)
    good = ends & (ids[rows, (last - 2).clamp(min=0)] == suite.index[SAY])
    return torch.where(good, ids[rows, (last - 1).clamp(min=0)], -1)


@door(OrganismError)
def path_matching(named: Sequence[str], gold: Sequence[str]) -> tuple[float, float, float]:
    """How a walk matches the right one: the harmonic mean of the next two; F1 of the names as sets; the longest common
    subsequence as a share of the longer walk.
    """
    if not named or not gold:
        return 0.0, 0.0, 0.0
    common = len(set(named) & set(gold))
    f1 = 2 * common / (len(set(named)) + len(set(gold)))
    longest = np.zeros((len(named) + 1, len(gold) + 1), int)
    for i, one in enumerate(named):
        for j, other in enumerate(gold):
            longest[i + 1, j + 1] = longest[i, j] + 1 if one == other else max(longest[i, j + 1], longest[i + 1, j])
    order = longest[-1, -1] / max(len(named), len(gold))
    return (2 * f1 * order / (f1 + order) if common else 0.0), f1, float(order)


@door(OrganismError)
@torch.no_grad()
def outcomes(model: HFModel, suite: Atlas, leaves: Sequence[int], *, draws: Count = 16, seed: Seed = 0) -> pd.DataFrame:
    """What a model answers to `top C ?` of each leaf, a line a leaf.

    Columns: ``free`` and ``free_walks``, whether the most likely answer is right, and walks; ``sampled`` and
    ``sampled_walks``, how many of `draws` at temperature 1 do; ``direct``, `say` given; ``filler``, `say` given behind
    as many stops as a walk has words; ``forced``, `walk` given; ``path``, whether the walk then has every edge right;
    ``match_1`` and so on, `path_matching` of that walk so many edges up, with ``f1_`` and ``order_`` of each.
    """
    top = torch.tensor([suite.index[suite.path[leaf][-1]] for leaf in leaves])
    ids = torch.tensor([suite.prompt(leaf) for leaf in leaves])
    stop, walk, say, longest = suite.index[STOP], suite.index[WALK], suite.index[SAY], suite.longest

    def drawn(prompts: Tensor, temperature: float = 0.0) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        return sample(model, prompts, stop=stop, longest=longest, temperature=temperature, generator=generator)

    def behind(*words: int) -> Tensor:
        return torch.cat((ids, torch.tensor(words).expand(len(ids), -1)), 1)

    out: dict[str, Any] = {"leaf": list(leaves)}
    new, live = drawn(ids)
    out["free"], out["free_walks"] = said(suite, new, live) == top, new[:, 0] == walk
    new, live = drawn(ids.repeat_interleave(draws, 0), 1.0)
    right = said(suite, new, live) == top.repeat_interleave(draws)
    out["sampled"] = right.view(-1, draws).sum(1)
    out["sampled_walks"] = (new[:, 0] == walk).view(-1, draws).sum(1)
    out["direct"] = drawn(behind(say))[0][:, 0] == top
    out["filler"] = drawn(behind(*[stop] * (2 * suite.depth), say))[0][:, 0] == top
    new, live = drawn(behind(walk))
    out["forced"] = said(suite, new, live) == top
    walked = [_named(suite, row[counts].tolist()) for row, counts in zip(new, live, strict=True)]
    out["path"] = [named == suite.path[leaf] for named, leaf in zip(walked, leaves, strict=True)]
    for edges in range(1, suite.depth):
        matched = [
            path_matching(named[1 : edges + 1], suite.path[leaf][1 : edges + 1])
            for named, leaf in zip(walked, leaves, strict=True)
        ]
        for name, values in zip(("match", "f1", "order"), zip(*matched, strict=True), strict=True):
            out[f"{name}_{edges}"] = np.round(values, 4)
    return pd.DataFrame({k: np.asarray(v) for k, v in out.items()}).astype(dict.fromkeys(("free", "free_walks"), int))


def _named(suite: Atlas, ids: Sequence[int]) -> list[str]:
    """The names of a walk that `walk` began: every second word before `say` or the stop."""
    words = [suite.vocabulary[one] for one in ids]
    end = next((i for i, word in enumerate(words) if word in (SAY, STOP)), len(words))
    return words[:end:2]


@door(OrganismError)
@torch.no_grad()
def known(model: HFModel, suite: Atlas) -> dict[str, float]:
    """The share of single facts that the most likely next word has right: ``under``, of edges upwards; ``over``, where
    any of the names below counts; ``means`` and ``what``, of codes as statements and as questions.
    """
    below: dict[str, set[str]] = {}
    for lower, upper in suite.edges:
        below.setdefault(upper, set()).add(lower)
    asked = {
        UNDER: [(f"{START} {lower} {UNDER}", {upper}) for lower, upper in suite.edges],
        OVER: [(f"{START} {upper} {OVER}", names) for upper, names in below.items()],
        MEANS: [(f"{START} {code} {MEANS}", {path[0]}) for code, path in zip(suite.code, suite.path, strict=True)],
        WHAT: [(f"{START} {WHAT} {code} {ASK}", {path[0]}) for code, path in zip(suite.code, suite.path, strict=True)],
    }
    told = {}
    for kind, questions in asked.items():
        new, _ = sample(
            model, torch.tensor([suite.ids(text) for text, _ in questions]), stop=0, longest=1, temperature=0.0
        )
        said_words = [suite.vocabulary[one] for one in new[:, 0].tolist()]
        told[kind] = float(np.mean([word in right for word, (_, right) in zip(said_words, questions, strict=True)]))
    return told


def gates(model: Any, suite: Atlas, *, draws: int = 16) -> list[Gate]:
    """What a base must know and must not: edges and codes; on leaves of which it was never asked, walks that are
    neither all right nor all wrong, and tops that it does not know at once.
    """
    told, asked = known(model, suite), outcomes(model, suite, suite.leaves[REPORT], draws=draws)
    n = len(asked)
    return [
        Gate("edges", told[UNDER], least=0.97, n=len(suite.edges)),
        Gate("edges_down", told[OVER], least=0.97, n=len({upper for _, upper in suite.edges})),
        Gate("codes", told[WHAT], least=0.97, n=len(suite.code)),
        Gate("statements", told[MEANS], least=0.97, n=len(suite.code)),
        Gate("sampled", float(asked.sampled.mean()) / draws, least=0.15, most=0.6, n=n),
        Gate("path", float(asked.path.mean()), least=0.2, most=0.8, n=n),
        Gate("direct", float(asked.direct.mean()), most=0.35, n=n),
    ]
