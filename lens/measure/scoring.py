"""Token log-likelihoods of many rows under any causal language model, in length-sorted batches, kept in a store that resumes and never scores twice.

Rows are cut to what is asked for, sorted by length within blocks of `BLOCK` and cut into batches of `batch_tokens`, before anything is computed: so the same rows
give the same batches, whether one process scores them or many (`backend="ray"`), at once or after an interruption.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lens.engine.sweeps import hidden
from lens.measure.likelihood import Likelihood, ScoringError, cast, core, plain
from lens.measure.scoring_store import Part, Store, remember, remembered, row_key

__all__ = ["Scores", "ScoringError", "score"]

#: Rows that are sorted by length together.
BLOCK = 1 << 14
#: Scored tokens of a part, the unit that is written, resumed and distributed.
PART_TOKENS = 1 << 16
BATCH_TOKENS = {"cpu": 1024, "cuda": 1 << 16, "mps": 8192}
EXTRA = ("mean", "variance")
BACKENDS = ("local", "ray")


@dataclass(frozen=True, eq=False)
class Scores:
    """Log-probabilities (nats) of the tokens of `n` rows under one model.

    `row_id`: int64 [n]. `offsets`: int64 [n + 1]; row i has `logprob[offsets[i]:offsets[i + 1]]`, float32, of its tokens from position `first` on.
    `mean`, `variance`: of the log-probability under the model's own next-token distribution at each place, where asked for. `model`: name, hash, dtype.
    `about`: the options; `status`; and how many rows are `bad` (a log-probability that is NaN or infinite), `short` (no token to score), `cut` (longer than
    the model's context) or came from the store (`cached`).
    """

    row_id: np.ndarray
    offsets: np.ndarray
    logprob: np.ndarray
    mean: np.ndarray | None = None
    variance: np.ndarray | None = None
    model: dict = field(default_factory=dict)
    about: dict = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.row_id)

    @property
    def first(self) -> int:
        """The position in its row of the first scored token: 0 only where a start token came before it."""
        return int(self.about.get("first", 0))

    @cached_property
    def _row(self) -> np.ndarray:
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def nll(self, prefix: int = 0, window: int | None = None, reduce: str = "mean") -> np.ndarray:
        """Negative log-likelihood of each row, float64 [n]: nats a token, or of the whole row with `reduce="sum"`.

        Only tokens at positions `prefix` to `prefix + window - 1` of the row count. NaN for a row without such a token, or where one is NaN or infinite.
        """
        if reduce not in ("mean", "sum"):
            raise ScoringError(f"reduce={reduce!r} is not known; expected 'mean' or 'sum'.")
        prefix, window = _whole(prefix, "prefix", 0), None if window is None else _whole(window, "window", 1)
        position = np.arange(len(self.logprob)) - self.offsets[self._row] + self.first
        chosen = position >= prefix
        if window is not None:
            chosen &= position < prefix + window
        row, value = self._row[chosen], self.logprob[chosen].astype(np.float64)
        count = np.bincount(row, minlength=len(self))
        with np.errstate(invalid="ignore"):
            total = -np.bincount(row, value, len(self))
        total[(count == 0) | ~np.isfinite(total)] = np.nan
        return total / np.maximum(count, 1) if reduce == "mean" else total

    def tokens(self) -> np.ndarray:
        """Scored tokens of each row, int64 [n]."""
        return np.diff(self.offsets)

    def take(self, row_ids: Any) -> Scores:
        """The scores of these rows, in this order. Raises ScoringError for an id that is not there."""
        wanted = np.asarray(row_ids, np.int64).reshape(-1)
        order = np.argsort(self.row_id, kind="stable")
        at = np.searchsorted(self.row_id, wanted, sorter=order)
        at[at == len(order)] = 0
        if len(wanted) and (not len(order) or (self.row_id[order[at]] != wanted).any()):
            missing = wanted[self.row_id[order[at]] != wanted] if len(order) else wanted
            raise ScoringError(f"row_ids: {missing[:5].tolist()} are not among the {len(self)} scored rows; score them first.")
        at = order[at] if len(wanted) else np.empty(0, np.int64)
        sizes = self.tokens()[at]
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        index = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - self.offsets[at], sizes)
        part = lambda a: None if a is None else a[index]
        made = Scores(self.row_id[at], offsets, self.logprob[index], part(self.mean), part(self.variance), self.model, dict(self.about))
        made.about.update(_counts(made))
        return made

    def __str__(self) -> str:
        bad = "".join(f", {self.about[n]} {what}" for n, what in (("bad", "with NaN or infinity"), ("short", "without a token to score")) if self.about.get(n))
        nll = self.nll()
        if not np.isfinite(nll).any():
            return f"{len(self)} rows without a usable score{bad}"
        return f"{len(self)} rows, {len(self.logprob)} tokens under {self.model.get('name', 'a model')}: {float(np.nanmean(nll)):.4f} nats a token{bad}"


@dataclass(frozen=True)
class Piece:
    """Rows that are scored together and written as one part; `batches` are sizes that add up to their number."""

    index: np.ndarray
    row_id: np.ndarray
    key: np.ndarray
    rows: list[np.ndarray]
    batches: list[int]


def score(model: Any, rows: Any, *, row_ids: Any = None, prefix: int = 0, window: int | None = None, start: str | int | None = "auto", extra: Sequence[str] = (),
          batch_tokens: int | None = None, dtype: str | torch.dtype | None = None, device: str | None = None, store: Any = None, backend: str = "local",
          workers: int = 2, threads: int | None = None, progress: bool | None = None, stop: Callable[[], bool] | None = None) -> Scores:
    """Score the tokens of rows under a causal language model.

    Args:
        model: a Hugging Face causal language model, a model from `lens.load`, or a name or folder for `lens.load`.
        rows: token ids: an array [n, length], a list of arrays, or anything with `len` and `[i]`. What is longer than the model's context is cut (`about["cut"]`).
        row_ids: whole numbers, each once; by default 0 to n - 1.
        prefix: tokens at the head of each row that are read but not scored. window: tokens after them that are scored; None: all.
        start: a token put before every row; None: none, and a row's first token then has no log-probability; "auto": the tokenizer's or configuration's
            start token where it has one. Rows that hold it already want None.
        extra: "mean", "variance": of the log-probability under the model's own distribution at each place (`lens.measure.membership` needs them for Min-K%++).
        batch_tokens: tokens of a batch, padding included; a longer row is a batch of its own.
        dtype, device: as `lens.load`; None: as the model is. Another dtype than the model's makes a copy. Log-probabilities are computed in at least float32.
        store: a folder. Rows that it holds for this model and these options are read, others are scored and written to it in parts of about 65,000 tokens.
        backend: "local", or "ray" for `workers` actors (needs `pip install 'mnemoscope[ray]'`); the driver writes the store.
        threads: of each scoring process; by default torch's own setting locally, and 1 in each actor. With equal `threads`, on processors of one kind, both
            backends give equal bits.
        stop: asked between batches (parts with "ray"); True ends with the rows scored so far (`about["status"]`).

    Raises ScoringError.
    """
    options = _options(prefix, window, extra, batch_tokens, backend, workers, threads)
    source = Source(model, dtype, device, store)
    ids = _row_ids(row_ids, len(rows))
    begin = source.start if isinstance(start, str) and start == "auto" else start
    if begin is not None and not 0 <= _whole(begin, "start", 0) < source.facts["vocabulary"]:
        raise ScoringError(f"start={start!r} is not a token of the model, which has {source.facts['vocabulary']}; expected 'auto', None or a token id.")
    first = options["prefix"] if begin is not None else max(1, options["prefix"])
    # what the numbers depend on; the rest only changes their order of computation
    identity = {"model": source.facts["hash"], "dtype": source.dtype_name, "start": None if begin is None else int(begin), "prefix": options["prefix"],
                "window": options["window"], "moments": options["moments"]}
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
    optional = lambda value, name: None if value is None else _whole(value, name, 1)
    return {"prefix": _whole(prefix, "prefix", 0), "window": optional(window, "window"), "moments": bool(extra), "batch_tokens": optional(batch_tokens, "batch_tokens"),
            "backend": backend, "workers": _whole(workers, "workers", 1), "threads": optional(threads, "threads")}


class Source:
    """The model to score with, loaded when the first row needs it. `facts`: its hash, vocabulary, context and start token; `memory`: what a store noted of it."""

    def __init__(self, model: Any, dtype: Any, device: Any, store: Any):
        from lens import models

        self.given, self.device = model, device
        self.dtype = None if dtype is None else models._dtype(dtype)
        self.named = isinstance(model, (str, Path))
        self.name = str(model) if self.named else str(getattr(getattr(model, "cfg", None), "model_name", None) or type(getattr(model, "original_model", model)).__name__)
        if not self.named:
            core(model)
        digest = _files_digest(model) if self.named and store is not None else None
        self.facts = (remembered(store, digest) if digest else None) or self._facts()
        if digest and remembered(store, digest) is None:
            remember(store, digest, self.facts)
        self.start = self.facts["start"]

    @property
    def dtype_name(self) -> str:
        if self.dtype is None:
            return "float32" if self.named else str(self.model.dtype).removeprefix("torch.")
        return str(self.dtype).removeprefix("torch.")

    @cached_property
    def loaded(self) -> Any:
        """The model as it was given, or as it is loaded by name (in float32, so that the hash does not depend on the dtype asked for)."""
        from lens import models

        return models.load(self.given, device=self.device or "auto") if self.named else self.given

    @cached_property
    def model(self) -> torch.nn.Module:
        from lens import models

        return cast(plain(self.loaded), self.dtype, None if self.device is None else models._device(self.device))

    @cached_property
    def kind(self) -> str:
        from lens import models

        return models._device(self.device or "auto").type if self.named else models._device(self.device).type if self.device else self.model.device.type

    def _facts(self) -> dict:
        from lens import models

        hf = core(self.loaded)
        config = getattr(hf.config, "get_text_config", lambda: hf.config)()
        tokenizer = getattr(self.loaded, "tokenizer", None)
        vocabulary = int(hf.get_input_embeddings().weight.shape[0])
        begin = tokenizer.bos_token_id if tokenizer is not None else getattr(config, "bos_token_id", None)
        begin = begin[0] if isinstance(begin, (list, tuple)) and begin else begin
        context = getattr(config, "max_position_embeddings", None)
        return {"hash": models.weight_hash(self.loaded), "vocabulary": vocabulary, "context": int(context) if isinstance(context, int) and context > 0 else None,
                "start": int(begin) if isinstance(begin, int) and 0 <= begin < vocabulary else None}


class _Run:
    """One call of `score`: plans blocks of rows into pieces, has them scored, and collects the values by row."""

    def __init__(self, source: Source, store: Store | None, options: dict, start: int | None, first: int, stop):
        self.source, self.store, self.options, self.start, self.first, self.stop = source, store, options, start, first, stop
        self.values: dict[int, tuple[np.ndarray, ...]] = {}
        self.cut = self.cached = self.done = 0
        self.status, self.threads = "complete", options["threads"]

    def all(self, rows: Any, ids: np.ndarray, bar: Any) -> None:
        with contextlib.ExitStack() as stack:
            scorer = None
            for begin in range(0, len(ids), BLOCK):
                pieces = self._plan(rows, ids, begin, bar)
                if pieces and scorer is None:
                    scorer = stack.enter_context(self._scorer())
                for piece, values in scorer(pieces) if pieces else ():
                    if values is None:
                        self.status = "stopped"
                        return
                    if self.store is not None:
                        self.store.write(Part(piece.row_id, piece.key, values))
                    self.values.update(zip(piece.index.tolist(), values))
                    bar.update(len(values))

    def _plan(self, rows: Any, ids: np.ndarray, begin: int, bar: Any) -> list[Piece]:
        """The pieces of one block that the store does not have. Its batches are those of the whole block, less what is there already."""
        index = np.arange(begin, min(begin + BLOCK, len(ids)))
        tokens = [self._row(rows, int(i)) for i in index]
        sizes = np.array([max(0, len(t) - self.first) for t in tokens])
        for i in index[sizes == 0]:
            self.values[int(i)] = (np.empty(0, np.float32),) * (3 if self.options["moments"] else 1)
        bar.update(int((sizes == 0).sum()))
        keys = np.array([row_key(ids[i], t) for i, t in zip(index, tokens)], np.uint64) if self.store is not None else np.zeros(len(index), np.uint64)
        there = self.store.fetch(keys[sizes > 0]) if self.store is not None else {}
        width = np.array([len(t) for t in tokens])
        order = np.argsort(-width, kind="stable")
        order = order[sizes[order] > 0]
        budget = self.options["batch_tokens"] or BATCH_TOKENS.get(self.source.kind, BATCH_TOKENS["cpu"]) if len(order) else 1
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
                out.append(Piece(index[flat], ids[index[flat]], keys[flat], [tokens[a] for a in flat], [len(b) for b in left]))
        return out

    def _row(self, rows: Any, i: int) -> np.ndarray:
        """The tokens of a row up to the end of its window and of the model's context."""
        row, vocabulary, context = np.asarray(rows[i]), self.source.facts["vocabulary"], self.source.facts["context"]
        if row.size and (row.ndim != 1 or row.dtype.kind not in "iu" or int(row.min()) < 0 or int(row.max()) >= vocabulary):
            what = f"{row.dtype} of shape {row.shape}" if row.ndim != 1 or row.dtype.kind not in "iu" else f"tokens from {row.min()} to {row.max()}"
            raise ScoringError(f"rows: row {i} holds {what}; expected token ids from 0 to {vocabulary - 1}. Tokenise it with the model's own tokenizer.")
        if self.options["window"] is not None:
            row = row[:self.options["prefix"] + self.options["window"]]
        # the last token is predicted, never read
        if context is not None and len(row) > (limit := context + 1 - (self.start is not None)):
            row, self.cut = row[:limit], self.cut + 1
        return row.reshape(-1)

    @contextlib.contextmanager
    def _scorer(self) -> Iterator[Callable[[list[Piece]], Iterator[tuple[Piece, list | None]]]]:
        if self.options["backend"] == "ray":
            from lens.measure.scoring_ray import Pool

            self.threads = self.options["threads"] or 1
            with Pool(self.source, self.options["moments"], self.start, self.first, self.options["workers"], self.threads) as pool:
                yield lambda pieces: pool.run(self._needed(pieces), self.stop)
            return
        before = torch.get_num_threads()
        self.threads = self.options["threads"] or before
        torch.set_num_threads(self.threads)
        try:
            likelihood = Likelihood(self.source.model, self.options["moments"])
            yield lambda pieces: ((p, score_piece(likelihood, p.rows, p.batches, self.start, self.first, self.stop)) for p in self._needed(pieces))
        finally:
            torch.set_num_threads(before)

    def _needed(self, pieces: list[Piece]) -> Iterator[Piece]:
        """The pieces that no other process has written by the time that their turn comes."""
        for piece in pieces:
            part = None
            if self.store is not None and self.store.has(name := Part.name(piece.key)):
                part = self.store.read(name)
            if part is None:
                yield piece
            else:
                self.cached += len(piece.index)
                self.values.update(zip(piece.index.tolist(), part.values))

    def scores(self, ids: np.ndarray) -> Scores:
        at = np.array(sorted(self.values), np.int64)
        values = [self.values[i] for i in at.tolist()]
        sizes = np.array([len(v[0]) for v in values], np.int64)
        column = lambda i: np.concatenate([v[i] for v in values]).astype(np.float32, copy=False) if values else np.empty(0, np.float32)
        moments = self.options["moments"]
        about = {"start": self.start, "first": self.first, "prefix": self.options["prefix"], "window": self.options["window"], "status": self.status,
                 "cut": self.cut, "cached": self.cached, "backend": self.options["backend"], "threads": self.threads,
                 "corrupt": [] if self.store is None else list(self.store.corrupt)}
        made = Scores(ids[at], np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64), column(0), column(1) if moments else None, column(2) if moments else None,
                      {"name": self.source.name, "hash": self.source.facts["hash"], "dtype": self.source.dtype_name}, about)
        about.update(_counts(made))
        return made


