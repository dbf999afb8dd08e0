"""Where a text's n-grams stand in a training corpus: an inverted join that streams the corpus once.

For every place of the text the longest n-gram is taken that occurs in the corpus at all, and each of its occurrences
counts for the row where it starts (Kuditipudi et al. 2025, the n-gram form of the partition test). The published code
looks every place up in an index of the whole corpus and cuts a look-up short after 10 ms, so that common n-grams vanish
by chance; here they are dropped by their count, which is the same on every machine. Memory grows with the text and not
with the corpus. For many texts against one local corpus, `local_index` builds a suffix array (tokengrams) that answers
the same question.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, get_args

import numpy as np

from lens.arguments import Count, FilePath, Whole, door
from lens.engine.stopping import says_stop
from lens.progress import hidden
from lens.provenance.arguments import documents_of, gram_sizes
from lens.provenance.errors import ProvenanceError
from lens.provenance.gram_corpus import Shard, opened, shards
from lens.provenance.gram_index import LocalIndex
from lens.provenance.gram_matches import Matches, assemble
from lens.provenance.gram_scan import Grams, Occurrences, Scanner, Tokens

__all__ = ["Matches", "Shard", "join", "local_index"]

#: Tokens between two looks at `stop`, and of one task of a worker process.
SPAN = 1 << 24
Weight = Literal["inverse", "count"]
WEIGHTS = get_args(Weight)


@door(ProvenanceError)
def join(
    text: Sequence[Any],
    corpus: Any,
    *,
    k: Any = (4, 8),
    max_count: Count = 1000,
    row_length: Count | None = None,
    across: bool = False,
    weight: Weight = "inverse",
    workers: Annotated[int, Whole(1, 10**4)] = 1,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
) -> Matches:
    """Find, for every place of a text, its longest n-gram that occurs in a corpus, and the rows where it does; the
    corpus is read once.

    Args:
        text: token ids, or a list of documents' token ids; n-grams do not cross documents. Documents are what a test
            may permute, never single matches.
        corpus: an array [rows, length] or [tokens], a path, a `Shard`, or a list of these, whose rows are numbered on.
        k: shortest and longest n-gram, in tokens; each place backs off from the longest. One number: only that length.
        max_count: n-grams with more occurrences count for no row (nor does the place back off: a shorter one would be
            more common still).
        row_length: tokens of a training row, where the corpus is flat. A last row may be shorter.
        across: whether an n-gram may run over the end of a row; it then counts for the row where it starts. Never over
            the end of a shard. In a file in training order this ties a row's matches to its neighbour's: they are then
            not strictly blind to the order.
        weight: "inverse": each match counts 1 / (occurrences of its n-gram); "count": 1.
        workers: processes, each with pieces of the corpus; the result is the same for any number.
        stop: asked every 16 M tokens; True ends with the matches so far (`about["status"]` says so).

    A shard that cannot be read is named in `about["lost"]`, and the others are read; where its size is unknown and
    shards follow, it is an error. Raises ProvenanceError.
    """
    documents, (low, high) = documents_of(text), gram_sizes(k)
    most, count = max_count, workers
    parts = shards(corpus)
    pieces, lost, rows, length = _plan(parts, row_length)
    grams = Grams.of(documents, low, high)
    occurrences, status = Occurrences(grams, most), "complete"
    if not grams.count[low]:
        pieces = []
    from tqdm.auto import tqdm

    with tqdm(
        total=sum(p.tokens for p in pieces),
        desc="n-grams",
        unit="token",
        unit_scale=True,
        delay=2.0,
        leave=False,
        disable=hidden(progress),
    ) as bar:
        read = 0
        for piece, part, error in _scanned(grams, most, pieces, occurrences, length, across, count):
            if part is not None:
                occurrences.merge(part)
            if error:
                lost.append(
                    {
                        "shard": parts[piece.shard].label(),
                        "rows": piece.rows,
                        "why": error,
                        "range": (piece.first, piece.first + piece.rows),
                    }
                )
            read += 1
            bar.update(piece.tokens)
            if says_stop(stop):
                status = "stopped" if read < len(pieces) else status
                break
    unread = [(p.first, p.first + p.rows) for p in pieces[read:]]
    about = {
        "k": (low, high),
        "max_count": most,
        "row_length": length,
        "across": bool(across),
        "weight": weight,
        "documents": len(documents),
        "rows": rows,
        "rows_read": rows - sum(e["rows"] for e in lost) - sum(b - a for a, b in unread),
        "status": status,
        "lost": [{n: e[n] for n in ("shard", "rows", "why")} for e in _merged(lost)],
        "lost_rows": sorted([e["range"] for e in lost] + unread),
        "engine": "stream",
    }
    return assemble(grams, occurrences, about)


@door(ProvenanceError)
def local_index(corpus: Any, folder: FilePath, *, row_length: Count | None = None) -> LocalIndex:
    """A suffix array over one local corpus, for many texts: `index.join(text, k=...)` gives the same matches as
    `join(text, corpus, k=...)`.

    `corpus`: an array or file as in `join`; `folder`: where the tokens and the array are kept (about nine bytes a
    token); built where they are absent. Needs the optional package tokengrams. Raises ProvenanceError.
    """
    return LocalIndex.open(corpus, folder, row_length)


# -- the corpus
# -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Piece:
    """Tokens `begin` to `begin + tokens` of a shard, whose first row has the number `first`."""

    shard: int
    source: Shard
    begin: int
    tokens: int
    first: int
    rows: int


def _promised(shard: Shard, length: int) -> int:
    """The rows that a damaged `.npy` file says it has; 0 where that cannot be read either."""
    try:
        with open(shard.source, "rb") as file:
            version = np.lib.format.read_magic(file)
            shape, _, _ = (
                np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            )(file)
        return -(-int(np.prod(shape)) // length)
    except (OSError, ValueError, TypeError, EOFError):
        return 0


def _plan(shards: list[Shard], row_length: int | None) -> tuple[list[Piece], list[dict], int, int]:
    """The pieces to read, what is lost already, the number of rows of the corpus, and the length of a row."""
    length = row_length
    states: list[tuple[int, int] | str] = []
    for shard in shards:
        try:
            array = opened(shard)
        except (OSError, ValueError, EOFError) as error:
            states.append(f"{type(error).__name__}: {error}")
            continue
        if array.ndim == 2:
            if length not in (None, array.shape[1]):
                raise ProvenanceError(
                    f"row_length={length}, but {shard.label()} has rows of {array.shape[1]} tokens; give all shards"
                    " rows of one length."
                )
            length = array.shape[1]
        states.append((array.size, array.ndim))
    if length is None:
        if all(isinstance(o, str) for o in states):
            raise ProvenanceError(f"corpus: no shard can be read. {shards[0].label()}: {states[0]}")
        raise ProvenanceError(
            "row_length is missing: the corpus is flat; give the tokens of a training row (2049 for Pythia's"
            " pre-shuffled files)."
        )
    pieces, lost, first = [], [], 0
    for i, (shard, state) in enumerate(zip(shards, states)):
        there = _promised(shard, length) if isinstance(state, str) else -(-state[0] // length)
        rows = there if shard.rows is None else shard.rows
        if isinstance(state, str) and shard.rows is None and not there and i + 1 < len(shards):
            raise ProvenanceError(
                f"corpus: {shard.label()} cannot be read ({state}), and without its size the rows of the shards after"
                " it have no number; give Shard(source, rows=...) for it, or restore the file."
            )
        tokens = 0 if isinstance(state, str) else state[0]
        if shard.rows is not None and not isinstance(state, str) and tokens < rows * length:
            tokens -= tokens % length  # a row that was cut short is lost
        tokens = min(tokens, rows * length)
        if isinstance(state, str) or -(-tokens // length) < rows:
            had = -(-tokens // length)
            why = state if isinstance(state, str) else f"it has {had} whole rows of {rows}"
            lost.append({"shard": shard.label(), "rows": rows - had, "why": why, "range": (first + had, first + rows)})
        span = max(1, SPAN // length) * length
        for begin in range(0, tokens, span):
            size = min(span, tokens - begin)
            pieces.append(Piece(i, shard, begin, size, first + begin // length, -(-size // length)))
        first += rows
    return pieces, lost, first, length


def _merged(lost: list[dict]) -> list[dict]:
    """One entry a shard and reason."""
    out: dict[tuple, dict] = {}
    for e in lost:
        entry = out.setdefault((e["shard"], e["why"]), {**e, "rows": 0})
        entry["rows"] += e["rows"]
    return list(out.values())


def _scanned(
    grams: Grams, most: int, pieces: list[Piece], occurrences: Occurrences, length: int, across: bool, workers: int
) -> Iterator[tuple[Piece, Occurrences | None, str]]:
    """Every piece in order, with what it held (None where it was added to `found` itself) and the error that it ended
    with.
    """
    if workers == 1 or len(pieces) < 2:
        scanners: dict = {}
        for piece in pieces:
            yield piece, None, _scan(grams, piece, length, across, occurrences, scanners)
        return
    # arrays in memory would be copied to every process
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        min(workers, len(pieces)), mp_context=context, initializer=_start, initargs=(grams, most, length, across)
    ) as pool:
        jobs, ahead = [], iter(pieces)
        for piece in ahead:
            jobs.append((piece, pool.submit(_work, replace(piece, source=_sent(piece)))))
            if len(jobs) == 2 * workers:
                break
        try:
            while jobs:
                piece, job = jobs.pop(0)
                part, error = job.result()
                if (later := next(ahead, None)) is not None:
                    jobs.append((later, pool.submit(_work, replace(later, source=_sent(later)))))
                yield piece, part, error
        finally:
            for _, job in jobs:
                job.cancel()


def _sent(piece: Piece) -> Shard:
    """A file by its name; of an array only the tokens of the piece, as a shard that begins there."""
    if isinstance(piece.source.source, (str, os.PathLike)):
        return piece.source
    flat = opened(piece.source).reshape(-1)[piece.begin : piece.begin + piece.tokens]
    return Shard(np.ascontiguousarray(flat), name="sent")


_WORKER: dict = {}


def _start(grams: Grams, most: int, length: int, across: bool) -> None:
    _WORKER.update(grams=grams, most=most, length=length, across=across, scanners={})


def _work(piece: Piece) -> tuple[Occurrences, str]:
    occurrences = Occurrences(_WORKER["grams"], _WORKER["most"])
    if piece.source.name == "sent":
        piece = replace(piece, begin=0)
    error = _scan(_WORKER["grams"], piece, _WORKER["length"], _WORKER["across"], occurrences, _WORKER["scanners"])
    occurrences.prune()
    return occurrences, error


def _scan(grams: Grams, piece: Piece, length: int, across: bool, occurrences: Occurrences, scanners: dict) -> str:
    """Read one piece into `found`; the error that kept it from that, or ''."""
    try:
        array = opened(piece.source).reshape(-1)
    except (OSError, ValueError, EOFError) as error:
        return f"{type(error).__name__}: {error}"
    end = piece.begin + piece.tokens
    wide = array.dtype.itemsize > 2 or array.dtype.kind == "i"
    dtype = np.dtype(np.uint32 if wide else np.uint16)
    if dtype not in scanners:
        if dtype == np.uint16 and grams.text.max() > 0xFFFF:
            raise ProvenanceError(
                f"text has the token {grams.text.max()}, and {piece.source.label()} holds tokens of 16 bits: it is of"
                " another tokenizer."
            )
        scanners[dtype] = Scanner(grams, dtype)
    # an n-gram that starts here may end in the next piece of the same shard
    tail = min(len(array), end + grams.high - 1) if across else end
    stored = array[piece.begin : tail]
    tokens: Tokens = stored if dtype == array.dtype else _Narrowed(stored, dtype)
    scanners[dtype].scan(tokens, piece.tokens, piece.first, length, across, occurrences)
    return ""


class _Narrowed:
    """Tokens of another integer type, converted as they are read."""

    def __init__(self, tokens: np.ndarray, dtype: np.dtype):
        self.tokens, self.dtype = tokens, dtype

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, where: slice) -> np.ndarray:
        return self.tokens[where].astype(self.dtype)
