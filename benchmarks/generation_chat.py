"""A chat pair of 512 tokens whose last 32 are patched, in all layers: the time of the whole call over what its
operations need at the rate of a matrix product, and the memory that it adds.

The operations are nominal (`work.py`): both unedited runs, the second from the first token that differs on, and of each
edited run the tokens from its own on. Labels, the tokenizer, norms, softmax and the metric are not counted.
"""

from __future__ import annotations

from typing import Any

import lens

from . import machine, subjects
from .tables import median, say
from .work import Shape

#: Tokens of the prompts and how many of the last are patched; in the quick run, which says nothing about speed.
LENGTH, LAST = 512, 32
QUICK = (48, 4)
ROUNDS = {True: 1, False: 3}
HEAD = "<|im_start|>system\nThe report was written by {}."
FILLING = " The meeting went on and nobody wrote anything down, which they were to regret the year after."
TAIL = "<|im_end|>\n<|im_start|>user\nWho wrote the report?<|im_end|>\n<|im_start|>assistant\nThe report was written by"
NAMES = ("John", "Mary")


def pair_of(tokenizer: Any, length: int) -> lens.Pair:
    """A pair of so many tokens, which differs in the name at its beginning and is filled up before its question."""

    def tokens(text: str) -> int:
        return len(tokenizer(text + TAIL).input_ids)

    ends = []
    for name in NAMES:
        words = HEAD.format(name).split(" ")
        while tokens(" ".join(words)) < length:
            words += FILLING.split()
        while tokens(" ".join(words)) > length:
            words.pop()
        while tokens(" ".join(words)) < length:
            words.append("on")
        ends.append(" ".join(words) + TAIL)
    return lens.Pair(ends[0], corrupted=ends[1], answer=f" {NAMES[0]}", foil=f" {NAMES[1]}", label="chat")


def subject_of(quick: bool) -> subjects.Model:
    """SmolLM2, or the random model with a tokenizer that knows these texts."""
    if not quick:
        return subjects.embedded()
    return subjects.random_model([HEAD.format(NAMES[0]), FILLING, TAIL, *(f" {name}" for name in NAMES)])


def flop(config: Any, clean: list[int], corrupted: list[int], last: int) -> int:
    """Operations of the whole sweep, its two unedited runs included, when nothing is computed twice."""
    shape, n = Shape(config), len(clean)
    differs = [p for p in range(n) if clean[p] != corrupted[p]]
    total = shape.full(n) + shape.row(differs[0], n, shape.layers) + shape.unembed
    for layer in range(shape.layers):
        # before layer 0 only a token that differs can be patched to any effect
        rows = [p for p in range(n - last, n) if (p in differs if layer == 0 else p >= differs[0])]
        total += sum(shape.row(p, n, shape.layers - layer) for p in rows)
    return total


def run(quick: bool) -> dict[str, Any]:
    """The figures of the part: `chat_over_nominal` and `chat_extra_mb`, with the seconds and rates behind them."""
    length, last = QUICK if quick else (LENGTH, LAST)
    subject = subject_of(quick)
    pair = pair_of(subject.tokenizer, length)
    encoded = lens.encode(subject.tokenizer, pair)
    needed = flop(subject.config, encoded.clean_ids.tolist(), encoded.corrupted_ids.tolist(), last)

    def patched(**more: Any) -> Any:
        return lens.patch(subject.bridge, pair, positions=slice(-last, None), progress=False, **more)

    patched(layers=[-1])  # the model's check on these texts, once a model, is not the sweep's
    with machine.peak_memory() as peak:
        patched()
    seconds, rates = [], [machine.gemm_rate(256 if quick else machine.GEMM_SIZE)]
    for number in range(ROUNDS[quick]):
        seconds.append(machine.timed(patched)[0])
        rates.append(machine.gemm_rate(256 if quick else machine.GEMM_SIZE))
        say(f"chat, round {number + 1}: {seconds[-1]:.2f} s, {rates[-1]:.0f} GFLOP/s")
    over = [s * (a + b) / 2 * 1e9 / needed for s, a, b in zip(seconds, rates, rates[1:])]
    return {
        "chat_over_nominal": median(over),
        "chat_extra_mb": peak.extra_mb,
        "chat_tokens": len(encoded),
        "chat_gflop": needed / 1e9,
        "chat_seconds": seconds,
        "chat_gemm_gflops": rates,
    }
