"""Offloaded weights that stay where they are used for as long as a block is at work, and are read once for it.

accelerate loads an offloaded weight at each call of its module and drops it after that. A walk calls the modules of a
block once a chunk, and reads some weights without a call: it would read each weight from disk many times, or numbers
that are none.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from types import TracebackType
from typing import Any

import torch
from torch import nn

from ..models.placement import Offloaded, offloading, place_named
from .interrupts import Held, critical, hold, release
from .memory import SHARE, memory_of


class Resident:
    """``with resident(block):`` its offloaded weights are there, on the device that it computes on, and accelerate's
    forwards of the modules that hold them are set aside. Both are put back whatever happens.
    """

    def __init__(self, leaves: Iterable[Offloaded]):
        self._leaves = list(leaves)
        self._weights: list[tuple[Offloaded, Any]] = []
        self._forwards: list[tuple[nn.Module, Any]] = []
        self._held: Held = False

    @critical
    def __enter__(self) -> Resident:
        if not self._leaves:
            return self
        self._held = hold()
        try:
            for one in self._leaves:
                now = one.of[one.key]
                # within another of its kind; or a quantised weight, whose module is called and never read
                if not now.is_meta or type(now) not in (nn.Parameter, torch.Tensor):
                    continue
                value = one.value().to(place_named(one.hook.execution_device))
                self._weights.append((one, now))
                one.of[one.key] = nn.Parameter(value, requires_grad=False) if isinstance(now, nn.Parameter) else value
                self._set_aside(one.forward_of)
        except BaseException:
            self._put_back()
            raise
        return self

    @critical
    def _set_aside(self, module: Any) -> None:
        """Takes a module's forward of accelerate's off; what it had before is called in its place."""
        own = module.__dict__
        if "forward" not in own or "_old_forward" not in own or any(module is one for one, _ in self._forwards):
            return
        self._forwards.append((module, own.pop("forward")))
        if getattr(own["_old_forward"], "__func__", None) is not type(module).forward:
            own["forward"] = own["_old_forward"]

    @critical
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._leaves:
            self._put_back()

    @critical
    def _put_back(self) -> None:
        for module, forward in self._forwards:
            module.__dict__["forward"] = forward
        for one, was in self._weights:
            one.of[one.key] = was
        self._forwards.clear()
        self._weights.clear()
        release(self._held)
        self._held = False


def resident(*modules: nn.Module | None) -> Resident:
    """The weights in some modules; see `Resident`. Costs nothing where none is offloaded."""
    return Resident(one for module in modules if module is not None for one in offloading(module))


def memory_beside(model: Any, memory_mb: float | None) -> float:
    """Megabytes that a sweep of a model with offloaded weights may add: what the caller says, else ``SHARE`` of what is
    free on its device, the processor's memory too, where that is more than the usual. Rows that do not fit go in
    another walk, and that reads all these weights again.
    """
    usual = memory_of(model, memory_mb)
    if memory_mb is not None or model.device.type != "cpu":
        return usual
    psutil = importlib.import_module("psutil")  # comes with accelerate, without which nothing is offloaded
    free: int = psutil.virtual_memory().available
    return max(usual, SHARE * free / 2**20)
