"""What a GPU computes and how fast: `python -m benchmarks gpu`. The numbers beside those of the CPU, a sweep beside the
rate of matrix products, how often a walk makes the host wait, and scoring beside the plain forward.

Random models with a tokenizer of made-up words: nothing is fetched, and nothing beside torch and transformers is
needed. Where there is no GPU it says so, and every figure is null. `--device cpu --quick` tries each part on a tiny
model, which says nothing about speed.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .tables import median, number, say, table
from .waits import Waits

#: Figure -> what must hold of it.
FIGURES = {
    "gpu_max_rel_diff_fp32": "at most 1e-4",
    "gpu_max_rel_diff_bf16": "at most .05",
    "gpu_gemm_fraction": "at least .4",
    "gpu_host_syncs": "0",
    "gpu_scoring_over_forward": "at least .9",
}
#: Seconds that a run may take; a part that would begin later is left out, and said to be.
LIMIT = 480.0
REPEATS = 5
WORDS = 4096


@dataclass(frozen=True)
class Size:
    """A random Llama, the tokens of the prompts that it is patched on, and the rows that it scores."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    mlp: int
    vocabulary: int
    tokens: int
    rows: int
    length: int
    matrix: int

    @property
    def block(self) -> int:
        """Weights of a block's matrices."""
        head = self.hidden // self.heads
        return self.hidden * head * (2 * self.heads + 2 * self.kv_heads) + 3 * self.hidden * self.mlp

    @property
    def sweep_operations(self) -> float:
        """Multiplications and additions of a sweep over every layer and position of a pair that differs at its first
        token but one: an edited run is computed from its position on, through its layer and those after it.
        """
        places = self.layers * (self.layers + 1) / 2
        positions = range(1, self.tokens)
        products = 2 * self.block * sum(self.tokens - p for p in positions)
        # a query meets the keys up to its own, once for the scores and once for the sum
        attention = 4 * self.hidden * sum(sum(q + 1 for q in range(p, self.tokens)) for p in positions)
        return places * (products + attention)


#: The sweep whose speed is told, the model whose numbers are compared, and a tiny one to try the parts.
LARGE = Size(2048, 24, 32, 32, 8192, 49152, 64, 256, 512, 8192)
COMPARED = Size(576, 12, 9, 3, 1536, 49152, 24, 0, 0, 0)
TINY = Size(48, 3, 4, 2, 96, WORDS, 8, 6, 12, 64)


def tokenizer() -> Any:
    """Words `w0`, `w1`, ..., one token each."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel({f"w{i}": i for i in range(WORDS)}, unk_token="w0"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="w0", eos_token="w0", unk_token="w0")


def model(size: Size, dtype: torch.dtype, device: torch.device, seed: int = 0) -> Any:
    """A random Llama with a tokenizer; the same weights wherever it is, where it is made on the CPU."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=size.vocabulary,
        hidden_size=size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.kv_heads,
        intermediate_size=size.mlp,
        max_position_embeddings=2048,
        initializer_range=0.05,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    torch.set_default_dtype(dtype)
    try:
        with device:
            made: Any = LlamaForCausalLM(config).eval().requires_grad_(False)
    finally:
        torch.set_default_dtype(torch.float32)
    made.tokenizer = tokenizer()
    return made


@torch.no_grad()
def pair(size: Size, made: Any) -> Any:
    """Two prompts that differ at their second token; the words that the model finds likeliest and least likely after
    the first, so that what is measured stands clear of rounding.
    """
    import lens

    words = [f"w{i}" for i in range(1, size.tokens + 1)]
    other = [words[0], f"w{size.tokens + 1}", *words[2:]]
    ids = torch.arange(1, size.tokens + 1, device=made.device)[None]
    logits = made(input_ids=ids, use_cache=False).logits[0, -1, :WORDS]
    answer, foil = int(logits.argmax()), int(logits.argmin())
    return lens.Pair(" ".join(words), corrupted=" ".join(other), answer=f" w{answer}", foil=f" w{foil}")


def difference(size: Size, dtype: torch.dtype, device: torch.device) -> float:
    """The largest difference of two sweeps (streams, heads) from those of the CPU, as a share of the largest number."""
    import lens

    here, gaps = model(size, dtype, torch.device("cpu")), []
    grids: dict[str, Any] = {"resid_pre": ("layer", "position"), "z": ("layer", "head")}
    prompts = pair(size, here)
    wanted = {site: lens.patch(here, prompts, site, over, progress=False) for site, over in grids.items()}
    there = here.to(device)
    for site, over in grids.items():
        found = lens.patch(there, prompts, site, over, progress=False)
        for name in ("value", "effect"):
            if name in found:
                exact = np.asarray(wanted[site][name], float)
                gaps.append(np.abs(np.asarray(found[name], float) - exact).max() / np.abs(wanted[site]["value"]).max())
    return float(max(gaps))


