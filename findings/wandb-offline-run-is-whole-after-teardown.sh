#!/bin/bash
# wandb 0.31: the file of an offline run is not whole when `run.finish()` has returned.
#
# Expected: after `finish()` the run's folder can be copied, synchronised or read: "finish" waits for the data.
# What is: the service process goes on writing; what was logged last may not be in the file yet, and a reader right
# after `finish()` finds a run cut off. After `wandb.teardown()` it is whole.
# Instead: call `wandb.teardown()` before the folder is touched.
. "$(dirname "$0")/environment.sh"
environment wandb==0.31.0

"$PYTHON" -I - <<'PY'
import os
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}
import wandb

sizes = []
with tempfile.TemporaryDirectory() as folder:
    for number in range(20):  # a race: not every run is caught
        run = wandb.init(dir=folder, project="p", settings=wandb.Settings(console="off", x_disable_stats=True))
        for step in range(200):
            run.log({"x": step, "text": "a word " * 20})
        run.finish()
        file = next(Path(run.dir).parent.glob("*.wandb"))
        before = file.stat().st_size
        wandb.teardown()
        sizes.append((before, file.stat().st_size))
        if before < sizes[-1][1]:
            break
print(f"wandb {version('wandb')}: bytes of the run's file after finish(), and after teardown()")
for before, after in sizes:
    print(f"  {before:>8} {after:>8}")
sys.exit(0 if sizes[-1][0] < sizes[-1][1] else 1)
PY
