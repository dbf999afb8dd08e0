"""What of a model fits this machine, told from its configuration: `lens doctor --model NAME`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from lens.arguments import Count, FilePath, door
from lens.cache import LoadError
from lens.files import expanded
from lens.models.devices import size

from .sizes import BESIDE, BYTES, USABLE, Device, Estimate, Shape, duration

#: Rows and columns of the matrices whose product is timed, by device type; bytes of what is copied.
_MATRIX, _BLOCK = {"cpu": 1024, "cuda": 8192}, 32 << 20


@dataclass(frozen=True)
class Fits:
    """What fits: a title, a line for a person each, and the same for a program."""

    title: str
    lines: list[str]
    facts: dict[str, Any]

    def __str__(self) -> str:
        return "\n".join([self.title, *(f"  {line}" for line in self.lines)])


@door(LoadError)
def fits(model: FilePath, *, tokens: Count = 64, device: Device | None = None) -> Fits:
    """What of a model fits: its weights in each format, a sweep over a pair of prompts, K-FAC factors of its MLPs, and
    scoring; with estimates of time.

    Args:
        model: a fetched model, an organism, a folder, a name of the hub whose configuration is in the hub's cache, or
            the path of a `config.json`. No weights are read.
        tokens: of a prompt.
        device: None: this machine's GPU where it has one, else its processor, measured for about a second.

    Raises: LoadError: no such model, or a configuration that no causal language model of transformers has.
    """
    shape, device = shape_of(model), device or measured()
    free = device.memory * USABLE
    lines = [
        f"{shape.parameters / 1e9:.2f} billion parameters in {shape.blocks} blocks of width {shape.width}"
        + (f", {shape.active / 1e9:.2f} billion of them at work on a token" if shape.active < shape.inner else ""),
        f"{device.name}: {size(device.memory)} free; "
        + ", ".join(f"{_rate(rate)} in {dtype}" for dtype, rate in device.rate.items())
        + f" ({device.source})",
    ]
    facts: dict[str, Any] = {"shape": asdict(shape), "device": asdict(device), "tokens": tokens}
    for dtype in BYTES:
        estimate = Estimate(shape, device, 1, dtype, tokens)
        needed = shape.weights(dtype) + shape.runs(tokens, dtype) + BESIDE
        told = {
            "weights": shape.weights(dtype) <= free,
            "sweep": needed <= free,
            "scoring": shape.weights(dtype) + BESIDE <= free,
            "kfac": estimate.factors_fit and estimate.fits,
        }
        facts[dtype] = {
            "bytes": {
                "weights": shape.weights(dtype),
                "unedited_runs": shape.runs(tokens, dtype),
                "kfac_factors": shape.factor_bytes(),
            },
            "fits": told,
            "seconds": {
                "sweep": estimate.sweep,
                "sweep_of_heads": estimate.heads,
                "kfac_20480_tokens": estimate.factors,
                "hash": estimate.hashing,
                "finite_check": estimate.checking,
            },
            "scoring_tokens_per_second": estimate.scoring,
        }
        away = "" if told["sweep"] else ", if its blocks are offloaded (device_map='auto')"
        lines += [
            f"{dtype}:",
            f"  weights {size(shape.weights(dtype))}: {_yes(told['weights'])}; hash {duration(estimate.hashing)},"
            f" finite check {duration(estimate.checking)}",
            f"  sweep of a pair of {tokens} tokens: {_yes(told['sweep'])}, {size(needed)}; about"
            f" {duration(estimate.sweep)} by layer and position, {duration(estimate.heads)} by head{away}",
            f"  K-FAC of all MLPs: {_yes(told['kfac'])}, {size(shape.factor_bytes())} of factors; about"
            f" {duration(estimate.factors)} for 20,480 tokens",
            f"  scoring: {_yes(told['scoring'])}; about {estimate.scoring:,.0f} tokens/s",
        ]
    return Fits(f"model {shape.name}", lines, facts)


def _rate(operations: float) -> str:
    """Of operations a second."""
    return f"{operations / 1e12:.0f} TFLOP/s" if operations >= 1e13 else f"{operations / 1e9:.0f} GFLOP/s"


def _yes(whether: bool) -> str:
    return "fits" if whether else "does not fit"


def shape_of(model: FilePath) -> Shape:
    """The sizes of a model by its name, its folder or its configuration; no weights are read.

    Raises: LoadError: as `fits`.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    from lens.models.names import named

    path = expanded(model)
    if path.name.endswith(".json") and path.is_file():
        where, name, options = str(path), str(model), {}
    else:
        known = named(model, argument="model")
        where, name, options = known.where, str(known), dict(known.options()) | {"local_files_only": True}
    if (folder := Path(where)).is_dir() and not (folder / "config.json").is_file():
        raise LoadError(
            f"model={name!r}: the folder has no config.json; give one that has, such as the base of an adapter."
        )
    try:
        config = AutoConfig.from_pretrained(where, trust_remote_code=False, **options)
    except Exception as error:  # transformers raises many kinds
        raise LoadError(
            f"model={name!r}: its configuration cannot be read ({str(error).splitlines()[0][:200]}); give a folder, the"
            f" path of a config.json, or fetch it into the hub's cache: hf download {name} config.json"
        ) from error
    try:
        with torch.device("meta"):
            empty: Any = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except Exception as error:
        raise LoadError(
            f"model={name!r}: transformers makes no causal language model of its configuration"
            f" ({type(config).__name__}: {str(error).splitlines()[0][:200]})."
        ) from error
    return Shape.of(empty, name)


def measured() -> Device:
    """This machine's first GPU, or its processor: free memory, the rate of matrix products, of its memory, and for a
    GPU of the way there.
    """
    from . import memory

    kind = "cuda" if torch.cuda.is_available() else "cpu"
    device, n = torch.device(kind), _MATRIX[kind]

    def rate(dtype: torch.dtype) -> float:
        a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
        return 2 * n**3 / _seconds(lambda: a @ b, device)

    block = torch.empty(_BLOCK, dtype=torch.uint8)
    there, other = block.to(device), torch.empty_like(block, device=device)
    link = None
    if kind == "cuda":
        pinned = block.pin_memory()
        link = _BLOCK / _seconds(lambda: other.copy_(pinned, non_blocking=True), device)
    return Device(
        torch.cuda.get_device_name(device) if kind == "cuda" else f"cpu, {torch.get_num_threads()} threads",
        memory() * 1e9,
        {name: rate(getattr(torch, name)) for name in BYTES},
        2 * _BLOCK / _seconds(lambda: other.copy_(there), device),
        link,
    )


def _seconds(call: Callable[[], Any], device: torch.device) -> float:
    """Of a call, the device's work included: the best of a few."""
    best = float("inf")
    for _ in range(4):
        began = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - began)
    return best
