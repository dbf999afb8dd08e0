"""A suffix array over one local corpus, for many texts: built once by tokengrams, asked as often as wanted, with the
same matches as the stream join.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lens import files, reading
from lens.arguments import Count, door, unfit
from lens.cache import sha256_file
from lens.provenance.arguments import documents_of, gram_sizes
from lens.provenance.errors import ProvenanceError
from lens.provenance.gram_corpus import opened, shard_of
from lens.provenance.gram_matches import assemble
from lens.provenance.gram_scan import Grams, Occurrences

#: Tokens that are copied at a time.
COPY = 1 << 24
_TEXT, _TABLE = "tokens.bin", "suffixes.bin"
#: Files whose contents this process found to be those that were written: path, size, times of writing and of any
#: change, number.
_WHOLE: set[tuple] = set()


class LocalIndex:
    """Open with `lens.provenance.ngrams.local_index`."""

    def __init__(self, index: Any, about: dict):
        self.index, self.about = index, about

    @classmethod
    def open(cls, corpus: Any, folder: str | os.PathLike, row_length: int | None) -> "LocalIndex":
        """Build the index where `folder` has none, else open it; refuses a folder that holds another corpus's, or whose
        files are not those that were built.

        The files' contents are compared with the SHA-256 that was kept once a process, and again where a file changed
        since.
        """
        try:
            engine = importlib.import_module("tokengrams")
        except ImportError as error:
            raise ProvenanceError(
                "local_index needs the package tokengrams: pip install tokengrams. `join` needs nothing and reads the"
                " corpus once."
            ) from error
        shard = shard_of(corpus)
        try:
            array = opened(shard)
        except (OSError, ValueError, EOFError) as error:
            raise ProvenanceError(f"corpus {shard.label()} cannot be read: {error}") from error
        if array.ndim == 1 and row_length is None:
            raise ProvenanceError("row_length is missing: the corpus is flat; give the tokens of a training row.")
        length = array.shape[1] if array.ndim == 2 else row_length
        if not array.size:
            raise ProvenanceError(f"corpus {shard.label()} holds no token.")
        flat = array.reshape(-1)
        about = {"tokens": int(flat.size), "row_length": length, "digest": _digest(flat)}
        folder = Path(os.path.abspath(folder))
        if folder == Path.cwd():
            raise ProvenanceError(
                unfit("folder", str(folder), "a folder of the index's own, not the one that the process is in")
            )
        text, table, mark = folder / _TEXT, folder / _TABLE, folder / "about.json"
        if mark.is_file():
            card = reading.json_file(mark, _refusal(folder))
            if any(card.get(n) != about[n] for n in about):
                raise ProvenanceError(
                    f"folder={str(folder)!r} holds the index of another corpus or row length; give another folder, or"
                    " delete it."
                )
            _require_whole(folder, card)
            return cls(_mapped(engine, folder, card), card)
        top = max(int(flat[a : a + COPY].max()) for a in range(0, flat.size, COPY))
        if top >= 1 << 16:
            raise ProvenanceError(
                f"corpus {shard.label()} has the token {top}; the index holds tokens of 16 bits. Use `join`."
            )
        # the engine's vocabulary is 16 bits wide itself
        about["vocabulary"] = min(top + 1, (1 << 16) - 1)
        try:
            with files.replacing(folder, parents=True, new=True) as part:
                part.mkdir()
                with open(part / text.name, "wb") as file:
                    for a in range(0, flat.size, COPY):
                        file.write(np.ascontiguousarray(flat[a : a + COPY], dtype="<u2").tobytes())
                engine.MemmapIndex.build(str(part / text.name), str(part / table.name), about["vocabulary"], False)
                about["files"] = {name: _size_and_hash(part / name) for name in (text.name, table.name)}
                (part / mark.name).write_text(json.dumps(about), encoding="utf-8")
        except OSError as error:
            if mark.is_file():  # another process built it meanwhile
                return cls.open(corpus, folder, row_length)
            raise ProvenanceError(f"folder={str(folder)!r}: the index cannot be written there: {error}") from error
        return cls(_mapped(engine, folder, about), about)

    @door(ProvenanceError)
    def join(
        self,
        text: Sequence[Any],
        *,
        k: Any = (4, 8),
        max_count: Count = 1000,
        across: bool = False,
        weight: Literal["inverse", "count"] = "inverse",
    ) -> Any:
        """As `lens.provenance.ngrams.join` of the same corpus; a look-up takes microseconds and no pass over the
        corpus. Raises ProvenanceError.
        """
        documents, (low, high) = documents_of(text), gram_sizes(k)
        most, length = max_count, self.about["row_length"]
        grams = Grams.of(documents, low, high)
        occurrences, spots = Occurrences(grams, most), {}
        parent = np.ones(grams.count[low], bool)
        with reading.no_panic(ProvenanceError, "the index failed in a look-up; delete its folder, and build it anew"):
            for level in range(low, high + 1):
                first = self._first(grams, level)
                # a gram can occur only where the shorter one before it does
                alive = parent if level == low else occurrences.count[level - 1][grams.keys[level] >> 32] > 0
                for g in np.flatnonzero(alive):
                    query = grams.text[first[g] : first[g] + level]
                    if query.max() >= 1 << 16:
                        continue
                    spots[level, int(g)] = query.tolist()
                    occurrences.count[level][g] = self._count(spots[level, int(g)], level, across)
            wanted = grams.wanted(occurrences.count)
            for (level, gram), query in spots.items():
                if wanted[level][gram] and 0 < occurrences.count[level][gram] <= most:
                    rows = self._rows(query, level, across)
                    occurrences.hold(level, np.full(len(rows), gram, np.int32), rows)
        rows = -(-self.about["tokens"] // length)
        return assemble(
            grams,
            occurrences,
            {
                "k": (low, high),
                "max_count": most,
                "row_length": length,
                "across": bool(across),
                "weight": weight,
                "documents": len(documents),
                "rows": rows,
                "rows_read": rows,
                "status": "complete",
                "lost": [],
                "lost_rows": [],
                "engine": "tokengrams",
            },
        )

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


def _mapped(engine: Any, folder: Path, about: dict) -> Any:
    """The index of a folder, mapped. Raises ProvenanceError."""
    with reading.no_panic(_refusal(folder), f"{folder} cannot be opened"):
        return engine.MemmapIndex(str(folder / _TEXT), str(folder / _TABLE), about["vocabulary"])


def _size_and_hash(file: Path) -> dict[str, Any]:
    """The size and SHA-256 of a file."""
    return {"size": file.stat().st_size, "sha256": sha256_file(file)}


def _require_whole(folder: Path, card: dict) -> None:
    """Raises ProvenanceError where the files of an index are not those that were built: a cut one finds fewer places
    and says nothing.
    """
    refuse, files = _refusal(folder), card.get("files")
    if not isinstance(files, dict) or set(files) != {_TEXT, _TABLE} or type(card.get("vocabulary")) is not int:
        raise refuse(f"{folder} holds an index that does not tell the hashes of its files")
    for name, about in files.items():
        file = folder / name
        try:
            stat = file.stat()
            mark = (str(file.absolute()), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
            if mark in _WHOLE:
                continue
            if stat.st_size != about["size"]:
                raise refuse(f"{file} is damaged: it has {stat.st_size} bytes where {about['size']} were written")
            if sha256_file(file) != about["sha256"]:
                raise refuse(f"{file} is damaged: it has another SHA-256 than when it was written")
        except (OSError, KeyError, TypeError) as error:
            raise refuse(f"{file} cannot be read ({reading.said(error)})") from error
        _WHOLE.add(mark)


def _refusal(folder: Path) -> Any:
    def refuse(said: str) -> ProvenanceError:
        return ProvenanceError(f"folder: {said}; delete {folder}, and the index is built anew.")

    return refuse


def _digest(flat: np.ndarray) -> str:
    """SHA-256 over the tokens, as 16 bits each where they fit."""
    import hashlib

    digest = hashlib.sha256()
    for a in range(0, flat.size, COPY):
        digest.update(
            np.ascontiguousarray(flat[a : a + COPY], dtype="<u8" if flat.dtype.itemsize > 2 else "<u2").tobytes()
        )
    return digest.hexdigest()
