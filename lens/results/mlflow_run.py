"""A result in a run of MLflow: artifacts, parameters to filter by, and single numbers as metrics.

What is not finite is a tag and no metric: MLflow's databases store 1.8e308 for infinity. Texts that MLflow would cut as
parameters are in the record alone.
"""

from __future__ import annotations

import math
from typing import Any

from .tracked import Tracked

#: Characters of a text that MLflow keeps whole as a parameter.
LONGEST = 6000


def add(what: Tracked, run: Any) -> Any:
    """Adds it and returns the run as it is then."""
    from mlflow import MlflowClient

    client, run_id = MlflowClient(), run.info.run_id
    for fact, value in what.facts.items():
        if len(str(value)) <= LONGEST:
            client.log_param(run_id, f"{what.name}.{fact}", value)
    for variable, value in what.numbers.items():
        if math.isfinite(value):
            client.log_metric(run_id, f"{what.name}.{variable}", value)
        else:
            client.set_tag(run_id, f"{what.name}.{variable}", str(value))
    client.log_artifacts(run_id, str(what.folder), artifact_path=what.name)
    return client.get_run(run_id)
