"""One call over the MLP matrices of one model, in a process of its own: how long it takes, and how far it raises the
resident memory.

It names only what every build has. `python -P benchmarks/_kfac_calls.py CALL ROWS FILE [--quick]` with PYTHONPATH at
the root of a build; factors of a few rows go to FILE, figures as a line of JSON to standard output.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

#: Before the answer, so that what libraries print is not taken for one.
MARK = "\x1e"
#: Rows whose factors are compared, of the text's own labels: a label that is drawn may tip over by a rounding.
COMPARED = 8


def main(call: str, rows: str, file: str, *options: str) -> int:
    from benchmarks import subspace as benchmark
    from benchmarks.machine import peak_memory, set_threads
    from lens import curvature, subspace
    from lens.engine.linear import linears

    set_threads()
    subject = benchmark.tiny() if "--quick" in options else benchmark.real()
    model, ids = subject.model.bridge, subject.rows[: int(rows)]
    last = [name for name in linears(model, "mlp") if int(name.split(".")[2]) in subject.blocks]
    curvature.factors(model, last, ids[:2], progress=False)  # what a first call loads and learns
    made: Any = curvature.factors(model, last, ids, progress=False) if call == "decompose" else None
    calls = {
        "factors": lambda: curvature.factors(model, "mlp", ids, progress=False),
        "statistics": lambda: subspace.statistics(model, "mlp", ids[:, :-1], progress=False),
        "decompose": lambda: curvature.decompose(model, made),
    }
    with peak_memory() as peak:
        began, used = time.perf_counter(), time.process_time()
        result = calls[call]()
        seconds, processor = time.perf_counter() - began, time.process_time() - used
    answer = {"seconds": seconds, "processor": processor, "peak_mb": peak.extra_mb, "how": peak.how}
    if call == "factors":
        answer["kept_mb"] = result.nbytes / 2**20
        from lens import files

        few = curvature.factors(model, last, ids[:COMPARED], fisher="empirical", progress=False)
        files.write_tensors(file, {f"{side}/{n}": getattr(few, side)[n].clone() for n in few.layers for side in "ag"})
    print(f"\n{MARK}{json.dumps(answer)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
