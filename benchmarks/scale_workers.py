"""What a further worker on a machine costs in memory: the private memory of the second, less that of one without a
model, as a share of the model's size.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

import lens

from .tables import say


def private(process: int) -> int:
    """Bytes of a process's memory that no other process shares."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith(("Private_Clean:", "Private_Dirty:")))


def subject(quick: bool) -> Any:
    """The fetched default; or a random model of some size, so that what a process needs by the way does not count."""
    if not quick:
        return lens.load("smollm2", device="cpu")
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=2000,
        hidden_size=512,
        intermediate_size=2048,
        num_hidden_layers=16,
        num_attention_heads=8,
        num_key_value_heads=8,
    )
    return LlamaForCausalLM(config).eval().requires_grad_(False)


def run(quick: bool) -> dict[str, Any]:
    """The figure `shared_weights_over_size`, and the bytes that it is made of."""
    from lens.cluster import ClusterError, Ray

    if not Path("/proc/self/smaps_rollup").exists():
        return {"why": "this system does not tell the private memory of a process (/proc/PID/smaps_rollup)"}
    model = subject(quick)
    view = lens.Model.of(model)
    size = sum({p.data_ptr(): p.nbytes for p in view.hf.parameters()}.values())
    say(f"workers: a model of {size / 2**20:.0f} MiB")
    try:
        with Ray(workers=2) as ray, ray.pool_with(view) as pool:
            first = [private(p) for p in pool.each("process")]
            held = [private(p) for p in pool.each("warm")]
    except ClusterError as error:
        return {"why": str(error)}
    return {
        "shared_weights_over_size": (held[1] - first[1]) / size,
        "workers_bytes": {"without": first, "with": held, "model": size},
    }
