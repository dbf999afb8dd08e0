"""The hook points of a TransformerLens bridge: where a change is seen by those who look at the bridge while it is in
force.

A wrapper hands its output to its own hook point and then returns it. A change of what the wrapper returned comes
after the point: `run_with_cache` and `run_with_hooks` would show the value without it. A change at the point itself
comes before whatever is hooked there later.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor, nn

from .changes import temporary


def outward(anatomy: Any, modules: Collection[nn.Module], hook: Callable[..., Any]) -> dict[nn.Module, nn.Module]:
    """The modules whose output is what their hook point hands on, with that point: tried out on the probe with every
    such value turned round.

    Args:
        hook: puts a function on what comes out of a module in force, and says how to undo it.
    """
    points: dict[nn.Module, nn.Module] = {}
    for module in modules:
        point: Any = getattr(module, "hook_out", None)
        if type(point).__name__ == "HookPoint":
            points[module] = point
    handed: dict[nn.Module, list[Tensor]] = {}
    returned: dict[nn.Module, list[Tensor]] = {}
    if not points:
        return {}

    def turned(module: nn.Module) -> Callable[[Tensor], Tensor]:
        def through(x: Tensor) -> Tensor:
            handed.setdefault(module, []).append(x.flip(-1))
            return handed[module][-1]

        return through

    def note(module: nn.Module) -> Callable[[Tensor], None]:
        return lambda x: returned.setdefault(module, []).append(x.clone())

    with temporary(anatomy.hf) as here, torch.no_grad():
        for module, point in points.items():
            here.put(lambda: hook(point, "out", turned(module)).remove)
            here.put(lambda: hook(module, "out", note(module)).remove)
        anatomy.forward(anatomy.probe_ids())
    return {
        module: point
        for module, point in points.items()
        if len(handed.get(module, ())) == len(returned.get(module, ())) == 1
        and torch.equal(handed[module][0], returned[module][0])
    }
