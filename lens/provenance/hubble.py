"""The order of Hubble's trainings: index files over a corpus, and the log of what was put into which sequence."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .. import reading
from ..arguments import Count, FilePath, Seed, Size, door
from .errors import ProvenanceError
from .preshuffled import _choice
from .transcripts import Transcript

#: Tokens of a sequence (the last is the next one's first), and sequences of a step.
LENGTH, BATCH = 2049, 1024
MAGIC = b"MMIDIDX\x00\x00"
#: Codes of number formats in an index of documents, as Megatron writes them.
FORMATS = {1: "<u1", 2: "<i1", 3: "<i2", 4: "<i4", 5: "<i8", 8: "<u2"}
COMPRESSED = {b"\x28\xb5\x2f\xfd": "zstd", b"\x1f\x8b": "gzip", b"\x04\x22\x4d\x18": "lz4", b"\xfd7zXZ": "xz"}
PARTS = ("doc", "sample", "shuffle")
SHUFFLED = "sequences of the corpus, drawn into one order before training (declared by its publisher)"


@dataclass(frozen=True)
class Corpus:
    """Documents of tokens: `path` of the flat file, its number format, and where each document begins and ends."""

    path: Path
    dtype: np.dtype
    sizes: np.ndarray
    starts: np.ndarray

    @classmethod
    def open(cls, prefix: Path) -> Corpus:
        """`<prefix>.idx` and `<prefix>.bin`. Raises ProvenanceError: absent, damaged, compressed, not of each other."""
        index, flat = _beside(prefix, ".idx"), _beside(prefix, ".bin")
        data = reading.content(index, ProvenanceError, most=None)
        if data[:9] != MAGIC or len(data) < 34:
            raise ProvenanceError(f"corpus: {index} is no index of documents (it does not begin with {MAGIC!r})")
        version, code, count, documents = struct.unpack("<QBQQ", data[9:34])
        if version != 1 or code not in FORMATS or len(data) != 34 + 12 * count + 8 * documents:
            raise ProvenanceError(
                f"corpus: {index} is damaged or of another version (version {version}, format {code}, {count} documents"
                f" in {len(data)} bytes)"
            )
        dtype = np.dtype(FORMATS[code])
        sizes = np.frombuffer(data, "<i4", count, 34).astype(np.int64)
        starts = np.frombuffer(data, "<i8", count, 34 + 4 * count)
        with flat.open("rb") as file:
            head = file.read(8)
        wanted, there = int(sizes.sum()) * dtype.itemsize, flat.stat().st_size
        if there != wanted:
            packed = next((name for magic, name in COMPRESSED.items() if head.startswith(magic)), None)
            raise ProvenanceError(
                f"corpus: {flat} has {there} bytes, its index says {wanted}"
                + (
                    f"; it begins like {packed}: join its parts and unpack them first"
                    if packed
                    else "; give both of one"
                )
            )
        return cls(flat, dtype, sizes, starts)

    @cached_property
    def tokens(self) -> np.ndarray:
        """All of them, read where they are asked for."""
        return np.memmap(self.path, self.dtype, "r")

    def part(self, document: int, start: int, end: int | None) -> np.ndarray:
        """Tokens of a document."""
        first = int(self.starts[document]) // self.dtype.itemsize
        stop = int(self.sizes[document]) if end is None else end
        return self.tokens[first + start : first + stop]


@dataclass(frozen=True)
class OrderFiles:
    """Which documents come in which order (`doc`), where each sequence begins in it (`sample`: place and offset), and
    when each is seen (`shuffle`).
    """

    doc: np.ndarray
    sample: np.ndarray
    shuffle: np.ndarray

    @classmethod
    def open(cls, prefix: Path) -> OrderFiles:
        """`<prefix>_doc_idx.npy` and so on. Raises ProvenanceError: absent, damaged, not of each other."""
        doc, sample, shuffle = (_array(_beside(prefix, f"_{part}_idx.npy")) for part in PARTS)
        if doc.ndim != 1 or shuffle.ndim != 1 or sample.ndim != 2 or sample.shape[1] != 2:
            raise ProvenanceError(
                f"order: the files at {prefix} have shapes {doc.shape}, {sample.shape} and {shuffle.shape}; expected"
                " [documents], [sequences + 1, 2] and [sequences]"
            )
        if len(sample) != len(shuffle) + 1:
            raise ProvenanceError(
                f"order: {prefix}_sample_idx.npy has the bounds of {len(sample) - 1} sequences and _shuffle_idx.npy"
                f" puts {len(shuffle)} in order; give the files of one run"
            )
        seen = np.bincount(np.clip(shuffle, 0, len(shuffle)).astype(np.int64), minlength=len(shuffle) + 1)
        if shuffle.min() < 0 or (seen[: len(shuffle)] != 1).any():
            raise ProvenanceError(f"order: {prefix}_shuffle_idx.npy is no order of its {len(shuffle)} sequences")
        if sample[:, 0].min() < 0 or sample[:, 0].max() >= len(doc):
            raise ProvenanceError(
                f"order: {prefix}_sample_idx.npy names place {int(sample[:, 0].max())} of {len(doc)} documents"
            )
        return cls(doc, sample, shuffle)

    def require_of(self, corpus: Corpus, length: int) -> None:
        """Raises ProvenanceError: the files are of another corpus, or of sequences of another length."""
        if self.doc.min() < 0 or self.doc.max() >= len(corpus.sizes):
            raise ProvenanceError(
                f"order: it names document {int(self.doc.max())} and the corpus {corpus.path} has {len(corpus.sizes)};"
                " give the order files of this corpus"
            )
        sizes = corpus.sizes[self.doc]
        place, offset = self.sample[:, 0].astype(np.int64), self.sample[:, 1].astype(np.int64)
        if (bad := (offset < 0) | (offset >= np.maximum(sizes[place], 1))).any():
            at = int(bad.argmax())
            raise ProvenanceError(
                f"order: sequence {at} begins at token {offset[at]} of a document of {sizes[place[at]]} tokens; the"
                f" order files are not of the corpus {corpus.path}"
            )
        begins = np.concatenate([[0], np.cumsum(sizes)])[place] + offset
        if (bad := np.diff(begins) != length - 1).any():
            at = int(bad.argmax())
            raise ProvenanceError(
                f"order: sequence {at} has {int(np.diff(begins)[at])} tokens before the next one begins, where length="
                f"{length} asks for {length - 1}; the order files are of another corpus or another length"
            )

    def tokens(self, corpus: Corpus, sequence: int) -> np.ndarray:
        """A sequence: from its own beginning to the next one's first token, that included."""
        (first, start), (last, end) = self.sample[sequence].tolist(), self.sample[sequence + 1].tolist()
        if first == last:
            return corpus.part(int(self.doc[first]), start, end + 1)
        middle = [corpus.part(int(self.doc[i]), 0, None) for i in range(first + 1, last)]
        ends = corpus.part(int(self.doc[first]), start, None), corpus.part(int(self.doc[last]), 0, end + 1)
        return np.concatenate([ends[0], *middle, ends[1]])


