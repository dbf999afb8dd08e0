"""Published training orders: Pythia's pre-shuffled token file and OLMo's global indices, local or by HTTP ranges, so
that a sample needs no full download.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from ..arguments import Count, Filled, Seed, Size, door, unfit
from .arguments import Address, TokenDtype
from .bytesource import Joined
from .errors import ProvenanceError
from .transcripts import Transcript

PYTHIA_ROW, PYTHIA_BATCH = 2049, 1024
FIRST = 5  # faults that a message lists


@door(ProvenanceError)
def from_pythia(
    path: Address | Annotated[Sequence[Address], Filled()],
    rows: Count | Sequence[Size] | None = None,
    *,
    seed: Seed = 0,
    length: Count = PYTHIA_ROW,
    batch: Count = PYTHIA_BATCH,
    epoch_rows: Count | None = None,
    sizes: Sequence[Size] | None = None,
    tokenizer: Any = None,
    name: str | None = None,
    shuffled_as: str | None = None,
    **http,
) -> Transcript:
    """Rows of Pythia's pre-shuffled corpus: one flat little-endian uint16 array of `length` tokens a row, row i seen at
    step i // `batch`.

    Args:
        path: the file, its parts in order, or their http(s) addresses. Parts need not end at a row's end.
        rows: how many rows, drawn at random with `seed` (only they are read), or which. None: all of a local file, read
            as asked.
        epoch_rows: rows from this one on are repeats of a second epoch and are not drawn (the deduplicated Pile: about
            98,700 steps of 1,024).
        sizes: the bytes of each part, so that a missing part can be left out.
        shuffled_as: in words, as in `Transcript`; None: what the publisher declares.
        http: `timeout`, `retries`, `pause` in seconds of the requests.

    Rows of a part that cannot be read are left out and counted in `about["lost"]`. Raises ProvenanceError. Source:
    Biderman et al. 2023, Pythia.
    """
    paths = [os.fspath(p) for p in ([path] if isinstance(path, (str, os.PathLike)) else path)]
    remote = any(str(p).startswith(("http://", "https://")) for p in paths)
    source = Joined(paths, sizes, **http)
    width = 2 * length
    total, over = divmod(source.size, width)
    if over or not total:
        raise ProvenanceError(
            f"path: {source.size} bytes are no whole number of rows of {width} bytes ({length} tokens of uint16); give"
            f" all parts in order, or the right {'length' if sizes is None else 'length and sizes'}"
        )
    usable = total if epoch_rows is None else min(total, epoch_rows)
    about = {"files": [str(p) for p in paths], "file_order": "training", "rows_in_file": total}
    shuffled_as = (
        shuffled_as
        or "rows of the pre-shuffled corpus, drawn into one order before training (declared by its publisher)"
    )
    name = name or Path(str(paths[0])).name
    if rows is None:
        if remote or len(paths) > 1:
            raise ProvenanceError(
                f"rows is missing: {total} rows would be {source.size / 1e9:.0f} GB; say how many, e.g. rows=20_000"
            )
        if (there := source.sources[0].size if source.sources[0] else 0) != source.size:
            raise ProvenanceError(unfit("sizes", sizes, f"[{there}], the bytes that the file has; or say which rows"))
        tokens = np.memmap(paths[0], dtype="<u2", mode="r").reshape(total, length)[:usable]
        index = np.arange(usable)
    else:
        index = _choice(rows, usable, seed)
        chunks = source.read_many([(int(i) * width, int(i + 1) * width) for i in index])
        tokens, index = _whole(chunks, index, source.faults, about, "<u2")
    return Transcript(
        tokens,
        index // batch,
        "step",
        row_id=index,
        name=name,
        tokenizer=tokenizer,
        shuffled_as=shuffled_as,
        about=about,
    )


@door(ProvenanceError)
def from_olmo(
    global_indices: Address,
    parts: Annotated[Sequence[Address], Filled()],
    rows: Count | Sequence[Size] | None = 20_000,
    *,
    chunk: Count = 2048,
    batch: Count = 2048,
    dtype: TokenDtype = "uint16",
    seed: Seed = 0,
    sizes: Sequence[Size] | None = None,
    tokenizer: Any = None,
    name: str = "OLMo order",
    shuffled_as: str | None = None,
    **http,
) -> Transcript:
    """Rows of an OLMo run: `global_indices` (uint32, instances in the order of training) and the token `parts` in the
    order of the run's configuration.

    Args:
        rows: how many places of the order, drawn at random with `seed`, or which. None: all.
        chunk: tokens an instance. Each part holds as many whole instances as fit; the rest of it is not used, as in the
            trainer.
        batch: instances a step: place t of the order was seen at step t // batch.
        dtype: of the tokens; tokens of another width are read as other tokens, which nothing can tell.
        sizes: the bytes of each part, so that a missing part can be left out.
        shuffled_as: in words, as in `Transcript`; None: what the publisher declares.

    Files with or without a NumPy header. Raises ProvenanceError. Source: Groeneveld et al. 2024, OLMo (the trainer's
    `MemMapDataset`).
    """
    order, head = Joined([global_indices], name="global_indices", **http), _header(global_indices, http)
    count = (order.size - head) // 4
    if (order.size - head) % 4 or not count:
        raise ProvenanceError(
            f"global_indices={str(global_indices)!r}: {order.size - head} bytes are no whole number of uint32 values"
        )
    places = np.arange(count) if rows is None else _choice(rows, count, seed)
    words = order.read_many([(head + 4 * int(t), head + 4 * int(t) + 4) for t in places])
    about = {"files": [str(global_indices), *map(str, parts)], "file_order": "source", "rows_in_order": count}
    instance, places = _whole(words, places, order.faults, about, "<u4")
    instance = instance[:, 0].astype(np.int64)
    source = Joined(parts, sizes, name="parts", **http)
    width = chunk * np.dtype(dtype).itemsize
    known = {_header(path, http) for part, path in zip(source.sources, parts) if part is not None}
    if None in source.sources and len(known) != 1:
        raise ProvenanceError(
            f"parts: {source.sources.index(None)} is not there and the others begin with headers of different lengths,"
            " so the rows after it have no known number. Restore it"
        )
    heads = [known.copy().pop() if part is None else _header(path, http) for part, path in zip(source.sources, parts)]
    instances = np.array(
        [(high - low - head) // width for low, high, head in zip(source.starts, source.starts[1:], heads)]
    )
    first = np.concatenate([[0], np.cumsum(instances)])
    if (beyond := instance >= first[-1]).any():
        raise ProvenanceError(
            f"global_indices names instance {instance[beyond][0]}, and the {len(instances)} parts hold {first[-1]} of"
            f" {chunk} tokens; give all parts in order, and the right {'' if sizes is None else 'sizes, '}chunk and"
            " dtype"
        )
    where = np.searchsorted(first, instance, side="right") - 1
    start = np.array(source.starts)[where] + np.array(heads)[where] + (instance - first[where]) * width
    by_place = np.argsort(start, kind="stable")
    chunks = source.read_many([(int(a), int(a) + width) for a in start[by_place]])
    tokens, whole = _whole(chunks, by_place, source.faults, about, np.dtype(dtype).newbyteorder("<"))
    ids = instance[whole] if len(np.unique(instance[whole])) == len(whole) else places[whole]
    return Transcript(
        tokens,
        places[whole] // batch,
        "step",
        row_id=ids,
        name=name,
        tokenizer=tokenizer,
        about=about,
        shuffled_as=shuffled_as
        or "instances of the corpus, drawn into one order before training (declared by its publisher)",
    )


def _choice(rows, total: int, seed: int) -> np.ndarray:
    """Row numbers, sorted: those given, or as many at random."""
    if isinstance(rows, (int, np.integer)) and not isinstance(rows, bool):
        if not 1 <= rows <= total:
            raise ProvenanceError(f"rows={rows}; the file has {total} usable rows; ask for 1 to {total}")
        from ..stats.samples import generator

        rng = generator(seed)
        if 3 * rows > total:
            return np.sort(rng.permutation(total)[:rows])
        drawn = np.unique(rng.integers(total, size=rows))
        while len(drawn) < rows:
            drawn = np.unique(np.concatenate([drawn, rng.integers(total, size=rows - len(drawn))]))
        return drawn
    chosen = np.asarray(rows)
    if (
        chosen.ndim != 1
        or chosen.dtype.kind not in "iu"
        or not len(chosen)
        or chosen.min() < 0
        or chosen.max() >= total
        or len(np.unique(chosen)) < len(chosen)
    ):
        raise ProvenanceError(f"rows: expected different row numbers from 0 to {total - 1}, or how many rows")
    return np.sort(chosen)


def _whole(
    chunks: list[bytes | None], index: np.ndarray, faults: list[str], about: dict, dtype
) -> tuple[np.ndarray, np.ndarray]:
    """What arrived, as rows of numbers, and its part of `index`; what did not is counted."""
    there = np.array([content is not None for content in chunks])
    if not there.any():
        raise ProvenanceError(f"none of {len(chunks)} rows could be read: {'; '.join(dict.fromkeys(faults))[:500]}")
    if not there.all():
        before = about.get("lost", {"rows": 0, "where": []})
        about["lost"] = {
            "rows": before["rows"] + int((~there).sum()),
            "where": [*before["where"], *list(dict.fromkeys(faults))[:FIRST]],
        }
    values = np.frombuffer(b"".join(content for content in chunks if content is not None), dtype=dtype)
    return values.reshape(int(there.sum()), -1), np.asarray(index)[there]


def _header(path, http) -> int:
    """Bytes of a NumPy header, 0 for a bare array."""
    source = Joined([path], **http)
    start = source.read_many([(0, min(12, source.size))])[0] or b""
    if start[:6] != b"\x93NUMPY":
        return 0
    return 10 + int.from_bytes(start[8:10], "little") if start[6] == 1 else 12 + int.from_bytes(start[8:12], "little")
