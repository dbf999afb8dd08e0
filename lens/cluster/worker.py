"""What an actor holds and does: the model, mapped once, and the parts of sweeps."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any

import torch

from ..engine.memory import share_device
from .pool import Process


class Worker(Process):
    """An actor with a model. It is put together by the first task, so that what is wrong with it is that task's error.

    Args: content: the model without its weights. path: of the file that it maps. count: its tensors. expected: the
        hash that it must have. threads: that torch may use. device_map: where on this process's devices its parts go.
        on_device: workers on one GPU.
    """

    def __init__(
        self, content: bytes, path: str, count: int, expected: str, threads: int, device_map: Any, on_device: int
    ):
        super().__init__(threads)
        share_device(on_device)
        self.content, self.path, self.count, self.expected = content, path, count, expected
        self.device_map = device_map
        self.view: Any = None
        self.key: Any = None
        self.sweep: Any = None
        self.opened: Any = None

    def model(self) -> Any:
        """The engine's view of the model. Raises ClusterError: it is another one than the driver's."""
        from ..engine.model import Model
        from ..models import weight_hash
        from .errors import ClusterError
        from .transfer import unpacked_model
        from .weights import mapped

        if self.view is None:
            if not os.path.isfile(self.path):
                raise ClusterError(
                    f"backend='ray': the file with the model's weights, {self.path!r}, is not there on node"
                    f" {os.uname().nodename!r}; set MNEMOSCOPE_CACHE to a folder that all nodes of the cluster share."
                )
            given = unpacked_model(self.content, mapped(self.path, self.count))
            found = weight_hash(given)
            if found != self.expected:
                raise ClusterError(
                    f"backend='ray': a worker's model has the hash {found[:12]}, the driver's {self.expected[:12]};"
                    " load the model again, or use backend='local'."
                )
            if self.device_map is not None:
                accelerate: Any = importlib.import_module("accelerate")
                automatic = isinstance(self.device_map, str)
                places = accelerate.infer_auto_device_map(given) if automatic else self.device_map
                accelerate.dispatch_model(given, places, force_hooks=True)
            self.view = Model.of(given)
        return self.view

    def warm(self) -> int:
        """Maps the model and runs it once; the id of the process."""
        view = self.model()
        view.record([torch.arange(1, 9) % view.d_vocab])
        return self.process()

    def begin(self, key: str, content: Any, batch: list[int], memory_mb: float, spans: Any, may_fail: bool) -> Any:
        """Makes a batch's unedited runs.

        Returns ``(base, source, beside, number of pieces of each span), path``; None in place of the first where there
        is no room for them and ``may_fail``.
        """

        def made() -> Any:
            opened = self._open(key, content, batch, memory_mb, may_fail)
            if opened is None:
                return None
            return opened.base, opened.source, opened.beside, [len(opened.pieces(span)) for span in spans]

        return self._alone(made)

    def compute(self, key: str, content: Any, batch: list[int], memory_mb: float, span: Any, number: int) -> Any:
        """One piece: ``(cells, value), path``."""

        def made() -> Any:
            opened = self._open(key, content, batch, memory_mb, False)
            piece = opened.pieces(span)[number]
            return opened.cells(piece), opened.compute(piece)

        return self._alone(made)

    def _alone(self, body: Callable[[], Any]) -> Any:
        """What a computation gives, and which path of the engine served it."""
        from ..engine.changes import Session
        from ..engine.sessions import during

        session = Session(self.model().hf, "lens.cluster", False, None)
        return during(session, body), dict(session.path)

    def _open(self, key: str, content: Any, batch: list[int], memory_mb: float, may_fail: bool) -> Any:
        from ..engine.sweep_parts import Opened
        from . import connection
        from .transfer import unpacked

        view = self.model()
        if self.key != key:
            self.opened, self.sweep, self.key = None, None, None
            self.sweep, self.key = unpacked(connection.engine().get(content[0]), view), key
        if self.opened is None or self.opened.batch != batch:
            self.opened = None  # not two at once
            self.opened = Opened.of(self.sweep, batch, memory_mb, may_fail=may_fail)
        return self.opened
