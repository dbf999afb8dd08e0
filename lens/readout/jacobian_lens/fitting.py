"""Fitting a lens on texts: prompt by prompt, in shares, on disk as it goes."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from ...arguments import Count, FilePath, Filled, HFModel, Positive, Size, Token, Whole, door, unfit
from ...engine.model import Model
from ...engine.reverse import ReverseError
from ...engine.sessions import of_one_model, verify
from ...engine.stopping import says_stop
from ...progress import hidden
from ...prompts import start_token
from ...results.record import record_of
from ...tokens import tokenize, tokenizer_of
from ..norms import back_through_norm
from ..reading import one_token
from .errors import JacobianLensError
from .fitted import JacobianLens, TokenLens
from .one_prompt import rows_of
from .partial import Partial

#: What is left out of a prompt's end: its last position says nothing of a later one.
LAST_EXCLUDED = 1
ESTIMATOR = "mean over positions of the sum over later targets"


@door(JacobianLensError)
@of_one_model
@torch.no_grad()
def fit(
    model: HFModel,
    texts: Annotated[Sequence[Any], Filled()],
    *,
    n: Count | None = None,
    tokens: Annotated[Sequence[Token], Filled()] | None = None,
    length: Annotated[int, Whole(2)] = 128,
    skip: Size = 16,
    start: Token | None = "auto",
    store: FilePath | None = None,
    share: tuple[int, int] | None = None,
    memory_mb: Positive | None = None,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
) -> JacobianLens | TokenLens:
    """A lens fitted exactly, for every layer below the last.

    It is the average over texts of ``(1/|V|) sum_t sum_t'>=t d h_final,t' / d h_l,t``; ``V`` are the positions from
    ``skip`` to the last but one of a text's first ``length`` tokens. The inner sum is over all later positions, so that
    ``length`` and ``skip`` are part of what a lens is.

    Args:
        texts: texts, or rows of token ids, which are taken as they are. n: the first so many that are long enough.
        tokens: the directions of these alone (a `TokenLens`), one backward pass each instead of ``d_model``.
        start: the token before each text, see `lens.prompts.start_token`.
        store: a folder in which the sums are kept as they grow; the same call goes on where it was ended.
        share: ``(i, m)``: every m-th prompt from the i-th on; `merge` makes one lens of all shares.
        memory_mb: memory for the work, in units of 2^20 bytes.
        stop: asked before every prompt; what is done by then is returned, also after Ctrl-C.

    Returns: a `JacobianLens`, or a `TokenLens`; ``about["status"]`` says whether it is complete, ``about["skipped"]``
        how many texts were too short.

    Raises:
        JacobianLensError: no text that is long enough, a share that is none, a model whose blocks are not written out,
            a store of something else.

    Source: Gurnee et al. 2026 (Methods); positions and averages as in the published code. Cost: ``d_model`` backward
        passes a prompt, without weights' gradients.

    >>> J = lens.jacobian_lens.fit(model, texts, n=100, store="fit")          # doctest: +SKIP
    """
    view = Model.of(model)
    if view.n_layers < 2:
        raise JacobianLensError("model has one layer, whose output is the last stream itself; a lens needs two.")
    first, every = (0, 1) if share is None else share
    if not 0 <= first < every:
        raise JacobianLensError(unfit("share", share, "a part and the number of parts, such as (0, 4)"))
    chosen = None if tokens is None else [one_token(model, view, token, "tokens") for token in tokens]
    ids, skipped = _usable(model, view, texts, length, skip, start, n)
    if not ids:
        raise JacobianLensError(
            f"texts: none of the {len(texts)} has the {skip + 2} tokens that skip={skip} needs; give longer ones, or a"
            " smaller skip."
        )
    about = _about(model, view, ids, chosen, length, skip, start) | {"share": None if share is None else [first, every]}
    mine = [(i, text) for i, text in enumerate(ids) if i % every == first]
    if not mine:
        raise JacobianLensError(f"share={share!r} is of {len(ids)} texts; there is none for it.")
    count = view.d_model if chosen is None else len(chosen)
    part = Partial(store, about, (2, view.n_layers - 1, count, view.d_model), view.dtype)
    directions = None if chosen is None else _directions(view, chosen)
    status = "complete"
    try:
        for i, text in tqdm(
            mine, desc="Jacobian lens", unit="prompt", delay=2.0, leave=False, disable=hidden(progress)
        ):
            if i in part.done:
                continue
            if says_stop(stop):
                status = "partial"
                break
            began, one = time.monotonic(), torch.zeros_like(part.sums[0])
            for layer, rows, values in rows_of(view, text, skip, directions, memory_mb):
                one[layer, rows] = values
            part.add(i, one)
            if part.due(began):
                verify(model)
                part.write()
    except ReverseError as error:
        raise JacobianLensError(f"model: {error}") from None
    except KeyboardInterrupt:
        status = "partial"
    verify(model)
    if not part.done:
        raise JacobianLensError("stopped before the first prompt was done; nothing is fitted.")
    part.write(last=True)
    done = sorted(part.done)
    odd = sum(i % 2 for i in done)
    about |= {"n_prompts": len(done), "n_odd": odd, "skipped": skipped, "status": status}
    about["prompts"] = [about["prompts"][i] for i in done]
    kind = JacobianLens if chosen is None else TokenLens
    mean = part.sums.sum(0) / len(done)
    return kind(tuple(range(view.n_layers - 1)), mean, part.sums[1] / odd if odd else None, about)


def _usable(
    model: Any, view: Model, texts: Sequence[Any], length: int, skip: int, start: Token | None, n: int | None
) -> tuple[list[Tensor], int]:
    """The token ids of the texts that are long enough, and how many were not."""
    ids: list[Tensor] = []
    skipped, before = 0, start_token(model, start) if any(isinstance(text, str) for text in texts) else None
    for i, text in enumerate(texts):
        if n is not None and len(ids) == n:
            break
        if isinstance(text, str):
            row = tokenize(tokenizer_of(model), text)
            row = row if before is None or row[:1] == [before] else [before, *row]
        else:
            row = _row(text, i, view.d_vocab)
        if len(row[:length]) < skip + 1 + LAST_EXCLUDED:
            skipped += 1
        else:
            ids.append(torch.tensor(row[:length]))
    return ids, skipped


def _row(text: Any, i: int, d_vocab: int) -> list[int]:
    try:
        row = np.asarray(text.cpu() if isinstance(text, Tensor) else text)
    except (TypeError, ValueError, RuntimeError):  # ragged, or nested too deep
        row = np.empty((0, 0))
    if row.ndim != 1 or not len(row) or row.dtype.kind not in "iu" or row.min() < 0 or row.max() >= d_vocab:
        raise JacobianLensError(unfit(f"texts[{i}]", text, f"a text, or a row of token ids from 0 to {d_vocab - 1}"))
    listed: list[int] = row.tolist()
    return listed


def _directions(view: Model, chosen: Sequence[int]) -> Tensor:
    """The tokens' columns of the unembedding, before the final norm whose scale is left out."""
    return back_through_norm(view.norm, view.unembedding()[list(chosen)].float())


def _about(
    model: Any,
    view: Model,
    ids: Sequence[Tensor],
    chosen: Sequence[int] | None,
    length: int,
    skip: int,
    start: Token | None,
) -> dict[str, Any]:
    """What a lens is of; texts and model by their hashes."""
    record = record_of(model, view, "jacobian lens", {})
    told = {key: record["model"][key] for key in ("name", "hash", "state", "dtype", "loaded") if key in record["model"]}
    prompts = [hashlib.sha256(text.numpy().astype(np.int64).tobytes()).hexdigest()[:32] for text in ids]
    return {
        "estimator": ESTIMATOR,
        "length": length,
        "skip": skip,
        "last_excluded": LAST_EXCLUDED,
        "start": start,
        "tokens": None if chosen is None else list(chosen),
        "model": told | {"n_layers": view.n_layers, "d_model": view.d_model},
        "texts": hashlib.sha256(json.dumps(prompts).encode()).hexdigest(),
        "prompts": prompts,
        "versions": record["versions"],
    }