def score_piece(likelihood: Likelihood, rows: list[np.ndarray], batches: list[int], start: int | None, first: int, stop: Callable[[], bool] | None = None) -> list | None:
    """The values of every row of a piece, batch by batch; None where it was stopped."""
    values, at = [], 0
    for size in batches:
        if stop is not None and stop():
            return None
        values += likelihood.batch(rows[at:at + size], start, first)
        at += size
    return values


def _counts(scores: Scores) -> dict:
    bad = np.unique(scores._row[~np.isfinite(scores.logprob)])
    return {"rows": len(scores), "tokens": int(len(scores.logprob)), "bad": int(len(bad)), "short": int((scores.tokens() == 0).sum())}


def _row_ids(row_ids: Any, n: int) -> np.ndarray:
    if row_ids is None:
        return np.arange(n, dtype=np.int64)
    ids = np.asarray(row_ids)
    if ids.shape != (n,) or (n and ids.dtype.kind not in "iu"):
        raise ScoringError(f"row_ids has dtype {ids.dtype} and shape {ids.shape}; expected {n} whole numbers, one for each row.")
    ids = ids.astype(np.int64)
    distinct, counts = np.unique(ids, return_counts=True)
    if len(distinct) < n:
        raise ScoringError(f"row_ids: {int(distinct[counts > 1][0])} is there {int(counts.max())} times; expected each id once. Leave out the repeats.")
    return ids


def _files_digest(name: Any) -> str | None:
    """SHA-256 over a local model's weight, configuration and tokenizer files; None for a hub name."""
    from lens import models

    folder = models._folder(name)
    if folder is None:
        return None
    digest = hashlib.sha256()
    for path in sorted(p for p in Path(folder).iterdir() if p.suffix in (".safetensors", ".json") and p.name != "card.json"):
        digest.update(json.dumps([path.name, path.stat().st_size]).encode())
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _whole(value: Any, name: str, least: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or number < least:
        raise ScoringError(f"{name}={value!r}; expected a whole number of at least {least}.")
    return number
