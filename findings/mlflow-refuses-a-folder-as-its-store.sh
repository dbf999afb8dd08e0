#!/bin/bash
# mlflow 3.17: a folder as tracking store, the default of every older version, is refused.
#
# Expected: `mlflow.set_tracking_uri("file:///some/folder")` and a run in it work without a server, as tutorials do it.
# What is: starting a run raises an MlflowException that calls it in maintenance mode, unless the environment variable
# MLFLOW_ALLOW_FILE_STORE is set; without a URI a database file `mlflow.db` is made in the working directory.
# Instead: give a `sqlite:///` URI, or set the variable.
. "$(dirname "$0")/environment.sh"
environment mlflow-skinny==3.17.2

"$PYTHON" -I - <<'PY'
import os
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

os.environ.pop("MLFLOW_ALLOW_FILE_STORE", None)
import mlflow


def tried(allowed):
    os.environ.pop("MLFLOW_ALLOW_FILE_STORE", None)
    if allowed:
        os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    with tempfile.TemporaryDirectory() as folder:
        mlflow.set_tracking_uri(Path(folder).as_uri())
        try:
            with mlflow.start_run(experiment_id=mlflow.create_experiment("first")):
                mlflow.log_metric("x", 1.0)
            return "a run was written"
        except Exception as error:
            return f"{type(error).__name__}: {' '.join(str(error).split())[:110]}"


print(f"mlflow {version('mlflow-skinny')}, a folder as tracking store")
seen = [tried(False), tried(True)]
for name, said in zip(("as it comes", "with MLFLOW_ALLOW_FILE_STORE=true"), seen):
    print(f"  {name}: {said}")
sys.exit(0 if "MlflowException" in seen[0] and seen[1] == "a run was written" else 1)
PY
