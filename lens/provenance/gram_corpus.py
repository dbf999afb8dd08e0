"""A corpus as what is read of it: arrays of tokens, or files of them."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lens import containers
from lens.arguments import PathLike, Size, door
from lens.provenance.arguments import TokenDtype, array
from lens.provenance.errors import ProvenanceError

__all__ = ["Shard", "opened", "shard_of", "shards"]


@door(ProvenanceError)
@dataclass(frozen=True)
class Shard:
    """A part of a corpus: an array of tokens [rows, length] or [tokens], a `.npy` file of one, or any other file as
    plain tokens of `dtype`.

    `rows`: how many it should have; what is missing is reported as lost, and the rows after it keep their numbers.
    """

    source: Any
    rows: Size | None = None
    dtype: TokenDtype = "uint16"
    name: str = ""

    def label(self) -> str:
        """What messages call the shard."""
        return self.name or (
            str(self.source)
            if isinstance(self.source, (str, os.PathLike))
            else f"an array of shape {np.shape(self.source)}"
        )


def opened(shard: Shard) -> np.ndarray:
    """The tokens as an array (mapped, where it is a file); raises OSError or ValueError."""
    if not isinstance(shard.source, (str, os.PathLike)):
        array = shard.source if isinstance(shard.source, np.ndarray) else np.asarray(shard.source)
    elif Path(shard.source).suffix == ".npy":
        array = containers.array(Path(shard.source), ValueError)
    else:
        size, width = Path(shard.source).stat().st_size, np.dtype(shard.dtype).itemsize
        array = (
            np.memmap(shard.source, shard.dtype, "r", shape=(size // width,))
            if size >= width
            else np.empty(0, shard.dtype)
        )
    if array.ndim not in (1, 2) or array.dtype.kind not in "iu":
        raise ValueError(f"it holds {array.dtype} of shape {array.shape}; expected integers [rows, length] or [tokens]")
    return array


def shards(corpus: Any) -> list[Shard]:
    """An array, a path, a `Shard`, or a list of these, as shards. Raises ProvenanceError."""
    listed = (
        corpus
        if isinstance(corpus, (list, tuple)) and not all(isinstance(t, (int, np.integer)) for t in corpus)
        else [corpus]
    )
    return [shard_of(c, f"corpus[{i}]" if listed is corpus else "corpus") for i, c in enumerate(listed)]


def shard_of(source: Any, name: str = "corpus") -> Shard:
    """An array, a list of tokens or rows, or a path as a shard. Raises ProvenanceError."""
    if isinstance(source, Shard):
        return replace(source, source=_source(source.source, f"{name}: source"))
    return Shard(_source(source, name))


def _source(corpus: Any, name: str) -> Any:
    if isinstance(corpus, (str, os.PathLike)):
        return PathLike().of(corpus, name, ProvenanceError)
    if isinstance(corpus, np.ndarray) and corpus.dtype.kind in "iu":
        return corpus
    return array(
        corpus,
        name,
        "tokens: an integer array [rows, length] or [tokens], the path of a file of them, a Shard, or a list of these",
        "iu",
    )
