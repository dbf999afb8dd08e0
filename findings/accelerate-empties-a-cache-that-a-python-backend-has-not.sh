#!/bin/bash
# accelerate 1.16: a device whose backend is written in Python (torch's own helper for it) can no longer be placed on.
#
# Expected: as in 1.15, weights go to any device that torch knows, and a cache is emptied where the backend has one.
# What is: 1.15 asked a list of known backends for `empty_cache`; 1.16 asks `torch.accelerator`, which is there for every
# backend that torch calls the accelerator. Behind it torch takes the backend's allocator for one that caches, which the
# helper's is not: a RuntimeError about an internal assertion, out of `clear_device_cache` and so out of whatever places
# a weight (`dispatch_model`, `set_module_tensor_to_device`), whether there is anything to empty or not. A backend's own
# module with an `empty_cache` does not help: it is not the one that is asked.
# Instead: for devices made up in tests, replace `torch.accelerator.empty_cache`, or stay with accelerate 1.15.
. "$(dirname "$0")/environment.sh"
environment torch==2.13.0 accelerate==1.16.0

"$PYTHON" -I - <<'PY'
import sys
from importlib.metadata import version

import torch
from torch.utils.backend_registration import (
    _DummyBackendModule,
    _DummyDeviceGuard,
    _setup_privateuseone_for_python_backend,
)
from accelerate.utils.memory import clear_device_cache

emptied = []


class Backend(_DummyBackendModule):
    def empty_cache(self):
        emptied.append("own")


def said():
    try:
        clear_device_cache()
    except RuntimeError as error:
        return str(error).splitlines()[0]
    return "nothing"


print(f"accelerate {version('accelerate')}, torch {torch.__version__}")
print("  without a backend:            ", before := said())
_setup_privateuseone_for_python_backend("made", backend_module=Backend(), device_guard=_DummyDeviceGuard())
print("  torch's accelerator:          ", torch.accelerator.current_accelerator())
print("  with one written in Python:   ", after := said())
print("  calls of its own empty_cache: ", len(emptied))
torch.accelerator.empty_cache = lambda: None
print("  with torch's call replaced:   ", mended := said())
sys.exit(0 if before == mended == "nothing" and "not a DeviceAllocator" in after and not emptied else 1)
PY
