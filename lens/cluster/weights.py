"""Weights that processes of one machine share: written once to a file, and mapped into the memory of each.

Everything else of a model, its modules, buffers, configuration, tokenizer and a person's own hooks, travels as it is,
so that a worker's model is put together from nothing that could differ: what is tied stays one tensor, buffers that no
file holds are the very ones. Pages that a worker writes to become its own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..cache import cache_dir
from ..files import discard, sibling, sweep
from .errors import ClusterError

#: Bytes to which a mapped tensor is aligned, as torch aligns what it allocates: some kernels round otherwise elsewhere.
_ALIGNED = 64
_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
}


def shareable(value: Any) -> bool:
    """Whether a tensor is a plain one, whose bytes are all that there is to it."""
    return (
        type(value) in (nn.Parameter, Tensor)
        and value.layout is torch.strided
        and value.dtype in _NAMES
        and value.numel() > 0
    )


class SharedWeights:
    """A file of the cache with the tensors of one model, for as long as it is open. What a killed process left there is
    removed by the next one.

    Attributes: path: a safetensors file; tensors are called by their number. size: its bytes.
    """

    def __init__(self, tensors: Sequence[Tensor]):
        folder = cache_dir() / "workers"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            sweep(folder)
            self.path = sibling(folder / "weights")
            self.size = write(self.path, tensors)
        except OSError as error:
            self.close()
            raise ClusterError(
                f"backend='ray': the weights for the workers cannot be written to {str(folder)!r}"
                f" ({error.strerror or error}); make room there, or set MNEMOSCOPE_CACHE to a folder with room for one"
                " copy of the model."
            ) from error

    def close(self) -> None:
        """Removes the file; processes that have mapped it keep what they see."""
        if hasattr(self, "path"):
            discard(self.path)


def write(path: Path, tensors: Sequence[Tensor]) -> int:
    """Writes tensors as a safetensors file, called by their number; returns its size in bytes.

    Those whose size is a multiple of `_ALIGNED` come first, so that each of them lies on such a multiple.
    """
    order = sorted(range(len(tensors)), key=lambda i: tensors[i].nbytes % _ALIGNED != 0)
    header, end = {}, 0
    for i in order:
        one = tensors[i]
        header[str(i)] = {
            "dtype": _NAMES[one.dtype],
            "shape": list(one.shape),
            "data_offsets": [end, end := end + one.nbytes],
        }
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNED)
    with open(path, "xb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for i in order:
            file.write(tensors[i].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return 8 + len(text) + end


def mapped(path: str | Path, count: int) -> list[Tensor]:
    """The tensors of such a file in the order of their numbers, in pages shared with whoever maps it too."""
    from safetensors import safe_open

    with safe_open(str(path), framework="pt", device="cpu") as file:
        found = [file.get_tensor(str(i)) for i in range(count)]
    return [one if one.data_ptr() % _ALIGNED == 0 else one.clone() for one in found]
