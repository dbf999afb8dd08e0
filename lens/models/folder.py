"""What a model's folder says of itself, looked at before any library opens it, and what a load left over."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from lens import reading
from lens.arguments import FilePath
from lens.cache import LoadError

from ..notices import warn
from .adapter import ADAPTER_ALONE, adapter_files
from .quantised_layers import not_finite

PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
#: Ways of attention and of experts that a configuration may ask for: those that transformers itself holds. Any other
#: name is a repository of kernels, which is fetched and run.
IMPLEMENTATIONS = {
    "attn_implementation": (
        "eager",
        "sdpa",
        "flash_attention_2",
        "flash_attention_3",
        "flash_attention_4",
        "flex_attention",
    ),
    "experts_implementation": ("eager", "batched_mm", "grouped_mm"),
}
#: Entries of old checkpoints that are computed, not learned.
_COMPUTED = re.compile(r"inv_freq|position_ids|masked_bias|attn\.bias|attention\.bias|causal_mask")
_INDEX = "model.safetensors.index.json"


def inspect_folder(name: FilePath, folder: Path) -> None:
    """Refuse a folder that is incomplete, truncated, pickled, or asks for code that is not transformers' own, before
    anything reads it.

    Raises: LoadError.
    """
    refuse = _refusal(name)
    if not (folder / "config.json").exists():
        if adapters := adapter_files(folder):
            raise LoadError(f"name={name!r}: {folder} holds an adapter alone ({', '.join(adapters)}). {ADAPTER_ALONE}")
        raise LoadError(f"name={name!r}: {folder} holds no config.json, so it is no Hugging Face model folder")
    require_shallow(folder.glob("*.json"), refuse)
    config = reading.json_file(folder / "config.json", refuse)
    weights = weight_files(name, folder)
    if absent := [path.name for path in weights if not path.is_file()]:
        pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
        if pickles:
            raise LoadError(
                f"name={name!r}: {folder} holds its weights as pickle ({', '.join(pickles)}), which can run any code"
                " when opened: refused. Where you trust the file, load it with transformers there, and"
                " `save_pretrained` a safetensors copy."
            )
        adapters = adapter_files(folder)
        raise LoadError(
            f"name={name!r}: {folder} lacks {', '.join(absent)}"
            + (f". It holds an adapter alone ({', '.join(adapters)}). {ADAPTER_ALONE}" if adapters else "")
        )
    for path in weights:
        reading.safetensors_header(path, refuse)
    require_known_ways(name, config)
    if "auto_map" in config:
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING

        if config.get("model_type") not in CONFIG_MAPPING:
            raise LoadError(
                f"name={name!r}: its model type {config.get('model_type')!r} needs code that lies beside the weights"
                " (auto_map), and such code is never run. Convert the model to an architecture that transformers"
                " itself has."
            )


def require_shallow(paths: Iterable[Path], refuse: Callable[[str], Exception]) -> None:
    """Raises `refuse` where a JSON file, a tokenizer's too, is nested deeper than is read, or too large: the parsers
    beneath recurse as deep as a file says.
    """
    for path in sorted(paths):
        if (levels := reading.depth(reading.content(path, refuse))) > reading.DEEP:
            raise refuse(
                f"{path} has lists or objects {levels} deep inside each other, where at most {reading.DEEP} are read"
            )


def weight_files(name: FilePath, folder: Path) -> list[Path]:
    """The files of a folder that hold its weights, by its index where it has one, whether they are there or not.

    Raises: LoadError: an index that cannot be read, or names a file outside the folder.
    """
    refuse, index = _refusal(name), folder / _INDEX
    if not index.is_file():
        return [folder / "model.safetensors"]
    named = reading.json_file(index, refuse).get("weight_map")
    if not isinstance(named, dict) or not named:
        raise refuse(f"{index} cannot be read: it has no weight_map")
    if odd := next((file for file in named.values() if not isinstance(file, str)), None):
        raise refuse(f"{index} names {odd!r:.60} as a file")
    return [reading.inside(folder, file, refuse) for file in sorted(set(named.values()))]


def require_known_ways(name: FilePath, config: Mapping[str, Any] | Any) -> None:
    """Raises LoadError where a configuration, or one inside it, asks for attention or experts of another kind than
    transformers itself has, or for trust.
    """
    for key, value in _entries(config):
        kind = key.strip("_").removesuffix("_internal")
        if kind == "trust_remote_code" and value:
            raise LoadError(
                f"name={name!r}: its config says for itself that its code is to be trusted ({key}={value!r}); such code"
                " is never run. Take the entry out of config.json."
            )
        for asked in value.values() if isinstance(value, dict) else (value,):
            if kind in IMPLEMENTATIONS and asked is not None and asked not in IMPLEMENTATIONS[kind]:
                raise LoadError(
                    f"name={name!r}: its config asks for {key}={asked!r}; expected one of"
                    f" {', '.join(IMPLEMENTATIONS[kind])}. Another name stands for code that would be fetched and run:"
                    " take the entry out of config.json."
                )


def _entries(config: Any) -> Iterator[tuple[str, Any]]:
    """The entries of a configuration, as a dictionary or an object, and of those inside it."""
    if isinstance(config, (list, tuple)):
        for value in config:
            yield from _entries(value)
    elif isinstance(config, Mapping) or hasattr(config, "model_type"):
        for key, value in (config if isinstance(config, Mapping) else vars(config)).items():
            yield str(key), value
            yield from _entries(value)


def require_complete(
    name: FilePath, report: Mapping[str, Any], model: nn.Module, refuse: Callable[[str], Exception] = LoadError
) -> None:
    """Holds what a load of transformers reports against the model: nothing lacks, and no layer is left over.

    Raises: `refuse`: weights were missing, or the files hold more layers than the config asks for. Warns of other
        weights that found no place.
    """
    if missing := sorted(report["missing_keys"]):
        raise refuse(
            f"model {name!r} is incomplete: its files lack {len(missing)} weights that its config asks for, first"
            f" {missing[0]!r}. They would be random numbers."
        )
    over = sorted(key for key in report.get("unexpected_keys", ()) if not _COMPUTED.search(key))
    beyond = [beyond_it for key in over if (beyond_it := _beyond(model, key)) is not None]
    if beyond:
        where, built, _ = beyond[0]
        layers = 1 + max(number for place, _, number in beyond if place == where)
        asked = _layers_asked(model.config)
        said = f" (num_hidden_layers={asked})" if asked is not None else ""
        raise refuse(
            f"model {name!r}: its weights hold {layers} layers in {where!r}, and its config asks for {built}{said}. It"
            " would be another, smaller model: put the number in config.json right, or get the folder anew."
        )
    if over:
        warn(
            f"model {name!r}: its files hold {len(over)} weights that its config does not ask for, first {over[0]!r};"
            " they are not used."
        )


def _layers_asked(config: Any) -> int | None:
    """How many layers a configuration says that the language model has."""
    own = config.get_text_config() if hasattr(config, "get_text_config") else config
    return getattr(own, "num_hidden_layers", None)


def _beyond(model: nn.Module, key: str) -> tuple[str, int, int] | None:
    """For a weight of a layer that the model does not have: the list of layers, how many it has, and the layer's
    number.
    """
    parts, prefix = key.split("."), getattr(model, "base_model_prefix", "")
    for at, part in enumerate(parts):
        if not part.isdigit():
            continue
        for path in (".".join(parts[:at]), ".".join([prefix, *parts[:at]])):
            try:
                module = model.get_submodule(path)
            except AttributeError:
                continue
            if isinstance(module, (nn.ModuleList, nn.Sequential)) and int(part) >= len(module):
                return path, len(module), int(part)
    return None


def require_finite(name: FilePath, module: nn.Module, refuse: Callable[[str], Exception] = LoadError) -> None:
    """Raises `refuse` where a parameter, or a scale of a quantised one, holds a number that is not finite; the message
    names it.
    """
    for key, value, bad in not_finite(module):
        raise refuse(
            f"model {name!r} is unusable: parameter {key!r} has {bad} of {value.numel()} values NaN or infinite as"
            f" {value.dtype}. Load it as dtype='float32', or get the weights again."
        )


def require_shipped(name: FilePath, folder: Path) -> None:
    """Raises LoadError where the weights of a model that ships with the package are not those that its card tells the
    SHA-256 of.
    """
    card = reading.json_file(folder / "card.json", _refusal(name)) if (folder / "card.json").is_file() else {}
    expected, file = card.get("weights_sha256"), folder / "model.safetensors"
    if (
        isinstance(expected, str)
        and hashlib.sha256(reading.content(file, _refusal(name), most=None)).hexdigest() != expected
    ):
        raise LoadError(
            f"name={name!r}: {file} is damaged: its SHA-256 is not the one in its card. Install the package anew, or"
            " get the folder again."
        )


def _refusal(name: FilePath) -> Callable[[str], LoadError]:
    def refuse(said: str) -> LoadError:
        return LoadError(f"name={name!r}: {said}")

    return refuse
