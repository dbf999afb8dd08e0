"""Published experiments, run again: a folder a study; `python -m lens reproduce <name>`, and `--list`.

A study is an object of `study.Study`: resumable, it writes its results with the hash of their configuration, draws the
paper's figures and judges each claim: *claim | paper | here | n | multiplicity | verdict*.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

from ..arguments import Name, door
from .errors import ReproduceError

if TYPE_CHECKING:
    from .study import Study

__all__ = ["REPRODUCTIONS", "ReproduceError", "reproduction"]

#: in the order of the notebooks
_ORDER = (
    "memory-injections",
    "function-vectors",
    "instruction-vectors",
    "palimpsest",
    "subspace-language",
    "loss-curvature",
    "memory-subspace",
    "circuits",
    "jacobian-lens",
    "restor",
    "traversal",
    "repeated-data",
    "hubble",
    "commitment",
    "unforgettable",
    "gated-steering",
)
_FOLDERS = tuple(found.name.replace("_", "-") for found in pkgutil.iter_modules(__path__) if found.ispkg)
#: names on the command line: each is a folder with a `study.STUDY`, those that the order does not name at the end
REPRODUCTIONS = (*_ORDER, *(name for name in _FOLDERS if name not in _ORDER))


@door(ReproduceError)
def reproduction(name: Name) -> Study:
    """A study by its name.

    Raises: ReproduceError for an unknown name.
    """
    if name not in REPRODUCTIONS:
        raise ReproduceError(f"reproduce: {name!r} is not known; there are {', '.join(REPRODUCTIONS)}.")
    return importlib.import_module(f".{name.replace('-', '_')}.study", __name__).STUDY
