"""What a model was loaded as: noted on the model, and told in the record of every result made with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["loaded_as", "note", "told_apart"]

_NOTED = "_mnemoscope_loaded"
#: What of a load can move numbers while the weights and their dtype are the same.
_MOVES = ("quantization", "device_map", "attention", "adapters")


def _core(model: Any) -> Any:
    core = getattr(model, "original_model", model)
    return core.get_base_model() if hasattr(core, "get_base_model") and hasattr(core, "peft_config") else core


def note(model: Any, **entries: Any) -> None:
    """Notes on a model what it was loaded as; what is None or empty was not asked for and is left out."""
    own = _core(model).__dict__
    own[_NOTED] = {**own.get(_NOTED, {}), **{k: v for k, v in entries.items() if v is not None and v != []}}


def loaded_as(model: Any) -> dict[str, Any]:
    """What a model was loaded as, for a record: source, revision and commit, device map, quantisation, adapters,
    attention; empty for one that `lens.load` did not make.
    """
    noted = getattr(_core(model), "__dict__", {}).get(_NOTED)
    return dict(noted) if isinstance(noted, Mapping) else {}


def told_apart(loaded: Any) -> dict[str, Any]:
    """Of what a model was loaded as, that by which two sweeps are two although the weights are the same: how they are
    quantised, on which devices their parts lie, the attention where it is not the usual one, adapters by content.
    """
    if not isinstance(loaded, Mapping):
        return {}
    own = {key: loaded[key] for key in _MOVES if loaded.get(key) not in (None, [], {})}
    if own.get("attention") == "eager":
        del own["attention"]
    if "adapters" in own:
        own["adapters"] = [
            {key: one.get(key) for key in ("sha256", "merged")} for one in own["adapters"] if isinstance(one, Mapping)
        ]
    return own
