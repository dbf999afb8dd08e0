"""Memory: how much of a device a call may take and what its work is cut into, and what a person is told where it runs
out.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from ..errors import Error

#: What to catch where work can be done in smaller pieces; `out_of_memory` then says whether that would help.
ERRORS = (RuntimeError, MemoryError)
#: torch has an error of its own for accelerators alone; its allocator on the CPU raises a RuntimeError that says this.
_CPU = ("DefaultCPUAllocator: can't allocate memory", "DefaultCPUAllocator: not enough memory")


class OutOfMemoryError(Error, torch.OutOfMemoryError):
    """There is no room for even the smallest piece of the work; the message names the setting that asks for less."""


def no_room(device: torch.device, tokens: int) -> OutOfMemoryError:
    """The error for one row that does not fit."""
    return OutOfMemoryError(
        f"the memory of {device} ran out even for one row of {tokens} tokens at a time. "
        "Free some, or give shorter texts."
    )


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or on the CPU, so that half of the rows may fit."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(said in str(error) for said in _CPU)


def give_back() -> None:
    """Memory of the C library's heap that nothing uses goes back to the system, where it can be told to.

    Cost: a millisecond and more, and what is taken afterwards is cleared anew.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, TypeError, AttributeError):
        pass  # another C library: what it gives back by itself


# -- how much there is, and what it is cut into -----------------------------------------------------------------------

#: Megabytes that a call may add where nobody says, on a device that does not say what is free.
MEMORY_MB = 500.0
#: Of what is free on a GPU, the share that a call may add: libraries need room too, and what is freed is in pieces.
SHARE = 0.4
#: Of a call's memory: that of the unedited runs; on a CPU also that of a walk's rows and of one of its chunks, and the
#: most that a chunk is given. On a GPU the rows have what runs and chunk leave.
RUNS, ROWS, CHUNK, CHUNK_MOST = 0.5, 0.3, 0.2, {"cpu": 96 << 20, "cuda": 2 << 30}
#: Of what the runs leave on a GPU, the share of a chunk.
_CHUNK_OF_REST = 0.25
#: Bytes of one piece of float32 logits.
LOGITS = {"cpu": 32 << 20, "cuda": 512 << 20}
#: A piece of logits takes at most one in so many bytes of a GPU, so that it is smaller on a small one.
_LOGITS_PART = 64
#: Tokens times weights of a block that a GPU is given at once: 5 ms at 5e14 operations a second, beside which the time
#: that the host needs to begin the next is small. The most tokens of a chunk.
_WORK, _CHUNK_TOKENS_MOST = 1.25e12, 32_768
#: Tokens of a batch of scoring; on a GPU as many as there is memory for, up to this.
BATCH_TOKENS = {"cpu": 1024, "cuda": 1 << 16, "mps": 8192}
#: Numbers that one token of a forward without gradients holds at its fullest, as a multiple of the width of an MLP.
_FORWARD_WIDTHS = 6
#: Tokens of a batch that is also run back; on a GPU as many as there is memory for, up to a chunk's.
BACKWARD_TOKENS = 384
#: Numbers that a block keeps of a token for the backward pass: multiples of the stream's width and of an MLP's.
_KEPT_WIDTHS = (9, 5)
#: Where a model keeps its sizes, see `chunk_tokens`.
_COUNTED = "_mnemoscope_sizes"
#: Processes that compute on one device; see `share_device`.
_processes = 1


def share_device(processes: int) -> None:
    """Says that so many processes, this one among them, compute on its device: each takes its part of what is free
    there. Of a CPU every process has its own.
    """
    global _processes
    if not isinstance(processes, int) or processes < 1:
        raise Error(f"processes={processes!r} is not a number of processes; give 1 or more.")
    _processes = processes


@dataclass(frozen=True)
class Budget:
    """What a call may add to a device's memory, and what it is cut into.

    Attributes:
        kind: of the device, such as "cpu" or "cuda".
        memory_mb: megabytes (2^20 bytes) to stay under.
        logit_bytes: of a piece of float32 logits.
        width: of a model's MLP; stream: of its residual stream; blocks: their number; weights: parameters of one.
        itemsize: bytes of a number.
    """

    kind: str
    memory_mb: float
    logit_bytes: int
    width: int = 1
    stream: int = 1
    blocks: int = 1
    weights: float = 1.0
    itemsize: int = 4

    @property
    def bytes(self) -> float:
        """What a call may add."""
        return self.memory_mb * 2**20

    @property
    def runs(self) -> float:
        """Bytes for unedited runs."""
        return self.bytes * RUNS

    def chunk(self, runs: float = 0) -> int:
        """Bytes of one chunk of a walk beside unedited runs that take so many."""
        share = (self.bytes - runs) * _CHUNK_OF_REST if self.kind == "cuda" else self.bytes * CHUNK
        return int(min(CHUNK_MOST.get(self.kind, CHUNK_MOST["cpu"]), max(0, share)))

    def rows(self, runs: float = 0) -> float:
        """Bytes for the rows of a walk beside unedited runs that take so many: on a GPU all that these and a chunk
        leave.
        """
        return max(0, self.bytes - runs - self.chunk(runs)) if self.kind == "cuda" else self.bytes * ROWS

    def chunk_tokens(self, least: int) -> int:
        """Tokens that a block is given at once; `least`: what is enough for a CPU."""
        if self.kind != "cuda":
            return least
        return int(min(_CHUNK_TOKENS_MOST, max(least, _WORK / max(1.0, self.weights))))

    @property
    def batch_tokens(self) -> int:
        """Tokens of a batch of scoring."""
        most = BATCH_TOKENS.get(self.kind, BATCH_TOKENS["cpu"])
        if self.kind != "cuda":
            return most
        return int(min(most, max(BATCH_TOKENS["cpu"], self.bytes / (_FORWARD_WIDTHS * self.width * self.itemsize))))

    @property
    def backward_tokens(self) -> int:
        """Tokens of a batch that is run forward and back with all blocks' activations kept."""
        if self.kind != "cuda":
            return BACKWARD_TOKENS
        stream, width = _KEPT_WIDTHS
        token = self.blocks * (stream * self.stream + width * self.width) * self.itemsize
        return int(min(self.chunk_tokens(BACKWARD_TOKENS), max(BACKWARD_TOKENS, self.bytes / token)))


