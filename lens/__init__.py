"""Mnemoscope: find, read, move and erase what a transformer remembers.

>>> import lens
>>> model = lens.load("smollm2")                                              # doctest: +SKIP
>>> pair = lens.Pair("The capital of France is", corrupted="The capital of Italy is", answer=" Paris", foil=" Rome")
>>> trace = lens.patch(model, pair, "resid_pre")                              # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from .quiet import silence

silence()

#: public name -> (module, name there); resolved on first use, so that ``import lens`` is quick
_PUBLIC = {
    "Error": ("errors", "Error"),
    "FileError": ("file_errors", "FileError"),
    "load": ("models", "load"),
    "LoadError": ("models", "LoadError"),
    "Pair": ("prompts", "Pair"),
    "encode": ("prompts", "encode"),
    "load_pairs": ("prompts", "load_pairs"),
    "PromptError": ("prompts", "PromptError"),
    "Site": ("engine.sites", "Site"),
    "SiteError": ("engine.sites", "SiteError"),
    "Edit": ("engine.edits", "Edit"),
    "EditError": ("engine.edits", "EditError"),
    "Gate": ("engine.gate_fitting", "Gate"),
    "GateError": ("engine.gates", "GateError"),
    "edited": ("engine.edited", "edited"),
    "generate": ("engine.writing.call", "generate"),
    "GenerationError": ("engine.writing.prompts", "GenerationError"),
    "adapter": ("engine.adapters", "adapter"),
    "AdapterError": ("engine.adapters", "AdapterError"),
    "restore": ("engine.changes", "restore"),
    "ChangeError": ("engine.change_registry", "ChangeError"),
    "Runs": ("engine.model", "Runs"),
    "Model": ("engine.model", "Model"),
    "sites": ("engine.model", "sites"),
    "MetricError": ("engine.metrics", "MetricError"),
    "patch": ("patching", "patch"),
    "patch_between": ("patching", "patch_between"),
    "path_patch": ("patching", "path_patch"),
    "causal_trace": ("patching", "causal_trace"),
    "depth": ("patching", "depth"),
    "PatchError": ("patching.grid", "PatchError"),
    "explain_cell": ("patching", "explain_cell"),
    "summary": ("patching", "summary"),
    "agreement": ("patching", "agreement"),
    "edges": ("circuits", "edges"),
    "faithfulness": ("circuits", "faithfulness"),
    "CircuitError": ("circuits", "CircuitError"),
    "compare": ("readout", "compare"),
    "logit_lens": ("readout", "logit_lens"),
    "attention": ("readout", "attention"),
    "head_vocabulary": ("readout", "head_vocabulary"),
    "direct_logit_attribution": ("readout", "direct_logit_attribution"),
    "induction_scores": ("readout", "induction_scores"),
    "copying_scores": ("readout", "copying_scores"),
    "ReadoutError": ("readout", "ReadoutError"),
    "save_model": ("model_files", "save_model"),
    "SaveError": ("model_files", "SaveError"),
    "save": ("results.saving", "save"),
    "open": ("results.opening", "open_result"),
    "adopt": ("results.resume", "adopt"),
    "export": ("results.saving", "export"),
    "record": ("results.dataset", "provenance"),
    "describe": ("results.dataset", "describe"),
    "ResultError": ("results.dataset", "ResultError"),
}
_MODULES = (
    "models",
    "prompts",
    "engine",
    "results",
    "stats",
    "readout",
    "cluster",
    "scoring",
    "patching",
    "circuits",
    "injection",
    "vectors",
    "forgetting",
    "provenance",
    "memorization",
    "subspace",
    "curvature",
    "features",
    "diffusion",
    "unlearning",
    "training",
    "reproduce",
    "figures",
    "cli",
    "data",
    "organisms",
)

#: public name of a folder -> where it is
_FOLDERS = {"jacobian_lens": "readout.jacobian_lens"}

__all__ = ["__version__", *_PUBLIC]

if TYPE_CHECKING:
    __version__: str

    from .circuits.edges import edges
    from .circuits.errors import CircuitError
    from .circuits.faithfulness import faithfulness
    from .engine.adapters import AdapterError, adapter
    from .engine.change_registry import ChangeError
    from .engine.changes import restore
    from .engine.edited import edited
    from .engine.edits import Edit, EditError
    from .engine.gates import Gate, GateError
    from .engine.metrics import MetricError
    from .engine.model import Model, sites
    from .engine.runs import Runs
    from .engine.sites import Site, SiteError
    from .engine.writing.call import generate
    from .engine.writing.prompts import GenerationError
    from .errors import Error
    from .file_errors import FileError
    from .model_files import SaveError, save_model
    from .models import LoadError, load
    from .patching import agreement, causal_trace, explain_cell, patch, patch_between, path_patch
    from .patching.depth import depth
    from .patching.grid import PatchError
    from .patching.summary import summary
    from .prompts import Pair, PromptError, encode, load_pairs
    from .readout.comparison import compare
    from .readout.heads import attention, copying_scores, induction_scores
    from .readout.logit_attribution import direct_logit_attribution
    from .readout.reading import ReadoutError
    from .readout.vocabulary import head_vocabulary, logit_lens
    from .results.dataset import describe
    from .results.dataset import provenance as record
    from .results.errors import ResultError
    from .results.opening import open_result as open
    from .results.resume import adopt
    from .results.saving import export, save


def __getattr__(name: str):
    if name in _PUBLIC:
        module, attribute = _PUBLIC[name]
        value = getattr(importlib.import_module(f".{module}", __name__), attribute)
        globals()[name] = value
        return value
    if name in _MODULES or name in _FOLDERS:
        return importlib.import_module(f".{_FOLDERS.get(name, name)}", __name__)
    if name == "__version__":
        # pyproject.toml is where it is written
        return importlib.import_module("importlib.metadata").version("mnemoscope")
    raise AttributeError(f"module 'lens' has no attribute {name!r}; it offers {', '.join(sorted(_PUBLIC))}.")


def __dir__():
    return sorted([*__all__, *_MODULES, *_FOLDERS])
