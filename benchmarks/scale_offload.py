"""A sweep of a model whose blocks lie on disk, beside the same sweep in memory; and one of a model that is larger than
what it is allowed.

The early pair of the patching benchmark, layer by position. Reads of a weight are those of the sweep itself: the
comparison with the model's own forward, and the hash, read weights as accelerate does, and are counted apart.
"""

from __future__ import annotations

import copy
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import lens
from lens.engine.resident import Resident

from . import subjects

#: Runs of each kind that the medians are of.
ROUNDS = {True: 1, False: 7}
#: Of a model's size, what it is allowed in memory where it is to be larger.
ALLOWED = 0.4


class Reads:
    """How often each weight was read from disk: by blocks made resident, and by anything else."""

    def __init__(self) -> None:
        self.sweep: Counter[str] = Counter()
        self.apart: Counter[str] = Counter()

    def note(self, key: str) -> None:
        """One more read; whose it is is told by who called."""
        frame: Any = sys._getframe()
        while frame is not None and frame.f_code is not Resident.__enter__.__code__:
            frame = frame.f_back
        (self.apart if frame is None else self.sweep)[key] += 1


@contextmanager
def reads() -> Iterator[Reads]:
    """Counts the reads of accelerate's loader."""
    from accelerate.utils import OffloadedWeightsLoader

    counts, plain = Reads(), OffloadedWeightsLoader.__getitem__

    def counting(self: Any, key: str) -> Any:
        counts.note(key)
        return plain(self, key)

    OffloadedWeightsLoader.__getitem__ = counting
    try:
        yield counts
    finally:
        OffloadedWeightsLoader.__getitem__ = plain


def on_disk(model: Any, folder: Path) -> Any:
    """The model itself, every block of it on disk, the rest in memory."""
    from accelerate import dispatch_model

    body, prefix = model.model, f"{model.base_model_prefix}."
    where = {prefix + name: "cpu" for name, _ in body.named_children() if name != "layers"}
    where |= {f"{prefix}layers.{i}": "disk" for i in range(len(body.layers))}
    return dispatch_model(
        model, where | {"lm_head": "cpu"}, offload_dir=str(folder), main_device="cpu", force_hooks=True
    )


def sweep(model: Any, pair: Any) -> tuple[np.ndarray, float]:
    """The values of the grid, and seconds."""
    began = time.perf_counter()
    values = lens.patch(model, pair, "resid_pre", ("layer", "position"), progress=False).value.values
    return values, time.perf_counter() - began


class Peak:
    """The largest private memory of this process beyond what it was, MB, looked at every few milliseconds; files that
    are mapped are none of it.
    """

    def __enter__(self) -> Peak:
        self._over, self.mb = threading.Event(), 0.0
        self._begin = self._now()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    @staticmethod
    def _now() -> float:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024

    def _watch(self) -> None:
        while not self._over.wait(0.003):
            self.mb = max(self.mb, self._now() - self._begin)

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()


def larger(folder: Path, model: Any, tokenizer: Any, pair: Any, want: np.ndarray) -> dict[str, Any]:
    """The sweep of a model loaded from its files with less memory than it takes."""
    from transformers import AutoModelForCausalLM

    saved, size = folder / "saved", sum(p.numel() * p.element_size() for p in model.parameters())
    model.save_pretrained(saved, max_shard_size=max(1, size // 8))
    tokenizer.save_pretrained(saved)
    allowed = int(ALLOWED * size)
    with Peak() as peak:
        small = AutoModelForCausalLM.from_pretrained(
            saved,
            dtype=model.dtype,
            attn_implementation="eager",
            device_map="auto",
            max_memory={"cpu": allowed},
            offload_folder=str(folder / "offload"),
        ).eval()
        small.requires_grad_(False).tokenizer = tokenizer
        values, seconds = sweep(small, pair)
    return {
        "larger_mb": size / 2**20,
        "larger_max_memory_mb": allowed / 2**20,
        "larger_on_disk": sum(place == "disk" for place in small.hf_device_map.values()),
        "larger_peak_mb": peak.mb,
        "larger_seconds": seconds,
        "larger_equal": bool(np.array_equal(values, want)),
    }


def run(quick: bool) -> dict[str, Any]:
    """The figures; `quick`: of a random model of four layers."""
    try:
        subject: Any = subjects.tiny() if quick else subjects.embedded()
    except lens.LoadError as error:
        return {"why": str(error)}
    pair = subjects.EARLY
    model = subject.copy()
    model.tokenizer = subject.tokenizer
    model.set_attn_implementation("eager")
    with tempfile.TemporaryDirectory() as at:
        folder = Path(at)
        offloaded = on_disk(copy.deepcopy(model), folder / "blocks")
        offloaded.tokenizer = model.tokenizer
        want, _ = sweep(model, pair)
        first, _ = sweep(offloaded, pair)
        with reads() as counts:
            again, _ = sweep(offloaded, pair)
        times: dict[str, list[float]] = {"resident": [], "offloaded": []}
        for _ in range(ROUNDS[quick]):
            for name, one in (("resident", model), ("offloaded", offloaded)):
                times[name].append(sweep(one, pair)[1])
        medians = {name: statistics.median(of) for name, of in times.items()}
        blocks = [key for key in counts.sweep if ".layers." in key]
        few, most = (pick(counts.sweep[key] for key in blocks) for pick in (min, max))
        return {
            "offload_reads": most if few == most else most / max(few, 1),
            "offload_equal": bool(np.array_equal(first, want) and np.array_equal(again, want)),
            "offload_over_resident": medians["offloaded"] / medians["resident"],
            "offload_seconds": medians,
            "offload_weights": len(blocks),
            "offload_reads_apart": max(counts.apart.values(), default=0),
            **larger(folder, model, subject.tokenizer, pair, want),
        }
