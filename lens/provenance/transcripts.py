"""Training rows with the position that the trainer's shuffle gave them: the record whose randomness every test here is about.

A test is valid because the trainer drew the order at random and the suspect's owner, if innocent, never saw it. So everything that is done to rows
(samples, filters, residuals, the sequence in which they are asked) must be blind to `position`; each function that chooses rows says what it looks at.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .errors import ProvenanceError

KINDS = ("key", "step", "rank")
DOUBT = 1e-3  # below this p a check on the transcript becomes a warning
BLOCK = 4096  # rows read at a time


@dataclass(frozen=True, eq=False)
class Transcript:
    """n training rows, where each stood in the training order, and what was shuffled.

    Args:
        tokens: the rows: an integer array [n, length], a sequence of integer arrays or of texts, or a reader with `__len__` and `__getitem__(index array)`.
            None where only scores are at hand.
        position: [n], or [n, epochs] for one column an epoch. Later is larger.
        kind: "key" (independent U(0, 1) numbers that the trainer drew and sorted by), "step" (of the optimiser; ties are rows of one batch) or "rank".
        row_id: int64 [n], unique; by default the row number.
        group: [n], the exchange group: rows were shuffled among those of their own group only. By default one group.
        tokenizer: what made the ids: a name or folder, or the tokenizer itself. None: unknown.
        shuffled_as: in words, what was shuffled and how it is known.
        about: whatever a reader noted: files, rows lost, whether the file is in "source" or "training" order (`file_order`).

    Raises ProvenanceError for positions that are missing, repeated ("rank", within an epoch and group), not whole ("rank", "step") or outside (0, 1)
    ("key"), lengths that differ, repeated row ids and empty rows.
    """

    tokens: Any
    position: np.ndarray
    kind: str = "rank"
    row_id: np.ndarray | None = None
    group: np.ndarray | None = None
    name: str = "transcript"
    tokenizer: Any = None
    shuffled_as: str = ""
    about: dict = field(default_factory=dict)

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ProvenanceError(f"kind={self.kind!r} is not known; expected one of {', '.join(KINDS)}: what `position` holds")
        position = _positions(self.position, self.kind)
        n = len(position)
        row_id = np.arange(n) if self.row_id is None else np.asarray(self.row_id)
        if row_id.shape != (n,) or row_id.dtype.kind not in "iu":
            raise ProvenanceError(f"row_id has shape {row_id.shape} and dtype {row_id.dtype}; expected {n} integers, one for each position")
        row_id = row_id.astype(np.int64)
        if len(np.unique(row_id)) != n:
            values, counts = np.unique(row_id, return_counts=True)
            raise ProvenanceError(
                f"row_id has {values[counts > 1][0]} {counts.max()} times; expected each once. Number the rows anew, or give one column of positions an epoch"
            )
        group = np.zeros(n, np.int64) if self.group is None else np.asarray(self.group)
        if group.shape != (n,):
            raise ProvenanceError(f"group has shape {group.shape}; expected {n} labels, one for each row")
        if group.dtype.kind == "f" and np.isnan(group).any():
            raise ProvenanceError(f"group is missing in {int(np.isnan(group).sum())} of {n} rows; give each row its exchange group, or none at all")
        if self.group is not None:
            group = np.unique(group, return_inverse=True)[1].astype(np.int64)
        if self.kind == "rank":
            _refuse_repeats(position, group)
        if self.tokens is not None and len(self.tokens) != n:
            raise ProvenanceError(f"tokens has {len(self.tokens)} rows and position {n}; expected one position for each row")
        for name, value in (("tokens", _rows(self.tokens)), ("position", position), ("row_id", row_id), ("group", group), ("about", dict(self.about))):
            object.__setattr__(self, name, value)

    # ---- shape and choice -------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.position)

    @property
    def epochs(self) -> int:
        """How many columns of positions there are."""
        return 1 if self.position.ndim == 1 else self.position.shape[1]

    @property
    def is_text(self) -> bool:
        """Whether rows are texts and not token ids."""
        return isinstance(self.tokens, list) and bool(self.tokens) and isinstance(self.tokens[0], str)

    def take(self, index) -> "Transcript":
        """The rows of an index array (numbers, not row ids), in its sequence. The choice must not look at positions."""
        index = np.asarray(index)
        tokens = None if self.tokens is None else self.rows(index)
        return dataclasses.replace(self, tokens=tokens, position=self.position[index], row_id=self.row_id[index], group=self.group[index])

    def epoch(self, number: int) -> "Transcript":
        """One epoch's positions (counted from 0), to be chosen before any score is seen."""
        if not 0 <= number < self.epochs:
            raise ProvenanceError(f"number={number}; the transcript has epochs 0 to {self.epochs - 1}")
        return self if self.position.ndim == 1 else dataclasses.replace(self, position=self.position[:, number])

    def sample(self, n: int, seed: int = 0) -> "Transcript":
        """n rows chosen by a hash of row id and seed, blind to positions; they keep their sequence. A smaller n chooses a part of a larger one."""
        if not isinstance(n, (int, np.integer)) or not 1 <= n <= len(self):
            raise ProvenanceError(f"n={n!r}; expected a whole number of rows from 1 to {len(self)}, which is what the transcript {self.name!r} has")
        return self if n == len(self) else self.take(np.sort(np.argsort(mixed(self.row_id, seed), kind="stable")[:n]))

    def arrival(self, seed: int = 0) -> np.ndarray:
        """The sequence in which rows are asked: by a hash of content and seed (of row id and seed where there are no tokens), so blind to positions."""
        keys = mixed(self.row_id, seed)
        return np.argsort(keys, kind="stable") if self.tokens is None else np.lexsort((keys, mixed(self.digests(), seed)))

    def one_copy(self, seed: int = 0) -> "Transcript":
        """One row of each content, chosen by a hash of row id and seed: for data whose copies may have been shuffled together."""
        order = np.argsort(mixed(self.row_id, seed), kind="stable")
        return self.take(np.sort(order[np.unique(self.digests()[order], return_index=True)[1]]))

    def rows(self, index) -> Any:
        """The tokens of an index array: an array where the rows are one, else a list."""
        if self.tokens is None:
            raise ProvenanceError(f"the transcript {self.name!r} has no tokens; give scores of its rows, or read it with its tokens")
        index = np.asarray(index)
        return [self.tokens[i] for i in index.tolist()] if isinstance(self.tokens, list) else self.tokens[index]

    # ---- content ----------------------------------------------------------------------------------------------

    def _blocks(self) -> Iterator[Any]:
        for start in range(0, len(self), BLOCK):
            yield self.rows(np.arange(start, min(start + BLOCK, len(self))))

    def digests(self) -> np.ndarray:
        """A 64-bit hash of each row's content, uint64 [n]."""
        kept = self.__dict__.get("_digests")
        if kept is None:
            kept = np.array(
                [int.from_bytes(hashlib.blake2b(_bytes(row), digest_size=8).digest(), "little") for rows in self._blocks() for row in rows], dtype=np.uint64
            )
            self.__dict__["_digests"] = kept
        return kept

    def copies(self) -> int:
        """How many rows have the content of another row."""
        _, counts = np.unique(self.digests(), return_counts=True)
        return int(counts[counts > 1].sum())

    def sha256(self) -> str:
        """SHA-256 over kind, positions, row ids, groups and all tokens, as 64 hexadecimal digits."""
        digest = hashlib.sha256(f"{self.kind} {self.position.shape}\n".encode())
        for array in (self.position, self.row_id, self.group):
            digest.update(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes())
        for rows in self._blocks() if self.tokens is not None else ():
            for row in rows:
                content = _bytes(row)
                digest.update(len(content).to_bytes(8, "little") + content)
        return digest.hexdigest()

    # ---- doubts -----------------------------------------------------------------------------------------------

    def warnings(self) -> list[str]:
        """What speaks against reading the positions as one random shuffle: order in the file, content that follows the order, copies, epochs, lost rows."""
        found, n = [], len(self)
        if not self.shuffled_as:
            found.append(
                "nobody declared how the order was drawn (shuffled_as): every p-value assumes that rows of a group were put in random order, each arrangement"
                " as likely"
            )
        for name, p in self.shuffle_checks().items():
            if p < DOUBT:
                found.append(
                    f"the transcript does not look shuffled: {name} (p = {p:.2g}). A test on an order that was not drawn at random has no valid p-value; "
                    "give the exchange groups within which rows were shuffled, or use the data of a shuffled run"
                )
        if self.tokens is not None and (copies := self.copies()):
            found.append(
                f"{copies} of {n} rows have the same tokens as another row at another position. This is harmless where each copy was shuffled by itself; "
                "where copies were shuffled together, use transcript.one_copy()"
            )
        if self.epochs > 1:
            found.append(
                f"{self.epochs} epochs: each row's positions are permuted together. Choose one epoch with transcript.epoch(k) only before scores are seen"
            )
        if (
            self.kind == "rank"
            and self.epochs == 1
            and len(np.unique(self.group)) == 1
            and self.about.get("complete", False)
            and np.ptp(self.position) != n - 1
        ):
            found.append(f"ranks run from {self.position.min():g} to {self.position.max():g} for {n} rows: rows are missing from the transcript")
        lost = self.about.get("lost")
        if lost and lost.get("rows"):
            found.append(f"{lost['rows']} rows could not be read and are left out: {'; '.join(lost.get('where', []))}")
        return found

    def ties(self) -> float:
        """The share of rows that share their position with another row (of the first epoch): rows of one step."""
        first = self.position if self.position.ndim == 1 else self.position[:, 0]
        _, inverse, counts = np.unique(first, return_inverse=True, return_counts=True)
        return float((counts[inverse] > 1).mean())

    def shuffle_checks(self) -> dict[str, float]:
        """p-values of the hypothesis that the order is a shuffle, by what was looked at; no model is asked.

        Positions along a file in source order, and the rows' length and mean token along the training order, each by runs about the median and serial rank
        correlation. Several groups are looked at one by one (the 20 largest), and the smallest p is multiplied by their number.
        """
        from ..measure.randomness import runs_test

        first = self.position if self.position.ndim == 1 else self.position[:, 0]
        sequences = {}
        if self.about.get("file_order", "source") == "source":
            by_file = np.argsort(self.row_id, kind="stable")
            sequences["positions follow the sequence of the file"] = (by_file, first)
        if self.tokens is not None:
            lengths, means = self._features()
            by_time = np.lexsort((mixed(self.digests(), 0), first))
            sequences["the mean token follows the training order"] = (by_time, means)
            if np.ptp(lengths) > 0:
                sequences["the length of rows follows the training order"] = (by_time, lengths)
        labels, counts = np.unique(self.group, return_counts=True)
        some = labels[np.argsort(-counts, kind="stable")][:20]
        found = {}
        for name, (order, value) in sequences.items():
            ps = []
            for label in some:
                mine = order[self.group[order] == label]
                if len(mine) >= 20 and np.ptp(value[mine]) > 0:
                    ps.append(float(runs_test(value[mine]).p))
            if ps:
                found[name] = min(1.0, min(ps) * len(ps))
        return found

    def _features(self) -> tuple[np.ndarray, np.ndarray]:
        lengths, means = [], []
        for rows in self._blocks():
            for row in rows:
                values = np.frombuffer(row.encode(), np.uint8) if isinstance(row, str) else row
                lengths.append(len(values))
                means.append(float(np.mean(values)))
        return np.array(lengths, float), np.array(means, float)

    def __str__(self) -> str:
        groups = len(np.unique(self.group))
        extra = (f", {self.epochs} epochs" if self.epochs > 1 else "") + (f", {groups} exchange groups" if groups > 1 else "")
        return f"{self.name}: {len(self)} rows by {self.kind}{extra}"


