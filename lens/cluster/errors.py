"""What a cluster could not do."""

from __future__ import annotations

from ..errors import Error


class ClusterError(Error, RuntimeError):
    """Ray is absent, cannot be reached or broke off; workers cannot be placed, started or given the model, or died of
    their work. The message names the argument, what was asked for, and the next step.
    """
