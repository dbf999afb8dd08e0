"""A batch of texts written without edits, under an edit at every token, and under the same edit with a gate that is
open at about half of them; the kinds take turns.
"""

from __future__ import annotations

import statistics
import time
import warnings
from typing import Any

import lens

from ._generation_subject import Texts, texts

#: Rounds that the medians are of.
ROUNDS = {True: 1, False: 7}


def gate(of: Texts) -> Any:
    """A projection on the edit's own direction, read where the edited block begins, open above its median there."""
    site = lens.Site("resid_pre", layer=of.layer)
    kept = lens.generate(of.model, of.prompts, of.edit(), max_new_tokens=of.tokens, capture=site)
    unit = of.vector / of.vector.norm()
    values = [float(v) for text in kept for v in text.activations[site] @ unit]
    return lens.Gate.projection(site, of.vector, statistics.median(values))


def run(quick: bool) -> dict[str, Any]:
    """The figures; `quick`: of a random model of four layers."""
    try:
        of = texts(quick)
    except lens.LoadError as error:
        return {"why": str(error)}
    kinds = {"plain": (), "edited": of.edit(), "gated": of.edit(when=gate(of))}
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    fired = 0.0
    for number in range(ROUNDS[quick]):
        for name in sorted(kinds, reverse=bool(number % 2)):
            began = time.perf_counter()
            out = lens.generate(of.model, of.prompts, kinds[name], max_new_tokens=of.tokens, progress=False)
            seconds[name].append(time.perf_counter() - began)
            if name == "gated":
                met = sum(len(p) + of.tokens - 1 for p in of.prompts)
                fired = sum(len(text.fired[0]) for text in out) / met
    return {
        "edit_over_plain": statistics.median(e / p for e, p in zip(seconds["edited"], seconds["plain"])),
        "gated_over_plain": statistics.median(g / e for g, e in zip(seconds["gated"], seconds["edited"])),
        "gate_open": fired,
        "generation_equal": equal(of),
        "generation_seconds": {name: statistics.median(of) for name, of in seconds.items()},
        "tokens_a_second": len(of.prompts) * of.tokens / statistics.median(seconds["edited"]),
    }


def equal(of: Texts, count: int = 3) -> bool:
    """Whether some texts of the batch are those that are written alone, one token at a time."""
    from lens.engine.generation import write

    some = of.prompts[:count]
    together = lens.generate(of.model, of.prompts, of.edit(), max_new_tokens=of.tokens, progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        alone = [write(of.model, p, lambda step: (of.edit(),), max_new_tokens=of.tokens).ids for p in some]
    return [text.ids for text in together[:count]] == alone
