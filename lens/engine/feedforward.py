"""Which parameters are a model's feed-forward weights, and which share of them some linear layers are.

The experts of a mixture are mostly fused: parameters of three axes, of which `experts` makes a linear layer a matrix
where it can. Where it cannot, what is chosen among a model's linear layers is chosen among a part of its feed-forward
weights, which has to be said. Routers send tokens to experts and are no feed-forward weights.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

from .probe import layers_of

if TYPE_CHECKING:
    from .linear import Linear

#: In a record: how many feed-forward weights a model has where the layers at hand are but a part of them.
FEED_FORWARD = "feed_forward_weights"
#: Names of the modules that are feed-forward blocks.
BLOCKS = ("mlp", "feed_forward", "ffn", "block_sparse_moe", "moe", "shared_mlp")
#: Names of feed-forward layers that lie in a decoder block itself (OPT, BART).
OPEN = ("fc1", "fc2")
_ROUTER = re.compile(r"gate|router|.*_gate|.*_router")
_EXPERTS = re.compile(r"experts?|.*_experts?")
_LEVEL = re.compile(r"\.?(_original_component|original_component|base_layer)\b")


def in_block(name: str) -> str | None:
    """The feed-forward block that a module or parameter is in, by its plain name: of `OPEN` layers the decoder block;
    None outside of any.
    """
    parts = name.split(".")
    ends = [i + 1 for i, part in enumerate(parts[:-1]) if part in BLOCKS]
    ends += [i for i in range(1, len(parts)) if parts[i] in OPEN and parts[i - 1].isdigit()]
    return ".".join(parts[: ends[0]]) if ends else None


def is_router(name: str, blocks: Iterable[str]) -> bool:
    """Whether a module or parameter routes tokens in one of these blocks with experts."""
    block = in_block(name)
    return block in set(blocks) and any(_ROUTER.fullmatch(part) for part in name[len(block) + 1 :].split("."))


def of_text(model: nn.Module) -> set[int] | None:
    """Of a model that also sees or hears, the modules and parameters of its text tower's blocks (`id` of each); None
    where a model is one tower, or its blocks are not found.
    """
    config: Any = getattr(model, "config", None)
    if not hasattr(config, "get_text_config") or getattr(config, "is_encoder_decoder", False):
        return None
    text = config.get_text_config()
    blocks = None if text is config else layers_of(model, model, getattr(text, "num_hidden_layers", None))
    return None if blocks is None else {id(x) for block in blocks for x in (*block.modules(), *block.parameters())}


def parameters_of_blocks(model: nn.Module, within: set[int] | None = None) -> dict[str, int]:
    """Every matrix, and stack of matrices, of the feed-forward blocks by plain name, with its size; what an adapter
    adds is left out. ``within``: of the parameters named alone, see `of_text`.
    """
    adapted = [n for n, module in model.named_modules() if isinstance(getattr(module, "base_layer", None), nn.Module)]
    out = {}
    for name, value in model.named_parameters():
        if (within is not None and id(value) not in within) or any(
            name.startswith(f"{at}.") and not name.startswith(f"{at}.base_layer.") for at in adapted
        ):
            continue
        plain = _LEVEL.sub("", name)
        # a vector may have axes of length one
        if in_block(plain) is not None and value.ndim > 1 and value.numel() > max(value.shape):
            out[plain] = value.numel()
    # the biases of all experts, one row each
    return {name: size for name, size in out.items() if name.removesuffix("_bias") == name or name[:-5] not in out}


def blocks_with_experts(names: Iterable[str]) -> set[str]:
    """The feed-forward blocks of which some parameter or module is an expert's."""
    blocks = set()
    for name in names:
        if (block := in_block(name)) is not None:
            inside = name[len(block) + 1 :].split(".")
            if any(_EXPERTS.fullmatch(part) and not part.startswith("shared_") for part in inside):
                blocks.add(block)
    return blocks


def outside(
    model: nn.Module, layers: Container[str], stacks: Container[str] = (), within: set[int] | None = None
) -> tuple[int, list[str]]:
    """How many feed-forward weights the model has (routers aside), 0 where each is in a linear layer of its own; and
    the names of those that are in none.

    `layers`: the plain names of the model's linear layers. `stacks`: of the parameters whose parts linear layers are,
    those of experts.
    """
    every = parameters_of_blocks(model, within)
    routing = blocks_with_experts(every)
    weights = {name: size for name, size in every.items() if not is_router(name, routing)}
    others = [name for name in weights if name.removesuffix(".weight") not in layers]
    return (sum(weights.values()) if others else 0), [name for name in others if name not in stacks]


def folded(names: Iterable[str], most: int = 4) -> str:
    """Names with their numbers replaced by a star, each once: what a message lists."""
    kinds = list(dict.fromkeys(re.sub(r"(?<=\.)\d+(?=\.)", "*", name) for name in names))
    return ", ".join(kinds[:most]) + (f" and {len(kinds) - most} more" if len(kinds) > most else "")


def said(covered: int, total: int) -> str:
    """What a repr adds where linear layers are but a part of the feed-forward weights: "" where `total` is 0 or all of
    them are covered.
    """
    return f"; covers {100 * covered / total:.1f} % of the feed-forward weights" if total and covered < total else ""


def covered_by(layers: Mapping[str, Linear]) -> int:
    """How many feed-forward weights some linear layers hold."""
    return sum(linear.d_in * linear.d_out for name, linear in layers.items() if in_block(name) is not None)


def feed_forward(layers: Mapping[str, Linear]) -> dict[str, int]:
    """For a record: how many feed-forward weights there are where these layers are but a part of them (`FEED_FORWARD`);
    else empty.
    """
    total = max((linear.feed_forward for linear in layers.values()), default=0)
    return {FEED_FORWARD: total} if total and covered_by(layers) < total else {}
