"""One cell, looked at closely: what the model would say under that edit, beside the clean and the corrupted run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch

from ..arguments import Count, HFModel, Index, Positions, door
from ..engine.metrics import Metric, resolve
from ..engine.model import Model
from ..engine.runs import Runs
from ..engine.sessions import of_one_model
from ..prompts import Pair, encode
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
    direction: Literal["denoise", "noise"] = "denoise",
    metric: "str | Metric | Callable[[Any, Any], Any]" = "logit_diff",
    window: Count = 1,
    k: Count = 10,
    expert: Index | None = None,
) -> CellView:
    """The top predictions under the edit of one cell of ``lens.patch``.

    Args:
        layer, position, head, expert: the cell; position may be an int or a name of the pair; None is every prompt
            token.
        k: predictions to show.

    Raises: as ``patch``; UnsupportedModel where the model's blocks are not written out.
    """
    decoder, measure = Model.of(model), resolve(metric)
    encoded = encode(model, pair)
    axis = [name for name, number in (("head", head), ("expert", expert)) if number is not None]
    over = ("layer", *axis, "position")
    grid = Grid.make(
        decoder,
        [encoded],
        site,
        over,
        [layer],
        None if head is None else [head],
        None if position is None else [position],
        window,
        None if expert is None else [expert],
    )
    keep = () if site in _KEPT else (site,)
    first, second = (
        (encoded.corrupted_ids, encoded.clean_ids)
        if direction == "denoise"
        else (encoded.clean_ids, encoded.corrupted_ids)
    )
    answers, length = measure.sequences(encoded), len(encoded.clean_ids)
    base: list[Any] = []
    source: list[Any] = []
    edited, reads = [], []
    for answer in answers:
        tail = torch.tensor(answer[:-1], dtype=torch.long, device=decoder.device)

        def put(ids):
            return torch.cat([ids.to(decoder.device), tail])

        for group, runs in zip((base, source), Runs.record_pair(decoder, [put(first)], [put(second)], keep)):
            group.append(runs)
        reads.append([length - 1 + t for t in range(max(1, len(answer)))])
        if position is None:
            edits = tuple(e for cell in grid.cells(0, source[-1][0]) for e in cell.edits)
        else:
            edits = next(iter(grid.cells(0, source[-1][0]))).edits
        edited.append(decoder.run(base[-1], [(0, edits)], [reads[-1]]).resid)

    def ends(runs):
        return [r.final[at] for r, at in zip(runs, reads)]

    clean, corrupted = (ends(source), ends(base)) if direction == "denoise" else (ends(base), ends(source))

    def value(resid):
        return measure.score(decoder, [r[None] for r in resid], encoded, [c[None] for c in clean]).item()

    tokenizer = getattr(model, "tokenizer", None)

    def top(resid):
        return top_tokens(decoder, tokenizer, resid[0][0], k)

    return CellView(top(clean), top(corrupted), top(edited), value(clean), value(corrupted), value(edited))


def top_tokens(decoder: Model, tokenizer: Any, resid: torch.Tensor, k: int) -> list[tuple[str, float]]:
    """The ``k`` most likely next tokens of a final residual stream ``[d_model]``."""
    probability, index = decoder.unembed(resid).float().softmax(-1).topk(min(k, decoder.d_vocab))
    show: Sequence[str] = [tokenizer.decode([i]) if tokenizer is not None else str(i) for i in index.tolist()]
    return list(zip(show, probability.tolist()))
