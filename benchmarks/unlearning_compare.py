"""`lens.compare` over a thousand prompts beside the two models' own forwards of the same tokens, of which only the last
token's logits are made; half of the forwards stand before the comparison and half behind it.
"""

from __future__ import annotations

import time
from typing import Any

import torch

import lens

from ._checkpoints import checkpoints
from .machine import peak_memory, set_threads, settled
from .subjects import LENGTH

#: Prompts, and rows of a plain forward.
PROMPTS, ROWS = {True: 24, False: 1000}, 32


def texts(tokenizer: Any, count: int) -> tuple[list[str], torch.Tensor]:
    """Texts of random words, 16 tokens each, and their tokens."""
    pieces = tokenizer.batch_decode([[i] for i in range(len(tokenizer))])
    words = [p for p in pieces if p.startswith(" ") and p[1:].isalpha() and p.islower() and p.isascii()]
    by = torch.Generator().manual_seed(0)
    some: dict[str, list[int]] = {}
    while len(some) < count:
        text = "In" + "".join(words[int(i)] for i in torch.randint(len(words), (LENGTH - 1,), generator=by))
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        if len(ids) == LENGTH:
            some[text] = ids
    return list(some), torch.tensor(list(some.values()))


def run(quick: bool) -> dict[str, Any]:
    """The figures; `quick`: of a few prompts and a random model of four layers."""
    set_threads()
    try:
        of = checkpoints(quick)
    except lens.LoadError as error:
        return {"why": str(error)}
    prompts, ids = texts(of.subject.tokenizer, PROMPTS[quick])
    plain = [of.plain, getattr(of.second, "original_model", of.second)]

    def forwards(rows: torch.Tensor, **how: Any) -> tuple[float, float]:
        began, used = time.perf_counter(), time.process_time()
        with torch.no_grad():
            for batch in rows.split(ROWS):
                for model in plain:
                    model(batch, use_cache=False, **how)
        return time.perf_counter() - began, time.process_time() - used

    some = prompts[: max(12, PROMPTS[quick] // 50)]
    lens.compare(of.first, of.second, some, progress=False)
    forwards(ids[: len(some)])
    half = len(ids) // 2
    with settled():
        before = forwards(ids[:half], logits_to_keep=1)
        with peak_memory() as peak:
            began, used = time.perf_counter(), time.process_time()
            ds = lens.compare(of.first, of.second, prompts, progress=False)
            seconds, processor = time.perf_counter() - began, time.process_time() - used
        after = forwards(ids[half:], logits_to_keep=1)
        some_rows = ids[: max(ROWS, half // 4)]
        whole = forwards(some_rows)
    least, least_processor = before[0] + after[0], before[1] + after[1]
    return {
        "compare_over_forwards": seconds / least,
        "compare_over_forwards_processor": processor / least_processor,
        "compare_over_forwards_of_all_logits": seconds / (whole[0] * len(ids) / len(some_rows)),
        "compare_seconds": seconds,
        "compare_extra_mb": peak.extra_mb,
        "compare_metrics": ds.metric.values.tolist(),
        "compare_prompts": len(prompts),
    }
