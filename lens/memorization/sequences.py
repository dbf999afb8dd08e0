"""Token sequences with a prefix that is given and a suffix that is to be recited, and the check that two sets share
nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from ..arguments import Count, Name, Size, door, tried, unfit
from ..stats.units import repeated
from ..tokens import tokenize, tokenizer_of
from .errors import MemorizationError, counts, labels, whole

#: Tokens of a shared run of suffix from which two sequences count as overlapping, where both suffixes are as long.
NGRAM = 13
_LISTED = 8


class Overlap(NamedTuple):
    """One sequence of either set that overlap: their names and what they share."""

    first: str
    second: str
    shared: str


@door(MemorizationError)
@dataclass(frozen=True, eq=False)
class Sequences:
    """Sequences of one length; the first `prefix` tokens of each are given to the model, the others are to be recited.

    `ids`: int64 [n, length]. `names`: one a sequence (default "0", "1", ...). `kind`: one for all, or one a sequence;
    where scores are compared, only within a kind. `duplicates`: how often each was in the training data, where that is
    known; 0: never. `made`: how they were made of others, for foils that are no sequences of their own. Raises
    MemorizationError.

    >>> Sequences([[5, 6, 7, 8], [1, 2, 3, 4]], prefix=2).suffixes.tolist()
    [[7, 8], [3, 4]]
    """

    ids: Any
    prefix: Count
    names: Sequence[str | int] = ()
    kind: Any = "sequence"
    duplicates: Any = None
    made: str = ""

    def __post_init__(self) -> None:
        try:
            ids = np.asarray(self.ids.detach().cpu().numpy() if hasattr(self.ids, "detach") else self.ids)
        except Exception:  # no array can be made of it
            raise MemorizationError(
                "ids has rows of different lengths; cut them to one length, or make one Sequences for each length."
            ) from None
        if ids.ndim != 2 or ids.dtype.kind not in "iu" or not ids.size:
            raise MemorizationError(
                f"ids has dtype {ids.dtype} and shape {ids.shape}; expected whole numbers [n, length], at least one"
                " sequence of one length for all."
            )
        if ids.min() < 0:
            raise MemorizationError(f"ids holds {int(ids.min())}; expected token ids of at least 0, without padding.")
        prefix = whole(self.prefix, "prefix", 1)
        if prefix >= ids.shape[1]:
            raise MemorizationError(
                f"prefix={prefix} leaves nothing of {ids.shape[1]} tokens to recite; expected 1 to {ids.shape[1] - 1}."
            )
        names = tuple(map(str, self.names)) if len(self.names) else tuple(map(str, range(len(ids))))
        if len(names) != len(ids):
            raise MemorizationError(f"names has {len(names)} entries; expected one for each of {len(ids)} sequences.")
        values = {
            "ids": np.ascontiguousarray(ids, dtype=np.int64),
            "prefix": prefix,
            "names": names,
            "duplicates": None if self.duplicates is None else counts(self.duplicates, len(ids), "duplicates"),
            "kind": labels(self.kind, len(ids), "kind").astype(str),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @classmethod
    @door(MemorizationError)
    def of(cls, planted: Any, **about: Any) -> Sequences:
        """From anything with `ids` and `prefix`, such as an organism's canaries; its `duplicates`, `kind` and `names`
        come along where it has them.
        """
        if tried(lambda given: (given.ids, given.prefix), planted) is None:
            raise MemorizationError(
                unfit("planted", planted, "something with ids and prefix, such as an organism's canaries")
            )
        fields = {
            name: getattr(planted, name)
            for name in ("names", "kind", "duplicates")
            if getattr(planted, name, None) is not None
        }
        return cls(planted.ids, planted.prefix, **{**fields, **about})

    @classmethod
    @door(MemorizationError)
    def of_texts(
        cls, model: Any, texts: Sequence[str], prefix: Count, suffix: Count, *, start: Size | None = None, **about: Any
    ) -> Sequences:
        """The first prefix + suffix tokens of each text, by the model's tokenizer; `start`: a token put first, which
        counts as one of the prefix.

        Raises MemorizationError, with the list, for texts that are too short.
        """
        lead = [] if start is None else [whole(start, "start", 0)]
        size = whole(prefix, "prefix", 1 + len(lead)) + whole(suffix, "suffix", 1)
        rows = [[*lead, *tokenize(tokenizer_of(model), text)] for text in texts]
        if short := [f"{i} ({len(r)} tokens)" for i, r in enumerate(rows) if len(r) < size]:
            raise MemorizationError(
                f"texts: {_list(short)} of {len(rows)} are shorter than prefix + suffix = {size} tokens; leave them"
                " out, or lower prefix or suffix."
            )
        if not rows:
            raise MemorizationError("texts is empty; give at least one.")
        return cls(np.array([r[:size] for r in rows]), prefix, **about)

    @classmethod
    @door(MemorizationError)
    def concat(cls, parts: Sequence[Sequences]) -> Sequences:
        """Several sets as one; they must have one length and one prefix. Counts of duplicates stay where all have
        them.
        """
        parts = list(parts)
        if not parts:
            raise MemorizationError("parts is empty; give at least one set of sequences.")
        if len({(p.length, p.prefix) for p in parts}) > 1:
            raise MemorizationError(
                f"parts have (length, prefix) {sorted({(p.length, p.prefix) for p in parts})}; expected one for all."
            )
        counts = None if any(p.duplicates is None for p in parts) else np.concatenate([p.duplicates for p in parts])
        return cls(
            np.concatenate([p.ids for p in parts]),
            parts[0].prefix,
            tuple(name for p in parts for name in names_of(p)),
            np.concatenate([p.kind for p in parts]),
            counts,
            ", ".join(dict.fromkeys(p.made for p in parts if p.made)),
        )

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, i: int) -> Int[np.ndarray, " length"]:
        return self.ids[i]

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self.ids)

    @property
    def length(self) -> int:
        """Tokens of a sequence, prefix and suffix together."""
        return self.ids.shape[1]

    @property
    def suffix(self) -> int:
        """Tokens to recite."""
        return self.length - self.prefix

    @property
    def prefixes(self) -> Int[np.ndarray, "n prefix"]:
        """What the model is given of each sequence."""
        return self.ids[:, : self.prefix]

    @property
    def suffixes(self) -> Int[np.ndarray, "n suffix"]:
        """What the model is to recite of each sequence."""
        return self.ids[:, self.prefix :]

    @property
    def sha256(self) -> str:
        """Hash of the tokens and the prefix."""
        return hashlib.sha256(f"{self.ids.shape} {self.prefix}".encode() + self.ids.tobytes()).hexdigest()

    @door(MemorizationError)
    def subset(self, index: Any) -> Sequences:
        """The sequences of these numbers, in this order, or those where a mask [n] is True."""
        asked_for, index = index, tried(np.asarray, index)
        if index is None or (index.dtype.kind not in "biu" and index.size) or index.ndim > 1:
            raise MemorizationError(unfit("index", asked_for, "numbers of sequences, or a truth value for each"))
        if index.dtype == bool and index.shape != (len(self),):
            raise MemorizationError(f"index is a mask of shape {index.shape}; expected ({len(self)},).")
        at = np.flatnonzero(index) if index.dtype == bool else index.astype(np.int64).reshape(-1)
        if not len(at) or at.min() < -len(self) or at.max() >= len(self):
            which = "none" if not len(at) else at.tolist()[:_LISTED]
            raise MemorizationError(
                f"index chooses {which} of {len(self)} sequences; expected numbers from 0 to {len(self) - 1}, at least"
                " one."
            )
        names = names_of(self)
        return replace(
            self,
            ids=self.ids[at],
            names=tuple(names[i] for i in at),
            kind=self.kind[at],
            duplicates=None if self.duplicates is None else self.duplicates[at],
        )

    @door(MemorizationError)
    def cut(self, prefix: Count) -> Sequences:
        """The same sequences with another part given."""
        return replace(self, prefix=prefix)

    @door(MemorizationError)
    def overlap(self, other: Sequences, ngram: Count = NGRAM) -> list[Overlap]:
        """Pairs that are identical, or whose suffixes share a run of `ngram` tokens (a shorter suffix counts whole)."""
        size = min(whole(ngram, "ngram", 1), self.suffix, other.suffix)
        rows: dict[bytes, list[int]] = {}
        grams: dict[bytes, set[int]] = {}
        for i, row in enumerate(self.ids):
            rows.setdefault(row.tobytes(), []).append(i)
            for gram in _grams(row[self.prefix :], size):
                grams.setdefault(gram, set()).add(i)
        pairs, ours, theirs = [], names_of(self), names_of(other)
        for j, row in enumerate(other.ids):
            same = rows.get(row.tobytes(), [])
            pairs += [Overlap(ours[i], theirs[j], "identical") for i in same]
            shared = {i for gram in _grams(row[other.prefix :], size) for i in grams.get(gram, ())}
            pairs += [Overlap(ours[i], theirs[j], f"{size} tokens of suffix") for i in sorted(shared - set(same))]
        return pairs

    @door(MemorizationError)
    def coords(self, dim: Name = "sequence") -> dict[str, Any]:
        """What a result says of them, along `dim`: name, kind, where known duplicates (counts in the training data),
        and where some are equal `duplicate`: equal ones have one label.
        """
        counts = {} if self.duplicates is None else {"duplicates": (dim, self.duplicates)}
        same = {} if (equal := repeated(self.ids)) is None else {"duplicate": (dim, equal)}
        return {"name": (dim, np.array(self.names, dtype=str)), "kind": (dim, self.kind), **counts, **same}

    def about(self) -> dict[str, Any]:
        """What a record says of them."""
        return {
            "n": len(self),
            "length": self.length,
            "prefix": self.prefix,
            "sha256": self.sha256,
            **({"made": self.made} if self.made else {}),
        }


@door(MemorizationError)
def disjoint(*sets: Sequences, ngram: Count = NGRAM, **named: Sequences) -> None:
    """Refuse sets of sequences that overlap, listing what they share; sets may be given by name.

    Raises MemorizationError.
    """
    apart({**{f"set {i + 1}": s for i, s in enumerate(sets)}, **named}, ngram)


def apart(every: Mapping[str, Sequences], ngram: int = NGRAM) -> None:
    """As `disjoint`, of sets by names that may be any text. Raises MemorizationError."""
    names = list(every)
    overlaps = [
        (a, b, o) for n, a in enumerate(names) for b in names[n + 1 :] for o in every[a].overlap(every[b], ngram)
    ]
    if overlaps:
        listed = [f"{o.first!r} of {a} and {o.second!r} of {b} ({o.shared})" for a, b, o in overlaps]
        raise MemorizationError(
            f"the sets overlap in {len(overlaps)} pairs: {_list(listed)}. Take the shared sequences out of one of the"
            " sets."
        )


def names_of(sequences: Sequences) -> tuple[str, ...]:
    """Their names, which may be given as numbers and are kept as texts."""
    return tuple(map(str, sequences.names))


def _grams(row: np.ndarray, size: int) -> set[bytes]:
    return {row[a : a + size].tobytes() for a in range(len(row) - size + 1)}


def _list(entries: Sequence[str]) -> str:
    return ", ".join(entries[:_LISTED]) + (f" and {len(entries) - _LISTED} more" if len(entries) > _LISTED else "")
