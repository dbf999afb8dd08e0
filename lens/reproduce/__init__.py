"""Published experiments, run again: one module a paper; `python -m lens reproduce <name>`.

A reproduction is resumable, writes its results with the hash of its configuration, draws the paper's figures and prints
a table *claim | paper | here | n | multiplicity | verdict*.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from ..arguments import Name, door
from .errors import ReproduceError

__all__ = ["REPRODUCTIONS", "ReproduceError", "reproduction"]

#: name on the command line -> module here
REPRODUCTIONS = {
    "memory-injections": "memory_injections",
    "function-vectors": "function_vectors",
    "instruction-vectors": "instruction_vectors",
    "palimpsest": "palimpsest",
    "subspace-language": "subspace_study",
    "loss-curvature": "loss_curvature",
    "memory-subspace": "memory_subspace",
}


@door(ReproduceError)
def reproduction(name: Name) -> ModuleType:
    """The module of a reproduction.

    Raises: ReproduceError for an unknown name.
    """
    if name not in REPRODUCTIONS:
        raise ReproduceError(f"reproduce: {name!r} is not known; there are {', '.join(REPRODUCTIONS)}.")
    return importlib.import_module(f".{REPRODUCTIONS[name]}", __name__)