def timed(call: Callable[[], Any], device: torch.device, repeats: int = REPEATS) -> float:
    """Seconds of a call, the device's work included; the median of some, after one that warms up."""
    seconds = []
    for _ in range(repeats + 1):
        _wait(device)
        began = time.perf_counter()
        call()
        _wait(device)
        seconds.append(time.perf_counter() - began)
    return median(seconds[1:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matrix_rate(size: int, dtype: torch.dtype, device: torch.device) -> float:
    """Multiplications and additions a second of a square matrix product."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    return 2 * size**3 / timed(lambda: torch.mm(a, b, out=out), device)


@contextmanager
def waits_of_walks(device: torch.device) -> Iterator[list[str]]:
    """What makes the host wait inside the steps of walks: on CUDA torch itself says it, elsewhere `Waits` does."""
    from lens.engine.walk.rows import _Walk

    found: list[str] = []
    step = _Walk.step

    def on_cuda(self: Any, layer: int) -> None:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                step(self, layer)
            finally:
                torch.cuda.set_sync_debug_mode("default")
        found.extend(str(w.message) for w in said if "synchroniz" in str(w.message))

    def elsewhere(self: Any, layer: int) -> None:
        with Waits() as counted:
            step(self, layer)
        found.extend(counted.found)

    _Walk.step = on_cuda if device.type == "cuda" else elsewhere  # type: ignore[method-assign]
    try:
        yield found
    finally:
        _Walk.step = step  # type: ignore[method-assign]


def scoring_over_forward(made: Any, size: Size, device: torch.device) -> dict[str, float]:
    """The rate of scoring over that of the model's own forward, with its logits, on the same rows in the same batches;
    the forward's are halved until they fit.
    """
    from lens.engine.memory import budget
    from lens.scoring.rows import score

    rows = np.random.default_rng(0).integers(1, WORDS, (size.rows, size.length))
    ids = torch.from_numpy(rows)
    at_once = max(1, min(size.rows, budget(made).batch_tokens // size.length))

    @torch.no_grad()
    def forward(step: int) -> None:
        for a in range(0, size.rows, step):
            made(input_ids=ids[a : a + step].to(device), use_cache=False)

    while True:
        try:
            plain = timed(lambda: forward(at_once), device, 3)
            break
        except torch.OutOfMemoryError:
            if at_once == 1:
                raise
        at_once = -(-at_once // 2)
        torch.cuda.empty_cache()
    ours = timed(lambda: score(made, list(rows), start=None, progress=False), device, 3)
    return {
        "gpu_scoring_over_forward": plain / ours,
        "scoring_tokens_per_second": size.rows * size.length / ours,
        "forward_rows_at_once": at_once,
    }


def parts(device: torch.device, quick: bool) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """Name and function of each part; the large model is made once, for the last three."""
    compared, large = (TINY, TINY) if quick else (COMPARED, LARGE)
    kept: dict[str, Any] = {}

    def subject() -> Any:
        if "model" not in kept:
            kept["model"] = model(large, torch.bfloat16, device)
        return kept["model"]

    def sweep() -> Any:
        import lens

        made = subject()
        if "pair" not in kept:
            kept["pair"] = pair(large, made)
        return lens.patch(made, kept["pair"], "resid_pre", ("layer", "position"), progress=False)

    def fraction() -> dict[str, Any]:
        seconds = timed(sweep, device)
        rate, reached = matrix_rate(large.matrix, torch.bfloat16, device), large.sweep_operations / seconds
        return {
            "gpu_gemm_fraction": reached / rate,
            "matrix_rate": rate,
            "sweep_rate": reached,
            "sweep_seconds": seconds,
        }

    def syncs() -> dict[str, Any]:
        subject()
        with waits_of_walks(device) as found:
            sweep()
        return {"gpu_host_syncs": len(found), "waited_in": sorted(set(found))[:8]}

    yield "fp32", lambda: {"gpu_max_rel_diff_fp32": difference(compared, torch.float32, device)}
    yield "bf16", lambda: {"gpu_max_rel_diff_bf16": difference(compared, torch.bfloat16, device)}
    yield "sweep", fraction
    yield "syncs", syncs
    yield "scoring", lambda: scoring_over_forward(subject(), large, device)


def run(*, device: str = "cuda", quick: bool = False, file: Path | None = None) -> int:
    """Prints the table and, last, one JSON line with every figure; 0 always: figures are looked at, not asserted."""
    line: dict[str, Any] = dict.fromkeys(FIGURES) | {"quick": quick, "device": None, "parts": {}}
    if device == "cuda" and not torch.cuda.is_available():
        line["why"] = "torch finds no CUDA device here"
        say(f"gpu: {line['why']}; nothing is measured")
    else:
        place = torch.device(device)
        line["device"] = torch.cuda.get_device_name(place) if place.type == "cuda" else device
        line["torch"] = torch.__version__
        began = time.perf_counter()
        for name, part in parts(place, quick):
            if time.perf_counter() - began > LIMIT:
                line["parts"][name] = {"why": f"left out: {LIMIT:.0f} s had passed"}
                continue
            say(f"part {name}")
            since = time.perf_counter()
            try:
                found = part()
            except Exception as error:  # the others are worth having
                found = {"why": f"{type(error).__name__}: {str(error)[:300]}"}
            line |= {key: value for key, value in found.items() if key in FIGURES}
            line["parts"][name] = found | {"seconds": round(time.perf_counter() - since, 2)}
    rows = [(key, "-" if line[key] is None else number(float(line[key])), wanted) for key, wanted in FIGURES.items()]
    print(table([("figure", "value", "should be"), *rows]))
    print("\n".join(f"{name}: {part['why']}" for name, part in line["parts"].items() if "why" in part))
    if file is not None:
        from lens import files  # not above: `--help` needs no package

        files.write_json(file, line)
    print(json.dumps(line))
    return 0
