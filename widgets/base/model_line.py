"""What a view's header says of its model."""

from __future__ import annotations

from typing import Any

from lens.models import name_of

#: What configurations call the number of routed experts.
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")


def describe_model(model: Any) -> dict[str, Any]:
    """Name, shape, device and dtype of a bridge or a plain model, as shown in a view's header."""
    cfg: Any = getattr(model, "cfg", None)
    config: Any = getattr(model, "config", None)
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    layers = getattr(cfg, "n_layers", None) or getattr(config, "num_hidden_layers", None)
    heads = getattr(cfg, "n_heads", None) or getattr(config, "num_attention_heads", None)
    own: Any = getattr(getattr(model, "original_model", model), "config", None)
    own = own.get_text_config() if hasattr(own, "get_text_config") else own
    experts = max((n for name in _EXPERTS if isinstance(n := getattr(own, name, None), int)), default=0)
    name, dtype = name_of(model), "float32"
    facts = [f"{layers or '?'} layers", f"{heads or '?'} heads"]
    try:
        parameter = next(iter(model.parameters()))
        dtype = str(parameter.dtype).removeprefix("torch.")
        facts += [str(parameter.device), dtype]
    except (AttributeError, StopIteration, TypeError):
        facts += [str(getattr(cfg, "device", "")) or "no device"]
    return {
        "name": name,
        "dtype": dtype,
        "layers": int(layers or 0),
        "heads": int(heads or 0),
        "experts": experts,
        "text": " · ".join([name, *facts]),
    }


def shape_of(model: Any) -> dict[str, Any]:
    """Name, shape, device and dtype of a plain model or a bridge, for a view's header."""
    if hasattr(model, "cfg"):
        return describe_model(model)
    config, weight = getattr(model, "config", None), next(iter(model.parameters()))
    layers = int(getattr(config, "num_hidden_layers", 0) or 0)
    name, dtype = (
        str(getattr(config, "name_or_path", "") or type(model).__name__),
        str(weight.dtype).removeprefix("torch."),
    )
    return {
        "name": name,
        "layers": layers,
        "dtype": dtype,
        "text": " · ".join([name, f"{layers} layers", str(weight.device), dtype]),
    }