def budget(model: Any, memory_mb: float | None = None) -> Budget:
    """What a call on a model may add to its device's memory: what the caller says, or by default 500 MB on a CPU and on
    CUDA 0.4 of what is free there now (of the fullest of several devices), divided by the processes that share it.

    Args:
        model: an engine's view of a model, a Hugging Face model, or a device.
        memory_mb: the caller's, in units of 2^20 bytes; None: by the device.
    """
    devices = devices_of(model)
    gpus = [device for device in devices if device.type == "cuda"]
    device = gpus[0] if gpus else devices[0]
    if memory_mb is None:
        memory_mb = min(map(free_memory, gpus)) * SHARE / 2**20 / _processes if gpus else MEMORY_MB
    sizes = _sizes(model) if gpus and not isinstance(model, torch.device) else {}
    return Budget(device.type, float(memory_mb), logit_bytes(device), **sizes)


def chunk_tokens(model: Any, least: int) -> int:
    """Tokens that a block is given at once, see `Budget.chunk_tokens`. Of a GPU the driver is not asked, and the sizes
    of a model are counted once: this is asked for at every layer.
    """
    if all(device.type != "cuda" for device in devices_of(model)):
        return least
    hf = getattr(model, "hf", model)
    own = getattr(hf, "original_model", hf).__dict__
    if _COUNTED not in own:
        own[_COUNTED] = _sizes(model)
    return Budget("cuda", 0.0, 0, **own[_COUNTED]).chunk_tokens(least)


def memory_of(model: Any, memory_mb: float | None = None) -> float:
    """Megabytes that a call on a model may add: what the caller says, else by the device (see `budget`)."""
    return budget(model).memory_mb if memory_mb is None else memory_mb


def logit_bytes(device: torch.device, usual: int = LOGITS["cpu"]) -> int:
    """Bytes of one piece of float32 logits on a device; `usual`: where it is no GPU."""
    if device.type != "cuda":
        return usual
    return max(LOGITS["cpu"], min(LOGITS["cuda"], _total(device.index)) // _processes)


@cache
def _total(index: int | None) -> int:
    """The part of a GPU's memory that a piece of logits may take; asked once, as the driver answers slowly."""
    return int(torch.cuda.mem_get_info(index)[1]) // _LOGITS_PART


def free_memory(device: torch.device) -> float:
    """Bytes that a GPU has for this process: what the driver calls free, and what torch holds without using it."""
    free = torch.cuda.mem_get_info(device.index)[0]
    return float(free + torch.cuda.memory_reserved(device.index) - torch.cuda.memory_allocated(device.index))


def devices_of(model: Any) -> list[torch.device]:
    """Where a model computes: its device, or those that accelerate has spread its blocks over (not disk)."""
    if isinstance(model, torch.device):
        return [model]
    hf = getattr(model, "hf", model)
    spread = getattr(getattr(hf, "original_model", hf), "hf_device_map", None) or {}
    places = dict.fromkeys(f"cuda:{p}" if isinstance(p, int) else str(p) for p in spread.values())
    found = [torch.device(p) for p in places if p not in ("disk", "meta")]
    if not found:  # a class of one's own need not say where it is
        told = getattr(model, "device", None) or next(hf.parameters()).device
        found = [torch.device("cpu" if str(told) == "meta" else told)]
    return found


def mlp_width(config: Any) -> int:
    """Neurons of the widest MLP that a configuration tells of; four times the stream's width where it tells none."""
    names = ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size", "d_ff")
    told = next((n for name in names if (n := getattr(config, name, None))), 4 * config.hidden_size)
    return int(max(told) if isinstance(told, (list, tuple)) else told)


def _sizes(model: Any) -> dict[str, Any]:
    """Of a model what its batches are cut by."""
    hf = getattr(model, "hf", model)
    hf = getattr(hf, "original_model", hf)
    config = getattr(hf.config, "get_text_config", lambda: hf.config)()
    stream, blocks = config.hidden_size, max(1, config.num_hidden_layers)
    ends = {id(m.weight): m.weight.numel() for m in (hf.get_input_embeddings(), hf.get_output_embeddings()) if m}
    inner = sum(p.numel() for p in hf.parameters()) - sum(ends.values())
    return dict(
        width=mlp_width(config),
        stream=stream,
        blocks=blocks,
        weights=inner / blocks,
        itemsize=hf.dtype.itemsize,
    )
