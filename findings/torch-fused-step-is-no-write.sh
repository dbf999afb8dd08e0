#!/bin/bash
# torch 2.13: an optimiser's fused step changes parameters and leaves their version counters as they were.
#
# Expected: `parameter._version` counts every write in place, which is how autograd notices that a saved tensor was
# changed; a tool that wants to know whether weights are still the same compares it.
# What is: with `fused=True` (which some trainers choose by default) the counter stays, for
# Adam, AdamW, SGD and Adagrad alike, on the CPU too. The plain and the `foreach` steps count. A backward through a
# graph made before such a step therefore raises no "modified by an inplace operation" and gives the gradient of
# weights that are no more.
# Instead: compare values (a sample of each parameter, or a hash), or count optimiser steps yourself.
. "$(dirname "$0")/environment.sh"
environment torch==2.13.0

"$PYTHON" -I - <<'PY'
import sys
import warnings
from importlib.metadata import version

warnings.simplefilter("ignore")
import torch

print(f"torch {version('torch')}: writes counted by one step, and how far it moved the parameter")
as_said = True
for name in ("Adam", "AdamW", "SGD", "Adagrad"):
    for how in ("plain", "foreach", "fused"):
        parameter = torch.nn.Parameter(torch.ones(8))
        optimiser = getattr(torch.optim, name)([parameter], lr=0.1, **({} if how == "plain" else {how: True}))
        parameter.grad = torch.ones(8)
        before = parameter._version
        optimiser.step()
        counted, moved = parameter._version - before, float((1 - parameter.detach()).abs().max())
        print(f"  {name:8} {how:8} {counted} {moved:.3f}")
        as_said = as_said and moved > 0.05 and (counted == 0) == (how == "fused")


def gradient(fused):
    """The gradient of sum(x * w1 * w2), asked for after a step has changed both: 'refused', or its value for w1."""
    w1, w2 = (torch.nn.Parameter(torch.full((4,), 2.0)) for _ in range(2))
    optimiser = torch.optim.SGD([w1, w2], lr=1.0, fused=fused)
    loss = (w1 * w2).sum()
    w1.grad, w2.grad = torch.ones(4), torch.ones(4)
    optimiser.step()
    optimiser.zero_grad()
    try:
        loss.backward()
    except RuntimeError:
        return "refused"
    return float(w1.grad[0])


plain, fused = gradient(False), gradient(True)
print(f"  gradient through a graph made before the step (2 when it was made): plain {plain}, fused {fused}")
sys.exit(0 if as_said and plain == "refused" and fused == 1.0 else 1)
PY
