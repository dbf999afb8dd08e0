"""Token log-likelihoods of many rows under any causal language model, in length-sorted batches, kept in a store that
resumes and never scores twice.

Rows are cut to what is asked for, sorted by length within blocks of `BLOCK` and cut into batches of `batch_tokens`,
before anything is computed: so the same rows give the same batches, whether one process scores them or many
(`backend="ray"`), at once or after an interruption.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch

from lens.arguments import MOST, Count, FilePath, Size, Whole, door, unfit
from lens.engine.sessions import of_one_model
from lens.progress import hidden
from lens.scoring.causal import settle
from lens.scoring.likelihood import Likelihood, ScoringError, cast, core, plain, score_piece
from lens.scoring.scores import Scores, counts_of, whole_number
from lens.scoring.store import Part, Store, remember, remembered, row_key

__all__ = ["Scores", "ScoringError", "score"]

#: Rows that are sorted by length together.
BLOCK = 1 << 14
#: Scored tokens of a part, the unit that is written, resumed and distributed.
PART_TOKENS = 1 << 16
BATCH_TOKENS = {"cpu": 1024, "cuda": 1 << 16, "mps": 8192}
EXTRA = ("mean", "variance")
BACKENDS = ("local", "ray")


@dataclass(frozen=True)
class Piece:
    """Rows that are scored together and written as one part; `batches` are sizes that add up to their number."""

    index: np.ndarray
    row_id: np.ndarray
    key: np.ndarray
    rows: list[np.ndarray]
    batches: list[int]


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
        model: a Hugging Face causal language model, a model from `lens.load`, or a name or folder for `lens.load`.
        rows: token ids: an array [n, length], a list of arrays, or anything with `len` and `[i]`. What is longer than
            the model's context is cut (`about["cut"]`).
        row_ids: whole numbers, each once; by default 0 to n - 1.
        prefix: tokens at the head of each row that are read but not scored. window: tokens after them that are scored;
            None: all.
        start: a token put before every row; None: none, and a row's first token then has no log-probability; "auto":
            the tokenizer's or configuration's start token where it has one. Rows that hold it already want None.
        extra: "mean", "variance": of the log-probability under the model's own distribution at each place
            (`lens.scoring.membership` needs them for Min-K%++).
        batch_tokens: tokens of a batch, padding included; a longer row is a batch of its own.
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
    source = Source(model, dtype, device, store)
    if len(rows) > MOST:
        raise ScoringError(unfit("rows", rows, f"at most {MOST} rows", "score them in parts"))
    ids = _row_ids(row_ids, len(rows))
    begin = source.start if isinstance(start, str) and start == "auto" else start
    if begin is not None and not 0 <= whole_number(begin, "start", 0) < source.facts["vocabulary"]:
        raise ScoringError(
            f"start={start!r} is not a token of the model, which has {source.facts['vocabulary']}; expected 'auto',"
            " None or a token id."
        )
    first = options["prefix"] if begin is not None else max(1, options["prefix"])
    # what the numbers depend on; the rest only changes their order of computation
    identity = {
        "model": source.facts["hash"],
        "state": source.facts["state"],
        "dtype": source.dtype_name,
        "start": None if begin is None else int(begin),
        "prefix": options["prefix"],
        "window": options["window"],
        "moments": options["moments"],
    }
    kept = None if store is None else Store(store, identity)
    run = _Run(source, kept, options, None if begin is None else int(begin), first, stop)
    from tqdm.auto import tqdm

    with tqdm(total=len(ids), desc="scoring", unit="row", delay=2.0, leave=False, disable=hidden(progress)) as bar:
        run.all(rows, ids, bar)
    return run.scores(ids)


def _options(prefix, window, extra, batch_tokens, backend, workers, threads) -> dict:
    extra = (extra,) if isinstance(extra, str) else tuple(extra)
    if unknown := [e for e in extra if e not in EXTRA]:
        raise ScoringError(f"extra={extra!r}: {unknown[0]!r} is not known; expected some of {', '.join(EXTRA)}.")
    if backend not in BACKENDS:
        raise ScoringError(f"backend={backend!r} is not known; expected 'local' or 'ray'.")

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


class Source:
    """The model to score with, loaded when the first row needs it. `facts`: its hash, state, vocabulary, context and
    start token; `memory`: what a store noted of it.
    """

    def __init__(self, model: Any, dtype: Any, device: Any, store: Any):
        from lens import models

        self.given, self.device = model, device
        self.dtype = None if dtype is None else models._dtype(dtype)
        self.named = isinstance(model, (str, os.PathLike))
        self.name = str(model) if self.named else models.name_of(model)
        if not self.named:
            core(model)
        digest = _files_digest(model) if self.named and store is not None else None
        noted = remembered(store, digest) if digest else None
        # what an older version noted lacks the state
        self.facts = noted if noted is not None and "state" in noted else self._facts(anew=store is not None)
        if digest and self.facts is not noted:
            remember(store, digest, self.facts)
        if store is not None and self.facts["state"] is None:
            raise ScoringError(
                f"store={str(store)!r}: the model cannot be identified ({self.facts['unidentified']}), so that the"
                " store could return another one's scores; leave store out, or take that off the model."
            )
        self.start = self.facts["start"]

    @property
    def dtype_name(self) -> str:
        if self.dtype is None:
            return "float32" if self.named else str(self.model.dtype).removeprefix("torch.")
        return str(self.dtype).removeprefix("torch.")

    @cached_property
    def loaded(self) -> Any:
        """The model as it was given, or as it is loaded by name (in float32, so that the hash does not depend on the
        dtype asked for).
        """
        from lens import models

        return settle(models.load(self.given, device=self.device or "auto")) if self.named else self.given

    @cached_property
    def model(self) -> Any:
        from lens import models

        return cast(plain(self.loaded), self.dtype, None if self.device is None else models._device(self.device))

    @cached_property
    def kind(self) -> str:
        from lens import models

        return (
            models._device(self.device or "auto").type
            if self.named
            else models._device(self.device).type
            if self.device
            else self.model.device.type
        )

    def _facts(self, anew: bool = False) -> dict:
        from lens import models
        from lens.models.state import identity

        hf = core(self.loaded)
        config = getattr(hf.config, "get_text_config", lambda: hf.config)()
        tokenizer = getattr(self.loaded, "tokenizer", None)
        embedding: Any = hf.get_input_embeddings()
        vocabulary = int(embedding.weight.shape[0])
        begin = tokenizer.bos_token_id if tokenizer is not None else getattr(config, "bos_token_id", None)
        begin = begin[0] if isinstance(begin, (list, tuple)) and begin else begin
        context = getattr(config, "max_position_embeddings", None)
        told = identity(self.loaded)
        return {
            "hash": models.weight_hash(self.loaded, anew=anew),
            "state": told.digest,
            **({"unidentified": told.unidentified} if told.unidentified else {}),
            "vocabulary": vocabulary,
            "context": int(context) if isinstance(context, int) and context > 0 else None,
            "start": int(begin) if isinstance(begin, int) and 0 <= begin < vocabulary else None,
        }


class _Run:
    """One call of `score`: plans blocks of rows into pieces, has them scored, and collects the values by row."""

    def __init__(self, source: Source, store: Store | None, options: dict, start: int | None, first: int, stop):
        self.source, self.store, self.options, self.start, self.first, self.stop = (
            source,
            store,
            options,
            start,
            first,
            stop,
        )
        self.values: dict[int, tuple[np.ndarray, ...]] = {}
        self.cut = self.cached = self.done = 0
        self.status, self.threads = "complete", options["threads"]

    def all(self, rows: Any, ids: np.ndarray, bar: Any) -> None:
        planned = (self._plan(rows, ids, begin, bar) for begin in range(0, len(ids), BLOCK))
        block = next(filter(None, planned), None)
        if block is None:
            return
        # blocks follow on each other without a pause, so that no worker waits for the last of one
        pieces = (piece for pieces in itertools.chain([block], planned) for piece in pieces)
        with self._scorer(block, len(ids)) as scorer:
            for piece, values in scorer(pieces):
                if values is None:
                    self.status = "stopped"
                    return
                if self.store is not None:
                    self.store.write(Part(piece.row_id, piece.key, values))
                self.values.update(zip(piece.index.tolist(), values))
                bar.update(len(values))

    def _plan(self, rows: Any, ids: np.ndarray, begin: int, bar: Any) -> list[Piece]:
        """The pieces of one block that the store does not have. Its batches are those of the whole block, less what is
        there already.
        """
        index = np.arange(begin, min(begin + BLOCK, len(ids)))
        tokens = [self._row(rows, int(i)) for i in index]
        sizes = np.array([max(0, len(t) - self.first) for t in tokens])
        for i in index[sizes == 0]:
            self.values[int(i)] = (np.empty(0, np.float32),) * (3 if self.options["moments"] else 1)
        bar.update(int((sizes == 0).sum()))
        keys = (
            np.array([row_key(ids[i], t) for i, t in zip(index, tokens)], np.uint64)
            if self.store is not None
            else np.zeros(len(index), np.uint64)
        )
        there = self.store.fetch(keys[sizes > 0], sizes[sizes > 0]) if self.store is not None else {}
        width = np.array([len(t) for t in tokens])
        order = np.argsort(-width, kind="stable")
        order = order[sizes[order] > 0]
        budget = (
            self.options["batch_tokens"] or BATCH_TOKENS.get(self.source.kind, BATCH_TOKENS["cpu"]) if len(order) else 1
        )
        pieces, batches, batch, size = [], [], [], 0
        for at, nxt in zip(order, [*order[1:], None]):
            batch.append(at)
            size += int(sizes[at])
            # the longest row comes first in its batch
            if nxt is None or (len(batch) + 1) * int(width[batch[0]]) > budget:
                batches.append(batch)
                batch = []
                if nxt is None or size >= PART_TOKENS:
                    pieces.append(batches)
                    batches, size = [], 0
        out = []
        for batches in pieces:
            for at in (a for b in batches for a in b):
                if self.store is not None and int(keys[at]) in there:
                    self.values[int(index[at])] = there[int(keys[at])]
                    self.cached += 1
                    bar.update(1)
            left = [b for b in ([a for a in batch if int(index[a]) not in self.values] for batch in batches) if b]
            if left:
                flat = np.array([a for b in left for a in b])
                out.append(
                    Piece(index[flat], ids[index[flat]], keys[flat], [tokens[a] for a in flat], [len(b) for b in left])
                )
        return out

    def _row(self, rows: Any, i: int) -> np.ndarray:
        """The tokens of a row up to the end of its window and of the model's context."""
        row, vocabulary, context = np.asarray(rows[i]), self.source.facts["vocabulary"], self.source.facts["context"]
        if row.size and (
            row.ndim != 1 or row.dtype.kind not in "iu" or int(row.min()) < 0 or int(row.max()) >= vocabulary
        ):
            what = (
                f"{row.dtype} of shape {row.shape}"
                if row.ndim != 1 or row.dtype.kind not in "iu"
                else f"tokens from {row.min()} to {row.max()}"
            )
            raise ScoringError(
                f"rows: row {i} holds {what}; expected token ids from 0 to {vocabulary - 1}. Tokenise it with the"
                " model's own tokenizer."
            )
        if self.options["window"] is not None:
            row = row[: self.options["prefix"] + self.options["window"]]
        # the last token is predicted, never read
        if context is not None and len(row) > (limit := context + 1 - (self.start is not None)):
            row, self.cut = row[:limit], self.cut + 1
        return row.reshape(-1)

    @contextlib.contextmanager
    def _scorer(
        self, block: list[Piece], rows: int
    ) -> Iterator[Callable[[Iterable[Piece]], Iterator[tuple[Piece, list | None]]]]:
        if self.options["backend"] == "ray":
            from lens.scoring.on_ray import Pool

            self.threads = self.options["threads"] or 1
            tokens = sum(len(row) - self.first for piece in block for row in piece.rows)
            kept = None if self.store is None else self.store.folder.parent
            workers = min(self.options["workers"], rows)
            with Pool(
                self.source, self.options["moments"], self.start, self.first, workers, self.threads, kept
            ) as pool:
                yield lambda pieces: pool.run(self._needed(pieces), self.stop, tokens)
            return
        before = torch.get_num_threads()
        self.threads = self.options["threads"] or before
        torch.set_num_threads(self.threads)
        try:
            likelihood = Likelihood(self.source.model, self.options["moments"])
            yield lambda pieces: (
                (p, score_piece(likelihood, p.rows, p.batches, self.start, self.first, self.stop))
                for p in self._needed(pieces)
            )
        finally:
            torch.set_num_threads(before)

    def _needed(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """The pieces that no other process has written by the time that their turn comes."""
        for piece in pieces:
            part = None
            if self.store is not None and self.store.has(name := Part.name(piece.key)):
                part = self.store.read(
                    name, {int(key): len(row) - self.first for key, row in zip(piece.key, piece.rows)}
                )
            if part is None:
                yield piece
            else:
                self.cached += len(piece.index)
                self.values.update(zip(piece.index.tolist(), part.values))

    def scores(self, ids: np.ndarray) -> Scores:
        at = np.array(sorted(self.values), np.int64)
        values = [self.values[i] for i in at.tolist()]
        sizes = np.array([len(v[0]) for v in values], np.int64)

        def column(i):
            return (
                np.concatenate([v[i] for v in values]).astype(np.float32, copy=False)
                if values
                else np.empty(0, np.float32)
            )

        moments = self.options["moments"]
        about = {
            "start": self.start,
            "first": self.first,
            "prefix": self.options["prefix"],
            "window": self.options["window"],
            "status": self.status,
            "cut": self.cut,
            "cached": self.cached,
            "backend": self.options["backend"],
            "threads": self.threads,
            "corrupt": [] if self.store is None else list(self.store.corrupt),
        }
        made = Scores(
            ids[at],
            np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            column(0),
            column(1) if moments else None,
            column(2) if moments else None,
            {"name": self.source.name, "hash": self.source.facts["hash"], "dtype": self.source.dtype_name},
            about,
        )
        about.update(counts_of(made))
        return made


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


def _files_digest(name: Any) -> str | None:
    """SHA-256 over a local model's weight, configuration and tokenizer files; None for a hub name."""
    from lens import models

    folder = models._folder(name)
    if folder is None:
        return None
    digest = hashlib.sha256()
    for path in sorted(
        p for p in Path(folder).iterdir() if p.suffix in (".safetensors", ".json") and p.name != "card.json"
    ):
        digest.update(json.dumps([path.name, path.stat().st_size]).encode())
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
