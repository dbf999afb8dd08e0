"""One cell, looked at closely: what the model would say under that edit, beside the clean and the corrupted run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch

from ..arguments import Count, HFModel, Index, Positions, door
from ..engine.metrics import Metric, resolve
from ..engine.model import Model
from ..engine.sessions import of_one_model
from ..prompts import Align, Pair
from .asked import Asked
from .exact import _KEPT
from .grid import Grid, PatchError


class CellView(NamedTuple):
    """Next-token predictions of the clean, the corrupted and the edited run, most likely first, and their metric.

    Each prediction is ``(token, probability)``.
    """

    clean: list[tuple[str, float]]
    corrupted: list[tuple[str, float]]
    edited: list[tuple[str, float]]
    clean_value: float
    corrupted_value: float
    edited_value: float


@door(PatchError)
@of_one_model(reads=False)
@torch.no_grad()
def explain_cell(
    model: HFModel,
    pair: Pair,
    site: str,
    layer: Index,
    position: Positions = None,
    head: Index | None = None,
    *,
    direction: Literal["denoise", "noise"] | None = None,
    metric: "str | Metric | Callable[[Any, Any], Any]" = "logit_diff",
    window: Count = 1,
    k: Count = 10,
    expert: Index | None = None,
    align: Align | None = None,
    source: Any = "pair",
    source_position: Any = None,
    source_layer: Any = None,
    source_model: HFModel | None = None,
) -> CellView:
    """The top predictions under the edit of one cell of ``lens.patch``.

    Args:
        layer, position, head, expert: the cell; position may be an int or a name of the pair; None is every prompt
            token.
        k: predictions to show.
        align, source, source_position, source_layer, source_model: what is put in, as in ``lens.patch``.

    Raises: as ``patch``; UnsupportedModel where the model's blocks are not written out.
    """
    decoder, measure = Model.of(model), resolve(metric)
    asked = Asked(align, source, source_position, source_layer, source_model, given_direction=direction)
    asked.require_one_head(measure.name)
    if asked.kind == "resample":
        raise PatchError("source='resample' draws a partner among several pairs, and one cell is of one pair.")
    [encoded] = of_pair = asked.encode(model, [pair])
    axis = [name for name, number in (("head", head), ("expert", expert)) if number is not None]
    keep = () if site in _KEPT else (site,)
    other, positions = asked.other(decoder, site), None if position is None else [position]
    grid = Grid.make(
        decoder,
        of_pair,
        site,
        ("layer", *axis, "position"),
        [layer],
        None if head is None else [head],
        positions,
        window,
        None if expert is None else [expert],
        asked.places(of_pair, positions, None),
    )
    origin = asked.origin(decoder, of_pair, grid, keep, None, other, None)
    cells, runs_of = origin.cells(grid), origin.runs()
    bases: list[Any] = []
    sources: list[Any] = []
    edited: list[Any] = []
    for answer in measure.sequences(encoded):
        base, source_runs = runs_of([0], [torch.tensor(answer[:-1], dtype=torch.long, device=decoder.device)])
        count = max(1, len(answer))
        reads = list(range(origin.lengths[0] - 1, origin.lengths[0] - 1 + count))
        # with no position named, every token's cell together
        chosen = list(cells(0, source_runs, 0))
        edits = tuple(e for cell in (chosen if position is None else chosen[:1]) for e in cell.edits)
        edited.append(decoder.run(base, [(0, edits)], [reads]).resid)
        bases.append(base.final[reads])
        taken = origin.source_lengths[0] - 1
        sources.append(source_runs.final[taken : taken + count])

    view = other or decoder
    sides = {"base": (bases, decoder), "source": (sources, view), "edited": (edited, decoder)}
    first, second = ("source", "base") if asked.direction == "denoise" else ("base", "source")

    def value(name: str) -> float:
        resid, of = sides[name]
        scores = measure.score(of, [r[None] for r in resid], encoded, [c[None] for c in sides[first][0]])
        return float(scores.item())

    def top(name: str) -> list[tuple[str, float]]:
        resid, of = sides[name]
        return top_tokens(of, getattr(model, "tokenizer", None), resid[0][0], k)

    return CellView(top(first), top(second), top("edited"), value(first), value(second), value("edited"))


def top_tokens(decoder: Model, tokenizer: Any, resid: torch.Tensor, k: int) -> list[tuple[str, float]]:
    """The ``k`` most likely next tokens of a final residual stream ``[d_model]``."""
    probability, index = decoder.unembed(resid).float().softmax(-1).topk(min(k, decoder.d_vocab))
    show: Sequence[str] = [tokenizer.decode([i]) if tokenizer is not None else str(i) for i in index.tolist()]
    return list(zip(show, probability.tolist()))
