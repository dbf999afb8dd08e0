"""Token log-likelihoods of many rows under any causal language model, in length-sorted batches, kept in a store that
resumes and never scores twice.

Rows are cut to what is asked for, sorted by length within blocks of `BLOCK` and cut into batches of `batch_tokens`,
before anything is computed: so the same rows give the same batches, whether one process scores them or many
(`backend="ray"`), at once or after an interruption.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import numpy as np
import torch

from lens.arguments import MOST, Count, FilePath, Size, Whole, door, shown, unfit
from lens.engine.sessions import of_one_model
from lens.progress import hidden
from lens.scoring.likelihood import ScoringError
from lens.scoring.scores import Scores, whole_number
from lens.scoring.store import Store

from .pieces import Scoring
from .source import source_of
from .texts import Rows

__all__ = ["Scores", "ScoringError", "score"]

EXTRA = ("mean", "variance")
BACKENDS = ("local", "ray")


@door(ScoringError)
@of_one_model
def score(
    model: Any,
    rows: Sequence[Any],
    *,
    row_ids: Any = None,
    prefix: Size = 0,
    window: Count | None = None,
    start: str | Size | None = "auto",
    extra: str | Sequence[str] = (),
    batch_tokens: Count | None = None,
    dtype: str | torch.dtype | None = None,
    device: str | None = None,
    store: FilePath | None = None,
    backend: str = "local",
    workers: Annotated[int, Whole(1, 10**4)] = 2,
    threads: Annotated[int, Whole(1, 10**4)] | None = None,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
) -> Scores:
    """Score the tokens of rows under a causal language model.

    Args:
        model: a Hugging Face causal language model, a model from `lens.load`, or a name or folder for `lens.load`; a
            `Served`, or the address of a server ("http://localhost:8000/v1#name"), which is asked with token ids.
        rows: token ids: an array [n, length], a list of arrays, `Rows` of `from_records`, or anything with `len` and
            `[i]`. What is longer than the model's context is cut (`about["cut"]`).
        row_ids: whole numbers, each once; by default those of `Rows`, else 0 to n - 1.
        prefix: tokens at the head of each row that are read but not scored. window: tokens after them that are scored;
            None: all.
        start: a token put before every row; None: none, and a row's first token then has no log-probability; "auto",
            "bos" or a token as text: see `lens.prompts.start_token`. Rows that hold it already want None.
        extra: "mean", "variance": of the log-probability under the model's own distribution at each place
            (`lens.scoring.membership` needs them for Min-K%++).
        batch_tokens: tokens of a batch, padding included; a longer row is a batch of its own. Of a server: of a
            request.
        dtype, device: as `lens.load`; None: as the model is. Another dtype than the model's makes a copy.
            Log-probabilities are computed in at least float32.
        store: a folder. Rows that it holds for this model and these options are read, others are scored and written to
            it in parts of about 65,000 tokens.
        backend: "local", or "ray" for `workers` actors, at most one a row (needs `pip install 'mnemoscope[ray]'`), on
            the Ray that this process is connected to, that of RAY_ADDRESS, or a local one; the driver writes the store.
        threads: of each scoring process; by default torch's own setting locally, and 1 in each actor. With equal
            `threads`, on processors of one kind, both backends give equal bits.
        stop: asked between batches (twice a second with "ray"); True ends with the rows scored so far
            (`about["status"]`).

    Raises ScoringError.
    """
    options = _options(prefix, window, extra, batch_tokens, backend, workers, threads)
    source = source_of(model, dtype, device, store)
    source.require(options)
    if len(rows) > MOST:
        raise ScoringError(unfit("rows", rows, f"at most {MOST} rows", "score them in parts"))
    ids = _row_ids(rows.row_ids if row_ids is None and isinstance(rows, Rows) else row_ids, len(rows))
    begin = source.begin(start)
    if begin is not None and not 0 <= whole_number(begin, "start", 0) < source.facts["vocabulary"]:
        raise ScoringError(
            f"start={start!r} is not a token of the model, which has {source.facts['vocabulary']}; expected 'auto',"
            " 'bos', None or a token id."
        )
    first = options["prefix"] if begin is not None else max(1, options["prefix"])
    # what the numbers depend on; the rest only changes their order of computation
    identity = {
        **source.identity,
        "start": None if begin is None else int(begin),
        "prefix": options["prefix"],
        "window": options["window"],
        "moments": options["moments"],
    }
    folder = None if store is None else Store(store, identity)
    scoring = Scoring(source, folder, options, None if begin is None else int(begin), first, stop)
    from tqdm.auto import tqdm

    with tqdm(total=len(ids), desc="scoring", unit="row", delay=2.0, leave=False, disable=hidden(progress)) as bar:
        scoring.all(rows, ids, bar)
    return scoring.scores(ids)


def _options(prefix, window, extra, batch_tokens, backend, workers, threads) -> dict:
    extra = (extra,) if isinstance(extra, str) else tuple(extra)
    if unknown := [e for e in extra if e not in EXTRA]:
        raise ScoringError(f"extra={extra!r}: {unknown[0]!r} is not known; expected some of {', '.join(EXTRA)}.")
    if backend not in BACKENDS:
        raise ScoringError(f"backend={shown(backend)} is not known; expected 'local' or 'ray'.")

    def optional(value, name):
        return None if value is None else whole_number(value, name, 1)

    return {
        "prefix": whole_number(prefix, "prefix", 0),
        "window": optional(window, "window"),
        "moments": bool(extra),
        "batch_tokens": optional(batch_tokens, "batch_tokens"),
        "backend": backend,
        "workers": whole_number(workers, "workers", 1),
        "threads": optional(threads, "threads"),
    }


def _row_ids(row_ids: Any, n: int) -> np.ndarray:
    if row_ids is None:
        return np.arange(n, dtype=np.int64)
    ids = np.asarray(row_ids)
    if ids.shape != (n,) or (n and ids.dtype.kind not in "iu"):
        raise ScoringError(
            f"row_ids has dtype {ids.dtype} and shape {ids.shape}; expected {n} whole numbers, one for each row."
        )
    ids = ids.astype(np.int64)
    distinct, counts = np.unique(ids, return_counts=True)
    if len(distinct) < n:
        raise ScoringError(
            f"row_ids: {int(distinct[counts > 1][0])} is there {int(counts.max())} times; expected each id once. Leave"
            " out the repeats."
        )
    return ids
