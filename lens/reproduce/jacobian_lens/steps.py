"""What is computed: the lens of the bridges' tokens, their places under it and its controls, what edits do."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from ...engine.model import Model
from ...readout import jacobian_lens
from ...readout.jacobian_lens import Span, TokenLens
from ...readout.reading import recorded
from .bench import Plan, Question

#: the tokens of a question that are read
POSITIONS = ("subject", "last")


def fitted(
    model: Any, texts: Sequence[str], tokens: Sequence[int], plan: Plan, folder: Path | None, progress: bool | None
) -> TokenLens:
    """The lens of some tokens, its sums kept in a folder.

    Raises: KeyboardInterrupt: it was stopped on the way.
    """
    lens = jacobian_lens.fit(
        model,
        list(texts),
        n=plan.texts,
        tokens=list(tokens),
        length=plan.length,
        skip=plan.skip,
        store=None if folder is None else folder / "fit",
        progress=progress,
    )
    if lens.about["status"] != "complete":
        raise KeyboardInterrupt("stopped in the fit; run the same command again to go on")
    assert isinstance(lens, TokenLens)
    return lens


def halves(lens: TokenLens) -> pd.DataFrame:
    """By layer how far the lenses of even and odd texts agree."""
    return lens.split_half().reset_index()


@torch.no_grad()
def ranks(model: Any, asked: Sequence[Question], lens: TokenLens, seed: int, draws: int) -> pd.DataFrame:
    """The place of each question's bridge among all bridges, by reading, position and layer; 0 is the first.

    Readings: the lens, the lens of every second text, random directions at the same angles (so many `draws`, which the
    column `draw` counts), the logit lens; and under the lens the bridge of another question of the same half, in turn.
    """
    view, tokens = Model.of(model), list(lens.tokens)
    assert lens.half is not None
    half = dataclasses.replace(lens, mean=lens.half)
    random = [jacobian_lens.random_like(lens, seed + draw) for draw in range(draws)]
    lenses: dict[tuple[str, int], Any] = {("lens", 0): lens, ("half", 0): half}
    lenses |= {("random", draw): one for draw, one in enumerate(random)}
    column = [tokens.index(q.bridge) for q in asked]
    other = _others(asked, column)
    lines = []
    for batch, runs in recorded(view, [q.tensor for q in asked], (), "ranks"):
        for position in POSITIONS:
            at = [runs.starts[n] + (asked[i].subject if position == "subject" else len(asked[i].ids) - 1)
                  for n, i in enumerate(batch)]  # fmt: skip
            for layer in lens.layers:
                x = runs.get("resid_post", layer)[at]
                scores = {name: one.scores(layer, x.float()) for name, one in lenses.items()}
                scores["logit_lens", 0] = view.unembed(x).float()[:, tokens]
                places = {name: _place(s, [column[i] for i in batch]) for name, s in scores.items()}
                places["another", 0] = _place(scores["lens", 0], [other[i] for i in batch])
                lines += [
                    (asked[i].split, asked[i].item, asked[i].entity, *name, position, layer, int(place[n]), len(tokens))
                    for name, place in places.items()
                    for n, i in enumerate(batch)
                ]
    return pd.DataFrame(
        lines, columns=["split", "item", "entity", "reading", "draw", "position", "layer", "rank", "candidates"]
    )


def _place(scores: Tensor, column: Sequence[int]) -> Tensor:
    own = scores.gather(1, torch.tensor(column, device=scores.device)[:, None])
    return (scores > own).sum(1)


def _others(asked: Sequence[Question], column: Sequence[int]) -> list[int]:
    """Of each question the bridge of the next one of its half whose bridge is another; its own where there is none."""
    out = []
    for i, q in enumerate(asked):
        around = [j for j in (*range(i + 1, len(asked)), *range(i)) if asked[j].split == q.split]
        out.append(next((column[j] for j in around if column[j] != column[i]), column[i]))
    return out


@torch.no_grad()
def edits(model: Any, asked: Sequence[Question], lens: TokenLens, layer: int, seed: int, plan: Plan) -> pd.DataFrame:
    """What edits along the lens at a layer, from the subject's last token on, do to the answer: its log-probability,
    and its logit minus that of the partner's answer, by condition; random ones by `draw` too.
    """
    view, lines = Model.of(model), []
    chosen = [q for q in asked if q.split == "report" and q.partner is not None][: plan.edited]
    for number, q in enumerate(chosen):
        assert q.partner is not None
        partner = asked[q.partner]
        where = list(range(q.subject, len(q.ids)))
        one, other, pair = (
            lens.span(model, layer, bridges) for bridges in ([q.bridge], [partner.bridge], [q.bridge, partner.bridge])
        )
        conditions = {
            ("without", 0): one.edit("zero", position=where),
            ("without another", 0): other.edit("zero", position=where),
            ("swap", 0): pair.swap(q.bridge, partner.bridge, position=where),
        }
        for draw in range(plan.draws):
            own = seed + number * plan.draws + draw
            conditions["without random", draw] = _random(one, own).edit("zero", position=where)
            conditions["swap random", draw] = _random(pair, own).swap(q.bridge, partner.bridge, position=where)
        base = view.record([q.tensor])
        last = len(q.ids) - 1
        resid = view.run(base, [(0, [edit]) for edit in conditions.values()], [[last]] * len(conditions)).resid
        logits = view.unembed(torch.cat([base.final[last : last + 1], resid])).float()
        logprob = logits.log_softmax(-1)[:, q.answer]
        apart = logits[:, q.answer] - logits[:, partner.answer]
        lines += [
            (q.item, q.entity, *name, layer, float(logprob[n]), float(apart[n]))
            for n, name in enumerate((("plain", 0), *conditions))
        ]
    return pd.DataFrame(lines, columns=["item", "entity", "condition", "draw", "layer", "logprob", "apart"])


def _random(span: Span, seed: int) -> Span:
    random = jacobian_lens.random_like(span, seed)
    assert isinstance(random, Span)
    return random
