"""The distinct k-grams of a text as a trie, and a scanner that finds all of them in a stream of tokens.

The scanner looks at eight bytes of the stream at a time (four tokens of 16 bits, or two of 32): one multiplication
gives a slot of a table of bits, which says whether the text has these tokens anywhere. Where the shortest gram is
longer than what eight bytes hold, only every second or fourth place is looked at: every occurrence covers one of them.
What passes is looked up by a 64-bit rolling hash, compared token by token, and then grows along the trie: so no hash
collision can make a match.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

#: Odd constants of multiplicative hashing: the golden ratio's, and one from Steele & Vigna 2022.
MULTIPLIER, SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1342543DE82EF95)
#: Base of the rolling hash.
BASE = np.uint64(0xF1357AEA2E62A9C5)
#: Places of the stream that are looked at together; their working arrays stay in the processor's cache.
CHUNK = 1 << 18
#: Bits of the first table, as a power of two: at least 2 ** LEAST, and 2 ** SPARE times the text's grams, but never
#: more than 2 ** MOST.
LEAST, SPARE, MOST = 12, 6, 27
#: Occurrences that are kept before those no longer needed are dropped.
HITS = 2_000_000


@dataclass(frozen=True, eq=False)
class Grams:
    """Every distinct k-gram of some documents, `low` <= k <= `high`.

    `ids[k]`: int32, for each place of the joined documents the number of the k-gram that starts there, -1 where the
    document ends before it does. `count[k]`: how many there are. `keys[k]` for k > `low`: sorted int64, (number of the
    (k-1)-gram before it) * 2**32 + last token, by number. `first[k]`: a place where each `low`-gram stands. `document`:
    int64, the document of each place.
    """

    text: np.ndarray
    document: np.ndarray
    documents: int
    low: int
    high: int
    ids: dict[int, np.ndarray]
    count: dict[int, int]
    keys: dict[int, np.ndarray]
    first: np.ndarray

    @classmethod
    def of(cls, documents: list[np.ndarray], low: int, high: int) -> "Grams":
        """The grams of arrays of tokens, found exactly (by pairs of a shorter gram and a token, not by a hash)."""
        text = np.concatenate([np.asarray(d, np.int64) for d in documents])
        sizes = np.array([len(d) for d in documents])
        document = np.repeat(np.arange(len(documents)), sizes)
        left = np.repeat(np.cumsum(sizes), sizes) - np.arange(len(text))  # tokens up to the document's end
        before, ids, count, keys, first = np.zeros(len(text), np.int64), {}, {}, {}, np.empty(0, np.int64)
        for k in range(1, high + 1):
            at = np.flatnonzero(left >= k)
            pair = (before[at] << 32) | text[at + k - 1]
            distinct, where, number = np.unique(pair, return_index=True, return_inverse=True)
            before = np.full(len(text), -1, np.int64)
            before[at] = number
            if k >= low:
                ids[k], count[k] = before.astype(np.int32), len(distinct)
            if k == low:
                first = at[where]
            elif k > low:
                keys[k] = distinct
        return cls(text, document, len(documents), low, high, ids, count, keys, first)

    def longest(self, count: dict[int, np.ndarray]) -> np.ndarray:
        """int16: the length of the longest gram at each place that occurs at all, 0 where not even the shortest does.
        `count`: occurrences of every gram.
        """
        best = np.zeros(len(self.text), np.int16)
        for k in range(self.low, self.high + 1):
            at = np.flatnonzero(self.ids[k] >= 0)
            best[at[count[k][self.ids[k][at]] > 0]] = k
        return best

    def wanted(self, count: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
        """For every gram whether some place of the text has it as its longest; what is False stays so when more is
        counted.
        """
        wanted, best = {}, self.longest(count)
        for k in range(self.low, self.high + 1):
            wanted[k] = count[k] == 0  # not met yet: it may still come
            wanted[k][self.ids[k][best == k]] = True
        return wanted


@dataclass(eq=False)
class Occurrences:
    """Occurrences of every gram in what was read: `count[k]` int64 by number; `gram[k]`, `row[k]`: one entry an
    occurrence of those that are kept.

    Kept are the grams that occur at most `most` times so far and are the longest at some place of the text.
    """

    grams: Grams
    most: int
    count: dict[int, np.ndarray] = field(init=False)
    gram: dict[int, list[np.ndarray]] = field(init=False)
    row: dict[int, list[np.ndarray]] = field(init=False)
    held: int = 0
    limit: int = field(default_factory=lambda: HITS)

    def __post_init__(self):
        levels = range(self.grams.low, self.grams.high + 1)
        self.count = {k: np.zeros(self.grams.count[k], np.int64) for k in levels}
        self.keep = {k: np.ones(self.grams.count[k], bool) for k in levels}
        self.gram, self.row = {k: [] for k in levels}, {k: [] for k in levels}

    def add(self, k: int, gram: np.ndarray, row: np.ndarray) -> None:
        """Count occurrences of k-grams (by number), and keep the rows of those that are still of use."""
        np.add.at(self.count[k], gram, 1)
        wanted = self.keep[k][gram]
        if wanted.any():
            self.hold(k, gram[wanted], row[wanted])
        if self.held > self.limit:
            self.prune()

    def hold(self, k: int, gram: np.ndarray, row: np.ndarray) -> None:
        """Keeps occurrences of k-grams: their numbers, and the rows they are in."""
        self.gram[k].append(gram)
        self.row[k].append(row)
        self.held += len(gram)

    def prune(self) -> None:
        """Forget the occurrences of grams that are too common, or at every place part of a longer one that occurs."""
        wanted, self.held = self.grams.wanted(self.count), 0
        for k, keep in self.keep.items():
            keep &= wanted[k] & (self.count[k] <= self.most)
            gram, row = joined(self.gram[k], np.int32), joined(self.row[k], np.int64)
            chosen = keep[gram]
            self.gram[k], self.row[k] = [gram[chosen]], [row[chosen]]
            self.held += int(chosen.sum())
        self.limit = max(HITS, 2 * self.held)

    def merge(self, other: "Occurrences") -> None:
        """Add what was found in another part, which comes after."""
        for k in self.count:
            self.count[k] += other.count[k]
            self.hold(k, joined(other.gram[k], np.int32), joined(other.row[k], np.int64))
        self.prune()


def joined(parts: list[np.ndarray], dtype) -> np.ndarray:
    """The parts one after the other; an empty array where there are none."""
    return np.concatenate(parts) if parts else np.empty(0, dtype)


class Tokens(Protocol):
    """A run of tokens that is read piece by piece."""

    def __len__(self) -> int: ...

    def __getitem__(self, where: slice, /) -> np.ndarray: ...


class Scanner:
    """Finds the grams in runs of tokens of one dtype (uint16 or uint32)."""

    def __init__(self, grams: Grams, dtype: np.dtype):
        self.grams, self.dtype, low = grams, np.dtype(dtype), grams.low
        self.per_word = per = 8 // self.dtype.itemsize
        self.words = 2 if per == 2 and low >= 4 else 1
        self.seen = min(low, per * self.words)  # tokens of a look
        self.stride = next(s for s in (4, 2, 1) if s <= per and self.seen + s - 1 <= low)
        self.mask = None if self.seen >= per else np.uint64((1 << (8 * self.dtype.itemsize * self.seen)) - 1)
        self.pad = per * (self.words + 1) + grams.high
        self.scratch: tuple | None = None
        self._first_table()
        self._hash_table()

    def _first_table(self) -> None:
        g = self.grams
        start = np.flatnonzero(g.ids[g.low] >= 0)
        at = np.unique((start[:, None] + np.arange(self.stride)).ravel())
        text = np.concatenate([g.text, np.zeros(self.pad, np.int64)]).astype(self.dtype)
        tokens = np.ascontiguousarray(text[at[:, None] + np.arange(self.per_word * self.words)])
        code = tokens.view(np.uint64)
        mixed = self._mix(code[:, 0].copy(), None if self.words == 1 else code[:, 1])
        bits = min(MOST, max(LEAST, len(np.unique(mixed)).bit_length() + SPARE))
        self.bit, self.byte = np.uint64(64 - bits), np.uint64(64 - bits + 3)
        slot = mixed >> self.bit
        # eight to a byte: the table then fits the processor's own cache
        self.table = np.zeros(1 << (bits - 3), np.uint8)
        np.bitwise_or.at(self.table, slot >> np.uint64(3), (1 << (slot & np.uint64(7))).astype(np.uint8))

    def _mix(self, code: np.ndarray, second: np.ndarray | None) -> np.ndarray:
        """In place: the word's tokens, those beyond the look masked away, spread over 64 bits."""
        if self.mask is not None:
            np.bitwise_and(code, self.mask, out=code)
        np.multiply(code, MULTIPLIER, out=code)
        if second is not None:
            # the product's high half must reach the low one before the words are added, or tokens would cancel
            np.bitwise_xor(code, code >> np.uint64(32), out=code)
            np.add(code, second, out=code)
            np.multiply(code, SECOND, out=code)
        return code

    def _hash_table(self) -> None:
        """The shortest grams sorted by rolling hash, with the start of each run of equal top bits."""
        g = self.grams
        code = self._rolling(g.text.astype(np.uint64), g.first)
        self.by_hash = np.argsort(code, kind="stable").astype(np.int32)
        self.hashes = code[self.by_hash]
        bits = max(1, min(26, len(code).bit_length() + 2))
        self.top = np.uint64(64 - bits)
        self.slot = np.searchsorted(self.hashes >> self.top, np.arange((1 << bits) + 1, dtype=np.uint64)).astype(
            np.int32
        )

    def _rolling(self, text: np.ndarray, at: np.ndarray) -> np.ndarray:
        code = np.zeros(len(at), np.uint64)
        for j in range(self.grams.low):
            code *= BASE
            code += text[at + j].astype(np.uint64)
            code *= MULTIPLIER
        return code

    def scan(
        self, tokens: Tokens, starts: int, first: int, row_length: int, across: bool, occurrences: Occurrences
    ) -> None:
        """Add the grams that start in the first `starts` of a run of tokens; `first`: the row that begins there.
        `across`: grams may cross the rows' ends.
        """
        size = CHUNK - CHUNK % self.per_word
        buffer = np.zeros(size + self.pad + self.per_word, self.dtype)
        for begin in range(0, starts, size):
            here = tokens[begin : begin + size + self.pad]
            buffer[: len(here)] = here
            buffer[len(here) :] = 0
            self._chunk(
                buffer, min(size, starts - begin), len(tokens) - begin, begin, first, row_length, across, occurrences
            )

    def _chunk(self, buffer, size, left, begin, first, row_length, across, occurrences) -> None:
        """`size`: places where a gram may start; `left`: tokens from the first of them to the end of the run."""
        at = self._candidates(buffer, size)
        at = at[at + self.grams.low <= left]
        at, gram = self._exact(buffer, at)
        if not len(at):
            return
        place = begin + at
        row, offset = np.divmod(place, row_length)
        row += first
        room = left - at if across else np.minimum(row_length - offset, left - at)  # tokens that a gram may have
        for k in range(self.grams.low, self.grams.high + 1):
            if k > self.grams.low:
                keys = self.grams.keys[k]
                inside = room >= k
                at, gram, row, room = at[inside], gram[inside], row[inside], room[inside]
                key = (gram.astype(np.int64) << 32) | buffer[at + (k - 1)]
                number = np.searchsorted(keys, key)
                number[number == len(keys)] = 0
                same = keys[number] == key if len(keys) else np.zeros(len(key), bool)
                at, gram, row, room = at[same], number[same].astype(np.int32), row[same], room[same]
            else:
                inside = room >= k
                at, gram, row, room = at[inside], gram[inside], row[inside], room[inside]
            if not len(at):
                return
            occurrences.add(k, gram, row)

    def _candidates(self, buffer: np.ndarray, size: int) -> np.ndarray:
        """Places where the shortest gram may start, each once, in no order."""
        per, stride = self.per_word, self.stride
        words = -(-(size + stride - 1) // per)
        if self.scratch is None or len(self.scratch[1]) != words:
            # made once: fresh memory for every chunk costs more than the work in it
            self.scratch = (
                np.empty((words + self.words - 1) * per, self.dtype),
                *(np.empty(words, t) for t in (np.uint64, np.uint8, np.uint8)),
            )
        tokens, slot, seen, which = self.scratch
        places = []
        for offset in range(0, per, stride):
            np.copyto(tokens, buffer[offset : offset + len(tokens)])
            code = tokens.view(np.uint64)
            second = code[1:].copy() if self.words == 2 else None
            mixed = self._mix(code[:words], second)
            np.right_shift(mixed, self.byte, out=slot)
            # below the table's size by their shift: no index can wrap
            np.take(self.table, slot.view(np.intp), out=seen, mode="wrap")
            np.right_shift(mixed, self.bit, out=slot)
            np.copyto(which, slot, casting="unsafe")
            np.bitwise_and(which, 7, out=which)
            np.right_shift(seen, which, out=seen)
            np.bitwise_and(seen, 1, out=seen)
            hit = np.flatnonzero(seen.view(bool))
            hit *= per
            hit += offset
            places.append(hit)
        at = np.concatenate(places) if len(places) > 1 else places[0]
        if stride > 1:
            at = (at[:, None] - np.arange(stride)).ravel()
        return at[(at >= 0) & (at < size)]

    def _exact(self, buffer: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The places among `at` where one of the shortest grams stands, and its number."""
        code = self._rolling(buffer, at)
        slot = (code >> self.top).astype(np.intp)
        entry, end = self.slot[slot], self.slot[slot + 1]
        places, numbers = [], []
        alive = np.flatnonzero(entry < end)
        while len(alive):
            same = alive[self.hashes[entry[alive]] == code[alive]]
            gram = self.by_hash[entry[same]]
            source, target = self.grams.first[gram], at[same]
            true = np.ones(len(same), bool)
            for j in range(self.grams.low):
                true &= self.grams.text[source + j] == buffer[target + j]
            places.append(target[true])
            numbers.append(gram[true])
            entry[alive] += 1
            alive = alive[entry[alive] < end[alive]]
        return joined(places, np.int64), joined(numbers, np.int32)