@door(ProvenanceError)
def from_hubble(
    order: FilePath,
    corpus: FilePath | None = None,
    rows: Count | Sequence[Size] | None = 20_000,
    *,
    insertions: FilePath | None = None,
    length: Count = LENGTH,
    batch: Count = BATCH,
    seed: Seed = 0,
    tokenizer: Any = None,
    name: str = "Hubble order",
    shuffled_as: str | None = None,
) -> Transcript:
    """Sequences of a Hubble run, by its index files and its corpus: the one that comes as n-th is seen at step n //
    `batch`.

    Args:
        order: what the names of the three index files begin with: `<order>_doc_idx.npy`, `_sample_idx.npy` and
            `_shuffle_idx.npy`. corpus: the same of `.bin` (joined and unpacked) and `.idx`; None: the order without
            tokens, for scores that are there.
        rows: how many places of the order, drawn at random with `seed`, or which. None: all.
        insertions: the log of what was put in. Sequences that something was put into were cut for it, so that they are
            not what the corpus has: they are left out, and counted in `about["inserted"]`.
        length: tokens of a sequence, its last one the next one's first.

    Raises ProvenanceError: files that are absent, damaged, compressed or not of each other; an order that does not fit
    its corpus. Cost: every bound of the order is checked once; of the corpus only the rows asked for are read. Source:
    Wei et al. 2025, Hubble, on the index files of GPT-NeoX (Andonian et al. 2023).
    """
    files, documents = OrderFiles.open(Path(order)), None
    if corpus is not None:
        documents = Corpus.open(Path(corpus))
        files.require_of(documents, length)
    count = len(files.shuffle)
    if isinstance(rows, int) and rows > count:
        rows = None
    places = np.arange(count) if rows is None else _choice(rows, count, seed)
    about: dict[str, Any] = {"files": [str(order), str(corpus)], "file_order": "source", "rows_in_order": count}
    if insertions is not None:
        put = inserted(insertions)
        if put.places.max() >= count:
            raise ProvenanceError(
                f"insertions: {insertions} puts something at place {put.places.max()} of the order, which has {count};"
                " give the log of this run"
            )
        left = ~np.isin(places, put.places)
        about["inserted"], places = int((~left).sum()), places[left]
        if not len(places):
            raise ProvenanceError("rows: something was put into every sequence that was asked for; ask for others")
    sequences = files.shuffle[places].astype(np.int64)
    tokens = None if documents is None else np.stack([files.tokens(documents, s) for s in sequences.tolist()])
    return Transcript(
        tokens,
        places // batch,
        "step",
        row_id=sequences,
        name=name,
        tokenizer=tokenizer,
        about=about,
        shuffled_as=shuffled_as or SHUFFLED,
    )


