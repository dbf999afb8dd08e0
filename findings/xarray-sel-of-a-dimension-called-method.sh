#!/bin/bash
# xarray 2026.9: `sel(method="a")` of an array with a dimension called "method" selects nothing and says nothing.
#
# Expected: a keyword of `sel` that is the name of a dimension selects along it; results over methods, tolerances or
# drops are natural names of dimensions.
# What is: `method`, `tolerance` and `drop` are arguments of `sel` itself. `method="a"` is taken for a way to fill
# inexact labels, and with no other label to look up it is never read: the whole array comes back.
# Instead: select by a mapping, `sel({"method": "a"})`.
. "$(dirname "$0")/environment.sh"
environment numpy==2.4.6 pandas==3.1.1 xarray==2026.9.0

"$PYTHON" -I - <<'PY'
import sys
from importlib.metadata import version

import xarray as xr

x = xr.DataArray([1.0, 2.0, 3.0], dims="method", coords={"method": ["a", "b", "c"]})
by_keyword, by_mapping = x.sel(method="a"), x.sel({"method": "a"})
print(f"xarray {version('xarray')}: an array over method = a, b, c")
print(f"  sel(method='a') has shape {by_keyword.shape} and sum {float(by_keyword.sum())}")
print(f"  sel({{'method': 'a'}}) has shape {by_mapping.shape} and sum {float(by_mapping.sum())}")
sys.exit(0 if by_keyword.identical(x) and by_mapping.shape == () else 1)
PY
