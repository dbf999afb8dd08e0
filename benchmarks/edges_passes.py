"""Scores of all edges of SmolLM2 in indirect objects (EAP-IG, five steps) beside the five forward and backward passes
of the model's own that they need.
"""

from __future__ import annotations

import statistics
from typing import Any

import torch

import lens
from lens.prompts import encode_all

from .machine import set_threads, timed

STEPS, PAIRS, ROUNDS = 5, {True: 2, False: 32}, {True: 1, False: 3}


def run(quick: bool) -> dict[str, Any]:
    """The figures; `quick`: of two pairs and a random model of three layers."""
    set_threads()
    if quick:
        from tests.models import speaking

        model: Any = speaking("llama")
        pairs = [lens.Pair(f"w1 w2 w{i} w4", f"w1 w2 w{i + 9} w4", " w5", " w6") for i in range(2)]
    else:
        try:
            model = lens.load("smollm2")
        except lens.LoadError as error:
            return {"why": str(error)}
        pairs = lens.load_pairs("ioi", split="report", limit=PAIRS[quick])
    hf, encoded = getattr(model, "original_model", model), encode_all(model, pairs)
    of_length: dict[int, list[Any]] = {}
    for e in encoded:
        of_length.setdefault(len(e.clean_ids), []).append(e)

    def passes() -> None:
        for _ in range(STEPS):
            for same in of_length.values():
                ids = torch.stack([e.clean_ids for e in same])
                embedded = hf.get_input_embeddings()(ids).detach().requires_grad_()
                logits = hf(inputs_embeds=embedded, logits_to_keep=1).logits[:, -1]
                rows = torch.arange(len(same))
                answers, foils = ([getattr(e, f"{name}_ids")[0] for e in same] for name in ("answer", "foil"))
                (logits[rows, answers] - logits[rows, foils]).sum().backward()

    def scores() -> Any:
        return lens.edges(model, pairs, steps=STEPS, check=0, progress=False)

    scores()
    own, least = [], []
    for _ in range(ROUNDS[quick]):
        own.append(timed(scores)[0])
        least.append(timed(passes)[0])
    return {
        "edges_over_passes": statistics.median(a / b for a, b in zip(own, least)),
        "edges_seconds_of_all": statistics.median(own),
        "passes_seconds": statistics.median(least),
        "pairs": len(pairs),
    }
