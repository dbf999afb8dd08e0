"""Gates on disk: safetensors, with what the gate is as JSON beside the numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from .. import containers, files, reading

FORMAT = "mnemoscope gate 1"
#: Of gates that hold longer than a token, or name tokens beside what they read, which readers of the first know not of.
FORMAT_HELD = "mnemoscope gate 2"
#: Of a site, what a gate's may have.
_SITE = ("name", "layer", "head", "expert")
Refuse = Callable[[str], Exception]


def write(path: Any, tensors: Mapping[str, Tensor], about: Mapping[str, Any], refuse: Refuse) -> Path:
    """Writes a gate's tensors and what it is. Raises: `refuse`: another suffix. FileError: it cannot be written."""
    if files.expanded(path).suffix != ".safetensors":
        raise refuse(f"path={str(path)!r}: expected a name that ends in .safetensors.")
    held = about["hold"] != "step" or (about["site"] is not None and bool(about["tokens"]))
    return files.write_tensors(path, tensors, {"format": FORMAT_HELD if held else FORMAT, "gate": json.dumps(about)})


def read(path: Any, refuse: Refuse) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A gate's tensors, and what it is: kind, site, threshold, target, tokens, about, hold.

    Raises: `refuse`: no such file, another format, what is no gate.
    """
    there = files.expanded(path)
    tensors, header = containers.tensors(there, lambda said: refuse(f"path: {said}"))
    if header.get("format") not in (FORMAT, FORMAT_HELD):
        raise refuse(
            f"path={str(path)!r} says it is {header.get('format')!r}; expected {FORMAT!r} or {FORMAT_HELD!r}, as"
            " Gate.save writes."
        )
    try:
        about = reading.value(header.get("gate", ""), dict)
    except reading.Fault as fault:
        raise refuse(f"path={str(path)!r}: its entry 'gate' {fault}.") from None
    site = about.get("site")
    if site is not None and (not isinstance(site, dict) or set(site) - set(_SITE)):
        raise refuse(f"path={str(path)!r}: its site {site!r} is none; expected {', '.join(_SITE)}.")
    if not isinstance(about.get("about", {}), dict) or not isinstance(about.get("kind"), str):
        raise refuse(f"path={str(path)!r}: its entry 'gate' lacks kind or about; save the gate again.")
    return tensors, about


def of_site(site: Any) -> dict[str, Any] | None:
    """A gate's site as JSON."""
    return None if site is None else {name: value for name in _SITE if (value := getattr(site, name)) is not None}
