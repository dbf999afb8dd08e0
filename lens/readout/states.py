"""States of many prompts at many cells, on disk where they are many, so that memory does not grow with the prompts."""

from __future__ import annotations

from collections.abc import Sequence
from tempfile import SpooledTemporaryFile

import numpy as np
from jaxtyping import Float

#: Bytes that stay in memory.
IN_MEMORY = 64 << 20


class States:
    """Rows of one width a cell; written a batch of prompts at a time, read a cell at a time.

    What exceeds `IN_MEMORY` lies in a file without a name in the folder for temporary files (``TMPDIR``), which is gone
    when this is closed or the process ends.
    """

    def __init__(self, rows: int, widths: Sequence[int], dtype: type[np.floating] = np.float32):
        self.rows, self.widths, self.dtype = rows, list(widths), np.dtype(dtype)
        self._begin = np.concatenate([[0], np.cumsum([rows * w for w in widths])]) * self.dtype.itemsize
        self._file = SpooledTemporaryFile(max_size=IN_MEMORY)
        if self._begin[-1] > IN_MEMORY:
            # at once: a first write behind all others would fill memory up to there
            self._file.rollover()

    def write(self, cell: int, first: int, block: Float[np.ndarray, "rows width"]) -> None:
        """Puts consecutive rows of a cell in their place."""
        self._file.seek(self._begin[cell] + first * self.widths[cell] * self.dtype.itemsize)
        self._file.write(np.ascontiguousarray(block, self.dtype).tobytes())

    def read(self, cell: int, rows: np.ndarray) -> Float[np.ndarray, "rows width"]:
        """Some rows of a cell in double precision."""
        width = self.widths[cell]
        last = int(rows.max()) + 1
        self._file.seek(self._begin[cell])
        whole = np.frombuffer(self._file.read(last * width * self.dtype.itemsize), self.dtype).reshape(last, width)
        return whole[rows].astype(float)

    def close(self) -> None:
        """Lets go of memory and file."""
        self._file.close()
