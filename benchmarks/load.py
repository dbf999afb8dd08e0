"""How long a user waits: `python -m benchmarks load` times loading the fetched model in fresh processes, torch's import
apart.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

_PROBE = """
import time
began = time.perf_counter()
import torch
{extra}
middle = time.perf_counter()
import lens
lens.load("smollm2")
loaded = time.perf_counter()
lens.load("smollm2")
print(middle - began, loaded - middle, time.perf_counter() - loaded)
"""
#: Parts of torch that other libraries pull in; the second row counts them as torch's own import.
_PARTS = "import torch._dynamo, torch.distributed.tensor, torch.fx, torch.export"


def run(repeats: int = 5) -> int:
    """Prints the medians of ``repeats`` processes and, last, one JSON line; 2 where the model was never fetched."""
    line = {}
    for key, extra in (("load_s", ""), ("load_s_torch_parts_imported", _PARTS)):
        rows = []
        for _ in range(repeats):
            done = subprocess.run([sys.executable, "-c", _PROBE.format(extra=extra)], capture_output=True, text=True)
            if done.returncode:
                print(done.stderr.strip().splitlines()[-1], file=sys.stderr)
                return 2
            rows.append([float(x) for x in done.stdout.split()[-3:]])
        torch_s, first, again = (statistics.median(r[i] for r in rows) for i in range(3))
        print(
            f"{key:30} torch {torch_s:.2f} s, import lens and load {first:.2f} s, load again {again:.2f} s (medians of"
            f" {repeats} processes)"
        )
        line[key] = round(first, 3)
        line["reload_s"] = round(again, 3)
    print(json.dumps(line))
    return 0
