"""The sums of a fit as they grow, on disk where a store is given."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ... import files, reading
from ...arguments import FilePath
from ...notices import warn
from .errors import JacobianLensError

#: Seconds between writes at least, and how many times as long as a write took.
SAVE_EVERY, SHARE = 10.0, 20.0


class Partial:
    """Sums over even and over odd prompts, and which prompts are in them.

    Attributes: ``sums [2, layer, row, d_model]``; ``done``: numbers of prompts.

    Raises: JacobianLensError: a store that is a file.
    """

    def __init__(self, store: FilePath | None, about: Mapping[str, Any], shape: tuple[int, ...], dtype: torch.dtype):
        self.sums = torch.zeros(shape, dtype=torch.float64 if dtype == torch.float64 else torch.float32)
        self.done: set[int] = set()
        self._written, self._cost, self._count = time.monotonic(), 0.0, 0
        self.path = None
        if store is None:
            return
        folder = files.expanded(store)
        if folder.exists() and not folder.is_dir():
            raise JacobianLensError(f"store={str(folder)!r} is a file; give a folder.")
        files.make_folder(folder)
        own = {key: value for key, value in about.items() if key not in ("versions",)}
        self.identity = hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()
        self.path = folder / f"sums-{self.identity[:24]}.safetensors"
        self._read()

    def add(self, prompt: int, values: Tensor) -> None:
        """Adds a prompt's matrices, ``[layer, row, d_model]``."""
        self.sums[prompt % 2] += values
        self.done.add(prompt)

    def due(self, began: float) -> bool:
        """Whether it is time to write; a large state is written less often."""
        return self.path is not None and time.monotonic() - self._written >= max(SAVE_EVERY, SHARE * self._cost)

    def write(self, last: bool = False) -> None:
        """Writes the sums, where something was added."""
        if self.path is None or len(self.done) == self._count:
            return
        began = time.monotonic()
        about = {"identity": self.identity, "done": json.dumps(sorted(self.done))}
        files.write_tensors(self.path, {"sums": self.sums}, about)
        self._written, self._cost, self._count = time.monotonic(), time.monotonic() - began, len(self.done)

    def _read(self) -> None:
        """Takes up what is there; a file that cannot be read is set aside."""
        if self.path is None or not self.path.is_file():
            return
        try:
            with safe_open(self.path, "pt") as file:
                about, sums = file.metadata() or {}, file.get_tensor("sums")
            done = reading.value(about["done"], list)
            if about.get("identity") != self.identity or sums.shape != self.sums.shape:
                raise ValueError("it holds another fit")
            self.sums, self.done = sums.to(self.sums.dtype), {int(i) for i in done}
            self._count = len(self.done)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            warn(f"{self.path} cannot be read ({error}); it is set aside and the fit begins anew")
            with contextlib.suppress(OSError):
                os.replace(self.path, self.path.with_suffix(".damaged"))
