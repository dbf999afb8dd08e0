"""What checks and ledgers ask of rows in an order, and the lots by which rows are chosen blind to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np


class Order(Protocol):
    """Rows and where each stood in the training: a `lens.provenance.transcripts.Transcript`."""

    @property
    def tokens(self) -> Any:
        """The rows, or None."""
        ...

    @property
    def position(self) -> np.ndarray:
        """[rows] or [rows, epochs]; later is larger."""
        ...

    @property
    def kind(self) -> str:
        """What positions are: "key", "step" or "rank"."""
        ...

    @property
    def row_id(self) -> np.ndarray:
        """[rows], each once."""
        ...

    @property
    def group(self) -> np.ndarray:
        """[rows], the exchange group of each."""
        ...

    @property
    def shuffled_as(self) -> str:
        """In words, what was shuffled."""
        ...

    @property
    def about(self) -> Mapping[str, Any]:
        """What the reader of the rows noted."""
        ...

    @property
    def epochs(self) -> int:
        """How many columns of positions there are."""
        ...

    def __len__(self) -> int: ...

    def rows(self, index: np.ndarray) -> Any:
        """The tokens of some rows."""
        ...

    def digests(self) -> np.ndarray:
        """A 64-bit hash of each row's content."""
        ...

    def copies(self) -> int:
        """How many rows have the content of another one."""
        ...

    def shuffle_checks(self) -> Mapping[str, float]:
        """p-values of the hypothesis that the order is a shuffle."""
        ...


def mixed(values: np.ndarray, seed: int) -> np.ndarray:
    """A uint64 for each integer that depends on the seed and looks random: two rounds of splitmix64 (Steele, Lea &
    Flood 2014).
    """
    start = _splitmix(np.array([int(seed) & (2**64 - 1)], np.uint64))
    return _splitmix(np.asarray(values).astype(np.uint64) ^ start)


def _splitmix(x: np.ndarray) -> np.ndarray:
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
