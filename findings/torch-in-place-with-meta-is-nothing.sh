#!/bin/bash
# torch 2.13: `x.mul_(weight)` with a weight on the meta device does nothing to x, and raises nothing.
#
# Expected: an operation between tensors of two devices raises, as `x * weight` does: "Tensor on device meta is not on
# the expected device cpu!". A weight that was left on meta (offloaded, or never loaded) is then noticed at once.
# What is: `add_`, `sub_`, `mul_`, `div_`, the operators `*=` and `/=`, and `torch._foreach_mul_` return x with the
# values that it had. Even its version counter moves, as after a write. Half precision is no different. A norm, a scale
# or a residual that is applied in place so drops out silently, and a norm of ones, or a bias of zeros, hides that from
# a comparison of outputs. `pow_`, `clamp_`, `lerp_`, `addcmul_` and `copy_` raise.
# Instead: look at `weight.is_meta` before applying weights by hand, or write `x = x * weight`; and test such code with
# weights that are drawn at random, norms and biases too.
. "$(dirname "$0")/environment.sh"
environment torch==2.13.0

"$PYTHON" -I - <<'PY'
import operator
import sys
import warnings
from importlib.metadata import version

warnings.simplefilter("ignore")
import torch

OPERATIONS = {
    "add_": (lambda x, w: x.add_(w), lambda x, w: x + w),
    "sub_": (lambda x, w: x.sub_(w), lambda x, w: x - w),
    "mul_": (lambda x, w: x.mul_(w), lambda x, w: x * w),
    "div_": (lambda x, w: x.div_(w), lambda x, w: x / w),
    "_foreach_mul_": (lambda x, w: torch._foreach_mul_([x], [w]), lambda x, w: torch._foreach_mul([x], [w])),
    "pow_": (lambda x, w: x.pow_(w), lambda x, w: x**w),
    "*=": (lambda x, w: operator.imul(x, w), lambda x, w: x * w),
    "/=": (lambda x, w: operator.itruediv(x, w), lambda x, w: x / w),
    "clamp_": (lambda x, w: x.clamp_(min=w), lambda x, w: x.clamp(min=w)),
    "lerp_": (lambda x, w: x.lerp_(w, 0.5), lambda x, w: x.lerp(w, 0.5)),
    "addcmul_": (lambda x, w: x.addcmul_(w, w), lambda x, w: x.addcmul(w, w)),
    "copy_": (lambda x, w: x.copy_(w), None),
}


def behaviour(function, dtype):
    """Whether the call raised; the values of x after it; how many writes its version counter saw."""
    x, weight = torch.full((3,), 2.0, dtype=dtype), torch.full((3,), 5.0, dtype=dtype, device="meta")
    before = x._version
    try:
        function(x, weight)
    except (RuntimeError, NotImplementedError):
        return "raises", x.tolist(), x._version - before
    return "returns", x.tolist(), x._version - before


print(f"torch {version('torch')}: x = [2, 2, 2] on the CPU, a weight of fives on meta")
as_said = True
for dtype in (torch.float32, torch.bfloat16):
    for name, (in_place, new) in OPERATIONS.items():
        how, values, writes = behaviour(in_place, dtype)
        other = behaviour(new, dtype)[0] if new else "-"
        print(f"  {str(dtype)[6:]:8} {name:13} {how}, x {values}, writes counted {writes}; as a new tensor: {other}")
        silent = name not in ("pow_", "clamp_", "lerp_", "addcmul_", "copy_")
        as_said = as_said and how == ("returns" if silent else "raises") and values == [2.0, 2.0, 2.0]
        as_said = as_said and other in ("raises", "-") and (writes == 1 or not silent)

torch.manual_seed(0)
stream = torch.randn(4, 8)
for name, weight in (("ones", torch.ones(8)), ("drawn", 0.5 + torch.rand(8))):
    right = stream.clone().mul_(weight)
    skipped = stream.clone().mul_(weight.to("meta"))
    off = float((right - skipped).abs().max())
    print(f"  a scale of {name}: outputs with the weight on meta are off by {off:.2f}")
    as_said = as_said and (off == 0) == (name == "ones")
sys.exit(0 if as_said else 1)
PY