def mixed(values: np.ndarray, seed: int) -> np.ndarray:
    """A uint64 for each integer that depends on the seed and looks random: two rounds of splitmix64 (Steele, Lea & Flood 2014)."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ProvenanceError(f"seed={seed!r}; expected an integer of at least 0, so that a second run chooses the same rows")
    start = _splitmix(np.array([int(seed) & (2**64 - 1)], np.uint64))
    return _splitmix(np.asarray(values).astype(np.uint64) ^ start)


def _splitmix(x: np.ndarray) -> np.ndarray:
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _positions(position, kind: str) -> np.ndarray:
    try:
        array = np.asarray(position, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ProvenanceError(f"position is not numeric ({error}); expected one number for each row, NaN nowhere") from error
    if array.ndim not in (1, 2) or array.size == 0:
        raise ProvenanceError(f"position has shape {array.shape}; expected [rows] or [rows, epochs] with at least one row")
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    bad = ~np.isfinite(array)
    if bad.any():
        raise ProvenanceError(
            f"position is missing in {int(bad.sum())} places, first in row {int(np.argwhere(bad)[0][0])}; expected a finite number for each row. "
            "Leave rows without a known position out, all of them"
        )
    if kind == "key":
        if (outside := (array <= 0) | (array >= 1)).any():
            raise ProvenanceError(
                f"position has the key {array[outside][0]:g}; expected keys strictly between 0 and 1, independent and uniform. Use kind='rank' for ranks"
            )
    elif (broken := array != np.round(array)).any():
        raise ProvenanceError(
            f"position has {array[broken][0]:g}, which is not a whole number as kind={kind!r} needs; use kind='key' for random keys in (0, 1)"
        )
    return array


def _refuse_repeats(position: np.ndarray, group: np.ndarray) -> None:
    for column in position.reshape(len(position), -1).T:
        order = np.lexsort((column, group))
        same = (np.diff(column[order]) == 0) & (np.diff(group[order]) == 0)
        if same.any():
            at = order[np.flatnonzero(same)[0]]
            raise ProvenanceError(
                f"position {column[at]:g} is there more than once ({int(same.sum())} repeats); ranks of one group are all different. Use kind='step' where rows"
                " share a step"
            )


def _rows(tokens) -> Any:
    """Rows in one of the three forms: an array, a list of arrays or texts, a reader; empty rows refused where they are in memory."""
    if tokens is None or (not isinstance(tokens, (np.ndarray, Sequence)) and hasattr(tokens, "__getitem__")):
        return tokens
    if isinstance(tokens, np.ndarray) and tokens.ndim == 2:
        if tokens.dtype.kind not in "iu":
            raise ProvenanceError(f"tokens has dtype {tokens.dtype}; expected integer token ids")
        if not tokens.shape[1]:
            raise ProvenanceError("tokens has rows of length 0; expected at least one token a row")
        return tokens
    rows = [row if isinstance(row, str) else np.asarray(row) for row in tokens]
    for i, row in enumerate(rows):
        if not len(row):
            raise ProvenanceError(f"tokens: row {i} is empty; expected at least one token a row. Leave empty rows out, all of them")
        if isinstance(row, str) != isinstance(rows[0], str):
            raise ProvenanceError(f"tokens: row {i} is {'a text' if isinstance(row, str) else 'token ids'} and row 0 is not; expected all rows of one kind")
        if not isinstance(row, str) and (row.ndim != 1 or row.dtype.kind not in "iu"):
            raise ProvenanceError(f"tokens: row {i} has shape {row.shape} and dtype {row.dtype}; expected a line of integer token ids")
    return rows


def _bytes(row) -> bytes:
    return row.encode() if isinstance(row, str) else np.ascontiguousarray(row).astype("<i8").tobytes()
