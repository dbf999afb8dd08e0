"""Models by name: the fetched default, a hub name, a local folder or an organism, each as a TransformerLens bridge.

Torch and what stands on it are imported by the first call, so that `lens.load` is there at once.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from lens.arguments import Check, FilePath, Name, Unfit, door
from lens.cache import LoadError, fetch

from .shipped import organisms

if TYPE_CHECKING:
    import torch
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedModel

    from .bridge import name_of, wrap
    from .hash import same_weights, weight_hash
    from .hub import checkpoints
    from .quantization import QUANTIZATIONS

    Precision = str | torch.dtype
else:

    class _Precision(Check):
        """A format of numbers, by its name or as torch's own, told without importing torch."""

        expected = "text or a torch.dtype"

        def take(self, value: Any) -> Any:
            """The value as it is."""
            if isinstance(value, str) or (type(value).__module__, type(value).__name__) == ("torch", "dtype"):
                return value
            raise Unfit(value, self.expected)

    Precision = Annotated[Any, _Precision()]

__all__ = [
    "QUANTIZATIONS",
    "LoadError",
    "checkpoints",
    "fetch",
    "load",
    "name_of",
    "organisms",
    "same_weights",
    "weight_hash",
    "wrap",
]

#: name -> (module, name there), resolved on first use
_LATER = {
    "name_of": ("bridge", "name_of"),
    "wrap": ("bridge", "wrap"),
    "same_weights": ("hash", "same_weights"),
    "weight_hash": ("hash", "weight_hash"),
    "checkpoints": ("hub", "checkpoints"),
    "QUANTIZATIONS": ("quantization", "QUANTIZATIONS"),
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'lens.models' has no attribute {name!r}; it offers {', '.join(__all__)}.")
    module, there = _LATER[name]
    value = getattr(importlib.import_module(f".{module}", __name__), there)
    globals()[name] = value
    return value


@door(LoadError)
def load(
    name: FilePath = "smollm2",
    *,
    device: str = "auto",
    dtype: Precision = "float32",
    device_map: Any = None,
    max_memory: Mapping[Any, Any] | None = None,
    quantization: Any = None,
    dequantize: bool = False,
    revision: Name | None = None,
    adapter: Any = None,
    merge: bool = True,
    attn_implementation: Name | None = None,
    tp_plan: Any = None,
) -> TransformerBridge | PreTrainedModel:
    """Load a causal language model as a TransformerLens `TransformerBridge`, or the plain model where a bridge is not
    exact; in eval mode, without gradients.

    The numbers are those of the plain Hugging Face model with eager attention: no folding, no centring. The tokenizer
    is the model's own and adds no start token. Pickled weights and models that bring their own code are refused.
    Nothing is installed. What was loaded and how stands in the record of every result.

    Args:
        name: "smollm2" (after `lens fetch smollm2`), "organism:<name>" (ships with the package), a local Hugging Face
            folder with safetensors, a hub name such as "gpt2" or "org/name@revision" where the hub or its cache is
            reachable, or the folder of an adapter that names its base.
        device: "auto" (CUDA, then MPS, then CPU), "cpu", "cuda" (or "cuda:1"), "mps". Weights for a GPU are read
            into its memory, without a copy on the host.
        dtype: "float32", "bfloat16", "float16", or "auto": that of the checkpoint.
        device_map: spreads the model instead: "auto", "balanced", "balanced_low_0", "sequential", or a dictionary of
            its parts with a device each (0, "cuda:1", "cpu", "disk").
        max_memory: with a word as `device_map`: the most that each device may take, as {0: "20GiB", "cpu": "60GiB"}.
        quantization: one of `lens.models.QUANTIZATIONS`, or a quantization configuration of transformers. Weights that
            are stored quantised load as they are stored.
        dequantize: turns quantised weights back into plain floats of `dtype`: for methods that change weights or take
            gradients.
        revision: of a hub name: a branch, a tag or a full commit, such as Pythia's "step1000";
            `lens.models.checkpoints` lists those in the cache.
        adapter: the folder or hub name of a peft adapter, or a list of them. One is merged into the weights, and the
            record tells by how much logits differ from those with the adapter beside the weights. Several, one with
            `merge=False`, and any on quantised weights stay beside them, the first in force; `lens.adapter` switches
            them. On offloaded weights they are refused.
        merge: False: keep the adapter beside the weights.
        attn_implementation: "eager", "sdpa", ...: None is eager, as a bridge's is.
        tp_plan: refused: tensor parallelism is not served.

    A model that is quantised, spread over devices, with adapters beside its weights or with another attention than
    eager comes back as the plain Hugging Face model with `.tokenizer`, which every method takes. So does, with a
    warning that says why, one of which TransformerLens gives other logits, or does not know the type; see
    `lens.models.wrap` for what is compared, and what it costs. For "smollm2" and organisms the comparison is remembered
    in the cache, by files, versions, dtype and kind of device.

    Adapter files that lie beside whole weights are named in a warning and not applied, but for an adapter that names
    this very folder as its base and is newer than the weights: it is put on, and the warning says so.

    Raises: LoadError: the model, a revision or an adapter is absent, damaged, incomplete or holds NaN; an adapter of
        another base; a device or dtype that is not known; a device map that misses a part of the model; a GPU that is
        too small; a quantization that the device cannot use. ExtraError: the package of a quantization is not
        installed.
    """
    from .loading import Request, load_model

    request = Request(
        name,
        device=device,
        dtype=dtype,
        device_map=device_map,
        max_memory=max_memory,
        quantization=quantization,
        dequantize=dequantize,
        revision=revision,
        adapter=adapter,
        merge=merge,
        attention=attn_implementation,
        tp_plan=tp_plan,
    )
    return load_model(request)