@dataclass(frozen=True, eq=False)
class Insertions:
    """What a log says: of each insertion its `places` in the order of training, its item's `names`, and `tokens`."""

    names: np.ndarray
    places: np.ndarray
    tokens: list[np.ndarray]

    @property
    def counts(self) -> np.ndarray:
        """How often each one's item was put in."""
        _, inverse, counts = np.unique(self.names, return_inverse=True, return_counts=True)
        return counts[inverse]


def inserted(log: FilePath) -> Insertions:
    """The log of a run: a JSON object a line with `file`, `item`, `place` and `tokens`.

    Raises ProvenanceError: absent, damaged, two insertions at one place.
    """
    lines = reading.records(Path(log), ProvenanceError, ("item", "place", "tokens"))
    if not lines:
        raise ProvenanceError(f"insertions: {log} has no line; expected one for each insertion")
    names, places, tokens = [], [], []
    for number, line in lines:
        ids, place = line["tokens"], line["place"]
        fits = isinstance(ids, list) and ids and all(isinstance(i, int) and 0 <= i < 2**31 for i in ids)
        if not fits or not isinstance(place, int) or isinstance(place, bool) or not 0 <= place < 2**62:
            raise ProvenanceError(
                f"insertions: {log}, line {number} has place {place!r} and tokens {str(ids)[:40]}; expected a place of"
                " the order and a list of token ids"
            )
        names.append(f"{line.get('file', '')}:{line['item']}")
        places.append(place)
        tokens.append(np.array(ids, np.int64))
    values, counts = np.unique(places, return_counts=True)
    if (counts > 1).any():
        raise ProvenanceError(
            f"insertions: {log} puts {counts.max()} items at place {values[counts.argmax()]}; expected at most one at"
            " each"
        )
    return Insertions(np.array(names), np.array(places, np.int64), tokens)


@door(ProvenanceError)
def from_hubble_insertions(
    log: FilePath,
    *,
    duplicates: Count = 1,
    copy: Literal["first", "last"] = "last",
    batch: Count = BATCH,
    tokenizer: Any = None,
    name: str = "Hubble insertions",
) -> Transcript:
    """The items that were put in so many times, with the step of their first or last copy: their order needs no corpus.

    Places were drawn without replacement among all sequences, so that items of one count are exchangeable.

    Args:
        log: the run's log of insertions, a JSON object a line (`file`, `item`, `place` in the order of training,
            `tokens`). batch: sequences of a step.

    Raises ProvenanceError: a log that is absent or damaged, or holds no item of that count. Source: Wei et al. 2025.
    """
    put = inserted(log)
    there = put.counts == duplicates
    if not there.any():
        raise ProvenanceError(
            f"duplicates={duplicates}: {log} has items put in {', '.join(map(str, np.unique(put.counts)))} times"
        )
    chosen: dict[str, int] = {}
    for i in np.flatnonzero(there)[np.argsort(put.places[there], kind="stable")].tolist():
        if copy == "last" or put.names[i] not in chosen:
            chosen[str(put.names[i])] = i
    index = np.array(list(chosen.values()))
    return Transcript(
        [put.tokens[i] for i in index],
        put.places[index] // batch,
        "step",
        name=name,
        tokenizer=tokenizer,
        about={"files": [str(log)], "file_order": "source", "names": put.names[index].tolist()},
        shuffled_as="places of insertions, drawn without replacement before training (declared by its publisher)",
    )


def _beside(prefix: Path, ending: str) -> Path:
    file = Path(f"{prefix}{ending}")
    try:
        there = file.is_file()
    except OSError:  # a name that no file can have
        there = False
    if not there:
        raise ProvenanceError(f"{file} is not there; give what the names of the files begin with, without {ending!r}")
    return file


def _array(file: Path) -> np.ndarray:
    """An array of whole numbers, read where it is asked for. Raises ProvenanceError: damaged, of another kind."""
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ProvenanceError(f"order: {file} cannot be read ({type(error).__name__}: {str(error)[:200]})") from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iu" or not array.size:
        raise ProvenanceError(f"order: {file} holds no whole numbers; expected an index as GPT-NeoX writes it")
    return array
