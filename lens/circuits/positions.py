"""Effects of edges at each token: what was written otherwise there, and read there.

A sum over tokens hides where an edge speaks. Within one token edges run between layers alone; what goes from token to
token goes inside a head, whose keys and values are read at the earlier token and whose write is at the later one.

Source: circuits whose edges have positions: Haklay et al. 2025, "Position-aware automatic circuit discovery".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from ..prompts import EncodedPair
from .errors import CircuitError
from .graph import Graph


def summed(effect: Float[np.ndarray, "prompt position reader writer"]) -> Float[np.ndarray, "prompt reader writer"]:
    """The sum over each prompt's tokens, NaN where there is no edge and of prompts that were not reached."""
    total: np.ndarray = np.nansum(effect, 1)
    total[~np.isfinite(effect[:, 0])] = np.nan
    return total


def tokens_of(encoded: Sequence[EncodedPair]) -> dict[str, Any]:
    """The coordinates of the tokens of some pairs: their positions, and both prompts' tokens, "" behind the end."""
    longest = max(len(e.clean_ids) for e in encoded)

    def padded(which: str) -> np.ndarray:
        return np.array([(list(getattr(e, which)) + [""] * longest)[:longest] for e in encoded], dtype=str)

    return {
        "position": np.arange(longest),
        "token_clean": (("prompt", "position"), padded("clean_tokens")),
        "token_corrupted": (("prompt", "position"), padded("corrupted_tokens")),
    }


def at_tokens(found: xr.Dataset, prompt: int) -> Float[np.ndarray, "position reader writer"]:
    """The effects at each of one prompt's tokens.

    Raises:
        CircuitError: none were asked for, or no such prompt.
    """
    if "effect_at" not in found.data_vars:
        raise CircuitError("ds has no effects by position; ask lens.edges for them with by='position'.")
    if prompt >= found.sizes["prompt"]:
        raise CircuitError(f"prompt={prompt} is none of the {found.sizes['prompt']} of this result, counted from 0.")
    effect: np.ndarray = found["effect_at"].values[prompt]
    own = found["token_clean"].values[prompt] != ""
    return effect[: int(np.flatnonzero(own)[-1]) + 1]


def columns(graph: Graph) -> Graph:
    """Writers and readers of one token where a layer's heads are one."""
    return Graph(graph.n_layers, 1, 1, graph.d_model, graph.parallel)


def layered(graph: Graph, effect: Float[np.ndarray, "position reader writer"]) -> xr.DataArray:
    """Effects summed over the heads of every layer, with names.

    Raises:
        CircuitError: effects of some edges alone.
    """
    if not np.isfinite(effect[:, graph.exists]).all():
        raise CircuitError("by_layer sums over all heads, and some edges have no effect; give scores, not some edges.")
    whole, layers = columns(graph), graph.n_layers
    kinds = np.repeat(np.arange(4), [graph.n_heads, graph.n_kv_heads, graph.n_kv_heads, 1])
    reader = np.concatenate([4 * layer + kinds for layer in range(layers)] + [[4 * layers]])
    writer = np.concatenate([[0]] + [1 + 2 * layer + np.repeat([0, 1], [graph.n_heads, 1]) for layer in range(layers)])
    there = np.where(graph.exists, effect, 0).astype(float)
    into = np.eye(whole.n_readers)[reader].T
    summed_heads = np.where(whole.exists, into @ there @ np.eye(whole.n_writers)[writer], np.nan)
    names = {axis: [name.replace(".h0", "") for name in getattr(whole, f"{axis}s")] for axis in ("reader", "writer")}
    return xr.DataArray(summed_heads, {"position": np.arange(len(effect)), **names}, ("position", "reader", "writer"))
