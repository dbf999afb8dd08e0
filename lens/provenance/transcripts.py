"""Training rows with the position that the trainer's shuffle gave them: the record whose randomness every test here is
about.

A test is valid because the trainer drew the order at random and the suspect's owner, if innocent, never saw it. So
everything that is done to rows (samples, filters, residuals, the sequence in which they are asked) must be blind to
`position`; each function that chooses rows says what it looks at.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arguments import Count, Seed, Size, door, unfit
from .arguments import Kind, array, row_numbers
from .errors import ProvenanceError
from .order import mixed

if TYPE_CHECKING:
    from .doubts import Doubt
    from .ledger import Ledger
from .transcript_fields import positions_of, refuse_repeats, rows_of

BLOCK = 4096  # rows read at a time


@door(ProvenanceError)
@dataclass(frozen=True, eq=False)
class Transcript:
    """n training rows, where each stood in the training order, and what was shuffled.

    Args:
        tokens: the rows: an integer array [n, length], a sequence of integer arrays or of texts, or a reader with
            `__len__` and `__getitem__(index array)`. None where only scores are at hand.
        position: [n], or [n, epochs] for one column an epoch. Later is larger.
        kind: "key" (independent U(0, 1) numbers that the trainer drew and sorted by), "step" (of the optimiser; ties
            are rows of one batch) or "rank".
        row_id: int64 [n], unique; by default the row number.
        group: [n], the exchange group: rows were shuffled among those of their own group only. By default one group.
        tokenizer: what made the ids: a name or folder, or the tokenizer itself. None: unknown.
        shuffled_as: in words, what was shuffled and how it is known.
        about: whatever a reader noted: files, rows lost, whether the file is in "source" or "training" order
            (`file_order`).

    Raises ProvenanceError for positions that are missing, repeated ("rank", within an epoch and group), not whole
    ("rank", "step") or outside (0, 1) ("key"), lengths that differ, repeated row ids and empty rows.
    """

    tokens: Any
    position: Any
    kind: Kind = "rank"
    row_id: Any = None
    group: Any = None
    name: str = "transcript"
    tokenizer: Any = None
    shuffled_as: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        position = positions_of(self.position, self.kind)
        n = len(position)
        row_id = (
            np.arange(n)
            if self.row_id is None
            else array(self.row_id, "row_id", f"{n} integers, one for each position")
        )
        if row_id.shape != (n,) or row_id.dtype.kind not in "iu":
            raise ProvenanceError(
                f"row_id has shape {row_id.shape} and dtype {row_id.dtype}; expected {n} integers, one for each"
                " position"
            )
        if row_id.max() > 2**63 - 1:
            raise ProvenanceError(unfit("row_id", self.row_id, "row ids of at most 64 bits"))
        row_id = row_id.astype(np.int64)
        if len(np.unique(row_id)) != n:
            values, counts = np.unique(row_id, return_counts=True)
            raise ProvenanceError(
                f"row_id has {values[counts > 1][0]} {counts.max()} times; expected each once. Number the rows anew, or"
                " give one column of positions an epoch"
            )
        group = (
            np.zeros(n, np.int64)
            if self.group is None
            else array(self.group, "group", f"{n} labels, numbers or texts, one for each row", "biufUS")
        )
        if group.shape != (n,):
            raise ProvenanceError(f"group has shape {group.shape}; expected {n} labels, one for each row")
        if group.dtype.kind == "f" and np.isnan(group).any():
            raise ProvenanceError(
                f"group is missing in {int(np.isnan(group).sum())} of {n} rows; give each row its exchange group, or"
                " none at all"
            )
        if self.group is not None:
            group = np.unique(group, return_inverse=True)[1].astype(np.int64)
        if self.kind == "rank":
            refuse_repeats(position, group)
        tokens = None if self.tokens is None else rows_of(self.tokens)
        if tokens is not None and len(tokens) != n:
            raise ProvenanceError(f"tokens has {len(tokens)} rows and position {n}; expected one position for each row")
        for name, value in (
            ("tokens", tokens),
            ("position", position),
            ("row_id", row_id),
            ("group", group),
            ("about", dict(self.about)),
        ):
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

    @door(ProvenanceError)
    def take(self, index: Any) -> "Transcript":
        """The rows of an index array (numbers, not row ids), in its sequence. The choice must not look at positions."""
        index = row_numbers(index, len(self))
        if not len(index):
            raise ProvenanceError(unfit("index", index, "at least one row"))
        tokens = None if self.tokens is None else self.rows(index)
        return self._of_one_order(
            dataclasses.replace(
                self, tokens=tokens, position=self.position[index], row_id=self.row_id[index], group=self.group[index]
            )
        )

    @door(ProvenanceError)
    def epoch(self, number: Size) -> "Transcript":
        """One epoch's positions (counted from 0), to be chosen before any score is seen."""
        if number >= self.epochs:
            raise ProvenanceError(f"number={number}; the transcript has epochs 0 to {self.epochs - 1}")
        return (
            self
            if self.position.ndim == 1
            else self._of_one_order(dataclasses.replace(self, position=self.position[:, number]))
        )

    @door(ProvenanceError)
    def sample(self, n: Count, seed: Seed = 0) -> "Transcript":
        """N rows chosen by a hash of row id and seed, blind to positions; they keep their sequence. A smaller n chooses
        a part of a larger one.
        """
        if n > len(self):
            raise ProvenanceError(
                unfit(
                    "n",
                    n,
                    f"a whole number of rows from 1 to {len(self)}, which is what the transcript {self.name!r} has",
                )
            )
        return self if n == len(self) else self.take(np.sort(np.argsort(mixed(self.row_id, seed), kind="stable")[:n]))

    @door(ProvenanceError)
    def arrival(self, seed: Seed = 0) -> np.ndarray:
        """The sequence in which rows are asked: by a hash of content and seed (of row id and seed where there are no
        tokens), so blind to positions.
        """
        keys = mixed(self.row_id, seed)
        return (
            np.argsort(keys, kind="stable") if self.tokens is None else np.lexsort((keys, mixed(self.digests(), seed)))
        )

    @door(ProvenanceError)
    def one_copy(self, seed: Seed = 0) -> "Transcript":
        """One row of each content, chosen by a hash of row id and seed: for data whose copies may have been shuffled
        together.
        """
        order = np.argsort(mixed(self.row_id, seed), kind="stable")
        return self.take(np.sort(order[np.unique(self.digests()[order], return_index=True)[1]]))

    @door(ProvenanceError)
    def rows(self, index: Any) -> Any:
        """The tokens of an index array: an array where the rows are one, else a list."""
        if self.tokens is None:
            raise ProvenanceError(
                f"the transcript {self.name!r} has no tokens; give scores of its rows, or read it with its tokens"
            )
        index = row_numbers(index, len(self))
        return [self.tokens[i] for i in index.tolist()] if isinstance(self.tokens, list) else self.tokens[index]

    # ---- content ----------------------------------------------------------------------------------------------

    def _blocks(self) -> Iterator[Any]:
        for start in range(0, len(self), BLOCK):
            yield self.rows(np.arange(start, min(start + BLOCK, len(self))))

    def digests(self) -> np.ndarray:
        """A 64-bit hash of each row's content, uint64 [n]."""
        digests = self.__dict__.get("_digests")
        if digests is None:
            digests = np.array(
                [
                    int.from_bytes(hashlib.blake2b(_bytes(row), digest_size=8).digest(), "little")
                    for rows in self._blocks()
                    for row in rows
                ],
                dtype=np.uint64,
            )
            self.__dict__["_digests"] = digests
        return digests

    def copies(self) -> int:
        """How many rows have the content of another row."""
        _, counts = np.unique(self.digests(), return_counts=True)
        return int(counts[counts > 1].sum())

    def sha256(self) -> str:
        """SHA-256 over kind, positions, row ids, groups and all tokens, as 64 hexadecimal digits."""
        digest = hashlib.sha256(f"{self.kind} {self.position.shape}\n".encode())
        for column in (self.position, self.row_id, self.group):
            digest.update(np.ascontiguousarray(column).astype(column.dtype.newbyteorder("<")).tobytes())
        for rows in self._blocks() if self.tokens is not None else ():
            for row in rows:
                content = _bytes(row)
                digest.update(len(content).to_bytes(8, "little") + content)
        return digest.hexdigest()

    # ---- doubts -----------------------------------------------------------------------------------------------

    def warnings(self) -> list[str]:
        """What speaks against reading the positions as one random shuffle: order in the file, content that follows the
        order, copies, keys, lost rows.
        """
        return [doubt.text for doubt in self.doubts()]

    def doubts(self) -> list[Doubt]:
        """The same, each with the p-values that it leaves only approximate: a `doubts.Doubt` each."""
        doubts = self.__dict__.get("_doubts")
        if doubts is None:
            from .doubts import of_transcript

            doubts = self.__dict__["_doubts"] = of_transcript(self)
        return list(doubts)

    @property
    def ledger(self) -> Ledger:
        """The looks at this order that were taken in this process; see `ledger.Ledger`."""
        from .ledger import ledger_of

        return ledger_of(self)

    def _of_one_order(self, other: "Transcript") -> "Transcript":
        """`other`, made of rows or an epoch of this one, with this one's ledger."""
        other.__dict__["_ledger"] = self.ledger
        return other

    def ties(self) -> float:
        """The share of rows that share their position with another row (of the first epoch): rows of one step."""
        first = self.position if self.position.ndim == 1 else self.position[:, 0]
        _, inverse, counts = np.unique(first, return_inverse=True, return_counts=True)
        return float((counts[inverse] > 1).mean())

    def shuffle_checks(self) -> dict[str, float]:
        """p-values of the hypothesis that the order is a shuffle, by what was looked at; no model is asked.

        Positions along a file in source order, and the rows' length and mean token along the training order, each by
        runs about the median and serial rank correlation. Several groups are looked at one by one (the 20 largest), and
        the smallest p is multiplied by their number.
        """
        from ..stats.randomness import runs_test

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
        largest = labels[np.argsort(-counts, kind="stable")][:20]
        checks = {}
        for name, (order, value) in sequences.items():
            ps = []
            for label in largest:
                mine = order[self.group[order] == label]
                if len(mine) >= 20 and np.ptp(value[mine]) > 0:
                    ps.append(float(runs_test(value[mine]).p))
            if ps:
                checks[name] = min(1.0, min(ps) * len(ps))
        return checks

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
        extra = (f", {self.epochs} epochs" if self.epochs > 1 else "") + (
            f", {groups} exchange groups" if groups > 1 else ""
        )
        return f"{self.name}: {len(self)} rows by {self.kind}{extra}"


def _bytes(row) -> bytes:
    return row.encode() if isinstance(row, str) else np.ascontiguousarray(row).astype("<i8").tobytes()
