"""A result in a run of Weights & Biases: an artifact, and single numbers in the run's summary.

No steps are logged: W&B drops one that comes after a later one.
"""

from __future__ import annotations

from typing import Any

from .dataset import ATTRIBUTE
from .tracked import Tracked


def add(what: Tracked, run: Any) -> Any:
    """Adds it and returns the artifact that was logged."""
    import wandb

    artifact = wandb.Artifact(what.name, type=f"{ATTRIBUTE}-result", metadata={**what.facts, "sizes": dict(what.sizes)})
    artifact.add_dir(str(what.folder))
    logged = run.log_artifact(artifact)
    for variable, value in what.numbers.items():
        run.summary[f"{what.name}/{variable}"] = value
    return logged
