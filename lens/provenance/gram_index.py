"""A suffix array over one local corpus, for many texts: built once by tokengrams, asked as often as wanted, with the same matches as the stream join."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

import numpy as np

from lens.provenance.errors import ProvenanceError
from lens.provenance.gram_scan import Found, Grams

#: Tokens that are copied at a time.
COPY = 1 << 24


class LocalIndex:
    """Open with `lens.provenance.ngrams.local_index`."""

    def __init__(self, index: Any, about: dict):
        self.index, self.about = index, about

    @classmethod
    def open(cls, corpus: Any, folder: str | os.PathLike, row_length: int | None) -> "LocalIndex":
        """Build the index where `folder` has none, else open it; refuses a folder that holds another corpus's."""
        from lens.provenance.ngrams import Shard, _opened, _whole

        try:
            engine = importlib.import_module("tokengrams")
        except ImportError as error:
            raise ProvenanceError("local_index needs the package tokengrams: pip install tokengrams. `join` needs nothing and reads the corpus once.") from error
        shard = corpus if isinstance(corpus, Shard) else Shard(corpus)
        try:
            array = _opened(shard)
        except (OSError, ValueError, EOFError) as error:
            raise ProvenanceError(f"corpus {shard.label()} cannot be read: {error}") from error
        if array.ndim == 1 and row_length is None:
            raise ProvenanceError("row_length is missing: the corpus is flat; give the tokens of a training row.")
        length = array.shape[1] if array.ndim == 2 else _whole(row_length, "row_length", 1)
        if not array.size:
            raise ProvenanceError(f"corpus {shard.label()} holds no token.")
        flat = array.reshape(-1)
        about = {"tokens": int(flat.size), "row_length": length, "digest": _digest(flat)}
        folder = Path(folder)
        text, table, mark = folder / "tokens.bin", folder / "suffixes.bin", folder / "about.json"
        if mark.is_file():
            kept = json.loads(mark.read_text(encoding="utf-8"))
            if any(kept[n] != about[n] for n in about):
                raise ProvenanceError(f"folder={str(folder)!r} holds the index of another corpus or row length; give another folder, or delete it.")
            return cls(engine.MemmapIndex(str(text), str(table), kept["vocabulary"]), kept)
        top = max(int(flat[a:a + COPY].max()) for a in range(0, flat.size, COPY))
        if top >= 1 << 16:
            raise ProvenanceError(f"corpus {shard.label()} has the token {top}; the index holds tokens of 16 bits. Use `join`.")
        # the engine's vocabulary is 16 bits wide itself
        about["vocabulary"] = min(top + 1, (1 << 16) - 1)
        new = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:12]}.part")
        new.mkdir(parents=True)
        try:
            with open(new / text.name, "wb") as file:
                for a in range(0, flat.size, COPY):
                    file.write(np.ascontiguousarray(flat[a:a + COPY], dtype="<u2").tobytes())
            engine.MemmapIndex.build(str(new / text.name), str(new / table.name), about["vocabulary"], False)
            (new / mark.name).write_text(json.dumps(about), encoding="utf-8")
            os.replace(new, folder)
        except OSError as error:
            raise ProvenanceError(f"folder={str(folder)!r}: the index cannot be written there: {error}") from error
        finally:
            shutil.rmtree(new, ignore_errors=True)
        return cls(engine.MemmapIndex(str(text), str(table), about["vocabulary"]), about)

    def join(self, text: Any, *, k: tuple[int, int] | int = (4, 8), max_count: int = 1000, across: bool = False, weight: str = "inverse") -> Any:
        """As `lens.provenance.ngrams.join` of the same corpus; a look-up takes microseconds and no pass over the corpus. Raises ProvenanceError."""
        from lens.provenance.ngrams import WEIGHTS, _documents, _range, _whole, assemble

        documents, (low, high) = _documents(text), _range(k)
        most, length = _whole(max_count, "max_count", 1), self.about["row_length"]
        if weight not in WEIGHTS:
            raise ProvenanceError(f"weight={weight!r} is not known; expected 'inverse' or 'count'.")
        grams = Grams.of(documents, low, high)
        found, spots = Found(grams, most), {}
        parent = np.ones(grams.count[low], bool)
        for level in range(low, high + 1):
            first = self._first(grams, level)
            # a gram can occur only where the shorter one before it does
            alive = parent if level == low else found.count[level - 1][grams.keys[level] >> 32] > 0
            for g in np.flatnonzero(alive):
                query = grams.text[first[g]:first[g] + level]
                if query.max() >= 1 << 16:
                    continue
                spots[level, int(g)] = query.tolist()
                found.count[level][g] = self._count(spots[level, int(g)], level, across)
        wanted = grams.wanted(found.count)
        for (level, g), query in spots.items():
            if wanted[level][g] and 0 < found.count[level][g] <= most:
                rows = self._rows(query, level, across)
                found.hold(level, np.full(len(rows), g, np.int32), rows)
        rows = -(-self.about["tokens"] // length)
        return assemble(grams, found, {"k": (low, high), "max_count": most, "row_length": length, "across": bool(across), "weight": weight, "documents": len(documents),
                                       "rows": rows, "rows_read": rows, "status": "complete", "lost": [], "lost_rows": [], "engine": "tokengrams"})

    def _first(self, grams: Grams, level: int) -> np.ndarray:
        """A place of every gram of that length."""
        at = np.flatnonzero(grams.ids[level] >= 0)
        first = np.empty(grams.count[level], np.int64)
        first[grams.ids[level][at]] = at
        return first

    def _count(self, query: list[int], level: int, across: bool) -> int:
        return self.index.count(query) if across or level == 1 else len(self._rows(query, level, across))

    def _rows(self, query: list[int], level: int, across: bool) -> np.ndarray:
        """The row of every occurrence, rising."""
        length = self.about["row_length"]
        at = np.sort(np.array(self.index.positions(query), np.int64))
        return (at if across else at[at % length + level <= length]) // length


def _digest(flat: np.ndarray) -> str:
    """SHA-256 over the tokens, as 16 bits each where they fit."""
    import hashlib

    digest = hashlib.sha256()
    for a in range(0, flat.size, COPY):
        digest.update(np.ascontiguousarray(flat[a:a + COPY], dtype="<u8" if flat.dtype.itemsize > 2 else "<u2").tobytes())
    return digest.hexdigest()
