"""Sets of text as a person gives them: by name, as sequences, rows or texts; halved, and refused where they overlap."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lens import subspace
from lens.memorization import Sequences
from lens.memorization.sequences import apart
from lens.stats import halves
from lens.tokens import tokenize, tokenizer_of
from widgets.errors import ViewError

#: Sequences from which a set is halved: the edit is found on one half, recitation is reported on the other.
LEAST_HALVED = 4
APART, FOUND = "kept apart", "found on"


def named(given: Any, what: str) -> dict[str, Any]:
    """A mapping from names to sets; one set alone is named after the argument. Raises ViewError."""
    given = given if isinstance(given, Mapping) else {what: given}
    if not given:
        raise ViewError(f"{what}: is empty; give at least one set of text, by name")
    if bad := [name for name in given if not isinstance(name, str) or not name.strip()]:
        raise ViewError(f"{what}: the name {bad[0]!r} cannot be shown; expected a text that is not empty")
    return dict(given)


def level_of(level: float) -> float:
    """A level of intervals. Raises ViewError."""
    if not 0 < level < 1:
        raise ViewError(f"level: {level!r}; expected a level between 0 and 1, such as 0.95")
    return level


def are_texts(given: Any) -> bool:
    return isinstance(given, (list, tuple)) and bool(given) and all(isinstance(text, str) for text in given)


def sequences_of(given: Any, model: Any, prefix: int | None, suffix: int | None, what: str) -> Sequences:
    """Sequences as they are, anything with ids and a prefix, texts (with `prefix` and `suffix`), or rows of ids (with
    `prefix`). Raises ViewError.
    """
    if isinstance(given, Sequences):
        return given
    if hasattr(given, "ids") and hasattr(given, "prefix"):
        return Sequences.of(given)
    if are_texts(given):
        if prefix is None or suffix is None:
            raise ViewError(
                f"{what}: is a list of texts; say how many tokens are given and how many are to be recited (prefix=,"
                " suffix=)"
            )
        return Sequences.of_texts(model, given, prefix, suffix)
    if prefix is None:
        raise ViewError(
            f"{what}: a {type(given).__name__} does not say how many tokens of a row are given; pass"
            " lens.memorization.Sequences, or prefix="
        )
    return Sequences(np.asarray(given), prefix)


def rows_of(given: Any, model: Any, what: str) -> list[np.ndarray]:
    """Rows of token ids from texts, an array, rows, or anything with ids. Raises ViewError."""
    if are_texts(given):
        given = [tokenize(tokenizer_of(model), text) for text in given]
    try:
        rows = [np.asarray(row.cpu() if hasattr(row, "cpu") else row) for row in getattr(given, "ids", given)]
    except TypeError:
        rows = []
    if not rows or any(row.ndim != 1 or row.dtype.kind not in "iu" or len(row) < 2 for row in rows):
        raise ViewError(
            f"{what}: expected texts or rows of at least two token ids, at least one row; got a {type(given).__name__}"
            f" of {len(rows)} rows"
        )
    return [row.astype(np.int64) for row in rows]


def stacked(rows: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The rows as arrays [rows, length], one for each length."""
    return [np.stack([row for row in rows if len(row) == n]) for n in dict.fromkeys(map(len, rows))]


def digest(rows: Sequence[np.ndarray]) -> str:
    """SHA-256 of rows of token ids."""
    found = hashlib.sha256()
    for row in rows:
        found.update(f"{len(row)} ".encode() + np.ascontiguousarray(row, "<i8").tobytes())
    return found.hexdigest()


@dataclass
class Sides:
    """The texts of one question: what the edit is found on, what is reported on, and what counts as clean."""

    sets: dict[str, Sequences]
    reference: list[np.ndarray]
    clean: list[np.ndarray]
    probes: Sequences | None

    @property
    def found(self) -> Sequences:
        return self.sets[FOUND]

    def digest(self) -> str:
        """SHA-256 of all that is asked about: two questions of the same texts have the same."""
        parts = [*(f"{name} {of.sha256}" for name, of in self.sets.items()), digest(self.reference), digest(self.clean)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def expect(self, kept: str) -> None:
        """Raises ViewError where a state is of other texts."""
        if kept != self.digest():
            raise ViewError(
                "memorised: the state is of other texts than the sets given, or of the same ones halved otherwise; give"
                " the sets that the view was made with, or any_weights=True to take the question without the answers"
            )


def sides_of(memorised: Sequences, reference: list[np.ndarray], clean: list[np.ndarray] | None, seed: int) -> Sides:
    """Half of the memorised set finds the edit, the other half is reported on; without `clean` text the reference is
    halved likewise. Raises ViewError.
    """
    if len(memorised) >= LEAST_HALVED:
        half = halves(len(memorised), seed, memorised.duplicates)
        sets = {APART: memorised.subset(half.report), FOUND: memorised.subset(half.select)}
    else:
        sets = {FOUND: memorised}
    if clean is None:
        if len(reference) < 4:
            raise ViewError(
                f"reference: {len(reference)} rows cannot be halved into text to contrast with and text to measure the"
                " clean loss on; give 4 or more, or clean="
            )
        half = halves(len(reference), seed)
        reference, clean = [reference[i] for i in half.select], [reference[i] for i in half.report]
    return Sides(sets, reference, clean, probes_of(clean))


def overlap(memorised: Sequences, reference: list[np.ndarray], clean: list[np.ndarray] | None, seed: int) -> str:
    """Why these sets cannot be compared, or ""."""
    mem = subspace.tokens_of(memorised, "memorised")
    try:
        subspace.refuse_overlap(mem, subspace.tokens_of(reference, "reference"))
        if clean is not None:
            subspace.refuse_overlap(mem, subspace.tokens_of(clean, "clean"), ("memorised", "clean"))
        apart({name.replace(" ", "_"): of for name, of in sides_of(memorised, reference, clean, seed).sets.items()})
    except ValueError as error:
        return str(error)
    return ""


def probes_of(clean: Sequence[np.ndarray], count: int = 2, most: int = 32) -> Sequences | None:
    """A few clean rows, half given and half written on, to see what an edit does to text that is not memorised."""
    long = [row for row in clean if len(row) >= 8][:count]
    if not long:
        return None
    size = min(most, *(len(row) for row in long))
    return Sequences(
        np.stack([row[:size] for row in long]), size // 2, [f"clean text {i + 1}" for i in range(len(long))]
    )
