#!/bin/bash
# torch 2.13: a hook that is removed while its module is being called is still called, in another shape than it was
# registered for.
#
# Expected: after `handle.remove()` a hook is gone, or, if the call had begun, runs once more as it always did.
# What is: the call goes through the hooks that there were when it began, but looks up at each one whether it was
# registered `with_kwargs=True`, and removing has taken that away. The hook is called with one argument less
# (`hook(module, args)`, `hook(module, args, output)`): a TypeError out of a forward that is none of its business,
# or, where its last parameter has a default, a hook that silently reads the output as the keywords. Another hook of
# the same module, or another thread, is who removes it.
# Instead: give such a hook a signature that works both ways, with a switch of its own that makes it do nothing.
. "$(dirname "$0")/environment.sh"
environment torch==2.13.0

"$PYTHON" -I - <<'PY'
import sys
import warnings
from importlib.metadata import version

warnings.simplefilter("ignore")
import torch


class Scaled(torch.nn.Module):
    def forward(self, x, *, scale=1.0):
        return x * scale


def calls(remove_first, pre):
    """What a hook that was registered with keywords is given: the number of arguments of each call."""
    module, seen, handles = Scaled(), [], []

    def first(*args):
        if remove_first and len(handles) > 1:
            handles.pop().remove()

    def watched(*args):
        seen.append(len(args))

    register = module.register_forward_pre_hook if pre else module.register_forward_hook
    handles.append(register(first))
    handles.append(register(watched, with_kwargs=True))
    module(torch.ones(2), scale=3.0)
    module(torch.ones(2), scale=3.0)
    return seen


print(f"torch {version('torch')}: arguments of a hook registered with_kwargs=True, at each of two calls of its module")
found = {}
for pre in (True, False):
    kind = "forward_pre_hook" if pre else "forward_hook"
    found[pre] = calls(False, pre), calls(True, pre)
    print(f"  {kind:16} left alone {found[pre][0]}, removed by an earlier hook of the first call {found[pre][1]}")
sys.exit(0 if found == {True: ([3, 3], [2]), False: ([4, 4], [3])} else 1)
PY
