"""The fit of a Jacobian lens beside TransformerLens' own: a random model of GPT-2's shape, one text of 128 tokens.

A whole fit is minutes on two cores, so that each side runs a share of it, whose numbers must be equal: they some rows,
which go through all layers one batch after another; we the first layers, through which all rows go together. Both
forward passes are counted once.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from lens.engine.model import Model
from lens.readout.jacobian_lens.one_prompt import rows_of
from lens.readout.norms import back_through_norm

from . import machine

#: Positions of a text, those left out before it; layers of ours; passes of theirs, and batches of rows of each.
LENGTH, SKIP, STEPS, PASSES, BATCHES, DEFAULT = 128, 16, 3, 3, (4, 16), 8
#: Chosen tokens.
TOKENS = 50
#: Rounds of both sides.
ROUNDS = 3


class _Enough(Exception):
    """So many passes were run as are wanted."""


def model_of(quick: bool) -> Any:
    """A random GPT-2, its weights small enough that no softmax saturates."""
    from transformers import GPT2Config, GPT2LMHeadModel

    size = dict(n_embd=64, n_layer=3, n_head=4, vocab_size=301) if quick else {}
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(**size, bos_token_id=0, eos_token_id=0)).eval().requires_grad_(False)


class Theirs:
    """TransformerLens' fit of one text, ended after some backward passes."""

    def __init__(self, hf: Any, ids: torch.Tensor):
        from lens.models import wrap
        from tests.models import word_tokenizer

        self.bridge, self.ids = wrap(hf, word_tokenizer(hf.config.vocab_size), "benchmark"), ids
        self.layers = list(range(hf.config.n_layer - 1))

    def run(self, batch: int, passes: int) -> tuple[float, dict[int, torch.Tensor]]:
        """Seconds of a whole fit at a batch of rows, from those of some passes; the rows of these, by layer."""
        from transformer_lens.tools.analysis import jacobian_lens as peer

        ends: list[float] = []
        rows: dict[int, list[torch.Tensor]] = {layer: [] for layer in self.layers}

        def provider(*arguments: Any) -> Any:
            grads = peer._ordinary_vjp(*arguments)
            for layer, grad in zip(self.layers, grads):
                rows[layer].append(grad[:, SKIP:-1].mean(1))
            ends.append(time.perf_counter())
            if len(ends) == passes:
                raise _Enough
            return grads

        with peer._frozen_parameters(self.bridge):
            began = time.perf_counter()
            try:
                peer._jacobian_for_prompt(
                    self.bridge,
                    self.ids[None],
                    source_layers=self.layers,
                    dim_batch=batch,
                    skip_first_positions=SKIP,
                    backward_provider=provider,
                )
            except _Enough:
                pass
        # the first pass is counted with the forward before it, and once more as one of them
        each = (ends[-1] - ends[0]) / max(1, len(ends) - 1)
        width = self.bridge.cfg.d_model
        whole = ends[0] - began + each * (-(-width // batch) - 1)
        return whole, {layer: torch.cat(parts) for layer, parts in rows.items()}


def ours(
    view: Model, ids: torch.Tensor, directions: torch.Tensor | None = None, steps: int | None = None
) -> tuple[float, dict[int, torch.Tensor]]:
    """Seconds of a whole fit of one text, of chosen directions or of all, from those of its first steps; the rows of
    the layers that were come to.
    """
    began, ends, out = time.perf_counter(), [], {}
    last = view.n_layers - 1 if steps is None else min(steps, view.n_layers - 1)
    for layer, rows, values in rows_of(view, ids, SKIP, directions):
        assert len(values) == (view.d_model if directions is None else len(directions)), rows
        out[layer] = values
        ends.append(time.perf_counter())
        if len(ends) == last:
            break
    # the first step is counted with the forward before it
    each = (ends[-1] - ends[0]) / max(1, len(ends) - 1)
    return ends[0] - began + each * (view.n_layers - 2), out


def run(quick: bool) -> dict[str, Any]:
    """The figures; `quick`: of a small model."""
    try:
        import transformer_lens.tools.analysis.jacobian_lens as peer
    except ImportError as error:
        return {"why": str(error)}
    assert peer.__name__
    hf = model_of(quick)
    view, width = Model.of(hf), hf.config.n_embd
    ids = torch.randint(1, hf.config.vocab_size, (LENGTH,), generator=torch.Generator().manual_seed(1))
    theirs = Theirs(model_of(quick), ids)
    columns = back_through_norm(view.norm, view.unembedding()[1 : TOKENS + 1].float())
    calls: dict[str, Callable[[], tuple[float, dict[int, torch.Tensor]]]] = {
        "whole": lambda: ours(view, ids, steps=STEPS),
        "tokens": lambda: ours(view, ids, columns),
        "theirs": lambda: theirs.run(DEFAULT, PASSES),
    }
    ours(view, ids, torch.eye(width)[:2])  # first passes are nobody's time
    theirs.run(DEFAULT, 1)
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    found: dict[str, dict[int, torch.Tensor]] = {}
    for _ in range(1 if quick else ROUNDS):
        for name, call in calls.items():
            took, found[name] = call()
            seconds[name].append(took)
    # every layer by some rows, the first ones by all
    some = ours(view, ids, torch.eye(width)[: DEFAULT * PASSES])[1]
    pairs = [(rows, found["theirs"][layer]) for mine in (some, found["whole"]) for layer, rows in mine.items()]
    difference = max(float((rows[: len(want)] - want).abs().max() / want.abs().max()) for rows, want in pairs)
    whole = seconds["whole"]
    best = min(statistics.median(seconds["theirs"]), *(theirs.run(batch, PASSES)[0] for batch in BATCHES))
    with machine.peak_memory() as own:
        ours(view, ids, steps=2)
    with machine.peak_memory() as other:
        theirs.run(DEFAULT, 2)
    return {
        "ratio_tl_jacobian_lens": statistics.median(t / o for t, o in zip(seconds["theirs"], whole)),
        "ratio_tl_jacobian_lens_best": best / statistics.median(whole),
        "jacobian_memory_over_tl": own.extra_mb / other.extra_mb,
        "chosen_tokens_speedup": statistics.median(o / t for o, t in zip(whole, seconds["tokens"])),
        "jacobian_max_rel_diff": difference,
        "jacobian_seconds": {name: statistics.median(of) for name, of in seconds.items()},
        "jacobian_mb": {"ours": own.extra_mb, "theirs": other.extra_mb},
    }
