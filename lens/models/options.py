"""The options of every command that loads a model, and what they ask `lens.load` for."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lens import reading
from lens.cache import LoadError

from . import devices

__all__ = ["add_model_options", "asked_for", "words_of"]

#: Formats of numbers for a model.
DTYPES = (*devices.DTYPES, "auto")
#: Options that say which model; the others say how any model is loaded.
_WHICH = ("revision", "adapter")


def add_model_options(parser: argparse.ArgumentParser, *, dtype: bool = True) -> None:
    """--device, --dtype, --device-map, --quantization, --revision and --adapter. `dtype=False`: the command has an
    option of that name already, and sets `model_dtype` itself.
    """
    add = parser.add_argument
    add("--device", default="auto", help="auto, cpu, cuda or mps (default: auto)")
    if dtype:
        add("--dtype", dest="model_dtype", help=f"of the weights: {', '.join(DTYPES)} (default: float32)")
    add(
        "--device-map",
        help="spread the model: auto, balanced, sequential, a dictionary of its parts as JSON, or a .json file of one",
    )
    add("--quantization", help="of the weights: torchao-int8, bitsandbytes-nf4, ...; see lens.models.QUANTIZATIONS")
    add("--revision", help="of a hub name: a branch, a tag or a full commit, such as step1000")
    add(
        "--adapter",
        action="append",
        default=[],
        help="a peft adapter to load with the model, a folder or a hub name; given again, the first is in force",
    )


def asked_for(arguments: argparse.Namespace, *, which: bool = True) -> dict[str, Any]:
    """What the options ask `lens.load` for; `which=False`: without those that say which model.

    Raises: LoadError: a device map that is no JSON.
    """
    asked: dict[str, Any] = {"device": arguments.device, "dtype": arguments.model_dtype or "float32"}
    if arguments.device_map is not None:
        asked["device_map"] = _map(arguments.device_map)
    if arguments.quantization is not None:
        asked["quantization"] = arguments.quantization
    if which:
        if arguments.revision is not None:
            asked["revision"] = arguments.revision
        if arguments.adapter:
            asked["adapter"] = arguments.adapter if len(arguments.adapter) > 1 else arguments.adapter[0]
    return asked


def words_of(arguments: argparse.Namespace) -> list[str]:
    """The options that say how any model is loaded, as words of a command line."""
    given = {"--device": arguments.device, "--dtype": arguments.model_dtype, "--device-map": arguments.device_map}
    given["--quantization"] = arguments.quantization
    return [word for option, value in given.items() if value is not None for word in (option, str(value))]


def refuse_which(arguments: argparse.Namespace, why: str) -> None:
    """Raises LoadError where an option says which model, and the command knows that itself."""
    for option in _WHICH:
        if value := getattr(arguments, option):
            raise LoadError(f"--{option} {value if isinstance(value, str) else value[0]}: {why}; leave it out.")


def _map(text: str) -> Any:
    def refuse(said: str) -> LoadError:
        return LoadError(
            f"--device-map {text}: {said}; expected a word such as auto, or a JSON object of the model's parts"
        )

    if text.endswith(".json"):
        return reading.json_file(Path(text), refuse)
    if not text.lstrip().startswith("{"):
        return int(text) if text.isdecimal() else text
    try:
        return reading.value(text, dict)
    except ValueError as error:
        raise refuse(str(error)) from error
