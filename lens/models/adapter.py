"""An adapter that lies in one folder with the weights: whether it belongs on top of them, and putting it there."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lens import reading
from lens.arguments import FilePath
from lens.cache import LoadError
from lens.files import expanded

from ..notices import warn
from .check import one_line

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
#: Packages that an adapter may name as that of its base model's class.
_LIBRARIES = ("transformers", "diffusers", "peft")
#: For `from_pretrained`: transformers applies an adapter that lies beside the weights, unasked; it finds none where it
#: looks now.
NO_ADAPTER = {"adapter_kwargs": {"subfolder": ".no-adapter"}}
ADAPTER_ALONE = "Load the model that it was trained on with it, as lens.load(base, adapter=folder)."


def adapter_files(folder: Path) -> list[str]:
    """The files of a peft adapter that lie in a folder, by name."""
    return sorted(
        path.name for path in folder.glob("adapter_*") if path.name == CONFIG or path.name.startswith("adapter_model.")
    )


def adapters_beside(name: FilePath, folder: Path) -> bool:
    """Warns of adapter files beside whole weights, and says whether the adapter is to be put on them (`put_on`); else
    it is left where it is.
    """
    files = adapter_files(folder)
    ours = bool(files) and belongs_on(folder)
    if ours:
        warn(
            f"name={name!r}: the adapter in {folder} ({', '.join(files)}) names this folder's weights as its base, and"
            " was put on them."
        )
    elif files:
        warn(
            f"name={name!r}: adapter files lie beside the whole weights in {folder} ({', '.join(files)}). They were not"
            " applied: weights that were merged hold the adapter already. Where they do not, put it on with peft's"
            " PeftModel.from_pretrained, merge_and_unload() and lens.models.wrap."
        )
    return ours


def belongs_on(folder: Path) -> bool:
    """Whether the folder's weights are, by the adapter's own word, the base that it was trained on: its configuration
    names this folder, and it was written after them.

    Weights that are newer than the adapter may be those that it was merged into.
    """
    try:
        base = reading.json_file(folder / CONFIG, ValueError).get("base_model_name_or_path")
        if not base or expanded(base).resolve() != folder.resolve():
            return False
        written = (folder / WEIGHTS).stat().st_mtime_ns
        return all(path.stat().st_mtime_ns <= written for path in folder.glob("model*.safetensors"))
    except (OSError, ValueError, AttributeError, TypeError):
        return False


def require_plain(folder: Path, refuse: Callable[[str], LoadError]) -> dict[str, Any]:
    """The configuration of an adapter, after a look at its weights.

    Raises: `refuse`: it names a module that peft would import, or its weights are not safetensors.
    """
    config: dict[str, Any] = reading.json_file(folder / CONFIG, refuse)
    mapping = config.get("auto_mapping") or {}
    parent = mapping.get("parent_library") if isinstance(mapping, dict) else mapping
    if parent is not None and str(parent).split(".")[0] not in _LIBRARIES:
        raise refuse(
            f"{folder / CONFIG} names the module {parent!r} to import; expected one of {', '.join(_LIBRARIES)}"
        )
    if config.get("megatron_config"):  # peft imports megatron_core, whatever module it names
        raise refuse(
            f"{folder / CONFIG} has a megatron_config, whose layers are no part of a model that is loaded here"
        )
    if not (folder / WEIGHTS).is_file():
        raise refuse(f"{folder} lacks {WEIGHTS}; peft would open a pickle instead, which can run any code")
    reading.safetensors_header(folder / WEIGHTS, refuse)
    return config


def put_on(hf: torch.nn.Module, folder: Path, name: FilePath) -> torch.nn.Module:
    """The model with the folder's adapter in its layers, read by peft itself, which knows every kind (transformers'
    loaders lose the magnitudes of DoRA).

    Raises: LoadError: an adapter that is damaged, of a kind that this peft does not know, or that adds tokens before
        the text.
    """
    from peft import PeftModel

    require_plain(
        folder, lambda said: LoadError(f"name={name!r}: the adapter beside the weights cannot be put on: {said}")
    )
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            wrapped = PeftModel.from_pretrained(hf, str(folder), is_trainable=False)
    except Exception as error:  # peft, safetensors and json each raise their own kinds
        raise LoadError(
            f"name={name!r}: the adapter beside the weights in {folder} cannot be put on: {one_line(error)}"
        ) from error
    if lacking := next((str(w.message) for w in said if "missing adapter keys" in str(w.message)), None):
        raise LoadError(f"name={name!r}: the adapter beside the weights in {folder} is incomplete: {lacking}")
    if any(config.is_prompt_learning for config in wrapped.peft_config.values()):
        raise LoadError(
            f"name={name!r}: the adapter in {folder} puts tokens of its own before the text, which no position of a"
            " result would count; load the base weights alone from a folder without it."
        )
    return wrapped.get_base_model().eval()
